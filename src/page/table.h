/* SPDX-License-Identifier: MIT */
/*
 * Tables as objects: one struct vmmu_sp for each page that the hardware may walk.
 *
 *   NEW ----> LIVE ----> UNLINKED ----> RETIRED ----> (freed)
 *    \___________________________________________________^
 *
 *   NEW       filled by one thread, nothing points to it    table_new()
 *   LIVE      an entry, or a root list, points to it        table_set_live()
 *   UNLINKED  taken out; CPUs may still walk it             table_unlink()
 *   RETIRED   the flush is paid; other threads may still be table_retire()
 *             in a read section that saw it
 *
 * A table is found by its frame: pfn -> sp, a hash whose buckets carry their own lock bit.
 */
#ifndef VMMU_PAGE_TABLE_H
#define VMMU_PAGE_TABLE_H

#include <vmmu/port.h>
#include <vmmu/types.h>

#include "base/annotate.h"
#include "base/atomic.h"
#include "format/entry.h"

/* The facts that decide how a table translates. */
union vmmu_role {
	struct {
		uint32_t level : 4;  /* enum vmmu_level */
		uint32_t direct : 1; /* maps a linear range; shadows no guest table */
		uint32_t space : 2;  /* address space whose slots it was built from */
		/* the rest: shadow tables only */
		uint32_t mode : 3;     /* enum vmmu_paging_mode of the mirrored table */
		uint32_t access : 3;   /* rights inherited from the guest's tables above */
		uint32_t quadrant : 2; /* which part of a table with 1024 entries */
		uint32_t nx : 1;       /* EFER.NXE: bit 63 is a right, not reserved */
		uint32_t wp : 1;       /* CR0.WP */
		uint32_t smep_without_wp : 1;
		uint32_t smap_without_wp : 1; /* or protection keys */
		uint32_t pse : 1;             /* 32-bit tables: 4M pages */
		uint32_t key : 4;             /* direct: protection key of the huge page */
		uint32_t mbz : 8;             /* zero: roles are compared as one word */
	};
	uint32_t word;
};
_Static_assert(sizeof(union vmmu_role) == 4, "role is compared as one word");

enum vmmu_sp_state { VMMU_SP_NEW, VMMU_SP_LIVE, VMMU_SP_UNLINKED, VMMU_SP_RETIRED, VMMU_SP_FREED };

struct vmmu_sp {
	/* const while the table lives */
	vmmu_pfn_t pfn;            /* the page itself */
	vmmu_spte_slot_t *entries; /* its address; entries are atomic */
	vmmu_gfn_t gfn;            /* first guest frame it maps */
	union vmmu_role role;
	/* one writer: the thread that owns the transition */
	enum vmmu_sp_state state;
	uint64_t retired;        /* epoch in which it was retired */
	struct vmmu_sp *next;    /* free list, flush debt or retired list */
	vmmu_atomic_t in_bucket; /* next table of the chain; bucket lock to change */
	/* roots only */
	vmmu_atomic_t invalid;     /* 1: must not be entered again; set under the mmu lock */
	uint32_t users;            /* mmu lock, exclusive: vCPUs on it, zappers, and the VM
				    * itself while it is valid */
	struct vmmu_sp *root_next; /* mmu lock, exclusive: list of roots */
	bool doomed;               /* mmu lock, exclusive: invalid, waits for who takes it apart */
	vmmu_gfn_t demolished;     /* its owner: nothing is left below this frame */
};

struct vmmu_vm;
struct vmmu_task;

/* Pages and descriptors reserved before locks are taken: nothing allocates under a lock. */
#define VMMU_CACHE_TABLES 6u
#define VMMU_RESERVE_PAGES 12u

/* Zeroed pages for whatever is made on the way. */
struct vmmu_reserve {
	void *page[VMMU_RESERVE_PAGES];
	vmmu_pfn_t pfn[VMMU_RESERVE_PAGES];
	unsigned count;
};

struct vmmu_cache {
	struct vmmu_sp *tables[VMMU_CACHE_TABLES]; /* NEW, zeroed */
	unsigned count;
	struct vmmu_sp *descriptors; /* free ones, so that few tables need the pool's lock */
	struct vmmu_reserve reserve;
};

/* Have @want pages. Context: no locks. Return: false if the port has none (those there stay). */
bool vmmu_reserve_fill(struct vmmu_vm *vm, struct vmmu_reserve *reserve, unsigned want);

/**
 * cache_fill() - have at least @want tables in the cache.
 * Context: no locks. Return: false if the port has no page (what is there stays).
 */
bool vmmu_cache_fill_slow(struct vmmu_vm *vm, struct vmmu_cache *cache, unsigned want);
static inline bool vmmu_cache_fill(struct vmmu_vm *vm, struct vmmu_cache *cache, unsigned want)
{
	return VMMU_LIKELY(cache->count >= want) || vmmu_cache_fill_slow(vm, cache, want);
}
/* Give everything back. Context: no locks. */
void vmmu_cache_drain(struct vmmu_vm *vm, struct vmmu_cache *cache);

/* Take a table from the task's cache, which holds one, and say what it is for. */
struct vmmu_sp *vmmu_table_new(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role);
/* A NEW table that was not needed goes back to the cache, zeroed again. */
void vmmu_table_unused(struct vmmu_task *task, struct vmmu_sp *sp);
/* Make it findable; call before the entry that points to it is published. */
void vmmu_table_set_live(struct vmmu_task *task, struct vmmu_sp *sp);
/* It was LIVE and the last pointer to it is gone: the flush debt takes it over. */
void vmmu_table_unlink(struct vmmu_task *task, struct vmmu_sp *sp);
/* The debt is paid: wait for readers, then free. */
void vmmu_table_retire(struct vmmu_task *task, struct vmmu_sp *sp);
/* Was published by set_live but its entry lost the race: nobody ever saw it. */
void vmmu_table_withdraw(struct vmmu_task *task, struct vmmu_sp *sp);

static inline struct vmmu_sp *vmmu_table_next(const struct vmmu_sp *sp)
{
	return (struct vmmu_sp *)(uintptr_t)atomic_get_acquire(&sp->in_bucket);
}

/*
 * Table of a frame, or NULL. Context: mmu lock in any mode. Goes without the bucket's lock: what
 * comes off a chain while the lock is shared keeps its place until the lock is let go, and a
 * withdrawn table stays in its vCPU's cache, from where it comes back to the same chain.
 */
struct vmmu_sp *vmmu_table_find(struct vmmu_vm *vm, vmmu_pfn_t pfn);

/* Free what no reader can see any more. Context: no locks. */
void vmmu_table_collect(struct vmmu_vm *vm);

/* The n-th bucket's first table, for whole-VM checks. Context: mmu lock, exclusive. */
struct vmmu_sp *vmmu_table_bucket(struct vmmu_vm *vm, uint64_t bucket);
uint64_t vmmu_table_buckets(const struct vmmu_vm *vm);

/* ---- where descriptors and buckets live ---- */

#define VMMU_INDEX_PAGES 64u
struct vmmu_table_index { /* a page of its own */
	vmmu_pfn_t self;
	vmmu_pfn_t page_pfn[VMMU_INDEX_PAGES];
	vmmu_atomic_t *page[VMMU_INDEX_PAGES]; /* buckets: pointer, bit 0 is the lock */
	uint32_t pages;                        /* power of two */
};
_Static_assert(sizeof(struct vmmu_table_index) <= VMMU_PAGE_BYTES, "the index is one page");

/* What every fault reads lies apart from what every new table writes. */
#define VMMU_LINE_BYTES 64
struct vmmu_pages {
	_Alignas(VMMU_LINE_BYTES) struct vmmu_table_index *index; /* replaced under the mmu lock,
								   * exclusive */
	uint32_t descriptor_bytes; /* const: what this VM's engine needs for a table */
	uint32_t side_pages;       /* const: pages that come with each table, 0 or 2 */
	vmmu_atomic_t retired_count;
	vmmu_atomic_t unlinked; /* counts tables that were taken out */

	_Alignas(VMMU_LINE_BYTES) vmmu_atomic_t live; /* LIVE tables */
	vmmu_atomic_t pool_lock;                      /* spin: the lists below */
	struct vmmu_sp *pool;                         /* free descriptors */
	struct vmmu_sp *spare; /* free descriptors that still have their empty pages */
	vmmu_atomic_t spare_count;
	struct pool_page *pool_pages;
	struct vmmu_sp *retired; /* oldest last */
};

/* Context: creation and destruction of the VM, one thread. */
bool vmmu_pages_init(struct vmmu_vm *vm);
void vmmu_pages_fini(struct vmmu_vm *vm);

/**
 * pages_grow() - more buckets, sized for @frames guest frames in all slots.
 * Context: no locks at entry; takes the mmu lock. Failing is harmless: longer chains.
 */
void vmmu_pages_grow(struct vmmu_vm *vm, uint64_t frames);

#endif
