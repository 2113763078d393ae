/* SPDX-License-Identifier: MIT */
/*
 * Read sections and grace periods. Whoever follows pointers that others may unlink does so
 * inside a read section; whoever unlinked something frees it after a grace period, when
 * every section that could have seen it has ended.
 *
 * Three epochs in rotation. The current epoch moves on only when no reader is left in an
 * older one; what was unlinked in epoch e is free of readers when epoch e+2 begins.
 * A vCPU announces itself in its own word; other threads count themselves in one of two
 * shared counters.
 */
#ifndef VMMU_BASE_EPOCH_H
#define VMMU_BASE_EPOCH_H

#include "base/atomic.h"
#include "base/lock.h"

struct vmmu_epoch {
	vmmu_atomic_t now;        /* current epoch, counts up from 1 */
	vmmu_atomic_t outside[2]; /* readers that are no vCPU, by parity of their epoch */
	vmmu_atomic_t advancing;  /* spin: one thread moves the epoch at a time */
};

void vmmu_epoch_init(struct vmmu_epoch *epoch);

/* Read sections of a vCPU. They do not nest. @shares: 0 or VMMU_READER_SHARES. */
static inline void vmmu_epoch_enter(struct vmmu_epoch *epoch, struct vmmu_reader *reader,
				    uint64_t shares)
{
	/* The swap orders the announcement before every load of the section. A stale epoch
	 * announced here is safe: it only keeps the epoch from moving on. */
	(void)atomic_swap(&reader->in, atomic_get(&epoch->now) << 1 | shares);
}

static inline void vmmu_epoch_leave(struct vmmu_reader *reader)
{
	atomic_put_release(&reader->in, 0); /* pairs with vmmu_epoch_try_advance() */
}

/* A read section that shares the built-in lock. False: somebody wants it exclusively; then neither
 * is entered. Pairs with wait_for_readers() in lock.c. */
static inline bool vmmu_epoch_enter_sharing(struct vmmu_epoch *epoch, struct vmmu_reader *reader,
					    const struct vmmu_rwlock *lock)
{
	vmmu_epoch_enter(epoch, reader, VMMU_READER_SHARES);
	if (VMMU_LIKELY(vmmu_rwlock_is_open(lock)))
		return true;
	vmmu_epoch_leave(reader);
	return false;
}

/* Read sections of other threads. Return: ticket for the leave. */
unsigned vmmu_epoch_enter_outside(struct vmmu_epoch *epoch);
void vmmu_epoch_leave_outside(struct vmmu_epoch *epoch, unsigned ticket);

/**
 * vmmu_epoch_try_advance() - move the epoch on if no reader lags behind.
 * @readers: head of the list of vCPU readers, stable during the call.
 * Return: the current epoch.
 */
uint64_t vmmu_epoch_try_advance(struct vmmu_epoch *epoch, struct vmmu_reader *readers,
				const struct vmmu_port *port, void *host);

/* May something that was unlinked in epoch @when be freed in epoch @now? */
static inline bool vmmu_epoch_is_past(uint64_t when, uint64_t now)
{
	return now >= when + 2;
}

#endif
