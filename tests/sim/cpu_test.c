/* SPDX-License-Identifier: MIT */
/* cpu_test.c - what a CPU remembers, for whom, and what it never remembers. */
#include <string.h>

#include "page_rig.h"

static void check_never_stale(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_NEVER_STALE);

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	page_rig_map_new(&rig);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	assert_int_equal(sim_cpu_stats(rig.cpu).full_walks, 2);
	assert_int_equal(sim_stale_translations(rig.machine, rig.new, NULL, 0), 0);
	machine_end(rig.machine);
}

static void a_cpu_without_caches_sees_every_change(void **state)
{
	(void)state;
	for_both(check_never_stale);
}

static void check_absent_not_cached(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);

	tables_unmap(&rig.tables, GPA, SIM_LEVEL_4K);
	assert_int_equal(page_rig_load(rig.cpu), 0);
	page_rig_map_new(&rig);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
}

static void an_absent_entry_is_never_remembered(void **state)
{
	(void)state;
	for_both(check_absent_not_cached);
}

static void a_misconfigured_entry_is_never_remembered(void **state)
{
	struct page_rig rig = page_rig_new(SIM_EPT, SIM_CPU_ALWAYS_STALE);

	(void)state;
	tables_set(&rig.tables, GPA, SIM_LEVEL_4K, 6);
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_EPT_MISCONFIG);
	page_rig_map_new(&rig);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
}

static void check_stale_denial(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	struct sim_result r;

	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "r");
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "rw");
	r = sim_cpu_store(rig.cpu, GPA, 1);
	assert_int_not_equal(r.outcome, SIM_OK);
	assert_int_equal(r.source, SIM_FROM_TLB);
	assert_int_equal(r.info, format == SIM_NPT ? 0x100000007u : 0x18au);
	r = sim_cpu_store(rig.cpu, GPA, 2);
	assert_int_equal(r.outcome, SIM_OK);
	assert_int_equal(r.source, SIM_FROM_WALK);
	machine_end(rig.machine);
}

static void a_stale_denial_faults_once_and_the_retry_walks(void **state)
{
	(void)state;
	for_both(check_stale_denial);
}

/* A second root under the same tag, where the page is somewhere else. */
static uint64_t load_under_second_root(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	struct tables second = tables_new(rig.machine, format);
	uint64_t value;

	tables_map(&second, GPA, rig.new, SIM_LEVEL_4K, "rwx");
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	sim_cpu_set_root(rig.cpu, &second.root);
	value = page_rig_load(rig.cpu);
	sim_flush_root(rig.machine, rig.tables.root.pfn);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
	return value;
}

static void another_npt_root_under_the_same_asid_finds_the_old_entries(void **state)
{
	(void)state;
	assert_int_equal(load_under_second_root(SIM_NPT), OLD_VALUE);
}

static void another_ept_root_finds_no_entries_of_the_first(void **state)
{
	(void)state;
	assert_int_equal(load_under_second_root(SIM_EPT), NEW_VALUE);
}

static void each_cpu_has_caches_of_its_own(void **state)
{
	struct page_rig rig = page_rig_new(SIM_NPT, SIM_CPU_ALWAYS_STALE);
	struct sim_cpu *second = sim_machine_cpu(rig.machine, 1);
	char text[400];

	(void)state;
	(void)page_rig_load(rig.cpu);
	(void)page_rig_load(second);
	page_rig_map_new(&rig);
	sim_cpu_flush_range(rig.cpu, 1, sim_gfn(GFN), sim_gfn(GFN + 1));
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	assert_int_equal(page_rig_load(second), OLD_VALUE);
	assert_int_equal(sim_stale_translations(rig.machine, rig.old, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "cpu 1, tag 1: TLB maps gfn 0x40203..0x40203 writable"));
	assert_int_equal(sim_outdated_translations(rig.machine, 1, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "is mapped elsewhere"));
	sim_flush_all(rig.machine, 1);
	assert_int_equal(sim_outdated_translations(rig.machine, 1, text, sizeof(text)), 0);
	machine_end(rig.machine);
}

static void check_lost_dirty(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	uint64_t dirty = tables_dirty_bit(&rig.tables);

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE); /* remembered, but not as dirty */
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 1).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & dirty, dirty);
	page_rig_map_new(&rig); /* dirty is clear again, nobody has told the CPU */
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 2).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & dirty, 0);
	sim_flush_all(rig.machine, 1);
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 3).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & dirty, dirty);
	machine_end(rig.machine);
}

static void dirty_is_set_by_the_first_write_and_again_only_after_a_flush(void **state)
{
	(void)state;
	for_both(check_lost_dirty);
}

static void check_speculation(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_RANDOM);
	uint64_t a = tables_accessed_bit(&rig.tables), d = tables_dirty_bit(&rig.tables);
	unsigned tries = 0;

	for (unsigned i = 0; i < 20; i++)
		tables_map(&rig.tables, sim_gpa(GPA.bytes + i * SIM_PAGE_BYTES), rig.old,
			   SIM_LEVEL_4K, "rwx");
	while (!(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & a) && ++tries < 10000)
		sim_cpu_speculate(rig.cpu);
	assert_in_range(tries, 0, 9999);
	for (unsigned i = 0; i < 2000; i++)
		sim_cpu_speculate(rig.cpu);
	for (unsigned i = 0; i < 20; i++) {
		sim_gpa_t gpa = sim_gpa(GPA.bytes + i * SIM_PAGE_BYTES);

		assert_int_equal(tables_get(&rig.tables, gpa, SIM_LEVEL_4K) & d, 0);
	}
	assert_true(sim_cpu_stats(rig.cpu).speculative_fills > 1000);
	assert_int_equal(sim_cpu_stats(rig.cpu).faults, 0);
	machine_end(rig.machine);
}

static void speculation_sets_accessed_and_never_dirty(void **state)
{
	(void)state;
	for_both(check_speculation);
}

static void a_page_is_remembered_though_nobody_accessed_it(void **state)
{
	struct page_rig rig = page_rig_new(SIM_EPT, SIM_CPU_ALWAYS_STALE);

	(void)state;
	assert_true(sim_cpu_prefetch(rig.cpu, GPA));
	page_rig_map_new(&rig);
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	assert_false(sim_cpu_prefetch(rig.cpu, sim_gpa(0)));
	machine_end(rig.machine);
}

static void check_pieces(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_RANDOM);
	uint64_t huge = UINT64_C(0x80000000), giant = UINT64_C(0xc0000000);

	tables_map(&rig.tables, sim_gpa(huge), sim_pfn(0x7000200), SIM_LEVEL_2M, "rwx");
	tables_map(&rig.tables, sim_gpa(giant), sim_pfn(0x7040000), SIM_LEVEL_1G, "rwx");
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t in_huge = sim_random_below(rig.machine, 64) * 0x8765 % (1u << 21);
		uint64_t in_giant = sim_random_below(rig.machine, 64) * 0x1234567 % (1u << 30);

		assert_int_equal(
			sim_cpu_access(rig.cpu, sim_gpa(huge + in_huge), SIM_READ).hpa.bytes,
			UINT64_C(0x7000200000) + in_huge);
		assert_int_equal(
			sim_cpu_access(rig.cpu, sim_gpa(giant + in_giant), SIM_READ).hpa.bytes,
			UINT64_C(0x7040000000) + in_giant);
	}
	assert_true(sim_cpu_stats(rig.cpu).tlb_uses > 1000);
	machine_end(rig.machine);
}

static void pieces_of_a_huge_page_lead_where_the_whole_does(void **state)
{
	(void)state;
	for_both(check_pieces);
}

/* A hash of everything that happens in a busy run. */
static uint64_t busy_run(uint64_t seed)
{
	struct sim_machine *machine = sim_machine_new(&(struct sim_config){.seed = seed});
	struct tables tables = tables_new(machine, SIM_NPT);
	struct sim_cpu *cpu = sim_machine_cpu(machine, 0);
	uint64_t hash = 0;

	sim_cpu_set_root(cpu, &tables.root);
	for (unsigned i = 0; i < 5000; i++) {
		sim_gpa_t gpa = sim_gpa(sim_random_below(machine, 64) * SIM_PAGE_BYTES);
		struct sim_result r;

		if (sim_random_below(machine, 4) == 0)
			tables_map(&tables, gpa, sim_pfn(sim_random_below(machine, 1000) + 1),
				   SIM_LEVEL_4K, sim_random_below(machine, 2) ? "rw" : "r");
		r = sim_cpu_access(cpu, gpa, sim_random_below(machine, 2) ? SIM_READ : SIM_WRITE);
		hash = hash * 31 + r.hpa.bytes + r.info + (uint64_t)r.source;
	}
	machine_end(machine);
	return hash;
}

static void the_same_seed_gives_the_same_run(void **state)
{
	(void)state;
	assert_int_equal(busy_run(7), busy_run(7));
	assert_int_not_equal(busy_run(7), busy_run(8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cpu_without_caches_sees_every_change),
		cmocka_unit_test(an_absent_entry_is_never_remembered),
		cmocka_unit_test(a_misconfigured_entry_is_never_remembered),
		cmocka_unit_test(a_stale_denial_faults_once_and_the_retry_walks),
		cmocka_unit_test(another_npt_root_under_the_same_asid_finds_the_old_entries),
		cmocka_unit_test(another_ept_root_finds_no_entries_of_the_first),
		cmocka_unit_test(each_cpu_has_caches_of_its_own),
		cmocka_unit_test(dirty_is_set_by_the_first_write_and_again_only_after_a_flush),
		cmocka_unit_test(speculation_sets_accessed_and_never_dirty),
		cmocka_unit_test(a_page_is_remembered_though_nobody_accessed_it),
		cmocka_unit_test(pieces_of_a_huge_page_lead_where_the_whole_does),
		cmocka_unit_test(the_same_seed_gives_the_same_run),
	};

	return cmocka_run_group_tests_name("sim_cpu", tests, NULL, NULL);
}
