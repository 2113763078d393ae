/* SPDX-License-Identifier: MIT */
/*
 * The world switch: run the guest, call svm_exit() for each exit, until it says stop.
 *
 * GIF is 0 from svm_enable() on; VMRUN sets it for the guest, #VMEXIT clears it. struct vcpu
 * begins with the VMCB and memory is identity-mapped, so its address is the VMCB's physical
 * address, too. RAX and RSP of the guest are in the VMCB.
 *
 * void svm_run(struct vcpu *vcpu)
 */
#include "layout.h"

	.macro each_register action
	\action %rcx, 1
	\action %rdx, 2
	\action %rbx, 3
	\action %rbp, 5
	\action %rsi, 6
	\action %rdi, 7
	\action %r8, 8
	\action %r9, 9
	\action %r10, 10
	\action %r11, 11
	\action %r12, 12
	\action %r13, 13
	\action %r14, 14
	\action %r15, 15
	.endm
	.macro load register, number
	movq VCPU_REGS + 8 * \number(%rax), \register
	.endm
	.macro store register, number
	movq \register, VCPU_REGS + 8 * \number(%rax)
	.endm

	.text
	.globl svm_run
svm_run:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rdi				/* keeps the stack aligned at the call, too */
1:	rdtsc
	movl %eax, VCPU_TSC_RUN(%rdi)
	movl %edx, VCPU_TSC_RUN + 4(%rdi)
	movq %rdi, %rax
	each_register load
	vmload
	vmrun
	vmsave
	movq (%rsp), %rax
	each_register store
	movq %rax, %rdi
	rdtsc
	movl %eax, VCPU_TSC_EXIT(%rdi)
	movl %edx, VCPU_TSC_EXIT + 4(%rdi)
	movq VCPU_HOST_VMCB(%rdi), %rax
	vmload
	call svm_exit
	movq (%rsp), %rdi
	testl %eax, %eax
	jz 1b
	popq %rdi
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.section .note.GNU-stack, "", @progbits
