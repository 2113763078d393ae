/* SPDX-License-Identifier: MIT */
/*
 * First process of a Linux guest: what programs do that changes page tables, timed by RDTSC,
 * then power off. Started with the word "exit" it just ends: that is the program that fork + exec
 * starts.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
	ROUNDS = 40,
	TOUCH_PAGES = 16384,
	PAGE_BYTES = 4096,
	PINGS = 500,
};

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* Waits until the console has sent it all, so that no driver works in the background. */
static void put_result(const char *operation, uint64_t number)
{
	(void)printf("\nbench linux %s %llu\n", operation, (unsigned long long)number);
	(void)fflush(stdout);
	(void)tcdrain(STDOUT_FILENO);
}

static void fail(const char *what)
{
	put_result(what, 0);
	(void)reboot(RB_POWER_OFF);
}

/* The middle one: timer ticks and first times are at the ends. */
static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *values, size_t count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2];
}

static uint64_t fork_once(char *const *exec)
{
	uint64_t start = ticks();
	pid_t child = fork();

	if (child == 0) {
		if (exec)
			(void)execv("/init", exec);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		fail("error.fork");
	return ticks() - start;
}

static void measure_fork(const char *operation, char *const *exec)
{
	uint64_t took[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++)
		took[i] = fork_once(exec);
	put_result(operation, median(took, ROUNDS));
}

static void measure_memory(void)
{
	uint64_t touch[8], unmap[8];

	for (unsigned i = 0; i < 8; i++) {
		size_t bytes = (size_t)TOUCH_PAGES * PAGE_BYTES;
		volatile char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint64_t start;

		if (memory == MAP_FAILED ||
		    madvise((void *)(uintptr_t)memory, bytes, MADV_NOHUGEPAGE) != 0)
			fail("error.mmap");
		start = ticks();
		for (size_t at = 0; at < bytes; at += PAGE_BYTES)
			memory[at] = 1;
		touch[i] = (ticks() - start) / TOUCH_PAGES;
		start = ticks();
		(void)munmap((void *)(uintptr_t)memory, bytes);
		unmap[i] = (ticks() - start) / TOUCH_PAGES;
	}
	put_result("touch", median(touch, 8));
	put_result("munmap", median(unmap, 8));
}

static void echo(int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
		;
	_exit(0);
}

static void measure_pipe(void)
{
	uint64_t took[PINGS];
	int there[2], back[2];
	char byte = 0;
	pid_t child;

	if (pipe(there) != 0 || pipe(back) != 0)
		fail("error.pipe");
	child = fork();
	if (child == 0) {
		(void)close(there[1]);
		echo(there[0], back[1]);
	}
	for (unsigned i = 0; i < PINGS; i++) {
		uint64_t start = ticks();

		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("error.ping");
		took[i] = ticks() - start;
	}
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	put_result("pipe", median(took, PINGS));
}

int main(int argc, char **argv)
{
	uint64_t start = ticks();
	static char program[] = "/init", word[] = "exit";
	char *const exec[] = {program, word, NULL};

	if (argc > 1 && strcmp(argv[1], "exit") == 0)
		return 0;
	if (getpid() != 1)
		return 2; /* it would switch the machine off */
	put_result("init_tsc", start);
	measure_fork("fork_exit", NULL);
	measure_fork("fork_exec", exec);
	measure_memory();
	measure_pipe();
	put_result("done", 1);
	(void)reboot(RB_POWER_OFF);
	return 0;
}
