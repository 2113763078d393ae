/* SPDX-License-Identifier: MIT */
/*
 * Opcode tables: the 0F, 0F38 and 0F3A maps. Private to the decoder.
 *
 * SSE opcodes are told apart by a prefix; the words say with which prefixes an opcode exists.
 */
#include "opcodes.h"

#define OP(name) ((uint64_t)EMU_OP_##name)
#define OTHER ((uint64_t)EMU_OP_OTHER)
#define GROUP(name) (WORD_GROUP | WORD_MODRM | (uint64_t)GROUP_##name)
#define IMM(kind) WORD_IMM(kind)
#define SIZE(kind) WORD_SIZE(kind)
#define B WORD_SIZE(B)
#define D64 WORD_SIZE(D64)
#define M WORD_MODRM
#define LOCK WORD_LOCK
#define OPREG WORD_OPCODE_REG
#define TO(to, from) WORD_OPERANDS(to, from)

/* Prefixes with which an opcode exists. */
#define NP WORD_NOT_NP
#define P66 WORD_NOT_66
#define F3 WORD_NOT_F3
#define F2 WORD_NOT_F2
#define ALL_PREFIXES (NP | P66 | F3 | F2)
#define WITH(prefixes) (OTHER | M | (ALL_PREFIXES & ~(prefixes)))
#define NOT(prefixes) (prefixes)

#define MMX WITH(NP | P66)
#define SSE OTHER | M
#define CMOV (OP(CMOV) | M | TO(REG, RM))
#define SETCC (OP(SETCC) | M | B | TO(RM, NONE))
#define JCC (OTHER | D64 | IMM(RELZ))
#define HINT (OP(NOP) | M)

/* clang-format off */

#define EIGHT(first, word)                                                      \
	[(first) + 0] = (word), [(first) + 1] = (word), [(first) + 2] = (word), \
	[(first) + 3] = (word), [(first) + 4] = (word), [(first) + 5] = (word), \
	[(first) + 6] = (word), [(first) + 7] = (word)

const uint64_t emu_0f_words[256] = {
	[0x00] = GROUP(0F00), [0x01] = GROUP(0F01), [0x02] = OTHER | M, [0x03] = OTHER | M,
	[0x05] = OTHER, [0x06] = OP(CLTS), [0x07] = OTHER, [0x08] = OP(INVD), [0x09] = OP(WBINVD),
	[0x0b] = OTHER, [0x0d] = HINT, [0x0e] = OTHER, [0x0f] = OP(VECTOR) | M | IMM(U8),

	[0x10] = SSE | WORD_MOVX, [0x11] = SSE | WORD_MOVX,
	[0x12] = SSE | WORD_66_MEMORY, [0x13] = MMX | WORD_MEMORY, [0x14] = MMX, [0x15] = MMX,
	[0x16] = WITH(NP | P66 | F3) | WORD_66_MEMORY, [0x17] = MMX | WORD_MEMORY,
	EIGHT(0x18, HINT),

	[0x20] = OP(MOV_FROM_CR) | M | SIZE(F64) | WORD_CONTROL | LOCK,
	[0x21] = OP(MOV_FROM_DR) | M | SIZE(F64) | WORD_CONTROL,
	[0x22] = OP(MOV_TO_CR) | M | SIZE(F64) | WORD_CONTROL | LOCK,
	[0x23] = OP(MOV_TO_DR) | M | SIZE(F64) | WORD_CONTROL,
	[0x28] = MMX | WORD_MOVX, [0x29] = MMX | WORD_MOVX,
	[0x2a] = SSE, [0x2b] = SSE | WORD_MEMORY | WORD_MOVX, [0x2c] = SSE, [0x2d] = SSE,
	[0x2e] = MMX, [0x2f] = MMX,

	[0x30] = OP(WRMSR), [0x31] = OP(RDTSC), [0x32] = OP(RDMSR), [0x33] = OP(RDPMC),
	[0x34] = OTHER, [0x35] = OTHER, [0x37] = OTHER | NOT(P66 | F3 | F2),
	EIGHT(0x40, CMOV), EIGHT(0x48, CMOV),

	[0x50] = MMX | WORD_REGISTER, [0x51] = SSE, [0x52] = WITH(NP | F3), [0x53] = WITH(NP | F3),
	[0x54] = MMX, [0x55] = MMX, [0x56] = MMX, [0x57] = MMX, [0x58] = SSE, [0x59] = SSE, [0x5a] = SSE,
	[0x5b] = WITH(NP | P66 | F3), [0x5c] = SSE, [0x5d] = SSE, [0x5e] = SSE, [0x5f] = SSE,
	EIGHT(0x60, MMX), [0x68] = MMX, [0x69] = MMX, [0x6a] = MMX, [0x6b] = MMX,
	[0x6c] = WITH(P66), [0x6d] = WITH(P66), [0x6e] = MMX | WORD_MOVX,
	[0x6f] = WITH(NP | P66 | F3) | WORD_MOVX,

	[0x70] = SSE | IMM(U8), [0x71] = GROUP(0F71), [0x72] = GROUP(0F72), [0x73] = GROUP(0F73),
	[0x74] = MMX, [0x75] = MMX, [0x76] = MMX, [0x77] = OTHER | NOT(P66 | F3 | F2),
	[0x78] = WITH(NP | P66 | F2), [0x79] = WITH(NP | P66 | F2), [0x7c] = WITH(P66 | F2),
	[0x7d] = WITH(P66 | F2), [0x7e] = WITH(NP | P66 | F3) | WORD_MOVX,
	[0x7f] = WITH(NP | P66 | F3) | WORD_MOVX,

	EIGHT(0x80, JCC), EIGHT(0x88, JCC), EIGHT(0x90, SETCC), EIGHT(0x98, SETCC),

	[0xa0] = OTHER | D64, [0xa1] = OTHER | D64, [0xa2] = OP(CPUID), [0xa3] = OP(BT) | M | TO(RM, REG),
	[0xa4] = OTHER | M | TO(RM, REG) | IMM(U8), [0xa5] = OTHER | M | TO(RM, REG),
	[0xa8] = OTHER | D64, [0xa9] = OTHER | D64, [0xaa] = OP(RSM),
	[0xab] = OP(BTS) | M | TO(RM, REG) | LOCK, [0xac] = OTHER | M | TO(RM, REG) | IMM(U8),
	[0xad] = OTHER | M | TO(RM, REG), [0xae] = GROUP(0FAE), [0xaf] = OTHER | M | TO(REG, RM),

	[0xb0] = OP(CMPXCHG) | M | B | TO(RM, REG) | LOCK, [0xb1] = OP(CMPXCHG) | M | TO(RM, REG) | LOCK,
	[0xb2] = OTHER | M | WORD_MEMORY, [0xb3] = OP(BTR) | M | TO(RM, REG) | LOCK,
	[0xb4] = OTHER | M | WORD_MEMORY, [0xb5] = OTHER | M | WORD_MEMORY,
	[0xb6] = OP(MOVZX8) | M | TO(REG, RM), [0xb7] = OP(MOVZX16) | M | TO(REG, RM),
	[0xb8] = WITH(F3) | TO(REG, RM), [0xb9] = OTHER | M, [0xba] = GROUP(0FBA) | TO(RM, IMM) | IMM(U8),
	[0xbb] = OP(BTC) | M | TO(RM, REG) | LOCK, [0xbc] = OTHER | M | TO(REG, RM),
	[0xbd] = OTHER | M | TO(REG, RM), [0xbe] = OP(MOVSX8) | M | TO(REG, RM),
	[0xbf] = OP(MOVSX16) | M | TO(REG, RM),

	[0xc0] = OP(XADD) | M | B | TO(RM, REG) | LOCK, [0xc1] = OP(XADD) | M | TO(RM, REG) | LOCK,
	[0xc2] = SSE | IMM(U8), [0xc3] = OP(MOV) | M | SIZE(Y) | TO(RM, REG) | WORD_MEMORY |
					 NOT(P66 | F3 | F2),
	[0xc4] = MMX | IMM(U8), [0xc5] = MMX | WORD_REGISTER | IMM(U8), [0xc6] = MMX | IMM(U8),
	[0xc7] = GROUP(0FC7), EIGHT(0xc8, OTHER | OPREG | TO(REG, NONE)),

	[0xd0] = WITH(P66 | F2), [0xd1] = MMX, [0xd2] = MMX, [0xd3] = MMX, [0xd4] = MMX, [0xd5] = MMX,
	[0xd6] = WITH(P66 | F3 | F2) | WORD_REP_REGISTER | WORD_MOVX,
	[0xd7] = MMX | WORD_REGISTER, EIGHT(0xd8, MMX),
	[0xe0] = MMX, [0xe1] = MMX, [0xe2] = MMX, [0xe3] = MMX, [0xe4] = MMX, [0xe5] = MMX,
	[0xe6] = WITH(P66 | F3 | F2), [0xe7] = MMX | WORD_MEMORY | WORD_MOVX, EIGHT(0xe8, MMX),
	[0xf0] = WITH(F2) | WORD_MEMORY, [0xf1] = MMX, [0xf2] = MMX, [0xf3] = MMX, [0xf4] = MMX,
	[0xf5] = MMX, [0xf6] = MMX, [0xf7] = MMX | WORD_REGISTER,
	[0xf8] = MMX, [0xf9] = MMX, [0xfa] = MMX, [0xfb] = MMX, [0xfc] = MMX, [0xfd] = MMX, [0xfe] = MMX,
	[0xff] = OTHER | M,
};
/* clang-format on */

/* Register forms of 0F 01 from C0 on; those of SMSW and LMSW are the same for all registers. */
static const uint64_t group7_register[64] = {
	[0x00] = OTHER | NOT(P66 | F3 | F2),
	[0x01] = OP(VMCALL) | NOT(P66 | F3 | F2),
	[0x02] = OTHER | NOT(P66 | F3 | F2),
	[0x03] = OTHER | NOT(P66 | F3 | F2),
	[0x04] = OTHER | NOT(P66 | F3 | F2),
	[0x05] = OTHER | NOT(P66 | F3 | F2),
	[0x08] = OP(MONITOR) | NOT(P66 | F3 | F2),
	[0x09] = OP(MWAIT) | NOT(P66 | F3 | F2),
	[0x0a] = OTHER | NOT(P66 | F3 | F2),
	[0x0b] = OTHER | NOT(P66 | F3 | F2),
	[0x0f] = OTHER | NOT(P66 | F3 | F2),
	[0x10] = OP(XGETBV) | NOT(P66 | F3 | F2),
	[0x11] = OP(XSETBV) | NOT(P66 | F3 | F2),
	[0x14] = OTHER | NOT(P66 | F3 | F2),
	[0x15] = OTHER | NOT(P66 | F3 | F2),
	[0x16] = OTHER | NOT(P66 | F3 | F2),
	[0x17] = OTHER | NOT(P66 | F3 | F2),
	[0x18] = OP(VMRUN),
	[0x19] = OP(VMMCALL),
	[0x1a] = OP(VMLOAD),
	[0x1b] = OP(VMSAVE),
	[0x1c] = OP(STGI),
	[0x1d] = OP(CLGI),
	[0x1e] = OP(SKINIT),
	[0x1f] = OP(INVLPGA),
	[0x28] = OTHER | NOT(P66),
	[0x29] = OTHER | NOT(NP | P66 | F3),
	[0x2a] = OTHER | NOT(NP | P66 | F2),
	[0x2c] = OTHER | NOT(NP | P66 | F2) | WORD_ONLY_64,
	[0x2d] = OTHER | NOT(NP | P66 | F2) | WORD_ONLY_64,
	[0x2e] = OTHER | NOT(P66 | F2) | WORD_F3_64,
	[0x2f] = OTHER | NOT(P66 | F2) | WORD_F3_64,
	[0x38] = OTHER | WORD_ONLY_64,
	[0x39] = OP(RDTSCP),
	[0x3a] = OTHER | NOT(P66 | F2),
	[0x3b] = OTHER | NOT(P66 | F3 | F2),
	[0x3c] = OTHER,
	[0x3d] = OP(RDPRU),
	[0x3e] = OTHER | NOT(P66) | WORD_F3_64 | WORD_F2_64,
	[0x3f] = OTHER | NOT(P66) | WORD_F3_64,
};

uint64_t emu_0f01_register_word(uint8_t modrm)
{
	switch (modrm >> 3 & 7) {
	case 4:
		return OP(SMSW);
	case 6:
		return OP(LMSW);
	default:
		return group7_register[modrm & 63];
	}
}

/* A run of opcodes with the same word. */
struct run {
	uint8_t first, last;
	uint64_t word;
};

static const struct run runs_0f38[] = {
	{0x00, 0x0b, MMX},
	{0x10, 0x10, WITH(P66)},
	{0x14, 0x15, WITH(P66)},
	{0x17, 0x17, WITH(P66)},
	{0x1c, 0x1e, MMX},
	{0x20, 0x25, WITH(P66)},
	{0x28, 0x29, WITH(P66)},
	{0x2a, 0x2a, WITH(P66) | WORD_MEMORY},
	{0x2b, 0x2b, WITH(P66)},
	{0x30, 0x35, WITH(P66)},
	{0x37, 0x41, WITH(P66)},
	{0x80, 0x81, WITH(P66) | SIZE(F64) | WORD_MEMORY},
	{0x82, 0x82, OP(INVPCID) | M | SIZE(F64) | WORD_MEMORY | NOT(NP | F3 | F2)},
	{0xc8, 0xcd, WITH(NP)},
	{0xcf, 0xcf, WITH(P66)},
	{0xdb, 0xdf, WITH(P66)},
	{0xf0, 0xf0, OP(MOVBE) | M | WORD_MEMORY | TO(REG, RM) | NOT(F3 | F2)},
	{0xf1, 0xf1, OP(MOVBE) | M | WORD_MEMORY | TO(RM, REG) | NOT(F3 | F2)},
	{0xf0, 0xf1, WITH(F2)},
	{0xf5, 0xf5, WITH(P66) | WORD_MEMORY},
	{0xf6, 0xf6, WITH(NP) | WORD_MEMORY},
	{0xf6, 0xf6, WITH(P66 | F3)},
	{0xf8, 0xf8, WITH(P66 | F3 | F2) | WORD_MEMORY},
	{0xf9, 0xf9, WITH(NP) | WORD_MEMORY},
};

static const struct run runs_0f3a[] = {
	{0x08, 0x0e, WITH(P66) | IMM(U8)}, {0x0f, 0x0f, MMX | IMM(U8)},
	{0x14, 0x17, WITH(P66) | IMM(U8)}, {0x20, 0x22, WITH(P66) | IMM(U8)},
	{0x40, 0x42, WITH(P66) | IMM(U8)}, {0x44, 0x44, WITH(P66) | IMM(U8)},
	{0x60, 0x63, WITH(P66) | IMM(U8)}, {0xcc, 0xcc, WITH(NP) | IMM(U8)},
	{0xce, 0xcf, WITH(P66) | IMM(U8)}, {0xdf, 0xdf, WITH(P66) | IMM(U8)},
};

uint64_t emu_0f38_word(uint8_t opcode, unsigned prefix)
{
	for (size_t i = 0; i < sizeof(runs_0f38) / sizeof(runs_0f38[0]); i++) {
		const struct run *run = &runs_0f38[i];

		if (opcode >= run->first && opcode <= run->last &&
		    !(run->word >> (WORD_NOT_SHIFT + prefix) & 1u))
			return run->word;
	}
	return 0;
}

uint64_t emu_0f3a_word(uint8_t opcode)
{
	for (size_t i = 0; i < sizeof(runs_0f3a) / sizeof(runs_0f3a[0]); i++) {
		if (opcode >= runs_0f3a[i].first && opcode <= runs_0f3a[i].last)
			return runs_0f3a[i].word;
	}
	return 0;
}

enum direction { LOAD, STORE };

static const struct movx {
	uint8_t opcode, prefix, op, direction;
	uint8_t bytes; /* 0: 4, or 8 with REX.W */
} movx_list[] = {
	{0x10, PREFIX_NP, EMU_OP_MOVX_UNALIGNED, LOAD, 16},
	{0x10, PREFIX_66, EMU_OP_MOVX_UNALIGNED, LOAD, 16},
	{0x11, PREFIX_NP, EMU_OP_MOVX_UNALIGNED, STORE, 16},
	{0x11, PREFIX_66, EMU_OP_MOVX_UNALIGNED, STORE, 16},
	{0x6f, PREFIX_F3, EMU_OP_MOVX_UNALIGNED, LOAD, 16},
	{0x7f, PREFIX_F3, EMU_OP_MOVX_UNALIGNED, STORE, 16},
	{0x28, PREFIX_NP, EMU_OP_MOVX_ALIGNED, LOAD, 16},
	{0x28, PREFIX_66, EMU_OP_MOVX_ALIGNED, LOAD, 16},
	{0x29, PREFIX_NP, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0x29, PREFIX_66, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0x2b, PREFIX_NP, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0x2b, PREFIX_66, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0x6f, PREFIX_66, EMU_OP_MOVX_ALIGNED, LOAD, 16},
	{0x7f, PREFIX_66, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0xe7, PREFIX_66, EMU_OP_MOVX_ALIGNED, STORE, 16},
	{0x6e, PREFIX_66, EMU_OP_MOVX_LOW, LOAD, 0},
	{0x7e, PREFIX_66, EMU_OP_MOVX_LOW, STORE, 0},
	{0x7e, PREFIX_F3, EMU_OP_MOVX_LOW, LOAD, 8},
	{0xd6, PREFIX_66, EMU_OP_MOVX_LOW, STORE, 8},
};

void emu_resolve_movx(struct emu_insn *insn, unsigned prefix, bool rex_w)
{
	for (size_t i = 0; i < sizeof(movx_list) / sizeof(movx_list[0]); i++) {
		const struct movx *movx = &movx_list[i];
		bool store = movx->direction == STORE;

		if (movx->opcode != insn->opcode || movx->prefix != prefix)
			continue;
		insn->op = movx->op;
		insn->destination = store ? EMU_OPERAND_RM : EMU_OPERAND_XMM;
		insn->source = store ? EMU_OPERAND_XMM : EMU_OPERAND_RM;
		insn->operand_bytes = movx->bytes ? movx->bytes : rex_w ? 8 : 4;
		return;
	}
	/* The rest are MMX moves, and moves of a part of a register. */
}
