/* SPDX-License-Identifier: MIT */
/*
 * vmmu-mediator: builds the device's table in its own memory, has the device copy through it, and
 * says in the last line whether all was right. `vmmu.mediator=deaf` on the kernel's line tries
 * what happens when the hypervisor does not see the writes: then it must fail.
 */
#include "mediator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct mediator_work work;

/* Pages that stay where they are in the guest's memory. */
static uint64_t *locked(size_t pages)
{
	size_t bytes = pages * PAGE_BYTES;
	void *start = work_map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	(void)madvise(start, bytes, MADV_NOHUGEPAGE);
	if (mlock(start, bytes) != 0)
		work_fail("mlock, error number", 0, (uint64_t)errno);
	(void)memset(start, 0, bytes);
	return start;
}

static void set_up(void)
{
	uint64_t *own = locked(OWN_PAGES);

	work.slot_there = true;
	for (unsigned i = 0; i < OWN_PAGES; i++) {
		work.pool[i].at = own + (size_t)i * PAGE_ENTRIES;
		work.pool[i].frame = frame_of(work.pool[i].at);
	}
	for (unsigned i = 0; i < SPARE_PAGES; i++) {
		work.pool[OWN_PAGES + i].at = device_spare_page(i);
		work.pool[OWN_PAGES + i].frame = DEVICE_SPARE / PAGE_BYTES + i;
	}
	for (unsigned i = 0; i < POOL_PAGES; i++)
		pool_fill(&work, i);
	for (unsigned i = 0; i < ENTRIES; i++)
		work.model[i].to = TO_NOTHING;
	work.own_table = locked(TABLE_PAGES);
	work.spare_table = device_spare_page(SPARE_PAGES);
	device_set(DEVICE_HOT, HOT_NEVER);
	for (unsigned i = 0; i < TABLE_PAGES; i++) {
		uint64_t *page = work.own_table + (size_t)i * PAGE_ENTRIES;

		table_set_page(&work, i, page, frame_of(page));
	}
}

/* The device goes by frames: had Linux moved a page, nothing above would mean anything. */
static void check_frames(void)
{
	for (unsigned i = 0; i < OWN_PAGES; i++)
		work_check("the frame of a locked page", work.pool[i].frame,
			   frame_of(work.pool[i].at));
}

static void say(const char *name, uint64_t number)
{
	work_say("mediator %s %llu", name, (unsigned long long)number);
}

static void report(void)
{
	device_set(DEVICE_CHECKED, work.checked);
	device_set(DEVICE_MISMATCHES, work.mismatches);
	say("changes", work.changes);
	say("writes_seen", device_get(DEVICE_WRITES));
	say("entries_shadowed", device_get(DEVICE_SHADOWED));
	say("commands", work.commands);
	say("faults", work.faults);
	say("copies_checked", work.checked);
	say("mismatches", work.mismatches);
}

int main(void)
{
	static char token[4096];
	static char mode[16];

	(void)work_seconds();
	work_option("vmmu.token=", "none", token, sizeof(token));
	work_option("vmmu.mediator=", "", mode, sizeof(mode));
	device_open();
	set_up();
	if (strcmp(mode, "deaf") == 0) {
		phase_deaf(&work);
	} else {
		phases_run(&work);
		cost_measure(&work);
	}
	check_frames();
	for (unsigned i = 0; i < TABLE_PAGES; i++)
		table_clear_page(&work, i);
	report();
	work_check("bytes that are wrong", 0, work.mismatches);
	work_say("all work done in %.1f s", work_seconds());
	(void)printf("vmmu-guest: ok token=%s\n", token);
	work_drain();
	return 0;
}
