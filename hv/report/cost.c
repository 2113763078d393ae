/* SPDX-License-Identifier: MIT */
/* Reading a cost histogram. */
#include "cost.h"

void cost_merge(struct cost *to, const struct cost *from)
{
	if (from->min_inverted > to->min_inverted)
		to->min_inverted = from->min_inverted;
	for (unsigned i = 0; i < COST_BUCKETS; i++)
		to->count[i] += from->count[i];
}

uint64_t cost_count(const struct cost *cost)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < COST_BUCKETS; i++)
		count += cost->count[i];
	return count;
}

/* Middle of the values that bucket @index counts. */
static uint64_t bucket_value(unsigned index)
{
	unsigned shift;

	if (index < 2 * COST_STEPS)
		return index;
	shift = (index >> COST_STEP_BITS) - 1;
	return ((uint64_t)(index - (shift << COST_STEP_BITS)) << shift) +
	       ((UINT64_C(1) << shift) - 1) / 2;
}

uint64_t cost_quantile(const struct cost *cost, unsigned permille)
{
	uint64_t target = cost_count(cost) * permille;
	uint64_t seen = 0;
	uint64_t value = 0;

	if (target == 0)
		return 0;
	for (unsigned i = 0; i < COST_BUCKETS; i++) {
		seen += cost->count[i];
		value = bucket_value(i);
		if (seen != 0 && seen * 1000 >= target)
			break;
	}
	/* The minimum is exact, and nothing lies below it. */
	return value > cost_min(cost) ? value : cost_min(cost);
}
