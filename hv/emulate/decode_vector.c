/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoder: openings of VEX, EVEX and XOP instructions. Private to the decoder.
 *
 * Only what the length depends on: the map, the opcode, and the bits that stand in for REX.
 */
#include "decoder.h"
#include "opcodes.h"

/* VEX immediates: the 0F map has them at the opcodes where SSE has them, 0F3A always. */
static uint64_t vector_word(unsigned map, uint8_t opcode)
{
	bool shift_or_shuffle = (opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 ||
				(opcode >= 0xc4 && opcode <= 0xc6);

	if (map == 3 || (map == 1 && shift_or_shuffle))
		return WORD_OP(VECTOR) | WORD_MODRM | WORD_IMM(U8);
	return WORD_OP(VECTOR) | WORD_MODRM;
}

/* The CPU raises #UD for a VEX, EVEX or XOP behind a prefix that it carries itself. */
static bool may_start_vector(const struct decoder *d)
{
	return d->prefix == PREFIX_NP && !d->insn->lock && !d->rex;
}

/* Inverted R, X and B in bits 7 to 5, as in the second byte of C4, 62 and 8F. */
static uint8_t vector_rex(const struct decoder *d, uint64_t byte)
{
	return emu_in_64_bit_code(d) ? (uint8_t)(~byte >> 5 & 7u) : 0;
}

static void take_vex(struct decoder *d, uint8_t first)
{
	unsigned map = 1;
	uint64_t byte = emu_take(d, 1);

	if (first == 0xc4) {
		d->rex = vector_rex(d, byte);
		map = byte & 31u;
		byte = emu_take(d, 1);
		d->rex |= emu_in_64_bit_code(d) ? (uint8_t)(byte >> 4 & REX_W) : 0;
	} else {
		d->rex = vector_rex(d, byte) & REX_R;
	}
	if (d->status == EMU_OK && (map < 1 || map > 3))
		emu_fail(d, map ? EMU_UNSUPPORTED : EMU_INVALID);
	d->insn->opcode = (uint8_t)emu_take(d, 1);
	d->word = vector_word(map, d->insn->opcode);
	if (map == 1 && d->insn->opcode == 0x77) /* VZEROUPPER, VZEROALL */
		d->word = WORD_OP(VECTOR);
}

static void take_evex(struct decoder *d)
{
	uint64_t payload = emu_take(d, 3);
	unsigned map = payload & 7u;

	if (d->status == EMU_OK && (payload & 0x0408) != 0x0400)
		emu_fail(d, EMU_UNSUPPORTED);
	if (d->status == EMU_OK && (map == 0 || map == 4 || map == 7))
		emu_fail(d, map ? EMU_UNSUPPORTED : EMU_INVALID);
	d->rex = vector_rex(d, payload) |
		 (emu_in_64_bit_code(d) ? (uint8_t)(payload >> 12 & REX_W) : 0);
	d->insn->opcode = (uint8_t)emu_take(d, 1);
	d->word = vector_word(map, d->insn->opcode);
}

static void take_xop(struct decoder *d)
{
	uint64_t payload = emu_take(d, 2);
	unsigned map = payload & 31u;

	if (d->status == EMU_OK && map > 10)
		emu_fail(d, EMU_UNSUPPORTED);
	d->rex = vector_rex(d, payload) |
		 (emu_in_64_bit_code(d) ? (uint8_t)(payload >> 12 & REX_W) : 0);
	d->insn->opcode = (uint8_t)emu_take(d, 1);
	d->word = WORD_OP(VECTOR) | WORD_MODRM;
	if (map == 8)
		d->word |= WORD_IMM(U8);
	else if (map == 10)
		d->word |= WORD_IMM(U32);
}

bool emu_take_vector(struct decoder *d, uint8_t byte)
{
	bool starts = false;

	if (byte == 0xc4 || byte == 0xc5 || byte == 0x62)
		starts = emu_in_64_bit_code(d) || emu_peek(d) >= 0xc0;
	else if (byte == 0x8f)
		starts = (emu_peek(d) & 31u) >= 8;
	if (!starts || d->status != EMU_OK)
		return false;
	d->insn->map = byte == 0x62 ? EMU_MAP_EVEX : byte == 0x8f ? EMU_MAP_XOP : EMU_MAP_VEX;
	if (!may_start_vector(d))
		emu_fail(d, EMU_INVALID);
	else if (byte == 0x62)
		take_evex(d);
	else if (byte == 0x8f)
		take_xop(d);
	else
		take_vex(d, byte);
	return true;
}
