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

void vmmu_rwlock_acquire_shared(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);
void vmmu_rwlock_release_shared(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);
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
