/* SPDX-License-Identifier: MIT */
/*
 * spec.h - what the manuals say about one second-stage path, as plainly as possible.
 *
 * Input is the whole path, already read: the entries from the top table down. There is no
 * memory, no loop over levels that stops early, no state. The walkers in walk_*.c answer the
 * same question in another style; a test compares them on every combination.
 */
#ifndef SIM_MACHINE_SPEC_H
#define SIM_MACHINE_SPEC_H

#include "types.h"

struct sim_path {
	/* By level: entry[4] is the PML4 entry, entry[1] the last; [5] only with 5 levels.
	 * Entries below a leaf or a fault do not matter. */
	uint64_t entry[6];
};

struct sim_verdict {
	enum sim_outcome outcome; /* never SIM_BROKEN */
	enum sim_level level;     /* leaf, or entry at fault; 0: the address is too wide */
	sim_hpa_t hpa;            /* SIM_OK */
	uint64_t info;            /* as in struct sim_result */
	bool accessed[6]; /* SIM_OK: accessed is set in the entry of that level afterwards */
	bool dirty;       /* SIM_OK: dirty is set in the leaf afterwards */
};

/* @root: format, levels and capabilities; its pfn is not looked at. */
struct sim_verdict sim_spec_verdict(const struct sim_root *root, const struct sim_path *path,
				    sim_gpa_t gpa, enum sim_access_kind kind);

/* The single rules, for tests that want to ask only one thing. */
bool sim_spec_is_present(enum sim_format format, uint64_t entry);
bool sim_spec_is_leaf(const struct sim_root *root, uint64_t entry, enum sim_level level);
bool sim_spec_is_reserved(const struct sim_root *root, uint64_t entry, enum sim_level level);

#endif
