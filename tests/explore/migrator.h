/* SPDX-License-Identifier: MIT */
/*
 * Somebody copies the guest's memory while it runs, as the dirty log tells him to, and notices when
 * a copy is not what it should be. Host page = guest frame.
 *
 *   - A write that had landed when a look began is told by it, or was told, and copied, before.
 *   - After everything else has ended, one more look makes the copy what the memory is.
 *
 * Watched are the first words of some frames. Whoever writes to them says so first.
 */
#ifndef TESTS_EXPLORE_MIGRATOR_H
#define TESTS_EXPLORE_MIGRATOR_H

#include <vmmu/vmmu.h>

#include "explore.h"
#include "machine.h"

#define MIGRATOR_FRAMES 32u

struct migrator_options {
	struct vmmu_vm *vm;
	struct sim_machine *machine;
	uint16_t slot;
	uint64_t first;         /* frame of the slot */
	uint64_t frames;        /* those watched, as bits, from the first one on */
	uint64_t count;         /* frames that looks ask for, 64 at most; 0: all */
	bool is_one_of_several; /* looks overlap: what one of them tells the other does not */
	/* What all accesses to the frame concern; NULL: only those that are told here. */
	const void *(*object)(uint64_t gfn);
	bool may_end; /* the slot may not log at times */
};

void migrator_new(const struct migrator_options *options);
/* The slot has begun to log: all there is. */
void migrator_copy_all(void);
void migrator_look(void);
/* A store to the frame follows: of a CPU that is in the guest, or of the library. */
void migrator_stores(uint64_t gfn);
/* The host stores by a way of its own, and then tells the library. */
void migrator_host_stores(uint64_t gfn);
void migrator_host_has_told(uint64_t gfn);
/* One more look. Return: what is wrong, or NULL. */
const char *migrator_end(void);
/* Huge leaves. */
uint64_t migrator_huge_leaves(void);

#endif
