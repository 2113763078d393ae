/* SPDX-License-Identifier: MIT */
/* Output on COM1: text, and result lines. */
#include "payload.h"

enum { COM1_STATUS = PORT_COM1 + 5, COM1_ROOM = 1 << 5 };

static void put_char(char c)
{
	while ((in8(COM1_STATUS) & COM1_ROOM) == 0)
		__asm__ volatile("pause");
	out8(PORT_COM1, (uint8_t)c);
}

void put_text(const char *text)
{
	for (; *text != '\0'; text++)
		put_char(*text);
}

static void put_number(uint64_t number, unsigned digits_least)
{
	char digits[21];
	unsigned at = sizeof(digits) - 1;
	unsigned end = at;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0 || end - at < digits_least);
	put_text(digits + at);
}

void put_result(const char *set, const char *operation, uint64_t number, uint64_t parts)
{
	put_text("bench ");
	put_text(set);
	put_char(' ');
	put_text(operation);
	put_char(' ');
	put_number(number / parts, 1);
	if (parts != 1) {
		put_char('.');
		put_number(number % parts * 100 / parts, 2);
	}
	put_char('\n');
}
