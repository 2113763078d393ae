/* SPDX-License-Identifier: MIT */
/*
 * The multiboot1 information, copied into struct boot_info: strings and lists move into the
 * image, module contents stay where the loader put them.
 */
#include "internal.h"

enum {
	HAS_MEMORY_SIZES = 1 << 0,
	HAS_COMMAND_LINE = 1 << 2,
	HAS_MODULES = 1 << 3,
	HAS_MEMORY_MAP = 1 << 6,
	TEXT_BYTES = 16384,
};

struct multiboot_info {
	uint32_t flags;
	uint32_t memory_lower, memory_upper;
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
};

struct multiboot_module {
	uint32_t start, end;
	uint32_t text;
	uint32_t reserved;
};

/* One map entry; @bytes counts what follows it, so entries may grow. */
struct multiboot_map {
	uint32_t bytes;
	uint32_t start[2], length[2];
	uint32_t kind;
};

static char text_room[TEXT_BYTES];
static size_t text_used;

static const void *physical(uint32_t address)
{
	return (const void *)(uintptr_t)address;
}

static char *text_copy(const char *text, size_t length)
{
	char *copy = text_room + text_used;

	if (length + 1 > TEXT_BYTES - text_used)
		hv_refuse(2, "the command line and module names are longer than %d bytes",
			  TEXT_BYTES);
	memcpy(copy, text, length);
	copy[length] = '\0';
	text_used += length + 1;
	return copy;
}

static const char *skip_blanks(const char *at)
{
	while (*at == ' ')
		at++;
	return at;
}

static const char *skip_word(const char *at)
{
	while (*at != '\0' && *at != ' ')
		at++;
	return at;
}

static bool word_ends_with(const char *word, const char *end, const char *suffix)
{
	size_t length = strlen(suffix);

	return (size_t)(end - word) >= length && memcmp(end - length, suffix, length) == 0;
}

/*
 * QEMU puts the image's file name in front of the words, and does not quote it: it ends at
 * the last word in ".elf", or is the first word.
 */
static const char *skip_image_name(const char *line)
{
	const char *first = skip_blanks(line);
	const char *rest = skip_word(first);

	for (const char *at = first; *at != '\0'; at = skip_blanks(at)) {
		const char *word = at;

		at = skip_word(at);
		if (word_ends_with(word, at, ".elf"))
			rest = at;
	}
	return skip_blanks(rest);
}

/* "FILE ROLE": the role is the last word, if there are two or more. */
static void module_name(struct boot_module *module, const char *text)
{
	const char *role = "";
	const char *file_end = text + strlen(text);

	for (const char *at = skip_blanks(skip_word(text)); *at != '\0';) {
		role = at;
		at = skip_word(at);
		if (*skip_blanks(at) == '\0')
			break;
		at = skip_blanks(at);
	}
	if (*role != '\0') {
		file_end = role;
		while (file_end > text && file_end[-1] == ' ')
			file_end--;
	}
	module->file = text_copy(text, (size_t)(file_end - text));
	module->role = text_copy(role, (size_t)(skip_word(role) - role));
}

static void read_modules(struct boot_info *boot, const struct multiboot_info *info)
{
	const struct multiboot_module *modules = physical(info->modules);

	if (info->module_count > BOOT_MODULES_MAX)
		hv_refuse(2, "%u modules given; at most %d are possible", info->module_count,
			  BOOT_MODULES_MAX);
	for (uint32_t i = 0; i < info->module_count; i++) {
		struct boot_module *module = &boot->modules[i];

		if (modules[i].end < modules[i].start)
			hv_refuse(1, "the boot loader gave a module that ends before it starts");
		module->data = physical(modules[i].start);
		module->bytes = modules[i].end - modules[i].start;
		module_name(module, modules[i].text != 0 ? physical(modules[i].text) : "");
	}
	boot->module_count = info->module_count;
}

static void memory_add(struct boot_info *boot, uint64_t start, uint64_t bytes, uint32_t kind)
{
	uint32_t at = boot->memory_count;

	if (bytes == 0 || start + bytes < start)
		return;
	if (at == BOOT_MEMORY_MAX)
		hv_refuse(1, "the firmware's memory map has more than %d entries", BOOT_MEMORY_MAX);
	for (; at > 0 && boot->memory[at - 1].start > start; at--)
		boot->memory[at] = boot->memory[at - 1];
	boot->memory[at] = (struct boot_memory){
		.start = start,
		.end = start + bytes,
		.kind = kind >= BOOT_MEMORY_RAM && kind <= BOOT_MEMORY_BAD
				? (enum boot_memory_kind)kind
				: BOOT_MEMORY_RESERVED,
	};
	boot->memory_count++;
	if (kind == BOOT_MEMORY_RAM && start + bytes > boot->ram_end)
		boot->ram_end = start + bytes;
}

static void read_memory_map(struct boot_info *boot, const struct multiboot_info *info)
{
	const uint8_t *at = physical(info->map);
	const uint8_t *end = at + info->map_bytes;

	while ((size_t)(end - at) >= sizeof(struct multiboot_map)) {
		struct multiboot_map entry;

		memcpy(&entry, at, sizeof(entry));
		memory_add(boot, (uint64_t)entry.start[1] << 32 | entry.start[0],
			   (uint64_t)entry.length[1] << 32 | entry.length[0], entry.kind);
		if (entry.bytes + sizeof(entry.bytes) > (size_t)(end - at))
			break;
		at += entry.bytes + sizeof(entry.bytes);
	}
}

static bool in_ram(const struct boot_info *boot, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < boot->memory_count; i++) {
		const struct boot_memory *memory = &boot->memory[i];

		if (memory->kind == BOOT_MEMORY_RAM && start >= memory->start && end <= memory->end)
			return true;
	}
	return false;
}

/* QEMU loads a module past the end of memory without a word. */
static void check_modules(const struct boot_info *boot)
{
	for (uint32_t i = 0; i < boot->module_count; i++) {
		const struct boot_module *module = &boot->modules[i];
		uint64_t start = (uintptr_t)module->data;

		if (module->bytes != 0 && !in_ram(boot, start, start + module->bytes))
			hv_refuse(2, "%s does not fit into the machine's memory; give it more",
				  module->file);
	}
}

void boot_parse(struct boot_info *boot, const void *multiboot_info)
{
	const struct multiboot_info *info = multiboot_info;

	boot->command_line = "";
	if ((info->flags & HAS_COMMAND_LINE) != 0) {
		const char *line = skip_image_name(physical(info->command_line));

		boot->command_line = text_copy(line, strlen(line));
	}
	if ((info->flags & HAS_MODULES) != 0)
		read_modules(boot, info);
	if ((info->flags & HAS_MEMORY_MAP) != 0)
		read_memory_map(boot, info);
	else if ((info->flags & HAS_MEMORY_SIZES) != 0)
		memory_add(boot, MIB(1), KIB(info->memory_upper), BOOT_MEMORY_RAM);
	if (boot->ram_end == 0)
		hv_refuse(1, "the boot loader told no memory size");
	check_modules(boot);
}

const struct boot_module *boot_module_find(const struct boot_info *boot, const char *role)
{
	for (uint32_t i = 0; i < boot->module_count; i++) {
		if (text_equals(boot->modules[i].role, role))
			return &boot->modules[i];
	}
	return NULL;
}

size_t boot_word_next(const char **cursor, char *word, size_t bytes)
{
	const char *start = skip_blanks(*cursor);
	const char *end = skip_word(start);
	size_t length = (size_t)(end - start);
	size_t kept = length < bytes ? length : bytes - 1;

	memcpy(word, start, kept);
	word[kept] = '\0';
	*cursor = end;
	return length;
}

const char *boot_memory_kind_name(enum boot_memory_kind kind)
{
	switch (kind) {
	case BOOT_MEMORY_RAM:
		return "RAM";
	case BOOT_MEMORY_RESERVED:
		return "reserved";
	case BOOT_MEMORY_ACPI:
		return "ACPI tables";
	case BOOT_MEMORY_NVS:
		return "ACPI NVS";
	case BOOT_MEMORY_BAD:
		return "bad";
	}
	return "unknown";
}
