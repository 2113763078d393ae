/* SPDX-License-Identifier: MIT */
/* What those who share the mmu lock do to one guest frame; see frame.h. */
#include "shadow/frame.h"

#include "vm.h"

uint64_t vmmu_frame_lock_slow(const struct vmmu_vm *vm, vmmu_atomic_t *head) VMMU_NO_ANALYSIS
{
	for (;;) {
		uint64_t seen = atomic_get(head) & ~VMMU_FRAME_LOCKED;

		if (atomic_cas(head, &seen, seen | VMMU_FRAME_LOCKED))
			return seen;
		vmmu_relax(vm->port, vm->host);
	}
}

/* ---- no leaf may write any more ---- */

static vmmu_atomic_t *entry_at(vmmu_link_t at)
{
	return &link_shade(at)->sp.entries[link_index(at)].raw;
}

bool vmmu_frame_narrow(struct vmmu_task *task, uint64_t list, struct vmmu_narrowed *narrowed)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;

	narrowed->count = 0;
	for (vmmu_link_t at = {list}; at.n; at = link_shade(at)->links[link_index(at)]) {
		if (!(atomic_get(entry_at(at)) & fmt->write))
			continue;
		if (narrowed->count == VMMU_NARROWED_MAX)
			return false;
		narrowed->at[narrowed->count++] = at;
	}
	/* What has no right to write cannot become dirty: one step takes both. */
	for (unsigned i = 0; i < narrowed->count; i++)
		narrowed->from[i] =
			atomic_clear(entry_at(narrowed->at[i]), fmt->write | fmt->dirty);
	if (narrowed->count && !VMMU_MUTANT(RIGHTS_UNFLUSHED))
		vmmu_debt_add_everything(task);
	return true;
}

void vmmu_frame_tell_narrowed(struct vmmu_task *task, vmmu_gfn_t gfn,
			      const struct vmmu_narrowed *narrowed)
{
	const struct vmmu_vm *vm = task->vm;

	for (unsigned i = 0; i < narrowed->count; i++) {
		vmmu_spte_t from = shade_entry(narrowed->from[i]);

		if (vm_hears_dirty(vm) && spte_is_dirty(&vm->fmt, from) && !VMMU_MUTANT(DIRTY_LOST))
			vmmu_dirty_told(vm, link_shade(narrowed->at[i])->sp.role.space,
					(struct vmmu_gfn_range){gfn, {gfn.n + 1}}, spte_pfn(from));
		trace(task, VMMU_TRACE_ENTRY, VMMU_LEVEL_4K, gfn.n, from.raw,
		      from.raw & ~(vm->fmt.write | vm->fmt.dirty));
	}
}
