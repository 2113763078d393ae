/* SPDX-License-Identifier: MIT */
/*
 * The way of an exit: account for the last one, leave the library's guest mode, put back what
 * was interrupted, handle, enter again. Hot: what is not needed at every exit is behind a
 * test that is false.
 */
#include "exits.h"

#include "../guest/guest.h"
#include "../guest/port.h"
#include "../guest/stress.h"
#include "../migrate/migrate.h"
#include "../resident/resident.h"
#include "smp.h"

static enum svm_next exit_shutdown(struct vcpu *vcpu)
{
	guest_end(vcpu->guest, GUEST_CRASH, "the guest met a triple fault (shutdown)");
	return SVM_STOP;
}

static enum svm_next exit_unexpected(struct vcpu *vcpu)
{
	if ((uint32_t)vcpu->vmcb.control.exit_code == SVM_EXIT_INVALID) {
		if (exit_invalid_is_cr3(vcpu))
			return SVM_RESUME;
		guest_end(vcpu->guest, GUEST_CRASH,
			  "the CPU refused the guest's state (VMEXIT_INVALID)");
		return SVM_STOP;
	}
	guest_end(vcpu->guest, GUEST_CRASH, "unexpected exit 0x%llx from the guest",
		  (unsigned long long)vcpu->vmcb.control.exit_code);
	return SVM_STOP;
}

/* A task's state holds a CR3 of its own, which would be loaded behind our back. */
static enum svm_next exit_task_switch(struct vcpu *vcpu)
{
	guest_end(vcpu->guest, GUEST_CRASH,
		  "the guest switches tasks by hardware, which shadow paging does not support");
	return SVM_STOP;
}

enum { EXIT_TABLE_FIRST = 0x60, EXIT_TABLE_COUNT = 0x43 };

static exit_fn *const exit_table[EXIT_TABLE_COUNT] = {
	[SVM_EXIT_INTR - EXIT_TABLE_FIRST] = exit_interrupt,
	[SVM_EXIT_NMI - EXIT_TABLE_FIRST] = exit_nmi,
	[SVM_EXIT_SMI - EXIT_TABLE_FIRST] = exit_smi,
	[SVM_EXIT_INIT - EXIT_TABLE_FIRST] = exit_init,
	[SVM_EXIT_CR0_SELECTIVE - EXIT_TABLE_FIRST] = exit_cr0,
	[SVM_EXIT_CPUID - EXIT_TABLE_FIRST] = exit_cpuid,
	[SVM_EXIT_IRET - EXIT_TABLE_FIRST] = exit_iret,
	[SVM_EXIT_SOFT_INTERRUPT - EXIT_TABLE_FIRST] = exit_soft_interrupt,
	[SVM_EXIT_INVD - EXIT_TABLE_FIRST] = exit_invd,
	[SVM_EXIT_HLT - EXIT_TABLE_FIRST] = exit_halt,
	[SVM_EXIT_INVLPG - EXIT_TABLE_FIRST] = exit_invlpg,
	[SVM_EXIT_INVLPGA - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_IOIO - EXIT_TABLE_FIRST] = exit_port,
	[SVM_EXIT_MSR - EXIT_TABLE_FIRST] = exit_msr,
	[SVM_EXIT_TASK_SWITCH - EXIT_TABLE_FIRST] = exit_task_switch,
	[SVM_EXIT_SHUTDOWN - EXIT_TABLE_FIRST] = exit_shutdown,
	[SVM_EXIT_VMRUN - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_VMMCALL - EXIT_TABLE_FIRST] = exit_hypercall,
	[SVM_EXIT_VMLOAD - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_VMSAVE - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_STGI - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_CLGI - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_SKINIT - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_MONITOR - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_MWAIT - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_MWAIT_ARMED - EXIT_TABLE_FIRST] = exit_undefined,
	[SVM_EXIT_XSETBV - EXIT_TABLE_FIRST] = exit_xsetbv,
	[SVM_EXIT_INVPCID - EXIT_TABLE_FIRST] = exit_invpcid,
};

static exit_fn *const cr_table[] = {
	[SVM_EXIT_CR0_READ] = exit_cr_read, [SVM_EXIT_CR3_READ] = exit_cr_read,
	[SVM_EXIT_CR4_READ] = exit_cr_read, [SVM_EXIT_CR0_WRITE] = exit_cr0,
	[SVM_EXIT_CR3_WRITE] = exit_cr3,    [SVM_EXIT_CR4_WRITE] = exit_cr4,
	[SVM_EXIT_CR8_WRITE] = exit_cr8,
};

static enum svm_next exit_dispatch(struct vcpu *vcpu)
{
	uint32_t code = (uint32_t)vcpu->vmcb.control.exit_code;
	exit_fn *handler = NULL;

	if (code == SVM_EXIT_NPF)
		return exit_npf(vcpu);
	if (code == SVM_EXIT_PAGE_FAULT)
		return exit_page_fault(vcpu);
	if (code - EXIT_TABLE_FIRST < EXIT_TABLE_COUNT)
		handler = exit_table[code - EXIT_TABLE_FIRST];
	else if (code < sizeof(cr_table) / sizeof(cr_table[0]))
		handler = cr_table[code];
	return handler != NULL ? handler(vcpu) : exit_unexpected(vcpu);
}

/* What options want at every exit. */
static void exit_work(struct vcpu *vcpu)
{
	const struct guest *guest = vcpu->guest;

	if (guest->options.stress)
		stress_step(vcpu);
	if (guest->memory.backing != NULL)
		resident_step(vcpu);
	if (guest->migration != NULL)
		migrate_step(vcpu);
	switch (guest->options.audit) {
	case AUDIT_OFF:
		break;
	case AUDIT_EXIT:
		port_audit(vcpu);
		break;
	case AUDIT_SAMPLE:
		port_audit_step(vcpu);
		break;
	case AUDIT_EVERY:
		if (--vcpu->audit_countdown == 0) {
			vcpu->audit_countdown = guest->options.audit_every;
			port_audit(vcpu);
		}
		break;
	}
}

/* The last call before VMRUN: what the library wants loaded. */
static inline enum svm_next enter(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	struct vmmu_entry entry;
	enum vmmu_error error;

	error = vmmu_vcpu_enter(vcpu->mmu, &entry);
	if (__builtin_expect(error != VMMU_OK, 0)) {
		guest_end(vcpu->guest, GUEST_CRASH, "the guest cannot be entered: %s",
			  vmmu_error_text(error));
		return SVM_STOP;
	}
	*vcpu->root = entry.root.addr;
	control->tlb_control = TLB_CONTROL_NONE;
	if (entry.flush || vcpu->flush) {
		control->tlb_control = vcpu->flush_command;
		vcpu->flush = false;
	}
	return SVM_RESUME;
}

enum svm_next svm_enter(struct vcpu *vcpu)
{
	if ((vcpu->chores & CHORE_NMI) != 0)
		svm_nmi_deliver(vcpu);
	return enter(vcpu);
}

static __attribute__((noinline)) enum svm_next chores_do(struct vcpu *vcpu, enum svm_next next)
{
	if ((vcpu->chores & CHORE_POLL) != 0 && next == SVM_RESUME)
		next = watch_poll(vcpu);
	if (next == SVM_STOP)
		return SVM_STOP;
	if ((vcpu->chores & CHORE_OPTIONS) != 0)
		exit_work(vcpu);
	return (vcpu->chores & CHORE_CPUS) != 0 ? smp_enter(vcpu) : svm_enter(vcpu);
}

int svm_exit(struct vcpu *vcpu)
{
	enum svm_next next;

	/* The cost of an exit is known when the next one happens. */
	cost_add(&vcpu->cost[vcpu->kind], vcpu->tsc_run - vcpu->tsc_last);
	vcpu->tsc_last = vcpu->tsc_exit;
	vcpu->exits++;
	if (__builtin_expect(vcpu->many, 0))
		smp_leave(vcpu);
	vmmu_vcpu_leave(vcpu->mmu);
	vcpu->delivering = (vcpu->vmcb.control.exit_event & EVENT_VALID) != 0;
	if (__builtin_expect(vcpu->delivering, 0))
		svm_event_requeue(vcpu);
	vcpu->kind = EXIT_KIND_OTHER;
	next = exit_dispatch(vcpu);
	if (__builtin_expect(vcpu->chores != 0, 0))
		return (int)chores_do(vcpu, next);
	return (int)(next == SVM_STOP ? SVM_STOP : enter(vcpu));
}

void svm_vcpu_run(struct vcpu *vcpu)
{
	enum svm_next next;

	vcpu->audit_countdown = vcpu->guest->options.audit_every;
	vcpu->tsc_entry = rdtsc();
	vcpu->kind = EXIT_KIND_COUNT;
	if (vcpu->many)
		smp_busy_begin(vcpu);
	next = vcpu->many ? smp_enter(vcpu) : svm_enter(vcpu);
	if (next == SVM_RESUME)
		svm_run(vcpu);
	vcpu->tsc_end = rdtsc();
	if (vcpu->exits != 0)
		cost_add(&vcpu->cost[vcpu->kind], vcpu->tsc_end - vcpu->tsc_exit);
	if (vcpu->many)
		smp_stop(vcpu);
}
