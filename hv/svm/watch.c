/* SPDX-License-Identifier: MIT */
/*
 * What comes from outside while the guest runs: NMIs with the command's requests, SMIs of the
 * firmware, INIT; NMIs with which other CPUs ask for something (smp.c). All are intercepted and
 * stay pending until GIF is on in the host.
 */
#include "exits.h"

#include "../guest/access.h"
#include "../guest/device.h"
#include "../guest/guest.h"
#include "../platform/apic.h"
#include "../platform/platform.h"
#include "smp.h"

enum { STALL_LOOKS = 3 };

/* A number that differs when any register differs: a loop that counts is no standstill. */
static uint64_t registers_digest(const struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	uint64_t digest = save->rip;

	digest = (digest ^ save->rflags) * UINT64_C(0x9e3779b97f4a7c15);
	digest = (digest ^ save->rax) * UINT64_C(0x9e3779b97f4a7c15);
	digest = (digest ^ save->rsp) * UINT64_C(0x9e3779b97f4a7c15);
	for (unsigned i = 0; i < 16; i++)
		if (i != 0 && i != 4)
			digest = (digest ^ vcpu->regs[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return digest;
}

/* The highest vector that the local APIC has handed out and waits for the end of; 0: none. */
static unsigned vector_in_service(void)
{
	for (unsigned word = 8; word-- != 0;) {
		uint32_t bits = apic_read(APIC_IN_SERVICE + 16 * word);

		if (bits != 0)
			return 32 * word + 31 - (unsigned)__builtin_clz(bits);
	}
	return 0;
}

/*
 * QEMU's threads change a CPU's word of pending interrupts with no lock, and a virtual interrupt
 * may get lost in it. It was taken from the local APIC, which waits for its end and hands out
 * nothing more of that priority: the guest's CPU sleeps for ever. Interrupts on, nothing pending,
 * and not one end of an interrupt between two looks: it comes again.
 */
static void look_for_lost_interrupt(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vcpu->vmcb.control;
	unsigned vector = vector_in_service();
	bool waits = (control->event & EVENT_VALID) != 0 ||
		     (control->virtual_interrupt & V_IRQ_PENDING) != 0;

	if (vector != 0 && vector == vcpu->watch_vector && vcpu->eois == vcpu->watch_eois &&
	    !waits && (vcpu->vmcb.save.rflags & RFLAGS_IF) != 0) {
		svm_halt_end(vcpu);
		svm_interrupt_requeue(vcpu, vector);
	}
	vcpu->watch_vector = vector;
	vcpu->watch_eois = vcpu->eois;
}

/* Interrupts off, all registers the same, and no exit but the looks themselves. */
void watch_registers(struct vcpu *vcpu)
{
	uint64_t digest = registers_digest(vcpu);
	bool same = digest == vcpu->watch_digest && vcpu->exits == vcpu->watch_exits + 1;
	uint32_t looks = same ? vcpu->watch_same + 1 : 1;

	if ((vcpu->vmcb.save.rflags & RFLAGS_IF) != 0)
		looks = 0;
	if (vcpu->many) {
		look_for_lost_interrupt(vcpu);
		/* See exit_soft_interrupt(). */
		vcpu->vmcb.control.intercept_3 |= INTERCEPT_SOFT_INTERRUPT;
	}
	vcpu->watch_digest = digest;
	vcpu->watch_exits = vcpu->exits;
	__atomic_store_n(&vcpu->watch_same, looks, __ATOMIC_RELAXED);
}

/* The others are asked to look; what they saw counts from the next time on. */
static bool all_stand_still(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;
	bool still = vcpu->state != VCPU_RUNS || vcpu->watch_same >= STALL_LOOKS;

	for (unsigned i = 0; i < guest->cpu_count; i++) {
		struct vcpu *other = guest->vcpus[i];

		if (other == vcpu)
			continue;
		if (__atomic_load_n(&other->resting, __ATOMIC_SEQ_CST) != 0)
			continue;
		still &= __atomic_load_n(&other->watch_same, __ATOMIC_RELAXED) >= STALL_LOOKS;
		smp_request(other, SMP_LOOK);
	}
	return still;
}

static enum svm_next watch_look(struct vcpu *vcpu)
{
	watch_registers(vcpu);
	/* An interrupt that the machine lost while a CPU was on its way into a HLT is found again.
	 */
	smp_look_again(vcpu->guest);
	if (!all_stand_still(vcpu)) {
		report_line("alive rip 0x%llx, %llu exits", (unsigned long long)vcpu->vmcb.save.rip,
			    (unsigned long long)vcpu->exits);
		return SVM_RESUME;
	}
	guest_end(vcpu->guest, GUEST_STALL,
		  "with interrupts off no register of the guest has changed over %u looks",
		  (unsigned)STALL_LOOKS);
	return SVM_STOP;
}

static enum svm_next watch_letter(struct vcpu *vcpu, int letter)
{
	switch (letter) {
	case 'w':
		return watch_look(vcpu);
	case 't':
		guest_end(vcpu->guest, GUEST_TIMEOUT, "the time given to the guest is over");
		return SVM_STOP;
	case 'd':
		guest_end(vcpu->guest, GUEST_DONE, NULL);
		return SVM_STOP;
	default:
		return SVM_RESUME;
	}
}

enum svm_next watch_poll(struct vcpu *vcpu)
{
	enum svm_next next = SVM_RESUME;
	int letter;

	while (next == SVM_RESUME && (letter = control_getc()) >= 0) {
		vcpu->chores &= ~(uint32_t)CHORE_POLL;
		next = watch_letter(vcpu, letter);
	}
	return next;
}

/* What an NMI was for that the host has taken. */
enum svm_next watch_nmi(struct vcpu *vcpu)
{
	bool kicked = __atomic_exchange_n(&vcpu->kicked, 0, __ATOMIC_SEQ_CST) != 0;

	if (vcpu->index == 0) {
		vcpu->chores |= kicked ? 0 : CHORE_POLL;
		if (watch_poll(vcpu) == SVM_STOP)
			return SVM_STOP;
	}
	/* Without a letter: the guest's own, if it has set up any; or the letter is late. */
	if (!kicked && ((vcpu->chores & CHORE_POLL) != 0 || vcpu->index != 0) &&
	    device_has_nmi_source(vcpu)) {
		vcpu->chores &= ~(uint32_t)CHORE_POLL;
		svm_nmi_queue(vcpu);
		svm_halt_end(vcpu);
	}
	return SVM_RESUME;
}

enum svm_next exit_nmi(struct vcpu *vcpu)
{
	vcpu->kind = EXIT_KIND_NMI;
	svm_gif_window();
	nmi_take();
	/* It has ended a HLT that is not over for the guest. */
	if (vcpu->halting)
		vcpu->vmcb.save.rip = vcpu->halt_rip;
	return watch_nmi(vcpu);
}

/*
 * QEMU 7.2 reads code before it watches the page for writes. A guest that replaces an INT3 by
 * another instruction, as Linux does when it changes its own code, may so leave a CPU with the INT3
 * for ever: its handler finds none and returns to it, without an exit. The first one after each
 * look of the watchdog comes here, for QEMU not as an exception but as a software interrupt; its
 * code is read anew, and it runs again, unseen.
 */
enum svm_next exit_soft_interrupt(struct vcpu *vcpu)
{
	vcpu->vmcb.control.intercept_3 &= ~INTERCEPT_SOFT_INTERRUPT;
	code_touch(vcpu);
	return SVM_RESUME;
}

enum svm_next exit_smi(struct vcpu *vcpu)
{
	(void)vcpu;
	svm_gif_window();
	return SVM_RESUME;
}

enum svm_next exit_init(struct vcpu *vcpu)
{
	guest_end(vcpu->guest, GUEST_RESET, "the guest's CPU was sent an INIT");
	return SVM_STOP;
}
