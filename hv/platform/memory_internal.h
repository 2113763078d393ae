/* SPDX-License-Identifier: MIT */
/* The allocator's state, shared by memory.c, which owns it, and memory_check.c, which reads it. */
#ifndef HV_MEMORY_INTERNAL_H
#define HV_MEMORY_INTERNAL_H

#include "internal.h"
#include "spin.h"

#define BLOCK_NONE UINT32_MAX

enum {
	RING_MAX = 64,
	STOCK_MAX = 4096,
	STOCK_AT_BOOT = 1024,
	GUEST_STRIDE = 197,
};

_Static_assert(GUEST_STRIDE % 2 == 1, "an even stride does not reach every frame of a block");

/* links[]: a free frame's successor (index + 1 in its block, 0 ends the list), or: */
#define LINK_OUT 0xffffu   /* handed out, or never under our control */
#define LINK_STOCK 0xfffeu /* cleared and waiting in the stock */

enum place {
	PLACE_ABSENT, /* no memory of ours */
	PLACE_STORE,
	PLACE_RING,
	PLACE_PARTIAL,
	PLACE_FULL,
	PLACE_WHOLE, /* handed out as a 2M block */
	PLACE_CUT,   /* cut up by frames_alloc_contiguous() */
};

struct block {
	uint32_t next, prev; /* PARTIAL: neighbours in the pool's list */
	uint32_t slot;       /* STORE: index in store[]; RING: index in the ring */
	uint16_t used;       /* frames out, plus frames that are not ours */
	uint16_t fresh;      /* never-used frames taken so far; 512: none left */
	uint16_t freed;      /* first returned frame, index + 1; 0: none */
	uint16_t start;      /* where the fresh sequence begins */
	uint8_t place;
	uint8_t pool;
	uint16_t absent; /* frames that are not ours */
};

struct pool {
	uint32_t ring_count, ring_target, cursor;
	uint32_t partial; /* first of the list, BLOCK_NONE if empty */
	uint32_t ring[RING_MAX];
};

enum pool_name {
	POOL_HYPERVISOR,
	POOL_GUEST,
	POOL_COUNT,
};

struct host_memory {
	struct spin lock;     /* over everything here, once there are several CPUs */
	struct block *blocks; /* by host-physical address >> BLOCK_SHIFT */
	uint32_t block_count;
	uint32_t store_count;
	uint32_t *store;
	uint16_t *links;
	uint16_t *gig_whole; /* per 1 GiB: blocks in the store */
	struct pool pools[POOL_COUNT];
	uint32_t stock_count;
	void *stock[STOCK_MAX];
	uint64_t contiguous_next, contiguous_end;
	uint64_t random_state;
	uint64_t total_frames, hypervisor_frames, guest_frames;
};

extern struct host_memory host_memory;

static inline uint32_t block_number(const struct block *block)
{
	return (uint32_t)(block - host_memory.blocks);
}

#endif
