/* SPDX-License-Identifier: MIT */
/* The four functions that the library asks of its environment; compilers emit calls to them. */
#ifndef VMMU_BASE_MEMORY_H
#define VMMU_BASE_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif
