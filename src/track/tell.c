/* SPDX-License-Identifier: MIT */
/*
 * Calling clients. A callback is announced under the mmu lock, by the count of its tracker, and
 * made with no lock held; unregistering marks the tracker under the same lock, then waits for
 * the count. So nobody is announced after the mark, and those before are waited for.
 */
#include "track/track.h"
#include "vm.h"

struct vmmu_tracking *vmmu_tracking_of(const struct vmmu_vm *vm)
{
	return (struct vmmu_tracking *)(uintptr_t)atomic_get_acquire(&vm->tracking);
}

struct vmmu_tracker *vmmu_tracker_find(const struct vmmu_vm *vm, vmmu_tracker_id_t id)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	struct vmmu_tracker *t;

	if (!tracking || !id.n)
		return NULL;
	t = &tracking->trackers[id.n % VMMU_TRACKERS_MAX];
	return t->id == id.n && !t->leaving ? t : NULL;
}

/* A callback to come. */
static void announce(struct vmmu_tracker *t)
{
	(void)atomic_plus(&t->calls, 1); /* pairs with vmmu_tell_wait(), by way of the lock */
}

static void called(struct vmmu_tracker *t)
{
	(void)atomic_plus(&t->calls, (uint64_t)-1); /* pairs with vmmu_tell_wait() */
}

void vmmu_tell_wait(struct vmmu_vm *vm, struct vmmu_tracker *t)
{
	while (atomic_get_ordered(&t->calls) && !VMMU_MUTANT(TRACK_NO_WAIT)) {
		if (vm->port->yield)
			vm->port->yield(vm->host);
		else
			vmmu_relax(vm->port, vm->host);
	}
}

/* ---- accesses ---- */

static bool is_told(const struct vmmu_tracker *t, vmmu_gfn_t gfn, uint32_t kind)
{
	return t->id && !t->leaving && t->ops->accessed && (vmmu_track_wants(t, gfn) & kind);
}

/*
 * Announce an access to all who track it. Clients that want one write only have it then, and
 * the guest may write from there on: that takes the lock exclusively (@may_open). Return: the
 * clients, as bits; ASK_AGAIN: there are such clients.
 */
#define ASK_AGAIN UINT32_MAX
_Static_assert(VMMU_TRACKERS_MAX < 32, "clients are bits");

static uint32_t announce_access(struct vmmu_task *task, vmmu_gfn_t gfn, uint32_t kind,
				bool may_open) VMMU_NO_ANALYSIS
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(task->vm);
	bool write = (kind & VMMU_ACCESS_WRITE) != 0;
	uint32_t told = 0;

	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++) {
		const struct vmmu_tracker *t = &tracking->trackers[i];

		if (!is_told(t, gfn, kind))
			continue;
		if (write && !may_open && vmmu_track_is_once(t, gfn))
			return ASK_AGAIN;
		told |= 1u << i;
	}
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++) {
		struct vmmu_tracker *t = &tracking->trackers[i];

		if (!(told & 1u << i))
			continue;
		announce(t);
		if (write && vmmu_track_is_once(t, gfn))
			(void)vmmu_track_apply(task, t, gfn, VMMU_TRACK_OPEN, 0);
	}
	return told;
}

static void tell_frame(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint32_t bytes,
		       uint32_t kind)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(task->vm);
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn(gpa);
	uint32_t told;

	vmmu_section_begin_shared(task);
	told = announce_access(task, gfn, kind, false);
	vmmu_section_end_shared(task);
	if (told == ASK_AGAIN) {
		vmmu_section_begin(task);
		told = announce_access(task, gfn, kind, true);
		vmmu_section_end(task);
	}
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++) {
		struct vmmu_tracker *t = &tracking->trackers[i];

		if (!(told & 1u << i))
			continue;
		t->ops->accessed(t->client, space, gpa, bytes, kind);
		called(t);
		stat_add(task, VMMU_STAT_TRACK_TOLD, 1);
	}
}

void vmmu_tell_accessed(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint64_t bytes,
			uint32_t kind)
{
	/* A full barrier between the bytes and the look at what is tracked: the client that adds a
	 * frame and then reads it either is told, or reads them. */
	if (!atomic_plus(&task->vm->tracked, 0))
		return;
	while (bytes) {
		uint64_t here = VMMU_PAGE_BYTES - gpa.addr % VMMU_PAGE_BYTES;

		if (here > bytes)
			here = bytes;
		tell_frame(task, space, gpa, (uint32_t)here, kind);
		gpa.addr += here;
		bytes -= here;
	}
}

/* ---- ends of slots ---- */

uint32_t vmmu_tell_announce(struct vmmu_vm *vm)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	uint32_t announced = 0;

	for (unsigned i = 0; tracking && i < VMMU_TRACKERS_MAX; i++) {
		struct vmmu_tracker *t = &tracking->trackers[i];

		if (!t->id || t->leaving || !t->ops->region_removed)
			continue;
		announce(t);
		announced |= 1u << i;
	}
	return announced;
}

void vmmu_tell_removed(struct vmmu_vm *vm, uint32_t announced, unsigned space,
		       struct vmmu_gfn_range range)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(vm);

	for (unsigned i = 0; announced >> i; i++) {
		struct vmmu_tracker *t = &tracking->trackers[i];

		if (!(announced & 1u << i))
			continue;
		t->ops->region_removed(t->client, space, range);
		called(t);
	}
}

void vmmu_tracking_fini(struct vmmu_vm *vm)
{
	const struct vmmu_tracking *tracking = vmmu_tracking_of(vm);

	if (tracking)
		vm->port->page_free(vm->host, tracking->self);
}
