/* SPDX-License-Identifier: MIT */
/*
 * A live migration rehearsed on the spot (migrate=on), as a user of the dirty log: while the guest
 * runs, a second copy of its memory is made and kept up to date, in rounds. When the guest has
 * ended, what is still missing is copied, and the two are compared.
 */
#ifndef HV_MIGRATE_MIGRATE_H
#define HV_MIGRATE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "../guest/guest.h"
#include "../report/cost.h"

enum { MIGRATE_PART_FRAMES = 2048 }; /* looked at by one call */

struct migration {
	struct guest *guest;
	uint64_t **copies; /* by 2M piece: 512 addresses of copies, 0: all zero so far; or NULL */

	/* Where the round is. */
	unsigned region;       /* a slot, by its region */
	uint64_t first, count; /* frames of it that were looked at last */
	uint64_t at;           /* of these, the first not copied yet */
	uint64_t bitmap[MIGRATE_PART_FRAMES / 64];
	uint64_t told; /* in this round */
	uint64_t due;  /* time stamp of the next step */
	uint32_t logs; /* the slots log; read by other vCPUs */
	bool failed;   /* no memory, or the VM is dead: there is no copy */

	uint64_t rounds; /* whole ones, the first included, which takes everything */
	uint64_t frames; /* of the guest */
	uint64_t copied;
	struct cost dirty; /* frames told in the rounds after the first, but for the last */
	uint64_t dirty_most;
	uint64_t dirty_last; /* copied when the guest had ended */
	uint64_t differ;     /* frames */
	uint64_t differ_first;
};

/* The guest gets guest->migration. Return: NULL, or a sentence that says why it cannot be. */
const char *migrate_create(struct guest *guest);

/* Called at every exit with migrate=on: a few frames more, on the boot CPU. */
void migrate_step(struct vcpu *vcpu);

/* The guest has ended, all vCPUs have stopped: copy what is left, and compare. */
void migrate_finish(struct guest *guest);

/* Whether other users of the slots' flags have to leave VMMU_SLOT_LOG on. */
static inline bool migrate_logs(const struct guest *guest)
{
	return guest->migration != NULL &&
	       __atomic_load_n(&guest->migration->logs, __ATOMIC_ACQUIRE) != 0;
}

#endif
