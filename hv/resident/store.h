/* SPDX-License-Identifier: MIT */
/*
 * Pages in packed form, in hypervisor frames. Each frame is cut into pieces of one size; a page
 * that does not shrink to half takes a frame of its own, as it is.
 */
#ifndef HV_RESIDENT_STORE_H
#define HV_RESIDENT_STORE_H

#include <stdbool.h>
#include <stdint.h>

enum { STORE_SIZES = 12 };

struct store {
	struct store_frame *open[STORE_SIZES]; /* frames with free pieces, by size of piece */
	uint64_t frames;                       /* in use now */
	uint64_t frames_most;
	uint64_t packed_pages; /* that were ever put in */
	uint64_t packed_bytes; /* and what they took: 4096 for one that did not shrink */
};

/* Pack @page. Return: its piece, 8 bytes aligned; NULL: no memory. Context: one at a time. */
void *store_put(struct store *store, const void *page);

/* Unpack @piece into @page. It stays. */
void store_get(const void *piece, void *page);

void store_drop(struct store *store, void *piece);

#endif
