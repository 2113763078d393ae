/* SPDX-License-Identifier: MIT */
/*
 * Integer arithmetic with the flags of x86.
 *
 * Carries are computed from the operands and the result bit by bit, so that one formula serves all
 * operand sizes: the carry out of a bit is the majority of both operands and the inverted result.
 */
#include "arith.h"

#define FLAGS_ALL (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static bool top_bit(uint64_t value, unsigned bytes)
{
	return (value >> (8 * bytes - 1) & 1u) != 0;
}

static uint64_t flag_if(bool condition, uint64_t flag)
{
	return condition ? flag : 0;
}

/* SF, ZF and PF follow from the result alone. */
static uint64_t result_flags(uint64_t result, unsigned bytes)
{
	unsigned low = (unsigned)(result & 0xff);

	low ^= low >> 4;
	low ^= low >> 2;
	low ^= low >> 1;
	return flag_if(top_bit(result, bytes), RFLAGS_SF) |
	       flag_if(!(result & emu_mask(bytes)), RFLAGS_ZF) | flag_if(!(low & 1u), RFLAGS_PF);
}

static uint64_t add(uint64_t a, uint64_t b, bool carry, unsigned bytes, uint64_t *flags)
{
	uint64_t result = a + b + (carry ? 1u : 0u);
	uint64_t carries = (a & b) | ((a | b) & ~result);

	*flags = result_flags(result, bytes) | flag_if(top_bit(carries, bytes), RFLAGS_CF) |
		 flag_if(top_bit((a ^ result) & (b ^ result), bytes), RFLAGS_OF) |
		 ((a ^ b ^ result) & RFLAGS_AF);
	return result;
}

static uint64_t subtract(uint64_t a, uint64_t b, bool borrow, unsigned bytes, uint64_t *flags)
{
	uint64_t result = a - b - (borrow ? 1u : 0u);
	uint64_t borrows = (~a & b) | ((~a | b) & result);

	*flags = result_flags(result, bytes) | flag_if(top_bit(borrows, bytes), RFLAGS_CF) |
		 flag_if(top_bit((a ^ b) & (a ^ result), bytes), RFLAGS_OF) |
		 ((a ^ b ^ result) & RFLAGS_AF);
	return result;
}

static uint64_t logic(uint64_t result, unsigned bytes, uint64_t *flags)
{
	*flags = result_flags(result, bytes);
	return result;
}

uint64_t emu_alu(enum emu_op op, uint64_t a, uint64_t b, unsigned bytes, uint64_t *rflags)
{
	bool carry = (*rflags & RFLAGS_CF) != 0;
	uint64_t changed = FLAGS_ALL, flags = 0, result;

	if (op == EMU_OP_ADD) {
		result = add(a, b, false, bytes, &flags);
	} else if (op == EMU_OP_ADC) {
		result = add(a, b, carry, bytes, &flags);
	} else if (op == EMU_OP_SUB || op == EMU_OP_CMP) {
		result = subtract(a, b, false, bytes, &flags);
	} else if (op == EMU_OP_SBB) {
		result = subtract(a, b, carry, bytes, &flags);
	} else if (op == EMU_OP_AND || op == EMU_OP_TEST) {
		result = logic(a & b, bytes, &flags);
	} else if (op == EMU_OP_OR) {
		result = logic(a | b, bytes, &flags);
	} else if (op == EMU_OP_XOR) {
		result = logic(a ^ b, bytes, &flags);
	} else if (op == EMU_OP_NEG) {
		result = subtract(0, a, false, bytes, &flags);
	} else if (op == EMU_OP_INC) {
		result = add(a, 1, false, bytes, &flags);
		changed &= ~RFLAGS_CF;
	} else if (op == EMU_OP_DEC) {
		result = subtract(a, 1, false, bytes, &flags);
		changed &= ~RFLAGS_CF;
	} else { /* NOT */
		result = ~a;
		changed = 0;
	}
	*rflags = (*rflags & ~changed) | (flags & changed);
	return result & emu_mask(bytes);
}

static uint64_t rotate(enum emu_op op, uint64_t a, unsigned count, unsigned bytes, uint64_t *flags)
{
	unsigned width = 8 * bytes, left = count % width;
	uint64_t result = a;
	bool carry, below;

	if (op == EMU_OP_ROR)
		left = (width - left) % width;
	if (left)
		result = (a << left | a >> (width - left)) & emu_mask(bytes);
	carry = op == EMU_OP_ROL ? (result & 1u) != 0 : top_bit(result, bytes);
	below = op == EMU_OP_ROL ? carry : (result >> (width - 2) & 1u) != 0;
	*flags = flag_if(carry, RFLAGS_CF) | flag_if(top_bit(result, bytes) != below, RFLAGS_OF);
	return result;
}

/* RCL and RCR turn width + 1 bits; a step at a time is plain, and 63 steps are few. */
static uint64_t rotate_carry(enum emu_op op, uint64_t a, unsigned count, unsigned bytes,
			     uint64_t *flags)
{
	unsigned width = 8 * bytes;
	bool carry = (*flags & RFLAGS_CF) != 0, top;

	for (unsigned i = count % (width + 1); i; i--) {
		if (op == EMU_OP_RCL) {
			top = top_bit(a, bytes);
			a = (a << 1 | (carry ? 1u : 0u)) & emu_mask(bytes);
			carry = top;
		} else {
			top = carry;
			carry = (a & 1u) != 0;
			a = a >> 1 | (top ? UINT64_C(1) << (width - 1) : 0);
		}
	}
	top = op == EMU_OP_RCL ? carry : (a >> (width - 2) & 1u) != 0;
	*flags = flag_if(carry, RFLAGS_CF) | flag_if(top_bit(a, bytes) != top, RFLAGS_OF);
	return a;
}

static uint64_t shift_left(uint64_t a, unsigned count, unsigned bytes, uint64_t *flags)
{
	uint64_t result = a << count;
	bool carry = count <= 8 * bytes && (a >> (8 * bytes - count) & 1u) != 0;

	*flags = result_flags(result, bytes) | flag_if(carry, RFLAGS_CF) |
		 flag_if(top_bit(result, bytes) != carry, RFLAGS_OF);
	return result & emu_mask(bytes);
}

static uint64_t shift_right(enum emu_op op, uint64_t a, unsigned count, unsigned bytes,
			    uint64_t *flags)
{
	int64_t value = op == EMU_OP_SAR ? emu_sign_extend(a, bytes) : (int64_t)a;
	uint64_t last, result;

	if (op == EMU_OP_SAR) {
		last = (uint64_t)(value >> (count - 1));
		result = (uint64_t)(value >> count);
	} else {
		last = a >> (count - 1);
		result = a >> count;
	}
	*flags = result_flags(result, bytes) | flag_if((last & 1u) != 0, RFLAGS_CF) |
		 flag_if(op == EMU_OP_SHR && top_bit(a, bytes), RFLAGS_OF);
	return result & emu_mask(bytes);
}

uint64_t emu_shift(enum emu_op op, uint64_t a, unsigned count, unsigned bytes, uint64_t *rflags)
{
	uint64_t changed = FLAGS_ALL, flags = *rflags, result;

	count &= bytes == 8 ? 63 : 31;
	if (!count)
		return a;
	if (op <= EMU_OP_RCR) {
		changed = RFLAGS_CF | RFLAGS_OF;
		result = op <= EMU_OP_ROR ? rotate(op, a, count, bytes, &flags)
					  : rotate_carry(op, a, count, bytes, &flags);
	} else if (op == EMU_OP_SHL || op == EMU_OP_SAL) {
		result = shift_left(a, count, bytes, &flags);
	} else {
		result = shift_right(op, a, count, bytes, &flags);
	}
	*rflags = (*rflags & ~changed) | (flags & changed);
	return result;
}

bool emu_condition(unsigned code, uint64_t rflags)
{
	bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
	bool holds = false;

	switch (code >> 1 & 7u) {
	case 0:
		holds = (rflags & RFLAGS_OF) != 0;
		break;
	case 1:
		holds = (rflags & RFLAGS_CF) != 0;
		break;
	case 2:
		holds = (rflags & RFLAGS_ZF) != 0;
		break;
	case 3:
		holds = (rflags & (RFLAGS_CF | RFLAGS_ZF)) != 0;
		break;
	case 4:
		holds = (rflags & RFLAGS_SF) != 0;
		break;
	case 5:
		holds = (rflags & RFLAGS_PF) != 0;
		break;
	case 6:
		holds = less;
		break;
	default:
		holds = less || (rflags & RFLAGS_ZF) != 0;
		break;
	}
	return (code & 1u) ? !holds : holds;
}
