/* SPDX-License-Identifier: MIT */
/*
 * The library's callbacks on the bare machine. Memory is identity-mapped, so page_map is a shift.
 * With one CPU, which is outside the guest then, tlb_flush has nobody to interrupt:
 * vmmu_vcpu_enter() asks for the flush.
 */
#include "port.h"

#include "../resident/backing.h"
#include "../svm/smp.h"

enum {
	FINDINGS_IN_WORDS = 20,
	AUDIT_STEP_TABLES = 1,
	SAMPLING_SHARE = 10, /* one part in so many of the time */
};

/* The slots of RAM name no host memory, which is scattered: guest addresses with this bit. */
#define HOST_BASE_RAM (UINT64_C(1) << 62)

static vmmu_pfn_t page_alloc(void *host)
{
	void *frame = frame_alloc();

	(void)host;
	if (frame == NULL)
		return VMMU_PFN_NONE;
	return (vmmu_pfn_t){(uintptr_t)frame / FRAME_BYTES};
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	frame_free((void *)(uintptr_t)vmmu_pfn_to_hpa(pfn).addr);
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return (void *)(uintptr_t)vmmu_pfn_to_hpa(pfn).addr;
}

static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	struct guest *guest = host;

	(void)flush;
	if (guest->cpu_count > 1)
		smp_tlb_flush(guest);
}

/* A frame of RAM that is there and stays. False: it is not there yet, or comes and goes. */
static inline bool ram_page(const struct guest_memory *memory, uint64_t gfn, struct vmmu_page *page)
{
	uint64_t block = guest_block_peek(memory, gfn);
	uint64_t frame = guest_block_frame(block, gfn);

	if (frame == HOST_NONE)
		return false;
	page->pfn = (vmmu_pfn_t){frame / FRAME_BYTES};
	page->level = (block & GUEST_BLOCK_HUGE) != 0 ? VMMU_LEVEL_2M : VMMU_LEVEL_4K;
	page->writable = true;
	return true;
}

/* The same, given its host frame now if need be. False: no memory left. */
static inline bool ram_page_get(struct guest_memory *memory, uint64_t gfn, struct vmmu_page *page)
{
	return ram_page(memory, gfn, page) ||
	       (guest_frame_get(memory, gfn) != HOST_NONE && ram_page(memory, gfn, page));
}

/* Copies of firmware memory lie in one piece. Out of line, as is what follows, so that the
 * short way needs no stack frame. */
static __attribute__((noinline)) enum vmmu_page_status
copy_pages(const struct guest_region *region, const struct vmmu_page_request *request,
	   struct vmmu_page *pages)
{
	for (uint32_t i = 0; i < request->count; i++)
		pages[i] = (struct vmmu_page){
			.pfn = {request->host_address / FRAME_BYTES + i},
			.level = VMMU_LEVEL_4K,
			.writable = guest_region_is_writable(region->kind),
		};
	return VMMU_PAGE_OK;
}

/*
 * Of memory that comes and goes the neighbours are told if they are there. What is packed as well
 * may not be written before it was asked for to be written.
 */
static __attribute__((noinline)) enum vmmu_page_status
pages_bring(struct guest_memory *memory, const struct vmmu_page_request *request,
	    struct vmmu_page *pages)
{
	enum guest_access access = request->write ? GUEST_WRITE : GUEST_READ;

	for (uint32_t i = 0; i < request->count; i++) {
		uint64_t gfn = request->first.n + i;
		bool writable = false;
		uint64_t frame = i == request->wanted
					 ? backing_frame(memory, gfn, access, &writable)
					 : backing_peek(memory, gfn, &writable);

		pages[i] = (struct vmmu_page){.pfn = VMMU_PFN_NONE};
		if (frame != HOST_NONE)
			pages[i] = (struct vmmu_page){
				.pfn = {frame / FRAME_BYTES},
				.level = VMMU_LEVEL_4K,
				.writable = writable,
			};
		else if (i == request->wanted)
			return VMMU_PAGE_ERROR;
	}
	return VMMU_PAGE_OK;
}

/*
 * The neighbours get their frames, too: that costs a few dozen instructions each, and they are
 * wanted soon. Measured on a Linux boot with 512 MiB in 4K frames: 7,000 faults instead of
 * 57,000, a seventh less time, and no more frames in use at the end.
 */
static __attribute__((noinline)) enum vmmu_page_status
pages_get(struct guest_memory *memory, const struct vmmu_page_request *request,
	  struct vmmu_page *pages)
{
	if (memory->backing != NULL)
		return pages_bring(memory, request, pages);
	for (uint32_t i = 0; i < request->count; i++) {
		if (ram_page_get(memory, request->first.n + i, &pages[i]))
			continue;
		if (i == request->wanted)
			return VMMU_PAGE_ERROR;
		pages[i] = (struct vmmu_page){.pfn = VMMU_PFN_NONE};
	}
	return VMMU_PAGE_OK;
}

/* In every fault's way: one frame that is there takes the short one. */
static enum vmmu_page_status guest_page(void *host, const struct vmmu_page_request *request,
					struct vmmu_page *pages)
{
	struct guest *guest = host;
	const struct guest_region *region = &guest->memory.regions[request->slot];

	if (region->kind != REGION_RAM)
		return copy_pages(region, request, pages);
	if (request->count == 1 && ram_page(&guest->memory, request->first.n, pages))
		return VMMU_PAGE_OK;
	return pages_get(&guest->memory, request, pages);
}

/*
 * Where memory stays there is nothing to wait for, every page is at hand. Where it comes and goes,
 * what is packed as well is read-only.
 */
static __attribute__((noinline)) bool page_now_get(struct guest_memory *memory, uint64_t gfn,
						   struct vmmu_page *page)
{
	uint64_t frame;

	if (memory->backing == NULL)
		return ram_page_get(memory, gfn, page);
	page->level = VMMU_LEVEL_4K;
	frame = backing_look(memory, gfn, &page->writable);
	page->pfn = (vmmu_pfn_t){frame / FRAME_BYTES};
	return frame != HOST_NONE;
}

/* The same for one frame of shadow paging's, by host address: RAM, or a copy, which is read-only by
 * its slot if it is. */
static bool guest_page_now(void *host, uint64_t host_address, struct vmmu_page *page)
{
	struct guest_memory *memory = &((struct guest *)host)->memory;
	uint64_t gfn = (host_address & ~HOST_BASE_RAM) / FRAME_BYTES;

	if ((host_address & HOST_BASE_RAM) != 0)
		return ram_page(memory, gfn, page) || page_now_get(memory, gfn, page);
	*page = (struct vmmu_page){
		.pfn = {host_address / FRAME_BYTES}, .level = VMMU_LEVEL_4K, .writable = true};
	return true;
}

/* Told only with resident=: what was accessed in translations that go. */
static void page_accessed(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	struct guest *guest = host;

	(void)pfn;
	backing_use(&guest->memory, first.n, frames);
}

static void lock_wait(void *host, unsigned turn)
{
	(void)host;
	smp_doze(this_cpu()->hv, turn);
}

static void lock_wake(void *host)
{
	smp_wake(host);
}

static void log_line(void *host, const char *text)
{
	(void)host;
	report_line("progress library: %s", text);
}

static void trace_record(void *host, const struct vmmu_trace *record)
{
	(void)host;
	trace_write(record, sizeof(*record));
}

noreturn static void port_panic(void *host, const char *text)
{
	(void)host;
	hv_panic("the library found a broken contract: %s", text);
}

static struct vmmu_port port = {
	.page_alloc = page_alloc,
	.page_free = page_free,
	.page_map = page_map,
	.tlb_flush = tlb_flush,
	.guest_page = guest_page,
	.guest_page_now = guest_page_now,
	.guest_map = page_map,
	.log = log_line,
	.panic = port_panic,
};

enum vmmu_error port_slot_add(struct guest *guest, unsigned index)
{
	const struct guest_region *region = &guest->memory.regions[index];
	bool writable = guest_region_is_writable(region->kind);

	return vmmu_slot_create(guest->vm,
				&(struct vmmu_slot_config){
					.id = (uint16_t)index,
					.flags = writable ? 0 : VMMU_SLOT_READONLY,
					.base = {region->start / FRAME_BYTES},
					.count = (region->end - region->start) / FRAME_BYTES,
					.host_base = region->kind == REGION_RAM
							     ? HOST_BASE_RAM | region->start
							     : region->host,
				});
}

bool port_slot_create(struct guest *guest, unsigned index)
{
	return port_slot_add(guest, index) == VMMU_OK;
}

bool port_slot_delete(struct guest *guest, unsigned index)
{
	return vmmu_slot_delete(guest->vm, 0, (uint16_t)index) == VMMU_OK;
}

enum vmmu_error port_vm_create(struct guest *guest)
{
	struct vmmu_vm_config config = {
		.format = guest->options.shadow ? VMMU_FORMAT_SHADOW : VMMU_FORMAT_NPT,
		.root_level = paging_levels(),
		.physical_bits = cpu_facts()->physical_bits,
		.max_leaf = guest->options.huge ? VMMU_LEVEL_2M : VMMU_LEVEL_4K,
		.spaces = 1,
		.prefetch = guest->options.prefetch,
		.cookie = guest,
	};
	enum vmmu_error error;

	if (guest->options.trace)
		port.trace = trace_record;
	if (guest->cpu_count > 1) {
		port.lock_wait = lock_wait;
		port.lock_wake = lock_wake;
	}
	if (guest->memory.backing != NULL)
		port.page_accessed = page_accessed;
	error = vmmu_vm_create(&port, guest, &config, &guest->vm);
	for (unsigned i = 0; error == VMMU_OK && i < guest->memory.region_count; i++)
		error = port_slot_add(guest, i);
	return error;
}

static void finding_report(void *context, const struct vmmu_finding *finding)
{
	struct guest *guest = context;

	guest->audit_findings++;
	if (guest->audit_findings <= FINDINGS_IN_WORDS)
		report_line("finding I%u, frame 0x%llx, entry 0x%llx: %s", finding->invariant,
			    (unsigned long long)finding->gfn.n, (unsigned long long)finding->entry,
			    finding->text);
}

void port_audit(struct vcpu *vcpu)
{
	vcpu->counts.audit_runs++;
	smp_audit_begin(vcpu);
	vmmu_audit(vcpu->guest->vm, finding_report, vcpu->guest);
	smp_audit_end(vcpu);
}

void port_audit_step(struct vcpu *vcpu)
{
	uint64_t begin = rdtsc();

	if (begin < vcpu->audit_due)
		return;
	smp_audit_begin(vcpu);
	vmmu_audit_step(vcpu->guest->vm, &vcpu->audit, AUDIT_STEP_TABLES, finding_report,
			vcpu->guest);
	smp_audit_end(vcpu);
	/* With shadow paging there are many exits, and a step is dearer than most of them. */
	vcpu->audit_due = begin + SAMPLING_SHARE * (rdtsc() - begin);
}
