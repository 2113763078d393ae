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

static inline uint32_t access_of(uint32_t rights)
{
	uint32_t access = VMMU_ACCESS_READ;

	if (rights & VMMU_RIGHT_WRITE)
		access |= VMMU_ACCESS_WRITE;
	if (rights & VMMU_RIGHT_EXEC)
		access |= VMMU_ACCESS_EXEC;
	return access;
}

static inline vmmu_spte_t build(const struct vmmu_vm *vm, const struct vmmu_wish *wish,
				vmmu_gfn_t gfn, const struct vmmu_page *page, uint32_t rights)
{
	enum vmmu_memtype memtype = VMMU_MEMTYPE_WB;
	bool write = (rights & VMMU_RIGHT_WRITE) != 0;
	vmmu_spte_t e;

	/* A type that differs within a huge page cannot be said; the strictest stands in. */
	if (vm->port->memory_type &&
	    !vm->port->memory_type(vm->host, gfn, vmmu_level_frames(wish->level), page->pfn,
				   &memtype))
		memtype = VMMU_MEMTYPE_UC;
	e = vmmu_spte_leaf(&vm->fmt, &(struct vmmu_leaf){
					     .pfn = page->pfn,
					     .level = wish->level,
					     .access = access_of(rights),
					     .accessed = true,
					     .dirty = wish->is_write && write,
					     .memtype = memtype,
				     });
	if (rights & VMMU_RIGHT_USER)
		e.raw |= vm->fmt.user_bit;
	return e;
}

/* Under long mode the guest's protection key goes along. */
static inline uint64_t key_of(const struct vmmu_shade *s, const struct vmmu_wish *wish)
{
	if (!shade_is_mirror(s))
		return (uint64_t)s->sp.role.key << KEY_SHIFT;
	return s->sp.role.mode >= VMMU_PAGING_4LEVEL ? wish->gpte & VMMU_SPTE_KEY_MASK : 0;
}

/*
 * What clients that track the frame leave of the rights; TRACKED if the access itself has to come
 * out and there is nothing to map. Here, under the lock, is where it is decided.
 */
static enum vmmu_outcome obey_trackers(struct vmmu_task *task, vmmu_gfn_t gfn, bool is_fetch,
				       uint32_t *rights)
{
	uint32_t kinds = vmmu_tracked_kinds(task->vm, gfn);

	if (VMMU_MUTANT(TRACK_HINT))
		return VMMU_OUTCOME_RESUME;
	if ((kinds & VMMU_ACCESS_WRITE) && !VMMU_MUTANT(TRACK_UNSYNC))
		*rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	if (kinds & VMMU_ACCESS_EXEC)
		*rights &= ~(uint32_t)VMMU_RIGHT_EXEC;
	return (kinds & VMMU_ACCESS_READ) || (is_fetch && (kinds & VMMU_ACCESS_EXEC))
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

/* For a mistake that takes others in between: UNSYNC_LATE. */
static void unsync_late(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn) VMMU_NO_ANALYSIS
{
	vmmu_section_end(task);
	vmmu_section_begin(task);
	(void)vmmu_frame_unsync(task, space, gfn);
}

enum vmmu_outcome vmmu_shade_map(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
				 const struct vmmu_wish *wish)
{
	unsigned space = s->sp.role.space;
	vmmu_gfn_t gfn = vmmu_shade_gfn_of(s, index, wish->gpte);
	const struct vmmu_slot *slot = shadow_slot(task, space, gfn);
	uint32_t rights = wish->rights;
	struct vmmu_page page;
	vmmu_spte_t e;

	if (!slot) {
		vmmu_shade_set_mmio(task, s, index, wish->gpte);
		return VMMU_OUTCOME_MMIO;
	}
	if (slot->flags & VMMU_SLOT_READONLY) {
		if (wish->is_write)
			return VMMU_OUTCOME_READONLY;
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	}
	if (VMMU_UNLIKELY(vm_tracks(task->vm)) &&
	    obey_trackers(task, gfn, wish->is_fetch, &rights) == VMMU_OUTCOME_TRACKED)
		return wish->is_write ? write_outcome(task, space, gfn) : VMMU_OUTCOME_TRACKED;
	if (!vmmu_page_at_hand(task, slot, gfn, &page) || (wish->is_write && !page.writable))
		return VMMU_OUTCOME_PENDING;
	if (!page.writable)
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	if ((rights & VMMU_RIGHT_WRITE) &&
	    vmmu_frame_writable(task, space, gfn, wish->is_write) == VMMU_MUST_NOT_WRITE)
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	e = build(task->vm, wish, gfn, &page, rights);
	e.raw |= key_of(s, wish);
	if (!vmmu_shade_set_leaf(task, s, index, e, wish->gpte))
		return VMMU_OUTCOME_NO_MEMORY;
	if (VMMU_MUTANT(UNSYNC_LATE) && (rights & VMMU_RIGHT_WRITE))
		unsync_late(task, space, gfn);
	if (wish->is_write && !(rights & VMMU_RIGHT_WRITE))
		return write_outcome(task, space, gfn);
	return VMMU_OUTCOME_RESUME;
}
