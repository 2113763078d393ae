/* SPDX-License-Identifier: MIT */
/* Taking rights to frames that clients track out of every root. */
#include "tdp/tdp.h"
#include "vm.h"

/* What the entry becomes when these kinds of access are forbidden. */
static vmmu_spte_t forbidden_entry(const struct vmmu_iter *it, uint32_t kinds)
{
	/* What was outside of the range of a huge leaf comes back by faults. */
	if (it->level > VMMU_LEVEL_4K || (kinds & VMMU_ACCESS_READ))
		return spte_empty();
	return spte_without(&it->task->vm->fmt, it->old, kinds);
}

static void forbid_in_root(struct vmmu_task *task, struct vmmu_sp *root,
			   struct vmmu_gfn_range range, uint32_t kinds)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, range);
	for (; it.valid; vmmu_iter_next(&it)) {
		/* The hardware may set accessed and dirty meanwhile: again, with what it said. */
		while (spte_kind(it.old) == VMMU_KIND_LEAF && !vm_is_dead(task->vm) &&
		       !(VMMU_MUTANT(TRACK_KEEPS_HUGE) && it.level > VMMU_LEVEL_4K)) {
			vmmu_spte_t to = forbidden_entry(&it, kinds);

			if (to.raw == it.old.raw || vmmu_commit(&it, to))
				break;
		}
	}
}

void vmmu_tdp_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
{
	for (struct vmmu_sp *root = task->vm->roots; root; root = root->root_next) {
		if ((VMMU_MUTANT(TRACK_ONE_SPACE) && root->role.space) ||
		    (VMMU_MUTANT(TRACK_VALID_ONLY) && !root_is_valid(root)))
			continue;
		forbid_in_root(task, root, range, kinds);
	}
}
