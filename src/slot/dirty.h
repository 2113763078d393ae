/* SPDX-License-Identifier: MIT */
/*
 * The dirty log of all slots of a space: a bit for each guest frame, in cells that are made when a
 * slot begins to log and stay until the VM ends. Marking needs no lock and never fails: frames
 * without a cell are nobody's concern.
 *
 * What the hardware knows is still in the leaves. It comes here when a leaf loses its dirty flag,
 * for whatever reason: so a look takes the flags away, and then finds all of it here.
 */
#ifndef VMMU_SLOT_DIRTY_H
#define VMMU_SLOT_DIRTY_H

#include <vmmu/types.h>

#include "base/annotate.h"

struct vmmu_vm;
struct vmmu_task;

/* Some leaf loses its dirty flag, or somebody else wrote: tells the host and the log. Context: any.
 */
void vmmu_dirty_told(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
		     vmmu_pfn_t pfn);

void vmmu_dirty_set(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range);

/* Cells for the frames, as far as the task's reserve goes. Return: first frame without one. */
vmmu_gfn_t vmmu_dirty_make(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);

/*
 * Take what is logged of the frames: bit i of @bitmap (may be NULL) is set for frame range.start +
 * i. Return: how many. Context: any; the slots lock keeps two from sharing what is found.
 */
uint64_t vmmu_dirty_take(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
			 uint64_t *bitmap);

#endif
