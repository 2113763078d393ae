/* SPDX-License-Identifier: MIT */
/*
 * Opcode tables: one word describes one opcode. Private to the decoder.
 *
 * A word of 0 is an opcode that does not exist. An entry with GROUP names a row of
 * emu_group_words[]; the word found there is ORed into the entry.
 */
#ifndef HV_EMULATE_OPCODES_H
#define HV_EMULATE_OPCODES_H

#include <stdint.h>

#include "decode.h"

/* Bits 0-7: enum emu_op, or the group number in an entry with GROUP. */
#define WORD_OP(name) ((uint64_t)EMU_OP_##name)
#define WORD_OP_MASK UINT64_C(0xff)

/* Bits 8-11: immediate. */
enum emu_imm_kind {
	IMM_NONE,
	IMM_U8,    /* zero-extended byte */
	IMM_S8,    /* sign-extended byte */
	IMM_U16,   /* word */
	IMM_Z,     /* sign-extended byte, word or dword by operand size, dword for qword */
	IMM_V,     /* word, dword or qword */
	IMM_REL8,  /* like IMM_S8 */
	IMM_RELZ,  /* like IMM_Z */
	IMM_MOFFS, /* absolute address of address size */
	IMM_FAR,   /* word or dword, then selector */
	IMM_ENTER, /* word, then byte */
	IMM_U8_U8, /* two bytes */
	IMM_U32,   /* dword */
};
#define WORD_IMM_SHIFT 8
#define WORD_IMM(kind) ((uint64_t)IMM_##kind << WORD_IMM_SHIFT)

/* Bits 12-15 and 16-19: enum emu_operand, destination and source. */
#define WORD_TO_SHIFT 12
#define WORD_FROM_SHIFT 16
#define WORD_OPERANDS(to, from)                                                                    \
	((uint64_t)EMU_OPERAND_##to << WORD_TO_SHIFT | (uint64_t)EMU_OPERAND_##from                \
							       << WORD_FROM_SHIFT)

/* Bits 20-23: operand size. */
enum emu_size_kind {
	SIZE_V,   /* 2, 4 or 8 by mode, 66 and REX.W */
	SIZE_B,   /* 1 */
	SIZE_D64, /* like V, but 8 instead of 4 in 64-bit code */
	SIZE_F64, /* 4, but 8 in 64-bit code; prefixes do not matter */
	SIZE_Y,   /* 4, or 8 by REX.W; 66 does not matter */
	SIZE_Z,   /* 2 or 4 by mode and 66; REX.W means 4 */
	SIZE_V64, /* like V, but 8 in 64-bit code whatever the prefixes */
};
#define WORD_SIZE_SHIFT 20
#define WORD_SIZE(kind) ((uint64_t)SIZE_##kind << WORD_SIZE_SHIFT)

/* Bits 24-27: prefixes with which the opcode does not exist. */
#define WORD_NOT_SHIFT 24
#define WORD_NOT_NP (UINT64_C(1) << 24)
#define WORD_NOT_66 (UINT64_C(1) << 25)
#define WORD_NOT_F3 (UINT64_C(1) << 26)
#define WORD_NOT_F2 (UINT64_C(1) << 27)

/* Bits from 28: what else has to be known. */
#define WORD_MODRM (UINT64_C(1) << 28)
#define WORD_GROUP (UINT64_C(1) << 29)
#define WORD_NOT_64 (UINT64_C(1) << 30)
#define WORD_ONLY_64 (UINT64_C(1) << 31)
#define WORD_MEMORY (UINT64_C(1) << 32)       /* the register form does not exist */
#define WORD_REGISTER (UINT64_C(1) << 33)     /* the memory form does not exist */
#define WORD_LOCK (UINT64_C(1) << 34)         /* LOCK is legal if the destination is memory */
#define WORD_OPCODE_REG (UINT64_C(1) << 35)   /* the low bits of the opcode name a register */
#define WORD_CONTROL (UINT64_C(1) << 36)      /* MOV CR, MOV DR: ModRM.mod does not matter */
#define WORD_SELECTOR (UINT64_C(1) << 37)     /* ModRM.reg is a segment register */
#define WORD_MOVX (UINT64_C(1) << 38)         /* the prefix decides which SSE move this is */
#define WORD_66_MEMORY (UINT64_C(1) << 39)    /* with 66 the register form does not exist */
#define WORD_REP_REGISTER (UINT64_C(1) << 40) /* with F2 or F3 only the register form exists */
#define WORD_F3_64 (UINT64_C(1) << 41)        /* with F3 it exists in 64-bit code only */
#define WORD_F2_64 (UINT64_C(1) << 42)

/* A prefix that is part of the opcode: the last F2 or F3, else 66. Bit number in WORD_NOT_*. */
enum emu_prefix { PREFIX_NP, PREFIX_66, PREFIX_F3, PREFIX_F2 };

/* Rows of emu_group_words[]: ModRM.reg with memory (0-7), then with a register (8-15). */
enum emu_group {
	GROUP_ALU,   /* 80 81 82 83 */
	GROUP_POP,   /* 8F */
	GROUP_SHIFT, /* C0 C1 D0 D1 D2 D3 */
	GROUP_MOV_B, /* C6 */
	GROUP_MOV_V, /* C7 */
	GROUP_UNARY, /* F6 F7 */
	GROUP_FE,
	GROUP_FF,
	GROUP_0F00,
	GROUP_0F01,
	GROUP_0F18,
	GROUP_0F71,
	GROUP_0F72,
	GROUP_0F73,
	GROUP_0FAE,
	GROUP_0FBA,
	GROUP_0FC7,
	GROUP_COUNT,
};

extern const uint64_t emu_one_words[256];
extern const uint64_t emu_0f_words[256];
extern const uint64_t emu_group_words[GROUP_COUNT][16];

/* Which of the 64 register forms of opcode 0F 01 exist, and what they are. */
uint64_t emu_0f01_register_word(uint8_t modrm);
/* Words for the maps that are mostly SSE; 0 if the tables know no such opcode. */
uint64_t emu_0f38_word(uint8_t opcode, unsigned prefix);
uint64_t emu_0f3a_word(uint8_t opcode);
/* SSE moves between memory and a register: size, alignment and direction hang on the prefix. */
void emu_resolve_movx(struct emu_insn *insn, unsigned prefix, bool rex_w);
/* Whether x87 opcode D8 to DF exists with this ModRM byte. */
bool emu_x87_exists(uint8_t opcode, uint8_t modrm);

#endif
