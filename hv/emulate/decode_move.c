/* SPDX-License-Identifier: MIT */
/* The short way through the decoder, for what nearly all accesses to devices are. */
#include <string.h>

#include "decoder.h"

/* Little-endian, of any alignment. */
static int32_t far_displacement(const uint8_t *at)
{
	int32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* RSP as a base takes a SIB byte, so it is none here. */
static enum emu_segment_reg segment_of(unsigned base)
{
	return base == EMU_RBP ? EMU_SS : EMU_DS;
}

/* The operand that mod and rm name, without SIB. Return: the byte behind it. */
static const uint8_t *take_operand(const uint8_t *at, unsigned modrm, unsigned rex,
				   struct emu_insn *out)
{
	unsigned mod = modrm >> 6, rm = modrm & 7u;
	bool rip_relative = mod == 0 && rm == 5;
	unsigned base = rip_relative ? (unsigned)EMU_REG_NONE : rm | ((rex & REX_B) != 0 ? 8u : 0);
	int64_t disp = 0;

	if (mod == 1) {
		disp = (int8_t)*at++;
	} else if (mod == 2 || rip_relative) {
		disp = far_displacement(at);
		at += sizeof(int32_t);
	}
	out->memory.base = (uint8_t)base;
	out->memory.index = EMU_REG_NONE;
	out->memory.scale = 1;
	out->memory.rip_relative = rip_relative;
	out->memory.disp = disp;
	out->segment = (uint8_t)segment_of(base);
	return at;
}

bool emu_decode_move(const uint8_t *bytes, struct emu_insn *out)
{
	unsigned rex = (*bytes & 0xf0) == 0x40 ? *bytes : 0;
	const uint8_t *at = bytes + (rex != 0);
	unsigned opcode = at[0], modrm = at[1];
	bool load = (opcode & 2) != 0, wide = (opcode & 1) != 0;

	if ((opcode & 0xfc) != 0x88 || modrm >= 0xc0 || (modrm & 7) == 4)
		return false;
	memset(out, 0, sizeof(*out));
	out->op = EMU_OP_MOV;
	out->mode = EMU_MODE_64;
	out->map = EMU_MAP_ONE;
	out->opcode = (uint8_t)opcode;
	out->operand_bytes = !wide ? 1 : (rex & REX_W) != 0 ? 8 : 4;
	out->address_bytes = 8;
	out->destination = load ? EMU_OPERAND_REG : EMU_OPERAND_RM;
	out->source = load ? EMU_OPERAND_RM : EMU_OPERAND_REG;
	out->reg = (uint8_t)((modrm >> 3 & 7u) | ((rex & REX_R) != 0 ? 8u : 0));
	out->has_modrm = true;
	out->has_memory = true;
	out->has_rex = rex != 0;
	out->modrm = (uint8_t)modrm;
	out->length = (uint8_t)(take_operand(at + 2, modrm, rex, out) - bytes);
	return true;
}
