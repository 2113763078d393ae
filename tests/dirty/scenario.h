/* SPDX-License-Identifier: MIT */
/* The scenarios of the dirty log, by file. */
#ifndef TESTS_DIRTY_SCENARIO_H
#define TESTS_DIRTY_SCENARIO_H

#include "lab.h"

/* scenario_log.c: what a look tells */
#define SCENARIOS_LOG(X)                                                                           \
	X(a_write_is_told_once_and_a_read_is_not)                                                  \
	X(looks_at_parts_leave_the_rest)                                                           \
	X(several_looks_add_up_in_one_bitmap)                                                      \
	X(slots_that_share_a_word_of_64_frames_log_for_themselves)                                 \
	X(what_the_host_writes_is_logged)                                                          \
	X(two_spaces_log_for_themselves)                                                           \
	X(frames_that_nobody_wrote_are_clean_however_they_came)                                    \
	X(writes_that_are_emulated_are_logged)                                                     \
	X(harvests_leave_the_log_what_it_has)                                                      \
	X(what_a_look_takes_from_the_hardware_is_told_to_the_port)

/* scenario_slot.c: when logging begins and ends; slots; rules */
#define SCENARIOS_SLOT(X)                                                                          \
	X(small_leaves_stay_when_logging_begins)                                                   \
	X(huge_leaves_become_small_when_logging_begins)                                            \
	X(a_cpu_that_knows_a_huge_page_does_not_write_unseen)                                      \
	X(huge_pages_come_back_when_logging_ends)                                                  \
	X(a_slot_can_log_from_its_creation)                                                        \
	X(a_slot_that_comes_back_has_no_old_bits)                                                  \
	X(logging_that_ends_forgets)                                                               \
	X(a_slot_that_logs_does_not_move)                                                          \
	X(rules_of_the_log_are_checked)                                                            \
	X(a_dead_vm_tells_nothing)                                                                 \
	X(logging_begins_whatever_allocation_fails)                                                \
	X(a_huge_leaf_in_a_slot_that_logs_is_a_finding)

/* scenario_race.c: looks against everything else */
#define SCENARIOS_RACE(X)                                                                          \
	X(a_shared_huge_page_that_is_written_is_mapped_small)                                      \
	X(a_fault_under_way_meets_a_slot_that_begins_to_log)                                       \
	X(a_write_between_snapshot_and_flush_is_told)                                              \
	X(a_right_that_a_look_took_is_flushed_for_others_too)                                      \
	X(tables_are_right_while_logging_begins)                                                   \
	X(a_harvest_meets_a_slot_that_begins_to_log)                                               \
	X(a_look_that_others_interrupt_loses_nothing)                                              \
	X(a_flush_of_the_look_reaches_cpus_outside_the_guest)

/* scenario_gone.c: what leaves say that go before the look */
#define SCENARIOS_GONE(X) X(writes_in_leaves_that_went_before_the_look_are_told)

/* scenario_tables.c: the guest's own tables, under shadow paging */
#define SCENARIOS_TABLES(X)                                                                        \
	X(marks_in_the_guests_tables_are_logged)                                                   \
	X(writes_to_the_guests_tables_are_logged)                                                  \
	X(all_names_of_a_frame_are_looked_at)                                                      \
	X(a_leaf_that_the_guest_takes_away_is_told)                                                \
	X(a_frame_that_becomes_a_table_during_a_look_is_protected)

#define SCENARIOS(X)                                                                               \
	SCENARIOS_LOG(X) SCENARIOS_SLOT(X) SCENARIOS_RACE(X) SCENARIOS_GONE(X) SCENARIOS_TABLES(X)

#define SCENARIO_DECLARE(name) void name(void **state);
SCENARIOS(SCENARIO_DECLARE)
#undef SCENARIO_DECLARE

extern const struct CMUnitTest scenarios[];
extern const size_t scenario_count;

#endif
