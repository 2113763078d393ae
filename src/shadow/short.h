/* SPDX-License-Identifier: MIT */
/* Inside of the shadow engine: a fault, and its short way to a leaf. */
#ifndef VMMU_SHADOW_SHORT_H
#define VMMU_SHADOW_SHORT_H

#include "shadow/shade.h"

/* Accessed and dirty bits that were set on the guest's behalf in entries that clients track. */
#define MARKS_MAX 8u
struct marks {
	vmmu_gpa_t gpa[MARKS_MAX];
	unsigned bytes, count;
};

struct shadow_fault {
	struct vmmu_task *task;
	struct vmmu_vcpu *vcpu;
	vmmu_gva_t gva;
	uint32_t flags; /* enum vmmu_walk_flags */
	bool reserved;  /* the hardware met a reserved bit */
	bool untabled;  /* no level-1 table was there a moment ago */
	struct vmmu_shadow_result *result;
	struct marks marks;
	/* PENDING: what is missing */
	vmmu_gfn_t missing;
	bool missing_write;
	bool waits; /* for the host: the page cannot be had right now */
};

/*
 * The tables above the lowest one are linked as the guest's are: they cannot be written unseen. So
 * one entry of the guest's decides, and nothing above it has to be walked. False: something is
 * out of the ordinary, the long way finds out what.
 */
bool vmmu_shadow_short_way(struct shadow_fault *f, enum vmmu_outcome *outcome)
	VMMU_REQUIRES(vmmu_mmu_lock);

/*
 * The same side by side with others: nothing is done but to fill empty entries. False: there is
 * more to do, alone.
 */
bool vmmu_shadow_shared_way(struct shadow_fault *f, enum vmmu_outcome *outcome)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/*
 * The level-1 table for the address, linked side by side with others, with all tables above it that
 * are missing. NULL: it takes more than that, alone.
 */
struct vmmu_shade *vmmu_shadow_link(struct shadow_fault *f) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* Compare-and-swap of a guest entry by a walk, and what follows from it. */
bool vmmu_shadow_mark(struct vmmu_task *task, struct marks *marks, unsigned space,
		      const struct vmmu_update *update) VMMU_REQUIRES(vmmu_mmu_lock);

#endif
