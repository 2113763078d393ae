/* SPDX-License-Identifier: MIT */
/* A multiboot1 kernel's way into long mode: identity page tables for 4 GiB with 2M pages. */
	.set MAGIC, 0x1badb002
	.set FLAGS, 0x3

	.section .multiboot, "a"
	.balign 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.code32
	.globl entry
entry:
	cli
	movl $stack_end, %esp
	movl %ebx, %esi				/* multiboot information */

	movl $pdpt + 3, pml4
	movl $directories + 3, %eax
	movl $pdpt, %edi
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b
	movl $0x83, %eax
	movl $directories, %edi
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b

	movl $0x20, %eax			/* CR4.PAE */
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx			/* EFER.LME */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80000011, %eax			/* CR0: PG, ET, PE */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmpl $8, $1f
	.code64
1:	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $stack_end, %esp
	movl %esi, %edi
	xorl %ebp, %ebp
	call test_main
1:	cli
	hlt
	jmp 1b

	.section .rodata
	.balign 8
gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.section .bss
	.balign 4096
pml4:
	.skip 4096
pdpt:
	.skip 4096
directories:
	.skip 4 * 4096
	.skip 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
