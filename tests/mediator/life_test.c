/* SPDX-License-Identifier: MIT */
/* The life of a device table under mediation, each step by name and then in random order. */
#include "rig.h"

enum { TABLE = RIG_LOW + 3, TABLE_2 = RIG_HIGH + 7 };

static struct rig *with_table(void)
{
	struct rig *rig = rig_new();

	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	return rig;
}

static void entries_in_slots_are_shadowed_others_not(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1)),
			 VMMU_OUTCOME_TRACKED);
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE, 6), rig_entry(0x19)),
			 VMMU_OUTCOME_TRACKED);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_HIGH + 1).n);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 6)));
	assert_true(vmmu_pfn_is_none(rig_find(rig, 7)));
	assert_true(vmmu_pfn_is_none(rig_find(rig, MEDIATOR_ENTRIES)));
	assert_int_equal(rig->mediator.stats.writes, 2);
	assert_int_equal(rig->mediator.stats.refused, 1);
	rig_free(rig);
}

static void entries_written_before_the_page_was_set_are_shadowed(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE, 511), rig_entry(RIG_LOW)),
			     VMMU_OUTCOME_TRACKED);
	assert_int_equal(mediator_set_page(&rig->mediator, 1, (vmmu_gfn_t){TABLE}), VMMU_OK);
	assert_int_equal(rig_find(rig, MEDIATOR_PAGE_ENTRIES + 511).n, rig_frame(rig, RIG_LOW).n);
	rig_free(rig);
}

static void the_device_may_not_write_where_the_guest_may_not(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE, 0), rig_entry(RIG_ROM));
	(void)rig_store(rig, 0, rig_gpa(TABLE, 1), rig_entry(RIG_LOW));
	(void)rig_store(rig, 0, rig_gpa(TABLE, 2), rig_entry(RIG_LOW) & ~MEDIATOR_WRITABLE);
	mediator_hold(&rig->mediator);
	assert_false(mediator_find(&rig->mediator, 0)->writable);
	assert_true(mediator_find(&rig->mediator, 1)->writable);
	assert_false(mediator_find(&rig->mediator, 2)->writable);
	mediator_release(&rig->mediator);
	rig_free(rig);
}

static void a_write_across_two_entries_updates_both(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	atomic_store(rig_word(rig, rig_gpa(TABLE, 8)), rig_entry(RIG_LOW + 1));
	atomic_store(rig_word(rig, rig_gpa(TABLE, 9)), rig_entry(RIG_LOW + 2));
	assert_int_equal(vmmu_guest_written(rig->vm, 0, (vmmu_gpa_t){rig_gpa(TABLE, 8) + 4}, 8),
			 VMMU_OK);
	assert_int_equal(rig_find(rig, 8).n, rig_frame(rig, RIG_LOW + 1).n);
	assert_int_equal(rig_find(rig, 9).n, rig_frame(rig, RIG_LOW + 2).n);
	rig_free(rig);
}

/* R48, R49 */
static void entries_into_a_slot_go_with_it_and_come_back_on_its_new_memory(void **state)
{
	struct rig *rig = with_table();
	vmmu_pfn_t old;

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1));
	(void)rig_store(rig, 0, rig_gpa(TABLE, 6), rig_entry(RIG_LOW + 1));
	old = rig_find(rig, 5);
	rig_slot_delete(rig, 1);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	assert_int_equal(rig_find(rig, 6).n, rig_frame(rig, RIG_LOW + 1).n);
	mediator_submit(&rig->mediator);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	rig_slot_create(rig, 1);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_HIGH + 1).n);
	assert_int_not_equal(rig_find(rig, 5).n, old.n);
	assert_int_equal(rig->mediator.stats.dropped, 1);
	rig_free(rig);
}

static void a_slot_that_failed_to_end_drops_nothing(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1));
	assert_int_equal(vmmu_slot_delete(rig->vm, 0, 7), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_move(rig->vm, 0, 1, (vmmu_gfn_t){0x50}), VMMU_EBUSY);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_HIGH + 1).n);
	assert_int_equal(rig->mediator.stats.dropped, 0);
	rig_free(rig);
}

static void a_page_of_the_table_goes_with_its_slot_and_comes_back(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1));
	rig_slot_delete(rig, 0);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	assert_int_equal(rig->mediator.stats.orphaned, 1);
	mediator_submit(&rig->mediator);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	rig_slot_create(rig, 0);
	atomic_store(rig_word(rig, rig_gpa(TABLE, 6)), rig_entry(RIG_LOW));
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_HIGH + 1).n);
	assert_int_equal(rig_find(rig, 6).n, rig_frame(rig, RIG_LOW).n);
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE, 5), 0), VMMU_OUTCOME_TRACKED);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	rig_free(rig);
}

static void a_page_set_before_its_slot_exists_counts_from_then_on(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE_2, 0), rig_entry(RIG_LOW));
	rig_slot_delete(rig, 1);
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE_2}), VMMU_OK);
	mediator_submit(&rig->mediator);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 0)));
	rig_slot_create(rig, 1);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_find(rig, 0).n, rig_frame(rig, RIG_LOW).n);
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE_2, 1), 0), VMMU_OUTCOME_TRACKED);
	rig_free(rig);
}

static void a_page_that_is_given_up_is_data_again(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	(void)rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1));
	mediator_clear_page(&rig->mediator, 0);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_LOW)),
			     VMMU_OUTCOME_TRACKED);
	assert_int_equal(rig->mediator.stats.writes, 1);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 5)));
	rig_free(rig);
}

static void one_frame_cannot_be_two_pages_of_the_table(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	assert_int_equal(mediator_set_page(&rig->mediator, 1, (vmmu_gfn_t){TABLE}), VMMU_EEXIST);
	assert_int_equal(mediator_set_page(&rig->mediator, MEDIATOR_PAGES, (vmmu_gfn_t){0}),
			 VMMU_EINVAL);
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	rig_free(rig);
}

static void a_hot_page_is_told_once_and_read_at_submission(void **state)
{
	struct rig *rig = with_table();
	uint64_t told;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		(void)rig_store(rig, 0, rig_gpa(TABLE, i % 100), rig_entry(RIG_LOW + i % 16));
	assert_int_equal(rig->mediator.stats.writes, MEDIATOR_HOT_WRITES + 2);
	assert_int_equal(rig->mediator.stats.once, 1);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_wrong(rig, (const uint64_t[]){TABLE}, 1), 0);
	told = rig->mediator.stats.writes;
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE, 1), 0), VMMU_OUTCOME_TRACKED);
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE, 2), 0), VMMU_OUTCOME_TRACKED);
	assert_int_equal(rig->mediator.stats.writes, told + 1);
	mediator_submit(&rig->mediator);
	assert_true(vmmu_pfn_is_none(rig_find(rig, 1)));
	assert_true(vmmu_pfn_is_none(rig_find(rig, 2)));
	rig_free(rig);
}

static void a_page_that_has_calmed_down_is_told_of_each_write_again(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		(void)rig_store(rig, 0, rig_gpa(TABLE, i), rig_entry(RIG_LOW));
	for (unsigned i = 0; i <= MEDIATOR_CALM_TURNS; i++)
		mediator_submit(&rig->mediator);
	for (unsigned i = 0; i < MEDIATOR_HOT_WRITES; i++) {
		assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE, i), rig_entry(RIG_HIGH + i)),
				 VMMU_OUTCOME_TRACKED);
		assert_int_equal(rig_find(rig, i).n, rig_frame(rig, RIG_HIGH + i).n);
	}
	rig_free(rig);
}

static void what_only_the_cpu_can_write_is_read_at_submission(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	assert_false(mediator_let_write(&rig->mediator, (vmmu_gfn_t){TABLE + 1}));
	assert_true(mediator_let_write(&rig->mediator, (vmmu_gfn_t){TABLE}));
	assert_int_equal(vmmu_guest_written(rig->vm, 0, (vmmu_gpa_t){rig_gpa(TABLE, 0)}, 1),
			 VMMU_OK);
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE, 0), rig_entry(RIG_LOW)),
			     VMMU_OUTCOME_TRACKED);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_find(rig, 0).n, rig_frame(rig, RIG_LOW).n);
	rig_free(rig);
}

/* --- random lives --- */

enum { LIVES = 20, STEPS = 1500 };

static uint64_t next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static const uint64_t tables[] = {TABLE, TABLE_2};
enum { TABLES = 2 };

static void step(struct rig *rig, uint64_t *seed)
{
	uint64_t random = next(seed);
	unsigned slot = (unsigned)(random >> 8) % RIG_SLOTS;
	unsigned table = (unsigned)(random >> 8) % TABLES;

	switch (random % 64) {
	case 0:
		if (rig->slots[slot].there)
			rig_slot_delete(rig, slot);
		else
			rig_slot_create(rig, slot);
		break;
	case 1:
		if (rig->slots[slot].there) {
			rig_slot_delete(rig, slot);
			rig_slot_create(rig, slot);
		}
		break;
	case 2:
		mediator_clear_page(&rig->mediator, table);
		assert_int_equal(
			mediator_set_page(&rig->mediator, table, (vmmu_gfn_t){tables[table]}),
			VMMU_OK);
		break;
	case 3:
		if (mediator_let_write(&rig->mediator, (vmmu_gfn_t){tables[table]}))
			assert_int_equal(vmmu_guest_written(rig->vm, 0,
							    (vmmu_gpa_t){rig_gpa(tables[table], 0)},
							    1),
					 VMMU_OK);
		break;
	default:
		(void)rig_store(rig, 0, rig_gpa(tables[table], (unsigned)(random >> 16) % 512),
				(random >> 32) % 8 ? rig_entry((random >> 40) % RIG_FRAMES) : 0);
		break;
	}
}

/* Return: entries that were wrong at some submission. */
static unsigned live(struct rig *rig, uint64_t seed)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < STEPS; i++) {
		step(rig, &seed);
		if (i % 50 == 0) {
			mediator_submit(&rig->mediator);
			wrong += rig_wrong(rig, tables, TABLES);
			wrong += mediator_check(&rig->mediator);
		}
	}
	return wrong;
}

static void any_life_keeps_the_shadow_right(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= LIVES; seed++) {
		struct rig *rig = rig_new();

		rig->mediator.hot_writes = seed % 3 ? MEDIATOR_HOT_WRITES : seed % 2 * 4;
		for (unsigned i = 0; i < TABLES; i++)
			assert_int_equal(
				mediator_set_page(&rig->mediator, i, (vmmu_gfn_t){tables[i]}),
				VMMU_OK);
		assert_int_equal(live(rig, seed), 0);
		assert_true(rig->mediator.stats.writes > 0 && rig->mediator.stats.dropped > 0);
		rig_free(rig);
	}
}

/* The test of the test: no write is told, so it must go wrong. */
static void without_tracking_the_shadow_is_wrong(void **state)
{
	struct rig *rig = with_table();

	(void)state;
	mediator_submit(&rig->mediator);
	assert_int_equal(vmmu_track_remove(rig->vm, rig->mediator.tracker,
					   (struct vmmu_gfn_range){{TABLE}, {TABLE + 1}},
					   VMMU_ACCESS_WRITE),
			 VMMU_OK);
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH)),
			     VMMU_OUTCOME_TRACKED);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_wrong(rig, tables, 1), 1);
	assert_int_equal(mediator_check(&rig->mediator), 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_in_slots_are_shadowed_others_not),
		cmocka_unit_test(entries_written_before_the_page_was_set_are_shadowed),
		cmocka_unit_test(the_device_may_not_write_where_the_guest_may_not),
		cmocka_unit_test(a_write_across_two_entries_updates_both),
		cmocka_unit_test(entries_into_a_slot_go_with_it_and_come_back_on_its_new_memory),
		cmocka_unit_test(a_slot_that_failed_to_end_drops_nothing),
		cmocka_unit_test(a_page_of_the_table_goes_with_its_slot_and_comes_back),
		cmocka_unit_test(a_page_set_before_its_slot_exists_counts_from_then_on),
		cmocka_unit_test(a_page_that_is_given_up_is_data_again),
		cmocka_unit_test(one_frame_cannot_be_two_pages_of_the_table),
		cmocka_unit_test(a_hot_page_is_told_once_and_read_at_submission),
		cmocka_unit_test(a_page_that_has_calmed_down_is_told_of_each_write_again),
		cmocka_unit_test(what_only_the_cpu_can_write_is_read_at_submission),
		cmocka_unit_test(any_life_keeps_the_shadow_right),
		cmocka_unit_test(without_tracking_the_shadow_is_wrong),
	};

	return cmocka_run_group_tests_name("mediator", tests, NULL, NULL);
}
