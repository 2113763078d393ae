/* SPDX-License-Identifier: MIT */
/*
 * The decoder by example: the names of intercepted instructions, and the limit of 15 bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decode.h"

static const struct {
	uint8_t op, length, bytes[8];
} named[] = {
	{EMU_OP_CPUID, 2, {0x0f, 0xa2}},
	{EMU_OP_RDMSR, 2, {0x0f, 0x32}},
	{EMU_OP_WRMSR, 2, {0x0f, 0x30}},
	{EMU_OP_HLT, 1, {0xf4}},
	{EMU_OP_PAUSE, 2, {0xf3, 0x90}},
	{EMU_OP_NOP, 1, {0x90}},
	{EMU_OP_XCHG, 2, {0x41, 0x90}},
	{EMU_OP_VMMCALL, 3, {0x0f, 0x01, 0xd9}},
	{EMU_OP_VMCALL, 3, {0x0f, 0x01, 0xc1}},
	{EMU_OP_VMRUN, 3, {0x0f, 0x01, 0xd8}},
	{EMU_OP_VMLOAD, 3, {0x0f, 0x01, 0xda}},
	{EMU_OP_VMSAVE, 3, {0x0f, 0x01, 0xdb}},
	{EMU_OP_STGI, 3, {0x0f, 0x01, 0xdc}},
	{EMU_OP_CLGI, 3, {0x0f, 0x01, 0xdd}},
	{EMU_OP_SKINIT, 3, {0x0f, 0x01, 0xde}},
	{EMU_OP_INVLPGA, 3, {0x0f, 0x01, 0xdf}},
	{EMU_OP_INVLPG, 4, {0x0f, 0x01, 0x7d, 0x10}},
	{EMU_OP_MOV_FROM_CR, 3, {0x0f, 0x20, 0xc0}},
	{EMU_OP_MOV_TO_CR, 4, {0x44, 0x0f, 0x22, 0xc0}},
	{EMU_OP_MOV_FROM_DR, 3, {0x0f, 0x21, 0xf8}},
	{EMU_OP_MOV_TO_DR, 3, {0x0f, 0x23, 0xf8}},
	{EMU_OP_CLTS, 2, {0x0f, 0x06}},
	{EMU_OP_LMSW, 3, {0x0f, 0x01, 0xf0}},
	{EMU_OP_SMSW, 3, {0x0f, 0x01, 0xe0}},
	{EMU_OP_XSETBV, 3, {0x0f, 0x01, 0xd1}},
	{EMU_OP_XGETBV, 3, {0x0f, 0x01, 0xd0}},
	{EMU_OP_INVD, 2, {0x0f, 0x08}},
	{EMU_OP_WBINVD, 2, {0x0f, 0x09}},
	{EMU_OP_RDTSC, 2, {0x0f, 0x31}},
	{EMU_OP_RDTSCP, 3, {0x0f, 0x01, 0xf9}},
	{EMU_OP_RDPMC, 2, {0x0f, 0x33}},
	{EMU_OP_RDPRU, 3, {0x0f, 0x01, 0xfd}},
	{EMU_OP_MONITOR, 3, {0x0f, 0x01, 0xc8}},
	{EMU_OP_MWAIT, 3, {0x0f, 0x01, 0xc9}},
	{EMU_OP_RSM, 2, {0x0f, 0xaa}},
	{EMU_OP_IRET, 2, {0x48, 0xcf}},
	{EMU_OP_INVPCID, 5, {0x66, 0x0f, 0x38, 0x82, 0x01}},
	{EMU_OP_SGDT, 3, {0x0f, 0x01, 0x00}},
	{EMU_OP_SIDT, 3, {0x0f, 0x01, 0x08}},
	{EMU_OP_LGDT, 3, {0x0f, 0x01, 0x10}},
	{EMU_OP_LIDT, 3, {0x0f, 0x01, 0x18}},
	{EMU_OP_SLDT, 3, {0x0f, 0x00, 0xc0}},
	{EMU_OP_STR, 3, {0x0f, 0x00, 0xc8}},
	{EMU_OP_LLDT, 3, {0x0f, 0x00, 0xd0}},
	{EMU_OP_LTR, 3, {0x0f, 0x00, 0xd8}},
	{EMU_OP_INT3, 1, {0xcc}},
	{EMU_OP_INTN, 2, {0xcd, 0x80}},
	{EMU_OP_INT1, 1, {0xf1}},
	{EMU_OP_PUSHF, 1, {0x9c}},
	{EMU_OP_POPF, 1, {0x9d}},
	{EMU_OP_CLI, 1, {0xfa}},
	{EMU_OP_STI, 1, {0xfb}},
	{EMU_OP_IN, 2, {0xe4, 0x60}},
	{EMU_OP_OUT, 1, {0xee}},
	{EMU_OP_INS, 2, {0xf3, 0x6c}},
	{EMU_OP_OUTS, 2, {0xf3, 0x6f}},
	{EMU_OP_VECTOR, 4, {0xc5, 0xf8, 0x10, 0x01}},
	{EMU_OP_OTHER, 2, {0x0f, 0x0b}},
};

static void fifteen_bytes_are_an_instruction_and_sixteen_are_not(void **state)
{
	uint8_t bytes[16];
	struct emu_insn insn;

	(void)state;
	for (unsigned mode = EMU_MODE_16; mode <= EMU_MODE_64; mode++) {
		memset(bytes, 0x2e, sizeof(bytes));
		bytes[14] = 0x90;
		assert_int_equal(emu_decode(bytes, 16, (enum emu_mode)mode, &insn), EMU_OK);
		assert_int_equal(insn.length, 15);
		bytes[14] = 0x2e;
		bytes[15] = 0x90;
		assert_int_equal(emu_decode(bytes, 16, (enum emu_mode)mode, &insn), EMU_TOO_LONG);
		assert_int_equal(emu_decode(bytes, 14, (enum emu_mode)mode, &insn), EMU_NEED_BYTES);
	}
}

static void intercepted_instructions_have_their_names(void **state)
{
	struct emu_insn insn;

	(void)state;
	for (unsigned i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		assert_int_equal(emu_decode(named[i].bytes, 8, EMU_MODE_64, &insn), EMU_OK);
		assert_int_equal(insn.op, named[i].op);
		assert_int_equal(insn.length, named[i].length);
	}
	/* MOV CR8: the register number takes REX.R, or LOCK where there is no REX. */
	assert_int_equal(emu_decode((const uint8_t *)"\x44\x0f\x22\xc0", 4, EMU_MODE_64, &insn),
			 EMU_OK);
	assert_int_equal(insn.reg, 8);
	assert_int_equal(emu_decode((const uint8_t *)"\xf0\x0f\x22\xc3", 4, EMU_MODE_32, &insn),
			 EMU_OK);
	assert_int_equal(insn.reg, 8);
	assert_int_equal(insn.rm, EMU_RBX);
}

/* With 14 bytes the decoder does not take the short way, and these need no more. */
static void a_move_is_the_same_by_the_short_way(void **state)
{
	unsigned moves = 0;

	(void)state;
	for (unsigned number = 0; number < 17u << 16; number++) {
		uint8_t bytes[EMU_INSN_BYTES_MAX + 1] = {0};
		struct emu_insn insn, same;
		unsigned at = 0;

		if (number >> 16 != 0)
			bytes[at++] = (uint8_t)(0x3f + (number >> 16));
		bytes[at++] = (uint8_t)(number >> 8);
		bytes[at++] = (uint8_t)number;
		memcpy(bytes + at, "\x92\x34\x56\xf8\x9a", 5);
		if (emu_decode(bytes, 14, EMU_MODE_64, &insn) != EMU_OK)
			continue;
		assert_int_equal(emu_decode(bytes, 15, EMU_MODE_64, &same), EMU_OK);
		assert_memory_equal(&insn, &same, sizeof(insn));
		moves += insn.op == EMU_OP_MOV && insn.has_memory;
	}
	assert_true(moves > 17u * 4 * 192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intercepted_instructions_have_their_names),
		cmocka_unit_test(a_move_is_the_same_by_the_short_way),
		cmocka_unit_test(fifteen_bytes_are_an_instruction_and_sixteen_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
