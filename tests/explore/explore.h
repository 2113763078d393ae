/* SPDX-License-Identifier: MIT */
/*
 * Runs a few short threads in every order that matters.
 *
 * Threads are coroutines. Each access to shared memory of a library built with
 * VMMU_TEST_EXPLORE is a point at which another thread may go on. What is explored: all
 * sequentially consistent interleavings with at most so many preemptions, that is switches away
 * from a thread that could have gone on. Two things make it end:
 *
 *   - Only accesses to what two threads share, at least one writing, are places to switch at.
 *     Which those are is learned by running: a pass over all schedules that meets a new one is
 *     repeated.
 *   - Two orders of accesses that do not touch each other lead to the same state. States are told
 *     apart by a hash of each thread's past (its accesses, and the writes that they saw); a state
 *     that was continued from before, with as many preemptions left, is not continued again.
 *
 * A thread that spins waits until somebody writes what it has read since its last turn.
 */
#ifndef TESTS_EXPLORE_EXPLORE_H
#define TESTS_EXPLORE_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS_MAX 4u
#define EXPLORE_STRETCHES_MAX 400u
#define EXPLORE_TEXT_BYTES 600u

struct explore_test {
	const char *name;
	unsigned threads;
	void (*setup)(void); /* makes a world; nothing of it is explored */
	void (*thread[EXPLORE_THREADS_MAX])(void);
	const char *(*watch)(void); /* what went wrong so far, or NULL; after every access */
	const char *(*check)(void); /* what is wrong now that all have ended, or NULL */
	void (*teardown)(void);     /* also when threads were left in the middle */
};

struct explore_limits {
	unsigned bound;     /* preemptions */
	uint64_t runs_max;  /* give up after so many; 0: never */
	bool all_orders;    /* run every schedule, even if it comes to a state that is known */
	const char *replay; /* one schedule instead; NULL: explore */
};

/* One thread's turn: so many accesses, then it is the next one's. */
struct explore_stretch {
	uint8_t thread;
	uint32_t accesses;
};

struct explore_schedule {
	unsigned count;
	struct explore_stretch stretch[EXPLORE_STRETCHES_MAX];
};

struct explore_result {
	uint64_t schedules; /* run to the end with at most the last bound */
	uint64_t runs;  /* all: smaller bounds, repeated passes, and those that were cut short */
	unsigned bound; /* of the last pass; of the failure, if there is one */
	bool complete;  /* nothing is left to run */
	bool failed;
	uint64_t failed_after; /* runs */
	char failure[EXPLORE_TEXT_BYTES];
	struct explore_schedule shortest; /* that fails */
};

/* Return: true if no schedule fails. */
bool explore_run(const struct explore_test *test, const struct explore_limits *limits,
		 struct explore_result *result);

/* The failing schedule in columns, one a thread, and the words that replay it. */
void explore_show(const struct explore_test *test, const struct explore_result *result,
		  const char *command);

/* ---- for threads; outside of one they do nothing ---- */

/* The calling thread, or EXPLORE_THREADS_MAX. */
unsigned explore_self(void);
/* An access to something that is no word of the library. Others may run first. */
void explore_point(const void *object, bool is_write, const char *what);
/* The same, when @ready. @context is read by @ready only. */
void explore_wait(const void *object, bool is_write, bool (*ready)(void *), void *context,
		  const char *what);
/* An access to a word of memory that is one to @object as well, both at once. */
void explore_access(const void *word, bool is_write, const void *object, bool changes,
		    const char *what);
/* A spin loop begins. */
void explore_turn(void);
/* A turn of a spin loop: nothing will come of another one until somebody has written. */
void explore_spin(void);
/* Others may run, at no cost. */
void explore_pause(void);
/* Has this thread changed anything since its last pause or spin? */
bool explore_has_written(void);
void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a world knows about the words of the library. */
struct explore_memory {
	/* A name for @word that is the same in every run; NULL: nothing depends on it, as on a
	 * statistic. *also: a name of something larger that an access to it concerns, the page
	 * it is in say; stays NULL: nothing. */
	const void *(*name)(const void *word, const void **also);
	/* The access is made now: is that allowed? If not, fail. */
	void (*touch)(const void *word);
};
extern const struct explore_memory *explore_memory;

#endif
