/* SPDX-License-Identifier: MIT */
/*
 * Guest memory for the walker's tests: a few pages at any guest frame, and a log of what was
 * asked of it. A frame's number decides which page it gets (sim_index()), so no two frames of
 * one memory may come to the same.
 */
#ifndef TESTS_GUEST_WALK_SIM_H
#define TESTS_GUEST_WALK_SIM_H

#include <vmmu/walk.h>

#define SIM_PAGES 16u

struct sim {
	uint64_t frame[SIM_PAGES]; /* guest frame of page i; i is sim_index(frame) */
	bool present[SIM_PAGES];
	bool read_only[SIM_PAGES];
	uint64_t word[SIM_PAGES][512];

	unsigned reads, updates;     /* calls */
	unsigned reads_after_update; /* reads once an update of this access was tried */
	unsigned bad_calls;          /* unaligned, or of another size than entry_bytes */
	unsigned entry_bytes;        /* what calls must ask for; 0: not checked */

	/* The next @races updates fail; each first calls @race. */
	unsigned races;
	void (*race)(struct sim *sim, uint64_t gpa);
};

static inline unsigned sim_index(uint64_t frame)
{
	return (unsigned)((frame ^ frame >> 18) % SIM_PAGES);
}

void sim_init(struct sim *sim);

/* Makes a zeroed page at @frame. */
void sim_page(struct sim *sim, uint64_t frame);

uint64_t sim_get(struct sim *sim, uint64_t gpa, unsigned bytes);
void sim_set(struct sim *sim, uint64_t gpa, unsigned bytes, uint64_t value);

/* For spec_access(): reads without a trace in the log. */
bool sim_look(void *memory, uint64_t gpa, unsigned bytes, uint64_t *value);

/* The log starts anew. */
void sim_forget(struct sim *sim);

extern const struct vmmu_walk_ops sim_ops;
extern const struct vmmu_walk_ops sim_ops_without_update;

/*
 * Asks the specification and the walker the same, with this memory, and fails the test with
 * both answers if they differ: in status, result, the entries read, or what became of them.
 */
void sim_compare(struct sim *sim, const struct vmmu_paging *paging, uint64_t gva, uint32_t flags);

#endif
