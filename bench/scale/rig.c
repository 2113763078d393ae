/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Host frames: tables of the library, then the guest's memory. */
#define TABLES_FIRST UINT64_C(0x1000)
#define GUEST_FIRST UINT64_C(0x80000000)

/* Shadow paging: guest tables of each process, three upper ones and one for each 512 pages. */
#define UPPER_TABLES 3u
#define GUEST_ENTRY UINT64_C(0x67) /* present, writable, user, accessed, dirty */

struct pool {
	uint8_t *next, *end; /* never used */
	uint8_t *free;       /* the first word of each is the next one */
	char apart[40];
};

static struct pool pools[RIG_CPUS_MAX] __attribute__((aligned(64)));
static uint8_t *arena;
static uint64_t (*guest_tables)[VMMU_TABLE_ENTRIES];
static uint64_t guest_tables_count;

_Thread_local unsigned rig_cpu;

void rig_fail(const char *text)
{
	(void)fprintf(stderr, "scale: %s\n", text);
	exit(1);
}

uint64_t rig_nanoseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the port ---- */

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return arena + (pfn.n - TABLES_FIRST) * VMMU_PAGE_BYTES;
}

static vmmu_pfn_t page_alloc(void *host)
{
	struct pool *pool = &pools[rig_cpu];
	uint8_t *page = pool->free;

	(void)host;
	if (page != NULL) {
		memcpy(&pool->free, page, sizeof(pool->free));
		memset(page, 0, VMMU_PAGE_BYTES);
	} else if (pool->next < pool->end) {
		page = pool->next;
		pool->next += VMMU_PAGE_BYTES;
	} else {
		return VMMU_PFN_NONE;
	}
	return (vmmu_pfn_t){TABLES_FIRST + (uint64_t)(page - arena) / VMMU_PAGE_BYTES};
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	struct pool *pool = &pools[rig_cpu];
	uint8_t *page = page_map(host, pfn);

	memcpy(page, &pool->free, sizeof(pool->free));
	pool->free = page;
}

static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host;
	(void)flush;
}

static void *guest_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	if (pfn.n - GUEST_FIRST >= guest_tables_count)
		rig_fail("the library looks into a page that holds no tables");
	return guest_tables[pfn.n - GUEST_FIRST];
}

static void *map(size_t bytes, bool fill)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		rig_fail("no memory");
	(void)madvise(memory, bytes, MADV_HUGEPAGE);
	if (fill)
		for (size_t at = 0; at < bytes; at += VMMU_PAGE_BYTES)
			((volatile uint8_t *)memory)[at] = 0;
	return memory;
}

void rig_memory(unsigned cpus, size_t bytes, bool fill)
{
	arena = map(cpus * bytes, fill);
	for (unsigned i = 0; i < cpus; i++) {
		pools[i].next = arena + i * bytes;
		pools[i].end = pools[i].next + bytes;
	}
}

/* ---- the guest's tables: vCPU i's are frames i * tables_each().. ---- */

static uint64_t leaf_tables(const struct rig_options *o)
{
	uint64_t tables = o->faults / VMMU_TABLE_ENTRIES + 2;

	/* One directory leads to them: a process has a gigabyte at most. */
	return tables < VMMU_TABLE_ENTRIES ? tables : VMMU_TABLE_ENTRIES;
}

static uint64_t tables_each(const struct rig_options *o)
{
	return UPPER_TABLES + leaf_tables(o);
}

static void fill_process(const struct rig_options *o, unsigned cpu)
{
	uint64_t first = cpu * tables_each(o);
	uint64_t data = o->cpus * tables_each(o) + cpu * leaf_tables(o) * VMMU_TABLE_ENTRIES;

	for (unsigned i = 0; i + 1 < UPPER_TABLES; i++)
		guest_tables[first + i][0] = (first + i + 1) << 12 | GUEST_ENTRY;
	for (uint64_t i = 0; i < leaf_tables(o); i++) {
		uint64_t table = first + UPPER_TABLES + i;

		guest_tables[first + UPPER_TABLES - 1][i] = table << 12 | GUEST_ENTRY;
		for (uint64_t e = 0; e < VMMU_TABLE_ENTRIES; e++)
			guest_tables[table][e] =
				(data + i * VMMU_TABLE_ENTRIES + e) << 12 | GUEST_ENTRY;
	}
}

static void start_process(struct rig *rig, unsigned cpu)
{
	const struct vmmu_paging paging = {
		.mode = VMMU_PAGING_4LEVEL,
		.cr3 = cpu * tables_each(&rig->options) << 12,
		.physical_bits = 48,
		.nx = true,
		.wp = true,
	};

	if (vmmu_shadow_set_paging(rig->vcpu[cpu], &paging) != VMMU_OK)
		rig_fail("the library refuses a paging mode");
}

/* ---- the VM ---- */

static uint64_t frames_of(const struct rig_options *o)
{
	if (o->gib)
		return o->gib * RIG_GIB_FRAMES;
	if (o->kind == RIG_SHADOW)
		return o->cpus * (tables_each(o) + leaf_tables(o) * VMMU_TABLE_ENTRIES);
	return o->cpus * RIG_GIB_FRAMES;
}

static void make_guest_tables(const struct rig_options *o)
{
	uint64_t count = o->cpus * tables_each(o);

	if (guest_tables_count < count) {
		guest_tables = map(count * VMMU_PAGE_BYTES, true);
		guest_tables_count = count;
	}
	for (unsigned cpu = 0; cpu < o->cpus; cpu++)
		fill_process(o, cpu);
}

void rig_open(struct rig *rig, const struct rig_options *options)
{
	const struct vmmu_vm_config config = {
		.format = options->kind == RIG_SHADOW ? VMMU_FORMAT_SHADOW : VMMU_FORMAT_NPT,
		.root_level = 4,
		.physical_bits = 48,
		.max_leaf = VMMU_LEVEL_4K,
		.spaces = 1,
		.prefetch = 1,
	};
	const struct vmmu_slot_config slot = {.count = frames_of(options),
					      .host_base = GUEST_FIRST << VMMU_PAGE_SHIFT};

	*rig = (struct rig){.port = options->port, .options = *options};
	rig->port.page_alloc = page_alloc;
	rig->port.page_free = page_free;
	rig->port.page_map = page_map;
	rig->port.tlb_flush = tlb_flush;
	rig->port.guest_map = guest_map;
	if (options->kind == RIG_SHADOW)
		make_guest_tables(options);
	if (vmmu_vm_create(&rig->port, NULL, &config, &rig->vm) != VMMU_OK ||
	    vmmu_slot_create(rig->vm, &slot) != VMMU_OK)
		rig_fail("the library made no VM");
	for (unsigned i = 0; i < options->cpus; i++) {
		rig_cpu = i;
		if (vmmu_vcpu_create(rig->vm, NULL, &rig->vcpu[i]) != VMMU_OK)
			rig_fail("the library made no vCPU");
		if (options->kind == RIG_SHADOW)
			start_process(rig, i);
		rig_enter(rig, i);
		rig_fault(rig, i, 0);
	}
	rig_cpu = 0;
}

void rig_close(struct rig *rig)
{
	for (unsigned i = 0; i < rig->options.cpus; i++) {
		vmmu_vcpu_leave(rig->vcpu[i]);
		vmmu_vcpu_destroy(rig->vcpu[i]);
	}
	if (vmmu_vm_destroy(rig->vm) != VMMU_OK)
		rig_fail("the VM does not end");
}

void rig_enter(struct rig *rig, unsigned cpu)
{
	struct vmmu_entry entry;

	if (vmmu_vcpu_enter(rig->vcpu[cpu], &entry) != VMMU_OK)
		rig_fail("the guest could not be entered");
}

void rig_touch(struct rig *rig, unsigned cpu, uint64_t gfn)
{
	const struct vmmu_fault fault = {.gpa = {gfn << VMMU_PAGE_SHIFT},
					 .access = VMMU_ACCESS_WRITE};
	struct vmmu_fault_result result;
	enum vmmu_outcome outcome;

	vmmu_vcpu_leave(rig->vcpu[cpu]);
	outcome = vmmu_fault_handle(rig->vcpu[cpu], &fault, &result);
	/* Another vCPU may have been faster, or an invalidation be under way. */
	if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_SPURIOUS &&
	    outcome != VMMU_OUTCOME_RETRY)
		rig_fail("a fault had another outcome than it should");
	rig_enter(rig, cpu);
}

void rig_fault(struct rig *rig, unsigned cpu, uint64_t n)
{
	/* Not all of them come to a new table at the same time. */
	uint64_t start = cpu * VMMU_TABLE_ENTRIES / rig->options.cpus;
	struct vmmu_shadow_result result;

	if (n >= rig->options.faults)
		rig_fail("more faults than there are pages");
	switch (rig->options.kind) {
	case RIG_TDP:
		rig_touch(rig, cpu, cpu * RIG_GIB_FRAMES + start + n);
		break;
	case RIG_TDP_SHARED:
		rig_touch(rig, cpu, n);
		break;
	case RIG_SHADOW:
		vmmu_vcpu_leave(rig->vcpu[cpu]);
		if (vmmu_shadow_fault(rig->vcpu[cpu], (vmmu_gva_t){(start + n) << 12},
				      VMMU_PF_WRITE, 0, &result) != VMMU_OUTCOME_RESUME)
			rig_fail("a shadow fault had another outcome than it should");
		rig_enter(rig, cpu);
		break;
	}
}
