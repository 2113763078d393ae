/* SPDX-License-Identifier: MIT */
/* The host: frames, the port, and everything that is done to the guest from outside. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

frame_t *frames;
_Atomic uint32_t frame_of_page[PAGES];

static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int64_t slot_base[SLOTS][2];
static _Atomic uint64_t slot_version[SLOTS];

/* ---- the port ---- */

static vmmu_pfn_t port_alloc(void *host)
{
	void *page = aligned_alloc(VMMU_PAGE_BYTES, VMMU_PAGE_BYTES);

	(void)host;
	if (!page)
		return VMMU_PFN_NONE;
	memset(page, 0, VMMU_PAGE_BYTES);
	counts.pages++;
	return (vmmu_pfn_t){(uintptr_t)page >> VMMU_PAGE_SHIFT};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	counts.pages--;
	free((void *)(uintptr_t)(pfn.n << VMMU_PAGE_SHIFT));
}

static void *port_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return (void *)(uintptr_t)(pfn.n << VMMU_PAGE_SHIFT);
}

static void port_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host;
	(void)flush;
	cpus_interrupt();
}

static bool page_now(uint64_t number, struct vmmu_page *page)
{
	if (number >= PAGES)
		return false;
	*page = (struct vmmu_page){
		.pfn = {FIRST_PFN + frame_of_page[number]},
		.level = VMMU_LEVEL_4K,
		.writable = true,
	};
	return true;
}

static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	uint64_t first = request->host_address >> VMMU_PAGE_SHIFT;

	(void)host;
	for (uint32_t i = 0; i < request->count; i++)
		if (!page_now(first + i, &pages[i]) && i == request->wanted)
			return VMMU_PAGE_ERROR;
	return VMMU_PAGE_OK;
}

static bool port_page_now(void *host, uint64_t host_address, struct vmmu_page *page)
{
	(void)host;
	return page_now(host_address >> VMMU_PAGE_SHIFT, page);
}

static void *port_guest_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return &frames[pfn.n - FIRST_PFN];
}

static bool port_should_yield(void *host)
{
	(void)host;
	return roll(16) == 0;
}

static void port_yield(void *host)
{
	(void)host;
	sched_yield();
}

static void port_log(void *host, const char *text)
{
	(void)host;
	violation("the library says: %s", text);
}

const struct vmmu_port stress_port = {
	.page_alloc = port_alloc,
	.page_free = port_free,
	.page_map = port_map,
	.tlb_flush = port_flush,
	.guest_page = port_page,
	.guest_page_now = port_page_now,
	.guest_map = port_guest_map,
	.should_yield = port_should_yield,
	.yield = port_yield,
	.relax = port_yield, /* there are fewer CPUs than threads */
	.log = port_log,
};

/* ---- pages ---- */

void memory_make(void)
{
	frames = calloc(FRAMES, sizeof(*frames));
	if (!frames)
		abort();
	for (unsigned page = 0; page < PAGES; page++) {
		frame_of_page[page] = page;
		frames[page].word[0] = page;
	}
	for (unsigned slot = 0; slot < SLOTS; slot++)
		slot_base[slot][0] = slot_base[slot][1] = -1;
}

_Atomic uint64_t *page_word_get(uint64_t page, unsigned index)
{
	pthread_mutex_lock(&memory_lock);
	return &frames[frame_of_page[page]].word[index];
}

void page_word_put(void)
{
	pthread_mutex_unlock(&memory_lock);
}

void page_copy(uint64_t page, uint64_t *words)
{
	pthread_mutex_lock(&memory_lock);
	for (unsigned i = 0; i < 512; i++)
		words[i] = frames[frame_of_page[page]].word[i];
	pthread_mutex_unlock(&memory_lock);
}

/* Context: nobody can reach the page. @spare: an unused frame, then the one that was left. */
static void migrate(uint64_t page, uint32_t *spare)
{
	uint32_t from = frame_of_page[page], to = *spare;

	pthread_mutex_lock(&memory_lock);
	for (unsigned i = 0; i < 512; i++)
		frames[to].word[i] = frames[from].word[i];
	frame_of_page[page] = to;
	for (unsigned i = 0; i < 512; i++)
		frames[from].word[i] = POISON;
	pthread_mutex_unlock(&memory_lock);
	*spare = from;
}

/* ---- slots ---- */

struct slot_view slots_look(void)
{
	struct slot_view view;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		view.version[slot] = slot_version[slot];
		for (unsigned i = 0; i < 2; i++)
			view.base[slot][i] = slot_base[slot][i];
	}
	return view;
}

static bool view_allows(const struct slot_view *view, uint64_t page, uint64_t gfn)
{
	for (unsigned i = 0; i < 2; i++) {
		int64_t base = view->base[page / SLOT_PAGES][i];

		if (base >= 0 && (uint64_t)base + page % SLOT_PAGES == gfn)
			return true;
	}
	return false;
}

bool slots_allow(const struct slot_view *before, const struct slot_view *after, uint64_t page,
		 uint64_t gfn, bool *unsure)
{
	uint64_t slot = page / SLOT_PAGES;

	if (view_allows(before, page, gfn) || view_allows(after, page, gfn))
		return true;
	/* More may have happened in between than the two looks saw. */
	*unsure = before->version[slot] != after->version[slot];
	return *unsure;
}

static enum vmmu_error change(unsigned slot, int64_t base)
{
	int64_t old = slot_base[slot][0];
	enum vmmu_error error;

	slot_version[slot]++;
	slot_base[slot][1] = base;
	if (base < 0) {
		error = vmmu_slot_delete(vm, 0, (uint16_t)slot);
	} else if (old < 0) {
		struct vmmu_slot_config config = {
			.id = (uint16_t)slot,
			.base = {(uint64_t)base},
			.count = SLOT_PAGES,
			.host_base = (uint64_t)slot * SLOT_PAGES << VMMU_PAGE_SHIFT,
		};

		error = vmmu_slot_create(vm, &config);
	} else {
		error = vmmu_slot_move(vm, 0, (uint16_t)slot, (vmmu_gfn_t){(uint64_t)base});
	}
	if (error != VMMU_OK)
		violation("slot %u: %s", slot, vmmu_error_text(error));
	slot_base[slot][0] = base;
	slot_version[slot]++;
	counts.slot_changes++;
	return error;
}

/* It logs for a moment. */
static void log_shortly(unsigned slot)
{
	struct vmmu_slot_part part = {.id = (uint16_t)slot};

	if (vmmu_slot_set_flags(vm, 0, (uint16_t)slot, VMMU_SLOT_LOG) != VMMU_OK ||
	    vmmu_dirty_log(vm, &part, NULL, NULL) != VMMU_OK ||
	    vmmu_slot_set_flags(vm, 0, (uint16_t)slot, 0) != VMMU_OK)
		violation("slot %u cannot log", slot);
}

/* The first slot holds the guest's own tables. */
void *slot_thread(void *unused)
{
	roll_seed(99);
	while (!stop) {
		unsigned slot = LASTING_SLOTS + (unsigned)roll(SLOTS - LASTING_SLOTS);
		bool is_there = slot_base[slot][0] >= 0;

		if (is_there && roll(4) == 0)
			log_shortly(slot);
		else if (is_there && roll(2))
			(void)change(slot, -1);
		else
			(void)change(slot, BASE_OF(slot) + (int64_t)roll(8));
		usleep((useconds_t)roll(1000));
	}
	return unused;
}

void guest_make(void)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		(void)change(slot, BASE_OF(slot));
}

/* ---- host events ---- */

/* By host address, a range of pages, of which those with the thread's parity move. */
static void invalidate_host(unsigned parity, uint32_t *spare)
{
	uint64_t first = roll(PAGES - 8), count = 1 + roll(8);
	uint64_t start = first << VMMU_PAGE_SHIFT, end = (first + count) << VMMU_PAGE_SHIFT;

	if (vmmu_invalidate_host_begin(vm, start, end) != VMMU_OK)
		violation("begin fails");
	for (uint64_t page = first; page < first + count; page++)
		if (page % 2 == parity)
			migrate(page, spare);
	if (vmmu_invalidate_host_end(vm, start, end) != VMMU_OK)
		violation("end fails");
}

/* By guest frame: in the first slot, where page and frame number are the same. */
static void invalidate_guest(unsigned parity, uint32_t *spare)
{
	uint64_t page = roll(SLOT_PAGES / 2) * 2 + parity;
	struct vmmu_gfn_range range = {{page}, {page + 1}};

	if (vmmu_invalidate_begin(vm, 0, range) != VMMU_OK)
		violation("begin fails");
	migrate(page, spare);
	if (vmmu_invalidate_end(vm, 0, range) != VMMU_OK)
		violation("end fails");
}

void *host_thread(void *number)
{
	unsigned parity = (unsigned)(uintptr_t)number & 1;
	uint32_t spare = PAGES + parity;

	roll_seed(7 + parity);
	while (!stop) {
		uint64_t start = roll(2048);

		switch (roll(8)) {
		case 0:
			if (vmmu_zap_range(vm, 0,
					   (struct vmmu_gfn_range){{start}, {start + roll(600)}}) !=
			    VMMU_OK)
				violation("zap_range fails");
			counts.zaps++;
			break;
		case 1:
			if (roll(4) == 0 && vmmu_zap_all(vm) != VMMU_OK)
				violation("zap_all fails");
			counts.zaps++;
			break;
		case 2:
		case 3:
			invalidate_guest(parity, &spare);
			counts.invalidations++;
			break;
		default:
			invalidate_host(parity, &spare);
			counts.invalidations++;
			break;
		}
		usleep((useconds_t)roll(300));
	}
	return number;
}

/* ---- looking ---- */

void report_finding(void *context, const struct vmmu_finding *finding)
{
	(void)context;
	violation("audit: %s", finding->text);
}

static void ignore_line(void *context, const char *line)
{
	(void)context;
	(void)line;
}

void *audit_thread(void *unused)
{
	struct vmmu_audit audit = {0};
	uint64_t values[VMMU_STAT_COUNT];

	roll_seed(5);
	while (!stop) {
		struct vmmu_slot_config config;
		vmmu_gfn_t gfn = {roll(2048)};

		(void)vmmu_audit_step(vm, &audit, 3, report_finding, NULL);
		(void)!vmmu_explain(vm, 0, (vmmu_gpa_t){gfn.n << VMMU_PAGE_SHIFT}, ignore_line,
				    NULL);
		(void)!vmmu_slot_find(vm, 0, gfn, &config);
		vmmu_stats_read(vm, values);
		device_write();
		counts.audits++;
		usleep((useconds_t)roll(2000));
	}
	return unused;
}
