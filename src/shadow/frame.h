/* SPDX-License-Identifier: MIT */
/*
 * A guest frame's own lock bit, in the head of its list of small leaves. It decides what concerns
 * this one frame among those who share the mmu lock:
 *
 *   a leaf comes      is the frame free to be written? then the leaf onto the list
 *   a leaf widens     the same; level-1 tables of the frame are made unsync before
 *   a table comes     onto the frame's list of tables, then no leaf of the frame may write any more
 *
 * In any order no leaf is left writable that should not be. The bit is held for a few steps along
 * those two lists, and up from tables that become unsync; over no callback but port->relax.
 *
 * Whoever has the mmu lock exclusively decides without, and takes it to change the list of leaves:
 * ageing goes along such lists, of leaves of all sizes, with no other lock (harvest.c).
 */
#ifndef VMMU_SHADOW_FRAME_H
#define VMMU_SHADOW_FRAME_H

#include "base/mutate.h"
#include "shadow/shade.h"

/* Between the index and the address of a link; in heads only. */
#define VMMU_FRAME_LOCKED ((uint64_t)VMMU_TABLE_ENTRIES)

static inline vmmu_atomic_t *frame_word(uint64_t *cell)
{
	return (vmmu_atomic_t *)(void *)cell;
}

/* The list in a head, whoever holds the bit. 0: empty. */
static inline vmmu_link_t frame_list(uint64_t *cell)
{
	return (vmmu_link_t){atomic_get_acquire(frame_word(cell)) & ~VMMU_FRAME_LOCKED};
}

uint64_t vmmu_frame_lock_slow(const struct vmmu_vm *vm, vmmu_atomic_t *head);

/* Return: the list. */
static inline uint64_t vmmu_frame_lock(const struct vmmu_vm *vm, vmmu_atomic_t *head)
	VMMU_ACQUIRE(vmmu_frame_bit);
static inline uint64_t vmmu_frame_lock(const struct vmmu_vm *vm,
				       vmmu_atomic_t *head) VMMU_NO_ANALYSIS
{
	uint64_t seen = atomic_get(head);

	if (VMMU_MUTANT(FRAME_UNLOCKED))
		return seen & ~VMMU_FRAME_LOCKED;
	if (VMMU_LIKELY(!(seen & VMMU_FRAME_LOCKED)) &&
	    VMMU_LIKELY(atomic_cas(head, &seen, seen | VMMU_FRAME_LOCKED)))
		return seen;
	return vmmu_frame_lock_slow(vm, head);
}

/* @list: what it is now. */
static inline void vmmu_frame_unlock(vmmu_atomic_t *head, uint64_t list)
	VMMU_RELEASE(vmmu_frame_bit);
static inline void vmmu_frame_unlock(vmmu_atomic_t *head, uint64_t list) VMMU_NO_ANALYSIS
{
	atomic_put_release(head, list); /* pairs with the compare-and-swap that locks it */
}

/* What a table that comes took from leaves of its frame, to be told when the bit is free again. */
#define VMMU_NARROWED_MAX 8u
struct vmmu_narrowed {
	vmmu_link_t at[VMMU_NARROWED_MAX];
	uint64_t from[VMMU_NARROWED_MAX];
	unsigned count;
};

/* No leaf of the list lets the guest write any more; a flush is owed. False: they are too many for
 * the short time that the bit is held; nothing changed. */
bool vmmu_frame_narrow(struct vmmu_task *task, uint64_t list, struct vmmu_narrowed *narrowed)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock) VMMU_REQUIRES(vmmu_frame_bit);
void vmmu_frame_tell_narrowed(struct vmmu_task *task, vmmu_gfn_t gfn,
			      const struct vmmu_narrowed *narrowed)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

#endif
