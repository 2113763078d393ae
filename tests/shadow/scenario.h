/* SPDX-License-Identifier: MIT */
/* All scenarios, by file. */
#ifndef TESTS_SHADOW_SCENARIO_H
#define TESTS_SHADOW_SCENARIO_H

#include "rig.h"

/* scenario_tables.c: tables that change roles, sync, links */
#define SCENARIOS_TABLES(X)                                                                        \
	X(an_unsync_table_goes_when_its_frame_becomes_a_directory)                                 \
	X(two_roles_of_an_unsync_frame_stay_right_when_one_is_flushed)                             \
	X(a_piece_of_a_huge_page_leaves_unsync_tables_alone)                                       \
	X(a_table_entry_that_changes_frames_gets_another_table)                                    \
	X(a_huge_page_that_becomes_a_table_gets_another_table)                                     \
	X(a_page_that_becomes_a_device_is_withdrawn)                                               \
	X(a_page_that_becomes_another_page_is_withdrawn)                                           \
	X(a_table_edited_before_it_is_linked_is_up_to_date)                                        \
	X(two_paths_to_one_table_keep_their_rights_apart)                                          \
	X(a_huge_page_that_holds_a_table_of_its_own_path_is_mapped_in_pieces)                      \
	X(one_write_over_two_entries_changes_both)                                                 \
	X(a_clean_huge_page_becomes_writable_at_the_first_write)                                   \
	X(tables_in_a_hole_are_forgotten_when_memory_appears)                                      \
	X(an_accessed_bit_is_a_change_to_tables_of_the_other_width)

/* scenario_registers.c: registers, flushes, roots, faults */
#define SCENARIOS_REGISTERS(X)                                                                     \
	X(invalidations_without_paging_change_nothing)                                             \
	X(registers_of_one_cpu_do_not_change_anothers_rights)                                      \
	X(smap_is_kept_for_pages_written_without_write_protection)                                 \
	X(protection_keys_hold_in_pieces_of_huge_pages)                                            \
	X(a_fault_of_the_guest_flushes_its_address)                                                \
	X(a_flush_reaches_spaces_that_are_not_loaded)                                              \
	X(accessed_is_set_in_a_table_that_the_host_shares)                                         \
	X(four_entry_roots_survive_zaps_and_lack_of_memory)                                        \
	X(a_root_in_a_hole_works_once_there_is_memory)                                             \
	X(a_write_to_a_table_that_maps_itself_ends)                                                \
	X(an_entry_written_in_two_halves_is_never_mixed_later)                                     \
	X(an_address_is_explained_with_both_tables)                                                \
	X(an_address_is_found_where_the_cpu_finds_it)                                              \
	X(a_fault_that_waits_for_the_host_is_never_stuck)

/* scenario_roots.c: roots, spaces, quota */
#define SCENARIOS_ROOTS(X)                                                                         \
	X(a_vcpu_whose_state_changed_runs_on_a_root_of_its_role)                                   \
	X(few_tables_are_enough_and_roots_in_use_stay)                                             \
	X(a_working_set_of_the_quota_makes_progress)                                               \
	X(a_frame_with_thousands_of_names_loses_them_all)                                          \
	X(a_vcpu_that_moved_forgets_the_root_that_was_freed)                                       \
	X(many_spaces_in_turn_are_found_again)                                                     \
	X(a_space_kept_by_its_identifier_is_flushed_when_told)                                     \
	X(a_directory_written_like_data_is_let_go)                                                 \
	X(a_huge_page_is_whole_again_without_tables)                                               \
	X(a_root_that_is_held_after_its_end_is_in_nobodys_list)                                    \
	X(what_is_harvested_is_what_was_used_since)

/* scenario_race.c: what happens in between */
#define SCENARIOS_RACE(X)                                                                          \
	X(an_entry_changed_between_walk_and_installation_is_noticed)                               \
	X(an_entry_changed_by_nobody_knows_whom_gets_its_own_table)                                \
	X(a_device_that_becomes_memory_is_memory_after_the_flush)

/* scenario_device.c: devices in the tables */
#define SCENARIOS_DEVICE(X)                                                                        \
	X(a_device_is_found_in_the_tables_the_second_time)                                         \
	X(devices_are_remembered_in_all_modes_and_sizes)                                           \
	X(a_device_where_memory_appears_is_memory)                                                 \
	X(a_device_entry_follows_the_guests_at_each_kind_of_flush)                                 \
	X(a_device_that_is_remembered_keeps_its_rights)                                            \
	X(a_reserved_bit_in_an_ordinary_entry_ends_the_vm)

/* scenario_threads.c: faults side by side */
#define SCENARIOS_THREADS(X)                                                                       \
	X(two_faults_at_once_fill_one_entry)                                                       \
	X(a_table_is_linked_beside_other_faults)                                                   \
	X(a_table_is_not_linked_before_its_flush_is_paid)                                          \
	X(two_faults_at_once_link_one_table)                                                       \
	X(a_table_becomes_unsync_beside_other_faults)                                              \
	X(ageing_waits_for_nobody)                                                                 \
	X(a_fault_of_the_guests_waits_for_nobody)

/* scenario_forget.c: everything forgotten at once */
#define SCENARIOS_FORGET(X)                                                                        \
	X(what_is_forgotten_is_found_by_no_vcpu_and_goes_in_steps)                                 \
	X(tables_that_are_forgotten_go_on_following_the_guest)                                     \
	X(pages_go_from_tables_that_are_forgotten)                                                 \
	X(tables_of_the_vcpu_are_forgotten_with_the_others)                                        \
	X(tables_that_are_forgotten_are_reclaimed_first)                                           \
	X(long_zaps_let_the_guest_go_on)

/* scenario_sync.c: what a flush takes over from the guest's tables */
#define SCENARIOS_SYNC(X)                                                                          \
	X(what_a_flush_takes_over_needs_no_fault)                                                  \
	X(rights_that_the_guest_takes_away_are_gone_after_its_flush)                               \
	X(a_flush_gives_no_right_to_write_to_the_guests_upper_tables)                              \
	X(a_page_of_a_read_only_slot_stays_so_whatever_the_guest_says)                             \
	X(tables_that_are_brought_up_to_date_together_share_a_flush)

#define SCENARIOS(X)                                                                               \
	SCENARIOS_TABLES(X)                                                                        \
	SCENARIOS_REGISTERS(X)                                                                     \
	SCENARIOS_ROOTS(X)                                                                         \
	SCENARIOS_RACE(X)                                                                          \
	SCENARIOS_DEVICE(X) SCENARIOS_THREADS(X) SCENARIOS_FORGET(X) SCENARIOS_SYNC(X)

#define SCENARIO_DECLARE(name) void name(void **state);
SCENARIOS(SCENARIO_DECLARE)
#undef SCENARIO_DECLARE

extern const struct CMUnitTest scenarios[];
extern const size_t scenario_count;

#endif
