/* SPDX-License-Identifier: MIT */
/*
 * Set "tables": what operating systems do to their page tables. Nested paging does not see any
 * of it; shadow paging lives on it. Every workload runs several times over data that has been
 * touched before; the least is what is told, that of the steady state.
 */
#include "payload.h"

enum { ROUNDS = 8, PAGES = TABLE_ENTRIES, SWITCHES = 64, PROCESS_TABLES = 4 };

#define WINDOW (UINT64_C(1) << 40)
#define FRAMES_A (FRAMES_START + ENTRY_DATA)
#define FRAMES_B (FRAMES_START + PAGES * PAGE_BYTES + ENTRY_DATA)

/* Out of line, so that bench/profile.py finds where each begins. */
#define WORKLOAD static __attribute__((noinline)) void

static uint64_t *space;
static uint64_t *table; /* maps the window in @space */

/* Each loop's instructions per entry are few and the same everywhere; see docs/performance.md. */
static void entries_set(uint64_t first)
{
	volatile uint64_t *entry = table;

	for (uint64_t value = first; entry != table + PAGES; value += PAGE_BYTES)
		*entry++ = value;
}

static void entries_clear(void)
{
	for (volatile uint64_t *entry = table; entry != table + PAGES; entry++)
		*entry = 0;
}

static void entries_mask(uint64_t mask)
{
	for (volatile uint64_t *entry = table; entry != table + PAGES; entry++)
		*entry &= mask;
}

static uint64_t touch_window(void)
{
	return touch_write(WINDOW, PAGES, PAGE_BYTES);
}

static void prepare(void)
{
	/* Written once, so that only the page tables' work is left. */
	touch_write(FRAMES_START, 2 * PAGES, PAGE_BYTES);
	space = space_new();
	space_map(space, WINDOW, FRAMES_START, PAGES);
	table = space_table(space, WINDOW);
	cr3_write((uintptr_t)space);
	touch_window();
}

static void put_table(const char *operation, uint64_t took, uint64_t parts)
{
	put_result("tables", operation, took, parts);
}

enum { SINGLE = 1000 };

WORKLOAD measure_single(void)
{
	uint64_t value[2] = {FRAMES_A, FRAMES_B};
	uint64_t start = ticks();

	for (unsigned i = 0; i < SINGLE; i++) {
		*(volatile uint64_t *)table = value[i & 1];
		invlpg(WINDOW);
		store64(WINDOW, 0);
	}
	put_table("remap1", ticks_since(start), SINGLE);
	start = ticks();
	for (unsigned i = 0; i < SINGLE; i++)
		invlpg(WINDOW);
	put_table("invlpg", ticks_since(start), SINGLE);
	start = ticks();
	for (unsigned i = 0; i < SINGLE; i++)
		*(volatile uint64_t *)table = value[i & 1];
	put_table("entry_write", ticks_since(start), SINGLE);
	invlpg(WINDOW);
}

static uint64_t remap_each(uint64_t value)
{
	uint64_t linear = WINDOW;
	uint64_t start = ticks();

	for (volatile uint64_t *entry = table; entry != table + PAGES; entry++) {
		*entry = value;
		invlpg(linear);
		store64(linear, 0);
		linear += PAGE_BYTES;
		value += PAGE_BYTES;
	}
	return ticks_since(start);
}

static uint64_t reload(void)
{
	uint64_t start = ticks();

	cr3_write((uintptr_t)space);
	return ticks_since(start);
}

static uint64_t set_timed(uint64_t first)
{
	uint64_t start = ticks();

	entries_set(first);
	return ticks_since(start);
}

static uint64_t clear_timed(void)
{
	uint64_t start = ticks();

	entries_clear();
	return ticks_since(start);
}

static uint64_t mask_timed(uint64_t mask)
{
	uint64_t start = ticks();

	entries_mask(mask);
	cr3_write((uintptr_t)space);
	return ticks_since(start);
}

/* 512 entries are rewritten, one flush for all. */
WORKLOAD measure_batch(void)
{
	uint64_t set[ROUNDS], load[ROUNDS], touch[ROUNDS], total[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		set[i] = set_timed((i & 1) != 0 ? FRAMES_A : FRAMES_B);
		load[i] = reload();
		touch[i] = touch_window();
		total[i] = set[i] + load[i] + touch[i];
	}
	put_table("batch.write", least_of(set, ROUNDS), 1);
	put_table("batch.cr3", least_of(load, ROUNDS), 1);
	put_table("batch.touch", least_of(touch, ROUNDS), 1);
	put_table("batch", least_of(total, ROUNDS), 1);
}

WORKLOAD measure_munmap(void)
{
	uint64_t clear[ROUNDS], load[ROUNDS], set[ROUNDS], touch[ROUNDS], total[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		clear[i] = clear_timed();
		load[i] = reload();
		set[i] = set_timed(FRAMES_A);
		touch[i] = touch_window();
		total[i] = clear[i] + load[i] + set[i] + touch[i];
	}
	put_table("munmap.clear", least_of(clear, ROUNDS), 1);
	put_table("munmap.cr3", least_of(load, ROUNDS), 1);
	put_table("munmap.set", least_of(set, ROUNDS), 1);
	put_table("munmap.touch", least_of(touch, ROUNDS), 1);
	put_table("munmap", least_of(total, ROUNDS), 1);
}

static uint64_t clear_each(void)
{
	uint64_t linear = WINDOW;
	uint64_t start = ticks();

	for (volatile uint64_t *entry = table; entry != table + PAGES; entry++) {
		*entry = 0;
		invlpg(linear);
		linear += PAGE_BYTES;
	}
	return ticks_since(start);
}

WORKLOAD measure_munmap_each(void)
{
	uint64_t clear[ROUNDS], again[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		clear[i] = clear_each();
		again[i] = set_timed(FRAMES_A);
		again[i] += touch_window();
	}
	put_table("munmap_invlpg", least_of(clear, ROUNDS), 1);
	put_table("munmap_invlpg.set_touch", least_of(again, ROUNDS), 1);
}

/* A fork's write protection, then the copies: the same frames made writable one by one. */
WORKLOAD measure_cow(void)
{
	uint64_t protect[ROUNDS], copy[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t linear = WINDOW;
		uint64_t start;

		protect[i] = mask_timed(~(uint64_t)ENTRY_WRITABLE);
		start = ticks();
		for (volatile uint64_t *entry = table; entry != table + PAGES; entry++) {
			*entry |= ENTRY_WRITABLE;
			invlpg(linear);
			store64(linear, 0);
			linear += PAGE_BYTES;
		}
		copy[i] = ticks_since(start);
	}
	put_table("wrprotect", least_of(protect, ROUNDS), 1);
	put_table("cow", least_of(copy, ROUNDS), 1);
}

WORKLOAD measure_age(void)
{
	uint64_t clear[ROUNDS], write[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		clear[i] = mask_timed(~(uint64_t)(ENTRY_ACCESSED | ENTRY_DIRTY));
		write[i] = touch_window();
	}
	put_table("clear_ad", least_of(clear, ROUNDS), 1);
	put_table("clear_ad.write", least_of(write, ROUNDS), 1);
}

/* The guest's own page faults: its handler fills in the entry. */
WORKLOAD measure_demand(void)
{
	uint64_t touch[ROUNDS];

	fault_table = table;
	fault_linear = WINDOW;
	fault_frames = FRAMES_A;
	for (unsigned i = 0; i < ROUNDS; i++) {
		entries_clear();
		reload();
		touch[i] = touch_window();
	}
	put_table("demand", least_of(touch, ROUNDS), PAGES);
}

WORKLOAD measure_switch(const char *operation, uint64_t *other, uint64_t pages)
{
	uint64_t *spaces[2] = {space, other};
	uint64_t took[ROUNDS];

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start = ticks();

		for (unsigned i = 0; i < SWITCHES; i++) {
			cr3_write((uintptr_t)spaces[i & 1]);
			if (pages != 0)
				touch_write(WINDOW, pages, PAGE_BYTES);
		}
		took[round] = ticks_since(start);
	}
	cr3_write((uintptr_t)space);
	put_table(operation, least_of(took, ROUNDS), SWITCHES);
}

WORKLOAD measure_switches(void)
{
	uint64_t *other = space_new();

	space_map(other, WINDOW, FRAMES_START, PAGES);
	measure_switch("switch.0", other, 0);
	measure_switch("switch.16", other, 16);
	measure_switch("switch.512", other, PAGES);
}

struct process {
	uint64_t *top, *third, *second, *first;
};

static void process_build(const struct process *process)
{
	uint64_t *tables[PROCESS_TABLES] = {process->top, process->third, process->second,
					    process->first};

	for (unsigned i = 0; i < PROCESS_TABLES; i++) {
		for (unsigned k = 0; k < TABLE_ENTRIES; k++)
			((volatile uint64_t *)tables[i])[k] = 0;
	}
	process->top[0] = pml4[0];
	process->top[WINDOW >> 39 & 511] = (uintptr_t)process->third | ENTRY_DATA;
	process->third[0] = (uintptr_t)process->second | ENTRY_DATA;
	process->second[0] = (uintptr_t)process->first | ENTRY_DATA;
	for (uint64_t i = 0; i < PAGES; i++)
		((volatile uint64_t *)process->first)[i] = FRAMES_A + i * PAGE_BYTES;
}

static void process_clear(const struct process *process)
{
	for (unsigned i = 0; i < PAGES; i++)
		((volatile uint64_t *)process->first)[i] = 0;
	*(volatile uint64_t *)process->second = 0;
	*(volatile uint64_t *)process->third = 0;
	((volatile uint64_t *)process->top)[WINDOW >> 39 & 511] = 0;
}

/* Made, run, ended, and its page tables used as data: what fork, exec and exit come to. */
WORKLOAD measure_process(void)
{
	struct process process = {table_new(), table_new(), table_new(), table_new()};
	uint64_t build[ROUNDS], run[ROUNDS], end[ROUNDS], reuse[ROUNDS], total[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = ticks();

		process_build(&process);
		build[i] = ticks_since(start);
		start = ticks();
		cr3_write((uintptr_t)process.top);
		touch_window();
		run[i] = ticks_since(start);
		start = ticks();
		cr3_write((uintptr_t)space);
		process_clear(&process);
		end[i] = ticks_since(start);
		reuse[i] = touch_write((uintptr_t)process.top, PROCESS_TABLES * TABLE_ENTRIES, 8);
		total[i] = build[i] + run[i] + end[i] + reuse[i];
	}
	put_table("process.build", least_of(build, ROUNDS), 1);
	put_table("process.touch", least_of(run, ROUNDS), 1);
	put_table("process.end", least_of(end, ROUNDS), 1);
	put_table("process.reuse", least_of(reuse, ROUNDS), 1);
	put_table("process", least_of(total, ROUNDS), 1);
}

void bench_tables(void)
{
	uint64_t each[ROUNDS];

	prepare();
	measure_single();
	for (unsigned i = 0; i < ROUNDS; i++)
		each[i] = remap_each((i & 1) != 0 ? FRAMES_A : FRAMES_B);
	put_table("remap512.first", each[0], PAGES);
	put_table("remap512", least_of(each, ROUNDS), PAGES);
	measure_batch();
	measure_munmap();
	measure_munmap_each();
	measure_cow();
	measure_age();
	measure_demand();
	measure_switches();
	measure_process();
	cr3_write((uintptr_t)pml4);
}
