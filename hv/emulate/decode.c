/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoder.
 *
 * An instruction is read front to back in six stages: prefixes, opcode, ModRM with address,
 * immediate, legality, operand size. The tables in opcodes.c and opcodes_0f.c say which stages an
 * opcode needs; only the oddities of x86 are code. A stage that fails sets `status` and the later
 * ones are skipped, so that no byte is asked for which the CPU would not fetch.
 */
#include "decode.h"

#include <string.h>

#include "decoder.h"
#include "opcodes.h"

uint64_t emu_take(struct decoder *d, unsigned bytes)
{
	uint64_t value = 0;

	if (d->status != EMU_OK)
		return 0;
	for (unsigned i = 0; i < bytes; i++) {
		if (d->at >= EMU_INSN_BYTES_MAX) {
			d->status = EMU_TOO_LONG;
			return 0;
		}
		if (d->at >= d->count) {
			d->status = EMU_NEED_BYTES;
			return 0;
		}
		value |= (uint64_t)d->bytes[d->at++] << (8 * i);
	}
	return value;
}

uint8_t emu_peek(struct decoder *d)
{
	uint8_t value = (uint8_t)emu_take(d, 1);

	if (d->status == EMU_OK)
		d->at--;
	return value;
}

static int64_t sign_extend(uint64_t value, unsigned bytes)
{
	unsigned unused = 64 - 8 * bytes;

	return (int64_t)(value << unused) >> unused;
}

/* ES, CS, SS and DS overrides are without effect in 64-bit code: they do not even undo FS or GS. */
static void override_segment(struct decoder *d, enum emu_segment_reg segment)
{
	if (!emu_in_64_bit_code(d) || segment >= EMU_FS)
		d->override = (uint8_t)segment;
}

static bool take_legacy_prefix(struct decoder *d, uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		override_segment(d, (enum emu_segment_reg)(byte >> 3 & 3));
		return true;
	case 0x64:
	case 0x65:
		override_segment(d, (enum emu_segment_reg)(byte & 7));
		return true;
	case 0x66:
		d->operand_size = true;
		return true;
	case 0x67:
		d->address_size = true;
		return true;
	case 0xf0:
		d->insn->lock = true;
		return true;
	case 0xf2:
		d->insn->rep = EMU_REP_NE;
		return true;
	case 0xf3:
		d->insn->rep = EMU_REP_E;
		return true;
	default:
		return false;
	}
}

/* Returns the first byte that is no prefix. */
static uint8_t take_prefixes(struct decoder *d)
{
	for (;;) {
		uint8_t byte = (uint8_t)emu_take(d, 1);

		if (d->status != EMU_OK)
			return 0;
		if (emu_in_64_bit_code(d) && (byte & 0xf0) == 0x40) {
			d->rex = byte;
			continue;
		}
		if (!take_legacy_prefix(d, byte)) {
			if (d->insn->rep == EMU_REP_E)
				d->prefix = PREFIX_F3;
			else if (d->insn->rep == EMU_REP_NE)
				d->prefix = PREFIX_F2;
			else
				d->prefix = d->operand_size ? PREFIX_66 : PREFIX_NP;
			return byte;
		}
		d->rex = 0; /* a REX counts only right before the opcode */
	}
}

/* Entries that depend on more than the opcode. */
static void adjust_word(struct decoder *d)
{
	struct emu_insn *insn = d->insn;

	if (insn->map == EMU_MAP_ONE && insn->opcode == 0x63 && !emu_in_64_bit_code(d)) {
		d->word = WORD_OP(OTHER) | WORD_MODRM | WORD_OPERANDS(RM, REG);
	} else if (insn->map == EMU_MAP_ONE && insn->opcode == 0x90) {
		/* REX.B makes an exchange of R8 out of NOP, but not out of PAUSE. */
		if (insn->rep == EMU_REP_E)
			d->word = WORD_OP(PAUSE);
		else if (!(d->rex & REX_B))
			d->word = WORD_OP(NOP);
	} else if (insn->map == EMU_MAP_0F && (insn->opcode == 0x78 || insn->opcode == 0x79)) {
		if (d->prefix == PREFIX_NP)
			d->word |= WORD_SIZE(F64) | WORD_OPERANDS(RM, REG);
		else if (insn->opcode == 0x78) /* EXTRQ, INSERTQ */
			d->word |= WORD_REGISTER | WORD_IMM(U8_U8);
		else
			d->word |= WORD_REGISTER;
	}
}

static void take_opcode(struct decoder *d, uint8_t byte)
{
	struct emu_insn *insn = d->insn;

	if (emu_take_vector(d, byte) || d->status != EMU_OK)
		return;
	if (byte != 0x0f) {
		d->word = emu_one_words[byte];
	} else {
		byte = (uint8_t)emu_take(d, 1);
		insn->map = EMU_MAP_0F;
		if (byte == 0x38) {
			byte = (uint8_t)emu_take(d, 1);
			insn->map = EMU_MAP_0F38;
			d->word = emu_0f38_word(byte, d->prefix);
		} else if (byte == 0x3a) {
			byte = (uint8_t)emu_take(d, 1);
			insn->map = EMU_MAP_0F3A;
			d->word = emu_0f3a_word(byte);
		} else {
			d->word = emu_0f_words[byte];
		}
	}
	insn->opcode = byte;
	if (!d->word)
		emu_fail(d, insn->map >= EMU_MAP_0F38 ? EMU_UNSUPPORTED : EMU_INVALID);
	adjust_word(d);
}

/* The word of a group member takes the place of the group's. */
static void apply_group(struct decoder *d)
{
	struct emu_insn *insn = d->insn;
	unsigned row = (insn->modrm >> 3 & 7u) + (insn->modrm < 0xc0 ? 0u : 8u);
	uint64_t group = emu_group_words[d->word & WORD_OP_MASK][row];

	if (insn->map == EMU_MAP_0F && insn->opcode == 0x01 && insn->modrm >= 0xc0)
		group = emu_0f01_register_word(insn->modrm);
	/* XABORT and XBEGIN have no register operand. */
	if (insn->map == EMU_MAP_ONE && (insn->opcode & 0xfe) == 0xc6 && insn->modrm > 0xf8)
		group = 0;
	d->word = group ? (d->word & ~(WORD_OP_MASK | WORD_GROUP)) | group : 0;
}

/* Rules that hold with some prefixes only become plain ones. */
static void apply_prefix(struct decoder *d)
{
	if (d->word & WORD_66_MEMORY && d->prefix == PREFIX_66)
		d->word |= WORD_MEMORY;
	if (d->word & WORD_REP_REGISTER && d->prefix >= PREFIX_F3)
		d->word |= WORD_REGISTER;
	if (d->word & WORD_F3_64 && d->prefix == PREFIX_F3)
		d->word |= WORD_ONLY_64;
	if (d->word & WORD_F2_64 && d->prefix == PREFIX_F2)
		d->word |= WORD_ONLY_64;
	/* EXTRQ with immediates is a group with one member. */
	if ((d->word >> WORD_IMM_SHIFT & 15u) == IMM_U8_U8 && d->prefix == PREFIX_66 &&
	    d->insn->modrm & 0x38)
		d->word = 0;
}

/* What the table says about ModRM and the prefix, before any further byte is read. */
static void apply_modrm(struct decoder *d)
{
	struct emu_insn *insn = d->insn;
	uint64_t missing = insn->modrm < 0xc0 ? WORD_REGISTER : WORD_MEMORY;

	if (d->word & WORD_GROUP)
		apply_group(d);
	apply_prefix(d);
	if (insn->map == EMU_MAP_ONE && (insn->opcode & 0xf8) == 0xd8 &&
	    !emu_x87_exists(insn->opcode, insn->modrm))
		d->word = 0;
	if (d->word & missing)
		d->word = 0;
	if (!d->word)
		emu_fail(d, EMU_INVALID);
}

static void check_prefix(struct decoder *d)
{
	if (d->word >> (WORD_NOT_SHIFT + d->prefix) & 1u)
		emu_fail(d, EMU_INVALID);
	if (d->word & (emu_in_64_bit_code(d) ? WORD_NOT_64 : WORD_ONLY_64))
		emu_fail(d, EMU_INVALID);
}

static void take_address_16(struct decoder *d)
{
	static const uint8_t bases[8] = {EMU_RBX, EMU_RBX, EMU_RBP, EMU_RBP,
					 EMU_RSI, EMU_RDI, EMU_RBP, EMU_RBX};
	static const uint8_t indexes[4] = {EMU_RSI, EMU_RDI, EMU_RSI, EMU_RDI};
	struct emu_memory *memory = &d->insn->memory;
	unsigned mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7u;

	memory->base = bases[rm];
	if (rm < 4)
		memory->index = indexes[rm];
	if (mod == 0 && rm == 6) {
		memory->base = EMU_REG_NONE;
		memory->disp = sign_extend(emu_take(d, 2), 2);
	} else if (mod == 1) {
		memory->disp = sign_extend(emu_take(d, 1), 1);
	} else if (mod == 2) {
		memory->disp = sign_extend(emu_take(d, 2), 2);
	}
}

static void take_address(struct decoder *d)
{
	struct emu_memory *memory = &d->insn->memory;
	unsigned mod = d->insn->modrm >> 6, base = d->insn->modrm & 7u;
	unsigned disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	bool sib = base == 4;

	if (sib) {
		unsigned byte = (unsigned)emu_take(d, 1);
		unsigned index = (byte >> 3 & 7u) | (d->rex & REX_X ? 8u : 0);

		base = byte & 7u;
		if (index != EMU_RSP) {
			memory->index = (uint8_t)index;
			memory->scale = (uint8_t)(1u << (byte >> 6));
		}
	}
	if (mod == 0 && base == 5) {
		disp_bytes = 4;
		memory->rip_relative = !sib && emu_in_64_bit_code(d);
	} else {
		memory->base = (uint8_t)(base | (d->rex & REX_B ? 8u : 0));
	}
	if (disp_bytes)
		memory->disp = sign_extend(emu_take(d, disp_bytes), disp_bytes);
}

static void take_modrm(struct decoder *d)
{
	struct emu_insn *insn = d->insn;

	insn->modrm = (uint8_t)emu_take(d, 1);
	if (d->status != EMU_OK)
		return;
	insn->has_modrm = true;
	apply_modrm(d);
	check_prefix(d);
	insn->reg = (uint8_t)((insn->modrm >> 3 & 7) | (d->rex & REX_R ? 8u : 0));
	if (insn->modrm >= 0xc0 || d->word & WORD_CONTROL) {
		insn->rm = (uint8_t)((insn->modrm & 7) | (d->rex & REX_B ? 8u : 0));
		return;
	}
	insn->has_memory = true;
	if (insn->address_bytes == 2)
		take_address_16(d);
	else
		take_address(d);
}

static uint8_t operand_bytes(const struct decoder *d)
{
	bool wide = (d->insn->mode == EMU_MODE_16) == d->operand_size;
	uint8_t plain = d->rex & REX_W ? 8 : wide ? 4 : 2;

	switch ((enum emu_size_kind)(d->word >> WORD_SIZE_SHIFT & 15u)) {
	case SIZE_V:
		return plain;
	case SIZE_B:
		return 1;
	case SIZE_D64:
		return emu_in_64_bit_code(d) && plain == 4 ? 8 : plain;
	case SIZE_F64:
		return emu_in_64_bit_code(d) ? 8 : 4;
	case SIZE_Y:
		return d->rex & REX_W ? 8 : 4;
	case SIZE_Z:
		return plain == 8 ? 4 : plain;
	case SIZE_V64:
		return emu_in_64_bit_code(d) ? 8 : plain;
	}
	return plain;
}

static void take_immediate(struct decoder *d)
{
	struct emu_insn *insn = d->insn;
	unsigned full = insn->operand_bytes, half = full == 8 ? 4 : full;
	enum emu_imm_kind kind = (enum emu_imm_kind)(d->word >> WORD_IMM_SHIFT & 15u);
	static const uint8_t fixed_bytes[] = {
		[IMM_U8] = 1,    [IMM_S8] = 1,    [IMM_U16] = 2, [IMM_REL8] = 1,
		[IMM_ENTER] = 2, [IMM_U8_U8] = 1, [IMM_U32] = 4,
	};

	if (kind == IMM_NONE)
		return;
	if (kind == IMM_MOFFS) {
		insn->has_memory = true;
		insn->memory.disp = (int64_t)emu_take(d, insn->address_bytes);
		return;
	}
	if (kind == IMM_Z || kind == IMM_RELZ || kind == IMM_FAR)
		insn->imm_bytes = (uint8_t)half;
	else if (kind == IMM_V)
		insn->imm_bytes = (uint8_t)full;
	else
		insn->imm_bytes = fixed_bytes[kind];
	insn->imm = (int64_t)emu_take(d, insn->imm_bytes);
	if (kind == IMM_S8 || kind == IMM_REL8 || kind == IMM_Z || kind == IMM_RELZ)
		insn->imm = sign_extend((uint64_t)insn->imm, insn->imm_bytes);
	if (kind == IMM_FAR)
		insn->imm2 = (uint16_t)emu_take(d, 2);
	else if (kind == IMM_ENTER || kind == IMM_U8_U8)
		insn->imm2 = (uint16_t)emu_take(d, 1);
}

static void check_legality(struct decoder *d)
{
	struct emu_insn *insn = d->insn;

	if (d->word & WORD_CONTROL) {
		bool debug = (insn->opcode & 1) != 0;

		/* AMD: LOCK names CR8 where REX.R is not to be had. */
		if (insn->lock && insn->reg == 0)
			insn->reg = 8;
		else if (insn->lock)
			emu_fail(d, EMU_INVALID);
		if (debug ? insn->reg > 7 : !(1u << insn->reg & 0x11d))
			emu_fail(d, EMU_INVALID);
	} else if (insn->lock && !(d->word & WORD_LOCK && insn->has_memory)) {
		emu_fail(d, EMU_INVALID);
	}
	/* There are six segment registers, and CS cannot be loaded. */
	if (d->word & WORD_SELECTOR) {
		insn->reg &= 7;
		if (insn->reg >= EMU_SEGMENT_COUNT || (insn->opcode == 0x8e && insn->reg == EMU_CS))
			emu_fail(d, EMU_INVALID);
	}
}

static void set_segment(struct decoder *d)
{
	const struct emu_memory *memory = &d->insn->memory;
	bool stack = d->insn->has_memory && (memory->base == EMU_RSP || memory->base == EMU_RBP);

	if (d->override != NO_OVERRIDE)
		d->insn->segment = d->override;
	else
		d->insn->segment = stack ? EMU_SS : EMU_DS;
}

static void set_operands(struct decoder *d)
{
	struct emu_insn *insn = d->insn;

	insn->op = (uint8_t)(d->word & WORD_OP_MASK);
	insn->destination = (uint8_t)(d->word >> WORD_TO_SHIFT & 15u);
	insn->source = (uint8_t)(d->word >> WORD_FROM_SHIFT & 15u);
	if (d->word & WORD_OPCODE_REG)
		insn->reg = (uint8_t)((insn->opcode & 7) | (d->rex & REX_B ? 8u : 0));
	if (d->word & WORD_MOVX)
		emu_resolve_movx(insn, d->prefix, (d->rex & REX_W) != 0);
	if (insn->op == EMU_OP_VECTOR && insn->map == EMU_MAP_0F) {
		insn->map = EMU_MAP_3DNOW;
		insn->opcode = (uint8_t)insn->imm;
	}
}

static __attribute__((noinline)) enum emu_status
decode_any(const uint8_t *bytes, size_t count, enum emu_mode mode, struct emu_insn *out)
{
	struct decoder d = {
		.bytes = bytes,
		.count = count,
		.status = EMU_OK,
		.insn = out,
		.override = NO_OVERRIDE,
	};
	uint8_t first;

	memset(out, 0, sizeof(*out));
	out->mode = (uint8_t)mode;
	out->memory.base = EMU_REG_NONE;
	out->memory.index = EMU_REG_NONE;
	out->memory.scale = 1;

	first = take_prefixes(&d);
	out->has_rex = d.rex != 0;
	if (mode == EMU_MODE_64)
		out->address_bytes = d.address_size ? 4 : 8;
	else
		out->address_bytes = (mode == EMU_MODE_16) == d.address_size ? 4 : 2;

	if (d.status == EMU_OK)
		take_opcode(&d, first);
	if (d.status == EMU_OK && d.word & WORD_MODRM)
		take_modrm(&d);
	else if (d.status == EMU_OK)
		check_prefix(&d);
	if (d.status != EMU_OK)
		return d.status;
	out->operand_bytes = operand_bytes(&d);
	take_immediate(&d);
	if (d.status != EMU_OK)
		return d.status;
	set_operands(&d);
	check_legality(&d);
	set_segment(&d);
	out->length = (uint8_t)d.at;
	return d.status;
}

enum emu_status emu_decode(const uint8_t *bytes, size_t count, enum emu_mode mode,
			   struct emu_insn *out)
{
	if (mode == EMU_MODE_64 && count >= EMU_INSN_BYTES_MAX && emu_decode_move(bytes, out))
		return EMU_OK;
	return decode_any(bytes, count, mode, out);
}
