/* SPDX-License-Identifier: MIT */
/*
 * Random lives with slots that log: what was written is told, once, whatever came in between; what
 * was not is not. A failure prints what replays it: VMMU_SEED=... VMMU_STEPS=....
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../tdp/random.h"
#include "lives.h"

#define NESTED_STEPS 8000u
#define SHADOWED_STEPS 12000u

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void judge(const char *name, const struct logged_life *life, uint64_t seed, uint64_t steps)
{
	const struct model_counts *n = &life->count;

	print_message("# %s, seed %llu: %llu steps: %llu looks, %llu frames told, %llu of them "
		      "due, %llu written meanwhile, logs %llu begun and %llu ended, %llu refused; "
		      "%llu writes, %llu in the middle of something\n",
		      name, (unsigned long long)seed, (unsigned long long)life->steps,
		      (unsigned long long)n->looks, (unsigned long long)n->frames_told,
		      (unsigned long long)n->due, (unsigned long long)n->fresh,
		      (unsigned long long)n->begun, (unsigned long long)n->ended,
		      (unsigned long long)n->refused, (unsigned long long)n->writes,
		      (unsigned long long)life->in_between);
	if (life->violations)
		fail_msg("step %llu: %s", (unsigned long long)life->steps, life->first);
	/* A life in which nothing happened proves nothing. */
	assert_int_equal(life->steps, steps);
	if (steps < 5000)
		return;
	assert_true(n->looks > steps / 20);
	assert_true(n->due > steps / 10);
	assert_true(n->fresh > 0);
	assert_true(n->begun > steps / 200);
	assert_true(n->ended > steps / 400);
	assert_true(n->refused > 0);
	assert_true(life->in_between > steps / 50);
}

static void nested(void **state)
{
	unsigned variant = *(unsigned *)*state;
	uint64_t steps = number_of("VMMU_STEPS", NESTED_STEPS);
	uint64_t seed = number_of("VMMU_SEED", 7) * 1000 + variant;
	struct logged_life life = nested_life(seed, steps, variant);

	judge(random_variant_name(variant), &life, seed, steps);
}

static void shadowed(void **state)
{
	unsigned variant = *(unsigned *)*state;
	uint64_t steps = number_of("VMMU_STEPS", SHADOWED_STEPS);
	uint64_t seed = number_of("VMMU_SEED", 7) * 1000 + variant;
	struct logged_life life = shadowed_life(seed, steps, variant);

	judge("shadow", &life, seed, steps);
}

int main(void)
{
	static unsigned variant[RANDOM_VARIANTS] = {0, 1, 2, 3, 4, 5, 6, 7};
	struct CMUnitTest tests[RANDOM_VARIANTS + SHADOWED_VARIANTS];

	for (unsigned i = 0; i < RANDOM_VARIANTS; i++)
		tests[i] = (struct CMUnitTest){.name = "writes_are_told_once_nested",
					       .test_func = nested,
					       .initial_state = &variant[i]};
	for (unsigned i = 0; i < SHADOWED_VARIANTS; i++)
		tests[RANDOM_VARIANTS + i] =
			(struct CMUnitTest){.name = "writes_are_told_once_shadowed",
					    .test_func = shadowed,
					    .initial_state = &variant[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
