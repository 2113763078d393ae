/* SPDX-License-Identifier: MIT */
/* What a shadow leaf says: rights of the guest's path, of slot and host page, of tracked frames. */
#include "shadow/shade.h"
#include "vm.h"

#define KEY_SHIFT 59

uint32_t vmmu_gpte_rights(uint64_t gpte, bool nx)
{
	uint32_t rights = 0;

	if (gpte & VMMU_BIT(1))
		rights |= VMMU_RIGHT_WRITE;
	if (gpte & VMMU_BIT(2))
		rights |= VMMU_RIGHT_USER;
	if (!nx || !(gpte & VMMU_GUEST_NO_EXEC))
		rights |= VMMU_RIGHT_EXEC;
	return rights;
}

static vmmu_spte_t build(const struct vmmu_vm *vm, const struct vmmu_wish *wish,
			 const struct vmmu_page *page, uint32_t rights)
{
	struct vmmu_leaf leaf = {
		.pfn = page->pfn,
		.level = wish->level,
		.access = VMMU_ACCESS_READ,
		.accessed = true,
		.dirty = wish->is_write && (rights & VMMU_RIGHT_WRITE),
		.memtype = VMMU_MEMTYPE_WB,
	};
	vmmu_spte_t e;

	if (rights & VMMU_RIGHT_WRITE)
		leaf.access |= VMMU_ACCESS_WRITE;
	if (rights & VMMU_RIGHT_EXEC)
		leaf.access |= VMMU_ACCESS_EXEC;
	/* A type that differs within a huge page cannot be said; the strictest stands in. */
	if (vm->port->memory_type &&
	    !vm->port->memory_type(vm->host, wish->gfn, vmmu_level_frames(wish->level), page->pfn,
				   &leaf.memtype))
		leaf.memtype = VMMU_MEMTYPE_UC;
	e = vmmu_spte_leaf(&vm->fmt, &leaf);
	if (rights & VMMU_RIGHT_USER)
		e.raw |= vm->fmt.user_bit;
	e.raw |= (uint64_t)wish->key << KEY_SHIFT;
	return e;
}

/*
 * What clients that track the frame leave of the rights; TRACKED if the access itself has to come
 * out and there is nothing to map. Here, under the lock, is where it is decided.
 */
static enum vmmu_outcome obey_trackers(struct vmmu_task *task, const struct vmmu_wish *w,
				       uint32_t *rights)
{
	uint32_t kinds = vmmu_tracked_kinds(task->vm, w->gfn);

	if (VMMU_MUTANT(TRACK_HINT))
		return VMMU_OUTCOME_RESUME;
	if ((kinds & VMMU_ACCESS_WRITE) && !VMMU_MUTANT(TRACK_UNSYNC))
		*rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	if (kinds & VMMU_ACCESS_EXEC)
		*rights &= ~(uint32_t)VMMU_RIGHT_EXEC;
	return (kinds & VMMU_ACCESS_READ) || (w->is_fetch && (kinds & VMMU_ACCESS_EXEC))
		       ? VMMU_OUTCOME_TRACKED
		       : VMMU_OUTCOME_RESUME;
}

/* A write that no entry may let pass: to the guest's own tables, or to what a client tracks. */
static enum vmmu_outcome write_outcome(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *m = vmmu_shade_first(task->vm, space, gfn);

	while (m && !shade_is_mirror(m))
		m = m->same_frame;
	return m ? VMMU_OUTCOME_TABLE_WRITE : VMMU_OUTCOME_TRACKED;
}

enum vmmu_outcome vmmu_shade_map(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
				 const struct vmmu_wish *wish)
{
	struct vmmu_wish w = *wish;
	uint32_t rights = w.rights;
	const struct vmmu_slot *slot;
	struct vmmu_page page;
	uint64_t before = s->gptes[index];

	if (shade_is_mirror(s)) {
		s->gptes[index] = w.gpte;
		w.gfn = vmmu_shade_leaf_gfn(s, index);
		s->gptes[index] = before;
		/* Under long mode the guest's protection key goes along. */
		if (s->sp.role.mode >= VMMU_PAGING_4LEVEL)
			w.key = (uint8_t)(w.gpte >> KEY_SHIFT & 15u);
	} else {
		w.gfn = vmmu_shade_leaf_gfn(s, index);
		w.key = s->sp.role.key;
	}
	slot = vmmu_shadow_slot(task, s->sp.role.space, w.gfn);
	if (!slot) {
		vmmu_shade_set_mmio(task, s, index, w.gpte);
		return VMMU_OUTCOME_MMIO;
	}
	if (slot->flags & VMMU_SLOT_READONLY) {
		if (w.is_write)
			return VMMU_OUTCOME_READONLY;
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	}
	if (VMMU_UNLIKELY(vm_tracks(task->vm)) &&
	    obey_trackers(task, &w, &rights) == VMMU_OUTCOME_TRACKED)
		return w.is_write ? write_outcome(task, s->sp.role.space, w.gfn)
				  : VMMU_OUTCOME_TRACKED;
	if (!vmmu_page_at_hand(task, slot, w.gfn, &page) || (w.is_write && !page.writable))
		return VMMU_OUTCOME_PENDING;
	if (!page.writable)
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	if ((rights & VMMU_RIGHT_WRITE) &&
	    vmmu_frame_writable(task, s->sp.role.space, w.gfn, w.is_write) == VMMU_MUST_NOT_WRITE)
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	if (!vmmu_shade_set_leaf(task, s, index, build(task->vm, &w, &page, rights), w.gpte))
		return VMMU_OUTCOME_NO_MEMORY;
	if (w.is_write && !(rights & VMMU_RIGHT_WRITE))
		return write_outcome(task, s->sp.role.space, w.gfn);
	return VMMU_OUTCOME_RESUME;
}
