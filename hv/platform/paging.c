/* SPDX-License-Identifier: MIT */
/*
 * The host's page tables: identity, built once. Largest pages everywhere, except the 2M
 * regions that hold the image, which have 4K pages so that text, constants, data and guard
 * pages get their own rights. Up to the end of low RAM memory is write-back; from there to
 * 4 GiB lie devices, uncached; above 4 GiB only RAM is mapped.
 */
#include "internal.h"

#define PTE_PRESENT (UINT64_C(1) << 0)
#define PTE_WRITE (UINT64_C(1) << 1)
#define PTE_UNCACHED (UINT64_C(3) << 3) /* PWT and PCD: PAT entry 3, UC at reset */
#define PTE_LARGE (UINT64_C(1) << 7)
#define PTE_NO_EXEC (UINT64_C(1) << 63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

#define RAM_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_NO_EXEC)
#define DEVICE_FLAGS (RAM_FLAGS | PTE_UNCACHED)

static uint64_t *root;
static uint32_t levels = 4;

/* Level 5, if used. In the image, as 32-bit code must be able to load its address. */
static uint64_t top_table[512] __attribute__((aligned(4096)));

void paging_switch_la57(uint64_t cr3); /* entry.S */

static uint64_t *next_table(uint64_t *entry)
{
	if ((*entry & PTE_PRESENT) == 0)
		*entry = (uintptr_t)early_alloc(FRAME_BYTES) | PTE_PRESENT | PTE_WRITE;
	HV_ASSERT((*entry & PTE_LARGE) == 0);
	return (uint64_t *)(uintptr_t)(*entry & PTE_ADDRESS);
}

/* The entry that maps @address in a table of @shift (12, 21, 30). */
static uint64_t *entry_for(uint64_t address, uint32_t shift)
{
	uint64_t *table = root;

	for (uint32_t at = 39; at > shift; at -= 9)
		table = next_table(&table[address >> at & 511]);
	return &table[address >> shift & 511];
}

/* 2M-aligned [start, end), large pages. */
static void map_large(uint64_t start, uint64_t end, uint64_t flags)
{
	bool use_1g = cpu_facts()->has_1g_pages;

	while (start < end) {
		uint32_t shift = use_1g && start % GIB(1) == 0 && end - start >= GIB(1) ? 30 : 21;

		*entry_for(start, shift) = start | flags | PTE_LARGE;
		start += UINT64_C(1) << shift;
	}
}

static bool is_guard(uint64_t page)
{
	if (page == 0)
		return true;
	for (size_t cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (page == (uintptr_t)boot_stack[cpu].guard)
			return true;
		for (size_t i = 0; i < IST_COUNT; i++) {
			if (page == (uintptr_t)ist_stacks[cpu][i].guard)
				return true;
		}
	}
	return false;
}

static uint64_t small_page_flags(uint64_t page)
{
	if (is_guard(page))
		return 0;
	if (page >= 0xa0000 && page < 0xc0000)
		return DEVICE_FLAGS; /* display memory */
	if (page >= (uintptr_t)image_start && page < (uintptr_t)image_text_end)
		return PTE_PRESENT;
	if (page >= (uintptr_t)image_text_end && page < (uintptr_t)image_rodata_end)
		return PTE_PRESENT | PTE_NO_EXEC;
	return RAM_FLAGS;
}

static void map_small(uint64_t start, uint64_t end)
{
	for (uint64_t page = start; page < end; page += FRAME_BYTES) {
		uint64_t flags = small_page_flags(page);

		if (flags != 0)
			*entry_for(page, 12) = page | flags;
	}
}

static uint64_t up_2m(uint64_t address)
{
	return (address + BLOCK_2M_BYTES - 1) & ~(BLOCK_2M_BYTES - 1);
}

static uint64_t low_ram_end(const struct boot_info *boot)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < boot->memory_count; i++) {
		const struct boot_memory *memory = &boot->memory[i];

		if (memory->kind == BOOT_MEMORY_RAM && memory->start < GIB(4) && memory->end > end)
			end = memory->end < GIB(4) ? memory->end : GIB(4);
	}
	return up_2m(end);
}

static void map_high_ram(const struct boot_info *boot)
{
	for (uint32_t i = 0; i < boot->memory_count; i++) {
		uint64_t start = boot->memory[i].start & ~(BLOCK_2M_BYTES - 1);

		if (boot->memory[i].kind != BOOT_MEMORY_RAM || boot->memory[i].end <= GIB(4))
			continue;
		map_large(start < GIB(4) ? GIB(4) : start, up_2m(boot->memory[i].end), RAM_FLAGS);
	}
}

void paging_init(const struct boot_info *boot)
{
	uint64_t small_end = up_2m((uintptr_t)image_end);
	uint64_t ram_end = low_ram_end(boot);

	root = early_alloc(FRAME_BYTES);
	map_small(0, small_end);
	map_large(small_end, ram_end, RAM_FLAGS);
	map_large(ram_end, GIB(4), DEVICE_FLAGS);
	map_high_ram(boot);
	paging_join();
}

void paging_join(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_NXE);
	cr3_write((uintptr_t)root);
	cr0_write(cr0_read() | CR0_WP);
	if (levels == 5)
		paging_switch_la57((uintptr_t)top_table);
}

uint32_t paging_levels(void)
{
	return levels;
}

bool paging_use_5_levels(void)
{
	if (levels == 5)
		return true;
	if (!cpu_facts()->has_la57)
		return false;
	top_table[0] = (uintptr_t)root | PTE_PRESENT | PTE_WRITE;
	paging_switch_la57((uintptr_t)top_table);
	levels = 5;
	return true;
}
