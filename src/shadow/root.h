/* SPDX-License-Identifier: MIT */
/* Roots of vCPUs under shadow paging. */
#ifndef VMMU_SHADOW_ROOT_H
#define VMMU_SHADOW_ROOT_H

#include "shadow/shade.h"

/* The vCPU runs on no table any more; its next entry loads one. */
void vmmu_shadow_drop_root(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);

/* The guest's CPU forgets what it cached for this address. */
void vmmu_shadow_forget_gva(struct vmmu_task *task, vmmu_gva_t gva) VMMU_REQUIRES(vmmu_mmu_lock);

/* Is there anything that it would forget? @lowest: vmmu_shade_lowest() of the address. */
bool vmmu_shadow_would_forget(struct vmmu_task *task, vmmu_gva_t gva,
			      const struct vmmu_shade *lowest) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* Have a root for the vCPU's paging state, up to date. Context: vCPU's thread, no locks. */
enum vmmu_error vmmu_shadow_load_root(struct vmmu_vcpu *vcpu);

/* Copy the four top entries to where a CPU in PAE mode reads them. Cheap; at each entry. */
void vmmu_shadow_fill_pdptes(struct vmmu_vcpu *vcpu);

/* Pages that belong to the vCPU alone. */
bool vmmu_shadow_vcpu_init(struct vmmu_vcpu *vcpu);
void vmmu_shadow_vcpu_fini(struct vmmu_vcpu *vcpu);

#endif
