/* SPDX-License-Identifier: MIT */
/*
 * The library on the simulated machine, for explored threads: a VM whose callbacks are points,
 * whose hardware walks its tables access by access, and whose locks the scheduler understands.
 *
 * A CPU in the guest is interrupted between two instructions only: a flush waits for the end of the
 * one it is in. A flush of everything waits until it has left by itself.
 */
#ifndef TESTS_EXPLORE_WORLD_H
#define TESTS_EXPLORE_WORLD_H

#include "explore.h"
#include "ground.h"
#include "port.h"

struct world_options {
	enum vmmu_format format;  /* 0: NPT */
	enum vmmu_level max_leaf; /* 0: 4K */
	enum sim_level run_level; /* of host memory; 0: 4K */
	unsigned vcpus;
	unsigned spaces;     /* 0: 1 */
	unsigned prefetch;   /* 0: 1 */
	uint64_t host_pages; /* 0: 64, all present */
	bool eager;          /* long operations pause after every change */
	bool builtin_locks;
	bool no_accessed_dirty;
};

struct world {
	struct sim_vm *sim;
	struct world_options options;
	/* what the CPUs do */
	bool kicked[SIM_VCPUS_MAX]; /* it has to enter anew */
	bool in_instruction[SIM_VCPUS_MAX];
	bool busy[SIM_VCPUS_MAX];    /* in world_access(): leaves by itself when kicked */
	bool leaving[SIM_VCPUS_MAX]; /* on its way out */
	bool moved;
	unsigned cpu_of[SIM_VCPUS_MAX];
	/* what the threads do */
	bool pausing[EXPLORE_THREADS_MAX + 1];
	uint64_t changes; /* of slots, begun or ended */
	uint64_t fail_at; /* this allocation of a table fails, of those in threads; 0: none */
	uint64_t allocations;
	bool ran_out; /* one did */
};
extern struct world world;

/* Frames from 0 on that are looked at when all is over. */
#define WORLD_FRAMES 8u

void world_new(const struct world_options *options);
/* In a test's setup, too: an access that has to work. */
void world_write(unsigned vcpu, uint64_t gfn);
void world_read(unsigned vcpu, uint64_t gfn);
/* One access whose end is not known: memory, a device, or no memory for tables. */
enum sim_access_end world_access(unsigned vcpu, uint64_t gfn, enum sim_access_kind kind);
/* The CPU fills its caches by itself, if it is in the guest. */
void world_prefetch(unsigned vcpu, uint64_t gfn);
void world_leave(unsigned vcpu);
/* From now on the vCPU runs on that CPU. Context: out of the guest. */
void world_move(unsigned vcpu, unsigned cpu);

void world_slot_create(uint16_t id, uint64_t gfn, uint64_t count, uint64_t host);
void world_slot_delete(uint16_t id);
void world_slot_move(uint16_t id, uint64_t gfn);
/* Nothing that the guest could see. */
void world_slot_flags(uint16_t id, uint32_t flags);
/* A device stores, and then it is told. */
void world_device_stores(uint64_t gfn);

/* Host memory, bracketed by invalidation. */
void world_swap_out(uint64_t page);
void world_migrate(uint64_t page);
/* The same by guest frames: 0 is the space. */
void world_migrate_gfn(uint64_t gfn, uint64_t page);
void world_zap_all(void);
void world_zap_range(uint64_t start, uint64_t end);

/* Between world.c, world_cpu.c and world_events.c: what has no address of its own. */
extern char world_slots_object, world_host_object, world_cpu_object[SIM_VCPUS_MAX];

/* For struct explore_test. */
const char *world_watch(void);
const char *world_check(void);
void world_free(void);

#endif
