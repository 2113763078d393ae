/* SPDX-License-Identifier: MIT */
/*
 * What all explored worlds stand on: names for words of memory that are the same in every run,
 * accesses of the hardware to tables as points, locks that the scheduler understands. One world at
 * a time.
 */
#ifndef TESTS_EXPLORE_GROUND_H
#define TESTS_EXPLORE_GROUND_H

#include <vmmu/vmmu.h>

#include "explore.h"
#include "machine.h"

struct ground {
	struct sim_machine *machine;
	struct vmmu_vm *vm;
	bool reads_guest; /* the library reads guest memory, too */
	unsigned readers, writers, held[EXPLORE_THREADS_MAX + 1]; /* of the mmu lock */
};
extern struct ground ground;

/* The allocation that fails in worlds made from now on; 0: none. */
extern uint64_t world_fail_at;

/* A setup that does not come about is the test's own mistake. */
void world_need(bool condition, const char *what);

/* What the machine's RAM holds has its name from now on; accesses are explored. */
void ground_begin(struct sim_machine *machine, struct vmmu_vm *vm, uint64_t frames);
/* Before the machine is freed. */
void ground_end(void);

/* The page is a new one, of the calling thread. */
void ground_name_page(sim_pfn_t pfn);
/* Host page @number is there now. */
void ground_name_host_page(sim_pfn_t pfn, uint64_t number);
/* What stands for the whole page. */
const void *ground_page(sim_pfn_t pfn);

void ground_no_lock_held(const char *what);
/* Instead of the built-in lock, in a VM that has vCPUs already. @port: gets the locks. */
void ground_bring_locks(struct vmmu_port *port, void *host);

#endif
