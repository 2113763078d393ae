/* SPDX-License-Identifier: MIT */
/* Kernels that end in one way each; -DENDING=n chooses. What the run must say is in run.py. */
	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl entry
entry:
	movl $0x300000, %esp
#if ENDING == 1					/* halt: interrupts off */
	cli
	hlt
#elif ENDING == 2				/* crash: triple fault */
	lidt empty
	ud2
#elif ENDING == 3				/* stall: never again an exit */
	cli
1:	jmp 1b
#elif ENDING == 4				/* timeout: halted, interrupts on, none comes */
	movb $0xff, %al
	outb %al, $0x21
	outb %al, $0xa1
	sti
1:	hlt
	jmp 1b
#elif ENDING == 5				/* reset: by the keyboard controller */
	movb $0xfe, %al
	outb %al, $0x64
	hlt
#elif ENDING == 6				/* reset: INIT to itself */
	movl $0x44500, 0xfee00300
	hlt
#elif ENDING == 7				/* exit, with 3 */
	movb $3, %al
	outb %al, $0xf4
	hlt
#elif ENDING == 8				/* crash: page tables where no memory is */
	movl $0xd0000000, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	hlt
#endif

	.balign 8
empty:
	.word 0
	.long 0

	.section .note.GNU-stack, "", @progbits
