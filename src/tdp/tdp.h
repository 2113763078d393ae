/* SPDX-License-Identifier: MIT */
/*
 * Two-dimensional paging: roots, mapping, zapping.
 *
 * A root maps guest-physical addresses of one space for all vCPUs in that space. Faults only add
 * and run in parallel under the shared mmu lock; each entry has one winner by
 * compare-and-swap. What removes takes the lock exclusively, in steps that pause.
 *
 *   root: valid, on the list, users = 1 (the VM) + vCPUs on it
 *     -- vmmu_root_invalidate(): invalid; vCPUs leave it at their next entry; still on the list
 *        so that host invalidation reaches it; the VM's reference goes to whoever takes it apart
 *     -- last reference gone, empty: off the list, unlinked, freed after a grace period
 */
#ifndef VMMU_TDP_TDP_H
#define VMMU_TDP_TDP_H

#include <vmmu/fault.h>

#include "base/annotate.h"
#include "slot/slots.h"
#include "tdp/commit.h"
#include "tdp/iter.h"

/* ---- root.c ---- */

/* The role that a vCPU in this space must run on. */
union vmmu_role vmmu_root_role(const struct vmmu_vm *vm, unsigned space);

static inline bool root_is_valid(const struct vmmu_sp *root)
{
	return !atomic_get_ordered(&root->invalid);
}

/**
 * vmmu_root_get() - the valid root of this role, made if there is none.
 * Takes a reference. The task's cache holds a table.
 */
struct vmmu_sp *vmmu_root_get(struct vmmu_task *task, union vmmu_role role)
	VMMU_REQUIRES(vmmu_mmu_lock);

/* One more reference to a root that the caller found on the list. */
void vmmu_root_hold(struct vmmu_sp *root) VMMU_REQUIRES(vmmu_mmu_lock);
/* Drop a reference; the last one frees an invalid root, which must be empty. */
void vmmu_root_put(struct vmmu_task *task, struct vmmu_sp *root) VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_root_invalidate() - no vCPU may enter on it again. Owes a flush of everything: when
 * that is paid no CPU uses it. The caller owns the VM's reference from here on.
 */
void vmmu_root_invalidate(struct vmmu_task *task, struct vmmu_sp *root)
	VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_vcpu_load_root() - have a valid root of the role that the vCPU has now.
 * Context: the vCPU's thread, no locks. Return: VMMU_OK, VMMU_ENOMEM, VMMU_EDEAD.
 */
enum vmmu_error vmmu_vcpu_load_root(struct vmmu_vcpu *vcpu);

/* ---- map.c ---- */

/* What a fault wants installed. */
struct vmmu_target {
	vmmu_gfn_t gfn;
	uint32_t access;              /* enum vmmu_access bits wanted */
	const struct vmmu_slot *slot; /* holds the frame */
	struct vmmu_page *pages;      /* host frames of a group of guest frames */
	vmmu_gfn_t first;             /* first frame of the group */
	uint32_t count;               /* frames in the group */
	enum vmmu_level max;          /* no leaf larger than this */
	/* set together, in one store */
	uint32_t allowed;  /* rights that the leaf may have; all, to begin with */
	uint32_t prefault; /* 1: nobody accesses it now: accessed stays clear */
};

/**
 * vmmu_tdp_obey_trackers() - take out of the target what clients track. To be called in the
 * section that goes on to vmmu_tdp_map().
 * Return: false, the access that is wanted has to come out.
 */
bool vmmu_tdp_obey_trackers(const struct vmmu_vm *vm, struct vmmu_target *target)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/**
 * vmmu_tdp_map() - install a leaf for the target, and its neighbours if they are known.
 * @level: size of the leaf, set for RESUME.
 * The task's cache holds a table for each level. Return: RESUME, SPURIOUS, RETRY, HOST_ERROR
 * (the port named a frame that the hardware cannot address), DEAD.
 */
enum vmmu_outcome vmmu_tdp_map(struct vmmu_task *task, struct vmmu_sp *root,
			       const struct vmmu_target *target, enum vmmu_level *level)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* Remember that @gfn belongs to no slot. Does nothing if something else is there. */
void vmmu_tdp_map_mmio(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
		       uint64_t generation) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/**
 * vmmu_tdp_look() - the entry that decides about @gfn: a leaf, or whatever ends the walk.
 * Context: read section; the value may be outdated at once, like a TLB entry.
 */
vmmu_spte_t vmmu_tdp_look(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
			  enum vmmu_level *level) VMMU_REQUIRES_SHARED(vmmu_read_section);

/**
 * vmmu_tdp_widen() - the way of faults that need no look-up: the leaf is there and allows the
 * access by now, or lost nothing but the right to write, to a harvest of dirty frames.
 * Without the lock: the compare-and-swap fails if the entry has moved on.
 * Return: SPURIOUS; RESUME, @level is set; COUNT: neither.
 */
enum vmmu_outcome vmmu_tdp_widen(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
				 uint32_t access, enum vmmu_level *level)
	VMMU_REQUIRES_SHARED(vmmu_read_section);

/* ---- zap.c ---- */

/* Withdraw every translation of @range in one root; tables that lie inside go, too. Pauses. */
void vmmu_tdp_zap(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);

/* The same in all roots of the space, invalid ones included. */
void vmmu_tdp_zap_space(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_tdp_invalidate_all() - no vCPU enters on what is there now. Owes a flush of everything; once
 * that is paid, the roots wait to be taken apart.
 */
void vmmu_tdp_invalidate_all(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_tdp_zap_all() - invalidate all valid roots at once, then take apart whatever waits for it.
 * Pays before it starts to take apart; pauses.
 */
void vmmu_tdp_zap_all(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_tdp_work() - take apart @tables of the lowest level at most. Return: true if roots wait.
 * Context: no locks; faults go on meanwhile.
 */
bool vmmu_tdp_work(struct vmmu_task *task, uint64_t tables) VMMU_EXCLUDES(vmmu_mmu_lock);

/* ---- split.c ---- */

/* Replace the huge leaf that @it stands on by a table from the task's cache, which holds one.
 * False: lost a race, look again. Context: mmu lock in any mode. */
bool vmmu_split_leaf(struct vmmu_iter *it);

/**
 * vmmu_tdp_split_huge() - all leaves of task->space in the range become 4K ones; those for which
 * there is no table go. Faults go on meanwhile, and add no huge ones. Pauses.
 */
void vmmu_tdp_split_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
	VMMU_EXCLUDES(vmmu_mmu_lock);

/* ---- forbid.c ---- */

/**
 * vmmu_tdp_forbid() - no entry of any root, of any space, allows these kinds of access to the
 * frames any more. Huge leaves over them go. Short ranges: does not pause.
 */
void vmmu_tdp_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
	VMMU_REQUIRES(vmmu_mmu_lock);

#endif
