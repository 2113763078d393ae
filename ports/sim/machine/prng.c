/* SPDX-License-Identifier: MIT */
#include "prng.h"

static uint64_t rotate_left(uint64_t value, unsigned count)
{
	return value << count | value >> (64u - count);
}

void sim_prng_seed(struct sim_prng *prng, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t z;

		seed += UINT64_C(0x9e3779b97f4a7c15);
		z = seed;
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		prng->word[i] = z ^ z >> 31;
	}
}

uint64_t sim_prng_next(struct sim_prng *prng)
{
	uint64_t *w = prng->word;
	uint64_t result = rotate_left(w[1] * 5u, 7) * 9u;
	uint64_t shifted = w[1] << 17;

	w[2] ^= w[0];
	w[3] ^= w[1];
	w[1] ^= w[2];
	w[0] ^= w[3];
	w[2] ^= shifted;
	w[3] = rotate_left(w[3], 45);
	return result;
}

uint64_t sim_prng_below(struct sim_prng *prng, uint64_t bound)
{
	return bound ? sim_prng_next(prng) % bound : 0;
}

bool sim_prng_chance(struct sim_prng *prng, uint64_t part, uint64_t whole)
{
	return sim_prng_below(prng, whole) < part;
}
