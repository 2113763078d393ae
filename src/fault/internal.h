/* SPDX-License-Identifier: MIT */
/* Inside of the fault path. */
#ifndef VMMU_FAULT_INTERNAL_H
#define VMMU_FAULT_INTERNAL_H

#include <vmmu/fault.h>

#include "tdp/tdp.h"

/**
 * vmmu_fault_map() - find the host frames of the target and install them.
 * @generation: of the slot set that target->slot was taken from.
 * Context: no locks; may sleep in the port. Sets pages, first and count of the target.
 */
enum vmmu_outcome vmmu_fault_map(struct vmmu_task *task, struct vmmu_target *target,
				 uint64_t generation, enum vmmu_level *level);

/**
 * vmmu_fault_obstacles() - may pages that were looked up at @sequence be installed?
 * Narrows the target to what invalidations under way and tracked frames leave of it. The way of
 * those for whom something has changed; see fault.c for the others.
 * Return: RESUME; RETRY; TRACKED.
 */
enum vmmu_outcome vmmu_fault_obstacles(const struct vmmu_vm *vm, struct vmmu_target *target,
				       uint64_t sequence) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/**
 * vmmu_mmio_tables_allowed() - may a device frame cost another table?
 * A guest that touches every frame of its address space must not cost the host a table each:
 * no more than the slots could need, and some.
 */
bool vmmu_mmio_tables_allowed(const struct vmmu_vm *vm, unsigned space);

#endif
