/* SPDX-License-Identifier: MIT */
/*
 * Instruction emulator: moves, arithmetic and exchanges on one or two operands.
 *
 * Each family follows the same order: find the operands, load, compute on copies, write memory,
 * then registers and flags. The write to memory is the last step that can fail.
 */
#include "execute.h"

#include "access.h"
#include "arith.h"

/* ADD to CMP, TEST, and the one-operand NOT, NEG, INC and DEC; shifts and rotates. */
static enum emu_outcome run_alu(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	enum emu_op op = (enum emu_op)insn->op;
	unsigned bytes = insn->operand_bytes;
	bool shift = op >= EMU_OP_ROL && op <= EMU_OP_SAR;
	bool writes = op != EMU_OP_CMP && op != EMU_OP_TEST;
	uint64_t a, b, result, rflags = run->cpu->rflags;
	struct place to, from;
	enum emu_outcome outcome;

	outcome = emu_find(run, insn->destination, bytes, writes ? USE_READ | USE_WRITE : USE_READ,
			   &to);
	if (outcome == EMU_DONE)
		outcome = emu_find(run, insn->source, shift ? 1 : bytes, USE_READ, &from);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &to, &a);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &from, &b);
	if (outcome != EMU_DONE)
		return outcome;
	result = shift ? emu_shift(op, a, (unsigned)b, bytes, &rflags)
		       : emu_alu(op, a, b, bytes, &rflags);
	if (writes)
		outcome = emu_restore(run, &to, a, result);
	if (outcome == EMU_DONE)
		run->cpu->rflags = rflags;
	return outcome;
}

static uint64_t swap_bytes(uint64_t value, unsigned bytes)
{
	uint64_t swapped = 0;

	for (unsigned i = 0; i < bytes; i++)
		swapped = swapped << 8 | (value >> (8 * i) & 0xff);
	return swapped;
}

/* Bytes that a move reads: the extending ones read fewer than they write. */
static unsigned source_bytes(const struct emu_insn *insn)
{
	switch (insn->op) {
	case EMU_OP_MOVZX8:
	case EMU_OP_MOVSX8:
		return 1;
	case EMU_OP_MOVZX16:
	case EMU_OP_MOVSX16:
		return 2;
	case EMU_OP_MOVSXD:
		return insn->operand_bytes == 8 ? 4 : insn->operand_bytes;
	default:
		return insn->operand_bytes;
	}
}

/* MOV, MOVZX, MOVSX, MOVSXD, MOVBE, CMOVcc. */
static enum emu_outcome run_move(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	unsigned bytes = source_bytes(insn);
	struct place to, from;
	enum emu_outcome outcome;
	uint64_t value;

	outcome = emu_find(run, insn->destination, insn->operand_bytes, USE_WRITE, &to);
	if (outcome == EMU_DONE)
		outcome = emu_find(run, insn->source, bytes, USE_READ, &from);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &from, &value);
	if (outcome != EMU_DONE)
		return outcome;
	if (insn->op == EMU_OP_MOVSX8 || insn->op == EMU_OP_MOVSX16 || insn->op == EMU_OP_MOVSXD)
		value = (uint64_t)emu_sign_extend(value, bytes);
	else if (insn->op == EMU_OP_MOVBE)
		value = swap_bytes(value, bytes);
	else if (insn->op == EMU_OP_CMOV && !emu_condition(insn->opcode, run->cpu->rflags))
		value = emu_reg_read(run, to.reg, insn->operand_bytes);
	return emu_store(run, &to, value);
}

static enum emu_outcome run_setcc(const struct run *run)
{
	struct place to;
	enum emu_outcome outcome = emu_find(run, run->insn->destination, 1, USE_WRITE, &to);

	if (outcome != EMU_DONE)
		return outcome;
	return emu_store(run, &to, emu_condition(run->insn->opcode, run->cpu->rflags));
}

/* XCHG and XADD: the old destination goes to the source, which is a register. */
static enum emu_outcome run_exchange(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	uint64_t a, b, result, rflags = run->cpu->rflags;
	struct place to, from;
	enum emu_outcome outcome;

	outcome = emu_find(run, insn->destination, insn->operand_bytes, USE_READ | USE_WRITE, &to);
	if (outcome == EMU_DONE)
		outcome = emu_find(run, insn->source, insn->operand_bytes, USE_READ, &from);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &to, &a);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &from, &b);
	if (outcome != EMU_DONE)
		return outcome;
	result = b;
	if (insn->op == EMU_OP_XADD)
		result = emu_alu(EMU_OP_ADD, a, b, insn->operand_bytes, &rflags);
	if (to.memory)
		outcome = emu_restore(run, &to, a, result);
	if (outcome != EMU_DONE)
		return outcome;
	/* A register destination comes last: it wins if both operands are the same. */
	emu_reg_write(run, from.reg, insn->operand_bytes, a);
	if (!to.memory)
		emu_reg_write(run, to.reg, insn->operand_bytes, result);
	run->cpu->rflags = rflags;
	return EMU_DONE;
}

/*
 * Memory is written in any case: with its old value if it differs from the accumulator. A register
 * is not: it would lose its upper half.
 */
static enum emu_outcome run_cmpxchg(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	unsigned bytes = insn->operand_bytes;
	uint64_t old, rflags = run->cpu->rflags;
	struct place to;
	enum emu_outcome outcome;
	bool equal;

	outcome = emu_find(run, insn->destination, bytes, USE_READ | USE_WRITE, &to);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &to, &old);
	if (outcome != EMU_DONE)
		return outcome;
	emu_alu(EMU_OP_CMP, emu_reg_read(run, EMU_RAX, bytes), old, bytes, &rflags);
	equal = (rflags & RFLAGS_ZF) != 0;
	if (equal)
		outcome = emu_restore(run, &to, old, emu_reg_read(run, insn->reg, bytes));
	else if (to.memory)
		outcome = emu_restore(run, &to, old, old);
	if (outcome != EMU_DONE)
		return outcome;
	if (!equal)
		emu_reg_write(run, EMU_RAX, bytes, old);
	run->cpu->rflags = rflags;
	return EMU_DONE;
}

/*
 * A bit offset from a register reaches beyond the operand: it is signed, and its upper part counts
 * operands from the address on. An immediate offset, and one into a register, wrap around.
 */
static enum emu_outcome run_bit_test(const struct run *run)
{
	const struct emu_insn *insn = run->insn;
	unsigned bytes = insn->operand_bytes, use = USE_READ | USE_WRITE;
	uint64_t offset, old, bit, value;
	struct place to, from;
	enum emu_outcome outcome;

	if (insn->op == EMU_OP_BT)
		use = USE_READ;
	outcome = emu_find(run, insn->source, bytes, USE_READ, &from);
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &from, &offset);
	if (outcome == EMU_DONE)
		outcome = emu_find(run, insn->destination, bytes, use, &to);
	if (outcome == EMU_DONE && to.memory && insn->source == EMU_OPERAND_REG) {
		int64_t operands = emu_sign_extend(offset, bytes) >> (bytes == 8   ? 6
								      : bytes == 4 ? 5
										   : 4);

		outcome = emu_linear(run, emu_address(run, operands * (int64_t)bytes), bytes, use,
				     &to.linear);
	}
	if (outcome == EMU_DONE)
		outcome = emu_load(run, &to, &old);
	if (outcome != EMU_DONE)
		return outcome;
	bit = UINT64_C(1) << (offset & (8 * bytes - 1));
	value = insn->op == EMU_OP_BTS   ? old | bit
		: insn->op == EMU_OP_BTR ? old & ~bit
					 : old ^ bit;
	if (insn->op != EMU_OP_BT)
		outcome = emu_restore(run, &to, old, value);
	if (outcome == EMU_DONE)
		run->cpu->rflags =
			(run->cpu->rflags & ~RFLAGS_CF) | (old & bit ? RFLAGS_CF : UINT64_C(0));
	return outcome;
}

static enum emu_outcome dispatch(const struct run *run)
{
	unsigned op = run->insn->op;

	if ((op >= EMU_OP_ADD && op <= EMU_OP_SAR) || (op >= EMU_OP_TEST && op <= EMU_OP_DEC))
		return run_alu(run);
	if (op >= EMU_OP_MOV && op <= EMU_OP_CMOV)
		return run_move(run);
	if (op == EMU_OP_SETCC)
		return run_setcc(run);
	if (op == EMU_OP_XCHG || op == EMU_OP_XADD)
		return run_exchange(run);
	if (op == EMU_OP_CMPXCHG)
		return run_cmpxchg(run);
	if (op == EMU_OP_CMPXCHG8B)
		return emu_run_cmpxchg8b(run);
	if (op >= EMU_OP_BT && op <= EMU_OP_BTC)
		return run_bit_test(run);
	if (op == EMU_OP_PUSH)
		return emu_run_push(run);
	if (op == EMU_OP_POP)
		return emu_run_pop(run);
	if (op >= EMU_OP_MOVS && op <= EMU_OP_SCAS)
		return emu_run_string(run);
	if (op >= EMU_OP_MOVX_UNALIGNED && op <= EMU_OP_MOVX_LOW)
		return emu_run_movx(run);
	if (op == EMU_OP_NOP || op == EMU_OP_PAUSE)
		return EMU_DONE;
	return EMU_CANNOT;
}

enum emu_outcome emu_execute(struct emu_cpu *cpu, const struct emu_insn *insn,
			     const struct emu_ops *ops, void *context)
{
	const struct run run = {.cpu = cpu, .insn = insn, .ops = ops, .context = context};
	enum emu_outcome outcome = dispatch(&run);

	if (outcome != EMU_DONE)
		return outcome;
	cpu->rip += insn->length;
	if (cpu->mode != EMU_MODE_64)
		cpu->rip &= UINT32_MAX;
	cpu->rflags &= ~RFLAGS_RF;
	return EMU_DONE;
}
