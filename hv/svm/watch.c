/* SPDX-License-Identifier: MIT */
/*
 * What comes from outside while the guest runs: NMIs with the command's requests, SMIs of the
 * firmware, INIT. All are intercepted and stay pending until GIF is on in the host.
 */
#include "exits.h"

#include "../guest/device.h"
#include "../guest/guest.h"
#include "../platform/platform.h"

enum { STALL_LOOKS = 3 };

/* Interrupts off, the same RIP, and no exit but the looks themselves. */
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

static enum svm_next watch_look(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	uint64_t digest = registers_digest(vcpu);
	bool same = digest == vcpu->watch_digest && vcpu->exits == vcpu->watch_exits + 1 &&
		    (save->rflags & RFLAGS_IF) == 0;

	vcpu->watch_same = same ? vcpu->watch_same + 1 : 1;
	vcpu->watch_digest = digest;
	vcpu->watch_exits = vcpu->exits;
	if (vcpu->watch_same < STALL_LOOKS || (save->rflags & RFLAGS_IF) != 0) {
		report_line("alive rip 0x%llx, %llu exits", (unsigned long long)save->rip,
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
		vcpu->poll_control = false;
		next = watch_letter(vcpu, letter);
	}
	return next;
}

enum svm_next exit_nmi(struct vcpu *vcpu)
{
	vcpu->kind = EXIT_KIND_NMI;
	svm_gif_window();
	nmi_take();
	/* It may have woken the guest from a HLT; if not, the HLT is still to be done. */
	if (vcpu->halting && vcpu->vmcb.save.rip != vcpu->halt_rip)
		svm_halt_end(vcpu);
	vcpu->poll_control = true;
	if (watch_poll(vcpu) == SVM_STOP)
		return SVM_STOP;
	/* Without a letter: the guest's own, if it has set up any; or the letter is late. */
	if (vcpu->poll_control && device_has_nmi_source(vcpu)) {
		vcpu->poll_control = false;
		svm_nmi_queue(vcpu);
	}
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
