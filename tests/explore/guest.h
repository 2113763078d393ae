/* SPDX-License-Identifier: MIT */
/*
 * A guest under shadow paging, for explored threads: the library on a simulated machine with linear
 * CPUs, its callbacks, the hardware's walks and the guest's own stores as points. The linear oracle
 * judges every access: any moment since its begin counts as now, and what was there before counts
 * as long as the guest did not flush.
 *
 * A CPU in the guest is interrupted between two instructions only: a flush waits for the end of the
 * one it is in, and until the CPU has left.
 */
#ifndef TESTS_EXPLORE_GUEST_H
#define TESTS_EXPLORE_GUEST_H

#include <vmmu/track.h>

#include "explore.h"
#include "ground.h"
#include "linear_format.h"
#include "shadow_vm.h"

/* Guest frames; host page = guest frame. Slot 0 ends before GUEST_FAR, which is slot 1. */
enum {
	GUEST_TOP = 1,
	GUEST_PDPT,
	GUEST_PD,
	GUEST_PT,        /* page i at GUEST_GVA leads to GUEST_DATA + i; page 7 to GUEST_FAR */
	GUEST_WINDOW_PT, /* all frames, at GUEST_WINDOW */
	GUEST_TOP_B,     /* another address space: the window, and a directory of its own */
	GUEST_PDPT_B,
	GUEST_PD_B,
	GUEST_SPARE = 10, /* a table like GUEST_PT with GUEST_DATA + 4 + i; nothing leads there */
	GUEST_SPARE_B,    /* empty */
	GUEST_DATA = 16,  /* from here on nothing is ever a table */
	GUEST_FAR = 28,
	GUEST_FRAMES = 32,
	GUEST_HOLE = 100,
	GUEST_HUGE = 512, /* with guest_options.huge: slot 2, a huge page of guest and host */
	GUEST_HUGE_COUNT = 512,
};

/* Each of the two directories maps two megabytes an entry. */
#define GUEST_REGION(entry) ((uint64_t)(entry) << 21)
#define GUEST_GVA GUEST_REGION(0)
#define GUEST_WINDOW GUEST_REGION(1)
#define GUEST_GIGABYTE (UINT64_C(1) << 30)

#define GUEST_RW                                                                                   \
	(LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE | LINEAR_ACCESSED | LINEAR_DIRTY)
#define GUEST_LARGE (UINT64_C(1) << 7) /* of a directory: the page itself */
/* Never used: the first access sets accessed, the first write dirty. */
#define GUEST_FRESH (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE)

struct guest_options {
	unsigned vcpus;
	unsigned prefetch; /* 0: 1 */
	unsigned quota;    /* of tables; 0: plenty */
	bool apart;        /* vCPU 1 is in the other address space */
	bool huge;         /* a huge page at GUEST_REGION(3) */
	bool long_way;     /* keys without CR0.WP: each fault walks all of the guest's tables */
	bool builtin_locks;
};

struct guest {
	struct shadow_vm *svm;
	struct guest_options options;
	/* what the CPUs do */
	bool kicked[SHADOW_VCPUS_MAX]; /* it has to enter anew */
	bool in_instruction[SHADOW_VCPUS_MAX];
	bool busy[SHADOW_VCPUS_MAX];    /* in an access: leaves by itself when kicked */
	bool leaving[SHADOW_VCPUS_MAX]; /* on its way out */
	enum vmmu_outcome last[SHADOW_VCPUS_MAX];
	/* what the threads do */
	bool is_moving;                          /* the host has begun to move a page */
	unsigned asked[EXPLORE_THREADS_MAX + 1]; /* for a page, in this fault */
	uint64_t changes;                        /* of slots, begun or ended */
	bool is_tracking;
	vmmu_tracker_id_t tracker;
	bool shut[GUEST_FRAMES]; /* a client forbids writes, and was told so */
	uint64_t fail_at;        /* this allocation fails, of those in threads; 0: none */
	uint64_t allocations;
	bool ran_out; /* one did */
	uint64_t writes;
};
extern struct guest guest;

void guest_new(const struct guest_options *options);
/* Before anything was translated: the guest's memory is so. */
void guest_put(uint64_t frame, unsigned index, uint64_t entry);

static inline uint64_t guest_page(unsigned page)
{
	return (uint64_t)page << VMMU_PAGE_SHIFT;
}

static inline uint64_t guest_entry(uint64_t frame)
{
	return frame << VMMU_PAGE_SHIFT | GUEST_RW;
}

/* ---- what vCPUs do; in a test's setup, too ---- */

/* An access that has to end in memory. Return: guest address. */
uint64_t guest_read(unsigned vcpu, uint64_t gva);
uint64_t guest_write(unsigned vcpu, uint64_t gva);
/* Entry @index of the table at @frame, through the window. */
void guest_store(unsigned vcpu, uint64_t frame, unsigned index, uint64_t entry);
/* One access whose end is not known. */
enum shadow_end guest_touch(unsigned vcpu, uint64_t gva, enum linear_kind kind);
/* MOV to CR3, the same or another. */
void guest_load(unsigned vcpu, uint64_t top);
void guest_flush(unsigned vcpu);
void guest_invlpg(unsigned vcpu, uint64_t gva);
void guest_leave(unsigned vcpu);
/* By another thread, for an interrupt: unless it is in an access, and leaves by itself. */
void guest_kick_out(unsigned vcpu);

/* ---- what happens to the guest ---- */

/* A device writes 8 bytes, and the library is told. */
void guest_poke(uint64_t gpa, uint64_t value);
/* Memory changes, and nobody tells the library. */
void guest_smuggle(uint64_t frame, unsigned index, uint64_t entry);
/* The host moves the page of a frame; the second one knows it by its frame. */
void guest_migrate(uint64_t gfn);
void guest_migrate_frame(uint64_t gfn);
void guest_far_slot_delete(void);
void guest_track_write(uint64_t gfn);
void guest_harvest(bool dirty);
void guest_zap_all_fast(void);
/* What is mirrored of the frame goes, so that it can be written. */
void guest_unprotect(uint64_t gfn);
void guest_zap_range(uint64_t start, uint64_t end);
void guest_slot_flags(uint16_t id, uint32_t flags);

/* ---- for struct explore_test ---- */

const char *guest_watch(void);
const char *guest_check(void);
/* The same, and the writes of all CPUs were told. */
const char *guest_check_dirty(void);
void guest_free(void);

/* ---- between guest.c, guest_cpu.c and guest_events.c: what has no address of its own ---- */

extern uint64_t guest_host_object, guest_slots_object, guest_oracle_object, guest_written_object,
	guest_cpu_object[SHADOW_VCPUS_MAX];
/* Pages of the host have the names of where they are now. */
void guest_name_pages(void);
/* Of the host page that is in this frame of the machine; UINT64_MAX: none of the guest's. */
uint64_t guest_gfn_of(uint64_t pfn);
/* Eight bytes change, and the oracle learns of it; others may go first. */
void guest_change(uint64_t gpa, uint64_t value, const char *what);

#endif
