/* SPDX-License-Identifier: MIT */
/*
 * Inside of the shadow engine: many leaves of one level-1 table, made or changed in one go. What
 * they have in common is worked out once: how the table narrows the guest's rights, the cells of
 * 512 frames, the block of host memory that the last one lay in. What is owed and counted for all
 * of them is noted once, by vmmu_leaves_end().
 *
 * Leaves are handled as memory has them (shade_raw()). Of a table without a second stage they have
 * rights and protection key where the guest's entries have them: format/entry.c checks that.
 */
#ifndef VMMU_SHADOW_LEAVES_H
#define VMMU_SHADOW_LEAVES_H

#include "base/mutate.h"
#include "shadow/shade.h"

#define VMMU_LEAVES_NO_REGION UINT64_MAX

struct vmmu_leaves {
	struct vmmu_task *task;
	struct vmmu_shade *s;
	uint64_t *gptes; /* of @s */
	uint64_t base;   /* what each leaf says, whatever the guest's entry */
	uint64_t take;   /* what it says if the guest's entry does */
	uint64_t frame;  /* the guest's frame in its entry; 0: pieces of a huge page */
	uint64_t write;  /* the right, in a leaf */
	uint64_t where;  /* what leaves of the same frame have in common: page and memory type */
	bool watched;    /* somebody is told of each change */
	bool tracked;    /* clients track frames */
	/* Whether tables of the guest in a frame forbid writing is not asked: side by side with
	 * others it is decided with the frame's bit held. */
	bool decides_later;
	bool copies; /* nothing is being taken away: what is mapped may be */
	/* Cells of 512 frames; NULL: none were made. */
	uint64_t region, tables_region;
	uint64_t *rmap, *tables;
	vmmu_atomic_t
		*tables_grown; /* pages of such cells made so far, and when @tables was looked up */
	uint64_t tables_seen;
	/* Reverse maps of the frames of leaves that went last. */
	uint64_t gone_region;
	uint64_t *gone_rmap;
	struct vmmu_slot slot; /* of the last frame that was looked up */
	/* Frames of the slot whose host frames follow each other as they do. */
	uint64_t block, block_count, block_pfn;
	bool block_writable;
	/* For vmmu_leaves_end(). */
	bool owed;
	uint32_t gone, emptied, filled;
};

/* @s: of level 1. Context: the lock is held, and the slots stand still, until the end. */
void vmmu_leaves_begin(struct vmmu_leaves *l, struct vmmu_task *task, struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
void vmmu_leaves_end(const struct vmmu_leaves *l) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* On to other frames. */
void vmmu_leaves_enter(struct vmmu_leaves *l, uint64_t region) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

static inline vmmu_gfn_t leaves_gfn(const struct vmmu_leaves *l, unsigned index, uint64_t gpte)
{
	return (vmmu_gfn_t){l->frame ? (gpte & l->frame) >> VMMU_PAGE_SHIFT
				     : l->s->sp.gfn.n + index};
}

/* The reverse map of the frame, or NULL. */
static inline uint64_t *leaves_cell(struct vmmu_leaves *l, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	if (VMMU_UNLIKELY(gfn.n / VMMU_FRAMEMAP_ENTRIES != l->region))
		vmmu_leaves_enter(l, gfn.n / VMMU_FRAMEMAP_ENTRIES);
	return l->rmap ? &l->rmap[gfn.n % VMMU_FRAMEMAP_ENTRIES] : NULL;
}

/* The same, made if there is none. NULL: the reserve is used up. */
uint64_t *vmmu_leaves_make_cell(struct vmmu_leaves *l, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* On to the tables of other frames, or once more. */
void vmmu_leaves_enter_tables(struct vmmu_leaves *l, uint64_t region)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* May a table of the guest's lie in the frame, as of now? Cells stay where they are once they have
 * been made: only where there are none yet it matters whether some came. */
static inline bool leaves_may_hold_tables(struct vmmu_leaves *l, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	uint64_t region = gfn.n / VMMU_FRAMEMAP_ENTRIES;

	if (VMMU_UNLIKELY(region != l->tables_region) ||
	    (!l->tables && VMMU_UNLIKELY(atomic_get(l->tables_grown) != l->tables_seen)))
		vmmu_leaves_enter_tables(l, region);
	return l->tables &&
	       atomic_get((vmmu_atomic_t *)(void *)&l->tables[gfn.n % VMMU_FRAMEMAP_ENTRIES]) != 0;
}

/* Rights that a leaf for the guest's entry may have: without any that its path or itself denies. */
static inline uint64_t leaves_want(const struct vmmu_leaves *l, uint64_t gpte)
{
	uint64_t to = l->base | (gpte & l->take);

	if (!(gpte & VMMU_GUEST_DIRTY))
		to &= ~l->write; /* the first write has to set it */
	return to;
}

/*
 * Another leaf of the frame tells where its page is and, if it lets the guest write, that nothing
 * speaks against it: whoever takes page or right away takes them out of all leaves at once.
 * Return: the leaf with that, or 0.
 */
static inline uint64_t leaves_copy(const struct vmmu_leaves *l, uint64_t head, uint64_t want)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_shade *other = link_shade((vmmu_link_t){head});
	uint64_t raw = atomic_get_acquire(&other->sp.entries[link_index((vmmu_link_t){head})].raw);

	/* Side by side with others it may have been listed and not be there yet. */
	if (shade_raw_kind(raw) != VMMU_KIND_LEAF ||
	    ((want & ~raw & l->write) && !VMMU_MUTANT(COPY_WRITABLE)))
		return 0;
	return want | (raw & l->where);
}

/* The same by what slot, host and the guest's tables say. 0: the page is not at hand. */
uint64_t vmmu_leaves_complete(struct vmmu_leaves *l, vmmu_gfn_t gfn, uint64_t want)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/*
 * The leaf for a frame whose reverse map begins with @head: with where its page is, and without the
 * right to write if slot, host or tables in the frame forbid that. 0: the page is not at hand.
 */
static inline uint64_t leaves_complete(struct vmmu_leaves *l, vmmu_gfn_t gfn, uint64_t head,
				       uint64_t want) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	uint64_t to = head && VMMU_LIKELY(l->copies) ? leaves_copy(l, head, want) : 0;

	return to ? to : vmmu_leaves_complete(l, gfn, want);
}

/* What vmmu_leaves_begin() has to know of a new table. */
void vmmu_leaves_prepare(const struct vmmu_vm *vm, struct vmmu_shade *s);

#endif
