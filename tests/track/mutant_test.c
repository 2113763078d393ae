/* SPDX-License-Identifier: MIT */
/* The mistakes in tracking, against probes and random lives of both engines. */
#include <stdio.h>

#include "lives.h"
#include "mutant/runner.h"
#include "probe.h"

#define NESTED_STEPS 2500u
#define SHADOWED_STEPS 6000u

static bool noticed(char notice[MUTANT_NOTICE_BYTES], const char *where, unsigned variant,
		    const struct tracked_life *life)
{
	if (!life->violations)
		return false;
	snprintf(notice, MUTANT_NOTICE_BYTES, "step %llu, %s %u: %.200s",
		 (unsigned long long)life->steps, where, variant, life->first);
	return true;
}

static void look(char notice[MUTANT_NOTICE_BYTES])
{
	/* Yields in long operations, then a life without accessed and dirty flags. */
	static const unsigned nested[] = {5, 6, 0, 3};
	const char *problem = track_probes();

	if (problem) {
		snprintf(notice, MUTANT_NOTICE_BYTES, "probe: %s", problem);
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

static const struct mutant mutants[] = {VMMU_TRACK_MUTANTS(MUTANT_ROW)};

int main(void)
{
	return mutants_run(mutants, sizeof(mutants) / sizeof(mutants[0]), look);
}
