/* SPDX-License-Identifier: MIT */
/*
 * Spin locks between CPUs. The order in which they nest, outermost first; the same lock twice is a
 * deadlock, and the last three are never held together:
 *
 *   the library's own locks (its callbacks come with them held)
 *   guest memory   guest/memory.c    which host frame a guest frame has
 *   allocator      platform/memory.c pools and stock of frames
 *   device         guest/device.c    I/O APIC: select, check and write are one step
 *   channels       platform/console.c a record on the report or trace channel
 *
 * Held for a few hundred instructions (with resident= for the packing or unpacking of a page), with
 * GIF=0, never over an entry into the guest. Whoever waits is outside the guest, so a remote flush
 * never waits for it. smp_hold() is outside of all.
 */
#ifndef HV_SPIN_H
#define HV_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

struct spin {
	uint32_t held;
};

static inline bool spin_try(struct spin *lock)
{
	return __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE) == 0;
}

static inline void spin_lock(struct spin *lock)
{
	while (!spin_try(lock)) {
		while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED) != 0)
			cpu_relax();
	}
}

static inline void spin_unlock(struct spin *lock)
{
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

#endif
