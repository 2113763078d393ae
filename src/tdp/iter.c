/* SPDX-License-Identifier: MIT */
#include "tdp/iter.h"

#include "vm.h"

static void stand_on(struct vmmu_iter *it, vmmu_gfn_t gfn, enum vmmu_level level)
{
	it->level = level;
	it->gfn.n = gfn.n & ~(vmmu_level_frames(level) - 1);
	it->slot = &it->table[level][gfn_index(gfn, level)];
	it->old = spte_get(it->slot);
}

void vmmu_iter_begin(struct vmmu_iter *it, struct vmmu_task *task, struct vmmu_sp *root,
		     enum vmmu_level min_level, struct vmmu_gfn_range range)
{
	enum vmmu_level top = root->role.level;

	if (range.end.n > task->vm->gfn_end.n)
		range.end = task->vm->gfn_end;
	it->valid = range.start.n < range.end.n;
	it->pauses = VMMU_ITER_HOLDS;
	it->min_level = min_level;
	it->range = range;
	it->task = task;
	it->root = root;
	it->table[top] = root->entries;
	it->table_pfn[top] = root->pfn;
	if (it->valid)
		stand_on(it, range.start, top);
}

void vmmu_iter_descend(struct vmmu_iter *it, vmmu_gfn_t gfn)
{
	struct vmmu_vm *vm = it->task->vm;
	vmmu_pfn_t pfn = spte_pfn(it->old);

	it->table[it->level - 1u] = vm->port->page_map(vm->host, pfn);
	it->table_pfn[it->level - 1u] = pfn;
	stand_on(it, gfn, it->level - 1u);
}

void vmmu_iter_dive(struct vmmu_iter *it, vmmu_gfn_t gfn, enum vmmu_level to)
{
	struct vmmu_vm *vm = it->task->vm;
	void *(*page_map)(void *, vmmu_pfn_t) = vm->port->page_map;
	vmmu_spte_slot_t *slot = it->slot;
	enum vmmu_level level = it->level;
	vmmu_spte_t old = it->old;

	/* The most frequent walk of all: nothing is kept per level but where the tables are. */
	while (level > to && spte_kind(old) == VMMU_KIND_TABLE) {
		vmmu_pfn_t pfn = spte_pfn(old);
		vmmu_spte_slot_t *table = page_map(vm->host, pfn);

		level--;
		it->table[level] = table;
		it->table_pfn[level] = pfn;
		slot = &table[gfn_index(gfn, level)];
		old = spte_get(slot);
	}
	it->level = level;
	it->slot = slot;
	it->old = old;
	it->gfn.n = gfn.n & ~(vmmu_level_frames(level) - 1);
}

static bool step_down(struct vmmu_iter *it)
{
	vmmu_gfn_t gfn = it->gfn;

	if (it->level == it->min_level || spte_kind(it->old) != VMMU_KIND_TABLE)
		return false;
	if (gfn.n < it->range.start.n)
		gfn = it->range.start;
	vmmu_iter_descend(it, gfn);
	return true;
}

/* The lock was let go: start again at @gfn with nothing of the past. */
static bool paused(struct vmmu_iter *it, vmmu_gfn_t gfn) VMMU_NO_ANALYSIS
{
	enum vmmu_iter_pause pauses = it->pauses;

	if (pauses == VMMU_ITER_HOLDS ||
	    !(pauses == VMMU_ITER_PAUSES ? vmmu_section_pause(it->task)
					 : vmmu_section_pause_shared(it->task)))
		return false;
	if (VMMU_MUTANT(PAUSE_KEEPS))
		return false;
	vmmu_iter_begin(it, it->task, it->root, it->min_level,
			(struct vmmu_gfn_range){gfn, it->range.end});
	it->pauses = pauses;
	return true;
}

void vmmu_iter_next(struct vmmu_iter *it)
{
	vmmu_gfn_t next;

	if (step_down(it))
		return;
	next.n = it->gfn.n + vmmu_level_frames(it->level);
	if (next.n >= it->range.end.n) {
		it->valid = false;
		return;
	}
	if (paused(it, next))
		return;
	if (VMMU_LIKELY(gfn_index(next, it->level))) {
		it->gfn = next;
		it->slot++;
		it->old = spte_get(it->slot);
		return;
	}
	/* Past the end of this table: the next entry is in the first table above that is not
	 * past its own end. Entries of one table cover an aligned range, so the index tells. */
	while (!gfn_index(next, it->level) && it->level < it->root->role.level)
		it->level++;
	stand_on(it, next, it->level);
}

vmmu_gfn_t vmmu_tdp_next_used(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t from)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_1G,
			(struct vmmu_gfn_range){from, task->vm->gfn_end});
	while (it.valid && (spte_kind(it.old) == VMMU_KIND_EMPTY ||
			    (spte_kind(it.old) == VMMU_KIND_TABLE && it.level > VMMU_LEVEL_1G)))
		vmmu_iter_next(&it);
	if (!it.valid)
		return task->vm->gfn_end;
	return it.gfn.n > from.n ? it.gfn : from;
}

vmmu_gfn_t vmmu_tdp_next_used_any(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	vmmu_gfn_t next = range.end;

	for (struct vmmu_sp *r = task->vm->roots; r; r = r->root_next) {
		vmmu_gfn_t used;

		if (r->role.space != task->space)
			continue;
		used = vmmu_tdp_next_used(task, r, range.start);
		if (used.n < next.n)
			next = used;
	}
	return next;
}
