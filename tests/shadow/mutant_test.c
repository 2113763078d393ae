/* SPDX-License-Identifier: MIT */
/* The mistakes in shadow paging, against scenarios and random lives. */
#include <stdio.h>

#include "mutant/runner.h"
#include "random.h"
#include "scenario.h"

#define STEPS 6000u

static bool scenarios_notice(char notice[MUTANT_NOTICE_BYTES])
{
	for (size_t i = 0; i < scenario_count; i++) {
		/* For good if it does not return. */
		snprintf(notice, MUTANT_NOTICE_BYTES, "scenario: %s", scenarios[i].name);
		if (_cmocka_run_group_tests(scenarios[i].name, &scenarios[i], 1, NULL, NULL))
			return true;
	}
	notice[0] = '\0';
	return false;
}

static void look(char notice[MUTANT_NOTICE_BYTES])
{
	if (scenarios_notice(notice))
		return;
	for (unsigned variant = 0; variant < RANDOM_VARIANTS; variant++) {
		struct random_run run = {.seed = 100 + variant,
					 .steps = STEPS,
					 .variant = variant,
					 .check_every = 10};
		struct random_result r = random_life(&run);

		if (r.violations) {
			snprintf(notice, MUTANT_NOTICE_BYTES, "step %llu of \"%s\": %s",
				 (unsigned long long)r.steps, random_variant_name(variant),
				 r.first);
			return;
		}
	}
}

static const struct mutant mutants[] = {VMMU_SHADOW_MUTANTS(MUTANT_ROW)};

int main(void)
{
	return mutants_run(mutants, sizeof(mutants) / sizeof(mutants[0]), look);
}
