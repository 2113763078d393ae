/* SPDX-License-Identifier: MIT */
/*
 * Memory and text functions. A repeated string instruction counts once per element under
 * -icount, so bulk work goes by eight bytes and only the tail by one.
 */
#include "string.h"

#undef memcpy
#undef memmove
#undef memset
#undef memcmp

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	void *out = to;
	size_t words = bytes / 8;
	size_t rest = bytes % 8;

	__asm__ volatile("rep movsq" : "+D"(out), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(out), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	if ((uintptr_t)to - (uintptr_t)from >= bytes)
		return memcpy(to, from, bytes);
	while (bytes > 0 && bytes % 8 != 0) {
		bytes--;
		out[bytes] = in[bytes];
	}
	while (bytes > 0) {
		uint64_t word;

		bytes -= 8;
		__asm__ volatile("movq %1, %0" : "=r"(word) : "m"(in[bytes]) : "memory");
		__asm__ volatile("movq %1, %0" : "=m"(out[bytes]) : "r"(word) : "memory");
	}
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	void *out = to;
	size_t words = bytes / 8;
	size_t rest = bytes % 8;
	uint64_t pattern = (uint8_t)value * UINT64_C(0x0101010101010101);

	__asm__ volatile("rep stosq" : "+D"(out), "+c"(words) : "a"(pattern) : "memory");
	__asm__ volatile("rep stosb" : "+D"(out), "+c"(rest) : "a"(pattern) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const uint8_t *left = a;
	const uint8_t *right = b;

	for (size_t i = 0; i < bytes; i++) {
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	}
	return 0;
}

/* Scanning stays a plain loop: the compiler must not turn it into a call of itself. */
size_t strnlen(const char *text, size_t max)
{
	size_t length = 0;

	while (length < max && text[length] != '\0')
		length++;
	return length;
}

size_t strlen(const char *text)
{
	return strnlen(text, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		if (a[i] != b[i])
			return (uint8_t)a[i] < (uint8_t)b[i] ? -1 : 1;
		if (a[i] == '\0')
			break;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

const char *strchr(const char *text, int c)
{
	for (; *text != '\0'; text++) {
		if (*text == (char)c)
			return text;
	}
	return (char)c == '\0' ? text : NULL;
}

bool text_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_to_u64(const char *text, uint64_t *value)
{
	uint64_t sum = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		uint64_t digit = (uint64_t)(uint8_t)*text - '0';

		if (digit > 9 || sum > (UINT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}
