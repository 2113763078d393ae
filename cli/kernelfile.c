/* SPDX-License-Identifier: MIT */
/* What kernel files look like from outside: Linux's bzImage and multiboot 1. */
#include "run.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES 8192

/* The Linux boot protocol's header, by offset in the file. */
#define BZ_SETUP_SECTORS 0x1f1
#define BZ_PARAGRAPHS 0x1f4
#define BZ_MAGIC 0x202
#define BZ_VERSION 0x206
#define BZ_LOAD_FLAGS 0x211
#define BZ_PREFERRED 0x258
#define BZ_INIT_SIZE 0x260
#define BZ_HEADER_END 0x264
#define BZ_VERSION_NEEDED 0x20c
#define BZ_PARAGRAPH 16
#define BZ_FLAG_LOADED_HIGH 0x01

#define MULTIBOOT_MAGIC 0x1badb002u

/* What Linux needs beside its own image to come up at all. */
#define LINUX_ROOM (24 * MIB)
#define MULTIBOOT_ROOM (32 * MIB)

static uint64_t read_little(const uint8_t *head, size_t at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = bytes; i > 0; i--)
		value = value << 8 | head[at + i - 1];
	return value;
}

static bool is_bzimage(const uint8_t *head, size_t bytes)
{
	return bytes >= BZ_HEADER_END && memcmp(head + BZ_MAGIC, "HdrS", 4) == 0;
}

static void inspect_bzimage(const uint8_t *head, uint64_t file_bytes, struct kernel_facts *facts)
{
	uint64_t sectors = head[BZ_SETUP_SECTORS] ? head[BZ_SETUP_SECTORS] : 4;
	uint64_t body = read_little(head, BZ_PARAGRAPHS, 4) * BZ_PARAGRAPH;

	if (read_little(head, BZ_VERSION, 2) < BZ_VERSION_NEEDED) {
		facts->problem = "is a Linux kernel older than 3.8";
		return;
	}
	if (!(head[BZ_LOAD_FLAGS] & BZ_FLAG_LOADED_HIGH)) {
		facts->problem = "is a Linux zImage; a bzImage is needed";
		return;
	}
	/* The header counts in paragraphs: the last one need not be full. */
	if ((sectors + 1) * 512 + body >= file_bytes + BZ_PARAGRAPH) {
		facts->problem = "is a Linux kernel whose end is missing";
		return;
	}
	facts->kind = KERNEL_LINUX;
	facts->memory_bytes = read_little(head, BZ_PREFERRED, 8) +
			      read_little(head, BZ_INIT_SIZE, 4) + LINUX_ROOM;
}

static bool has_multiboot_header(const uint8_t *head, size_t bytes)
{
	for (size_t at = 0; at + 12 <= bytes; at += 4) {
		uint32_t magic = (uint32_t)read_little(head, at, 4);
		uint32_t flags = (uint32_t)read_little(head, at + 4, 4);
		uint32_t checksum = (uint32_t)read_little(head, at + 8, 4);

		if (magic == MULTIBOOT_MAGIC && magic + flags + checksum == 0)
			return true;
	}
	return false;
}

static void inspect_elf(const uint8_t *head, size_t bytes, struct kernel_facts *facts)
{
	if (!has_multiboot_header(head, bytes)) {
		facts->problem = "is an ELF file without a multiboot header";
		return;
	}
	if (head[EI_CLASS] != ELFCLASS32) {
		facts->problem = "is a 64-bit ELF file; multiboot wants 32 bits "
				 "(objcopy -O elf32-i386 makes one)";
		return;
	}
	facts->kind = KERNEL_MULTIBOOT;
	facts->memory_bytes = MULTIBOOT_ROOM;
}

void run_inspect_kernel(int fd, uint64_t file_bytes, struct kernel_facts *facts)
{
	uint8_t *head = cli_allocate(HEAD_BYTES);
	ssize_t got = pread(fd, head, HEAD_BYTES, 0);
	size_t bytes = got > 0 ? (size_t)got : 0;

	*facts = (struct kernel_facts){
		.kind = KERNEL_UNKNOWN,
		.problem = "is not a kernel: neither a Linux bzImage nor a multiboot ELF file",
	};
	if (bytes >= sizeof(Elf32_Ehdr) && memcmp(head, ELFMAG, SELFMAG) == 0)
		inspect_elf(head, bytes, facts);
	else if (is_bzimage(head, bytes))
		inspect_bzimage(head, file_bytes, facts);
	free(head);
}
