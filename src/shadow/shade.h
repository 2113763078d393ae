/* SPDX-License-Identifier: MIT */
/*
 * Shadow paging: tables that the hardware walks with the guest's linear addresses, built from the
 * guest's own tables.
 *
 * A shadow table mirrors one guest table (indirect), or a piece of a linear range that a huge guest
 * page maps (direct). It is found by the guest frame and the full role: everything that
 * decides what its entries say. Every entry is on exactly one list, threaded through the
 * table's links page: a leaf on the reverse map of its guest frame, a table entry on the parents
 * of the table it points to. So lists need no memory of their own and cannot fail.
 *
 * A guest frame that holds tables above level 1 is never writable to the guest: writes are emulated
 * and told by vmmu_guest_written(). One that holds only level-1 tables may become writable:
 * its shadow tables are then "unsync", every table above knows, and they are brought up to date
 * when the guest flushes (MOV CR3, INVLPG).
 *
 * Exclusion: what takes tables, links or leaves away, and what brings tables up to date, happens
 * under the mmu lock, exclusive. Faults that only add share it: those that fill empty entries of
 * level-1 tables, that link a table on the way there, that make a table unsync, and let a leaf
 * write that is there. Nothing goes for them, except a leaf's right to write. Each claims the entry
 * that it fills by its bit in ->filled: that is an entry, or given back, when the lock is let go.
 * What concerns one guest frame - which tables it holds, which leaves it has, and whether they may
 * be written - is decided under the frame's own lock bit (frame.h); marks and lists of parents
 * change under a spin.
 */
#ifndef VMMU_SHADOW_SHADE_H
#define VMMU_SHADOW_SHADE_H

#include <vmmu/fault.h>
#include <vmmu/shadow.h>

#include "base/annotate.h"
#include "base/mutate.h"
#include "format/entry.h"
#include "guest/walk_internal.h"
#include "page/table.h"
#include "slot/framemap.h"
#include "slot/slots.h"
#include "tdp/iter.h"

/* An entry of a table, as a number: list links. 0: end of list. */
typedef struct {
	uint64_t n;
} vmmu_link_t;

struct vmmu_shade {
	struct vmmu_sp sp; /* first: a shade is a table */
	/* indirect: the guest's entries as they were when ours were made */
	uint64_t *gptes;
	vmmu_link_t *links; /* next entry on the list that each entry is on */
	vmmu_pfn_t gptes_pfn, links_pfn;
	vmmu_link_t parents;                            /* entries that point here */
	struct vmmu_shade *same_frame;                  /* other tables of the same guest frame */
	struct vmmu_shade *older, *newer;               /* by age of creation, for reclaim */
	uint64_t unsync_below[VMMU_TABLE_ENTRIES / 64]; /* entries that lead to unsync tables */
	/* Entries that are not empty; under the shared lock: or that somebody is about to fill. */
	vmmu_atomic_t filled[VMMU_TABLE_ENTRIES / 64];
	uint32_t unsync_count; /* bits set in unsync_below */
	bool zapped;           /* off all lists; kept for those who run on it */
	/* 1: the guest may write the table it mirrors. The frame's lock bit, or mmu lock,
	 * exclusive. */
	vmmu_atomic_t unsync;
	/* 1: the flush that making it owed is paid. Before, CPUs may write its frame unseen: it is
	 * not to be linked. Never 0 for those who have the mmu lock exclusively. */
	vmmu_atomic_t settled;
	vmmu_atomic_t writes; /* emulated writes since it was last walked */
	uint64_t generation;  /* const: of the VM's tables when it was made */
	/* Where the mirrored frame is, found with as many invalidations begun; NULL: not known.
	 * mmu lock, exclusive, to change. */
	const uint8_t *frame;
	uint64_t frame_begun;
	/* const: what leaves of the table say, and take from the guest's entry; see leaves.h */
	uint64_t leaf_base, leaf_take, leaf_frame;
};

#define VMMU_SHADE_ALIGN 64u

static inline vmmu_link_t link_of(const struct vmmu_shade *shade, unsigned index)
{
	/* Aligned to 64 bytes, so that 10 bits are free after a shift by 4: the index, and in heads
	 * VMMU_FRAME_LOCKED. */
	return (vmmu_link_t){(uint64_t)(uintptr_t)shade << 4 | index};
}

static inline struct vmmu_shade *link_shade(vmmu_link_t link)
{
	return (struct vmmu_shade *)(uintptr_t)((uint64_t)((int64_t)link.n >> 4) &
						~(uint64_t)(VMMU_SHADE_ALIGN - 1u));
}

static inline unsigned link_index(vmmu_link_t link)
{
	return (unsigned)link.n & (VMMU_TABLE_ENTRIES - 1u);
}

/* Of a leaf: the frame's lock bit, or mmu lock, exclusive, to change. */
static inline uint64_t shade_gpte(const struct vmmu_shade *s, unsigned index)
{
	return __atomic_load_n(&s->gptes[index], __ATOMIC_RELAXED);
}

static inline struct vmmu_shade *shade_of(struct vmmu_sp *sp)
{
	return (struct vmmu_shade *)(void *)sp;
}

/* ---- entries in memory ---- */

/*
 * In PAE mode the CPU takes bits 52..62 for reserved, the kind among them. So entries of shadow
 * tables hold the kind in bits 9..11, which no CPU looks at in any mode. Only these two know: all
 * other code sees it where every entry has it.
 */
#define VMMU_SHADE_KIND_SHIFT 9
#define VMMU_SHADE_KIND_MASK VMMU_MASK(VMMU_SHADE_KIND_SHIFT + 2, VMMU_SHADE_KIND_SHIFT)
#define VMMU_SHADE_KIND_MOVE (VMMU_SPTE_KIND_SHIFT - VMMU_SHADE_KIND_SHIFT)

static inline vmmu_spte_t shade_entry(uint64_t raw)
{
	return (vmmu_spte_t){(raw & ~VMMU_SHADE_KIND_MASK) | (raw & VMMU_SHADE_KIND_MASK)
								     << VMMU_SHADE_KIND_MOVE};
}

/* For those who follow tables without looking at what else an entry says. */
static inline enum vmmu_kind shade_raw_kind(uint64_t raw)
{
	return (enum vmmu_kind)((raw & VMMU_SHADE_KIND_MASK) >> VMMU_SHADE_KIND_SHIFT);
}

static inline vmmu_spte_t shade_get(const struct vmmu_shade *s, unsigned index)
{
	return shade_entry(atomic_get_acquire(&s->sp.entries[index].raw));
}

static inline uint64_t shade_raw(vmmu_spte_t e)
{
	return (e.raw & ~VMMU_SPTE_KIND_MASK) |
	       (e.raw & VMMU_SPTE_KIND_MASK) >> VMMU_SHADE_KIND_MOVE;
}

/* Return: what was there. */
static inline vmmu_spte_t shade_swap(struct vmmu_shade *s, unsigned index, vmmu_spte_t to)
{
	if (VMMU_MUTANT(COMMIT_BLIND)) {
		vmmu_spte_t from = shade_get(s, index);

		atomic_put_release(&s->sp.entries[index].raw, shade_raw(to));
		return from;
	}
	return shade_entry(atomic_swap(&s->sp.entries[index].raw, shade_raw(to)));
}

/* The first entry from @index on that is not empty; VMMU_TABLE_ENTRIES: there is none. */
static inline unsigned shade_filled_from(const struct vmmu_shade *s, unsigned index)
{
	for (; index < VMMU_TABLE_ENTRIES; index = (index | 63u) + 1u) {
		uint64_t rest = atomic_get(&s->filled[index / 64]) >> (index % 64);

		if (rest)
			return index + (unsigned)__builtin_ctzll(rest);
	}
	return VMMU_TABLE_ENTRIES;
}

static inline bool shade_is_filled(const struct vmmu_shade *s, unsigned index)
{
	return atomic_get(&s->filled[index / 64]) >> (index % 64) & 1u;
}

static inline bool shade_is_unsync(const struct vmmu_shade *s)
{
	return atomic_get_ordered(&s->unsync) != 0;
}

static inline bool shade_is_mirror(const struct vmmu_shade *s)
{
	return !s->sp.role.direct;
}

/* ---- geometry: where an entry's guest entry is, and what it maps ---- */

/* Bytes of one guest entry. */
static inline unsigned shade_gpte_bytes(const struct vmmu_shade *s)
{
	return s->sp.role.mode == VMMU_PAGING_32BIT ? 4 : 8;
}

/* Index in the guest's table of the guest entry behind entry @index. */
unsigned vmmu_shade_guest_index(const struct vmmu_shade *s, unsigned index);
vmmu_gpa_t vmmu_shade_gpte_gpa(const struct vmmu_shade *s, unsigned index);
vmmu_gfn_t vmmu_shade_gfn_of_any(const struct vmmu_shade *s, unsigned index, uint64_t gpte);

/* Guest frame that a leaf at @index would map for this guest entry (its first one). */
static inline vmmu_gfn_t vmmu_shade_gfn_of(const struct vmmu_shade *s, unsigned index,
					   uint64_t gpte)
{
	if (shade_is_mirror(s) && s->sp.role.level == VMMU_LEVEL_4K &&
	    s->sp.role.mode != VMMU_PAGING_32BIT)
		return (vmmu_gfn_t){(gpte & VMMU_MASK(51, 12)) >> VMMU_PAGE_SHIFT};
	return vmmu_shade_gfn_of_any(s, index, gpte);
}

/* Guest frame that the leaf at @index maps (its first one). */
static inline vmmu_gfn_t vmmu_shade_leaf_gfn(const struct vmmu_shade *s, unsigned index)
{
	return vmmu_shade_gfn_of(s, index, shade_gpte(s, index));
}

struct vmmu_wish;

/* ---- entry.c: the commit point of this engine ---- */

/*
 * Each accounts for everything: lists, unsync marks, counters, dirty hand-over, flush debt.
 * @gpte: the guest's entry behind it, remembered; 0 in direct tables.
 */
/* Return: false, no cell for the reverse map could be made; nothing changed. */
bool vmmu_shade_set_leaf(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			 vmmu_spte_t to, uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock);
/* Into an empty entry that the caller has claimed. False: the table is not up to date; nothing
 * changed. */
bool vmmu_shade_add_table(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			  struct vmmu_shade *child, uint64_t gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* No slot holds the frame that the guest's entry names: remember it, if that can be; else the entry
 * is empty afterwards. What was there goes first. */
void vmmu_shade_set_mmio(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			 uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_shade_set_table(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			  struct vmmu_shade *child, uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_shade_clear(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* For who changes leaves by himself (shadow/leaves.h). A leaf goes off the list of its frame; */
void vmmu_shade_unlist(struct vmmu_task *task, uint64_t *cell, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* a leaf became @to: the host hears if it was written, whoever traces of the change. */
void vmmu_shade_told(struct vmmu_task *task, struct vmmu_shade *s, unsigned index, vmmu_spte_t from,
		     vmmu_spte_t to) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* No leaf lets the guest write the frame any more; huge leaves over it go. */
void vmmu_frame_protect(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* No leaf allows these kinds of access to the frames, in any space; huge leaves over them go. */
void vmmu_frames_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* Withdraw every leaf that maps a frame of the range. */
void vmmu_frames_zap(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range,
		     enum vmmu_iter_pause pauses) VMMU_REQUIRES(vmmu_mmu_lock);

/* Those of more than 4K, in task->space. */
void vmmu_shadow_zap_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
	VMMU_EXCLUDES(vmmu_mmu_lock);

/* ---- table.c ---- */

/* The table of this frame and role, or NULL. */
struct vmmu_shade *vmmu_shade_find(struct vmmu_vm *vm, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* The level-1 table that the vCPU's root leads to for this address, or NULL. */
struct vmmu_shade *vmmu_shade_lowest(struct vmmu_task *task, vmmu_gva_t gva)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* All tables of a frame of the space: the first one; go on by ->same_frame. */
struct vmmu_shade *vmmu_shade_first(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* The vCPU's cache holds one ... */
struct vmmu_shade *vmmu_shade_new(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* ... whoever makes one does these in order, the flush in between; the first with the frame's bit
 * or the mmu lock, exclusive ... */
void vmmu_shade_enlist(struct vmmu_vm *vm, struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
void vmmu_shade_count_in(struct vmmu_vm *vm, struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* ... and has these cells. False: the reserve is used up, nothing but cells changed. */
bool vmmu_shade_make_cells(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* Find or make. NULL: the reserve is used up. */
struct vmmu_shade *vmmu_shade_get(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* Off every list, all entries cleared; freed once no vCPU runs on it. */
void vmmu_shade_zap(struct vmmu_task *task, struct vmmu_shade *s) VMMU_REQUIRES(vmmu_mmu_lock);
/* All tables that mirror a frame of the range. Pauses. */
void vmmu_shades_zap_range(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* Make room: oldest first, never one in use. */
void vmmu_shades_reclaim(struct vmmu_task *task, uint64_t want) VMMU_REQUIRES(vmmu_mmu_lock);
/* Does a frame of the huge page around @gfn hold tables of the guest? */
bool vmmu_frames_mirrored(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn,
			  enum vmmu_level level) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* A vCPU begins or ends to use it as its root. */
void vmmu_shade_hold(struct vmmu_shade *s);
void vmmu_shade_put(struct vmmu_task *task, struct vmmu_shade *s) VMMU_REQUIRES(vmmu_mmu_lock);

/* ---- sync.c ---- */

enum vmmu_writable { VMMU_MAY_WRITE, VMMU_MUST_NOT_WRITE };

/* Is there a table that makes leaves for this frame read-only? For @is_write, level-1 tables do
 * not count: they can become unsync. */
bool vmmu_frame_is_shut(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn, bool is_write)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* A write to the frame is to be let through: its level-1 tables become unsync, and all above know
 * when this returns. False: it holds tables above level 1; nothing changed. */
bool vmmu_frame_unsync(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock) VMMU_REQUIRES(vmmu_frame_bit);
/* May a leaf for this frame be writable? On a write, level-1 tables become unsync for it. */
enum vmmu_writable vmmu_frame_writable(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn,
				       bool is_write) VMMU_REQUIRES(vmmu_mmu_lock);
/* Entry @index of @parent has come to lead, or no longer leads, to something unsync. */
void vmmu_unsync_mark(struct vmmu_shade *parent, unsigned index) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_unsync_unmark(struct vmmu_shade *parent, unsigned index) VMMU_REQUIRES(vmmu_mmu_lock);
/* Bring everything below up to date and write-protect it again. */
void vmmu_shade_sync(struct vmmu_task *task, struct vmmu_shade *root) VMMU_REQUIRES(vmmu_mmu_lock);

/* ---- adopt.c ---- */

/* Bring one unsync level-1 table up to date; it stays unsync. */
void vmmu_shade_refresh(struct vmmu_task *task, struct vmmu_shade *s) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_shade_refresh_entry(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock);

static inline bool shade_is_stale(const struct vmmu_shade *s)
{
	return shade_is_unsync(s) || s->unsync_count;
}

/* ---- leaf.c ---- */

/* Rights of guest entries along a path, as roles hold them. */
enum { VMMU_RIGHT_WRITE = 1u, VMMU_RIGHT_USER = 2u, VMMU_RIGHT_EXEC = 4u };

/* What a leaf for guest page @gpte (level-1 or huge) shall allow. */
struct vmmu_wish {
	enum vmmu_level level; /* of the leaf */
	uint32_t rights;       /* VMMU_RIGHT_*, all levels combined, D emulated by W */
	bool is_write;         /* a write is under way: unsync may be paid for it */
	bool is_fetch;         /* an instruction is being fetched */
	uint64_t gpte;         /* the guest's entry that maps it; direct tables: 0 */
};

/**
 * vmmu_shade_map() - install a leaf in entry @index.
 * Finds the slot and the host page; both must be at hand (port->guest_page_now).
 * Return: RESUME; MMIO, now remembered; READONLY; TABLE_WRITE, the frame holds tables and stays
 *         read-only; TRACKED, a client forbids the access; PENDING, the host page is not at hand;
 *         NO_MEMORY, the reserve is used up.
 */
enum vmmu_outcome vmmu_shade_map(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
				 const struct vmmu_wish *wish) VMMU_REQUIRES(vmmu_mmu_lock);

/* Rights of one guest entry. */
uint32_t vmmu_gpte_rights(uint64_t gpte, bool nx);

/* ---- written.c ---- */

/* Guest memory was written; what is mirrored of it goes. Context: no locks. */
void vmmu_frames_written(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint64_t bytes);

/* ---- memory.c: the guest's memory, as far as it is at hand ---- */

/* The slot of a frame, or NULL. Good until the vCPU's next look-up. */
const struct vmmu_slot *vmmu_shadow_slot(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* False: the port does not have it at hand, or the host is taking it away. */
bool vmmu_page_at_hand(struct vmmu_task *task, const struct vmmu_slot *slot, vmmu_gfn_t gfn,
		       struct vmmu_page *page) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* Address of a guest frame, or NULL. Good until the lock is let go. */
void *vmmu_guest_frame(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);
/* The frame that a table mirrors, or NULL. Good until the lock is let go. */
const uint8_t *vmmu_shade_frame(struct vmmu_task *task, struct vmmu_shade *s)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* The guest's word, atomically; all ones where there is no memory. False: not at hand. */
bool vmmu_guest_read(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, unsigned bytes,
		     uint64_t *value) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* Compare-and-swap of a guest entry. */
struct vmmu_update {
	vmmu_gpa_t gpa;
	unsigned bytes;
	uint64_t old, value;
	bool *gone; /* set: it cannot be written; leave it */
};
bool vmmu_guest_update(struct vmmu_task *task, unsigned space, const struct vmmu_update *u)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* The same for accessed and dirty bits, where nothing follows from it: no table takes notice, and
 * nobody is told. False, and gone: or something would. */
bool vmmu_guest_update_plainly(struct vmmu_task *task, unsigned space, const struct vmmu_update *u)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* ---- written.c ---- */

/* A walk has marked a guest entry of @bytes accessed or dirty. Tables with entries of the same
 * width take no notice; to others it may be a bit of an address. */
void vmmu_frame_marked(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, unsigned bytes)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* Would it take notice of nothing? */
bool vmmu_frame_is_uniform(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn, unsigned bytes)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* The guest's entry behind entry @index, from the mirrored frame. */
static inline uint64_t shade_load_gpte(const struct vmmu_shade *s, const uint8_t *frame,
				       unsigned index)
{
	if (s->sp.role.mode != VMMU_PAGING_32BIT)
		return atomic_guest_get8(frame + 8u * index);
	return atomic_guest_get4(frame + 4u * vmmu_shade_guest_index(s, index));
}

#endif
