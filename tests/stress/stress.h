/* SPDX-License-Identifier: MIT */
/*
 * Real threads on the library, for sanitizers: vCPUs whose CPUs walk the tables, and a host that
 * takes pages away, changes slots, zaps, audits and asks, all at once.
 *
 * Guest page n of slot n / 64 says so in its first word, wherever the host keeps it. A page that
 * was taken away says POISON. So each access can tell whether it went where some slot had that
 * page.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#define VCPUS 4u
#define SLOTS 4u
#define SLOT_PAGES 64u
#define LASTING_SLOTS 2u
#define PAGES (SLOTS * SLOT_PAGES)
#define FRAMES (PAGES + 16u)
#define FIRST_PFN UINT64_C(0x100000)
#define POISON UINT64_C(0xdeadbeefdeadbeef)
/* Of the first page of a slot, as it is made; it moves by a few frames at times. */
#define BASE_OF(slot) (512u * (slot))

typedef struct {
	_Atomic uint64_t word[512];
} frame_t;

/* ---- what everybody sees ---- */

extern frame_t *frames; /* the host's */
extern _Atomic uint32_t frame_of_page[PAGES];
extern struct vmmu_vm *vm;
extern bool is_shadow;
extern _Atomic bool stop;

struct counts {
	_Atomic uint64_t accesses, faults, devices, table_writes, invalidations, slot_changes, zaps,
		audits, unsure, violations, pages, looks, copied;
};
extern struct counts counts;

void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Random numbers of the thread. */
uint64_t roll(uint64_t bound);
void roll_seed(uint64_t seed);

/* ---- memory.c ---- */

extern const struct vmmu_port stress_port;

void memory_make(void);
/* The first slots. */
void guest_make(void);
/* Where a page's word is now, held still until put. */
_Atomic uint64_t *page_word_get(uint64_t page, unsigned index);
void page_word_put(void);
void page_copy(uint64_t page, uint64_t *words);

/* Slots as they may be right now; a change counts up at its begin and at its end. */
struct slot_view {
	uint64_t version[SLOTS];
	int64_t base[SLOTS][2]; /* old and new; -1: no slot */
};
struct slot_view slots_look(void);
/* Is this page at that frame number in one of the two? */
bool slots_allow(const struct slot_view *before, const struct slot_view *after, uint64_t page,
		 uint64_t gfn, bool *unsure);

void *host_thread(void *number);
void *slot_thread(void *unused);
void *audit_thread(void *unused);
void report_finding(void *context, const struct vmmu_finding *finding);

/* ---- migrate.c ---- */

/* Around a store of the host's to a page of the first slots, until the library was told. */
void host_store_begin(uint64_t page);
void host_store_end(uint64_t page);
/* A device writes a word of its own. */
void device_write(void);
/* Copies one slot. */
void *migrate_thread(void *slot);
/* All other threads have ended: the copy has to be complete. */
void migrate_check(void);

/* ---- cpu.c ---- */

struct cpu {
	unsigned index;
	struct vmmu_vcpu *vcpu;
	_Atomic uint64_t turns; /* begins and ends of being in the guest */
	_Atomic bool in_guest, kicked;
};
extern struct cpu cpus[VCPUS];

void cpus_begin(void);
void cpus_interrupt(void);
void *cpu_thread(void *cpu);

#endif
