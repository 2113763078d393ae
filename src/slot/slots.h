/* SPDX-License-Identifier: MIT */
/*
 * Slot sets. A set is an immutable snapshot: a directory page that points to chunk pages, each a
 * sorted array of slots. A change copies the directory and the chunk it touches, publishes the
 * new directory, and frees the old pages when no reader can see them: two or three pages
 * of work, whatever the number of slots.
 *
 * The generation is part of the snapshot and no other set of the VM has the same: a cache that
 * was filled from an older set misses by comparing one number.
 */
#ifndef VMMU_SLOT_SLOTS_H
#define VMMU_SLOT_SLOTS_H

#include <vmmu/slot.h>
#include <vmmu/types.h>

#include "base/annotate.h"
#include "base/atomic.h"

struct vmmu_vm;
struct vmmu_task;

/* What readers need of a slot, by value: a vCPU keeps the last one it used. */
struct vmmu_slot {
	vmmu_gfn_t base;
	uint64_t host_base;
	uint32_t count; /* 0: no slot */
	uint16_t id;
	uint8_t flags;
	uint8_t space;
};

/* A split leaves halves of 85, a merge happens up to 160: with 32,764 slots at most 407 chunks. */
#define VMMU_CHUNK_SLOTS 170u
#define VMMU_CHUNK_MERGE 160u
#define VMMU_SET_CHUNKS 508u

struct vmmu_slot_chunk {
	vmmu_pfn_t self;
	uint64_t count;
	struct vmmu_slot slots[VMMU_CHUNK_SLOTS]; /* by base */
};

struct vmmu_slot_set {
	vmmu_pfn_t self;
	uint64_t generation; /* without the in-progress mark */
	uint32_t chunks;
	uint32_t slots;
	uint64_t frames; /* of all slots */
	struct vmmu_slot_chunk *chunk[VMMU_SET_CHUNKS];
};
_Static_assert(sizeof(struct vmmu_slot_chunk) <= VMMU_PAGE_BYTES, "a chunk is one page");
_Static_assert(sizeof(struct vmmu_slot_set) <= VMMU_PAGE_BYTES, "a directory is one page");
_Static_assert(
	2u * VMMU_SLOTS_MAX / (VMMU_CHUNK_MERGE + 1u) + 1u < VMMU_SET_CHUNKS,
	"two neighbours hold more than VMMU_CHUNK_MERGE slots: the directory never fills up");
_Static_assert(VMMU_SLOTS_MAX / (VMMU_CHUNK_SLOTS / 2u) + 1u < VMMU_SET_CHUNKS,
	       "chunks that only split are half full: the directory never fills up");

#define VMMU_GENERATION_IN_PROGRESS (UINT64_C(1) << 63)
#define VMMU_ID_PAGES 64u

/* One address space. */
struct vmmu_slot_space {
	struct vmmu_slot withdrawn; /* mmu lock: no longer in the set, but its translations
				     * are still being withdrawn; count 0: none */
	vmmu_atomic_t set;          /* struct vmmu_slot_set *, swapped whole */
	vmmu_atomic_t generation;   /* of the set, plus the in-progress mark */
	/* slots lock: id -> base frame + 1, 0 = free; pages come as ids are used */
	uint64_t *by_id[VMMU_ID_PAGES];
	vmmu_pfn_t by_id_pfn[VMMU_ID_PAGES];
};

/* The slot of a frame, or NULL. Context: read section, or slots lock. */
const struct vmmu_slot *vmmu_slots_find(const struct vmmu_slot_set *set, vmmu_gfn_t gfn);

/* The slot of the frame, else the first one behind it, or NULL. */
const struct vmmu_slot *vmmu_slots_from(const struct vmmu_slot_set *set, vmmu_gfn_t gfn);

static inline struct vmmu_slot_set *vmmu_slots_now(const struct vmmu_slot_space *space)
{
	return (struct vmmu_slot_set *)(uintptr_t)atomic_get_acquire(&space->set);
}

static inline bool vmmu_slot_holds(const struct vmmu_slot *slot, vmmu_gfn_t gfn)
{
	return gfn.n - slot->base.n < slot->count;
}

/* Host address of a frame of the slot, bytes. */
static inline uint64_t vmmu_slot_host(const struct vmmu_slot *slot, vmmu_gfn_t gfn)
{
	return slot->host_base + ((gfn.n - slot->base.n) << VMMU_PAGE_SHIFT);
}

/* Rights that a slot's leaves may have at most. */
static inline uint32_t vmmu_slot_access(const struct vmmu_slot *slot)
{
	uint32_t all = VMMU_ACCESS_READ | VMMU_ACCESS_WRITE | VMMU_ACCESS_EXEC;

	return slot->flags & VMMU_SLOT_READONLY ? all & ~(uint32_t)VMMU_ACCESS_WRITE : all;
}

/**
 * vmmu_slot_level() - largest leaf that may map @gfn as far as the slot is concerned: inside
 * the slot, guest and host addresses congruent, large leaves wanted.
 * Pure: unaligned heads and tails need no bookkeeping.
 */
enum vmmu_level vmmu_slot_level(const struct vmmu_slot *slot, vmmu_gfn_t gfn, enum vmmu_level max);

/* Copy the slot of a frame out of a read section. @generation: of a set it was in. */
bool vmmu_slot_copy(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn, struct vmmu_slot *slot,
		    uint64_t *generation);

/* ---- edits: a new set, not yet published ---- */

#define VMMU_EDIT_PAGES 8u
struct vmmu_slot_edit {
	struct vmmu_vm *vm;
	struct vmmu_slot_set *set;    /* the new set */
	void *spare[VMMU_EDIT_PAGES]; /* reserved pages */
	vmmu_pfn_t spare_pfn[VMMU_EDIT_PAGES];
	unsigned spares;
	struct vmmu_slot_chunk *old[VMMU_EDIT_PAGES]; /* replaced: free after publication */
	unsigned olds;
	struct vmmu_slot_chunk *made[VMMU_EDIT_PAGES]; /* private to this edit */
	unsigned mades;
};

/* Reserve pages. Context: no locks. Return: false, no memory (nothing is kept). */
bool vmmu_edit_reserve(struct vmmu_slot_edit *edit, struct vmmu_vm *vm);
/* Start from @from. */
void vmmu_edit_begin(struct vmmu_slot_edit *edit, const struct vmmu_slot_set *from);
void vmmu_edit_remove(struct vmmu_slot_edit *edit, vmmu_gfn_t base);
void vmmu_edit_insert(struct vmmu_slot_edit *edit, const struct vmmu_slot *slot);
/* Published: free what was replaced, @from included, and unused reserve. */
void vmmu_edit_done(struct vmmu_slot_edit *edit, struct vmmu_slot_set *from);
/* Not published: free everything that was made. */
void vmmu_edit_cancel(struct vmmu_slot_edit *edit);

/* Context: creation and destruction of the VM. */
bool vmmu_slots_init(struct vmmu_vm *vm, unsigned space);
void vmmu_slots_fini(struct vmmu_vm *vm, unsigned space);

#endif
