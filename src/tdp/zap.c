/* SPDX-License-Identifier: MIT */
/* Withdrawing translations, in steps that pause, never more than 512 leaves a step. */
#include "tdp/tdp.h"
#include "vm.h"

static bool range_holds(struct vmmu_gfn_range outer, struct vmmu_gfn_range inner)
{
	return inner.start.n >= outer.start.n && inner.end.n <= outer.end.n;
}

/*
 * Lowest tables first: those that lie inside the range go as a whole, of the others the
 * entries in the range. A huge leaf that is only partly in the range goes as a whole; what was
 * outside comes back by faults.
 */
static void zap_low(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, range);
	for (it.pauses = true; it.valid; vmmu_iter_next(&it)) {
		enum vmmu_kind kind = spte_kind(it.old);

		if (kind == VMMU_KIND_LEAF || kind == VMMU_KIND_MMIO ||
		    (kind == VMMU_KIND_TABLE && it.level == VMMU_LEVEL_2M &&
		     range_holds(range, iter_covers(&it))))
			vmmu_commit_empty(&it);
	}
}

/* Tables of @level - 1 that lie inside the range; what is below them has gone already. */
static void zap_tables(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range,
		       enum vmmu_level level)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, level, range);
	for (it.pauses = true; it.valid; vmmu_iter_next(&it))
		if (it.level == level && spte_kind(it.old) == VMMU_KIND_TABLE &&
		    range_holds(range, iter_covers(&it)))
			vmmu_commit_empty(&it);
}

void vmmu_tdp_zap(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
{
	if (range.end.n > task->vm->gfn_end.n)
		range.end = task->vm->gfn_end;
	zap_low(task, root, range);
	for (enum vmmu_level level = VMMU_LEVEL_1G; level <= root->role.level; level++)
		zap_tables(task, root, range, level);
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

/* Take one invalid root apart and drop the reference that came with its invalidation. */
static void root_demolish(struct vmmu_task *task, struct vmmu_sp *root) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_gfn_range all = {{0}, task->vm->gfn_end};

	task->debt.out_of_reach = true;
	vmmu_tdp_zap(task, root, all);
	vmmu_root_put(task, root);
	task->debt.out_of_reach = false;
}

void vmmu_tdp_zap_all(struct vmmu_task *task)
{
	/* One valid root a space at most. What this call invalidates it owns; roots that others
	 * invalidated are theirs. */
	struct vmmu_sp *mine[VMMU_SPACES_MAX];
	unsigned count = 0;

	for (struct vmmu_sp *root = task->vm->roots; root; root = root->root_next) {
		if ((!root_is_valid(root) && !VMMU_MUTANT(ZAP_TWICE)) || count == VMMU_SPACES_MAX)
			continue;
		vmmu_root_invalidate(task, root);
		mine[count++] = root;
	}
	if (!count)
		return;
	/* After this no CPU is on them. */
	vmmu_section_end(task);
	vmmu_section_begin(task);
	while (count)
		root_demolish(task, mine[--count]);
}
