/* SPDX-License-Identifier: MIT */
/* One page made small and back, by LZ4. */
#ifndef HV_RESIDENT_PACK_H
#define HV_RESIDENT_PACK_H

#include <stdbool.h>
#include <stdint.h>

enum { PACK_PAGE_BYTES = 4096 };

/* Once per CPU, before the other two: what a library made for programs needs. */
void pack_attach(void);

/*
 * Return: how many bytes of @to hold @page now; 0: it does not fit into @room.
 * Context: one CPU at a time; the guest's FPU state may be loaded.
 */
uint32_t pack_page(const void *page, void *to, uint32_t room);

/* The way back. False: the bytes are not what pack_page() made. Context: any CPU. */
bool unpack_page(const void *from, uint32_t bytes, void *page);

#endif
