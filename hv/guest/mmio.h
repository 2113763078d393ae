/* SPDX-License-Identifier: MIT */
/* Device accesses: the instruction that made one, run by the emulator. */
#ifndef HV_GUEST_MMIO_H
#define HV_GUEST_MMIO_H

#include "../svm/svm.h"

/* Run the instruction at RIP in software; device pages go to device.h. */
enum svm_next mmio_emulate(struct vcpu *vcpu);

#endif
