/* SPDX-License-Identifier: MIT */
/*
 * Copies of the slots that stay, kept up by the dirty log while everything goes on: what live
 * migration does. After each look a page that it did not tell has to be copied as it was when the
 * look began; at the end one more look has to make the copy complete.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmmu/dirty.h>

#include "stress.h"

struct page_image {
	uint64_t word[512];
};

static struct page_image copy[LASTING_SLOTS][SLOT_PAGES];

/* What the host has stored and not told yet is nobody's mistake. */
static _Atomic uint64_t begun[LASTING_SLOTS * SLOT_PAGES], ended[LASTING_SLOTS * SLOT_PAGES];

void host_store_begin(uint64_t page)
{
	if (page < LASTING_SLOTS * SLOT_PAGES)
		begun[page]++;
}

void host_store_end(uint64_t page)
{
	if (page < LASTING_SLOTS * SLOT_PAGES)
		ended[page]++;
}

void device_write(void)
{
	uint64_t page = SLOT_PAGES + roll(SLOT_PAGES), gfn = BASE_OF(1) + page % SLOT_PAGES;

	host_store_begin(page);
	++*page_word_get(page, 1 + VCPUS);
	page_word_put();
	if (vmmu_dirty_mark(vm, 0, (struct vmmu_gfn_range){{gfn}, {gfn + 1}}) != VMMU_OK)
		violation("dirty_mark fails");
	host_store_end(page);
}

static void copy_page(unsigned slot, unsigned i)
{
	page_copy((uint64_t)slot * SLOT_PAGES + i, copy[slot][i].word);
	counts.copied++;
}

static void begin_to_log(unsigned slot)
{
	if (vmmu_slot_set_flags(vm, 0, (uint16_t)slot, VMMU_SLOT_LOG) != VMMU_OK)
		violation("slot %u cannot log", slot);
	for (unsigned i = 0; i < SLOT_PAGES; i++)
		copy_page(slot, i);
}

/* Pages [first, first + count) of the slot as a look began. */
struct before {
	struct page_image image[SLOT_PAGES];
	bool unsure[SLOT_PAGES];
};

static void look_before(struct before *b, unsigned slot, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		uint64_t page = (uint64_t)slot * SLOT_PAGES + i, told = ended[page];

		page_copy(page, b->image[i].word);
		b->unsure[i] = begun[page] != told;
	}
}

static void look(unsigned slot, unsigned first, unsigned count, struct before *before)
{
	struct vmmu_slot_part part = {.id = (uint16_t)slot, .first = first, .count = count};
	uint64_t told = 0, n = 0;

	look_before(before, slot, first, count);
	if (vmmu_dirty_log(vm, &part, &told, &n) != VMMU_OK)
		violation("dirty_log fails");
	if (n != (uint64_t)__builtin_popcountll(told))
		violation("dirty_log counts %llu, and tells %llx", (unsigned long long)n,
			  (unsigned long long)told);
	for (unsigned i = first; i < first + count; i++) {
		if (told >> (i - first) & 1)
			copy_page(slot, i);
		else if (!before->unsure[i] &&
			 memcmp(&copy[slot][i], &before->image[i], sizeof(copy[slot][i])) != 0)
			violation("slot %u, page %u was written before a look: not told", slot, i);
	}
	counts.looks++;
}

static struct before *before_new(void)
{
	struct before *b = malloc(sizeof(*b));

	if (!b)
		abort();
	return b;
}

void *migrate_thread(void *number)
{
	unsigned slot = (unsigned)(uintptr_t)number;
	struct before *before = before_new();

	roll_seed(40 + slot);
	begin_to_log(slot);
	while (!stop) {
		unsigned first = (unsigned)roll(SLOT_PAGES);

		if (roll(3))
			look(slot, 0, SLOT_PAGES, before);
		else
			look(slot, first, 1 + (unsigned)roll(SLOT_PAGES - first), before);
		if (roll(32) == 0) {
			if (vmmu_slot_set_flags(vm, 0, (uint16_t)slot, 0) != VMMU_OK)
				violation("slot %u cannot end its log", slot);
			begin_to_log(slot);
		}
		usleep((useconds_t)roll(500));
	}
	free(before);
	return number;
}

void migrate_check(void)
{
	struct before *before = before_new();

	for (unsigned slot = 0; slot < LASTING_SLOTS; slot++) {
		look(slot, 0, SLOT_PAGES, before);
		for (unsigned i = 0; i < SLOT_PAGES; i++)
			if (memcmp(&copy[slot][i], &before->image[i], sizeof(copy[slot][i])) != 0)
				violation("slot %u, page %u: the copy is not complete", slot, i);
	}
	free(before);
}
