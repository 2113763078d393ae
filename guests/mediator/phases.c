/* SPDX-License-Identifier: MIT */
/* What is done to the table, in the order of the device's life. */
#include "mediator.h"

#include <stdlib.h>

enum { ROUNDS = 8, HOT_WRITES = 5000, COST_TIMES = 1000 };

static void rounds(struct mediator_work *work, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		round_run(work);
}

/* Every entry once, in random order. */
static void phase_build(struct mediator_work *work)
{
	static unsigned order[ENTRIES];

	for (unsigned i = 0; i < ENTRIES; i++)
		order[i] = i;
	for (unsigned i = ENTRIES - 1; i > 0; i--) {
		unsigned k = table_random(work, i + 1);
		unsigned kept = order[i];

		order[i] = order[k];
		order[k] = kept;
	}
	for (unsigned i = 0; i < ENTRIES; i++) {
		int to = (int)table_random(work, POOL_PAGES);

		table_write(work, order[i], (struct entry){entry_make(work, to, true), to});
	}
	rounds(work, ROUNDS);
}

/* The slot that the table points into goes, stays away, comes back, moves under a command. */
static void phase_slot(struct mediator_work *work)
{
	for (unsigned i = 0; i < 3; i++) {
		device_set(DEVICE_SLOT, SLOT_DELETE);
		work->slot_there = false;
		rounds(work, 2);
		device_set(DEVICE_SLOT, SLOT_CREATE);
		work->slot_there = true;
		work_check("the slot is back", 1, device_get(DEVICE_SLOT));
		rounds(work, 2);
	}
	device_set(DEVICE_MOVE_EVERY, 3);
	rounds(work, ROUNDS);
	device_set(DEVICE_MOVE_EVERY, 0);
}

/* A page that is written all the time is told of once, and again when it has calmed down. */
static void phase_hot(struct mediator_work *work)
{
	uint64_t told = device_get(DEVICE_WRITES);
	struct entry entry = {0};

	device_set(DEVICE_HOT, HOT_USUAL);
	for (unsigned i = 0; i < HOT_WRITES; i++) {
		entry.to = (int)table_random(work, POOL_PAGES);
		entry.raw = entry_make(work, entry.to, true);
		table_write(work, 7, entry);
	}
	told = device_get(DEVICE_WRITES) - told;
	work_say("mediator hot_writes %u", HOT_WRITES);
	work_say("mediator hot_writes_told %llu", (unsigned long long)told);
	if (told == 0 || told > HOT_WRITES / 10)
		work_fail("writes told of a hot page, at most", HOT_WRITES / 10, told);
	rounds(work, 2 * ROUNDS);
	device_set(DEVICE_HOT, HOT_NEVER);
	rounds(work, ROUNDS);
}

/* The device writes its own table: nobody but the device can tell. */
static void phase_self(struct mediator_work *work)
{
	const struct entry table = {frame_of(work->table[1]) << 12 | ENTRY_PRESENT | ENTRY_WRITABLE,
				    TO_TABLE};
	uint64_t *page = work->pool[0].at;

	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		struct entry entry = {.to = (int)table_random(work, POOL_PAGES)};

		entry.raw = entry_make(work, entry.to, true);
		work->model[PAGE_ENTRIES + i] = entry;
		page[i] = entry.raw;
	}
	table_write(work, 3, (struct entry){entry_make(work, 0, false), 0});
	table_write(work, 4, table);
	device_set(DEVICE_SOURCE, 3 * PAGE_BYTES);
	device_set(DEVICE_TARGET, 4 * PAGE_BYTES);
	device_set(DEVICE_COPY, 1);
	work_check("the status after the device wrote its own table", STATUS_OK,
		   device_get(DEVICE_STATUS));
	work->checked++;
	table_write(work, 4, (struct entry){0, TO_NOTHING});
	pool_fill(work, 0);
	rounds(work, ROUNDS);
}

/* A page of the table becomes data, another one takes its place. */
static void phase_reuse(struct mediator_work *work)
{
	uint64_t *page = work->table[1];
	uint64_t told;

	table_clear_page(work, 1);
	told = device_get(DEVICE_WRITES);
	work_fill(page, PAGE_BYTES, 0x5eed);
	work_verify("what was a page of the table", page, PAGE_BYTES, 0x5eed);
	work_check("writes told of a page that is data", told, device_get(DEVICE_WRITES));
	for (unsigned i = 0; i < 4; i++)
		command_run(work, table_random(work, PAGE_ENTRIES / 2),
			    PAGE_ENTRIES - 4 + table_random(work, 8), 8);
	work_verify("the same, after commands", page, PAGE_BYTES, 0x5eed);
	table_set_page(work, 1, page, frame_of(page));
	rounds(work, ROUNDS);
}

/* A page of the table in the slot that goes. */
static void phase_orphan(struct mediator_work *work)
{
	table_clear_page(work, 1);
	table_set_page(work, 1, work->spare_table, DEVICE_SPARE / PAGE_BYTES + SPARE_PAGES);
	rounds(work, 2);
	for (unsigned i = 0; i < 2; i++) {
		device_set(DEVICE_SLOT, SLOT_DELETE);
		work->slot_there = false;
		work->set[1] = false;
		for (unsigned k = 0; k < 8; k++)
			command_run(work, table_random(work, ENTRIES - 4),
				    table_random(work, ENTRIES - 4), 4);
		device_set(DEVICE_SLOT, SLOT_CREATE);
		work->slot_there = true;
		work->set[1] = true;
		rounds(work, 2);
	}
	device_set(DEVICE_MOVE_EVERY, 5);
	rounds(work, ROUNDS);
	device_set(DEVICE_MOVE_EVERY, 0);
	table_clear_page(work, 1);
	table_set_page(work, 1, work->own_table + PAGE_ENTRIES,
		       frame_of(work->own_table + PAGE_ENTRIES));
	rounds(work, 2);
}

void phase_deaf(struct mediator_work *work)
{
	phase_build(work);
	work_check("bytes that are wrong while the tracking works", 0, work->mismatches);
	device_set(DEVICE_DEAF, 1);
	rounds(work, 1);
}

static void phase_say(struct mediator_work *work, const char *done)
{
	work_say("%s: %llu changes, %llu commands, %llu mismatches, %.1f s", done,
		 (unsigned long long)work->changes, (unsigned long long)work->commands,
		 (unsigned long long)work->mismatches, work_seconds());
}

void phases_run(struct mediator_work *work)
{
	static const struct {
		void (*run)(struct mediator_work *work);
		const char *done;
	} phases[] = {
		{phase_build, "table built and changed"},
		{phase_slot, "slot deleted and created"},
		{phase_hot, "hot page written"},
		{phase_self, "table written by the device"},
		{phase_reuse, "page of the table reused"},
		{phase_orphan, "page of the table lost and found"},
	};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		phases[i].run(work);
		phase_say(work, phases[i].done);
		if (work->mismatches != 0)
			return;
	}
}

/* --- cost --- */

static int compare(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a;
	const uint64_t right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static uint64_t ticks[COST_TIMES];

/* Interrupts fall into few of many times. */
static void say_median(const char *name)
{
	qsort(ticks, COST_TIMES, sizeof(ticks[0]), compare);
	work_say("mediator %s %llu", name, (unsigned long long)ticks[COST_TIMES / 2]);
}

/* One store. */
static __attribute__((noinline)) void stores(volatile uint64_t *at)
{
	uint64_t value = *at;

	for (unsigned i = 0; i < COST_TIMES; i++) {
		uint64_t begin = __builtin_ia32_rdtsc();

		*at = value;
		ticks[i] = __builtin_ia32_rdtsc() - begin;
	}
}

/* A command that copies nothing, with or without a store before it. */
static void commands(volatile uint64_t *at)
{
	uint64_t value = at ? *at : 0;

	for (unsigned i = 0; i < COST_TIMES; i++) {
		uint64_t begin = __builtin_ia32_rdtsc();

		if (at)
			*at = value;
		device_set(DEVICE_COPY, 0);
		ticks[i] = __builtin_ia32_rdtsc() - begin;
	}
}

void cost_measure(struct mediator_work *work)
{
	uint64_t told = device_get(DEVICE_WRITES);

	stores(work->pool[0].at);
	say_median("ticks_per_untracked_write");
	work_check("writes told meanwhile", told, device_get(DEVICE_WRITES));
	stores(work->table[0]);
	work_check("writes told meanwhile", told + COST_TIMES, device_get(DEVICE_WRITES));
	say_median("ticks_per_tracked_write");
	commands(NULL);
	say_median("ticks_per_command");
	/* Both pages of the table go to dirty-once mode at their next write, and stay there. */
	device_set(DEVICE_HOT, 0);
	commands(work->table[0]);
	say_median("ticks_per_write_and_command_once");
	told = device_get(DEVICE_WRITES);
	commands(work->table[0]);
	work_check("writes told meanwhile", told + COST_TIMES, device_get(DEVICE_WRITES));
	device_set(DEVICE_HOT, HOT_NEVER);
}
