/* SPDX-License-Identifier: MIT */
/*
 * Instruction emulator: MOVS, CMPS, STOS, LODS and SCAS, with and without REP.
 *
 * Each iteration is all or nothing; what earlier iterations did stays done when a later one faults,
 * and the guest resumes at the same RIP with the remaining count, as on the CPU.
 */
#include "access.h"
#include "arith.h"

/* Where this iteration works; `bytes` also tells how far the pointers move. */
struct iteration {
	uint64_t source;      /* linear address, if the instruction has a source in memory */
	uint64_t destination; /* linear address, if it has a destination */
	unsigned bytes;
};

static bool uses_source(unsigned op)
{
	return op == EMU_OP_MOVS || op == EMU_OP_CMPS || op == EMU_OP_LODS;
}

static bool uses_destination(unsigned op)
{
	return op != EMU_OP_LODS;
}

static bool compares(unsigned op)
{
	return op == EMU_OP_CMPS || op == EMU_OP_SCAS;
}

/* The source may have a segment override; the destination is always in ES. */
static enum emu_outcome find_strings(const struct run *run, struct iteration *it)
{
	const struct emu_insn *insn = run->insn;
	unsigned address_bytes = insn->address_bytes;
	struct address source = {.segment = insn->segment};
	struct address destination = {.segment = EMU_ES};
	enum emu_outcome outcome = EMU_DONE;

	source.offset = emu_pointer_read(run->cpu, EMU_RSI, address_bytes);
	destination.offset = emu_pointer_read(run->cpu, EMU_RDI, address_bytes);
	if (uses_source(insn->op))
		outcome = emu_linear(run, source, it->bytes, USE_READ, &it->source);
	if (outcome == EMU_DONE && uses_destination(insn->op))
		outcome = emu_linear(run, destination, it->bytes,
				     compares(insn->op) ? USE_READ : USE_WRITE, &it->destination);
	return outcome;
}

static void move_pointers(const struct run *run, unsigned bytes)
{
	struct emu_cpu *cpu = run->cpu;
	unsigned address_bytes = run->insn->address_bytes;
	uint64_t step = cpu->rflags & RFLAGS_DF ? -(uint64_t)bytes : bytes;

	if (uses_source(run->insn->op))
		emu_pointer_write(cpu, EMU_RSI, address_bytes, cpu->gpr[EMU_RSI] + step);
	if (uses_destination(run->insn->op))
		emu_pointer_write(cpu, EMU_RDI, address_bytes, cpu->gpr[EMU_RDI] + step);
}

/* CMPS compares [rSI] with [rDI], SCAS the accumulator with [rDI]. */
static enum emu_outcome iterate_compare(const struct run *run, const struct iteration *it)
{
	uint64_t a = 0, b = 0;
	enum emu_outcome outcome = EMU_DONE;

	if (run->insn->op == EMU_OP_CMPS)
		outcome = emu_read(run, it->source, it->bytes, 0, &a);
	else
		a = run->cpu->gpr[EMU_RAX] & emu_mask(it->bytes);
	if (outcome == EMU_DONE)
		outcome = emu_read(run, it->destination, it->bytes, 0, &b);
	if (outcome == EMU_DONE)
		emu_alu(EMU_OP_CMP, a, b, it->bytes, &run->cpu->rflags);
	return outcome;
}

static enum emu_outcome iterate_move(const struct run *run, const struct iteration *it)
{
	unsigned op = run->insn->op;
	uint64_t value = run->cpu->gpr[EMU_RAX];
	enum emu_outcome outcome = EMU_DONE;

	if (op == EMU_OP_MOVS)
		outcome = emu_check_write(run, it->destination, it->bytes);
	if (outcome == EMU_DONE && uses_source(op))
		outcome = emu_read(run, it->source, it->bytes, 0, &value);
	if (outcome != EMU_DONE)
		return outcome;
	if (uses_destination(op))
		return emu_write(run, it->destination, it->bytes, &value);
	emu_reg_write(run, EMU_RAX, it->bytes, value);
	return EMU_DONE;
}

static enum emu_outcome iterate(const struct run *run)
{
	struct iteration it = {.bytes = run->insn->operand_bytes};
	enum emu_outcome outcome = find_strings(run, &it);

	if (outcome != EMU_DONE)
		return outcome;
	outcome = compares(run->insn->op) ? iterate_compare(run, &it) : iterate_move(run, &it);
	if (outcome == EMU_DONE)
		move_pointers(run, it.bytes);
	return outcome;
}

/* REPE goes on while equal, REPNE while not; for the other strings both mean REP. */
static bool is_last(const struct run *run)
{
	bool equal = (run->cpu->rflags & RFLAGS_ZF) != 0;

	return compares(run->insn->op) && equal != (run->insn->rep == EMU_REP_E);
}

enum emu_outcome emu_run_string(const struct run *run)
{
	struct emu_cpu *cpu = run->cpu;
	unsigned address_bytes = run->insn->address_bytes;
	unsigned limit = cpu->rflags & RFLAGS_TF ? 1 : EMU_REP_MAX;

	if (run->insn->rep == EMU_REP_NONE)
		return iterate(run);
	for (unsigned i = 0; i < limit; i++) {
		uint64_t count = emu_pointer_read(cpu, EMU_RCX, address_bytes);
		enum emu_outcome outcome;

		if (count == 0)
			return EMU_DONE;
		outcome = iterate(run);
		if (outcome != EMU_DONE)
			return outcome;
		emu_pointer_write(cpu, EMU_RCX, address_bytes, count - 1);
		if (count == 1 || is_last(run))
			return EMU_DONE;
	}
	return EMU_AGAIN;
}
