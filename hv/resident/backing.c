/* SPDX-License-Identifier: MIT */
#include "backing.h"

#define COPY_NONE UINT64_C(0)
#define COPY_ZERO UINT64_C(1)

static inline bool is_piece(uint64_t copy)
{
	return copy > COPY_ZERO;
}

static struct backing the_backing;

const char *backing_create(struct guest_memory *memory, uint64_t frames, unsigned percent)
{
	struct backing *backing = &the_backing;
	uint64_t tables = memory->block_count * sizeof(uint64_t *);
	uint64_t bits = memory->block_count * GUEST_BLOCK_FRAMES / 8;

	HV_ASSERT(!memory->huge && memory->frames == 0);
	if (bits > GUEST_BLOCK_FRAMES * FRAME_BYTES)
		return "a share of the guest's memory (resident=) can be kept of 60 GiB at most";
	*backing = (struct backing){.limit = frames * percent / 100};
	backing->frames =
		frames_alloc_contiguous((uint32_t)((tables + FRAME_BYTES - 1) / FRAME_BYTES));
	backing->copies =
		frames_alloc_contiguous((uint32_t)((tables + FRAME_BYTES - 1) / FRAME_BYTES));
	backing->used = frames_alloc_contiguous((uint32_t)((bits + FRAME_BYTES - 1) / FRAME_BYTES));
	if (backing->frames == NULL || backing->copies == NULL || backing->used == NULL)
		return "no memory for the tables of frames that are not resident";
	memory->backing = backing;
	return NULL;
}

/* --- one frame; lock held --- */

static uint64_t *frame_word(const struct guest_memory *memory, uint64_t gfn)
{
	uint64_t *table = memory->backing->frames[gfn / GUEST_BLOCK_FRAMES];

	return table != NULL ? table + gfn % GUEST_BLOCK_FRAMES : NULL;
}

static uint64_t *copy_word(const struct guest_memory *memory, uint64_t gfn)
{
	return memory->backing->copies[gfn / GUEST_BLOCK_FRAMES] + gfn % GUEST_BLOCK_FRAMES;
}

/* Both tables of a 2M piece come at once. */
static bool tables_make(struct guest_memory *memory, uint64_t gfn)
{
	struct backing *backing = memory->backing;
	uint64_t **frames = &backing->frames[gfn / GUEST_BLOCK_FRAMES];
	uint64_t **copies = &backing->copies[gfn / GUEST_BLOCK_FRAMES];

	if (*copies == NULL)
		*copies = frame_alloc();
	if (*copies != NULL && *frames == NULL)
		*frames = frame_alloc();
	return *frames != NULL;
}

static void use(struct backing *backing, uint64_t gfn)
{
	__atomic_fetch_or(&backing->used[gfn / BACKING_GROUP], UINT64_C(1) << gfn % BACKING_GROUP,
			  __ATOMIC_RELAXED);
}

/* What was in it comes back, into a new frame. */
static uint64_t bring(struct guest_memory *memory, uint64_t gfn)
{
	struct backing *backing = memory->backing;
	uint64_t *copy = copy_word(memory, gfn);
	uint64_t frame = guest_frame_alloc();
	uint64_t begin = rdtsc();

	if (frame == HOST_NONE)
		return HOST_NONE;
	if (is_piece(*copy)) {
		store_get((const void *)(uintptr_t)*copy, (void *)(uintptr_t)frame);
		backing->refaults++;
		backing->tsc_refault += rdtsc() - begin;
	} else if (*copy == COPY_ZERO) {
		clear_words((void *)(uintptr_t)frame, FRAME_BYTES);
		*copy = COPY_NONE;
		backing->refaults_zero++;
	}
	memory->frames++;
	*frame_word(memory, gfn) = frame;
	return frame;
}

static void copy_forget(struct guest_memory *memory, uint64_t gfn)
{
	uint64_t *copy = copy_word(memory, gfn);

	if (is_piece(*copy))
		store_drop(&memory->backing->store, (void *)(uintptr_t)*copy);
	*copy = COPY_NONE;
}

/* --- what others call --- */

uint64_t backing_frame(struct guest_memory *memory, uint64_t gfn, enum guest_access access,
		       bool *writable)
{
	uint64_t frame = HOST_NONE;

	HV_ASSERT(gfn / GUEST_BLOCK_FRAMES < memory->block_count);
	spin_lock(&memory->lock);
	if (tables_make(memory, gfn)) {
		frame = *frame_word(memory, gfn);
		if (frame == 0)
			frame = bring(memory, gfn);
	}
	if (frame != HOST_NONE) {
		use(memory->backing, gfn);
		if (access == GUEST_WRITE)
			copy_forget(memory, gfn);
		*writable = !is_piece(*copy_word(memory, gfn));
	}
	spin_unlock(&memory->lock);
	return frame;
}

uint64_t backing_peek(struct guest_memory *memory, uint64_t gfn, bool *writable)
{
	const uint64_t *word;
	uint64_t frame = HOST_NONE;

	spin_lock(&memory->lock);
	word = frame_word(memory, gfn);
	if (word != NULL && *word != 0) {
		frame = *word;
		*writable = !is_piece(*copy_word(memory, gfn));
	}
	spin_unlock(&memory->lock);
	return frame;
}

uint64_t backing_look(struct guest_memory *memory, uint64_t gfn, bool *writable)
{
	uint64_t frame = backing_peek(memory, gfn, writable);

	if (frame != HOST_NONE)
		use(memory->backing, gfn);
	return frame;
}

void backing_use(struct guest_memory *memory, uint64_t gfn, uint64_t frames)
{
	uint64_t end = memory->block_count * GUEST_BLOCK_FRAMES;

	/* Behind the RAM lie copies of firmware tables, which stay. */
	end = gfn + frames < end ? gfn + frames : end;
	for (; gfn < end; gfn++)
		use(memory->backing, gfn);
}

uint64_t backing_idle(struct guest_memory *memory, uint64_t first)
{
	const uint64_t *word;
	uint64_t idle = 0;

	HV_ASSERT(first % BACKING_GROUP == 0);
	spin_lock(&memory->lock);
	word = frame_word(memory, first);
	for (unsigned i = 0; word != NULL && i < BACKING_GROUP; i++) {
		if (word[i] != 0)
			idle |= UINT64_C(1) << i;
	}
	spin_unlock(&memory->lock);
	return idle & ~__atomic_exchange_n(&memory->backing->used[first / BACKING_GROUP], 0,
					   __ATOMIC_RELAXED);
}

static bool is_zero(const uint64_t *page)
{
	for (unsigned i = 0; i < FRAME_BYTES / sizeof(*page); i++) {
		if (page[i] != 0)
			return false;
	}
	return true;
}

/* Lock held. False: no memory. */
static bool copy_make(struct backing *backing, uint64_t frame, uint64_t *copy)
{
	const uint64_t *page = (const uint64_t *)(uintptr_t)frame;

	if (is_piece(*copy)) {
		backing->clean++;
		return true;
	}
	if (is_zero(page)) {
		*copy = COPY_ZERO;
		backing->zero++;
		return true;
	}
	*copy = (uintptr_t)store_put(&backing->store, page);
	if (*copy != COPY_NONE)
		return true;
	backing->no_room++;
	return false;
}

bool backing_evict(struct guest_memory *memory, uint64_t gfn)
{
	struct backing *backing = memory->backing;
	uint64_t *word, frame;
	bool done;

	spin_lock(&memory->lock);
	word = frame_word(memory, gfn);
	frame = *word;
	done = copy_make(backing, frame, copy_word(memory, gfn));
	if (done) {
		*word = 0;
		memory->frames--;
		backing->evictions++;
	}
	spin_unlock(&memory->lock);
	if (done)
		guest_frame_free(frame);
	return done;
}
