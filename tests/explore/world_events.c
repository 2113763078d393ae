/* SPDX-License-Identifier: MIT */
/* What happens to a world: slots that change, host memory that comes and goes, zaps. */
#include "migrator.h"
#include "world.h"

/* ---- slots ---- */

static void result_is_fine(enum vmmu_error error, const char *what)
{
	if (error != VMMU_OK && !(error == VMMU_ENOMEM && world.ran_out))
		sim_violation(world.sim->machine, "%s: %s", what, vmmu_error_text(error));
}

/* Between these two the old and the new slots are both right. */
static void change_begins(const struct oracle_request *request)
{
	explore_point(&world_slots_object, true, "old and new slots are right");
	world_need(oracle_begin(world.sim->oracle, request) == ORACLE_OK, "a change of slots");
	world.changes++;
}

static void change_ends(enum vmmu_error error, const char *what)
{
	explore_point(&world_slots_object, true, "the new slots are right");
	result_is_fine(error, what);
	if (error == VMMU_OK)
		oracle_end(world.sim->oracle);
	else
		oracle_cancel(world.sim->oracle);
	world.changes++;
}

void world_slot_create(uint16_t id, uint64_t gfn, uint64_t count, uint64_t host)
{
	struct vmmu_slot_config config = {
		.id = id,
		.base = {gfn},
		.count = count,
		.host_base = host << VMMU_PAGE_SHIFT,
	};
	struct oracle_request request = {
		.id = id,
		.gpa = gfn << VMMU_PAGE_SHIFT,
		.byte_count = count << VMMU_PAGE_SHIFT,
		.host_address = host << VMMU_PAGE_SHIFT,
	};

	change_begins(&request);
	change_ends(vmmu_slot_create(world.sim->vm, &config), "create");
}

void world_slot_delete(uint16_t id)
{
	struct oracle_request request = {.id = id};

	change_begins(&request);
	change_ends(vmmu_slot_delete(world.sim->vm, 0, id), "delete");
}

void world_slot_move(uint16_t id, uint64_t gfn)
{
	const struct oracle_slot *slot = oracle_find_id(world.sim->oracle, 0, id);
	struct oracle_request request = {.id = id, .gpa = gfn << VMMU_PAGE_SHIFT};

	world_need(slot != NULL, "a slot to move");
	request.byte_count = slot->page_count << VMMU_PAGE_SHIFT;
	request.host_address = slot->host_first.n << VMMU_PAGE_SHIFT;
	change_begins(&request);
	change_ends(vmmu_slot_move(world.sim->vm, 0, id, (vmmu_gfn_t){gfn}), "move");
}

void world_slot_flags(uint16_t id, uint32_t flags)
{
	result_is_fine(vmmu_slot_set_flags(world.sim->vm, 0, id, flags), "set_flags");
}

/* ---- the host ---- */

void world_device_stores(uint64_t gfn)
{
	struct sim_vm *sim = world.sim;
	uint64_t value = oracle_fresh_value(sim->oracle);

	migrator_host_stores(gfn);
	sim_host_write(sim->machine, (sim_hpage_t){gfn}, 0, value);
	oracle_host_store(sim->oracle, (sim_hpage_t){gfn}, 0, value);
}

typedef bool host_event_fn(struct sim_machine *machine, sim_hpage_t page);

/* What a CPU wrote through this frame must have been told by now, then it starts anew (I11). */
static void check_dirty(uint64_t page)
{
	struct sim_vm *sim = world.sim;
	struct sim_host_view view = sim_host_query(sim->machine, (sim_hpage_t){page});
	uint8_t *written = sim_vm_frame(sim, sim->written_frame, view.pfn.n);
	uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, view.pfn.n);

	if (!view.is_present || !written || !dirty)
		return;
	if (*written && !*dirty)
		sim_violation(sim->machine, "host page %llu was written, and nobody was told",
			      (unsigned long long)page);
	*written = *dirty = 0;
}

static void host_event(uint64_t page, host_event_fn *event)
{
	explore_point(&world_host_object, true, "the host takes the page away");
	check_dirty(page);
	(void)event(world.sim->machine, (sim_hpage_t){page});
}

static void with_host_invalidation(uint64_t page, host_event_fn *event)
{
	uint64_t start = page << VMMU_PAGE_SHIFT, end = start + VMMU_PAGE_BYTES;

	result_is_fine(vmmu_invalidate_host_begin(world.sim->vm, start, end), "begin");
	host_event(page, event);
	result_is_fine(vmmu_invalidate_host_end(world.sim->vm, start, end), "end");
}

void world_swap_out(uint64_t page)
{
	with_host_invalidation(page, sim_host_swap_out);
}

void world_migrate(uint64_t page)
{
	with_host_invalidation(page, sim_host_migrate);
}

void world_migrate_gfn(uint64_t gfn, uint64_t page)
{
	struct vmmu_gfn_range range = {{gfn}, {gfn + 1}};

	result_is_fine(vmmu_invalidate_begin(world.sim->vm, 0, range), "begin");
	host_event(page, sim_host_migrate);
	result_is_fine(vmmu_invalidate_end(world.sim->vm, 0, range), "end");
}

void world_zap_all(void)
{
	result_is_fine(vmmu_zap_all(world.sim->vm), "zap_all");
}

void world_zap_range(uint64_t start, uint64_t end)
{
	result_is_fine(vmmu_zap_range(world.sim->vm, 0, (struct vmmu_gfn_range){{start}, {end}}),
		       "zap_range");
}
