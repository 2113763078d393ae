/* SPDX-License-Identifier: MIT */
#include "ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/explore.h"
#include "internal.h"
#include "vm.h"

struct ground ground;
uint64_t world_fail_at;

/* No word: its address names it. */
static char lock_object;

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

static uint64_t frame_count;

static uintptr_t ram_base(void)
{
	return (uintptr_t)sim_ram_bytes(ground.machine, sim_ram_first_pfn(ground.machine));
}

static uint64_t ram_offset(const void *word)
{
	return (uintptr_t)word - ram_base();
}

static bool is_ram(const void *word)
{
	return ram_offset(word) < frame_count << VMMU_PAGE_SHIFT;
}

static bool is_in(const void *word, const void *array, size_t bytes)
{
	return (uintptr_t)word - (uintptr_t)array < bytes;
}

/* Only ever added to, and told to people; or a bound that need not be exact. */
static bool is_statistic(const void *word)
{
	const struct vmmu_vm *vm = ground.vm;

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

void ground_name_page(sim_pfn_t pfn)
{
	unsigned who = self();

	page_id[frame_of(sim_ram_bytes(ground.machine, pfn))] =
		1u << 16 | who << 12 | ++allocated[who];
}

void ground_name_host_page(sim_pfn_t pfn, uint64_t number)
{
	page_id[frame_of(sim_ram_bytes(ground.machine, pfn))] = 1u << 18 | (uint32_t)number;
}

static void name_pages(uint64_t frames)
{
	world_need(frames <= sizeof(page_id) / sizeof(page_id[0]), "room for the names of pages");
	frame_count = frames;
	for (uint32_t i = 0; i < frames; i++)
		page_id[i] = 1u << 17 | i;
	memset(allocated, 0, sizeof(allocated));
}

const void *ground_page(sim_pfn_t pfn)
{
	const void *also = NULL;

	(void)name(sim_ram_bytes(ground.machine, pfn), &also);
	return also;
}

static void touch(const void *word)
{
	sim_pfn_t pfn = {sim_ram_first_pfn(ground.machine).n +
			 (ram_offset(word) >> VMMU_PAGE_SHIFT)};
	enum sim_frame_state state;

	if (!is_ram(word))
		return;
	state = sim_ram_state(ground.machine, pfn);
	if (state != SIM_FRAME_TABLE && !(ground.reads_guest && state == SIM_FRAME_GUEST))
		explore_fail("the library touches a page that it has given back, or the host has "
			     "taken away");
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

typedef void *map_fn(void *at, size_t bytes, int rights, int flags, int file, off_t offset);
map_fn __real_mmap, __real_mmap64, __wrap_mmap, __wrap_mmap64;
int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);

static void *kept;
static size_t kept_bytes;
static bool kept_in_use;

static bool take_kept(const void *at, size_t bytes, int file)
{
	if (!kept || kept_in_use || kept_bytes != bytes || at || file != -1)
		return false;
	kept_in_use = true;
	return true;
}

void *__wrap_mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset)
{
	return take_kept(at, bytes, file) ? kept
					  : __real_mmap(at, bytes, rights, flags, file, offset);
}

/* The same by the name that it has where files are large. */
void *__wrap_mmap64(void *at, size_t bytes, int rights, int flags, int file, off_t offset)
{
	return take_kept(at, bytes, file) ? kept
					  : __real_mmap64(at, bytes, rights, flags, file, offset);
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
	return !ground.writers;
}

static bool nobody(void *context)
{
	(void)context;
	return !ground.writers && !ground.readers;
}

void ground_no_lock_held(const char *what)
{
	if (ground.held[self()])
		explore_fail("%s with a lock held", what);
}

static void hold(int n)
{
	if (n > 0 && ground.held[self()])
		explore_fail("a thread takes the mmu lock twice");
	ground.held[self()] += (unsigned)n;
}

static void lock_shared(void *host, void *lock)
{
	(void)host;
	hold(1);
	explore_wait(lock, false, no_writer, NULL, "takes the mmu lock, shared");
	ground.readers++;
}

static void unlock_shared(void *host, void *lock)
{
	(void)host;
	(void)lock;
	hold(-1);
	ground.readers--;
}

static void lock_exclusive(void *host, void *lock)
{
	(void)host;
	hold(1);
	explore_wait(lock, true, nobody, NULL, "takes the mmu lock, exclusive");
	ground.writers++;
}

static void unlock_exclusive(void *host, void *lock)
{
	(void)host;
	(void)lock;
	hold(-1);
	ground.writers--;
}

static const struct vmmu_port_locks locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_shared,
	.release_shared = unlock_shared,
	.acquire_exclusive = lock_exclusive,
	.release_exclusive = unlock_exclusive,
};

void ground_bring_locks(struct vmmu_port *port, void *host)
{
	struct vmmu_reader *readers = ground.vm->mmu_lock.readers;

	port->locks = &locks;
	world_need(vmmu_rwlock_init(&ground.vm->mmu_lock, port, host), "a lock");
	ground.vm->mmu_lock.readers = readers;
}

/* ---- making and ending ---- */

void ground_begin(struct sim_machine *machine, struct vmmu_vm *vm, uint64_t frames)
{
	ground = (struct ground){.machine = machine, .vm = vm};
	name_pages(frames);
	explore_memory = &memory;
}

void ground_end(void)
{
	make_zero(ground.machine);
	explore_memory = NULL;
}
