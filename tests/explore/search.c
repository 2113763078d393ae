/* SPDX-License-Identifier: MIT */
/* All schedules: depth first, with a memory of states, preemption bound by preemption bound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define DECISIONS_MAX 20000u
#define STATES (1u << 21)
/* Once a schedule fails, so many more are run to find a shorter one. */
#define RUNS_AFTER_FAILURE 300u

struct decision {
	uint8_t count, chosen;
	bool preempts[EXPLORE_THREADS_MAX];
	uint64_t fingerprint; /* a replay of it must come to the same state */
};

struct state {
	uint64_t fingerprint;
	uint32_t pass;
	uint8_t left; /* preemptions, when it was continued from */
};

static struct decision path[DECISIONS_MAX];
static unsigned depth, length; /* of the current run, of the path to repeat */
static unsigned used, bound;   /* preemptions */
static bool all_orders;
static struct state *states;
static unsigned states_used;
static uint32_t pass_number;

/* ---- states that are known ---- */

static void states_forget(void)
{
	if (!states)
		states = calloc(STATES, sizeof(*states));
	if (!states)
		abort();
	states_used = 0;
	pass_number++;
}

/* Is nothing new to be seen from here? If not, it is known from now on. */
static bool is_known(uint64_t fingerprint, unsigned left)
{
	unsigned at = (unsigned)(fingerprint >> 40) & (STATES - 1);

	while (states[at].pass == pass_number && states[at].fingerprint != fingerprint)
		at = (at + 1) & (STATES - 1);
	if (states[at].pass == pass_number) {
		if (states[at].left >= left)
			return true;
		states[at].left = (uint8_t)left;
		return false;
	}
	if (states_used > STATES / 4 * 3)
		return false; /* no room: some work is done twice */
	states_used++;
	states[at] = (struct state){fingerprint, pass_number, (uint8_t)left};
	return false;
}

/* ---- decisions ---- */

static unsigned repeat(const struct explore_options *o)
{
	const struct decision *d = &path[depth++];

	if (d->count != o->count || d->fingerprint != o->fingerprint) {
		fprintf(stderr, "explore: the same schedule led to another state: "
				"the test is not deterministic\n");
		abort();
	}
	used += d->preempts[d->chosen];
	return d->chosen;
}

static unsigned choose(const struct explore_options *o)
{
	struct decision d = {.fingerprint = o->fingerprint};

	/* Preemptions come last among the options. */
	while (d.count < o->count && (!o->preempts[d.count] || used < bound)) {
		d.preempts[d.count] = o->preempts[d.count];
		d.count++;
	}
	if (d.count > 1 && depth < length) {
		struct explore_options same = *o;

		same.count = d.count;
		return repeat(&same);
	}
	if (depth >= length && (d.count > 1 || o->arrived) && !all_orders &&
	    is_known(o->fingerprint, bound - used))
		return EXPLORE_CUT;
	if (d.count <= 1)
		return 0;
	if (depth == DECISIONS_MAX) {
		fprintf(stderr, "explore: more than %u decisions in a run\n", DECISIONS_MAX);
		abort();
	}
	path[depth++] = d;
	length = depth;
	return 0;
}

/* The next path, or false if there is none. */
static bool backtrack(void)
{
	while (length) {
		struct decision *d = &path[length - 1];

		if (++d->chosen < d->count)
			return true;
		length--;
	}
	return false;
}

/* ---- passes ---- */

static uint64_t accesses_of(const struct explore_schedule *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->count; i++)
		sum += s->stretch[i].accesses;
	return sum;
}

static void failed(struct explore_result *result, const struct explore_run *run)
{
	if (!result->failed)
		result->failed_after = result->runs;
	if (result->failed && (run->schedule.count > result->shortest.count ||
			       (run->schedule.count == result->shortest.count &&
				accesses_of(&run->schedule) >= accesses_of(&result->shortest))))
		return;
	result->failed = true;
	result->shortest = run->schedule;
	memcpy(result->failure, run->failure, sizeof(run->failure));
}

/* Everything within the bound. Return: false, given up or enough failures seen. */
static bool pass(const struct explore_test *test, const struct explore_limits *limits,
		 struct explore_result *result)
{
	struct explore_run run = {.test = test, .choose = choose};

	states_forget();
	result->schedules = 0;
	result->bound = bound;
	length = 0;
	do {
		enum explore_end end;

		depth = used = 0;
		end = explore_once(&run);
		result->runs++;
		result->schedules += end != EXPLORE_CUT_SHORT;
		if (end == EXPLORE_FAILED || end == EXPLORE_BROKEN)
			failed(result, &run);
		if (end == EXPLORE_BROKEN)
			return false;
		if (result->failed && result->runs > result->failed_after + RUNS_AFTER_FAILURE)
			return false;
		if (limits->runs_max && result->runs >= limits->runs_max)
			return false;
	} while (backtrack());
	return true;
}

static bool read_schedule(const char *text, struct explore_schedule *s)
{
	s->count = 0;
	while (*text) {
		char *end;

		if (*text < 'a' || *text >= 'a' + (int)EXPLORE_THREADS_MAX ||
		    s->count == EXPLORE_STRETCHES_MAX)
			return false;
		s->stretch[s->count].thread = (uint8_t)(*text - 'a');
		s->stretch[s->count++].accesses = (uint32_t)strtoul(text + 1, &end, 10);
		text = *end == ',' ? end + 1 : end;
		if (end == text && *text)
			return false;
	}
	return s->count != 0;
}

static bool replay(const struct explore_test *test, const char *text, struct explore_result *result)
{
	struct explore_schedule schedule;
	struct explore_run run = {.test = test, .replay = &schedule};
	enum explore_end end;

	if (!read_schedule(text, &schedule)) {
		fprintf(stderr, "explore: \"%s\" is no schedule\n", text);
		abort();
	}
	end = explore_once(&run);
	result->runs = result->schedules = result->failed_after = 1;
	result->failed = end == EXPLORE_FAILED || end == EXPLORE_BROKEN;
	result->shortest = schedule;
	memcpy(result->failure, run.failure, sizeof(run.failure));
	return !result->failed;
}

bool explore_run(const struct explore_test *test, const struct explore_limits *limits,
		 struct explore_result *result)
{
	*result = (struct explore_result){.runs = 0};
	explore_objects_forget();
	explore_watch_for_breaks();
	if (limits->replay)
		return replay(test, limits->replay, result);
	all_orders = limits->all_orders;
	for (bound = 0; bound <= limits->bound && !result->failed; bound++) {
		do {
			if (!pass(test, limits, result))
				return !result->failed;
			/* A place to switch at that was met too late: once more. */
		} while (!result->failed && explore_objects_learn());
	}
	result->complete = true;
	return !result->failed;
}
