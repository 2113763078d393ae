/* SPDX-License-Identifier: MIT */
/* What the hardware recorded: accessed and dirty, read and cleared. */
#ifndef VMMU_TDP_HARVEST_H
#define VMMU_TDP_HARVEST_H

#include <vmmu/types.h>

#include "base/annotate.h"
#include "tdp/iter.h"

struct vmmu_task;

struct vmmu_harvest {
	struct vmmu_gfn_range range;
	uint64_t *bitmap; /* one bit for each frame of the range; NULL: count only */
	uint64_t count;   /* frames found */
};

/* The frames of a leaf that lie in the range. */
void vmmu_harvest_add(struct vmmu_harvest *h, struct vmmu_gfn_range leaf);

/* Leaves of neighbouring frames that were cleaned and not told yet. */
struct vmmu_run {
	struct vmmu_task *task;
	struct vmmu_harvest *h;
	uint64_t count;
	vmmu_pfn_t first; /* host frame of the first; kept for vmmu_run_watch() */
};

/* The run ends before frame @end: counted, and told. */
void vmmu_run_tell(struct vmmu_run *run, uint64_t end);
/* Before frame @n is added, if the port wants to hear host frames: these are to follow, too. */
void vmmu_run_watch(struct vmmu_run *run, uint64_t n, vmmu_pfn_t pfn);

/* Clear bits of a leaf that has one of @wanted, unless somebody replaces it. */
void vmmu_harvest_take(struct vmmu_iter *it, struct vmmu_harvest *h, uint64_t wanted,
		       uint64_t clear, uint64_t set);

/* Of task->space. Context: no locks. */
void vmmu_tdp_harvest_accessed(struct vmmu_task *task, struct vmmu_harvest *h)
	VMMU_EXCLUDES(vmmu_mmu_lock);
void vmmu_tdp_harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
	VMMU_EXCLUDES(vmmu_mmu_lock);

#endif
