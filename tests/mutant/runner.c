/* SPDX-License-Identifier: MIT */
#include "runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum vmmu_mutant vmmu_mutant;

#define MUTANTS_MAX 100u
/* Of CPU time: a busy machine is no mutant. And of all time, for those that wait. */
#define SECONDS_MAX 15u
#define SECONDS_ALL 200u

struct job {
	struct mutant mutant;
	pid_t child;
	char notice[MUTANT_NOTICE_BYTES];
};

/* Shared with the children. [0]: no mistake. */
static struct job *jobs;
static size_t job_count;
static mutant_look_fn *look_at;

static pid_t start(struct job *job)
{
	const struct rlimit limit = {SECONDS_MAX, SECONDS_MAX + 5};
	pid_t child = fork();

	if (child)
		return child;
	(void)!freopen("/dev/null", "w", stdout);
	(void)!freopen("/dev/null", "w", stderr);
	(void)setrlimit(RLIMIT_CPU, &limit);
	alarm(SECONDS_ALL);
	vmmu_mutant = job->mutant.mutant;
	look_at(job->notice);
	_exit(0);
}

static void finish_one(void)
{
	int status = 0;
	pid_t child = wait(&status);

	for (size_t i = 0; i < job_count; i++) {
		struct job *job = &jobs[i];

		if (job->child != child)
			continue;
		job->notice[MUTANT_NOTICE_BYTES - 1] = '\0';
		job->notice[strcspn(job->notice, "\n")] = '\0'; /* one line says enough */
		if (WIFSIGNALED(status))
			snprintf(job->notice, sizeof(job->notice), "signal: %s",
				 strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status))
			snprintf(job->notice, sizeof(job->notice), "it ends with status %d",
				 WEXITSTATUS(status));
	}
}

/* Before the first test: all of them. */
static int run_all(void **state)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long running = 0;

	(void)state;
	fflush(NULL);
	for (size_t i = 0; i < job_count; i++) {
		if (running >= (cpus > 1 ? cpus : 1)) {
			finish_one();
			running--;
		}
		jobs[i].child = start(&jobs[i]);
		if (jobs[i].child < 0)
			return -1;
		running++;
	}
	for (; running; running--)
		finish_one();
	return 0;
}

static void the_library_without_mistakes_passes(void **state)
{
	const struct job *job = *state;

	assert_string_equal(job->notice, "");
}

static void mutant_is_noticed(void **state)
{
	const struct job *job = *state;

	print_message("# | %-18s %-66s -> %s\n", job->mutant.name, job->mutant.text,
		      job->notice[0] ? job->notice : "NOT NOTICED");
	assert_true(job->notice[0] != '\0');
}

int mutants_run(const struct mutant *mutants, size_t count, mutant_look_fn *look)
{
	static struct CMUnitTest tests[MUTANTS_MAX + 1];
	static char names[MUTANTS_MAX][64];
	const char *only = getenv("VMMU_MUTANT");

	jobs = mmap(NULL, (MUTANTS_MAX + 1) * sizeof(*jobs), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (jobs == MAP_FAILED || count > MUTANTS_MAX)
		return 1;
	look_at = look;
	tests[job_count++] = (struct CMUnitTest){.name = "the_library_without_mistakes_passes",
						 .test_func = the_library_without_mistakes_passes,
						 .initial_state = jobs};
	for (size_t i = 0; i < count; i++) {
		struct job *job = &jobs[job_count];

		if (only && strcmp(only, mutants[i].name) != 0)
			continue;
		job->mutant = mutants[i];
		snprintf(names[i], sizeof(names[i]), "mutant_%s_is_noticed", mutants[i].name);
		tests[job_count++] = (struct CMUnitTest){
			.name = names[i], .test_func = mutant_is_noticed, .initial_state = job};
	}
	return _cmocka_run_group_tests("mutants", tests, job_count, run_all, NULL);
}
