/* SPDX-License-Identifier: MIT */
/*
 * Each deliberate mistake of tracking in src/base/mutate.h must be noticed by probes or random
 * lives. Each runs in a process of its own: crashing and hanging count as noticed, too, and are
 * said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mutate.h"
#include "lives.h"
#include "probe.h"

enum vmmu_mutant vmmu_mutant;

#define NESTED_STEPS 2500u
#define SHADOWED_STEPS 6000u
#define SECONDS_MAX 120u

struct notice {
	char text[300];
};

static bool noticed(struct notice *notice, const char *where, unsigned variant,
		    const struct tracked_life *life)
{
	if (!life->violations)
		return false;
	snprintf(notice->text, sizeof(notice->text), "step %llu, %s %u: %.200s",
		 (unsigned long long)life->steps, where, variant, life->first);
	return true;
}

static void look(struct notice *notice)
{
	/* Yields in long operations, then a life without accessed and dirty flags. */
	static const unsigned nested[] = {5, 6, 0, 3};
	const char *problem = track_probes();

	if (problem) {
		snprintf(notice->text, sizeof(notice->text), "probe: %s", problem);
		return;
	}
	for (unsigned i = 0; i < SHADOWED_VARIANTS; i++) {
		struct tracked_life life = shadowed_life(300 + i, SHADOWED_STEPS, i);

		if (noticed(notice, "shadow", i, &life))
			return;
	}
	for (unsigned i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
		struct tracked_life life = nested_life(200 + i, NESTED_STEPS, nested[i]);

		if (noticed(notice, "nested", nested[i], &life))
			return;
	}
}

/* Run in a child; what it noticed comes through a pipe. */
static struct notice run_mutant(enum vmmu_mutant mutant)
{
	struct notice notice = {""};
	int ends[2], status = 0;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		(void)!freopen("/dev/null", "w", stderr);
		alarm(SECONDS_MAX);
		vmmu_mutant = mutant;
		look(&notice);
		_exit(write(ends[1], &notice, sizeof(notice)) != sizeof(notice));
	}
	close(ends[1]);
	if (read(ends[0], &notice, sizeof(notice)) != sizeof(notice))
		memset(&notice, 0, sizeof(notice));
	close(ends[0]);
	waitpid(child, &status, 0);
	notice.text[strcspn(notice.text, "\n")] = '\0'; /* one line says enough */
	if (WIFSIGNALED(status))
		snprintf(notice.text, sizeof(notice.text), "signal: %s",
			 strsignal(WTERMSIG(status)));
	return notice;
}

static const struct {
	enum vmmu_mutant mutant;
	const char *name, *text;
} mutants[] = {
#define MUTANT_ROW(name, text) {VMMU_MUTANT_##name, #name, text},
	VMMU_TRACK_MUTANTS(MUTANT_ROW)
#undef MUTANT_ROW
};

static void the_library_without_mistakes_passes(void **state)
{
	struct notice notice = run_mutant(VMMU_MUTANT_NONE);

	(void)state;
	assert_string_equal(notice.text, "");
}

static void mutant_is_noticed(void **state)
{
	const size_t *index = *state;
	struct notice notice = run_mutant(mutants[*index].mutant);

	print_message("# | %-18s %-66s -> %s\n", mutants[*index].name, mutants[*index].text,
		      notice.text[0] ? notice.text : "NOT NOTICED");
	assert_true(notice.text[0] != '\0');
}

int main(void)
{
	static size_t indices[sizeof(mutants) / sizeof(mutants[0])];
	struct CMUnitTest tests[sizeof(mutants) / sizeof(mutants[0]) + 1] = {
		cmocka_unit_test(the_library_without_mistakes_passes)};
	static char names[sizeof(mutants) / sizeof(mutants[0])][64];

	for (size_t i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++) {
		indices[i] = i;
		snprintf(names[i], sizeof(names[i]), "mutant_%s_is_noticed", mutants[i].name);
		tests[i + 1] = (struct CMUnitTest){.name = names[i],
						   .test_func = mutant_is_noticed,
						   .initial_state = &indices[i]};
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
