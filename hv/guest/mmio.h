/* SPDX-License-Identifier: MIT */
/* Instructions of the guest, run by the emulator. */
#ifndef HV_GUEST_MMIO_H
#define HV_GUEST_MMIO_H

#include "../emulate/execute.h"
#include "../svm/svm.h"

/*
 * Run the instruction at RIP in software; device pages go to device.h, and writes to memory are
 * told to the library. False: the emulator does not know it, nothing happened.
 */
bool mmio_try(struct vcpu *vcpu, enum svm_next *next);

/* The same, for instructions that nobody else can do: if that fails the guest ends. */
enum svm_next mmio_emulate(struct vcpu *vcpu);

/* The vCPU's registers as the emulator has them. */
void mmio_cpu_load(struct vcpu *vcpu, struct emu_cpu *cpu);

#endif
