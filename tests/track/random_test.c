/* SPDX-License-Identifier: MIT */
/*
 * Random lives with clients that track: whoever had to be told was told, once and in order; nothing
 * passed untold; nobody was told for nothing. A failure prints what replays it: VMMU_SEED=...
 * VMMU_STEPS=....
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../tdp/random.h"
#include "lives.h"

#define NESTED_STEPS 5000u
#define SHADOWED_STEPS 12000u

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void judge(const char *name, const struct tracked_life *life, uint64_t steps)
{
	const struct model_counts *n = &life->count;

	print_message("# %s: %llu steps: %llu edits, %llu refused, %llu accesses passed, %llu came "
		      "out, %llu told, of these %llu accessed or dirty bits, %llu ends\n",
		      name, (unsigned long long)life->steps, (unsigned long long)n->edits,
		      (unsigned long long)n->refused, (unsigned long long)n->passed,
		      (unsigned long long)n->came_out, (unsigned long long)n->told,
		      (unsigned long long)n->marks, (unsigned long long)n->ends);
	if (life->violations)
		fail_msg("step %llu: %s", (unsigned long long)life->steps, life->first);
	/* A life in which nothing happened proves nothing. */
	assert_int_equal(life->steps, steps);
	assert_true(n->edits > steps / 50);
	assert_true(n->refused > 0);
	assert_true(n->came_out > steps / 200);
	assert_true(n->told > steps / 200);
	assert_true(n->passed > steps / 10);
	assert_true(n->ends > 0);
}

static void nested(void **state)
{
	unsigned variant = *(unsigned *)*state;
	uint64_t steps = number_of("VMMU_STEPS", NESTED_STEPS);
	uint64_t seed = number_of("VMMU_SEED", 7) * 1000 + variant;
	struct tracked_life life = nested_life(seed, steps, variant);

	judge(random_variant_name(variant), &life, steps);
}

static void shadowed(void **state)
{
	unsigned variant = *(unsigned *)*state;
	uint64_t steps = number_of("VMMU_STEPS", SHADOWED_STEPS);
	uint64_t seed = number_of("VMMU_SEED", 7) * 1000 + variant;
	struct tracked_life life = shadowed_life(seed, steps, variant);

	judge("shadow", &life, steps);
	assert_true(life.count.marks > 0);
}

int main(void)
{
	static unsigned variant[RANDOM_VARIANTS] = {0, 1, 2, 3, 4, 5, 6, 7};
	struct CMUnitTest tests[RANDOM_VARIANTS + SHADOWED_VARIANTS];

	for (unsigned i = 0; i < RANDOM_VARIANTS; i++)
		tests[i] = (struct CMUnitTest){.name = "tracked_accesses_are_told_once_nested",
					       .test_func = nested,
					       .initial_state = &variant[i]};
	for (unsigned i = 0; i < SHADOWED_VARIANTS; i++)
		tests[RANDOM_VARIANTS + i] =
			(struct CMUnitTest){.name = "tracked_accesses_are_told_once_shadowed",
					    .test_func = shadowed,
					    .initial_state = &variant[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
