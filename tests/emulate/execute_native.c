/* SPDX-License-Identifier: MIT */
/*
 * The emulator against the CPU: the same instruction with the same registers, flags and memory is
 * run by both, and all that they leave behind is compared.
 *
 * Instructions are generated: every opcode and ModRM.reg that the decoder gives a name which the
 * emulator knows, with random prefixes, addressing forms and operands. The registers of the address
 * are then chosen so that it lies in the scratch area. Flags that the manuals leave undefined are
 * not compared, see undefined_flags().
 *
 * Not covered here, because user code in 64-bit mode cannot run it: 16- and 32-bit code, segments
 * other than GS, faults; see execute_unit.c.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "arith.h"
#include "execute.h"
#include "native.h"

#define SCRATCH_BYTES 65536u
#define SHAPES_MAX 2048u
#define RUNS_PER_SHAPE 4000u
#define RUNS_PER_OP 2000u  /* at least so many must have been compared for each operation */
#define RUNS_OF_SHAPE 100u /* and for each shape */
#define WINDOW_BYTES 2048u
#define GS_BASE 0x12345678u

#define FLAGS_COMPARED                                                                             \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF | RFLAGS_DF)

/* Opcode and ModRM.reg of an instruction that the emulator runs. */
struct shape {
	uint8_t prefix; /* 0, or one that is part of the opcode */
	uint8_t map;    /* EMU_MAP_ONE, _0F or _0F38 */
	uint8_t opcode;
	uint8_t digit;
};

static uint64_t seed = 20240301;
static uint64_t random_state;
static uint8_t *code, *scratch; /* what the CPU uses; below 2 GiB */
static uint8_t shadow[SCRATCH_BYTES];
static struct emu_cpu cpu;
static uint8_t cpu_xmm[16][16];
static uint64_t last_write;
static struct shape shapes[SHAPES_MAX];
static unsigned shape_count;
static uint64_t compared[EMU_OP_COUNT];

static uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool one_in(unsigned n)
{
	return random_next() % n == 0;
}

/* Values near the edges of the operand sizes are as likely as arbitrary ones. */
static uint64_t random_operand(void)
{
	static const uint64_t edges[] = {0,          0x7f,
					 0x80,       0xff,
					 0x7fff,     0x8000,
					 0xffff,     0x7fffffff,
					 0x80000000, UINT64_MAX,
					 INT64_MAX,  UINT32_MAX,
					 1,          UINT64_C(1) << 63,
					 0xffffff80, 0xf};
	uint64_t value = random_next();

	return one_in(3) ? edges[value & 15] + (value >> 4 & 1) : value;
}

static uint8_t *shadow_of(const struct emu_access *access)
{
	uint64_t offset = access->linear - (uint64_t)(uintptr_t)scratch;

	assert_true(offset <= SCRATCH_BYTES - access->bytes);
	return shadow + offset;
}

static enum emu_result test_fetch(void *context, const struct emu_access *access, void *value)
{
	uint64_t offset = access->linear - (uint64_t)(uintptr_t)code;

	(void)context;
	memcpy(value, code + offset, access->bytes);
	return EMU_ACCESS_OK;
}

static enum emu_result test_read(void *context, const struct emu_access *access, void *value)
{
	(void)context;
	memcpy(value, shadow_of(access), access->bytes);
	return EMU_ACCESS_OK;
}

static enum emu_result test_write(void *context, const struct emu_access *access, const void *value)
{
	(void)context;
	memcpy(shadow_of(access), value, access->bytes);
	last_write = access->linear;
	return EMU_ACCESS_OK;
}

static enum emu_result test_compare_exchange(void *context, const struct emu_access *access,
					     const void *expected, const void *desired)
{
	assert_memory_equal(shadow_of(access), expected, access->bytes);
	return test_write(context, access, desired);
}

static void test_xmm_read(void *context, unsigned reg, void *value)
{
	(void)context;
	memcpy(value, cpu_xmm[reg], 16);
}

static void test_xmm_write(void *context, unsigned reg, const void *value)
{
	(void)context;
	memcpy(cpu_xmm[reg], value, 16);
}

static const struct emu_ops ops = {
	.fetch = test_fetch,
	.read = test_read,
	.write = test_write,
	.compare_exchange = test_compare_exchange,
	.xmm_read = test_xmm_read,
	.xmm_write = test_xmm_write,
};

static bool is_executable(const struct emu_insn *insn)
{
	if (insn->op >= EMU_OP_MOVX_UNALIGNED && insn->op <= EMU_OP_MOVX_LOW)
		return insn->has_memory;
	return insn->op >= EMU_OP_ADD && insn->op <= EMU_OP_MOVX_LOW;
}

/* Opcode bytes of a shape up to and without ModRM; returns how many. */
static unsigned put_opcode(uint8_t *bytes, const struct shape *shape)
{
	unsigned count = 0;

	if (shape->map != EMU_MAP_ONE)
		bytes[count++] = 0x0f;
	if (shape->map == EMU_MAP_0F38)
		bytes[count++] = 0x38;
	bytes[count++] = shape->opcode;
	return count;
}

static void add_shape_if_executable(struct shape shape)
{
	uint8_t bytes[EMU_INSN_BYTES_MAX] = {shape.prefix};
	unsigned at = shape.prefix ? 1 : 0;
	struct emu_insn insn;

	at += put_opcode(bytes + at, &shape);
	bytes[at] = (uint8_t)(shape.digit << 3);
	if (emu_decode(bytes, sizeof(bytes), EMU_MODE_64, &insn) != EMU_OK ||
	    !is_executable(&insn) || (!insn.has_modrm && shape.digit) || insn.map != shape.map ||
	    insn.opcode != shape.opcode)
		return;
	assert_true(shape_count < SHAPES_MAX);
	shapes[shape_count++] = shape;
}

static void collect_shapes(void)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
	static const uint8_t maps[] = {EMU_MAP_ONE, EMU_MAP_0F, EMU_MAP_0F38};

	for (unsigned i = 0; i < 4u * 3u * 256u * 8u; i++) {
		struct shape shape = {.prefix = prefixes[i / (3u * 256u * 8u)],
				      .map = maps[i / (256u * 8u) % 3u],
				      .opcode = (uint8_t)(i / 8u),
				      .digit = i % 8u};
		bool sse = shape.map == EMU_MAP_0F && (shape.opcode & 0xf0) != 0x40;

		/* Prefixes that are no part of the opcode are added at random later. */
		if (shape.map == EMU_MAP_ONE && (shape.opcode & 0xf0) == 0x40)
			continue; /* REX */
		if (!shape.prefix || (sse && shape.digit == 3))
			add_shape_if_executable(shape);
	}
}

/* Prefixes, opcode and random rest; false if that is not executable after all. */
static bool generate(const struct shape *shape, uint8_t *bytes, struct emu_insn *insn)
{
	static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x65, 0x65, 0x65, 0x65};
	unsigned at = 0;

	for (unsigned i = 0; i < 32; i += 8) {
		uint64_t word = random_next();

		memcpy(bytes + i, &word, 8);
	}
	if (one_in(6))
		bytes[at++] = segments[random_next() & 7];
	if (one_in(4))
		bytes[at++] = 0x66;
	if (one_in(6))
		bytes[at++] = 0x67;
	if (one_in(6))
		bytes[at++] = 0xf0;
	if (one_in(3))
		bytes[at++] = one_in(2) ? 0xf2 : 0xf3;
	if (shape->prefix)
		bytes[at++] = shape->prefix;
	if (one_in(2))
		bytes[at++] = (uint8_t)(0x40 | (random_next() & 15));
	at += put_opcode(bytes + at, shape);
	bytes[at] = (uint8_t)((bytes[at] & 0xc7) | shape->digit << 3);
	return emu_decode(bytes, EMU_INSN_BYTES_MAX, EMU_MODE_64, insn) == EMU_OK &&
	       is_executable(insn) && insn->opcode == shape->opcode && insn->map == shape->map;
}

static bool is_string(const struct emu_insn *insn)
{
	return insn->op >= EMU_OP_MOVS && insn->op <= EMU_OP_SCAS;
}

static bool uses_stack(const struct emu_insn *insn)
{
	return insn->op == EMU_OP_PUSH || insn->op == EMU_OP_POP;
}

static bool needs_alignment(const struct emu_insn *insn)
{
	return insn->lock || insn->op == EMU_OP_XCHG || insn->op == EMU_OP_CMPXCHG8B ||
	       insn->op == EMU_OP_MOVX_ALIGNED;
}

static uint64_t segment_base(const struct emu_insn *insn)
{
	return insn->segment == EMU_GS ? GS_BASE : 0;
}

/* Address arithmetic ignores the upper half of a register in 32-bit addressing. */
static uint64_t address_value(const struct emu_insn *insn, uint64_t value)
{
	return insn->address_bytes == 8 ? value : (value & UINT32_MAX) | random_next() << 32;
}

/* No base: the address has to be in the displacement. */
static void aim_displacement(uint8_t *bytes, struct emu_insn *insn, uint64_t target)
{
	bool absolute = !insn->has_modrm;
	unsigned disp_bytes = absolute ? insn->address_bytes : 4;
	unsigned at = insn->length - insn->imm_bytes - disp_bytes;
	uint64_t disp = target;

	if (insn->memory.rip_relative)
		disp -= (uint64_t)(uintptr_t)code + insn->length;
	if (insn->memory.index != EMU_REG_NONE) {
		uint64_t index = random_next() & 15;

		cpu.gpr[insn->memory.index] = address_value(insn, index);
		disp -= index * insn->memory.scale;
	}
	memcpy(bytes + at, &disp, disp_bytes);
	assert_int_equal(emu_decode(bytes, EMU_INSN_BYTES_MAX, EMU_MODE_64, insn), EMU_OK);
}

/* Choose registers, or the displacement, so that the memory operand is at offset @target. */
static bool aim(uint8_t *bytes, struct emu_insn *insn, uint64_t target)
{
	const struct emu_memory *m = &insn->memory;
	uint64_t index = random_next() & 31;

	if (m->base == EMU_REG_NONE) {
		aim_displacement(bytes, insn, target);
		return true;
	}
	if (uses_stack(insn) && m->base == EMU_RSP &&
	    (m->disp > 4096 || m->disp < -4096 || insn->segment == EMU_GS))
		return false;
	if (m->base == m->index) {
		uint64_t times = 1u + m->scale;

		if (needs_alignment(insn))
			return false;
		cpu.gpr[m->base] = address_value(insn, (target - (uint64_t)m->disp) / times);
		/* A negative quotient would need a carry from beyond 64 bits. */
		return insn->address_bytes == 8 && target > (uint64_t)m->disp && m->disp >= 0;
	}
	if (m->index == EMU_REG_NONE)
		index = 0;
	else
		cpu.gpr[m->index] = address_value(insn, index);
	index *= m->scale;
	if (uses_stack(insn) && m->base == EMU_RSP)
		return true;
	cpu.gpr[m->base] = address_value(insn, target - index - (uint64_t)m->disp);
	return true;
}

static bool is_in_address(const struct emu_insn *insn, unsigned reg)
{
	return insn->has_memory && (insn->memory.base == reg || insn->memory.index == reg);
}

/* Half of the comparisons should find what they compare with. */
static void make_equal(const struct emu_insn *insn, const uint8_t *target)
{
	if (insn->op == EMU_OP_CMPXCHG && !is_in_address(insn, EMU_RAX)) {
		if (insn->has_memory)
			memcpy(&cpu.gpr[EMU_RAX], target, insn->operand_bytes);
		else
			cpu.gpr[EMU_RAX] = cpu.gpr[insn->rm];
	}
	if (insn->op == EMU_OP_CMPXCHG8B && !is_in_address(insn, EMU_RAX) &&
	    !is_in_address(insn, EMU_RDX)) {
		memcpy(&cpu.gpr[EMU_RAX], target, insn->operand_bytes);
		memcpy(&cpu.gpr[EMU_RDX], target + insn->operand_bytes, insn->operand_bytes);
	}
}

/* Strings of few different bytes, short enough to stay in the scratch area. */
static void set_up_string(const struct emu_insn *insn)
{
	uint64_t middle = (uint64_t)(uintptr_t)scratch + SCRATCH_BYTES / 2;
	uint64_t source = middle - 512 + random_next() % 64;
	uint64_t destination = middle + random_next() % 64;
	uint64_t count = one_in(16) ? random_next() % 300 : random_next() % 12;

	if (insn->rep == EMU_REP_NONE)
		count = random_next();
	if (one_in(2)) {
		unsigned offset = SCRATCH_BYTES / 2 - 512;

		memset(shadow + offset, 0x55, 1024);
		shadow[offset + random_next() % 1024] = 0x56;
		memcpy(scratch + offset, shadow + offset, 1024);
		cpu.gpr[EMU_RAX] = UINT64_C(0x5555555555555555);
	}
	cpu.gpr[EMU_RSI] = address_value(insn, source - segment_base(insn));
	cpu.gpr[EMU_RDI] = address_value(insn, destination);
	/* With a count of 0, CPUs differ in what 32-bit addressing does to upper halves. */
	cpu.gpr[EMU_RCX] = count ? address_value(insn, count) : 0;
	if (!count) {
		cpu.gpr[EMU_RSI] &= UINT32_MAX;
		cpu.gpr[EMU_RDI] &= UINT32_MAX;
	}
}

/* Registers and address of one run; false if this instruction cannot be aimed. */
static bool set_up(uint8_t *bytes, struct emu_insn *insn, uint64_t *target)
{
	uint64_t middle = (uint64_t)(uintptr_t)scratch + SCRATCH_BYTES / 2;
	int64_t bits = (int64_t)(random_next() % 200000) - 100000;

	for (unsigned i = 0; i < EMU_GPR_COUNT; i++)
		cpu.gpr[i] = random_operand();
	cpu.rflags = 0x202 | (random_next() & FLAGS_COMPARED);
	cpu.rip = (uint64_t)(uintptr_t)code;
	for (unsigned i = 0; i < 16; i++)
		memcpy(cpu_xmm[i], shadow + random_next() % 1024, 16);
	*target = middle + (random_next() & 1023);
	if (needs_alignment(insn))
		*target &= ~UINT64_C(15);
	if (is_string(insn))
		set_up_string(insn);
	if (insn->op >= EMU_OP_BT && insn->op <= EMU_OP_BTC && insn->has_memory &&
	    insn->source == EMU_OPERAND_REG) {
		if (is_in_address(insn, insn->reg))
			return false;
		cpu.gpr[insn->reg] = (uint64_t)bits;
	}
	if (uses_stack(insn))
		cpu.gpr[EMU_RSP] = middle - 4096 + (random_next() & 1016);
	if (insn->has_memory && !aim(bytes, insn, *target - segment_base(insn)))
		return false;
	if (one_in(2))
		make_equal(insn, shadow + (*target - (uint64_t)(uintptr_t)scratch));
	return true;
}

static unsigned shift_count(const struct emu_insn *insn, uint64_t cl)
{
	uint64_t count = insn->source == EMU_OPERAND_CL    ? cl
			 : insn->source == EMU_OPERAND_ONE ? 1
							   : (uint64_t)insn->imm;

	return (unsigned)(count & (insn->operand_bytes == 8 ? 63 : 31));
}

/* Flags that Intel's and AMD's manuals call undefined. */
static uint64_t undefined_flags(const struct emu_insn *insn, uint64_t rcx)
{
	unsigned count = shift_count(insn, rcx & 0xff);
	uint64_t undefined = 0;

	if (insn->op == EMU_OP_AND || insn->op == EMU_OP_OR || insn->op == EMU_OP_XOR ||
	    insn->op == EMU_OP_TEST)
		return RFLAGS_AF;
	if (insn->op >= EMU_OP_BT && insn->op <= EMU_OP_BTC)
		return RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF;
	if (insn->op < EMU_OP_ROL || insn->op > EMU_OP_SAR || !count)
		return 0;
	if (count != 1)
		undefined |= RFLAGS_OF;
	if (insn->op >= EMU_OP_SHL)
		undefined |= RFLAGS_AF;
	if (insn->op >= EMU_OP_SHL && insn->op != EMU_OP_SAR && count >= 8u * insn->operand_bytes)
		undefined |= RFLAGS_CF;
	return undefined;
}

static void complain(const uint8_t *bytes, unsigned length, const char *what)
{
	fprintf(stderr, "# seed %llu:", (unsigned long long)seed);
	for (unsigned i = 0; i < length; i++)
		fprintf(stderr, " %02x", bytes[i]);
	fprintf(stderr, ": %s differs\n", what);
	for (unsigned i = 0; i < EMU_GPR_COUNT; i++) {
		if (cpu.gpr[i] != native_state.gpr[i])
			fprintf(stderr, "#   register %u: %#llx, CPU %#llx\n", i,
				(unsigned long long)cpu.gpr[i],
				(unsigned long long)native_state.gpr[i]);
	}
	fprintf(stderr, "#   flags %#llx, CPU %#llx\n", (unsigned long long)cpu.rflags,
		(unsigned long long)native_state.rflags);
	fail();
}

/* Both have run: nothing may differ around the places that were used. */
static void compare(const uint8_t *bytes, const struct emu_insn *insn, uint64_t target,
		    uint64_t undefined)
{
	uint64_t base = (uint64_t)(uintptr_t)scratch;
	uint64_t centers[3] = {target, last_write, base + SCRATCH_BYTES / 2 - 4096};

	if (memcmp(cpu.gpr, native_state.gpr, sizeof(cpu.gpr)))
		complain(bytes, insn->length, "a register");
	if ((cpu.rflags ^ native_state.rflags) & FLAGS_COMPARED & ~undefined)
		complain(bytes, insn->length, "a flag");
	if (memcmp(cpu_xmm, native_state.xmm, sizeof(cpu_xmm)))
		complain(bytes, insn->length, "an XMM register");
	if (cpu.rip != (uint64_t)(uintptr_t)code + insn->length)
		complain(bytes, insn->length, "RIP");
	for (unsigned i = 0; i < 3; i++) {
		uint64_t start = centers[i] - base - WINDOW_BYTES / 2;

		if (start <= SCRATCH_BYTES - WINDOW_BYTES &&
		    memcmp(scratch + start, shadow + start, WINDOW_BYTES))
			complain(bytes, insn->length, "memory");
	}
}

static bool run_both(const struct shape *shape)
{
	uint8_t bytes[32];
	struct emu_insn insn;
	uint64_t target, rcx;
	enum emu_outcome outcome = EMU_AGAIN;

	if (!generate(shape, bytes, &insn) || !set_up(bytes, &insn, &target))
		return false;
	memcpy(code, bytes, insn.length);
	native_write_return(code + insn.length);
	memcpy(native_state.gpr, cpu.gpr, sizeof(cpu.gpr));
	memcpy(native_state.xmm, cpu_xmm, sizeof(cpu_xmm));
	native_state.rflags = cpu.rflags;
	rcx = cpu.gpr[EMU_RCX];
	last_write = target;
	while (outcome == EMU_AGAIN)
		outcome = emu_step(&cpu, &ops, NULL);
	if (outcome != EMU_DONE)
		complain(bytes, insn.length, "the outcome");
	native_run(code);
	compare(bytes, &insn, target, undefined_flags(&insn, rcx));
	compared[insn.op]++;
	return true;
}

/* The CPU faulted: say at which instruction. Runs on its own stack, RSP may be anything. */
static void tell_and_exit(int signal)
{
	dprintf(2, "# signal %d, code:", signal);
	for (unsigned i = 0; i < EMU_INSN_BYTES_MAX; i++)
		dprintf(2, " %02x", code[i]);
	dprintf(2, "\nnot ok - the CPU faulted\n");
	_exit(1);
}

/* To be called within a test: cmocka sets its own handlers, which need RSP, before each. */
static void catch_signals(void)
{
	static uint8_t signal_stack[65536];
	const stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
	struct sigaction action = {.sa_handler = tell_and_exit, .sa_flags = SA_ONSTACK};

	assert_int_equal(sigaltstack(&stack, NULL), 0);
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	assert_int_equal(sigaction(SIGILL, &action, NULL), 0);
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
	assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
}

static void every_instruction_does_what_the_cpu_does(void **state)
{
	(void)state;
	catch_signals();
	for (unsigned s = 0; s < shape_count; s++) {
		unsigned runs = 0;

		for (unsigned i = 0; i < RUNS_PER_SHAPE; i++)
			runs += run_both(&shapes[s]);
		assert_true(runs >= RUNS_OF_SHAPE);
		assert_memory_equal(scratch, shadow, SCRATCH_BYTES);
	}
}

static void every_operation_was_compared_often_enough(void **state)
{
	uint64_t total = 0, least = UINT64_MAX;

	(void)state;
	for (unsigned op = EMU_OP_ADD; op <= EMU_OP_MOVX_LOW; op++) {
		total += compared[op];
		least = compared[op] < least ? compared[op] : least;
		if (compared[op] < RUNS_PER_OP)
			fprintf(stderr, "# operation %u: %llu runs\n", op,
				(unsigned long long)compared[op]);
	}
	printf("# seed %llu: %llu instructions of %u shapes compared, at least %llu per "
	       "operation\n",
	       (unsigned long long)seed, (unsigned long long)total, shape_count,
	       (unsigned long long)least);
	assert_true(least >= RUNS_PER_OP);
}

static int set_up_memory(void **state)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;

	(void)state;
	code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
	scratch = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (code == MAP_FAILED || scratch == MAP_FAILED)
		return -1;
	for (unsigned i = 0; i < SCRATCH_BYTES; i++)
		shadow[i] = (uint8_t)random_next();
	memcpy(scratch, shadow, SCRATCH_BYTES);
	cpu.mode = EMU_MODE_64;
	cpu.cpl = 3;
	cpu.linear_bits = 48;
	cpu.segment[EMU_GS].base = GS_BASE;
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)GS_BASE))
		return -1;
	collect_shapes();
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_instruction_does_what_the_cpu_does),
		cmocka_unit_test(every_operation_was_compared_often_enough),
	};

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		seed = strtoull(argv[2], NULL, 0);
	random_state = seed;
	return cmocka_run_group_tests(tests, set_up_memory, NULL);
}
