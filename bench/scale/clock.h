/* SPDX-License-Identifier: MIT */
/*
 * CPUs in virtual time. Each is a coroutine with a clock of its own; the one that is behind all
 * others runs. Times are in picoseconds.
 *
 * What costs time:
 *   - instructions: a fixed cost for each access to shared memory that the library makes, which
 *     stands for the code up to the next one. A loop's further turns at one place cost less.
 *   - a line of 64 bytes that another CPU wrote last: a transfer, for readers and writers. Writes
 *     of one line queue; readers wait for the last write.
 *   - a line that others have read since this CPU wrote it: a transfer for its next write.
 *   - waiting: who polls a word sleeps until another CPU writes it.
 *   - what a CPU spends outside (clock_spend()).
 * What does not: a line's first use, memory that is reached without atomics, the bus.
 */
#ifndef BENCH_SCALE_CLOCK_H
#define BENCH_SCALE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock_costs {
	uint64_t point;    /* one access, and the instructions that go with it */
	uint64_t turn;     /* the same place again, in a loop */
	uint64_t transfer; /* of a line */
};

struct clock_result {
	uint64_t longest;   /* of all clocks */
	uint64_t points;    /* accesses at full cost */
	uint64_t transfers; /* lines that moved */
	uint64_t waited;    /* for lines, and for locks: sum of all CPUs */
};

/* Run body(cpu) for each CPU; they begin together. */
void clock_run(unsigned cpus, const struct clock_costs *costs, void (*body)(unsigned cpu),
	       struct clock_result *result);

/* Called by bodies. */
void clock_spend(uint64_t picoseconds);
/* A lock that hands itself on in order, as fair and quick as can be. 0: free. */
struct clock_lock {
	uint64_t held;
	uint64_t waiting; /* CPUs, as bits */
	uint64_t free_at;
	unsigned last;
};
void clock_lock_acquire(struct clock_lock *lock);
void clock_lock_release(struct clock_lock *lock);

/* port->relax: nothing that this CPU has seen since the last call is good enough. */
void clock_relax(void *host);

/* The lines that cost most, by owner. @vm: names its fields by offset. */
void clock_hot(const void *vm, unsigned count);

#endif
