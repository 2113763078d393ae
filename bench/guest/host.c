/* SPDX-License-Identifier: MIT */
/*
 * Sets "dirty" and "slots": operations of the host on this guest's memory, asked for through a
 * port. A 32-bit write to PORT_HOST names the operation; it is done when the write returns.
 * PORT_HOST + 4 and + 8 then read as the low and high half of the instructions that it took,
 * measured by the host. A host that has none of this leaves PORT_HOST reading as all ones, one
 * that lacks an operation answers with HOST_LACKS as its ticks.
 */
#include "payload.h"

enum host_operation {
	HOST_HELLO = 0, /* PORT_HOST then reads as HOST_ANSWER */
	HOST_DIRTY_ENABLE,
	HOST_DIRTY_HARVEST,
	HOST_DIRTY_DISABLE,
	HOST_SLOT_ADD,    /* 4 MiB behind the data */
	HOST_SLOT_DELETE, /* the same */
	HOST_DATA_DELETE, /* the slot of all data */
	HOST_DATA_ADD,
};

#define HOST_ANSWER UINT32_C(0x756d6d76)
#define HOST_LACKS UINT64_MAX

#define WINDOW (UINT64_C(1) << 39)

enum { DIRTY_PAGES = 16384, DATA_PAGES = 131072, FEW_PAGES = 16 };

static bool host_is_there(void)
{
	out32(PORT_HOST, HOST_HELLO);
	return in32(PORT_HOST) == HOST_ANSWER;
}

static uint64_t host_do(enum host_operation operation)
{
	uint64_t low;

	out32(PORT_HOST, (uint32_t)operation);
	low = in32(PORT_HOST + 4);
	return (uint64_t)in32(PORT_HOST + 8) << 32 | low;
}

static void put_host(const char *set, const char *name, enum host_operation operation)
{
	uint64_t took = host_do(operation);

	if (took != HOST_LACKS)
		put_result(set, name, took, 1);
}

/* Functions of their own, for bench/profile.py. */
__attribute__((noinline)) static void measure_slot_add(void)
{
	put_host("slots", "add4m", HOST_SLOT_ADD);
}

__attribute__((noinline)) static void measure_slot_delete(void)
{
	put_host("slots", "delete4m", HOST_SLOT_DELETE);
}

__attribute__((noinline)) static void measure_data_delete(void)
{
	put_host("slots", "delete512m", HOST_DATA_DELETE);
}

static void put_touched(const char *set, const char *operation, uint64_t pages)
{
	put_result(set, operation, touch_write(WINDOW, pages, PAGE_BYTES), pages);
}

__attribute__((noinline)) static void measure_harvest(const char *operation)
{
	put_host("dirty", operation, HOST_DIRTY_HARVEST);
}

__attribute__((noinline)) static void measure_harvest_none(void)
{
	measure_harvest("harvest.none");
}

__attribute__((noinline)) static void measure_harvest_all(void)
{
	measure_harvest("harvest.all");
}

void bench_dirty(void)
{
	if (!host_is_there() || host_do(HOST_DIRTY_HARVEST) == HOST_LACKS)
		return;
	space_map(pml4, WINDOW, DATA_START, DIRTY_PAGES);
	put_touched("dirty", "touch.before", DIRTY_PAGES);
	put_host("dirty", "enable", HOST_DIRTY_ENABLE);
	put_touched("dirty", "touch.logged", DIRTY_PAGES);
	put_touched("dirty", "touch.again", DIRTY_PAGES);
	measure_harvest_all();
	measure_harvest_none();
	put_touched("dirty", "touch.16", FEW_PAGES);
	measure_harvest("harvest.16");
	put_host("dirty", "disable", HOST_DIRTY_DISABLE);
	put_touched("dirty", "touch.after", DIRTY_PAGES);
}

void bench_slots(void)
{
	if (!host_is_there())
		return;
	space_map(pml4, WINDOW, DATA_START, DATA_PAGES);
	put_touched("slots", "touch.first", DATA_PAGES);
	put_touched("slots", "touch.warm", DATA_PAGES);
	measure_slot_add();
	put_touched("slots", "touch.after_add4m", DATA_PAGES);
	measure_slot_delete();
	put_touched("slots", "touch.after_delete4m", DATA_PAGES);
	measure_data_delete();
	put_host("slots", "add512m", HOST_DATA_ADD);
	put_touched("slots", "touch.after_add512m", DATA_PAGES);
}
