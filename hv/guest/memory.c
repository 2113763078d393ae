/* SPDX-License-Identifier: MIT */
/* Guest-physical memory on scattered host frames, and copies of firmware tables. */
#include "memory.h"

#include "../resident/backing.h"

enum { PAGE_MASK = FRAME_BYTES - 1 };

static uint64_t page_down(uint64_t address)
{
	return address & ~(FRAME_BYTES - 1);
}

static uint64_t page_up(uint64_t address)
{
	return page_down(address + FRAME_BYTES - 1);
}

static struct guest_region *region_add(struct guest_memory *memory, uint64_t start, uint64_t end,
				       enum region_kind kind)
{
	struct guest_region *region = &memory->regions[memory->region_count];

	HV_ASSERT(memory->region_count < GUEST_REGIONS_MAX && start < end);
	*region = (struct guest_region){.start = start, .end = end, .kind = kind};
	memory->region_count++;
	if (end > memory->end)
		memory->end = end;
	return region;
}

/* Regions are few and RAM comes first, so a linear search is short. Devices mostly lie beyond all.
 */
const struct guest_region *guest_region_find(const struct guest_memory *memory, uint64_t gpa)
{
	if (gpa >= memory->end)
		return NULL;
	for (unsigned i = 0; i < memory->region_count; i++) {
		if (gpa >= memory->regions[i].start && gpa < memory->regions[i].end)
			return &memory->regions[i];
	}
	return NULL;
}

/* --- copies of firmware memory --- */

static bool is_high_table(const struct acpi_table *table)
{
	return (uintptr_t)table->data >= GUEST_BIOS_END;
}

/*
 * The pages of one table, joined with a region that they touch. Two tables in one page make
 * one region, writable if either must be.
 */
static const char *acpi_region_join(struct guest_memory *memory, const struct acpi_table *table)
{
	uint64_t start = page_down((uintptr_t)table->data);
	uint64_t end = page_up((uintptr_t)table->data + table->bytes);
	enum region_kind kind = text_equals(table->signature, "FACS") ? REGION_NVS : REGION_ACPI;

	for (unsigned i = 0; i < memory->region_count;) {
		struct guest_region *other = &memory->regions[i];
		bool acpi = other->kind == REGION_ACPI || other->kind == REGION_NVS;

		if (!acpi || end <= other->start || start >= other->end) {
			i++;
			continue;
		}
		start = other->start < start ? other->start : start;
		end = other->end > end ? other->end : end;
		kind = other->kind == REGION_NVS ? REGION_NVS : kind;
		*other = memory->regions[--memory->region_count];
	}
	if (memory->region_count == GUEST_REGIONS_MAX)
		return "the firmware has more ACPI tables than there is room for";
	region_add(memory, start, end, kind);
	return NULL;
}

/* Only the tables themselves are copied, not what lies between them. */
static const char *acpi_copy(struct guest_memory *memory, const struct boot_info *boot)
{
	for (unsigned i = 0; i < memory->region_count; i++) {
		struct guest_region *region = &memory->regions[i];
		uint64_t frames = (region->end - region->start) / FRAME_BYTES;

		if (region->kind != REGION_ACPI && region->kind != REGION_NVS)
			continue;
		if (frames > GUEST_BLOCK_FRAMES)
			return "an ACPI table is larger than 2 MiB";
		region->host = (uintptr_t)frames_alloc_contiguous((uint32_t)frames);
		if (region->host == 0)
			return "no memory for the copies of the ACPI tables";
	}
	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		const struct acpi_table *table = &boot->acpi[i];
		const struct guest_region *region;

		if (!is_high_table(table))
			continue;
		region = guest_region_find(memory, (uintptr_t)table->data);
		HV_ASSERT(region != NULL);
		memcpy((void *)(uintptr_t)(region->host + (uintptr_t)table->data - region->start),
		       table->data, table->bytes);
	}
	return NULL;
}

static const char *bios_copy(struct guest_memory *memory)
{
	uint64_t bytes = GUEST_BIOS_END - GUEST_BIOS_START;
	struct guest_region *region =
		region_add(memory, GUEST_BIOS_START, GUEST_BIOS_END, REGION_BIOS);
	void *copy = frames_alloc_contiguous((uint32_t)(bytes / FRAME_BYTES));

	if (copy == NULL)
		return "no memory for the copy of the BIOS area";
	copy_words(copy, (const void *)GUEST_BIOS_START, bytes);
	region->host = (uintptr_t)copy;
	return NULL;
}

/* --- layout --- */

/* Where RAM from 1 MiB upwards has to end: ACPI tables, or the devices below 4 GiB. */
static uint64_t low_limit(const struct boot_info *boot)
{
	uint64_t limit = GIB(3);

	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		uint64_t start = (uintptr_t)boot->acpi[i].data;

		if (is_high_table(&boot->acpi[i]) && start < limit)
			limit = start;
	}
	return limit & ~(BLOCK_2M_BYTES - 1);
}

const char *guest_memory_create(struct guest_memory *memory, const struct boot_info *boot,
				uint64_t bytes, bool huge)
{
	uint64_t limit = low_limit(boot);
	uint64_t low = bytes < limit ? bytes : limit;
	uint64_t end = bytes > low ? GIB(4) + (bytes - low) : low;
	uint64_t table_frames;
	const char *trouble;

	memory->huge = huge;
	region_add(memory, GUEST_BIOS_END, low, REGION_RAM);
	region_add(memory, 0, GUEST_LOW_END, REGION_RAM);
	if (end > low)
		region_add(memory, GIB(4), end, REGION_RAM);
	memory->block_count = end / BLOCK_2M_BYTES;
	table_frames = (memory->block_count * sizeof(uint64_t) + PAGE_MASK) / FRAME_BYTES;
	if (table_frames > GUEST_BLOCK_FRAMES)
		return "the guest's memory is larger than 512 GiB";
	memory->blocks = frames_alloc_contiguous((uint32_t)table_frames);
	if (memory->blocks == NULL)
		return "no memory for the table of the guest's frames";
	trouble = bios_copy(memory);
	for (uint32_t i = 0; trouble == NULL && i < boot->acpi_count; i++) {
		if (is_high_table(&boot->acpi[i]))
			trouble = acpi_region_join(memory, &boot->acpi[i]);
	}
	return trouble != NULL ? trouble : acpi_copy(memory, boot);
}

const char *guest_memory_add_spare(struct guest_memory *memory)
{
	void *host = frames_alloc_contiguous((uint32_t)(GUEST_SPARE_BYTES / FRAME_BYTES));

	if (host == NULL || memory->region_count == GUEST_REGIONS_MAX)
		return "no memory for the mediated device";
	region_add(memory, GUEST_SPARE, GUEST_SPARE + GUEST_SPARE_BYTES, REGION_SPARE)->host =
		(uintptr_t)host;
	return NULL;
}

/* --- frames --- */

/* What the entry of a 2M piece becomes: a block, or when there is none left, a table. */
static uint64_t block_fill(struct guest_memory *memory)
{
	uint64_t block = memory->huge ? guest_block_alloc_2m() : HOST_NONE;

	if (block != HOST_NONE) {
		memory->frames += GUEST_BLOCK_FRAMES;
		return block | GUEST_BLOCK_HUGE;
	}
	return (uintptr_t)frame_alloc();
}

/* Lock held. */
static uint64_t frame_fill(struct guest_memory *memory, uint64_t gfn)
{
	uint64_t *block = &memory->blocks[gfn / GUEST_BLOCK_FRAMES];
	uint64_t host = guest_frame_peek(memory, gfn);

	if (host != HOST_NONE)
		return host;
	if (*block == 0)
		__atomic_store_n(block, block_fill(memory), __ATOMIC_RELEASE);
	if (*block == 0)
		return HOST_NONE;
	if ((*block & GUEST_BLOCK_HUGE) == 0) {
		host = guest_frame_alloc();
		if (host == HOST_NONE)
			return HOST_NONE;
		__atomic_store_n((uint64_t *)(uintptr_t)*block + gfn % GUEST_BLOCK_FRAMES, host,
				 __ATOMIC_RELEASE);
		memory->frames++;
	}
	return guest_frame_peek(memory, gfn);
}

uint64_t guest_frame_get(struct guest_memory *memory, uint64_t gfn)
{
	uint64_t host;

	HV_ASSERT(gfn / GUEST_BLOCK_FRAMES < memory->block_count);
	spin_lock(&memory->lock);
	host = frame_fill(memory, gfn);
	spin_unlock(&memory->lock);
	return host;
}

bool guest_memory_prefill(struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->region_count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (region->kind != REGION_RAM)
			continue;
		for (uint64_t gfn = region->start / FRAME_BYTES; gfn < region->end / FRAME_BYTES;
		     gfn++) {
			if (guest_frame_get(memory, gfn) == HOST_NONE)
				return false;
		}
	}
	return true;
}

/* --- access --- */

uint8_t *guest_pointer(struct guest_memory *memory, uint64_t gpa, enum guest_access access)
{
	const struct guest_region *region = guest_region_find(memory, gpa);
	bool writable;
	uint64_t host;

	if (region == NULL)
		return NULL;
	if (region->kind != REGION_RAM) {
		if (access == GUEST_WRITE && !guest_region_is_writable(region->kind))
			return NULL;
		return (uint8_t *)(uintptr_t)(region->host + (gpa - region->start));
	}
	if (memory->backing != NULL)
		host = backing_frame(memory, gpa / FRAME_BYTES, access, &writable);
	else
		host = guest_frame_at(memory, gpa / FRAME_BYTES);
	if (host == HOST_NONE)
		hv_panic("the machine's memory is used up by the guest: give QEMU more");
	return (uint8_t *)(uintptr_t)(host + (gpa & PAGE_MASK));
}

static uint64_t bytes_in_page(uint64_t gpa, uint64_t bytes)
{
	uint64_t rest = FRAME_BYTES - (gpa & PAGE_MASK);

	return rest < bytes ? rest : bytes;
}

bool guest_copy_in(struct guest_memory *memory, uint64_t gpa, const void *data, uint64_t bytes)
{
	const uint8_t *from = data;

	while (bytes != 0) {
		uint64_t part = bytes_in_page(gpa, bytes);
		uint8_t *to = guest_pointer(memory, gpa, GUEST_WRITE);

		if (to == NULL)
			return false;
		memcpy(to, from, part);
		gpa += part;
		from += part;
		bytes -= part;
	}
	return true;
}

bool guest_copy_out(struct guest_memory *memory, uint64_t gpa, void *data, uint64_t bytes)
{
	uint8_t *to = data;

	while (bytes != 0) {
		uint64_t part = bytes_in_page(gpa, bytes);
		const uint8_t *from = guest_pointer(memory, gpa, GUEST_READ);

		if (from == NULL)
			return false;
		memcpy(to, from, part);
		gpa += part;
		to += part;
		bytes -= part;
	}
	return true;
}

bool guest_clear(struct guest_memory *memory, uint64_t gpa, uint64_t bytes)
{
	while (bytes != 0) {
		uint64_t part = bytes_in_page(gpa, bytes);
		uint8_t *to = guest_pointer(memory, gpa, GUEST_WRITE);

		if (to == NULL)
			return false;
		memset(to, 0, part);
		gpa += part;
		bytes -= part;
	}
	return true;
}

bool guest_is_ram(const struct guest_memory *memory, uint64_t start, uint64_t bytes)
{
	const struct guest_region *region = guest_region_find(memory, start);

	return region != NULL && region->kind == REGION_RAM && bytes <= region->end - start;
}

uint64_t guest_ram_low_end(const struct guest_memory *memory)
{
	return memory->regions[0].end;
}
