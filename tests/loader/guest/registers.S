// A guest program for loader_test: exits with 0 if it starts as the psABI and Linux say, else with a number.
	.text
	.globl _start
_start:
	orq %rbx, %rax
	orq %rcx, %rax
	orq %rdx, %rax
	orq %rsi, %rax
	orq %rdi, %rax
	orq %rbp, %rax
	orq %r8, %rax
	orq %r9, %rax
	orq %r10, %rax
	orq %r11, %rax
	orq %r12, %rax
	orq %r13, %rax
	orq %r14, %rax
	orq %r15, %rax
	movl $1, %edi
	jnz exit
	movq %xmm0, %rax
	movq %xmm15, %rcx
	movl $2, %edi
	orq %rcx, %rax
	jnz exit
	movl $3, %edi
	testq $15, %rsp
	jnz exit
	xorl %edi, %edi
exit:	movl $60, %eax
	syscall
	.section .note.GNU-stack, "", @progbits
