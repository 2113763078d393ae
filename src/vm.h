/* SPDX-License-Identifier: MIT */
/*
 * The structures that hold one member per layer. Headers of layers never include this file;
 * their .c files do. tests/project/check_layers.py looks at the objects: a layer's code may
 * only call what its own or a lower layer defines.
 */
#ifndef VMMU_VM_INTERNAL_H
#define VMMU_VM_INTERNAL_H

#include <vmmu/audit.h>
#include <vmmu/fault.h>
#include <vmmu/port.h>
#include <vmmu/stats.h>
#include <vmmu/vcpu.h>
#include <vmmu/vm.h>

#include "base/annotate.h"
#include "base/atomic.h"
#include "base/epoch.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/mutate.h"
#include "flush/debt.h"
#include "format/entry.h"
#include "page/table.h"
#include "shadow/frame.h"
#include "shadow/shade.h"
#include "slot/dirty.h"
#include "slot/framemap.h"
#include "slot/slots.h"
#include "track/track.h"

/* Numbers of one kind that the host is taking away now: guest frames, or host addresses. */
struct vmmu_withdrawn {
	uint64_t active;     /* begins without an end */
	bool joined;         /* of several: there may be gaps in the range */
	uint64_t start, end; /* covers all of them; only grows while any is active */
};

static inline bool vmmu_withdrawn_holds(const struct vmmu_withdrawn *w, uint64_t number)
{
	return w->active && number >= w->start && number < w->end;
}

/* mmu lock, exclusive to change; the sequence is read without it. */
struct vmmu_invalidations {
	vmmu_atomic_t sequence;                        /* counts ends */
	struct vmmu_withdrawn frames[VMMU_SPACES_MAX]; /* by guest frame */
	struct vmmu_withdrawn host;                    /* by host address, all spaces */
	uint64_t beginning;                            /* begins that have not returned yet */
	uint64_t begun;                                /* begins so far */
};

/* Frames of pages that live as long as the VM. */
#define VMMU_PAGE_LOG_MAX 508u
struct vmmu_page_log {
	vmmu_pfn_t self;
	struct vmmu_page_log *next;
	uint64_t count;
	vmmu_pfn_t pfn[VMMU_PAGE_LOG_MAX];
};
_Static_assert(sizeof(struct vmmu_page_log) <= VMMU_PAGE_BYTES, "a page log is one page");

/* What shadow paging knows of the guest frames of a space. mmu lock, exclusive, to change; but
 * all of it grows under the shared lock, too. */
struct vmmu_frames {
	struct vmmu_framemap rmap[VMMU_LEAF_SIZES]; /* leaves, by size: list head */
	struct vmmu_framemap tables;                /* mirrors of the frame: list head */
	struct vmmu_framemap mirrored[2];           /* mirrors in a 2M, 1G region: count */
};

/* All shadow tables that are in a frame's list. mmu lock, exclusive, unless it says otherwise. */
struct vmmu_shades {
	/* What faults read lies apart from what new tables write. */
	_Alignas(VMMU_LINE_BYTES)
		uint64_t cuts; /* entries that led to a table and no longer do, ever */
	uint64_t generation;   /* tables of another one are obsolete; see shadow/forget.c */
	uint64_t quota;
	/* The list by age grows under the shared lock, too; as do lists of parents. */
	_Alignas(VMMU_LINE_BYTES) vmmu_atomic_t lock; /* spin */
	struct vmmu_shade *oldest, *newest;
	uint64_t unsync;
	_Alignas(VMMU_LINE_BYTES) vmmu_atomic_t count;
};

struct vmmu_vm {
	/* const after creation */
	const struct vmmu_port *port;
	void *host;
	struct vmmu_vm_config config;
	struct vmmu_fmt fmt;
	vmmu_pfn_t self;
	vmmu_gfn_t gfn_end; /* first frame beyond what the tables map */

	/* atomic */
	vmmu_atomic_t death;                  /* const char *, 0 while alive */
	vmmu_atomic_t death_told;             /* 1: the CPUs were called out of the guest for it */
	vmmu_atomic_t trace_number;           /* records so far */
	vmmu_atomic_t flush_stamp;            /* flushes that have become due; see debt.c */
	vmmu_atomic_t stats[VMMU_STAT_COUNT]; /* of threads that are no vCPU */
	vmmu_atomic_t slots_total[VMMU_SPACES_MAX], frames_total[VMMU_SPACES_MAX];
	vmmu_atomic_t logging;    /* slots that log writes */
	vmmu_atomic_t log_begins; /* 1: a slot begins to log, and its huge leaves are being split */
	vmmu_atomic_t tracked;    /* frames of which some access must come out */
	vmmu_atomic_t tracking;   /* struct vmmu_tracking *, 0 before the first client */

	/* locks */
	vmmu_atomic_t slots_lock; /* give-way lock: slot changes */
	struct vmmu_rwlock mmu_lock;
	struct vmmu_epoch epoch;

	/* layers */
	struct vmmu_slot_space spaces[VMMU_SPACES_MAX];
	struct vmmu_pages pages;
	struct vmmu_invalidations invalidations;
	uint64_t obstacles; /* mmu lock, exclusive: begins of invalidations without an end, and
			     * one more while anything is tracked. 0: faults need not ask */
	struct vmmu_frames frames[VMMU_SPACES_MAX];
	struct vmmu_framemap logs[VMMU_SPACES_MAX]; /* slot/dirty.h */
	struct vmmu_shades shades;
	struct vmmu_page_log *frame_pages; /* mmu lock, exclusive */
	struct vmmu_sp *roots;             /* mmu lock, exclusive: valid and invalid */
	/* Nested paging: the valid one, for those who look at it in a read section. */
	vmmu_atomic_t current_root[VMMU_SPACES_MAX];

	/* mmu lock, exclusive */
	struct vmmu_vcpu *vcpus;
	uint32_t vcpu_count, vcpu_created;
};
_Static_assert(sizeof(struct vmmu_vm) <= VMMU_PAGE_BYTES, "a VM is one page");

/* A device frame that this vCPU hit last. */
struct vmmu_mmio_cache {
	vmmu_gfn_t gfn;
	uint64_t generation; /* UINT64_MAX: empty */
};

/* Forward-progress guard: the fault seen last, and how often nothing came of it. */
struct vmmu_guard {
	uint64_t gpa, entry;
	uint64_t stamp; /* flush stamp: something was withdrawn since */
	uint32_t access;
	uint32_t repeats;
};

/* One call into the library: who acts, and what it owes. */
struct vmmu_task {
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;   /* NULL: a thread of the embedder */
	struct vmmu_cache *cache; /* reserved tables, if the call may add some */
	struct vmmu_debt debt;    /* nothing is owed between calls */
	unsigned space;           /* that a thread of the embedder acts on, for the trace */
	unsigned ticket;          /* read section of a thread that is no vCPU */
	uint32_t steps;           /* of a long operation, so far */
};

/*
 * The lowest table that this vCPU's last fault ended in. Good as long as no table of the VM was
 * taken out since: then it is still linked where it was.
 */
struct vmmu_last_table {
	const struct vmmu_sp *root; /* NULL: none */
	uint64_t unlinked;          /* vm->pages.unlinked at the time */
	uint64_t region;            /* frames that the table maps, counted in such tables */
	vmmu_spte_slot_t *entries;
	vmmu_pfn_t pfn;
	enum vmmu_level level;
};

/* A vCPU's paging state under shadow paging. */
struct vmmu_shadow_vcpu {
	struct vmmu_paging paging;
	struct vmmu_guest_rules rules; /* of paging */
	bool own;                      /* the root is a table of this vCPU's own */
	bool dummy;                    /* CR3 points where no memory is */
	/* Top tables that this vCPU loaded, and that each flush since then has reached. */
	struct vmmu_known_root {
		vmmu_gfn_t gfn;
		uint32_t role;
		uint32_t pcid; /* it was loaded with */
	} known[4];
	unsigned known_count; /* ever, since all were forgotten */
	/* The lowest table that the last address was found in: good for its 2M until the root
	 * changes or any table of the VM is cut off. */
	struct vmmu_known_path {
		const struct vmmu_sp *root; /* NULL: none */
		uint64_t region, cuts;
		struct vmmu_shade *lowest;
	} path;
	uint64_t *pdptes; /* page with the four entries of PAE mode */
	vmmu_pfn_t pdptes_pfn;
};

struct vmmu_vcpu {
	struct vmmu_vm *vm;
	void *cookie;
	vmmu_pfn_t self;
	uint32_t index;
	unsigned space;
	struct vmmu_task task; /* of the call that this vCPU is in */

	vmmu_atomic_t in_guest; /* between enter and leave */
	uint64_t flush_seen;    /* stamp up to which this CPU's translations are clean */
	bool must_flush;
	struct vmmu_sp *root;    /* reference held; NULL: none yet */
	union vmmu_role role;    /* that the root must have */
	struct vmmu_entry entry; /* what to load for this root */
	struct vmmu_last_table last_table;
	bool last_was_huge; /* the last fault's leaf: neighbours would be asked for in vain */
	struct vmmu_shadow_vcpu shadow;

	struct vmmu_reader reader;
	struct vmmu_slot slot;    /* last hit ... */
	uint64_t slot_generation; /* ... valid for this generation only */
	struct vmmu_mmio_cache mmio;
	struct vmmu_guard guard;
	struct vmmu_cache cache;
	vmmu_atomic_t stats[VMMU_STAT_COUNT];
	struct vmmu_vcpu *next; /* mmu lock, exclusive */
};
_Static_assert(sizeof(struct vmmu_vcpu) <= VMMU_PAGE_BYTES, "a vCPU is one page");

/* Does any client track anything? Under the mmu lock: for sure. */
static inline bool vm_tracks(const struct vmmu_vm *vm)
{
	return atomic_get(&vm->tracked) != 0;
}

/* Does anybody want to know when a leaf loses its dirty flag? */
static inline bool vm_hears_dirty(const struct vmmu_vm *vm)
{
	if (VMMU_MUTANT(LOG_UNWATCHED))
		return vm->port->page_dirty != NULL;
	return vm->port->page_dirty || atomic_get(&vm->logging);
}

static inline struct vmmu_task task_of_vm(struct vmmu_vm *vm)
{
	return (struct vmmu_task){.vm = vm};
}

static inline void vcpu_stat_add(struct vmmu_vcpu *vcpu, enum vmmu_stat stat, uint64_t n)
{
	atomic_own_plus(&vcpu->stats[stat], n);
}

static inline void stat_add(struct vmmu_task *task, enum vmmu_stat stat, uint64_t n)
{
	if (VMMU_LIKELY(task->vcpu != NULL))
		vcpu_stat_add(task->vcpu, stat, n);
	else
		(void)atomic_plus(&task->vm->stats[stat], n);
}

/* As vmmu_shadow_slot(), without a call when it is the slot of the last look-up. */
static inline const struct vmmu_slot *shadow_slot(struct vmmu_task *task, unsigned space,
						  vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_vcpu *vcpu = task->vcpu;

	/* Under the mmu lock the set stands still: the last hit is good for its generation. */
	if (VMMU_LIKELY(vcpu != NULL) && VMMU_LIKELY(vmmu_slot_holds(&vcpu->slot, gfn)) &&
	    VMMU_LIKELY(vcpu->slot.space == space) &&
	    (VMMU_LIKELY(vcpu->slot_generation ==
			 atomic_get(&task->vm->spaces[space].generation)) ||
	     VMMU_MUTANT(STALE_SLOT)))
		return &vcpu->slot;
	return vmmu_shadow_slot(task, space, gfn);
}

/* Is it one of those that were forgotten all at once, and wait for being taken apart? */
static inline bool shade_is_obsolete(const struct vmmu_vm *vm, const struct vmmu_shade *s)
{
	return s->generation != vm->shades.generation;
}

/* As vmmu_shade_lowest(), without a call when it is the one of the last address. */
static inline struct vmmu_shade *shade_lowest(struct vmmu_task *task, vmmu_gva_t gva)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_known_path *path = &task->vcpu->shadow.path;

	if (VMMU_LIKELY(path->region == gva.addr >> (VMMU_PAGE_SHIFT + 9)) && path->root &&
	    path->root == task->vcpu->root && path->cuts == task->vm->shades.cuts)
		return path->lowest;
	return vmmu_shade_lowest(task, gva);
}

/* As vmmu_page_at_hand(). */
static inline bool page_at_hand(const struct vmmu_vm *vm, const struct vmmu_slot *slot,
				vmmu_gfn_t gfn, struct vmmu_page *page)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_invalidations *inv = &vm->invalidations;
	uint64_t host = vmmu_slot_host(slot, gfn);

	if (VMMU_UNLIKELY(inv->frames[slot->space].active | inv->host.active) &&
	    !VMMU_MUTANT(IGNORE_ACTIVE) &&
	    (vmmu_withdrawn_holds(&inv->frames[slot->space], gfn.n) ||
	     vmmu_withdrawn_holds(&inv->host, host)))
		return false;
	if (!vm->port->guest_page) {
		*page = (struct vmmu_page){{host >> VMMU_PAGE_SHIFT}, VMMU_LEVEL_1G, true};
		return true;
	}
	return vm->port->guest_page_now(vm->host, host, page) &&
	       !(page->pfn.n >> (vm->config.physical_bits - VMMU_PAGE_SHIFT));
}

/* The frame that the table mirrors, if it is known where that is now; else NULL. */
static inline const uint8_t *shade_known_frame(const struct vmmu_vm *vm, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	/* Slots take the tables in them along when they go; only the host may move the page. */
	return VMMU_LIKELY(s->frame_begun == vm->invalidations.begun) || VMMU_MUTANT(FRAME_KEPT)
		       ? s->frame
		       : NULL;
}

/* Is the vCPU's root valid, and of the role that the vCPU has now (I8)? */
static inline bool root_fits(const struct vmmu_vcpu *vcpu)
{
	const struct vmmu_sp *root = vcpu->root;

	return VMMU_LIKELY(root != NULL) && VMMU_LIKELY(root->role.word == vcpu->role.word) &&
	       (VMMU_LIKELY(!atomic_get_ordered(&root->invalid)) || VMMU_MUTANT(ENTER_INVALID));
}

/* ---- base/trouble.c ---- */

/* A check failed: nothing of this VM runs any more; the reason stays. First one wins. */
void vmmu_vm_kill(struct vmmu_task *task, const char *reason, uint64_t a, uint64_t b);

static inline bool vm_is_dead(const struct vmmu_vm *vm)
{
	return atomic_get_acquire(&vm->death) != 0;
}

/* The always-on check: false after killing the VM. */
#define VMMU_CHECK(task, condition, reason, a, b)                                                  \
	(VMMU_LIKELY(condition) || (vmmu_vm_kill((task), (reason), (a), (b)), false))

/* The embedder broke a contract in a way that cannot be contained. Does not return. */
_Noreturn void vmmu_panic(const struct vmmu_vm *vm, const char *text);

void vmmu_trace_emit(struct vmmu_task *task, enum vmmu_trace_kind kind, unsigned level,
		     const uint64_t abc[3]);

static inline void trace(struct vmmu_task *task, enum vmmu_trace_kind kind, unsigned level,
			 uint64_t a, uint64_t b, uint64_t c)
{
	if (VMMU_UNLIKELY(task->vm->port->trace != NULL))
		vmmu_trace_emit(task, kind, level, (const uint64_t[3]){a, b, c});
}

#endif
