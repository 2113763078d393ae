/* SPDX-License-Identifier: MIT */
/*
 * What the guest wants of CR0, CR3, CR4 and EFER, and what the CPU gets.
 *
 * With nested paging the CPU gets what the guest wants. Without, it always walks the library's
 * tables: in long mode if the guest is in long mode, else in PAE mode, even in real mode, which SVM
 * alone lets a CPU have together with paging. So PG, WP, PAE and NXE are on whatever the guest
 * says, LME is off until the guest is in long mode, and what a guest without paging does not feel
 * (SMEP, SMAP, keys) is off as long as it has none.
 */
#include "cr.h"

#include "../guest/access.h"
#include "../guest/guest.h"
#include "svm.h"

#define CR0_PAGING (CR0_PG | CR0_WP | CR0_PE)
#define CR4_RIGHTS (CR4_SMEP | CR4_SMAP | CR4_PKE)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_LA57 | CR4_RIGHTS)
#define CR4_FLUSHES (CR4_PGE | CR4_PCIDE)
#define EFER_PAGING (EFER_NXE | EFER_LMA)

#define PDPTE_PRESENT UINT64_C(1)
#define PDPTE_RESERVED UINT64_C(0x1e6)

struct guest_cr svm_cr_get(const struct vcpu *vcpu)
{
	struct guest_cr cr = vcpu->cr;

	cr.cr0 = vcpu_cr0(vcpu);
	cr.cr3 = vcpu_cr3(vcpu);
	cr.cr4 = vcpu_cr4(vcpu);
	cr.efer = vcpu_efer(vcpu);
	return cr;
}

static void read_intercept(struct vcpu *vcpu, unsigned number, bool on)
{
	uint32_t *word = &vcpu->vmcb.control.intercept_cr;

	*word = (*word & ~INTERCEPT_CR_READ(number)) | (on ? INTERCEPT_CR_READ(number) : 0);
}

/* Shadow paging: the CPU's registers from the guest's. CR3 is written at each entry. */
static void hardware_load(struct vcpu *vcpu)
{
	const struct guest_cr *cr = &vcpu->cr;
	struct vmcb_save *save = &vcpu->vmcb.save;

	save->cr0 = cr->cr0 | CR0_PG | CR0_WP;
	save->cr4 = cr->cr4 & ~CR4_PCIDE;
	save->efer = (cr->efer & ~EFER_LME) | EFER_SVME | EFER_NXE;
	if ((cr->efer & EFER_LMA) != 0)
		save->efer |= EFER_LME;
	else
		save->cr4 |= CR4_PAE;
	if ((cr->cr0 & CR0_PG) == 0)
		save->cr4 &= ~CR4_RIGHTS;
	read_intercept(vcpu, 0, save->cr0 != cr->cr0);
	read_intercept(vcpu, 4, save->cr4 != cr->cr4);
}

static bool pdptes_are_legal(const uint64_t pdpte[4])
{
	uint64_t reserved = PDPTE_RESERVED | UINT64_MAX << cpu_facts()->physical_bits;

	for (unsigned i = 0; i < 4; i++) {
		if ((pdpte[i] & PDPTE_PRESENT) != 0 && (pdpte[i] & reserved) != 0)
			return false;
	}
	return true;
}

/* A dead VM is noticed at the next entry. */
static void told(enum vmmu_error error)
{
	HV_ASSERT(error != VMMU_EINVAL);
}

static bool set_shadow(struct vcpu *vcpu, const struct guest_cr *to, bool paging, bool flush)
{
	struct guest_cr old = vcpu->cr;
	struct vmmu_paging state;

	vcpu->cr = *to;
	if (paging || flush) {
		access_paging(vcpu, &state);
		if (state.mode == VMMU_PAGING_PAE) {
			access_pdptes(vcpu, to->cr3, vcpu->cr.pdpte);
			memcpy(state.pdpte, vcpu->cr.pdpte, sizeof(state.pdpte));
			paging = true;
		}
		if (state.mode == VMMU_PAGING_PAE && !pdptes_are_legal(state.pdpte)) {
			vcpu->cr = old;
			return false;
		}
	}
	hardware_load(vcpu);
	if (paging)
		told(vmmu_shadow_set_paging(vcpu->mmu, &state));
	else if (flush)
		vmmu_shadow_flush(vcpu->mmu);
	return true;
}

bool svm_cr_set(struct vcpu *vcpu, const struct guest_cr *to)
{
	struct guest_cr old = svm_cr_get(vcpu);
	struct guest_cr cr = *to;
	bool paging, flush;

	cr.efer &= ~EFER_LMA;
	if ((cr.cr0 & CR0_PG) != 0 && (cr.efer & EFER_LME) != 0)
		cr.efer |= EFER_LMA;
	paging = ((cr.cr0 ^ old.cr0) & CR0_PAGING) != 0 || ((cr.cr4 ^ old.cr4) & CR4_PAGING) != 0 ||
		 ((cr.efer ^ old.efer) & EFER_PAGING) != 0;
	flush = ((cr.cr4 ^ old.cr4) & CR4_FLUSHES) != 0;
	if (vcpu->shadow)
		return set_shadow(vcpu, &cr, paging, flush);
	vcpu->vmcb.save.cr0 = cr.cr0;
	vcpu->vmcb.save.cr3 = cr.cr3;
	vcpu->vmcb.save.cr4 = cr.cr4;
	vcpu->vmcb.save.efer = cr.efer | EFER_SVME;
	vcpu->flush |= paging || flush;
	return true;
}

bool svm_cr3_set(struct vcpu *vcpu, uint64_t value, enum vmmu_cr3_kind kind)
{
	bool paging = (vcpu->cr.cr0 & CR0_PG) != 0;
	bool pae = paging && (vcpu->cr.efer & EFER_LMA) == 0 && (vcpu->cr.cr4 & CR4_PAE) != 0;
	uint64_t pdpte[4];

	if (pae) {
		access_pdptes(vcpu, value, pdpte);
		if (!pdptes_are_legal(pdpte))
			return false;
		memcpy(vcpu->cr.pdpte, pdpte, sizeof(pdpte));
	}
	vcpu->cr.cr3 = value;
	/* Without paging the library learns CR3 when paging begins. */
	if (paging)
		told(vmmu_shadow_load_cr3(vcpu->mmu, value, pae ? pdpte : NULL, kind));
	return true;
}
