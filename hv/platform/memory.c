/* SPDX-License-Identifier: MIT */
/*
 * Host memory: a store of whole 2M blocks in shuffled order, and two pools that take
 * blocks from it and hand out their frames.
 *
 * A pool keeps a ring of open blocks and takes one frame from each in turn: the guest
 * pool's ring spans many random blocks, the hypervisor pool's just one. Within a block,
 * frames that came back go first, then never-used ones in the order start + n * stride
 * (stride odd: every frame once). Nothing is written into free frames: the list of a
 * block's returned frames lives in links[], two bytes a frame.
 *
 *   STORE --open--> RING --last frame out--> FULL --a frame back--> PARTIAL --reopen--> RING
 *   RING, PARTIAL --all 512 frames back--> STORE --2M alloc--> WHOLE --2M free--> STORE
 *
 * block_place() is the one writer of a block's place. One lock is over everything; frames are
 * cleared outside of it.
 */
#include "memory_internal.h"

/* Allocation is on the guest's fault path, where instructions are counted. */
#define FAST_PATH inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

struct host_memory host_memory;

/* xorshift: any state but 0 runs through all 2^64 - 1 others. */
static uint64_t random_below(uint64_t bound)
{
	host_memory.random_state ^= host_memory.random_state << 13;
	host_memory.random_state ^= host_memory.random_state >> 7;
	host_memory.random_state ^= host_memory.random_state << 17;
	return (host_memory.random_state >> 32) * bound >> 32;
}

static uint64_t block_address(uint32_t number)
{
	return (uint64_t)number << BLOCK_SHIFT;
}

/* --- lists: each is changed only by the pair of functions here --- */

static void store_put_slot(uint32_t slot, uint32_t number)
{
	host_memory.store[slot] = number;
	host_memory.blocks[number].slot = slot;
}

/* At a random position, so that the order stays a shuffle. */
static void store_push(struct block *block)
{
	uint32_t slot = host_memory.store_count++;
	uint32_t other = (uint32_t)random_below(host_memory.store_count);

	if (other != slot)
		store_put_slot(slot, host_memory.store[other]);
	store_put_slot(other, block_number(block));
	host_memory.gig_whole[block_number(block) / 512]++;
}

static void store_remove(struct block *block)
{
	store_put_slot(block->slot, host_memory.store[--host_memory.store_count]);
	host_memory.gig_whole[block_number(block) / 512]--;
}

static void ring_push(struct pool *pool, struct block *block)
{
	block->slot = pool->ring_count;
	pool->ring[pool->ring_count++] = block_number(block);
}

static void ring_remove(struct pool *pool, struct block *block)
{
	uint32_t last = pool->ring[--pool->ring_count];

	pool->ring[block->slot] = last;
	host_memory.blocks[last].slot = block->slot;
}

static void partial_push(struct pool *pool, struct block *block)
{
	block->prev = BLOCK_NONE;
	block->next = pool->partial;
	if (block->next != BLOCK_NONE)
		host_memory.blocks[block->next].prev = block_number(block);
	pool->partial = block_number(block);
}

static void partial_remove(struct pool *pool, struct block *block)
{
	if (block->prev != BLOCK_NONE)
		host_memory.blocks[block->prev].next = block->next;
	else
		pool->partial = block->next;
	if (block->next != BLOCK_NONE)
		host_memory.blocks[block->next].prev = block->prev;
}

/* Move @block to @place, in and out of the lists that belong to the places. */
static void block_place(struct block *block, enum place place)
{
	struct pool *pool = &host_memory.pools[block->pool];

	if (block->place == PLACE_STORE)
		store_remove(block);
	else if (block->place == PLACE_RING)
		ring_remove(pool, block);
	else if (block->place == PLACE_PARTIAL)
		partial_remove(pool, block);

	block->place = (uint8_t)place;
	if (place == PLACE_STORE)
		store_push(block);
	else if (place == PLACE_RING)
		ring_push(pool, block);
	else if (place == PLACE_PARTIAL)
		partial_push(pool, block);
}

/* --- frames of a pool --- */

/* Add a block to the ring. Return: false if there is none to add. */
static NOINLINE bool pool_open(enum pool_name name)
{
	struct pool *pool = &host_memory.pools[name];
	struct block *block;

	if (pool->partial != BLOCK_NONE) {
		block = &host_memory.blocks[pool->partial];
	} else if (host_memory.store_count > 0) {
		block = &host_memory.blocks[host_memory.store[host_memory.store_count - 1]];
		HV_ASSERT(block->used == 0 && block->place == PLACE_STORE);
		block->pool = (uint8_t)name;
		block->fresh = 0;
		block->start = (uint16_t)(name == POOL_GUEST ? random_below(BLOCK_FRAMES) : 0);
		/* The returned frames of an earlier life are fresh ones again. */
		block->freed = 0;
	} else {
		return false;
	}
	block_place(block, PLACE_RING);
	return true;
}

static FAST_PATH uint64_t block_take(uint32_t number, uint32_t stride, bool *is_fresh)
{
	struct block *block = &host_memory.blocks[number];
	uint64_t frame = (uint64_t)number * BLOCK_FRAMES;
	uint16_t *link;

	*is_fresh = block->freed == 0;
	if (*is_fresh) {
		frame += (block->start + block->fresh * stride) % BLOCK_FRAMES;
		block->fresh++;
		link = &host_memory.links[frame];
	} else {
		frame += block->freed - 1u;
		link = &host_memory.links[frame];
		block->freed = *link;
	}
	*link = LINK_OUT;
	if (++block->used == BLOCK_FRAMES)
		block_place(block, PLACE_FULL);
	return frame << FRAME_SHIFT;
}

/* @name is a constant in every caller, so that no pool is looked up at run time. */
static FAST_PATH uint64_t pool_take(enum pool_name name, bool *is_fresh)
{
	struct pool *pool = &host_memory.pools[name];
	uint32_t stride = name == POOL_GUEST ? GUEST_STRIDE : 1;
	uint32_t cursor;

	if (pool->ring_count < pool->ring_target && !pool_open(name) && pool->ring_count == 0)
		return HOST_NONE;
	cursor = pool->cursor + 1;
	if (cursor >= pool->ring_count)
		cursor = 0;
	pool->cursor = cursor;
	return block_take(pool->ring[cursor], stride, is_fresh);
}

static void pool_put(uint64_t frame)
{
	struct block *block = &host_memory.blocks[frame >> BLOCK_SHIFT];
	uint64_t number = frame >> FRAME_SHIFT;

	host_memory.links[number] = block->freed;
	block->freed = (uint16_t)(number % BLOCK_FRAMES + 1);
	if (--block->used == 0)
		block_place(block, PLACE_STORE);
	else if (block->place == PLACE_FULL)
		block_place(block, PLACE_PARTIAL);
}

/* Whether @frame is one that can be given back now. */
static bool frame_is_out(uint64_t frame)
{
	uint64_t number = frame >> FRAME_SHIFT;
	enum place place;

	if (frame % FRAME_BYTES != 0 || number / BLOCK_FRAMES >= host_memory.block_count)
		return false;
	place = host_memory.blocks[number / BLOCK_FRAMES].place;
	return host_memory.links[number] == LINK_OUT &&
	       (place == PLACE_RING || place == PLACE_PARTIAL || place == PLACE_FULL);
}

static void link_set(void *frame, uint16_t link)
{
	host_memory.links[(uintptr_t)frame >> FRAME_SHIFT] = link;
}

/* --- hypervisor frames --- */

/* One frame from the pools, the other pool's if need be. Lock held. */
static void *frame_take(bool *is_fresh)
{
	uint64_t frame = pool_take(POOL_HYPERVISOR, is_fresh);

	if (frame == HOST_NONE)
		frame = pool_take(POOL_GUEST, is_fresh);
	return frame != HOST_NONE ? (void *)(uintptr_t)frame : NULL;
}

void *frame_alloc(void)
{
	bool is_fresh = false;
	void *frame;

	spin_lock(&host_memory.lock);
	if (host_memory.stock_count > 0) {
		frame = host_memory.stock[--host_memory.stock_count];
		link_set(frame, LINK_OUT);
	} else {
		frame = frame_take(&is_fresh);
	}
	host_memory.hypervisor_frames += frame != NULL;
	spin_unlock(&host_memory.lock);
	if (is_fresh && frame != NULL)
		clear_words(frame, FRAME_BYTES);
	return frame;
}

void frame_free(void *frame)
{
	clear_words(frame, FRAME_BYTES);
	spin_lock(&host_memory.lock);
	HV_ASSERT(frame_is_out((uintptr_t)frame));
	host_memory.hypervisor_frames--;
	if (host_memory.stock_count < STOCK_AT_BOOT) {
		host_memory.stock[host_memory.stock_count++] = frame;
		link_set(frame, LINK_STOCK);
	} else {
		pool_put((uintptr_t)frame);
	}
	spin_unlock(&host_memory.lock);
}

/* One more frame in the stock. False: it is as full as it can be. */
static bool stock_add(uint64_t count)
{
	bool is_fresh;
	void *frame;

	if (host_memory.stock_count >= count)
		return false;
	frame = frame_take(&is_fresh);
	if (frame == NULL)
		return false;
	if (is_fresh)
		clear_words(frame, FRAME_BYTES);
	host_memory.stock[host_memory.stock_count++] = frame;
	link_set(frame, LINK_STOCK);
	return true;
}

void frames_prepare(uint64_t count)
{
	bool more = true;

	if (count > STOCK_MAX)
		count = STOCK_MAX;
	while (more) {
		spin_lock(&host_memory.lock);
		more = stock_add(count);
		spin_unlock(&host_memory.lock);
	}
}

/* Lock held. Return: HOST_NONE when no block is left. */
static uint64_t contiguous_take(uint64_t bytes)
{
	uint64_t start;

	if (host_memory.contiguous_end - host_memory.contiguous_next < bytes) {
		if (host_memory.store_count == 0)
			return HOST_NONE;
		host_memory.contiguous_next =
			block_address(host_memory.store[host_memory.store_count - 1]);
		host_memory.contiguous_end = host_memory.contiguous_next + BLOCK_2M_BYTES;
		block_place(&host_memory.blocks[host_memory.store[host_memory.store_count - 1]],
			    PLACE_CUT);
		host_memory.hypervisor_frames += BLOCK_FRAMES;
	}
	start = host_memory.contiguous_next;
	host_memory.contiguous_next += bytes;
	return start;
}

void *frames_alloc_contiguous(uint32_t count)
{
	uint64_t bytes = (uint64_t)count * FRAME_BYTES;
	uint64_t start;

	HV_ASSERT(count > 0 && count <= BLOCK_FRAMES);
	spin_lock(&host_memory.lock);
	start = contiguous_take(bytes);
	spin_unlock(&host_memory.lock);
	if (start == HOST_NONE)
		return NULL;
	clear_words((void *)(uintptr_t)start, bytes);
	return (void *)(uintptr_t)start;
}

/* --- guest memory --- */

/* The guest pool and the store are empty: what the hypervisor has left. */
static NOINLINE uint64_t guest_frame_steal(void)
{
	bool is_fresh;
	uint64_t frame = pool_take(POOL_HYPERVISOR, &is_fresh);

	if (frame == HOST_NONE && host_memory.stock_count > 0) {
		frame = (uintptr_t)host_memory.stock[--host_memory.stock_count];
		link_set((void *)(uintptr_t)frame, LINK_OUT);
	}
	return frame;
}

uint64_t guest_frame_alloc(void)
{
	bool is_fresh;
	uint64_t frame;

	spin_lock(&host_memory.lock);
	frame = pool_take(POOL_GUEST, &is_fresh);
	if (frame == HOST_NONE)
		frame = guest_frame_steal();
	host_memory.guest_frames += frame != HOST_NONE;
	spin_unlock(&host_memory.lock);
	return frame;
}

void guest_frame_free(uint64_t frame)
{
	clear_words((void *)(uintptr_t)frame, FRAME_BYTES);
	spin_lock(&host_memory.lock);
	HV_ASSERT(frame_is_out(frame));
	host_memory.guest_frames--;
	pool_put(frame);
	spin_unlock(&host_memory.lock);
}

uint64_t guest_block_alloc_2m(void)
{
	uint64_t block = HOST_NONE;

	spin_lock(&host_memory.lock);
	if (host_memory.store_count != 0) {
		uint32_t number = host_memory.store[host_memory.store_count - 1];

		block_place(&host_memory.blocks[number], PLACE_WHOLE);
		host_memory.guest_frames += BLOCK_FRAMES;
		block = block_address(number);
	}
	spin_unlock(&host_memory.lock);
	return block;
}

void guest_block_free_2m(uint64_t block)
{
	uint64_t number = block >> BLOCK_SHIFT;

	HV_ASSERT(block % BLOCK_2M_BYTES == 0 && number < host_memory.block_count);
	HV_ASSERT(host_memory.blocks[number].place == PLACE_WHOLE);
	clear_words((void *)(uintptr_t)block, BLOCK_2M_BYTES);
	spin_lock(&host_memory.lock);
	host_memory.guest_frames -= BLOCK_FRAMES;
	block_place(&host_memory.blocks[number], PLACE_STORE);
	spin_unlock(&host_memory.lock);
}

/* Lock held. */
static uint64_t gig_take(void)
{
	for (uint32_t gig = 0; gig < host_memory.block_count / 512; gig++) {
		if (host_memory.gig_whole[gig] < 512)
			continue;
		for (uint32_t i = 0; i < 512; i++)
			block_place(&host_memory.blocks[gig * 512 + i], PLACE_WHOLE);
		host_memory.guest_frames += UINT64_C(512) * BLOCK_FRAMES;
		return (uint64_t)gig * BLOCK_1G_BYTES;
	}
	return HOST_NONE;
}

uint64_t guest_block_alloc_1g(void)
{
	uint64_t block;

	spin_lock(&host_memory.lock);
	block = gig_take();
	spin_unlock(&host_memory.lock);
	return block;
}

void guest_block_free_1g(uint64_t block)
{
	HV_ASSERT(block % BLOCK_1G_BYTES == 0);
	for (uint64_t i = 0; i < 512; i++)
		guest_block_free_2m(block + i * BLOCK_2M_BYTES);
}

/* --- start, figures --- */

void memory_seed(uint64_t seed)
{
	host_memory.random_state = seed ^ UINT64_C(0x9e3779b97f4a7c15);
	if (host_memory.random_state == 0)
		host_memory.random_state = 1;
	for (uint32_t left = host_memory.store_count; left > 1; left--) {
		uint32_t other = (uint32_t)random_below(left);
		uint32_t number = host_memory.store[other];

		store_put_slot(other, host_memory.store[left - 1]);
		store_put_slot(left - 1, number);
	}
}

/* Mark the frames of one range as ours; whole-block bookkeeping follows in blocks_sort(). */
static void range_claim(const struct free_range *range)
{
	for (uint64_t frame = range->start >> FRAME_SHIFT; frame < range->end >> FRAME_SHIFT;
	     frame++) {
		host_memory.links[frame] = 0;
		host_memory.blocks[frame / BLOCK_FRAMES].absent--;
		host_memory.total_frames++;
	}
}

/* Part of a 2M block: its frames start their life as returned, hence cleared, ones. */
static void fragment_add(struct block *block)
{
	uint64_t first = (uint64_t)block_number(block) * BLOCK_FRAMES;

	block->used = block->absent;
	block->fresh = BLOCK_FRAMES;
	for (uint64_t i = BLOCK_FRAMES; i-- > 0;) {
		if (host_memory.links[first + i] == LINK_OUT)
			continue;
		clear_words((void *)(uintptr_t)((first + i) << FRAME_SHIFT), FRAME_BYTES);
		host_memory.links[first + i] = block->freed;
		block->freed = (uint16_t)(i + 1);
	}
	block_place(block, PLACE_PARTIAL);
}

/* Highest first: until memory_seed() shuffles, the store gives out the lowest blocks. */
static void blocks_sort(void)
{
	for (uint32_t number = host_memory.block_count; number-- > 0;) {
		struct block *block = &host_memory.blocks[number];

		if (block->absent == BLOCK_FRAMES)
			continue;
		if (block->absent > 0) {
			fragment_add(block);
			continue;
		}
		block->place = PLACE_STORE;
		store_put_slot(host_memory.store_count++, number);
		host_memory.gig_whole[number / 512]++;
	}
}

static void bookkeeping_alloc(uint64_t ram_end)
{
	host_memory.block_count = (uint32_t)((ram_end + BLOCK_2M_BYTES - 1) >> BLOCK_SHIFT);
	host_memory.blocks = early_alloc(host_memory.block_count * sizeof(*host_memory.blocks));
	host_memory.store = early_alloc(host_memory.block_count * sizeof(*host_memory.store));
	host_memory.gig_whole =
		early_alloc((host_memory.block_count / 512 + 1) * sizeof(*host_memory.gig_whole));
	host_memory.links = early_alloc((uint64_t)host_memory.block_count * BLOCK_FRAMES *
					sizeof(*host_memory.links));
	memset(host_memory.links, 0xff,
	       (uint64_t)host_memory.block_count * BLOCK_FRAMES * sizeof(*host_memory.links));
	for (uint32_t i = 0; i < host_memory.block_count; i++)
		host_memory.blocks[i].absent = BLOCK_FRAMES;
}

void memory_init(void)
{
	uint64_t ram_end = 0;
	uint32_t range_count;
	const struct free_range *ranges = early_ranges(&range_count);
	uint32_t ring;

	for (uint32_t i = 0; i < range_count; i++) {
		if (ranges[i].start < ranges[i].end && ranges[i].end > ram_end)
			ram_end = ranges[i].end;
	}
	host_memory.random_state = 1;
	bookkeeping_alloc(ram_end);
	for (uint32_t i = 0; i < range_count; i++)
		range_claim(&ranges[i]);

	ring = (uint32_t)(host_memory.total_frames / BLOCK_FRAMES / 16);
	ring = ring < 1 ? 1 : ring > RING_MAX ? RING_MAX : ring;
	host_memory.pools[POOL_HYPERVISOR] = (struct pool){.ring_target = 1, .partial = BLOCK_NONE};
	host_memory.pools[POOL_GUEST] = (struct pool){.ring_target = ring, .partial = BLOCK_NONE};
	blocks_sort();
	frames_prepare(STOCK_AT_BOOT);
	memory_seed(0);
}

void memory_get_stats(struct memory_stats *stats)
{
	*stats = (struct memory_stats){
		.total = host_memory.total_frames,
		.free = host_memory.total_frames - host_memory.hypervisor_frames -
			host_memory.guest_frames - host_memory.stock_count,
		.free_2m = (uint64_t)host_memory.store_count * BLOCK_FRAMES,
		.stock = host_memory.stock_count,
		.hypervisor = host_memory.hypervisor_frames,
		.guest = host_memory.guest_frames,
	};
}
