/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Each vCPU has a top table and pointers of its own; two and two have a directory. All of them lead
 * to the same tables of level 1. */
enum { FIRST_PML4 = 8, FIRST_PDPT = 12, FIRST_PD = 16 };

#define GUEST_PFN 64u /* arena pages behind the slot */
#define FIRST_FREE (GUEST_PFN + WORLD_FRAMES)
#define ARENA_PAGES (FIRST_FREE + 8192u)
#define PRESENT_WRITABLE UINT64_C(0x7)
#define MARKS UINT64_C(0x60) /* accessed, dirty */
#define ADDRESS UINT64_C(0xffffffffff000)

/* ---- the port ---- */

static vmmu_pfn_t page_alloc(void *host)
{
	struct world *w = host;
	uint64_t pfn = UINT64_MAX;

	pthread_mutex_lock(&w->lock);
	if (w->free_count)
		pfn = w->free_list[--w->free_count];
	else if (w->free_page < ARENA_PAGES)
		pfn = w->free_page++;
	pthread_mutex_unlock(&w->lock);
	if (pfn != UINT64_MAX)
		memset(w->arena + pfn * VMMU_PAGE_BYTES, 0, VMMU_PAGE_BYTES);
	return (vmmu_pfn_t){pfn};
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	struct world *w = host;

	pthread_mutex_lock(&w->lock);
	w->free_list[w->free_count++] = pfn.n;
	pthread_mutex_unlock(&w->lock);
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	struct world *w = host;

	return w->arena + pfn.n * VMMU_PAGE_BYTES;
}

/* Whoever is in the guest now leaves it before this returns. */
static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	struct world *w = host;
	void (*call)(struct world *) = atomic_exchange(&w->on_flush, NULL);

	(void)flush;
	if (call)
		call(w);
	atomic_fetch_add(&w->kicks, 1);
	for (unsigned i = 0; i < WORLD_CPUS; i++) {
		unsigned seen = atomic_load(&w->cpu[i].runs);

		while ((seen & 1u) && atomic_load(&w->cpu[i].runs) == seen)
			sched_yield();
	}
}

static bool page_now(void *host, uint64_t host_address, struct vmmu_page *page)
{
	struct world *w = host;
	void (*call)(struct world *) = NULL;

	if (host_address / VMMU_PAGE_BYTES >= GUEST_PFN + WORLD_DATA)
		call = atomic_exchange(&w->on_page, NULL);
	if (call)
		call(w);
	*page = (struct vmmu_page){
		.pfn = {host_address / VMMU_PAGE_BYTES}, .level = VMMU_LEVEL_4K, .writable = true};
	return true;
}

static enum vmmu_page_status page_get(void *host, const struct vmmu_page_request *request,
				      struct vmmu_page *pages)
{
	for (unsigned i = 0; i < request->count; i++)
		(void)page_now(host, request->host_address, &pages[i]);
	return VMMU_PAGE_OK;
}

static void yield(void *host)
{
	struct world *w = host;

	atomic_fetch_add(&w->relaxed, 1);
	sched_yield();
}

static const struct vmmu_port port = {
	.page_alloc = page_alloc,
	.page_free = page_free,
	.page_map = page_map,
	.guest_map = page_map,
	.guest_page = page_get,
	.guest_page_now = page_now,
	.tlb_flush = tlb_flush,
	.yield = yield,
	.relax = yield,
};

/* ---- a CPU ---- */

static _Atomic uint64_t *word(struct world *w, uint64_t address)
{
	return (_Atomic uint64_t *)(void *)(w->arena + (address & ~UINT64_C(7)));
}

static _Atomic uint64_t *guest_entry(struct world *w, uint64_t table, uint64_t index)
{
	return word(w, (GUEST_PFN + table) * VMMU_PAGE_BYTES + 8 * index);
}

static uint64_t table_of(uint64_t page)
{
	return page < WORLD_PAGES ? WORLD_FIRST_TABLE + page / 512
				  : WORLD_FIRST_LOOSE + (page - WORLD_LOOSE_PAGE) / 512;
}

/* As the hardware walks four levels, and marks the last entry. False: it may not be written. */
static bool walk(struct world *w, uint64_t root, uint64_t address, uint64_t *host)
{
	uint64_t table = root;

	for (unsigned level = 4; level; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		_Atomic uint64_t *entry = word(w, table + 8 * (address >> shift & 511));
		uint64_t e = atomic_load(entry);

		do
			if ((e & 3) != 3)
				return false;
		while (level == 1 && (e & MARKS) != MARKS &&
		       !atomic_compare_exchange_strong(entry, &e, e | MARKS));
		table = e & ADDRESS;
	}
	*host = table | (address & (VMMU_PAGE_BYTES - 1));
	return true;
}

/* Where the guest's page is and what it says are not what they should be. */
static void check_place(struct world *w, uint64_t page, uint64_t expected, uint64_t host)
{
	uint64_t frame = host / VMMU_PAGE_BYTES - GUEST_PFN;

	if (frame >= WORLD_FRAMES || atomic_load(&w->taken[frame]) ||
	    (expected != WORLD_CHANGES && expected == atomic_load(&w->frame_of[page]) &&
	     frame != expected))
		atomic_fetch_add(&w->wrong, 1);
}

/* The hardware's part of a write. True: done. */
static bool write_direct(struct world_cpu *cpu, uint64_t page)
{
	struct world *w = cpu->world;
	uint64_t address = page * VMMU_PAGE_BYTES + 8 * cpu->index, host = 0, expected;
	unsigned kicks = atomic_load(&w->kicks);
	struct vmmu_entry entry;
	bool done;

	if (vmmu_vcpu_enter(cpu->vcpu, &entry) != VMMU_OK) {
		atomic_fetch_add(&w->wrong, 1);
		return true;
	}
	/* Either the flush waits for the end of this run, or the kick is seen here. */
	atomic_fetch_add(&cpu->runs, 1);
	expected = atomic_load(&w->frame_of[page]);
	done = atomic_load(&w->kicks) == kicks && walk(w, entry.root.addr, address, &host);
	if (done) {
		check_place(w, page, expected, host);
		atomic_fetch_add(word(w, host), 1);
		cpu->writes++;
	}
	atomic_fetch_add(&cpu->runs, 1);
	vmmu_vcpu_leave(cpu->vcpu);
	return done;
}

enum vmmu_outcome world_fault(struct world_cpu *cpu, uint64_t page)
{
	struct vmmu_shadow_result result;

	cpu->faults++;
	return vmmu_shadow_fault(cpu->vcpu, (vmmu_gva_t){page * VMMU_PAGE_BYTES}, VMMU_PF_WRITE, 0,
				 &result);
}

void world_write(struct world_cpu *cpu, uint64_t page)
{
	while (!write_direct(cpu, page)) {
		enum vmmu_outcome outcome = world_fault(cpu, page);

		/* The host may have the page for longer than the guard has patience. */
		if (outcome == VMMU_OUTCOME_STUCK)
			return;
		if (outcome == VMMU_OUTCOME_INJECT && page == WORLD_ABSENT)
			return;
		if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_RETRY) {
			print_message("# outcome %s\n", vmmu_outcome_name(outcome));
			atomic_fetch_add(&cpu->world->wrong, 1);
			return;
		}
	}
}

/* ---- from outside ---- */

uint64_t world_word(struct world *w, uint64_t frame, unsigned index)
{
	return atomic_load(guest_entry(w, frame, index));
}

void world_device_write(struct world *w, uint64_t frame)
{
	struct vmmu_gfn_range range = {{frame}, {frame + 1}};

	atomic_fetch_add(guest_entry(w, frame, WORLD_CPUS), 1);
	if (vmmu_dirty_mark(w->vm, 0, range) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
}

void world_forget_table(struct world *w, uint64_t frame)
{
	(void)vmmu_shadow_unprotect(w->vm, 0, (vmmu_gfn_t){frame});
}

void world_remap(struct world *w, uint64_t page, uint64_t frame)
{
	uint64_t table = table_of(page), index = page % 512;

	atomic_store(&w->frame_of[page], WORLD_CHANGES);
	atomic_store(guest_entry(w, table, index), frame << 12 | PRESENT_WRITABLE);
	if (vmmu_guest_written(w->vm, 0, (vmmu_gpa_t){table << 12 | 8 * index}, 8) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	atomic_store(&w->frame_of[page], frame);
}

void world_edit(struct world *w, uint64_t page, uint64_t frame)
{
	atomic_store(guest_entry(w, table_of(page), page % 512),
		     frame << 12 | PRESENT_WRITABLE | MARKS);
	atomic_store(&w->frame_of[page], frame);
}

void world_take(struct world *w, uint64_t first, uint64_t count)
{
	struct vmmu_gfn_range range = {{first}, {first + count}};

	if (vmmu_invalidate_begin(w->vm, 0, range) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (uint64_t i = 0; i < count; i++)
		atomic_store(&w->taken[first + i], true);
	sched_yield();
	for (uint64_t i = 0; i < count; i++)
		atomic_store(&w->taken[first + i], false);
	if (vmmu_invalidate_end(w->vm, 0, range) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
}

/* ---- a world ---- */

static void build_upper_tables(struct world *w, uint64_t cpu)
{
	const uint64_t flags = PRESENT_WRITABLE | MARKS, directory = FIRST_PD + cpu / 2;
	struct vmmu_paging paging = {.mode = VMMU_PAGING_4LEVEL,
				     .cr3 = (FIRST_PML4 + cpu) << 12,
				     .physical_bits = 40,
				     .wp = true};

	*guest_entry(w, FIRST_PML4 + cpu, 0) = (FIRST_PDPT + cpu) << 12 | flags;
	*guest_entry(w, FIRST_PDPT + cpu, 0) = directory << 12 | flags;
	for (uint64_t page = 0; page < WORLD_ALL_PAGES; page += 512)
		*guest_entry(w, directory, page / 512) =
			table_of(page) << 12 | PRESENT_WRITABLE | (cpu ? 0 : MARKS);
	assert_int_equal(vmmu_shadow_set_paging(w->cpu[cpu].vcpu, &paging), VMMU_OK);
}

static void build_guest(struct world *w)
{
	for (uint64_t page = 0; page < WORLD_ALL_PAGES; page++) {
		uint64_t frame = WORLD_DATA + page % WORLD_PAGES;

		if (page - WORLD_WINDOW < WORLD_LOOSE)
			frame = WORLD_FIRST_LOOSE + page - WORLD_WINDOW;
		w->frame_of[page] = frame;
		/* Some were used before: neighbours that are worth a leaf. */
		*guest_entry(w, table_of(page), page % 512) =
			frame << 12 | PRESENT_WRITABLE | (page % 3 ? MARKS : 0);
	}
	*guest_entry(w, WORLD_FIRST_TABLE, WORLD_ABSENT) = 0;
	/* CPUs write here, through the window. */
	for (uint64_t i = 0; i < 16 * WORLD_LOOSE; i++)
		*guest_entry(w, WORLD_FIRST_LOOSE + i / 16, i % 16) = 0;
	for (unsigned i = 0; i < WORLD_CPUS; i++)
		build_upper_tables(w, i);
}

struct world *world_new(unsigned prefetch)
{
	struct vmmu_vm_config config = {.format = VMMU_FORMAT_SHADOW,
					.root_level = 4,
					.physical_bits = 40,
					.max_leaf = VMMU_LEVEL_4K,
					.spaces = 1,
					.prefetch = prefetch};
	struct vmmu_slot_config slot = {.count = WORLD_FRAMES,
					.host_base = GUEST_PFN * VMMU_PAGE_BYTES};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->arena = aligned_alloc(VMMU_PAGE_BYTES, (size_t)ARENA_PAGES * VMMU_PAGE_BYTES);
	w->free_list = calloc(ARENA_PAGES, sizeof(*w->free_list));
	assert_non_null(w->arena);
	assert_non_null(w->free_list);
	memset(w->arena, 0, (size_t)FIRST_FREE * VMMU_PAGE_BYTES);
	w->free_page = FIRST_FREE;
	pthread_mutex_init(&w->lock, NULL);
	assert_int_equal(vmmu_vm_create(&port, w, &config, &w->vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(w->vm, &slot), VMMU_OK);
	for (unsigned i = 0; i < WORLD_CPUS; i++) {
		w->cpu[i].world = w;
		w->cpu[i].index = i;
		assert_int_equal(vmmu_vcpu_create(w->vm, w, &w->cpu[i].vcpu), VMMU_OK);
	}
	build_guest(w);
	return w;
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < WORLD_CPUS; i++)
		vmmu_vcpu_destroy(w->cpu[i].vcpu);
	assert_int_equal(vmmu_vm_destroy(w->vm), VMMU_OK);
	assert_int_equal(w->free_count, w->free_page - FIRST_FREE);
	pthread_mutex_destroy(&w->lock);
	free(w->free_list);
	free(w->arena);
	free(w);
}
