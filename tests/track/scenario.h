/* SPDX-License-Identifier: MIT */
/* The scenarios of tracking under two-dimensional paging. */
#ifndef TESTS_TRACK_SCENARIO_H
#define TESTS_TRACK_SCENARIO_H

/* scenario_access.c: what comes out, what passes, who is told */
void a_tracked_write_comes_out_once_and_is_told(void **state);
void reads_and_fetches_can_be_tracked(void **state);
void a_huge_leaf_over_a_tracked_frame_goes_and_stays_away(void **state);
void adding_takes_the_right_from_cpus_that_have_it(void **state);
void clients_count_for_themselves(void **state);
void a_write_over_two_frames_is_told_to_each(void **state);
void one_write_is_told_until_the_client_rearms(void **state);

/* scenario_slot.c: slots that end, rules that are broken */
void a_failed_delete_is_invisible_to_clients(void **state);
void the_end_of_a_slot_is_told_once_with_nothing_left_of_it(void **state);
void a_frame_of_the_other_space_stays_tracked(void **state);
void a_slot_with_clients_about_does_not_move(void **state);
void a_vm_with_clients_is_not_destroyed(void **state);
void breaking_the_rules_is_an_error_and_changes_nothing(void **state);
void a_dead_vm_lets_its_clients_go(void **state);
void trackers_come_and_go_up_to_the_limit(void **state);

/* scenario_race.c: faults against clients */
void a_fault_under_way_meets_a_new_tracker(void **state);
void a_tracker_that_has_just_left_costs_one_emulation(void **state);
void a_callback_changes_what_is_tracked(void **state);
void a_second_client_does_not_rely_on_the_first_ones_flush(void **state);
void without_accessed_and_dirty_flags_a_tracked_page_comes_back_read_only(void **state);
void prefault_leaves_tracked_pages_alone(void **state);
void long_ranges_pause_and_let_faults_through(void **state);

#endif
