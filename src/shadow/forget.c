/* SPDX-License-Identifier: MIT */
/*
 * Generations of shadow tables. A table belongs to the generation in which it was made; when the
 * number moves on, all tables there are become obsolete at once:
 *
 *   - no vCPU enters on one (its root is marked invalid), and none is found again for a link or
 *     as a root. A new table leads to new ones only, so no CPU gets to an old one;
 *   - they stay on all lists until they are taken apart. So host invalidation, slot changes and
 *     trackers find their leaves, writes of the guest to what they mirror are still told, and
 *     every invariant goes on holding for them.
 *
 * Tables are listed by age: the obsolete ones are those at the old end.
 */
#include "shadow/forget.h"

#include "vm.h"

void vmmu_shades_forget(struct vmmu_task *task)
{
	struct vmmu_vm *vm = task->vm;

	vm->shades.generation++;
	for (struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
		if (v->root && !VMMU_MUTANT(FORGET_KEEPS_ROOTS))
			/* Before the flush that is owed: whoever enters later sees it. */
			(void)atomic_swap(&v->root->invalid, 1);
	vmmu_debt_add_everything(task);
}

/* One of them goes. Return: false, there is none. */
static bool zap_one(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *s = task->vm->shades.oldest;

	if (!s || !shade_is_obsolete(task->vm, s))
		return false;
	/* No CPU uses it any more: nothing is owed for it. */
	task->debt.out_of_reach = true;
	vmmu_shade_zap(task, s);
	task->debt.out_of_reach = false;
	return true;
}

void vmmu_shades_zap_obsolete(struct vmmu_task *task)
{
	vmmu_section_settle(task);
	while (zap_one(task))
		(void)vmmu_section_pause(task);
}

bool vmmu_shadow_work(struct vmmu_task *task, uint64_t tables)
{
	bool more = true;

	for (; more && tables; tables--) {
		vmmu_section_begin(task);
		more = zap_one(task);
		vmmu_section_end(task);
	}
	return more;
}
