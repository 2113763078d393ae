/* SPDX-License-Identifier: MIT */
/*
 * Which RAM is free, as a list of ranges, and a bump allocator for what must exist before
 * the pools: page tables and the pools' own bookkeeping. What it takes is never given back.
 */
#include "internal.h"

static struct free_range ranges[FREE_RANGES_MAX];
static uint32_t range_count;
static struct free_range *early; /* the range that early_alloc() eats from its start */

static void range_add(uint64_t start, uint64_t end)
{
	start = (start + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	end &= ~(FRAME_BYTES - 1);
	if (start >= end)
		return;
	if (range_count == FREE_RANGES_MAX)
		hv_refuse(1, "the memory map falls into more than %d pieces", FREE_RANGES_MAX);
	ranges[range_count++] = (struct free_range){start, end};
}

/* Take [start, end) out of the list, whole frames. */
static void range_remove(uint64_t start, uint64_t end)
{
	uint32_t count = range_count;

	start &= ~(FRAME_BYTES - 1);
	end = (end + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	for (uint32_t i = 0; i < count; i++) {
		struct free_range old = ranges[i];

		if (old.end <= start || old.start >= end)
			continue;
		ranges[i].end = old.start < start ? start : old.start; /* may become empty */
		if (old.end > end)
			range_add(end, old.end);
	}
}

static void remove_occupied(const struct boot_info *boot)
{
	for (uint32_t i = 0; i < boot->memory_count; i++) {
		if (boot->memory[i].kind != BOOT_MEMORY_RAM)
			range_remove(boot->memory[i].start, boot->memory[i].end);
	}
	for (uint32_t i = 0; i < boot->module_count; i++) {
		uint64_t start = (uintptr_t)boot->modules[i].data;

		range_remove(start, start + boot->modules[i].bytes);
	}
	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		uint64_t start = (uintptr_t)boot->acpi[i].data;

		range_remove(start, start + boot->acpi[i].bytes);
	}
	range_remove(0, MIB(1));
	range_remove((uintptr_t)image_start, (uintptr_t)image_end);
}

/* RAM entries of a broken map may overlap; a frame must be listed once. */
static void add_ram(const struct boot_info *boot)
{
	for (uint32_t i = 0; i < boot->memory_count; i++) {
		const struct boot_memory *memory = &boot->memory[i];

		if (memory->kind != BOOT_MEMORY_RAM)
			continue;
		range_remove(memory->start, memory->end);
		range_add(memory->start, memory->end);
	}
}

void early_init(const struct boot_info *boot)
{
	add_ram(boot);
	remove_occupied(boot);
	for (uint32_t i = 0; i < range_count; i++) {
		uint64_t bytes = ranges[i].end - ranges[i].start;

		if (ranges[i].end <= GIB(4) && (early == NULL || bytes > early->end - early->start))
			early = &ranges[i];
	}
	if (early == NULL)
		hv_refuse(1, "no free memory below 4 GiB; give the machine more");
}

void *early_alloc(uint64_t bytes)
{
	uint64_t start = early->start;

	bytes = (bytes + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	if (bytes > early->end - start)
		hv_refuse(1, "memory is used up at start; give the machine more");
	early->start += bytes;
	clear_words((void *)(uintptr_t)start, bytes);
	return (void *)(uintptr_t)start;
}

const struct free_range *early_ranges(uint32_t *count)
{
	*count = range_count;
	return ranges;
}
