/* SPDX-License-Identifier: MIT */
/*
 * walk_test.c - single accesses with the answers written out as numbers, as the manuals give
 * them. The sweep over everything is in spec_test.c.
 */
#include "tables.h"

#define GPA sim_gpa(0x40203000)

struct rig {
	struct sim_machine *machine;
	struct tables tables;
	struct sim_cpu *cpu;
	sim_pfn_t page;
};

static struct rig rig_new(enum sim_format format)
{
	struct rig rig = {.machine = machine_new(SIM_CPU_NEVER_STALE)};

	rig.tables = tables_new(rig.machine, format);
	rig.page = sim_ram_alloc(rig.machine, SIM_FRAME_GUEST);
	rig.cpu = sim_machine_cpu(rig.machine, 0);
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	return rig;
}

static void expect_fault(struct rig *rig, enum sim_access_kind kind, enum sim_outcome outcome,
			 uint64_t info)
{
	struct sim_result r = sim_cpu_access(rig->cpu, GPA, kind);

	assert_int_equal(r.outcome, outcome);
	assert_int_equal(r.info, info);
	assert_int_equal(r.gpa.bytes, GPA.bytes);
}

static void npt_faults_on_an_absent_page_say_who_asked(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	expect_fault(&rig, SIM_READ, SIM_NPF, 0x100000004);
	expect_fault(&rig, SIM_WRITE, SIM_NPF, 0x100000006);
	expect_fault(&rig, SIM_EXEC, SIM_NPF, 0x100000014);
	expect_fault(&rig, SIM_TABLE_READ, SIM_NPF, 0x200000006);
	expect_fault(&rig, SIM_TABLE_WRITE, SIM_NPF, 0x200000006);
	machine_end(rig.machine);
}

static void npt_faults_on_missing_rights_have_p_set(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "r");
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_OK);
	expect_fault(&rig, SIM_WRITE, SIM_NPF, 0x100000007);
	expect_fault(&rig, SIM_EXEC, SIM_NPF, 0x100000015);
	expect_fault(&rig, SIM_TABLE_READ, SIM_NPF, 0x200000007);
	machine_end(rig.machine);
}

static void npt_supervisor_entries_admit_nobody(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	tables_set(&rig.tables, GPA, SIM_LEVEL_4K, rig.page.n * SIM_PAGE_BYTES + 3);
	expect_fault(&rig, SIM_READ, SIM_NPF, 0x100000005);
	machine_end(rig.machine);
}

static void npt_reserved_bits_are_told_with_p_by_the_manual_and_without_by_the_quirk(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	rig.tables.root.maxphyaddr = 40;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	tables_map(&rig.tables, GPA, sim_pfn(UINT64_C(1) << 28), SIM_LEVEL_4K, "rwx");
	expect_fault(&rig, SIM_READ, SIM_NPF, 0x10000000d);
	rig.tables.root.rsvd_without_p = true;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	expect_fault(&rig, SIM_WRITE, SIM_NPF, 0x10000000e);
	machine_end(rig.machine);
}

static void npt_no_exec_is_a_reserved_bit_without_efer_nxe(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rw");
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_OK);
	rig.tables.root.has_nx = false;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	expect_fault(&rig, SIM_READ, SIM_NPF, 0x10000000d);
	machine_end(rig.machine);
}

static void npt_guest_table_reads_count_as_writes(void **state)
{
	struct rig rig = rig_new(SIM_NPT);

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & 0x60, 0x20);
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_TABLE_READ).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & 0x60, 0x60);
	machine_end(rig.machine);
}

static void ept_violations_say_what_was_tried_and_what_was_allowed(void **state)
{
	struct rig rig = rig_new(SIM_EPT);

	(void)state;
	expect_fault(&rig, SIM_READ, SIM_EPT_VIOLATION, 0x181);
	expect_fault(&rig, SIM_WRITE, SIM_EPT_VIOLATION, 0x182);
	expect_fault(&rig, SIM_EXEC, SIM_EPT_VIOLATION, 0x184);
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rx");
	expect_fault(&rig, SIM_WRITE, SIM_EPT_VIOLATION, 0x1aa);
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "x");
	expect_fault(&rig, SIM_READ, SIM_EPT_VIOLATION, 0x1a1);
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rw");
	expect_fault(&rig, SIM_EXEC, SIM_EPT_VIOLATION, 0x19c);
	machine_end(rig.machine);
}

static void ept_guest_table_reads_write_only_if_flags_are_kept(void **state)
{
	struct rig rig = rig_new(SIM_EPT);

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "r");
	expect_fault(&rig, SIM_TABLE_READ, SIM_EPT_VIOLATION, 0x08b);
	expect_fault(&rig, SIM_TABLE_WRITE, SIM_EPT_VIOLATION, 0x08b);
	rig.tables.root.has_ad = false;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_TABLE_READ).outcome, SIM_OK);
	expect_fault(&rig, SIM_TABLE_WRITE, SIM_EPT_VIOLATION, 0x08b);
	machine_end(rig.machine);
}

static void ept_misconfigurations_are_no_violations(void **state)
{
	struct rig rig = rig_new(SIM_EPT);
	uint64_t page = rig.page.n * SIM_PAGE_BYTES;

	(void)state;
	tables_set(&rig.tables, GPA, SIM_LEVEL_4K, page | 0x32); /* W without R */
	expect_fault(&rig, SIM_READ, SIM_EPT_MISCONFIG, 0);
	tables_set(&rig.tables, GPA, SIM_LEVEL_4K, page | 0x36); /* W and X without R */
	expect_fault(&rig, SIM_EXEC, SIM_EPT_MISCONFIG, 0);
	for (uint64_t type = 0; type < 8; type++) {
		bool is_bad = type == 2 || type == 3 || type == 7;

		tables_set(&rig.tables, GPA, SIM_LEVEL_4K, page | 7 | type << 3);
		assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome,
				 is_bad ? SIM_EPT_MISCONFIG : SIM_OK);
	}
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "x");
	rig.tables.root.has_exec_only = false;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	expect_fault(&rig, SIM_EXEC, SIM_EPT_MISCONFIG, 0);
	machine_end(rig.machine);
}

static void ept_misconfiguration_below_goes_before_missing_rights_above(void **state)
{
	struct rig rig = rig_new(SIM_EPT);
	uint64_t link;

	(void)state;
	tables_set(&rig.tables, GPA, SIM_LEVEL_4K, rig.page.n * SIM_PAGE_BYTES | 0x3f);
	link = tables_get(&rig.tables, GPA, SIM_LEVEL_2M);
	tables_set(&rig.tables, GPA, SIM_LEVEL_2M, link & ~UINT64_C(2));
	expect_fault(&rig, SIM_WRITE, SIM_EPT_MISCONFIG, 0);
	machine_end(rig.machine);
}

static void ept_without_accessed_and_dirty_changes_no_entry(void **state)
{
	struct rig rig = rig_new(SIM_EPT);
	uint64_t before;

	(void)state;
	rig.tables.root.has_ad = false;
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	before = tables_get(&rig.tables, GPA, SIM_LEVEL_4K);
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 1).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K), before);
	machine_end(rig.machine);
}

/* Accessed on every level, dirty on the leaf alone and for writes alone. */
static void check_flags(enum sim_format format)
{
	struct rig rig = rig_new(format);
	uint64_t a = tables_accessed_bit(&rig.tables), d = tables_dirty_bit(&rig.tables);

	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_OK);
	for (unsigned l = 1; l <= 4; l++)
		assert_int_equal(tables_get(&rig.tables, GPA, (enum sim_level)l) & (a | d), a);
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_WRITE).outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & (a | d), a | d);
	for (unsigned l = 2; l <= 4; l++)
		assert_int_equal(tables_get(&rig.tables, GPA, (enum sim_level)l) & (a | d), a);
	machine_end(rig.machine);
}

static void accessed_is_set_on_the_path_and_dirty_on_the_leaf(void **state)
{
	(void)state;
	check_flags(SIM_NPT);
	check_flags(SIM_EPT);
}

static void a_denied_write_sets_no_dirty(void **state)
{
	(void)state;
	for (unsigned format = SIM_NPT; format <= SIM_EPT; format++) {
		struct rig rig = rig_new((enum sim_format)format);

		sim_cpu_set_mode(rig.cpu, SIM_CPU_ALWAYS_STALE);
		tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "r");
		assert_int_not_equal(sim_cpu_access(rig.cpu, GPA, SIM_WRITE).outcome, SIM_OK);
		assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) &
					 tables_dirty_bit(&rig.tables),
				 0);
		machine_end(rig.machine);
	}
}

static void huge_leaves_add_the_offset_inside_them(void **state)
{
	(void)state;
	for (unsigned format = SIM_NPT; format <= SIM_EPT; format++) {
		struct rig rig = rig_new((enum sim_format)format);
		struct sim_result r;

		tables_map(&rig.tables, sim_gpa(0x80000000), sim_pfn(0x80000), SIM_LEVEL_1G, "rwx");
		tables_map(&rig.tables, sim_gpa(0x40200000), sim_pfn(0x80200), SIM_LEVEL_2M, "rwx");
		r = sim_cpu_access(rig.cpu, sim_gpa(0x92345678), SIM_READ);
		assert_int_equal(r.outcome, SIM_OK);
		assert_int_equal(r.level, SIM_LEVEL_1G);
		assert_int_equal(r.hpa.bytes, 0x80000000 + 0x12345678);
		r = sim_cpu_access(rig.cpu, sim_gpa(0x402abcde), SIM_READ);
		assert_int_equal(r.level, SIM_LEVEL_2M);
		assert_int_equal(r.hpa.bytes, 0x80200000 + 0xabcde);
		machine_end(rig.machine);
	}
}

static void a_walk_without_effects_sets_nothing_and_sees_the_same(void **state)
{
	struct rig rig = rig_new(SIM_NPT);
	struct sim_result seen;

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	seen = sim_walk(rig.machine, &rig.tables.root, GPA, SIM_WRITE);
	assert_int_equal(seen.outcome, SIM_OK);
	assert_int_equal(tables_get(&rig.tables, GPA, SIM_LEVEL_4K) & 0x60, 0);
	assert_int_equal(seen.hpa.bytes, sim_cpu_access(rig.cpu, GPA, SIM_WRITE).hpa.bytes);
	machine_end(rig.machine);
}

/* The other CPU takes write access away between the read of an entry and its dirty bit. */
struct intruder {
	struct rig *rig;
	unsigned steps;
	unsigned at;
};

static void intrude(void *context, struct sim_cpu *cpu)
{
	struct intruder *intruder = context;

	(void)cpu;
	if (++intruder->steps == intruder->at)
		tables_map(&intruder->rig->tables, GPA, intruder->rig->page, SIM_LEVEL_4K, "r");
}

static void dirty_is_never_set_on_an_entry_that_just_lost_write_access(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 12; at++) {
		struct rig rig = rig_new(SIM_EPT);
		struct intruder intruder = {&rig, 0, at};
		struct sim_result r;
		uint64_t leaf;

		tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rw");
		sim_machine_set_step(rig.machine, intrude, &intruder);
		r = sim_cpu_access(rig.cpu, GPA, SIM_WRITE);
		leaf = tables_get(&rig.tables, GPA, SIM_LEVEL_4K);
		if (at <= 8) { /* 4 reads, 3 upper accessed bits, then the leaf's: all too late */
			assert_int_equal(r.outcome, SIM_EPT_VIOLATION);
			assert_int_equal(leaf & 0x200, 0);
		} else {
			assert_int_equal(r.outcome, SIM_OK);
			assert_int_equal(intruder.steps, 8);
			assert_int_equal(leaf & 0x200, 0x200);
		}
		machine_end(rig.machine);
	}
}

static void walking_what_is_no_table_is_a_violation(void **state)
{
	struct rig rig = rig_new(SIM_NPT);
	sim_pfn_t leaf_table;

	(void)state;
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	leaf_table = tables_below(&rig.tables, GPA, SIM_LEVEL_2M);
	tables_set(&rig.tables, GPA, SIM_LEVEL_2M, tables_link(&rig.tables, rig.page));
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "walked a guest page");
	tables_set(&rig.tables, GPA, SIM_LEVEL_2M, tables_link(&rig.tables, sim_pfn(5)));
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "walked a frame outside of RAM");
	tables_set(&rig.tables, GPA, SIM_LEVEL_2M, tables_link(&rig.tables, leaf_table));
	sim_ram_free(rig.machine, leaf_table);
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_READ).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "walked a freed table page");
	machine_end(rig.machine);
}

static void reaching_a_table_or_a_freed_page_as_data_is_a_violation(void **state)
{
	struct rig rig = rig_new(SIM_EPT);

	(void)state;
	tables_map(&rig.tables, GPA, rig.tables.root.pfn, SIM_LEVEL_4K, "rwx");
	assert_int_equal(sim_cpu_access(rig.cpu, GPA, SIM_WRITE).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "to a table page");
	tables_map(&rig.tables, GPA, rig.page, SIM_LEVEL_4K, "rwx");
	sim_ram_free(rig.machine, rig.page);
	assert_int_equal(sim_cpu_store(rig.cpu, GPA, 1).outcome, SIM_BROKEN);
	assert_violation(rig.machine, "to a freed frame");
	machine_end(rig.machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(npt_faults_on_an_absent_page_say_who_asked),
		cmocka_unit_test(npt_faults_on_missing_rights_have_p_set),
		cmocka_unit_test(npt_supervisor_entries_admit_nobody),
		cmocka_unit_test(
			npt_reserved_bits_are_told_with_p_by_the_manual_and_without_by_the_quirk),
		cmocka_unit_test(npt_no_exec_is_a_reserved_bit_without_efer_nxe),
		cmocka_unit_test(npt_guest_table_reads_count_as_writes),
		cmocka_unit_test(ept_violations_say_what_was_tried_and_what_was_allowed),
		cmocka_unit_test(ept_guest_table_reads_write_only_if_flags_are_kept),
		cmocka_unit_test(ept_misconfigurations_are_no_violations),
		cmocka_unit_test(ept_misconfiguration_below_goes_before_missing_rights_above),
		cmocka_unit_test(ept_without_accessed_and_dirty_changes_no_entry),
		cmocka_unit_test(accessed_is_set_on_the_path_and_dirty_on_the_leaf),
		cmocka_unit_test(a_denied_write_sets_no_dirty),
		cmocka_unit_test(huge_leaves_add_the_offset_inside_them),
		cmocka_unit_test(a_walk_without_effects_sets_nothing_and_sees_the_same),
		cmocka_unit_test(dirty_is_never_set_on_an_entry_that_just_lost_write_access),
		cmocka_unit_test(walking_what_is_no_table_is_a_violation),
		cmocka_unit_test(reaching_a_table_or_a_freed_page_as_data_is_a_violation),
	};

	return cmocka_run_group_tests_name("sim_walk", tests, NULL, NULL);
}
