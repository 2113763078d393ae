/* SPDX-License-Identifier: MIT */
/* Faults and prefaults that run out of memory. */
#include "memory_rig.h"

/* ---- leaves of each size ---- */

static void entered(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 2 * GIGABYTE);
	assert_true(memory_enter(sim));
}

static void only_4k(struct vmmu_vm_config *config)
{
	config->max_leaf = VMMU_LEVEL_4K;
}

static void only_2m(struct vmmu_vm_config *config)
{
	config->max_leaf = VMMU_LEVEL_2M;
	config->format = VMMU_FORMAT_EPT;
}

static void five_levels(struct vmmu_vm_config *config)
{
	config->root_level = 5;
	config->physical_bits = 52;
	config->max_leaf = VMMU_LEVEL_4K;
}

static bool fault_there(struct sim_vm *sim)
{
	return memory_resumes(sim, FRAME + 5, VMMU_ACCESS_WRITE);
}

static void is_4k(struct sim_vm *sim)
{
	assert_int_equal(memory_last.level, VMMU_LEVEL_4K);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 8);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PREFETCHED), 7);
}

static void is_2m(struct sim_vm *sim)
{
	assert_int_equal(memory_last.level, VMMU_LEVEL_2M);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_2M), 1);
}

static void is_1g(struct sim_vm *sim)
{
	assert_int_equal(memory_last.level, VMMU_LEVEL_1G);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_1G), 1);
}

/* ---- a huge leaf in the way ---- */

static void no_flags(struct vmmu_vm_config *config)
{
	config->format = VMMU_FORMAT_EPT;
	config->no_accessed_dirty = true;
}

/* Without a dirty flag a read maps read-only; while anything is being invalidated in the space
 * a write gets no more than 4K, so what is there has to be split, from 1G down. */
static void huge_and_read_only(struct sim_vm *sim)
{
	const struct vmmu_gfn_range elsewhere = {{0}, {1}};

	entered(sim);
	assert_true(memory_resumes(sim, FRAME + 5, VMMU_ACCESS_READ));
	assert_int_equal(memory_last.level, VMMU_LEVEL_1G);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, elsewhere), VMMU_OK);
}

static void is_split_twice(struct sim_vm *sim)
{
	const struct vmmu_gfn_range elsewhere = {{0}, {1}};

	assert_int_equal(memory_last.level, VMMU_LEVEL_4K);
	assert_int_equal(memory_stat(sim, VMMU_STAT_SPLITS), 2);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 512);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_2M), 511);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_1G), 0);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, elsewhere), VMMU_OK);
}

/* Nothing but rights to add: even so the reserve comes first. */
static void read_only(struct sim_vm *sim)
{
	entered(sim);
	assert_true(memory_resumes(sim, FRAME + 5, VMMU_ACCESS_READ));
}

/* The frame was a device's before. */
static void was_mmio(struct sim_vm *sim)
{
	struct vmmu_fault f = {.gpa = {(FRAME + 5) << VMMU_PAGE_SHIFT}, .access = VMMU_ACCESS_READ};

	assert_true(memory_enter(sim));
	assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &f, &memory_last), VMMU_OUTCOME_MMIO);
	assert_int_equal(memory_stat(sim, VMMU_STAT_MMIO_ENTRIES), 1);
	memory_slot(sim, 0, 0, FRAME, 2 * GIGABYTE);
}

void faults_survive_every_allocation_failure(void **state)
{
	const struct scene scenes[] = {
		{"4K fault", only_4k, entered, fault_there, is_4k, 4, false},
		{"4K fault, 5 levels", five_levels, entered, fault_there, is_4k, 5, false},
		{"2M fault", only_2m, entered, fault_there, is_2m, 4, false},
		{"1G fault", NULL, entered, fault_there, is_1g, 4, false},
		{"split", no_flags, huge_and_read_only, fault_there, is_split_twice, 4, false},
		{"more rights", no_flags, read_only, fault_there, is_1g, 4, false},
		{"memory after a device", only_4k, was_mmio, fault_there, is_4k, 4, false},
	};

	(void)state;
	memory_sweep(scenes, 7);
}

/* Pages of the VM after the fault, with @failures of it before. */
static uint64_t pages_after(const struct scene *scene, unsigned failures)
{
	struct sim_vm *sim = memory_begin(scene);
	uint64_t pages;

	for (unsigned i = 0; i < failures; i++) {
		sim_ram_fail_tables(sim->machine, 1, UINT64_MAX);
		assert_false(scene->act(sim));
	}
	sim_ram_fail_tables(sim->machine, 0, 0);
	assert_true(scene->act(sim));
	scene->verify(sim);
	memory_check_sound(scene->words, sim);
	pages = sim_ram_count(sim->machine, SIM_FRAME_TABLE);
	sim_vm_free(sim);
	return pages;
}

/* What is carved from a page must not be lost either: more failures, no more pages. */
void a_fault_that_fails_again_and_again_takes_no_more_in_the_end(void **state)
{
	const struct scene scene = {"4K fault", only_4k, entered, fault_there, is_4k, 4, false};

	(void)state;
	assert_int_equal(pages_after(&scene, 200), pages_after(&scene, 0));
}

/* ---- prefault: as far as it got ---- */

#define PART UINT64_C(1200) /* frames: three tables */

static void check_part(struct sim_vm *sim, uint64_t done)
{
	uint64_t mapped = memory_stat(sim, VMMU_STAT_PAGES_4K);
	struct vmmu_entry entry;
	struct sim_root root;

	/* Prefetch may have come further in the last group. */
	assert_in_range(mapped, done, done + VMMU_PREFETCH_MAX);
	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[0], &entry), VMMU_OK);
	vmmu_vcpu_leave(sim->vcpu[0]);
	root = sim_vm_root(sim, &entry);
	for (uint64_t i = 0; i < done; i++) {
		sim_gpa_t gpa = {(FRAME + 100 + i) << VMMU_PAGE_SHIFT};
		struct sim_result r = sim_walk(sim->machine, &root, gpa, SIM_READ);

		assert_int_equal(r.outcome, SIM_OK);
		assert_int_equal(r.hpa.bytes, slot_config(0, 0, FRAME, 1).host_base + gpa.bytes -
						      (FRAME << VMMU_PAGE_SHIFT));
		assert_false(spte_is_accessed(&sim->vm->fmt, (vmmu_spte_t){r.entry}));
	}
}

/* Return: false once nothing fails. */
static bool prefault_nth(const struct scene *scene, uint64_t nth, uint64_t count, uint64_t *partly)
{
	struct sim_vm *sim = memory_begin(scene);
	const struct vmmu_gfn_range range = {{FRAME + 100}, {FRAME + 100 + PART}};
	uint64_t asked = sim_ram_table_allocs(sim->machine), done = UINT64_MAX;
	enum vmmu_error error;
	bool hit;

	sim_ram_fail_tables(sim->machine, nth, count);
	error = vmmu_prefault(sim->vcpu[0], range, &done);
	hit = sim_ram_table_allocs(sim->machine) - asked >= nth;
	sim_ram_fail_tables(sim->machine, 0, 0);
	assert_int_equal(error, hit ? VMMU_ENOMEM : VMMU_OK);
	if (hit) {
		assert_in_range(done, 0, PART - 1);
		memory_check_sound(scene->words, sim);
		if (sim->vcpu[0]->root)
			check_part(sim, done);
		else
			assert_int_equal(done, 0);
		*partly += done > 0;
		assert_int_equal(vmmu_prefault(sim->vcpu[0], range, &done), VMMU_OK);
	}
	assert_int_equal(done, PART);
	check_part(sim, PART);
	memory_check_sound(scene->words, sim);
	sim_vm_free(sim);
	return hit;
}

static void slot_only(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 2 * GIGABYTE);
}

void a_prefault_that_runs_out_of_memory_has_done_what_it_says(void **state)
{
	const struct scene scene = {.words = "prefault", .options = only_4k, .prepare = slot_only};
	uint64_t failures = 0, partly = 0;

	(void)state;
	for (uint64_t nth = 1; prefault_nth(&scene, nth, 1, &partly); nth++)
		failures++;
	for (uint64_t nth = 1; prefault_nth(&scene, nth, UINT64_MAX, &partly); nth++)
		failures++;
	print_message("# %llu failures, %llu of them on the way\n", (unsigned long long)failures,
		      (unsigned long long)partly);
	assert_in_range(failures, 12, 100);
	assert_in_range(partly, 4, failures);
}

/* ---- devices: remembering them is a luxury ---- */

static bool touch_device(struct sim_vm *sim)
{
	struct vmmu_fault f = {.gpa = {UINT64_C(0xfee00000)}, .access = VMMU_ACCESS_READ};

	assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &f, &memory_last), VMMU_OUTCOME_MMIO);
	assert_false(memory_last.from_cache);
	return true;
}

/* With the vCPU's cache cold the next one is remembered; then it is found. */
static void is_remembered(struct sim_vm *sim)
{
	struct vmmu_fault f = {
		.gpa = {UINT64_C(0xfee00000)},
		.access = VMMU_ACCESS_READ,
		.flags = VMMU_FAULT_RESERVED,
	};

	assert_true(touch_device(sim));
	assert_int_equal(memory_stat(sim, VMMU_STAT_MMIO_ENTRIES), 1);
	assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &f, &memory_last), VMMU_OUTCOME_MMIO);
	assert_true(memory_last.from_cache);
}

void device_frames_are_answered_without_memory_to_remember_them(void **state)
{
	const struct scene scenes[] = {
		{"device, NPT", NULL, entered, touch_device, is_remembered, 3, true},
		{"device, EPT", only_2m, entered, touch_device, is_remembered, 3, true},
	};

	(void)state;
	memory_sweep(scenes, 2);
}
