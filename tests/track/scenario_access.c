/* SPDX-License-Identifier: MIT */
/* What comes out, what passes, and who is told. */
#include "scenario.h"

#include <string.h>

#include "../tdp/rig.h"
#include "client.h"

static void note_line(void *context, const char *line)
{
	bool *said = context;

	*said |= !strcmp(line, "a write: comes out as tracked");
	assert_int_not_equal(strcmp(line, "a write: faults, and an entry is installed"), 0);
}

static void check_explanation(struct sim_vm *sim, uint64_t gfn)
{
	vmmu_gpa_t gpa = {gfn << VMMU_PAGE_SHIFT};
	bool said = false;

	assert_int_equal(vmmu_explain(sim->vm, 0, gpa, note_line, &said), VMMU_OK);
	assert_true(said);
}

void a_tracked_write_comes_out_once_and_is_told(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		client_add(&c, 7, 8, CLIENT_WRITE);
		rig_read(sim, 0, 7);
		rig_write(sim, 0, 6);
		rig_write(sim, 1, 8);
		assert_int_equal(c.told, 0);
		check_explanation(sim, 7);
		rig_write(sim, 0, 7);
		client_was_told(&c, 1, 7, CLIENT_WRITE);
		assert_int_equal(c.log[0].bytes, 8);
		rig_write(sim, 1, 7);
		client_was_told(&c, 2, 7, CLIENT_WRITE);
		assert_int_equal(sim->tracked, 2);
		rig_read(sim, 1, 7); /* the emulated value is there */
		client_remove(&c, 7, 8, CLIENT_WRITE);
		rig_write(sim, 0, 7);
		rig_write(sim, 1, 7);
		assert_int_equal(c.told, 2);
		client_leave(&c);
		rig_end(sim);
	}
}

static void access_kind(struct sim_vm *sim, uint64_t gfn, enum sim_access_kind kind)
{
	uint64_t value = oracle_fresh_value(sim->oracle);

	assert_int_equal(sim_vm_access(sim, 0, gfn << VMMU_PAGE_SHIFT, kind, &value),
			 SIM_ACCESS_MEMORY);
}

void reads_and_fetches_can_be_tracked(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		for (uint64_t gfn = 1; gfn < 4; gfn++) {
			access_kind(sim, gfn, SIM_WRITE);
			access_kind(sim, gfn, SIM_EXEC);
		}
		client_add(&c, 1, 2, CLIENT_READ);
		client_add(&c, 2, 3, CLIENT_EXEC);
		client_add(&c, 3, 4, CLIENT_READ | CLIENT_WRITE | CLIENT_EXEC);
		access_kind(sim, 1, SIM_WRITE); /* comes out, and is nobody's business */
		access_kind(sim, 1, SIM_EXEC);
		assert_int_equal(c.told, 0);
		assert_int_equal(sim->tracked, 2);
		access_kind(sim, 1, SIM_READ);
		client_was_told(&c, 1, 1, CLIENT_READ);
		access_kind(sim, 2, SIM_WRITE);
		access_kind(sim, 2, SIM_READ);
		assert_int_equal(sim->tracked, 3);
		access_kind(sim, 2, SIM_EXEC);
		client_was_told(&c, 2, 2, CLIENT_EXEC);
		access_kind(sim, 3, SIM_READ);
		client_was_told(&c, 3, 3, CLIENT_READ);
		access_kind(sim, 3, SIM_WRITE);
		client_was_told(&c, 4, 3, CLIENT_WRITE);
		access_kind(sim, 3, SIM_EXEC);
		client_was_told(&c, 5, 3, CLIENT_EXEC);
		client_leave(&c);
		for (uint64_t gfn = 1; gfn < 4; gfn++) {
			access_kind(sim, gfn, SIM_WRITE);
			access_kind(sim, gfn, SIM_EXEC);
		}
		assert_int_equal(sim->tracked, 7);
		assert_int_equal(c.told, 5);
		rig_end(sim);
	}
}

/* Slots, host memory and CPUs that have 2M leaves. */
static struct sim_vm *huge_vm(enum vmmu_format format, unsigned vcpus)
{
	struct sim_vm_options options = rig_options(format);
	struct sim_vm *sim;

	options.vm.max_leaf = VMMU_LEVEL_1G;
	options.run_level = SIM_LEVEL_2M;
	sim = rig_new(&options, vcpus);
	rig_slot(sim, 0, 0, 0, 2048, 0);
	return sim;
}

void a_huge_leaf_over_a_tracked_frame_goes_and_stays_away(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm *sim = huge_vm(format, 2);
		struct client c = {0};

		rig_write(sim, 0, 512);
		rig_write(sim, 1, 1024);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 2);
		client_join(&c, sim->vm);
		client_add(&c, 700, 701, CLIENT_WRITE);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 1);
		rig_write(sim, 0, 701);
		rig_write(sim, 1, 699);
		rig_read(sim, 1, 700);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 1);
		rig_write(sim, 1, 700);
		client_was_told(&c, 1, 700, CLIENT_WRITE);
		client_remove(&c, 700, 701, CLIENT_WRITE);
		rig_write(sim, 0, 700); /* and the table makes room for the huge leaf */
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 2);
		assert_int_equal(c.told, 1);
		client_leave(&c);
		rig_end(sim);
	}
}

void adding_takes_the_right_from_cpus_that_have_it(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client c = {0};
		uint64_t flushes;

		rig_slot(sim, 0, 0, 0, 64, 0);
		rig_slot(sim, 1, 0, 0, 64, 128); /* R9: the other space has the frame, too */
		rig_set_space(sim, 1, 1);
		rig_write(sim, 0, 7);
		rig_write(sim, 1, 7);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		assert_int_equal(sim_vm_enter(sim, 1), VMMU_OK);
		client_join(&c, sim->vm);
		flushes = rig_stat(sim, VMMU_STAT_FLUSHES_REMOTE);
		client_add(&c, 7, 8, CLIENT_WRITE);
		assert_true(rig_stat(sim, VMMU_STAT_FLUSHES_REMOTE) > flushes);
		rig_write(sim, 0, 7);
		client_was_told(&c, 1, 7, CLIENT_WRITE);
		assert_int_equal(c.log[0].space, 0);
		rig_write(sim, 1, 7);
		client_was_told(&c, 2, 7, CLIENT_WRITE);
		assert_int_equal(c.log[1].space, 1);
		client_leave(&c);
		rig_end(sim);
	}
}

void clients_count_for_themselves(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct client a = {0}, b = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&a, sim->vm);
		client_join(&b, sim->vm);
		client_add(&a, 4, 10, CLIENT_WRITE);
		client_add(&a, 7, 8, CLIENT_WRITE);
		client_add(&b, 7, 9, CLIENT_WRITE);
		rig_write(sim, 0, 7);
		client_was_told(&a, 1, 7, CLIENT_WRITE);
		client_was_told(&b, 1, 7, CLIENT_WRITE);
		client_remove(&a, 4, 10, CLIENT_WRITE);
		rig_write(sim, 0, 7); /* once more: it was added twice */
		client_was_told(&a, 2, 7, CLIENT_WRITE);
		client_was_told(&b, 2, 7, CLIENT_WRITE);
		rig_write(sim, 0, 8);
		assert_int_equal(a.told, 2);
		client_was_told(&b, 3, 8, CLIENT_WRITE);
		rig_write(sim, 0, 4);
		client_remove(&b, 7, 9, CLIENT_WRITE);
		rig_write(sim, 0, 7);
		client_was_told(&a, 3, 7, CLIENT_WRITE);
		client_leave(&a);
		rig_write(sim, 0, 7);
		assert_int_equal(a.told, 3);
		assert_int_equal(b.told, 3);
		assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
		client_leave(&b);
		rig_end(sim);
	}
}

void a_write_over_two_frames_is_told_to_each(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct client c = {0};

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	client_join(&c, sim->vm);
	client_add(&c, 7, 9, CLIENT_WRITE);
	assert_int_equal(vmmu_guest_written(sim->vm, 0, (vmmu_gpa_t){0x7ff8}, 0x1018), VMMU_OK);
	assert_int_equal(c.told, 2);
	assert_int_equal(c.log[0].gpa, 0x7ff8);
	assert_int_equal(c.log[0].bytes, 8);
	assert_int_equal(c.log[1].gpa, 0x8000);
	assert_int_equal(c.log[1].bytes, 0x1000);
	client_leave(&c);
	rig_end(sim);
}

void one_write_is_told_until_the_client_rearms(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		assert_int_equal(vmmu_track_once(sim->vm, c.id, rig_range(7, 8), true),
				 VMMU_ENOENT);
		client_add(&c, 7, 9, CLIENT_WRITE);
		assert_int_equal(vmmu_track_once(sim->vm, c.id, rig_range(7, 8), true), VMMU_OK);
		for (unsigned round = 1; round < 4; round++) {
			rig_write(sim, 0, 7);
			client_was_told(&c, round, 7, CLIENT_WRITE);
			rig_write(sim, 0, 7);
			rig_write(sim, 1, 7);
			assert_int_equal(c.told, round);
			assert_int_equal(sim->tracked, round);
			assert_int_equal(vmmu_track_rearm(sim->vm, c.id, rig_range(7, 8)), VMMU_OK);
		}
		assert_int_equal(vmmu_track_once(sim->vm, c.id, rig_range(7, 8), false), VMMU_OK);
		rig_write(sim, 0, 7);
		rig_write(sim, 1, 7);
		client_was_told(&c, 5, 7, CLIENT_WRITE);
		client_leave(&c);
		rig_end(sim);
	}
}
