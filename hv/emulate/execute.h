/* SPDX-License-Identifier: MIT */
/*
 * Instruction emulator: runs one decoded guest instruction in software.
 *
 * It serves accesses that the hardware cannot finish: to device pages and to write-protected guest
 * page tables. Memory and SSE registers are reached through struct emu_ops; everything else is in
 * struct emu_cpu, which the caller fills at the exit and loads back afterwards.
 *
 * All or nothing: unless the outcome is EMU_DONE or EMU_AGAIN, memory, registers, flags and RIP are
 * as before, except for the iterations that a string instruction completed.
 *
 * Left to the caller: the trap after an instruction with RFLAGS.TF, hardware breakpoints, alignment
 * checks (#AC), the end of an interrupt shadow. RFLAGS.RF is cleared as the CPU does.
 */
#ifndef HV_EMULATE_EXECUTE_H
#define HV_EMULATE_EXECUTE_H

#include "decode.h"

#define EMU_GPR_COUNT 16u

/* A string instruction with REP does so many iterations per call; one if RFLAGS.TF is set. */
#define EMU_REP_MAX 128u

enum emu_outcome {
	EMU_DONE,     /* executed; RIP is at the next instruction */
	EMU_AGAIN,    /* REP not finished; RIP unchanged: enter the guest, or call again */
	EMU_RETRY,    /* an op asked for it, or a locked update lost a race; enter the guest */
	EMU_FAULT,    /* an op failed and has told its context why: inject its exception */
	EMU_RAISE_UD, /* inject #UD */
	EMU_RAISE_GP, /* inject #GP with error code 0 */
	EMU_RAISE_SS, /* inject #SS with error code 0 */
	EMU_CANNOT,   /* not an instruction that the emulator knows */
};

/* Outside 64-bit code a segment is checked; in it, only the bases of FS and GS count. */
#define EMU_SEGMENT_READABLE (1u << 0) /* none of the first two: unusable */
#define EMU_SEGMENT_WRITABLE (1u << 1)
#define EMU_SEGMENT_EXPAND_DOWN (1u << 2)
#define EMU_SEGMENT_BIG (1u << 3) /* D/B: 32-bit stack, or upper bound of 4 GiB */

struct emu_segment {
	uint64_t base;
	uint32_t limit; /* last valid offset, in bytes */
	uint32_t flags; /* EMU_SEGMENT_* */
};

struct emu_cpu {
	uint64_t gpr[EMU_GPR_COUNT]; /* by enum emu_reg */
	uint64_t rip;
	uint64_t rflags;
	struct emu_segment segment[EMU_SEGMENT_COUNT]; /* by enum emu_segment_reg */
	uint8_t mode;                                  /* enum emu_mode of the code segment */
	uint8_t cpl;
	uint8_t linear_bits; /* width of a canonical address: 48 or 57 */
};

#define EMU_ACCESS_USER (1u << 0)         /* CPL is 3 */
#define EMU_ACCESS_WRITE_INTENT (1u << 1) /* a read: fail unless it may be written, too */
#define EMU_ACCESS_LOCKED (1u << 2)       /* one half of a locked update */

struct emu_access {
	uint64_t linear; /* of the first byte; canonical */
	uint32_t bytes;  /* 1, 2, 4, 8 or 16; may cross a page */
	uint32_t flags;  /* EMU_ACCESS_* */
};

enum emu_result {
	EMU_ACCESS_OK,
	EMU_ACCESS_FAULT, /* becomes EMU_FAULT */
	EMU_ACCESS_RETRY, /* becomes EMU_RETRY */
};

/*
 * An op does its access in full or not at all: one that crosses a page checks both pages before it
 * touches either. None may change struct emu_cpu. `value` has access->bytes bytes, little-endian.
 */
struct emu_ops {
	/* Instruction bytes; never crosses a page. */
	enum emu_result (*fetch)(void *context, const struct emu_access *access, void *value);
	enum emu_result (*read)(void *context, const struct emu_access *access, void *value);
	enum emu_result (*write)(void *context, const struct emu_access *access, const void *value);
	/*
	 * Optional, for LOCK and XCHG: write @desired if memory still holds @expected, atomically;
	 * else EMU_ACCESS_RETRY. If absent, write() is called with EMU_ACCESS_LOCKED.
	 */
	enum emu_result (*compare_exchange)(void *context, const struct emu_access *access,
					    const void *expected, const void *desired);
	/*
	 * Optional: fault if write() would. Asked before the read of an instruction that reads one
	 * place and writes another, so that a device is not read in vain.
	 */
	enum emu_result (*check_write)(void *context, const struct emu_access *access);
	/* Optional, 16 bytes of an XMM register. If absent, SSE moves are EMU_CANNOT. */
	void (*xmm_read)(void *context, unsigned reg, void *value);
	void (*xmm_write)(void *context, unsigned reg, const void *value);
};

/**
 * emu_execute() - run one instruction.
 * @cpu:     state of the guest; changed only as the outcome says.
 * @insn:    what emu_decode() made of the bytes at cpu->rip, decoded for cpu->mode.
 * @ops:     access to memory and SSE registers.
 * @context: handed to every op.
 *
 * Context: as the ops require. Return: see enum emu_outcome.
 */
enum emu_outcome emu_execute(struct emu_cpu *cpu, const struct emu_insn *insn,
			     const struct emu_ops *ops, void *context);

/**
 * emu_fetch() - fetch and decode the instruction at RIP.
 * @cpu:     state of the guest; unchanged.
 * @ops:     only fetch() is used.
 * @context: handed to every op.
 * @out:     the instruction, defined only for EMU_DONE.
 *
 * Bytes beyond the page of RIP are fetched only if the instruction reaches them. Legality is that
 * of emu_decode(); the privilege level is not checked.
 *
 * Return: EMU_DONE: decoded; EMU_RAISE_UD, EMU_RAISE_GP: the CPU would; EMU_FAULT, EMU_RETRY: from
 * fetch(); EMU_CANNOT: unsupported.
 */
enum emu_outcome emu_fetch(const struct emu_cpu *cpu, const struct emu_ops *ops, void *context,
			   struct emu_insn *out);

/* Linear address of the memory operand, without any check. */
uint64_t emu_operand_linear(struct emu_cpu *cpu, const struct emu_insn *insn);

/**
 * emu_step() - emu_fetch(), then emu_execute().
 */
enum emu_outcome emu_step(struct emu_cpu *cpu, const struct emu_ops *ops, void *context);

#endif
