/* SPDX-License-Identifier: MIT */
/* Exits of single instructions: CPUID, MSRs, HLT, ports, and those that the guest lacks. */
#include "exits.h"

#include "../emulate/decode.h"
#include "../guest/access.h"
#include "../guest/cpuid.h"
#include "../guest/guest.h"
#include "../guest/msr.h"
#include "../guest/ports.h"
#include "smp.h"

/* Opcodes, low byte first; below 0x100 of one byte. */
enum {
	OPCODE_CPUID = 0xa20f,
	OPCODE_RDMSR = 0x320f,
	OPCODE_WRMSR = 0x300f,
	OPCODE_INVD = 0x080f,
	OPCODE_XSETBV = 0x010f, /* and D1: three bytes, always decoded */
	OPCODE_HLT = 0xf4,
};

/* The slow way: prefixes, a page boundary, or code that was not seen before. */
static unsigned insn_bytes_decode(struct vcpu *vcpu, uint16_t opcode)
{
	bool one_byte = opcode < 0x100;
	struct emu_insn insn;

	if (code_decode(vcpu, &insn) == EMU_OK &&
	    (one_byte ? insn.map == EMU_MAP_ONE && insn.opcode == opcode
		      : insn.map == EMU_MAP_0F && insn.opcode == opcode >> 8))
		return insn.length;
	guest_end(vcpu->guest, GUEST_CRASH,
		  "the intercepted instruction (opcode %x) is not what is at RIP", opcode);
	return 0;
}

/*
 * Length of the intercepted instruction @opcode that the guest is at, prefixes included.
 * 0: something else is there, and the guest has been ended.
 *
 * The remembered page may be out of date, but if it shows the very opcode that the CPU has
 * just met there, nothing else can be meant. It is used for flat code segments only, where
 * RIP is the linear address in all modes.
 */
static inline unsigned insn_bytes(struct vcpu *vcpu, uint16_t opcode)
{
	const struct code_page *code = &vcpu->code;
	const struct vmcb_save *save = &vcpu->vmcb.save;
	uint64_t offset = save->rip % FRAME_BYTES;
	uint16_t found;

	if (vcpu->vmcb.control.next_rip != 0)
		return (unsigned)(vcpu->vmcb.control.next_rip - save->rip);
	if (code->linear == save->rip - offset && code->cr3 == vcpu_cr3(vcpu) &&
	    save->cs.base == 0 && offset < FRAME_BYTES - 1) {
		memcpy(&found, code->host + offset, sizeof(found));
		if (opcode < 0x100 && (uint8_t)found == opcode)
			return 1;
		if (found == opcode)
			return 2;
	}
	return insn_bytes_decode(vcpu, opcode);
}

/* Past the instruction; SVM_STOP if it is not there. */
static inline enum svm_next insn_done(struct vcpu *vcpu, uint16_t opcode)
{
	unsigned bytes = insn_bytes(vcpu, opcode);

	if (bytes == 0)
		return SVM_STOP;
	svm_skip(vcpu, bytes);
	return SVM_RESUME;
}

enum svm_next exit_cpuid(struct vcpu *vcpu)
{
	struct cpuid_regs regs;

	vcpu->kind = EXIT_KIND_CPUID;
	cpuid_answer(vcpu, (uint32_t)vcpu->vmcb.save.rax, (uint32_t)vcpu->regs[1], &regs);
	vcpu->vmcb.save.rax = regs.eax;
	vcpu->regs[3] = regs.ebx;
	vcpu->regs[1] = regs.ecx;
	vcpu->regs[2] = regs.edx;
	return insn_done(vcpu, OPCODE_CPUID);
}

enum svm_next exit_msr(struct vcpu *vcpu)
{
	uint32_t msr = (uint32_t)vcpu->regs[1];
	uint64_t value;

	if ((vcpu->vmcb.control.exit_info_1 & 1) != 0) {
		vcpu->kind = EXIT_KIND_WRMSR;
		if (msr_guest_write(vcpu, msr, vcpu_get_pair(vcpu)))
			return insn_done(vcpu, OPCODE_WRMSR);
	} else {
		vcpu->kind = EXIT_KIND_RDMSR;
		if (msr_guest_read(vcpu, msr, &value)) {
			vcpu_set_pair(vcpu, value);
			return insn_done(vcpu, OPCODE_RDMSR);
		}
	}
	svm_inject_code(vcpu, VECTOR_GP, 0);
	return SVM_RESUME;
}

/*
 * HLT with interrupts off ends the run, unless another CPU can end the HLT. Otherwise the guest
 * executes its HLT itself, with physical interrupts intercepted: the one that ends the halt exits
 * without being taken from the PIC, and is delivered when the guest runs on. An interrupt that was
 * waiting already (STI; HLT) exits before the HLT is executed, and counts as having ended it:
 * nothing is lost although QEMU forgets the interrupt shadow.
 */
enum svm_next exit_halt(struct vcpu *vcpu)
{
	unsigned bytes = insn_bytes(vcpu, OPCODE_HLT);

	vcpu->kind = EXIT_KIND_HLT;
	if (bytes == 0)
		return SVM_STOP;
	if ((vcpu->vmcb.save.rflags & RFLAGS_IF) == 0 && (vcpu->chores & CHORE_NMI) == 0) {
		if (vcpu->many) {
			smp_halt(vcpu, bytes);
			return SVM_RESUME;
		}
		guest_end(vcpu->guest, GUEST_HALT, "the guest halted with interrupts off");
		return SVM_STOP;
	}
	if ((vcpu->vmcb.save.rflags & RFLAGS_TF) != 0 || (vcpu->chores & CHORE_NMI) != 0 ||
	    (vcpu->vmcb.control.virtual_interrupt & V_IRQ_PENDING) != 0) {
		svm_skip(vcpu, bytes);
		return SVM_RESUME;
	}
	vcpu->halting = true;
	vcpu->halt_rip = vcpu->vmcb.save.rip;
	vcpu->halt_bytes = (uint8_t)bytes;
	vcpu->vmcb.control.interrupt_shadow &= ~INTERRUPT_SHADOW;
	vcpu->vmcb.control.intercept_3 &= ~INTERCEPT_HLT;
	vcpu->vmcb.control.intercept_3 |= INTERCEPT_INTR;
	return SVM_RESUME;
}

enum svm_next exit_interrupt(struct vcpu *vcpu)
{
	vcpu->kind = EXIT_KIND_WAKE;
	svm_halt_end(vcpu);
	return SVM_RESUME;
}

void svm_halt_end(struct vcpu *vcpu)
{
	if (!vcpu->halting)
		return;
	vcpu->halting = false;
	vcpu->vmcb.control.intercept_3 &= ~INTERCEPT_INTR;
	vcpu->vmcb.control.intercept_3 |= INTERCEPT_HLT;
	if (vcpu->vmcb.save.rip == vcpu->halt_rip)
		svm_skip(vcpu, vcpu->halt_bytes);
}

enum svm_next exit_invd(struct vcpu *vcpu)
{
	/* Never INVD itself: the cache holds the hypervisor's data, too. */
	__asm__ volatile("wbinvd" : : : "memory");
	return insn_done(vcpu, OPCODE_INVD);
}

/* AMD APM, XSETBV: which values of XCR0 are legal. */
static bool xcr0_is_legal(uint64_t value)
{
	struct cpuid_regs regs = cpuid(0xd, 0);
	uint64_t supported = (uint64_t)regs.edx << 32 | regs.eax;
	uint64_t avx512 = value & 0xe0;

	if ((value & 1) == 0 || (value & ~supported) != 0)
		return false;
	if ((value & 6) == 4 || (avx512 != 0 && (avx512 != 0xe0 || (value & 4) == 0)))
		return false;
	return (value & 0x18) == 0 || (value & 0x18) == 0x18;
}

enum svm_next exit_xsetbv(struct vcpu *vcpu)
{
	uint64_t value = vcpu_get_pair(vcpu);
	unsigned bytes;

	vcpu->kind = EXIT_KIND_XSETBV;
	if (vcpu->vmcb.save.cpl != 0 || (uint32_t)vcpu->regs[1] != 0 || !xcr0_is_legal(value)) {
		svm_inject_code(vcpu, VECTOR_GP, 0);
		return SVM_RESUME;
	}
	__asm__ volatile("xsetbv" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(0));
	bytes = insn_bytes_decode(vcpu, OPCODE_XSETBV);
	svm_skip(vcpu, bytes);
	return bytes != 0 ? SVM_RESUME : SVM_STOP;
}

/* The guest's NMI handler is about to return. */
enum svm_next exit_iret(struct vcpu *vcpu)
{
	vcpu->nmi_blocked = false;
	vcpu->vmcb.control.intercept_3 &= ~INTERCEPT_IRET;
	return SVM_RESUME;
}

/* What KVM answers to a number that it does not know; guests that look for us find no signature. */
enum { HYPERCALL_UNKNOWN = -1000 };

enum svm_next exit_hypercall(struct vcpu *vcpu)
{
	const struct emu_insn *known = code_known(vcpu);
	struct emu_insn insn;

	if (known == NULL && code_decode(vcpu, &insn) == EMU_OK)
		known = &insn;
	if (known == NULL || known->op != EMU_OP_VMMCALL) {
		guest_end(vcpu->guest, GUEST_CRASH, "the hypercall is not what is at RIP");
		return SVM_STOP;
	}
	vcpu->vmcb.save.rax =
		vcpu_is_64bit(vcpu) ? (uint64_t)HYPERCALL_UNKNOWN : (uint32_t)HYPERCALL_UNKNOWN;
	svm_skip(vcpu, known->length);
	return SVM_RESUME;
}

/* SVM instructions, MONITOR and MWAIT: the guest's CPUID has none of them. */
enum svm_next exit_undefined(struct vcpu *vcpu)
{
	svm_inject(vcpu, VECTOR_UD);
	return SVM_RESUME;
}

enum svm_next exit_port(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vcpu->vmcb.control;
	uint32_t info = (uint32_t)control->exit_info_1;
	struct port_access access = {
		.port = (uint16_t)(info >> 16),
		.bytes = (uint8_t)((info >> 4) & 7),
		.is_string = (info & 4) != 0,
		.is_read = (info & 1) != 0,
	};

	vcpu->kind = EXIT_KIND_IO;
	if (!ports_access(vcpu, &access))
		return SVM_STOP;
	svm_skip(vcpu, (unsigned)(control->exit_info_2 - vcpu->vmcb.save.rip));
	return SVM_RESUME;
}
