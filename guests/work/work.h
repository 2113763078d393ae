/* SPDX-License-Identifier: MIT */
/*
 * The default guest's work: checks that only pass when memory is what the guest believes it is.
 * Each part returns when all of its checks held; a failed check prints one line and ends the
 * program. Nothing here knows that it runs in a guest: it is an ordinary static Linux program.
 */
#ifndef VMMU_GUEST_WORK_H
#define VMMU_GUEST_WORK_H

#include <stddef.h>
#include <stdint.h>

/* The size of a page on every machine that this program is built for, in bytes. */
#define PAGE_BYTES 4096u
#define MIB ((size_t)1024 * 1024)

/* Print one line, prefixed and flushed: what has been done so far. */
void work_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print "FAILED what, expected X, got Y" and end the program with status 1. Does not return. */
_Noreturn void work_fail(const char *what, uint64_t expected, uint64_t got);

/* Fail unless @expected == @got. */
void work_check(const char *what, uint64_t expected, uint64_t got);

/* Wait until everything printed has left through the serial line. */
void work_drain(void);

/* Seconds since the program started, for progress lines. */
double work_seconds(void);

/* The word that @seed puts at the byte address @at: cheap, and different for each address. */
static inline uint64_t work_pattern(uint64_t at, uint64_t seed)
{
	return (at * UINT64_C(0x9e3779b97f4a7c15)) ^ seed;
}

/* Fill @bytes (a multiple of 8) at @start with the pattern of @seed, or compare against it. */
void work_fill(void *start, size_t bytes, uint64_t seed);
void work_verify(const char *what, const void *start, size_t bytes, uint64_t seed);

/* A sequence that depends on its state alone. */
uint64_t work_next(uint64_t *state);

/* FNV-1a over @bytes at @data, continued from @sum (start with WORK_SUM_START). */
#define WORK_SUM_START UINT64_C(0xcbf29ce484222325)
uint64_t work_sum(uint64_t sum, const void *data, size_t bytes);

/*
 * What happens when one byte at @at is read, written, or called as a function that returns.
 * Return: 0 when it went through, the number of the signal (SIGSEGV, SIGBUS) when it did not.
 * work_fault_address() then tells where the fault was reported.
 */
int work_try_read(const volatile void *at);
int work_try_write(volatile void *at, uint8_t value);
int work_try_call(void *at);
uintptr_t work_fault_address(void);

/* mmap of anonymous memory that fails the check instead of returning MAP_FAILED. */
void *work_map(size_t bytes, int protection, int flags);
void work_unmap(void *start, size_t bytes);

/* The parts, in the order in which they run. */
void work_memory(void);
void work_processes(const char *self);
void work_mappings(void);
void work_copy_on_write(void);
void work_files(const char *folder);

/* With several processors only. Return: how many there are. */
unsigned work_parallel(void);

/* The other side of work_processes(): what an executed child does. Return: its exit status. */
int work_child(uint64_t seed);

/* Copy the value of the last word that begins with @key on the kernel's line, or @otherwise. */
void work_option(const char *key, const char *otherwise, char *value, size_t size);

#endif
