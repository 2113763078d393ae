/* SPDX-License-Identifier: MIT */
/* The few ports that the guest does not own: debug ports, COM2, power and reset. */
#ifndef HV_GUEST_PORTS_H
#define HV_GUEST_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "../svm/vcpu.h"

struct boot_info;

struct port_access {
	uint16_t port;
	uint8_t bytes; /* 1, 2 or 4 */
	bool is_read;
	bool is_string;
};

/*
 * Find the power management port in the ACPI tables. @host_port: the benchmark's port is there.
 * Context: before ports_for_each().
 */
void ports_init(const struct boot_info *boot, bool host_port);

/* Call @intercept for every range of ports that must exit. */
void ports_for_each(void (*intercept)(unsigned first, unsigned count));

/* Do an intercepted access; a read's value goes to RAX. False: the guest has ended. */
bool ports_access(struct vcpu *vcpu, const struct port_access *access);

#endif
