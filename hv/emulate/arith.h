/* SPDX-License-Identifier: MIT */
/*
 * Integer arithmetic with the flags of x86. Private to the emulator; no state, no memory.
 */
#ifndef HV_EMULATE_ARITH_H
#define HV_EMULATE_ARITH_H

#include "decode.h"

#define RFLAGS_CF UINT64_C(0x1)
#define RFLAGS_PF UINT64_C(0x4)
#define RFLAGS_AF UINT64_C(0x10)
#define RFLAGS_ZF UINT64_C(0x40)
#define RFLAGS_SF UINT64_C(0x80)
#define RFLAGS_TF UINT64_C(0x100)
#define RFLAGS_DF UINT64_C(0x400)
#define RFLAGS_OF UINT64_C(0x800)
#define RFLAGS_RF UINT64_C(0x10000)

/* The low @bytes bytes (1 to 8) of a register. */
static inline uint64_t emu_mask(unsigned bytes)
{
	return UINT64_MAX >> (64 - 8 * bytes);
}

static inline int64_t emu_sign_extend(uint64_t value, unsigned bytes)
{
	unsigned unused = 64 - 8 * bytes;

	return (int64_t)(value << unused) >> unused;
}

/*
 * EMU_OP_ADD to EMU_OP_CMP, TEST, NOT, NEG, INC and DEC on operands of @bytes bytes. The single
 * operand of the last four is @a. Returns the result (of CMP: the difference, of TEST: the
 * conjunction) and changes the arithmetic bits of *rflags. Flags left undefined by the manuals are
 * cleared.
 */
uint64_t emu_alu(enum emu_op op, uint64_t a, uint64_t b, unsigned bytes, uint64_t *rflags);

/* EMU_OP_ROL to EMU_OP_SAR. @count is the operand as it is; it is masked here. */
uint64_t emu_shift(enum emu_op op, uint64_t a, unsigned count, unsigned bytes, uint64_t *rflags);

/* Whether condition @code (low four bits of Jcc, SETcc, CMOVcc) holds. */
bool emu_condition(unsigned code, uint64_t rflags);

#endif
