/* SPDX-License-Identifier: MIT */
/* Huge leaves become tables of smaller ones that say the same. */
#include "tdp/tdp.h"
#include "vm.h"

bool vmmu_split_leaf(struct vmmu_iter *it)
{
	struct vmmu_task *task = it->task;
	struct vmmu_vm *vm = task->vm;
	union vmmu_role role = it->root->role;
	vmmu_spte_t huge = it->old;
	vmmu_spte_t table;
	struct vmmu_sp *sp;

	role.level = (it->level - 1u) & 0xfu;
	sp = vmmu_table_new(task, it->gfn, role);
	for (unsigned i = 0; i < VMMU_TABLE_ENTRIES; i++)
		atomic_put(&sp->entries[i].raw,
			   vmmu_spte_child_of_huge(&vm->fmt, huge, it->level, i).raw);
	vmmu_table_set_live(task, sp);
	if (VMMU_UNLIKELY(vm->port->tables_written != NULL))
		vm->port->tables_written(vm->host, sp->pfn, 0, VMMU_TABLE_ENTRIES);
	table = spte_table(&vm->fmt, sp->pfn);
	/* Nobody has used it yet, and all in it may be dirty. */
	if (vm->fmt.dirty && it->level == VMMU_LEVEL_2M && !VMMU_MUTANT(SPLIT_UNUSED))
		table = spte_table_used(&vm->fmt, table);
	if (VMMU_LIKELY(vmmu_commit(it, table)))
		return true;
	vmmu_table_withdraw(task, sp);
	return false;
}

/* Frames between two looks at who waits, and tables that splitting all of them can take: one for
 * each 2M leaf, and one for the 1G leaf that they come from. */
#define FRAMES_PER_STEP (VMMU_TABLE_ENTRIES * (VMMU_CACHE_TABLES - 1u))

static void split_in_root(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_2M, range);
	for (; it.valid; vmmu_iter_next(&it)) {
		while (spte_kind(it.old) == VMMU_KIND_LEAF && !vm_is_dead(task->vm)) {
			/* Nothing is added to a root on its way out. */
			if (task->cache->count && root_is_valid(root))
				(void)vmmu_split_leaf(&it);
			else
				(void)vmmu_commit(&it, spte_empty());
		}
	}
}

static uint64_t split_some(struct vmmu_task *task, struct vmmu_gfn_range range)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	uint64_t start = vmmu_tdp_next_used_any(task, range).n;
	uint64_t stop = start + FRAMES_PER_STEP - start % VMMU_TABLE_ENTRIES;

	if (stop > range.end.n)
		stop = range.end.n;
	for (struct vmmu_sp *r = task->vm->roots; r; r = r->root_next)
		if (r->role.space == task->space)
			split_in_root(task, r, (struct vmmu_gfn_range){{start}, {stop}});
	return stop;
}

void vmmu_tdp_split_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	while (range.start.n < range.end.n && !vm_is_dead(task->vm)) {
		bool waits;

		(void)vmmu_cache_fill(task->vm, task->cache, VMMU_CACHE_TABLES);
		vmmu_section_begin_shared(task);
		range.start.n = split_some(task, range);
		waits = vmmu_section_wants_pause(task, true);
		vmmu_section_end_shared(task);
		if (waits)
			vmmu_section_yield(task);
	}
}
