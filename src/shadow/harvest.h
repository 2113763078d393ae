/* SPDX-License-Identifier: MIT */
#ifndef VMMU_SHADOW_HARVEST_H
#define VMMU_SHADOW_HARVEST_H

#include "shadow/shade.h"
#include "tdp/harvest.h"

/* Dirty, or else accessed, of task->space. Frames that several leaves map count once a size.
 * Context: no locks. */
void vmmu_shadow_harvest(struct vmmu_task *task, struct vmmu_harvest *h, bool dirty)
	VMMU_EXCLUDES(vmmu_mmu_lock);

#endif
