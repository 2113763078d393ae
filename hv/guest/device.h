/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical addresses without memory: the physical I/O APIC, HPET and local APIC belong
 * to the guest and are forwarded to; elsewhere reads give ones and writes go nowhere.
 */
#ifndef HV_GUEST_DEVICE_H
#define HV_GUEST_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "../svm/vcpu.h"

/* Take the command's way in, NMIs through LINT1, into use. Context: before the guest. */
void device_init(void);

void device_read(struct vcpu *vcpu, uint64_t gpa, uint32_t bytes, void *value);

/* May end the guest (an INIT to itself). */
void device_write(struct vcpu *vcpu, uint64_t gpa, uint32_t bytes, const void *value);

/* Whether the guest has routed some interrupt as NMI, other than LINT1. */
bool device_has_nmi_source(const struct vcpu *vcpu);

#endif
