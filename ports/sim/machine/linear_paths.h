/* SPDX-License-Identifier: MIT */
/*
 * linear_paths.h - every path of entries that a processor could have followed, and where each
 * of them ends. Inside of the oracle.
 */
#ifndef SIM_MACHINE_LINEAR_PATHS_H
#define SIM_MACHINE_LINEAR_PATHS_H

#include "linear_history.h"
#include "linear_oracle.h"

/* An entry that was looked at, as it was then. */
struct linear_seen {
	sim_gpa_t entry;
	unsigned bytes;
	uint64_t value;
	bool may_access; /* present, legal, in RAM: accessed may become set */
};

struct linear_candidate {
	uint64_t value;
	uint64_t time;   /* the earliest moment at which it can have been read here */
	bool is_present; /* what memory holds now */
	bool is_fresh;   /* cannot have been cached: read just now */
	bool needs_mark; /* accessed is clear and can be set */
	bool is_ram;
};

struct linear_oracle {
	linear_read_fn *read;
	void *context;
	uint64_t time;
	struct linear_words words;
	struct linear_vcpu *vcpu;
	unsigned vcpu_count;
	bool is_out_of_memory;
	/* the last question */
	struct linear_query query;
	uint64_t asked_at;
	uint64_t visits;
	bool is_partial;
	struct linear_allowed *answer;
	size_t answer_count, answer_capacity;
	struct linear_seen *seen;
	size_t seen_count, seen_capacity;
	struct linear_candidate *candidate; /* stack of lists, one per level */
	size_t candidate_count, candidate_capacity;
};

/* How far back the caches of one kind of path reach. */
struct linear_reach {
	const struct linear_root *root;
	uint64_t upper, leaf; /* no table entry, no leaf was read before */
	uint64_t first_end;   /* the first entry was read before this */
	uint64_t end;         /* so was every other one */
	bool first_is_cached; /* the root is not loaded any more */
	bool all_is_cached;   /* nor can its tables be read: a TLB entry or nothing */
	bool global_only;
};

enum linear_depth {
	LINEAR_ALL_FLUSHES,
	LINEAR_WHOLE_FLUSHES, /* as if single addresses had never been flushed */
};

/* Fill in the answers to oracle->query. */
void linear_paths_find(struct linear_oracle *oracle, enum linear_depth depth);
/* Enumerate the paths of one root. */
void linear_paths_walk(struct linear_oracle *oracle, const struct linear_reach *reach);

/* The 8 bytes at an aligned address, holes as ones. */
enum linear_memory linear_paths_read(const struct linear_oracle *oracle, sim_gpa_t gpa,
				     uint64_t *value);
/* One more answer, if it is new. */
void linear_paths_answer(struct linear_oracle *oracle, const struct linear_allowed *answer);

#endif
