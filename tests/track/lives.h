/* SPDX-License-Identifier: MIT */
/* Random lives with tracking clients: both engines. */
#ifndef TESTS_TRACK_LIVES_H
#define TESTS_TRACK_LIVES_H

#include "model.h"

/* What came of it; violations 0: all was well. */
struct tracked_life {
	uint64_t steps, violations;
	struct model_counts count;
	char first[256];
};

struct tracked_life nested_life(uint64_t seed, uint64_t steps, unsigned variant);
struct tracked_life shadowed_life(uint64_t seed, uint64_t steps, unsigned variant);

#define SHADOWED_VARIANTS 3u

#endif
