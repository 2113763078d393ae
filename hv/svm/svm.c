/* SPDX-License-Identifier: MIT */
/*
 * SVM set-up. The host runs with GIF=0 and IF=0 from svm_enable() on: interrupts wait until
 * VMRUN and are then the guest's (INTR is not intercepted), NMIs and SMIs wait until VMRUN,
 * are intercepted there, and are let through to the host in svm_gif_window().
 */
#include "svm.h"

#include "../guest/guest.h"
#include "../platform/apic.h"
#include "../resident/pack.h"
#include "permissions.h"

enum { GUEST_ASID = 1 };

#define RFLAGS_FIXED UINT64_C(2)
#define DR6_RESET UINT64_C(0xffff0ff0)
#define DR7_RESET UINT64_C(0x400)
#define PAT_RESET UINT64_C(0x0007040600070406)

/*
 * The host uses neither FPU nor SSE, so the guest's registers stay in the CPU and only the
 * emulator's 16-byte moves touch them: those need OSFXSR, and XSETBV needs OSXSAVE.
 */
static void fpu_enable(void)
{
	uint64_t cr4 = cr4_read() | UINT64_C(0x600);

	if (cpu_facts()->has_xsave)
		cr4 |= UINT64_C(1) << 18;
	cr4_write(cr4);
	cr0_write((cr0_read() | 2) & ~UINT64_C(0xc)); /* MP; neither EM nor TS */
	__asm__ volatile("fninit");
}

void svm_enable(void)
{
	void *save_area = frame_alloc();

	if (save_area == NULL)
		hv_panic("no memory for the SVM host save area");
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, (uintptr_t)save_area);
	fpu_enable();
	__asm__ volatile("clgi" : : : "memory");
}

void svm_gif_window(void)
{
	/* The CPU takes what waits before the instruction after STGI at the latest. */
	__asm__ volatile("stgi; nop; nop; clgi" : : : "memory");
}

static void intercepts_set(struct vmcb_control *control)
{
	control->intercept_cr = INTERCEPT_CR_WRITE(4) | INTERCEPT_CR_WRITE(8);
	control->intercept_3 = INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT |
			       INTERCEPT_CR0_SELECTIVE | INTERCEPT_CPUID | INTERCEPT_INVD |
			       INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR |
			       INTERCEPT_SHUTDOWN;
	control->intercept_4 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD |
			       INTERCEPT_VMSAVE | INTERCEPT_STGI | INTERCEPT_CLGI |
			       INTERCEPT_SKINIT | INTERCEPT_MONITOR | INTERCEPT_MWAIT |
			       INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV;
	control->iopm = permissions_ports();
	control->msrpm = permissions_msrs();
}

/* What else is needed when the guest's tables are not what the CPU walks. */
static void intercepts_set_shadow(struct vmcb_control *control)
{
	control->intercept_cr |=
		INTERCEPT_CR_WRITE(0) | INTERCEPT_CR_READ(3) | INTERCEPT_CR_WRITE(3);
	control->intercept_exceptions |= 1u << VECTOR_PF;
	control->intercept_3 &= ~INTERCEPT_CR0_SELECTIVE;
	control->intercept_3 |= INTERCEPT_INVLPG | INTERCEPT_TASK_SWITCH;
	if (cpu_facts()->has_invpcid)
		control->intercept_5 |= INTERCEPT_INVPCID;
}

static void mtrr_copy(struct vcpu *vcpu)
{
	static const uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		rdmsr_safe(fixed[i], &vcpu->mtrr_fixed[i]);
	for (unsigned i = 0; i < 16; i++)
		rdmsr_safe(0x200 + i, &vcpu->mtrr_variable[i]);
	rdmsr_safe(0x2ff, &vcpu->mtrr_default);
}

struct vcpu *svm_vcpu_create(struct guest *guest, uint32_t index)
{
	uint32_t frames = (sizeof(struct vcpu) + FRAME_BYTES - 1) / FRAME_BYTES;
	struct vcpu *vcpu = frames_alloc_contiguous(frames);
	struct vmcb *host = frame_alloc();

	if (vcpu == NULL || host == NULL)
		hv_panic("no memory for a vCPU");
	vcpu->host_vmcb = (uintptr_t)host;
	vcpu->guest = guest;
	vcpu->index = index;
	vcpu->many = guest->cpu_count > 1;
	vcpu->chores = (vcpu->many ? CHORE_CPUS : 0) | (guest->exit_work ? CHORE_OPTIONS : 0);
	vcpu->flush_command = (cpu_facts()->svm_features & SVM_FEATURE_FLUSH_BY_ASID) != 0
				      ? TLB_CONTROL_FLUSH_ASID
				      : TLB_CONTROL_FLUSH_ALL;
	vcpu->apic_id = cpus_apic_id(index);
	vcpu->code.linear = UINT64_MAX;
	vcpu->lint1 = 0x10000; /* masked, as after reset */
	vcpu->shadow = guest->options.shadow;
	vcpu->root = vcpu->shadow ? &vcpu->vmcb.save.cr3 : &vcpu->vmcb.control.nested_cr3;
	intercepts_set(&vcpu->vmcb.control);
	if (vcpu->shadow)
		intercepts_set_shadow(&vcpu->vmcb.control);
	mtrr_copy(vcpu);
	vcpu->vmcb.control.asid = GUEST_ASID;
	vcpu->vmcb.control.nested_control = vcpu->shadow ? 0 : NESTED_PAGING;
	vcpu->vmcb.save.efer = EFER_SVME;
	vcpu->vmcb.save.rflags = RFLAGS_FIXED;
	vcpu->vmcb.save.dr6 = DR6_RESET;
	vcpu->vmcb.save.dr7 = DR7_RESET;
	vcpu->vmcb.save.pat = PAT_RESET;
	return vcpu;
}

void svm_vcpu_attach(struct vcpu *vcpu)
{
	pack_attach();
	/* What VMLOAD restores after each exit never changes: saved once. */
	__asm__ volatile("vmsave" : : "a"(vcpu->host_vmcb) : "memory");
	this_cpu()->hv = vcpu;
	vcpu->apic_logical_id = apic_read(APIC_LOGICAL_ID);
	vcpu->apic_logical_format = apic_read(APIC_LOGICAL_FORMAT);
}
