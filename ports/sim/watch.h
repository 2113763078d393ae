/* SPDX-License-Identifier: MIT */
/* A test that tracks frames looks on: what passed in hardware, and what came out to be emulated. */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include <vmmu/types.h>

struct sim_seen {
	unsigned vcpu, space;
	vmmu_gpa_t gpa;
	uint32_t access; /* one enum vmmu_access bit */
};

struct sim_watch {
	void *context;
	/* A CPU did it by itself. May be NULL. */
	void (*passed)(void *context, const struct sim_seen *seen);
	/* The library says VMMU_OUTCOME_TRACKED. May be NULL. */
	void (*came_out)(void *context, const struct sim_seen *seen);
	/* Done by somebody else than a CPU, and told next. May be NULL. */
	void (*telling)(void *context, const struct sim_seen *seen);
};

static inline void sim_watch_passed(const struct sim_watch *watch, const struct sim_seen *seen)
{
	if (watch->passed)
		watch->passed(watch->context, seen);
}

static inline void sim_watch_came_out(const struct sim_watch *watch, const struct sim_seen *seen)
{
	if (watch->came_out)
		watch->came_out(watch->context, seen);
}

static inline void sim_watch_telling(const struct sim_watch *watch, const struct sim_seen *seen)
{
	if (watch->telling)
		watch->telling(watch->context, seen);
}

#endif
