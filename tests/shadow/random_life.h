/* SPDX-License-Identifier: MIT */
/* Between the files of random lives. */
#ifndef TESTS_SHADOW_RANDOM_LIFE_H
#define TESTS_SHADOW_RANDOM_LIFE_H

#include "linear_format.h"
#include "random.h"

/* Guest frames. Slot 0 holds frames 0..127: the window maps them all. */
#define WINDOW_FRAMES 128u
#define WINDOW_PT 2u /* tables that map the window: level 1, 2, 3, 4, and of 4-byte entries */
#define WINDOW_PD 3u
#define WINDOW_PDPT 4u
#define WINDOW_PML4 5u
#define WINDOW_PT_32 6u
#define POOL_FIRST 8u /* tables of 8-byte entries, of any level */
#define POOL_COUNT 12u
#define POOL32_FIRST 20u
#define POOL32_COUNT 5u
#define PDPT_FRAME 26u /* top tables of PAE mode */
#define DATA_FIRST 32u
#define DATA_COUNT 12u
#define HUGE_FIRST 0x400u
#define HUGE_COUNT 1024u
#define ROM_FIRST 0x180u
#define GUEST_FIRST 0x1000u /* the slot that comes and goes */
#define WINDOW_INDEX 2u

enum { SLOT_MAIN, SLOT_HUGE, SLOT_ROM, SLOT_MOVING };

struct variant {
	const char *name;
	unsigned modes; /* one bit for each enum linear_mode */
	unsigned vcpus;
	bool registers, host, slots, pcid, race;
	uint64_t quota;
	unsigned prefetch;
	enum sim_level run_level;
	bool direct, patient;
	enum sim_cpu_mode cpu;
};

#define MODE(m) (1u << (m))

#define RECENT 8u

struct life {
	struct shadow_vm *svm;
	uint64_t recent[RECENT]; /* addresses that led to memory: the guest comes back to them */
	uint64_t recents;
	const struct variant *variant;
	struct random_result result;
	bool is_loud;
	bool is_checking;
	unsigned actor; /* whose call the library is in */
};

uint64_t roll(struct life *l, uint64_t bound);
bool chance(struct life *l, unsigned percent);
void say(const struct life *l, const char *what, uint64_t a, uint64_t b, uint64_t c);

/* ---- random_tables.c: addresses, entries, and the guest that writes them ---- */

uint64_t some_gfn(struct life *l);
uint64_t some_entry(struct life *l);
uint64_t some_entry32(struct life *l);
/* An address that was mapped lately. */
uint64_t recent_gva(struct life *l, enum linear_mode mode);
/* Where guest-physical 0 appears. */
uint64_t window(enum linear_mode mode);
void edit_some_entry(struct life *l, unsigned vcpu);
/* Another vCPU than this one's writes an entry, if it is in the guest and its CPU lets it. */
void write_in_between(struct life *l, unsigned vcpu);
/* The entry of the top table that leads to the window. */
void repair_window(struct life *l, unsigned vcpu);
void build_window(struct life *l);

/* ---- random_events.c: registers, flushes, accesses, the world around ---- */

void reset_vcpu(struct life *l, unsigned vcpu);
void change_register(struct life *l, unsigned vcpu);
void switch_cr3(struct life *l, unsigned vcpu);
void flush_some(struct life *l, unsigned vcpu);
void access_some(struct life *l, unsigned vcpu);
void host_event(struct life *l);
void slot_event(struct life *l);
void library_event(struct life *l);

#endif
