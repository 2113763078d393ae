/* SPDX-License-Identifier: MIT */
/* linear_flush_test.c - which of the guest's instructions end the oracle's past, and for whom. */
#include "linear_world.h"

#define OLD UINT64_C(0x100000)
#define NEW UINT64_C(0x200000)
#define OTHER UINT64_C(0x8000)
#define FULL (LPWU | LA)
#define NO_FLUSH (UINT64_C(1) << 63)

static void with_pcids(struct world *w)
{
	w->regs.pcide = true;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_DONE);
}

static void with_global_pages(struct world *w)
{
	w->regs.pge = true;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_DONE);
}

static bool old_is_right(struct world *w, uint64_t gva)
{
	ask(w, 0, LINEAR_READ, gva);
	return has_gpa(w, OLD);
}

static void invlpg_covers_its_page_and_no_other(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, PT + 8 * 8, OLD | FULL);
	put(w, PT + 8 * 8, NEW | FULL);
	put(w, PT + 8 * 7, NEW | FULL);
	linear_oracle_invlpg(w->oracle, 0, sim_gva(OTHER));
	assert_true(old_is_right(w, GVA));
	assert_false(old_is_right(w, OTHER));
	world_end(w);
}

static void invlpg_covers_all_of_what_was_a_huge_page_throughout(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);
	uint64_t huge = UINT64_C(0x40000000) | FULL | LPS;

	(void)state;
	put(w, PD + 8, huge); /* 2 MiB at 0x200000 */
	linear_oracle_flush_all(w->oracle, 0);
	put(w, PD + 8, huge + (1u << 21));
	ask(w, 0, LINEAR_READ, 0x203000);
	assert_true(has_gpa(w, 0x40003000));
	linear_oracle_invlpg(w->oracle, 0, sim_gva(0x201000));
	ask(w, 0, LINEAR_READ, 0x203000);
	assert_false(has_gpa(w, 0x40003000));
	assert_true(has_gpa(w, 0x40203000));
	world_end(w);
}

static void invlpg_covers_one_small_page_of_what_was_huge_before(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, PD + 8, UINT64_C(0x40000000) | FULL | LPS);
	linear_oracle_flush_all(w->oracle, 0);
	put(w, PD + 8, PT | FULL); /* 0x207000 leads to OLD now */
	linear_oracle_invlpg(w->oracle, 0, sim_gva(0x207000));
	ask(w, 0, LINEAR_READ, 0x207000);
	assert_false(has_gpa(w, 0x40007000));
	ask(w, 0, LINEAR_READ, 0x203000);
	assert_true(has_gpa(w, 0x40003000));
	world_end(w);
}

static void mov_cr3_ends_everything_that_is_not_global(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	with_global_pages(w);
	put(w, PT + 8 * 8, OLD | FULL | LG);
	put(w, PT + 8 * 8, NEW | FULL | LG);
	put(w, PT + 8 * 7, NEW | FULL);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PML4), LINEAR_DONE);
	assert_false(old_is_right(w, GVA));
	assert_true(old_is_right(w, OTHER));
	linear_oracle_invlpg(w->oracle, 0, sim_gva(OTHER));
	assert_false(old_is_right(w, OTHER));
	world_end(w);
}

static void toggling_pge_ends_global_translations(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	with_global_pages(w);
	put(w, PT + 8 * 7, OLD | FULL | LG);
	put(w, PT + 8 * 7, NEW | FULL | LG);
	linear_oracle_mov_cr3(w->oracle, 0, PML4);
	assert_true(old_is_right(w, GVA));
	w->regs.pge = false;
	linear_oracle_set_regs(w->oracle, 0, &w->regs);
	w->regs.pge = true;
	linear_oracle_set_regs(w->oracle, 0, &w->regs);
	assert_false(old_is_right(w, GVA));
	world_end(w);
}

/* A second address space at SPARE, where GVA is a global page. */
static void second_space(struct world *w)
{
	put(w, SPARE, (SPARE + 0x1000) | FULL);
	put(w, SPARE + 0x1000, (SPARE + 0x2000) | FULL);
	put(w, SPARE + 0x2000, (SPARE + 0x3000) | FULL);
	put(w, SPARE + 0x3000 + 8 * 7, 0x300000 | FULL | LG);
}

static void a_global_page_found_through_another_cr3_is_right(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	second_space(w);
	with_global_pages(w);
	linear_oracle_mov_cr3(w->oracle, 0, SPARE);
	linear_oracle_mov_cr3(w->oracle, 0, PML4);
	assert_both_gpas(w, OLD, 0x300000);
	linear_oracle_invlpg(w->oracle, 0, sim_gva(GVA));
	assert_only_gpa(w, OLD);
	world_end(w);
}

static void a_page_of_another_cr3_that_is_not_global_is_not_right(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	second_space(w);
	linear_oracle_mov_cr3(w->oracle, 0, SPARE); /* PGE is off: the bit does not count */
	linear_oracle_mov_cr3(w->oracle, 0, PML4);
	assert_only_gpa(w, OLD);
	world_end(w);
}

static void a_global_page_goes_on_after_its_cr3_but_is_not_read_there_again(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	second_space(w);
	with_global_pages(w);
	linear_oracle_mov_cr3(w->oracle, 0, SPARE);
	linear_oracle_mov_cr3(w->oracle, 0, PML4);
	put(w, SPARE + 0x3000 + 8 * 7, 0x400000 | FULL | LG);
	assert_both_gpas(w, OLD, 0x300000);
	world_end(w);
}

static void a_pcid_keeps_its_past_over_switches_that_do_not_flush(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	second_space(w);
	with_pcids(w);
	linear_oracle_mov_cr3(w->oracle, 0, PML4 | 1);
	linear_oracle_mov_cr3(w->oracle, 0, SPARE | 2);
	assert_only_gpa(w, 0x300000);
	put(w, PT + 8 * 7, NEW | FULL);
	linear_oracle_mov_cr3(w->oracle, 0, PML4 | 1 | NO_FLUSH);
	assert_both_gpas(w, OLD, NEW);
	linear_oracle_mov_cr3(w->oracle, 0, PML4 | 1);
	assert_only_gpa(w, NEW);
	world_end(w);
}

static void a_pcid_used_for_another_cr3_without_flush_shows_the_former(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	second_space(w);
	with_pcids(w);
	linear_oracle_mov_cr3(w->oracle, 0, PML4 | 1);
	linear_oracle_mov_cr3(w->oracle, 0, SPARE | 1 | NO_FLUSH);
	assert_both_gpas(w, OLD, 0x300000);
	world_end(w);
}

static void invpcid_ends_what_its_type_says(void **state)
{
	(void)state;
	for (unsigned type = LINEAR_INVPCID_ADDRESS; type <= LINEAR_INVPCID_LOCAL; type++)
		for (uint16_t pcid = 1; pcid <= 2; pcid++) {
			struct world *w = world_new(LINEAR_4_LEVEL);
			bool local, global;

			with_pcids(w);
			with_global_pages(w);
			linear_oracle_mov_cr3(w->oracle, 0, PML4 | 1);
			put(w, PT + 8 * 8, OLD | FULL | LG);
			put(w, PT + 8 * 8, NEW | FULL | LG);
			put(w, PT + 8 * 7, NEW | FULL);
			linear_oracle_invpcid(w->oracle, 0, (enum linear_invpcid)type, pcid,
					      sim_gva(GVA));
			local = type >= LINEAR_INVPCID_ALL || pcid == 1;
			global = type == LINEAR_INVPCID_ALL;
			assert_int_equal(old_is_right(w, GVA), !local);
			assert_int_equal(old_is_right(w, OTHER), !global);
			world_end(w);
		}
}

static void registers_flush_what_the_manual_says(void **state)
{
	static const struct {
		bool amd, pse, smep, off, wp;
		bool flushes;
	} rows[] = {
		{.amd = true, .pse = true, .flushes = true},
		{.amd = false, .pse = true, .flushes = false},
		{.amd = false, .smep = true, .flushes = true},
		{.amd = true, .smep = true, .flushes = false},
		{.amd = false, .off = true, .flushes = true},
		{.amd = true, .off = true, .flushes = true},
		{.amd = true, .wp = true, .flushes = false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world *w = world_new(LINEAR_4_LEVEL);
		struct linear_regs regs = w->regs;

		regs.vendor = rows[i].amd ? LINEAR_AMD : LINEAR_INTEL;
		linear_oracle_set_regs(w->oracle, 0, &regs);
		put(w, PT + 8 * 7, NEW | FULL);
		regs.pse = regs.pse != rows[i].pse;
		regs.smep = rows[i].smep;
		regs.wp = regs.wp != rows[i].wp;
		regs.mode = rows[i].off ? LINEAR_OFF : LINEAR_4_LEVEL;
		assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &regs), LINEAR_DONE);
		regs.mode = LINEAR_4_LEVEL;
		assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &regs), LINEAR_DONE);
		assert_int_equal(old_is_right(w, GVA), !rows[i].flushes);
		world_end(w);
	}
}

static void without_paging_linear_is_physical(void **state)
{
	struct world *w = world_new(LINEAR_OFF);

	(void)state;
	ask(w, 0, LINEAR_FETCH, 0xfffff123);
	assert_true(accepts_gpa(w, 0xfffff123));
	assert_int_equal(w->answers.count, 1);
	assert_int_equal(w->answers.item[0].page_bytes, 0);
	world_end(w);
}

static void pdptes_are_those_that_were_loaded(void **state)
{
	struct world *w = world_new(LINEAR_PAE);

	(void)state;
	put(w, PDPT, 0);
	assert_only_gpa(w, OLD);
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_gpa(w, OLD);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PDPT), LINEAR_DONE);
	assert_only_fault(w, 0);
	put(w, PDPT, PD | LP);
	assert_only_fault(w, 0);
	assert_int_equal(linear_oracle_load_pdptes(w->oracle, 0), LINEAR_DONE);
	assert_only_gpa(w, OLD);
	world_end(w);
}

static void a_reserved_pdpte_refuses_the_move_and_changes_nothing(void **state)
{
	struct world *w = world_new(LINEAR_PAE);

	(void)state;
	put(w, PT + 8 * 7, NEW | FULL);
	put(w, PDPT + 24, LP | LW);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PDPT), LINEAR_GP);
	w->regs.pge = true;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_GP);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, 0x900000), LINEAR_GP); /* a hole */
	assert_both_gpas(w, OLD, NEW);
	assert_int_equal(linear_oracle_regs(w->oracle, 0)->cr3, PDPT);
	put(w, PDPT + 24, LW); /* absent: nobody cares */
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PDPT), LINEAR_DONE);
	assert_only_gpa(w, NEW);
	world_end(w);
}

static void cr3_and_pcide_are_checked(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, UINT64_C(1) << 46), LINEAR_GP);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PML4 | NO_FLUSH), LINEAR_GP);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PML4 | 8), LINEAR_DONE);
	w->regs.pcide = true;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_GP);
	assert_only_gpa(w, OLD);
	world_end(w);
}

static void a_4_mib_page_reaches_as_far_as_pse_36_allows(void **state)
{
	struct world *w = world_new(LINEAR_32BIT);

	(void)state;
	put4(w, PD, (uint32_t)(0x00400000 | (5u << 13) | FULL | LPS));
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_gpa(w, UINT64_C(0x500407000));
	put4(w, PD, (uint32_t)(0x00400000 | (0x15u << 13) | FULL | LPS));
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_gpa(w, UINT64_C(0x1500407000));
	w->regs.pse36_width = 36;
	linear_oracle_reset(w->oracle, 0, &w->regs);
	assert_only_fault(w, LINEAR_PF_P | LINEAR_PF_RSVD);
	w->regs.pse = false; /* now it is a table, in a hole, and so is the page */
	linear_oracle_reset(w->oracle, 0, &w->regs);
	assert_only_gpa(w, 0xfffff000);
	world_end(w);
}

static void five_levels_are_one_more(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, SPARE, PML4 | FULL);
	w->regs.mode = LINEAR_5_LEVEL;
	w->regs.cr3 = SPARE;
	linear_oracle_reset(w->oracle, 0, &w->regs);
	assert_only_gpa(w, OLD);
	ask(w, 0, LINEAR_READ, UINT64_C(0x00ff000000000000));
	assert_true(has_fault(w, 0));
	ask(w, 0, LINEAR_READ, UINT64_C(0x01ff000000000000));
	assert_int_equal(w->answers.item[0].outcome, LINEAR_NONCANONICAL);
	world_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(invlpg_covers_its_page_and_no_other),
		cmocka_unit_test(invlpg_covers_all_of_what_was_a_huge_page_throughout),
		cmocka_unit_test(invlpg_covers_one_small_page_of_what_was_huge_before),
		cmocka_unit_test(mov_cr3_ends_everything_that_is_not_global),
		cmocka_unit_test(toggling_pge_ends_global_translations),
		cmocka_unit_test(a_global_page_found_through_another_cr3_is_right),
		cmocka_unit_test(a_page_of_another_cr3_that_is_not_global_is_not_right),
		cmocka_unit_test(a_global_page_goes_on_after_its_cr3_but_is_not_read_there_again),
		cmocka_unit_test(a_pcid_keeps_its_past_over_switches_that_do_not_flush),
		cmocka_unit_test(a_pcid_used_for_another_cr3_without_flush_shows_the_former),
		cmocka_unit_test(invpcid_ends_what_its_type_says),
		cmocka_unit_test(registers_flush_what_the_manual_says),
		cmocka_unit_test(without_paging_linear_is_physical),
		cmocka_unit_test(pdptes_are_those_that_were_loaded),
		cmocka_unit_test(a_reserved_pdpte_refuses_the_move_and_changes_nothing),
		cmocka_unit_test(cr3_and_pcide_are_checked),
		cmocka_unit_test(a_4_mib_page_reaches_as_far_as_pse_36_allows),
		cmocka_unit_test(five_levels_are_one_more),
	};

	return cmocka_run_group_tests_name("sim_linear_flush", tests, NULL, NULL);
}
