/* SPDX-License-Identifier: MIT */
/* Faults against clients: R5, R6, R7, R48, R49. */
#include "scenario.h"

#include "../tdp/rig.h"
#include "client.h"

static void add_seven(struct sim_vm *sim, void *context)
{
	(void)sim;
	client_add(context, 7, 8, CLIENT_WRITE);
}

/* R5: when the fault looked without the lock nobody tracked the frame. */
void a_fault_under_way_meets_a_new_tracker(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		sim->before_page_answer = add_seven;
		sim->hook_context = &c;
		assert_int_equal(rig_step(sim, 0, 7, SIM_WRITE), VMMU_OUTCOME_TRACKED);
		assert_int_equal(rig_reachable(sim, 0, 7), 0);
		rig_read(sim, 0, 7); /* read-only */
		rig_write(sim, 0, 7);
		client_was_told(&c, 1, 7, CLIENT_WRITE);
		client_leave(&c);
		rig_end(sim);
	}
}

/* R6: the access came out, and then nobody tracks the frame any more. */
void a_tracker_that_has_just_left_costs_one_emulation(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		client_add(&c, 7, 8, CLIENT_WRITE);
		assert_int_equal(rig_step(sim, 0, 7, SIM_WRITE), VMMU_OUTCOME_TRACKED);
		client_remove(&c, 7, 8, CLIENT_WRITE);
		assert_int_equal(vmmu_guest_written(sim->vm, 0, (vmmu_gpa_t){0x7000}, 8), VMMU_OK);
		assert_int_equal(c.told, 0);
		assert_int_equal(rig_step(sim, 0, 7, SIM_WRITE), VMMU_OUTCOME_RESUME);
		rig_write(sim, 0, 7);
		assert_int_equal(sim->tracked, 0);
		client_leave(&c);
		rig_end(sim);
	}
}

static void move_on(struct client *c, const struct client_told *t)
{
	uint64_t gfn = t->gpa >> VMMU_PAGE_SHIFT;

	client_add(c, gfn + 1, gfn + 2, CLIENT_WRITE);
	client_remove(c, gfn, gfn + 1, CLIENT_WRITE);
}

/* R7: the locks of the port are counted, so a callback under one of ours would show. */
void a_callback_changes_what_is_tracked(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct client c = {.on_told = move_on};
		struct sim_vm *sim;

		options.own_locks = true;
		sim = rig_new(&options, 2);
		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		client_add(&c, 7, 8, CLIENT_WRITE);
		for (uint64_t gfn = 7; gfn < 20; gfn++) {
			rig_write(sim, 0, gfn);
			client_was_told(&c, (unsigned)gfn - 6, gfn, CLIENT_WRITE);
			rig_write(sim, 1, gfn);
			assert_int_equal(c.told, gfn - 6);
		}
		client_leave(&c);
		rig_end(sim);
	}
}

static void both_flushes(struct sim_vm *sim, void *context)
{
	struct client *second = context;

	if (second->context)
		return;
	second->context = sim;
	/* The first client's add is under way: the right is gone from the entry. */
	client_add(second, 7, 8, CLIENT_WRITE);
	sim_vm_check(sim);
}

/* R48: the entry says already what it shall say, while a CPU may still use the old one. */
void a_second_client_does_not_rely_on_the_first_ones_flush(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client a = {0}, b = {0};

		rig_slot(sim, 0, 0, 0, 2048, 0);
		for (uint64_t gfn = 0; gfn < 2048; gfn += 256)
			rig_write(sim, 0, gfn + 7);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		client_join(&a, sim->vm);
		client_join(&b, sim->vm);
		client_add(&b, 100, 101, CLIENT_WRITE);
		client_remove(&b, 100, 101, CLIENT_WRITE);
		sim->options.eager_yield = true;
		sim->on_yield = both_flushes;
		sim->hook_context = &b;
		/* vmmu_zap_range() stands in for the first: it does not hold the slots lock. */
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 2048)), VMMU_OK);
		sim->options.eager_yield = false;
		assert_non_null(b.context);
		client_add(&a, 7, 8, CLIENT_WRITE);
		rig_write(sim, 0, 7);
		client_was_told(&a, 1, 7, CLIENT_WRITE);
		client_was_told(&b, 1, 7, CLIENT_WRITE);
		client_leave(&a);
		client_leave(&b);
		rig_end(sim);
	}
}

/* R49, as far as it applies: without the flags a writable entry counts as dirty. */
void without_accessed_and_dirty_flags_a_tracked_page_comes_back_read_only(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct client c = {0};
	struct sim_vm *sim;

	(void)state;
	options.vm.no_accessed_dirty = true;
	sim = rig_new(&options, 1);
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_write(sim, 0, 7);
	client_join(&c, sim->vm);
	assert_false(rig_told_dirty(sim, 7));
	client_add(&c, 7, 8, CLIENT_WRITE);
	assert_true(rig_told_dirty(sim, 7));
	rig_read(sim, 0, 7);
	assert_int_equal(rig_walk(sim, 0, 7, SIM_READ).outcome, SIM_OK);
	assert_int_equal(rig_walk(sim, 0, 7, SIM_EXEC).outcome, SIM_OK);
	assert_int_not_equal(rig_walk(sim, 0, 7, SIM_WRITE).outcome, SIM_OK);
	rig_write(sim, 0, 7);
	client_was_told(&c, 1, 7, CLIENT_WRITE);
	client_leave(&c);
	rig_write(sim, 0, 7);
	assert_int_equal(c.told, 1);
	rig_end(sim);
}

void prefault_leaves_tracked_pages_alone(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim;
		struct client c = {0};
		uint64_t done = 0;

		options.vm.prefetch = 8;
		sim = rig_new(&options, 1);
		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		client_add(&c, 7, 8, CLIENT_READ);
		client_add(&c, 9, 10, CLIENT_WRITE);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		sim_vm_leave(sim, 0);
		assert_int_equal(vmmu_prefault(sim->vcpu[0], rig_range(0, 32), &done), VMMU_OK);
		assert_int_equal(done, 32);
		assert_int_equal(rig_reachable(sim, 0, 7), 0);
		assert_int_equal(rig_walk(sim, 0, 9, SIM_READ).outcome, SIM_OK);
		assert_int_not_equal(rig_walk(sim, 0, 9, SIM_WRITE).outcome, SIM_OK);
		assert_int_equal(rig_walk(sim, 0, 8, SIM_READ).outcome, SIM_OK);
		client_leave(&c);
		rig_end(sim);
	}
}

struct through {
	struct client *c;
	unsigned turns;
};

static void write_one(struct sim_vm *sim, void *context)
{
	struct through *t = context;

	t->turns++;
	rig_write(sim, 1, 1900);
}

void long_ranges_pause_and_let_faults_through(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client c = {0};
		struct through t = {.c = &c};

		rig_slot(sim, 0, 0, 0, 2048, 0);
		for (uint64_t gfn = 0; gfn < 1800; gfn += 100)
			rig_write(sim, 0, gfn);
		client_join(&c, sim->vm);
		sim->options.eager_yield = true;
		sim->on_yield = write_one;
		sim->hook_context = &t;
		client_add(&c, 0, 1800, CLIENT_WRITE);
		assert_true(t.turns >= 3);
		client_remove(&c, 0, 1800, CLIENT_WRITE);
		sim->options.eager_yield = false;
		assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
		client_leave(&c);
		rig_end(sim);
	}
}

/*
 * R48: a harvest of dirty frames has taken the right to write, and a fault may give it back without
 * the lock. Not to a tracked frame.
 */
void a_right_that_a_harvest_has_taken_does_not_come_back(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct client c = {0};
	struct sim_vm *sim;
	uint64_t count;

	(void)state;
	options.vm.no_accessed_dirty = true;
	sim = rig_new(&options, 2);
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_write(sim, 0, 7);
	rig_write(sim, 1, 8);
	client_join(&c, sim->vm);
	assert_int_equal(vmmu_harvest_dirty(sim->vm, 0, rig_range(0, 64), NULL, &count), VMMU_OK);
	assert_int_equal(count, 2);
	client_add(&c, 7, 8, CLIENT_WRITE);
	assert_int_equal(sim_vm_audit(sim), 0);
	rig_write(sim, 0, 7);
	client_was_told(&c, 1, 7, CLIENT_WRITE);
	rig_write(sim, 1, 8);
	rig_read(sim, 0, 7);
	assert_int_equal(vmmu_harvest_dirty(sim->vm, 0, rig_range(0, 64), NULL, &count), VMMU_OK);
	rig_write(sim, 1, 7);
	client_was_told(&c, 2, 7, CLIENT_WRITE);
	client_leave(&c);
	rig_end(sim);
}
