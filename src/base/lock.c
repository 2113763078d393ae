/* SPDX-License-Identifier: MIT */
#include "base/lock.h"

void vmmu_relax(const struct vmmu_port *port, void *host)
{
	if (port->relax)
		port->relax(host);
	else
		__builtin_ia32_pause();
}

/* One turn of a wait for the read-write lock. Whoever waits looks at it after each. */
static void await(const struct vmmu_port *port, void *host, unsigned turn)
{
	if (port->lock_wait)
		port->lock_wait(host, turn);
	else
		vmmu_relax(port, host);
}

/* After it was let go. */
static inline void wake(const struct vmmu_port *port, void *host)
{
	if (VMMU_UNLIKELY(port->lock_wake != NULL) && !VMMU_MUTANT(LOCK_SILENT))
		port->lock_wake(host);
}

bool vmmu_rwlock_init(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	atomic_put(&lock->state, port->locks ? VMMU_RWLOCK_WAITS : 0);
	lock->readers = NULL;
	lock->foreign = NULL;
	if (!port->locks)
		return true;
	lock->foreign = port->locks->create(host);
	return lock->foreign != NULL;
}

void vmmu_rwlock_fini(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	if (lock->foreign)
		port->locks->destroy(host, lock->foreign);
	lock->foreign = NULL;
}

/* A reader found the lock taken: its holder may want to know. */
static void want(struct vmmu_rwlock *lock, uint64_t seen)
{
	if ((seen & VMMU_RWLOCK_WRITER) && !(seen & VMMU_RWLOCK_WANTED))
		(void)atomic_cas(&lock->state, &seen, seen | VMMU_RWLOCK_WANTED);
}

void vmmu_rwlock_wait_open(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	for (unsigned turn = 0; !vmmu_rwlock_is_open(lock); turn++) {
		want(lock, atomic_get(&lock->state));
		await(port, host, turn);
	}
}

void vmmu_rwlock_acquire_shared(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	if (VMMU_UNLIKELY(lock->foreign != NULL)) {
		port->locks->acquire_shared(host, lock->foreign);
		return;
	}
	for (unsigned turn = 0;; turn++) {
		uint64_t seen = atomic_get(&lock->state);

		if ((!(seen & (VMMU_RWLOCK_WRITER | VMMU_RWLOCK_WAITS)) ||
		     VMMU_MUTANT(LOCK_BARGES)) &&
		    atomic_cas(&lock->state, &seen, seen + 1))
			return;
		want(lock, seen);
		await(port, host, turn);
	}
}

void vmmu_rwlock_release_shared(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	if (VMMU_UNLIKELY(lock->foreign != NULL)) {
		port->locks->release_shared(host, lock->foreign);
		return;
	}
	(void)atomic_plus(&lock->state, (uint64_t)-1);
	wake(port, host);
}

static inline bool is_shared_by(const struct vmmu_reader *r)
{
	return atomic_get_ordered(&r->in) & VMMU_READER_SHARES;
}

/* No thread is counted, and no vCPU comes in any more: wait for those that are in. */
static __attribute__((noinline)) void wait_for_readers(struct vmmu_rwlock *lock,
						       const struct vmmu_port *port, void *host)
{
	for (struct vmmu_reader *r = lock->readers; r; r = r->next)
		while (is_shared_by(r))
			vmmu_relax(port, host);
}

/* Is there one of those? */
static inline bool has_readers(const struct vmmu_rwlock *lock)
{
	const struct vmmu_reader *r = lock->readers;

	while (r && !is_shared_by(r))
		r = r->next;
	return r != NULL;
}

/*
 * A writer that comes back at once would be faster than readers who have been waiting: they get a
 * moment in which the lock is open. A bounded delay, not a wait.
 */
static void step_aside(struct vmmu_rwlock *lock)
{
	(void)atomic_clear(&lock->state, VMMU_RWLOCK_WANTED);
	for (unsigned i = 0; i < 64; i++)
		__builtin_ia32_pause();
}

/* Somebody has it, or was here before. */
static __attribute__((noinline)) void acquire_wanted(struct vmmu_rwlock *lock,
						     const struct vmmu_port *port, void *host)
{
	if (atomic_get(&lock->state) == VMMU_RWLOCK_WANTED)
		step_aside(lock);
	for (unsigned turn = 0;; turn++) {
		uint64_t seen = atomic_get(&lock->state);

		if (!(seen & ~(VMMU_RWLOCK_WAITS | VMMU_RWLOCK_WANTED))) {
			/* Taking it drops the marks; who still waits sets them again. */
			if (atomic_cas(&lock->state, &seen, VMMU_RWLOCK_WRITER))
				break;
		} else if (!(seen & VMMU_RWLOCK_WAITS)) {
			(void)atomic_cas(&lock->state, &seen, seen | VMMU_RWLOCK_WAITS);
		}
		await(port, host, turn);
	}
	wait_for_readers(lock, port, host);
}

void vmmu_rwlock_acquire(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	uint64_t seen = 0;

	/* Each way ends in one call at most: the common one, without any, needs no stack frame. */
	if (VMMU_UNLIKELY(lock->foreign != NULL))
		port->locks->acquire_exclusive(host, lock->foreign);
	else if (VMMU_UNLIKELY(!atomic_cas(&lock->state, &seen, VMMU_RWLOCK_WRITER)))
		acquire_wanted(lock, port, host);
	else if (VMMU_UNLIKELY(has_readers(lock)))
		wait_for_readers(lock, port, host);
}

void vmmu_rwlock_release(struct vmmu_rwlock *lock, const struct vmmu_port *port, void *host)
{
	if (VMMU_UNLIKELY(lock->foreign != NULL)) {
		port->locks->release_exclusive(host, lock->foreign);
		return;
	}
	(void)atomic_plus(&lock->state, (uint64_t)-VMMU_RWLOCK_WRITER);
	wake(port, host);
}

void vmmu_giveway_acquire(vmmu_atomic_t *lock, const struct vmmu_port *port, void *host)
{
	uint64_t free = 0;

	while (!atomic_cas(lock, &free, 1)) {
		free = 0;
		if (port->yield)
			port->yield(host);
		else
			vmmu_relax(port, host);
	}
}

void vmmu_giveway_release(vmmu_atomic_t *lock)
{
	atomic_put_release(lock, 0); /* pairs with vmmu_giveway_acquire() */
}

void vmmu_spin_acquire(vmmu_atomic_t *lock, const struct vmmu_port *port, void *host)
{
	uint64_t free = 0;

	while (!atomic_cas(lock, &free, 1)) {
		/* Who waits only looks: the holder needs the line to let go. */
		do
			vmmu_relax(port, host);
		while (atomic_get(lock));
		free = 0;
	}
}

void vmmu_spin_release(vmmu_atomic_t *lock)
{
	atomic_put_release(lock, 0); /* pairs with vmmu_spin_acquire() */
}
