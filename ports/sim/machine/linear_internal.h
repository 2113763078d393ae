/* SPDX-License-Identifier: MIT */
/* linear_internal.h - how the parts of the linear CPU see each other; not for tests. */
#ifndef SIM_MACHINE_LINEAR_INTERNAL_H
#define SIM_MACHINE_LINEAR_INTERNAL_H

#include "internal.h"
#include "linear_cpu.h"
#include "walk.h"

/* What a cached entry was filled under: by name, and to walk again for the audit. */
struct linear_origin {
	uint32_t tag;
	struct linear_regs regs;
};

struct linear_tlb_entry {
	bool is_valid;
	bool is_dirty;
	uint8_t memory_type;
	enum sim_level level;      /* of what is remembered: the leaf or a piece of it */
	enum sim_level leaf_level; /* of the leaf */
	struct linear_rights rights;
	uint64_t page; /* linear page number, 4 KiB units, aligned to level */
	sim_pfn_t pfn; /* aligned to level */
	uint64_t stamp;
	struct linear_origin origin;
};

/* Where the entry of @level points to. */
struct linear_psc_entry {
	bool is_valid;
	enum sim_level level; /* 2..5 */
	struct linear_rights rights;
	uint64_t page; /* aligned to what one entry of level covers */
	sim_pfn_t table;
	uint64_t stamp;
	struct linear_origin origin;
};

struct linear_cpu {
	struct sim_cpu *owner;
	bool is_loaded;
	struct linear_origin now;
	struct linear_tlb_entry *tlb;
	struct linear_psc_entry *psc;
	uint64_t stamp;
	sim_gva_t recent[SIM_RECENT_COUNT];
	uint32_t recent_count; /* ever */
	struct sim_cpu_stats stats;
	struct sim_prng prng;
};

struct linear_walk_request {
	struct sim_machine *machine;
	struct sim_cpu *cpu; /* NULL if WALK_PURE */
	const struct linear_regs *regs;
	const struct linear_access *access;
	enum walk_effects effects;
	bool eager_accessed; /* set accessed on the way down, even if the walk then faults */
	/* Where to start, if not at the top: SIM_LEVEL_NONE, or what a cache says. */
	enum sim_level level;
	sim_pfn_t table;
	struct linear_rights rights;
};

struct linear_walk_answer {
	struct linear_result result;
	struct linear_rights rights; /* of the path so far */
	bool is_at_leaf;             /* a legal leaf was found, whether rights do or not */
	bool is_dirty;
	sim_pfn_t pfn; /* is_at_leaf: first frame of the leaf */
	/* By level, for each table entry passed: was accessed set in it and in all above, where
	 * did it lead, rights so far. */
	bool passed[SIM_LEVEL_PML5 + 1];
	bool passed_accessed[SIM_LEVEL_PML5 + 1];
	sim_pfn_t passed_table[SIM_LEVEL_PML5 + 1];
	struct linear_rights passed_rights[SIM_LEVEL_PML5 + 1];
};

void linear_walk_run(const struct linear_walk_request *request, struct linear_walk_answer *answer);

/* linear_tlb.c: finding, filling, dropping. */
struct linear_tlb_entry *linear_tlb_next(struct linear_cpu *cpu, sim_gva_t gva, uint32_t *at);
struct linear_psc_entry *linear_psc_next(struct linear_cpu *cpu, sim_gva_t gva, uint32_t *at);
/* @level: at most that of the leaf. Return: true if another entry had to go. */
bool linear_tlb_fill(struct linear_cpu *cpu, const struct linear_walk_answer *answer,
		     enum sim_level level);
bool linear_psc_fill(struct linear_cpu *cpu, const struct linear_walk_answer *answer,
		     enum sim_level level);
/* What a fault drops. */
void linear_tlb_drop(struct linear_cpu *cpu, sim_gva_t gva);

/* linear_audit.c: parts of the audits of one CPU. @text may be NULL inside. */
size_t linear_stale_on_cpu(const struct linear_cpu *cpu, sim_pfn_t pfn, struct sim_text *text);
size_t linear_outdated_on_cpu(const struct linear_cpu *cpu, uint32_t tag, struct sim_text *text);

void linear_cpu_free(struct linear_cpu *cpu);

#endif
