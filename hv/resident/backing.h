/* SPDX-License-Identifier: MIT */
/*
 * Guest frames that need not have a host frame: what was in them is packed then (store.h). What is
 * known of a frame:
 *
 *   host frame  copy
 *   no          none     never there
 *   no          zero     all zero: nothing is kept
 *   no          a piece  packed
 *   yes         a piece  brought back and only read since: goes again without being packed
 *   yes         none     may have been written
 *
 * All is changed under guest_memory.lock. Whoever takes frames away has seen to it that nobody else
 * looks at them (smp_hold()).
 */
#ifndef HV_RESIDENT_BACKING_H
#define HV_RESIDENT_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "../guest/memory.h"
#include "store.h"

enum { BACKING_GROUP = 64 }; /* frames that are looked at together */

struct backing {
	/* By 2M piece: tables of 512 words, host address of the frame, or 0, and what is packed.
	 * NULL, both: nothing there yet. memory->blocks stays empty. */
	uint64_t **frames;
	uint64_t **copies;
	uint64_t *used; /* bit per frame: looked at by other means than the guest's accesses */
	uint64_t limit; /* frames that may stay; 4K frames */
	uint64_t hand;  /* the group that is looked at next */
	struct store store;

	uint64_t evictions; /* frames taken away, of these: */
	uint64_t zero;      /* all zero */
	uint64_t clean;     /* packed already */
	uint64_t refaults;  /* frames brought back from where they were packed */
	uint64_t refaults_zero;
	uint64_t no_room; /* not taken away: no memory for what they would be packed in */
	uint64_t tsc_evict, tsc_refault;
};

/*
 * Give @memory a backing that keeps @percent of @frames, before its first frame is there.
 * Return: NULL, or a sentence that says why it cannot be.
 */
const char *backing_create(struct guest_memory *memory, uint64_t frames, unsigned percent);

/*
 * Host frame of RAM frame @gfn, brought back if need be; HOST_NONE: no memory left. With
 * GUEST_WRITE it may be written from now on, with GUEST_READ if *writable. Context: lock order as
 * guest memory.
 */
uint64_t backing_frame(struct guest_memory *memory, uint64_t gfn, enum guest_access access,
		       bool *writable);

/* The same if it has a host frame now, else HOST_NONE; it does not count as used by this. */
uint64_t backing_peek(struct guest_memory *memory, uint64_t gfn, bool *writable);

/* The same, and it counts as used. */
uint64_t backing_look(struct guest_memory *memory, uint64_t gfn, bool *writable);

/* Count frames as used. Context: any. */
void backing_use(struct guest_memory *memory, uint64_t gfn, uint64_t frames);

/* Which frames of the group of @first have host frames and do not count as used; after that none
 * counts as used. */
uint64_t backing_idle(struct guest_memory *memory, uint64_t first);

/* Take the host frame of @gfn, which has one. False: no memory to pack it. */
bool backing_evict(struct guest_memory *memory, uint64_t gfn);

#endif
