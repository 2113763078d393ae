/* SPDX-License-Identifier: MIT */
/*
 * hostmem.c - host virtual pages (see hostmem.h).
 *
 * run_level is kept, not computed: all pages of a run carry its level, and losing one page
 * lowers the rest to what still is whole.
 */
#include "hostmem.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

bool sim_host_init(struct sim_machine *machine, uint64_t page_count)
{
	struct sim_hostmem *host = &machine->host;

	host->page = calloc(page_count, sizeof(*host->page));
	if (!host->page)
		return false;
	host->page_count = page_count;
	for (uint64_t i = 0; i < page_count; i++) {
		host->page[i].pfn = SIM_PFN_NONE;
		host->page[i].run_level = SIM_LEVEL_4K;
	}
	return true;
}

void sim_host_fini(struct sim_machine *machine)
{
	for (uint64_t i = 0; i < machine->host.page_count; i++)
		free(machine->host.page[i].saved);
	free(machine->host.page);
}

uint64_t sim_host_page_count(const struct sim_machine *machine)
{
	return machine->host.page_count;
}

static struct host_page *page_at(const struct sim_machine *machine, sim_hpage_t page)
{
	return page.n < machine->host.page_count ? &machine->host.page[page.n] : NULL;
}

static bool is_present(const struct host_page *page)
{
	return page && page->pfn.n != SIM_PFN_NONE.n;
}

struct sim_host_view sim_host_query(const struct sim_machine *machine, sim_hpage_t page)
{
	const struct host_page *p = page_at(machine, page);

	if (!p)
		return (struct sim_host_view){.pfn = SIM_PFN_NONE, .run_level = SIM_LEVEL_4K};
	return (struct sim_host_view){
		.is_present = is_present(p),
		.is_writable = is_present(p) && p->is_writable,
		.pfn = p->pfn,
		.run_level = (enum sim_level)p->run_level,
		.version = p->version,
	};
}

static void set_page(struct host_page *page, sim_pfn_t pfn, bool is_writable,
		     enum sim_level run_level)
{
	page->pfn = pfn;
	page->is_writable = is_writable;
	page->run_level = (uint8_t)run_level;
	page->version++;
}

/* One page is about to differ from its run: what remains whole around it is smaller. */
static void break_run(struct sim_machine *machine, sim_hpage_t page)
{
	struct host_page *pages = machine->host.page;
	enum sim_level level = (enum sim_level)pages[page.n].run_level;
	uint64_t count = sim_level_pages(level);
	uint64_t start = page.n & ~(count - 1);
	uint64_t small_mask = ~(sim_level_pages(SIM_LEVEL_2M) - 1);

	if (level == SIM_LEVEL_4K)
		return;
	for (uint64_t i = start; i < start + count; i++) {
		bool is_near = (i & small_mask) == (page.n & small_mask);

		pages[i].run_level =
			level == SIM_LEVEL_1G && !is_near ? SIM_LEVEL_2M : SIM_LEVEL_4K;
		pages[i].version++;
	}
}

/* Copy a frame's content, without touching what still is all zeroes. */
static void copy_frame(struct sim_machine *machine, sim_pfn_t to, sim_pfn_t from)
{
	if (!sim_ram_is_touched(machine, from))
		return;
	sim_ram_touch(machine, to);
	memcpy(sim_ram_bytes(machine, to), sim_ram_bytes(machine, from), SIM_PAGE_BYTES);
}

/* Give an absent page its content back. */
static void restore_content(struct sim_machine *machine, struct host_page *page)
{
	if (!page->saved)
		return;
	sim_ram_touch(machine, page->pfn);
	memcpy(sim_ram_bytes(machine, page->pfn), page->saved, SIM_PAGE_BYTES);
	free(page->saved);
	page->saved = NULL;
}

static bool range_is_absent(const struct sim_machine *machine, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++)
		if (is_present(&machine->host.page[i]))
			return false;
	return true;
}

/* The biggest run that starts at @page, ends before @end, and is not above @max_level. */
static enum sim_level run_level_at(uint64_t page, uint64_t end, enum sim_level max_level)
{
	for (enum sim_level level = max_level; level > SIM_LEVEL_4K; level--)
		if (page % sim_level_pages(level) == 0 && end - page >= sim_level_pages(level))
			return level;
	return SIM_LEVEL_4K;
}

static bool populate_run(struct sim_machine *machine, uint64_t first, enum sim_level level)
{
	sim_pfn_t pfn = sim_ram_alloc_run(machine, SIM_FRAME_GUEST, level);

	if (pfn.n == SIM_PFN_NONE.n)
		return false;
	for (uint64_t i = 0; i < sim_level_pages(level); i++) {
		struct host_page *page = &machine->host.page[first + i];

		set_page(page, sim_pfn(pfn.n + i), true, level);
		restore_content(machine, page);
	}
	return true;
}

bool sim_host_populate(struct sim_machine *machine, sim_hpage_t first, uint64_t count,
		       enum sim_level max_level)
{
	uint64_t end = first.n + count;
	uint64_t at = first.n;

	if (end < first.n || end > machine->host.page_count || max_level > SIM_LEVEL_1G ||
	    max_level < SIM_LEVEL_4K || !range_is_absent(machine, first.n, count))
		return false;
	while (at < end) {
		enum sim_level level = run_level_at(at, end, max_level);

		while (!populate_run(machine, at, level))
			if (level-- == SIM_LEVEL_4K)
				goto undo;
		at += sim_level_pages(level);
	}
	return true;
undo:
	while (at-- > first.n)
		sim_host_swap_out(machine, sim_hpage(at));
	return false;
}

bool sim_host_swap_out(struct sim_machine *machine, sim_hpage_t page)
{
	struct host_page *p = page_at(machine, page);
	sim_pfn_t old;

	if (!is_present(p))
		return false;
	old = p->pfn;
	if (sim_ram_is_touched(machine, old)) {
		p->saved = malloc(SIM_PAGE_BYTES);
		if (!p->saved)
			return false;
		memcpy(p->saved, sim_ram_bytes(machine, old), SIM_PAGE_BYTES);
	}
	break_run(machine, page);
	set_page(p, SIM_PFN_NONE, false, SIM_LEVEL_4K);
	sim_ram_free(machine, old);
	return true;
}

bool sim_host_swap_in(struct sim_machine *machine, sim_hpage_t page)
{
	struct host_page *p = page_at(machine, page);

	if (!p || is_present(p))
		return false;
	return populate_run(machine, page.n, SIM_LEVEL_4K);
}

/* Move to a frame of its own. */
static bool move_page(struct sim_machine *machine, sim_hpage_t page, bool is_writable)
{
	struct host_page *p = page_at(machine, page);
	sim_pfn_t old = p->pfn;
	sim_pfn_t pfn = sim_ram_alloc(machine, SIM_FRAME_GUEST);

	if (pfn.n == SIM_PFN_NONE.n)
		return false;
	copy_frame(machine, pfn, old);
	break_run(machine, page);
	set_page(p, pfn, is_writable, SIM_LEVEL_4K);
	sim_ram_free(machine, old);
	return true;
}

bool sim_host_migrate(struct sim_machine *machine, sim_hpage_t page)
{
	const struct host_page *p = page_at(machine, page);

	return is_present(p) && move_page(machine, page, p->is_writable);
}

bool sim_host_discard(struct sim_machine *machine, sim_hpage_t page)
{
	struct host_page *p = page_at(machine, page);
	sim_pfn_t old;

	if (!p)
		return false;
	free(p->saved);
	p->saved = NULL;
	if (!is_present(p))
		return true;
	old = p->pfn;
	break_run(machine, page);
	set_page(p, SIM_PFN_NONE, false, SIM_LEVEL_4K);
	sim_ram_free(machine, old);
	return true;
}

static bool set_writable(struct sim_machine *machine, sim_hpage_t page, bool is_writable)
{
	struct host_page *p = page_at(machine, page);

	if (!is_present(p) || p->is_writable == is_writable)
		return false;
	break_run(machine, page);
	set_page(p, p->pfn, is_writable, SIM_LEVEL_4K);
	return true;
}

bool sim_host_write_protect(struct sim_machine *machine, sim_hpage_t page)
{
	return set_writable(machine, page, false);
}

bool sim_host_write_enable(struct sim_machine *machine, sim_hpage_t page)
{
	return set_writable(machine, page, true);
}

bool sim_host_copy_on_write(struct sim_machine *machine, sim_hpage_t page)
{
	const struct host_page *p = page_at(machine, page);

	return is_present(p) && !p->is_writable && move_page(machine, page, true);
}

bool sim_host_collapse(struct sim_machine *machine, sim_hpage_t page, enum sim_level level)
{
	uint64_t count = sim_level_pages(level);
	uint64_t first = page.n & ~(count - 1);
	struct host_page *pages = machine->host.page;
	sim_pfn_t to;

	if (level < SIM_LEVEL_2M || level > SIM_LEVEL_1G ||
	    first + count > machine->host.page_count || pages[first].run_level >= level)
		return false;
	for (uint64_t i = first; i < first + count; i++)
		if (!is_present(&pages[i]) || !pages[i].is_writable)
			return false;
	to = sim_ram_alloc_run(machine, SIM_FRAME_GUEST, level);
	if (to.n == SIM_PFN_NONE.n)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		sim_pfn_t old = pages[first + i].pfn;

		copy_frame(machine, sim_pfn(to.n + i), old);
		set_page(&pages[first + i], sim_pfn(to.n + i), true, level);
		sim_ram_free(machine, old);
	}
	return true;
}

uint64_t sim_host_read(struct sim_machine *machine, sim_hpage_t page, uint32_t offset)
{
	const struct host_page *p = page_at(machine, page);
	uint64_t value = 0;

	if (!p || offset % 8 || offset >= SIM_PAGE_BYTES) {
		sim_violation(machine, "host reads page 0x%llx at offset 0x%x",
			      (unsigned long long)page.n, offset);
		return 0;
	}
	if (is_present(p))
		return sim_ram_read(machine, (sim_hpa_t){p->pfn.n * SIM_PAGE_BYTES + offset});
	if (p->saved)
		memcpy(&value, p->saved + offset, sizeof(value));
	return value;
}

void sim_host_write(struct sim_machine *machine, sim_hpage_t page, uint32_t offset, uint64_t value)
{
	struct host_page *p = page_at(machine, page);

	if (!p || offset % 8 || offset >= SIM_PAGE_BYTES) {
		sim_violation(machine, "host writes page 0x%llx at offset 0x%x",
			      (unsigned long long)page.n, offset);
		return;
	}
	if (is_present(p)) {
		sim_ram_write(machine, (sim_hpa_t){p->pfn.n * SIM_PAGE_BYTES + offset}, value);
		return;
	}
	if (!p->saved)
		p->saved = calloc(1, SIM_PAGE_BYTES);
	if (p->saved)
		memcpy(p->saved + offset, &value, sizeof(value));
	else
		sim_violation(machine, "the C library is out of memory for a swapped page");
}
