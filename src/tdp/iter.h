/* SPDX-License-Identifier: MIT */
/*
 * Walk over the entries of a root, parents before children. The iterator holds a snapshot of the
 * entry it stands on; changes go through vmmu_commit(), which fails if the entry has moved on.
 *
 * A pausing walk may let go of the mmu lock between two entries. It then starts again from
 * the root at the next frame: nothing that it had seen before is touched again. The caller
 * holds a reference to the root.
 */
#ifndef VMMU_TDP_ITER_H
#define VMMU_TDP_ITER_H

#include "format/entry.h"
#include "page/table.h"

/* May a walk let go of the mmu lock on its way, and how does it hold it? */
enum vmmu_iter_pause { VMMU_ITER_HOLDS, VMMU_ITER_PAUSES, VMMU_ITER_PAUSES_SHARED };

struct vmmu_iter {
	vmmu_gfn_t gfn;         /* first frame mapped by this entry */
	enum vmmu_level level;  /* of the table that holds the entry */
	vmmu_spte_slot_t *slot; /* the entry */
	vmmu_spte_t old;        /* *slot when the walk arrived, or as committed since */
	bool valid;             /* false once the walk is past the range */
	/* the rest is the iterator's own */
	enum vmmu_iter_pause pauses;
	enum vmmu_level min_level;
	struct vmmu_gfn_range range;
	struct vmmu_task *task;
	struct vmmu_sp *root;
	vmmu_spte_slot_t *table[VMMU_LEVEL_256T + 1]; /* by level: tables on the way here */
	vmmu_pfn_t table_pfn[VMMU_LEVEL_256T + 1];
};

/* Stand on the top entry for range.start. Entries below @min_level are not visited. */
void vmmu_iter_begin(struct vmmu_iter *it, struct vmmu_task *task, struct vmmu_sp *root,
		     enum vmmu_level min_level, struct vmmu_gfn_range range);
void vmmu_iter_next(struct vmmu_iter *it);
/* One level down towards @gfn. The iterator stands on a TABLE that covers it. */
void vmmu_iter_descend(struct vmmu_iter *it, vmmu_gfn_t gfn);
/* Down as long as there are tables, but not below @level. */
void vmmu_iter_dive(struct vmmu_iter *it, vmmu_gfn_t gfn, enum vmmu_level level);

/* First frame from @from on with anything behind it, up to a gigabyte exactly; else the end. */
vmmu_gfn_t vmmu_tdp_next_used(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t from);

/* The same for all roots of task->space, up to the end of the range. */
vmmu_gfn_t vmmu_tdp_next_used_any(struct vmmu_task *task, struct vmmu_gfn_range range);

/* For one frame only: stand on the top entry for @gfn, to dive from there and never go on. */
static inline void vmmu_iter_point(struct vmmu_iter *it, struct vmmu_task *task,
				   struct vmmu_sp *root, vmmu_gfn_t gfn)
{
	enum vmmu_level top = root->role.level;

	it->task = task;
	it->root = root;
	it->level = top;
	it->table[top] = root->entries;
	it->table_pfn[top] = root->pfn;
	it->gfn.n = gfn.n & ~(vmmu_level_frames(top) - 1);
	it->slot = &root->entries[gfn_index(gfn, top)];
	it->old = spte_get(it->slot);
}

/* Frames that the entry covers. */
static inline bool range_holds(struct vmmu_gfn_range outer, struct vmmu_gfn_range inner)
{
	return inner.start.n >= outer.start.n && inner.end.n <= outer.end.n;
}

static inline struct vmmu_gfn_range iter_covers(const struct vmmu_iter *it)
{
	return (struct vmmu_gfn_range){it->gfn, {it->gfn.n + vmmu_level_frames(it->level)}};
}

#endif
