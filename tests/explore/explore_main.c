/* SPDX-License-Identifier: MIT */
/*
 * Runs the scenarios: each as it is, with allocations that fail, and with its mistakes put back in,
 * which must be found. Prints TAP, and a table at the end.
 *
 * usage: PROGRAM [--long] [--list] [NAME]; VMMU_SCHEDULE and VMMU_MUTANT replay one failure,
 * VMMU_BOUND is the number of preemptions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ground.h"
#include "scenario.h"

enum vmmu_mutant vmmu_mutant;

#define RUNS_MAX 3000000u
#define LINES_MAX 200u

static char lines[LINES_MAX][200];
static unsigned line_count, tests, failures;
static bool is_long;
static const char *program;

static const char *mutant_name(enum vmmu_mutant mutant)
{
	static const char *const names[] = {
#define NAME(name, text) [VMMU_MUTANT_##name] = #name,
		VMMU_MUTANTS(NAME) VMMU_RACE_MUTANTS(NAME)
#undef NAME
	};

	return mutant < sizeof(names) / sizeof(names[0]) ? names[mutant] : NULL;
}

static enum vmmu_mutant mutant_of(const char *name)
{
	for (unsigned i = 1; i < VMMU_MUTANT_END; i++)
		if (mutant_name((enum vmmu_mutant)i) &&
		    !strcmp(mutant_name((enum vmmu_mutant)i), name))
			return (enum vmmu_mutant)i;
	fprintf(stderr, "%s is no mutant\n", name);
	exit(2);
}

static void verdict(bool ok, const struct scenario *s, const char *what)
{
	failures += !ok;
	printf("%s %u - %s%s%s\n", ok ? "ok" : "not ok", ++tests, s->test.name, *what ? ": " : "",
	       what);
	fflush(stdout);
}

static void show(const struct scenario *s, const struct explore_result *result)
{
	char command[200];

	snprintf(command, sizeof(command), "%s%s %s '%s'", vmmu_mutant ? "VMMU_MUTANT=" : "",
		 vmmu_mutant ? mutant_name(vmmu_mutant) : "", program, s->test.name);
	explore_show(&s->test, result, command);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned bound_of(const struct scenario *s)
{
	const char *asked = getenv("VMMU_BOUND");

	if (asked)
		return (unsigned)strtoul(asked, NULL, 10);
	return is_long ? s->long_bound : s->bound;
}

/* As it is: nothing may be found. */
static void run_right(const struct scenario *s, struct explore_result *result)
{
	struct explore_limits limits = {.bound = bound_of(s), .runs_max = RUNS_MAX};
	bool ok = explore_run(&s->test, &limits, result);

	if (!ok)
		show(s, result);
	else if (!result->complete)
		printf("# %s: given up after %llu runs\n", s->test.name,
		       (unsigned long long)result->runs);
	verdict(ok && result->complete, s, "");
}

static void run_without_memory(const struct scenario *s)
{
	struct explore_limits limits = {.bound = is_long ? 2 : 1, .runs_max = RUNS_MAX};
	struct explore_result result;
	bool ok = true;

	for (unsigned n = 1; n <= s->fail_allocations && ok; n++) {
		world_fail_at = n;
		ok = explore_run(&s->test, &limits, &result);
		if (!ok)
			show(s, &result);
	}
	world_fail_at = 0;
	verdict(ok, s, "memory runs out");
}

static void run_wrong(const struct scenario *s, enum vmmu_mutant mutant, char *found, size_t bytes)
{
	struct explore_limits limits = {.bound = bound_of(s), .runs_max = RUNS_MAX};
	struct explore_result result;
	char what[80];

	if (limits.bound < 2)
		limits.bound = 2;
	vmmu_mutant = mutant;
	(void)explore_run(&s->test, &limits, &result);
	if (!result.failed)
		snprintf(found, bytes, "NOT in %llu", (unsigned long long)result.runs);
	else
		snprintf(found, bytes, "%llu", (unsigned long long)result.failed_after);
	if (result.failed && getenv("VMMU_SHOW"))
		show(s, &result);
	vmmu_mutant = VMMU_MUTANT_NONE;
	snprintf(what, sizeof(what), "%s is found", mutant_name(mutant));
	verdict(result.failed, s, what);
}

static void line(const char *a, const char *b, const char *c)
{
	if (line_count < LINES_MAX)
		snprintf(lines[line_count++], sizeof(lines[0]), "%-73s%-19s %s", a, b, c);
}

static void run(const struct scenario *s)
{
	struct explore_result result;
	double begin = seconds();
	char left[100], found[40];

	run_right(s, &result);
	snprintf(left, sizeof(left), "%-56s %u %3u %7llu ", s->test.name, s->test.threads,
		 bound_of(s), (unsigned long long)result.schedules);
	if (s->fail_allocations)
		run_without_memory(s);
	for (unsigned i = 0; i < SCENARIO_MUTANTS_MAX && s->mutants[i]; i++) {
		run_wrong(s, s->mutants[i], found, sizeof(found));
		line(i ? "" : left, mutant_name(s->mutants[i]), found);
	}
	if (getenv("VMMU_TIME"))
		printf("# %.1f s, %llu runs in all\n", seconds() - begin,
		       (unsigned long long)result.runs);
}

static int replay(const struct scenario *s, const char *schedule)
{
	struct explore_limits limits = {.replay = schedule};
	struct explore_result result;

	if (getenv("VMMU_MUTANT"))
		vmmu_mutant = mutant_of(getenv("VMMU_MUTANT"));
	if (explore_run(&s->test, &limits, &result)) {
		printf("# %s: this schedule does not fail\n", s->test.name);
		return 0;
	}
	show(s, &result);
	return 1;
}

static int replay_by_name(const char *name, const char *schedule)
{
	for (const struct scenario *const *list = scenario_lists; *list; list++)
		for (const struct scenario *s = *list; s->races; s++)
			if (!strcmp(s->test.name, name))
				return replay(s, schedule);
	fprintf(stderr, "there is no scenario \"%s\"\n", name);
	return 2;
}

static void run_all(const char *name)
{
	for (const struct scenario *const *list = scenario_lists; *list; list++)
		for (const struct scenario *s = *list; s->races; s++)
			if (!name || strstr(s->test.name, name))
				run(s);
	printf("# | %-56s %s %s %s %-19s %s\n", "scenario", "n", " b ", " orders", "mistake",
	       "found after");
	for (unsigned i = 0; i < line_count; i++)
		printf("# | %s\n", lines[i]);
	printf("1..%u\n", tests);
}

int main(int argc, char **argv)
{
	const char *name = NULL, *schedule = getenv("VMMU_SCHEDULE");

	program = argv[0];
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--long"))
			is_long = true;
		else
			name = argv[i];
	}
	if (schedule)
		return name ? replay_by_name(name, schedule) : 2;
	run_all(name);
	return failures ? 1 : 0;
}
