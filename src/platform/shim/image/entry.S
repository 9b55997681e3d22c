// Where the stubs of a guest's patched call sites come in (platform/fast_path.h makes them):
//     rax = the call's number, rcx = the address of the site's `syscall` instruction, all else as for the call.
// Out: behind that instruction with the answer in rax, or at it, with rax as it was. Only rax, rcx, r11 and the flags
// change, which the instruction itself changes too. Nothing is written into the caller's red zone.
	.section .text.entry, "ax", @progbits
	.globl usl_shim_entry
usl_shim_entry:
	leaq -128(%rsp), %rsp
	pushq %rcx
	pushq %rax
	pushq %r9
	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq %rdi
	movq %rax, %rdi
	movq %rsp, %rsi
	call UslShimAnswer	// value in rax, whether there is one in rdx
	movq %rdx, %r11
	popq %rdi
	popq %rsi
	popq %rdx
	popq %r10
	popq %r8
	popq %r9
	testq %r11, %r11
	jz 1f
	leaq 8(%rsp), %rsp
	popq %rcx
	leaq 128(%rsp), %rsp
	addq $2, %rcx
	jmp *%rcx
1:	popq %rax
	popq %rcx
	leaq 128(%rsp), %rsp
	jmp *%rcx

	.section .note.GNU-stack, "", @progbits
