/* SPDX-License-Identifier: MIT */
/* Random lives of a VM: slot changes, accesses, host events, checked after every step. */
#ifndef TESTS_TDP_RANDOM_H
#define TESTS_TDP_RANDOM_H

#include "port.h"

/* Somebody who lives along, and may be NULL. Called between steps, but for what slots do. */
struct random_companion {
	void *(*start)(struct sim_vm *sim);
	void (*step)(void *companion, uint64_t gfn);
	/* May be NULL: flags of a slot to come, besides READONLY; then it is there. */
	uint32_t (*slot_flags)(void *companion);
	void (*slot_made)(void *companion, const struct vmmu_slot_config *config);
	void (*slot_ends)(void *companion, unsigned space, uint16_t id);
	void (*slot_ended)(void *companion, enum vmmu_error error);
	void (*check)(void *companion);
	void (*end)(void *companion);
	bool keeps_slots; /* slots cannot be moved */
};

struct random_run {
	uint64_t seed;
	uint64_t steps;
	unsigned vcpus;
	const struct random_companion *companion;
	unsigned variant; /* 0 .. RANDOM_VARIANTS-1: format, levels, locks, host memory */
};

#define RANDOM_VARIANTS 8u

struct random_result {
	uint64_t steps;      /* done before the first violation */
	uint64_t violations; /* 0: all was well */
	uint64_t memory, mmio, readonly, faults, slot_changes, host_events;
	char first[256]; /* the first violation, in words */
};

/* Return: what happened. @check_every: steps between whole audits. */
struct random_result random_life(const struct random_run *run, uint64_t check_every);
const char *random_variant_name(unsigned variant);

#endif
