/* SPDX-License-Identifier: MIT */
/*
 * Random guests under shadow paging: they rewrite their page tables, with and without the flushes
 * they owe, change modes and registers, while host and slots change below them.
 */
#ifndef TESTS_SHADOW_RANDOM_H
#define TESTS_SHADOW_RANDOM_H

#include "shadow_vm.h"

struct random_run {
	uint64_t seed;
	uint64_t steps;
	unsigned variant; /* 0 .. RANDOM_VARIANTS-1 */
	uint64_t check_every;
};

#define RANDOM_VARIANTS 12u

struct random_result {
	uint64_t steps;      /* done before the first violation */
	uint64_t violations; /* 0: all was well */
	struct shadow_counts count;
	uint64_t races, stores, stored_by_guest, flushes, switches, host_events, slot_events;
	uint64_t unsync, sync, zapped, reclaimed, flooded, pages_2m;
	char first[512]; /* the first violation, in words */
};

struct random_result random_life(const struct random_run *run);
const char *random_variant_name(unsigned variant);

#endif
