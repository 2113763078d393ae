/* SPDX-License-Identifier: MIT */
/*
 * Exception entry: one stub a vector, a common tail that saves registers as
 * struct trap_frame, and the few instructions that may fault with a fix-up.
 */
#include "layout.h"

	/* Vectors that push an error code: 8, 10-14, 17, 21, 29, 30. */
	.set ERROR_CODE_VECTORS, 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:					/* 16 bytes each */
	.set vector, 0
	.rept 256
	.balign 16
	.if vector < 32
	.if ((ERROR_CODE_VECTORS >> vector) & 1) == 0
	pushq $0
	.endif
	.else
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

	.balign 16
trap_common:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rdi
	cld
	call trap_handle
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

	/* A fault at \from continues at \to. */
	.macro fixup from, to
	.pushsection .fixups, "a"
	.quad \from, \to
	.popsection
	.endm

	/* bool rdmsr_safe(uint32_t msr, uint64_t *value) */
	.globl rdmsr_safe
rdmsr_safe:
	movl %edi, %ecx
1:	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	movq %rax, (%rsi)
	movl $1, %eax
	ret
2:	movq $0, (%rsi)
	xorl %eax, %eax
	ret
	fixup 1b, 2b

	/* bool wrmsr_safe(uint32_t msr, uint64_t value) */
	.globl wrmsr_safe
wrmsr_safe:
	movl %edi, %ecx
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
1:	wrmsr
	movl $1, %eax
	ret
2:	xorl %eax, %eax
	ret
	fixup 1b, 2b

	/* bool read_u64_safe(const void *address, uint64_t *value) */
	.globl read_u64_safe
read_u64_safe:
1:	movq (%rdi), %rax
	movq %rax, (%rsi)
	movl $1, %eax
	ret
2:	movq $0, (%rsi)
	xorl %eax, %eax
	ret
	fixup 1b, 2b

	/*
	 * void cpu_wait(void): until an NMI comes, or at once if one waits already. GIF is 0 before
	 * and after. The NMI handler goes on behind the HLT if it has interrupted before it.
	 */
	.globl cpu_wait, cpu_wait_halt, cpu_wait_end
cpu_wait:
	stgi
cpu_wait_halt:
	hlt
cpu_wait_end:
	clgi
	ret

	/* void cpu_load_tables(const void *gdt_pointer, const void *idt_pointer) */
	.globl cpu_load_tables
cpu_load_tables:
	lgdt (%rdi)
	lidt (%rsi)
	pushq $SELECTOR_CODE64
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
1:	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $SELECTOR_TSS, %eax
	ltr %ax
	ret

	.section .note.GNU-stack, "", @progbits
