/* SPDX-License-Identifier: MIT */
/*
 * The smallest embedding: four callbacks, one slot, one fault. Here an ordinary process plays
 * the host, so "host-physical" addresses are the process's own, and a loop plays the hardware.
 *
 *     cc smallest.c $(pkg-config --cflags --libs vmmu) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#define FRAME UINT64_C(0x000ffffffffff000) /* the address in a table entry */
#define GUEST_PAGES 16u
static _Alignas(VMMU_PAGE_BYTES) char memory[GUEST_PAGES * VMMU_PAGE_BYTES];

static vmmu_pfn_t page_alloc(void *host)
{
	void *page = aligned_alloc(VMMU_PAGE_BYTES, VMMU_PAGE_BYTES);

	(void)host;
	return page ? (vmmu_pfn_t){(uintptr_t)memset(page, 0, VMMU_PAGE_BYTES) >> VMMU_PAGE_SHIFT}
		    : VMMU_PFN_NONE;
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return (void *)(uintptr_t)vmmu_pfn_to_hpa(pfn).addr;
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	free(page_map(host, pfn));
}

/* No CPU runs the guest, so there is nobody to interrupt. */
static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host, (void)flush;
}

/* What the hardware does: one index a level, from the top table to the leaf. 0: a fault. */
static uint64_t walk(const struct vmmu_entry *entry, uint64_t gpa)
{
	uint64_t value = entry->root.addr | 1;

	for (unsigned level = entry->root_level; level && (value & 1); level--)
		value = ((const uint64_t *)(value & FRAME))[gpa >> (3 + 9 * level) & 511];
	return value & 1 ? (value & FRAME) + gpa % VMMU_PAGE_BYTES : 0;
}

static void print_line(void *context, const char *line)
{
	(void)context;
	printf("  %s\n", line);
}

static void check(enum vmmu_error error, const char *what)
{
	if (error == VMMU_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, vmmu_error_text(error));
	exit(1);
}

int main(void)
{
	static const struct vmmu_port port = {.page_alloc = page_alloc,
					      .page_free = page_free,
					      .page_map = page_map,
					      .tlb_flush = tlb_flush};
	struct vmmu_vm_config config = {.format = VMMU_FORMAT_NPT,
					.root_level = 4,
					.spaces = 1,
					.physical_bits = 52,
					.max_leaf = VMMU_LEVEL_4K};
	struct vmmu_slot_config slot = {.count = GUEST_PAGES, .host_base = (uintptr_t)memory};
	struct vmmu_fault fault = vmmu_fault_from_npf(6, 0x3008); /* a user write to 0x3008 */
	struct vmmu_fault_result result;
	struct vmmu_vcpu *vcpu;
	struct vmmu_entry entry;
	struct vmmu_vm *vm;

	check(vmmu_vm_create(&port, NULL, &config, &vm), "VM");
	check(vmmu_slot_create(vm, &slot), "slot");
	check(vmmu_vcpu_create(vm, NULL, &vcpu), "vCPU");
	check(vmmu_vcpu_enter(vcpu, &entry), "entry"); /* the guest runs here ... */
	vmmu_vcpu_leave(vcpu);                         /* ... and comes out with a fault */
	printf("fault: %s\n", vmmu_outcome_name(vmmu_fault_handle(vcpu, &fault, &result)));
	check(vmmu_vcpu_enter(vcpu, &entry), "entry");
	printf("0x3008 -> guest memory + 0x%llx\n",
	       (unsigned long long)(walk(&entry, 0x3008) - (uintptr_t)memory));
	vmmu_vcpu_leave(vcpu);
	check(vmmu_explain(vm, 0, (vmmu_gpa_t){0x3008}, print_line, NULL), "explanation");
	vmmu_vcpu_destroy(vcpu);
	check(vmmu_vm_destroy(vm), "end");
}
