/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ground.h"
#include "migrator.h"
#include "vm.h"

struct world world;

/* Things of the machine that are no words: their addresses name them. */
char world_slots_object, world_host_object, world_cpu_object[SIM_VCPUS_MAX];

/* ---- callbacks ---- */

static vmmu_pfn_t port_alloc(void *host)
{
	struct sim_vm *sim = host;
	sim_pfn_t pfn;

	ground_no_lock_held("page_alloc");
	if (explore_self() < EXPLORE_THREADS_MAX && ++world.allocations == world.fail_at) {
		world.ran_out = true;
		return VMMU_PFN_NONE;
	}
	pfn = sim_ram_alloc(sim->machine, SIM_FRAME_TABLE);
	world_need(pfn.n != SIM_PFN_NONE.n, "a frame");
	ground_name_page(pfn);
	return (vmmu_pfn_t){pfn.n};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	explore_point(ground_page((sim_pfn_t){pfn.n}), true, "page_free");
	ground_no_lock_held("page_free");
	sim_ram_free(sim->machine, (sim_pfn_t){pfn.n});
}

static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	struct sim_vm *sim = host;
	uint64_t first = request->host_address >> VMMU_PAGE_SHIFT;
	struct sim_host_view view;

	ground_no_lock_held("guest_page");
	explore_point(&world_host_object, false, "the host looks up the page");
	view = sim_host_query(sim->machine, (sim_hpage_t){first + request->wanted});
	if (!view.is_present &&
	    !sim_host_swap_in(sim->machine, (sim_hpage_t){first + request->wanted}))
		return VMMU_PAGE_ERROR;
	for (uint32_t i = 0; i < request->count; i++) {
		view = sim_host_query(sim->machine, (sim_hpage_t){first + i});
		pages[i] = (struct vmmu_page){
			.pfn = {view.is_present ? view.pfn.n : VMMU_PFN_NONE.n},
			.level = (enum vmmu_level)view.run_level,
			.writable = view.is_writable,
		};
	}
	return VMMU_PAGE_OK;
}

static void port_dirty(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	explore_point(&world_host_object, true, "the host is told: dirty");
	if (sim_ram_state(sim->machine, (sim_pfn_t){pfn.n}) != SIM_FRAME_GUEST)
		sim_violation(sim->machine, "gfn %llx: told of a page that the host took away",
			      (unsigned long long)first.n);
	for (uint64_t i = 0; i < frames; i++) {
		uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, pfn.n + i);

		if (dirty)
			*dirty = 1;
	}
}

static bool instruction_is_over(void *context)
{
	return !world.in_instruction[*(unsigned *)context];
}

static bool has_left(void *context)
{
	unsigned i = *(unsigned *)context;

	return !world.sim->running[i] || !world.busy[i];
}

/* The interrupt of one vCPU's CPU. */
static void interrupt(struct sim_vm *sim, unsigned i, const struct vmmu_flush *flush)
{
	struct sim_cpu *cpu = sim_machine_cpu(sim->machine, world.cpu_of[i]);

	explore_wait(&world_cpu_object[i], true, instruction_is_over, &i, "interrupt");
	/* It may be on its way in: then it notices before it runs. */
	world.kicked[i] = true;
	if (!sim->running[i])
		return;
	if (!flush->everything) {
		world.kicked[i] = false;
		if (sim->space[i] == flush->space)
			sim_cpu_flush_range(cpu, 1 + i, (sim_gfn_t){flush->range.start.n},
					    (sim_gfn_t){flush->range.end.n});
		return;
	}
	explore_wait(&world_cpu_object[i], true, has_left, &i, "waits until it has left");
	world_leave(i); /* if its thread cannot */
}

static void port_flush(void *host, const struct vmmu_flush *flush)
{
	struct sim_vm *sim = host;

	for (unsigned i = 0; i < SIM_VCPUS_MAX && sim->vcpu[i]; i++)
		interrupt(sim, i, flush);
}

static bool port_should_yield(void *host)
{
	(void)host;
	if (!world.options.eager || explore_self() == EXPLORE_THREADS_MAX || !explore_has_written())
		return false;
	world.pausing[explore_self()] = true;
	return true;
}

static void port_yield(void *host)
{
	(void)host;
	ground_no_lock_held("yield");
	if (world.pausing[explore_self()])
		explore_pause();
	else
		explore_spin();
	world.pausing[explore_self()] = false;
}

static void port_relax(void *host)
{
	(void)host;
	explore_spin();
}

/* ---- making and ending ---- */

static struct sim_vm_options sim_options(const struct world_options *o)
{
	struct sim_vm_options options = {
		.machine = {.seed = 11,
			    /* room for whole runs, too */
			    .frame_count =
				    1024 + o->host_pages * (o->run_level > SIM_LEVEL_4K ? 5 : 1),
			    .host_page_count = o->host_pages,
			    .cpu_count = o->vcpus > 1 ? o->vcpus : 2,
			    .tlb_count = 16,
			    .psc_count = 16,
			    .mode = SIM_CPU_ALWAYS_STALE},
		.vm = sim_vm_config(),
		.run_level = o->run_level,
	};

	options.vm.format = o->format;
	options.vm.max_leaf = o->max_leaf;
	options.vm.prefetch = o->prefetch;
	options.vm.spaces = o->spaces;
	options.vm.no_accessed_dirty = o->no_accessed_dirty;
	return options;
}

static void take_defaults(struct world_options *o)
{
	o->format = o->format ? o->format : VMMU_FORMAT_NPT;
	o->max_leaf = o->max_leaf ? o->max_leaf : VMMU_LEVEL_4K;
	o->run_level = o->run_level ? o->run_level : SIM_LEVEL_4K;
	o->vcpus = o->vcpus ? o->vcpus : 1;
	o->spaces = o->spaces ? o->spaces : 1;
	o->prefetch = o->prefetch ? o->prefetch : 1;
	o->host_pages = o->host_pages ? o->host_pages : 64;
}

void world_new(const struct world_options *options)
{
	struct sim_vm_options sim;

	memset(&world, 0, sizeof(world));
	migrator_new(&(struct migrator_options){.vm = NULL});
	world.options = *options;
	world.fail_at = world_fail_at;
	take_defaults(&world.options);
	sim = sim_options(&world.options);
	for (unsigned i = 0; i < SIM_VCPUS_MAX; i++)
		world.cpu_of[i] = i;
	world.sim = sim_vm_new(&sim, world.options.vcpus);
	world_need(world.sim != NULL, "a VM");
	world_need(sim_host_populate(world.sim->machine, (sim_hpage_t){0}, world.options.host_pages,
				     world.options.run_level),
		   "host memory");
	world.sim->port.page_alloc = port_alloc;
	world.sim->port.page_free = port_free;
	world.sim->port.guest_page = port_page;
	world.sim->port.page_dirty = port_dirty;
	world.sim->port.tlb_flush = port_flush;
	world.sim->port.should_yield = port_should_yield;
	world.sim->port.yield = port_yield;
	world.sim->port.relax = port_relax;
	world.sim->port.trace = NULL; /* would order everything */
	ground_begin(world.sim->machine, world.sim->vm, sim.machine.frame_count);
	if (!world.options.builtin_locks)
		ground_bring_locks(&world.sim->port, world.sim);
}

const char *world_watch(void)
{
	return sim_violation_text(world.sim->machine, 0);
}

/* What a CPU keeps of a vCPU that left it is no mistake: it may not be believed, that is all. */
static void forget_former_cpus(void)
{
	for (unsigned cpu = 0; world.moved && cpu < 2; cpu++)
		for (unsigned i = 0; i < world.options.vcpus; i++)
			if (world.cpu_of[i] != cpu)
				sim_cpu_flush_all(sim_machine_cpu(world.sim->machine, cpu), 1 + i);
}

const char *world_check(void)
{
	struct sim_vm *sim = world.sim;
	static char text[256];
	const char *wrong;

	world.options.eager = false;
	world.fail_at = 0;
	forget_former_cpus();
	sim_vm_check(sim);
	/* The guest goes on: whatever it finds has to be right. */
	for (unsigned i = 0; i < world.options.vcpus; i++)
		for (uint64_t gfn = 0; gfn < WORLD_FRAMES; gfn++)
			(void)world_access(i, gfn, SIM_READ);
	for (unsigned i = 0; i < world.options.vcpus; i++) {
		world_leave(i);
		vmmu_vcpu_destroy(sim->vcpu[i]);
	}
	if (vmmu_vm_destroy(sim->vm) != VMMU_OK)
		sim_violation(sim->machine, "the VM cannot be destroyed");
	if (sim_ram_count(sim->machine, SIM_FRAME_TABLE))
		sim_violation(sim->machine, "%llu pages were not given back",
			      (unsigned long long)sim_ram_count(sim->machine, SIM_FRAME_TABLE));
	wrong = world_watch();
	if (wrong)
		snprintf(text, sizeof(text), "at the end: %s", wrong);
	return wrong ? text : NULL;
}

/* Whatever the library was doing: all it has is in the machine. */
void world_free(void)
{
	ground_end();
	oracle_free(world.sim->oracle);
	sim_machine_free(world.sim->machine);
	free(world.sim->dirty_frame);
	free(world.sim->written_frame);
	free(world.sim);
	world.sim = NULL;
}
