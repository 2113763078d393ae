/* SPDX-License-Identifier: MIT */
/* Loading: kernel, initrd and command line into guest memory, and the vCPU's first state. */
#ifndef HV_GUEST_LOAD_H
#define HV_GUEST_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "guest.h"

enum {
	LOAD_COMMAND_LINE_MAX = 4096,
	LOAD_MAP_MAX = GUEST_REGIONS_MAX + 4,

	/* Fixed places in the guest's low memory. */
	LOAD_GDT = 0x1000,
	LOAD_INFO = 0x7000, /* boot_params or multiboot information */
	LOAD_INFO_END = 0x10000,
	LOAD_PAGE_TABLES = 0x10000,
	LOAD_COMMAND_LINE = 0x20000,
	LOAD_EBDA = 0x9fc00,
};

enum load_selector { LOAD_CODE32 = 0x08, LOAD_CODE64 = 0x10, LOAD_DATA = 0x18 };

struct load_map_entry {
	uint64_t start;
	uint64_t end;
	uint32_t type; /* E820 number */
};

struct load {
	struct guest *guest;
	struct vcpu *vcpu;
	const struct boot_module *kernel;
	const struct boot_module *initrd; /* NULL: none */
	const char *kernel_name;          /* for people, and for a multiboot command line */
	char command_line[LOAD_COMMAND_LINE_MAX];
	struct load_map_entry map[LOAD_MAP_MAX];
	unsigned map_count;
	char trouble[256]; /* why it cannot be loaded, for the user */
};

/**
 * load_guest() - load what the modules hold and set the vCPU to its entry.
 * Return: false, with load->trouble saying what is wrong and what to do.
 */
bool load_guest(struct load *load, struct guest *guest, struct vcpu *vcpu);

/* load_linux.c, load_multiboot.c: whether the kernel is one of theirs, and loading it. */
bool load_is_linux(const struct boot_module *kernel);
bool load_linux(struct load *load);
bool load_is_multiboot(const struct boot_module *kernel);
bool load_multiboot(struct load *load);

/* For the two: remember a sentence; always false. */
bool load_refuse(struct load *load, const char *format, ...) PRINTF_LIKE(2, 3);

/* Little-endian fields of a file; the caller has checked the bounds. */
static inline uint16_t load_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t load_get32(const uint8_t *at)
{
	return load_get16(at) | (uint32_t)load_get16(at + 2) << 16;
}

static inline uint64_t load_get64(const uint8_t *at)
{
	return load_get32(at) | (uint64_t)load_get32(at + 4) << 32;
}

/* The entry states. */
void load_enter_long(struct vcpu *vcpu, uint64_t rip, uint64_t page_tables);
void load_enter_protected(struct vcpu *vcpu, uint32_t eip);

#endif
