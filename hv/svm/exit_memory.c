/* SPDX-License-Identifier: MIT */
/* Nested page faults: to the library, and what it hands back to the instruction emulator. */
#include "exits.h"

#include "../devices/vgtt.h"
#include "../guest/guest.h"
#include "../guest/mmio.h"

/*
 * A device page, or no page at all. Only data accesses can be emulated: code or the guest's
 * page tables in a place without memory end the run, with one exception: a fetch reads all
 * ones there, and that is no instruction. Out of line: resolved faults pass by here.
 */
__attribute__((noinline)) enum svm_next memory_emulate(struct vcpu *vcpu, bool is_fetch)
{
	vcpu->kind = EXIT_KIND_MMIO;
	if (vcpu->delivering) {
		guest_end(vcpu->guest, GUEST_CRASH,
			  "an exception could not be delivered: its stack or table is no memory");
		return SVM_STOP;
	}
	if (is_fetch) {
		svm_inject(vcpu, VECTOR_UD);
		return SVM_RESUME;
	}
	return mmio_emulate(vcpu);
}

/*
 * A write that a tracking client wants to know of. What only the CPU can do, it does after the
 * client has agreed to be told no more for a while.
 */
__attribute__((noinline)) enum svm_next memory_tracked(struct vcpu *vcpu, uint64_t gpa,
						       bool by_instruction)
{
	enum svm_next next;

	vcpu->kind = EXIT_KIND_TRACKED;
	if (by_instruction && !vcpu->delivering && mmio_try(vcpu, &next))
		return next;
	if (vgtt_let_write(vcpu->guest->vgtt, gpa))
		return SVM_RESUME;
	guest_end(vcpu->guest, GUEST_CRASH,
		  "an instruction that cannot be emulated writes to a tracked page (0x%llx)",
		  (unsigned long long)gpa);
	return SVM_STOP;
}

static __attribute__((noinline)) enum svm_next
access_emulate(struct vcpu *vcpu, struct vmmu_fault fault, enum vmmu_outcome outcome)
{
	if ((fault.flags & VMMU_FAULT_TABLE) != 0) {
		guest_end(vcpu->guest, GUEST_CRASH,
			  outcome == VMMU_OUTCOME_READONLY
				  ? "the CPU cannot mark the guest's page tables accessed: "
				    "they lie in ROM (0x%llx)"
				  : "the guest's page tables lie where there is no memory (0x%llx)",
			  (unsigned long long)fault.gpa.addr);
		return SVM_STOP;
	}
	return memory_emulate(vcpu, (fault.access & VMMU_ACCESS_EXEC) != 0);
}

__attribute__((noinline)) enum svm_next memory_failed(struct vcpu *vcpu, enum vmmu_outcome outcome,
						      uint64_t gfn)
{
	const char *death = vmmu_vm_death(vcpu->guest->vm);

	if (outcome == VMMU_OUTCOME_HOST_ERROR || outcome == VMMU_OUTCOME_NO_MEMORY)
		guest_end(vcpu->guest, GUEST_CRASH,
			  "the machine's memory is used up at guest frame 0x%llx; give it more",
			  (unsigned long long)gfn);
	else
		guest_end(vcpu->guest, GUEST_CRASH, "page fault at frame 0x%llx: %s (%s)",
			  (unsigned long long)gfn, vmmu_outcome_name(outcome),
			  death != NULL ? death : "no progress is possible");
	return SVM_STOP;
}

enum svm_next exit_npf(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vcpu->vmcb.control;
	struct vmmu_fault fault = vmmu_fault_from_npf(control->exit_info_1, control->exit_info_2);
	struct vmmu_fault_result result;
	enum vmmu_outcome outcome;

	vcpu->kind = EXIT_KIND_NPF;
	vcpu->fault_gpa = control->exit_info_2;
	outcome = vmmu_fault_handle(vcpu->mmu, &fault, &result);
	if (__builtin_expect(outcome == VMMU_OUTCOME_RESUME, 1))
		return SVM_RESUME;
	switch (outcome) {
	case VMMU_OUTCOME_RESUME:
	case VMMU_OUTCOME_SPURIOUS:
	case VMMU_OUTCOME_RETRY:
		return SVM_RESUME;
	case VMMU_OUTCOME_MMIO:
	case VMMU_OUTCOME_READONLY:
		return access_emulate(vcpu, fault, outcome);
	case VMMU_OUTCOME_TRACKED:
		return memory_tracked(vcpu, fault.gpa.addr, (fault.flags & VMMU_FAULT_TABLE) == 0);
	case VMMU_OUTCOME_PENDING:
	case VMMU_OUTCOME_HOST_ERROR:
	case VMMU_OUTCOME_NO_MEMORY:
	case VMMU_OUTCOME_STUCK:
	case VMMU_OUTCOME_INJECT:
	case VMMU_OUTCOME_TABLE_WRITE:
	case VMMU_OUTCOME_DEAD:
	case VMMU_OUTCOME_COUNT:
		break;
	}
	return memory_failed(vcpu, outcome, result.gfn.n);
}
