/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage by its 64-bit or 32-bit boot protocol (Documentation/arch/x86/boot in the kernel's
 * own sources): the protected-mode part goes where the header prefers it, the initrd as high as
 * allowed, the zero page describes memory. The kernel starts at its 64-bit entry on identity page
 * tables for the first 4 GiB; if it has none, at its 32-bit entry without paging.
 */
#include "load.h"

#include "../svm/svm.h"

/* Offsets in the file and in the zero page alike. */
enum {
	ZERO_ACPI_RSDP = 0x070,
	ZERO_E820_ENTRIES = 0x1e8,
	HEADER_START = 0x1f1,
	HEADER_SETUP_SECTORS = 0x1f1,
	HEADER_PARAGRAPHS = 0x1f4, /* of the protected-mode part */
	HEADER_BOOT_FLAG = 0x1fe,
	HEADER_JUMP = 0x201,
	HEADER_MAGIC = 0x202,
	HEADER_VERSION = 0x206,
	HEADER_LOADER = 0x210,
	HEADER_INITRD = 0x218,
	HEADER_INITRD_BYTES = 0x21c,
	HEADER_COMMAND_LINE = 0x228,
	HEADER_INITRD_MAX = 0x22c,
	HEADER_XLOADFLAGS = 0x236,
	HEADER_COMMAND_LINE_MAX = 0x238,
	HEADER_PREFERRED = 0x258,
	HEADER_INIT_BYTES = 0x260,
	HEADER_END_MAX = 0x290, /* what follows in the zero page is not the header's */
	ZERO_E820_TABLE = 0x2d0,
	ZERO_BYTES = 4096,
	E820_ENTRY_BYTES = 20,
	E820_ENTRIES_MAX = 128,
};

enum {
	MAGIC_HDRS = 0x53726448,
	BOOT_FLAG = 0xaa55,
	VERSION_MIN = 0x020c, /* the first that tells whether there is a 64-bit entry */
	XLOAD_64BIT = 1,
	LOADER_UNKNOWN = 0xff,
	SECTOR_BYTES = 512,
	PARAGRAPH_BYTES = 16,
	SETUP_SECTORS_DEFAULT = 4,
	ENTRY_64BIT = 0x200,
	FOUR_GIB_TABLES = 4,
};

#define PAGE_TABLE_FLAGS UINT64_C(3)    /* present, writable */
#define LARGE_PAGE_FLAGS UINT64_C(0x83) /* the same, 2M */

struct bzimage {
	const uint8_t *file;
	uint64_t setup_bytes;
	uint64_t kernel_bytes;
	uint64_t header_end;
	uint64_t start; /* guest-physical */
	uint64_t init_bytes;
};

_Static_assert(ZERO_BYTES <= LOAD_INFO_END - LOAD_INFO, "the zero page has its place");
_Static_assert((int)LOAD_MAP_MAX <= (int)E820_ENTRIES_MAX, "the memory map fits");

bool load_is_linux(const struct boot_module *kernel)
{
	return kernel->bytes > HEADER_MAGIC + 4 &&
	       load_get16(kernel->data + HEADER_BOOT_FLAG) == BOOT_FLAG &&
	       load_get32(kernel->data + HEADER_MAGIC) == MAGIC_HDRS;
}

static bool header_check(struct load *load, struct bzimage *image)
{
	const struct boot_module *kernel = load->kernel;
	const uint8_t *file = kernel->data;
	uint64_t sectors;
	uint64_t expected;

	if (kernel->bytes < HEADER_END_MAX)
		return load_refuse(load, "%s is cut off: its header is incomplete",
				   load->kernel_name);
	if (load_get16(file + HEADER_VERSION) < VERSION_MIN)
		return load_refuse(load, "%s is too old; give Linux 3.8 or newer",
				   load->kernel_name);
	sectors = file[HEADER_SETUP_SECTORS];
	image->file = file;
	image->setup_bytes = ((sectors != 0 ? sectors : SETUP_SECTORS_DEFAULT) + 1) * SECTOR_BYTES;
	image->header_end = HEADER_MAGIC + (uint64_t)file[HEADER_JUMP];
	if (image->header_end > HEADER_END_MAX)
		image->header_end = HEADER_END_MAX;
	expected = image->setup_bytes +
		   (uint64_t)load_get32(file + HEADER_PARAGRAPHS) * PARAGRAPH_BYTES;
	if (kernel->bytes <= image->setup_bytes + ENTRY_64BIT ||
	    kernel->bytes + PARAGRAPH_BYTES <= expected)
		return load_refuse(load, "%s is cut off: it has %llu of %llu bytes",
				   load->kernel_name, (unsigned long long)kernel->bytes,
				   (unsigned long long)expected);
	image->kernel_bytes = kernel->bytes - image->setup_bytes;
	image->init_bytes = load_get32(file + HEADER_INIT_BYTES);
	if (image->init_bytes < image->kernel_bytes)
		image->init_bytes = image->kernel_bytes;
	return true;
}

/* Where the header prefers it: a kernel that is started below moves there before it unpacks. */
static bool kernel_place(struct load *load, struct bzimage *image)
{
	const struct guest_memory *memory = &load->guest->memory;

	image->start = load_get64(image->file + HEADER_PREFERRED);
	if (image->start < MIB(1) || !guest_is_ram(memory, image->start, image->init_bytes))
		return load_refuse(load,
				   "the kernel needs %llu MiB from address 0x%llx on; give the "
				   "guest more memory (--memory)",
				   (unsigned long long)(image->init_bytes >> 20) + 1,
				   (unsigned long long)image->start);
	guest_copy_in(&load->guest->memory, image->start, image->file + image->setup_bytes,
		      image->kernel_bytes);
	return true;
}

/* As high as the kernel allows, page aligned, clear of the kernel. */
static bool initrd_place(struct load *load, const struct bzimage *image, uint64_t *at)
{
	uint64_t bytes = load->initrd != NULL ? load->initrd->bytes : 0;
	uint64_t top = guest_ram_low_end(&load->guest->memory);
	uint64_t max = (uint64_t)load_get32(image->file + HEADER_INITRD_MAX) + 1;
	uint64_t start;

	*at = 0;
	if (bytes == 0)
		return true;
	top = max < top ? max : top;
	start = bytes < top ? (top - bytes) & ~(FRAME_BYTES - 1) : 0;
	if (start < image->start + image->init_bytes)
		return load_refuse(load,
				   "kernel (%llu MiB when unpacked) and initrd (%llu MiB) do not "
				   "fit into the guest's memory; give it more (--memory)",
				   (unsigned long long)(image->init_bytes >> 20) + 1,
				   (unsigned long long)(bytes >> 20) + 1);
	guest_copy_in(&load->guest->memory, start, load->initrd->data, bytes);
	*at = start;
	return true;
}

static void put32(uint8_t *zero, unsigned at, uint32_t value)
{
	memcpy(zero + at, &value, sizeof(value));
}

static void put64(uint8_t *zero, unsigned at, uint64_t value)
{
	memcpy(zero + at, &value, sizeof(value));
}

static uint64_t rsdp_address(const struct boot_info *boot)
{
	if (boot->acpi_count == 0 || !text_equals(boot->acpi[0].signature, "RSD PTR "))
		return 0;
	return (uintptr_t)boot->acpi[0].data;
}

/* @zero: a cleared page. */
static void zero_page_fill(const struct load *load, const struct bzimage *image, uint8_t *zero,
			   uint64_t initrd)
{
	memcpy(zero + HEADER_START, image->file + HEADER_START, image->header_end - HEADER_START);
	zero[HEADER_LOADER] = LOADER_UNKNOWN;
	put32(zero, HEADER_COMMAND_LINE, LOAD_COMMAND_LINE);
	put32(zero, HEADER_INITRD, (uint32_t)initrd);
	put32(zero, HEADER_INITRD_BYTES, initrd != 0 ? (uint32_t)load->initrd->bytes : 0);
	put64(zero, ZERO_ACPI_RSDP, rsdp_address(load->guest->boot));
	zero[ZERO_E820_ENTRIES] = (uint8_t)load->map_count;
	for (unsigned i = 0; i < load->map_count; i++) {
		const struct load_map_entry *entry = &load->map[i];
		unsigned at = ZERO_E820_TABLE + i * E820_ENTRY_BYTES;

		put64(zero, at, entry->start);
		put64(zero, at + 8, entry->end - entry->start);
		put32(zero, at + 16, entry->type);
	}
}

/* One table of each upper level and four that map 1 GiB each with 2M pages. */
static void page_tables_write(struct guest_memory *memory)
{
	uint64_t pdpt = LOAD_PAGE_TABLES + FRAME_BYTES;
	uint64_t directories = pdpt + FRAME_BYTES;
	uint64_t entry = pdpt | PAGE_TABLE_FLAGS;

	guest_clear(memory, LOAD_PAGE_TABLES, 2 * FRAME_BYTES);
	guest_copy_in(memory, LOAD_PAGE_TABLES, &entry, sizeof(entry));
	for (uint64_t i = 0; i < FOUR_GIB_TABLES; i++) {
		entry = (directories + i * FRAME_BYTES) | PAGE_TABLE_FLAGS;
		guest_copy_in(memory, pdpt + i * 8, &entry, sizeof(entry));
	}
	for (uint64_t i = 0; i < FOUR_GIB_TABLES * 512; i++) {
		entry = i * BLOCK_2M_BYTES | LARGE_PAGE_FLAGS;
		guest_copy_in(memory, directories + i * 8, &entry, sizeof(entry));
	}
}

static bool command_line_write(struct load *load, const struct bzimage *image)
{
	size_t length = strlen(load->command_line);
	uint32_t max = load_get32(image->file + HEADER_COMMAND_LINE_MAX);

	if (length > max)
		return load_refuse(load,
				   "the guest's command line has %llu characters; this kernel "
				   "takes %u",
				   (unsigned long long)length, max);
	return guest_copy_in(&load->guest->memory, LOAD_COMMAND_LINE, load->command_line,
			     length + 1);
}

bool load_linux(struct load *load)
{
	struct guest_memory *memory = &load->guest->memory;
	struct bzimage image = {0};
	uint64_t initrd;
	uint8_t *zero;

	if (!header_check(load, &image) || !kernel_place(load, &image) ||
	    !initrd_place(load, &image, &initrd) || !command_line_write(load, &image))
		return false;
	zero = guest_pointer(memory, LOAD_INFO, GUEST_WRITE);
	memset(zero, 0, ZERO_BYTES);
	zero_page_fill(load, &image, zero, initrd);
	page_tables_write(memory);
	if ((load_get16(image.file + HEADER_XLOADFLAGS) & XLOAD_64BIT) != 0)
		load_enter_long(load->vcpu, image.start + ENTRY_64BIT, LOAD_PAGE_TABLES);
	else
		load_enter_protected(load->vcpu, (uint32_t)image.start);
	*vcpu_reg(load->vcpu, 6) = LOAD_INFO; /* RSI */
	return true;
}
