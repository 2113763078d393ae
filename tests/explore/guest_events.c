/* SPDX-License-Identifier: MIT */
/* What happens to a guest from outside: devices, the host, slots, clients. */
#include "guest.h"

#include <string.h>

#include <vmmu/harvest.h>

#include "migrator.h"

static void result_is_fine(enum vmmu_error error, const char *what)
{
	if (error != VMMU_OK && !(error == VMMU_ENOMEM && guest.ran_out))
		sim_violation(guest.svm->machine, "%s: %s", what, vmmu_error_text(error));
}

/* ---- memory ---- */

/* Where the frame is now. */
static sim_pfn_t pfn_of(uint64_t gfn)
{
	return sim_host_query(guest.svm->machine, (sim_hpage_t){gfn}).pfn;
}

void guest_change(uint64_t gpa, uint64_t value, const char *what)
{
	struct shadow_vm *svm = guest.svm;
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT, old;
	sim_pfn_t pfn = pfn_of(gfn);

	explore_access((const uint8_t *)sim_ram_pointer(svm->machine, pfn) + gpa % VMMU_PAGE_BYTES,
		       true, &guest_oracle_object, gfn < GUEST_DATA, what);
	old = shadow_peek(svm, gpa);
	sim_host_write(svm->machine, (sim_hpage_t){gfn}, gpa % VMMU_PAGE_BYTES, value);
	if (gfn < GUEST_DATA)
		linear_oracle_wrote(svm->oracle, sim_gpa(gpa), 8, old, value);
}

void guest_poke(uint64_t gpa, uint64_t value)
{
	migrator_host_stores(gpa >> VMMU_PAGE_SHIFT);
	guest_change(gpa, value, "a device writes");
	result_is_fine(vmmu_guest_written(guest.svm->vm, 0, (vmmu_gpa_t){gpa}, 8), "written");
	migrator_host_has_told(gpa >> VMMU_PAGE_SHIFT);
}

void guest_smuggle(uint64_t frame, unsigned index, uint64_t entry)
{
	guest_change(frame << VMMU_PAGE_SHIFT | 8u * index, entry, "memory changes");
}

/* ---- the host ---- */

/* What a CPU wrote through this frame must have been told by now, then it starts anew (I11). */
static void check_dirty(uint64_t gfn)
{
	struct shadow_vm *svm = guest.svm;
	uint8_t *written = shadow_frame_byte(svm, svm->written_frame, pfn_of(gfn).n);
	uint8_t *dirty = shadow_frame_byte(svm, svm->dirty_frame, pfn_of(gfn).n);

	if (*written && !*dirty)
		sim_violation(svm->machine, "frame %llu was written, and nobody was told",
			      (unsigned long long)gfn);
	*written = *dirty = 0;
}

static void move_page(uint64_t gfn)
{
	explore_access(&guest_host_object, true, ground_page(pfn_of(gfn)), true,
		       "the host moves the page");
	check_dirty(gfn);
	world_need(sim_host_migrate(guest.svm->machine, (sim_hpage_t){gfn}), "a page that moves");
	guest_name_pages();
}

static void set_moving(bool is_moving)
{
	explore_point(&guest_host_object, true,
		      is_moving ? "the host begins to move a page" : "the host is done");
	guest.is_moving = is_moving;
}

void guest_migrate(uint64_t gfn)
{
	struct vmmu_vm *vm = guest.svm->vm;
	uint64_t start = gfn << VMMU_PAGE_SHIFT, end = start + VMMU_PAGE_BYTES;

	set_moving(true);
	result_is_fine(vmmu_invalidate_host_begin(vm, start, end), "begin");
	move_page(gfn);
	result_is_fine(vmmu_invalidate_host_end(vm, start, end), "end");
	set_moving(false);
}

void guest_migrate_frame(uint64_t gfn)
{
	struct vmmu_gfn_range range = {{gfn}, {gfn + 1}};

	set_moving(true);
	result_is_fine(vmmu_invalidate_begin(guest.svm->vm, 0, range), "begin");
	move_page(gfn);
	result_is_fine(vmmu_invalidate_end(guest.svm->vm, 0, range), "end");
	set_moving(false);
}

/* ---- slots, zaps ---- */

void guest_far_slot_delete(void)
{
	/* Between these two the frames are memory and a device. */
	explore_point(&guest_slots_object, true, "a slot goes");
	guest.changes++;
	result_is_fine(vmmu_slot_delete(guest.svm->vm, 0, 1), "delete");
	explore_point(&guest_slots_object, true, "the slot is gone");
	guest.changes++;
	guest.svm->slot[1].is_used = false;
}

void guest_zap_all_fast(void)
{
	result_is_fine(vmmu_zap_all_fast(guest.svm->vm), "zap_all_fast");
	while (vmmu_work(guest.svm->vm, 1))
		;
}

void guest_unprotect(uint64_t gfn)
{
	(void)vmmu_shadow_unprotect(guest.svm->vm, 0, (vmmu_gfn_t){gfn});
}

void guest_zap_range(uint64_t start, uint64_t end)
{
	result_is_fine(vmmu_zap_range(guest.svm->vm, 0, (struct vmmu_gfn_range){{start}, {end}}),
		       "zap_range");
}

void guest_slot_flags(uint16_t id, uint32_t flags)
{
	result_is_fine(vmmu_slot_set_flags(guest.svm->vm, 0, id, flags), "set_flags");
}

/* ---- clients ---- */

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	(void)client;
	(void)space;
	(void)gpa;
	(void)bytes;
	(void)kind;
}

void guest_track_write(uint64_t gfn)
{
	static const struct vmmu_tracker_ops ops = {.accessed = accessed};

	result_is_fine(vmmu_tracker_register(guest.svm->vm, &ops, NULL, &guest.tracker),
		       "register");
	guest.is_tracking = true;
	result_is_fine(vmmu_track_add(guest.svm->vm, guest.tracker,
				      (struct vmmu_gfn_range){{gfn}, {gfn + 1}}, VMMU_ACCESS_WRITE),
		       "add");
	explore_point(&guest_slots_object, true, "the frame is tracked");
	guest.shut[gfn] = true;
}

void guest_harvest(bool dirty)
{
	static const struct vmmu_gfn_range all = {{0}, {GUEST_FRAMES}};
	struct shadow_vm *svm = guest.svm;

	if (!dirty) {
		result_is_fine(vmmu_harvest_accessed(svm->vm, 0, all, NULL, NULL), "age");
		return;
	}
	result_is_fine(vmmu_harvest_dirty(svm->vm, 0, all, NULL, NULL), "harvest");
	/* Whatever was written so far has been told. */
	explore_point(&guest_written_object, true, "dirty was harvested");
	memset(svm->written_frame, 0, svm->options.machine.frame_count);
	memset(svm->dirty_frame, 0, svm->options.machine.frame_count);
}
