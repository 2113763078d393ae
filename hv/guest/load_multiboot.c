/* SPDX-License-Identifier: MIT */
/*
 * Multiboot1 kernels (Multiboot Specification 0.6.96): ELF32, or flat with address fields.
 * The file may be hostile: every offset, size and address is checked before it is used.
 */
#include "load.h"

#include "../svm/svm.h"

enum {
	SEARCH_BYTES = 8192,
	HEADER_BYTES = 12,
	ADDRESS_HEADER_BYTES = 32,
	FLAG_ADDRESSES = 1 << 16,
	FLAGS_KNOWN = 0x3, /* of the lower half, which must be understood */
};
#define MULTIBOOT_HEADER UINT32_C(0x1badb002)
#define MULTIBOOT_LOADED UINT32_C(0x2badb002)

enum elf32 {
	ELF_BYTES = 52,
	ELF_CLASS = 4,
	ELF_DATA = 5,
	ELF_MACHINE = 18,
	ELF_ENTRY = 24,
	ELF_SEGMENTS = 28,
	ELF_SEGMENT_BYTES = 42,
	ELF_SEGMENT_COUNT = 44,
	ELF_CLASS_32 = 1,
	ELF_LITTLE_ENDIAN = 1,
	ELF_MACHINE_386 = 3,
	SEGMENT_ENTRY_BYTES = 32,
	SEGMENT_LOAD = 1,
};
#define ELF_MAGIC UINT32_C(0x464c457f)

enum info {
	INFO_HAS_MEMORY = 1 << 0,
	INFO_HAS_COMMAND_LINE = 1 << 2,
	INFO_HAS_MODULES = 1 << 3,
	INFO_HAS_MAP = 1 << 6,
	INFO_HAS_LOADER = 1 << 9,
	INFO_MAP_ENTRY_BYTES = 24,
	INFO_MAP_ENTRY_SIZE = 20, /* as the entry says: without the size itself */
};

/* What the kernel gets in EBX. */
struct multiboot_info {
	uint32_t flags;
	uint32_t memory_lower, memory_upper; /* KiB */
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
	uint32_t drives_bytes, drives;
	uint32_t config, loader_name, apm;
};
_Static_assert(sizeof(struct multiboot_info) == 72, "as the specification lays it out");

struct multiboot_module {
	uint32_t start, end, text, reserved;
};

struct image {
	uint64_t start; /* of all that was loaded; end includes cleared memory */
	uint64_t end;
	uint32_t entry;
};

/* The header in the first 8 KiB, or NULL. */
static const uint8_t *header_find(const struct boot_module *kernel)
{
	uint64_t limit = kernel->bytes < SEARCH_BYTES ? kernel->bytes : SEARCH_BYTES;

	for (uint64_t at = 0; at + HEADER_BYTES <= limit; at += 4) {
		const uint8_t *header = kernel->data + at;

		if (load_get32(header) == MULTIBOOT_HEADER &&
		    load_get32(header) + load_get32(header + 4) + load_get32(header + 8) == 0)
			return header;
	}
	return NULL;
}

bool load_is_multiboot(const struct boot_module *kernel)
{
	return header_find(kernel) != NULL;
}

/* @bytes of the file at @from to @to, cleared memory up to @memory_bytes. */
static bool part_load(struct load *load, struct image *image, uint64_t from, uint64_t bytes,
		      uint64_t to, uint64_t memory_bytes)
{
	struct guest_memory *memory = &load->guest->memory;

	if (from > load->kernel->bytes || bytes > load->kernel->bytes - from)
		return load_refuse(load, "%s is cut off: a part at offset %llu is missing",
				   load->kernel_name, (unsigned long long)from);
	if (memory_bytes < bytes)
		memory_bytes = bytes;
	if (memory_bytes == 0)
		return true;
	if (!guest_is_ram(memory, to, memory_bytes))
		return load_refuse(load,
				   "the kernel wants to be at 0x%llx-0x%llx, where the guest has "
				   "no memory; give it more (--memory)",
				   (unsigned long long)to, (unsigned long long)(to + memory_bytes));
	if (to < LOAD_INFO_END && to + memory_bytes > LOAD_INFO)
		return load_refuse(load,
				   "the kernel wants memory at 0x%x-0x%x, which the loader "
				   "needs",
				   LOAD_INFO, LOAD_INFO_END);
	guest_copy_in(memory, to, load->kernel->data + from, bytes);
	guest_clear(memory, to + bytes, memory_bytes - bytes);
	if (to < image->start)
		image->start = to;
	if (to + memory_bytes > image->end)
		image->end = to + memory_bytes;
	return true;
}

/* The fields of the header say what goes where. */
static bool flat_load(struct load *load, const uint8_t *header, struct image *image)
{
	uint64_t header_offset = (uint64_t)(header - load->kernel->data);
	uint64_t header_address = load_get32(header + 12);
	uint64_t start = load_get32(header + 16);
	uint64_t end = load_get32(header + 20);
	uint64_t clear_end = load_get32(header + 24);
	uint64_t from;
	uint64_t bytes;

	if (start > header_address || header_address - start > header_offset)
		return load_refuse(load, "%s: the address fields of its multiboot header disagree",
				   load->kernel_name);
	from = header_offset - (header_address - start);
	bytes = end != 0 ? end - start : load->kernel->bytes - from;
	if (end != 0 && end < start)
		return load_refuse(load, "%s: its multiboot header ends it before it starts",
				   load->kernel_name);
	image->entry = load_get32(header + 28);
	return part_load(load, image, from, bytes, start,
			 clear_end > start ? clear_end - start : 0);
}

static bool elf_check(struct load *load)
{
	const uint8_t *file = load->kernel->data;

	if (load->kernel->bytes < ELF_BYTES || load_get32(file) != ELF_MAGIC)
		return load_refuse(load,
				   "%s has a multiboot header, but is neither ELF nor flat "
				   "with addresses",
				   load->kernel_name);
	if (file[ELF_CLASS] != ELF_CLASS_32 || file[ELF_DATA] != ELF_LITTLE_ENDIAN ||
	    load_get16(file + ELF_MACHINE) != ELF_MACHINE_386)
		return load_refuse(load,
				   "%s is not a 32-bit x86 ELF file; make one of it with "
				   "objcopy -O elf32-i386",
				   load->kernel_name);
	if (load_get16(file + ELF_SEGMENT_BYTES) < SEGMENT_ENTRY_BYTES)
		return load_refuse(load, "%s has no ELF segments", load->kernel_name);
	return true;
}

static bool elf_load(struct load *load, struct image *image)
{
	const uint8_t *file = load->kernel->data;
	uint64_t table, step, count;
	uint32_t entry;

	if (!elf_check(load))
		return false;
	table = load_get32(file + ELF_SEGMENTS);
	step = load_get16(file + ELF_SEGMENT_BYTES);
	count = load_get16(file + ELF_SEGMENT_COUNT);
	entry = load_get32(file + ELF_ENTRY);
	image->entry = entry;
	if (table > load->kernel->bytes || count * step > load->kernel->bytes - table)
		return load_refuse(load, "%s is cut off: its table of segments is incomplete",
				   load->kernel_name);
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *segment = file + table + i * step;
		uint32_t virtual_address = load_get32(segment + 8);
		uint32_t address = load_get32(segment + 12);
		uint32_t memory_bytes = load_get32(segment + 20);

		if (load_get32(segment) != SEGMENT_LOAD)
			continue;
		if (!part_load(load, image, load_get32(segment + 4), load_get32(segment + 16),
			       address, memory_bytes))
			return false;
		/* An entry given as a virtual address, before there is paging. */
		if (entry - virtual_address < memory_bytes)
			image->entry = entry - virtual_address + address;
	}
	return true;
}

/* The initrd becomes the first module, on a page of its own after the kernel. */
static bool module_load(struct load *load, const struct image *image,
			struct multiboot_module *module)
{
	uint64_t start = (image->end + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);

	if (start < MIB(1))
		start = MIB(1);
	if (!guest_is_ram(&load->guest->memory, start, load->initrd->bytes))
		return load_refuse(load,
				   "the module (%llu MiB) does not fit behind the kernel; "
				   "give the guest more memory (--memory)",
				   (unsigned long long)(load->initrd->bytes >> 20) + 1);
	guest_copy_in(&load->guest->memory, start, load->initrd->data, load->initrd->bytes);
	module->start = (uint32_t)start;
	module->end = (uint32_t)(start + load->initrd->bytes);
	return true;
}

/* Data behind the information structure; there is always room, see LOAD_INFO_END. */
static uint32_t info_put(struct load *load, uint64_t *at, const void *data, uint64_t bytes)
{
	uint64_t place = *at;

	HV_ASSERT(place + bytes <= LOAD_INFO_END);
	guest_copy_in(&load->guest->memory, place, data, bytes);
	*at = (place + bytes + 7) & ~UINT64_C(7);
	return (uint32_t)place;
}

/* The kernel's own name comes first, as other loaders do it. */
static uint32_t command_line_put(struct load *load, uint64_t *at)
{
	static char line[LOAD_COMMAND_LINE_MAX + 256];

	format_text(line, sizeof(line), "%s%s%s", load->kernel_name,
		    load->command_line[0] != '\0' ? " " : "", load->command_line);
	return info_put(load, at, line, strlen(line) + 1);
}

static void map_put(struct load *load, uint64_t *at, struct multiboot_info *info)
{
	info->map = (uint32_t)*at;
	info->map_bytes = load->map_count * INFO_MAP_ENTRY_BYTES;
	for (unsigned i = 0; i < load->map_count; i++) {
		const struct load_map_entry *entry = &load->map[i];
		uint64_t length = entry->end - entry->start;
		uint8_t packed[INFO_MAP_ENTRY_BYTES] = {INFO_MAP_ENTRY_SIZE};

		memcpy(packed + 4, &entry->start, 8);
		memcpy(packed + 12, &length, 8);
		memcpy(packed + 20, &entry->type, 4);
		info_put(load, at, packed, sizeof(packed));
	}
}

bool load_multiboot(struct load *load)
{
	static const char loader_name[] = "vmmu";
	static const char module_name[] = "initrd";
	const uint8_t *header = header_find(load->kernel);
	uint32_t flags = load_get32(header + 4);
	uint64_t left = load->kernel->bytes - (uint64_t)(header - load->kernel->data);
	struct image image = {.start = UINT64_MAX};
	struct multiboot_info info = {0};
	struct multiboot_module module = {0};
	uint64_t at = LOAD_INFO + sizeof(info);

	if ((flags & 0xffff & ~(uint32_t)FLAGS_KNOWN) != 0)
		return load_refuse(load, "%s asks for what is not there (multiboot flags 0x%x)",
				   load->kernel_name, flags);
	if ((flags & FLAG_ADDRESSES) != 0 && left < ADDRESS_HEADER_BYTES)
		return load_refuse(load, "%s is cut off in its multiboot header",
				   load->kernel_name);
	if (!((flags & FLAG_ADDRESSES) != 0 ? flat_load(load, header, &image)
					    : elf_load(load, &image)))
		return false;
	if (image.end == 0)
		return load_refuse(load, "%s has nothing to load", load->kernel_name);

	info.flags = INFO_HAS_MEMORY | INFO_HAS_COMMAND_LINE | INFO_HAS_MODULES | INFO_HAS_MAP |
		     INFO_HAS_LOADER;
	info.memory_lower = LOAD_EBDA >> 10;
	info.memory_upper = (uint32_t)((guest_ram_low_end(&load->guest->memory) - MIB(1)) >> 10);
	info.command_line = command_line_put(load, &at);
	info.loader_name = info_put(load, &at, loader_name, sizeof(loader_name));
	map_put(load, &at, &info);
	if (load->initrd != NULL) {
		if (!module_load(load, &image, &module))
			return false;
		module.text = info_put(load, &at, module_name, sizeof(module_name));
		info.modules = info_put(load, &at, &module, sizeof(module));
		info.module_count = 1;
	}
	guest_copy_in(&load->guest->memory, LOAD_INFO, &info, sizeof(info));
	load_enter_protected(load->vcpu, image.entry);
	load->vcpu->vmcb.save.rax = MULTIBOOT_LOADED;
	*vcpu_reg(load->vcpu, 3) = LOAD_INFO; /* RBX */
	return true;
}
