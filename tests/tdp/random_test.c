/* SPDX-License-Identifier: MIT */
/*
 * Random sequences against the oracle. 100,000 steps in the default run, over eight variants.
 * A failure prints what replays it: VMMU_SEED=... VMMU_STEPS=....
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random.h"

#define STEPS_DEFAULT 100000u

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void run_variant(unsigned variant)
{
	struct random_run run = {
		.seed = number_of("VMMU_SEED", 1) * 1000 + variant,
		.steps = number_of("VMMU_STEPS", STEPS_DEFAULT) / RANDOM_VARIANTS,
		.vcpus = 4,
		.variant = variant,
	};
	struct random_result r = random_life(&run, 10);

	print_message("# %s: seed %llu, %llu steps: %llu memory, %llu mmio, %llu read-only, "
		      "%llu faults, %llu slot changes, %llu host events\n",
		      random_variant_name(variant), (unsigned long long)run.seed,
		      (unsigned long long)r.steps, (unsigned long long)r.memory,
		      (unsigned long long)r.mmio, (unsigned long long)r.readonly,
		      (unsigned long long)r.faults, (unsigned long long)r.slot_changes,
		      (unsigned long long)r.host_events);
	if (r.violations)
		fail_msg("VMMU_SEED=%llu, variant %u, step %llu: %s",
			 (unsigned long long)(run.seed / 1000), variant,
			 (unsigned long long)r.steps, r.first);
	/* A run in which nothing happened proves nothing. */
	assert_true(r.steps == run.steps);
	assert_true(r.memory > run.steps / 8);
	assert_true(r.mmio > run.steps / 50);
	assert_true(r.readonly > 0);
	assert_true(r.slot_changes > run.steps / 200);
}

#define VARIANT(n)                                                                                 \
	static void a_random_life_is_what_the_oracle_says_variant_##n(void **state)                \
	{                                                                                          \
		(void)state;                                                                       \
		run_variant(n);                                                                    \
	}
VARIANT(0)
VARIANT(1)
VARIANT(2)
VARIANT(3)
VARIANT(4)
VARIANT(5)
VARIANT(6)
VARIANT(7)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_0),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_1),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_2),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_3),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_4),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_5),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_6),
		cmocka_unit_test(a_random_life_is_what_the_oracle_says_variant_7),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
