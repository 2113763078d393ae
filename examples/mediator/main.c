/* SPDX-License-Identifier: MIT */
/*
 * The mediator at work: a guest writes a device's table and loses a slot that the table points
 * into; the "device" reads through the shadow. The process is the host and the hardware.
 *     cc main.c mediator.c $(pkg-config --cflags --libs vmmu) && ./a.out
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator.h"

#define SLOT_PAGES 16u
#define TABLE UINT64_C(0x3000) /* the device's table: one page of slot 0 */
static _Alignas(VMMU_PAGE_BYTES) char memory[2][SLOT_PAGES * VMMU_PAGE_BYTES];
static struct mediator mediator;
static struct vmmu_vcpu *vcpu;
static struct vmmu_vm *vm;

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return (void *)(uintptr_t)vmmu_pfn_to_hpa(pfn).addr;
}

static vmmu_pfn_t page_alloc(void *host)
{
	void *page = aligned_alloc(VMMU_PAGE_BYTES, VMMU_PAGE_BYTES);

	(void)host;
	return page ? (vmmu_pfn_t){(uintptr_t)memset(page, 0, VMMU_PAGE_BYTES) >> VMMU_PAGE_SHIFT}
		    : VMMU_PFN_NONE;
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	free(page_map(host, pfn));
}

static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host, (void)flush;
}

static void check(enum vmmu_error error, const char *what)
{
	if (error == VMMU_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, vmmu_error_text(error));
	exit(1);
}

/* What the mediator asks for. */
static bool frame_get(void *host, vmmu_gfn_t gfn, vmmu_pfn_t *pfn)
{
	struct vmmu_slot_config slot = {0};
	bool found = vmmu_slot_find(vm, 0, gfn, &slot) == VMMU_OK;

	(void)host;
	pfn->n = (slot.host_base >> VMMU_PAGE_SHIFT) + gfn.n - slot.base.n;
	return found;
}

static bool memory_read(void *host, vmmu_gpa_t gpa, void *to, uint32_t bytes)
{
	vmmu_pfn_t pfn;
	bool found = frame_get(host, vmmu_gpa_to_gfn(gpa), &pfn);

	if (found)
		memcpy(to, (char *)page_map(host, pfn) + gpa.addr % VMMU_PAGE_BYTES, bytes);
	return found;
}

/* A store by the guest's CPU: it faults until the leaf is writable, or is emulated. */
static void guest_write(uint64_t gpa, uint64_t value)
{
	struct vmmu_fault fault = {.gpa = {gpa}, .access = VMMU_ACCESS_WRITE};
	struct vmmu_fault_result result;
	struct vmmu_entry entry;
	enum vmmu_outcome outcome;
	vmmu_pfn_t pfn;

	check(vmmu_vcpu_enter(vcpu, &entry), "entry"); /* the guest runs into the fault here */
	vmmu_vcpu_leave(vcpu);
	outcome = vmmu_fault_handle(vcpu, &fault, &result);
	if (frame_get(NULL, vmmu_gpa_to_gfn(fault.gpa), &pfn))
		memcpy((char *)page_map(NULL, pfn) + gpa % VMMU_PAGE_BYTES, &value, sizeof(value));
	if (outcome == VMMU_OUTCOME_TRACKED)
		check(vmmu_guest_written(vm, 0, fault.gpa, sizeof(value)), "write");
}

static void device_read(const char *when, unsigned page)
{
	const struct mediator_entry *entry;

	mediator_submit(&mediator);
	mediator_hold(&mediator);
	entry = mediator_find(&mediator, page);
	printf("%-22s page %u: ", when, page);
	if (entry)
		printf("0x%" PRIx64 "\n", *(uint64_t *)page_map(NULL, entry->pfn));
	else
		printf("fault\n");
	mediator_release(&mediator);
}

int main(void)
{
	static const struct vmmu_port port = {.page_alloc = page_alloc,
					      .page_free = page_free,
					      .page_map = page_map,
					      .tlb_flush = tlb_flush};
	static const struct mediator_host host = {.read = memory_read, .frame_get = frame_get};
	struct vmmu_vm_config config = {.format = VMMU_FORMAT_NPT,
					.root_level = 4,
					.spaces = 1,
					.physical_bits = 52,
					.max_leaf = VMMU_LEVEL_2M};
	struct vmmu_slot_config low = {.count = SLOT_PAGES, .host_base = (uintptr_t)memory[0]};
	struct vmmu_slot_config high = low;

	high.id = 1, high.base.n = 0x40, high.host_base = (uintptr_t)memory[1];
	check(vmmu_vm_create(&port, NULL, &config, &vm), "VM");
	check(vmmu_slot_create(vm, &low), "slot 0");
	check(vmmu_slot_create(vm, &high), "slot 1");
	check(vmmu_vcpu_create(vm, NULL, &vcpu), "vCPU");
	check(mediator_create(&mediator, vm, &host, NULL), "mediator");
	guest_write(0x42000, 0x1234);
	check(mediator_set_page(&mediator, 0, vmmu_gpa_to_gfn((vmmu_gpa_t){TABLE})), "table");
	guest_write(TABLE + 8 * 5, 0x42000 | MEDIATOR_PRESENT);
	guest_write(TABLE + 8 * 6, 0x99000 | MEDIATOR_PRESENT);
	device_read("the guest has written", 5);
	device_read("no slot has this frame", 6);
	check(vmmu_slot_delete(vm, 0, high.id), "end of slot 1");
	device_read("its slot is deleted", 5);
	check(vmmu_slot_create(vm, &high), "slot 1 again");
	device_read("its slot is back", 5);
	for (uint64_t i = 1000; i > 0; i--)
		guest_write(TABLE + 8 * 7, (0x41000 + (i % 8 << 12)) | MEDIATOR_PRESENT);
	device_read("written 1000 times", 7);
	mediator_clear_page(&mediator, 0);
	device_read("the table is gone", 7);
	printf("%" PRIu64 " writes told, %" PRIu64 " entries shadowed, %" PRIu64 " dropped\n",
	       mediator.stats.writes, mediator.stats.shadowed, mediator.stats.dropped);
	mediator_destroy(&mediator);
	vmmu_vcpu_destroy(vcpu);
	check(vmmu_vm_destroy(vm), "end");
}
