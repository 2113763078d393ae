/* SPDX-License-Identifier: MIT */
#include "base/epoch.h"

#include "base/mutate.h"

void vmmu_epoch_init(struct vmmu_epoch *epoch)
{
	atomic_put(&epoch->now, 1);
	atomic_put(&epoch->outside[0], 0);
	atomic_put(&epoch->outside[1], 0);
	atomic_put(&epoch->advancing, 0);
}

unsigned vmmu_epoch_enter_outside(struct vmmu_epoch *epoch)
{
	for (;;) {
		uint64_t seen = atomic_get_ordered(&epoch->now);
		unsigned parity = (unsigned)(seen & 1);

		(void)atomic_plus(&epoch->outside[parity], 1);
		/* Counted in the right one only if the epoch has not moved meanwhile. */
		if (atomic_get_ordered(&epoch->now) == seen)
			return parity;
		(void)atomic_plus(&epoch->outside[parity], (uint64_t)-1);
	}
}

void vmmu_epoch_leave_outside(struct vmmu_epoch *epoch, unsigned ticket)
{
	(void)atomic_plus(&epoch->outside[ticket], (uint64_t)-1);
}

/* Is every reader in epoch @now, or out? */
static bool readers_are_current(struct vmmu_epoch *epoch, struct vmmu_reader *readers, uint64_t now)
{
	if (VMMU_MUTANT(EPOCH_BLIND))
		return true;
	if (atomic_get_ordered(&epoch->outside[(now + 1) & 1]))
		return false; /* somebody is still in the epoch before */
	for (struct vmmu_reader *r = readers; r; r = r->next) {
		uint64_t in = atomic_get_ordered(&r->in) >> 1;

		if (in && in != now)
			return false;
	}
	return true;
}

uint64_t vmmu_epoch_try_advance(struct vmmu_epoch *epoch, struct vmmu_reader *readers,
				const struct vmmu_port *port, void *host)
{
	uint64_t now;

	vmmu_spin_acquire(&epoch->advancing, port, host);
	now = atomic_get(&epoch->now);
	if (readers_are_current(epoch, readers, now))
		(void)atomic_swap(&epoch->now, ++now);
	vmmu_spin_release(&epoch->advancing);
	return now;
}
