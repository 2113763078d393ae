/* SPDX-License-Identifier: MIT */
/*
 * Several vCPUs, each on a CPU of its own for good. What one wants of another it writes as a
 * request into the other's struct vcpu, then sends an NMI: the other leaves the guest, or wakes.
 */
#ifndef HV_SVM_SMP_H
#define HV_SVM_SMP_H

#include "svm.h"

enum smp_request {
	SMP_INIT = 1 << 0,
	SMP_STARTUP = 1 << 1, /* vector in vcpu->startup_vector */
	SMP_NMI = 1 << 2,     /* for the guest */
	SMP_LOOK = 1 << 3,    /* look at the registers for the watchdog */
};

/* Ask another vCPU for something. Context: its own CPU, or any other; outside the guest. */
void smp_request(struct vcpu *to, uint32_t what);

/* First thing after #VMEXIT if there are several vCPUs. */
void smp_leave(struct vcpu *vcpu);

/* Last thing before VMRUN if there are several vCPUs: requests, waiting, entry. */
enum svm_next smp_enter(struct vcpu *vcpu);

/*
 * Guest memory that goes away (resident=). A vCPU is busy with guest memory from its exit to its
 * entry, unless it rests. smp_hold() returns when no other vCPU is busy, and keeps them from
 * becoming so until smp_release(): they stay in the guest or wait. False: another vCPU does it.
 */
void smp_busy_begin(struct vcpu *vcpu);
void smp_busy_end(struct vcpu *vcpu);
bool smp_hold(struct vcpu *vcpu);
void smp_release(struct vcpu *vcpu);

/* HLT with interrupts off: rest until an NMI or INIT comes; the last one to rest ends the guest. */
void smp_halt(struct vcpu *vcpu, unsigned bytes);

/* port->lock_wait and lock_wake: whoever waits for long sleeps until an NMI. */
void smp_doze(struct vcpu *vcpu, unsigned turn);
void smp_wake(struct guest *guest);

/* port->tlb_flush: returns when each vCPU that was in the guest has left it. */
void smp_tlb_flush(struct guest *guest);

/*
 * Around a write on the guest's behalf, until the library has been told: in between an audit would
 * find a table that differs from the guest's. Context: no locks.
 */
void smp_tell_begin(struct vcpu *vcpu);
void smp_tell_end(struct vcpu *vcpu);
/* Around an audit. */
void smp_audit_begin(struct vcpu *vcpu);
void smp_audit_end(struct vcpu *vcpu);

/* Have the others look once more at what their local APICs hold. */
void smp_look_again(struct guest *guest);

/* This vCPU has ended: make the others end, too. Returns when they have. */
void smp_stop(struct vcpu *vcpu);

/* Bit per vCPU that a command of @vcpu to the local APIC reaches. */
uint32_t smp_targets(const struct vcpu *vcpu, uint32_t command, uint32_t destination);

/* The state after INIT: real mode; waits for STARTUP. */
void smp_reset(struct vcpu *vcpu);

#endif
