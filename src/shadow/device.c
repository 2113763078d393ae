/* SPDX-License-Identifier: MIT */
/*
 * Device entries of level-1 tables. The entry itself holds the generation of the slots; frame and
 * rights are in the guest's entry behind it, which is kept beside it, and in the table's role. An
 * entry of another generation says nothing. One whose guest entry has changed is like a translation
 * that a CPU holds: good until the guest flushes, and brought up to date then.
 */
#include "shadow/device.h"

#include "vm.h"

/* Rights of the guest's page, all levels combined; the permission check says what they allow. */
static uint32_t rights_of(const struct vmmu_vcpu *vcpu, const struct vmmu_shade *s, uint64_t gpte)
{
	uint64_t path = 0, leaf = gpte;
	uint32_t rights = s->sp.role.access;

	if (shade_is_mirror(s))
		rights &= vmmu_gpte_rights(gpte, s->sp.role.nx);
	else
		leaf = (uint64_t)s->sp.role.key << VMMU_SPTE_KEY_SHIFT;
	path |= rights & VMMU_RIGHT_WRITE ? VMMU_BIT(1) : 0;
	path |= rights & VMMU_RIGHT_USER ? VMMU_BIT(2) : 0;
	path |= rights & VMMU_RIGHT_EXEC ? VMMU_GUEST_NO_EXEC : 0; /* "may" is 1 in a path */
	return vmmu_guest_permission_rights(&vcpu->shadow.rules.permission, path, leaf,
					    vcpu->shadow.paging.pkru);
}

static bool is_allowed(const struct vmmu_vcpu *vcpu, const struct vmmu_shade *s, unsigned index,
		       uint32_t flags)
{
	uint64_t gpte = shade_is_mirror(s) ? s->gptes[index] : 0;

	if (VMMU_MUTANT(DEVICE_RIGHTS))
		return true;
	/* The first write marks the guest's entry dirty: not here. Pieces of huge pages are made
	 * without the right to write until then. */
	if ((flags & VMMU_WALK_WRITE) && s->sp.role.mode != VMMU_PAGING_OFF &&
	    !(shade_is_mirror(s) ? gpte & VMMU_GUEST_DIRTY : s->sp.role.access & VMMU_RIGHT_WRITE))
		return false;
	return !vmmu_guest_permission_check(&vcpu->shadow.rules.permission,
					    rights_of(vcpu, s, gpte), flags);
}

bool vmmu_shadow_device(struct vmmu_task *task, vmmu_gva_t gva, uint32_t flags, vmmu_gpa_t *gpa)
{
	const struct vmmu_vm *vm = task->vm;
	vmmu_gfn_t page = {gva.addr >> VMMU_PAGE_SHIFT};
	struct vmmu_shade *s = shade_of(task->vcpu->root);
	uint64_t generation = atomic_get(&vm->spaces[task->vcpu->space].generation);
	vmmu_spte_t e;
	unsigned index;

	for (;;) {
		struct vmmu_sp *child;

		index = gfn_index(page, s->sp.role.level);
		e = shade_get(s, index);
		if (spte_kind(e) != VMMU_KIND_TABLE)
			break;
		child = vmmu_table_find(task->vm, spte_pfn(e));
		if (!child)
			return false;
		s = shade_of(child);
	}
	/* It was replaced between the hardware's walk and ours, or it is damaged. */
	if (spte_kind(e) != VMMU_KIND_MMIO) {
		const char *problem = vmmu_spte_problem(&vm->fmt, e, s->sp.role.level);

		(void)VMMU_CHECK(task, !problem,
				 "the hardware found a reserved bit in an ordinary entry", page.n,
				 e.raw);
		return false;
	}
	if (!VMMU_MUTANT(DEVICE_OUTDATED) &&
	    ((generation & VMMU_GENERATION_IN_PROGRESS) ||
	     vmmu_spte_mmio_generation(e) != (generation & vm->fmt.generation_mask)))
		return false;
	if (!is_allowed(task->vcpu, s, index, flags))
		return false;
	gpa->addr = vmmu_gfn_to_gpa(vmmu_shade_leaf_gfn(s, index)).addr |
		    (gva.addr & (VMMU_PAGE_BYTES - 1));
	stat_add(task, VMMU_STAT_MMIO_CACHED, 1);
	return true;
}
