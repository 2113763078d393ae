/* SPDX-License-Identifier: MIT */
/*
 * tables.h - second-stage tables written by hand, for the tests of the simulator itself.
 *
 * Upper entries are made on demand and grant everything.
 */
#ifndef TESTS_SIM_TABLES_H
#define TESTS_SIM_TABLES_H

/* cmocka wants these four first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

struct tables {
	struct sim_machine *machine;
	struct sim_root root;
};

/* A root of this format with 4 levels, all features, 52 address bits, tag 1. */
struct tables tables_new(struct sim_machine *machine, enum sim_format format);

/* Where the entry of @level for @gpa lives; makes the tables above it. */
sim_hpa_t tables_place(const struct tables *tables, sim_gpa_t gpa, enum sim_level level);
uint64_t tables_get(const struct tables *tables, sim_gpa_t gpa, enum sim_level level);
void tables_set(const struct tables *tables, sim_gpa_t gpa, enum sim_level level, uint64_t entry);
/* The table that the entry of @level leads to. */
sim_pfn_t tables_below(const struct tables *tables, sim_gpa_t gpa, enum sim_level level);

/* Entries in the root's format: rights are any of "rwx". */
uint64_t tables_leaf(const struct tables *tables, sim_pfn_t pfn, enum sim_level level,
		     const char *rights);
uint64_t tables_link(const struct tables *tables, sim_pfn_t table);

void tables_map(const struct tables *tables, sim_gpa_t gpa, sim_pfn_t pfn, enum sim_level level,
		const char *rights);
void tables_unmap(const struct tables *tables, sim_gpa_t gpa, enum sim_level level);

uint64_t tables_accessed_bit(const struct tables *tables);
uint64_t tables_dirty_bit(const struct tables *tables);

/* A machine with defaults but for the mode, and its end: asserts that nothing was violated. */
struct sim_machine *machine_new(enum sim_cpu_mode mode);
void machine_end(struct sim_machine *machine);
/* Assert that exactly one violation was recorded, that it says @words, and forget it. */
void assert_violation(struct sim_machine *machine, const char *words);

#endif
