/* SPDX-License-Identifier: MIT */
/* Slots that end, and rules that are broken: R4, R54, R61. */
#include "scenario.h"

#include <string.h>

#include "../tdp/rig.h"
#include "client.h"
#include "vm.h"

static enum vmmu_error add(struct client *c, uint64_t start, uint64_t end, uint32_t kinds)
{
	return vmmu_track_add(c->vm, c->id, rig_range(start, end), kinds);
}

static enum vmmu_error take(struct client *c, uint64_t start, uint64_t end, uint32_t kinds)
{
	return vmmu_track_remove(c->vm, c->id, rig_range(start, end), kinds);
}

/* R4: the change runs out of memory at each of its allocations. */
void a_failed_delete_is_invisible_to_clients(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct client c = {0};
		enum vmmu_error error = VMMU_ENOMEM;
		unsigned failures = 0;

		rig_slot(sim, 0, 0, 0, 64, 0);
		client_join(&c, sim->vm);
		client_add(&c, 7, 8, CLIENT_WRITE);
		while (error == VMMU_ENOMEM) {
			sim_ram_fail_tables(sim->machine, failures + 1, 1);
			error = sim_slot_delete(sim, 0, 0);
			sim_ram_fail_tables(sim->machine, 0, 0);
			if (error != VMMU_ENOMEM)
				break;
			failures++;
			assert_int_equal(c.ended, 0);
			rig_write(sim, 0, 7);
			client_was_told(&c, failures, 7, CLIENT_WRITE);
		}
		assert_int_equal(error, VMMU_OK);
		assert_true(failures > 0);
		assert_int_equal(c.ended, 1);
		client_leave(&c);
		rig_end(sim);
	}
}

/* When it is told the frames are gone from every table and TLB, and what was tracked with them. */
static void nothing_is_left(struct client *c, const struct client_ended *t)
{
	struct sim_vm *sim = c->context;
	struct vmmu_slot_config slot;

	assert_int_equal(vmmu_slot_find(c->vm, t->space, t->range.start, &slot), VMMU_ENOENT);
	for (uint64_t gfn = t->range.start.n; gfn < t->range.end.n; gfn++)
		assert_int_equal(rig_reachable(sim, t->space, gfn), 0);
	assert_int_equal(sim_vm_audit(sim), 0);
	assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
	assert_int_equal(take(c, 7, 8, CLIENT_WRITE), VMMU_ENOENT);
}

/* I14; R61: in both ways of deleting. */
void the_end_of_a_slot_is_told_once_with_nothing_left_of_it(void **state)
{
	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned all = 0; all < 2; all++) {
			struct sim_vm_options options = rig_options(format);
			struct client c = {.on_end = nothing_is_left}, idle = {0};
			struct sim_vm *sim;

			options.vm.zap_all_on_delete = all;
			sim = rig_new(&options, 2);
			rig_slot(sim, 0, 0, 0, 64, 0);
			rig_slot(sim, 0, 1, 0x400, 16, 64);
			for (uint64_t gfn = 0; gfn < 16; gfn++)
				rig_write(sim, gfn & 1, gfn);
			c.context = sim;
			client_join(&c, sim->vm);
			client_join(&idle, sim->vm);
			client_add(&c, 3, 10, CLIENT_WRITE | CLIENT_EXEC);
			rig_read(sim, 0, 7);
			rig_read(sim, 1, 7);
			assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
			assert_int_equal(c.ended, 1);
			assert_int_equal(idle.ended, 1);
			assert_int_equal(c.end[0].space, 0);
			assert_int_equal(c.end[0].range.start.n, 0);
			assert_int_equal(c.end[0].range.end.n, 64);
			rig_mmio(sim, 0, 7);
			rig_mmio(sim, 1, 7);
			/* The same frames anew: nobody has asked for these. */
			rig_slot(sim, 0, 0, 0, 64, 128);
			rig_write(sim, 0, 7);
			rig_write(sim, 1, 7);
			assert_int_equal(c.told, 0);
			c.on_end = NULL;
			assert_int_equal(sim_slot_delete(sim, 0, 1), VMMU_OK);
			assert_int_equal(c.ended, 2);
			client_leave(&c);
			client_leave(&idle);
			rig_end(sim);
		}
}

/* R54 */
void a_frame_of_the_other_space_stays_tracked(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct client c = {0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		rig_slot(sim, 1, 0, 0, 8, 64); /* hides the first frames from one vCPU */
		rig_set_space(sim, 1, 1);
		client_join(&c, sim->vm);
		client_add(&c, 6, 10, CLIENT_WRITE);
		rig_write(sim, 1, 7);
		client_was_told(&c, 1, 7, CLIENT_WRITE);
		assert_int_equal(sim_slot_delete(sim, 1, 0), VMMU_OK);
		assert_int_equal(c.ended, 1);
		assert_int_equal(c.end[0].space, 1);
		rig_write(sim, 0, 7);
		client_was_told(&c, 2, 7, CLIENT_WRITE);
		rig_mmio(sim, 1, 7);
		assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
		client_leave(&c);
		rig_end(sim);
	}
}

void a_slot_with_clients_about_does_not_move(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct client c = {0};

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	client_join(&c, sim->vm);
	assert_int_equal(vmmu_slot_move(sim->vm, 0, 0, (vmmu_gfn_t){128}), VMMU_EBUSY);
	assert_non_null(strstr(vmmu_error_text(VMMU_EBUSY), "tracking clients"));
	assert_int_equal(vmmu_slot_move(sim->vm, 0, 0, (vmmu_gfn_t){0}), VMMU_OK);
	rig_write(sim, 0, 7);
	assert_int_equal(c.ended, 0);
	client_leave(&c);
	assert_int_equal(sim_slot_move(sim, 0, 0, 128), VMMU_OK);
	rig_write(sim, 0, 128 + 7);
	rig_end(sim);
}

void a_vm_with_clients_is_not_destroyed(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct client c = {0};

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	client_join(&c, sim->vm);
	client_add(&c, 7, 8, CLIENT_WRITE);
	sim_vm_leave(sim, 0);
	vmmu_vcpu_destroy(sim->vcpu[0]);
	assert_int_equal(vmmu_vm_destroy(sim->vm), VMMU_EBUSY);
	assert_int_equal(vmmu_vcpu_create(sim->vm, NULL, &sim->vcpu[0]), VMMU_OK);
	client_leave(&c);
	rig_end(sim);
}

void breaking_the_rules_is_an_error_and_changes_nothing(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct client c = {0}, gone = {0};

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_slot(sim, 0, 1, 70, 10, 64);
	client_join(&c, sim->vm);
	client_join(&gone, sim->vm);
	client_leave(&gone);
	assert_int_equal(add(&c, 4, 8, 0), VMMU_EINVAL);
	assert_int_equal(add(&c, 4, 8, 8), VMMU_EINVAL);
	assert_int_equal(add(&c, 8, 4, CLIENT_WRITE), VMMU_EINVAL);
	assert_int_equal(add(&c, 4, 4, CLIENT_WRITE), VMMU_OK);
	assert_int_equal(add(&c, 60, 65, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(add(&c, 60, 75, CLIENT_WRITE), VMMU_ENOENT); /* a hole in the middle */
	assert_int_equal(add(&c, 0, UINT64_MAX, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(take(&c, 4, 5, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(add(&gone, 4, 5, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(vmmu_tracker_unregister(sim->vm, gone.id), VMMU_ENOENT);
	assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
	client_add(&c, 4, 8, CLIENT_WRITE);
	assert_int_equal(take(&c, 4, 8, CLIENT_READ), VMMU_ENOENT);
	assert_int_equal(take(&c, 4, 8, CLIENT_WRITE | CLIENT_EXEC), VMMU_ENOENT);
	assert_int_equal(take(&c, 4, 9, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(take(&c, 7, UINT64_MAX, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 4);
	client_remove(&c, 4, 8, CLIENT_WRITE);
	assert_int_equal(take(&c, 4, 8, CLIENT_WRITE), VMMU_ENOENT);
	assert_int_equal(vmmu_guest_written(sim->vm, 2, (vmmu_gpa_t){0}, 8), VMMU_EINVAL);
	assert_int_equal(vmmu_guest_written(sim->vm, 0, (vmmu_gpa_t){UINT64_MAX}, 8), VMMU_EINVAL);
	assert_int_equal(vmmu_guest_accessed(sim->vm, 0, (vmmu_gpa_t){0}, 8, CLIENT_WRITE),
			 VMMU_EINVAL);
	assert_int_equal(vmmu_tracker_register(sim->vm, NULL, NULL, &gone.id), VMMU_EINVAL);
	client_leave(&c);
	rig_end(sim);
}

void trackers_come_and_go_up_to_the_limit(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct client c[VMMU_TRACKERS_MAX] = {0};
	static const struct vmmu_tracker_ops none = {0};
	vmmu_tracker_id_t id;

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++) {
		client_join(&c[i], sim->vm);
		client_add(&c[i], 7, 8, CLIENT_WRITE);
	}
	assert_int_equal(vmmu_tracker_register(sim->vm, &none, NULL, &id), VMMU_ELIMIT);
	rig_write(sim, 0, 7);
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++)
		client_was_told(&c[i], 1, 7, CLIENT_WRITE);
	id = c[3].id;
	client_leave(&c[3]);
	client_join(&c[3], sim->vm);
	assert_int_not_equal(c[3].id.n, id.n); /* a name is never used again */
	assert_int_equal(vmmu_track_add(sim->vm, id, rig_range(7, 8), CLIENT_WRITE), VMMU_ENOENT);
	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++)
		client_leave(&c[i]);
	rig_write(sim, 0, 7);
	assert_int_equal(c[3].told, 1);
	rig_end(sim);
}

void a_dead_vm_lets_its_clients_go(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct vmmu_task task = {.vm = sim->vm};
	struct client c = {0};
	static const struct vmmu_tracker_ops none = {0};
	vmmu_tracker_id_t id;

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	client_join(&c, sim->vm);
	client_add(&c, 7, 9, CLIENT_WRITE);
	vmmu_section_begin(&task);
	sim->port.log = NULL; /* it would be a violation */
	vmmu_vm_kill(&task, "for the test", 0, 0);
	vmmu_section_end(&task);
	assert_int_equal(add(&c, 7, 8, CLIENT_WRITE), VMMU_EDEAD);
	assert_int_equal(take(&c, 7, 8, CLIENT_WRITE), VMMU_EDEAD);
	assert_int_equal(vmmu_track_once(sim->vm, c.id, rig_range(7, 8), true), VMMU_EDEAD);
	assert_int_equal(vmmu_guest_written(sim->vm, 0, (vmmu_gpa_t){0x7000}, 8), VMMU_EDEAD);
	assert_int_equal(vmmu_tracker_register(sim->vm, &none, NULL, &id), VMMU_EDEAD);
	assert_int_equal(c.told, 0);
	client_leave(&c);
	assert_int_equal(rig_stat(sim, VMMU_STAT_TRACK_FRAMES), 0);
	sim_vm_free(sim);
}
