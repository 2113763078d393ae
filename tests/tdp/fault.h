/* SPDX-License-Identifier: MIT */
/* The parts of fault_test.c. */
#ifndef TESTS_TDP_FAULT_H
#define TESTS_TDP_FAULT_H

#include "rig.h"

/* fault_entry.c: what is around a fault: trace, guest entry, explanations, devices. */
#define FAULTS_ENTRY(X)                                                                            \
	X(trace_records_are_numbered_without_a_gap)                                                \
	X(trace_records_say_which_space_they_are_about)                                            \
	X(a_guest_entry_asks_for_a_flush_exactly_when_one_is_needed)                               \
	X(cpus_outside_of_the_guest_are_not_interrupted)                                           \
	X(the_ept_pointer_is_what_the_manual_says)                                                 \
	X(explain_tells_of_memory)                                                                 \
	X(explain_tells_of_a_hole_and_a_device_entry)                                              \
	X(explain_tells_of_a_read_only_slot)                                                       \
	X(explain_tells_of_a_dead_vm_and_of_places_beyond)                                         \
	X(device_frames_cost_a_bounded_number_of_tables)

#define FAULT_DECLARE(name) void name(void **state);
FAULTS_ENTRY(FAULT_DECLARE)

/* A broken promise, as an embedder could do it: the VM is dead afterwards. Needs slot 0 with frame
 * 5 mapped to host page 5 by vCPU 0. */
void fault_kill(struct sim_vm *sim);

#endif
