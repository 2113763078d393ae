/* SPDX-License-Identifier: MIT */
/*
 * Faults per second with real threads.
 *
 *   vmmu-threads WHAT BESIDE THREADS FAULTS RUNS
 *
 * WHAT    arithmetic (a control: the threads share nothing), tdp, tdp-shared, shadow
 * BESIDE  shared     the library's own locks
 *         exclusive  a lock of the port's that knows no sharing
 *         accessed, dirty, zap: one thread faults while another harvests what is there in
 *         a loop, or zaps elsewhere every 20 us
 *
 * Prints a line for each run: nanoseconds from the first fault of any thread to the last one's end,
 * how often the thread beside did its work, and the processor time that the faults took.
 */
#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ZAP_EVERY_NS = 20000 };
enum { CPUS_MAX = 8, SPINS = 100, PAGES_EACH = 4096, FAULTS_MAX = 262144 / 2 };

enum beside { SHARED, EXCLUSIVE, ACCESSED, DIRTY, ZAP, BESIDE_COUNT };

static const char *const beside_names[BESIDE_COUNT] = {"shared", "exclusive", "accessed", "dirty",
						       "zap"};

struct bench {
	struct rig rig;
	bool is_arithmetic;
	enum beside beside;
	unsigned threads; /* that fault */
	uint64_t faults;
	atomic_uint ready;
	atomic_bool go, running, over;
	uint64_t turns; /* of the thread beside */
	uint64_t own;   /* processor time of those that fault */
};

struct worker {
	struct bench *bench;
	pthread_t thread;
	unsigned cpu;
	uint64_t begin, end, own;
};

/* ---- a lock that knows no sharing ---- */

static void relax(void *host)
{
	static _Thread_local unsigned spins;

	(void)host;
	__builtin_ia32_pause();
	/* More threads than processors: the holder may be waiting for this one. */
	if (++spins % SPINS == 0)
		(void)sched_yield();
}

static atomic_bool the_lock __attribute__((aligned(64)));

static void *lock_create(void *host)
{
	(void)host;
	return &the_lock;
}

static void lock_destroy(void *host, void *lock)
{
	(void)host;
	(void)lock;
}

static void lock_acquire(void *host, void *lock)
{
	atomic_bool *taken = lock;

	while (atomic_load_explicit(taken, memory_order_relaxed) ||
	       atomic_exchange_explicit(taken, true, memory_order_acquire))
		relax(host);
}

static void lock_release(void *host, void *lock)
{
	(void)host;
	atomic_store_explicit((atomic_bool *)lock, false, memory_order_release);
}

static const struct vmmu_port_locks exclusive_locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_acquire,
	.release_shared = lock_release,
	.acquire_exclusive = lock_acquire,
	.release_exclusive = lock_release,
};

/* ---- the threads ---- */

/* Two processors as fast as one each give two threads twice the rate here. */
static void count_up(uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds * 100; i++)
		__asm__ volatile("" : "+r"(i));
}

static void wait_for_start(struct bench *bench)
{
	(void)atomic_fetch_add(&bench->ready, 1);
	while (!atomic_load(&bench->go))
		relax(NULL);
}

static uint64_t own_nanoseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *work(void *argument)
{
	struct worker *w = argument;
	uint64_t own;

	rig_cpu = w->cpu;
	wait_for_start(w->bench);
	atomic_store(&w->bench->running, true);
	own = own_nanoseconds();
	w->begin = rig_nanoseconds();
	if (w->bench->is_arithmetic)
		count_up(w->bench->faults);
	else
		for (uint64_t n = 1; n <= w->bench->faults; n++)
			rig_fault(&w->bench->rig, w->cpu, n);
	w->end = rig_nanoseconds();
	w->own = own_nanoseconds() - own;
	atomic_store(&w->bench->over, true);
	return NULL;
}

static enum vmmu_error disturb_once(struct bench *bench)
{
	struct vmmu_vm *vm = bench->rig.vm;
	const struct vmmu_gfn_range touched = {{0}, {bench->faults}};
	/* Nothing is mapped here: what is left is the lock. */
	const struct vmmu_gfn_range elsewhere = {{RIG_GIB_FRAMES / 2 + VMMU_TABLE_ENTRIES},
						 {RIG_GIB_FRAMES}};

	if (bench->beside == ACCESSED)
		return vmmu_harvest_accessed(vm, 0, touched, NULL, NULL);
	if (bench->beside == DIRTY)
		return vmmu_harvest_dirty(vm, 0, touched, NULL, NULL);
	return vmmu_zap_range(vm, 0, elsewhere);
}

/* A loop without a break would leave nobody else the lock. */
static void take_a_break(const struct bench *bench)
{
	uint64_t begin = rig_nanoseconds();

	while (bench->beside == ZAP && rig_nanoseconds() - begin < ZAP_EVERY_NS)
		__builtin_ia32_pause();
}

static void *disturb(void *argument)
{
	struct worker *w = argument;

	uint64_t turn = 0;

	rig_cpu = w->cpu;
	wait_for_start(w->bench);
	while (!atomic_load(&w->bench->running))
		relax(NULL);
	while (!atomic_load(&w->bench->over)) {
		if (disturb_once(w->bench) != VMMU_OK)
			rig_fail("the call beside the faults failed");
		turn++;
		take_a_break(w->bench);
	}
	w->bench->turns = turn;
	return NULL;
}

/* Return: nanoseconds. */
static uint64_t run(struct bench *bench)
{
	struct worker workers[CPUS_MAX + 1] = {0};
	bool disturbed = bench->beside >= ACCESSED;
	uint64_t begin = UINT64_MAX, end = 0;
	unsigned count = bench->threads + disturbed;

	bench->own = 0;
	atomic_store(&bench->ready, 0);
	atomic_store(&bench->go, false);
	atomic_store(&bench->running, false);
	atomic_store(&bench->over, false);
	for (unsigned i = 0; i < count; i++) {
		workers[i].bench = bench;
		workers[i].cpu = i;
		if (pthread_create(&workers[i].thread, NULL, i < bench->threads ? work : disturb,
				   &workers[i]))
			rig_fail("no thread");
	}
	while (atomic_load(&bench->ready) < count)
		(void)sched_yield();
	atomic_store(&bench->go, true);
	for (unsigned i = 0; i < bench->threads; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		begin = workers[i].begin < begin ? workers[i].begin : begin;
		end = workers[i].end > end ? workers[i].end : end;
		bench->own += workers[i].own;
	}
	if (disturbed)
		(void)pthread_join(workers[bench->threads].thread, NULL);
	return end - begin;
}

static enum beside find_beside(const char *name)
{
	for (unsigned i = 0; i < BESIDE_COUNT; i++)
		if (strcmp(beside_names[i], name) == 0)
			return (enum beside)i;
	rig_fail("no such thing to do beside");
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct rig_options options = {.port = {.relax = relax}};
	uint64_t runs, span;

	if (argc != 6)
		rig_fail("usage: vmmu-threads WHAT BESIDE THREADS FAULTS RUNS");
	bench.is_arithmetic = strcmp(argv[1], "arithmetic") == 0;
	bench.beside = find_beside(argv[2]);
	bench.threads = (unsigned)strtoul(argv[3], NULL, 10);
	bench.faults = strtoull(argv[4], NULL, 10);
	runs = strtoull(argv[5], NULL, 10);
	if (bench.threads < 1 || bench.threads > CPUS_MAX || bench.faults > FAULTS_MAX)
		rig_fail("too many");
	options.kind = strcmp(argv[1], "shadow") == 0       ? RIG_SHADOW
		       : strcmp(argv[1], "tdp-shared") == 0 ? RIG_TDP_SHARED
							    : RIG_TDP;
	options.cpus = bench.threads;
	options.faults = bench.faults + 1;
	if (bench.beside == EXCLUSIVE)
		options.port.locks = &exclusive_locks;
	rig_memory(bench.threads + 1, (size_t)PAGES_EACH * VMMU_PAGE_BYTES, true);
	for (uint64_t i = 0; i < runs; i++) {
		if (!bench.is_arithmetic)
			rig_open(&bench.rig, &options);
		span = run(&bench);
		(void)printf("%llu %llu %llu\n", (unsigned long long)span,
			     (unsigned long long)bench.turns, (unsigned long long)bench.own);
		if (!bench.is_arithmetic)
			rig_close(&bench.rig);
	}
	return 0;
}
