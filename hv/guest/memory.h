/* SPDX-License-Identifier: MIT */
/*
 * The guest's physical memory as the hypervisor keeps it: RAM on host frames scattered over
 * the machine, filled on demand, and copies of the firmware's BIOS area and ACPI tables.
 *
 * This is what the library's guest_page callback answers from, and how the hypervisor itself
 * (loader, emulator, walks of the guest's tables) reaches guest memory. Filling on demand takes a
 * lock; looking at what is there takes none, since an entry once set stays. With resident= it
 * does not stay, and every look takes the lock.
 */
#ifndef HV_GUEST_MEMORY_H
#define HV_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#include "../platform/platform.h"
#include "../platform/spin.h"

#define GUEST_LOW_END UINT64_C(0xa0000)    /* RAM below the hole for display and BIOS */
#define GUEST_BIOS_START UINT64_C(0xc0000) /* copies of the machine's BIOS area */
#define GUEST_BIOS_END UINT64_C(0x100000)

/* The mediated device (hv/devices/vgtt.h): registers, and memory that comes and goes. Behind all
 * RAM below 4 GiB, and no device of this machine is there. */
#define GUEST_VGTT UINT64_C(0xfd000000)
#define GUEST_SPARE UINT64_C(0xfd100000)
#define GUEST_SPARE_BYTES UINT64_C(0x40000)

enum {
	GUEST_REGIONS_MAX = 64,
	GUEST_BLOCK_FRAMES = 512, /* frames of a 2M block */
};

enum region_kind {
	REGION_RAM,   /* frames on demand */
	REGION_BIOS,  /* copy, read-only */
	REGION_ACPI,  /* copy of ACPI tables, read-only */
	REGION_NVS,   /* copy of ACPI tables that the guest may write (FACS) */
	REGION_SPARE, /* of the mediated device, in one piece */
};

/* [start, end) of guest-physical memory; its index is the slot id. Page aligned. */
struct guest_region {
	uint64_t start;
	uint64_t end;
	uint64_t host; /* copies: where they are */
	enum region_kind kind;
};

struct backing;

struct guest_memory {
	struct guest_region regions[GUEST_REGIONS_MAX];
	unsigned region_count;
	uint64_t end; /* no region reaches beyond */
	bool huge;    /* 2M host blocks, as long as there are any, instead of scattered frames */
	/*
	 * One entry per 2M of guest-physical space: host address of a 2M block with bit 0 set,
	 * or of a table with the host addresses of its 512 frames; 0: not there yet.
	 */
	uint64_t *blocks;
	uint64_t block_count;
	uint64_t frames;         /* 4K frames given to the guest */
	struct spin lock;        /* over filling in blocks and tables, and the count of frames */
	struct backing *backing; /* frames come and go (resident/backing.h); NULL: they stay */
};

/**
 * guest_memory_create() - lay out @bytes of RAM around the firmware's ranges.
 * RAM that does not fit below the ACPI tables goes above 4 GiB.
 * Return: NULL, or a sentence that says why it cannot be.
 */
const char *guest_memory_create(struct guest_memory *memory, const struct boot_info *boot,
				uint64_t bytes, bool huge);

/* Add the mediated device's spare memory. Return: as above. */
const char *guest_memory_add_spare(struct guest_memory *memory);

/* May the guest write to memory of this kind? */
static inline bool guest_region_is_writable(enum region_kind kind)
{
	return kind != REGION_BIOS && kind != REGION_ACPI;
}

/* Give every RAM frame its host frame now. False: the machine's memory is used up. */
bool guest_memory_prefill(struct guest_memory *memory);

/* The region that holds @gpa, or NULL. */
const struct guest_region *guest_region_find(const struct guest_memory *memory, uint64_t gpa);

/* Host frame of RAM frame @gfn, got now if need be. HOST_NONE: no memory left. */
uint64_t guest_frame_get(struct guest_memory *memory, uint64_t gfn);

#define GUEST_BLOCK_HUGE UINT64_C(1)

/* The entry of the 2M piece that @gfn is in, and what it says of @gfn: a host frame, or HOST_NONE.
 */
static inline uint64_t guest_block_peek(const struct guest_memory *memory, uint64_t gfn)
{
	return __atomic_load_n(&memory->blocks[gfn / GUEST_BLOCK_FRAMES], __ATOMIC_ACQUIRE);
}

static inline uint64_t guest_block_frame(uint64_t block, uint64_t gfn)
{
	uint64_t frame;

	if ((block & GUEST_BLOCK_HUGE) != 0)
		return (block & ~GUEST_BLOCK_HUGE) + gfn % GUEST_BLOCK_FRAMES * FRAME_BYTES;
	if (block == 0)
		return HOST_NONE;
	frame = __atomic_load_n((const uint64_t *)(uintptr_t)block + gfn % GUEST_BLOCK_FRAMES,
				__ATOMIC_ACQUIRE);
	return frame != 0 ? frame : HOST_NONE;
}

/* guest_frame_get(), but HOST_NONE if it is not there yet. */
static inline uint64_t guest_frame_peek(const struct guest_memory *memory, uint64_t gfn)
{
	return guest_block_frame(guest_block_peek(memory, gfn), gfn);
}

/* guest_frame_get(), fast if it is there. */
static inline uint64_t guest_frame_at(struct guest_memory *memory, uint64_t gfn)
{
	uint64_t frame = guest_frame_peek(memory, gfn);

	return frame != HOST_NONE ? frame : guest_frame_get(memory, gfn);
}

enum guest_access { GUEST_READ, GUEST_WRITE };

/* Address of the byte at @gpa, good up to the end of its page, until the exit that is handled has
 * been handled; NULL: no memory there, or none that may be written. */
uint8_t *guest_pointer(struct guest_memory *memory, uint64_t gpa, enum guest_access access);

/* Copy to or from guest memory, any length. False: not all of it is (writable) memory. */
bool guest_copy_in(struct guest_memory *memory, uint64_t gpa, const void *data, uint64_t bytes);
bool guest_copy_out(struct guest_memory *memory, uint64_t gpa, void *data, uint64_t bytes);
bool guest_clear(struct guest_memory *memory, uint64_t gpa, uint64_t bytes);

/* Whether [start, start + bytes) lies in one RAM region. */
bool guest_is_ram(const struct guest_memory *memory, uint64_t start, uint64_t bytes);

/* End of the RAM region that starts at 1 MiB. */
uint64_t guest_ram_low_end(const struct guest_memory *memory);

#endif
