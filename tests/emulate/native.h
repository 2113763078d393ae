/* SPDX-License-Identifier: MIT */
/*
 * Runs one instruction on the CPU of the test machine, with all registers of one's choice.
 */
#ifndef TESTS_EMULATE_NATIVE_H
#define TESTS_EMULATE_NATIVE_H

#include <stdint.h>

struct native_state {
	uint64_t gpr[16]; /* by encoded number; RSP, too */
	uint64_t rflags;
	uint8_t xmm[16][16];
};

extern struct native_state native_state;

/* Length of the jump that has to follow the instruction; it leads back to native_run(). */
#define NATIVE_RETURN_BYTES 14u

void native_write_return(uint8_t *code);

/* Load native_state, run @code up to its return jump, store native_state. */
void native_run(const void *code);

#endif
