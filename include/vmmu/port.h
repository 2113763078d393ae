/* SPDX-License-Identifier: MIT */
/*
 * Everything that vmmu asks of its host, on one page. Fill in the four mandatory
 * callbacks and start; add the optional ones as the need comes. The structure must
 * stay unchanged from vmmu_vm_create() to the end of vmmu_vm_destroy().
 *
 * @host in every call is the pointer that was given to vmmu_vm_create().
 * No callback may call back into vmmu. Where "may sleep" is not said, it must not.
 * Callbacks run on several threads at once, also those that are called with a lock held: faults,
 * vmmu_work() and vmmu_harvest_dirty() share it. Count and set bits atomically.
 */
#ifndef VMMU_PORT_H
#define VMMU_PORT_H

#include <vmmu/trace.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What tlb_flush is asked to do. */
struct vmmu_flush {
	void *vm_cookie;             /* config.cookie of the VM */
	unsigned space;              /* guest-physical address space the range is in */
	struct vmmu_gfn_range range; /* translations of these frames are withdrawn */
	bool everything;             /* forget @range: all translations of all spaces */
};

/* What guest_page is asked for. Frames first .. first+count-1 belong to one slot. */
struct vmmu_page_request {
	unsigned space;        /* address space */
	uint16_t slot;         /* slot id */
	vmmu_gfn_t first;      /* first guest frame asked for */
	uint64_t host_address; /* slot's host_base advanced to @first, bytes */
	uint32_t count;        /* frames asked for, 1..VMMU_PREFETCH_MAX */
	uint32_t wanted;       /* index (0..count-1) of the frame that is needed now */
	bool write;            /* the needed frame is about to be written */
};

#define VMMU_PREFETCH_MAX 32u

/* What guest_page answers for one frame. */
struct vmmu_page {
	vmmu_pfn_t pfn;        /* host frame; VMMU_PFN_NONE: not at hand */
	enum vmmu_level level; /* largest naturally aligned block around the frame that is
				* contiguous in host memory with the same rights, 4K..1G */
	bool writable;         /* the guest may write it */
};

enum vmmu_page_status {
	VMMU_PAGE_OK,      /* pages[wanted] is filled in */
	VMMU_PAGE_PENDING, /* being fetched; the vCPU may do something else meanwhile */
	VMMU_PAGE_RETRY,   /* changed under our feet; ask again */
	VMMU_PAGE_ERROR,   /* the host has no such page: outcome HOST_ERROR */
};

/* Memory types, with the values that EPT leaves and the PAT use. */
enum vmmu_memtype {
	VMMU_MEMTYPE_UC = 0,
	VMMU_MEMTYPE_WC = 1,
	VMMU_MEMTYPE_WT = 4,
	VMMU_MEMTYPE_WP = 5,
	VMMU_MEMTYPE_WB = 6,
};

/* Own locks instead of the built-in spinning read-write lock. All or none. */
struct vmmu_port_locks {
	/* Make a read-write lock; NULL when there is no memory. May sleep. */
	void *(*create)(void *host);
	void (*destroy)(void *host, void *lock);
	/* May be held for thousands of instructions; never held while vmmu calls a
	 * callback that may sleep. Writers must not starve. */
	void (*acquire_shared)(void *host, void *lock);
	void (*release_shared)(void *host, void *lock);
	void (*acquire_exclusive)(void *host, void *lock);
	void (*release_exclusive)(void *host, void *lock);
};

struct vmmu_port {
	/* ---- mandatory ---- */

	/**
	 * page_alloc - one zeroed 4 KiB page for vmmu's own use, or VMMU_PFN_NONE.
	 * Never called with the lock of the tables held; other slot changes of the VM wait while
	 * one allocates. May sleep. Failing is always survived.
	 */
	vmmu_pfn_t (*page_alloc)(void *host);

	/**
	 * page_free - @pfn came from page_alloc; no CPU and no thread can reach it any more.
	 * May be called from the fault path.
	 */
	void (*page_free)(void *host, vmmu_pfn_t pfn);

	/**
	 * page_map - address of a page from page_alloc. Stable until page_free, never NULL.
	 * Called on every path, also with locks held: make it an addition.
	 */
	void *(*page_map)(void *host, vmmu_pfn_t pfn);

	/**
	 * tlb_flush - withdraw cached translations.
	 * On return every CPU that was running a vCPU of this VM either has dropped its
	 * translations of the range, or has left the guest and will pass vmmu_vcpu_enter()
	 * (which says what to flush) before it runs guest code again. With @everything set it
	 * must have left: it may not go on with the root that it has. Kicking all CPUs out of
	 * the guest is a complete implementation. Called with vmmu's lock held; may wait for
	 * CPUs that are between enter and leave, must not sleep. Not called when no vCPU is in
	 * the guest.
	 */
	void (*tlb_flush)(void *host, const struct vmmu_flush *flush);

	/* ---- optional: NULL takes the default ---- */

	/**
	 * guest_page - which host frames back these guest frames?
	 * Must answer for the @wanted frame; may fill in the others (prefetch) if they are
	 * at hand without work, else sets their pfn to VMMU_PFN_NONE. vmmu takes no
	 * reference: whoever takes a page away calls vmmu_invalidate_begin() first.
	 * May sleep. Default: host_base is a host-physical address, always there, writable.
	 */
	enum vmmu_page_status (*guest_page)(void *host, const struct vmmu_page_request *request,
					    struct vmmu_page *pages);

	/**
	 * guest_page_now - what guest_page would answer for one frame, if it is at hand.
	 * Called with a lock held, by several vCPUs at the same time: must not sleep. False: not
	 * at hand. Only for shadow paging, and there mandatory if guest_page is set.
	 */
	bool (*guest_page_now)(void *host, uint64_t host_address, struct vmmu_page *page);

	/**
	 * guest_map - address of a guest page's frame in the library's address space, to read the
	 * guest's page tables. Good until the host takes the page away. Mandatory for shadow
	 * paging. Called with a lock held, by several vCPUs at the same time.
	 */
	void *(*guest_map)(void *host, vmmu_pfn_t pfn);

	/**
	 * memory_type - type for the frames of one leaf (@frames is 1, 512 or 262144).
	 * If they differ within the leaf return false and vmmu uses smaller leaves. When an
	 * answer changes, call vmmu_zap_range(). Called with a lock held. Default: WB.
	 */
	bool (*memory_type)(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn,
			    enum vmmu_memtype *type);

	/**
	 * page_accessed, page_dirty - hand over what the hardware recorded in a leaf that
	 * goes away: guest frames first.. were read (@pfn is the host frame of @first), or
	 * written. Dirty may be told twice, is never lost. Called with a lock held, by several
	 * threads at the same time.
	 */
	void (*page_accessed)(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn);
	void (*page_dirty)(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn);

	/**
	 * tables_written - entries of a live table were changed: for hosts whose IOMMU walks
	 * the same tables without snooping caches. @count entries from @index in @table.
	 */
	void (*tables_written)(void *host, vmmu_pfn_t table, unsigned index, unsigned count);

	/* should_yield - true if a long operation ought to let others run. Lock held. */
	bool (*should_yield)(void *host);
	/* yield - let others run; called without locks. May sleep. */
	void (*yield)(void *host);
	/* relax - one turn of a spin loop. Default: the PAUSE instruction. */
	void (*relax)(void *host);
	/**
	 * lock_wait, lock_wake - for hosts that may take the CPU away from whoever holds the
	 * built-in lock, where spinning keeps him from going on. Both or none; default: relax.
	 * lock_wait is called again and again while the lock is taken; @turn counts the calls of
	 * one wait from 0. It may return whenever it likes, and must after a lock_wake that began
	 * later than the turn before. So: say in one turn that this thread is about to sleep,
	 * sleep in the next. lock_wake comes whenever a lock was let go, from any thread, often:
	 * look whether anybody sleeps, with sequential consistency. May both not call vmmu.
	 */
	void (*lock_wait)(void *host, unsigned turn);
	void (*lock_wake)(void *host);

	/* Locks of the host's own. Default: built in. */
	const struct vmmu_port_locks *locks;

	/* log - one line of text without newline; rare (a VM died). Any context. */
	void (*log)(void *host, const char *text);
	/* trace - a fixed-size record; the structure is the callee's only during the call. */
	void (*trace)(void *host, const struct vmmu_trace *record);
	/**
	 * panic - the embedder broke a contract in a way that cannot be contained. Must not
	 * return. Default: an undefined instruction.
	 */
	void (*panic)(void *host, const char *text);
};

#ifdef __cplusplus
}
#endif

#endif
