/* SPDX-License-Identifier: MIT */
/*
 * Random guests against the oracle. 600,000 steps in the default run, over all variants.
 * A failure prints what replays it: VMMU_SEED=... VMMU_STEPS=... VMMU_VARIANT=....
 * VMMU_CHECK=1 audits after each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random.h"

#define STEPS_DEFAULT 600000u

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void print_counts(const struct random_run *run, const struct random_result *r)
{
	print_message(
		"# %s: seed %llu, %llu steps: %llu memory (%llu stale), %llu mmio, "
		"%llu read-only, %llu injected, %llu table writes (%llu self), "
		"%llu unprotected, %llu faults\n",
		random_variant_name(run->variant), (unsigned long long)run->seed,
		(unsigned long long)r->steps, (unsigned long long)r->count.memory,
		(unsigned long long)r->count.stale, (unsigned long long)r->count.mmio,
		(unsigned long long)r->count.readonly, (unsigned long long)r->count.injected,
		(unsigned long long)r->count.table_writes, (unsigned long long)r->count.self_writes,
		(unsigned long long)r->count.unprotected, (unsigned long long)r->count.faults);
	print_message("#   %llu stores, %llu by the guest, %llu unsync, %llu sync, %llu zapped, "
		      "%llu reclaimed, %llu flooded, %llu host events (%llu host errors), "
		      "%llu slot events, %llu huge, %llu in between, %llu not judged\n",
		      (unsigned long long)r->stores, (unsigned long long)r->stored_by_guest,
		      (unsigned long long)r->unsync, (unsigned long long)r->sync,
		      (unsigned long long)r->zapped, (unsigned long long)r->reclaimed,
		      (unsigned long long)r->flooded, (unsigned long long)r->host_events,
		      (unsigned long long)r->count.host_errors, (unsigned long long)r->slot_events,
		      (unsigned long long)r->pages_2m, (unsigned long long)r->races,
		      (unsigned long long)r->count.partial);
}

static void run_variant(unsigned variant)
{
	struct random_run run = {
		.seed = number_of("VMMU_SEED", 1) * 1000 + variant,
		.steps = number_of("VMMU_STEPS", STEPS_DEFAULT) / RANDOM_VARIANTS,
		.variant = variant,
		.check_every = number_of("VMMU_CHECK", 50),
	};
	struct random_result r;

	if (number_of("VMMU_VARIANT", variant) != variant)
		skip();
	r = random_life(&run);
	print_counts(&run, &r);
	if (r.violations)
		fail_msg("VMMU_SEED=%llu VMMU_VARIANT=%u, step %llu: %s",
			 (unsigned long long)(run.seed / 1000), variant,
			 (unsigned long long)r.steps, r.first);
	/* A run in which nothing happened proves nothing. */
	assert_true(r.steps == run.steps);
	if (run.steps < 5000)
		return;
	assert_true(r.count.memory > run.steps / 10);
	assert_true(r.count.injected > run.steps / 20);
	assert_true(r.count.mmio > 0);
	assert_true(r.count.table_writes > run.steps / 100);
	assert_true(r.count.partial < run.steps / 10);
	assert_true(r.stored_by_guest > run.steps / 20);
	assert_true(variant + 1 < RANDOM_VARIANTS || r.races > run.steps / 1000);
	assert_true(r.unsync > run.steps / 1000 && r.sync > run.steps / 1000);
}

#define VARIANT(n)                                                                                 \
	static void a_random_guest_gets_what_hardware_gives_variant_##n(void **state)              \
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
VARIANT(8)
VARIANT(9)
VARIANT(10)
VARIANT(11)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_0),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_1),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_2),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_3),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_4),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_5),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_6),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_7),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_8),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_9),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_10),
		cmocka_unit_test(a_random_guest_gets_what_hardware_gives_variant_11),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
