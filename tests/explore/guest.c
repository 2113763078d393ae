/* SPDX-License-Identifier: MIT */
/* The port of a guest under shadow paging; making it, and what has to be right at its end. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/harvest.h>

#include "migrator.h"
#include "vm.h"

struct guest guest;
uint64_t guest_host_object, guest_slots_object, guest_oracle_object, guest_written_object,
	guest_cpu_object[SHADOW_VCPUS_MAX];

/* ---- callbacks ---- */

static vmmu_pfn_t port_alloc(void *host)
{
	struct shadow_vm *svm = host;
	sim_pfn_t pfn;

	ground_no_lock_held("page_alloc");
	if (explore_self() < EXPLORE_THREADS_MAX && ++guest.allocations == guest.fail_at) {
		guest.ran_out = true;
		return VMMU_PFN_NONE;
	}
	pfn = sim_ram_alloc(svm->machine, SIM_FRAME_TABLE);
	world_need(pfn.n != SIM_PFN_NONE.n, "a frame");
	ground_name_page(pfn);
	return (vmmu_pfn_t){pfn.n};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	explore_point(ground_page((sim_pfn_t){pfn.n}), true, "page_free");
	ground_no_lock_held("page_free");
	sim_ram_free(svm->machine, (sim_pfn_t){pfn.n});
}

static bool port_page_now(void *host, uint64_t host_address, struct vmmu_page *page)
{
	struct shadow_vm *svm = host;
	struct sim_host_view view;

	explore_point(&guest_host_object, false, "the host has the page at hand");
	view = sim_host_query(svm->machine, (sim_hpage_t){host_address >> VMMU_PAGE_SHIFT});
	*page = (struct vmmu_page){
		.pfn = {view.is_present ? view.pfn.n : VMMU_PFN_NONE.n},
		.level = (enum vmmu_level)view.run_level,
		.writable = view.is_writable,
	};
	return view.is_present;
}

static bool host_has_moved_it(void *context)
{
	(void)context;
	return !guest.is_moving;
}

/* Who asks again sleeps until the host is done, as it would in a kernel. */
static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	ground_no_lock_held("guest_page");
	if (guest.asked[explore_self()]++)
		explore_wait(&guest_host_object, false, host_has_moved_it, NULL,
			     "waits for the host");
	for (uint32_t i = 0; i < request->count; i++)
		if (!port_page_now(host, request->host_address + i * VMMU_PAGE_BYTES, &pages[i]))
			return VMMU_PAGE_ERROR;
	return VMMU_PAGE_OK;
}

static void port_dirty(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	explore_point(&guest_host_object, true, "the host is told: dirty");
	if (sim_ram_state(svm->machine, (sim_pfn_t){pfn.n}) != SIM_FRAME_GUEST)
		sim_violation(svm->machine, "gfn %llx: told of a page that the host took away",
			      (unsigned long long)first.n);
	for (uint64_t i = 0; i < frames; i++) {
		uint8_t *dirty = shadow_frame_byte(svm, svm->dirty_frame, pfn.n + i);

		if (dirty)
			*dirty = 1;
	}
}

static bool instruction_is_over(void *context)
{
	return !guest.in_instruction[*(unsigned *)context];
}

static bool has_left(void *context)
{
	unsigned i = *(unsigned *)context;

	return !guest.svm->running[i] || !guest.busy[i];
}

static void port_flush(void *host, const struct vmmu_flush *flush)
{
	struct shadow_vm *svm = host;

	(void)flush;
	for (unsigned i = 0; i < svm->vcpus; i++) {
		explore_wait(&guest_cpu_object[i], true, instruction_is_over, &i, "interrupt");
		/* It may be on its way in: then it notices before it runs. */
		guest.kicked[i] = true;
		if (!svm->running[i])
			continue;
		explore_wait(&guest_cpu_object[i], true, has_left, &i, "waits until it has left");
		guest_kick_out(i); /* if its thread cannot */
	}
}

static void port_spin(void *host)
{
	(void)host;
	explore_spin();
}

static void port_yield(void *host)
{
	(void)host;
	ground_no_lock_held("yield");
	explore_spin();
}

/* ---- making ---- */

void guest_name_pages(void)
{
	for (uint64_t page = 0; page < GUEST_FRAMES; page++)
		ground_name_host_page(sim_host_query(guest.svm->machine, (sim_hpage_t){page}).pfn,
				      page);
}

uint64_t guest_gfn_of(uint64_t pfn)
{
	for (uint64_t gfn = 0; gfn < GUEST_FRAMES; gfn++)
		if (sim_host_query(guest.svm->machine, (sim_hpage_t){gfn}).pfn.n == pfn)
			return gfn;
	/* In one run. */
	if (guest.options.huge)
		pfn -= sim_host_query(guest.svm->machine, (sim_hpage_t){GUEST_HUGE}).pfn.n;
	return guest.options.huge && pfn < GUEST_HUGE_COUNT ? GUEST_HUGE + pfn : UINT64_MAX;
}

void guest_put(uint64_t frame, unsigned index, uint64_t entry)
{
	sim_host_write(guest.svm->machine, (sim_hpage_t){frame}, 8u * index, entry);
}

static void build_tables(void)
{
	guest_put(GUEST_TOP, 0, guest_entry(GUEST_PDPT));
	guest_put(GUEST_PDPT, 0, guest_entry(GUEST_PD));
	guest_put(GUEST_PD, 0, guest_entry(GUEST_PT));
	guest_put(GUEST_PD, 1, guest_entry(GUEST_WINDOW_PT));
	guest_put(GUEST_TOP_B, 0, guest_entry(GUEST_PDPT_B));
	guest_put(GUEST_PDPT_B, 0, guest_entry(GUEST_PD_B));
	guest_put(GUEST_PD_B, 1, guest_entry(GUEST_WINDOW_PT));
	for (unsigned i = 0; i < 8; i++) {
		guest_put(GUEST_PT, i, guest_entry(i == 7 ? GUEST_FAR : GUEST_DATA + i));
		guest_put(GUEST_SPARE, i, guest_entry(GUEST_DATA + 4 + i));
	}
	for (unsigned i = 0; i < GUEST_FRAMES; i++)
		guest_put(GUEST_WINDOW_PT, i, guest_entry(i));
	if (guest.options.huge)
		guest_put(GUEST_PD, 3, guest_entry(GUEST_HUGE) | GUEST_LARGE);
}

static void start_cpus(void)
{
	struct linear_regs regs = {
		.mode = LINEAR_4_LEVEL,
		.vendor = LINEAR_INTEL,
		.cr3 = GUEST_TOP << 12,
		.wp = !guest.options.long_way,
		.pke = guest.options.long_way,
		.nxe = true,
		.maxphyaddr = 40,
		.pse36_width = 40,
		.has_1g = true,
	};

	for (unsigned i = 0; i < guest.options.vcpus; i++) {
		if (i == 1 && guest.options.apart)
			regs.cr3 = GUEST_TOP_B << 12;
		shadow_reset(guest.svm, i, &regs);
	}
}

static void take_port(struct shadow_vm *svm)
{
	svm->port.page_alloc = port_alloc;
	svm->port.page_free = port_free;
	svm->port.guest_page = port_page;
	svm->port.guest_page_now = port_page_now;
	svm->port.page_dirty = port_dirty;
	svm->port.tlb_flush = port_flush;
	svm->port.yield = port_yield;
	svm->port.relax = port_spin;
	ground_begin(svm->machine, svm->vm, svm->options.machine.frame_count);
	ground.reads_guest = true;
	if (!guest.options.builtin_locks)
		ground_bring_locks(&svm->port, svm);
}

void guest_new(const struct guest_options *options)
{
	struct shadow_options shadow = {
		.machine = {.seed = 11,
			    .frame_count = options->huge ? 2560 : 512,
			    .host_page_count =
				    options->huge ? GUEST_HUGE + GUEST_HUGE_COUNT : GUEST_FRAMES,
			    .cpu_count = options->vcpus,
			    .tlb_count = 16,
			    .psc_count = 16,
			    .frames_in_order = true,
			    .mode = SIM_CPU_ALWAYS_STALE},
		.prefetch = options->prefetch ? options->prefetch : 1,
		.max_leaf = options->huge ? VMMU_LEVEL_2M : VMMU_LEVEL_4K,
	};
	struct shadow_slot low = {.count = GUEST_FAR};
	struct shadow_slot huge = {
		.gfn = GUEST_HUGE, .host = GUEST_HUGE, .count = GUEST_HUGE_COUNT};
	struct shadow_slot far = {
		.gfn = GUEST_FAR, .host = GUEST_FAR, .count = GUEST_FRAMES - GUEST_FAR};

	memset(&guest, 0, sizeof(guest));
	migrator_new(&(struct migrator_options){.vm = NULL});
	guest.options = *options;
	guest.fail_at = world_fail_at;
	guest.svm = shadow_vm_new(&shadow, options->vcpus);
	world_need(
		sim_host_populate(guest.svm->machine, (sim_hpage_t){0}, GUEST_FRAMES, SIM_LEVEL_4K),
		"host memory");
	if (options->huge)
		world_need(sim_host_populate(guest.svm->machine, (sim_hpage_t){GUEST_HUGE},
					     GUEST_HUGE_COUNT, SIM_LEVEL_2M),
			   "a huge host page");
	take_port(guest.svm);
	guest_name_pages();
	build_tables();
	world_need(shadow_slot_create(guest.svm, 0, &low) == VMMU_OK, "a slot");
	world_need(shadow_slot_create(guest.svm, 1, &far) == VMMU_OK, "a slot");
	if (options->huge)
		world_need(shadow_slot_create(guest.svm, 2, &huge) == VMMU_OK, "a slot");
	if (options->quota)
		guest.svm->vm->shades.quota = options->quota;
	start_cpus();
}

/* ---- the end ---- */

const char *guest_watch(void)
{
	return sim_violation_text(guest.svm->machine, 0);
}

/* Whatever the guest finds has to be right: first as it is, then with nothing cached. */
static void look_everywhere(void)
{
	static const unsigned regions[] = {0, 2, 3};

	for (unsigned i = 0; i < guest.options.vcpus; i++)
		for (unsigned r = 0; r < sizeof(regions) / sizeof(regions[0]); r++)
			for (unsigned page = 0; page < 8; page++)
				(void)guest_touch(i, GUEST_REGION(regions[r]) + guest_page(page),
						  LINEAR_READ);
	for (unsigned i = 0; i < guest.options.vcpus; i++)
		(void)guest_touch(i, GUEST_GIGABYTE, LINEAR_READ);
}

const char *guest_check(void)
{
	struct shadow_vm *svm = guest.svm;
	static char text[256];
	const char *wrong;

	guest.fail_at = 0;
	shadow_check(svm);
	look_everywhere();
	for (unsigned i = 0; i < guest.options.vcpus; i++)
		guest_flush(i);
	look_everywhere();
	shadow_check(svm);
	if (guest.is_tracking && vmmu_tracker_unregister(svm->vm, guest.tracker) != VMMU_OK)
		sim_violation(svm->machine, "a client cannot be unregistered");
	for (unsigned i = 0; i < guest.options.vcpus; i++) {
		guest_leave(i);
		vmmu_vcpu_destroy(svm->vcpu[i]);
	}
	if (vmmu_vm_destroy(svm->vm) != VMMU_OK)
		sim_violation(svm->machine, "the VM cannot be destroyed");
	if (sim_ram_count(svm->machine, SIM_FRAME_TABLE))
		sim_violation(svm->machine, "%llu pages were not given back",
			      (unsigned long long)sim_ram_count(svm->machine, SIM_FRAME_TABLE));
	wrong = guest_watch();
	if (wrong)
		snprintf(text, sizeof(text), "at the end: %s", wrong);
	return wrong ? text : NULL;
}

const char *guest_check_dirty(void)
{
	struct shadow_vm *svm = guest.svm;

	if (vmmu_harvest_dirty(svm->vm, 0, (struct vmmu_gfn_range){{0}, {GUEST_FRAMES}}, NULL,
			       NULL) != VMMU_OK)
		return "dirty pages cannot be harvested";
	for (uint64_t i = 0; i < svm->options.machine.frame_count; i++)
		if (svm->written_frame[i] && !svm->dirty_frame[i])
			return "a write was never told";
	return guest_check();
}

/* Whatever the library was doing: all it has is in the machine. */
void guest_free(void)
{
	struct shadow_vm *svm = guest.svm;

	ground_end();
	linear_oracle_free(svm->oracle);
	sim_machine_free(svm->machine);
	free(svm->dirty_frame);
	free(svm->written_frame);
	free(svm);
	guest.svm = NULL;
}
