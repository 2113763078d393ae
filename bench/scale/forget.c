/* SPDX-License-Identifier: MIT */
/*
 * Forgetting everything that is mapped.
 *
 *   vmmu-forget SHAPE GIB HOW
 *
 * SHAPE   sparse: one 4K leaf in every 2M; dense: every 4K; shadow: every 4K, shadow paging
 * HOW     fast          vmmu_zap_all_fast(), then vmmu_work() until nothing is left
 *         all           vmmu_zap_all(), nobody asks it to pause
 *         all-pausing   vmmu_zap_all() with a port that asks for a pause every 100 us
 *         slot          vmmu_slot_delete() of the slot that is all of it
 *
 * Prints nanoseconds: until the caller goes on; until all tables are given back; the longest time
 * that the lock was held exclusively, and shared; and the number of tables given back. It
 * is CPU time: one thread that never waits, and other programs may run meanwhile.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK_FRAMES = 512, WORK_TABLES = 64, PAUSE_NS = 100000 };

#define HELD_TABLES_MAX UINT64_C(786432)

struct stretch {
	uint64_t begin, longest;
};

static struct stretch exclusive, shared;
static uint64_t pages_freed;
static void (*page_free)(void *host, vmmu_pfn_t pfn);

/* Without what other programs took meanwhile. */
static uint64_t own_nanoseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- one thread needs no lock, only to know how long it would have held it ---- */

static void stretch_begin(struct stretch *s)
{
	s->begin = own_nanoseconds();
}

static void stretch_end(struct stretch *s)
{
	uint64_t length = own_nanoseconds() - s->begin;

	s->begin = 0;
	if (length > s->longest)
		s->longest = length;
}

static void *lock_create(void *host)
{
	(void)host;
	return &exclusive;
}

static void lock_destroy(void *host, void *lock)
{
	(void)host;
	(void)lock;
}

static void acquire_shared(void *host, void *lock)
{
	(void)host;
	(void)lock;
	stretch_begin(&shared);
}

static void release_shared(void *host, void *lock)
{
	(void)host;
	(void)lock;
	stretch_end(&shared);
}

static void acquire_exclusive(void *host, void *lock)
{
	(void)host;
	(void)lock;
	stretch_begin(&exclusive);
}

static void release_exclusive(void *host, void *lock)
{
	(void)host;
	(void)lock;
	stretch_end(&exclusive);
}

static const struct vmmu_port_locks locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = acquire_shared,
	.release_shared = release_shared,
	.acquire_exclusive = acquire_exclusive,
	.release_exclusive = release_exclusive,
};

static bool should_yield(void *host)
{
	(void)host;
	return exclusive.begin && own_nanoseconds() - exclusive.begin > PAUSE_NS;
}

static void counting_free(void *host, vmmu_pfn_t pfn)
{
	pages_freed++;
	page_free(host, pfn);
}

/* ---- */

static enum vmmu_error forget(struct rig *rig, const char *how)
{
	if (strcmp(how, "fast") == 0)
		return vmmu_zap_all_fast(rig->vm);
	if (strcmp(how, "slot") == 0)
		return vmmu_slot_delete(rig->vm, 0, 0);
	return vmmu_zap_all(rig->vm);
}

/* Everything that is to be forgotten. */
static void map_all(struct rig *rig, const char *shape, uint64_t frames)
{
	uint64_t step = strcmp(shape, "sparse") == 0 ? BLOCK_FRAMES : 1;

	for (uint64_t n = 0; n < frames; n += step) {
		if (rig->options.kind == RIG_SHADOW)
			rig_fault(rig, 0, n);
		else
			rig_touch(rig, 0, n);
	}
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct rig_options options = {.kind = RIG_TDP, .cpus = 1, .faults = 1};
	uint64_t gib, begin, returned, freed, tables;
	enum vmmu_error error;

	if (argc != 4)
		rig_fail("usage: vmmu-forget SHAPE GIB HOW");
	gib = strtoull(argv[2], NULL, 10);
	options.gib = gib;
	if (strcmp(argv[1], "shadow") == 0) {
		options = (struct rig_options){
			.kind = RIG_SHADOW, .cpus = 1, .faults = gib * RIG_GIB_FRAMES};
	}
	options.port.locks = &locks;
	if (strcmp(argv[3], "all-pausing") == 0)
		options.port.should_yield = should_yield;
	rig_memory(1, HELD_TABLES_MAX * VMMU_PAGE_BYTES, false);
	rig_open(&rig, &options);
	map_all(&rig, argv[1], gib * RIG_GIB_FRAMES);
	page_free = rig.port.page_free;
	rig.port.page_free = counting_free;
	exclusive.longest = shared.longest = 0;
	begin = own_nanoseconds();
	error = forget(&rig, argv[3]);
	returned = own_nanoseconds() - begin;
	/* The flush has thrown the vCPU out; it comes back, on a new root. */
	vmmu_vcpu_leave(rig.vcpu[0]);
	rig_enter(&rig, 0);
	while (vmmu_work(rig.vm, WORK_TABLES))
		;
	freed = own_nanoseconds() - begin;
	tables = pages_freed;
	if (error != VMMU_OK || tables < gib * BLOCK_FRAMES)
		rig_fail("not everything was forgotten");
	(void)printf("%llu %llu %llu %llu %llu\n", (unsigned long long)returned,
		     (unsigned long long)freed, (unsigned long long)exclusive.longest,
		     (unsigned long long)shared.longest, (unsigned long long)tables);
	rig_close(&rig);
	return 0;
}
