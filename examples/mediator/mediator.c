/* SPDX-License-Identifier: MIT */
/*
 * The shadow of a device's page table. All under one lock, which is the embedder's; calls of
 * vmmu under it are those that callbacks may make, so none of them waits for a callback.
 *
 * Why no stale host frame is ever used: an entry gets its host frame under the lock, after the slot
 * was looked up. A slot that ends later tells region_removed, which needs the lock, before its
 * memory is the host's again; a slot that ended earlier is not found.
 */
#include "mediator.h"

#define NEVER_VALIDATED UINT64_MAX /* no generation of slots that are at rest */
#define READ_ENTRIES 64u           /* at a time */

static void lock(struct mediator *mediator)
{
	if (mediator->ops->lock)
		mediator->ops->lock(mediator->host);
}

static void unlock(struct mediator *mediator)
{
	if (mediator->ops->unlock)
		mediator->ops->unlock(mediator->host);
}

static struct vmmu_gfn_range range_of(const struct mediator_page *page)
{
	return (struct vmmu_gfn_range){page->gfn, {page->gfn.n + 1}};
}

static bool is_tracked(const struct mediator_page *page)
{
	return page->state == MEDIATOR_EACH || page->state == MEDIATOR_ONCE;
}

/* --- entries --- */

static vmmu_gfn_t entry_gfn(uint64_t raw)
{
	return vmmu_gpa_to_gfn((vmmu_gpa_t){raw & MEDIATOR_FRAME});
}

static void frame_put(struct mediator *mediator, vmmu_pfn_t pfn)
{
	if (mediator->ops->frame_put)
		mediator->ops->frame_put(mediator->host, pfn);
}

static void entry_drop(struct mediator *mediator, struct mediator_entry *entry)
{
	if (!vmmu_pfn_is_none(entry->pfn))
		frame_put(mediator, entry->pfn);
	entry->pfn = VMMU_PFN_NONE;
	entry->writable = false;
}

/* What the device may use in place of @raw; the frame is pinned. */
static struct mediator_entry entry_validate(struct mediator *mediator, uint64_t raw)
{
	struct mediator_entry entry = {.raw = raw, .pfn = VMMU_PFN_NONE};
	struct vmmu_slot_config slot;

	if (!(raw & MEDIATOR_PRESENT) ||
	    vmmu_slot_find(mediator->vm, 0, entry_gfn(raw), &slot) != VMMU_OK)
		return entry;
	if (!mediator->ops->frame_get(mediator->host, entry_gfn(raw), &entry.pfn))
		entry.pfn = VMMU_PFN_NONE;
	else
		entry.writable = (raw & MEDIATOR_WRITABLE) && !(slot.flags & VMMU_SLOT_READONLY);
	return entry;
}

/* Return: whether the guest has written something else. */
static bool entry_update(struct mediator *mediator, struct mediator_entry *entry, uint64_t raw)
{
	bool changed = entry->raw != raw;

	if (!changed && (!(raw & MEDIATOR_PRESENT) || !vmmu_pfn_is_none(entry->pfn)))
		return false;
	entry_drop(mediator, entry);
	*entry = entry_validate(mediator, raw);
	if (!vmmu_pfn_is_none(entry->pfn))
		mediator->stats.shadowed++;
	else if (changed && (raw & MEDIATOR_PRESENT))
		mediator->stats.refused++;
	return changed;
}

/* --- pages of the table --- */

static bool entries_read(struct mediator *mediator, const struct mediator_page *page,
			 unsigned first, unsigned count, uint64_t raw[])
{
	vmmu_gpa_t gpa = {vmmu_gfn_to_gpa(page->gfn).addr + 8u * first};

	return mediator->ops->read(mediator->host, gpa, raw, 8u * count);
}

/* Return: entries that have changed. */
static unsigned page_read(struct mediator *mediator, struct mediator_page *page, unsigned first,
			  unsigned count)
{
	uint64_t raw[READ_ENTRIES];
	unsigned changed = 0;

	while (count) {
		unsigned some = count < READ_ENTRIES ? count : READ_ENTRIES;
		bool there = entries_read(mediator, page, first, some, raw);

		for (unsigned i = 0; i < some; i++)
			changed += entry_update(mediator, &page->entries[first + i],
						there ? raw[i] : 0);
		first += some;
		count -= some;
	}
	return changed;
}

static unsigned page_read_all(struct mediator *mediator, struct mediator_page *page)
{
	mediator->stats.reread++;
	return page_read(mediator, page, 0, MEDIATOR_PAGE_ENTRIES);
}

static void page_forget(struct mediator *mediator, struct mediator_page *page)
{
	for (unsigned i = 0; i < MEDIATOR_PAGE_ENTRIES; i++) {
		entry_drop(mediator, &page->entries[i]);
		page->entries[i].raw = 0;
	}
	page->dirty = false;
	page->writes = 0;
	page->calm = 0;
}

/*
 * Fails if the frame's slot has ended, and the tracking with it. A page that was taken for an
 * orphan may still be tracked, if its slot was back before its end was told.
 */
static void page_untrack(struct mediator *mediator, const struct mediator_page *page)
{
	if (page->state != MEDIATOR_NONE)
		(void)!vmmu_track_remove(mediator->vm, mediator->tracker, range_of(page),
					 VMMU_ACCESS_WRITE);
}

/* Track first, read then: what is written in between is told. */
static enum vmmu_error page_track(struct mediator *mediator, struct mediator_page *page)
{
	enum vmmu_error error;

	page_untrack(mediator, page);
	error = vmmu_track_add(mediator->vm, mediator->tracker, range_of(page), VMMU_ACCESS_WRITE);

	page->state = error == VMMU_OK ? MEDIATOR_EACH : MEDIATOR_ORPHAN;
	if (error == VMMU_OK)
		page_read_all(mediator, page);
	return error;
}

static void page_go_once(struct mediator *mediator, struct mediator_page *page)
{
	if (page->state != MEDIATOR_EACH ||
	    vmmu_track_once(mediator->vm, mediator->tracker, range_of(page), true) != VMMU_OK)
		return;
	page->state = MEDIATOR_ONCE;
	page->calm = 0;
	mediator->stats.once++;
}

/* Arm first, read then, for the same reason. */
static void page_go_each(struct mediator *mediator, struct mediator_page *page)
{
	if (vmmu_track_once(mediator->vm, mediator->tracker, range_of(page), false) != VMMU_OK)
		return;
	page->state = MEDIATOR_EACH;
	page->dirty = false;
	page_read_all(mediator, page);
}

static void page_rearm(struct mediator *mediator, struct mediator_page *page)
{
	unsigned changed = 0;

	if (page->dirty &&
	    vmmu_track_rearm(mediator->vm, mediator->tracker, range_of(page)) == VMMU_OK) {
		page->dirty = false;
		changed = page_read_all(mediator, page);
	}
	page->calm = changed < mediator->hot_writes / 2 ? page->calm + 1 : 0;
	if (page->calm >= MEDIATOR_CALM_TURNS && mediator->hot_writes != 0)
		page_go_each(mediator, page);
}

static void page_submit(struct mediator *mediator, struct mediator_page *page, bool slots_changed)
{
	page->writes = 0;
	if (slots_changed && page->state == MEDIATOR_ORPHAN)
		(void)page_track(mediator, page);
	else if (slots_changed && is_tracked(page))
		page_read_all(mediator, page);
	if (page->state == MEDIATOR_ONCE)
		page_rearm(mediator, page);
}

/* --- what vmmu tells --- */

static void page_written(struct mediator *mediator, struct mediator_page *page, unsigned first,
			 unsigned count)
{
	page->writes++;
	if (page->state == MEDIATOR_ONCE) {
		page->dirty = true;
		return;
	}
	page_read(mediator, page, first, count);
	if (page->writes > mediator->hot_writes)
		page_go_once(mediator, page);
}

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct mediator *mediator = client;
	unsigned first = (unsigned)(gpa.addr % VMMU_PAGE_BYTES / 8);
	unsigned last = (unsigned)((gpa.addr % VMMU_PAGE_BYTES + bytes - 1) / 8);

	(void)space; /* in another space it may be the same memory: reading again does no harm */
	(void)kind;
	lock(mediator);
	mediator->stats.writes++;
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		struct mediator_page *page = &mediator->pages[i];

		if (is_tracked(page) && page->gfn.n == vmmu_gpa_to_gfn(gpa).n)
			page_written(mediator, page, first, last - first + 1);
	}
	unlock(mediator);
}

static bool is_in(vmmu_gfn_t gfn, struct vmmu_gfn_range range)
{
	return gfn.n >= range.start.n && gfn.n < range.end.n;
}

static void region_removed(void *client, unsigned space, struct vmmu_gfn_range range)
{
	struct mediator *mediator = client;

	if (space != 0)
		return;
	lock(mediator);
	/* The slot may be back by now, its entries validated and about to be dropped. */
	mediator->generation = NEVER_VALIDATED;
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		struct mediator_page *page = &mediator->pages[i];

		for (unsigned k = 0; k < MEDIATOR_PAGE_ENTRIES; k++) {
			struct mediator_entry *entry = &page->entries[k];

			if (vmmu_pfn_is_none(entry->pfn) || !is_in(entry_gfn(entry->raw), range))
				continue;
			entry_drop(mediator, entry);
			mediator->stats.dropped++;
		}
		if (is_tracked(page) && is_in(page->gfn, range)) {
			page_forget(mediator, page);
			page->state = MEDIATOR_ORPHAN;
			mediator->stats.orphaned++;
		}
	}
	unlock(mediator);
}

/* --- the embedder's side --- */

enum vmmu_error mediator_create(struct mediator *mediator, struct vmmu_vm *vm,
				const struct mediator_host *ops, void *host)
{
	static const struct vmmu_tracker_ops tracker_ops = {
		.accessed = accessed,
		.region_removed = region_removed,
	};

	mediator->vm = vm;
	mediator->ops = ops;
	mediator->host = host;
	mediator->generation = NEVER_VALIDATED;
	mediator->hot_writes = MEDIATOR_HOT_WRITES;
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		for (unsigned k = 0; k < MEDIATOR_PAGE_ENTRIES; k++)
			mediator->pages[i].entries[k].pfn = VMMU_PFN_NONE;
	}
	return vmmu_tracker_register(vm, &tracker_ops, mediator, &mediator->tracker);
}

void mediator_destroy(struct mediator *mediator)
{
	/* Fails only if it was done before. */
	(void)!vmmu_tracker_unregister(mediator->vm, mediator->tracker);
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		page_forget(mediator, &mediator->pages[i]);
		mediator->pages[i].state = MEDIATOR_NONE;
	}
}

static void page_clear(struct mediator *mediator, struct mediator_page *page)
{
	page_untrack(mediator, page);
	page_forget(mediator, page);
	page->state = MEDIATOR_NONE;
}

static enum vmmu_error page_set(struct mediator *mediator, struct mediator_page *page,
				vmmu_gfn_t gfn)
{
	enum vmmu_error error;

	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		const struct mediator_page *other = &mediator->pages[i];

		if (other != page && other->state != MEDIATOR_NONE && other->gfn.n == gfn.n)
			return VMMU_EEXIST;
	}
	page_clear(mediator, page);
	page->gfn = gfn;
	error = page_track(mediator, page);
	if (error == VMMU_ENOENT)
		return VMMU_OK;
	if (error != VMMU_OK)
		page->state = MEDIATOR_NONE;
	return error;
}

enum vmmu_error mediator_set_page(struct mediator *mediator, unsigned index, vmmu_gfn_t gfn)
{
	enum vmmu_error error;

	if (index >= MEDIATOR_PAGES)
		return VMMU_EINVAL;
	lock(mediator);
	error = page_set(mediator, &mediator->pages[index], gfn);
	unlock(mediator);
	return error;
}

void mediator_clear_page(struct mediator *mediator, unsigned index)
{
	if (index >= MEDIATOR_PAGES)
		return;
	lock(mediator);
	page_clear(mediator, &mediator->pages[index]);
	unlock(mediator);
}

void mediator_submit(struct mediator *mediator)
{
	uint64_t generation;
	bool slots_changed;

	lock(mediator);
	/* Before anything is looked up: a change from here on is seen the next time. */
	generation = vmmu_slot_generation(mediator->vm, 0);
	slots_changed = generation != mediator->generation;
	mediator->generation = generation;
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++)
		page_submit(mediator, &mediator->pages[i], slots_changed);
	unlock(mediator);
}

void mediator_hold(struct mediator *mediator)
{
	lock(mediator);
}

void mediator_release(struct mediator *mediator)
{
	unlock(mediator);
}

const struct mediator_entry *mediator_find(const struct mediator *mediator, uint64_t number)
{
	const struct mediator_entry *entry;

	if (number >= MEDIATOR_ENTRIES)
		return NULL;
	entry = &mediator->pages[number / MEDIATOR_PAGE_ENTRIES]
			 .entries[number % MEDIATOR_PAGE_ENTRIES];
	return vmmu_pfn_is_none(entry->pfn) ? NULL : entry;
}

bool mediator_let_write(struct mediator *mediator, vmmu_gfn_t gfn)
{
	bool found = false;

	lock(mediator);
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		struct mediator_page *page = &mediator->pages[i];

		if (!is_tracked(page) || page->gfn.n != gfn.n)
			continue;
		page_go_once(mediator, page);
		found = page->state == MEDIATOR_ONCE;
	}
	unlock(mediator);
	return found;
}

static bool entry_is_right(struct mediator *mediator, const struct mediator_entry *entry,
			   uint64_t raw, bool slots_changed)
{
	struct mediator_entry right = entry_validate(mediator, raw);
	bool same = entry->raw == raw && entry->pfn.n == right.pfn.n &&
		    entry->writable == right.writable;
	/* A slot that has come back counts from the next submission on. */
	bool waits = slots_changed && entry->raw == raw && vmmu_pfn_is_none(entry->pfn);

	if (!vmmu_pfn_is_none(right.pfn))
		frame_put(mediator, right.pfn);
	return same || waits;
}

unsigned mediator_check(struct mediator *mediator)
{
	unsigned wrong = 0;
	bool slots_changed;

	lock(mediator);
	slots_changed = vmmu_slot_generation(mediator->vm, 0) != mediator->generation;
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		struct mediator_page *page = &mediator->pages[i];

		for (unsigned k = 0; k < MEDIATOR_PAGE_ENTRIES && !page->dirty; k++) {
			uint64_t raw = 0;

			if (is_tracked(page) && !entries_read(mediator, page, k, 1, &raw))
				raw = 0;
			wrong += !entry_is_right(mediator, &page->entries[k], raw, slots_changed);
		}
	}
	unlock(mediator);
	return wrong;
}
