// The code of the pico page. The platform copies both pieces into the page's memfd; they run at any base.
#define SYS_munmap 11
#define SYS_execve 59
// usl::protocol::kHypercallOffset - 8; embedded.h has the same, checked against it.
#define STUB_HYPERCALL_OFFSET 0xff0

	.section .rodata.usl_pico, "a", @progbits

// At kPicoLeaveOffset: the loader's last step. It runs here because the loader must be gone when the guest starts.
// In: rdi, rsi = the loader's image (address, length); rbx = where to go; rbp = the guest's stack pointer.
// The guest starts with all general registers clear, as after a native exec (rdx = 0: no function for atexit).
	.globl usl_pico_leave
	.globl usl_pico_leave_end
	.hidden usl_pico_leave, usl_pico_leave_end
	.balign 16
usl_pico_leave:
	movl $SYS_munmap, %eax
	syscall
	movq %rbp, %rsp
	movq %rbx, -8(%rsp)	// below the stack pointer nobody looks
	xorl %eax, %eax
	xorl %ebx, %ebx
	xorl %ecx, %ecx
	xorl %edx, %edx
	xorl %esi, %esi
	xorl %edi, %edi
	xorl %ebp, %ebp
	xorl %r8d, %r8d
	xorl %r9d, %r9d
	xorl %r10d, %r10d
	xorl %r11d, %r11d
	xorl %r12d, %r12d
	xorl %r13d, %r13d
	xorl %r14d, %r14d
	xorl %r15d, %r15d
	jmp *-8(%rsp)
usl_pico_leave_end:

// At kPicoStubOffset: exec of a task that a guest debugger traces, so that the kernel cannot seize it to set registers.
//
// The kernel checks the notified execve, writes usl::platform::loader::StubJump over the bytes behind the caller's
// `syscall` instruction and answers the notification with 0. The caller lands here with
//     rcx = the address behind its `syscall` (the processor puts it there), rax = the answer, all else untouched.
// The stub's hypercall (execve with first argument pico base + kHypercallOffset - 8, rsi, rdx and r10 as the caller had
// them) lets the kernel restore the bytes. Its answer:
//     0  go on: the caller had called execve(path, argv = rsi, envp = rdx)
//     1  go on: the caller had called execveat(dirfd, path, argv = rdx, envp = r10, flags)
//     anything else: this thread is not the one meant (a sibling that came through the same bytes): back to it with
//        the rax it had.
// If the native execve fails, the stub returns its error to the caller, with all registers as they were, but rcx and
// r11, which every system call destroys. Values are kept on the caller's stack below its red zone.
	.globl usl_pico_stub
	.globl usl_pico_stub_end
	.hidden usl_pico_stub, usl_pico_stub_end
	.balign 16
usl_pico_stub:
	leaq -128(%rsp), %rsp
	pushfq
	pushq %rcx
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rax
	leaq usl_pico_stub(%rip), %rdi
	andq $-4096, %rdi
	addq $STUB_HYPERCALL_OFFSET, %rdi
	movl $SYS_execve, %eax
	syscall
	testq %rax, %rax
	jz 1f
	cmpq $1, %rax
	jne 2f
	movq %rdx, %rsi
	movq %r10, %rdx
1:	andq $-4096, %rdi
	movl $SYS_execve, %eax
	syscall
	movq %rax, (%rsp)
2:	popq %rax
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rcx
	popfq
	leaq 128(%rsp), %rsp
	jmp *%rcx
usl_pico_stub_end:

// The loader itself, as built.
	.section .rodata.usl_loader, "a", @progbits
	.globl usl_loader_image
	.globl usl_loader_image_end
	.hidden usl_loader_image, usl_loader_image_end
	.balign 4096
usl_loader_image:
	.incbin USL_LOADER_FILE
usl_loader_image_end:

	.section .note.GNU-stack, "", @progbits
