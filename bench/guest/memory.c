/* SPDX-License-Identifier: MIT */
/* Page tables of the payload's own, and the loops that touch memory. */
#include "payload.h"

static uint64_t tables_next = TABLES_START;

uint64_t least_of(const uint64_t *values, unsigned count)
{
	uint64_t least = values[0];

	for (unsigned i = 1; i < count; i++)
		least = values[i] < least ? values[i] : least;
	return least;
}

uint64_t *table_new(void)
{
	uint64_t *table = (uint64_t *)(uintptr_t)tables_next;

	if (tables_next == TABLES_END) {
		put_text("bench error tables 0\n");
		out8(PORT_DEBUG_EXIT, 1);
	}
	tables_next += PAGE_BYTES;
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		((volatile uint64_t *)table)[i] = 0;
	return table;
}

uint64_t *space_new(void)
{
	uint64_t *space = table_new();

	space[0] = pml4[0];
	return space;
}

uint64_t *space_table(uint64_t *space, uint64_t linear)
{
	uint64_t *table = space;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[linear >> shift & (TABLE_ENTRIES - 1)];

		if (*entry == 0)
			*entry = (uintptr_t)table_new() | ENTRY_DATA;
		table = (uint64_t *)(uintptr_t)(*entry & ~(PAGE_BYTES - 1));
	}
	return table;
}

void space_map(uint64_t *space, uint64_t linear, uint64_t physical, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t *table = space_table(space, linear);

		table[linear >> 12 & (TABLE_ENTRIES - 1)] = physical | ENTRY_DATA;
		linear += PAGE_BYTES;
		physical += PAGE_BYTES;
	}
}

uint64_t touch_write(uint64_t start, uint64_t count, int64_t step)
{
	uint64_t end = start + count * (uint64_t)step;
	uint64_t at = start;
	uint64_t begin = ticks();

	__asm__ volatile("1: movq %0, (%0)\n\t"
			 "addq %2, %0\n\t"
			 "cmpq %1, %0\n\t"
			 "jne 1b"
			 : "+r"(at)
			 : "r"(end), "r"(step)
			 : "memory", "cc");
	return ticks_since(begin);
}

uint64_t touch_read(uint64_t start, uint64_t count, int64_t step)
{
	uint64_t end = start + count * (uint64_t)step;
	uint64_t at = start;
	uint64_t value;
	uint64_t begin = ticks();

	__asm__ volatile("1: movq (%0), %1\n\t"
			 "addq %3, %0\n\t"
			 "cmpq %2, %0\n\t"
			 "jne 1b"
			 : "+r"(at), "=&r"(value)
			 : "r"(end), "r"(step)
			 : "memory", "cc");
	return ticks_since(begin);
}
