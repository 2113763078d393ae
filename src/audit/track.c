/* SPDX-License-Identifier: MIT */
/* The audit of tracking: leaves against what is tracked, and all numbers against the clients'. */
#include "audit/auditor.h"
#include "vm.h"

void vmmu_audit_tracked_leaf(struct vmmu_auditor *a, const struct vmmu_iter *at)
{
	uint32_t access = spte_access(&a->vm->fmt, at->old);

	if (at->level > VMMU_LEVEL_4K) {
		if (vmmu_tracked_around(a->vm, at->gfn, at->level))
			vmmu_audit_entry(a, 2, "a huge leaf reaches over a tracked frame", at);
		return;
	}
	/* A right that a fault may give back without the lock counts, too. */
	if (at->old.raw & a->vm->fmt.saved_write)
		access |= VMMU_ACCESS_WRITE;
	if (access & vmmu_tracked_kinds(a->vm, at->gfn))
		vmmu_audit_entry(a, 2, "a leaf allows what a client tracks", at);
}

static bool slots_are_changing(const struct vmmu_vm *vm)
{
	for (unsigned space = 0; space < vm->config.spaces; space++)
		if (atomic_get(&vm->spaces[space].generation) & VMMU_GENERATION_IN_PROGRESS)
			return true;
	return false;
}

/* Return: 1 if the frame is tracked. */
static uint64_t check_frame(struct vmmu_auditor *a, const struct vmmu_tracking *tracking,
			    vmmu_gfn_t gfn)
{
	uint64_t kept = vmmu_framemap_peek(&tracking->frames, gfn.n);
	uint64_t counted = vmmu_track_recount(tracking, gfn);

	if (kept != counted)
		vmmu_audit_numbers(a, 2, "clients that track a frame", kept, counted);
	if (!kept)
		return 0;
	if (!slots_are_changing(a->vm) && !vmmu_track_in_slot(a->vm, gfn))
		vmmu_audit_numbers(a, 14, "a frame is tracked that is in no slot", gfn.n, 0);
	return 1;
}

static void check_regions(struct vmmu_auditor *a, const struct vmmu_tracking *tracking,
			  unsigned level, uint64_t region, uint64_t counted)
{
	uint64_t kept = vmmu_framemap_peek(&tracking->regions[level - VMMU_LEVEL_2M], region);

	if (kept != counted)
		vmmu_audit_numbers(a, 2, "tracked frames of a large page", kept, counted);
}

/* Frames of one 1G region. Return: how many are tracked. */
static uint64_t check_gib(struct vmmu_auditor *a, struct vmmu_tracking *tracking, uint64_t gib)
{
	uint64_t tracked = 0, end = (gib + 1) << 18;
	uint64_t key = vmmu_framemap_next(&tracking->frames, gib << 18, end);

	while (key < end) {
		uint64_t region = key / VMMU_TABLE_ENTRIES, in_region = 0;

		for (uint64_t i = 0; i < VMMU_TABLE_ENTRIES; i++)
			in_region += check_frame(a, tracking,
						 (vmmu_gfn_t){region * VMMU_TABLE_ENTRIES + i});
		check_regions(a, tracking, VMMU_LEVEL_2M, region, in_region);
		tracked += in_region;
		key = vmmu_framemap_next(&tracking->frames, (region + 1) * VMMU_TABLE_ENTRIES, end);
	}
	check_regions(a, tracking, VMMU_LEVEL_1G, gib, tracked);
	return tracked;
}

void vmmu_audit_tracking(struct vmmu_auditor *a)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(a->vm);
	uint64_t kept = atomic_get(&a->vm->tracked), counted = 0, registered = 0;
	uint64_t end = VMMU_TRACK_FRAMES_MAX, key;

	if (!tracking)
		return;
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++)
		registered += tracking->trackers[i].id != 0;
	if (registered > tracking->registered)
		vmmu_audit_numbers(a, 16, "tracking clients", tracking->registered, registered);
	key = vmmu_framemap_next(&tracking->frames, 0, end);
	while (key < end) {
		counted += check_gib(a, tracking, key >> 18);
		key = vmmu_framemap_next(&tracking->frames, ((key >> 18) + 1) << 18, end);
	}
	if (kept != counted)
		vmmu_audit_numbers(a, 16, "tracked frames", kept, counted);
}
