/* SPDX-License-Identifier: MIT */
/* What threads access, by address: who, and what happened to it in this run. */
#ifndef TESTS_EXPLORE_OBJECTS_H
#define TESTS_EXPLORE_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

struct object {
	uintptr_t address; /* 0: free place in the table */
	/* learned over all runs of a test, one bit a thread */
	uint8_t readers, writers;
	bool is_shared; /* as of the last objects_learn() */
	/* of this run */
	uint8_t last_writer;
	uint32_t run;
	uint64_t written; /* number of the last write, 0: none */
	uint64_t past;    /* hash of the last writer's past at that write */
	uint64_t turn[4]; /* of each thread, in which it read this last */
};

struct object *object_of(const void *address, uint32_t run);

#endif
