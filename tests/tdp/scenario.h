/* SPDX-License-Identifier: MIT */
/* The parts of scenario_test.c, one a file; each list names its tests. */
#ifndef TESTS_TDP_SCENARIO_H
#define TESTS_TDP_SCENARIO_H

#include "rig.h"

/* scenario_slot.c: slots that come and go. */
#define SCENARIOS_SLOT(X)                                                                          \
	X(a_device_frame_becomes_memory_when_a_slot_is_created_over_it)                            \
	X(during_a_slot_change_device_accesses_go_the_slow_way_and_nothing_is_remembered)          \
	X(device_entries_do_not_survive_a_wrap_of_the_generation)                                  \
	X(a_device_becomes_memory_and_a_device_again_under_stale_tlbs)                             \
	X(a_device_entry_that_vanishes_between_walk_and_handling_is_retried)                       \
	X(slots_smaller_than_a_huge_page_or_askew_get_leaves_that_fit)                             \
	X(a_slot_that_goes_between_look_up_and_lock_is_not_mapped)                                 \
	X(a_deleted_slot_leaves_nothing_behind_slot_only)                                          \
	X(a_deleted_slot_leaves_nothing_behind_zap_all)                                            \
	X(a_slot_deleted_while_everything_is_zapped_leaves_nothing_behind_slot_only)               \
	X(a_slot_deleted_while_everything_is_zapped_leaves_nothing_behind_zap_all)                 \
	X(page_tables_in_a_hole_are_a_device_until_a_slot_is_created_there)

/* scenario_host.c: the host's memory comes and goes. */
#define SCENARIOS_HOST(X)                                                                          \
	X(a_zap_that_pauses_has_paid_for_what_it_withdrew)                                         \
	X(a_second_root_does_not_overwrite_what_the_first_one_owes)                                \
	X(a_page_in_a_valid_and_an_invalid_root_is_taken_from_both)                                \
	X(a_page_taken_away_between_look_up_and_lock_is_not_installed)                             \
	X(an_invalidation_under_way_stops_faults_in_its_range_only)                                \
	X(invalidations_nest_and_overlap_and_each_needs_its_end)                                   \
	X(a_slot_created_during_a_host_invalidation_waits_for_its_end)                             \
	X(pages_are_handed_over_dirty_exactly_when_written)                                        \
	X(pages_are_handed_over_accessed_exactly_when_used)                                        \
	X(a_write_to_a_shared_host_page_asks_the_host_for_a_copy)                                  \
	X(a_page_that_is_being_fetched_is_pending_and_then_there)

/* scenario_broken.c: promises that are broken. */
#define SCENARIOS_BROKEN(X)                                                                        \
	X(a_damaged_leaf_behind_a_reserved_bit_fault_kills_the_vm)                                 \
	X(a_leaf_with_bits_that_only_this_cpu_reserves_kills_the_vm)                               \
	X(a_host_frame_beyond_the_address_width_is_a_host_error)                                   \
	X(a_host_frame_that_changes_without_invalidation_kills_only_the_vm)

/* scenario_guest.c: what the guest and the embedder ask for. */
#define SCENARIOS_GUEST(X)                                                                         \
	X(a_fault_that_nothing_comes_of_is_reported_as_stuck)                                      \
	X(a_fault_is_never_stuck_when_its_entry_was_rebuilt_in_between)                            \
	X(a_fault_is_never_stuck_while_an_invalidation_around_it_is_under_way)                     \
	X(a_fault_is_never_stuck_while_the_host_asks_for_another_try)                              \
	X(prefetched_neighbours_are_neither_accessed_nor_dirty)                                    \
	X(prefault_installs_what_the_guest_then_uses_without_a_fault)                              \
	X(prefault_says_how_far_it_came)                                                           \
	X(two_address_spaces_translate_apart)                                                      \
	X(a_read_only_slot_is_read_and_never_written)                                              \
	X(a_slot_with_small_pages_gets_small_pages)                                                \
	X(memory_types_reach_the_leaves_and_change_with_a_zap)                                     \
	X(mixed_memory_types_make_smaller_leaves)                                                  \
	X(tables_written_is_told_of_each_changed_entry)

#define SCENARIO_DECLARE(name) void name(void **state);
SCENARIOS_SLOT(SCENARIO_DECLARE)
SCENARIOS_HOST(SCENARIO_DECLARE)
SCENARIOS_GUEST(SCENARIO_DECLARE)
SCENARIOS_BROKEN(SCENARIO_DECLARE)

#endif
