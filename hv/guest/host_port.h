/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's port (hostport=on): what a host does to a running guest's slots, asked for by
 * the guest and timed. The protocol is in bench/guest/host.c.
 */
#ifndef HV_GUEST_HOST_PORT_H
#define HV_GUEST_HOST_PORT_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

enum { PORT_HOST = 0x5b0, PORT_HOST_COUNT = 12 };

/* Write to PORT_HOST: do an operation. False: the guest has ended. */
bool host_port_write(struct vcpu *vcpu, uint16_t port, uint32_t value);

uint32_t host_port_read(uint16_t port);

#endif
