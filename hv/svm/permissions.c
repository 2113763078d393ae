/* SPDX-License-Identifier: MIT */
/*
 * The I/O and MSR permission maps (AMD APM, Secure Virtual Machine: IOIO and MSR intercepts).
 * A set bit intercepts. Ports are the guest's except for a few; MSRs are ours except for a
 * few. What happens at an intercepted one is in guest/ports.c and guest/msr.c.
 */
#include "permissions.h"

#include "../guest/ports.h"
#include "../platform/platform.h"

enum {
	IOPM_FRAMES = 3,
	MSRPM_FRAMES = 2,
	MSR_BITS = 2, /* read, then write */
	MSR_RANGE = 0x2000,
};

static uint8_t *port_map;
static uint8_t *msr_map;

static void port_intercept(unsigned first, unsigned count)
{
	for (unsigned port = first; port < first + count; port++)
		port_map[port / 8] |= (uint8_t)(1u << port % 8);
}

uint64_t permissions_ports(void)
{
	if (port_map == NULL) {
		port_map = frames_alloc_contiguous(IOPM_FRAMES);
		if (port_map == NULL)
			hv_panic("no memory for the I/O permission map");
		ports_for_each(port_intercept);
	}
	return (uintptr_t)port_map;
}

/* clang-format off */
/* Registers that the world switch keeps apart by itself, or that are harmless to share. */
static const struct {
	uint32_t msr;
	bool read, write;
} msrs_passed[] = {
	{0x0000001b, true, false}, /* APIC base */
	{0x00000174, true, true},  /* SYSENTER_CS, _ESP, _EIP */
	{0x00000175, true, true},
	{0x00000176, true, true},
	{0xc0000081, true, true}, /* STAR, LSTAR, CSTAR, SFMASK */
	{0xc0000082, true, true},
	{0xc0000083, true, true},
	{0xc0000084, true, true},
	{0xc0000100, true, true}, /* FS, GS, kernel GS base */
	{0xc0000101, true, true},
	{0xc0000102, true, true},
	{0xc0000103, true, true}, /* TSC_AUX: the hypervisor has no use for it */
};
/* clang-format on */

/* Position of an MSR's read bit; the write bit follows. */
static unsigned msr_bit(uint32_t msr)
{
	unsigned range = 0;

	if (msr >= 0xc0010000)
		range = 2;
	else if (msr >= 0xc0000000)
		range = 1;
	HV_ASSERT((msr & 0xffff) < MSR_RANGE);
	return (range * MSR_RANGE + (msr & (MSR_RANGE - 1))) * MSR_BITS;
}

static void bit_clear(uint8_t *map, unsigned bit)
{
	map[bit / 8] = (uint8_t)(map[bit / 8] & ~(1u << bit % 8));
}

uint64_t permissions_msrs(void)
{
	if (msr_map != NULL)
		return (uintptr_t)msr_map;
	msr_map = frames_alloc_contiguous(MSRPM_FRAMES);
	if (msr_map == NULL)
		hv_panic("no memory for the MSR permission map");
	memset(msr_map, 0xff, MSRPM_FRAMES * FRAME_BYTES);
	for (unsigned i = 0; i < sizeof(msrs_passed) / sizeof(msrs_passed[0]); i++) {
		unsigned bit = msr_bit(msrs_passed[i].msr);

		if (msrs_passed[i].read)
			bit_clear(msr_map, bit);
		if (msrs_passed[i].write)
			bit_clear(msr_map, bit + 1);
	}
	return (uintptr_t)msr_map;
}
