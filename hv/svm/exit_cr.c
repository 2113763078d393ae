/* SPDX-License-Identifier: MIT */
/*
 * Writes to control registers, with the checks that QEMU leaves out: it answers a reserved
 * bit of CR4, or of CR3, with a bogus VMEXIT_INVALID, and checks CR0 not at all. Reads where the
 * CPU holds something else than the guest has written.
 */
#include "exits.h"

#include "../emulate/decode.h"
#include "../guest/access.h"
#include "../guest/cpuid.h"
#include "../guest/guest.h"
#include "code.h"
#include "cr.h"

#define CR0_DEFINED UINT64_C(0xe005003f)
#define CR0_FIXED UINT64_C(0x10) /* ET */
#define CR0_MP_EM_TS_PE UINT64_C(0xf)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_TS UINT64_C(8)
#define CR3_KEEP (UINT64_C(1) << 63)
#define LOCAL_APIC_TPR UINT64_C(0xfee00080)

static enum svm_next refuse(struct vcpu *vcpu)
{
	svm_inject_code(vcpu, VECTOR_GP, 0);
	return SVM_RESUME;
}

static enum svm_next decode_failed(struct vcpu *vcpu, const char *what)
{
	guest_end(vcpu->guest, GUEST_CRASH, "the instruction that accesses %s cannot be emulated",
		  what);
	return SVM_STOP;
}

/* AMD APM, CR0 and mode switches: what is #GP. */
static bool cr0_is_legal(const struct vcpu *vcpu, uint64_t value)
{
	uint64_t cr4 = vcpu_cr4(vcpu);
	bool paging = (value & CR0_PG) != 0;

	if (value >> 32 != 0 || (paging && (value & CR0_PE) == 0) ||
	    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0))
		return false;
	if (paging == ((vcpu_cr0(vcpu) & CR0_PG) != 0))
		return true;
	if (paging)
		return (vcpu_efer(vcpu) & EFER_LME) == 0 ||
		       ((cr4 & CR4_PAE) != 0 &&
			(vcpu->vmcb.save.cs.attributes & SEGMENT_LONG) == 0);
	return !vcpu_is_64bit(vcpu) && (cr4 & CR4_PCIDE) == 0;
}

/* A 16-bit source that LMSW names, from a register only. */
static bool lmsw_value(struct vcpu *vcpu, const struct emu_insn *insn, uint64_t *value)
{
	uint64_t old = vcpu_cr0(vcpu);

	if (insn->has_memory)
		return false;
	/* PE can be set this way but not cleared. */
	*value = (old & ~(CR0_MP_EM_TS_PE & ~CR0_PE)) |
		 (*vcpu_reg(vcpu, insn->rm) & CR0_MP_EM_TS_PE);
	return true;
}

enum svm_next exit_cr0(struct vcpu *vcpu)
{
	struct guest_cr cr = svm_cr_get(vcpu);
	struct emu_insn insn;
	uint64_t value;

	vcpu->kind = EXIT_KIND_CR;
	if (code_decode(vcpu, &insn) != EMU_OK)
		return decode_failed(vcpu, "CR0");
	if (insn.op == EMU_OP_MOV_TO_CR)
		value = *vcpu_reg(vcpu, insn.rm);
	else if (insn.op == EMU_OP_CLTS)
		value = cr.cr0 & ~CR0_TS;
	else if (insn.op != EMU_OP_LMSW || !lmsw_value(vcpu, &insn, &value))
		return decode_failed(vcpu, "CR0");
	if (!vcpu_is_64bit(vcpu))
		value = (uint32_t)value;
	if (!cr0_is_legal(vcpu, value))
		return refuse(vcpu);
	cr.cr0 = (value & CR0_DEFINED) | CR0_FIXED;
	if (!svm_cr_set(vcpu, &cr))
		return refuse(vcpu);
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}

static bool cr4_is_legal(const struct vcpu *vcpu, uint64_t value)
{
	bool long_mode = (vcpu_efer(vcpu) & EFER_LMA) != 0;
	uint64_t changed = value ^ vcpu_cr4(vcpu);

	if ((value & ~cpuid_cr4_bits(vcpu)) != 0)
		return false;
	if (long_mode && ((value & CR4_PAE) == 0 || (changed & CR4_LA57) != 0))
		return false;
	return (changed & value & CR4_PCIDE) == 0 || (long_mode && (vcpu_cr3(vcpu) & 0xfff) == 0);
}

enum svm_next exit_cr4(struct vcpu *vcpu)
{
	struct guest_cr cr = svm_cr_get(vcpu);
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
	cr.cr4 = value;
	if (!svm_cr_set(vcpu, &cr))
		return refuse(vcpu);
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}

static bool cr3_decode(struct vcpu *vcpu, unsigned *gpr, unsigned *length)
{
	struct emu_insn insn;

	if (code_decode(vcpu, &insn) != EMU_OK || insn.op != EMU_OP_MOV_TO_CR)
		return false;
	*gpr = insn.rm;
	*length = insn.length;
	return true;
}

/* Only without nested paging. AMD APM, CR3: what is #GP. */
enum svm_next exit_cr3(struct vcpu *vcpu)
{
	enum vmmu_cr3_kind kind = VMMU_CR3_FLUSH;
	unsigned gpr, length;
	uint64_t value;

	vcpu->kind = EXIT_KIND_CR3;
	if (!code_mov_to_cr(vcpu, 3, &gpr, &length) && !cr3_decode(vcpu, &gpr, &length))
		return decode_failed(vcpu, "CR3");
	value = *vcpu_reg(vcpu, gpr);
	if (!vcpu_is_64bit(vcpu))
		value = (uint32_t)value;
	if ((vcpu_cr4(vcpu) & CR4_PCIDE) != 0 && (value & CR3_KEEP) != 0) {
		kind = VMMU_CR3_KEEP;
		value &= ~CR3_KEEP;
	}
	if (value >> cpu_facts()->physical_bits != 0 || !svm_cr3_set(vcpu, value, kind))
		return refuse(vcpu);
	svm_skip(vcpu, length);
	return SVM_RESUME;
}

/* Low bits of CR0 into a register; to memory nobody has been seen to store them. */
static bool smsw(struct vcpu *vcpu, const struct emu_insn *insn)
{
	uint64_t *to = vcpu_reg(vcpu, insn->rm);

	if (insn->has_memory)
		return false;
	if (insn->operand_bytes == 2)
		*to = (*to & ~UINT64_C(0xffff)) | (vcpu_cr0(vcpu) & 0xffff);
	else
		*to = vcpu_cr0(vcpu); /* its upper half is zero */
	return true;
}

enum svm_next exit_cr_read(struct vcpu *vcpu)
{
	struct emu_insn insn;

	vcpu->kind = EXIT_KIND_CR;
	if (code_decode(vcpu, &insn) != EMU_OK)
		return decode_failed(vcpu, "a control register");
	if (insn.op == EMU_OP_MOV_FROM_CR && insn.reg == 0)
		*vcpu_reg(vcpu, insn.rm) = vcpu_cr0(vcpu);
	else if (insn.op == EMU_OP_MOV_FROM_CR && insn.reg == 3)
		*vcpu_reg(vcpu, insn.rm) = vcpu_cr3(vcpu);
	else if (insn.op == EMU_OP_MOV_FROM_CR && insn.reg == 4)
		*vcpu_reg(vcpu, insn.rm) = vcpu_cr4(vcpu);
	else if (insn.op != EMU_OP_SMSW || !smsw(vcpu, &insn))
		return decode_failed(vcpu, "a control register");
	if (insn.reg == 3 && insn.op == EMU_OP_MOV_FROM_CR)
		vcpu->kind = EXIT_KIND_CR3;
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
