/* SPDX-License-Identifier: MIT */
/*
 * Operands, addresses and accesses of one instruction.
 *
 * An instruction first finds its operands (address, segment and canonical checks), then reads, then
 * writes memory, and changes registers last: whatever fails, nothing has happened yet.
 */
#include "access.h"

#include "arith.h"

/* Without REX, byte registers 4 to 7 are the second bytes of registers 0 to 3. */
static bool is_high_byte(const struct run *run, unsigned reg, unsigned bytes)
{
	return bytes == 1 && !run->insn->has_rex && reg >= 4 && reg < 8;
}

uint64_t emu_reg_read(const struct run *run, unsigned reg, unsigned bytes)
{
	if (is_high_byte(run, reg, bytes))
		return run->cpu->gpr[reg - 4] >> 8 & 0xff;
	return run->cpu->gpr[reg] & emu_mask(bytes);
}

void emu_reg_write(const struct run *run, unsigned reg, unsigned bytes, uint64_t value)
{
	uint64_t *gpr = run->cpu->gpr;

	if (is_high_byte(run, reg, bytes))
		gpr[reg - 4] = (gpr[reg - 4] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	else if (bytes >= 4)
		gpr[reg] = value & emu_mask(bytes);
	else
		gpr[reg] = (gpr[reg] & ~emu_mask(bytes)) | (value & emu_mask(bytes));
}

uint64_t emu_pointer_read(const struct emu_cpu *cpu, unsigned reg, unsigned bytes)
{
	return cpu->gpr[reg] & emu_mask(bytes);
}

void emu_pointer_write(struct emu_cpu *cpu, unsigned reg, unsigned bytes, uint64_t value)
{
	if (bytes == 2)
		cpu->gpr[reg] = (cpu->gpr[reg] & ~UINT64_C(0xffff)) | (value & 0xffff);
	else
		cpu->gpr[reg] = value & emu_mask(bytes);
}

struct address emu_address(const struct run *run, int64_t extra)
{
	const struct emu_memory *memory = &run->insn->memory;
	uint64_t offset = (uint64_t)memory->disp + (uint64_t)extra;

	if (memory->rip_relative)
		offset += run->cpu->rip + run->insn->length;
	if (memory->base != EMU_REG_NONE)
		offset += run->cpu->gpr[memory->base];
	if (memory->index != EMU_REG_NONE)
		offset += run->cpu->gpr[memory->index] * memory->scale;
	offset &= emu_mask(run->insn->address_bytes);
	return (struct address){.segment = run->insn->segment, .offset = offset};
}

static bool is_canonical(const struct emu_cpu *cpu, uint64_t linear)
{
	unsigned unused = 64u - cpu->linear_bits;

	return (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
}

static bool is_in_segment(const struct emu_segment *segment, uint64_t offset, unsigned bytes,
			  unsigned use)
{
	uint64_t last = offset + bytes - 1;
	uint64_t highest = segment->flags & EMU_SEGMENT_BIG ? UINT32_MAX : UINT16_MAX;

	if (use & USE_READ && !(segment->flags & EMU_SEGMENT_READABLE))
		return false;
	if (use & USE_WRITE && !(segment->flags & EMU_SEGMENT_WRITABLE))
		return false;
	if (segment->flags & EMU_SEGMENT_EXPAND_DOWN)
		return offset > segment->limit && last <= highest;
	return last <= segment->limit;
}

enum emu_outcome emu_linear(const struct run *run, struct address address, unsigned bytes,
			    unsigned use, uint64_t *linear)
{
	const struct emu_cpu *cpu = run->cpu;
	const struct emu_segment *segment = &cpu->segment[address.segment];
	bool valid;

	if (cpu->mode == EMU_MODE_64) {
		*linear = address.offset + (address.segment >= EMU_FS ? segment->base : 0);
		valid = is_canonical(cpu, *linear) && is_canonical(cpu, *linear + bytes - 1);
	} else {
		*linear = (segment->base + address.offset) & UINT32_MAX;
		valid = is_in_segment(segment, address.offset, bytes, use);
	}
	if (valid)
		return EMU_DONE;
	return address.segment == EMU_SS ? EMU_RAISE_SS : EMU_RAISE_GP;
}

uint64_t emu_operand_linear(struct emu_cpu *cpu, const struct emu_insn *insn)
{
	const struct run run = {.cpu = cpu, .insn = insn};
	struct address address = emu_address(&run, 0);
	uint64_t base = cpu->segment[address.segment].base;

	if (cpu->mode == EMU_MODE_64)
		return address.offset + (address.segment >= EMU_FS ? base : 0);
	return (uint32_t)(base + address.offset);
}

static enum emu_outcome outcome_of(enum emu_result result)
{
	switch (result) {
	case EMU_ACCESS_OK:
		return EMU_DONE;
	case EMU_ACCESS_FAULT:
		return EMU_FAULT;
	case EMU_ACCESS_RETRY:
		return EMU_RETRY;
	}
	return EMU_FAULT;
}

static bool is_atomic(const struct run *run)
{
	return run->insn->lock || run->insn->op == EMU_OP_XCHG;
}

static struct emu_access access_to(const struct run *run, uint64_t linear, unsigned bytes,
				   uint32_t flags)
{
	if (run->cpu->cpl == 3)
		flags |= EMU_ACCESS_USER;
	if (is_atomic(run))
		flags |= EMU_ACCESS_LOCKED;
	return (struct emu_access){.linear = linear, .bytes = bytes, .flags = flags};
}

enum emu_outcome emu_read(const struct run *run, uint64_t linear, unsigned bytes, uint32_t flags,
			  void *value)
{
	struct emu_access access = access_to(run, linear, bytes, flags);

	return outcome_of(run->ops->read(run->context, &access, value));
}

enum emu_outcome emu_write(const struct run *run, uint64_t linear, unsigned bytes,
			   const void *value)
{
	struct emu_access access = access_to(run, linear, bytes, 0);

	return outcome_of(run->ops->write(run->context, &access, value));
}

enum emu_outcome emu_check_write(const struct run *run, uint64_t linear, unsigned bytes)
{
	struct emu_access access = access_to(run, linear, bytes, 0);

	if (!run->ops->check_write)
		return EMU_DONE;
	return outcome_of(run->ops->check_write(run->context, &access));
}

enum emu_outcome emu_update(const struct run *run, uint64_t linear, unsigned bytes, const void *old,
			    const void *value)
{
	struct emu_access access = access_to(run, linear, bytes, 0);

	if (!is_atomic(run) || !run->ops->compare_exchange)
		return emu_write(run, linear, bytes, value);
	return outcome_of(run->ops->compare_exchange(run->context, &access, old, value));
}

enum emu_outcome emu_find(const struct run *run, unsigned operand, unsigned bytes, unsigned use,
			  struct place *place)
{
	const struct emu_insn *insn = run->insn;

	*place = (struct place){.bytes = (uint8_t)bytes, .use = (uint8_t)use};
	switch ((enum emu_operand)operand) {
	case EMU_OPERAND_RM:
		place->memory = insn->has_memory;
		place->reg = insn->rm;
		break;
	case EMU_OPERAND_REG:
		place->reg = insn->reg;
		break;
	case EMU_OPERAND_ACC:
		place->reg = EMU_RAX;
		break;
	case EMU_OPERAND_IMM:
		place->constant = true;
		place->value = (uint64_t)insn->imm & emu_mask(bytes);
		break;
	case EMU_OPERAND_ONE:
		place->constant = true;
		place->value = 1;
		break;
	case EMU_OPERAND_CL:
		place->constant = true;
		place->value = run->cpu->gpr[EMU_RCX] & 0xff;
		break;
	case EMU_OPERAND_NONE:
		place->constant = true;
		break;
	case EMU_OPERAND_XMM:
		return EMU_CANNOT;
	}
	if (place->memory)
		return emu_linear(run, emu_address(run, 0), bytes, use, &place->linear);
	return EMU_DONE;
}

enum emu_outcome emu_load(const struct run *run, const struct place *place, uint64_t *value)
{
	uint32_t flags = place->use & USE_WRITE ? EMU_ACCESS_WRITE_INTENT : 0;

	*value = place->value;
	if (place->memory)
		return emu_read(run, place->linear, place->bytes, flags, value);
	if (!place->constant)
		*value = emu_reg_read(run, place->reg, place->bytes);
	return EMU_DONE;
}

enum emu_outcome emu_store(const struct run *run, const struct place *place, uint64_t value)
{
	if (place->memory)
		return emu_write(run, place->linear, place->bytes, &value);
	emu_reg_write(run, place->reg, place->bytes, value);
	return EMU_DONE;
}

enum emu_outcome emu_restore(const struct run *run, const struct place *place, uint64_t old,
			     uint64_t value)
{
	if (place->memory)
		return emu_update(run, place->linear, place->bytes, &old, &value);
	return emu_store(run, place, value);
}
