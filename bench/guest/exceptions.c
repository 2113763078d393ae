/* SPDX-License-Identifier: MIT */
/* The interrupt descriptor table; the handlers are in entry.S. */
#include "payload.h"

enum { VECTORS = 32, VECTOR_UD = 6, VECTOR_PF = 14, CODE_SELECTOR = 8, INTERRUPT_GATE = 0x8e };

void undefined(void);
void page_fault(void);
void unexpected(void);

uint64_t undefined_count;
uint64_t *fault_table;
uint64_t fault_linear;
uint64_t fault_frames;

struct gate {
	uint16_t offset_0, selector;
	uint8_t stack, type;
	uint16_t offset_16;
	uint32_t offset_32, reserved;
};

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	uint64_t base;
};

static struct gate gates[VECTORS];

static void gate_set(unsigned vector, void (*handler)(void))
{
	uint64_t offset = (uintptr_t)handler;

	gates[vector] = (struct gate){
		.offset_0 = (uint16_t)offset,
		.selector = CODE_SELECTOR,
		.type = INTERRUPT_GATE,
		.offset_16 = (uint16_t)(offset >> 16),
		.offset_32 = (uint32_t)(offset >> 32),
	};
}

void exceptions_init(void)
{
	const struct table_pointer pointer = {sizeof(gates) - 1, (uintptr_t)gates};

	for (unsigned i = 0; i < VECTORS; i++)
		gate_set(i, unexpected);
	gate_set(VECTOR_UD, undefined);
	gate_set(VECTOR_PF, page_fault);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}
