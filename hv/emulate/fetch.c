/* SPDX-License-Identifier: MIT */
/*
 * Instruction emulator: from RIP to a decoded instruction.
 */
#include "access.h"

#define PAGE_BYTES UINT64_C(4096)

/* Bytes from RIP on that the code segment has; at most @wanted. */
static uint64_t bytes_in_segment(const struct emu_cpu *cpu, uint64_t wanted)
{
	const struct emu_segment *code = &cpu->segment[EMU_CS];
	uint64_t offset = cpu->rip & UINT32_MAX;

	if (cpu->mode == EMU_MODE_64) {
		/* An instruction cannot continue in the hole of non-canonical addresses. */
		uint64_t end = UINT64_C(1) << (cpu->linear_bits - 1);

		return cpu->rip < end && end - cpu->rip < wanted ? end - cpu->rip : wanted;
	}
	if (offset > code->limit)
		return 0;
	return code->limit - offset + UINT64_C(1) < wanted ? code->limit - offset + UINT64_C(1)
							   : wanted;
}

static enum emu_outcome fetch_bytes(const struct emu_cpu *cpu, const struct emu_ops *ops,
				    void *context, uint64_t linear, uint64_t bytes, void *to)
{
	const struct emu_access access = {
		.linear = linear,
		.bytes = (uint32_t)bytes,
		.flags = cpu->cpl == 3 ? EMU_ACCESS_USER : 0,
	};
	enum emu_result result = ops->fetch(context, &access, to);

	if (result == EMU_ACCESS_OK)
		return EMU_DONE;
	return result == EMU_ACCESS_RETRY ? EMU_RETRY : EMU_FAULT;
}

enum emu_outcome emu_fetch(const struct emu_cpu *cpu, const struct emu_ops *ops, void *context,
			   struct emu_insn *out)
{
	uint8_t bytes[EMU_INSN_BYTES_MAX];
	uint64_t linear_mask = cpu->mode == EMU_MODE_64 ? UINT64_MAX : UINT32_MAX;
	uint64_t base = cpu->mode == EMU_MODE_64 ? 0 : cpu->segment[EMU_CS].base;
	uint64_t linear = (base + cpu->rip) & linear_mask;
	uint64_t most = bytes_in_segment(cpu, sizeof(bytes));
	uint64_t have = PAGE_BYTES - linear % PAGE_BYTES;
	enum emu_status status = EMU_NEED_BYTES;
	enum emu_outcome outcome;

	if (have > most)
		have = most;
	if (have) {
		outcome = fetch_bytes(cpu, ops, context, linear, have, bytes);
		if (outcome != EMU_DONE)
			return outcome;
		status = emu_decode(bytes, (size_t)have, (enum emu_mode)cpu->mode, out);
	}
	if (status == EMU_NEED_BYTES && have < most) {
		outcome = fetch_bytes(cpu, ops, context, (linear + have) & linear_mask, most - have,
				      bytes + have);
		if (outcome != EMU_DONE)
			return outcome;
		status = emu_decode(bytes, (size_t)most, (enum emu_mode)cpu->mode, out);
	}
	switch (status) {
	case EMU_OK:
		return EMU_DONE;
	case EMU_INVALID:
		return EMU_RAISE_UD;
	case EMU_NEED_BYTES: /* the segment ends within the instruction */
	case EMU_TOO_LONG:
		return EMU_RAISE_GP;
	case EMU_UNSUPPORTED:
		return EMU_CANNOT;
	}
	return EMU_CANNOT;
}

enum emu_outcome emu_step(struct emu_cpu *cpu, const struct emu_ops *ops, void *context)
{
	struct emu_insn insn;
	enum emu_outcome outcome = emu_fetch(cpu, ops, context, &insn);

	if (outcome != EMU_DONE)
		return outcome;
	return emu_execute(cpu, &insn, ops, context);
}
