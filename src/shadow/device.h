/* SPDX-License-Identifier: MIT */
/* Accesses to frames that are no memory, found in the tables. */
#ifndef VMMU_SHADOW_DEVICE_H
#define VMMU_SHADOW_DEVICE_H

#include "shadow/shade.h"

/**
 * vmmu_shadow_device() - does an entry say that this access goes to a device?
 * @flags: enum vmmu_walk_flags. @gpa: where it goes, if so.
 * The entry is of the present slots, and the guest's entry behind it allows the access. Return:
 * false, the guest's tables must be asked.
 */
bool vmmu_shadow_device(struct vmmu_task *task, vmmu_gva_t gva, uint32_t flags, vmmu_gpa_t *gpa)
	VMMU_REQUIRES(vmmu_mmu_lock);

#endif
