/* SPDX-License-Identifier: MIT */
/*
 * The driver of the mediated device, as an ordinary program of root's: registers and spare memory
 * through /dev/mem, guest frames through /proc/self/pagemap. It keeps a model of the table and of
 * all memory that the device can reach, and compares every byte.
 */
#ifndef VMMU_GUEST_MEDIATOR_H
#define VMMU_GUEST_MEDIATOR_H

#include "work.h"

#include <stdbool.h>

/* The registers of the device (docs/run-interface.md), 8 bytes each. */
#define DEVICE_REGISTERS 0xfd000000
#define DEVICE_SPARE 0xfd100000

enum device_register {
	DEVICE_ID = 0x000,
	DEVICE_SOURCE = 0x010,
	DEVICE_TARGET = 0x018,
	DEVICE_COPY = 0x020,
	DEVICE_STATUS = 0x028,
	DEVICE_FAULT = 0x030,
	DEVICE_SLOT = 0x038,
	DEVICE_MOVE_EVERY = 0x040,
	DEVICE_HOT = 0x048,
	DEVICE_DEAF = 0x050,
	DEVICE_WRITES = 0x080,
	DEVICE_SHADOWED = 0x088,
	DEVICE_ONCE = 0x098,
	DEVICE_CHECKED = 0x0c0,
	DEVICE_MISMATCHES = 0x0c8,
	DEVICE_TABLE = 0x100,
};

enum { STATUS_OK, STATUS_FAULT };
enum { SLOT_DELETE = 1, SLOT_CREATE, SLOT_MOVE };
#define HOT_NEVER UINT32_MAX
#define HOT_USUAL 8

enum {
	TABLE_PAGES = 2,
	PAGE_ENTRIES = PAGE_BYTES / 8,
	ENTRIES = TABLE_PAGES * PAGE_ENTRIES,
	OWN_PAGES = 256,  /* of this program's memory */
	SPARE_PAGES = 63, /* of the slot that comes and goes; its last page may hold the table */
	POOL_PAGES = OWN_PAGES + SPARE_PAGES,
};

#define ENTRY_PRESENT 1u
#define ENTRY_WRITABLE 2u

/* What an entry points at, beside pages of the pool. */
enum { TO_NOTHING = -1, TO_NOWHERE = -2, TO_TABLE = -3 };

struct entry {
	uint64_t raw;
	int to; /* page of the pool, or one of the above */
};

struct pool_page {
	uint64_t *at;
	uint64_t frame;
	uint64_t seed; /* its words are the pattern of this */
};

struct mediator_work {
	uint64_t *table[TABLE_PAGES]; /* where they are now */
	bool set[TABLE_PAGES];        /* the device knows them */
	uint64_t *own_table;          /* two pages in a row */
	uint64_t *spare_table;        /* one page in the slot that comes and goes */
	struct entry model[ENTRIES];
	struct pool_page pool[POOL_PAGES];
	bool slot_there;
	uint64_t random;
	uint64_t seeds;
	uint64_t changes, commands, faults, checked, mismatches;
};

/* device.c */
void device_open(void);
uint64_t device_get(unsigned reg);
void device_set(unsigned reg, uint64_t value);
void *device_spare_page(unsigned index);
uint64_t frame_of(const void *page);

/* table.c: entries, written in every way that a program may. */
uint64_t entry_make(const struct mediator_work *work, int to, bool writable);
void table_write(struct mediator_work *work, unsigned index, struct entry entry);
void table_set_page(struct mediator_work *work, unsigned index, uint64_t *page, uint64_t frame);
void table_clear_page(struct mediator_work *work, unsigned index);
void table_change(struct mediator_work *work, unsigned count);
void table_verify(const struct mediator_work *work);
unsigned table_random(struct mediator_work *work, unsigned below);

/* A command to the device, and all that must have come of it. */
void pool_fill(struct mediator_work *work, unsigned page);
void pool_verify(struct mediator_work *work);
void command_run(struct mediator_work *work, unsigned from, unsigned to, unsigned count);
/* Some changes, some commands, a look at everything. */
void round_run(struct mediator_work *work);

/* phases.c */
void phases_run(struct mediator_work *work);
void phase_deaf(struct mediator_work *work);
void cost_measure(struct mediator_work *work);

#endif
