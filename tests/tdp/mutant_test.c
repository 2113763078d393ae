/* SPDX-License-Identifier: MIT */
/* The mistakes in two-dimensional paging, against probes and random lives. */
#include <stdio.h>

#include "mutant/runner.h"
#include "probe.h"
#include "random.h"

#define STEPS 6000u

static void look(char notice[MUTANT_NOTICE_BYTES])
{
	const char *problem = probe_all();

	if (problem) {
		snprintf(notice, MUTANT_NOTICE_BYTES, "probe: %s", problem);
		return;
	}
	for (unsigned variant = 0; variant < RANDOM_VARIANTS; variant++) {
		struct random_run run = {
			.seed = 100 + variant, .steps = STEPS, .vcpus = 4, .variant = variant};
		struct random_result r = random_life(&run, 10);

		if (r.violations) {
			snprintf(notice, MUTANT_NOTICE_BYTES, "step %llu of \"%s\": %s",
				 (unsigned long long)r.steps, random_variant_name(variant),
				 r.first);
			return;
		}
	}
}

static const struct mutant mutants[] = {VMMU_TDP_MUTANTS(MUTANT_ROW)};

int main(void)
{
	return mutants_run(mutants, sizeof(mutants) / sizeof(mutants[0]), look);
}
