/* SPDX-License-Identifier: MIT */
/*
 * What one kind of exit costs, as a histogram: 32 linear steps per power of two, so that a
 * quantile is read with an error under 2 %; below 64 it is exact. Adding is a few
 * instructions; everything else is computed when the guest has ended.
 */
#ifndef HV_REPORT_COST_H
#define HV_REPORT_COST_H

#include <stdint.h>

#define COST_STEP_BITS 5u
#define COST_STEPS (1u << COST_STEP_BITS)
#define COST_BUCKETS ((33u - COST_STEP_BITS) * COST_STEPS) /* up to 2^32 - 1 ticks */

struct cost {
	uint64_t min_inverted; /* ~minimum: zero means none yet */
	uint32_t count[COST_BUCKETS];
};

/* Where @ticks is counted. */
static inline unsigned cost_bucket(uint32_t ticks)
{
	unsigned shift = 31u - (unsigned)__builtin_clz(ticks | COST_STEPS) - COST_STEP_BITS;

	return (shift << COST_STEP_BITS) + (ticks >> shift);
}

/* One exit that took @ticks; more than 32 bits count as the most. */
static inline void cost_add(struct cost *cost, uint64_t ticks)
{
	if (~ticks > cost->min_inverted)
		cost->min_inverted = ~ticks;
	cost->count[cost_bucket(ticks >> 32 != 0 ? UINT32_MAX : (uint32_t)ticks)]++;
}

/* Add what @from has counted. */
void cost_merge(struct cost *to, const struct cost *from);

/* How many were added. */
uint64_t cost_count(const struct cost *cost);

static inline uint64_t cost_min(const struct cost *cost)
{
	return cost->min_inverted == 0 ? 0 : ~cost->min_inverted;
}

/* The value below which @permille of 1000 lie: 500 is the median. 0 when empty. */
uint64_t cost_quantile(const struct cost *cost, unsigned permille);

#endif
