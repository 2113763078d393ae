/* SPDX-License-Identifier: MIT */
/*
 * CPUs to judge the library's entries by, and a way to put an entry on a path: as numbers for
 * the specification functions, or in memory for the walkers.
 */
#ifndef TESTS_TDP_FORMAT_RIG_H
#define TESTS_TDP_FORMAT_RIG_H

/* cmocka wants these four first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vmmu/fault.h>

#include "format/entry.h"
#include "machine.h"
#include "spec.h"

/* One CPU, as the library is told of it and as the simulator plays it. */
struct format_cpu {
	struct vmmu_vm_config config;
	struct vmmu_fmt fmt; /* all 17 bits of a generation, whatever the build says */
	struct sim_root root;
};

/* Each format, 4 and 5 levels, seven address widths; with and without QEMU's faults (NPT),
 * accessed and dirty flags, execute-only (EPT). */
#define FORMAT_CPUS 84u
struct format_cpu format_cpu(unsigned number);

/* An address that is at the beginning of nothing, for this CPU's levels. */
uint64_t format_gpa(const struct format_cpu *cpu);

/* All leaves of one level on one frame: rights, accessed, dirty, memory type. */
#define FORMAT_LEAVES 80u
struct vmmu_leaf format_leaf(unsigned number, enum vmmu_level level, uint64_t pfn);

/* Frames for leaves: the first, the last that the CPU can address, and two in between. */
#define FORMAT_PFNS 4u
uint64_t format_pfn(const struct format_cpu *cpu, enum vmmu_level level, unsigned number);

/* Tables from the top down to @level, where @e stands. What is below it is all ones. */
struct sim_path format_path(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e);

/* What the manuals say of @kind at @gpa with @e at @level. */
struct sim_verdict format_judge(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e,
				uint64_t gpa, enum sim_access_kind kind);

/* enum vmmu_access bits that an access of this kind needs. */
uint32_t format_needs(const struct format_cpu *cpu, enum sim_access_kind kind);

/* Say which entry it was, and fail the test. */
void format_fail(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e,
		 const char *what);

/* Could a non-present entry with this value be taken for the address of cached memory (I15)? */
bool format_leaks_address(const struct format_cpu *cpu, vmmu_spte_t e);

/* The same path in the memory of a machine, for its walkers. */
struct format_walk {
	struct format_cpu cpu;
	struct sim_machine *machine;
	sim_pfn_t table[6];
};

void format_walk_begin(struct format_walk *walk, const struct format_cpu *cpu);
void format_walk_end(struct format_walk *walk);
/* Put @e on the path and access; *after is the entry as the walker left it. */
struct sim_result format_walk_access(struct format_walk *walk, enum vmmu_level level, vmmu_spte_t e,
				     enum sim_access_kind kind, vmmu_spte_t *after);

/* ---- the tests of format_problem.c and format_decode.c ---- */

void what_the_library_builds_is_accepted(void **state);
void an_address_beyond_the_width_of_the_cpu_is_noticed(void **state);
void a_memory_type_that_the_library_never_writes_is_noticed(void **state);
void each_bit_flip_is_noticed_unless_it_gives_another_entry_of_the_library(void **state);
void the_bits_whose_flip_is_always_noticed_are_these(void **state);

void every_fault_of_the_walkers_is_decoded(void **state);
void what_the_walkers_do_to_a_leaf_is_what_the_library_reads(void **state);
void every_npf_code_is_decoded_bit_by_bit(void **state);
void every_ept_qualification_is_decoded_bit_by_bit(void **state);

#endif
