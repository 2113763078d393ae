/* SPDX-License-Identifier: MIT */
/*
 * Faults per second of up to 64 vCPUs in virtual time (clock.h): the library's own code, in which
 * each access to shared memory is a point where another CPU may go on.
 *
 *   vmmu-virtual WHAT LOCK CPUS FAULTS FAULT_NS TRANSFER_NS EXIT_NS [HOT]
 *
 * WHAT        tdp, tdp-shared, shadow
 * LOCK        shared: the library's; exclusive: a port's that knows no sharing
 * FAULTS      of each vCPU
 * FAULT_NS    what a fault takes on one CPU, entry and exit of the library included; is spread
 *             evenly over the points of a fault
 * TRANSFER_NS a cache line's way from one CPU to another
 * EXIT_NS     the hardware's exit and entry around a fault
 * HOT         show that many lines that cost most
 *
 * Prints: nanoseconds, points of a fault on one CPU, and for each fault of this run the lines moved
 * and the nanoseconds waited.
 */
#include "clock.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_PS = 2000, LEARN_FAULTS = 2048, PAGES_EACH = 4096 };

static struct rig rig;
static uint64_t faults, exit_ps;
static struct clock_lock lock;

static void body(unsigned cpu)
{
	for (uint64_t n = 1; n <= faults; n++) {
		clock_spend(exit_ps);
		rig_fault(&rig, cpu, n);
	}
}

static void *lock_create(void *host)
{
	(void)host;
	return &lock;
}

static void lock_destroy(void *host, void *which)
{
	(void)host;
	(void)which;
}

static void lock_acquire(void *host, void *which)
{
	(void)host;
	clock_lock_acquire(which);
}

static void lock_release(void *host, void *which)
{
	(void)host;
	clock_lock_release(which);
}

static const struct vmmu_port_locks locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_acquire,
	.release_shared = lock_release,
	.acquire_exclusive = lock_acquire,
	.release_exclusive = lock_release,
};

/* Points of one fault when nobody disturbs, with the library's own lock. */
static double learn(struct rig_options options)
{
	const struct clock_costs nothing = {1, 1, 0};
	struct clock_result result;

	options.cpus = 1;
	if (options.kind == RIG_TDP_SHARED)
		options.kind = RIG_TDP; /* alone it is the same */
	faults = LEARN_FAULTS;
	rig_open(&rig, &options);
	clock_run(1, &nothing, body, &result);
	rig_close(&rig);
	return (double)result.points / LEARN_FAULTS;
}

int main(int argc, char **argv)
{
	struct rig_options options = {.port = {.relax = clock_relax}};
	struct clock_costs costs = {.turn = TURN_PS};
	struct clock_result result;
	uint64_t total;
	double points;

	if (argc < 8)
		rig_fail("usage: vmmu-virtual WHAT LOCK CPUS FAULTS FAULT_NS TRANSFER_NS EXIT_NS");
	options.kind = strcmp(argv[1], "shadow") == 0       ? RIG_SHADOW
		       : strcmp(argv[1], "tdp-shared") == 0 ? RIG_TDP_SHARED
							    : RIG_TDP;
	options.cpus = (unsigned)strtoul(argv[3], NULL, 10);
	options.faults = strtoull(argv[4], NULL, 10) + 1;
	if (options.cpus < 1 || options.cpus > RIG_CPUS_MAX || options.faults <= LEARN_FAULTS)
		rig_fail("too many vCPUs, or too few faults");
	rig_memory(options.cpus, (size_t)PAGES_EACH * VMMU_PAGE_BYTES, false);
	points = learn(options);
	costs.point = (uint64_t)(strtod(argv[5], NULL) * 1000 / points);
	costs.transfer = (uint64_t)(strtod(argv[6], NULL) * 1000);
	if (costs.turn > costs.point)
		costs.turn = costs.point;
	exit_ps = (uint64_t)(strtod(argv[7], NULL) * 1000);
	faults = options.faults - 1;
	if (strcmp(argv[2], "exclusive") == 0)
		options.port.locks = &locks;
	rig_open(&rig, &options);
	clock_run(options.cpus, &costs, body, &result);
	total = faults * options.cpus;
	(void)printf("%.0f %.1f %.3f %.1f\n", (double)result.longest / 1000, points,
		     (double)result.transfers / (double)total,
		     (double)result.waited / 1000 / (double)total);
	if (argc > 8)
		clock_hot(rig.vm, (unsigned)strtoul(argv[8], NULL, 10));
	rig_close(&rig);
	return 0;
}
