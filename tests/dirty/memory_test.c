/* SPDX-License-Identifier: MIT */
/* Each allocation of each call on the log fails once: nothing has changed, or it worked. */
#include "../tdp/memory_rig.h"

static const uint32_t log_flag = VMMU_SLOT_LOG;

static void plain_ept(struct vmmu_vm_config *config)
{
	config->format = VMMU_FORMAT_EPT;
	config->no_accessed_dirty = true;
}

/* ---- the state before ---- */

static void one_page(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
}

/* Host memory under it is congruent: leaves are as large as the slot allows. */
static void one_gigabyte(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, GIGABYTE);
	assert_true(memory_enter(sim));
	assert_true(memory_resumes(sim, FRAME + 3, VMMU_ACCESS_WRITE));
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_1G), 1);
}

static void two_megabytes(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 4 * 512);
	assert_true(memory_enter(sim));
	assert_true(memory_resumes(sim, FRAME + 3, VMMU_ACCESS_WRITE));
	assert_true(memory_resumes(sim, FRAME + 3 * 512, VMMU_ACCESS_WRITE));
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_2M), 2);
}

static void no_slot(struct sim_vm *sim)
{
	memory_slot(sim, 0, 9, 0, 16);
	assert_true(memory_enter(sim));
}

static void a_page_that_is_logged(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, log_flag), VMMU_OK);
}

/* ---- the calls ---- */

static enum vmmu_error look(struct sim_vm *sim, uint64_t *bitmap, uint64_t *count)
{
	return vmmu_dirty_log(sim->vm, &(struct vmmu_slot_part){.id = 0}, bitmap, count);
}

static bool begins(struct sim_vm *sim)
{
	enum vmmu_error error = vmmu_slot_set_flags(sim->vm, 0, 0, log_flag);

	if (error == VMMU_ENOMEM)
		assert_int_equal(look(sim, NULL, NULL), VMMU_ENOENT);
	return memory_said(error);
}

static bool is_made(struct sim_vm *sim)
{
	struct vmmu_slot_config slot = slot_config(0, 0, FRAME + 5, 70000);
	enum vmmu_error error;

	slot.flags = log_flag;
	error = vmmu_slot_create(sim->vm, &slot);
	if (error == VMMU_ENOMEM)
		assert_int_equal(look(sim, NULL, NULL), VMMU_ENOENT);
	return memory_said(error);
}

static bool is_looked_at(struct sim_vm *sim)
{
	uint64_t count;

	assert_int_equal(
		vmmu_dirty_mark(sim->vm, 0, (struct vmmu_gfn_range){{FRAME + 7}, {FRAME + 9}}),
		VMMU_OK);
	assert_int_equal(look(sim, NULL, &count), VMMU_OK);
	assert_int_equal(count, 2);
	return true;
}

static bool ends(struct sim_vm *sim)
{
	return memory_said(vmmu_slot_set_flags(sim->vm, 0, 0, 0));
}

/* ---- what must hold then ---- */

static void logs(struct sim_vm *sim)
{
	uint64_t count = 77;

	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_1G), 0);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_2M), 0);
	assert_int_equal(look(sim, NULL, &count), VMMU_OK);
	assert_int_equal(count, 0);
	assert_int_equal(
		vmmu_dirty_mark(sim->vm, 0, (struct vmmu_gfn_range){{FRAME + 6}, {FRAME + 9}}),
		VMMU_OK);
	assert_int_equal(look(sim, NULL, &count), VMMU_OK);
	assert_int_equal(count, 3);
}

/* The last frame, too. */
static void logs_to_its_end(struct sim_vm *sim)
{
	uint64_t end = FRAME + 5 + 70000, count = 0;

	logs(sim);
	assert_int_equal(vmmu_dirty_mark(sim->vm, 0, (struct vmmu_gfn_range){{end - 1}, {end + 9}}),
			 VMMU_OK);
	assert_int_equal(look(sim, NULL, &count), VMMU_OK);
	assert_int_equal(count, 1);
}

static void nothing(struct sim_vm *sim)
{
	uint64_t count = 77;

	assert_int_equal(look(sim, NULL, &count), VMMU_OK);
	assert_int_equal(count, 0);
}

static void has_ended(struct sim_vm *sim)
{
	assert_int_equal(look(sim, NULL, NULL), VMMU_ENOENT);
}

static void the_log_survives_every_allocation_failure(void **state)
{
	const struct scene scenes[] = {
		{"begin, one page", NULL, one_page, begins, logs, 3, true},
		{"begin, two 2M leaves", NULL, two_megabytes, begins, logs, 5, true},
		{"create", NULL, no_slot, is_made, logs_to_its_end, 5, true},
		{"look", NULL, a_page_that_is_logged, is_looked_at, nothing, 0, false},
		{"end", NULL, a_page_that_is_logged, ends, has_ended, 1, true},
	};

	(void)state;
	memory_sweep(scenes, sizeof(scenes) / sizeof(scenes[0]));
}

/* More than five hundred tables: some of the failures, each alone and with all that follow. */
static void a_gigabyte_is_split_as_far_as_memory_goes(void **state)
{
	static const uint64_t points[] = {1, 2, 20, 27, 30, 31, 64, 200, 513, 541};
	const struct scene scenes[] = {
		{"a 1G leaf", NULL, one_gigabyte, begins, logs, 0, true},
		{"a 1G leaf without flags", plain_ept, one_gigabyte, begins, logs, 0, true},
	};

	(void)state;
	for (unsigned i = 0; i < 4 * sizeof(points) / sizeof(points[0]); i++) {
		const struct scene *scene = &scenes[i & 1];
		struct sim_vm *sim = memory_begin(scene);
		bool done;

		sim_ram_fail_tables(sim->machine, points[i / 4], i & 2 ? UINT64_MAX : 1);
		done = scene->act(sim);
		sim_ram_fail_tables(sim->machine, 0, 0);
		memory_check_sound(scene->words, sim);
		if (!done) {
			assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_1G), 1);
			assert_true(scene->act(sim));
		}
		scene->verify(sim);
		memory_check_sound(scene->words, sim);
		sim_vm_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_survives_every_allocation_failure),
		cmocka_unit_test(a_gigabyte_is_split_as_far_as_memory_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
