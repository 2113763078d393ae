/* SPDX-License-Identifier: MIT */
/* The hypervisor as the library's host: callbacks, VM, slots. */
#ifndef HV_GUEST_PORT_H
#define HV_GUEST_PORT_H

#include "guest.h"

/**
 * port_vm_create() - make guest->vm with a slot for every region of guest->memory.
 * Return: VMMU_OK, or what the library said.
 */
enum vmmu_error port_vm_create(struct guest *guest);

/* The slot of region @index: comes back, goes. False: the library refused. */
bool port_slot_create(struct guest *guest, unsigned index);
bool port_slot_delete(struct guest *guest, unsigned index);
/* The slot of a region, whose index is its id. */
enum vmmu_error port_slot_add(struct guest *guest, unsigned index);

/* Check everything; findings are reported (the first 20 in words) and counted. */
void port_audit(struct vcpu *vcpu);

/* Check a few tables more. Called at every exit with audit=sample. */
void port_audit_step(struct vcpu *vcpu);

#endif
