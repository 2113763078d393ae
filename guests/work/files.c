/* SPDX-License-Identifier: MIT */
/*
 * Files in memory: written in pieces of odd sizes, read back in others, compared by checksum;
 * changed through a shared mapping and read through the file, and the other way round.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES 24
#define BYTES_MAX (2 * 1024 * 1024)
#define PIECE_MAX 10007
#define MAPPED_SIZE ((size_t)16 * PAGE_BYTES)

struct file {
	char name[256];
	size_t bytes;
	uint64_t sum;
};

static int open_file(const char *name, int flags)
{
	int fd = open(name, flags, 0600);

	if (fd < 0)
		work_fail("open of a file, error number", 0, (uint64_t)errno);
	return fd;
}

static void fill_bytes(uint8_t *piece, size_t bytes, uint64_t *state)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = work_next(state);

		(void)memcpy(piece + i, &word, bytes - i < 8 ? bytes - i : 8);
	}
}

static void write_file(struct file *file, uint64_t *state)
{
	static uint8_t piece[PIECE_MAX];
	int fd = open_file(file->name, O_WRONLY | O_CREAT | O_EXCL);

	file->sum = WORK_SUM_START;
	for (size_t done = 0; done < file->bytes;) {
		size_t bytes = 1 + (size_t)(work_next(state) % PIECE_MAX);

		if (bytes > file->bytes - done)
			bytes = file->bytes - done;
		fill_bytes(piece, bytes, state);
		work_check("write to a file, bytes", bytes, (uint64_t)write(fd, piece, bytes));
		file->sum = work_sum(file->sum, piece, bytes);
		done += bytes;
	}
	(void)close(fd);
}

static void read_file(const struct file *file)
{
	static uint8_t piece[PIECE_MAX / 3];
	int fd = open_file(file->name, O_RDONLY);
	uint64_t sum = WORK_SUM_START;
	size_t done = 0;
	ssize_t bytes;

	while ((bytes = read(fd, piece, sizeof(piece))) > 0) {
		sum = work_sum(sum, piece, (size_t)bytes);
		done += (size_t)bytes;
	}
	work_check("length of a file", file->bytes, done);
	work_check("checksum of a file", file->sum, sum);
	(void)close(fd);
}

/* A file of 16 pages, seen through read and write and through a shared mapping. */
static void check_mapped(const char *name)
{
	static uint64_t page[PAGE_BYTES / 8];
	int fd = open_file(name, O_RDWR | O_CREAT | O_EXCL);
	uint8_t *view;

	work_check("ftruncate", 0, (uint64_t)ftruncate(fd, (off_t)MAPPED_SIZE));
	view = mmap(NULL, MAPPED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (view == MAP_FAILED)
		work_fail("mmap of a file, error number", 0, (uint64_t)errno);
	work_fill(view, MAPPED_SIZE, 5);
	for (size_t at = 0; at < MAPPED_SIZE; at += PAGE_BYTES) {
		work_check("pread, bytes", PAGE_BYTES,
			   (uint64_t)pread(fd, page, PAGE_BYTES, (off_t)at));
		work_check("a page read from a mapped file, difference", 0,
			   memcmp(page, view + at, PAGE_BYTES) != 0);
		page[3] = ~page[3];
		work_check("pwrite, bytes", PAGE_BYTES,
			   (uint64_t)pwrite(fd, page, PAGE_BYTES, (off_t)at));
		work_check("a page written under a mapping, difference", 0,
			   memcmp(page, view + at, PAGE_BYTES) != 0);
	}
	work_check("ftruncate", 0, (uint64_t)ftruncate(fd, (off_t)PAGE_BYTES));
	work_check("reading behind the end of a file, signal", SIGBUS,
		   (uint64_t)work_try_read(view + (size_t)2 * PAGE_BYTES));
	work_unmap(view, MAPPED_SIZE);
	(void)close(fd);
	work_check("unlink", 0, (uint64_t)unlink(name));
}

void work_files(const char *folder)
{
	static struct file files[FILES];
	char name[256];
	uint64_t state = 99;
	size_t total = 0;

	for (size_t i = 0; i < FILES; i++) {
		(void)snprintf(files[i].name, sizeof(files[i].name), "%s/file%zu", folder, i);
		files[i].bytes = (size_t)(work_next(&state) % BYTES_MAX);
		write_file(&files[i], &state);
		total += files[i].bytes;
	}
	for (size_t i = 0; i < FILES; i++)
		read_file(&files[i]);
	for (size_t i = 0; i < FILES; i++)
		work_check("unlink", 0, (uint64_t)unlink(files[i].name));
	(void)snprintf(name, sizeof(name), "%s/mapped", folder);
	check_mapped(name);
	work_say("%d files with %zu MiB checked (%.1f s)", FILES, total / MIB, work_seconds());
}
