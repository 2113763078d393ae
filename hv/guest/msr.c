/* SPDX-License-Identifier: MIT */
/*
 * MSR policy: some registers are the vCPU's own (kept in the VMCB or in struct vcpu), some
 * show the real value and swallow writes, some read as zero. Everything else, the SVM
 * registers among it, is #GP and counted. What needs no exit at all is in svm/permissions.c.
 */
#include "msr.h"

#include "../platform/platform.h"
#include "../svm/cr.h"
#include "guest.h"

#define EFER_DEFINED (UINT64_C(0x0801) | EFER_LME | EFER_LMA) /* SCE, NXE */
#define APIC_BASE_ENABLE (UINT64_C(1) << 11)
#define APIC_BASE_BSP (UINT64_C(1) << 8)
#define APIC_BASE_ADDRESS UINT64_C(0x000ffffffffff000)
#define APIC_BASE_FIXED UINT64_C(0xfee00000)

enum msr_number {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_MTRR_CAP = 0xfe,
	MSR_MTRR_VARIABLE = 0x200,
	MSR_MTRR_VARIABLE_LAST = 0x20f,
	MSR_MTRR_DEFAULT = 0x2ff,
};

/* Shown as they are or as zero; writes are swallowed. */
enum show { SHOW_REAL, SHOW_ZERO };

/* clang-format off */
static const struct {
	uint32_t first, last;
	enum show show;
} shown[] = {
	{0x0000008b, 0x0000008b, SHOW_REAL}, /* microcode level */
	{0x000000fe, 0x000000fe, SHOW_REAL}, /* MTRR capabilities */
	{0x00000179, 0x00000179, SHOW_REAL}, /* machine checks: how many banks */
	{0x0000017a, 0x0000017b, SHOW_ZERO},
	{0x000001a0, 0x000001a0, SHOW_REAL}, /* MISC_ENABLE */
	{0x000001d9, 0x000001d9, SHOW_ZERO}, /* DEBUGCTL and last branches */
	{0x000001db, 0x000001de, SHOW_ZERO},
	{0x00000400, 0x0000047f, SHOW_ZERO}, /* machine check banks */
	{0xc0000408, 0xc000040f, SHOW_ZERO},
	{0xc0010000, 0xc0010007, SHOW_ZERO}, /* performance counters */
	{0xc0010010, 0xc0010010, SHOW_REAL}, /* SYSCFG */
	{0xc0010015, 0xc0010015, SHOW_REAL}, /* HWCR */
	{0xc001001a, 0xc001001a, SHOW_REAL}, /* top of memory */
	{0xc001001d, 0xc001001d, SHOW_REAL},
	{0xc001001f, 0xc001001f, SHOW_REAL}, /* northbridge */
	{0xc0010055, 0xc0010055, SHOW_ZERO}, /* interrupt pending messages */
	{0xc0011020, 0xc0011022, SHOW_REAL}, /* load-store and cache configuration */
	{0xc0011029, 0xc0011029, SHOW_REAL}, /* decode configuration */
};
/* clang-format on */

/* Index in @shown, or -1. */
static int shown_find(uint32_t msr)
{
	for (unsigned i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		if (msr >= shown[i].first && msr <= shown[i].last)
			return (int)i;
	}
	return -1;
}

/* --- memory types: the vCPU's own copies, without effect under nested paging --- */

static uint64_t *mtrr_find(struct vcpu *vcpu, uint32_t msr)
{
	static const uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
					 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

	if (msr >= MSR_MTRR_VARIABLE && msr <= MSR_MTRR_VARIABLE_LAST)
		return &vcpu->mtrr_variable[msr - MSR_MTRR_VARIABLE];
	if (msr == MSR_MTRR_DEFAULT)
		return &vcpu->mtrr_default;
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (msr == fixed[i])
			return &vcpu->mtrr_fixed[i];
	}
	return NULL;
}

/* Eight types, none of the reserved ones (2, 3, and above 7). */
static bool pat_is_legal(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t type = value >> 8 * i & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

/* --- registers with rules --- */

static bool efer_write(struct vcpu *vcpu, uint64_t value)
{
	struct guest_cr cr = svm_cr_get(vcpu);

	/* SVME is not among the defined bits: the guest has no SVM. */
	if ((value & ~EFER_DEFINED) != 0)
		return false;
	if ((cr.cr0 & CR0_PG) != 0 && ((value ^ cr.efer) & EFER_LME) != 0)
		return false;
	cr.efer = value;
	return svm_cr_set(vcpu, &cr);
}

/* May be switched off and on, not moved; x2APIC mode does not exist. */
static bool apic_base_write(const struct vcpu *vcpu, uint64_t value)
{
	uint64_t allowed = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | APIC_BASE_BSP;

	if ((value & ~allowed) != 0 || (value & APIC_BASE_ADDRESS) != APIC_BASE_FIXED)
		return false;
	/* Other CPUs send NMIs there: it stays on. */
	return vcpu->many || wrmsr_safe(MSR_APIC_BASE, value);
}

bool msr_guest_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	const uint64_t *mtrr;
	int index;

	switch (msr) {
	case MSR_EFER:
		*value = vcpu_efer(vcpu);
		return true;
	case MSR_PAT:
		*value = vcpu->vmcb.save.pat;
		return true;
	case MSR_TSC: /* QEMU knows it only as RDTSC */
		*value = rdtsc() + vcpu->vmcb.control.tsc_offset;
		return true;
	case MSR_APIC_BASE:
		return rdmsr_safe(msr, value);
	default:
		break;
	}
	mtrr = mtrr_find(vcpu, msr);
	if (mtrr != NULL) {
		*value = *mtrr;
		return true;
	}
	index = shown_find(msr);
	*value = 0;
	if (index >= 0 && (shown[index].show == SHOW_ZERO || rdmsr_safe(msr, value)))
		return true;
	vcpu->counts.msr_reads_unknown++;
	return false;
}

bool msr_guest_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	uint64_t *mtrr;

	switch (msr) {
	case MSR_EFER:
		return efer_write(vcpu, value);
	case MSR_TSC:
		vcpu->vmcb.control.tsc_offset = value - rdtsc();
		return true;
	case MSR_APIC_BASE:
		return apic_base_write(vcpu, value);
	case MSR_PAT:
		if (!pat_is_legal(value))
			return false;
		vcpu->vmcb.save.pat = value;
		return true;
	case MSR_MTRR_CAP:
		return false;
	default:
		break;
	}
	mtrr = mtrr_find(vcpu, msr);
	if (mtrr != NULL) {
		*mtrr = value;
		return true;
	}
	if (shown_find(msr) >= 0)
		return true;
	vcpu->counts.msr_writes_unknown++;
	return false;
}
