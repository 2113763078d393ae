/* SPDX-License-Identifier: MIT */
/*
 * Tracking clients: registration, adding and removing, and the writes and reads that they are told
 * of.
 *
 * Everything that changes what is tracked holds the slots lock: it can check a whole range first,
 * reserve memory, and then apply in steps that pause, with nobody else changing slots or
 * counts in between. Nothing has changed until all is certain.
 */
#include <vmmu/track.h>

#include "api/engines.h"
#include "vm.h"

/* ---- registration ---- */

static struct vmmu_tracking *tracking_make(struct vmmu_vm *vm)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	vmmu_pfn_t pfn;

	if (tracking)
		return tracking;
	pfn = vm->port->page_alloc(vm->host);
	if (vmmu_pfn_is_none(pfn))
		return NULL;
	tracking = vm->port->page_map(vm->host, pfn);
	tracking->self = pfn;
	atomic_put_release(&vm->tracking, (uintptr_t)tracking); /* pairs with vmmu_tracking_of() */
	return tracking;
}

static enum vmmu_error enlist(struct vmmu_vm *vm, const struct vmmu_tracker_ops *ops, void *client,
			      vmmu_tracker_id_t *id) VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_tracking *tracking = tracking_make(vm);
	struct vmmu_task task = task_of_vm(vm);
	unsigned place = 0;
	struct vmmu_tracker *t;

	if (!tracking)
		return VMMU_ENOMEM;
	while (place < VMMU_TRACKERS_MAX && tracking->trackers[place].id)
		place++;
	if (place == VMMU_TRACKERS_MAX)
		return VMMU_ELIMIT;
	t = &tracking->trackers[place];
	vmmu_section_begin(&task);
	tracking->registered++;
	t->leaving = false;
	t->ops = ops;
	t->client = client;
	t->id = ++tracking->serial * VMMU_TRACKERS_MAX + place;
	vmmu_section_end(&task);
	id->n = t->id;
	return VMMU_OK;
}

enum vmmu_error vmmu_tracker_register(struct vmmu_vm *vm, const struct vmmu_tracker_ops *ops,
				      void *client, vmmu_tracker_id_t *id)
{
	enum vmmu_error error;

	if (!ops || !id)
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	vmmu_slots_acquire(vm);
	error = enlist(vm, ops, client, id);
	vmmu_slots_release(vm);
	return error;
}

enum vmmu_error vmmu_tracker_unregister(struct vmmu_vm *vm, vmmu_tracker_id_t id)
{
	struct vmmu_gfn_range all = {{0}, {VMMU_TRACK_FRAMES_MAX}};
	struct vmmu_task task = task_of_vm(vm);
	struct vmmu_tracker *t;

	vmmu_slots_acquire(vm);
	t = vmmu_tracker_find(vm, id);
	if (t) {
		vmmu_section_begin(&task);
		t->leaving = true;
		vmmu_track_drop(&task, t, all, false);
		vmmu_section_end(&task);
	}
	vmmu_slots_release(vm);
	if (!t)
		return VMMU_ENOENT;
	/* Without the lock: the callbacks under way may want it. */
	vmmu_tell_wait(vm, t);
	vmmu_slots_acquire(vm);
	vmmu_section_begin(&task);
	t->id = 0;
	vmmu_tracking_of(vm)->registered--;
	vmmu_section_end(&task);
	vmmu_slots_release(vm);
	return VMMU_OK;
}

/* ---- what is tracked ---- */

struct edit {
	struct vmmu_task task;
	struct vmmu_cache cache;
	struct vmmu_tracker *tracker;
	struct vmmu_gfn_range range;
	enum vmmu_track_edit edit;
	uint32_t kinds;
};

/* First frame behind the slots of any space that hold @gfn; @gfn if none does. */
static uint64_t held_until(const struct vmmu_vm *vm, vmmu_gfn_t gfn) VMMU_REQUIRES(vmmu_slots_lock)
{
	uint64_t end = gfn.n;

	for (unsigned space = 0; space < vm->config.spaces; space++) {
		const struct vmmu_slot *slot =
			vmmu_slots_find(vmmu_slots_now(&vm->spaces[space]), gfn);

		if (slot && slot->base.n + slot->count > end)
			end = slot->base.n + slot->count;
	}
	return end;
}

static enum vmmu_error check_slots(const struct edit *e) VMMU_REQUIRES(vmmu_slots_lock)
{
	uint64_t next = e->range.start.n;

	while (next < e->range.end.n) {
		uint64_t end = held_until(e->task.vm, (vmmu_gfn_t){next});

		if (end == next)
			return VMMU_ENOENT;
		next = end;
	}
	return e->range.end.n > VMMU_TRACK_FRAMES_MAX ? VMMU_ERANGE : VMMU_OK;
}

static enum vmmu_error check_cells(const struct edit *e) VMMU_REQUIRES(vmmu_slots_lock)
{
	enum vmmu_error error = VMMU_OK;

	for (uint64_t n = e->range.start.n; n < e->range.end.n && error == VMMU_OK; n++)
		error = vmmu_track_check(e->tracker, (vmmu_gfn_t){n}, e->edit, e->kinds);
	return error;
}

/* Pages to reserve for the cells of these frames: two for each 512 frames, and one above them. */
static unsigned pages_for(uint64_t start, uint64_t end)
{
	uint64_t pages = 2 * ((end - 1) / VMMU_TABLE_ENTRIES - start / VMMU_TABLE_ENTRIES + 1) + 1;

	return pages < VMMU_RESERVE_PAGES ? (unsigned)pages : VMMU_RESERVE_PAGES;
}

/* Cells for the whole range; they count nothing yet. */
static enum vmmu_error make_cells(struct edit *e) VMMU_REQUIRES(vmmu_slots_lock)
{
	uint64_t n = e->range.start.n;

	/* As often as it takes: each round uses up what was reserved. */
	for (;;) {
		vmmu_section_begin(&e->task);
		/* One frame of each page of cells: they come by 512. */
		while (n < e->range.end.n && vmmu_track_make(&e->task, e->tracker, (vmmu_gfn_t){n}))
			n = n / VMMU_TABLE_ENTRIES * VMMU_TABLE_ENTRIES + VMMU_TABLE_ENTRIES;
		vmmu_section_end(&e->task);
		if (n >= e->range.end.n)
			return VMMU_OK;
		if (!vmmu_reserve_fill(e->task.vm, &e->cache.reserve, pages_for(n, e->range.end.n)))
			return VMMU_ENOMEM;
	}
}

/* Frames [start, end) of one 2M region. Runs of frames with the same effect go together. */
static void apply_some(struct edit *e, uint64_t start, uint64_t end) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint32_t kinds = 0;
	uint64_t first = start;

	for (uint64_t n = start; n < end; n++) {
		uint32_t fresh =
			vmmu_track_apply(&e->task, e->tracker, (vmmu_gfn_t){n}, e->edit, e->kinds);

		if (VMMU_MUTANT(TRACK_REARM_IDLE) && e->edit == VMMU_TRACK_REARM)
			fresh = 0;
		if (fresh != kinds && kinds)
			vmmu_forbid(&e->task, (struct vmmu_gfn_range){{first}, {n}}, kinds);
		if (fresh != kinds)
			first = n;
		kinds = fresh;
	}
	if (kinds)
		vmmu_forbid(&e->task, (struct vmmu_gfn_range){{first}, {end}}, kinds);
	if (VMMU_MUTANT(TRACK_UNPAID))
		e->task.debt.owed = false;
}

static void apply(struct edit *e) VMMU_REQUIRES(vmmu_slots_lock)
{
	uint64_t n = e->range.start.n;

	vmmu_section_begin(&e->task);
	while (n < e->range.end.n) {
		uint64_t end = n / VMMU_TABLE_ENTRIES * VMMU_TABLE_ENTRIES + VMMU_TABLE_ENTRIES;

		if (end > e->range.end.n)
			end = e->range.end.n;
		apply_some(e, n, end);
		n = end;
		if (n < e->range.end.n)
			(void)vmmu_section_pause(&e->task);
	}
	trace(&e->task, VMMU_TRACE_TRACK, 0, e->range.start.n, e->range.end.n,
	      e->kinds | (uint64_t)e->edit << 8);
	vmmu_section_end(&e->task);
}

/* Check, reserve, apply. */
static enum vmmu_error run(struct edit *e, vmmu_tracker_id_t id) VMMU_REQUIRES(vmmu_slots_lock)
{
	enum vmmu_error error;

	e->tracker = vmmu_tracker_find(e->task.vm, id);
	if (!e->tracker)
		return VMMU_ENOENT;
	error = e->edit == VMMU_TRACK_ADD ? check_slots(e) : VMMU_OK;
	if (error == VMMU_OK)
		error = check_cells(e);
	if (error == VMMU_OK && e->edit == VMMU_TRACK_ADD)
		error = make_cells(e);
	if (error == VMMU_OK)
		apply(e);
	return error;
}

static enum vmmu_error edit_range(struct vmmu_vm *vm, vmmu_tracker_id_t id,
				  struct vmmu_gfn_range range, enum vmmu_track_edit edit,
				  uint32_t kinds)
{
	struct edit e = {.task = task_of_vm(vm), .range = range, .edit = edit, .kinds = kinds};
	enum vmmu_error error;

	if (range.start.n > range.end.n || !kinds || (kinds & ~VMMU_TRACK_KINDS))
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	e.task.cache = &e.cache;
	vmmu_slots_acquire(vm);
	error = run(&e, id);
	vmmu_slots_release(vm);
	vmmu_cache_drain(vm, &e.cache);
	vmmu_table_collect(vm);
	return error == VMMU_OK && vm_is_dead(vm) ? VMMU_EDEAD : error;
}

enum vmmu_error vmmu_track_add(struct vmmu_vm *vm, vmmu_tracker_id_t id,
			       struct vmmu_gfn_range range, uint32_t kinds)
{
	return edit_range(vm, id, range, VMMU_TRACK_ADD, kinds);
}

enum vmmu_error vmmu_track_remove(struct vmmu_vm *vm, vmmu_tracker_id_t id,
				  struct vmmu_gfn_range range, uint32_t kinds)
{
	return edit_range(vm, id, range, VMMU_TRACK_REMOVE, kinds);
}

enum vmmu_error vmmu_track_once(struct vmmu_vm *vm, vmmu_tracker_id_t id,
				struct vmmu_gfn_range range, bool on)
{
	return edit_range(vm, id, range, on ? VMMU_TRACK_ONCE : VMMU_TRACK_ALWAYS,
			  VMMU_ACCESS_WRITE);
}

enum vmmu_error vmmu_track_rearm(struct vmmu_vm *vm, vmmu_tracker_id_t id,
				 struct vmmu_gfn_range range)
{
	return edit_range(vm, id, range, VMMU_TRACK_REARM, VMMU_ACCESS_WRITE);
}

/* ---- accesses that are told ---- */

static bool access_is_valid(const struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa,
			    uint64_t bytes)
{
	return space < vm->config.spaces && gpa.addr + bytes >= gpa.addr;
}

static void mirror_write(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint64_t bytes)
{
	if (task->vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_frames_written(task, space, gpa, bytes);
}

/*
 * A full barrier between the bytes and the cells: where a cell says already that the frame was
 * written, whoever takes that, and copies the page, reads the bytes.
 */
static void log_write(struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa, uint64_t bytes)
{
	struct vmmu_gfn_range range = {vmmu_gpa_to_gfn(gpa), {0}};

	if (!bytes || !atomic_plus(&vm->logging, 0) || VMMU_MUTANT(LOG_DEAF))
		return;
	range.end.n = vmmu_gpa_to_gfn((vmmu_gpa_t){gpa.addr + bytes - 1}).n + 1;
	vmmu_dirty_set(vm, space, range);
}

enum vmmu_error vmmu_guest_written(struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa,
				   uint64_t bytes)
{
	struct vmmu_task task = task_of_vm(vm);

	if (!access_is_valid(vm, space, gpa, bytes))
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (VMMU_MUTANT(TRACK_LATE))
		mirror_write(&task, space, gpa, bytes);
	log_write(vm, space, gpa, bytes);
	/* Clients first: what they do about it may still change our tables. */
	vmmu_tell_accessed(&task, space, gpa, bytes, VMMU_ACCESS_WRITE);
	if (!VMMU_MUTANT(TRACK_LATE))
		mirror_write(&task, space, gpa, bytes);
	return VMMU_OK;
}

enum vmmu_error vmmu_guest_accessed(struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa,
				    uint64_t bytes, uint32_t kind)
{
	struct vmmu_task task = task_of_vm(vm);

	if (!access_is_valid(vm, space, gpa, bytes) ||
	    (kind != VMMU_ACCESS_READ && kind != VMMU_ACCESS_EXEC))
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	vmmu_tell_accessed(&task, space, gpa, bytes, kind);
	return VMMU_OK;
}
