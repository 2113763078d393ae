/* SPDX-License-Identifier: MIT */
/*
 * Intercepted ports. Power-off and reset end the run with an outcome instead of ending QEMU;
 * the report, trace, exit and control ports are the hypervisor's own; the firmware
 * configuration device keeps its data port but not its DMA, which would reach host memory.
 */
#include "ports.h"

#include "../platform/platform.h"
#include "guest.h"
#include "host_port.h"

enum {
	PORT_KEYBOARD_DATA = 0x60,
	PORT_KEYBOARD_COMMAND = 0x64,
	PORT_SYSTEM_CONTROL = 0x92,
	PORT_DEBUG_EXIT = 0xf4,
	PORT_RESET = 0xcf9,
	PORT_PM1_CONTROL = 0x604, /* unless ACPI says otherwise */
};

enum {
	KEYBOARD_WRITE_OUTPUT = 0xd1, /* the next data byte: bit 0 low is a reset */
	KEYBOARD_PULSE = 0xf0,        /* .. 0xff: bit 0 low is a reset */
	RESET_CPU = 1 << 2,
	FAST_RESET = 1 << 0,
	SLEEP_ENABLE = 1 << 13,
};
#define SLEEP_TYPE(value) ((value) >> 10 & 7u)

enum { FADT_PM1A_CONTROL = 64 };

/* False: the guest has ended, and the write is not done. */
typedef bool write_fn(struct vcpu *vcpu, const struct port_access *access, uint32_t value);

struct port_range {
	uint16_t first, count;
	bool hidden; /* nothing there: reads give ones, writes go nowhere */
	write_fn *write;
};

static unsigned power_off_type; /* of \_S5 */
static bool output_byte_next;

static bool write_pm1(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	if (access->bytes == 1 || (value & SLEEP_ENABLE) == 0)
		return true;
	if (SLEEP_TYPE(value) == power_off_type)
		guest_end(vcpu->guest, GUEST_POWEROFF, NULL);
	else
		guest_end(vcpu->guest, GUEST_HALT, "the guest went to sleep (type %u)",
			  (unsigned)SLEEP_TYPE(value));
	return false;
}

static bool write_exit(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	struct guest *guest = vcpu->guest;

	(void)access;
	if (guest->kind != GUEST_MULTIBOOT)
		return true;
	guest->exit_code = (uint8_t)value;
	guest->has_exit_code = true;
	guest_end(guest, GUEST_EXIT, NULL);
	return false;
}

static bool reset_if(struct vcpu *vcpu, bool reset)
{
	if (reset)
		guest_end(vcpu->guest, GUEST_RESET, "the guest reset the machine");
	return !reset;
}

static bool write_reset(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	/* A double word at 0xCF8 is a PCI configuration address. */
	return reset_if(vcpu, access->port == PORT_RESET && (value & RESET_CPU) != 0);
}

static bool write_system(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	return reset_if(vcpu, access->port == PORT_SYSTEM_CONTROL && (value & FAST_RESET) != 0);
}

static bool write_keyboard_data(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	bool output = output_byte_next && access->port == PORT_KEYBOARD_DATA;

	output_byte_next = false;
	return reset_if(vcpu, output && (value & 1) == 0);
}

static bool write_keyboard_command(struct vcpu *vcpu, const struct port_access *access,
				   uint32_t value)
{
	(void)access;
	output_byte_next = (value & 0xff) == KEYBOARD_WRITE_OUTPUT;
	return reset_if(vcpu, (value & 0xf0) == KEYBOARD_PULSE && (value & 1) == 0);
}

static bool write_host(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	return host_port_write(vcpu, access->port, value);
}

static struct port_range ranges[] = {
	{0x0e9, 2, true, NULL}, /* report and trace channel */
	{0x0f4, 1, true, write_exit},
	{0x2f8, 8, true, NULL}, /* COM2: control channel */
	{0x514, 8, true, NULL}, /* DMA of the firmware configuration device */
	{PORT_KEYBOARD_DATA, 1, false, write_keyboard_data},
	{PORT_KEYBOARD_COMMAND, 1, false, write_keyboard_command},
	{PORT_SYSTEM_CONTROL, 1, false, write_system},
	{PORT_RESET, 1, false, write_reset},
	{PORT_HOST, 0, true, write_host}, /* these two: see ports_init() */
	{PORT_PM1_CONTROL, 2, false, write_pm1},
};

enum {
	RANGE_COUNT = sizeof(ranges) / sizeof(ranges[0]),
	RANGE_PM1 = RANGE_COUNT - 1,
	RANGE_HOST = RANGE_COUNT - 2,
};

/*
 * In the DSDT: Name(\_S5, Package{type, ...}) = "_S5_" PackageOp length count type. The
 * type is 0, 1 or a byte constant.
 */
static void power_off_type_find(const struct acpi_table *dsdt)
{
	for (uint64_t at = 0; at + 12 < dsdt->bytes; at++) {
		const uint8_t *name = dsdt->data + at;

		if (memcmp(name, "_S5_\x12", 5) != 0)
			continue;
		/* One length byte, or more as its top bits say; then the element count. */
		name += 5 + 1 + (name[5] >> 6) + 1;
		power_off_type = (name[0] == 0x0a ? name[1] : name[0]) & 7u;
		return;
	}
}

void ports_init(const struct boot_info *boot, bool host_port)
{
	if (host_port)
		ranges[RANGE_HOST].count = PORT_HOST_COUNT;
	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		const struct acpi_table *table = &boot->acpi[i];

		if (text_equals(table->signature, "DSDT"))
			power_off_type_find(table);
		if (text_equals(table->signature, "FACP") &&
		    table->bytes >= FADT_PM1A_CONTROL + 4) {
			uint16_t port;

			memcpy(&port, table->data + FADT_PM1A_CONTROL, sizeof(port));
			if (port != 0)
				ranges[RANGE_PM1].first = port;
		}
	}
}

void ports_for_each(void (*intercept)(unsigned first, unsigned count))
{
	for (unsigned i = 0; i < RANGE_COUNT; i++)
		intercept(ranges[i].first, ranges[i].count);
}

/* The range that the access touches; some bit of the map was set, so there is one. */
static const struct port_range *range_find(const struct port_access *access)
{
	for (unsigned i = 0; i < RANGE_COUNT; i++) {
		if (access->port < ranges[i].first + ranges[i].count &&
		    access->port + access->bytes > ranges[i].first)
			return &ranges[i];
	}
	return NULL;
}

static uint32_t port_in(const struct port_access *access)
{
	switch (access->bytes) {
	case 1:
		return io_in8(access->port);
	case 2:
		return io_in16(access->port);
	default:
		return io_in32(access->port);
	}
}

static void port_out(const struct port_access *access, uint32_t value)
{
	switch (access->bytes) {
	case 1:
		io_out8(access->port, (uint8_t)value);
		break;
	case 2:
		io_out16(access->port, (uint16_t)value);
		break;
	default:
		io_out32(access->port, value);
		break;
	}
}

static uint64_t access_mask(const struct port_access *access)
{
	return (UINT64_C(1) << 8 * access->bytes) - 1;
}

/* 32-bit results clear the upper half of RAX, smaller ones keep what is above. */
static void result_store(struct vcpu *vcpu, const struct port_access *access, uint32_t value)
{
	uint64_t mask = access_mask(access);
	uint64_t *rax = &vcpu->vmcb.save.rax;

	*rax = access->bytes == 4 ? value : (*rax & ~mask) | (value & mask);
}

bool ports_access(struct vcpu *vcpu, const struct port_access *access)
{
	const struct port_range *range = range_find(access);
	uint32_t value = (uint32_t)(vcpu->vmcb.save.rax & access_mask(access));

	if (access->is_string) {
		guest_end(vcpu->guest, GUEST_CRASH,
			  "the guest used INS or OUTS on port 0x%x, which is not emulated",
			  access->port);
		return false;
	}
	if (range == NULL || (range->hidden && range->write == NULL))
		vcpu->counts.ports_refused++;
	if (range == &ranges[RANGE_HOST] && access->is_read) {
		result_store(vcpu, access, host_port_read(access->port));
		return true;
	}
	if (access->is_read) {
		result_store(vcpu, access,
			     range == NULL || range->hidden ? UINT32_MAX : port_in(access));
		return true;
	}
	if (range == NULL)
		return true;
	if (range->write != NULL && !range->write(vcpu, access, value))
		return false;
	if (!range->hidden)
		port_out(access, value);
	return true;
}
