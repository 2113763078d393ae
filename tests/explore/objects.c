/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define PLACES (1u << 17)

static struct object *table;
static unsigned used;

uint64_t explore_mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ (b + UINT64_C(0x9E3779B97F4A7C15) + (a << 6) + (a >> 2)));

	h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
	return h ^ h >> 31;
}

void explore_objects_forget(void)
{
	if (!table)
		table = calloc(PLACES, sizeof(*table));
	else
		memset(table, 0, PLACES * sizeof(*table));
	if (!table)
		abort();
	used = 0;
}

static void full(void)
{
	fprintf(stderr, "explore: threads touch more than %u words\n", PLACES / 2);
	abort();
}

struct object *object_of(const void *address, uint32_t run)
{
	uintptr_t key = (uintptr_t)address;
	uint32_t at = (uint32_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 40) & (PLACES - 1);
	struct object *o = &table[at];

	while (o->address != key) {
		if (!o->address) {
			if (++used > PLACES / 2)
				full();
			o->address = key;
			break;
		}
		at = (at + 1) & (PLACES - 1);
		o = &table[at];
	}
	if (o->run != run) {
		o->run = run;
		o->last_writer = 0;
		o->written = 0;
		o->past = 0;
	}
	return o;
}

bool explore_objects_learn(void)
{
	bool more = false;

	for (unsigned i = 0; i < PLACES; i++) {
		struct object *o = &table[i];
		uint8_t who = o->readers | o->writers;

		if (o->is_shared || !o->writers || !(who & (who - 1)))
			continue;
		o->is_shared = true;
		more = true;
	}
	return more;
}
