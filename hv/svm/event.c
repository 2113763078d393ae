/* SPDX-License-Identifier: MIT */
/* Events: exceptions and NMIs into the guest, and interrupted deliveries done again. */
#include "svm.h"

#define DR6_SINGLE_STEP (UINT64_C(1) << 14)

/* Exceptions of which two in a row make a double fault (page faults count as first, too). */
static bool is_contributory(unsigned vector)
{
	return vector == 0 || (vector >= 10 && vector <= 14);
}

static void event_set(struct vcpu *vcpu, unsigned vector, uint64_t extra)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	uint64_t old = control->event;

	if ((old & EVENT_VALID) != 0 && EVENT_TYPE(old) == EVENT_EXCEPTION &&
	    is_contributory(EVENT_VECTOR(old)) && is_contributory(vector)) {
		vector = VECTOR_DF;
		extra = EVENT_HAS_CODE;
	}
	control->event = EVENT_VALID | EVENT_EXCEPTION << 8 | extra | vector;
}

void svm_inject(struct vcpu *vcpu, enum vector vector)
{
	event_set(vcpu, vector, 0);
}

void svm_inject_code(struct vcpu *vcpu, enum vector vector, uint32_t code)
{
	event_set(vcpu, vector, (uint64_t)code << 32 | EVENT_HAS_CODE);
}

void svm_inject_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t code)
{
	vcpu->vmcb.save.cr2 = address;
	svm_inject_code(vcpu, VECTOR_PF, code);
}

void svm_nmi_queue(struct vcpu *vcpu)
{
	vcpu->nmi_waiting = 1; /* further ones merge, as in the CPU */
}

void svm_nmi_deliver(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb.control;

	if (vcpu->nmi_blocked || (control->event & EVENT_VALID) != 0)
		return;
	control->event = EVENT_VALID | EVENT_NMI << 8 | 2;
	control->intercept_3 |= INTERCEPT_IRET;
	vcpu->nmi_blocked = true;
	vcpu->nmi_waiting = 0;
}

/*
 * An external interrupt was taken from the PIC or local APIC already and must not be lost.
 * It goes back as a virtual interrupt, which QEMU delivers exactly once; an injected event of
 * that type it may deliver twice. Should one be pending already, both ways are needed.
 */
static void interrupt_requeue(struct vmcb_control *control, unsigned vector)
{
	uint64_t word = V_IRQ_PENDING | V_IGNORE_TPR | (uint64_t)vector << V_VECTOR_SHIFT;

	if ((control->virtual_interrupt & V_IRQ_PENDING) != 0 &&
	    control->virtual_interrupt >> V_VECTOR_SHIFT != vector)
		control->event = EVENT_VALID | EVENT_INTR << 8 | vector;
	else
		control->virtual_interrupt = word;
}

void svm_event_requeue(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	uint64_t event = control->exit_event;

	switch (EVENT_TYPE(event)) {
	case EVENT_INTR:
		interrupt_requeue(control, EVENT_VECTOR(event));
		break;
	case EVENT_SOFT:
		break; /* RIP is at the instruction, which will do it again */
	case EVENT_EXCEPTION:
		if (EVENT_VECTOR(event) == 3 || EVENT_VECTOR(event) == 4)
			break; /* INT3, INTO: the same */
		control->event = event;
		break;
	default:
		control->event = event;
		break;
	}
	control->exit_event = 0;
}

void svm_single_step(struct vcpu *vcpu)
{
	vcpu->vmcb.save.dr6 |= DR6_SINGLE_STEP;
	svm_inject(vcpu, VECTOR_DB);
}
