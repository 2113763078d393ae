/* SPDX-License-Identifier: MIT */
/* The scenarios of one file. */
#ifndef TESTS_SHADOW_SCENARIO_H
#define TESTS_SHADOW_SCENARIO_H

/* scenario_tables.c: tables that change roles, sync, links */
void an_unsync_table_goes_when_its_frame_becomes_a_directory(void **state);
void two_roles_of_an_unsync_frame_stay_right_when_one_is_flushed(void **state);
void a_piece_of_a_huge_page_leaves_unsync_tables_alone(void **state);
void a_table_entry_that_changes_frames_gets_another_table(void **state);
void a_huge_page_that_becomes_a_table_gets_another_table(void **state);
void a_page_that_becomes_a_device_is_withdrawn(void **state);
void a_page_that_becomes_another_page_is_withdrawn(void **state);
void a_table_edited_before_it_is_linked_is_up_to_date(void **state);
void two_paths_to_one_table_keep_their_rights_apart(void **state);
void a_clean_huge_page_becomes_writable_at_the_first_write(void **state);
void a_huge_page_that_holds_a_table_of_its_own_path_is_mapped_in_pieces(void **state);
void one_write_over_two_entries_changes_both(void **state);

#endif
