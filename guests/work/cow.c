/* SPDX-License-Identifier: MIT */
/*
 * Copy on write: after a fork both sides see the same words until one writes, and never the
 * other's writes; in shared memory they see every one. Parent and child take turns over two pipes.
 */
#include "work.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 10
#define BYTES ((size_t)1024 * PAGE_BYTES)
#define RW (PROT_READ | PROT_WRITE)

enum { SEED_BEFORE = 11, SEED_PARENT = 12, SEED_CHILD = 13 };

struct pair {
	int to_child[2];
	int to_parent[2];
	uint8_t *private_pages;
	uint8_t *shared_pages;
};

static void tell(int fd)
{
	work_check("write to a pipe, bytes", 1, (uint64_t)write(fd, "x", 1));
}

static void hear(int fd)
{
	char byte = 0;

	work_check("read from a pipe, bytes", 1, (uint64_t)read(fd, &byte, 1));
	work_check("a byte through a pipe", 'x', (uint64_t)byte);
}

/* Every second page gets the pattern of @seed, beginning with page @first. */
static void write_every_second(uint8_t *start, size_t first, uint64_t seed)
{
	for (size_t at = first * PAGE_BYTES; at < BYTES; at += (size_t)2 * PAGE_BYTES)
		work_fill(start + at, PAGE_BYTES, seed);
}

static void verify_every_second(const char *what, const uint8_t *start, size_t first, uint64_t seed)
{
	for (size_t at = first * PAGE_BYTES; at < BYTES; at += (size_t)2 * PAGE_BYTES)
		work_verify(what, start + at, PAGE_BYTES, seed);
}

static _Noreturn void child(struct pair *pair)
{
	work_verify("a word in the child before any write", pair->private_pages, BYTES,
		    SEED_BEFORE);
	write_every_second(pair->private_pages, 0, SEED_CHILD);
	write_every_second(pair->shared_pages, 0, SEED_CHILD);
	tell(pair->to_parent[1]);
	hear(pair->to_child[0]);
	verify_every_second("a word that the child wrote", pair->private_pages, 0, SEED_CHILD);
	verify_every_second("a word that only the parent rewrote, seen by the child",
			    pair->private_pages, 1, SEED_BEFORE);
	verify_every_second("a shared word that the parent wrote, seen by the child",
			    pair->shared_pages, 1, SEED_PARENT);
	_exit(42);
}

static void parent(struct pair *pair, pid_t pid)
{
	int status = 0;

	hear(pair->to_parent[0]);
	work_verify("a word that only the child rewrote, seen by the parent", pair->private_pages,
		    BYTES, SEED_BEFORE);
	verify_every_second("a shared word that the child wrote, seen by the parent",
			    pair->shared_pages, 0, SEED_CHILD);
	write_every_second(pair->private_pages, 1, SEED_PARENT);
	write_every_second(pair->shared_pages, 1, SEED_PARENT);
	tell(pair->to_child[1]);
	if (waitpid(pid, &status, 0) != pid)
		work_fail("waitpid, error number", 0, (uint64_t)errno);
	work_check("status of the copy-on-write child", 42u << 8, (uint64_t)status);
	verify_every_second("a word that the parent wrote", pair->private_pages, 1, SEED_PARENT);
	verify_every_second("a word that the child wrote in its own copy", pair->private_pages, 0,
			    SEED_BEFORE);
}

static void one_round(void)
{
	struct pair pair;
	pid_t pid;

	work_check("pipe", 0, (uint64_t)pipe(pair.to_child));
	work_check("pipe", 0, (uint64_t)pipe(pair.to_parent));
	pair.private_pages = work_map(BYTES, RW, MAP_PRIVATE);
	pair.shared_pages = work_map(BYTES, RW, MAP_SHARED);
	work_fill(pair.private_pages, BYTES, SEED_BEFORE);
	work_fill(pair.shared_pages, BYTES, SEED_BEFORE);
	pid = fork();
	if (pid < 0)
		work_fail("fork, error number", 0, (uint64_t)errno);
	if (pid == 0)
		child(&pair);
	parent(&pair, pid);
	work_unmap(pair.private_pages, BYTES);
	work_unmap(pair.shared_pages, BYTES);
	for (int i = 0; i < 2; i++) {
		(void)close(pair.to_child[i]);
		(void)close(pair.to_parent[i]);
	}
}

void work_copy_on_write(void)
{
	for (unsigned round = 0; round < ROUNDS; round++)
		one_round();
	work_say("%d rounds of copy on write checked (%.1f s)", ROUNDS, work_seconds());
}
