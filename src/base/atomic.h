/* SPDX-License-Identifier: MIT */
/*
 * Every access to memory that threads share goes through these functions. They are the
 * scheduling points of an explorer build (base/explore.h) and plain C11 atomics otherwise.
 */
#ifndef VMMU_BASE_ATOMIC_H
#define VMMU_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	_Atomic uint64_t v;
} vmmu_atomic_t;

#ifdef VMMU_TEST_EXPLORE
#include "base/explore.h"
#else
#define VMMU_POINT_READ(a) ((void)0)
#define VMMU_POINT_WRITE(a) ((void)0)
#define VMMU_POINT_CAS(a, old) ((void)0)
#endif

static inline uint64_t atomic_get(const vmmu_atomic_t *a)
{
	VMMU_POINT_READ(a);
	return atomic_load_explicit(&a->v, memory_order_relaxed);
}

static inline uint64_t atomic_get_acquire(const vmmu_atomic_t *a)
{
	VMMU_POINT_READ(a);
	return atomic_load_explicit(&a->v, memory_order_acquire);
}

/* Ordered against the caller's own earlier stores, too. */
static inline uint64_t atomic_get_ordered(const vmmu_atomic_t *a)
{
	VMMU_POINT_READ(a);
	return atomic_load_explicit(&a->v, memory_order_seq_cst);
}

static inline void atomic_put(vmmu_atomic_t *a, uint64_t value)
{
	VMMU_POINT_WRITE(a);
	atomic_store_explicit(&a->v, value, memory_order_relaxed);
}

static inline void atomic_put_release(vmmu_atomic_t *a, uint64_t value)
{
	VMMU_POINT_WRITE(a);
	atomic_store_explicit(&a->v, value, memory_order_release);
}

/* Full barrier; returns what was there. */
static inline uint64_t atomic_swap(vmmu_atomic_t *a, uint64_t value)
{
	VMMU_POINT_WRITE(a);
	return atomic_exchange_explicit(&a->v, value, memory_order_seq_cst);
}

/* Full barrier; returns the old value. */
static inline uint64_t atomic_plus(vmmu_atomic_t *a, uint64_t n)
{
	VMMU_POINT_WRITE(a);
	return atomic_fetch_add_explicit(&a->v, n, memory_order_seq_cst);
}

/* Full barrier; returns the old value. */
static inline uint64_t atomic_clear(vmmu_atomic_t *a, uint64_t bits)
{
	VMMU_POINT_WRITE(a);
	return atomic_fetch_and_explicit(&a->v, ~bits, memory_order_seq_cst);
}

/* Full barrier; returns the old value. */
static inline uint64_t atomic_set(vmmu_atomic_t *a, uint64_t bits)
{
	VMMU_POINT_WRITE(a);
	return atomic_fetch_or_explicit(&a->v, bits, memory_order_seq_cst);
}

/* Full barrier on success; on failure *old is what is there now. */
static inline bool atomic_cas(vmmu_atomic_t *a, uint64_t *old, uint64_t value)
{
	VMMU_POINT_CAS(a, *old);
	return atomic_compare_exchange_strong_explicit(&a->v, old, value, memory_order_seq_cst,
						       memory_order_acquire);
}

/* Add by the only writer; readers on other threads see a whole number. */
static inline void atomic_own_plus(vmmu_atomic_t *a, uint64_t n)
{
	atomic_store_explicit(&a->v, atomic_load_explicit(&a->v, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/*
 * Words of the guest's memory, aligned. Its CPUs read and write them at any time, by halves, too:
 * to the explorer a half is the whole word.
 */
#define ATOMIC_GUEST_WORD(at) ((const void *)((uintptr_t)(at) & ~(uintptr_t)7))

static inline uint64_t atomic_guest_get8(const void *at)
{
	VMMU_POINT_READ(at);
	return __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
}

static inline uint32_t atomic_guest_get4(const void *at)
{
	VMMU_POINT_READ(ATOMIC_GUEST_WORD(at));
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_RELAXED);
}

/* Full barrier on success. */
static inline bool atomic_guest_cas8(void *at, uint64_t old, uint64_t value)
{
	VMMU_POINT_CAS(at, old);
	return __atomic_compare_exchange_n((uint64_t *)at, &old, value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

static inline bool atomic_guest_cas4(void *at, uint32_t old, uint32_t value)
{
	VMMU_POINT_WRITE(ATOMIC_GUEST_WORD(at));
	return __atomic_compare_exchange_n((uint32_t *)at, &old, value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

#ifdef VMMU_TEST_EXPLORE
/* The same functions, told where they are called from. */
#define atomic_get(a) (VMMU_POINT_HERE("get"), (atomic_get)(a))
#define atomic_get_acquire(a) (VMMU_POINT_HERE("get"), (atomic_get_acquire)(a))
#define atomic_get_ordered(a) (VMMU_POINT_HERE("get"), (atomic_get_ordered)(a))
#define atomic_put(a, value) (VMMU_POINT_HERE("put"), (atomic_put)(a, value))
#define atomic_put_release(a, value) (VMMU_POINT_HERE("put"), (atomic_put_release)(a, value))
#define atomic_swap(a, value) (VMMU_POINT_HERE("swap"), (atomic_swap)(a, value))
#define atomic_plus(a, n) (VMMU_POINT_HERE("plus"), (atomic_plus)(a, n))
#define atomic_set(a, bits) (VMMU_POINT_HERE("set"), (atomic_set)(a, bits))
#define atomic_clear(a, bits) (VMMU_POINT_HERE("clear"), (atomic_clear)(a, bits))
#define atomic_cas(a, old, value) (VMMU_POINT_HERE("cas"), (atomic_cas)(a, old, value))
#define atomic_guest_get8(at) (VMMU_POINT_HERE("reads the guest's"), (atomic_guest_get8)(at))
#define atomic_guest_get4(at) (VMMU_POINT_HERE("reads the guest's"), (atomic_guest_get4)(at))
#define atomic_guest_cas8(at, old, value)                                                          \
	(VMMU_POINT_HERE("marks the guest's"), (atomic_guest_cas8)(at, old, value))
#define atomic_guest_cas4(at, old, value)                                                          \
	(VMMU_POINT_HERE("marks the guest's"), (atomic_guest_cas4)(at, old, value))
#endif

#endif
