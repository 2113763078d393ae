/* SPDX-License-Identifier: MIT */
/* Each allocation of each call on tracking clients fails once: nothing has changed, or it worked.
 */
#include "../tdp/memory_rig.h"

static const struct vmmu_tracker_ops ops = {0};
static vmmu_tracker_id_t client;

static void one_slot(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
}

static bool comes(struct sim_vm *sim)
{
	return memory_said(vmmu_tracker_register(sim->vm, &ops, NULL, &client));
}

static void leaves(struct sim_vm *sim)
{
	assert_int_equal(vmmu_tracker_unregister(sim->vm, client), VMMU_OK);
	assert_int_equal(memory_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
}

static void a_client(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
	assert_true(comes(sim));
}

static struct vmmu_gfn_range range(uint64_t first, uint64_t count)
{
	return (struct vmmu_gfn_range){{first}, {first + count}};
}

static enum vmmu_error add(struct sim_vm *sim, uint64_t first, uint64_t count)
{
	return vmmu_track_add(sim->vm, client, range(first, count), VMMU_ACCESS_WRITE);
}

/* A client that cannot be registered leaves nothing to unregister. */
static bool adds_one(struct sim_vm *sim)
{
	enum vmmu_error error = add(sim, FRAME, 1);

	/* All or nothing, also for the counts. */
	if (error == VMMU_ENOMEM)
		assert_int_equal(
			vmmu_track_remove(sim->vm, client, range(FRAME, 1), VMMU_ACCESS_WRITE),
			VMMU_ENOENT);
	return memory_said(error);
}

static void has_added_one(struct sim_vm *sim)
{
	assert_int_equal(memory_stat(sim, VMMU_STAT_TRACK_FRAMES), 1);
	leaves(sim);
}

static void a_client_and_a_large_slot(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 8 * 512);
	assert_true(memory_enter(sim));
	assert_true(comes(sim));
}

static bool adds_many(struct sim_vm *sim)
{
	enum vmmu_error error = add(sim, FRAME + 5, 6 * 512);

	if (error == VMMU_ENOMEM)
		assert_int_equal(memory_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
	return memory_said(error);
}

static void has_added_many(struct sim_vm *sim)
{
	assert_int_equal(memory_stat(sim, VMMU_STAT_TRACK_FRAMES), 6 * 512);
	assert_int_equal(
		vmmu_track_remove(sim->vm, client, range(FRAME + 5, 6 * 512), VMMU_ACCESS_WRITE),
		VMMU_OK);
	leaves(sim);
}

/* R8: there is nothing that a slot's creation would have to bring along. */
static void a_client_with_a_frame(struct sim_vm *sim)
{
	a_client(sim);
	assert_int_equal(add(sim, FRAME, 1), VMMU_OK);
}

static bool creates_and_adds(struct sim_vm *sim)
{
	struct vmmu_slot_config slot = {
		.id = 7, .base = {UINT64_C(0x900000)}, .count = 512, .host_base = 0x400000};
	struct vmmu_slot_config found;

	if (vmmu_slot_find(sim->vm, 0, slot.base, &found) == VMMU_ENOENT &&
	    !memory_said(vmmu_slot_create(sim->vm, &slot)))
		return false;
	return memory_said(add(sim, 0x900000, 512));
}

static void has_created_and_added(struct sim_vm *sim)
{
	assert_int_equal(memory_stat(sim, VMMU_STAT_TRACK_FRAMES), 513);
	leaves(sim);
}

static void tracking_survives_every_allocation_failure(void **state)
{
	const struct scene scenes[] = {
		{"first client", NULL, one_slot, comes, leaves, 1, false},
		{"first frame", NULL, a_client, adds_one, has_added_one, 10, false},
		{"3072 frames", NULL, a_client_and_a_large_slot, adds_many, has_added_many, 20,
		 false},
	};

	(void)state;
	memory_sweep(scenes, 3);
}

static void a_slot_that_comes_later_can_be_tracked(void **state)
{
	const struct scene scene = {"", NULL, a_client_with_a_frame, NULL, NULL, 0, false};
	struct sim_vm *sim = memory_begin(&scene);
	unsigned failures = 0;

	(void)state;
	for (;;) {
		sim_ram_fail_tables(sim->machine, 1 + failures, 1);
		if (creates_and_adds(sim))
			break;
		assert_true(++failures < 50);
	}
	sim_ram_fail_tables(sim->machine, 0, 0);
	assert_true(failures > 0);
	has_created_and_added(sim);
	assert_int_equal(vmmu_slot_delete(sim->vm, 0, 7), VMMU_OK);
	memory_check_sound("a slot that comes later", sim);
	sim_vm_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tracking_survives_every_allocation_failure),
		cmocka_unit_test(a_slot_that_comes_later_can_be_tracked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
