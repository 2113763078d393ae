/* SPDX-License-Identifier: MIT */
/* SVM: the CPU made ready, a vCPU set up, run, its events injected. */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu.h"

struct guest;

/* Switch SVM on, GIF off for good, host save area in place. Context: once per CPU. */
void svm_enable(void);

/* vCPU @index in the state that loaders start from: real values for nothing but the intercepts. */
struct vcpu *svm_vcpu_create(struct guest *guest, uint32_t index);

/* The running CPU is the vCPU's from now on. Context: after svm_enable() on that CPU. */
void svm_vcpu_attach(struct vcpu *vcpu);

/* Run the guest until it ends: guest->outcome says how. All vCPUs have stopped then. */
void svm_vcpu_run(struct vcpu *vcpu);

/* --- for exit handlers --- */

/* What svm_exit() tells the world switch. */
enum svm_next { SVM_RESUME = 0, SVM_STOP = 1 };

/* Put an exception into the guest at the next entry. */
void svm_inject(struct vcpu *vcpu, enum vector vector);
void svm_inject_code(struct vcpu *vcpu, enum vector vector, uint32_t code);
void svm_inject_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t code);

/* An NMI for the guest: at the next entry, or when its NMI handler has returned. */
void svm_nmi_queue(struct vcpu *vcpu);
void svm_nmi_deliver(struct vcpu *vcpu);

/* A vector that the local APIC has handed out already goes to the guest. */
void svm_interrupt_requeue(struct vcpu *vcpu, unsigned vector);

/* An event whose delivery was interrupted by this exit is delivered again. */
void svm_event_requeue(struct vcpu *vcpu);

/* RFLAGS.TF is set: the trap after an instruction that the hypervisor has done. */
void svm_single_step(struct vcpu *vcpu);

#define RFLAGS_TF (UINT64_C(1) << 8)
#define RFLAGS_IF (UINT64_C(1) << 9)

/* The instruction is done: go past it, as the CPU does when it retires one. */
static inline void svm_skip(struct vcpu *vcpu, unsigned bytes)
{
	struct vmcb_save *save = &vcpu->vmcb.save;
	uint64_t rip = save->rip + bytes;

	save->rip = vcpu_is_64bit(vcpu) ? rip : (uint32_t)rip;
	vcpu->vmcb.control.interrupt_shadow = 0;
	if (__builtin_expect((save->rflags & RFLAGS_TF) != 0, 0))
		svm_single_step(vcpu);
}

/* If the guest is in a HLT, it has ended: the guest goes on after it. */
void svm_halt_end(struct vcpu *vcpu);

/* GIF on for a moment, so that the CPU takes an NMI or SMI that waits. */
void svm_gif_window(void);

/* The library's last word before VMRUN. Called through smp_enter() if there are several vCPUs. */
enum svm_next svm_enter(struct vcpu *vcpu);

/* Called by switch.S after each exit. */
int svm_exit(struct vcpu *vcpu);
/* switch.S */
void svm_run(struct vcpu *vcpu);

#endif
