/* SPDX-License-Identifier: MIT */
/*
 * Recomputes the allocator's beliefs from its raw lists: who is in which list, how many
 * frames are free, and that frames said to be clear are. Reads memory.c's state only.
 */
#include "memory_internal.h"

/* Frames of @block that its list of returned frames holds; BLOCK_FRAMES + 1 if it loops. */
static uint32_t count_freed(const struct block *block)
{
	uint64_t first = (uint64_t)block_number(block) * BLOCK_FRAMES;
	uint32_t count = 0;

	for (uint32_t at = block->freed; at != 0 && count <= BLOCK_FRAMES;
	     at = host_memory.links[first + at - 1]) {
		if (at > BLOCK_FRAMES)
			return BLOCK_FRAMES + 1;
		count++;
	}
	return count;
}

static uint32_t count_linked(const struct block *block, uint16_t link)
{
	uint64_t first = (uint64_t)block_number(block) * BLOCK_FRAMES;
	uint32_t count = 0;

	for (uint32_t i = 0; i < BLOCK_FRAMES; i++)
		count += host_memory.links[first + i] == link;
	return count;
}

static bool is_listed(const struct block *block)
{
	const struct pool *pool = &host_memory.pools[block->pool];

	switch ((enum place)block->place) {
	case PLACE_STORE:
		return block->slot < host_memory.store_count &&
		       host_memory.store[block->slot] == block_number(block);
	case PLACE_RING:
		return block->slot < pool->ring_count &&
		       pool->ring[block->slot] == block_number(block);
	case PLACE_PARTIAL:
		return block->prev == BLOCK_NONE
			       ? pool->partial == block_number(block)
			       : host_memory.blocks[block->prev].next == block_number(block);
	case PLACE_ABSENT:
	case PLACE_FULL:
	case PLACE_WHOLE:
	case PLACE_CUT:
		break;
	}
	return true;
}

/* A block whose frames are handed out one by one. */
static const char *check_shared_block(const struct block *block)
{
	uint32_t out = count_linked(block, LINK_OUT) + count_linked(block, LINK_STOCK);

	if (out != block->used)
		return "a block's count of frames in use is wrong";
	if (count_freed(block) + (BLOCK_FRAMES - block->fresh) != BLOCK_FRAMES - block->used)
		return "a block's free frames do not add up";
	if ((block->used == BLOCK_FRAMES) != (block->place == PLACE_FULL))
		return "a full block is not marked full, or the reverse";
	return NULL;
}

static const char *check_stock(void)
{
	for (uint32_t i = 0; i < host_memory.stock_count; i++) {
		const uint64_t *words = host_memory.stock[i];

		if (host_memory.links[(uintptr_t)words >> FRAME_SHIFT] != LINK_STOCK)
			return "a frame in the stock is not marked so";
		for (size_t word = 0; word < FRAME_BYTES / 8; word++) {
			if (words[word] != 0)
				return "a frame in the stock was written to";
		}
	}
	return NULL;
}

const char *memory_check(void)
{
	uint64_t free = 0;
	uint32_t in_store = 0;
	struct memory_stats stats;

	for (uint32_t i = 0; i < host_memory.block_count; i++) {
		const struct block *block = &host_memory.blocks[i];
		enum place place = block->place;

		if (!is_listed(block))
			return "a block is not in the list that its place names";
		if (place == PLACE_STORE) {
			in_store++;
			free += BLOCK_FRAMES;
		} else if (place == PLACE_RING || place == PLACE_PARTIAL || place == PLACE_FULL) {
			const char *finding = check_shared_block(block);

			if (finding != NULL)
				return finding;
			free += BLOCK_FRAMES - block->used;
		}
	}
	memory_get_stats(&stats);
	if (in_store != host_memory.store_count)
		return "the store's count of blocks is wrong";
	if (free != stats.free)
		return "free frames do not add up to the counters";
	return check_stock();
}
