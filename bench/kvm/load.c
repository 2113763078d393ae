/* SPDX-License-Identifier: MIT */
/* The payload's file into guest memory. It is our own build's, so it is trusted to be ELF32. */
#include "monitor.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, LINE_MAX_BYTES = LOAD_END - LOAD_LINE };

enum { INFO_HAS_MEMORY = 1, INFO_HAS_COMMAND_LINE = 4 };

static size_t file_read(const char *path, uint8_t *data)
{
	FILE *file = fopen(path, "rb");
	size_t bytes = file ? fread(data, 1, FILE_MAX, file) : 0;

	if (bytes < sizeof(Elf32_Ehdr) || bytes == FILE_MAX)
		fail("%s: no payload", path);
	(void)fclose(file);
	return bytes;
}

uint32_t load_multiboot(const struct machine *machine, const char *path, const char *line)
{
	static uint8_t file[FILE_MAX];
	size_t bytes = file_read(path, file);
	const Elf32_Ehdr *header = (const Elf32_Ehdr *)file;
	const Elf32_Phdr *segments = (const Elf32_Phdr *)(file + header->e_phoff);
	uint32_t *info = (uint32_t *)(machine->memory + LOAD_INFO);

	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != EM_386 ||
	    header->e_phoff + header->e_phnum * sizeof(*segments) > bytes)
		fail("%s is not an ELF32 kernel", path);
	for (unsigned i = 0; i < header->e_phnum; i++) {
		const Elf32_Phdr *segment = &segments[i];

		if (segment->p_type != PT_LOAD)
			continue;
		if (segment->p_offset + segment->p_filesz > bytes ||
		    segment->p_paddr + segment->p_memsz > DATA_START)
			fail("%s does not fit", path);
		memcpy(machine->memory + segment->p_paddr, file + segment->p_offset,
		       segment->p_filesz);
	}
	if (strlen(line) >= LINE_MAX_BYTES)
		fail("the command line is too long");
	memcpy(machine->memory + LOAD_LINE, line, strlen(line) + 1);
	info[0] = INFO_HAS_MEMORY | INFO_HAS_COMMAND_LINE;
	info[1] = 639;
	info[2] = (uint32_t)((DATA_START + machine->data_bytes) / 1024 - 1024);
	info[4] = LOAD_LINE;
	return header->e_entry;
}
