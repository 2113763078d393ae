/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/explore.h"
#include "internal.h"
#include "vm.h"

struct world world;
uint64_t world_fail_at;

/* Things of the machine that are no words: their addresses name them. */
static char lock_object;
char world_slots_object, world_host_object, world_cpu_object[SIM_VCPUS_MAX];

void world_need(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "explore: setup fails: %s\n", what);
	abort();
}

static unsigned self(void)
{
	return explore_self();
}

/* ---- names of words ---- */

static uintptr_t ram_base(void)
{
	return (uintptr_t)sim_ram_bytes(world.sim->machine, sim_ram_first_pfn(world.sim->machine));
}

static uint64_t ram_offset(const void *word)
{
	return (uintptr_t)word - ram_base();
}

static bool is_ram(const void *word)
{
	return ram_offset(word) < world.sim->options.machine.frame_count << VMMU_PAGE_SHIFT;
}

static bool is_in(const void *word, const void *array, size_t bytes)
{
	return (uintptr_t)word - (uintptr_t)array < bytes;
}

/* Only ever added to, and told to people; or a bound that need not be exact. */
static bool is_statistic(const void *word)
{
	const struct vmmu_vm *vm = world.sim->vm;

	return is_in(word, vm->stats, sizeof(vm->stats)) || word == &vm->pages.live ||
	       word == &vm->trace_number;
}

/*
 * By who allocated the page, as the how-manieth: which frame that is depends on what the other
 * threads did before.
 */
static uint32_t page_id[8192], allocated[EXPLORE_THREADS_MAX + 1];

static uint64_t frame_of(const void *word)
{
	return ram_offset(word) >> VMMU_PAGE_SHIFT;
}

static const void *name(const void *word, const void **also)
{
	uint64_t page;

	if (!is_ram(word))
		return word;
	if (is_statistic(word))
		return NULL;
	page = (uint64_t)page_id[frame_of(word)] << VMMU_PAGE_SHIFT;
	*also = (const void *)(page | 1);
	return (const void *)(page | (ram_offset(word) & (VMMU_PAGE_BYTES - 1)));
}

static void name_page(sim_pfn_t pfn)
{
	unsigned who = self();

	page_id[frame_of(sim_ram_bytes(world.sim->machine, pfn))] =
		1u << 16 | who << 12 | ++allocated[who];
}

static void name_pages(uint64_t frames)
{
	world_need(frames <= sizeof(page_id) / sizeof(page_id[0]), "room for the names of pages");
	for (uint32_t i = 0; i < frames; i++)
		page_id[i] = 1u << 17 | i;
	memset(allocated, 0, sizeof(allocated));
}

static const void *page_name(vmmu_pfn_t pfn)
{
	const void *also = NULL;
	sim_pfn_t frame = {pfn.n};

	(void)name(sim_ram_bytes(world.sim->machine, frame), &also);
	return also;
}

static void touch(const void *word)
{
	sim_pfn_t pfn = {sim_ram_first_pfn(world.sim->machine).n +
			 (ram_offset(word) >> VMMU_PAGE_SHIFT)};

	if (is_ram(word) && sim_ram_state(world.sim->machine, pfn) != SIM_FRAME_TABLE)
		explore_fail("the library touches a page that it has given back");
}

static const struct explore_memory memory = {name, touch};

/* ---- the hardware's accesses to tables ---- */

uint64_t __real_sim_ram_read(struct sim_machine *machine, sim_hpa_t hpa);
bool __real_sim_ram_cmpxchg(struct sim_machine *machine, sim_hpa_t hpa, uint64_t *expected,
			    uint64_t value);
uint64_t __wrap_sim_ram_read(struct sim_machine *machine, sim_hpa_t hpa);
bool __wrap_sim_ram_cmpxchg(struct sim_machine *machine, sim_hpa_t hpa, uint64_t *expected,
			    uint64_t value);

/* Its word; NULL: not a table's, so nobody's business but the machine's. */
static const void *table_word(struct sim_machine *machine, sim_hpa_t hpa)
{
	sim_pfn_t pfn = {hpa.bytes >> SIM_PAGE_SHIFT};

	if (self() == EXPLORE_THREADS_MAX || sim_ram_state(machine, pfn) != SIM_FRAME_TABLE)
		return NULL;
	return sim_ram_bytes(machine, pfn) + hpa.bytes % SIM_PAGE_BYTES;
}

uint64_t __wrap_sim_ram_read(struct sim_machine *machine, sim_hpa_t hpa)
{
	const void *word = table_word(machine, hpa);

	if (word) {
		vmmu_explore_here(NULL, 0, NULL, "hardware reads an entry");
		vmmu_explore_access(word, false);
	}
	return __real_sim_ram_read(machine, hpa);
}

bool __wrap_sim_ram_cmpxchg(struct sim_machine *machine, sim_hpa_t hpa, uint64_t *expected,
			    uint64_t value)
{
	const void *word = table_word(machine, hpa);

	if (word) {
		vmmu_explore_here(NULL, 0, NULL, "hardware sets accessed, dirty");
		vmmu_explore_cas(word, *expected);
	}
	return __real_sim_ram_cmpxchg(machine, hpa, expected, value);
}

/* ---- RAM, kept between worlds: thousands of new mappings a second would cost most of the time */

void *__real_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t bytes);
void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset);
int __wrap_munmap(void *at, size_t bytes);

static void *kept;
static size_t kept_bytes;
static bool kept_in_use;

void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset)
{
	if (kept && !kept_in_use && kept_bytes == bytes && !at && file == -1) {
		kept_in_use = true;
		return kept;
	}
	return __real_mmap(at, bytes, rights, flags, file, offset);
}

int __wrap_munmap(void *at, size_t bytes)
{
	if (at != kept) {
		if (kept_in_use)
			return __real_munmap(at, bytes);
		if (kept)
			(void)__real_munmap(kept, kept_bytes);
		kept = at;
		kept_bytes = bytes;
	}
	kept_in_use = false;
	return 0;
}

static void make_zero(struct sim_machine *machine)
{
	struct sim_ram *ram = &machine->ram;

	for (uint64_t i = 0; i < ram->frame_count; i++)
		if (ram->touched[i])
			memset(ram->bytes + (i << VMMU_PAGE_SHIFT), 0, VMMU_PAGE_BYTES);
}

/* ---- callbacks ---- */

static void no_lock_held(const char *what)
{
	if (world.held[self()])
		explore_fail("%s with a lock held", what);
}

static vmmu_pfn_t port_alloc(void *host)
{
	struct sim_vm *sim = host;
	sim_pfn_t pfn;

	no_lock_held("page_alloc");
	if (self() < EXPLORE_THREADS_MAX && ++world.allocations == world.fail_at) {
		world.ran_out = true;
		return VMMU_PFN_NONE;
	}
	pfn = sim_ram_alloc(sim->machine, SIM_FRAME_TABLE);
	world_need(pfn.n != SIM_PFN_NONE.n, "a frame");
	name_page(pfn);
	return (vmmu_pfn_t){pfn.n};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	explore_point(page_name(pfn), true, "page_free");
	no_lock_held("page_free");
	sim_ram_free(sim->machine, (sim_pfn_t){pfn.n});
}

static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	struct sim_vm *sim = host;
	uint64_t first = request->host_address >> VMMU_PAGE_SHIFT;
	struct sim_host_view view;

	no_lock_held("guest_page");
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
	if (!world.options.eager || self() == EXPLORE_THREADS_MAX || !explore_has_written())
		return false;
	world.pausing[self()] = true;
	return true;
}

static void port_yield(void *host)
{
	(void)host;
	no_lock_held("yield");
	if (world.pausing[self()])
		explore_pause();
	else
		explore_spin();
	world.pausing[self()] = false;
}

static void port_relax(void *host)
{
	(void)host;
	explore_spin();
}

/* ---- locks ---- */

static void *lock_create(void *host)
{
	(void)host;
	return &lock_object;
}

static void lock_destroy(void *host, void *lock)
{
	(void)host;
	(void)lock;
}

static bool no_writer(void *context)
{
	(void)context;
	return !world.writers;
}

static bool nobody(void *context)
{
	(void)context;
	return !world.writers && !world.readers;
}

static void hold(int n)
{
	if (n > 0 && world.held[self()])
		explore_fail("a thread takes the mmu lock twice");
	world.held[self()] += (unsigned)n;
}

static void lock_shared(void *host, void *lock)
{
	(void)host;
	hold(1);
	explore_wait(lock, false, no_writer, NULL, "takes the mmu lock, shared");
	world.readers++;
}

static void unlock_shared(void *host, void *lock)
{
	(void)host;
	(void)lock;
	hold(-1);
	world.readers--;
}

static void lock_exclusive(void *host, void *lock)
{
	(void)host;
	hold(1);
	explore_wait(lock, true, nobody, NULL, "takes the mmu lock, exclusive");
	world.writers++;
}

static void unlock_exclusive(void *host, void *lock)
{
	(void)host;
	(void)lock;
	hold(-1);
	world.writers--;
}

static const struct vmmu_port_locks locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_shared,
	.release_shared = unlock_shared,
	.acquire_exclusive = lock_exclusive,
	.release_exclusive = unlock_exclusive,
};

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
	struct vmmu_reader *readers;

	memset(&world, 0, sizeof(world));
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
	if (!world.options.builtin_locks) {
		world.sim->port.locks = &locks;
		readers = world.sim->vm->mmu_lock.readers; /* the vCPUs are there already */
		world_need(vmmu_rwlock_init(&world.sim->vm->mmu_lock, &world.sim->port, world.sim),
			   "a lock");
		world.sim->vm->mmu_lock.readers = readers;
	}
	name_pages(sim.machine.frame_count);
	explore_memory = &memory;
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
	make_zero(world.sim->machine);
	oracle_free(world.sim->oracle);
	sim_machine_free(world.sim->machine);
	free(world.sim->dirty_frame);
	free(world.sim->written_frame);
	free(world.sim);
	world.sim = NULL;
	explore_memory = NULL;
}
