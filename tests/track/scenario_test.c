/* SPDX-License-Identifier: MIT */
/* Tracking under two-dimensional paging, scenario by scenario. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scenario.h"

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tracked_write_comes_out_once_and_is_told),
		cmocka_unit_test(reads_and_fetches_can_be_tracked),
		cmocka_unit_test(a_huge_leaf_over_a_tracked_frame_goes_and_stays_away),
		cmocka_unit_test(adding_takes_the_right_from_cpus_that_have_it),
		cmocka_unit_test(clients_count_for_themselves),
		cmocka_unit_test(a_write_over_two_frames_is_told_to_each),
		cmocka_unit_test(one_write_is_told_until_the_client_rearms),
		cmocka_unit_test(a_failed_delete_is_invisible_to_clients),
		cmocka_unit_test(the_end_of_a_slot_is_told_once_with_nothing_left_of_it),
		cmocka_unit_test(a_frame_of_the_other_space_stays_tracked),
		cmocka_unit_test(a_slot_with_clients_about_does_not_move),
		cmocka_unit_test(a_vm_with_clients_is_not_destroyed),
		cmocka_unit_test(breaking_the_rules_is_an_error_and_changes_nothing),
		cmocka_unit_test(a_dead_vm_lets_its_clients_go),
		cmocka_unit_test(trackers_come_and_go_up_to_the_limit),
		cmocka_unit_test(a_fault_under_way_meets_a_new_tracker),
		cmocka_unit_test(a_tracker_that_has_just_left_costs_one_emulation),
		cmocka_unit_test(a_callback_changes_what_is_tracked),
		cmocka_unit_test(a_second_client_does_not_rely_on_the_first_ones_flush),
		cmocka_unit_test(
			without_accessed_and_dirty_flags_a_tracked_page_comes_back_read_only),
		cmocka_unit_test(prefault_leaves_tracked_pages_alone),
		cmocka_unit_test(long_ranges_pause_and_let_faults_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
