// The code of the pico page. The platform copies both pieces into the page's memfd; they run at any base.
#define SYS_munmap 11
#define SYS_rt_sigprocmask 14
#define SYS_rt_sigreturn 15
#define SYS_wait4 61
#define SYS_ptrace 101
#define SYS_waitid 247
#define SIG_SETMASK 2
#define SIGTRAP 5
#define PTRACE_CONT 7
#define P_PID 1
#define CLD_TRAPPED 4
#define WAIT_ALL 0x40000000			// __WALL
#define WAIT_STOPPED_OR_ENDED_NOWAIT 0x41000006	// __WALL | WNOWAIT | WEXITED | WSTOPPED
#define EINTR 4
#define SIGNAL_OFFSET 0xf00
#define RESTART_MAP_OFFSET 0xf80
#define RESTART_MAP_BITS 512
// struct ucontext
#define UC_R11 64
#define UC_RAX 144
#define UC_RCX 152
#define UC_RIP 168
#define UC_EFLAGS 176
// struct siginfo
#define SIGINFO_SIZE 128
#define SI_CODE 8
#define SI_STATUS 24
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

// At kPicoReturnOffset: the loader's last step where a debugger's exec stop waits. The stop comes when rt_sigreturn has
// unblocked SIGTRAP, with the program mapped and the registers that a native exec leaves.
// In: rdi, rsi = the loader's image; rbp = the address of a signal frame + 8.
	.globl usl_pico_return
	.globl usl_pico_return_end
	.hidden usl_pico_return, usl_pico_return_end
	.balign 16
usl_pico_return:
	movl $SYS_munmap, %eax
	syscall
	movq %rbp, %rsp
	movl $SYS_rt_sigreturn, %eax
	syscall
	hlt
usl_pico_return_end:

// At kPicoFollowOffset: a tracer whose tracee stands at its exec stop (PTRACE_EVENT_EXEC), where USL's loader starts, looks at
// the tracee or lets it go on. The kernel makes it come here first: it lets the tracee run to the SIGTRAP that waits at
// the start of the new program, and takes that stop, so that the exec stop is the one of a process that is made.
// In: r11 = the tracee; rcx = where to go back, to the tracer's own system call instruction; all else as it had called.
// Signals of the tracer wait meanwhile. Any other stop or end of the tracee is left for the tracer to see.
	.globl usl_pico_follow
	.globl usl_pico_follow_end
	.hidden usl_pico_follow, usl_pico_follow_end
	.balign 16
usl_pico_follow:
	leaq -128(%rsp), %rsp
	pushfq
	pushq %rcx
	pushq %rax
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %r10
	pushq %r8
	pushq %r11
	pushq $-1
	subq $SIGINFO_SIZE, %rsp
	// The old mask takes the place of the full one.
	movl $SIG_SETMASK, %edi
	leaq SIGINFO_SIZE(%rsp), %rsi
	movq %rsi, %rdx
	movl $8, %r10d
	movl $SYS_rt_sigprocmask, %eax
	syscall
	movl $PTRACE_CONT, %edi
	movq SIGINFO_SIZE+8(%rsp), %rsi
	xorl %edx, %edx
	xorl %r10d, %r10d
	movl $SYS_ptrace, %eax
	syscall
	testq %rax, %rax
	jnz 1f
	movl $P_PID, %edi
	movq SIGINFO_SIZE+8(%rsp), %rsi
	movq %rsp, %rdx
	movl $WAIT_STOPPED_OR_ENDED_NOWAIT, %r10d
	xorl %r8d, %r8d
	movl $SYS_waitid, %eax
	syscall
	testq %rax, %rax
	jnz 1f
	cmpl $CLD_TRAPPED, SI_CODE(%rsp)
	jne 1f
	cmpl $SIGTRAP, SI_STATUS(%rsp)
	jne 1f
	movq SIGINFO_SIZE+8(%rsp), %rdi
	xorl %esi, %esi
	movl $WAIT_ALL, %edx
	xorl %r10d, %r10d
	movl $SYS_wait4, %eax
	syscall
1:	movl $SIG_SETMASK, %edi
	leaq SIGINFO_SIZE(%rsp), %rsi
	xorl %edx, %edx
	movl $8, %r10d
	movl $SYS_rt_sigprocmask, %eax
	syscall
	addq $SIGINFO_SIZE+8, %rsp
	popq %r11
	popq %r8
	popq %r10
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rax
	popq %rcx
	popfq
	leaq 128(%rsp), %rsp
	jmp *%rcx
usl_pico_follow_end:

// At kPicoSignalOffset: the signal trampoline, the handler of all signals whose own handler has no SA_RESTART.
//
// A served call that the kernel has not received yet is interrupted by a signal (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
// helps from then on only), and a handler without SA_RESTART makes EINTR of it, where Linux's stat, fork or kill never
// fail so. So such handlers are set with SA_RESTART and the trampoline in front (rt_sigaction is served): where the
// interrupted call is about to be started over, the trampoline makes EINTR of it as the handler wants, unless it is one
// of the restart map.
// In: as a handler; the real one is where the restorer's address should be.
	.globl usl_pico_signal
	.globl usl_pico_signal_end
	.hidden usl_pico_signal, usl_pico_signal_end
	.balign 16
usl_pico_signal:
	movq (%rsp), %r11
	leaq usl_pico_restorer(%rip), %rax
	movq %rax, (%rsp)
	// A call is started over: at its instruction, with rcx and r11 as that instruction had left them.
	movq UC_RIP(%rdx), %rcx
	addq $2, %rcx
	cmpq %rcx, UC_RCX(%rdx)
	jne 1f
	movq UC_EFLAGS(%rdx), %rax
	cmpq %rax, UC_R11(%rdx)
	jne 1f
	movq UC_RAX(%rdx), %rax
	cmpq $RESTART_MAP_BITS, %rax
	jae 1f
	leaq usl_pico_signal(%rip), %r8
	btq %rax, RESTART_MAP_OFFSET-SIGNAL_OFFSET(%r8)
	jc 1f
	movq %rcx, UC_RIP(%rdx)
	movq $-EINTR, UC_RAX(%rdx)
1:	xorl %eax, %eax
	jmp *%r11
	// In these very bytes, by which debuggers and unwinders know a signal frame.
usl_pico_restorer:
	movq $SYS_rt_sigreturn, %rax
	syscall
usl_pico_signal_end:

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
// Before the native execve the stub blocks all signals: the exec stop that Linux orders for a tracer without
// PTRACE_O_TRACEEXEC is a SIGTRAP, and waits so until the loader is done (kPlanRestoreSignalMask).
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
1:	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq $-1
	pushq $0
	movl $SIG_SETMASK, %edi
	leaq 8(%rsp), %rsi
	movq %rsp, %rdx
	movl $8, %r10d
	movl $SYS_rt_sigprocmask, %eax
	syscall
	movq %rax, %r8
	movq 16(%rsp), %rsi
	movq 24(%rsp), %rdx
	leaq usl_pico_stub(%rip), %rdi
	andq $-4096, %rdi
	movl $SYS_execve, %eax
	syscall
	movq %rax, 48(%rsp)
	testq %r8, %r8
	jnz 3f
	movl $SIG_SETMASK, %edi
	movq %rsp, %rsi
	xorl %edx, %edx
	movl $8, %r10d
	movl $SYS_rt_sigprocmask, %eax
	syscall
3:	addq $32, %rsp
	popq %r10
	popq %r8
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
