/* SPDX-License-Identifier: MIT */
/* Events: exceptions and NMIs into the guest, and interrupted deliveries done again. */
#include "svm.h"

#include "../guest/guest.h"

enum { EXCEPTION_COUNT = 32 };

#define DR6_SINGLE_STEP (UINT64_C(1) << 14)

static bool is_contributory(unsigned vector)
{
	return vector == 0 || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* What @second becomes if it comes while @first is delivered (AMD APM, #DF). */
static unsigned combine(unsigned first, unsigned second)
{
	bool contributory = is_contributory(second);

	if (first == VECTOR_DF && (contributory || second == VECTOR_PF))
		return VECTOR_NONE;
	if ((is_contributory(first) && contributory) ||
	    (first == VECTOR_PF && (contributory || second == VECTOR_PF)))
		return VECTOR_DF;
	return second;
}

static void event_set(struct vcpu *vcpu, unsigned vector, uint64_t extra)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	uint64_t old = control->event;

	if ((old & EVENT_VALID) != 0 && EVENT_TYPE(old) == EVENT_EXCEPTION) {
		unsigned both = combine(EVENT_VECTOR(old), vector);

		if (both == VECTOR_NONE) {
			guest_end(vcpu->guest, GUEST_CRASH,
				  "the guest met a triple fault (shutdown)");
			return;
		}
		if (both != vector)
			extra = EVENT_HAS_CODE;
		vector = both;
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
	vcpu->chores |= CHORE_NMI; /* further ones merge, as in the CPU */
}

void svm_nmi_deliver(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb.control;

	if (vcpu->nmi_blocked || (control->event & EVENT_VALID) != 0)
		return;
	control->event = EVENT_VALID | EVENT_NMI << 8 | VECTOR_NMI;
	control->intercept_3 |= INTERCEPT_IRET;
	vcpu->nmi_blocked = true;
	vcpu->chores &= ~(uint32_t)CHORE_NMI;
}

/*
 * An external interrupt was taken from the PIC or local APIC already and must not be lost.
 * It goes back as a virtual interrupt, which QEMU delivers exactly once; an injected event of
 * that type it may deliver twice. Should one be pending already, both ways are needed.
 */
void svm_interrupt_requeue(struct vcpu *vcpu, unsigned vector)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	uint64_t word = V_IRQ_PENDING | V_IGNORE_TPR | (uint64_t)vector << V_VECTOR_SHIFT;

	if ((control->virtual_interrupt & V_IRQ_PENDING) != 0 &&
	    control->virtual_interrupt >> V_VECTOR_SHIFT != vector)
		control->event = EVENT_VALID | EVENT_INTR << 8 | vector;
	else
		control->virtual_interrupt = word;
}

/* The type of an interrupted event: QEMU calls interrupts and NMIs exceptions, too. */
static unsigned event_type(uint64_t event)
{
	unsigned type = EVENT_TYPE(event);

	if (type != EVENT_EXCEPTION)
		return type;
	if (EVENT_VECTOR(event) >= EXCEPTION_COUNT)
		return EVENT_INTR;
	return EVENT_VECTOR(event) == VECTOR_NMI ? EVENT_NMI : EVENT_EXCEPTION;
}

void svm_event_requeue(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb.control;
	uint64_t event = control->exit_event;

	control->exit_event = 0;
	switch (event_type(event)) {
	case EVENT_INTR:
		svm_interrupt_requeue(vcpu, EVENT_VECTOR(event));
		break;
	case EVENT_NMI:
		control->event = EVENT_VALID | EVENT_NMI << 8 | VECTOR_NMI;
		break;
	case EVENT_EXCEPTION:
		if (EVENT_VECTOR(event) != VECTOR_BP && EVENT_VECTOR(event) != VECTOR_OF)
			control->event = event;
		break;
	default:
		/* INT n, and above INT3 and INTO: RIP is at the instruction, which comes again. */
		break;
	}
}

void svm_single_step(struct vcpu *vcpu)
{
	vcpu->vmcb.save.dr6 |= DR6_SINGLE_STEP;
	svm_inject(vcpu, VECTOR_DB);
}
