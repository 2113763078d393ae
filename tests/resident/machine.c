/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

struct machine machine = {.frames_left = UINT64_MAX};

/* Not zero, as a frame that the guest never had need not be. */
static void *pages_new(size_t bytes, int value)
{
	void *pages = aligned_alloc(FRAME_BYTES, bytes);

	if (pages == NULL)
		abort();
	memset(pages, value, bytes);
	return pages;
}

void *frame_alloc(void)
{
	if (machine.frames_left == 0)
		return NULL;
	machine.frames_left--;
	machine.frames++;
	return pages_new(FRAME_BYTES, 0);
}

void frame_free(void *frame)
{
	machine.frames--;
	free(frame);
}

void *frames_alloc_contiguous(uint32_t count)
{
	return pages_new(count * FRAME_BYTES, 0);
}

uint64_t guest_frame_alloc(void)
{
	machine.guest_frames++;
	return (uintptr_t)pages_new(FRAME_BYTES, 0x5a);
}

void guest_frame_free(uint64_t frame)
{
	machine.guest_frames--;
	free((void *)(uintptr_t)frame);
}

noreturn void hv_panic(const char *format, ...)
{
	(void)fprintf(stderr, "hv_panic: %s\n", format);
	abort();
}
