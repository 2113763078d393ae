/* SPDX-License-Identifier: MIT */
/* What a second-stage fault comes to: outcomes, leaf sizes, counters, and guest entry around it. */
#include "fault.h"

#include <string.h>

#include "vm.h"

/* ---- outcomes, one by one ---- */

static void a_fault_in_a_slot_resumes_and_again_is_spurious(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct vmmu_fault fault = {.gpa = {0x5678}, .access = VMMU_ACCESS_EXEC};
		struct sim_vm *sim = rig_new(&options, 1);
		struct vmmu_fault_result result;

		rig_slot(sim, 0, 0, 0, 64, 0);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		sim_vm_leave(sim, 0);
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_RESUME);
		assert_int_equal(result.gfn.n, 5);
		assert_int_equal(result.level, VMMU_LEVEL_4K);
		assert_false(result.from_cache);
		assert_int_equal(rig_walk(sim, 0, 5, SIM_EXEC).hpa.bytes >> VMMU_PAGE_SHIFT,
				 sim_host_query(sim->machine, (sim_hpage_t){5}).pfn.n);
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_SPURIOUS);
		assert_int_equal(result.gfn.n, 5);
		rig_end(sim);
	}
}

static void a_fault_before_the_first_entry_is_retried(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RETRY);
	assert_int_equal(rig_handle(sim, 0, 99, VMMU_ACCESS_READ), VMMU_OUTCOME_RETRY);
	rig_write(sim, 0, 5);
	rig_mmio(sim, 0, 99);
	rig_end(sim);
}

static void a_fault_outside_of_every_slot_is_mmio(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 3; variant++) {
		struct sim_vm_options options =
			rig_options(variant ? VMMU_FORMAT_EPT : VMMU_FORMAT_NPT);
		struct sim_vm *sim;

		options.vm.no_mmio_entries = variant == 2;
		sim = rig_new(&options, 2);
		rig_slot(sim, 0, 0, 0, 64, 0);
		for (unsigned i = 0; i < 4; i++) {
			rig_mmio(sim, i & 1, 64);
			rig_mmio(sim, i & 1, UINT64_C(1) << 35); /* far out, still in the tables */
		}
		assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_MMIO), 8);
		/* The first one of each frame is looked up, unless nothing is remembered. */
		assert_int_equal(rig_stat(sim, VMMU_STAT_MMIO_CACHED), variant == 2 ? 0 : 6);
		assert_int_equal(rig_stat(sim, VMMU_STAT_MMIO_ENTRIES), variant == 2 ? 0 : 2);
		/* Beyond what four levels of tables can map. */
		assert_int_equal(rig_handle(sim, 0, UINT64_C(1) << 36, VMMU_ACCESS_READ),
				 VMMU_OUTCOME_MMIO);
		rig_end(sim);
	}
}

static void a_fault_without_memory_for_tables_changes_nothing(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		uint64_t tables;

		rig_slot(sim, 0, 0, 0, 64, 0);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		sim_vm_leave(sim, 0);
		tables = rig_stat(sim, VMMU_STAT_TABLES);
		sim_ram_fail_tables(sim->machine, 1, UINT64_MAX);
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_NO_MEMORY);
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_NO_MEMORY);
		assert_int_equal(rig_stat(sim, VMMU_STAT_TABLES), tables);
		/* A device does without. */
		assert_int_equal(rig_handle(sim, 0, 99, VMMU_ACCESS_READ), VMMU_OUTCOME_MMIO);
		assert_int_equal(rig_stat(sim, VMMU_STAT_MMIO_ENTRIES), 0);
		sim_ram_fail_tables(sim->machine, 0, 0);
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RESUME);
		rig_end(sim);
	}
}

static void a_fault_on_a_dead_vm_is_dead(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_read(sim, 0, 5);
	fault_kill(sim);
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_DEAD);
	assert_int_equal(rig_handle(sim, 0, 99, VMMU_ACCESS_READ), VMMU_OUTCOME_DEAD);
	assert_int_equal(rig_handle(sim, 0, UINT64_C(1) << 40, VMMU_ACCESS_READ),
			 VMMU_OUTCOME_DEAD);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_DEAD), 1 + 3);
	sim_violations_clear(sim->machine);
	sim_vm_free(sim);
}

static void outcomes_have_names(void **state)
{
	(void)state;
	assert_string_equal(vmmu_outcome_name(VMMU_OUTCOME_RESUME), "resume");
	assert_string_equal(vmmu_outcome_name(VMMU_OUTCOME_HOST_ERROR), "host_error");
	assert_string_equal(vmmu_outcome_name(VMMU_OUTCOME_DEAD), "dead");
	assert_string_equal(vmmu_outcome_name(VMMU_OUTCOME_COUNT), "?");
	assert_string_equal(vmmu_outcome_name((enum vmmu_outcome)99), "?");
}

/* ---- sizes ---- */

/* What is mapped, counted by the hardware's walk over all frames up to @end. */
static void count_leaves(struct sim_vm *sim, uint64_t end, uint64_t leaves[3])
{
	memset(leaves, 0, 3 * sizeof(leaves[0]));
	for (uint64_t gfn = 0; gfn < end;) {
		struct sim_result r = rig_walk(sim, 0, gfn, SIM_READ);

		if (r.outcome == SIM_OK) {
			leaves[r.level - SIM_LEVEL_4K]++;
			gfn += sim_level_pages(r.level);
		} else {
			gfn++;
		}
	}
}

static void counts_equal_what_is_mapped(struct sim_vm *sim, uint64_t end)
{
	uint64_t leaves[3], values[VMMU_STAT_COUNT];

	count_leaves(sim, end, leaves);
	vmmu_stats_read(sim->vm, values);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(values[VMMU_STAT_PAGES_4K + i], leaves[i]);
}

static void leaves_are_as_large_as_host_and_configuration_allow(void **state)
{
	const uint64_t gib = UINT64_C(1) << 18;

	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned level = 1; level <= 3; level++) {
			struct sim_vm_options options = rig_options(format);
			struct sim_vm *sim;

			options.vm.max_leaf = (enum vmmu_level)level;
			options.run_level = SIM_LEVEL_1G;
			/* Tables take the lowest frames: the second GiB stays whole. */
			options.machine.frames_in_order = true;
			options.machine.frame_count = 2 * gib;
			options.machine.host_page_count = gib + 512;
			sim = rig_new(&options, 1);
			rig_slot(sim, 0, 0, 0, gib + 512, 0);
			rig_write(sim, 0, 777);
			assert_int_equal(rig_walk(sim, 0, 777, SIM_READ).level, level);
			rig_write(sim, 0, gib + 511); /* the rest is not 1G long */
			assert_int_equal(rig_walk(sim, 0, gib + 511, SIM_READ).level,
					 level > 2 ? 2 : level);
			assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_1G), level == 3);
			assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_2M),
					 level == 2 ? 2 : level == 3);
			assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_4K), level == 1 ? 2 : 0);
			counts_equal_what_is_mapped(sim, gib + 512);
			rig_end(sim);
		}
}

static struct sim_vm *huge_vm(unsigned vcpus)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct sim_vm *sim;

	/* Without a dirty flag a read maps read-only, and a write has to widen the leaf. */
	options.vm.no_accessed_dirty = true;
	options.vm.max_leaf = VMMU_LEVEL_2M;
	options.run_level = SIM_LEVEL_2M;
	sim = rig_new(&options, vcpus);
	rig_slot(sim, 0, 0, 0, 2048, 0);
	return sim;
}

static void a_huge_leaf_is_widened_in_place(void **state)
{
	struct sim_vm *sim = huge_vm(1);

	(void)state;
	rig_read(sim, 0, 5);
	assert_int_not_equal(rig_walk(sim, 0, 5, SIM_WRITE).outcome, SIM_OK);
	rig_write(sim, 0, 6);
	assert_int_equal(rig_walk(sim, 0, 5, SIM_WRITE).level, SIM_LEVEL_2M);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 1);
	assert_int_equal(rig_stat(sim, VMMU_STAT_SPLITS), 0);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FLUSHES), 0); /* nothing was withdrawn */
	counts_equal_what_is_mapped(sim, 2048);
	rig_end(sim);
}

static void a_huge_leaf_is_split_when_only_a_small_one_may_be_widened(void **state)
{
	struct sim_vm *sim = huge_vm(1);

	(void)state;
	rig_read(sim, 0, 5);
	/* Far away, but it keeps new leaves small. */
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(2000, 2001)), VMMU_OK);
	rig_write(sim, 0, 6);
	assert_int_equal(rig_stat(sim, VMMU_STAT_SPLITS), 1);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 512);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), 0);
	for (uint64_t gfn = 0; gfn < 512; gfn++) {
		assert_int_equal(rig_walk(sim, 0, gfn, SIM_EXEC).outcome, SIM_OK);
		assert_int_equal(rig_walk(sim, 0, gfn, SIM_WRITE).outcome == SIM_OK, gfn == 6);
		rig_read(sim, 0, gfn);
	}
	counts_equal_what_is_mapped(sim, 2048);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(2000, 2001)), VMMU_OK);
	rig_end(sim);
}

static void small_leaves_make_room_for_a_huge_one(void **state)
{
	struct sim_vm *sim = huge_vm(2);

	(void)state;
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(2000, 2001)), VMMU_OK);
	for (uint64_t gfn = 0; gfn < 8; gfn++)
		rig_write(sim, 0, gfn);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 8);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(2000, 2001)), VMMU_OK);
	rig_read(sim, 1, 100);
	assert_int_equal(rig_walk(sim, 0, 5, SIM_READ).level, SIM_LEVEL_2M);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 0);
	assert_int_equal(rig_stat(sim, VMMU_STAT_ZAPPED), 8);
	for (uint64_t page = 0; page < 16; page++)
		assert_int_equal(rig_told_dirty(sim, page), page < 8);
	counts_equal_what_is_mapped(sim, 2048);
	sim_vm_check(sim); /* what the first vCPU remembered of the small ones is gone */
	rig_write(sim, 0, 5);
	rig_end(sim);
}

static void a_zap_of_one_frame_takes_the_whole_huge_leaf(void **state)
{
	struct sim_vm *sim = huge_vm(2);

	(void)state;
	rig_write(sim, 0, 5);
	rig_write(sim, 1, 5);
	rig_write(sim, 0, 600);
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(300, 301)), VMMU_OK);
	assert_int_equal(rig_reachable(sim, 0, 5), 0);
	assert_int_equal(rig_reachable(sim, 0, 600), 1);
	sim_vm_check(sim); /* the TLB entries for all 512 frames are gone */
	for (uint64_t page = 0; page < 512; page++)
		assert_true(rig_told_dirty(sim, page));
	rig_write(sim, 1, 5);
	rig_end(sim);
}

/* ---- counters ---- */

static uint64_t sum_of_outcomes(const uint64_t *values)
{
	uint64_t sum = 0;

	for (unsigned i = VMMU_STAT_FAULT_RESUME; i <= VMMU_STAT_FAULT_DEAD; i++)
		sum += values[i];
	return sum;
}

static void counters_add_up(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	uint64_t values[VMMU_STAT_COUNT], value = 0;
	struct sim_vm *sim;

	(void)state;
	options.vm.max_leaf = VMMU_LEVEL_2M;
	options.vm.prefetch = 8;
	options.run_level = SIM_LEVEL_2M;
	options.patient = true;
	sim = rig_new(&options, 4);
	rig_slot(sim, 0, 0, 0, 600, 0);
	rig_slot(sim, 0, 1, 1000, 64, 700);
	assert_int_equal(sim_slot_create(sim, 0, 2, 0x800, 64, 800, VMMU_SLOT_READONLY), VMMU_OK);
	for (uint64_t at = 0; at < 800; at++) {
		unsigned vcpu = at % 4;
		uint64_t gfn = at / 2 * 37 % 2200;

		(void)sim_vm_access(sim, vcpu, gfn << VMMU_PAGE_SHIFT,
				    at & 4 ? SIM_WRITE : SIM_READ, &value);
		if (at % 50 == 0)
			(void)sim_vm_write_protect(sim, at);
		if (at % 64 == 0)
			assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(at, at + 100)), 0);
	}
	vmmu_stats_read(sim->vm, values);
	assert_int_equal(values[VMMU_STAT_FAULTS], sim->faults);
	assert_int_equal(values[VMMU_STAT_FAULTS], sum_of_outcomes(values));
	assert_int_equal(values[VMMU_STAT_FAULT_RESUME], values[VMMU_STAT_FAULT_4K] +
								 values[VMMU_STAT_FAULT_2M] +
								 values[VMMU_STAT_FAULT_1G]);
	assert_int_equal(values[VMMU_STAT_FAULT_MMIO], sim->mmio);
	assert_int_equal(values[VMMU_STAT_MMIO_CACHED], sim->mmio_fast);
	assert_int_equal(values[VMMU_STAT_FAULT_READONLY], sim->readonly);
	assert_true(values[VMMU_STAT_FAULT_2M] && values[VMMU_STAT_FAULT_4K]);
	assert_true(values[VMMU_STAT_FAULT_PENDING] && sim->mmio_fast && sim->readonly);
	assert_true(values[VMMU_STAT_ZAPPED] && values[VMMU_STAT_PREFETCHED]);
	counts_equal_what_is_mapped(sim, 2200);
	rig_end(sim);
}

static void counters_outlive_their_vcpu(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);
	uint64_t before[VMMU_STAT_COUNT], after[VMMU_STAT_COUNT];

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	for (uint64_t gfn = 0; gfn < 64; gfn++)
		rig_write(sim, 1, gfn);
	sim_vm_leave(sim, 1);
	vmmu_stats_read(sim->vm, before);
	vmmu_vcpu_destroy(sim->vcpu[1]);
	sim->vcpu[1] = NULL;
	vmmu_stats_read(sim->vm, after);
	assert_int_equal(before[VMMU_STAT_FAULTS], 64);
	assert_memory_equal(before, after, sizeof(before));
	rig_end(sim);
}

static void the_table_of_counters_describes_itself(void **state)
{
	const struct vmmu_stat_info *info = vmmu_stats_table();

	(void)state;
	assert_string_equal(info[VMMU_STAT_FAULTS].key, "faults.total");
	assert_string_equal(info[VMMU_STAT_AUDIT_FINDINGS].key, "audit.findings");
	for (unsigned i = 0; i < VMMU_STAT_COUNT; i++) {
		assert_non_null(strchr(info[i].key, '.'));
		assert_true(strlen(info[i].text) > 5);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(info[i].key, info[k].key);
	}
}

int main(void)
{
#define ROW(name) cmocka_unit_test(name),
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_in_a_slot_resumes_and_again_is_spurious),
		cmocka_unit_test(a_fault_before_the_first_entry_is_retried),
		cmocka_unit_test(a_fault_outside_of_every_slot_is_mmio),
		cmocka_unit_test(a_fault_without_memory_for_tables_changes_nothing),
		cmocka_unit_test(a_fault_on_a_dead_vm_is_dead),
		cmocka_unit_test(outcomes_have_names),
		cmocka_unit_test(leaves_are_as_large_as_host_and_configuration_allow),
		cmocka_unit_test(a_huge_leaf_is_widened_in_place),
		cmocka_unit_test(a_huge_leaf_is_split_when_only_a_small_one_may_be_widened),
		cmocka_unit_test(small_leaves_make_room_for_a_huge_one),
		cmocka_unit_test(a_zap_of_one_frame_takes_the_whole_huge_leaf),
		cmocka_unit_test(counters_add_up),
		cmocka_unit_test(counters_outlive_their_vcpu),
		cmocka_unit_test(the_table_of_counters_describes_itself),
		FAULTS_ENTRY(ROW)};
#undef ROW

	return cmocka_run_group_tests(tests, NULL, NULL);
}
