/* SPDX-License-Identifier: MIT */
/* What both engines can do, whichever the VM has. */
#ifndef VMMU_API_ENGINES_H
#define VMMU_API_ENGINES_H

#include "shadow/root.h"
#include "tdp/tdp.h"

/* Withdraw every translation of a range; it stays a range of memory. Pauses. */
void vmmu_zap_space(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* The frames are no memory any more: what the guest kept in them goes, too. */
void vmmu_zap_slot(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
/* The frames become memory: what a guest read in their place is outdated. */
void vmmu_zap_hole(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_zap_everything(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);
/* Have the root that the vCPU must run on. Context: its thread, no locks. */
enum vmmu_error vmmu_load_root(struct vmmu_vcpu *vcpu);

#endif
