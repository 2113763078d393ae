/* SPDX-License-Identifier: MIT */
/*
 * Instruction emulator: PUSH, POP, SSE moves, and compare-exchange of two registers.
 */
#include <string.h>

#include "access.h"
#include "arith.h"

static unsigned stack_pointer_bytes(const struct emu_cpu *cpu)
{
	if (cpu->mode == EMU_MODE_64)
		return 8;
	return cpu->segment[EMU_SS].flags & EMU_SEGMENT_BIG ? 4 : 2;
}

/* Linear address of @bytes bytes on the stack at RSP + @extra, and that stack pointer. */
static enum emu_outcome find_stack(const struct run *run, int64_t extra, unsigned use,
				   uint64_t *pointer, uint64_t *linear)
{
	unsigned pointer_bytes = stack_pointer_bytes(run->cpu);
	struct address address = {.segment = EMU_SS};

	*pointer = (run->cpu->gpr[EMU_RSP] + (uint64_t)extra) & emu_mask(pointer_bytes);
	address.offset = *pointer;
	return emu_linear(run, address, run->insn->operand_bytes, use, linear);
}

enum emu_outcome emu_run_push(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	unsigned bytes = insn->operand_bytes;
	uint64_t value, pointer, linear;
	struct place from;
	enum emu_outcome outcome;

	outcome = emu_find(run, insn->source, bytes, USE_READ, &from);
	if (outcome == EMU_DONE)
		outcome = find_stack(run, -(int64_t)bytes, USE_WRITE, &pointer, &linear);
	if (outcome == EMU_DONE && from.memory)
		outcome = emu_check_write(run, linear, bytes);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &from, &value);
	if (outcome == EMU_DONE)
		outcome = emu_write(run, linear, bytes, &value);
	if (outcome == EMU_DONE)
		emu_pointer_write(run->cpu, EMU_RSP, stack_pointer_bytes(run->cpu), pointer);
	return outcome;
}

/* An address that is based on RSP is computed with the value that RSP has after the pop. */
enum emu_outcome emu_run_pop(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	unsigned bytes = insn->operand_bytes, pointer_bytes = stack_pointer_bytes(run->cpu);
	uint64_t value = 0, pointer, linear, before = run->cpu->gpr[EMU_RSP];
	struct place to;
	enum emu_outcome outcome;

	outcome = find_stack(run, 0, USE_READ, &pointer, &linear);
	if (outcome == EMU_DONE)
		outcome = emu_read(run, linear, bytes, 0, &value);
	if (outcome != EMU_DONE)
		return outcome;
	emu_pointer_write(run->cpu, EMU_RSP, pointer_bytes, pointer + bytes);
	outcome = emu_find(run, insn->destination, bytes, USE_WRITE, &to);
	if (outcome == EMU_DONE)
		outcome = emu_store(run, &to, value);
	if (outcome != EMU_DONE)
		run->cpu->gpr[EMU_RSP] = before;
	return outcome;
}

/* To or from memory only in part: a load of less than a register clears the rest of it. */
enum emu_outcome emu_run_movx(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	bool store = insn->destination == EMU_OPERAND_RM;
	unsigned bytes = insn->operand_bytes;
	uint8_t value[16] = {0};
	uint64_t linear;
	enum emu_outcome outcome;

	if (!insn->has_memory || !run->ops->xmm_read || !run->ops->xmm_write)
		return EMU_CANNOT;
	outcome =
		emu_linear(run, emu_address(run, 0), bytes, store ? USE_WRITE : USE_READ, &linear);
	if (outcome != EMU_DONE)
		return outcome;
	if (insn->op == EMU_OP_MOVX_ALIGNED && linear % 16 != 0)
		return EMU_RAISE_GP;
	if (store) {
		run->ops->xmm_read(run->context, insn->reg, value);
		return emu_write(run, linear, bytes, value);
	}
	outcome = emu_read(run, linear, bytes, 0, value);
	if (outcome == EMU_DONE)
		run->ops->xmm_write(run->context, insn->reg, value);
	return outcome;
}

/* CMPXCHG8B: EDX:EAX against memory, ECX:EBX into it. CMPXCHG16B: the same with 64-bit halves. */
enum emu_outcome emu_run_cmpxchg8b(const struct run *run)
{
	unsigned half = run->insn->operand_bytes, bytes = 2 * half;
	uint64_t low = 0, high = 0, *gpr = run->cpu->gpr;
	uint8_t old[16], value[16];
	uint64_t linear;
	enum emu_outcome outcome;
	bool equal;

	outcome = emu_linear(run, emu_address(run, 0), bytes, USE_READ | USE_WRITE, &linear);
	if (outcome != EMU_DONE)
		return outcome;
	if (half == 8 && linear % 16 != 0)
		return EMU_RAISE_GP;
	outcome = emu_read(run, linear, bytes, EMU_ACCESS_WRITE_INTENT, old);
	if (outcome != EMU_DONE)
		return outcome;
	memcpy(&low, old, half);
	memcpy(&high, old + half, half);
	equal = low == (gpr[EMU_RAX] & emu_mask(half)) && high == (gpr[EMU_RDX] & emu_mask(half));
	memcpy(value, equal ? (const void *)&gpr[EMU_RBX] : &low, half);
	memcpy(value + half, equal ? (const void *)&gpr[EMU_RCX] : &high, half);
	outcome = emu_update(run, linear, bytes, old, value);
	if (outcome != EMU_DONE)
		return outcome;
	run->cpu->rflags = (run->cpu->rflags & ~RFLAGS_ZF) | (equal ? RFLAGS_ZF : UINT64_C(0));
	if (!equal) {
		emu_reg_write(run, EMU_RAX, half, low);
		emu_reg_write(run, EMU_RDX, half, high);
	}
	return EMU_DONE;
}
