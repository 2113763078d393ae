/* SPDX-License-Identifier: MIT */
/*
 * ram.c - host physical memory (see ram.h).
 *
 * The bytes are one lazily backed mapping. Free frames are an array with a back index, so that
 * a random one, or a given one, leaves it in constant time.
 */
#define _DEFAULT_SOURCE

#include "ram.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define RAM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAM_ASAN 1
#endif
#endif
#ifdef RAM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

/* Looks like a present, writable, misplaced entry in every format. */
#define POISON_WORD UINT64_C(0x0005deadbeef5e67)
/* Above this, never-used frames are not hidden: the shadow would cost more than it finds. */
#define HIDE_UNUSED_FRAMES_MAX 65536u

static bool is_ram(const struct sim_ram *ram, sim_pfn_t pfn)
{
	return pfn.n >= ram->base_pfn && pfn.n - ram->base_pfn < ram->frame_count;
}

static sim_pfn_t frame_pfn(const struct sim_ram *ram, uint64_t frame)
{
	return sim_pfn(ram->base_pfn + frame);
}

static unsigned char *frame_bytes(const struct sim_ram *ram, uint64_t frame)
{
	return ram->bytes + frame * SIM_PAGE_BYTES;
}

static void set_state(struct sim_ram *ram, uint64_t frame, enum sim_frame_state state)
{
	ram->count[ram->state[frame]]--;
	ram->state[frame] = (uint8_t)state;
	ram->count[state]++;
}

static void free_list_add(struct sim_ram *ram, uint64_t frame)
{
	ram->free_position[frame] = (uint32_t)ram->free_count;
	ram->free_list[ram->free_count++] = (uint32_t)frame;
}

static void free_list_remove(struct sim_ram *ram, uint64_t frame)
{
	uint32_t position = ram->free_position[frame];
	uint32_t last = ram->free_list[--ram->free_count];

	ram->free_list[position] = last;
	ram->free_position[last] = position;
}

bool sim_ram_init(struct sim_machine *machine, const struct sim_config *config)
{
	struct sim_ram *ram = &machine->ram;
	uint64_t n = config->frame_count;
	void *bytes;

	if (n > UINT32_MAX || config->base_pfn + n > UINT64_C(1) << 40)
		return false;
	bytes = mmap(NULL, n * SIM_PAGE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return false;
	ram->bytes = bytes;
	ram->base_pfn = config->base_pfn;
	ram->frame_count = n;
	ram->in_order = config->frames_in_order;
	sim_prng_seed(&ram->prng, config->seed ^ UINT64_C(0x72616d));
	ram->state = calloc(n, sizeof(*ram->state));
	ram->touched = calloc(n, sizeof(*ram->touched));
	ram->free_list = calloc(n, sizeof(*ram->free_list));
	ram->free_position = calloc(n, sizeof(*ram->free_position));
	if (!ram->state || !ram->touched || !ram->free_list || !ram->free_position)
		return false;
	memset(ram->state, SIM_FRAME_FREE, n);
	ram->count[SIM_FRAME_FREE] = n;
	for (uint64_t frame = n; frame-- > 0;) /* lowest last: taken first if in order */
		free_list_add(ram, frame);
	if (n <= HIDE_UNUSED_FRAMES_MAX)
		ASAN_POISON_MEMORY_REGION(ram->bytes, n * SIM_PAGE_BYTES);
	return true;
}

void sim_ram_fini(struct sim_machine *machine)
{
	struct sim_ram *ram = &machine->ram;

	if (ram->bytes) {
		ASAN_UNPOISON_MEMORY_REGION(ram->bytes, ram->frame_count * SIM_PAGE_BYTES);
		(void)munmap(ram->bytes, ram->frame_count * SIM_PAGE_BYTES);
	}
	free(ram->state);
	free(ram->touched);
	free(ram->free_list);
	free(ram->free_position);
}

/* Take a frame out of the free list and make it zero. */
static void take_frame(struct sim_ram *ram, uint64_t frame, enum sim_frame_state state)
{
	free_list_remove(ram, frame);
	set_state(ram, frame, state);
	ASAN_UNPOISON_MEMORY_REGION(frame_bytes(ram, frame), SIM_PAGE_BYTES);
	if (ram->touched[frame])
		memset(frame_bytes(ram, frame), 0, SIM_PAGE_BYTES);
	ram->touched[frame] = false;
}

static bool allocation_fails(struct sim_ram *ram, enum sim_frame_state state)
{
	if (state != SIM_FRAME_TABLE)
		return false;
	ram->table_allocs++;
	return ram->fail_first && ram->table_allocs >= ram->fail_first &&
	       ram->table_allocs - ram->fail_first < ram->fail_count;
}

sim_pfn_t sim_ram_alloc(struct sim_machine *machine, enum sim_frame_state state)
{
	struct sim_ram *ram = &machine->ram;
	uint64_t pick;
	uint32_t frame;

	if (allocation_fails(ram, state) || !ram->free_count)
		return SIM_PFN_NONE;
	pick = ram->in_order ? ram->free_count - 1 : sim_prng_below(&ram->prng, ram->free_count);
	frame = ram->free_list[pick];
	take_frame(ram, frame, state);
	return frame_pfn(ram, frame);
}

static bool run_is_free(const struct sim_ram *ram, uint64_t first, uint64_t count)
{
	for (uint64_t frame = first; frame < first + count; frame++)
		if (ram->state[frame] != SIM_FRAME_FREE && ram->state[frame] != SIM_FRAME_POISONED)
			return false;
	return true;
}

sim_pfn_t sim_ram_alloc_run(struct sim_machine *machine, enum sim_frame_state state,
			    enum sim_level level)
{
	struct sim_ram *ram = &machine->ram;
	uint64_t count = sim_level_pages(level);
	uint64_t first =
		(count - ram->base_pfn % count) % count; /* frame of the first aligned pfn */
	uint64_t candidates, start;

	if (level == SIM_LEVEL_4K)
		return sim_ram_alloc(machine, state);
	if (allocation_fails(ram, state) || first + count > ram->frame_count)
		return SIM_PFN_NONE;
	candidates = (ram->frame_count - first) / count;
	start = ram->in_order ? 0 : sim_prng_below(&ram->prng, candidates);
	for (uint64_t i = 0; i < candidates; i++) {
		uint64_t frame = first + (start + i) % candidates * count;

		if (!run_is_free(ram, frame, count))
			continue;
		for (uint64_t k = 0; k < count; k++)
			take_frame(ram, frame + k, state);
		return frame_pfn(ram, frame);
	}
	return SIM_PFN_NONE;
}

void sim_ram_free(struct sim_machine *machine, sim_pfn_t pfn)
{
	struct sim_ram *ram = &machine->ram;
	enum sim_frame_state state = sim_ram_state(machine, pfn);
	uint64_t frame = pfn.n - ram->base_pfn;
	char text[160] = "";

	if (state != SIM_FRAME_TABLE && state != SIM_FRAME_GUEST) {
		sim_violation(machine, "%s is freed (pfn 0x%llx)", sim_frame_state_name(state),
			      (unsigned long long)pfn.n);
		return;
	}
	if (!machine->lazy_flush && sim_stale_translations(machine, pfn, text, sizeof(text)))
		sim_violation(machine, "%s is freed while in reach: %s",
			      sim_frame_state_name(state), text);
	if (ram->touched[frame]) {
		unsigned char *bytes = frame_bytes(ram, frame);
		const uint64_t poison = POISON_WORD;

		for (unsigned i = 0; i < SIM_PAGE_BYTES; i += 8)
			memcpy(bytes + i, &poison, 8);
	}
	ASAN_POISON_MEMORY_REGION(frame_bytes(ram, frame), SIM_PAGE_BYTES);
	set_state(ram, frame, SIM_FRAME_POISONED);
	free_list_add(ram, frame);
}

void sim_ram_fail_tables(struct sim_machine *machine, uint64_t first, uint64_t count)
{
	struct sim_ram *ram = &machine->ram;

	ram->fail_first = first ? ram->table_allocs + first : 0;
	ram->fail_count = count;
}

enum sim_frame_state sim_ram_state(const struct sim_machine *machine, sim_pfn_t pfn)
{
	const struct sim_ram *ram = &machine->ram;

	if (!is_ram(ram, pfn))
		return SIM_FRAME_OUTSIDE;
	return (enum sim_frame_state)ram->state[pfn.n - ram->base_pfn];
}

const char *sim_frame_state_name(enum sim_frame_state state)
{
	switch (state) {
	case SIM_FRAME_OUTSIDE:
		return "a frame outside of RAM";
	case SIM_FRAME_FREE:
		return "a frame that was never allocated";
	case SIM_FRAME_TABLE:
		return "a table page";
	case SIM_FRAME_GUEST:
		return "a guest page";
	case SIM_FRAME_POISONED:
		return "a freed frame";
	}
	return "a frame of no known state";
}

uint64_t sim_ram_count(const struct sim_machine *machine, enum sim_frame_state state)
{
	return machine->ram.count[state];
}

uint64_t sim_ram_table_allocs(const struct sim_machine *machine)
{
	return machine->ram.table_allocs;
}

sim_pfn_t sim_ram_first_pfn(const struct sim_machine *machine)
{
	return sim_pfn(machine->ram.base_pfn);
}

unsigned char *sim_ram_bytes(struct sim_machine *machine, sim_pfn_t pfn)
{
	return frame_bytes(&machine->ram, pfn.n - machine->ram.base_pfn);
}

void sim_ram_touch(struct sim_machine *machine, sim_pfn_t pfn)
{
	bool *touched = &machine->ram.touched[pfn.n - machine->ram.base_pfn];

	if (!*touched)
		*touched = true;
}

bool sim_ram_is_touched(const struct sim_machine *machine, sim_pfn_t pfn)
{
	return machine->ram.touched[pfn.n - machine->ram.base_pfn];
}

void *sim_ram_pointer(struct sim_machine *machine, sim_pfn_t pfn)
{
	enum sim_frame_state state = sim_ram_state(machine, pfn);

	if (state != SIM_FRAME_TABLE && state != SIM_FRAME_GUEST) {
		sim_violation(machine, "somebody wants the address of %s (pfn 0x%llx)",
			      sim_frame_state_name(state), (unsigned long long)pfn.n);
		return NULL;
	}
	sim_ram_touch(machine, pfn);
	return sim_ram_bytes(machine, pfn);
}

/* Return: the word, or NULL after recording why not. */
static _Atomic uint64_t *word_at(struct sim_machine *machine, sim_hpa_t hpa)
{
	sim_pfn_t pfn = {hpa.bytes >> SIM_PAGE_SHIFT};
	enum sim_frame_state state = sim_ram_state(machine, pfn);
	void *address;

	if (state != SIM_FRAME_TABLE && state != SIM_FRAME_GUEST) {
		sim_violation(machine, "%s is accessed (hpa 0x%llx)", sim_frame_state_name(state),
			      (unsigned long long)hpa.bytes);
		return NULL;
	}
	if (hpa.bytes % 8) {
		sim_violation(machine, "a word is accessed across its boundary (hpa 0x%llx)",
			      (unsigned long long)hpa.bytes);
		return NULL;
	}
	address = sim_ram_bytes(machine, pfn) + hpa.bytes % SIM_PAGE_BYTES;
	return address;
}

uint64_t sim_ram_read(struct sim_machine *machine, sim_hpa_t hpa)
{
	_Atomic uint64_t *word = word_at(machine, hpa);

	return word ? atomic_load(word) : 0;
}

void sim_ram_write(struct sim_machine *machine, sim_hpa_t hpa, uint64_t value)
{
	_Atomic uint64_t *word = word_at(machine, hpa);

	if (!word)
		return;
	sim_ram_touch(machine, sim_pfn(hpa.bytes >> SIM_PAGE_SHIFT));
	atomic_store(word, value);
}

bool sim_ram_cmpxchg(struct sim_machine *machine, sim_hpa_t hpa, uint64_t *expected, uint64_t value)
{
	_Atomic uint64_t *word = word_at(machine, hpa);

	if (!word)
		return false;
	sim_ram_touch(machine, sim_pfn(hpa.bytes >> SIM_PAGE_SHIFT));
	return atomic_compare_exchange_strong(word, expected, value);
}
