/* SPDX-License-Identifier: MIT */
/*
 * Guests that do with page tables what no system does; -DBAD=n chooses. Each checks that it gets
 * what hardware gives, and leaves with 0; else with a number that says where it went wrong.
 */
	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.set P, 1
	.set RW, 3
	.set BIG, 0x83				/* present, writable, a big page */
	.set TABLES, 0x800000			/* memory for tables, all zero at first */
	.set DATA, 0x900000
	.set CR0_PG, 0x80000000

/* Leave with this number. */
	.macro leave number
	movb $\number, %al
	outb %al, $0xf4
	hlt
	.endm

/* A fault is wanted: with this error code, but for the present bit, which not every CPU sets with
 * the reserved bit. Where it came from is left by a jump to 9f. */
	.macro want_fault code
	movl $\code, wanted
	movl $9f, resume
	.endm

	.text
	.code32
	.globl entry
entry:
	cli
	movl $0x300000, %esp
	lgdt gdt_pointer
	ljmpl $8, $1f
1:	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $page_fault, %eax
	movw %ax, idt + 14 * 8
	shrl $16, %eax
	movw %ax, idt + 14 * 8 + 6
	lidt idt_pointer
	jmp start

page_fault:
	popl %eax
	andl $~P, %eax
	movl %cr2, %ebx
	movl wanted, %ecx
	movl $0, wanted				/* one fault, not more */
	cmpl %ecx, %eax
	jne fault_is_wrong
	popl %eax				/* EIP */
	pushl resume
	iret
fault_is_wrong:
	leave 2

#if BAD == 1				/* PAE tables full of ones: every reserved bit is set */
start:
	movl $TABLES + 0x1000 + P, TABLES	/* page-directory pointers */
	movl $0x400000 + BIG, TABLES + 0x1000 + 2 * 8	/* the kernel, in place */
	movl $0x200000 + BIG, TABLES + 0x1000 + 1 * 8	/* and its stack */
	movl $TABLES + 0x2000 + RW, TABLES + 0x1000 + 4 * 8
	movl $-1, TABLES + 0x1000 + 3 * 8
	movl $-1, TABLES + 0x1000 + 3 * 8 + 4
	movl $TABLES + 0x2000, %edi
	movl $1024, %ecx
	movl $-1, %eax
	cld
	rep stosl
	movl $0x20, %eax			/* CR4.PAE */
	movl %eax, %cr4
	movl $TABLES, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	movl $100, %esi
1:	want_fault 8
	movl 0x600123, %eax			/* a directory entry of ones */
	leave 3
9:	want_fault 8
	movl 0x800456, %eax			/* table entries of ones */
	leave 4
9:	want_fault 10
	movl %eax, 0x9ff000
	leave 5
9:	want_fault 0
	movl 0xa00000, %eax			/* nothing there: not present, and not reserved */
	leave 6
9:	decl %esi
	jnz 1b
	leave 0

#elif BAD == 2				/* CR3 where a device is: nothing can be fetched any more */
start:
	movl $0xfee00000, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	leave 3

#elif BAD == 3				/* a loop of mode switches, all over the same page */
	.set DIR32, TABLES
	.set PTRS, TABLES + 0x1000		/* PAE */
	.set DIR64, TABLES + 0x2000		/* PAE and long mode: the same directory */
	.set PML4, TABLES + 0x3000
	.set PDPT64, TABLES + 0x4000
start:
	movl $0x000000 + BIG, DIR32 + 0 * 4	/* 4M pages in place */
	movl $0x400000 + BIG, DIR32 + 1 * 4
	movl $0x800000 + BIG, DIR32 + 2 * 4
	movl $0x800000 + BIG, DIR32 + 3 * 4	/* 12M is 8M in 32-bit mode, */
	movl $DIR64 + P, PTRS
	movl $0x200000 + BIG, DIR64 + 1 * 8
	movl $0x400000 + BIG, DIR64 + 2 * 8
	movl $0x800000 + BIG, DIR64 + 4 * 8
	movl $0x800000 + BIG, DIR64 + 7 * 8	/* 14M is, with the others */
	movl $PDPT64 + 7, PML4
	movl $DIR64 + 7, PDPT64
	movl $0, %ebp
	movl $300, %esi
1:	movl $0x10, %eax			/* 32-bit, CR4.PSE */
	movl %eax, %cr4
	movl $DIR32, %eax
	movl %eax, %cr3
	call paging_on
	incl 0xc00000 + (DATA - 0x800000)
	incl %ebp
	cmpl %ebp, DATA
	jne wrong
	call paging_off
	incl DATA
	incl %ebp
	movl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl $PTRS, %eax
	movl %eax, %cr3
	call paging_on
	incl 0xe00000 + (DATA - 0x800000)
	incl %ebp
	cmpl %ebp, DATA
	jne wrong
	want_fault 2
	movl %eax, 0xc00000			/* is nothing here */
	leave 4
9:	call paging_off
	movl $0xc0000080, %ecx			/* EFER.LME: long mode, in a 32-bit segment */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $PML4, %eax
	movl %eax, %cr3
	call paging_on
	incl 0xe00000 + (DATA - 0x800000)
	incl %ebp
	cmpl %ebp, DATA
	jne wrong
	call paging_off
	movl $0xc0000080, %ecx
	rdmsr
	andl $~0x100, %eax
	wrmsr
	decl %esi
	jnz 1b
	leave 0
wrong:
	leave 3

paging_on:
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	ret
paging_off:
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	ret

#elif BAD == 4				/* a directory that is its own last table */
	.set SELF, 0xffc00000			/* table i at SELF + 4096 i */
	.set DIR, TABLES
	.set TABLE, TABLES + 0x1000		/* of 12M .. 16M */
start:
	movl $0x000000 + BIG, DIR + 0 * 4
	movl $0x400000 + BIG, DIR + 1 * 4
	movl $0x800000 + BIG, DIR + 2 * 4
	movl $TABLE + RW, DIR + 3 * 4
	movl $DIR + RW, DIR + 1023 * 4
	movl $0x10, %eax
	movl %eax, %cr4
	movl $DIR, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $CR0_PG + 0x10000, %eax		/* and CR0.WP */
	movl %eax, %cr0
	movl $0x11111111, DATA
	movl $0x22222222, DATA + 0x1000
	movl $500, %esi
1:	movl $DATA + RW, SELF + 3 * 4096	/* 12M: through the table that maps itself */
	invlpg 0xc00000
	cmpl $0x11111111, 0xc00000
	jne wrong
	movl $DATA + 0x1000 + RW, SELF + 3 * 4096
	invlpg 0xc00000
	cmpl $0x22222222, 0xc00000
	jne wrong
	movl $0, SELF + 3 * 4096
	invlpg 0xc00000
	want_fault 0
	movl 0xc00000, %eax
	leave 4
9:	/* The directory through itself, then the very entry that makes this possible. */
	movl $TABLE + P, SELF + 1023 * 4096 + 3 * 4
	movl %cr3, %eax
	movl %eax, %cr3
	want_fault 2
	movl $0, SELF + 3 * 4096		/* the table is read-only now */
	leave 5
9:	movl $TABLE + RW, SELF + 1023 * 4096 + 3 * 4
	movl $DIR + P, SELF + 1023 * 4096 + 1023 * 4
	invlpg SELF + 1023 * 4096
	want_fault 2
	movl $DIR + RW, SELF + 1023 * 4096 + 1023 * 4
	leave 6
9:	movl $DIR + RW, DIR + 1023 * 4		/* in place, by the 4M page */
	movl %cr3, %eax
	movl %eax, %cr3
	decl %esi
	jnz 1b
	leave 0
wrong:
	leave 3

#elif BAD == 5				/* tables in ROM: whatever the firmware holds there */
	.set DIR, TABLES
	.set ROM, 0xf0000			/* 16 pages, page tables of 12M .. 76M */
	.set WINDOW, 0xc00000
	.set ROM_WORDS, 16 * 1024
start:
	movl $0x000000 + BIG, DIR + 0 * 4
	movl $0x400000 + BIG, DIR + 1 * 4
	movl $0x800000 + BIG, DIR + 2 * 4
	movl $ROM + RW, %eax
	movl $DIR + 3 * 4, %edi
1:	stosl
	addl $0x1000, %eax
	cmpl $ROM + 16 * 0x1000, %eax
	jb 1b
	movl $0x10, %eax
	movl %eax, %cr4
	movl $DIR, %eax
	movl %eax, %cr3
	call sum
	movl %eax, %ebp				/* of all that the ROM holds */
	movl %cr0, %eax
	orl $CR0_PG + 0x10000, %eax		/* and CR0.WP */
	movl %eax, %cr0
	xorl %esi, %esi				/* number of the entry */
each:
	movl %esi, %edi
	shll $12, %edi
	addl $WINDOW, %edi			/* its page */
	movl ROM(, %esi, 4), %edx
	testl $1, %edx
	jnz 2f
	incl absent
	want_fault 0
	movl (%edi), %eax
	leave 3
9:	jmp next
2:	testl $2, %edx
	jnz 3f
	incl readonly
	want_fault 2
	movl %eax, (%edi)
	leave 4
9:
3:	andl $0xfffff000, %edx			/* memory of ours, and no device? */
	cmpl $0x100000, %edx
	jb next
	cmpl $0xc00000, %edx
	jae next
	incl compared
	movl (%edi), %eax
	cmpl %eax, (%edx)
	jne wrong
next:
	incl %esi
	cmpl $ROM_WORDS, %esi
	jb each
	movl $-1, ROM				/* nobody can */
	movl $-1, ROM + 0xf000
	call sum				/* and no accessed bit was set */
	cmpl %eax, %ebp
	jne wrong
	cmpl $1000, absent			/* the firmware has some of each */
	jb few
	cmpl $100, readonly
	jb few
	cmpl $1, compared
	jb few
	leave 0
wrong:
	leave 5
few:
	leave 6

sum:
	xorl %eax, %eax
	xorl %ecx, %ecx
1:	roll $1, %eax
	addl ROM(, %ecx, 4), %eax
	incl %ecx
	cmpl $ROM_WORDS, %ecx
	jb 1b
	ret
#endif

	.data
	.balign 8
gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt
	.balign 8
idt:
	.fill 14, 8, 0
	.word 0, 8, 0x8e00, 0
idt_pointer:
	.word . - idt - 1
	.long idt
	.balign 4
wanted:
	.long 0
resume:
	.long 0
absent:
	.long 0
readonly:
	.long 0
compared:
	.long 0

	.section .note.GNU-stack, "", @progbits
