/* SPDX-License-Identifier: MIT */
/*
 * Opcode tables: the one-byte map, its groups and x87. Private to the decoder.
 *
 * Rows are laid out like the opcode map of the manuals, so that a line can be checked against it.
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
#define NOT_64 WORD_NOT_64
#define OPREG WORD_OPCODE_REG
#define TO(to, from) WORD_OPERANDS(to, from)

/* clang-format off */

/* The six forms that start each row of the first four lines of the map. */
#define ALU(first, name, lock)                                                  \
	[(first) + 0] = OP(name) | M | B | TO(RM, REG) | (lock),                \
	[(first) + 1] = OP(name) | M | TO(RM, REG) | (lock),                    \
	[(first) + 2] = OP(name) | M | B | TO(REG, RM),                         \
	[(first) + 3] = OP(name) | M | TO(REG, RM),                             \
	[(first) + 4] = OP(name) | B | TO(ACC, IMM) | IMM(U8),                  \
	[(first) + 5] = OP(name) | TO(ACC, IMM) | IMM(Z)

#define EIGHT(first, word)                                                      \
	[(first) + 0] = (word), [(first) + 1] = (word), [(first) + 2] = (word), \
	[(first) + 3] = (word), [(first) + 4] = (word), [(first) + 5] = (word), \
	[(first) + 6] = (word), [(first) + 7] = (word)

#define PUSH_SEGMENT (OP(OTHER) | D64 | NOT_64)
#define INC_REG (OP(INC) | TO(REG, NONE) | OPREG | NOT_64)
#define DEC_REG (OP(DEC) | TO(REG, NONE) | OPREG | NOT_64)
#define XCHG_REG (OP(XCHG) | TO(ACC, REG) | OPREG)
#define JCC8 (OTHER | D64 | IMM(REL8))

const uint64_t emu_one_words[256] = {
	ALU(0x00, ADD, LOCK), [0x06] = PUSH_SEGMENT, [0x07] = PUSH_SEGMENT,
	ALU(0x08, OR, LOCK), [0x0e] = PUSH_SEGMENT,
	ALU(0x10, ADC, LOCK), [0x16] = PUSH_SEGMENT, [0x17] = PUSH_SEGMENT,
	ALU(0x18, SBB, LOCK), [0x1e] = PUSH_SEGMENT, [0x1f] = PUSH_SEGMENT,
	ALU(0x20, AND, LOCK), [0x27] = OTHER | NOT_64,
	ALU(0x28, SUB, LOCK), [0x2f] = OTHER | NOT_64,
	ALU(0x30, XOR, LOCK), [0x37] = OTHER | NOT_64,
	ALU(0x38, CMP, 0), [0x3f] = OTHER | NOT_64,
	EIGHT(0x40, INC_REG), /* in 64-bit code the decoder takes these as REX */
	EIGHT(0x48, DEC_REG),
	EIGHT(0x50, OP(PUSH) | D64 | TO(NONE, REG) | OPREG),
	EIGHT(0x58, OP(POP) | D64 | TO(REG, NONE) | OPREG),

	[0x60] = OTHER | NOT_64, [0x61] = OTHER | NOT_64,
	[0x62] = OTHER | M | NOT_64 | WORD_MEMORY,
	[0x63] = OP(MOVSXD) | M | TO(REG, RM), /* outside 64-bit code: ARPL */
	[0x68] = OP(PUSH) | D64 | TO(NONE, IMM) | IMM(Z),
	[0x69] = OTHER | M | TO(REG, RM) | IMM(Z),
	[0x6a] = OP(PUSH) | D64 | TO(NONE, IMM) | IMM(S8),
	[0x6b] = OTHER | M | TO(REG, RM) | IMM(S8),
	[0x6c] = OP(INS) | B, [0x6d] = OP(INS) | SIZE(Z),
	[0x6e] = OP(OUTS) | B, [0x6f] = OP(OUTS) | SIZE(Z),
	EIGHT(0x70, JCC8), EIGHT(0x78, JCC8),

	[0x80] = GROUP(ALU) | B | TO(RM, IMM) | IMM(U8),
	[0x81] = GROUP(ALU) | TO(RM, IMM) | IMM(Z),
	[0x82] = GROUP(ALU) | B | TO(RM, IMM) | IMM(U8) | NOT_64,
	[0x83] = GROUP(ALU) | TO(RM, IMM) | IMM(S8),
	[0x84] = OP(TEST) | M | B | TO(RM, REG), [0x85] = OP(TEST) | M | TO(RM, REG),
	[0x86] = OP(XCHG) | M | B | TO(RM, REG) | LOCK,
	[0x87] = OP(XCHG) | M | TO(RM, REG) | LOCK,
	[0x88] = OP(MOV) | M | B | TO(RM, REG), [0x89] = OP(MOV) | M | TO(RM, REG),
	[0x8a] = OP(MOV) | M | B | TO(REG, RM), [0x8b] = OP(MOV) | M | TO(REG, RM),
	[0x8c] = OTHER | M | WORD_SELECTOR, [0x8d] = OTHER | M | WORD_MEMORY,
	[0x8e] = OTHER | M | WORD_SELECTOR, [0x8f] = GROUP(POP) | D64 | TO(RM, NONE),

	EIGHT(0x90, XCHG_REG), /* 90 itself: see resolve_nop() in the decoder */
	[0x98] = OTHER, [0x99] = OTHER, [0x9a] = OTHER | NOT_64 | IMM(FAR), [0x9b] = OTHER,
	[0x9c] = OP(PUSHF) | D64, [0x9d] = OP(POPF) | D64, [0x9e] = OTHER, [0x9f] = OTHER,

	[0xa0] = OP(MOV) | B | TO(ACC, RM) | IMM(MOFFS), [0xa1] = OP(MOV) | TO(ACC, RM) | IMM(MOFFS),
	[0xa2] = OP(MOV) | B | TO(RM, ACC) | IMM(MOFFS), [0xa3] = OP(MOV) | TO(RM, ACC) | IMM(MOFFS),
	[0xa4] = OP(MOVS) | B, [0xa5] = OP(MOVS), [0xa6] = OP(CMPS) | B, [0xa7] = OP(CMPS),
	[0xa8] = OP(TEST) | B | TO(ACC, IMM) | IMM(U8), [0xa9] = OP(TEST) | TO(ACC, IMM) | IMM(Z),
	[0xaa] = OP(STOS) | B, [0xab] = OP(STOS), [0xac] = OP(LODS) | B, [0xad] = OP(LODS),
	[0xae] = OP(SCAS) | B, [0xaf] = OP(SCAS),
	EIGHT(0xb0, OP(MOV) | B | TO(REG, IMM) | OPREG | IMM(U8)),
	EIGHT(0xb8, OP(MOV) | TO(REG, IMM) | OPREG | IMM(V)),

	[0xc0] = GROUP(SHIFT) | B | TO(RM, IMM) | IMM(U8), [0xc1] = GROUP(SHIFT) | TO(RM, IMM) | IMM(U8),
	[0xc2] = OTHER | D64 | IMM(U16), [0xc3] = OTHER | D64,
	[0xc4] = OTHER | M | NOT_64 | WORD_MEMORY, [0xc5] = OTHER | M | NOT_64 | WORD_MEMORY,
	[0xc6] = GROUP(MOV_B) | B | IMM(U8), [0xc7] = GROUP(MOV_V),
	[0xc8] = OTHER | D64 | IMM(ENTER), [0xc9] = OTHER | D64,
	[0xca] = OTHER | IMM(U16), [0xcb] = OTHER,
	[0xcc] = OP(INT3), [0xcd] = OP(INTN) | IMM(U8), [0xce] = OP(INTO) | NOT_64, [0xcf] = OP(IRET),

	[0xd0] = GROUP(SHIFT) | B | TO(RM, ONE), [0xd1] = GROUP(SHIFT) | TO(RM, ONE),
	[0xd2] = GROUP(SHIFT) | B | TO(RM, CL), [0xd3] = GROUP(SHIFT) | TO(RM, CL),
	[0xd4] = OTHER | NOT_64 | IMM(U8), [0xd5] = OTHER | NOT_64 | IMM(U8),
	[0xd6] = OTHER | NOT_64, [0xd7] = OTHER,
	EIGHT(0xd8, OTHER | M), /* which of these exist: emu_x87_exists() */

	[0xe0] = JCC8, [0xe1] = JCC8, [0xe2] = JCC8, [0xe3] = JCC8,
	[0xe4] = OP(IN) | B | IMM(U8), [0xe5] = OP(IN) | SIZE(Z) | IMM(U8),
	[0xe6] = OP(OUT) | B | IMM(U8), [0xe7] = OP(OUT) | SIZE(Z) | IMM(U8),
	[0xe8] = OTHER | D64 | IMM(RELZ), [0xe9] = OTHER | D64 | IMM(RELZ),
	[0xea] = OTHER | NOT_64 | IMM(FAR), [0xeb] = JCC8,
	[0xec] = OP(IN) | B, [0xed] = OP(IN) | SIZE(Z), [0xee] = OP(OUT) | B, [0xef] = OP(OUT) | SIZE(Z),

	[0xf1] = OP(INT1), [0xf4] = OP(HLT), [0xf5] = OTHER, [0xf6] = GROUP(UNARY) | B,
	[0xf7] = GROUP(UNARY), [0xf8] = OTHER, [0xf9] = OTHER, [0xfa] = OP(CLI), [0xfb] = OP(STI),
	[0xfc] = OTHER, [0xfd] = OTHER, [0xfe] = GROUP(FE) | B, [0xff] = GROUP(FF),
};

/* Rows of a group for memory and register alike. */
#define BOTH(number, word) [(number)] = (word), [(number) + 8] = (word)

#define NP_ONLY (WORD_NOT_66 | WORD_NOT_F3 | WORD_NOT_F2)
#define NP_66 (WORD_NOT_F3 | WORD_NOT_F2)
#define F3_ONLY (WORD_NOT_NP | WORD_NOT_66 | WORD_NOT_F2)
#define P66_ONLY (WORD_NOT_NP | WORD_NOT_F3 | WORD_NOT_F2)
#define SSE_SHIFT (OTHER | WORD_REGISTER | NP_66 | IMM(U8))
#define HINT (OP(NOP))
#define RDFSBASE (OTHER | F3_ONLY | WORD_ONLY_64 | SIZE(Y))

const uint64_t emu_group_words[GROUP_COUNT][16] = {
	[GROUP_ALU] = { BOTH(0, OP(ADD) | LOCK), BOTH(1, OP(OR) | LOCK), BOTH(2, OP(ADC) | LOCK),
			BOTH(3, OP(SBB) | LOCK), BOTH(4, OP(AND) | LOCK), BOTH(5, OP(SUB) | LOCK),
			BOTH(6, OP(XOR) | LOCK), BOTH(7, OP(CMP)) },
	[GROUP_POP] = { BOTH(0, OP(POP)) },
	[GROUP_SHIFT] = { BOTH(0, OP(ROL)), BOTH(1, OP(ROR)), BOTH(2, OP(RCL)), BOTH(3, OP(RCR)),
			  BOTH(4, OP(SHL)), BOTH(5, OP(SHR)), BOTH(6, OP(SAL)), BOTH(7, OP(SAR)) },
	/* C6 F8 is XABORT, C7 F8 is XBEGIN; rm other than 0 is refused in the decoder */
	[GROUP_MOV_B] = { BOTH(0, OP(MOV) | TO(RM, IMM)), [15] = OTHER },
	[GROUP_MOV_V] = { BOTH(0, OP(MOV) | TO(RM, IMM) | IMM(Z)), [15] = OTHER | IMM(RELZ) },
	[GROUP_UNARY] = { BOTH(0, OP(TEST) | TO(RM, IMM) | IMM(Z)),
			  BOTH(1, OP(TEST) | TO(RM, IMM) | IMM(Z)),
			  BOTH(2, OP(NOT) | TO(RM, NONE) | LOCK), BOTH(3, OP(NEG) | TO(RM, NONE) | LOCK),
			  BOTH(4, OTHER), BOTH(5, OTHER), BOTH(6, OTHER), BOTH(7, OTHER) },
	[GROUP_FE] = { BOTH(0, OP(INC) | TO(RM, NONE) | LOCK), BOTH(1, OP(DEC) | TO(RM, NONE) | LOCK) },
	[GROUP_FF] = { BOTH(0, OP(INC) | TO(RM, NONE) | LOCK), BOTH(1, OP(DEC) | TO(RM, NONE) | LOCK),
		       BOTH(2, OTHER | D64), [3] = OTHER, BOTH(4, OTHER | D64), [5] = OTHER,
		       BOTH(6, OP(PUSH) | D64 | TO(NONE, RM)) },
	[GROUP_0F00] = { BOTH(0, OP(SLDT)), BOTH(1, OP(STR)), BOTH(2, OP(LLDT)), BOTH(3, OP(LTR)),
			 BOTH(4, OTHER), BOTH(5, OTHER) },
	/* register forms: emu_0f01_register_word() */
	[GROUP_0F01] = { OP(SGDT) | SIZE(V64), OP(SIDT) | SIZE(V64), OP(LGDT) | SIZE(V64),
			 OP(LIDT) | SIZE(V64), OP(SMSW), OTHER | F3_ONLY, OP(LMSW), OP(INVLPG) | B },
	[GROUP_0F18] = { BOTH(0, HINT), BOTH(1, HINT), BOTH(2, HINT), BOTH(3, HINT),
			 BOTH(4, HINT), BOTH(5, HINT), BOTH(6, HINT), BOTH(7, HINT) },
	[GROUP_0F71] = { [10] = SSE_SHIFT, [12] = SSE_SHIFT, [14] = SSE_SHIFT },
	[GROUP_0F72] = { [10] = SSE_SHIFT, [12] = SSE_SHIFT, [14] = SSE_SHIFT },
	[GROUP_0F73] = { [10] = SSE_SHIFT, [11] = SSE_SHIFT | WORD_NOT_NP,
			 [14] = SSE_SHIFT, [15] = SSE_SHIFT | WORD_NOT_NP },
	[GROUP_0FAE] = { OTHER | NP_ONLY, OTHER | NP_ONLY, OTHER | NP_ONLY, OTHER | NP_ONLY,
			 OTHER | WORD_NOT_66 | WORD_NOT_F2, OTHER | NP_ONLY,
			 OTHER | WORD_NOT_F2, OTHER | NP_66,
			 RDFSBASE, RDFSBASE, RDFSBASE, RDFSBASE, OTHER | F3_ONLY,
			 OTHER | WORD_NOT_66 | WORD_NOT_F2, OTHER, OTHER | NP_ONLY },
	[GROUP_0FBA] = { BOTH(4, OP(BT)), BOTH(5, OP(BTS) | LOCK), BOTH(6, OP(BTR) | LOCK),
			 BOTH(7, OP(BTC) | LOCK) },
	[GROUP_0FC7] = { [1] = OP(CMPXCHG8B) | LOCK | SIZE(Y), [3] = OTHER | NP_ONLY,
			 [4] = OTHER | NP_ONLY,
			 [5] = OTHER | NP_ONLY, [6] = OTHER | WORD_NOT_F2, [7] = OTHER | NP_ONLY,
			 [14] = OTHER | WORD_NOT_F2 | WORD_F3_64, [15] = OTHER | WORD_NOT_F2 },
};
/* clang-format on */

/* One bit per register form C0 to FF of the opcodes D8 to DF. */
static const uint64_t x87_register_forms[8] = {
	[0] = UINT64_C(0xffffffffffffffff), [1] = UINT64_C(0xffff7f33ff01ffff),
	[2] = UINT64_C(0x00000200ffffffff), [3] = UINT64_C(0x00ffff1fffffffff),
	[4] = UINT64_C(0xffffffffffffffff), [5] = UINT64_C(0x0000ffffffffffff),
	[6] = UINT64_C(0xffffffff02ffffff), [7] = UINT64_C(0x00ffff01ffffffff),
};

/* One bit per ModRM.reg with a memory operand. */
static const uint8_t x87_memory_forms[8] = {0xff, 0xfd, 0xff, 0xaf, 0xff, 0xdf, 0xff, 0xff};

bool emu_x87_exists(uint8_t opcode, uint8_t modrm)
{
	unsigned escape = opcode & 7u;

	if (modrm < 0xc0)
		return (x87_memory_forms[escape] >> (modrm >> 3 & 7u) & 1u) != 0;
	return (x87_register_forms[escape] >> (modrm & 63u) & 1u) != 0;
}
