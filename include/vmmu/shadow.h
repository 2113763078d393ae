/* SPDX-License-Identifier: MIT */
/*
 * Shadow paging: for VMs of format VMMU_FORMAT_SHADOW, whose guests run without nested paging.
 * The embedder intercepts page faults, MOV to CR0, CR3, CR4, EFER, INVLPG, INVPCID and tells them
 * here; the hardware runs on entry.root with CR0.PG, CR0.WP, CR4.PAE and EFER.NXE set whatever
 * the guest has, and with the guest's CR4.SMEP, SMAP, PKE, LA57 and EFER.LME; SMEP, SMAP and PKE
 * are off while the guest's paging is. Writes to a frame with the guest's tables by any other way
 * than a CPU in the same space - another slot over the same memory, the other space, a device - are
 * told by vmmu_guest_written() for the frame that holds the tables.
 * Outside long mode CR3 has 32 bits: the pages that page_alloc
 * gives must lie below 4 GiB then.
 */
#ifndef VMMU_SHADOW_H
#define VMMU_SHADOW_H

#include <vmmu/audit.h>
#include <vmmu/error.h>
#include <vmmu/fault.h>
#include <vmmu/track.h>
#include <vmmu/types.h>
#include <vmmu/walk.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * vmmu_shadow_set_paging() - the vCPU's paging state changed: at reset, and after MOV to CR0, CR4,
 * EFER, at task switches and mode changes. Counts as a flush of all the guest's translations.
 * Context: the vCPU's thread, outside the guest.
 * Return: VMMU_OK; VMMU_EINVAL, not a shadow VM or values out of range; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_shadow_set_paging(struct vmmu_vcpu *vcpu,
						       const struct vmmu_paging *paging);

enum vmmu_cr3_kind {
	VMMU_CR3_FLUSH, /* MOV to CR3: translations that are not global go */
	VMMU_CR3_KEEP,  /* with bit 63, CR4.PCIDE: they stay */
};

/**
 * vmmu_shadow_load_cr3() - MOV to CR3 in an unchanged mode.
 * @pdpte: PAE: the four entries that the CPU loads with it; else NULL.
 * Context, Return: as vmmu_shadow_set_paging().
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_shadow_load_cr3(struct vmmu_vcpu *vcpu, uint64_t cr3,
						     const uint64_t pdpte[4],
						     enum vmmu_cr3_kind kind);

/* INVLPG, or INVPCID of one address. No-op for addresses that are not canonical, and when the
 * guest's paging is off. Context: as above. */
void vmmu_shadow_invlpg(struct vmmu_vcpu *vcpu, vmmu_gva_t gva);

/* Everything else that makes the guest forget its translations: INVPCID of all kinds but one
 * address, CR4.PGE. Context: as above. */
void vmmu_shadow_flush(struct vmmu_vcpu *vcpu);

/**
 * vmmu_shadow_translate() - where does the CPU find a linear address, by the tables that it walks
 * now? For embedders that read the instruction which the guest has just stopped at: cheaper than a
 * walk of the guest's tables, and it is the page that the CPU has fetched from.
 * Context: as vmmu_shadow_set_paging(). Return: false, not mapped; then walk the guest's tables.
 */
bool vmmu_shadow_translate(struct vmmu_vcpu *vcpu, vmmu_gva_t gva, vmmu_hpa_t *at);

/* PKRU as the guest has it now; for software walks only, the hardware uses its own. */
void vmmu_shadow_set_pkru(struct vmmu_vcpu *vcpu, uint32_t pkru);

/* More about a shadow fault. */
struct vmmu_shadow_result {
	vmmu_gpa_t gpa;        /* where the address lies, for all outcomes but INJECT */
	uint32_t error_code;   /* INJECT: what the guest gets, with CR2 = the address */
	enum vmmu_level level; /* RESUME: size of the leaf */
	bool self_write;       /* TABLE_WRITE: the page written to translates its own address */
};

/**
 * vmmu_shadow_fault() - a page fault of a guest under shadow paging.
 * @gva, @error_code: as the hardware reported them. @flags: VMMU_WALK_USER, _AC, _IMPLICIT as
 *                    they apply to the access; write and fetch are taken from @error_code.
 * Outcomes: as vmmu_fault_handle(), and
 *   VMMU_OUTCOME_INJECT       the fault is the guest's own
 *   VMMU_OUTCOME_TABLE_WRITE  a write to a page that holds tables of the guest, or one
 *                             that only emulation can do right (CR0.WP = 0): emulate the
 *                             instruction and tell its write with vmmu_guest_written(), or
 *                             call vmmu_shadow_unprotect() and run the guest again
 *   VMMU_OUTCOME_TRACKED      result.gpa says where
 * Accessed and dirty bits that it sets in the guest's tables are told to clients that track them.
 * Context: as vmmu_fault_handle(), and no lock is held that clients' callbacks take.
 */
VMMU_MUST_CHECK enum vmmu_outcome vmmu_shadow_fault(struct vmmu_vcpu *vcpu, vmmu_gva_t gva,
						    uint32_t error_code, uint32_t flags,
						    struct vmmu_shadow_result *result);

/**
 * vmmu_explain_gva() - how does a guest-virtual address of this vCPU translate now, and why? One
 * line per level, the guest's entry beside ours, and what the guest's tables make of a read.
 * Context: the vCPU's thread, outside the guest. Return: VMMU_OK; VMMU_EINVAL, not a shadow VM.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_explain_gva(struct vmmu_vcpu *vcpu, vmmu_gva_t gva,
						 vmmu_line_fn *emit, void *context);

/**
 * vmmu_shadow_unprotect() - forget the tables that a frame holds, so that it can be written.
 * Return: true if there were any.
 */
bool vmmu_shadow_unprotect(struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn);

#ifdef __cplusplus
}
#endif

#endif
