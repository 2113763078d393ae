/* SPDX-License-Identifier: MIT */
/* Reading and clearing what the hardware recorded in leaves. */
#include "tdp/harvest.h"

#include "tdp/tdp.h"
#include "vm.h"

void vmmu_harvest_add(struct vmmu_harvest *h, struct vmmu_gfn_range leaf)
{
	uint64_t start = leaf.start.n > h->range.start.n ? leaf.start.n : h->range.start.n;
	uint64_t end = leaf.end.n < h->range.end.n ? leaf.end.n : h->range.end.n;

	if (start >= end)
		return;
	h->count += end - start;
	if (!h->bitmap)
		return;
	for (uint64_t i = start - h->range.start.n; i < end - h->range.start.n; i++)
		h->bitmap[i / 64] |= VMMU_BIT(i % 64);
}

/* The root that vCPUs of this space run on, or NULL. Context: read section. */
static struct vmmu_sp *current_root(const struct vmmu_vm *vm, unsigned space)
{
	return (struct vmmu_sp *)(uintptr_t)atomic_get_acquire(&vm->current_root[space]);
}

/* Clear bits of a leaf that has one of @wanted, unless somebody replaces it. */
static void take(struct vmmu_iter *it, struct vmmu_harvest *h, uint64_t wanted, uint64_t clear,
		 uint64_t set)
{
	while (spte_kind(it->old) == VMMU_KIND_LEAF && (it->old.raw & wanted)) {
		if (vmmu_commit(it, (vmmu_spte_t){(it->old.raw & ~clear) | set})) {
			vmmu_harvest_add(h, iter_covers(it));
			return;
		}
		if (vm_is_dead(it->task->vm))
			return;
	}
}

/* ---- accessed ---- */

/* Entries seen in one read section: tables that are taken out meanwhile wait for it. */
#define ENTRIES_PER_SECTION 4096u

/*
 * Without any lock: what is seen in a read section stays readable, and an entry that moved on is
 * left alone by the compare-and-swap. Return: first frame not looked at.
 */
static uint64_t age_some(struct vmmu_task *task, struct vmmu_harvest *h, uint64_t start)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_sp *root;
	struct vmmu_iter it;
	uint64_t next = h->range.end.n;
	unsigned seen = 0;

	vmmu_reading_begin(task);
	root = current_root(vm, task->space);
	if (root) {
		vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K,
				(struct vmmu_gfn_range){{start}, h->range.end});
		for (; it.valid && seen < ENTRIES_PER_SECTION; vmmu_iter_next(&it), seen++)
			take(&it, h, vm->fmt.accessed,
			     vm->fmt.accessed | (VMMU_MUTANT(AGE_CLEANS) ? vm->fmt.dirty : 0), 0);
		if (it.valid)
			next = it.gfn.n > start ? it.gfn.n : start;
	}
	vmmu_reading_end(task);
	return next;
}

/* No flags: whoever uses a translation that has gone makes it anew. */
static void age_by_zap(struct vmmu_task *task, struct vmmu_harvest *h) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_sp *root = current_root(task->vm, task->space);
	struct vmmu_iter it;

	if (!root)
		return;
	vmmu_root_hold(root);
	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, h->range);
	for (it.pauses = VMMU_ITER_PAUSES; it.valid; vmmu_iter_next(&it)) {
		if (spte_kind(it.old) != VMMU_KIND_LEAF)
			continue;
		vmmu_harvest_add(h, iter_covers(&it));
		vmmu_commit_empty(&it);
	}
	vmmu_root_put(task, root);
}

void vmmu_tdp_harvest_accessed(struct vmmu_task *task, struct vmmu_harvest *h)
{
	uint64_t start = h->range.start.n;

	if (!task->vm->fmt.accessed) {
		vmmu_section_begin(task);
		age_by_zap(task, h);
		vmmu_section_end(task);
		return;
	}
	while (start < h->range.end.n && !vm_is_dead(task->vm))
		start = age_some(task, h, start);
	if (VMMU_UNLIKELY(task->debt.owed)) { /* killed where no section was */
		vmmu_section_begin_shared(task);
		vmmu_section_end_shared(task);
	}
}

/* ---- dirty ---- */

/* Frames harvested between two looks at who waits. */
#define FRAMES_PER_STEP (VMMU_TABLE_ENTRIES * 8u)

static void clean_root(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_harvest *h,
		       struct vmmu_gfn_range range) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, range);
	for (; it.valid; vmmu_iter_next(&it)) {
		if (fmt->dirty)
			take(&it, h, fmt->dirty, fmt->dirty, 0);
		else
			take(&it, h, fmt->write, fmt->write, fmt->saved_write);
	}
}

/*
 * All roots of the space: one on its way out still knows what was written by way of it. Faults go
 * on meanwhile; each entry has one winner. Return: first frame not looked at.
 */
static uint64_t clean_some(struct vmmu_task *task, struct vmmu_harvest *h, uint64_t start)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	uint64_t end = h->range.end.n;

	while (start < end) {
		uint64_t next =
			vmmu_tdp_next_used_any(task, (struct vmmu_gfn_range){{start}, {end}}).n;
		uint64_t stop;

		stop = next + FRAMES_PER_STEP < end ? next + FRAMES_PER_STEP : end;
		for (struct vmmu_sp *r = task->vm->roots; r; r = r->root_next)
			if (r->role.space == task->space &&
			    (root_is_valid(r) || !VMMU_MUTANT(LOG_VALID_ONLY)))
				clean_root(task, r, h, (struct vmmu_gfn_range){{next}, {stop}});
		start = stop;
		if (vmmu_section_wants_pause(task, true))
			break;
	}
	return start;
}

void vmmu_tdp_harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	uint64_t start = h->range.start.n;

	while (start < h->range.end.n) {
		vmmu_section_begin_shared(task);
		start = clean_some(task, h, start);
		vmmu_section_end_shared(task);
		if (start < h->range.end.n)
			vmmu_section_yield(task);
	}
}
