/* SPDX-License-Identifier: MIT */
/*
 * Forwarding to the physical interrupt and timer devices, with the size the guest used. What
 * is not let through: INITs and SMIs, which would hit the hypervisor; NMIs by the guest to
 * itself, which are queued instead; LINT1, on which the command's NMIs come in; and the HPET's
 * message interrupts, which are writes to host memory.
 */
#include "device.h"

#include "../devices/vgtt.h"
#include "../svm/svm.h"
#include "guest.h"

#define IO_APIC UINT64_C(0xfec00000)
#define HPET UINT64_C(0xfed00000)
#define LOCAL_APIC UINT64_C(0xfee00000)

enum local_apic {
	APIC_ID = 0x20,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
};

enum { IO_APIC_SELECT = 0x00, IO_APIC_WINDOW = 0x10, IO_APIC_TABLE = 0x10 };
enum { HPET_TIMERS = 0x100, HPET_TIMER_BYTES = 0x20, HPET_MESSAGES = 1 << 14 };

/* Fields that the local APIC's command and vector registers and the I/O APIC share. */
enum delivery {
	DELIVERY_SMI = 2,
	DELIVERY_NMI = 4,
	DELIVERY_INIT = 5,
	DELIVERY_STARTUP = 6,
};
#define DELIVERY_MODE(value) ((value) >> 8 & 7u)
#define DELIVERY_LOGICAL (1u << 11)
#define DELIVERY_ASSERT (1u << 14)
#define DELIVERY_MASKED (1u << 16)
#define DELIVERY_SHORTHAND(value) ((value) >> 18 & 3u)
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

#define LINT1_NMI (DELIVERY_NMI << 8)

static uint32_t apic_read(uint32_t offset)
{
	return *(const volatile uint32_t *)(LOCAL_APIC + offset);
}

static void apic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(LOCAL_APIC + offset) = value;
}

void device_init(void)
{
	apic_write(APIC_LVT_LINT1, LINT1_NMI);
}

bool device_has_nmi_source(const struct vcpu *vcpu)
{
	return vcpu->nmi_sources;
}

static bool is_device(uint64_t page)
{
	return page == IO_APIC || page == HPET || page == LOCAL_APIC;
}

static bool is_whole(uint64_t gpa, uint32_t bytes)
{
	return bytes <= 8 && (bytes & (bytes - 1)) == 0 && gpa % bytes == 0;
}

void device_read(struct vcpu *vcpu, uint64_t gpa, uint32_t bytes, void *value)
{
	struct guest *guest = vcpu->guest;

	if (vgtt_has(guest->vgtt, gpa)) {
		guest->mmio_reads++;
		vgtt_read(guest->vgtt, gpa, bytes, value);
		return;
	}
	if (!is_device(gpa & ~(FRAME_BYTES - 1)) || !is_whole(gpa, bytes)) {
		guest->mmio_open_reads++;
		memset(value, 0xff, bytes);
		return;
	}
	guest->mmio_reads++;
	switch (bytes) {
	case 1:
		*(uint8_t *)value = *(const volatile uint8_t *)gpa;
		break;
	case 2:
		*(uint16_t *)value = *(const volatile uint16_t *)gpa;
		break;
	case 4:
		*(uint32_t *)value = *(const volatile uint32_t *)gpa;
		if (gpa == LOCAL_APIC + APIC_LVT_LINT1)
			*(uint32_t *)value = vcpu->lint1;
		break;
	default:
		*(uint64_t *)value = *(const volatile uint64_t *)gpa;
		break;
	}
}

static bool command_reaches_self(uint32_t command)
{
	uint32_t target = apic_read(APIC_ICR_HIGH) >> 24;

	switch (DELIVERY_SHORTHAND(command)) {
	case SHORTHAND_SELF:
	case SHORTHAND_ALL:
		return true;
	case SHORTHAND_OTHERS:
		return false;
	default:
		return (command & DELIVERY_LOGICAL) != 0 || target == 0xff ||
		       target == apic_read(APIC_ID) >> 24;
	}
}

/* An interprocessor interrupt. The guest has one CPU: what is for others goes nowhere. */
static void command_write(struct vcpu *vcpu, uint32_t command)
{
	if (!command_reaches_self(command))
		return;
	switch (DELIVERY_MODE(command)) {
	case DELIVERY_NMI:
		svm_nmi_queue(vcpu);
		break;
	case DELIVERY_INIT:
		if ((command & DELIVERY_ASSERT) != 0)
			guest_end(vcpu->guest, GUEST_RESET, "the guest sent itself an INIT");
		break;
	case DELIVERY_SMI:
	case DELIVERY_STARTUP:
		break;
	default:
		apic_write(APIC_ICR, command);
		break;
	}
}

/* A vector register, or the low half of an I/O APIC entry, made harmless. */
static uint32_t vector_filter(struct vcpu *vcpu, uint32_t value)
{
	switch (DELIVERY_MODE(value)) {
	case DELIVERY_SMI:
	case DELIVERY_INIT:
		return value | DELIVERY_MASKED;
	case DELIVERY_NMI:
		if ((value & DELIVERY_MASKED) == 0)
			vcpu->nmi_sources = true;
		return value;
	default:
		return value;
	}
}

static void local_apic_write(struct vcpu *vcpu, uint32_t offset, uint32_t value)
{
	if (offset == APIC_ICR) {
		command_write(vcpu, value);
		return;
	}
	if (offset == APIC_LVT_LINT1) {
		vcpu->lint1 = value;
		return;
	}
	if (offset >= APIC_LVT_TIMER && offset <= APIC_LVT_ERROR)
		value = vector_filter(vcpu, value);
	apic_write(offset, value);
}

static void io_apic_write(struct vcpu *vcpu, uint32_t offset, uint32_t value)
{
	volatile uint32_t *at = (volatile uint32_t *)(IO_APIC + offset);
	uint32_t selected;

	if (offset == IO_APIC_WINDOW) {
		selected = *(const volatile uint32_t *)(IO_APIC + IO_APIC_SELECT);
		if (selected >= IO_APIC_TABLE && selected % 2 == 0)
			value = vector_filter(vcpu, value);
	}
	*at = value;
}

static uint64_t hpet_filter(uint32_t offset, uint64_t value)
{
	bool config = offset >= HPET_TIMERS && offset % HPET_TIMER_BYTES < 4;

	return config ? value & ~(uint64_t)HPET_MESSAGES : value;
}

void device_write(struct vcpu *vcpu, uint64_t gpa, uint32_t bytes, const void *value)
{
	uint64_t page = gpa & ~(FRAME_BYTES - 1);
	uint32_t offset = (uint32_t)(gpa - page);
	uint32_t low;

	if (vgtt_has(vcpu->guest->vgtt, gpa)) {
		vcpu->guest->mmio_writes++;
		vgtt_write(vcpu->guest->vgtt, gpa, bytes, value);
		return;
	}
	/* None of the three takes bytes or words. */
	if (!is_device(page) || !is_whole(gpa, bytes) || bytes < 4) {
		vcpu->guest->mmio_open_writes++;
		return;
	}
	vcpu->guest->mmio_writes++;
	memcpy(&low, value, sizeof(low));
	if (page == LOCAL_APIC) {
		local_apic_write(vcpu, offset, low);
	} else if (page == IO_APIC) {
		io_apic_write(vcpu, offset, low);
	} else if (bytes == 4) {
		*(volatile uint32_t *)gpa = (uint32_t)hpet_filter(offset, low);
	} else {
		uint64_t whole;

		memcpy(&whole, value, sizeof(whole));
		*(volatile uint64_t *)gpa = hpet_filter(offset, whole);
	}
}
