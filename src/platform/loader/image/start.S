// Entry of the loader. The host kernel enters with rsp at argc; the loader works on a stack of its own (in .bss), as it
// rebuilds the guest's stack right where its own frames would be.
	.section .text, "ax", @progbits
	.globl _start
	.hidden _start
	.type _start, @function
_start:
	xorl %ebp, %ebp
	movq %rsp, %rdi
	leaq loader_stack_top(%rip), %rsp
	call UslLoaderMain
	hlt
	.size _start, . - _start

	.bss
	.balign 4096
	.skip 16384
loader_stack_top:

	.section .note.GNU-stack, "", @progbits
