/* SPDX-License-Identifier: MIT */
/* A virtual machine's memory: creation, host invalidation, zapping, destruction. */
#ifndef VMMU_VM_H
#define VMMU_VM_H

#include <vmmu/error.h>
#include <vmmu/port.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the hardware walks. */
enum vmmu_format {
	VMMU_FORMAT_NPT = 1,    /* AMD nested paging, long-mode tables */
	VMMU_FORMAT_EPT = 2,    /* Intel extended page tables */
	VMMU_FORMAT_SHADOW = 3, /* no nested paging: see shadow.h */
};

struct vmmu_vm_config {
	enum vmmu_format format;
	unsigned root_level;      /* 4 or 5 levels of tables */
	unsigned physical_bits;   /* host MAXPHYADDR, CPUID 80000008.EAX[7:0]: 32..52 */
	enum vmmu_level max_leaf; /* largest leaf the CPU and the embedder allow, 4K..1G */
	unsigned spaces;          /* guest-physical address spaces, 1 or 2 */
	unsigned prefetch;        /* frames installed per 4K fault: 1 (none), 2, 4 .. 32; 0 = 8.
				   * The first 4K fault after one with a huge leaf installs 1 */
	bool no_accessed_dirty;   /* EPT without accessed and dirty flags */
	bool no_mmio_entries;     /* never remember device frames in the tables */
	bool zap_all_on_delete;   /* a slot's end withdraws every translation of the VM,
				   * not only the slot's own */
	uint64_t table_quota;     /* shadow: tables kept at most, but for what is in use; 0: one
				   * for each 50 frames of the slots, 64 at least */
	void *cookie;             /* handed back in struct vmmu_flush */
};

/**
 * vmmu_vm_create() - a VM with no slots and no vCPUs.
 * @port:   callbacks; the four mandatory ones must be there. Kept, not copied.
 * @host:   handed to every callback.
 * @config: read during the call only.
 * @vm:     set on success.
 *
 * All memory comes from port->page_alloc (a handful of pages).
 * Context: any thread, no locks of vmmu exist yet. May sleep if page_alloc does.
 * Return:  VMMU_OK; VMMU_EINVAL, a value is out of its range or a callback is missing;
 *          VMMU_ENOMEM.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_vm_create(const struct vmmu_port *port, void *host,
					       const struct vmmu_vm_config *config,
					       struct vmmu_vm **vm);

/**
 * vmmu_vm_destroy() - give every page back.
 * @vm: no vCPU and no tracker is left, no other thread is in a call on this VM; not used
 *      afterwards.
 *
 * Works on a dead VM, too. Accessed and dirty state of the guest's pages is handed over.
 * Return: VMMU_OK; VMMU_EBUSY, vCPUs or trackers are left: nothing happened.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_vm_destroy(struct vmmu_vm *vm);

/**
 * vmmu_vm_death() - why did the VM die?
 * Return: NULL while the VM is alive; else one sentence, valid until vmmu_vm_destroy().
 * vCPUs of a dead VM do not enter, faults end with VMMU_OUTCOME_DEAD, calls that change slots or
 * vCPUs return VMMU_EDEAD and do nothing. Invalidation still withdraws (and says VMMU_EDEAD);
 * vmmu_slot_find(), audit, explanation and statistics still answer.
 */
const char *vmmu_vm_death(const struct vmmu_vm *vm);

/**
 * vmmu_invalidate_begin() - the host is about to take pages away from guest frames.
 * @space, @range: guest frames, inside or outside of slots.
 *
 * When this returns nothing refers to the pages any more: no entry of any table (roots on
 * their way out included), no TLB, no accessed or dirty report will follow. Until the
 * matching vmmu_invalidate_end() faults in the range return VMMU_OUTCOME_RETRY.
 * Calls may nest and overlap; each needs its end.
 * Context: any thread; not from a callback. Spins on the VM's lock, calls yield.
 * Return:  VMMU_OK; VMMU_EINVAL, no such space or an upside-down range; VMMU_EDEAD (the
 *          tables are gone from every CPU then, too: a dead VM's vCPUs do not enter).
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_invalidate_begin(struct vmmu_vm *vm, unsigned space,
						      struct vmmu_gfn_range range);
/* The pages are gone or replaced. Same arguments as the begin that it ends. */
VMMU_MUST_CHECK enum vmmu_error vmmu_invalidate_end(struct vmmu_vm *vm, unsigned space,
						    struct vmmu_gfn_range range);

/**
 * vmmu_invalidate_host_begin() - the same by host address, for every slot of every space
 * that shows some of [start, end). Bytes, in the unit of slot host_base, page aligned.
 * Costs a look at every slot.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_invalidate_host_begin(struct vmmu_vm *vm, uint64_t start,
							   uint64_t end);
VMMU_MUST_CHECK enum vmmu_error vmmu_invalidate_host_end(struct vmmu_vm *vm, uint64_t start,
							 uint64_t end);

/**
 * vmmu_zap_range() - forget all translations of a range; faults build them anew.
 * For a change of memory type, or to let huge leaves come back.
 * Context, Return: as vmmu_invalidate_begin().
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_zap_range(struct vmmu_vm *vm, unsigned space,
					       struct vmmu_gfn_range range);

/**
 * vmmu_zap_all() - forget everything: every vCPU gets a new root at its next entry; the tables
 * that were in use are taken apart before the call returns, in steps that yield. Tables that
 * another thread's call is already taking apart are left to it.
 * Context, Return: as vmmu_invalidate_begin().
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_zap_all(struct vmmu_vm *vm);

/**
 * vmmu_zap_all_fast() - the same in constant time, whatever is mapped: when this returns no vCPU
 * uses what was there; the tables wait for vmmu_work() to be taken apart and given back.
 * Shadow paging: the more vCPUs, the longer; until they are taken apart the old tables count for
 * the quota, and the frames that they mirror stay read-only.
 * Context, Return: as vmmu_invalidate_begin().
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_zap_all_fast(struct vmmu_vm *vm);

/**
 * vmmu_work() - do a piece of what waits: take apart @tables tables of the lowest level at most
 * (shadow paging: @tables tables).
 * For a thread in the background, while vCPUs run and fault; lets them in between. Several
 * threads may call it. Without it the tables go when vmmu_zap_all() or vmmu_vm_destroy() is called.
 * Context: any thread, not from a callback. Return: true if more waits.
 */
bool vmmu_work(struct vmmu_vm *vm, uint64_t tables);

#ifdef __cplusplus
}
#endif

#endif
