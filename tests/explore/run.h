/* SPDX-License-Identifier: MIT */
/* Between the scheduler (schedule.c), the search (search.c) and the printer (show.c). */
#ifndef TESTS_EXPLORE_RUN_H
#define TESTS_EXPLORE_RUN_H

#include "explore.h"

struct explore_place {
	const char *file, *function, *what;
	int line;
};

/* What may happen at a point. */
struct explore_options {
	unsigned count;
	uint8_t thread[EXPLORE_THREADS_MAX];
	bool preempts[EXPLORE_THREADS_MAX];
	bool arrived;         /* the thread has just been switched to */
	uint64_t fingerprint; /* of the state */
};

#define EXPLORE_CUT UINT32_MAX /* known from here on: stop this run */

/* Return: index of an option, or EXPLORE_CUT. */
typedef unsigned explore_choose_fn(const struct explore_options *options);

/* BROKEN: failed in a way that is not tried a second time. */
enum explore_end { EXPLORE_DONE, EXPLORE_CUT_SHORT, EXPLORE_FAILED, EXPLORE_BROKEN };

struct explore_run {
	const struct explore_test *test;
	explore_choose_fn *choose;
	const struct explore_schedule *replay; /* instead of choosing */
	/* for the printer: each access as it is made */
	void (*note)(unsigned thread, const struct explore_place *place, bool is_shared);
	/* out */
	struct explore_schedule schedule;
	char failure[EXPLORE_TEXT_BYTES];
};

enum explore_end explore_once(struct explore_run *run);

/* From now on crashes and loops without an end are ends of runs. */
void explore_watch_for_breaks(void);

/* What is shared: learned by runs, taken over between passes. */
void explore_objects_forget(void);
/* Return: true if there is more of it than before. */
bool explore_objects_learn(void);

uint64_t explore_mix(uint64_t a, uint64_t b);

#endif
