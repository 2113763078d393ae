/* SPDX-License-Identifier: MIT */
/* Sentences without a C library: a line that is added to and never overflows. */
#ifndef VMMU_BASE_TEXT_H
#define VMMU_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define VMMU_TEXT_BYTES 192u

struct vmmu_text {
	size_t length;
	char line[VMMU_TEXT_BYTES]; /* always terminated; what does not fit is left out */
};

void vmmu_text_clear(struct vmmu_text *text);
struct vmmu_text *vmmu_text_add(struct vmmu_text *text, const char *words);
struct vmmu_text *vmmu_text_hex(struct vmmu_text *text, uint64_t number);
struct vmmu_text *vmmu_text_dec(struct vmmu_text *text, uint64_t number);

#endif
