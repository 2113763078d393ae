/* SPDX-License-Identifier: MIT */
/*
 * Processes: 200 children, each forked and then replaced by a fresh image of this program, each
 * with a seed from which it works out an exit status that the parent knows. Several are alive at
 * a time, so that their address spaces take turns.
 */
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 200
#define AT_A_TIME 8
#define BUFFER (64 * PAGE_BYTES)
#define STATUS_MOD 251u

/* The status that depends on every byte the child wrote; never 0, which a lost child may give. */
static int status_of(uint64_t seed)
{
	uint64_t state = seed;
	uint64_t sum = WORK_SUM_START;

	for (size_t page = 0; page < BUFFER / PAGE_BYTES; page++) {
		uint64_t word = work_next(&state);

		sum = work_sum(sum, &word, sizeof(word));
	}
	return 1 + (int)(sum % STATUS_MOD);
}

int work_child(uint64_t seed)
{
	uint64_t state = seed;
	uint64_t sum = WORK_SUM_START;
	uint8_t *buffer = work_map(BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	work_fill(buffer, BUFFER, seed);
	work_verify("a word in a child's buffer", buffer, BUFFER, seed);
	for (size_t at = 0; at < BUFFER; at += PAGE_BYTES)
		*(uint64_t *)(void *)(buffer + at) = work_next(&state);
	for (size_t at = 0; at < BUFFER; at += PAGE_BYTES)
		sum = work_sum(sum, buffer + at, sizeof(uint64_t));
	work_unmap(buffer, BUFFER);
	return 1 + (int)(sum % STATUS_MOD);
}

static pid_t start_child(const char *self, uint64_t seed)
{
	char text[24];
	pid_t pid;

	(void)snprintf(text, sizeof(text), "%" PRIu64, seed);
	pid = fork();
	if (pid < 0)
		work_fail("fork, error number", 0, (uint64_t)errno);
	if (pid == 0) {
		(void)execl(self, self, "child", text, (char *)NULL);
		_exit(0);
	}
	return pid;
}

static void end_child(pid_t pid, uint64_t seed)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid)
		work_fail("waitpid, error number", 0, (uint64_t)errno);
	if (!WIFEXITED(status))
		work_fail("a child ended by signal number", 0, (uint64_t)WTERMSIG(status));
	work_check("a child's exit status", (uint64_t)status_of(seed),
		   (uint64_t)WEXITSTATUS(status));
}

void work_processes(const char *self)
{
	pid_t pids[AT_A_TIME];

	for (uint64_t first = 0; first < CHILDREN; first += AT_A_TIME) {
		for (uint64_t i = 0; i < AT_A_TIME; i++)
			pids[i] = start_child(self, 1000 + first + i);
		for (uint64_t i = 0; i < AT_A_TIME; i++)
			end_child(pids[i], 1000 + first + i);
	}
	work_say("%d processes checked (%.1f s)", CHILDREN, work_seconds());
}
