/* SPDX-License-Identifier: MIT */
/* A race as a test: what the threads do, and the mistakes that must be found with them. */
#ifndef TESTS_EXPLORE_SCENARIO_H
#define TESTS_EXPLORE_SCENARIO_H

#include "base/mutate.h"
#include "explore.h"

#define SCENARIO_MUTANTS_MAX 3u

struct scenario {
	const char *races; /* R-numbers, or - */
	struct explore_test test;
	unsigned bound; /* preemptions, in a run that is not long */
	unsigned long_bound;
	enum vmmu_mutant mutants[SCENARIO_MUTANTS_MAX];
	unsigned fail_allocations; /* also with each of the first so many failing */
};

/* Of the program; the last one is NULL. */
extern const struct scenario *const scenario_lists[];

/* Nested paging. */
extern const struct scenario scenarios_fault[], scenarios_harvest[], scenarios_host[],
	scenarios_slot[], scenarios_root[], scenarios_dirty[];

/* Shadow paging. */
extern const struct scenario scenarios_fill[], scenarios_change[], scenarios_table[],
	scenarios_unsync[], scenarios_shadow_dirty[];

#endif
