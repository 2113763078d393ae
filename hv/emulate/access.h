/* SPDX-License-Identifier: MIT */
/*
 * One emu_execute() call: its operands, addresses and accesses. Private to the emulator.
 */
#ifndef HV_EMULATE_ACCESS_H
#define HV_EMULATE_ACCESS_H

#include "execute.h"

struct run {
	struct emu_cpu *cpu;
	const struct emu_insn *insn;
	const struct emu_ops *ops;
	void *context;
};

/* What is going to be done to a place in memory; bits. */
#define USE_READ 1u
#define USE_WRITE 2u

/* An offset in a segment. */
struct address {
	unsigned segment; /* enum emu_segment_reg */
	uint64_t offset;
};

/* An operand that was looked up and may be used. */
struct place {
	bool memory;
	uint8_t reg;     /* if !memory */
	uint8_t bytes;   /* 1, 2, 4 or 8 */
	uint8_t use;     /* USE_* */
	uint64_t linear; /* if memory */
	uint64_t value;  /* neither memory nor register: a constant */
	bool constant;
};

/* General register as operand of @bytes bytes; knows AH to BH. */
uint64_t emu_reg_read(const struct run *run, unsigned reg, unsigned bytes);
void emu_reg_write(const struct run *run, unsigned reg, unsigned bytes, uint64_t value);

/* A register that serves as address or counter of @bytes bytes (2, 4 or 8). */
uint64_t emu_pointer_read(const struct emu_cpu *cpu, unsigned reg, unsigned bytes);
void emu_pointer_write(struct emu_cpu *cpu, unsigned reg, unsigned bytes, uint64_t value);

/* The memory operand, moved by @extra bytes. */
struct address emu_address(const struct run *run, int64_t extra);

/* Segment and canonical checks. Return: EMU_DONE, EMU_RAISE_GP or EMU_RAISE_SS. */
enum emu_outcome emu_linear(const struct run *run, struct address address, unsigned bytes,
			    unsigned use, uint64_t *linear);

/* Memory at a linear address that emu_linear() has approved. */
enum emu_outcome emu_read(const struct run *run, uint64_t linear, unsigned bytes, uint32_t flags,
			  void *value);
enum emu_outcome emu_write(const struct run *run, uint64_t linear, unsigned bytes,
			   const void *value);
enum emu_outcome emu_check_write(const struct run *run, uint64_t linear, unsigned bytes);
/* Second half of a read-modify-write; atomic if the instruction is. */
enum emu_outcome emu_update(const struct run *run, uint64_t linear, unsigned bytes, const void *old,
			    const void *value);

/* Find an operand (enum emu_operand) for @use. */
enum emu_outcome emu_find(const struct run *run, unsigned operand, unsigned bytes, unsigned use,
			  struct place *place);
/* Its value. A place that is going to be written as well is checked for that. */
enum emu_outcome emu_load(const struct run *run, const struct place *place, uint64_t *value);
/* Store to a place that was not loaded before. */
enum emu_outcome emu_store(const struct run *run, const struct place *place, uint64_t value);
/* Store to a place from which @old was loaded. */
enum emu_outcome emu_restore(const struct run *run, const struct place *place, uint64_t old,
			     uint64_t value);

/* Instruction families; each returns with RIP not yet moved. */
enum emu_outcome emu_run_string(const struct run *run);
enum emu_outcome emu_run_push(const struct run *run);
enum emu_outcome emu_run_pop(const struct run *run);
enum emu_outcome emu_run_movx(const struct run *run);
enum emu_outcome emu_run_cmpxchg8b(const struct run *run);

#endif
