/* SPDX-License-Identifier: MIT */
/* flush_test.c - that stale entries really are used until they are flushed, and not after. */
#include <string.h>

#include "page_rig.h"

static void check_stale_until_flush(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	page_rig_map_new(&rig);
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	sim_flush_range(rig.machine, 1, sim_gfn(GFN), sim_gfn(GFN + 1));
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	tables_unmap(&rig.tables, GPA, SIM_LEVEL_4K);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	sim_flush_all(rig.machine, 1);
	assert_int_equal(page_rig_load(rig.cpu), 0);
	machine_end(rig.machine);
}

static void a_stale_page_is_read_before_the_flush_and_not_after(void **state)
{
	(void)state;
	for_both(check_stale_until_flush);
}

static void check_stale_write(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);

	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 1).outcome, SIM_OK);
	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "r");
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 2).outcome, SIM_OK);
	assert_int_equal(sim_ram_read(rig.machine, sim_entry_hpa(rig.old, 0)), 2);
	sim_flush_range(rig.machine, 1, sim_gfn(GFN), sim_gfn(GFN + 1));
	assert_int_not_equal(sim_cpu_store(rig.cpu, GPA, 3).outcome, SIM_OK);
	assert_int_equal(sim_ram_read(rig.machine, sim_entry_hpa(rig.old, 0)), 2);
	machine_end(rig.machine);
}

static void write_access_taken_away_lasts_until_the_flush(void **state)
{
	(void)state;
	for_both(check_stale_write);
}

static void check_random(enum sim_format format)
{
	unsigned old_seen = 0, new_seen = 0;

	for (unsigned i = 0; i < 200; i++) {
		struct page_rig rig = page_rig_new(format, SIM_CPU_RANDOM);

		for (unsigned k = 0; k < i; k++) /* another state of the dice each time */
			(void)page_rig_load(rig.cpu);
		page_rig_map_new(&rig);
		old_seen += page_rig_load(rig.cpu) == OLD_VALUE;
		sim_flush_all(rig.machine, 1);
		new_seen += page_rig_load(rig.cpu) == NEW_VALUE;
		machine_end(rig.machine);
	}
	assert_in_range(old_seen, 50, 190);
	assert_int_equal(new_seen, 200);
}

static void a_random_cpu_reads_stale_often_and_never_after_a_flush(void **state)
{
	(void)state;
	for_both(check_random);
}

static void check_stale_table(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	sim_gpa_t other = sim_gpa(GPA.bytes + SIM_PAGE_BYTES);
	sim_pfn_t table = tables_below(&rig.tables, GPA, SIM_LEVEL_2M);
	uint64_t value;

	tables_map(&rig.tables, other, rig.new, SIM_LEVEL_4K, "rwx");
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	tables_unmap(&rig.tables, GPA, SIM_LEVEL_2M);
	/* The table is unlinked, but this CPU still knows where it was. */
	assert_int_equal(sim_cpu_load(rig.cpu, other, &value).source, SIM_FROM_PSC);
	assert_int_equal(value, NEW_VALUE);
	/* A flush of the pages that were used does not reach ranges next to them. */
	assert_int_not_equal(sim_stale_translations(rig.machine, table, NULL, 0), 0);
	sim_flush_range(rig.machine, 1, sim_gfn(GFN + 2), sim_gfn(GFN + 3));
	assert_int_equal(sim_stale_translations(rig.machine, table, NULL, 0), 0);
	assert_int_equal(page_rig_load(rig.cpu),
			 OLD_VALUE); /* its own entry was not in the range */
	sim_flush_range(rig.machine, 1, sim_gfn(GFN), sim_gfn(GFN + 1));
	assert_int_equal(page_rig_load(rig.cpu), 0);
	machine_end(rig.machine);
}

static void an_unlinked_table_is_walked_until_the_flush(void **state)
{
	(void)state;
	for_both(check_stale_table);
}

static void check_freed_table(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	sim_gpa_t other = sim_gpa(GPA.bytes + SIM_PAGE_BYTES);
	sim_pfn_t table = tables_below(&rig.tables, GPA, SIM_LEVEL_2M);
	uint64_t value;

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	tables_unmap(&rig.tables, GPA, SIM_LEVEL_2M);
	sim_ram_free(rig.machine, table);
	assert_violation(rig.machine, "a table page is freed while in reach: cpu 0");
	assert_int_equal(sim_cpu_load(rig.cpu, other, &value).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "hardware walked a freed table page");
	sim_flush_all(rig.machine, 1);
	assert_int_not_equal(sim_cpu_load(rig.cpu, other, &value).outcome, SIM_BROKEN);
	machine_end(rig.machine);
}

static void a_table_freed_before_the_flush_is_reported_twice_over(void **state)
{
	(void)state;
	for_both(check_freed_table);
}

static void check_freed_page(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	page_rig_map_new(&rig);
	sim_ram_free(rig.machine, rig.old);
	assert_violation(rig.machine, "a guest page is freed while in reach: cpu 0, tag 1: TLB");
	assert_int_equal(page_rig_load(rig.cpu), 0);
	assert_violation(rig.machine, "to a freed frame");
	sim_flush_all(rig.machine, 1);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
}

static void a_page_freed_before_the_flush_is_reported_twice_over(void **state)
{
	(void)state;
	for_both(check_freed_page);
}

static void a_root_freed_while_loaded_is_a_violation(void **state)
{
	struct page_rig rig = page_rig_new(SIM_EPT, SIM_CPU_NEVER_STALE);

	(void)state;
	sim_cpu_clear_root(sim_machine_cpu(rig.machine, 1));
	sim_ram_free(rig.machine, rig.tables.root.pfn);
	assert_violation(rig.machine, "cpu 0 has pfn");
	sim_cpu_clear_root(rig.cpu);
	assert_int_equal(page_rig_load(rig.cpu), 0);
	assert_violation(rig.machine, "without a root");
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	assert_violation(rig.machine, "a freed frame is loaded as a root");
	machine_end(rig.machine);
}

static void lazy_flushing_allows_freeing_and_still_not_using(void **state)
{
	struct sim_machine *machine = sim_machine_new(
		&(struct sim_config){.mode = SIM_CPU_ALWAYS_STALE, .lazy_flush = true});
	struct tables tables = tables_new(machine, SIM_NPT);
	struct sim_cpu *cpu = sim_machine_cpu(machine, 0);
	sim_pfn_t page = sim_ram_alloc(machine, SIM_FRAME_GUEST);

	(void)state;
	sim_cpu_set_root(cpu, &tables.root);
	tables_map(&tables, GPA, page, SIM_LEVEL_4K, "rwx");
	(void)page_rig_load(cpu);
	tables_unmap(&tables, GPA, SIM_LEVEL_4K);
	sim_ram_free(machine, page);
	assert_int_equal(sim_violation_count(machine), 0);
	(void)page_rig_load(cpu);
	assert_violation(machine, "to a freed frame");
	machine_end(machine);
}

static void check_two_tags(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	struct sim_root second = rig.tables.root;

	second.tag = 2;
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	sim_cpu_set_root(rig.cpu, &second);
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	page_rig_map_new(&rig);
	sim_flush_all(rig.machine, 1);
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
}

static void a_flush_of_one_tag_leaves_the_others(void **state)
{
	(void)state;
	for_both(check_two_tags);
}

static void check_outdated(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	char text[1000];

	(void)page_rig_load(rig.cpu);
	assert_int_equal(sim_outdated_translations(rig.machine, 1, text, sizeof(text)), 0);
	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "rx");
	assert_int_equal(sim_outdated_translations(rig.machine, 1, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "has lost rights"));
	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "rwx");
	assert_int_equal(sim_outdated_translations(rig.machine, 1, NULL, 0), 0);
	tables_unmap(&rig.tables, GPA, SIM_LEVEL_2M);
	assert_int_equal(sim_outdated_translations(rig.machine, 1, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "is no longer mapped"));
	assert_non_null(strstr(text, "has no such table any more"));
	assert_int_equal(sim_outdated_translations(rig.machine, 9, text, sizeof(text)), 0);
	machine_end(rig.machine);
}

static void outdated_entries_are_told_from_good_ones(void **state)
{
	(void)state;
	for_both(check_outdated);
}

static void check_split(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);
	sim_gpa_t base = sim_gpa(0x80000000);
	sim_pfn_t run = sim_ram_alloc_run(rig.machine, SIM_FRAME_GUEST, SIM_LEVEL_2M);
	struct sim_result r;

	tables_map(&rig.tables, base, run, SIM_LEVEL_2M, "rwx");
	r = sim_cpu_access(rig.cpu, sim_gpa(base.bytes + 5 * SIM_PAGE_BYTES), SIM_WRITE);
	assert_int_equal(r.level, SIM_LEVEL_2M);
	tables_unmap(&rig.tables, base, SIM_LEVEL_2M);
	/* One fill serves the whole of the huge page, ... */
	r = sim_cpu_access(rig.cpu, sim_gpa(base.bytes + 511 * SIM_PAGE_BYTES), SIM_WRITE);
	assert_int_equal(r.outcome, SIM_OK);
	assert_int_equal(r.hpa.bytes, (run.n + 511) * SIM_PAGE_BYTES);
	assert_int_equal(sim_stale_translations(rig.machine, sim_pfn(run.n + 17), NULL, 0), 1);
	assert_int_equal(sim_stale_translations(rig.machine, sim_pfn(run.n + 512), NULL, 0), 0);
	/* ... and a flush of any page of it ends it. */
	sim_flush_range(rig.machine, 1, sim_gfn(0x80000 + 9), sim_gfn(0x80000 + 10));
	r = sim_cpu_access(rig.cpu, sim_gpa(base.bytes), SIM_READ);
	assert_int_not_equal(r.outcome, SIM_OK);
	machine_end(rig.machine);
}

static void a_huge_entry_is_stale_as_a_whole_and_flushed_as_a_whole(void **state)
{
	(void)state;
	for_both(check_split);
}

static void check_flush_bounds(enum sim_format format)
{
	struct page_rig rig = page_rig_new(format, SIM_CPU_ALWAYS_STALE);

	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	page_rig_map_new(&rig);
	sim_flush_range(rig.machine, 1, sim_gfn(0), sim_gfn(GFN));
	sim_flush_range(rig.machine, 1, sim_gfn(GFN + 1), sim_gfn(UINT64_MAX));
	assert_int_equal(page_rig_load(rig.cpu), OLD_VALUE);
	sim_flush_range(rig.machine, 1, sim_gfn(0), sim_gfn(UINT64_MAX));
	assert_int_equal(page_rig_load(rig.cpu), NEW_VALUE);
	machine_end(rig.machine);
}

static void a_range_flush_ends_exactly_at_its_bounds(void **state)
{
	(void)state;
	for_both(check_flush_bounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stale_page_is_read_before_the_flush_and_not_after),
		cmocka_unit_test(write_access_taken_away_lasts_until_the_flush),
		cmocka_unit_test(a_random_cpu_reads_stale_often_and_never_after_a_flush),
		cmocka_unit_test(an_unlinked_table_is_walked_until_the_flush),
		cmocka_unit_test(a_table_freed_before_the_flush_is_reported_twice_over),
		cmocka_unit_test(a_page_freed_before_the_flush_is_reported_twice_over),
		cmocka_unit_test(a_root_freed_while_loaded_is_a_violation),
		cmocka_unit_test(lazy_flushing_allows_freeing_and_still_not_using),
		cmocka_unit_test(a_flush_of_one_tag_leaves_the_others),
		cmocka_unit_test(outdated_entries_are_told_from_good_ones),
		cmocka_unit_test(a_huge_entry_is_stale_as_a_whole_and_flushed_as_a_whole),
		cmocka_unit_test(a_range_flush_ends_exactly_at_its_bounds),
	};

	return cmocka_run_group_tests_name("sim_flush", tests, NULL, NULL);
}
