/* SPDX-License-Identifier: MIT */
/*
 * Out of memory: for each call that may allocate, the first, second, third ... allocation fails,
 * alone or with all that follow, until the call asks for no more. Then the call says so and has
 * changed nothing, and the same call goes through afterwards. Every page is accounted for at each
 * step, and all of them come back in the end.
 */
#include "memory_rig.h"

#include <stdlib.h>

/* ---- scenes: VM and vCPUs ---- */

static struct vmmu_vm *other_vm;
static struct vmmu_port other_port;
static struct vmmu_vcpu *other_vcpu;

static bool create_vm(struct sim_vm *sim)
{
	other_port = sim->port;
	other_port.trace = NULL; /* the machine counts the records of its own VM */
	return memory_said(vmmu_vm_create(&other_port, sim, &sim->options.vm, &other_vm));
}

static void end_vm(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 1);
	assert_int_equal(vmmu_slot_generation(other_vm, 1), 1);
	assert_int_equal(vmmu_vm_destroy(other_vm), VMMU_OK);
}

static bool create_vcpu(struct sim_vm *sim)
{
	return memory_said(vmmu_vcpu_create(sim->vm, &memory_last, &other_vcpu));
}

static void end_vcpu(struct sim_vm *sim)
{
	struct vmmu_entry entry;

	assert_int_equal(sim->vm->vcpu_count, 2);
	assert_int_equal(vmmu_vcpu_index(other_vcpu), 1);
	assert_ptr_equal(vmmu_vcpu_cookie(other_vcpu), &memory_last);
	assert_int_equal(vmmu_vcpu_enter(other_vcpu, &entry), VMMU_OK);
	vmmu_vcpu_leave(other_vcpu);
	vmmu_vcpu_destroy(other_vcpu);
}

static void mapped_then_zapped(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
}

static void mapped_then_switched(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
	assert_int_equal(vmmu_vcpu_set_space(sim->vcpu[0], 1), VMMU_OK);
}

static void has_new_root(struct sim_vm *sim)
{
	assert_non_null(sim->vcpu[0]->root);
	assert_int_equal(sim->vcpu[0]->root->role.space, sim->vcpu[0]->space);
	assert_true(memory_enter(sim));
}

static void calls_on_vms_and_vcpus_survive_every_allocation_failure(void **state)
{
	const struct scene scenes[] = {
		{"VM", NULL, NULL, create_vm, end_vm, 5, false},
		{"vCPU", NULL, memory_one_page_mapped, create_vcpu, end_vcpu, 1, false},
		{"first entry", NULL, NULL, memory_enter, has_new_root, 2, false},
		{"entry after zap_all", NULL, mapped_then_zapped, memory_enter, has_new_root, 1,
		 false},
		{"entry to space 1", NULL, mapped_then_switched, memory_enter, has_new_root, 1,
		 false},
	};

	(void)state;
	memory_sweep(scenes, 5);
}

/* ---- scenes: slots ---- */

static bool create_first(struct sim_vm *sim)
{
	struct vmmu_slot_config c = slot_config(0, 0, FRAME, 16);

	return memory_said(vmmu_slot_create(sim->vm, &c));
}

static bool create_512(struct sim_vm *sim) /* ids come in pages of 512 */
{
	struct vmmu_slot_config c = slot_config(0, 512, 2 * FRAME, 16);

	return memory_said(vmmu_slot_create(sim->vm, &c));
}

static bool create_large(struct sim_vm *sim) /* so many frames that the index of tables grows */
{
	struct vmmu_slot_config c = slot_config(1, 2, 0, 64 * GIGABYTE);

	return memory_said(vmmu_slot_create(sim->vm, &c));
}

static void full_chunk(struct sim_vm *sim)
{
	memory_one_page_mapped(sim);
	for (unsigned i = 1; i < VMMU_CHUNK_SLOTS; i++)
		memory_slot(sim, 0, i, FRAME + 32 * i, 16);
	assert_int_equal(slot_set(sim, 0)->chunks, 1);
}

static bool create_between(struct sim_vm *sim)
{
	struct vmmu_slot_config c = slot_config(0, VMMU_CHUNK_SLOTS, FRAME + 80 * 32 + 16, 16);

	return memory_said(vmmu_slot_create(sim->vm, &c));
}

static void two_chunks(struct sim_vm *sim)
{
	full_chunk(sim);
	assert_true(create_between(sim));
	assert_int_equal(slot_set(sim, 0)->chunks, 2);
	for (unsigned i = 1; i < 11; i++)
		assert_int_equal(vmmu_slot_delete(sim->vm, 0, (uint16_t)i), VMMU_OK);
	assert_int_equal(slot_set(sim, 0)->chunks, 2);
}

static bool delete_first(struct sim_vm *sim)
{
	return memory_said(vmmu_slot_delete(sim->vm, 0, 0));
}

static bool move_first(struct sim_vm *sim)
{
	return memory_said(vmmu_slot_move(sim->vm, 0, 0, (vmmu_gfn_t){2 * FRAME}));
}

static bool flag_first(struct sim_vm *sim)
{
	return memory_said(vmmu_slot_set_flags(sim->vm, 0, 0, VMMU_SLOT_SMALL));
}

/* ---- what came of them ---- */

static void has_one_more(struct sim_vm *sim)
{
	slot_check_set(sim, 0);
	slot_check_set(sim, 1);
	assert_int_equal(memory_stat(sim, VMMU_STAT_SLOT_CHANGES),
			 slot_set(sim, 0)->slots + slot_set(sim, 1)->slots);
	assert_true(memory_enter(sim));
	assert_true(memory_resumes(sim, slot_set(sim, 0)->chunk[0]->slots[0].base.n + 15,
				   VMMU_ACCESS_READ));
}

static void has_grown_or_not(struct sim_vm *sim)
{
	has_one_more(sim);
	assert_int_equal(slot_set(sim, 1)->frames, 64 * GIGABYTE);
	assert_true(sim->vm->pages.index->pages == 1 || sim->vm->pages.index->pages == 8);
}

static void has_split(struct sim_vm *sim)
{
	slot_check_set(sim, 0);
	assert_int_equal(slot_set(sim, 0)->chunks, 2);
	assert_int_equal(slot_set(sim, 0)->slots, VMMU_CHUNK_SLOTS + 1);
}

static void has_merged(struct sim_vm *sim)
{
	slot_check_set(sim, 0);
	assert_int_equal(slot_set(sim, 0)->chunks, 1);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 0);
}

/* The slot's translations went with the old set. */
static void has_withdrawn(struct sim_vm *sim)
{
	slot_check_set(sim, 0);
	assert_int_equal(memory_stat(sim, VMMU_STAT_SLOT_CHANGES), 2);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 0);
	assert_true(memory_stat(sim, VMMU_STAT_ZAPPED) >= 1);
}

static void slot_changes_survive_every_allocation_failure(void **state)
{
	const struct scene scenes[] = {
		{"first slot", NULL, NULL, create_first, has_one_more, 3, false},
		{"slot 512", NULL, memory_one_page_mapped, create_512, has_one_more, 4, false},
		{"slot of 64 GiB", NULL, memory_one_page_mapped, create_large, has_grown_or_not, 10,
		 true},
		{"slot that splits a chunk", NULL, full_chunk, create_between, has_split, 3, false},
		{"deletion", NULL, memory_one_page_mapped, delete_first, has_withdrawn, 2, false},
		{"deletion that merges", NULL, two_chunks, delete_first, has_merged, 2, false},
		{"move", NULL, memory_one_page_mapped, move_first, has_withdrawn, 2, false},
		{"flags", NULL, memory_one_page_mapped, flag_first, has_withdrawn, 2, false},
	};

	(void)state;
	memory_sweep(scenes, 8);
}

/* ---- calls that take nothing ---- */

static void ignore_line(void *context, const char *line)
{
	uint64_t *lines = context;

	*lines += line[0] != 0;
}

static void what_removes_or_looks_never_asks_for_memory(void **state)
{
	const struct scene scene = {.words = "no memory at all", .prepare = memory_one_page_mapped};
	struct sim_vm *sim = memory_begin(&scene);
	const struct vmmu_gfn_range range = {{FRAME + 2}, {FRAME + 9}};
	uint64_t host = slot_config(0, 0, FRAME, 16).host_base, lines = 0, asked;
	uint64_t values[VMMU_STAT_COUNT];
	struct vmmu_slot_config found;
	struct vmmu_vm *vm = sim->vm;

	(void)state;
	asked = sim_ram_table_allocs(sim->machine);
	sim_ram_fail_tables(sim->machine, 1, UINT64_MAX);
	assert_int_equal(vmmu_explain(vm, 0, (vmmu_gpa_t){0}, ignore_line, &lines), VMMU_OK);
	assert_true(lines > 2);
	assert_int_equal(vmmu_audit(vm, NULL, NULL), 0);
	vmmu_stats_read(vm, values);
	assert_int_equal(vmmu_slot_find(vm, 0, (vmmu_gfn_t){FRAME}, &found), VMMU_OK);
	assert_int_equal(vmmu_vcpu_set_space(sim->vcpu[0], 0), VMMU_OK);
	assert_int_equal(vmmu_invalidate_begin(vm, 0, range), VMMU_OK);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 2); /* of eight */
	assert_int_equal(vmmu_invalidate_end(vm, 0, range), VMMU_OK);
	assert_int_equal(vmmu_invalidate_host_begin(vm, host, host + 0x1000), VMMU_OK);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 1);
	assert_int_equal(vmmu_invalidate_host_end(vm, host, host + 0x1000), VMMU_OK);
	assert_int_equal(vmmu_zap_range(vm, 0, range), VMMU_OK);
	assert_int_equal(vmmu_zap_all(vm), VMMU_OK);
	assert_int_equal(memory_stat(sim, VMMU_STAT_PAGES_4K), 0);
	memory_check_sound(scene.words, sim);
	vmmu_vcpu_destroy(sim->vcpu[0]);
	sim->vcpu[0] = NULL;
	assert_int_equal(sim_ram_table_allocs(sim->machine), asked);
	sim_vm_free(sim);
}

/* A vCPU keeps tables and descriptors in reserve; whoever destroys it gives both back. */
static void vcpus_that_come_and_go_take_no_more_in_the_end(void **state)
{
	const struct scene scene = {.words = "vCPUs that come and go"};
	struct sim_vm *sim = memory_begin(&scene);
	uint64_t held = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct vmmu_entry entry;

		assert_true(create_vcpu(sim));
		assert_int_equal(vmmu_vcpu_enter(other_vcpu, &entry), VMMU_OK);
		vmmu_vcpu_leave(other_vcpu);
		vmmu_vcpu_destroy(other_vcpu);
		memory_check_sound(scene.words, sim);
		if (i == 0)
			held = sim_ram_count(sim->machine, SIM_FRAME_TABLE);
	}
	assert_int_equal(sim_ram_count(sim->machine, SIM_FRAME_TABLE), held);
	sim_vm_free(sim);
}

static void *no_lock(void *host)
{
	(void)host;
	return NULL;
}

static void never(void *host, void *lock)
{
	(void)host;
	(void)lock;
	abort();
}

static void a_vm_without_a_lock_is_none(void **state)
{
	const struct scene scene = {.words = "no lock"};
	struct sim_vm *sim = memory_begin(&scene);
	struct vmmu_port_locks locks = {
		.create = no_lock,
		.destroy = never, /* there is nothing to destroy */
		.acquire_shared = never,
		.release_shared = never,
		.acquire_exclusive = never,
		.release_exclusive = never,
	};
	struct vmmu_port port = sim->port;
	struct vmmu_vm *vm = NULL;

	(void)state;
	port.locks = &locks;
	assert_int_equal(vmmu_vm_create(&port, sim, &sim->options.vm, &vm), VMMU_ENOMEM);
	assert_null(vm);
	memory_check_sound(scene.words, sim);
	sim_vm_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_on_vms_and_vcpus_survive_every_allocation_failure),
		cmocka_unit_test(slot_changes_survive_every_allocation_failure),
		cmocka_unit_test(faults_survive_every_allocation_failure),
		cmocka_unit_test(a_fault_that_fails_again_and_again_takes_no_more_in_the_end),
		cmocka_unit_test(a_prefault_that_runs_out_of_memory_has_done_what_it_says),
		cmocka_unit_test(device_frames_are_answered_without_memory_to_remember_them),
		cmocka_unit_test(what_removes_or_looks_never_asks_for_memory),
		cmocka_unit_test(vcpus_that_come_and_go_take_no_more_in_the_end),
		cmocka_unit_test(a_vm_without_a_lock_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
