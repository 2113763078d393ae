/* SPDX-License-Identifier: MIT */
/* Accessed and dirty bits: what is set when, lost races, and memory that cannot be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define P UINT64_C(0x001)
#define W UINT64_C(0x002)
#define U UINT64_C(0x004)
#define A UINT64_C(0x020)
#define D UINT64_C(0x040)
#define PS UINT64_C(0x080)
#define MARK UINT64_C(0x200) /* a bit that is the guest's own */
#define FRAME UINT64_C(0xa000)

static struct sim sim;
static struct vmmu_paging paging;
static struct vmmu_walk_result result;
static const vmmu_gva_t gva = {0x123};

/* Four levels, tables in frames 1 (leaf) to 4, all entries at index 0; nothing accessed. */
static int setup(void **state)
{
	(void)state;
	sim_init(&sim);
	paging = (struct vmmu_paging){
		.mode = VMMU_PAGING_4LEVEL, .cr3 = 0x4000, .physical_bits = 40, .wp = true};
	for (unsigned level = 1; level <= 4; level++) {
		uint64_t next = level > 1 ? (level - 1) * UINT64_C(0x1000) : FRAME;

		sim_page(&sim, level);
		sim_set(&sim, level * UINT64_C(0x1000), 8, next | P | W | U);
	}
	sim.entry_bytes = 8;
	return 0;
}

static enum vmmu_walk_status walk(uint32_t flags)
{
	sim_forget(&sim);
	memset(&result, 0xee, sizeof(result));
	return vmmu_walk(&paging, gva, flags, &sim_ops, &sim, &result);
}

static uint64_t entry(unsigned level)
{
	return sim_get(&sim, level * UINT64_C(0x1000), 8);
}

static void change(unsigned level, uint64_t set, uint64_t clear)
{
	sim_set(&sim, level * UINT64_C(0x1000), 8, (entry(level) & ~clear) | set);
}

/* The accessed and dirty bits of levels 4 to 1, one hexadecimal digit each: A 1, D 2. */
static unsigned marks(void)
{
	unsigned all = 0;

	for (unsigned level = 4; level >= 1; level--)
		all = all << 4 | (unsigned)((entry(level) & (A | D)) >> 5);
	return all;
}

static void a_read_sets_accessed_at_all_levels_and_no_dirty_bit(void **state)
{
	(void)state;
	assert_int_equal(walk(0), VMMU_WALK_OK);
	assert_int_equal(marks(), 0x1111);
	assert_int_equal(sim.updates, 4);
	assert_int_equal(result.gpa.addr, FRAME | 0x123);
	assert_int_equal(result.step[0].value & A, 0);
	assert_int_equal(result.step[3].value & A, 0);
}

static void a_fetch_sets_accessed_and_no_dirty_bit(void **state)
{
	(void)state;
	assert_int_equal(walk(VMMU_WALK_FETCH | VMMU_WALK_USER), VMMU_WALK_OK);
	assert_int_equal(marks(), 0x1111);
}

static void a_write_sets_dirty_in_the_leaf_only(void **state)
{
	(void)state;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(marks(), 0x1113);
	assert_int_equal(sim.updates, 4);
}

static void a_supervisor_write_to_a_read_only_page_sets_dirty_with_wp_off(void **state)
{
	(void)state;
	paging.wp = false;
	change(1, 0, W);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_false(result.writable);
	assert_int_equal(marks(), 0x1113);
}

static void a_large_leaf_gets_the_dirty_bit(void **state)
{
	(void)state;
	sim_set(&sim, 0x2000, 8, UINT64_C(0x400000) | PS | P | W | U);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(result.page_bytes, 1 << 21);
	assert_int_equal(entry(2) & (A | D), A | D);
	assert_int_equal(entry(1) & (A | D), 0);
}

static void only_missing_bits_are_written(void **state)
{
	(void)state;
	change(4, A, 0);
	change(2, A, 0);
	change(1, A, 0);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(sim.updates, 2);
	assert_int_equal(marks(), 0x1113);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(sim.updates, 0);
}

static void the_rest_of_an_entry_is_kept(void **state)
{
	uint64_t before;

	(void)state;
	change(1, MARK | UINT64_C(0x7f) << 52, 0);
	before = entry(1);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(entry(1), before | A | D);
}

static void each_entry_is_read_once(void **state)
{
	(void)state;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(sim.reads, 4);
	assert_int_equal(sim.reads_after_update, 0);
	assert_int_equal(sim.bad_calls, 0);
}

static void a_fault_of_any_kind_sets_nothing(void **state)
{
	unsigned faults = 0;

	(void)state;
	for (unsigned level = 1; level <= 4; level++) {
		static const uint64_t set[] = {0, UINT64_C(1) << 45, 0, 0};
		static const uint64_t clear[] = {P, 0, W, U};

		for (unsigned i = 0; i < 4; i++) {
			uint64_t before = entry(level);

			change(level, set[i], clear[i]);
			assert_int_equal(walk(VMMU_WALK_WRITE | VMMU_WALK_USER), VMMU_WALK_FAULT);
			assert_int_equal(sim.updates, 0);
			assert_int_equal(marks(), 0);
			change(level, before, UINT64_MAX);
			faults++;
		}
	}
	assert_int_equal(faults, 16);
	assert_int_equal(walk(VMMU_WALK_WRITE | VMMU_WALK_USER), VMMU_WALK_OK);
}

static void an_unreadable_table_sets_nothing(void **state)
{
	(void)state;
	sim.present[1] = false;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_UNREADABLE);
	assert_int_equal(result.table_gpa.addr, 0x1000);
	assert_int_equal(result.levels, 3);
	assert_int_equal(sim.updates, 0);
}

static void looking_only_sets_nothing(void **state)
{
	(void)state;
	assert_int_equal(walk(VMMU_WALK_WRITE | VMMU_WALK_NO_UPDATE), VMMU_WALK_OK);
	assert_int_equal(sim.updates, 0);
	assert_int_equal(marks(), 0);
}

static void without_an_update_function_the_walk_succeeds_and_sets_nothing(void **state)
{
	(void)state;
	assert_int_equal(
		vmmu_walk(&paging, gva, VMMU_WALK_WRITE, &sim_ops_without_update, &sim, &result),
		VMMU_WALK_OK);
	assert_int_equal(result.gpa.addr, FRAME | 0x123);
	assert_int_equal(marks(), 0);
}

static void a_read_only_table_is_skipped_and_the_others_are_marked(void **state)
{
	(void)state;
	for (unsigned level = 1; level <= 4; level++) {
		setup(NULL);
		sim.read_only[level] = true;
		assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
		assert_int_equal(sim.reads, 4);
		assert_int_equal(sim.updates, 4);
		assert_int_equal(entry(level) & (A | D), 0);
		assert_int_equal(marks(), 0x1113u & ~(0xfu << 4 * (level - 1)));
	}
}

static bool update_says_gone_and_true(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
				      uint64_t value, bool *gone)
{
	(void)gpa;
	(void)bytes;
	(void)old;
	(void)value;
	++*(unsigned *)context;
	*gone = true;
	return true;
}

static bool read_from_sim(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value)
{
	(void)context;
	return sim_look(&sim, gpa.addr, bytes, value);
}

static void gone_counts_whatever_update_returns(void **state)
{
	const struct vmmu_walk_ops ops = {read_from_sim, update_says_gone_and_true};
	unsigned calls = 0;

	(void)state;
	assert_int_equal(vmmu_walk(&paging, gva, 0, &ops, &calls, &result), VMMU_WALK_OK);
	assert_int_equal(calls, 4);
}

/* --- races: what another CPU does between the read of an entry and its update --- */

static void race_flips_own_bit(struct sim *memory, uint64_t gpa)
{
	sim_set(memory, gpa, 8, sim_get(memory, gpa, 8) ^ MARK);
}

static void a_lost_race_starts_the_walk_again_until_it_is_won(void **state)
{
	(void)state;
	for (unsigned losses = 0; losses <= 100; losses++) {
		setup(NULL);
		sim.race = race_flips_own_bit;
		sim.races = losses;
		assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
		assert_int_equal(sim.races, 0);
		assert_int_equal(sim.reads, 4 * (losses + 1));
		assert_int_equal(sim.updates, losses + 4);
		assert_int_equal(result.levels, 4);
		assert_int_equal(marks(), 0x1113);
		/* The other CPU's change is seen, and survives. */
		assert_int_equal((entry(4) & MARK) != 0, losses & 1);
		assert_int_equal(result.step[0].value & MARK, entry(4) & MARK);
	}
}

static void race_moves_the_page(struct sim *memory, uint64_t gpa)
{
	(void)gpa;
	sim_set(memory, 0x1000, 8, UINT64_C(0xb000) | P | W | U);
}

static void after_a_lost_race_the_new_page_is_returned(void **state)
{
	(void)state;
	change(4, A, 0);
	change(3, A, 0);
	change(2, A, 0);
	sim.race = race_moves_the_page;
	sim.races = 1;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(result.gpa.addr, 0xb123);
	assert_int_equal(entry(1), UINT64_C(0xb000) | P | W | U | A | D);
	assert_int_equal(sim.reads, 8);
}

static void race_unmaps_the_page(struct sim *memory, uint64_t gpa)
{
	(void)gpa;
	sim_set(memory, 0x1000, 8, FRAME | W | U);
}

static void after_a_lost_race_a_page_that_is_gone_faults(void **state)
{
	(void)state;
	sim.race = race_unmaps_the_page;
	sim.races = 1;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_FAULT);
	assert_int_equal(result.error_code, VMMU_PF_WRITE);
	assert_int_equal(entry(1), FRAME | W | U);
}

static void race_protects_the_page(struct sim *memory, uint64_t gpa)
{
	(void)gpa;
	sim_set(memory, 0x1000, 8, FRAME | P | U);
}

static void after_a_lost_race_rights_are_checked_again(void **state)
{
	(void)state;
	sim.race = race_protects_the_page;
	sim.races = 1;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_FAULT);
	assert_int_equal(result.error_code, VMMU_PF_WRITE | VMMU_PF_PRESENT);
	assert_int_equal(entry(1), FRAME | P | U);
}

static void race_makes_a_large_page(struct sim *memory, uint64_t gpa)
{
	(void)gpa;
	sim_set(memory, 0x2000, 8, UINT64_C(0x400000) | PS | P | W | U);
}

static void after_a_lost_race_the_path_may_be_shorter(void **state)
{
	(void)state;
	sim.race = race_makes_a_large_page;
	sim.races = 1;
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(result.levels, 3);
	assert_int_equal(result.page_bytes, 1 << 21);
	assert_int_equal(entry(2) & (A | D), A | D);
	assert_int_equal(entry(1) & (A | D), 0);
}

/* --- entries that are met more than once --- */

static void a_top_entry_that_points_to_its_own_table_is_marked_once_and_ends(void **state)
{
	(void)state;
	sim_set(&sim, 0x4000, 8, UINT64_C(0x4000) | P | W | U);
	assert_int_equal(walk(VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(result.levels, 4);
	assert_int_equal(result.gpa.addr, 0x4123);
	assert_int_equal(result.page_bytes, VMMU_PAGE_BYTES);
	assert_int_equal(entry(4), UINT64_C(0x4000) | P | W | U | A | D);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(result.step[i].gpa.addr, 0x4000);
		assert_int_equal(result.step[i].level, 4 - i);
	}
	/* One round sets A, one D, one finds all set. */
	assert_in_range(sim.reads, 8, 12);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(a_read_sets_accessed_at_all_levels_and_no_dirty_bit),
		TEST(a_fetch_sets_accessed_and_no_dirty_bit),
		TEST(a_write_sets_dirty_in_the_leaf_only),
		TEST(a_supervisor_write_to_a_read_only_page_sets_dirty_with_wp_off),
		TEST(a_large_leaf_gets_the_dirty_bit),
		TEST(only_missing_bits_are_written),
		TEST(the_rest_of_an_entry_is_kept),
		TEST(each_entry_is_read_once),
		TEST(a_fault_of_any_kind_sets_nothing),
		TEST(an_unreadable_table_sets_nothing),
		TEST(looking_only_sets_nothing),
		TEST(without_an_update_function_the_walk_succeeds_and_sets_nothing),
		TEST(a_read_only_table_is_skipped_and_the_others_are_marked),
		TEST(gone_counts_whatever_update_returns),
		TEST(a_lost_race_starts_the_walk_again_until_it_is_won),
		TEST(after_a_lost_race_the_new_page_is_returned),
		TEST(after_a_lost_race_a_page_that_is_gone_faults),
		TEST(after_a_lost_race_rights_are_checked_again),
		TEST(after_a_lost_race_the_path_may_be_shorter),
		TEST(a_top_entry_that_points_to_its_own_table_is_marked_once_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
