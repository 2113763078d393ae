/* SPDX-License-Identifier: MIT */
/*
 * The locks: a read-write lock for tables (built in, or the port's own) and a lock whose
 * waiters give way, for slot changes that take long. Raw operations only: the mmu lock is
 * taken through flush/debt.h, which pays flush debts before it lets go.
 *
 * vCPUs that share the built-in lock write nothing that another vCPU writes or waits for: each
 * announces itself in a word of its own, and a writer looks at all of them. Threads that are
 * no vCPU are counted in the lock's own word.
 */
#ifndef VMMU_BASE_LOCK_H
#define VMMU_BASE_LOCK_H

#include <vmmu/port.h>

#include "base/annotate.h"
#include "base/atomic.h"
#include "base/mutate.h"

/*
 * What a vCPU announces: the epoch that it reads in (epoch.h), and whether it holds the lock
 * shared meanwhile. 0: neither.
 */
struct vmmu_reader {
	vmmu_atomic_t in;         /* epoch << 1, plus VMMU_READER_SHARES */
	struct vmmu_reader *next; /* list of all readers: lock, exclusive */
};
#define VMMU_READER_SHARES UINT64_C(1)

struct vmmu_rwlock {
	vmmu_atomic_t state;         /* readers that are no vCPU, plus the two bits below */
	struct vmmu_reader *readers; /* of the vCPUs; lock, exclusive, to change */
	void *foreign;               /* the port's lock, if it has its own */
};

/* False: the port could not make its lock. */
bool vmmu_rwlock_init(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);
void vmmu_rwlock_fini(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);

/* Built-in locks: counted readers in the low bits, and these. */
#define VMMU_RWLOCK_WRITER (UINT64_C(1) << 63) /* held exclusively, or as soon as vCPUs are out */
#define VMMU_RWLOCK_WAITS (UINT64_C(1) << 62)  /* new readers stay out: writers do not starve */
#define VMMU_RWLOCK_WANTED (UINT64_C(1) << 61) /* a reader waits; for the holder's eyes only */

/* Is nobody there who wants it exclusively? Never true of a foreign lock. */
static inline bool vmmu_rwlock_is_open(const struct vmmu_rwlock *lock)
{
	return !(atomic_get_ordered(&lock->state) & (VMMU_RWLOCK_WRITER | VMMU_RWLOCK_WAITS)) ||
	       VMMU_MUTANT(LOCK_BARGES);
}

/* Does anybody wait for it? Asked by its holder, who may want to pause. Readers wait for writers
 * only. */
static inline bool vmmu_rwlock_is_wanted(const struct vmmu_rwlock *lock, bool shares)
{
	uint64_t marks = shares ? VMMU_RWLOCK_WRITER | VMMU_RWLOCK_WAITS
				: VMMU_RWLOCK_WAITS | VMMU_RWLOCK_WANTED;

	return !lock->foreign && (atomic_get(&lock->state) & marks);
}

/* Wait until it is open. Goes without a result: somebody may be faster. */
void vmmu_rwlock_wait_open(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host);

/* Threads that are no vCPU; vCPUs whose port has its own locks. */
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
