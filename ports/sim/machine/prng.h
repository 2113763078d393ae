/* SPDX-License-Identifier: MIT */
/* prng.h - xoshiro256**, seeded by splitmix64: small, fast, replayable. */
#ifndef SIM_MACHINE_PRNG_H
#define SIM_MACHINE_PRNG_H

#include "types.h"

struct sim_prng {
	uint64_t word[4];
};

void sim_prng_seed(struct sim_prng *prng, uint64_t seed);
uint64_t sim_prng_next(struct sim_prng *prng);
/* Return: a number in [0, bound); 0 if @bound is 0. The bias is below bound / 2^64. */
uint64_t sim_prng_below(struct sim_prng *prng, uint64_t bound);
/* Return: true @part times in @whole. */
bool sim_prng_chance(struct sim_prng *prng, uint64_t part, uint64_t whole);

#endif
