/* SPDX-License-Identifier: MIT */
/*
 * Exits that exist only without nested paging: page faults, INVLPG, INVPCID. MOV to CR3 is in
 * exit_cr.c.
 */
#include "exits.h"

#include <vmmu/shadow.h>

#include "../guest/access.h"
#include "../guest/guest.h"
#include "../guest/mmio.h"
#include "code.h"
#include "smp.h"

#define RFLAGS_AC (UINT64_C(1) << 18)

enum { STUBBORN_MAX = 16, STUBBORN_NEAR = 8 };

/* Has this instruction made tables go again and again, and never got through? */
static bool is_stubborn(struct vcpu *vcpu)
{
	bool again = vcpu->vmcb.save.rip == vcpu->stubborn_rip &&
		     vcpu->exits - vcpu->stubborn_exits <= STUBBORN_NEAR;

	vcpu->stubborn_times = again ? vcpu->stubborn_times + 1 : 0;
	vcpu->stubborn_rip = vcpu->vmcb.save.rip;
	vcpu->stubborn_exits = vcpu->exits;
	return vcpu->stubborn_times > STUBBORN_MAX;
}

/* From here on a string instruction is filling the page, not changing entries of a table. */
enum { STRING_BYTES = 64 };

/*
 * Let the CPU do a string, unless that was tried just now and it got no further: its code or its
 * source needs the table.
 */
static bool string_unprotect(struct vcpu *vcpu, const struct vmmu_shadow_result *result)
{
	bool again = vcpu->vmcb.save.rip == vcpu->string_rip &&
		     vcpu->fault_gva == vcpu->string_gva &&
		     vcpu->exits - vcpu->string_exits <= STUBBORN_NEAR;

	vcpu->string_rip = vcpu->vmcb.save.rip;
	vcpu->string_gva = vcpu->fault_gva;
	vcpu->string_exits = vcpu->exits;
	return !again && !result->self_write &&
	       vmmu_shadow_unprotect(vcpu->guest->vm, 0, vmmu_gpa_to_gfn(result->gpa));
}

/*
 * The common writes, without the emulator: the fault has told where the operand lies. A plain MOV
 * is done here. A long string means that the page is no table any more, or a new one: its
 * copies are thrown away, and the CPU does it at full speed.
 */
static bool table_write_short(struct vcpu *vcpu, const struct vmmu_shadow_result *result)
{
	struct code_store store;
	uint8_t *at;

	if (!code_store(vcpu, &store))
		return false;
	if (store.repeated != 0)
		return store.repeated >= STRING_BYTES && string_unprotect(vcpu, result);
	/* Aligned, so it lies in one page, and is one store. */
	if (store.linear != vcpu->fault_gva || store.linear % store.bytes != 0)
		return false;
	at = guest_pointer(&vcpu->guest->memory, result->gpa.addr, GUEST_WRITE);
	if (at == NULL)
		return false;
	smp_tell_begin(vcpu);
	if (store.bytes == 8)
		__atomic_store_n((uint64_t *)(void *)at, store.value, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n((uint32_t *)(void *)at, (uint32_t)store.value, __ATOMIC_SEQ_CST);
	/* A dead VM is noticed at the next entry. */
	HV_ASSERT(vmmu_guest_written(vcpu->guest->vm, 0, result->gpa, store.bytes) != VMMU_EINVAL);
	smp_tell_end(vcpu);
	svm_skip(vcpu, store.length);
	return true;
}

/*
 * A write to a page that holds tables of the guest. What the emulator does not know, and pushes of
 * an interrupted delivery, are done by the CPU after the tables' copies were thrown away.
 */
static enum svm_next table_write(struct vcpu *vcpu, const struct vmmu_shadow_result *result)
{
	enum svm_next next = SVM_RESUME;

	vcpu->kind = EXIT_KIND_PF_WRITE;
	if (!vcpu->delivering && (table_write_short(vcpu, result) || mmio_try(vcpu, &next)))
		return next;
	if (is_stubborn(vcpu)) {
		guest_end(vcpu->guest, GUEST_CRASH,
			  "an instruction that cannot be emulated writes to the page table that "
			  "maps its own operand (0x%llx)",
			  (unsigned long long)result->gpa.addr);
		return SVM_STOP;
	}
	vmmu_shadow_unprotect(vcpu->guest->vm, 0, vmmu_gpa_to_gfn(result->gpa));
	return SVM_RESUME;
}

/* What the access is by the CPU's state; what it wants is in the error code. */
static uint32_t walk_flags(const struct vcpu *vcpu, uint32_t code)
{
	uint32_t flags = 0;

	if ((code & VMMU_PF_USER) != 0)
		flags |= VMMU_WALK_USER;
	else if (vcpu->vmcb.save.cpl == 3)
		flags |= VMMU_WALK_IMPLICIT; /* of a descriptor table, or the stack of a handler */
	if ((vcpu->vmcb.save.rflags & RFLAGS_AC) != 0)
		flags |= VMMU_WALK_AC;
	return flags;
}

enum svm_next exit_page_fault(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vcpu->vmcb.control;
	uint32_t code = (uint32_t)control->exit_info_1;
	struct vmmu_shadow_result result;
	enum vmmu_outcome outcome;

	vcpu->kind = EXIT_KIND_PF;
	vcpu->fault_gva = control->exit_info_2;
	if (__builtin_expect((vcpu->cr.cr4 & CR4_PKE) != 0, 0))
		vmmu_shadow_set_pkru(vcpu->mmu, access_pkru());
	outcome = vmmu_shadow_fault(vcpu->mmu, (vmmu_gva_t){vcpu->fault_gva}, code,
				    walk_flags(vcpu, code), &result);
	if (__builtin_expect(outcome == VMMU_OUTCOME_RESUME, 1))
		return SVM_RESUME;
	switch (outcome) {
	case VMMU_OUTCOME_RESUME:
	case VMMU_OUTCOME_SPURIOUS:
	case VMMU_OUTCOME_RETRY:
		return SVM_RESUME;
	case VMMU_OUTCOME_INJECT:
		vcpu->kind = EXIT_KIND_PF_GUEST;
		svm_inject_page_fault(vcpu, vcpu->fault_gva, result.error_code);
		return guest_has_ended(vcpu->guest) ? SVM_STOP : SVM_RESUME;
	case VMMU_OUTCOME_TABLE_WRITE:
		vcpu->fault_gpa = result.gpa.addr;
		return table_write(vcpu, &result);
	case VMMU_OUTCOME_TRACKED:
		vcpu->fault_gpa = result.gpa.addr;
		return memory_tracked(vcpu, result.gpa.addr, true);
	case VMMU_OUTCOME_MMIO:
	case VMMU_OUTCOME_READONLY:
		vcpu->fault_gpa = result.gpa.addr;
		return memory_emulate(vcpu, (control->exit_info_1 & VMMU_PF_FETCH) != 0);
	case VMMU_OUTCOME_PENDING:
	case VMMU_OUTCOME_HOST_ERROR:
	case VMMU_OUTCOME_NO_MEMORY:
	case VMMU_OUTCOME_STUCK:
	case VMMU_OUTCOME_DEAD:
	case VMMU_OUTCOME_COUNT:
		break;
	}
	vcpu->fault_gpa = result.gpa.addr;
	return memory_failed(vcpu, outcome, vmmu_gpa_to_gfn(result.gpa).n);
}

/* The instruction at RIP, and where its memory operand is. */
static bool operand_find(struct vcpu *vcpu, enum emu_op op, struct emu_insn *insn, uint64_t *linear)
{
	struct emu_cpu cpu;

	vcpu->kind = EXIT_KIND_INVLPG;
	if (code_decode(vcpu, insn) == EMU_OK && insn->op == op && insn->has_memory) {
		mmio_cpu_load(vcpu, &cpu);
		*linear = emu_operand_linear(&cpu, insn);
		return true;
	}
	guest_end(vcpu->guest, GUEST_CRASH, "the instruction that flushes cannot be decoded");
	return false;
}

enum svm_next exit_invlpg(struct vcpu *vcpu)
{
	struct emu_insn insn;
	uint64_t linear;
	unsigned length;

	vcpu->kind = EXIT_KIND_INVLPG;
	if (!code_invlpg(vcpu, &linear, &length)) {
		if (!operand_find(vcpu, EMU_OP_INVLPG, &insn, &linear))
			return SVM_STOP;
		length = insn.length;
	}
	vmmu_shadow_invlpg(vcpu->mmu, (vmmu_gva_t){linear});
	svm_skip(vcpu, length);
	return SVM_RESUME;
}

enum invpcid { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

/* AMD APM, INVPCID: what is #GP. */
static bool invpcid_is_legal(const struct vcpu *vcpu, uint64_t type, const uint64_t descriptor[2])
{
	int64_t top = (int64_t)descriptor[1] >> ((vcpu_cr4(vcpu) & CR4_LA57) != 0 ? 56 : 47);

	if (type > INVPCID_ALL || descriptor[0] >> 12 != 0)
		return false;
	if (type <= INVPCID_CONTEXT && (vcpu_cr4(vcpu) & CR4_PCIDE) == 0 && descriptor[0] != 0)
		return false;
	return type != INVPCID_ADDRESS || top == 0 || top == -1;
}

enum svm_next exit_invpcid(struct vcpu *vcpu)
{
	struct vmmu_walk_result walk;
	struct emu_insn insn;
	uint64_t descriptor[2];
	uint64_t linear, type;

	if (!operand_find(vcpu, EMU_OP_INVPCID, &insn, &linear))
		return SVM_STOP;
	type = *vcpu_reg(vcpu, insn.reg);
	if (!access_read(vcpu, linear, descriptor, sizeof(descriptor), &walk)) {
		svm_inject_page_fault(vcpu, linear, walk.error_code);
		return SVM_RESUME;
	}
	if (!invpcid_is_legal(vcpu, type, descriptor)) {
		svm_inject_code(vcpu, VECTOR_GP, 0);
		return SVM_RESUME;
	}
	if (type == INVPCID_ADDRESS && descriptor[0] == (vcpu_cr3(vcpu) & 0xfff))
		vmmu_shadow_invlpg(vcpu->mmu, (vmmu_gva_t){descriptor[1]});
	else
		vmmu_shadow_flush(vcpu->mmu);
	svm_skip(vcpu, insn.length);
	return SVM_RESUME;
}
