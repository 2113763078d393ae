/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "../platform/platform.h"
#include "pack.h"

/* At the beginning of each frame that is cut into pieces. */
struct store_frame {
	struct store_frame *next, *previous; /* in the list of its size, while a piece is free */
	void *free;                          /* the first free piece; each begins with the next */
	uint32_t size;                       /* index into piece_bytes */
	uint32_t used;
};

/* At the beginning of each piece. */
struct piece {
	uint32_t bytes;
	uint8_t data[];
};

enum {
	HEAD_BYTES = sizeof(struct store_frame),
	PIECE_HEAD_BYTES = sizeof(struct piece),
	ROOM_BYTES = FRAME_BYTES - HEAD_BYTES,
};
#define PIECE_OF(count) (ROOM_BYTES / (count) & ~7u)

static const uint32_t piece_bytes[STORE_SIZES] = {
	PIECE_OF(64), PIECE_OF(42), PIECE_OF(31), PIECE_OF(21), PIECE_OF(16), PIECE_OF(12),
	PIECE_OF(9),  PIECE_OF(7),  PIECE_OF(5),  PIECE_OF(4),  PIECE_OF(3),  PIECE_OF(2),
};
#define PIECE_MOST PIECE_OF(2)

_Static_assert(HEAD_BYTES % 8 == 0, "pieces are aligned");

/* A page that stayed as it is lies at the beginning of its frame, where no piece lies. */
static bool is_whole(const void *piece)
{
	return (uintptr_t)piece % FRAME_BYTES == 0;
}

static void open_add(struct store *store, struct store_frame *frame)
{
	struct store_frame **list = &store->open[frame->size];

	frame->previous = NULL;
	frame->next = *list;
	if (*list != NULL)
		(*list)->previous = frame;
	*list = frame;
}

static void open_remove(struct store *store, struct store_frame *frame)
{
	if (frame->previous != NULL)
		frame->previous->next = frame->next;
	else
		store->open[frame->size] = frame->next;
	if (frame->next != NULL)
		frame->next->previous = frame->previous;
}

static void *frame_take(struct store *store)
{
	void *frame = frame_alloc();

	if (frame == NULL)
		return NULL;
	store->frames++;
	if (store->frames > store->frames_most)
		store->frames_most = store->frames;
	return frame;
}

static void frame_give(struct store *store, void *frame)
{
	store->frames--;
	frame_free(frame);
}

static struct store_frame *frame_cut(struct store *store, uint32_t size)
{
	struct store_frame *frame = frame_take(store);
	uint8_t *at;

	if (frame == NULL)
		return NULL;
	frame->size = size;
	frame->used = 0;
	frame->free = NULL;
	at = (uint8_t *)frame + HEAD_BYTES;
	for (uint32_t i = 0; i < ROOM_BYTES / piece_bytes[size]; i++) {
		*(void **)(void *)at = frame->free;
		frame->free = at;
		at += piece_bytes[size];
	}
	open_add(store, frame);
	return frame;
}

static struct piece *piece_take(struct store *store, uint32_t bytes)
{
	struct store_frame *frame;
	struct piece *piece;
	uint32_t size = 0;

	while (piece_bytes[size] < bytes)
		size++;
	frame = store->open[size];
	if (frame == NULL)
		frame = frame_cut(store, size);
	if (frame == NULL)
		return NULL;
	piece = frame->free;
	frame->free = *(void **)frame->free;
	frame->used++;
	if (frame->free == NULL)
		open_remove(store, frame);
	return piece;
}

static void *whole_put(struct store *store, const void *page)
{
	void *copy = frame_take(store);

	if (copy == NULL)
		return NULL;
	copy_words(copy, page, FRAME_BYTES);
	store->packed_pages++;
	store->packed_bytes += FRAME_BYTES;
	return copy;
}

void *store_put(struct store *store, const void *page)
{
	static uint8_t packed[PIECE_MOST];
	uint32_t bytes = pack_page(page, packed, PIECE_MOST - PIECE_HEAD_BYTES);
	struct piece *piece;

	if (bytes == 0)
		return whole_put(store, page);
	piece = piece_take(store, bytes + PIECE_HEAD_BYTES);
	if (piece == NULL)
		return NULL;
	piece->bytes = bytes;
	memcpy(piece->data, packed, bytes);
	store->packed_pages++;
	store->packed_bytes += bytes;
	return piece;
}

void store_get(const void *from, void *page)
{
	const struct piece *piece = from;

	if (is_whole(from))
		copy_words(page, from, FRAME_BYTES);
	else if (!unpack_page(piece->data, piece->bytes, page))
		hv_panic("a packed page of the guest cannot be unpacked");
}

void store_drop(struct store *store, void *piece)
{
	uintptr_t base = (uintptr_t)piece & ~(uintptr_t)(FRAME_BYTES - 1);
	struct store_frame *frame = (struct store_frame *)base;

	if (is_whole(piece)) {
		frame_give(store, piece);
		return;
	}
	if (frame->free == NULL)
		open_add(store, frame);
	*(void **)piece = frame->free;
	frame->free = piece;
	frame->used--;
	if (frame->used == 0) {
		open_remove(store, frame);
		frame_give(store, frame);
	}
}
