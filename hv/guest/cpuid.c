/* SPDX-License-Identifier: MIT */
/*
 * CPUID policy. A feature is taken away if it needs a register that is intercepted and not
 * emulated, state that the world switch does not keep apart, or a device that is not there.
 */
#include "cpuid.h"

#define BIT(n) (1u << (n))

#define CR4_OSXSAVE (UINT64_C(1) << 18)

enum {
	LEAF_FEATURES = 1,
	LEAF_MONITOR = 5,
	LEAF_EXTENDED_FEATURES = 7,
	LEAF_PERFORMANCE = 0xa,
	LEAF_XSAVE = 0xd,
};
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_HYPERVISOR_END 0x40010000u
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_SIZES 0x80000008u
#define LEAF_SVM 0x8000000au
#define LEAF_IBS 0x8000001bu
#define LEAF_ENCRYPTION 0x8000001fu

/* Leaf 1, ECX: MONITOR, VMX, SMX, debug store, PDCM, x2APIC, TSC deadline. */
#define FEATURES_ECX_REMOVED                                                                       \
	(BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(15) | BIT(21) | BIT(24))
#define FEATURES_ECX_OSXSAVE BIT(27)
#define FEATURES_ECX_HYPERVISOR BIT(31)

/* Leaf 7: TSC_ADJUST, SGX, PQM, PQE, processor trace. */
#define EXTENDED_EBX_REMOVED (BIT(1) | BIT(2) | BIT(12) | BIT(15) | BIT(25))
/* WAITPKG, shadow stacks, ENQCMD, supervisor keys. */
#define EXTENDED_ECX_REMOVED (BIT(5) | BIT(7) | BIT(29) | BIT(30) | BIT(31))
#define EXTENDED_ECX_OSPKE BIT(4)
/* User interrupts, branch tracking, AMX, and all that is controlled through MSRs. */
#define EXTENDED_EDX_REMOVED                                                                       \
	(BIT(5) | BIT(20) | BIT(22) | BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(28) | BIT(29) |  \
	 BIT(30) | BIT(31))

/* Leaf 0xD.1, EAX: XSAVES and its MSR. */
#define XSAVE_EAX_REMOVED BIT(3)

/* SVM, IBS, OSVW, SKINIT, LWP, node id, performance counters, MWAITX. */
#define AMD_ECX_REMOVED                                                                            \
	(BIT(2) | BIT(9) | BIT(10) | BIT(12) | BIT(15) | BIT(19) | BIT(23) | BIT(24) | BIT(27) |   \
	 BIT(28) | BIT(29))
/* Speculation control: IBPB ... SSBD. */
#define AMD_EBX_REMOVED                                                                            \
	(BIT(12) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(24) | BIT(25) | \
	 BIT(26))

static void extended_features(const struct vcpu *vcpu, uint32_t subleaf, struct cpuid_regs *out)
{
	if (subleaf != 0) {
		*out = (struct cpuid_regs){0};
		return;
	}
	out->eax = 0; /* no further subleaves */
	out->ebx &= ~EXTENDED_EBX_REMOVED;
	out->ecx &= ~(EXTENDED_ECX_REMOVED | EXTENDED_ECX_OSPKE);
	if ((vcpu_cr4(vcpu) & CR4_PKE) != 0)
		out->ecx |= EXTENDED_ECX_OSPKE;
	out->edx &= ~EXTENDED_EDX_REMOVED;
}

static void hypervisor(uint32_t leaf, struct cpuid_regs *out)
{
	*out = (struct cpuid_regs){0};
	if (leaf == LEAF_HYPERVISOR)
		*out = (struct cpuid_regs){
			.eax = LEAF_HYPERVISOR,
			.ebx = 0x756d6d76, /* "vmmu", three times */
			.ecx = 0x756d6d76,
			.edx = 0x756d6d76,
		};
}

void cpuid_answer(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
	*out = cpuid(leaf, subleaf);
	switch (leaf) {
	case LEAF_FEATURES:
		out->ecx &= ~(FEATURES_ECX_REMOVED | FEATURES_ECX_OSXSAVE);
		out->ecx |= FEATURES_ECX_HYPERVISOR;
		if ((vcpu_cr4(vcpu) & CR4_OSXSAVE) != 0)
			out->ecx |= FEATURES_ECX_OSXSAVE;
		break;
	case LEAF_EXTENDED_FEATURES:
		extended_features(vcpu, subleaf, out);
		break;
	case LEAF_MONITOR:
	case LEAF_PERFORMANCE:
	case LEAF_SVM:
	case LEAF_IBS:
	case LEAF_ENCRYPTION:
		*out = (struct cpuid_regs){0};
		break;
	case LEAF_XSAVE:
		if (subleaf == 1)
			out->eax &= ~XSAVE_EAX_REMOVED;
		break;
	case LEAF_AMD_FEATURES:
		out->ecx &= ~AMD_ECX_REMOVED;
		break;
	case LEAF_AMD_SIZES:
		out->ebx &= ~AMD_EBX_REMOVED;
		break;
	default:
		if (leaf >= LEAF_HYPERVISOR && leaf < LEAF_HYPERVISOR_END)
			hypervisor(leaf, out);
		break;
	}
}

struct cr4_feature {
	uint32_t leaf;
	enum { EBX, ECX, EDX } reg;
	uint8_t bit;
	uint8_t cr4_bit;
};

/* clang-format off */
static const struct cr4_feature cr4_features[] = {
	{1, EDX, 1, 0},	  /* VME */
	{1, EDX, 1, 1},	  /* PVI */
	{1, EDX, 4, 2},	  /* TSD */
	{1, EDX, 2, 3},	  /* DE */
	{1, EDX, 3, 4},	  /* PSE */
	{1, EDX, 6, 5},	  /* PAE */
	{1, EDX, 7, 6},	  /* MCE */
	{1, EDX, 13, 7},  /* PGE */
	{1, EDX, 5, 8},	  /* PCE: with MSRs */
	{1, EDX, 24, 9},  /* OSFXSR */
	{1, EDX, 25, 10}, /* OSXMMEXCPT */
	{7, ECX, 2, 11},  /* UMIP */
	{7, ECX, 16, 12}, /* LA57 */
	{7, EBX, 0, 16},  /* FSGSBASE */
	{1, ECX, 17, 17}, /* PCIDE */
	{1, ECX, 26, 18}, /* OSXSAVE */
	{7, EBX, 7, 20},  /* SMEP */
	{7, EBX, 20, 21}, /* SMAP */
	{7, ECX, 3, 22},  /* PKE */
};
/* clang-format on */

uint64_t cpuid_cr4_bits(const struct vcpu *vcpu)
{
	static uint64_t known; /* all CPUs come to the same result */
	uint64_t bits = 0;
	struct cpuid_regs regs[2];

	if (known != 0)
		return known;
	cpuid_answer(vcpu, 1, 0, &regs[0]);
	cpuid_answer(vcpu, 7, 0, &regs[1]);
	for (unsigned i = 0; i < sizeof(cr4_features) / sizeof(cr4_features[0]); i++) {
		const struct cr4_feature *feature = &cr4_features[i];
		const struct cpuid_regs *from = &regs[feature->leaf == 7];
		uint32_t value = feature->reg == EBX   ? from->ebx
				 : feature->reg == ECX ? from->ecx
						       : from->edx;

		if ((value & BIT(feature->bit)) != 0)
			bits |= UINT64_C(1) << feature->cr4_bit;
	}
	known = bits;
	return bits;
}
