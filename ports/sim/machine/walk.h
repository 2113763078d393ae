/* SPDX-License-Identifier: MIT */
/*
 * walk.h - the hardware's page walk: one loop in walk.c, what the vendors disagree about in
 * walk_npt.c and walk_ept.c.
 */
#ifndef SIM_MACHINE_WALK_H
#define SIM_MACHINE_WALK_H

#include "internal.h"

enum walk_effects {
	WALK_PURE,        /* nobody walks: no accessed or dirty bits, no violations */
	WALK_SPECULATIVE, /* sets accessed, ignores rights */
	WALK_REAL,
};

struct walk_request {
	struct sim_machine *machine;
	struct sim_cpu *cpu; /* NULL if WALK_PURE */
	const struct sim_root *root;
	sim_gpa_t gpa;
	enum sim_access_kind kind;
	enum walk_effects effects;
	bool eager_accessed; /* set accessed on the way down, even if the walk then faults */
	/* Where to start: the top table, or what a paging-structure cache says. */
	enum sim_level level;
	sim_pfn_t table;
	unsigned rights;
};

struct walk_answer {
	struct sim_result result;
	unsigned rights; /* ANDed over the path */
	sim_pfn_t pfn;   /* SIM_OK: first frame of the leaf */
	bool is_dirty;   /* SIM_OK: the leaf is dirty now, or dirty is not tracked */
	/* By level, for each table entry passed on the way: where it led, rights so far. */
	enum sim_level passed_low, passed_high; /* none if low > high */
	sim_pfn_t passed_table[SIM_LEVEL_PML5 + 1];
	unsigned passed_rights[SIM_LEVEL_PML5 + 1];
};

enum walk_trouble { TROUBLE_ABSENT, TROUBLE_ILLEGAL, TROUBLE_DENIED };

struct walk_format {
	uint64_t accessed, dirty;
	bool (*tracks_access)(const struct sim_root *root);
	bool (*is_present)(uint64_t entry);
	bool (*is_illegal)(const struct sim_root *root, uint64_t entry, enum sim_level level);
	bool (*is_leaf)(uint64_t entry, enum sim_level level);
	unsigned (*rights)(const struct sim_root *root, uint64_t entry);
	/* Rights that an access of @kind needs; SIM_CAN_WRITE in it also makes the leaf dirty. */
	unsigned (*needs)(const struct sim_root *root, enum sim_access_kind kind);
	void (*memory_type)(uint64_t entry, enum sim_level level, struct sim_result *result);
	/* Fill in result->outcome and info. @rights: ANDed over the path, 0 if absent. */
	void (*fault)(const struct sim_root *root, enum sim_access_kind kind,
		      enum walk_trouble trouble, unsigned rights, struct sim_result *result);
};

extern const struct walk_format sim_walk_npt;
extern const struct walk_format sim_walk_ept;

const struct walk_format *sim_walk_format(enum sim_format format);
/* A request that starts at the top of @root. */
struct walk_request sim_walk_from_root(struct sim_machine *machine, const struct sim_root *root,
				       sim_gpa_t gpa, enum sim_access_kind kind);
void sim_walk_run(const struct walk_request *request, struct walk_answer *answer);

#endif
