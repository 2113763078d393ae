/* SPDX-License-Identifier: MIT */
/*
 * The locks: a read-write lock for tables (built in, or the port's own) and a lock whose
 * waiters give way, for slot changes that take long. Raw operations only: the mmu lock is
 * taken through flush/debt.h, which pays flush debts before it lets go.
 */
#ifndef VMMU_BASE_LOCK_H
#define VMMU_BASE_LOCK_H

#include <vmmu/port.h>

#include "base/annotate.h"
#include "base/atomic.h"

struct vmmu_rwlock {
	vmmu_atomic_t state; /* readers, plus the two bits of lock.c */
	void *foreign;       /* the port's lock, if it has its own */
};

/* False: the port could not make its lock. */
bool vmmu_rwlock_init(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);
void vmmu_rwlock_fini(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);

/* Built-in locks: readers in the low bits, and these. */
#define VMMU_RWLOCK_WRITER (UINT64_C(1) << 63) /* held exclusively */
#define VMMU_RWLOCK_WAITS (UINT64_C(1) << 62)  /* new readers stay out: writers do not starve */

/* The way of those who have to wait, or whose port has its own locks. */
void vmmu_rwlock_wait_shared(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);

static inline void vmmu_rwlock_acquire_shared(struct vmmu_rwlock *lock,
					      const struct vmmu_port *port, void *host)
{
	uint64_t seen = 0;

	/* Mostly nobody is there; a foreign lock's state never lets anybody pass here. */
	if (VMMU_UNLIKELY(!atomic_cas(&lock->state, &seen, 1)))
		vmmu_rwlock_wait_shared(lock, port, host);
}

static inline void vmmu_rwlock_release_shared(struct vmmu_rwlock *lock,
					      const struct vmmu_port *port, void *host)
{
	if (VMMU_UNLIKELY(lock->foreign != NULL))
		port->locks->release_shared(host, lock->foreign);
	else
		(void)atomic_plus(&lock->state, (uint64_t)-1);
}

void vmmu_rwlock_acquire(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);
void vmmu_rwlock_release(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);

/* Waiters call port->yield between tries, so the holder may sleep. */
void vmmu_giveway_acquire(vmmu_atomic_t *lock, const struct vmmu_port *port, void *host);
void vmmu_giveway_release(vmmu_atomic_t *lock);

/* Short: a few loads and stores, never around a callback. */
void vmmu_spin_acquire(vmmu_atomic_t *lock, const struct vmmu_port *port, void *host);
void vmmu_spin_release(vmmu_atomic_t *lock);

/* One turn of a spin loop. */
void vmmu_relax(const struct vmmu_port *port, void *host);

#endif
