/* SPDX-License-Identifier: MIT */
/*
 * Interrupts, exceptions and software interrupts whose delivery faults: each goes onto a stack
 * page that the guest has never touched, so that a nested page fault interrupts the delivery.
 * None may be lost or come twice. Ends with 0, or with the number of the kind that went wrong.
 */
	.set ROUNDS, 500
	.set STACKS, 0x1000000
	.set STEP, 0x8000			/* further apart than the library prefetches */
	.set IDT, 0x500000
	.set LOCAL_APIC, 0xfee00000

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl entry
entry:
	movl $0x300000, %esp
	movl $IDT, %edi
	movl $on_interrupt, %eax
	movl $0x40, %ecx
	call gate_set
	movl $on_undefined, %eax
	movl $6, %ecx
	call gate_set
	movl $on_breakpoint, %eax
	movl $3, %ecx
	call gate_set
	movl $on_software, %eax
	movl $0x80, %ecx
	call gate_set
	lidt idt_pointer
	movb $0xff, %al
	outb %al, $0x21				/* nothing from the PIC */
	outb %al, $0xa1
	movl $0x1ff, LOCAL_APIC + 0xf0		/* local APIC on */
	movl $STACKS, %ebx
	movl $ROUNDS, %esi
1:	leal 64(%ebx), %esp
	sti
	movl $0x44040, LOCAL_APIC + 0x300	/* vector 0x40 to itself */
2:	testl $0x1000, LOCAL_APIC + 0x300
	jnz 2b
	nop
	cli
	addl $STEP, %ebx
	leal 64(%ebx), %esp
	ud2
	addl $STEP, %ebx
	leal 64(%ebx), %esp
	int3
	addl $STEP, %ebx
	leal 64(%ebx), %esp
	int $0x80
	addl $STEP, %ebx
	decl %esi
	jnz 1b

	movb $1, %al
	cmpl $ROUNDS, interrupts
	jne 3f
	movb $2, %al
	cmpl $ROUNDS, undefined
	jne 3f
	movb $3, %al
	cmpl $ROUNDS, breakpoints
	jne 3f
	movb $4, %al
	cmpl $ROUNDS, software
	jne 3f
	xorb %al, %al
3:	outb %al, $0xf4
	hlt

gate_set:					/* eax: handler, ecx: vector */
	leal (%edi, %ecx, 8), %edx
	movw %ax, (%edx)
	movw %cs, 2(%edx)
	movw $0x8e00, 4(%edx)
	shrl $16, %eax
	movw %ax, 6(%edx)
	ret

on_interrupt:
	incl interrupts
	movl $0, LOCAL_APIC + 0xb0		/* end of interrupt */
	iret
on_undefined:
	incl undefined
	addl $2, (%esp)
	iret
on_breakpoint:
	incl breakpoints
	iret
on_software:
	incl software
	iret

	.balign 8
idt_pointer:
	.word 0x7ff
	.long IDT

	.section .bss
interrupts:
	.skip 4
undefined:
	.skip 4
breakpoints:
	.skip 4
software:
	.skip 4

	.section .note.GNU-stack, "", @progbits
