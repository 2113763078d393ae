/* SPDX-License-Identifier: MIT */
/*
 * Set "touch": memory that the hypervisor has not mapped yet. Each piece of data is touched by
 * one operation only. Means over all pages, the touching loop (4) included.
 */
#include "payload.h"

enum { PAGES = 4096, HUGE_PAGES = 128 };

#define PIECE (PAGES * PAGE_BYTES)
#define WINDOW (UINT64_C(1) << 39) /* second entry of the top table */

static void put_touch(const char *operation, uint64_t took, uint64_t pages)
{
	put_result("touch", operation, took, pages);
}

void bench_touch(void)
{
	uint64_t linear = WINDOW;
	uint64_t data = DATA_START;

	space_map(pml4, WINDOW, data, 3 * PAGES);
	put_touch("write.cold", touch_write(linear, PAGES, PAGE_BYTES), PAGES);
	put_touch("write.warm", touch_write(linear, PAGES, PAGE_BYTES), PAGES);
	linear += PIECE;
	put_touch("read.cold", touch_read(linear, PAGES, PAGE_BYTES), PAGES);
	put_touch("write.after_read", touch_write(linear, PAGES, PAGE_BYTES), PAGES);
	linear += PIECE;
	put_touch("write.cold.reverse",
		  touch_write(linear + PIECE - PAGE_BYTES, PAGES, -(int64_t)PAGE_BYTES), PAGES);
	/* The identity map has 2M pages. */
	data += 3 * PIECE;
	put_touch("write.cold.map2m", touch_write(data, PAGES, PAGE_BYTES), PAGES);
	data += PIECE;
	put_touch("write.cold.map2m.one_per_2m", touch_write(data, HUGE_PAGES, HUGE_BYTES),
		  HUGE_PAGES);
}
