/* SPDX-License-Identifier: MIT */
/*
 * The part of <string.h> that freestanding code needs, plus frame helpers. Written for a
 * low instruction count: string instructions by eight bytes.
 */
#ifndef HV_STRING_H
#define HV_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

/* Freestanding code has no built-in functions by default; small constant sizes need them. */
#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memmove(to, from, bytes) __builtin_memmove(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define memcmp(a, b, bytes) __builtin_memcmp(a, b, bytes)

size_t strlen(const char *text);
size_t strnlen(const char *text, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
const char *strchr(const char *text, int c);

static inline bool text_equals(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Whether @text begins with @prefix. */
bool text_starts(const char *text, const char *prefix);

/*
 * Parse an unsigned decimal number that fills all of @text.
 * Return: false, *value unchanged, on an empty text, a stray character or overflow.
 */
bool text_to_u64(const char *text, uint64_t *value);

/* Clear @bytes at @to; both multiples of 8. */
static inline void clear_words(void *to, size_t bytes)
{
	size_t words = bytes / 8;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(UINT64_C(0)) : "memory");
}

/* Copy @bytes from @from to @to, not overlapping; @bytes a multiple of 8. */
static inline void copy_words(void *to, const void *from, size_t bytes)
{
	size_t words = bytes / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

#endif
