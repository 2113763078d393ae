/* SPDX-License-Identifier: MIT */
/*
 * The small machine of machine.h.
 */
#include "machine.h"

#include <string.h>

static enum emu_result enter(struct machine *machine, enum machine_kind kind,
			     const struct emu_access *access)
{
	if (machine->log_count < MACHINE_LOG_MAX)
		machine->log[machine->log_count++] =
			(struct machine_entry){.kind = kind, .access = *access};
	if (access->linear - machine->base > MACHINE_BYTES - access->bytes)
		return EMU_ACCESS_FAULT;
	if (kind == MACHINE_FETCH) {
		uint64_t page = (access->linear - machine->base) / 4096;

		return machine->absent >> page & 1u ? EMU_ACCESS_FAULT : EMU_ACCESS_OK;
	}
	return machine->data_ops++ == machine->fault_at ? EMU_ACCESS_FAULT : EMU_ACCESS_OK;
}

static enum emu_result machine_fetch(void *context, const struct emu_access *access, void *value)
{
	struct machine *machine = context;
	enum emu_result result = enter(machine, MACHINE_FETCH, access);

	if (result == EMU_ACCESS_OK)
		memcpy(value, machine->memory + (access->linear - machine->base), access->bytes);
	return result;
}

static enum emu_result machine_read(void *context, const struct emu_access *access, void *value)
{
	struct machine *machine = context;
	enum emu_result result = enter(machine, MACHINE_READ, access);

	if (result == EMU_ACCESS_OK)
		memcpy(value, machine->memory + (access->linear - machine->base), access->bytes);
	return result;
}

static enum emu_result machine_write(void *context, const struct emu_access *access,
				     const void *value)
{
	struct machine *machine = context;
	enum emu_result result = enter(machine, MACHINE_WRITE, access);

	if (result == EMU_ACCESS_OK)
		memcpy(machine->memory + (access->linear - machine->base), value, access->bytes);
	return result;
}

static enum emu_result machine_compare_exchange(void *context, const struct emu_access *access,
						const void *expected, const void *desired)
{
	struct machine *machine = context;
	enum emu_result result = enter(machine, MACHINE_COMPARE_EXCHANGE, access);
	uint8_t *place = machine->memory + (access->linear - machine->base);

	if (result != EMU_ACCESS_OK)
		return result;
	if (machine->lose_the_race || memcmp(place, expected, access->bytes) != 0)
		return EMU_ACCESS_RETRY;
	memcpy(place, desired, access->bytes);
	return EMU_ACCESS_OK;
}

static enum emu_result machine_check_write(void *context, const struct emu_access *access)
{
	return enter(context, MACHINE_CHECK_WRITE, access);
}

static void machine_xmm_read(void *context, unsigned reg, void *value)
{
	struct machine *machine = context;

	memcpy(value, machine->xmm[reg], 16);
}

static void machine_xmm_write(void *context, unsigned reg, const void *value)
{
	struct machine *machine = context;

	memcpy(machine->xmm[reg], value, 16);
}

const struct emu_ops machine_ops = {
	.fetch = machine_fetch,
	.read = machine_read,
	.write = machine_write,
	.compare_exchange = machine_compare_exchange,
	.check_write = machine_check_write,
	.xmm_read = machine_xmm_read,
	.xmm_write = machine_xmm_write,
};

void machine_init(struct machine *machine, enum emu_mode mode)
{
	static const struct emu_segment flat = {
		.limit = UINT32_MAX,
		.flags = EMU_SEGMENT_READABLE | EMU_SEGMENT_WRITABLE | EMU_SEGMENT_BIG,
	};

	memset(machine, 0, sizeof(*machine));
	machine->fault_at = MACHINE_NO_FAULT;
	machine->base = mode == EMU_MODE_16 ? 0 : 0x100000;
	for (unsigned i = 0; i < MACHINE_BYTES; i++)
		machine->memory[i] = (uint8_t)(i * 37u + 11u);
	memset(machine->xmm, 0xa5, sizeof(machine->xmm));
	for (unsigned i = 0; i < EMU_GPR_COUNT; i++)
		machine->cpu.gpr[i] = machine->base + 0x4000 + i * 0x100;
	for (unsigned i = 0; i < EMU_SEGMENT_COUNT; i++) {
		machine->cpu.segment[i] = flat;
		if (mode == EMU_MODE_16) {
			machine->cpu.segment[i].limit = 0xffff;
			machine->cpu.segment[i].flags &= ~EMU_SEGMENT_BIG;
		}
	}
	machine->cpu.mode = (uint8_t)mode;
	machine->cpu.linear_bits = 48;
	machine->cpu.rflags = 0x202;
	machine->cpu.rip = machine->base;
}

void machine_code(struct machine *machine, uint32_t offset, const void *bytes, size_t count)
{
	memcpy(machine->memory + offset, bytes, count);
	machine->cpu.rip = machine->base + offset - machine->cpu.segment[EMU_CS].base;
}

uint64_t machine_get(const struct machine *machine, uint32_t offset, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, machine->memory + offset, bytes);
	return value;
}

void machine_put(struct machine *machine, uint32_t offset, uint64_t value, unsigned bytes)
{
	memcpy(machine->memory + offset, &value, bytes);
}

const struct machine_entry *machine_find(const struct machine *machine, enum machine_kind kind)
{
	for (uint32_t i = 0; i < machine->log_count; i++) {
		if (machine->log[i].kind == kind)
			return &machine->log[i];
	}
	return NULL;
}
