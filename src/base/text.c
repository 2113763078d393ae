/* SPDX-License-Identifier: MIT */
#include "base/text.h"

static void put(struct vmmu_text *text, char c)
{
	if (text->length + 1 >= VMMU_TEXT_BYTES)
		return;
	text->line[text->length++] = c;
	text->line[text->length] = '\0';
}

void vmmu_text_clear(struct vmmu_text *text)
{
	text->length = 0;
	text->line[0] = '\0';
}

struct vmmu_text *vmmu_text_add(struct vmmu_text *text, const char *words)
{
	while (*words)
		put(text, *words++);
	return text;
}

static struct vmmu_text *put_number(struct vmmu_text *text, uint64_t number, unsigned base)
{
	char digits[20];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	while (count)
		put(text, digits[--count]);
	return text;
}

struct vmmu_text *vmmu_text_hex(struct vmmu_text *text, uint64_t number)
{
	return put_number(vmmu_text_add(text, "0x"), number, 16);
}

struct vmmu_text *vmmu_text_dec(struct vmmu_text *text, uint64_t number)
{
	return put_number(text, number, 10);
}
