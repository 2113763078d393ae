/* SPDX-License-Identifier: MIT */
/* CPUID, read once and turned into named facts. */
#include "internal.h"

static struct cpu_facts facts;

static bool bit(uint32_t word, uint32_t index)
{
	return (word >> index & 1) != 0;
}

static void read_names(void)
{
	struct cpuid_regs regs = cpuid(0, 0);

	memcpy(facts.vendor, &regs.ebx, 4);
	memcpy(facts.vendor + 4, &regs.edx, 4);
	memcpy(facts.vendor + 8, &regs.ecx, 4);
	facts.max_leaf = regs.eax;
	facts.max_extended_leaf = cpuid(0x80000000u, 0).eax;
	if (facts.max_extended_leaf < 0x80000004u)
		return;
	for (uint32_t i = 0; i < 3; i++) {
		regs = cpuid(0x80000002u + i, 0);
		memcpy(facts.brand + 16 * i, &regs, 16);
	}
}

static void read_family(uint32_t signature)
{
	facts.stepping = signature & 15;
	facts.model = signature >> 4 & 15;
	facts.family = signature >> 8 & 15;
	if (facts.family == 15 || facts.family == 6)
		facts.model |= (signature >> 16 & 15) << 4;
	if (facts.family == 15)
		facts.family += signature >> 20 & 255;
}

static void read_standard(void)
{
	struct cpuid_regs regs = cpuid(1, 0);

	read_family(regs.eax);
	facts.has_pcid = bit(regs.ecx, 17);
	facts.has_x2apic = bit(regs.ecx, 21);
	facts.has_xsave = bit(regs.ecx, 26);
	if (facts.max_leaf < 7)
		return;
	regs = cpuid(7, 0);
	facts.has_smep = bit(regs.ebx, 7);
	facts.has_invpcid = bit(regs.ebx, 10);
	facts.has_smap = bit(regs.ebx, 20);
	facts.has_umip = bit(regs.ecx, 2);
	facts.has_pku = bit(regs.ecx, 3);
	facts.has_la57 = bit(regs.ecx, 16);
}

/* Leaf 80000001 exists: the entry code has checked it. */
static void read_extended(void)
{
	struct cpuid_regs regs = cpuid(0x80000001u, 0);

	facts.has_svm = bit(regs.ecx, 2);
	facts.has_nx = bit(regs.edx, 20);
	facts.has_1g_pages = bit(regs.edx, 26);
	facts.has_rdtscp = bit(regs.edx, 27);
	facts.physical_bits = 36;
	facts.linear_bits = 48;
	if (facts.max_extended_leaf >= 0x80000008u) {
		regs = cpuid(0x80000008u, 0);
		facts.physical_bits = regs.eax & 255;
		facts.linear_bits = regs.eax >> 8 & 255;
	}
	if (facts.has_svm && facts.max_extended_leaf >= 0x8000000au) {
		regs = cpuid(0x8000000au, 0);
		facts.svm_revision = regs.eax & 255;
		facts.svm_asids = regs.ebx;
		facts.svm_features = regs.edx;
	}
}

void facts_init(void)
{
	read_names();
	read_standard();
	read_extended();
}

const struct cpu_facts *cpu_facts(void)
{
	return &facts;
}
