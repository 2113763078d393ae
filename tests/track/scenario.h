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

#endif
