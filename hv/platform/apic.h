/* SPDX-License-Identifier: MIT */
/* The running CPU's local APIC: registers, and the commands that it sends to others. */
#ifndef HV_APIC_H
#define HV_APIC_H

#include <stdint.h>

#define LOCAL_APIC UINT64_C(0xfee00000)

enum local_apic {
	APIC_ID = 0x20,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_LOGICAL_ID = 0xd0,
	APIC_LOGICAL_FORMAT = 0xe0,
	APIC_SPURIOUS = 0xf0,
	APIC_IN_SERVICE = 0x100,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_COUNT = 0x380,
	APIC_TIMER_DIVIDE = 0x3e0,
};

/* Fields that the local APIC's command and vector registers and the I/O APIC share. */
enum delivery {
	DELIVERY_SMI = 2,
	DELIVERY_NMI = 4,
	DELIVERY_INIT = 5,
	DELIVERY_STARTUP = 6,
};
#define DELIVERY_MODE(value) ((value) >> 8 & 7u)
#define DELIVERY_LOGICAL (1u << 11)
#define DELIVERY_BUSY (1u << 12)
#define DELIVERY_ASSERT (1u << 14)
#define DELIVERY_MASKED (1u << 16)
#define DELIVERY_SHORTHAND(value) ((value) >> 18 & 3u)
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

static inline uint32_t apic_read(uint32_t offset)
{
	return *(const volatile uint32_t *)(LOCAL_APIC + offset);
}

static inline void apic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(LOCAL_APIC + offset) = value;
}

/*
 * A command to the CPU with that local APIC. The upper half of the command register is the
 * guest's, which may be between its two writes: it stays as it was.
 */
void apic_send(uint32_t apic_id, uint32_t command);

/* An NMI: wakes the CPU, takes it out of the guest; nothing that runs there can hold it off. */
void apic_send_nmi(uint32_t apic_id);

#endif
