/* SPDX-License-Identifier: MIT */
/* The guest's memory as the library reads it: through slots and the host pages at hand. */
#include "shadow/shade.h"
#include "vm.h"

const struct vmmu_slot *vmmu_shadow_slot(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	const struct vmmu_slot *slot =
		vmmu_slots_find(vmmu_slots_now(&task->vm->spaces[space]), gfn);

	if (!vcpu || !slot)
		return slot;
	vcpu->slot = *slot;
	vcpu->slot_generation = atomic_get(&task->vm->spaces[space].generation);
	return &vcpu->slot;
}

bool vmmu_page_at_hand(struct vmmu_task *task, const struct vmmu_slot *slot, vmmu_gfn_t gfn,
		       struct vmmu_page *page)
{
	return page_at_hand(task->vm, slot, gfn, page);
}

static void *frame_of_slot(struct vmmu_task *task, const struct vmmu_slot *slot, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_page page;

	if (!slot || !vmmu_page_at_hand(task, slot, gfn, &page))
		return NULL;
	return task->vm->port->guest_map(task->vm->host, page.pfn);
}

void *vmmu_guest_frame(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
{
	return frame_of_slot(task, shadow_slot(task, space, gfn), gfn);
}

const uint8_t *vmmu_shade_frame(struct vmmu_task *task, struct vmmu_shade *s)
{
	const uint8_t *frame = shade_known_frame(task->vm, s);

	if (VMMU_LIKELY(frame != NULL))
		return frame;
	s->frame = vmmu_guest_frame(task, s->sp.role.space, s->sp.gfn);
	s->frame_begun = task->vm->invalidations.begun;
	return s->frame;
}

bool vmmu_guest_read(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, unsigned bytes,
		     uint64_t *value)
{
	const struct vmmu_slot *slot = shadow_slot(task, space, vmmu_gpa_to_gfn(gpa));
	const uint8_t *frame;

	if (!slot) {
		/* Nothing answers on the bus: all ones. */
		*value = bytes == 8 ? UINT64_MAX : UINT32_MAX;
		return true;
	}
	frame = frame_of_slot(task, slot, vmmu_gpa_to_gfn(gpa));
	if (!frame)
		return false;
	frame += gpa.addr % VMMU_PAGE_BYTES;
	*value = bytes == 8 ? atomic_guest_get8(frame) : atomic_guest_get4(frame);
	return true;
}

/* Accessed and dirty bits that the walker sets. */
bool vmmu_guest_update(struct vmmu_task *task, unsigned space, const struct vmmu_update *u)
{
	const struct vmmu_slot *slot = shadow_slot(task, space, vmmu_gpa_to_gfn(u->gpa));
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn(u->gpa);
	struct vmmu_page page;
	uint8_t *frame;
	bool landed;

	*u->gone = true;
	if (!slot || (slot->flags & VMMU_SLOT_READONLY) ||
	    !vmmu_page_at_hand(task, slot, vmmu_gpa_to_gfn(u->gpa), &page) || !page.writable)
		return false;
	*u->gone = false;
	frame = task->vm->port->guest_map(task->vm->host, page.pfn);
	frame += u->gpa.addr % VMMU_PAGE_BYTES;
	if (VMMU_MUTANT(LOG_EARLY))
		vmmu_dirty_told(task->vm, space, (struct vmmu_gfn_range){gfn, {gfn.n + 1}},
				page.pfn);
	landed = u->bytes == 8 ? atomic_guest_cas8(frame, u->old, u->value)
			       : atomic_guest_cas4(frame, (uint32_t)u->old, (uint32_t)u->value);
	/* Afterwards: told before, it could be asked for, and the page copied, too early. */
	if (landed && vm_hears_dirty(task->vm) && !VMMU_MUTANT(LOG_EARLY) &&
	    !VMMU_MUTANT(LOG_MARKS))
		vmmu_dirty_told(task->vm, space, (struct vmmu_gfn_range){gfn, {gfn.n + 1}},
				page.pfn);
	return landed;
}
