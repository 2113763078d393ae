/* SPDX-License-Identifier: MIT */
/* oracle_internal.h - the oracle's insides; not for tests. */
#ifndef SIM_MACHINE_ORACLE_INTERNAL_H
#define SIM_MACHINE_ORACLE_INTERNAL_H

#include "machine.h"
#include "oracle.h"

struct oracle_world {
	struct oracle_slot *slot;
	size_t count, capacity;
};

struct oracle_word {
	uint64_t key; /* host byte address / 8 + 1; 0: free */
	uint64_t value;
};

/* Last value stored, by host address; open addressing, absent is 0. */
struct oracle_content {
	struct oracle_word *word;
	size_t count, capacity; /* capacity: a power of two, or 0 */
};

struct oracle {
	struct sim_machine *machine;
	struct oracle_world now, next;
	bool is_changing;
	struct oracle_content content;
	uint64_t last_value;
};

void oracle_content_fini(struct oracle_content *content);

#endif
