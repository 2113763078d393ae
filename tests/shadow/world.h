/* SPDX-License-Identifier: MIT */
/*
 * A guest under shadow paging for threads: each vCPU is a thread that walks the shadow tables as
 * the hardware would. The port may be called by all of them at once.
 */
#ifndef TESTS_SHADOW_WORLD_H
#define TESTS_SHADOW_WORLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#define WORLD_CPUS 4u
#define WORLD_TABLES 4u /* of level 1; all linear addresses lie below them */
#define WORLD_PAGES (WORLD_TABLES * 512u)
#define WORLD_LOOSE 4u /* more of them after those, in frames that the guest also maps as data */
#define WORLD_LOOSE_PAGE WORLD_PAGES /* the first page below one; the first 16 are not used */
#define WORLD_ALL_PAGES (WORLD_PAGES + WORLD_LOOSE * 512u)
#define WORLD_FRAMES 4096u
#define WORLD_FIRST_TABLE 4u /* guest frame of the first table of level 1 */
#define WORLD_FIRST_LOOSE 24u
#define WORLD_DATA 64u /* guest frames from here on are data */

#define WORLD_ABSENT 9u    /* this page is not present */
#define WORLD_WINDOW 1500u /* pages from here on lead to the loose tables */

struct world;

struct world_cpu {
	struct world *world;
	struct vmmu_vcpu *vcpu;
	unsigned index;
	atomic_uint runs; /* odd: in the guest */
	uint64_t writes, faults;
};

struct world {
	struct vmmu_vm *vm;
	uint8_t *arena;
	pthread_mutex_t lock;
	uint64_t free_page, free_count, *free_list;
	struct world_cpu cpu[WORLD_CPUS];
	atomic_uint kicks;
	_Atomic uint64_t relaxed; /* turns of waiting */
	atomic_bool taken[WORLD_FRAMES];
	/* what a linear page leads to for sure, or WORLD_CHANGES */
	_Atomic uint64_t frame_of[WORLD_ALL_PAGES];
	_Atomic uint64_t wrong;
	/* called once, when the library asks for the page of a frame of data under its lock */
	_Atomic(void (*)(struct world *)) on_page;
	/* called once, in the middle of a flush that has found somebody in the guest */
	_Atomic(void (*)(struct world *)) on_flush;
};
#define WORLD_CHANGES UINT64_MAX

struct world *world_new(unsigned prefetch);
/* Everything was given back. */
void world_free(struct world *w);

/* The vCPU's CPU writes one word of the page, faults included. */
void world_write(struct world_cpu *cpu, uint64_t page);
/* One fault as if the CPU had met an entry that is not there. */
enum vmmu_outcome world_fault(struct world_cpu *cpu, uint64_t page);
/* As if the guest did it by a write that the library does not see: it has to flush. */
void world_edit(struct world *w, uint64_t page, uint64_t frame);
/* From outside: what is mirrored of the frame is forgotten. */
void world_forget_table(struct world *w, uint64_t frame);
/* From outside: the page leads to another frame; the library is told. */
void world_remap(struct world *w, uint64_t page, uint64_t frame);
/* What CPU @index has written to the frame, WORLD_CPUS: a device. */
uint64_t world_word(struct world *w, uint64_t frame, unsigned index);
void world_device_write(struct world *w, uint64_t frame);
/* The host takes frames away, looks that nobody gets at them, and gives them back. */
void world_take(struct world *w, uint64_t first, uint64_t count);

#endif
