/* SPDX-License-Identifier: MIT */
/* A virtual CPU's view of memory: what to load at guest entry. */
#ifndef VMMU_VCPU_H
#define VMMU_VCPU_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the hardware needs at the next guest entry. */
struct vmmu_entry {
	vmmu_hpa_t root;     /* physical address of the top table: nCR3, or EPTP bits 51:12 */
	uint64_t eptp;       /* EPT: the complete EPT pointer; NPT: 0 */
	unsigned root_level; /* 4 or 5 */
	bool flush;          /* drop all cached translations of this vCPU before running:
			      * a new ASID or TLB_CONTROL (SVM), INVEPT single-context (VMX) */
};

/**
 * vmmu_vcpu_create() - a vCPU in address space 0, without a root yet.
 * @cookie: the embedder's, see vmmu_vcpu_cookie().
 * Context: any thread. May sleep if page_alloc does.
 * Return:  VMMU_OK; VMMU_ENOMEM; VMMU_ELIMIT, VMMU_VCPUS_MAX exist; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_vcpu_create(struct vmmu_vm *vm, void *cookie,
						 struct vmmu_vcpu **vcpu);
#define VMMU_VCPUS_MAX 512u

/* The vCPU is outside the guest and no call on it is under way; not used afterwards. */
void vmmu_vcpu_destroy(struct vmmu_vcpu *vcpu);

void *vmmu_vcpu_cookie(const struct vmmu_vcpu *vcpu);

/* The number in trace records and reports: 0, 1, ... in order of creation. */
uint32_t vmmu_vcpu_index(const struct vmmu_vcpu *vcpu);

/**
 * vmmu_vcpu_enter() - last call before the guest runs.
 * @entry: what to load; complete at every call, so only differences need be written.
 *
 * From here to vmmu_vcpu_leave() the vCPU counts as running: withdrawn translations lead
 * to port->tlb_flush. Call it with interrupts (or whatever tlb_flush uses to kick) held
 * off until the guest is entered, so that a kick which arrives between the two ends the
 * guest's run at once instead of being lost.
 * If the root has to be made anew it may allocate and wait for the VM's lock, so a tlb_flush must
 * never wait for a CPU that is not between enter and leave.
 * A flush that @entry asks for is owed at once, even if the vCPU leaves again before the guest has
 * run: it is asked for only once.
 * Checks at each call that the root is the one this vCPU must run on.
 * Context: the vCPU's thread. No sleep unless page_alloc does (first entry, new root).
 * Return:  VMMU_OK; VMMU_ENOMEM, no root: not running, make room and call again;
 *          VMMU_EDEAD: must not run.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_vcpu_enter(struct vmmu_vcpu *vcpu, struct vmmu_entry *entry);

/* First call after the guest stopped running. Context: the vCPU's thread. */
void vmmu_vcpu_leave(struct vmmu_vcpu *vcpu);

/**
 * vmmu_vcpu_moved() - the vCPU will run on another physical CPU (or an ASID was reused):
 * its next entry asks for a flush. Context: the vCPU's thread, outside the guest.
 */
void vmmu_vcpu_moved(struct vmmu_vcpu *vcpu);

/**
 * vmmu_vcpu_set_space() - switch the guest-physical address space (system management mode).
 * Takes effect at the next entry. Context: the vCPU's thread, outside the guest.
 * Return: VMMU_OK; VMMU_EINVAL, no such space; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_vcpu_set_space(struct vmmu_vcpu *vcpu, unsigned space);

#ifdef __cplusplus
}
#endif

#endif
