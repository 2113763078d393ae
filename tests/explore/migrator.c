/* SPDX-License-Identifier: MIT */
#include "migrator.h"

#include <stdio.h>
#include <string.h>

#define WORDS 8u

struct page {
	uint64_t word[WORDS];
};

static struct {
	struct migrator_options options;
	struct page copy[MIGRATOR_FRAMES];
	bool host_stores[MIGRATOR_FRAMES];
} m;

/* Their addresses name the frames. */
static char frame_object[MIGRATOR_FRAMES];

void migrator_new(const struct migrator_options *options)
{
	memset(&m, 0, sizeof(m));
	m.options = *options;
}

/* @i: frame of the slot. */
static bool is_watched(uint64_t i)
{
	return m.options.vm && i < MIGRATOR_FRAMES && (m.options.frames >> i & 1);
}

static const void *object_of_frame(uint64_t i)
{
	return m.options.object ? m.options.object(m.options.first + i) : &frame_object[i];
}

void migrator_stores(uint64_t gfn)
{
	/* Stores go in any order as far as a copy is concerned. */
	if (is_watched(gfn - m.options.first) && !m.options.object)
		explore_point(&frame_object[gfn - m.options.first], false,
			      "a store to what is copied");
}

static void set_host_stores(uint64_t i, bool is_so)
{
	if (!is_watched(i))
		return;
	explore_point(object_of_frame(i), true, is_so ? "the host stores" : "the host has told");
	m.host_stores[i] = is_so;
}

void migrator_host_stores(uint64_t gfn)
{
	set_host_stores(gfn - m.options.first, true);
}

void migrator_host_has_told(uint64_t gfn)
{
	set_host_stores(gfn - m.options.first, false);
}

static struct page page_now(uint64_t i, const char *what)
{
	struct page page;

	/* A write, so that it is ordered against stores. */
	explore_point(object_of_frame(i), true, what);
	for (unsigned k = 0; k < WORDS; k++)
		page.word[k] =
			sim_host_read(m.options.machine, (sim_hpage_t){m.options.first + i}, 8 * k);
	return page;
}

static bool same(const struct page *a, const struct page *b)
{
	return !memcmp(a, b, sizeof(*a));
}

void migrator_copy_all(void)
{
	for (uint64_t i = 0; i < MIGRATOR_FRAMES; i++)
		if (is_watched(i))
			m.copy[i] = page_now(i, "copies the page at first");
}

uint64_t migrator_huge_leaves(void)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(m.options.vm, values);
	return values[VMMU_STAT_PAGES_2M] + values[VMMU_STAT_PAGES_1G];
}

/* As a look began. */
struct before {
	struct page page[MIGRATOR_FRAMES];
	bool unsure[MIGRATOR_FRAMES]; /* the host stores just now, and has not told */
};

static struct before look_at_all(void)
{
	struct before b = {.unsure = {false}};

	for (uint64_t i = 0; i < MIGRATOR_FRAMES; i++) {
		if (!is_watched(i))
			continue;
		b.page[i] = page_now(i, "looks at the page");
		b.unsure[i] = m.host_stores[i] || m.options.is_one_of_several;
	}
	return b;
}

static void copy_told(uint64_t told, const struct before *before)
{
	for (uint64_t i = 0; i < MIGRATOR_FRAMES; i++) {
		if (!is_watched(i))
			continue;
		if (told >> i & 1)
			m.copy[i] = page_now(i, "copies the page");
		else if (!before->unsure[i] && !same(&m.copy[i], &before->page[i]))
			sim_violation(m.options.machine,
				      "frame %llu was written before the look began: not told",
				      (unsigned long long)(m.options.first + i));
	}
}

/* Return: false, the slot does not log. */
static bool ask(uint64_t *told)
{
	struct vmmu_slot_part part = {.id = m.options.slot, .count = m.options.count};
	uint64_t count = 0;
	enum vmmu_error error;

	*told = 0;
	error = vmmu_dirty_log(m.options.vm, &part, told, &count);
	if (error == VMMU_ENOENT && m.options.may_end)
		return false;
	if (error != VMMU_OK)
		sim_violation(m.options.machine, "dirty_log: %s", vmmu_error_text(error));
	if (count != (uint64_t)__builtin_popcountll(*told))
		sim_violation(m.options.machine, "dirty_log counts %llu frames, and tells %llx",
			      (unsigned long long)count, (unsigned long long)*told);
	return true;
}

void migrator_look(void)
{
	struct before before = look_at_all();
	uint64_t told;

	if (!ask(&told))
		return;
	copy_told(told, &before);
}

const char *migrator_end(void)
{
	static char text[80];

	m.options.is_one_of_several = false;
	memset(m.host_stores, 0, sizeof(m.host_stores));
	migrator_look();
	for (uint64_t i = 0; i < MIGRATOR_FRAMES; i++) {
		struct page now;

		if (!is_watched(i))
			continue;
		now = page_now(i, "");
		if (same(&now, &m.copy[i]))
			continue;
		snprintf(text, sizeof(text), "a write to frame %llu was never told",
			 (unsigned long long)(m.options.first + i));
		return text;
	}
	return NULL;
}
