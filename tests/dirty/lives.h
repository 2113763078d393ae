/* SPDX-License-Identifier: MIT */
/* Random lives with slots that log: both engines. */
#ifndef TESTS_DIRTY_LIVES_H
#define TESTS_DIRTY_LIVES_H

#include "model.h"

/* What came of it; violations 0: all was well. */
struct logged_life {
	uint64_t steps, violations;
	struct model_counts count;
	uint64_t in_between; /* writes in the middle of a look, or of a change */
	char first[256];
};

struct logged_life nested_life(uint64_t seed, uint64_t steps, unsigned variant);
struct logged_life shadowed_life(uint64_t seed, uint64_t steps, unsigned variant);

#define SHADOWED_VARIANTS 4u

#endif
