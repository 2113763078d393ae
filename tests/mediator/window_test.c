/* SPDX-License-Identifier: MIT */
/* Windows of a few instructions, held open: what happens between two steps of the mediator. */
#include "rig.h"

enum { TABLE = RIG_LOW + 3, TABLE_2 = RIG_HIGH + 7 };

static struct rig *the_rig;
static vmmu_tracker_id_t early;
static void (*in_window)(void);

/* --- between the end of a slot and the mediator's being told --- */

static void *window_thread(void *argument)
{
	(void)argument;
	in_window();
	return NULL;
}

/* A client that is told first, and dawdles. */
static void early_removed(void *client, unsigned space, struct vmmu_gfn_range range)
{
	pthread_t thread;

	(void)client;
	(void)space;
	(void)range;
	assert_int_equal(pthread_create(&thread, NULL, window_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static struct rig *with_early_client(void (*window)(void))
{
	static const struct vmmu_tracker_ops ops = {.region_removed = early_removed};
	struct rig *rig = rig_new();

	rig_mediator_end(rig);
	assert_int_equal(vmmu_tracker_register(rig->vm, &ops, NULL, &early), VMMU_OK);
	rig_mediator_begin(rig);
	the_rig = rig;
	in_window = window;
	return rig;
}

static void end_with_early_client(struct rig *rig)
{
	assert_int_equal(vmmu_tracker_unregister(rig->vm, early), VMMU_OK);
	rig_free(rig);
}

static void slot_comes_back(void)
{
	rig_slot_tell(the_rig, 1);
	mediator_submit(&the_rig->mediator);
}

static void an_entry_that_was_valid_again_before_its_slots_end_was_told(void **state)
{
	struct rig *rig = with_early_client(slot_comes_back);

	(void)state;
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	(void)rig_store(rig, 0, rig_gpa(TABLE, 5), rig_entry(RIG_HIGH + 1));
	assert_int_equal(vmmu_slot_delete(rig->vm, 0, 1), VMMU_OK);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_HIGH + 1).n);
	assert_int_equal(mediator_check(&rig->mediator), 0);
	end_with_early_client(rig);
}

static void slot_comes_back_and_page_is_set(void)
{
	rig_slot_tell(the_rig, 1);
	assert_int_equal(mediator_set_page(&the_rig->mediator, 0, (vmmu_gfn_t){TABLE_2}), VMMU_OK);
}

static void a_page_that_was_set_again_before_its_slots_end_was_told(void **state)
{
	struct rig *rig = with_early_client(slot_comes_back_and_page_is_set);

	(void)state;
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE_2}), VMMU_OK);
	assert_int_equal(vmmu_slot_delete(rig->vm, 0, 1), VMMU_OK);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_store(rig, 0, rig_gpa(TABLE_2, 5), rig_entry(RIG_LOW)),
			 VMMU_OUTCOME_TRACKED);
	assert_int_equal(rig_find(rig, 5).n, rig_frame(rig, RIG_LOW).n);
	/* Tracked once, not twice. */
	mediator_clear_page(&rig->mediator, 0);
	assert_int_not_equal(rig_store(rig, 0, rig_gpa(TABLE_2, 5), 0), VMMU_OUTCOME_TRACKED);
	end_with_early_client(rig);
}

/* --- between tracking a page and reading it --- */

static unsigned windows;

static void store_faults(struct rig *rig)
{
	assert_int_equal(rig_fault(rig, 0, rig_gpa(TABLE, 3)), VMMU_OUTCOME_TRACKED);
	windows++;
}

static void a_page_is_tracked_before_it_is_read(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	windows = 0;
	rig->on_read_gpa = rig_gpa(TABLE, 0);
	rig->on_read = store_faults;
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	assert_int_equal(windows, 1);
	rig->on_read = NULL;
	rig_free(rig);
}

/* --- between reading a dirty-once page and tracking each of its writes again --- */

static pthread_t writer;

static void *store_that_is_told(void *argument)
{
	(void)rig_store(argument, 0, rig_gpa(TABLE, 1), rig_entry(RIG_HIGH + 1));
	return NULL;
}

/* One CPU's write is told, and waits for the mediator; from then on all others are not. */
static void two_stores(struct rig *rig)
{
	rig->on_read = NULL;
	assert_int_equal(pthread_create(&writer, NULL, store_that_is_told, rig), 0);
	while (rig_fault(rig, 1, rig_gpa(TABLE, 2)) == VMMU_OUTCOME_TRACKED)
		;
	assert_int_not_equal(rig_store(rig, 1, rig_gpa(TABLE, 2), rig_entry(RIG_HIGH + 2)),
			     VMMU_OUTCOME_TRACKED);
	windows++;
}

static void a_page_that_goes_back_to_each_write_is_read_after_that(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	windows = 0;
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	mediator_submit(&rig->mediator);
	assert_true(mediator_let_write(&rig->mediator, (vmmu_gfn_t){TABLE}));
	for (unsigned i = 0; i + 1 < MEDIATOR_CALM_TURNS; i++)
		mediator_submit(&rig->mediator);
	(void)rig_store(rig, 0, rig_gpa(TABLE, 0), rig_entry(RIG_HIGH));
	rig->on_read_gpa = rig_gpa(TABLE, MEDIATOR_PAGE_ENTRIES - 1);
	rig->on_read = two_stores;
	mediator_submit(&rig->mediator);
	assert_int_equal(windows, 1);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(rig->mediator.pages[0].state, MEDIATOR_EACH);
	assert_int_equal(rig_find(rig, 2).n, rig_frame(rig, RIG_HIGH + 2).n);
	assert_int_equal(rig_wrong(rig, (const uint64_t[]){TABLE}, 1), 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_that_was_valid_again_before_its_slots_end_was_told),
		cmocka_unit_test(a_page_that_was_set_again_before_its_slots_end_was_told),
		cmocka_unit_test(a_page_is_tracked_before_it_is_read),
		cmocka_unit_test(a_page_that_goes_back_to_each_write_is_read_after_that),
	};

	return cmocka_run_group_tests_name("mediator windows", tests, NULL, NULL);
}
