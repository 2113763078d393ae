/* SPDX-License-Identifier: MIT */
/* Withdrawing translations, in steps that pause, never more than 512 leaves a step. */
#include "tdp/tdp.h"
#include "vm.h"

/*
 * Lowest tables first: those that lie inside the range go as a whole, of the others the
 * entries in the range. A huge leaf that is only partly in the range goes as a whole; what was
 * outside comes back by faults.
 */
static void zap_low(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range,
		    enum vmmu_iter_pause pauses)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, range);
	for (it.pauses = pauses; it.valid; vmmu_iter_next(&it)) {
		enum vmmu_kind kind = spte_kind(it.old);

		if (kind == VMMU_KIND_LEAF || kind == VMMU_KIND_MMIO ||
		    (kind == VMMU_KIND_TABLE && it.level == VMMU_LEVEL_2M &&
		     range_holds(range, iter_covers(&it))))
			vmmu_commit_empty(&it);
	}
}

/* Tables of @level - 1 that lie inside the range; what is below them has gone already. */
static void zap_tables(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range,
		       enum vmmu_level level, enum vmmu_iter_pause pauses)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, level, range);
	for (it.pauses = pauses; it.valid; vmmu_iter_next(&it))
		if (it.level == level && spte_kind(it.old) == VMMU_KIND_TABLE &&
		    range_holds(range, iter_covers(&it)))
			vmmu_commit_empty(&it);
}

void vmmu_tdp_zap(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
{
	if (range.end.n > task->vm->gfn_end.n)
		range.end = task->vm->gfn_end;
	zap_low(task, root, range, VMMU_ITER_PAUSES);
	for (enum vmmu_level level = VMMU_LEVEL_1G; level <= root->role.level; level++)
		zap_tables(task, root, range, level, VMMU_ITER_PAUSES);
}

void vmmu_tdp_zap_space(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_sp *root = task->vm->roots;

	while (root) {
		struct vmmu_sp *next;

		if (root->role.space == space &&
		    !(VMMU_MUTANT(SKIP_INVALID_ROOT) && !root_is_valid(root))) {
			/* Held, so that it survives the pauses; its successor is read after. */
			vmmu_root_hold(root);
			vmmu_tdp_zap(task, root, range);
			next = root->root_next;
			vmmu_root_put(task, root);
		} else {
			next = root->root_next;
		}
		root = next;
	}
}

/* ---- everything at once ---- */

/*
 * A root is invalidated in no time, and taken apart by whoever comes by, later: from the lowest
 * address to the highest, each table after what is below it. Exactly one thread does it at a
 * time. It may share the lock, since faults add nothing to an invalid root, and owes no flushes,
 * since no CPU is on it any more.
 */
void vmmu_tdp_invalidate_all(struct vmmu_task *task)
{
	for (struct vmmu_sp *root = task->vm->roots; root; root = root->root_next) {
		if (!root_is_valid(root))
			continue;
		vmmu_root_invalidate(task, root);
		root->doomed = true;
		root->demolished.n = 0;
	}
}

/* Become the one who takes a root apart; the VM's reference comes with it. NULL: none waits. */
static struct vmmu_sp *claim(struct vmmu_vm *vm) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_sp *root = vm->roots;

	while (root && !root->doomed && !(VMMU_MUTANT(ZAP_TWICE) && !root_is_valid(root)))
		root = root->root_next;
	if (root && !VMMU_MUTANT(WORK_TWICE))
		root->doomed = false;
	return root;
}

/* The tables above that end between the two frames go: all below them has gone. */
static void zap_passed(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t from, vmmu_gfn_t to,
		       enum vmmu_iter_pause pauses)
{
	for (enum vmmu_level level = VMMU_LEVEL_1G; level <= root->role.level; level++) {
		uint64_t mask = vmmu_level_frames(level) - 1;
		struct vmmu_gfn_range passed = {{from.n & ~mask}, {to.n & ~mask}};

		if (passed.start.n < passed.end.n)
			zap_tables(task, root, passed, level, pauses);
	}
}

/*
 * Take some of a root apart: @tables of the lowest level at most. Return: true when nothing is
 * left. The caller owns the root's demolition.
 */
static bool demolish(struct vmmu_task *task, struct vmmu_sp *root, uint64_t tables,
		     enum vmmu_iter_pause pauses)
{
	vmmu_gfn_t end = task->vm->gfn_end;
	uint64_t giga = vmmu_level_frames(VMMU_LEVEL_1G);

	task->debt.out_of_reach = true;
	while (tables && root->demolished.n < end.n) {
		vmmu_gfn_t from = vmmu_tdp_next_used(task, root, root->demolished), to;
		uint64_t left = (giga - (from.n & (giga - 1))) / VMMU_TABLE_ENTRIES;

		if (left > tables)
			left = tables;
		tables -= left;
		to.n = from.n + left * VMMU_TABLE_ENTRIES;
		if (to.n > end.n)
			to = end;
		zap_low(task, root, (struct vmmu_gfn_range){from, to}, pauses);
		zap_passed(task, root, root->demolished, to, pauses);
		root->demolished = to;
	}
	task->debt.out_of_reach = false;
	return root->demolished.n >= end.n;
}

void vmmu_tdp_zap_all(struct vmmu_task *task)
{
	struct vmmu_sp *root;

	vmmu_tdp_invalidate_all(task);
	/* After this no CPU is on them. */
	vmmu_section_end(task);
	vmmu_section_begin(task);
	while ((root = claim(task->vm)) != NULL) {
		(void)demolish(task, root, UINT64_MAX, VMMU_ITER_PAUSES);
		vmmu_root_put(task, root);
	}
}

bool vmmu_tdp_work(struct vmmu_task *task, uint64_t tables)
{
	struct vmmu_sp *root;
	bool done, more;

	vmmu_section_begin(task);
	root = claim(task->vm);
	vmmu_section_end(task);
	if (!root)
		return false;
	vmmu_section_begin_shared(task);
	done = demolish(task, root, tables, VMMU_ITER_PAUSES_SHARED);
	vmmu_section_end_shared(task);
	vmmu_section_begin(task);
	if (done)
		vmmu_root_put(task, root);
	else
		root->doomed = true;
	more = !done;
	for (root = task->vm->roots; root && !more; root = root->root_next)
		more = root->doomed;
	vmmu_section_end(task);
	return more;
}
