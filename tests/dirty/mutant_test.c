/* SPDX-License-Identifier: MIT */
/* The mistakes in the dirty log, against scenarios and random lives of both engines. */
#include <stdio.h>
#include <stdlib.h>

#include "lives.h"
#include "mutant/runner.h"
#include "scenario.h"

#define NESTED_STEPS 2500u
#define SHADOWED_STEPS 4000u

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

static bool noticed(char notice[MUTANT_NOTICE_BYTES], const char *where, unsigned variant,
		    const struct logged_life *life)
{
	if (!life->violations)
		return false;
	snprintf(notice, MUTANT_NOTICE_BYTES, "step %llu, %s %u: %.200s",
		 (unsigned long long)life->steps, where, variant, life->first);
	return true;
}

static bool lives_notice(char notice[MUTANT_NOTICE_BYTES])
{
	/* Without accessed and dirty flags, eager yields, a port that does not listen. */
	static const unsigned nested[] = {0, 3, 5, 2};

	for (unsigned i = 0; i < SHADOWED_VARIANTS; i++) {
		struct logged_life life = shadowed_life(300 + i, SHADOWED_STEPS, i);

		if (noticed(notice, "shadow", i, &life))
			return true;
	}
	for (unsigned i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
		struct logged_life life = nested_life(200 + i, NESTED_STEPS, nested[i]);

		if (noticed(notice, "nested", nested[i], &life))
			return true;
	}
	return false;
}

static void look(char notice[MUTANT_NOTICE_BYTES])
{
	const char *lives = getenv("VMMU_LIVES");

	if (lives || !scenarios_notice(notice))
		(void)lives_notice(notice);
}

static const struct mutant mutants[] = {VMMU_LOG_MUTANTS(MUTANT_ROW)};

int main(void)
{
	return mutants_run(mutants, sizeof(mutants) / sizeof(mutants[0]), look);
}
