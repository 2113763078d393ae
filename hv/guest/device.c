/* SPDX-License-Identifier: MIT */
/*
 * Forwarding to the physical interrupt and timer devices, with the size the guest used. What
 * is not let through: INITs, STARTUPs and SMIs, which would hit the hypervisor, and NMIs: these are
 * done for the vCPUs instead; LINT1, on which the command's NMIs come in; and the HPET's
 * message interrupts, which are writes to host memory.
 */
#include "device.h"

#include "../devices/vgtt.h"
#include "../platform/apic.h"
#include "../platform/spin.h"
#include "../svm/smp.h"
#include "../svm/svm.h"
#include "guest.h"

#define IO_APIC UINT64_C(0xfec00000)
#define HPET UINT64_C(0xfed00000)

enum { IO_APIC_SELECT = 0x00, IO_APIC_WINDOW = 0x10, IO_APIC_TABLE = 0x10 };
enum { HPET_TIMERS = 0x100, HPET_TIMER_BYTES = 0x20, HPET_MESSAGES = 1 << 14 };

#define LINT1_NMI (DELIVERY_NMI << 8)

/* The I/O APIC's register is selected by one write and read or written by another. */
static struct spin io_apic_lock;

void device_init(void)
{
	apic_write(APIC_LVT_LINT1, LINT1_NMI);
}

bool device_has_nmi_source(const struct vcpu *vcpu)
{
	return vcpu->guest->nmi_sources;
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
	if (vgtt_has(vcpu->guest->vgtt, gpa)) {
		vcpu->counts.mmio_reads++;
		vgtt_read(vcpu->guest->vgtt, gpa, bytes, value);
		return;
	}
	if (!is_device(gpa & ~(FRAME_BYTES - 1)) || !is_whole(gpa, bytes)) {
		vcpu->counts.mmio_open_reads++;
		memset(value, 0xff, bytes);
		return;
	}
	vcpu->counts.mmio_reads++;
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

/* What hits the hypervisor on a CPU is done for the vCPU that it has. */
static void command_emulate(struct vcpu *vcpu, struct vcpu *to, uint32_t command)
{
	switch (DELIVERY_MODE(command)) {
	case DELIVERY_NMI:
		if (to == vcpu)
			svm_nmi_queue(vcpu);
		else
			smp_request(to, SMP_NMI);
		break;
	case DELIVERY_INIT:
		if ((command & DELIVERY_ASSERT) == 0)
			break;
		if (to->index == 0)
			guest_end(vcpu->guest, GUEST_RESET, "the guest sent its boot CPU an INIT");
		else
			smp_request(to, SMP_INIT);
		break;
	case DELIVERY_STARTUP:
		to->startup_vector = command & 0xff;
		if (to != vcpu)
			smp_request(to, SMP_STARTUP);
		break;
	default:
		break;
	}
}

/* An interprocessor interrupt. Fixed ones, and those of lowest priority, are the device's. */
static void command_write(struct vcpu *vcpu, uint32_t command)
{
	uint32_t targets = smp_targets(vcpu, command, apic_read(APIC_ICR_HIGH) >> 24);
	uint32_t mode = DELIVERY_MODE(command);

	if (targets == 0)
		return;
	if (mode < DELIVERY_SMI || mode > DELIVERY_STARTUP) {
		apic_write(APIC_ICR, command);
		return;
	}
	for (unsigned i = 0; i < vcpu->guest->cpu_count; i++) {
		if ((targets >> i & 1) != 0)
			command_emulate(vcpu, vcpu->guest->vcpus[i], command);
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
			vcpu->guest->nmi_sources = true;
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
	if (offset == APIC_EOI)
		vcpu->eois++;
	if (offset == APIC_ID && vcpu->many)
		return; /* other CPUs send NMIs there */
	if (offset == APIC_LOGICAL_ID)
		vcpu->apic_logical_id = value;
	if (offset == APIC_LOGICAL_FORMAT)
		vcpu->apic_logical_format = value;
	if (offset >= APIC_LVT_TIMER && offset <= APIC_LVT_ERROR)
		value = vector_filter(vcpu, value);
	apic_write(offset, value);
}

static void io_apic_write(struct vcpu *vcpu, uint32_t offset, uint32_t value)
{
	volatile uint32_t *at = (volatile uint32_t *)(IO_APIC + offset);
	uint32_t selected;

	spin_lock(&io_apic_lock);
	if (offset == IO_APIC_WINDOW) {
		selected = *(const volatile uint32_t *)(IO_APIC + IO_APIC_SELECT);
		if (selected >= IO_APIC_TABLE && selected % 2 == 0)
			value = vector_filter(vcpu, value);
	}
	*at = value;
	spin_unlock(&io_apic_lock);
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
		vcpu->counts.mmio_writes++;
		vgtt_write(vcpu->guest->vgtt, gpa, bytes, value);
		return;
	}
	/* None of the three takes bytes or words. */
	if (!is_device(page) || !is_whole(gpa, bytes) || bytes < 4) {
		vcpu->counts.mmio_open_writes++;
		return;
	}
	vcpu->counts.mmio_writes++;
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
