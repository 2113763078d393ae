/* SPDX-License-Identifier: MIT */
/*
 * linear_history.h - what the oracle remembers: past values of guest words, and per vCPU its
 * flushes and the roots it has run with. Times count events; a value or root was there during
 * [from, until).
 */
#ifndef SIM_MACHINE_LINEAR_HISTORY_H
#define SIM_MACHINE_LINEAR_HISTORY_H

#include "linear_types.h"

#define LINEAR_STILL UINT64_MAX /* until: it has not ended */

/* ---- words ---- */

struct linear_past {
	uint64_t value;
	uint64_t from, until;
};

/* The aligned 8 bytes at @gpa, oldest value first. The present one is in guest memory. */
struct linear_word {
	bool is_used;
	uint64_t gpa;
	uint64_t present_from;
	uint32_t count, capacity;
	struct linear_past *past;
};

struct linear_words {
	struct linear_word *slot; /* open addressing */
	size_t slot_count;        /* a power of two */
	size_t used;
	size_t value_count;
	bool is_out_of_memory;
};

void linear_words_free(struct linear_words *words);
/* Return: NULL if the word has no past. */
const struct linear_word *linear_words_find(const struct linear_words *words, uint64_t gpa);
/* The word has changed at @now; it was @old. What ended at or before @oldest is dropped. */
void linear_words_push(struct linear_words *words, uint64_t gpa, uint64_t old, uint64_t now,
		       uint64_t oldest);
/* Is the word's list so long that the caller should find out what may be dropped? */
bool linear_words_wants_pruning(const struct linear_words *words, uint64_t gpa);
/* Past values in [start, end) no longer count; the present ones count as if they had always
 * been there. */
void linear_words_forget(struct linear_words *words, uint64_t start, uint64_t end);

/* ---- flushes ---- */

enum linear_scope {
	LINEAR_FLUSH_ALL,     /* everything */
	LINEAR_FLUSH_LOCAL,   /* everything but global translations */
	LINEAR_FLUSH_PCID,    /* one PCID, but not global translations */
	LINEAR_FLUSH_ADDRESS, /* one PCID within [first, last], perhaps global ones there */
};

struct linear_flush {
	uint64_t time;
	enum linear_scope scope;
	uint16_t pcid;
	bool with_global;
	uint64_t first, last; /* linear addresses, inclusive */
};

#define LINEAR_FLUSHES_MAX 256u

struct linear_flushes {
	unsigned count;
	struct linear_flush item[LINEAR_FLUSHES_MAX]; /* oldest first */
};

/* Forgets flushes that it supersedes; drops the oldest of one address if there are too many. */
void linear_flushes_add(struct linear_flushes *flushes, const struct linear_flush *flush);
/* Last flush at or before @before of what @pcid has cached for @gva, not global; 0: never. */
uint64_t linear_flushes_local(const struct linear_flushes *flushes, uint16_t pcid, sim_gva_t gva,
			      uint64_t before);
uint64_t linear_flushes_global(const struct linear_flushes *flushes, sim_gva_t gva);
/* The same for all addresses at once: flushes of single ones do not count. */
uint64_t linear_flushes_whole(const struct linear_flushes *flushes, uint16_t pcid);
uint64_t linear_flushes_everything(const struct linear_flushes *flushes);

/* ---- roots ---- */

struct linear_root {
	struct linear_regs regs;
	uint16_t pcid;
	uint64_t from, until;
};

struct linear_vcpu {
	struct linear_regs regs;
	struct linear_flushes flushes;
	struct linear_root *root; /* none of paging off; at most one is LINEAR_STILL */
	size_t root_count, root_capacity;
};

uint16_t linear_pcid_of(const struct linear_regs *regs);
/* vcpu->regs has changed at @now: end the root, start or resume one. Return: false: no memory. */
bool linear_vcpu_switch(struct linear_vcpu *vcpu, uint64_t now);
/* Nothing the vCPU may have cached was read before this. */
uint64_t linear_vcpu_oldest(const struct linear_vcpu *vcpu, uint64_t now);

#endif
