/* SPDX-License-Identifier: MIT */
/*
 * From the boot loader to C: multiboot1 header, 32-bit entry, early page tables (the first
 * 4 GiB, 2M pages, everything writable), long mode, platform_start(). Also the way to
 * 5-level paging and back, which has to leave long mode for a moment.
 *
 * The early tables serve until paging_init() has built the real ones.
 */
#include "../platform/layout.h"

	.set HEADER_MAGIC, 0x1badb002
	.set HEADER_FLAGS, 0x00000003		/* page-aligned modules, memory map */
	.set ENTRY_FLAGS, 0x03			/* present, writable */
	.set LARGE_FLAGS, 0x83			/* present, writable, large page */
	.set CR0_PG_BIT, 1 << 31
	.set CR0_WP_BIT, 1 << 16
	.set CR0_PE_BIT, 1 << 0
	.set CR0_NE_ET_MP_BITS, 1 << 5 | 1 << 4 | 1 << 1
	.set CR4_PAE_BIT, 1 << 5
	.set CR4_LA57_BIT, 1 << 12
	.set EFER_LME_BIT, 1 << 8
	.set MSR_EFER, 0xc0000080

	.section .multiboot, "a"
	.balign 4
	.long HEADER_MAGIC
	.long HEADER_FLAGS
	.long -(HEADER_MAGIC + HEADER_FLAGS)

	.section .text
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	movl %eax, %ebp				/* loader's magic; ebx: its information */
	movl $boot_stack + GUARD_BYTES + STACK_BYTES, %esp

	movl $text_no_multiboot, %esi
	cmpl $MULTIBOOT_BOOT_MAGIC, %ebp
	jne boot_refuse

	/* A CPU without CPUID predates everything needed here: EFLAGS.ID does not toggle. */
	movl $text_no_long_mode, %esi
	pushfl
	popl %eax
	movl %eax, %ecx
	xorl $1 << 21, %eax
	pushl %eax
	popfl
	pushfl
	popl %eax
	cmpl %ecx, %eax
	je boot_refuse

	movl %ebx, %edi
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb boot_refuse
	movl $0x80000001, %eax
	cpuid
	testl $1 << 29, %edx
	jz boot_refuse
	movl %edi, %ebx

	movl $early_pdpt + ENTRY_FLAGS, early_pml4
	movl $early_pd + ENTRY_FLAGS, %eax
	movl $early_pdpt, %edi
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b

	movl $LARGE_FLAGS, %eax
	movl $early_pd, %edi
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b

	movl $CR4_PAE_BIT, %eax
	movl %eax, %cr4
	movl $early_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_BIT, %eax
	wrmsr
	movl $CR0_PG_BIT | CR0_WP_BIT | CR0_NE_ET_MP_BITS | CR0_PE_BIT, %eax
	movl %eax, %cr0
	lgdt early_gdt_pointer
	ljmpl $SELECTOR_CODE64, $boot_long_mode

	/* esi: a sentence for the user. To COM1 and the report channel; ends the machine. */
boot_refuse:
	movl $text_error, %ebx
	call boot_print_report
	movl %esi, %ebx
	call boot_print_report
	movl %esi, %ebx
	call boot_print_com1
	movl $text_end, %ebx
	call boot_print_report
	movb $1, %al
	outb %al, $PORT_DEBUG_EXIT
1:	hlt
	jmp 1b

boot_print_report:
	movb (%ebx), %al
	testb %al, %al
	jz 1f
	outb %al, $PORT_REPORT
	incl %ebx
	jmp boot_print_report
1:	ret

boot_print_com1:
	movl $100000, %ecx			/* bounded wait for room to send */
1:	movw $PORT_COM1 + 5, %dx
	inb %dx, %al
	testb $0x20, %al
	jnz 2f
	pause
	decl %ecx
	jnz 1b
2:	movb (%ebx), %al
	testb %al, %al
	jz 3f
	movw $PORT_COM1, %dx
	outb %al, %dx
	incl %ebx
	jmp boot_print_com1
3:	ret

	.code64
boot_long_mode:
	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movl $boot_stack + GUARD_BYTES + STACK_BYTES, %esp
	movl %ebx, %edi
	xorl %ebp, %ebp				/* end of the frame-pointer chain */
	call platform_start
	ud2

	/*
	 * A CPU started by STARTUP comes here from the trampoline: 32-bit protected mode, the early
	 * GDT. One at a time: the stack that is named is its own.
	 */
	.code32
ap_protected:
	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $CR4_PAE_BIT, %eax
	movl %eax, %cr4
	movl $early_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_BIT, %eax
	wrmsr
	movl $CR0_PG_BIT | CR0_WP_BIT | CR0_NE_ET_MP_BITS | CR0_PE_BIT, %eax
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE64, $1f
	.code64
1:	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq ap_stack_top, %rsp
	xorl %ebp, %ebp
	call ap_enter
	ud2

	/*
	 * void paging_switch_la57(uint64_t cr3): CR4.LA57 changes only with paging off, and
	 * paging goes off only from 32-bit code. Runs identity-mapped below 4 GiB, stack too.
	 */
	.globl paging_switch_la57
paging_switch_la57:
	pushq %rbx
	pushq %rbp
	movq %rsp, %rbp
	pushq $SELECTOR_CODE32
	pushq $1f
	lretq
	.code32
1:	movl $SELECTOR_DATA, %eax		/* 32-bit stack accesses need a real limit */
	movl %eax, %ss
	movl %cr0, %ebx
	movl %ebx, %eax
	andl $~CR0_PG_BIT, %eax
	movl %eax, %cr0
	movl %cr4, %eax
	orl $CR4_LA57_BIT, %eax
	movl %eax, %cr4
	movl %edi, %cr3
	movl %ebx, %cr0
	ljmpl $SELECTOR_CODE64, $2f
	.code64
2:	movl %ebp, %ebp				/* upper halves are undefined after 32-bit code */
	movq %rbp, %rsp
	popq %rbp
	popq %rbx
	ret

	.section .rodata
	/* Copied to a page below 1 MiB, where STARTUP lets a CPU begin: CS is it, IP is 0. */
	.globl ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	lgdtl ap_gdt_pointer - ap_trampoline
	movl %cr0, %eax
	orb $CR0_PE_BIT, %al
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE32, $ap_protected
ap_gdt_pointer:
	.word early_gdt_pointer - early_gdt - 1
	.long early_gdt
ap_trampoline_end:
	.code64

text_error:
	.asciz "error "
text_end:
	.asciz "end 1\n"
text_no_multiboot:
	.asciz "the hypervisor image must be started by a multiboot1 loader (qemu -kernel)\n"
text_no_long_mode:
	.asciz "this CPU has no 64-bit mode; give QEMU a model such as -cpu EPYC,+svm,+npt\n"

	.balign 8
early_gdt:
	.quad 0
	.quad 0x00af9b000000ffff		/* SELECTOR_CODE64 */
	.quad 0x00cf93000000ffff		/* SELECTOR_DATA */
	.quad 0x00cf9b000000ffff		/* SELECTOR_CODE32 */
early_gdt_pointer:
	.word . - early_gdt - 1
	.long early_gdt

	.section .bss
	.balign 4096
early_pml4:
	.skip 4096
early_pdpt:
	.skip 4096
early_pd:
	.skip 4 * 4096

	.section .note.GNU-stack, "", @progbits
