/* SPDX-License-Identifier: MIT */
/* The intercepted model-specific registers. */
#ifndef HV_GUEST_MSR_H
#define HV_GUEST_MSR_H

#include <stdbool.h>
#include <stdint.h>

#include "../svm/vcpu.h"

/* False: the guest gets #GP; unknown registers are counted. */
bool msr_guest_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
bool msr_guest_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

#endif
