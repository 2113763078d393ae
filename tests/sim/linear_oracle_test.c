/* SPDX-License-Identifier: MIT */
/* linear_oracle_test.c - what may be cached, in which mixture, and what the access leaves. */
#include <string.h>

#include "linear_world.h"

#define OLD UINT64_C(0x100000)
#define NEW UINT64_C(0x200000)
#define FULL (LPWU | LA)

static void the_old_value_is_right_before_the_flush_and_not_after(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_32BIT; mode <= LINEAR_4_LEVEL; mode++) {
		struct world *w = world_new((enum linear_mode)mode);
		uint64_t leaf = world_entry(w, 1);

		assert_only_gpa(w, OLD);
		if (mode == LINEAR_32BIT)
			put4(w, leaf, (uint32_t)(NEW | FULL));
		else
			put(w, leaf, NEW | FULL);
		assert_both_gpas(w, OLD, NEW);
		linear_oracle_invlpg(w->oracle, 0, sim_gva(GVA + 0x123));
		assert_only_gpa(w, NEW);
		world_end(w);
	}
}

static void the_sentence_says_what_was_expected(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = sim_gpa(0x9000)};
	char why[300];

	(void)state;
	put(w, world_entry(w, 1), NEW | FULL);
	ask(w, 0, LINEAR_READ, GVA);
	assert_false(linear_oracle_allows(w->oracle, &answer, why, sizeof(why)));
	assert_string_equal(why, "vcpu 0, supervisor read at gva 0x7000: gpa 0x9000 is none of the "
				 "2 right answers: gpa 0x100000 (page of 0x1000) (stale), "
				 "gpa 0x200000 (page of 0x1000)");
	answer.gpa.bytes = NEW;
	answer.page_bytes = 1u << 21;
	assert_false(linear_oracle_allows(w->oracle, &answer, why, sizeof(why)));
	answer.page_bytes = SIM_PAGE_BYTES;
	assert_true(linear_oracle_allows(w->oracle, &answer, why, sizeof(why)));
	assert_string_equal(why, "");
	world_end(w);
}

static void a_flush_on_one_vcpu_does_not_help_another(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), NEW | FULL);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 1, LINEAR_READ, GVA);
	assert_true(has_gpa(w, OLD));
	ask(w, 0, LINEAR_READ, GVA);
	assert_false(has_gpa(w, OLD));
	world_end(w);
}

/* Entries of two levels change: PD to another table, the same entry there to another page. */
static void mixtures_of_old_and_new_levels_are_right_before_the_flush(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, SPARE + 8 * 7, 0x300000 | FULL);
	put(w, PD, SPARE | FULL);
	put(w, SPARE + 8 * 7, 0x400000 | FULL);
	put(w, PT + 8 * 7, NEW | FULL);
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_gpa(w, OLD));
	assert_true(has_gpa(w, NEW));
	assert_true(has_gpa(w, 0x300000));
	assert_true(has_gpa(w, 0x400000));
	assert_int_equal(w->answers.count, 4);
	assert_int_equal(linear_oracle_mov_cr3(w->oracle, 0, PML4), LINEAR_DONE);
	assert_only_gpa(w, 0x400000);
	world_end(w);
}

/* The table is filled before it is linked: what it held earlier was never in reach. */
static void a_lower_entry_is_not_read_before_the_one_above_it(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, SPARE + 8 * 7, 0x300000 | FULL);
	put(w, SPARE + 8 * 7, 0x400000 | FULL);
	put(w, PD, SPARE | FULL);
	assert_both_gpas(w, OLD, 0x400000);
	world_end(w);
}

static void an_absent_entry_is_never_stale(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), 0);
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_fault(w, 0);
	put(w, world_entry(w, 1), NEW | FULL);
	assert_only_gpa(w, NEW);
	put(w, world_entry(w, 2), NEW | FULL | UINT64_C(1) << 50);
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_fault(w, LINEAR_PF_P | LINEAR_PF_RSVD);
	put(w, world_entry(w, 2), PT | FULL);
	assert_only_gpa(w, NEW);
	world_end(w);
}

static void an_entry_taken_away_may_answer_or_fault_until_the_flush(void **state)
{
	struct world *w = world_new(LINEAR_PAE);

	(void)state;
	put(w, world_entry(w, 2), 0);
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_gpa(w, OLD));
	assert_true(has_fault(w, 0));
	linear_oracle_invlpg(w->oracle, 0, sim_gva(GVA));
	assert_only_fault(w, 0);
	world_end(w);
}

static void a_past_value_that_was_never_accessed_is_not_cached(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), 0x300000 | LPWU);
	linear_oracle_flush_all(w->oracle, 0);
	put(w, world_entry(w, 1), NEW | FULL);
	assert_only_gpa(w, NEW);
	world_end(w);
}

static void a_denial_may_be_stale_until_its_fault_is_taken(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);
	uint32_t denied = LINEAR_PF_P | LINEAR_PF_W;

	(void)state;
	put(w, world_entry(w, 1), OLD | LP | LA);
	linear_oracle_flush_all(w->oracle, 0);
	put(w, world_entry(w, 1), OLD | FULL);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_true(has_fault(w, denied));
	assert_true(has_gpa(w, OLD));
	linear_oracle_fault_taken(w->oracle, 0, sim_gva(GVA));
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_false(has_fault(w, denied));
	assert_true(has_gpa(w, OLD));
	world_end(w);
}

static void registers_of_now_judge_what_was_cached(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), OLD | LP | LA | LD);
	linear_oracle_flush_all(w->oracle, 0);
	put(w, world_entry(w, 1), 0);
	w->regs.wp = false;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_DONE);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_true(has_gpa(w, OLD));
	w->regs.wp = true;
	assert_int_equal(linear_oracle_set_regs(w->oracle, 0, &w->regs), LINEAR_DONE);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_false(has_gpa(w, OLD));
	assert_true(has_fault(w, LINEAR_PF_P | LINEAR_PF_W));
	assert_true(has_fault(w, LINEAR_PF_W));
	world_end(w);
}

/* ---- accessed and dirty ---- */

static void a_fresh_walk_must_set_accessed_and_a_write_dirty(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 3), PD | LPWU);
	put(w, world_entry(w, 1), NEW | LPWU);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_false(accepts_gpa(w, NEW));
	mark(w, world_entry(w, 3), LA);
	assert_false(accepts_gpa(w, NEW));
	mark(w, world_entry(w, 1), LA);
	assert_false(accepts_gpa(w, NEW));
	mark(w, world_entry(w, 1), LD);
	assert_true(accepts_gpa(w, NEW));
	world_end(w);
}

static void a_cached_translation_need_not_set_accessed_again(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), OLD | LPWU); /* was accessed */
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(accepts_gpa(w, OLD));
	mark(w, world_entry(w, 1), LA);
	assert_true(accepts_gpa(w, OLD));
	w->word[world_entry(w, 1) / 8] = OLD | LPWU;
	linear_oracle_invlpg(w->oracle, 0, sim_gva(GVA));
	ask(w, 0, LINEAR_READ, GVA);
	assert_false(accepts_gpa(w, OLD));
	world_end(w);
}

static void only_a_translation_cached_as_dirty_writes_without_setting_it(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_false(accepts_gpa(w, OLD));
	put(w, world_entry(w, 1), OLD | FULL | LD);
	put(w, world_entry(w, 1), OLD | FULL);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_true(accepts_gpa(w, OLD));
	mark(w, world_entry(w, 1), LD);
	assert_true(accepts_gpa(w, OLD));
	world_end(w);
}

static void a_write_through_a_clean_past_leaf_reads_the_present_one(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), NEW | FULL);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_false(has_gpa(w, OLD));
	assert_true(has_gpa(w, NEW));
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_gpa(w, OLD));
	world_end(w);
}

static void bits_that_the_access_must_not_set_are_seen(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);
	uint64_t leaf = world_entry(w, 1);

	(void)state;
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(accepts_gpa(w, OLD));
	mark(w, leaf, LD);
	assert_false(accepts_gpa(w, OLD)); /* a read */
	w->word[leaf / 8] = OLD | FULL;
	mark(w, world_entry(w, 2), LD);
	assert_false(accepts_gpa(w, OLD)); /* not a leaf */
	w->word[PD / 8] = PT | FULL;
	mark(w, leaf, UINT64_C(1) << 9);
	assert_false(accepts_gpa(w, OLD)); /* not a bit of the hardware's */
	put(w, leaf, 0);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(accepts_fault(w, 0));
	mark(w, leaf, LA);
	assert_false(accepts_fault(w, 0)); /* absent */
	put(w, leaf, OLD | LP);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 0, LINEAR_WRITE, GVA);
	mark(w, leaf, LA);
	assert_true(accepts_fault(w, LINEAR_PF_P | LINEAR_PF_W)); /* speculation may */
	mark(w, leaf, LD);
	assert_false(accepts_fault(w, LINEAR_PF_P | LINEAR_PF_W)); /* denied */
	world_end(w);
}

static void marks_of_32_bit_entries_stay_in_their_half(void **state)
{
	struct world *w = world_new(LINEAR_32BIT);
	uint64_t leaf = world_entry(w, 1); /* the upper half of its word */

	(void)state;
	assert_int_equal(leaf & 7, 4);
	put4(w, leaf, (uint32_t)(NEW | LPWU));
	put4(w, leaf - 4, LPWU);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 0, LINEAR_WRITE, GVA);
	mark(w, leaf - 4, LA | LD);
	assert_false(accepts_gpa(w, NEW));
	mark(w, leaf, LA | LD);
	assert_true(accepts_gpa(w, NEW));
	world_end(w);
}

static void a_table_in_rom_needs_no_marks(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	w->word[(WORLD_ROM + 8 * 7) / 8] = NEW | LPWU;
	put(w, PD, WORLD_ROM | FULL);
	linear_oracle_flush_all(w->oracle, 0);
	ask(w, 0, LINEAR_WRITE, GVA);
	assert_true(accepts_gpa(w, NEW));
	mark(w, WORLD_ROM + 8 * 7, LA);
	assert_false(accepts_gpa(w, NEW));
	world_end(w);
}

static void entries_from_holes_are_all_ones(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, PD, 0x800000 | FULL);
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_fault(w, LINEAR_PF_P | LINEAR_PF_RSVD);
	world_end(w);
	w = world_new(LINEAR_32BIT);
	put4(w, PD, 0x800000 | (uint32_t)FULL);
	linear_oracle_flush_all(w->oracle, 0);
	assert_only_gpa(w, 0xfffff000);
	world_end(w);
}

/* ---- time ---- */

static void writes_during_an_access_make_both_worlds_right(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);
	uint64_t begun;

	(void)state;
	put(w, world_entry(w, 1), 0);
	linear_oracle_flush_all(w->oracle, 0);
	begun = linear_oracle_time(w->oracle);
	put(w, world_entry(w, 1), NEW | FULL);
	w->query = (struct linear_query){.access = linear_read_of(GVA), .begun = begun};
	(void)linear_oracle_expect(w->oracle, &w->query);
	assert_true(has_fault(w, 0));
	assert_true(has_gpa(w, NEW));
	w->query.begun = 0;
	(void)linear_oracle_expect(w->oracle, &w->query);
	assert_false(has_fault(w, 0));
	begun = linear_oracle_time(w->oracle);
	put(w, world_entry(w, 1), 0x300000 | LPWU); /* nobody has used it: not accessed */
	put(w, world_entry(w, 1), OLD | FULL);
	w->query.begun = begun;
	(void)linear_oracle_expect(w->oracle, &w->query);
	assert_true(has_gpa(w, NEW));
	assert_true(has_gpa(w, OLD));
	assert_false(has_gpa(w, 0x300000));
	world_end(w);
}

static void forgotten_memory_has_no_past(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	put(w, world_entry(w, 1), NEW | FULL);
	linear_oracle_forget(w->oracle, sim_gpa(PD), sim_gpa(PT));
	assert_both_gpas(w, OLD, NEW);
	linear_oracle_forget(w->oracle, sim_gpa(PT), sim_gpa(PT + 0x1000));
	assert_only_gpa(w, NEW);
	world_end(w);
}

static void the_past_is_as_long_as_somebody_may_remember(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	for (unsigned i = 1; i <= 1000; i++) {
		put(w, world_entry(w, 1), (uint64_t)i << 20 | FULL);
		linear_oracle_mov_cr3(w->oracle, 0, PML4);
		if (i % 10 == 0)
			linear_oracle_mov_cr3(w->oracle, 1, PML4);
	}
	assert_in_range(linear_oracle_value_count(w->oracle), 1, 30);
	for (unsigned i = 1; i <= 100; i++)
		put(w, world_entry(w, 1), (uint64_t)i << 20 | FULL);
	ask(w, 1, LINEAR_READ, GVA);
	assert_in_range(w->answers.count, 100, 112);
	assert_in_range(linear_oracle_value_count(w->oracle), 100, 130);
	world_end(w);
}

static void a_write_across_two_words_is_remembered_in_both(void **state)
{
	struct world *w = world_new(LINEAR_32BIT);
	uint64_t second = 0x300000 | FULL;

	(void)state;
	put4(w, PT + 4 * 8, (uint32_t)second);
	linear_oracle_flush_all(w->oracle, 0);
	w->word[PT / 8 + 3] = (w->word[PT / 8 + 3] & UINT32_MAX) | (NEW | FULL) << 32;
	w->word[PT / 8 + 4] = 0;
	linear_oracle_wrote(w->oracle, sim_gpa(PT + 4 * 7), 8, second << 32 | OLD | FULL,
			    NEW | FULL);
	assert_both_gpas(w, OLD, NEW);
	ask(w, 0, LINEAR_READ, 0x8000);
	assert_true(has_fault(w, 0));
	assert_true(has_gpa(w, 0x300000));
	assert_int_equal(w->answers.count, 2);
	world_end(w);
}

/* Long lists are shortened; what was there once must stay right. */
static void values_that_come_again_and_again_are_kept_once(void **state)
{
	struct world *w = world_new(LINEAR_4_LEVEL);

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		put(w, world_entry(w, 1), (uint64_t)(i % 5 + 1) << 20 | FULL);
	assert_in_range(linear_oracle_value_count(w->oracle), 5, 30);
	ask(w, 0, LINEAR_READ, GVA);
	assert_int_equal(w->answers.count, 5);
	world_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_old_value_is_right_before_the_flush_and_not_after),
		cmocka_unit_test(the_sentence_says_what_was_expected),
		cmocka_unit_test(a_flush_on_one_vcpu_does_not_help_another),
		cmocka_unit_test(mixtures_of_old_and_new_levels_are_right_before_the_flush),
		cmocka_unit_test(a_lower_entry_is_not_read_before_the_one_above_it),
		cmocka_unit_test(an_absent_entry_is_never_stale),
		cmocka_unit_test(an_entry_taken_away_may_answer_or_fault_until_the_flush),
		cmocka_unit_test(a_past_value_that_was_never_accessed_is_not_cached),
		cmocka_unit_test(a_denial_may_be_stale_until_its_fault_is_taken),
		cmocka_unit_test(registers_of_now_judge_what_was_cached),
		cmocka_unit_test(a_fresh_walk_must_set_accessed_and_a_write_dirty),
		cmocka_unit_test(a_cached_translation_need_not_set_accessed_again),
		cmocka_unit_test(only_a_translation_cached_as_dirty_writes_without_setting_it),
		cmocka_unit_test(a_write_through_a_clean_past_leaf_reads_the_present_one),
		cmocka_unit_test(bits_that_the_access_must_not_set_are_seen),
		cmocka_unit_test(marks_of_32_bit_entries_stay_in_their_half),
		cmocka_unit_test(a_table_in_rom_needs_no_marks),
		cmocka_unit_test(entries_from_holes_are_all_ones),
		cmocka_unit_test(writes_during_an_access_make_both_worlds_right),
		cmocka_unit_test(forgotten_memory_has_no_past),
		cmocka_unit_test(the_past_is_as_long_as_somebody_may_remember),
		cmocka_unit_test(a_write_across_two_words_is_remembered_in_both),
		cmocka_unit_test(values_that_come_again_and_again_are_kept_once),
	};

	return cmocka_run_group_tests_name("sim_linear_oracle", tests, NULL, NULL);
}
