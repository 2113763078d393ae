/* SPDX-License-Identifier: MIT */
/*
 * linear_world.h - a small guest for the oracle's tests: 64 KiB of memory at 0, 4 KiB of ROM
 * above, holes beyond, tables at fixed places, one page as the subject.
 */
#ifndef TESTS_SIM_LINEAR_WORLD_H
#define TESTS_SIM_LINEAR_WORLD_H

#include "linear_rig.h"

#define WORLD_BYTES 0x11000u
#define WORLD_ROM 0x10000u

/* With 4 levels and PAE, GVA goes through these; each holds one table. */
#define PML4 0x1000u
#define PDPT 0x2000u
#define PD 0x3000u
#define PT 0x4000u
/* Others for tests to use. */
#define SPARE 0x5000u
#define GVA UINT64_C(0x7000)

struct world {
	uint64_t word[WORLD_BYTES / 8];
	struct linear_oracle *oracle;
	struct linear_regs regs;
	struct linear_query query; /* of the last ask() */
	struct linear_answers answers;
};

/* GVA leads to gpa 0x100000; everything is accessed, nothing dirty. Two vCPUs run with it. */
struct world *world_new(enum linear_mode mode);
void world_end(struct world *w);
/* Where the entry of @level for GVA is. */
uint64_t world_entry(const struct world *w, unsigned level);

/* A guest write: memory changes and the oracle is told. */
void put(struct world *w, uint64_t gpa, uint64_t value);
void put4(struct world *w, uint64_t gpa, uint32_t value);
uint64_t get(const struct world *w, uint64_t gpa);
/* What a page walk sets: the oracle is not told. */
void mark(struct world *w, uint64_t gpa, uint64_t bits);

/* A supervisor's access on a vCPU: the oracle's answers are in w->answers. */
void ask(struct world *w, unsigned vcpu, enum linear_kind kind, uint64_t gva);
/* Is this among the answers? Marks are not looked at. */
bool has_gpa(struct world *w, uint64_t gpa);
bool has_fault(struct world *w, uint32_t error);
/* The same as a whole: ask vCPU 0 to read GVA, count answers, look for one. */
void assert_only_gpa(struct world *w, uint64_t gpa);
void assert_both_gpas(struct world *w, uint64_t one, uint64_t other);
void assert_only_fault(struct world *w, uint32_t error);
/* Does the oracle accept this, marks included? */
bool accepts_gpa(struct world *w, uint64_t gpa);
bool accepts_fault(struct world *w, uint32_t error);

#endif
