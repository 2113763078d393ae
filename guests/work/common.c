/* SPDX-License-Identifier: MIT */
/* What every part of the work needs: saying, checking, patterns, mapping. */
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

void work_drain(void)
{
	(void)fflush(stdout);
	(void)tcdrain(STDOUT_FILENO);
}

void work_say(const char *format, ...)
{
	va_list args;

	(void)fputs("vmmu-guest: ", stdout);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
	(void)fflush(stdout);
}

void work_fail(const char *what, uint64_t expected, uint64_t got)
{
	(void)printf("vmmu-guest: FAILED %s, expected %#" PRIx64 ", got %#" PRIx64 "\n", what,
		     expected, got);
	work_drain();
	_exit(1);
}

void work_check(const char *what, uint64_t expected, uint64_t got)
{
	if (expected != got)
		work_fail(what, expected, got);
}

double work_seconds(void)
{
	static struct timespec start;
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (start.tv_sec == 0 && start.tv_nsec == 0)
		start = now;
	return (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
}

void work_fill(void *start, size_t bytes, uint64_t seed)
{
	uint64_t *words = start;
	uint64_t at = (uintptr_t)start;

	for (size_t i = 0; i < bytes / 8; i++)
		words[i] = work_pattern(at + i * 8, seed);
}

void work_verify(const char *what, const void *start, size_t bytes, uint64_t seed)
{
	const uint64_t *words = start;
	uint64_t at = (uintptr_t)start;

	for (size_t i = 0; i < bytes / 8; i++) {
		uint64_t want = work_pattern(at + i * 8, seed);

		if (words[i] != want) {
			work_say("the word at %#" PRIx64 " is wrong", at + i * 8);
			work_fail(what, want, words[i]);
		}
	}
}

uint64_t work_next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t work_sum(uint64_t sum, const void *data, size_t bytes)
{
	const uint8_t *octets = data;

	for (size_t i = 0; i < bytes; i++)
		sum = (sum ^ octets[i]) * UINT64_C(0x100000001b3);
	return sum;
}

void *work_map(size_t bytes, int protection, int flags)
{
	void *start = mmap(NULL, bytes, protection, MAP_ANONYMOUS | flags, -1, 0);

	if (start == MAP_FAILED)
		work_fail("mmap of anonymous memory, error number", 0, (uint64_t)errno);
	return start;
}

void work_unmap(void *start, size_t bytes)
{
	if (munmap(start, bytes) != 0)
		work_fail("munmap, error number", 0, (uint64_t)errno);
}

static void read_command_line(char *line, size_t size)
{
	FILE *file = fopen("/proc/cmdline", "r");

	line[0] = '\0';
	if (!file)
		return;
	if (!fgets(line, (int)size, file))
		line[0] = '\0';
	(void)fclose(file);
}

void work_option(const char *key, const char *otherwise, char *value, size_t size)
{
	static char line[8192];
	size_t length = strlen(key);
	char *rest = NULL;

	(void)snprintf(value, size, "%s", otherwise);
	read_command_line(line, sizeof(line));
	for (char *word = strtok_r(line, " \t\n", &rest); word;
	     word = strtok_r(NULL, " \t\n", &rest)) {
		if (strncmp(word, key, length) == 0)
			(void)snprintf(value, size, "%s", word + length);
	}
}
