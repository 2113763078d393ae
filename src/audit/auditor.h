/* SPDX-License-Identifier: MIT */
/* Inside of the audit: what a pass has seen, and how findings are told. */
#ifndef VMMU_AUDIT_AUDITOR_H
#define VMMU_AUDIT_AUDITOR_H

#include <vmmu/audit.h>

#include "tdp/tdp.h"

struct vmmu_auditor {
	struct vmmu_vm *vm;
	struct vmmu_task *task;
	vmmu_finding_fn *report;
	void *context;
	uint64_t found;
	/* recount, meaningful for a whole pass in one step */
	uint64_t entries, tables, links;
	uint64_t mirrors; /* shadow tables of guest tables */
	uint64_t leaves[VMMU_LEAF_SIZES];
};

/* "I3: words: gfn, level, entry" */
void vmmu_audit_entry(struct vmmu_auditor *a, unsigned invariant, const char *words,
		      const struct vmmu_iter *at);
/* "I16: words: kept n, counted m" */
void vmmu_audit_numbers(struct vmmu_auditor *a, unsigned invariant, const char *words,
			uint64_t kept, uint64_t counted);
/* What must hold of a leaf in every engine: I1, I2, I10. */
void vmmu_audit_leaf(struct vmmu_auditor *a, unsigned space, const struct vmmu_iter *at);
/* What must hold of a device entry in every engine: I13. */
void vmmu_audit_device(struct vmmu_auditor *a, const struct vmmu_sp *sp,
		       const struct vmmu_iter *at);

/* shadow.c: one shadow table, and what can be said only after a whole pass. */
void vmmu_audit_shade(struct vmmu_auditor *a, struct vmmu_sp *sp) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_audit_frames(struct vmmu_auditor *a) VMMU_REQUIRES(vmmu_mmu_lock);

/* track.c: does the leaf allow what clients track? Then all that follows from what they track. */
void vmmu_audit_tracked_leaf(struct vmmu_auditor *a, const struct vmmu_iter *at);
void vmmu_audit_tracking(struct vmmu_auditor *a) VMMU_REQUIRES(vmmu_mmu_lock);

#endif
