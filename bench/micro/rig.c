/* SPDX-License-Identifier: MIT */
/* The port: a pool of pages, taken from a list of free ones, zeroed when taken. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define POOL_PAGES UINT64_C(262144)
#define POOL_FIRST UINT64_C(0x1000)
#define HOST_BASE UINT64_C(0x100000000)

enum { ROOT_LEVEL = 4, PHYSICAL_BITS = 48 };

static uint8_t *pool;
static uint64_t free_list[POOL_PAGES];
static uint64_t free_count;
static uint64_t held;

__attribute__((noreturn)) void rig_fail(const char *text)
{
	(void)fprintf(stderr, "micro: %s\n", text);
	exit(1);
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return pool + (pfn.n - POOL_FIRST) * VMMU_PAGE_BYTES;
}

static vmmu_pfn_t page_alloc(void *host)
{
	vmmu_pfn_t pfn;

	if (free_count == 0)
		return VMMU_PFN_NONE;
	pfn = (vmmu_pfn_t){free_list[--free_count]};
	memset(page_map(host, pfn), 0, VMMU_PAGE_BYTES);
	held++;
	return pfn;
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	free_list[free_count++] = pfn.n;
	held--;
}

static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host;
	(void)flush;
}

static const struct vmmu_port port = {
	.page_alloc = page_alloc,
	.page_free = page_free,
	.page_map = page_map,
	.tlb_flush = tlb_flush,
	.guest_map = page_map,
};

static void open_as(struct rig *rig, enum vmmu_format format, enum vmmu_level max_leaf,
		    unsigned prefetch)
{
	const struct vmmu_vm_config config = {
		.format = format,
		.root_level = ROOT_LEVEL,
		.physical_bits = PHYSICAL_BITS,
		.max_leaf = max_leaf,
		.spaces = 1,
		.prefetch = prefetch,
	};

	if (pool == NULL) {
		pool = mmap(NULL, POOL_PAGES * VMMU_PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (pool == MAP_FAILED)
			rig_fail("no memory for the pool of pages");
		while (free_count < POOL_PAGES) {
			free_list[free_count] = POOL_FIRST + POOL_PAGES - 1 - free_count;
			free_count++;
		}
	}
	if (vmmu_vm_create(&port, NULL, &config, &rig->vm) != VMMU_OK ||
	    vmmu_vcpu_create(rig->vm, NULL, &rig->vcpu) != VMMU_OK)
		rig_fail("the library made no VM");
}

void rig_open(struct rig *rig, enum vmmu_level max_leaf, unsigned prefetch)
{
	open_as(rig, VMMU_FORMAT_NPT, max_leaf, prefetch);
}

uint64_t *rig_open_shadow(struct rig *rig, uint64_t frames)
{
	/* Pages are taken from the beginning of the pool: its end is as good as any memory. */
	const vmmu_pfn_t first = {POOL_FIRST + POOL_PAGES - frames};
	const struct vmmu_slot_config slot = {.count = frames,
					      .host_base = first.n << VMMU_PAGE_SHIFT};

	open_as(rig, VMMU_FORMAT_SHADOW, VMMU_LEVEL_4K, 1);
	if (vmmu_slot_create(rig->vm, &slot) != VMMU_OK)
		rig_fail("the library made no slot");
	return page_map(NULL, first);
}

void rig_slots(struct rig *rig, uint64_t base, uint64_t count, uint64_t frames)
{
	for (uint64_t i = 0; i < count; i++) {
		const struct vmmu_slot_config slot = {
			.id = (uint16_t)i,
			.base = {base + 2 * i * frames},
			.count = frames,
			.host_base = HOST_BASE + 2 * i * frames * VMMU_PAGE_BYTES,
		};

		if (vmmu_slot_create(rig->vm, &slot) != VMMU_OK)
			rig_fail("the library made no slot");
	}
}

void rig_fault(struct rig *rig, uint64_t gfn, uint32_t access, uint32_t flags,
	       enum vmmu_outcome outcome)
{
	const struct vmmu_fault fault = {
		.gpa = {gfn << VMMU_PAGE_SHIFT}, .access = access, .flags = flags};
	struct vmmu_fault_result result;

	if (vmmu_fault_handle(rig->vcpu, &fault, &result) != outcome)
		rig_fail("a fault had another outcome than it should");
}

void rig_enter(struct rig *rig)
{
	struct vmmu_entry entry;

	if (vmmu_vcpu_enter(rig->vcpu, &entry) != VMMU_OK)
		rig_fail("the guest could not be entered");
	vmmu_vcpu_leave(rig->vcpu);
}

void rig_map(struct rig *rig, uint64_t frames, uint64_t step)
{
	for (uint64_t gfn = 0; gfn < frames; gfn += step)
		rig_fault(rig, gfn, VMMU_ACCESS_WRITE, 0, VMMU_OUTCOME_RESUME);
}

uint64_t rig_pages(void)
{
	return held;
}
