/* SPDX-License-Identifier: MIT */
/* What the tests of slots share: a VM on the simulated machine, and looks into its slot sets. */
#ifndef TESTS_TDP_SLOT_RIG_H
#define TESTS_TDP_SLOT_RIG_H

/* cmocka wants these four first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port.h"
#include "vm.h"

/* A VM whose slots name host-physical memory, with this many levels and spaces. */
struct sim_vm *slot_vm(unsigned levels, unsigned spaces, unsigned vcpus);

static inline const struct vmmu_slot_set *slot_set(const struct sim_vm *sim, unsigned space)
{
	return vmmu_slots_now(&sim->vm->spaces[space]);
}

struct vmmu_slot_config slot_config(unsigned space, unsigned id, uint64_t base, uint64_t count);

/* One number for everything that can be known of the slots of all spaces. */
uint64_t slot_digest(const struct sim_vm *sim);

/* The most chunks that a set may have, as src/slot/slots.h promises. */
#define SLOT_CHUNKS_MAX 407u

/* Sorted, no overlap, counters right, no chunk empty or too full, not too many of them. */
void slot_check_set(const struct sim_vm *sim, unsigned space);

/* Pages that the VM holds, by looking at everything that holds one. */
uint64_t slot_pages_held(const struct sim_vm *sim);

/* ---- the tests of slot_many.c ---- */

void all_slots_can_be_made_and_found_in_ascending_order(void **state);
void all_slots_can_be_made_and_found_in_descending_order(void **state);
void all_slots_can_be_made_and_found_in_random_order(void **state);
void the_directory_never_fills_up_whatever_is_made_and_deleted(void **state);
void sparse_chunks_between_full_ones_do_not_fill_the_directory(void **state);

/* ---- the tests of slot_readers.c ---- */

void a_change_is_marked_in_progress_until_old_translations_are_gone(void **state);
void a_reader_on_another_thread_sees_one_set_or_the_other(void **state);

/* ---- the tests of slot_large.c ---- */

void a_leaf_never_reaches_out_of_its_slot_or_over_skewed_memory_r29(void **state);
void faults_install_the_largest_leaf_that_the_slot_allows_r29(void **state);

#endif
