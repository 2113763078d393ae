/* SPDX-License-Identifier: MIT */
/*
 * Writes to control registers, with the checks that QEMU leaves out: it answers a reserved
 * bit of CR4, or of CR3, with a bogus VMEXIT_INVALID, and checks CR0 not at all.
 */
#include "exits.h"

#include "../emulate/decode.h"
#include "../guest/access.h"
#include "../guest/cpuid.h"
#include "../guest/guest.h"

#define CR0_DEFINED UINT64_C(0xe005003f)
#define CR0_FIXED UINT64_C(0x10) /* ET */
#define CR0_MP_EM_TS_PE UINT64_C(0xf)
#define CR0_NW (UINT64_C(1) << 29)
#define CR4_PCIDE (UINT64_C(1) << 17)
#define CR4_PAGING (UINT64_C(0x1000b0) | CR4_PCIDE | CR4_LA57) /* PSE PAE PGE SMEP ... */
#define LOCAL_APIC_TPR UINT64_C(0xfee00080)

static enum svm_next refuse(struct vcpu *vcpu)
{
	svm_inject_code(vcpu, VECTOR_GP, 0);
	return SVM_RESUME;
}

static enum svm_next decode_failed(struct vcpu *vcpu, const char *what)
{
	guest_end(vcpu->guest, GUEST_CRASH, "the instruction that writes %s cannot be decoded",
		  what);
	return SVM_STOP;
}

/* AMD APM, CR0 and mode switches: what is #GP. */
static bool cr0_is_legal(const struct vcpu *vcpu, uint64_t value)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	bool paging = (value & CR0_PG) != 0;

	if (value >> 32 != 0 || (paging && (value & CR0_PE) == 0) ||
	    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0))
		return false;
	if (paging == ((save->cr0 & CR0_PG) != 0))
		return true;
	if (paging)
		return (save->efer & EFER_LME) == 0 ||
		       ((save->cr4 & CR4_PAE) != 0 && (save->cs.attributes & SEGMENT_LONG) == 0);
	return !vcpu_is_64bit(vcpu) && (save->cr4 & CR4_PCIDE) == 0;
}

static void cr0_set(struct vcpu *vcpu, uint64_t value)
{
	struct vmcb_save *save = &vcpu->vmcb.save;

	value = (value & CR0_DEFINED) | CR0_FIXED;
	if (((value ^ save->cr0) & (CR0_PG | CR0_WP | CR0_PE)) != 0)
		vcpu->flush = true;
	save->cr0 = value;
	save->efer &= ~EFER_LMA;
	if ((value & CR0_PG) != 0 && (save->efer & EFER_LME) != 0)
		save->efer |= EFER_LMA;
}

/* A 16-bit source that LMSW names, from a register only. */
static bool lmsw_value(struct vcpu *vcpu, const struct emu_insn *insn, uint64_t *value)
{
	uint64_t old = vcpu->vmcb.save.cr0;

	if (insn->has_memory)
		return false;
	/* PE can be set this way but not cleared. */
	*value = (old & ~(CR0_MP_EM_TS_PE & ~CR0_PE)) |
		 (*vcpu_reg(vcpu, insn->rm) & CR0_MP_EM_TS_PE);
	return true;
}

enum svm_next exit_cr0(struct vcpu *vcpu)
{
	struct emu_insn insn;
	uint64_t value;

	vcpu->kind = EXIT_KIND_CR;
	if (code_decode(vcpu, &insn) != EMU_OK)
		return decode_failed(vcpu, "CR0");
	if (insn.op == EMU_OP_MOV_TO_CR)
		value = *vcpu_reg(vcpu, insn.rm);
	else if (insn.op != EMU_OP_LMSW || !lmsw_value(vcpu, &insn, &value))
		return decode_failed(vcpu, "CR0");
	if (!vcpu_is_64bit(vcpu))
		value = (uint32_t)value;
	if (!cr0_is_legal(vcpu, value))
		return refuse(vcpu);
	cr0_set(vcpu, value);
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}

static bool cr4_is_legal(const struct vcpu *vcpu, uint64_t value)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	bool long_mode = (save->efer & EFER_LMA) != 0;
	uint64_t changed = value ^ save->cr4;

	if ((value & ~cpuid_cr4_bits(vcpu)) != 0)
		return false;
	if (long_mode && ((value & CR4_PAE) == 0 || (changed & CR4_LA57) != 0))
		return false;
	return (changed & value & CR4_PCIDE) == 0 || (long_mode && (save->cr3 & 0xfff) == 0);
}

enum svm_next exit_cr4(struct vcpu *vcpu)
{
	struct emu_insn insn;
	uint64_t value;

	vcpu->kind = EXIT_KIND_CR;
	if (code_decode(vcpu, &insn) != EMU_OK || insn.op != EMU_OP_MOV_TO_CR)
		return decode_failed(vcpu, "CR4");
	value = *vcpu_reg(vcpu, insn.rm);
	if (!vcpu_is_64bit(vcpu))
		value = (uint32_t)value;
	if (!cr4_is_legal(vcpu, value))
		return refuse(vcpu);
	if (((value ^ vcpu->vmcb.save.cr4) & CR4_PAGING) != 0)
		vcpu->flush = true;
	vcpu->vmcb.save.cr4 = value;
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}

/* Written to the local APIC itself: CR8 in QEMU does not go well with virtual interrupts. */
enum svm_next exit_cr8(struct vcpu *vcpu)
{
	struct emu_insn insn;
	uint64_t value;

	vcpu->kind = EXIT_KIND_CR;
	if (code_decode(vcpu, &insn) != EMU_OK || insn.op != EMU_OP_MOV_TO_CR)
		return decode_failed(vcpu, "CR8");
	value = *vcpu_reg(vcpu, insn.rm);
	if (value > 15)
		return refuse(vcpu);
	*(volatile uint32_t *)LOCAL_APIC_TPR = (uint32_t)value << 4;
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}

bool exit_invalid_is_cr3(struct vcpu *vcpu)
{
	struct emu_insn insn;

	if (code_decode(vcpu, &insn) != EMU_OK || insn.op != EMU_OP_MOV_TO_CR || insn.reg != 3)
		return false;
	if (*vcpu_reg(vcpu, insn.rm) >> cpu_facts()->physical_bits == 0)
		return false;
	vcpu->kind = EXIT_KIND_CR;
	svm_inject_code(vcpu, VECTOR_GP, 0);
	return true;
}
