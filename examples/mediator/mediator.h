/* SPDX-License-Identifier: MIT */
/*
 * A mediator of a device's page table, to copy from: the guest keeps the table (a "graphics
 * translation table") in its own memory and writes guest frames into it; the device must never
 * see these. The mediator write-tracks the pages of the table and keeps a shadow of it with host
 * frames, which is all that the device uses.
 *
 * Freestanding: no libc, no allocation. Memory and locks come by callbacks.
 *
 *   the guest writes an entry   its page is tracked: the entry is read again, validated, shadowed
 *   ... far too often           the page goes to dirty-once mode and is read again at submission
 *   a slot ends                 entries into it are dropped, pages of the table in it are given up
 *   slots come back             at the next submission everything is validated anew
 *
 * What is never trusted: the bytes of a write as they went by. Memory is read after the fact,
 * under the lock, so that of two writes at once the later one wins, whoever is told first.
 */
#ifndef VMMU_EXAMPLES_MEDIATOR_H
#define VMMU_EXAMPLES_MEDIATOR_H

#include <vmmu/vmmu.h>

#ifndef MEDIATOR_PAGES
#define MEDIATOR_PAGES 4u /* of one device table, at most */
#endif
#define MEDIATOR_PAGE_ENTRIES (VMMU_PAGE_BYTES / 8u)
#define MEDIATOR_ENTRIES (MEDIATOR_PAGES * MEDIATOR_PAGE_ENTRIES)

/* An entry of the device's table as the guest writes it; bits 12 to 51 are the frame. */
#define MEDIATOR_PRESENT (UINT64_C(1) << 0)
#define MEDIATOR_WRITABLE (UINT64_C(1) << 1)
#define MEDIATOR_FRAME UINT64_C(0x000ffffffffff000)

/* Writes to a page between two submissions, above which it is read as a whole instead: in the
 * reference hypervisor that costs as much as five writes that are told. */
#define MEDIATOR_HOT_WRITES 8u
/* Submissions in a row that find a page calm, before each of its writes is told again. */
#define MEDIATOR_CALM_TURNS 8u

/* What the mediator asks of the embedder. */
struct mediator_host {
	/* Copy 8-byte words out of one page of guest memory, each by one load. False: no memory
	 * there. */
	bool (*read)(void *host, vmmu_gpa_t gpa, void *to, uint32_t bytes);
	/* The host frame behind a guest frame, pinned until frame_put. False: there is none. */
	bool (*frame_get)(void *host, vmmu_gfn_t gfn, vmmu_pfn_t *pfn);
	/* NULL if host frames stay for as long as their slot. */
	void (*frame_put)(void *host, vmmu_pfn_t pfn);
	/* One lock for each mediator, not to be held when vmmu is told of writes. NULL: there is
	 * only one thread. */
	void (*lock)(void *host);
	void (*unlock)(void *host);
};

struct mediator_entry {
	uint64_t raw;   /* what the guest has there */
	vmmu_pfn_t pfn; /* for the device; VMMU_PFN_NONE: not shadowed */
	bool writable;
};

enum mediator_state {
	MEDIATOR_NONE,   /* the guest has no page here */
	MEDIATOR_EACH,   /* each write is told */
	MEDIATOR_ONCE,   /* the first write after a submission is told */
	MEDIATOR_ORPHAN, /* the page lies in no slot: nothing is shadowed */
};

struct mediator_page {
	enum mediator_state state;
	vmmu_gfn_t gfn;
	bool dirty;      /* ONCE: written since it was read */
	uint32_t writes; /* told since the last submission */
	uint32_t calm;   /* ONCE: submissions in a row that found little new */
	struct mediator_entry entries[MEDIATOR_PAGE_ENTRIES];
};

struct mediator_stats {
	uint64_t writes;   /* told by vmmu */
	uint64_t shadowed; /* entries that were given a host frame */
	uint64_t refused;  /* entries that name a frame outside the slots */
	uint64_t dropped;  /* shadowed entries whose slot ended */
	uint64_t orphaned; /* pages of the table whose slot ended */
	uint64_t reread;   /* whole pages read again */
	uint64_t once;     /* times that a page went to dirty-once mode */
};

/* Zeroed, then mediator_create(). Members are private but hot_writes and stats. */
struct mediator {
	struct vmmu_vm *vm;
	const struct mediator_host *ops;
	void *host;
	vmmu_tracker_id_t tracker;
	uint64_t generation; /* of the slots when everything was validated last */
	uint32_t hot_writes; /* MEDIATOR_HOT_WRITES, or what suits the device better */
	struct mediator_stats stats;
	struct mediator_page pages[MEDIATOR_PAGES];
};

/* Become a tracking client of @vm. Return: as vmmu_tracker_register(). */
VMMU_MUST_CHECK enum vmmu_error mediator_create(struct mediator *mediator, struct vmmu_vm *vm,
						const struct mediator_host *ops, void *host);

/* The opposite. Not from a callback, and the lock is not held. */
void mediator_destroy(struct mediator *mediator);

/**
 * mediator_set_page() - page @index of the device's table is @gfn from now on.
 * Return: VMMU_OK, also if no slot holds the frame now; VMMU_EINVAL, no such index;
 *         VMMU_EEXIST, another index has the frame; else as vmmu_track_add(), and there is no page.
 */
VMMU_MUST_CHECK enum vmmu_error mediator_set_page(struct mediator *mediator, unsigned index,
						  vmmu_gfn_t gfn);

/* The guest uses the page for something else from now on: it is not tracked any more. */
void mediator_clear_page(struct mediator *mediator, unsigned index);

/* The guest has told the device to work: make the shadow what the table is now. */
void mediator_submit(struct mediator *mediator);

/*
 * What mediator_find() returns is good from mediator_hold() to mediator_release(). Keep it short:
 * the guest's writes and the end of slots wait. Tell vmmu of what the device wrote after the
 * release: the device may have written to its own table.
 */
void mediator_hold(struct mediator *mediator);
void mediator_release(struct mediator *mediator);

/* The entry of device page @number, NULL if it is not shadowed. */
const struct mediator_entry *mediator_find(const struct mediator *mediator, uint64_t number);

/*
 * An instruction that the embedder cannot emulate writes to @gfn: let the CPU do it, after
 * vmmu_guest_written() of any byte there. False: not a page of this table.
 */
bool mediator_let_write(struct mediator *mediator, vmmu_gfn_t gfn);

/*
 * Recompute the shadow and compare. Return: entries that the device must not use as they are. Only
 * when no write is between memory and being told.
 */
unsigned mediator_check(struct mediator *mediator);

#endif
