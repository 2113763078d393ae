/* SPDX-License-Identifier: MIT */
/*
 * A small machine for the unit tests of the emulator: 64 KiB of memory at a linear address of one's
 * choice, pages that can be taken away, and a list of the accesses that were made.
 */
#ifndef TESTS_EMULATE_MACHINE_H
#define TESTS_EMULATE_MACHINE_H

#include <stdint.h>

#include "execute.h"

#define MACHINE_BYTES 65536u
#define MACHINE_LOG_MAX 1024u
#define MACHINE_NO_FAULT UINT32_MAX

enum machine_kind {
	MACHINE_FETCH,
	MACHINE_READ,
	MACHINE_WRITE,
	MACHINE_COMPARE_EXCHANGE,
	MACHINE_CHECK_WRITE,
};

struct machine_entry {
	enum machine_kind kind;
	struct emu_access access;
};

struct machine {
	struct emu_cpu cpu;
	uint8_t memory[MACHINE_BYTES];
	uint8_t xmm[16][16];
	uint64_t base;      /* linear address of memory[0] */
	uint32_t fault_at;  /* number of the data access that faults, or MACHINE_NO_FAULT */
	uint32_t data_ops;  /* data accesses so far */
	uint16_t absent;    /* one bit for each page that cannot be fetched from */
	bool lose_the_race; /* compare_exchange() finds memory changed */
	uint32_t log_count;
	struct machine_entry log[MACHINE_LOG_MAX];
};

/* All optional ops are there; tests that want some absent make a copy. */
extern const struct emu_ops machine_ops;

/* Fresh machine with flat segments; RIP at memory[0], patterned memory, registers apart. */
void machine_init(struct machine *machine, enum emu_mode mode);
/* Put code at memory[offset] and RIP there. */
void machine_code(struct machine *machine, uint32_t offset, const void *bytes, size_t count);
uint64_t machine_get(const struct machine *machine, uint32_t offset, unsigned bytes);
void machine_put(struct machine *machine, uint32_t offset, uint64_t value, unsigned bytes);
/* First entry of a kind in the log, or NULL. */
const struct machine_entry *machine_find(const struct machine *machine, enum machine_kind kind);

#endif
