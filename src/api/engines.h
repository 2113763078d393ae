/* SPDX-License-Identifier: MIT */
/* What the calls of this layer share: the slots lock, and what both engines can do. */
#ifndef VMMU_API_ENGINES_H
#define VMMU_API_ENGINES_H

#include "shadow/root.h"
#include "tdp/harvest.h"
#include "tdp/tdp.h"

/* Slot changes, and changes of what is tracked. */
void vmmu_slots_acquire(struct vmmu_vm *vm) VMMU_ACQUIRE(vmmu_slots_lock);
void vmmu_slots_release(struct vmmu_vm *vm) VMMU_RELEASE(vmmu_slots_lock);

/* Withdraw every translation of a range; it stays a range of memory. Pauses. */
void vmmu_zap_space(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* The frames are no memory any more: what the guest kept in them goes, too. */
void vmmu_zap_slot(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* Nothing of what is there is used any more once the debt is paid. */
void vmmu_invalidate_everything(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);
/* The frames become memory: what a guest read in their place is outdated. */
void vmmu_zap_hole(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_zap_everything(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);
/* Some of what vmmu_invalidate_everything() left, by lowest tables (shadow paging: by tables).
 * Return: true if more is left. */
bool vmmu_take_apart(struct vmmu_task *task, uint64_t tables) VMMU_EXCLUDES(vmmu_mmu_lock);
/* Have the root that the vCPU must run on. Context: its thread, no locks. */
enum vmmu_error vmmu_load_root(struct vmmu_vcpu *vcpu);
/* No entry allows these kinds of access to the frames any more, in any space. Short ranges. */
void vmmu_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
	VMMU_REQUIRES(vmmu_mmu_lock);

/* No leaf of task->space over frames of the range is larger than 4K; what a huge one said stays
 * where it can. Tables come from the task's cache. The slot allows no other leaf already. */
void vmmu_split_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
	VMMU_EXCLUDES(vmmu_mmu_lock);
/* What the hardware recorded, of task->space. */
void vmmu_collect_accessed(struct vmmu_task *task, struct vmmu_harvest *h)
	VMMU_EXCLUDES(vmmu_mmu_lock);
void vmmu_collect_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
	VMMU_EXCLUDES(vmmu_mmu_lock);

/* slot_change.c: the slot with this id, or NULL. */
const struct vmmu_slot *vmmu_slot_of_id(struct vmmu_vm *vm, unsigned space, uint16_t id)
	VMMU_REQUIRES(vmmu_slots_lock);

#endif
