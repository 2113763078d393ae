/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis, an independent decoder: length, validity, operand and address size,
 * memory operand, immediates and prefixes of several million generated instructions.
 *
 * Not compared, and counted by class:
 *   vector   VEX, EVEX, XOP and 3DNow! opcodes that Zydis knows not to exist: the decoder gives the
 *            length they would have and leaves existence to the CPU. If Zydis knows the opcode,
 *            lengths must agree; their operands are not compared (EVEX scales the displacement,
 *            gathers index with vector registers).
 *   newer    EMU_UNSUPPORTED where Zydis knows the opcode: allowed in the 0F38, 0F3A, VEX, EVEX
 *            and XOP maps, all of which still grow.
 *   older    the reverse: in those maps Zydis says invalid, the decoder unsupported.
 *   foreign  instructions of CPUs and of modes in which no guest runs: Knights Corner (MVEX, VEX
 *            branches), VIA PadLock, the TDX module; and LOCK MOV CR0, which is CR8 for AMD and
 *            illegal for Zydis.
 * Compared in part: operand size (see operand_size_means_something()), the address of some 32-bit
 * forms (see compare_memory()), the segment of indirect branches with prefix 3E (Zydis: no-track),
 * the address size of SGX leaves. Which of two reasons is given for refusing vector, 3DNow! and
 * PadLock bytes, too long or invalid, depends on the order of checks and is not compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "decode.h"

#define BUFFER_BYTES 16u
#define MISMATCHES_MAX 100u
#define RANDOM_COUNT 1500000u
#define COMPARED_MIN 5000000u

struct tally {
	uint64_t compared; /* both accept, and all fields agree */
	uint64_t refused;  /* both refuse, for the same reason */
	uint64_t vector, newer, older, foreign;
	uint64_t mismatches;
};

static uint64_t seed = 20240229;
static uint64_t random_state;
static struct tally total;
static ZydisDecoder decoders[3];

static uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void random_fill(uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i += 8) {
		uint64_t word = random_next();

		memcpy(bytes + i, &word, count - i < 8 ? count - i : 8);
	}
}

/* One example of each kind of mismatch is enough: told once per opcode and kind. */
static bool told_before(const struct emu_insn *insn, const char *what)
{
	static uint64_t told[MISMATCHES_MAX];
	static unsigned count;
	uint64_t key = (uint64_t)(uintptr_t)what << 16 | (uint64_t)insn->map << 8 | insn->opcode;

	for (unsigned i = 0; i < count; i++) {
		if (told[i] == key)
			return true;
	}
	if (count == MISMATCHES_MAX)
		return true;
	told[count++] = key;
	return false;
}

static void report(const uint8_t *bytes, const struct emu_insn *insn, const char *what,
		   uint64_t ours, uint64_t theirs)
{
	static const char *const mode_names[] = {"16", "32", "64"};

	total.mismatches++;
	if (told_before(insn, what))
		return;
	fprintf(stderr, "# %s-bit:", mode_names[insn->mode]);
	for (unsigned i = 0; i < BUFFER_BYTES; i++)
		fprintf(stderr, " %02x", bytes[i]);
	fprintf(stderr, ": %s: %#llx, Zydis %#llx\n", what, (unsigned long long)ours,
		(unsigned long long)theirs);
}

/* Encoded number of a Zydis register; EMU_REG_NONE for no register and for RIP. */
static unsigned register_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE || reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return EMU_REG_NONE;
	return (unsigned)ZydisRegisterGetId(reg);
}

static bool operand_size_means_something(const ZydisDecodedInstruction *z)
{
	static const ZydisISAExt integer[] = {
		ZYDIS_ISA_EXT_BASE,    ZYDIS_ISA_EXT_LONGMODE, ZYDIS_ISA_EXT_SVM,
		ZYDIS_ISA_EXT_INVPCID, ZYDIS_ISA_EXT_MOVBE,    ZYDIS_ISA_EXT_MONITOR,
		ZYDIS_ISA_EXT_RDTSCP,
	};

	/* Zydis follows AMD in near branches with 32-bit displacement only. */
	if (z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE &&
	    (z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
	     z->meta.category == ZYDIS_CATEGORY_RET))
		return false;
	/* Zydis calls INS and OUTS with REX.W 64-bit, but they move 32. */
	if (z->meta.category == ZYDIS_CATEGORY_IOSTRINGOP && z->raw.rex.W)
		return false;
	if (z->meta.category == ZYDIS_CATEGORY_SYSCALL ||
	    z->meta.category == ZYDIS_CATEGORY_SYSRET || z->meta.category == ZYDIS_CATEGORY_NOP ||
	    z->meta.category == ZYDIS_CATEGORY_WIDENOP || z->mnemonic == ZYDIS_MNEMONIC_ARPL)
		return false;
	for (size_t i = 0; i < sizeof(integer) / sizeof(integer[0]); i++) {
		if (z->meta.isa_ext == integer[i])
			return true;
	}
	return false;
}

static void compare_memory(const uint8_t *bytes, const struct emu_insn *insn,
			   const ZydisDecodedInstruction *z, const ZydisDecodedOperand *memory)
{
	const struct emu_memory *m = &insn->memory;
	unsigned segment = (unsigned)ZydisRegisterGetId(memory->mem.segment);
	bool rip = memory->mem.base == ZYDIS_REGISTER_RIP || memory->mem.base == ZYDIS_REGISTER_EIP;
	uint64_t mask = UINT64_MAX >> (64 - z->address_width);

	/*
	 * Base 5 without displacement means "no base" whatever REX.B says; Zydis 4.0 takes it for
	 * R13 if the address has 32 bits. The native test runs such an instruction.
	 */
	if (z->address_width == 32 && z->raw.rex.B && z->raw.modrm.mod == 0 &&
	    z->raw.modrm.rm == 4 && z->raw.sib.base == 5)
		return;
	if (!insn->has_memory) {
		report(bytes, insn, "no memory operand", 0, 1);
		return;
	}
	if (m->base != register_number(memory->mem.base))
		report(bytes, insn, "base", m->base, register_number(memory->mem.base));
	if (m->index != register_number(memory->mem.index))
		report(bytes, insn, "index", m->index, register_number(memory->mem.index));
	if (memory->mem.index != ZYDIS_REGISTER_NONE &&
	    m->scale != (memory->mem.scale ? memory->mem.scale : 1))
		report(bytes, insn, "scale", m->scale, memory->mem.scale);
	if (((uint64_t)m->disp & mask) != ((uint64_t)memory->mem.disp.value & mask))
		report(bytes, insn, "disp", (uint64_t)m->disp, (uint64_t)memory->mem.disp.value);
	if (m->rip_relative != rip)
		report(bytes, insn, "rip relative", m->rip_relative, rip);
	if (memory->mem.type == ZYDIS_MEMOP_TYPE_MEM && insn->segment != segment &&
	    !(z->attributes & ZYDIS_ATTRIB_HAS_NOTRACK))
		report(bytes, insn, "segment", insn->segment, segment);
}

/* String operands are no memory operands for the decoder, but that at rSI has a segment. */
static void compare_operands(const uint8_t *bytes, const struct emu_insn *insn,
			     const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands)
{
	bool memory = false;

	for (unsigned i = 0; i < z->operand_count; i++) {
		const ZydisDecodedOperand *operand = &operands[i];

		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (operand->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
		    operand->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64) {
			memory = true;
			compare_memory(bytes, insn, z, operand);
		} else if (!insn->has_modrm && register_number(operand->mem.base) == EMU_RSI &&
			   insn->segment != ZydisRegisterGetId(operand->mem.segment)) {
			report(bytes, insn, "string segment", insn->segment,
			       (uint64_t)ZydisRegisterGetId(operand->mem.segment));
		}
	}
	/* Zydis gives hint NOPs no operand at all. */
	if (insn->has_memory != memory && insn->op != EMU_OP_NOP)
		report(bytes, insn, "memory operand", insn->has_memory, memory);
}

static void compare_fields(const uint8_t *bytes, const struct emu_insn *insn,
			   const ZydisDecodedInstruction *z)
{
	uint64_t mask = z->raw.imm[0].size ? UINT64_MAX >> (64 - z->raw.imm[0].size) : 0;
	uint64_t reg = insn->has_modrm ? z->raw.modrm.reg + (unsigned)z->raw.rex.R * 8 : 0;

	if (insn->address_bytes * 8 != z->address_width && z->meta.isa_ext != ZYDIS_ISA_EXT_SGX &&
	    z->meta.isa_ext != ZYDIS_ISA_EXT_SGX_ENCLV)
		report(bytes, insn, "address size", insn->address_bytes, z->address_width);
	if (operand_size_means_something(z) && insn->operand_bytes * 8 != z->operand_width)
		report(bytes, insn, "operand size", insn->operand_bytes, z->operand_width);
	if (insn->opcode != z->opcode)
		report(bytes, insn, "opcode", insn->opcode, z->opcode);
	if (insn->has_modrm != ((z->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0))
		report(bytes, insn, "has modrm", insn->has_modrm, !insn->has_modrm);
	if (insn->has_modrm && !insn->lock && (insn->reg & 7) != (reg & 7))
		report(bytes, insn, "reg", insn->reg, reg);
	if (z->raw.imm[0].size && insn->imm_bytes * 8 != z->raw.imm[0].size)
		report(bytes, insn, "immediate size", insn->imm_bytes, z->raw.imm[0].size);
	if (((uint64_t)insn->imm & mask) != (z->raw.imm[0].value.u & mask))
		report(bytes, insn, "immediate", (uint64_t)insn->imm, z->raw.imm[0].value.u);
	if (z->raw.imm[0].is_signed && insn->imm_bytes < insn->operand_bytes &&
	    insn->imm != z->raw.imm[0].value.s)
		report(bytes, insn, "signed immediate", (uint64_t)insn->imm, z->raw.imm[0].value.u);
	if (z->raw.imm[1].size && insn->imm2 != z->raw.imm[1].value.u)
		report(bytes, insn, "second immediate", insn->imm2, z->raw.imm[1].value.u);
}

static bool is_foreign(const ZydisDecodedInstruction *z)
{
	return z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
	       z->meta.isa_ext == ZYDIS_ISA_EXT_KNC || z->meta.isa_ext == ZYDIS_ISA_EXT_KNCV ||
	       z->meta.isa_ext == ZYDIS_ISA_EXT_PADLOCK || z->meta.isa_ext == ZYDIS_ISA_EXT_TDX;
}

/* LOCK in front of MOV CR0 is illegal for Zydis; for AMD it names CR8. */
static bool is_mov_cr(const struct emu_insn *insn)
{
	return insn->op == EMU_OP_MOV_FROM_CR || insn->op == EMU_OP_MOV_TO_CR;
}

/* Opcodes of which Zydis reads a further byte before it refuses them: 3DNow! and PadLock. */
static bool is_read_further(const struct emu_insn *insn)
{
	return insn->map == EMU_MAP_3DNOW ||
	       (insn->map == EMU_MAP_0F &&
		(insn->opcode == 0x0f || insn->opcode == 0xa6 || insn->opcode == 0xa7));
}

static bool may_be_unsupported(const struct emu_insn *insn)
{
	return insn->map >= EMU_MAP_0F38;
}

static void compare_refusal(const uint8_t *bytes, const struct emu_insn *insn,
			    enum emu_status status, ZyanStatus z_status)
{
	bool too_long = z_status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG;

	if (status == EMU_OK && insn->op == EMU_OP_VECTOR)
		total.vector++;
	else if (status == EMU_OK && insn->lock && is_mov_cr(insn))
		total.foreign++;
	else if (status == EMU_UNSUPPORTED && may_be_unsupported(insn))
		total.older++;
	else if (status == EMU_OK || status == EMU_UNSUPPORTED || status == EMU_NEED_BYTES)
		report(bytes, insn, "accepted", status, z_status);
	else if (too_long != (status == EMU_TOO_LONG) && insn->map < EMU_MAP_VEX &&
		 !is_read_further(insn))
		report(bytes, insn, "reason", status, z_status);
	else
		total.refused++;
}

static void compare_one(const uint8_t *bytes, enum emu_mode mode)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecoderContext context;
	struct emu_insn insn;
	enum emu_status status = emu_decode(bytes, BUFFER_BYTES, mode, &insn);
	ZyanStatus z_status;
	uint64_t before = total.mismatches;

	z_status =
		ZydisDecoderDecodeInstruction(&decoders[mode], &context, bytes, BUFFER_BYTES, &z);
	if (!ZYAN_SUCCESS(z_status)) {
		compare_refusal(bytes, &insn, status, z_status);
		return;
	}
	if (is_foreign(&z)) {
		total.foreign++;
		return;
	}
	if (status == EMU_UNSUPPORTED && may_be_unsupported(&insn)) {
		total.newer++;
		return;
	}
	if (status != EMU_OK) {
		report(bytes, &insn, "refused", status, z_status);
		return;
	}
	if (insn.length != z.length)
		report(bytes, &insn, "length", insn.length, z.length);
	if ((insn.op == EMU_OP_VECTOR) != (z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY))
		report(bytes, &insn, "encoding", insn.op, z.encoding);
	if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
		compare_fields(bytes, &insn, &z);
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoders[mode], &context, &z,
							     operands, z.operand_count)))
			report(bytes, &insn, "Zydis finds no operands", 0, 0);
		else
			compare_operands(bytes, &insn, &z, operands);
	}
	total.compared += total.mismatches == before;
}

/* Prefixes for the structured part; \x48 and the like are REX in 64-bit code only. */
static const struct prefixes {
	uint8_t count;
	uint8_t bytes[4];
} prefix_sets[] = {
	{0, {0}},
	{1, {0x66}},
	{1, {0x67}},
	{1, {0xf3}},
	{1, {0xf2}},
	{1, {0x48}},
	{1, {0x45}},
	{2, {0x66, 0x4f}},
	{2, {0x64, 0xf0}},
	{3, {0x67, 0x66, 0xf3}},
	{4, {0x26, 0xf2, 0x65, 0x42}},
	{4, {0x65, 0x3e, 0xf3, 0x41}},
	{3, {0x48, 0x66, 0x36}},
	{3, {0xf3, 0xf2, 0x66}},
};

/* Openings of the opcode maps; the rest of a vector prefix is random. */
static const struct prefixes map_openings[] = {
	{0, {0}},
	{1, {0x0f}},
	{2, {0x0f, 0x38}},
	{2, {0x0f, 0x3a}},
};

static void compare_opcode(enum emu_mode mode, const struct prefixes *prefixes,
			   const struct prefixes *opening, unsigned opcode)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		uint8_t bytes[BUFFER_BYTES];
		size_t at = prefixes->count;

		random_fill(bytes, sizeof(bytes));
		memcpy(bytes, prefixes->bytes, at);
		memcpy(bytes + at, opening->bytes, opening->count);
		at += opening->count;
		bytes[at] = (uint8_t)opcode;
		bytes[at + 1] = (uint8_t)modrm;
		compare_one(bytes, mode);
	}
}

static void every_opcode_with_every_modrm_agrees_with_zydis(void **state)
{
	uint64_t before = total.mismatches;

	(void)state;
	for (unsigned mode = EMU_MODE_16; mode <= EMU_MODE_64; mode++) {
		for (unsigned p = 0; p < sizeof(prefix_sets) / sizeof(prefix_sets[0]); p++) {
			for (unsigned map = 0; map < 4; map++) {
				for (unsigned opcode = 0; opcode < 256; opcode++)
					compare_opcode((enum emu_mode)mode, &prefix_sets[p],
						       &map_openings[map], opcode);
			}
		}
	}
	assert_int_equal(total.mismatches - before, 0);
}

/* Every SIB byte behind every ModRM that asks for one, as operand of ADD, MOVAPS and MOV. */
static void every_sib_byte_agrees_with_zydis(void **state)
{
	static const uint8_t openings[][3] = {{0x90, 0x90, 0x01},
					      {0x67, 0x0f, 0x28},
					      {0x64, 0x67, 0x8b},
					      {0x66, 0x4e, 0x89},
					      {0xf0, 0x43, 0x31}};
	uint64_t before = total.mismatches;

	(void)state;
	for (unsigned i = 0; i < 3u * 5u * 256u * 24u; i++) {
		unsigned sib = i & 255u, shape = i / 256u % 24u, opening = i / 256u / 24u % 5u;
		uint8_t bytes[BUFFER_BYTES];
		unsigned skip = opening == 0 ? 2 : 0;

		random_fill(bytes, sizeof(bytes));
		memcpy(bytes, openings[opening] + skip, 3 - skip);
		bytes[3 - skip] = (uint8_t)((shape % 8u) << 3 | shape / 8u << 6 | 4u);
		bytes[4 - skip] = (uint8_t)sib;
		compare_one(bytes, (enum emu_mode)(i / 256u / 24u / 5u));
	}
	assert_int_equal(total.mismatches - before, 0);
}

static void vector_instructions_agree_with_zydis(void **state)
{
	static const uint8_t escapes[] = {0xc4, 0xc5, 0x62, 0x8f};
	uint64_t before = total.mismatches;

	(void)state;
	for (unsigned i = 0; i < RANDOM_COUNT; i++) {
		uint8_t bytes[BUFFER_BYTES];
		unsigned escape = i & 3u;

		random_fill(bytes, sizeof(bytes));
		bytes[0] = escapes[escape];
		/* Aim at the maps in use: random payloads would mostly miss them. */
		if (escape == 0)
			bytes[1] = (uint8_t)((bytes[1] & 0xe0) | (1 + (bytes[9] & 3)));
		else if (escape == 2)
			bytes[1] = (uint8_t)((bytes[1] & 0xf0) | (1 + (bytes[9] & 3)));
		else if (escape == 3)
			bytes[1] = (uint8_t)((bytes[1] & 0xe0) | (8 + (bytes[9] & 3)));
		compare_one(bytes, (enum emu_mode)(i / 4 % 3));
	}
	assert_int_equal(total.mismatches - before, 0);
}

static void random_bytes_agree_with_zydis(void **state)
{
	uint64_t before = total.mismatches;

	(void)state;
	for (unsigned i = 0; i < RANDOM_COUNT; i++) {
		uint8_t bytes[BUFFER_BYTES];

		random_fill(bytes, sizeof(bytes));
		compare_one(bytes, (enum emu_mode)(i % 3));
	}
	assert_int_equal(total.mismatches - before, 0);
}

/* Up to 14 prefixes in any order in front of random bytes. */
static void long_rows_of_prefixes_agree_with_zydis(void **state)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
					   0xf0, 0xf2, 0xf3, 0x40, 0x48, 0x44, 0x42, 0x41};
	uint64_t before = total.mismatches;

	(void)state;
	for (unsigned i = 0; i < RANDOM_COUNT / 2; i++) {
		uint8_t bytes[BUFFER_BYTES];
		unsigned count = 1 + (unsigned)(random_next() % 14u);

		random_fill(bytes, sizeof(bytes));
		for (unsigned k = 0; k < count; k++)
			bytes[k] = prefixes[bytes[k] & 15u];
		compare_one(bytes, (enum emu_mode)(i % 3));
	}
	assert_int_equal(total.mismatches - before, 0);
}

/* Cut short, an instruction asks for more bytes exactly until it has its own length. */
static void a_cut_instruction_asks_for_more_bytes(void **state)
{
	unsigned cuts = 0;

	(void)state;
	for (unsigned i = 0; i < RANDOM_COUNT / 8; i++) {
		uint8_t bytes[BUFFER_BYTES];
		struct emu_insn insn, again;
		enum emu_mode mode = (enum emu_mode)(i % 3);

		random_fill(bytes, sizeof(bytes));
		if (emu_decode(bytes, BUFFER_BYTES, mode, &insn) != EMU_OK)
			continue;
		for (unsigned count = 0; count < insn.length; count++, cuts++)
			assert_int_equal(emu_decode(bytes, count, mode, &again), EMU_NEED_BYTES);
		assert_int_equal(emu_decode(bytes, insn.length, mode, &again), EMU_OK);
		assert_memory_equal(&insn, &again, sizeof(insn));
	}
	assert_true(cuts > RANDOM_COUNT / 8);
}

static void enough_instructions_were_compared(void **state)
{
	(void)state;
	printf("# seed %llu: %llu compared, %llu refused by both; not compared: %llu vector, "
	       "%llu newer, %llu older, %llu foreign\n",
	       (unsigned long long)seed, (unsigned long long)total.compared,
	       (unsigned long long)total.refused, (unsigned long long)total.vector,
	       (unsigned long long)total.newer, (unsigned long long)total.older,
	       (unsigned long long)total.foreign);
	assert_true(total.compared >= COMPARED_MIN);
	assert_int_equal(total.mismatches, 0);
}

static void set_up_decoders(void)
{
	ZydisDecoderInit(&decoders[EMU_MODE_16], ZYDIS_MACHINE_MODE_LEGACY_16,
			 ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoders[EMU_MODE_32], ZYDIS_MACHINE_MODE_LEGACY_32,
			 ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[EMU_MODE_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned mode = EMU_MODE_16; mode <= EMU_MODE_64; mode++) {
		ZydisDecoderEnableMode(&decoders[mode], ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
		/* Hint NOPs everywhere but on CPUs that had MPX. */
		ZydisDecoderEnableMode(&decoders[mode], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_opcode_with_every_modrm_agrees_with_zydis),
		cmocka_unit_test(every_sib_byte_agrees_with_zydis),
		cmocka_unit_test(vector_instructions_agree_with_zydis),
		cmocka_unit_test(random_bytes_agree_with_zydis),
		cmocka_unit_test(long_rows_of_prefixes_agree_with_zydis),
		cmocka_unit_test(a_cut_instruction_asks_for_more_bytes),
		cmocka_unit_test(enough_instructions_were_compared),
	};

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		seed = strtoull(argv[2], NULL, 0);
	random_state = seed;
	set_up_decoders();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
