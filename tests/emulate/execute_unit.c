/* SPDX-License-Identifier: MIT */
/*
 * The emulator where the CPU of the test machine cannot be asked: faults, page crossings, bounds,
 * 16- and 32-bit code, segments, and what is asked of the ops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine.h"

#define CODE(machine, ...)                                                                         \
	do {                                                                                       \
		static const uint8_t code_bytes[] = {__VA_ARGS__};                                 \
		machine_code((machine), 0, code_bytes, sizeof(code_bytes));                        \
	} while (0)

static struct machine m, before, clean;

static enum emu_outcome step(struct machine *machine)
{
	return emu_step(&machine->cpu, &machine_ops, machine);
}

/* RAX to R15 of a fresh machine point into its memory, at offsets 0x4000, 0x4100, ... */
static const struct sample {
	const char *name;
	uint8_t count;
	uint8_t bytes[12];
} samples[] = {
	{"add [rcx], rax", 3, {0x48, 0x01, 0x01}},
	{"add [rsp], rsp", 4, {0x48, 0x01, 0x24, 0x24}},
	{"add rax, [rcx]", 3, {0x48, 0x03, 0x01}},
	{"lock sub [rcx], eax", 3, {0xf0, 0x29, 0x01}},
	{"cmp [rcx], al", 2, {0x38, 0x01}},
	{"inc dword [rcx]", 2, {0xff, 0x01}},
	{"shl qword [rdx], 5", 4, {0x48, 0xc1, 0x22, 0x05}},
	{"mov [rcx], rax", 3, {0x48, 0x89, 0x01}},
	{"mov rcx, [rcx]", 3, {0x48, 0x8b, 0x09}},
	{"movzx ecx, byte [rcx]", 3, {0x0f, 0xb6, 0x09}},
	{"xchg [rcx], rax", 3, {0x48, 0x87, 0x01}},
	{"lock xadd [rcx], rcx", 5, {0xf0, 0x48, 0x0f, 0xc1, 0x09}},
	{"cmpxchg [rcx], rdx", 4, {0x48, 0x0f, 0xb1, 0x11}},
	{"lock cmpxchg16b [rsi]", 5, {0xf0, 0x48, 0x0f, 0xc7, 0x0e}},
	{"bts [rcx], 3", 4, {0x0f, 0xba, 0x29, 0x03}},
	{"setnz [rcx]", 3, {0x0f, 0x95, 0x01}},
	{"push qword [rcx]", 2, {0xff, 0x31}},
	{"pop qword [rsp+8]", 4, {0x8f, 0x44, 0x24, 0x08}},
	{"push rsp", 1, {0x54}},
	{"pop rsp", 1, {0x5c}},
	{"movsq", 2, {0x48, 0xa5}},
	{"cmpsb", 1, {0xa6}},
	{"stosd", 1, {0xab}},
	{"lodsw", 2, {0x66, 0xad}},
	{"scasb", 1, {0xae}},
	{"movdqa [rcx], xmm2", 4, {0x66, 0x0f, 0x7f, 0x11}},
	{"movups xmm2, [rcx+1]", 4, {0x0f, 0x10, 0x51, 0x01}},
};

static void assert_unchanged(const struct machine *now, const struct machine *then)
{
	assert_memory_equal(&now->cpu, &then->cpu, sizeof(now->cpu));
	assert_memory_equal(now->memory, then->memory, sizeof(now->memory));
	assert_memory_equal(now->xmm, then->xmm, sizeof(now->xmm));
}

/* Fail the first access, the second, ... until the instruction has none left to fail. */
static void a_fault_at_any_access_changes_nothing(void **state)
{
	unsigned faults = 0;

	(void)state;
	for (unsigned s = 0; s < sizeof(samples) / sizeof(samples[0]); s++) {
		for (uint32_t fault_at = 0;; fault_at++) {
			enum emu_outcome outcome;

			machine_init(&m, EMU_MODE_64);
			machine_code(&m, 0, samples[s].bytes, samples[s].count);
			m.fault_at = fault_at;
			before = m;
			outcome = step(&m);
			if (outcome == EMU_DONE) {
				assert_true(fault_at > 0);
				assert_int_equal(m.cpu.rip, before.cpu.rip + samples[s].count);
				break;
			}
			assert_int_equal(outcome, EMU_FAULT);
			assert_unchanged(&m, &before);
			faults++;
		}
	}
	assert_true(faults >= sizeof(samples) / sizeof(samples[0]));
}

/* At any fault the guest handles it and enters again; the end is as without faults. */
static void a_rep_that_faults_goes_on_where_it_stopped(void **state)
{
	(void)state;
	machine_init(&clean, EMU_MODE_64);
	CODE(&clean, 0xf3, 0x48, 0xa5); /* rep movsq */
	clean.cpu.gpr[EMU_RCX] = 10;
	before = clean;
	assert_int_equal(step(&clean), EMU_DONE);
	assert_int_equal(clean.cpu.gpr[EMU_RCX], 0);
	for (uint32_t fault_at = 0; fault_at < 30; fault_at++) {
		uint64_t done = fault_at / 3; /* check, read and write in each iteration */

		m = before;
		m.fault_at = fault_at;
		assert_int_equal(step(&m), EMU_FAULT);
		assert_int_equal(m.cpu.rip, before.cpu.rip);
		assert_int_equal(m.cpu.gpr[EMU_RCX], 10 - done);
		assert_int_equal(m.cpu.gpr[EMU_RSI], before.cpu.gpr[EMU_RSI] + 8 * done);
		assert_int_equal(m.cpu.gpr[EMU_RDI], before.cpu.gpr[EMU_RDI] + 8 * done);
		assert_int_equal(step(&m), EMU_DONE);
		assert_unchanged(&m, &clean);
	}
}

static void a_long_rep_comes_back_in_between(void **state)
{
	unsigned calls = 1;

	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0xf3, 0xaa); /* rep stosb */
	m.cpu.gpr[EMU_RCX] = 3 * EMU_REP_MAX;
	before = m;
	assert_int_equal(step(&m), EMU_AGAIN);
	assert_int_equal(m.cpu.rip, before.cpu.rip);
	assert_int_equal(m.cpu.gpr[EMU_RCX], 2 * EMU_REP_MAX);
	assert_int_equal(m.data_ops, EMU_REP_MAX);
	for (; step(&m) == EMU_AGAIN; calls++)
		assert_true(calls < 3);
	assert_int_equal(calls, 2);
	assert_int_equal(m.cpu.rip, before.cpu.rip + 2);
	assert_int_equal(m.cpu.gpr[EMU_RDI], before.cpu.gpr[EMU_RDI] + 3 * EMU_REP_MAX);
}

static void a_rep_under_the_trap_flag_does_one_iteration(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0xf3, 0xaa);
	m.cpu.gpr[EMU_RCX] = 2;
	m.cpu.rflags |= 0x100;
	assert_int_equal(step(&m), EMU_AGAIN);
	assert_int_equal(m.cpu.gpr[EMU_RCX], 1);
	assert_int_equal(step(&m), EMU_DONE);
}

static void a_rep_with_count_zero_touches_nothing(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0xf3, 0xa6); /* repe cmpsb */
	m.cpu.gpr[EMU_RCX] = 0;
	m.fault_at = 0;
	before = m;
	assert_int_equal(step(&m), EMU_DONE);
	before.cpu.rip += 2;
	assert_unchanged(&m, &before);
}

static void an_instruction_that_ends_with_its_page_needs_no_other(void **state)
{
	static const uint8_t mov[] = {0x48, 0x89, 0x01};

	(void)state;
	machine_init(&m, EMU_MODE_64);
	machine_code(&m, 4096 - 3, mov, sizeof(mov));
	m.absent = 1u << 1;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.log[0].access.bytes, 3);
}

static void an_instruction_that_crosses_a_page_faults_on_the_second(void **state)
{
	static const uint8_t add[] = {0x48, 0x81, 0x01, 0x78, 0x56, 0x34, 0x12};

	(void)state;
	for (uint32_t first = 1; first < sizeof(add); first++) {
		machine_init(&m, EMU_MODE_64);
		machine_code(&m, 4096 - first, add, sizeof(add));
		m.absent = 1u << 1;
		before = m;
		assert_int_equal(step(&m), EMU_FAULT);
		assert_unchanged(&m, &before);
		assert_int_equal(m.log_count, 2);
		assert_int_equal(m.log[1].access.linear, m.base + 4096);
		m.absent = 0;
		assert_int_equal(step(&m), EMU_DONE);
		assert_int_equal(machine_get(&m, 0x4100, 8),
				 machine_get(&before, 0x4100, 8) + 0x12345678);
	}
}

static void an_invalid_opcode_is_told_before_the_next_page_is_fetched(void **state)
{
	static const uint8_t invalid[] = {0x0f, 0x04};

	(void)state;
	machine_init(&m, EMU_MODE_64);
	machine_code(&m, 4096 - 2, invalid, sizeof(invalid));
	m.absent = 1u << 1;
	assert_int_equal(step(&m), EMU_RAISE_UD);
}

static void an_instruction_of_sixteen_bytes_raises_gp(void **state)
{
	uint8_t bytes[16];

	(void)state;
	memset(bytes, 0x2e, sizeof(bytes));
	bytes[15] = 0x90;
	machine_init(&m, EMU_MODE_64);
	machine_code(&m, 0, bytes, sizeof(bytes));
	assert_int_equal(step(&m), EMU_RAISE_GP);
}

static void sixteen_bit_addresses_wrap_at_64_kib(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_16);
	CODE(&m, 0x88, 0x48, 0x20); /* mov [bx+si+0x20], cl */
	m.cpu.gpr[EMU_RBX] = 0x1234fff0;
	m.cpu.gpr[EMU_RSI] = 0x5678fff8;
	m.cpu.gpr[EMU_RCX] = 0x5a;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.memory[(0xfff0 + 0xfff8 + 0x20) & 0xffff], 0x5a);
}

static void thirty_two_bit_addresses_wrap_at_4_gib(void **state)
{
	(void)state;
	for (unsigned mode = EMU_MODE_32; mode <= EMU_MODE_64; mode++) {
		machine_init(&m, (enum emu_mode)mode);
		if (mode == EMU_MODE_32)
			CODE(&m, 0x88, 0x0c, 0x53); /* mov [ebx+edx*2], cl */
		else
			CODE(&m, 0x67, 0x88, 0x0c, 0x53);
		m.cpu.gpr[EMU_RBX] = 0xfff00000;
		m.cpu.gpr[EMU_RDX] = mode == EMU_MODE_64 ? 0xffffffff00102800 : 0x00102800;
		m.cpu.gpr[EMU_RCX] = 0x5b;
		assert_int_equal(step(&m), EMU_DONE);
		assert_int_equal(m.memory[0x5000], 0x5b);
	}
}

static void a_segment_base_is_added_outside_64_bit_code_and_wraps(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_32);
	CODE(&m, 0x26, 0x88, 0x0b); /* mov es:[ebx], cl */
	m.cpu.segment[EMU_ES].base = 0xfffff000;
	m.cpu.gpr[EMU_RBX] = 0x106000;
	m.cpu.gpr[EMU_RCX] = 0x5c;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.memory[0x5000], 0x5c);
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x26, 0x88, 0x0b);
	m.cpu.segment[EMU_ES].base = 0x1000;
	m.cpu.gpr[EMU_RBX] = 0x105000;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.memory[0x5000], m.cpu.gpr[EMU_RCX] & 0xff);
}

static void a_non_canonical_address_raises_gp_or_ss(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x48, 0x8b, 0x03); /* mov rax, [rbx] */
	m.cpu.gpr[EMU_RBX] = UINT64_C(0x800000000000);
	before = m;
	assert_int_equal(step(&m), EMU_RAISE_GP);
	assert_unchanged(&m, &before);
	m.cpu.linear_bits = 57;
	assert_int_equal(step(&m), EMU_FAULT); /* canonical now, but nothing is there */
	m.cpu.linear_bits = 48;
	m.cpu.gpr[EMU_RBX] = UINT64_C(0x7ffffffffffd); /* the last bytes are beyond */
	assert_int_equal(step(&m), EMU_RAISE_GP);
	m.cpu.gpr[EMU_RBX] = UINT64_C(0x7ffffffffff8);
	assert_int_equal(step(&m), EMU_FAULT);
	CODE(&m, 0x48, 0x8b, 0x45, 0x00); /* mov rax, [rbp+0] */
	m.cpu.gpr[EMU_RBP] = UINT64_C(0x800000000000);
	assert_int_equal(step(&m), EMU_RAISE_SS);
	CODE(&m, 0x41, 0xff, 0x75, 0x00); /* push qword [r13+0] */
	m.cpu.gpr[EMU_RSP] = UINT64_C(0x800000000008);
	assert_int_equal(step(&m), EMU_RAISE_SS);
	assert_int_equal(m.data_ops, 0);
}

static void a_segment_limit_is_kept(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_16);
	CODE(&m, 0x89, 0x07); /* mov [bx], ax */
	m.cpu.gpr[EMU_RBX] = 0xffff;
	before = m;
	assert_int_equal(step(&m), EMU_RAISE_GP);
	assert_unchanged(&m, &before);
	m.cpu.gpr[EMU_RBX] = 0xfffe;
	assert_int_equal(step(&m), EMU_DONE);
	CODE(&m, 0x89, 0x46, 0x00); /* mov [bp+0], ax */
	m.cpu.gpr[EMU_RBP] = 0xffff;
	assert_int_equal(step(&m), EMU_RAISE_SS);
	CODE(&m, 0x89, 0x07);
	m.cpu.segment[EMU_DS].flags |= EMU_SEGMENT_EXPAND_DOWN;
	m.cpu.segment[EMU_DS].limit = 0x4fff;
	m.cpu.gpr[EMU_RBX] = 0x4fff;
	assert_int_equal(step(&m), EMU_RAISE_GP);
	m.cpu.gpr[EMU_RBX] = 0x5000;
	assert_int_equal(step(&m), EMU_DONE);
}

static void a_segment_that_may_not_be_written_is_not(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_32);
	m.cpu.segment[EMU_DS].flags = EMU_SEGMENT_READABLE;
	CODE(&m, 0x8b, 0x03); /* mov eax, [ebx] */
	assert_int_equal(step(&m), EMU_DONE);
	CODE(&m, 0x01, 0x03); /* add [ebx], eax */
	assert_int_equal(step(&m), EMU_RAISE_GP);
	CODE(&m, 0xa5); /* movsd: reads DS, writes ES */
	assert_int_equal(step(&m), EMU_DONE);
}

static void an_instruction_ends_with_its_code_segment(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_16);
	m.memory[0xffff] = 0x90;
	m.cpu.rip = 0xffff;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.cpu.rip, 0x10000);
	assert_int_equal(step(&m), EMU_RAISE_GP);
	m.memory[0xffff] = 0x89;
	m.cpu.rip = 0xffff;
	assert_int_equal(step(&m), EMU_RAISE_GP);
	m.cpu.rip = 0x10004;
	assert_int_equal(step(&m), EMU_RAISE_GP);
}

/* More bytes than the operand has could be other registers of a device. */
static void a_move_that_extends_reads_no_more_than_its_source(void **state)
{
	static const struct {
		uint8_t read_bytes, count, bytes[5];
	} moves[] = {
		{1, 4, {0x48, 0x0f, 0xb6, 0x01}}, {1, 3, {0x0f, 0xbe, 0x01}},
		{2, 4, {0x48, 0x0f, 0xb7, 0x01}}, {2, 3, {0x0f, 0xbf, 0x01}},
		{4, 3, {0x48, 0x63, 0x01}},       {4, 2, {0x63, 0x01}},
		{2, 3, {0x66, 0x63, 0x01}},       {4, 4, {0x66, 0x0f, 0x6e, 0x01}},
		{8, 4, {0xf3, 0x0f, 0x7e, 0x01}},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		machine_init(&m, EMU_MODE_64);
		machine_code(&m, 0, moves[i].bytes, moves[i].count);
		assert_int_equal(step(&m), EMU_DONE);
		assert_int_equal(m.data_ops, 1);
		assert_int_equal(machine_find(&m, MACHINE_READ)->access.bytes, moves[i].read_bytes);
	}
}

static void the_16_bit_stack_wraps_and_keeps_the_upper_half(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_16);
	CODE(&m, 0x50); /* push ax */
	m.cpu.gpr[EMU_RSP] = 0xabcd0000;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.cpu.gpr[EMU_RSP], 0xabcdfffe);
	assert_int_equal(machine_get(&m, 0xfffe, 2), m.cpu.gpr[EMU_RAX] & 0xffff);
	CODE(&m, 0x8f, 0x06, 0x00, 0x50); /* pop word [0x5000] */
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.cpu.gpr[EMU_RSP], 0xabcd0000);
	assert_int_equal(machine_get(&m, 0x5000, 2), m.cpu.gpr[EMU_RAX] & 0xffff);
}

static void sixteen_bit_strings_use_the_low_halves(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_16);
	CODE(&m, 0xf3, 0x64, 0xa4); /* rep movsb es:[di], fs:[si] */
	m.cpu.segment[EMU_FS].base = 0x100;
	m.cpu.gpr[EMU_RSI] = 0x11114000;
	m.cpu.gpr[EMU_RDI] = 0x2222ffff;
	m.cpu.gpr[EMU_RCX] = 0x33330002;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.cpu.gpr[EMU_RSI], 0x11114002);
	assert_int_equal(m.cpu.gpr[EMU_RDI], 0x22220001);
	assert_int_equal(m.cpu.gpr[EMU_RCX], 0x33330000);
	assert_int_equal(m.memory[0xffff], m.memory[0x4100]);
	assert_int_equal(m.memory[0x0000], m.memory[0x4101]);
}

static void an_update_asks_for_write_access_when_it_reads(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x01, 0x01); /* add [rcx], eax */
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(machine_find(&m, MACHINE_READ)->access.flags, EMU_ACCESS_WRITE_INTENT);
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x39, 0x01); /* cmp [rcx], eax */
	m.cpu.cpl = 3;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(machine_find(&m, MACHINE_READ)->access.flags, EMU_ACCESS_USER);
	assert_null(machine_find(&m, MACHINE_WRITE));
}

static void a_locked_update_that_loses_the_race_changes_nothing(void **state)
{
	(void)state;
	for (unsigned s = 0; s < sizeof(samples) / sizeof(samples[0]); s++) {
		bool atomic = samples[s].bytes[0] == 0xf0 || samples[s].bytes[1] == 0x87;

		machine_init(&m, EMU_MODE_64);
		machine_code(&m, 0, samples[s].bytes, samples[s].count);
		m.lose_the_race = true;
		before = m;
		assert_int_equal(step(&m), atomic ? EMU_RETRY : EMU_DONE);
		assert_int_equal(machine_find(&m, MACHINE_COMPARE_EXCHANGE) != NULL, atomic);
		if (atomic)
			assert_unchanged(&m, &before);
	}
}

static void a_locked_update_without_compare_exchange_is_a_locked_write(void **state)
{
	struct emu_ops ops = machine_ops;

	(void)state;
	ops.compare_exchange = NULL;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x87, 0x01); /* xchg [rcx], eax: locked without LOCK */
	before = m;
	assert_int_equal(emu_step(&m.cpu, &ops, &m), EMU_DONE);
	assert_int_equal(machine_find(&m, MACHINE_WRITE)->access.flags, EMU_ACCESS_LOCKED);
	assert_int_equal(machine_get(&m, 0x4100, 4), before.cpu.gpr[EMU_RAX]);
	assert_int_equal(m.cpu.gpr[EMU_RAX], machine_get(&before, 0x4100, 4));
}

/* Reading a device has side effects; it must not be read for an instruction that then faults. */
static void the_destination_is_checked_before_the_source_is_read(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0xa5); /* movsd */
	m.fault_at = 0;
	assert_int_equal(step(&m), EMU_FAULT);
	assert_non_null(machine_find(&m, MACHINE_CHECK_WRITE));
	assert_null(machine_find(&m, MACHINE_READ));
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0xff, 0x31); /* push qword [rcx] */
	m.fault_at = 0;
	assert_int_equal(step(&m), EMU_FAULT);
	assert_null(machine_find(&m, MACHINE_READ));
}

static void an_access_that_crosses_a_page_is_one_op(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x48, 0x89, 0x01); /* mov [rcx], rax */
	m.cpu.gpr[EMU_RCX] = m.base + 0x4ffd;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.data_ops, 1);
	assert_int_equal(machine_find(&m, MACHINE_WRITE)->access.bytes, 8);
}

static void an_unaligned_16_byte_access_raises_gp_where_it_must(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	m.cpu.gpr[EMU_RCX] += 8;
	CODE(&m, 0x66, 0x0f, 0x6f, 0x01); /* movdqa xmm0, [rcx] */
	assert_int_equal(step(&m), EMU_RAISE_GP);
	CODE(&m, 0x0f, 0x2b, 0x01); /* movntps [rcx], xmm0 */
	assert_int_equal(step(&m), EMU_RAISE_GP);
	CODE(&m, 0x48, 0x0f, 0xc7, 0x09); /* cmpxchg16b [rcx] */
	assert_int_equal(step(&m), EMU_RAISE_GP);
	assert_int_equal(m.data_ops, 0);
	CODE(&m, 0x0f, 0xc7, 0x09); /* cmpxchg8b [rcx] */
	assert_int_equal(step(&m), EMU_DONE);
	CODE(&m, 0xf3, 0x0f, 0x6f, 0x01); /* movdqu xmm0, [rcx] */
	assert_int_equal(step(&m), EMU_DONE);
	assert_memory_equal(m.xmm[0], m.memory + 0x4108, 16);
}

static void sse_moves_without_their_ops_cannot_be_executed(void **state)
{
	struct emu_ops ops = machine_ops;

	(void)state;
	ops.xmm_write = NULL;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x0f, 0x10, 0x01); /* movups xmm0, [rcx] */
	before = m;
	assert_int_equal(emu_step(&m.cpu, &ops, &m), EMU_CANNOT);
	assert_unchanged(&m, &before);
}

static void instructions_of_other_kinds_cannot_be_executed(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_64);
	CODE(&m, 0x0f, 0xa2); /* cpuid */
	before = m;
	assert_int_equal(step(&m), EMU_CANNOT);
	CODE(&m, 0xff, 0x21); /* jmp [rcx] */
	before = m;
	assert_int_equal(step(&m), EMU_CANNOT);
	assert_unchanged(&m, &before);
}

static void rip_wraps_in_32_bit_code_and_rf_is_cleared(void **state)
{
	(void)state;
	machine_init(&m, EMU_MODE_32);
	m.cpu.segment[EMU_CS].base = 0x100000;
	m.memory[0xffff] = 0x90;
	m.cpu.segment[EMU_CS].base = 0x110000;
	m.cpu.rip = 0xffffffff;
	m.cpu.rflags |= 0x10000;
	assert_int_equal(step(&m), EMU_DONE);
	assert_int_equal(m.cpu.rip, 0);
	assert_int_equal(m.cpu.rflags, 0x202);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_at_any_access_changes_nothing),
		cmocka_unit_test(a_rep_that_faults_goes_on_where_it_stopped),
		cmocka_unit_test(a_long_rep_comes_back_in_between),
		cmocka_unit_test(a_rep_under_the_trap_flag_does_one_iteration),
		cmocka_unit_test(a_rep_with_count_zero_touches_nothing),
		cmocka_unit_test(an_instruction_that_ends_with_its_page_needs_no_other),
		cmocka_unit_test(an_instruction_that_crosses_a_page_faults_on_the_second),
		cmocka_unit_test(an_invalid_opcode_is_told_before_the_next_page_is_fetched),
		cmocka_unit_test(an_instruction_of_sixteen_bytes_raises_gp),
		cmocka_unit_test(sixteen_bit_addresses_wrap_at_64_kib),
		cmocka_unit_test(thirty_two_bit_addresses_wrap_at_4_gib),
		cmocka_unit_test(a_segment_base_is_added_outside_64_bit_code_and_wraps),
		cmocka_unit_test(a_non_canonical_address_raises_gp_or_ss),
		cmocka_unit_test(a_segment_limit_is_kept),
		cmocka_unit_test(a_segment_that_may_not_be_written_is_not),
		cmocka_unit_test(an_instruction_ends_with_its_code_segment),
		cmocka_unit_test(a_move_that_extends_reads_no_more_than_its_source),
		cmocka_unit_test(the_16_bit_stack_wraps_and_keeps_the_upper_half),
		cmocka_unit_test(sixteen_bit_strings_use_the_low_halves),
		cmocka_unit_test(an_update_asks_for_write_access_when_it_reads),
		cmocka_unit_test(a_locked_update_that_loses_the_race_changes_nothing),
		cmocka_unit_test(a_locked_update_without_compare_exchange_is_a_locked_write),
		cmocka_unit_test(the_destination_is_checked_before_the_source_is_read),
		cmocka_unit_test(an_access_that_crosses_a_page_is_one_op),
		cmocka_unit_test(an_unaligned_16_byte_access_raises_gp_where_it_must),
		cmocka_unit_test(sse_moves_without_their_ops_cannot_be_executed),
		cmocka_unit_test(instructions_of_other_kinds_cannot_be_executed),
		cmocka_unit_test(rip_wraps_in_32_bit_code_and_rf_is_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
