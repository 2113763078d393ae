/* SPDX-License-Identifier: MIT */
/* What the guest learns about its CPU: the real one, less what it cannot use. */
#ifndef HV_GUEST_CPUID_H
#define HV_GUEST_CPUID_H

#include <stdint.h>

#include "../platform/platform.h"
#include "../svm/vcpu.h"

void cpuid_answer(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);

/* CR4 bits that the guest's CPU has; all others are #GP. */
uint64_t cpuid_cr4_bits(const struct vcpu *vcpu);

#endif
