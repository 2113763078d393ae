/* SPDX-License-Identifier: MIT */
/*
 * Slot changes: validate, reserve, build the new set, publish it, withdraw what it no longer
 * allows, free the old set. Nothing has changed until the new set is published; nothing
 * can fail after that.
 *
 * Publication and the check of a fault are ordered by the mmu lock: a fault that looked at
 * the old set finds another generation inside its section and is repeated. So there is no
 * state in between in which a slot exists but must not be used.
 */
#include <vmmu/slot.h>

#include "api/dirty.h"
#include "api/engines.h"
#include "vm.h"

#define IDS_PER_PAGE (VMMU_PAGE_BYTES / sizeof(uint64_t))
_Static_assert(VMMU_SLOTS_MAX <= IDS_PER_PAGE * VMMU_ID_PAGES, "every slot id has its place");

#define KNOWN_FLAGS                                                                                \
	((uint32_t)VMMU_SLOT_READONLY | (uint32_t)VMMU_SLOT_SMALL | (uint32_t)VMMU_SLOT_LOG)

/* ---- by id ---- */

/* Base of the slot with this id, plus one; 0 if there is none. */
static uint64_t base_of_id(const struct vmmu_slot_space *space, uint16_t id)
{
	const uint64_t *page;

	if (id >= VMMU_SLOTS_MAX)
		return 0;
	page = space->by_id[id / IDS_PER_PAGE];
	return page ? page[id % IDS_PER_PAGE] : 0;
}

static void set_base_of_id(struct vmmu_slot_space *space, uint16_t id, uint64_t base_plus_one)
{
	space->by_id[id / IDS_PER_PAGE][id % IDS_PER_PAGE] = base_plus_one;
}

static bool reserve_id(struct vmmu_vm *vm, struct vmmu_slot_space *space, uint16_t id)
{
	unsigned page = id / IDS_PER_PAGE;
	vmmu_pfn_t pfn;

	if (space->by_id[page])
		return true;
	pfn = vm->port->page_alloc(vm->host);
	if (vmmu_pfn_is_none(pfn))
		return false;
	space->by_id_pfn[page] = pfn;
	space->by_id[page] = vm->port->page_map(vm->host, pfn);
	return true;
}

const struct vmmu_slot *vmmu_slot_of_id(struct vmmu_vm *vm, unsigned space, uint16_t id)
{
	uint64_t base = base_of_id(&vm->spaces[space], id);

	return base ? vmmu_slots_find(vmmu_slots_now(&vm->spaces[space]), (vmmu_gfn_t){base - 1})
		    : NULL;
}

/* ---- validation ---- */

static enum vmmu_error check_frames(const struct vmmu_vm *vm, vmmu_gfn_t base, uint64_t count)
{
	if (!count || count > INT32_MAX || base.n + count < base.n)
		return VMMU_EINVAL;
	return base.n + count <= vm->gfn_end.n ? VMMU_OK : VMMU_ERANGE;
}

static enum vmmu_error check_config(const struct vmmu_vm *vm, const struct vmmu_slot_config *c)
{
	if (c->space >= vm->config.spaces || c->id >= VMMU_SLOTS_MAX || (c->flags & ~KNOWN_FLAGS) ||
	    (c->host_base & (VMMU_PAGE_BYTES - 1)))
		return VMMU_EINVAL;
	if (c->count <= INT32_MAX && c->host_base + (c->count << VMMU_PAGE_SHIFT) < c->host_base)
		return VMMU_EINVAL;
	return check_frames(vm, c->base, c->count);
}

/* Does a slot other than @except hold a frame of the range? */
static bool overlaps(const struct vmmu_slot_set *set, vmmu_gfn_t base, uint64_t count,
		     const struct vmmu_slot *except)
{
	const struct vmmu_slot *slot = vmmu_slots_from(set, base);

	if (slot && slot == except)
		slot = vmmu_slots_from(set, (vmmu_gfn_t){slot->base.n + slot->count});
	return slot && slot->base.n < base.n + count;
}

/* ---- publication ---- */

struct change {
	struct vmmu_vm *vm;
	unsigned space;
	struct vmmu_slot_edit edit;
	struct vmmu_gfn_range withdraw; /* frames whose translations end with the old set */
	struct vmmu_gfn_range appear;   /* frames that may not have been memory in it */
	struct vmmu_slot gone;          /* the slot that they belonged to */
	bool ends;                      /* that slot is no more: outsiders are told */
	uint32_t announced;             /* to these */
};

/* Entries hold only some bits of the generation: when those start over, none may be left. */
static bool generation_wraps(const struct vmmu_vm *vm, uint64_t generation)
{
	return (generation & vm->fmt.generation_mask) < vm->config.spaces;
}

/* Shadow tables kept at most: by configuration, or in proportion to the guest's memory. */
static void set_quota(struct vmmu_vm *vm)
{
	uint64_t frames = 0;

	for (unsigned space = 0; space < vm->config.spaces; space++)
		frames += atomic_get(&vm->frames_total[space]);
	vm->shades.quota = vm->config.table_quota ? vm->config.table_quota : frames / 50;
	if (vm->shades.quota < 64)
		vm->shades.quota = 64;
}

/* The slot has ended for certain. Frames that the other space still has stay tracked. */
static void drop_tracking(struct change *c, struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(c->vm);

	for (unsigned i = 0; tracking && i < VMMU_TRACKERS_MAX; i++)
		if (tracking->trackers[i].id && !VMMU_MUTANT(TRACK_OUTLIVES_SLOT))
			vmmu_track_drop(task, &tracking->trackers[i], c->withdraw, true);
	c->announced = vmmu_tell_announce(c->vm);
}

static void publish(struct change *c, struct vmmu_task *task) VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_vm *vm = c->vm;
	struct vmmu_slot_space *space = &vm->spaces[c->space];
	struct vmmu_slot_set *old = vmmu_slots_now(space), *set = c->edit.set;
	bool everything = vm->config.zap_all_on_delete && c->withdraw.start.n != c->withdraw.end.n;

	task->space = c->space;
	set->generation = old->generation + vm->config.spaces;
	vmmu_section_begin(task);
	space->withdrawn = c->gone;
	/* Set first: whoever reads the new generation finds the new set. */
	atomic_put_release(&space->set, (uintptr_t)set);
	atomic_put_release(&space->generation, set->generation | VMMU_GENERATION_IN_PROGRESS);
	atomic_put(&vm->slots_total[c->space], set->slots);
	atomic_put(&vm->frames_total[c->space], set->frames);
	set_quota(vm);
	if (everything || generation_wraps(vm, set->generation))
		vmmu_zap_everything(task);
	/* Also after that: a root that another thread is taking apart may still hold some. */
	if (c->withdraw.start.n != c->withdraw.end.n && !VMMU_MUTANT(DELETE_KEEPS))
		vmmu_zap_slot(task, c->space, c->withdraw);
	if (c->ends)
		drop_tracking(c, task);
	vmmu_zap_hole(task, c->space, c->appear);
	space->withdrawn.count = 0;
	atomic_put_release(&space->generation, set->generation);
	vmmu_section_end(task);
	stat_add(task, VMMU_STAT_SLOT_CHANGES, 1);
	vmmu_reading_wait(task);
	vmmu_edit_done(&c->edit, old);
	vmmu_table_collect(vm);
}

static struct vmmu_gfn_range range_of(const struct vmmu_slot *slot)
{
	return (struct vmmu_gfn_range){slot->base, {slot->base.n + slot->count}};
}

static void withdraw_slot(struct change *c, const struct vmmu_slot *slot)
{
	c->withdraw = range_of(slot);
	c->gone = *slot;
}

/* ---- the calls ---- */

static enum vmmu_error create(struct vmmu_vm *vm, const struct vmmu_slot_config *config,
			      struct vmmu_task *task) VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_slot_space *space = &vm->spaces[config->space];
	struct change c = {.vm = vm, .space = config->space};
	struct vmmu_slot slot = {
		.base = config->base,
		.count = (uint32_t)config->count,
		.host_base = config->host_base,
		.flags = (uint8_t)config->flags,
		.id = config->id,
		.space = (uint8_t)config->space,
	};

	if (base_of_id(space, config->id) ||
	    overlaps(vmmu_slots_now(space), config->base, config->count, NULL))
		return VMMU_EEXIST;
	if (!reserve_id(vm, space, config->id) || !vmmu_edit_reserve(&c.edit, vm))
		return VMMU_ENOMEM;
	if (slot.flags & VMMU_SLOT_LOG) {
		enum vmmu_error error = vmmu_log_prepare(vm, config->space, range_of(&slot));

		if (error != VMMU_OK) {
			vmmu_edit_cancel(&c.edit);
			return error;
		}
	}
	vmmu_edit_begin(&c.edit, vmmu_slots_now(space));
	vmmu_edit_insert(&c.edit, &slot);
	c.appear = range_of(&slot);
	set_base_of_id(space, config->id, config->base.n + 1);
	publish(&c, task);
	trace(task, VMMU_TRACE_SLOT, 0, config->id, config->base.n, config->count);
	return VMMU_OK;
}

enum vmmu_error vmmu_slot_create(struct vmmu_vm *vm, const struct vmmu_slot_config *config)
{
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error = check_config(vm, config);
	uint64_t frames = 0;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (error != VMMU_OK)
		return error;
	vmmu_slots_acquire(vm);
	error = create(vm, config, &task);
	for (unsigned space = 0; space < vm->config.spaces; space++)
		frames += atomic_get(&vm->frames_total[space]);
	if (error == VMMU_OK)
		vmmu_pages_grow(vm, frames);
	vmmu_slots_release(vm);
	return error;
}

/* A deliberate mistake. */
static void tell_too_early(struct change *c, const struct vmmu_slot *slot) VMMU_NO_ANALYSIS
{
	withdraw_slot(c, slot);
	vmmu_tell_removed(c->vm, vmmu_tell_announce(c->vm), c->space, c->withdraw);
}

static enum vmmu_error end_slot(struct change *c, uint16_t id, struct vmmu_task *task)
	VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_vm *vm = c->vm;
	const struct vmmu_slot *slot = vmmu_slot_of_id(vm, c->space, id);

	if (!slot)
		return VMMU_ENOENT;
	if (VMMU_MUTANT(TRACK_TELL_EARLY))
		tell_too_early(c, slot);
	if (!vmmu_edit_reserve(&c->edit, vm))
		return VMMU_ENOMEM;
	withdraw_slot(c, slot);
	vmmu_edit_begin(&c->edit, vmmu_slots_now(&vm->spaces[c->space]));
	vmmu_edit_remove(&c->edit, slot->base);
	set_base_of_id(&vm->spaces[c->space], id, 0);
	publish(c, task);
	if (c->gone.flags & VMMU_SLOT_LOG)
		vmmu_log_end(vm);
	trace(task, VMMU_TRACE_SLOT, 0, id, c->withdraw.start.n, 0);
	return VMMU_OK;
}

enum vmmu_error vmmu_slot_delete(struct vmmu_vm *vm, unsigned space, uint16_t id)
{
	struct change c = {.vm = vm, .space = space, .ends = true};
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (space >= vm->config.spaces)
		return VMMU_EINVAL;
	vmmu_slots_acquire(vm);
	error = end_slot(&c, id, &task);
	vmmu_slots_release(vm);
	/* Nothing refers to the memory any more, and the caller does not have it back yet (I14). */
	vmmu_tell_removed(vm, c.announced, space, c.withdraw);
	return error;
}

/* Publish @changed in the place of @slot. @keeps: translations stay. */
static enum vmmu_error replace(struct vmmu_vm *vm, const struct vmmu_slot *slot,
			       const struct vmmu_slot *changed, bool keeps, struct vmmu_task *task)
	VMMU_REQUIRES(vmmu_slots_lock)
{
	struct change c = {.vm = vm, .space = slot->space};

	if (!vmmu_edit_reserve(&c.edit, vm))
		return VMMU_ENOMEM;
	if (!keeps) {
		withdraw_slot(&c, slot);
		c.appear = range_of(changed);
	}
	vmmu_edit_begin(&c.edit, vmmu_slots_now(&vm->spaces[slot->space]));
	vmmu_edit_remove(&c.edit, slot->base);
	vmmu_edit_insert(&c.edit, changed);
	set_base_of_id(&vm->spaces[slot->space], slot->id, changed->base.n + 1);
	publish(&c, task);
	trace(task, VMMU_TRACE_SLOT, 0, changed->id, changed->base.n, changed->count);
	return VMMU_OK;
}

static enum vmmu_error move(struct vmmu_vm *vm, const struct vmmu_slot *slot, vmmu_gfn_t base,
			    struct vmmu_task *task) VMMU_REQUIRES(vmmu_slots_lock)
{
	const struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	struct vmmu_slot changed;
	enum vmmu_error error;

	if (!slot)
		return VMMU_ENOENT;
	changed = *slot;
	changed.base = base;
	if (slot->base.n == base.n)
		return VMMU_OK;
	if ((tracking && tracking->registered) || (slot->flags & VMMU_SLOT_LOG))
		return VMMU_EBUSY; /* they know the memory by its old frames */
	error = check_frames(vm, base, slot->count);
	if (error != VMMU_OK)
		return error;
	if (overlaps(vmmu_slots_now(&vm->spaces[slot->space]), base, slot->count, slot))
		return VMMU_EEXIST;
	return replace(vm, slot, &changed, false, task);
}

enum vmmu_error vmmu_slot_move(struct vmmu_vm *vm, unsigned space, uint16_t id, vmmu_gfn_t base)
{
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (space >= vm->config.spaces)
		return VMMU_EINVAL;
	vmmu_slots_acquire(vm);
	error = move(vm, vmmu_slot_of_id(vm, space, id), base, &task);
	vmmu_slots_release(vm);
	return error;
}

/* Only the log comes or goes, and no leaf becomes larger by it? */
static bool keeps_translations(const struct vmmu_vm *vm, uint32_t old, uint32_t flags)
{
	if ((old ^ flags) != VMMU_SLOT_LOG)
		return false;
	return (flags & (VMMU_SLOT_LOG | VMMU_SLOT_SMALL)) ||
	       vm->config.max_leaf == VMMU_LEVEL_4K || VMMU_MUTANT(LOG_ENDS_KEEPING);
}

static enum vmmu_error change_flags(struct vmmu_vm *vm, const struct vmmu_slot *slot,
				    uint32_t flags, struct vmmu_task *task)
	VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_slot old = *slot, changed = *slot;
	bool keeps = keeps_translations(vm, old.flags, flags);
	bool begins = flags & ~(uint32_t)old.flags & VMMU_SLOT_LOG;
	enum vmmu_error error = VMMU_OK;

	changed.flags = (uint8_t)flags;
	if (begins)
		error = vmmu_log_prepare(vm, old.space, range_of(&old));
	if (error != VMMU_OK)
		return error;
	atomic_put(&vm->log_begins, begins);
	if (begins && VMMU_MUTANT(LOG_SPLITS_FIRST))
		vmmu_log_begin(vm, old.space, range_of(&old));
	error = replace(vm, slot, &changed, keeps, task);
	if (error != VMMU_OK ? begins : (old.flags & ~flags & VMMU_SLOT_LOG) != 0)
		vmmu_log_end(vm);
	else if (error == VMMU_OK && begins && !VMMU_MUTANT(LOG_SPLITS_FIRST))
		vmmu_log_begin(vm, old.space, range_of(&old));
	atomic_put(&vm->log_begins, 0);
	return error;
}

static enum vmmu_error set_flags(struct vmmu_vm *vm, const struct vmmu_slot *slot, uint32_t flags,
				 struct vmmu_task *task) VMMU_REQUIRES(vmmu_slots_lock)
{
	if (!slot)
		return VMMU_ENOENT;
	if ((flags ^ slot->flags) & VMMU_SLOT_READONLY)
		return VMMU_EINVAL;
	return flags == slot->flags ? VMMU_OK : change_flags(vm, slot, flags, task);
}

enum vmmu_error vmmu_slot_set_flags(struct vmmu_vm *vm, unsigned space, uint16_t id, uint32_t flags)
{
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (space >= vm->config.spaces || (flags & ~KNOWN_FLAGS))
		return VMMU_EINVAL;
	vmmu_slots_acquire(vm);
	error = set_flags(vm, vmmu_slot_of_id(vm, space, id), flags, &task);
	vmmu_slots_release(vm);
	return error;
}

enum vmmu_error vmmu_slot_find(struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn,
			       struct vmmu_slot_config *config)
{
	struct vmmu_task task = task_of_vm(vm);
	const struct vmmu_slot *slot;

	if (space >= vm->config.spaces)
		return VMMU_EINVAL;
	vmmu_reading_begin(&task);
	slot = vmmu_slots_find(vmmu_slots_now(&vm->spaces[space]), gfn);
	if (slot)
		*config = (struct vmmu_slot_config){
			.id = slot->id,
			.space = slot->space,
			.flags = slot->flags,
			.base = slot->base,
			.count = slot->count,
			.host_base = slot->host_base,
		};
	vmmu_reading_end(&task);
	return slot ? VMMU_OK : VMMU_ENOENT;
}

uint64_t vmmu_slot_generation(struct vmmu_vm *vm, unsigned space)
{
	return space < vm->config.spaces ? atomic_get_acquire(&vm->spaces[space].generation)
					 : UINT64_MAX;
}
