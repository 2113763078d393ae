/* SPDX-License-Identifier: MIT */
/*
 * The library's own paths, one by one, without a guest.
 *
 *   vmmu-micro             names of the operations, one a line
 *   vmmu-micro OPERATION   prepare, run it many times, print "OPERATION RUNS PARTS NANOSECONDS",
 *                          PARTS being what one run consists of
 *   vmmu-micro memory      pages that the library holds per GiB that is mapped
 *
 * All runs of an operation are inside measured(): under callgrind with
 * --toggle-collect=measured the instructions of it and nothing else are counted.
 */
#include "rig.h"
#include "track.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { GIB_FRAMES = 262144, BLOCK_FRAMES = 512, WARM_UPS = 64 };

#define DEVICE_GFN UINT64_C(0xfee00)

typedef void operation_fn(struct rig *rig);

struct operation {
	const char *name;
	void (*prepare)(struct rig *rig);
	operation_fn *run;
	void (*reset)(struct rig *rig); /* after the warm-up */
	unsigned count;                 /* runs that are counted */
	unsigned parts;                 /* what one run consists of: pages, entries */
};

/* Called by name from outside: callgrind counts between entry and return. */
void measured(struct rig *rig, operation_fn *run, unsigned count);

__attribute__((noinline)) void measured(struct rig *rig, operation_fn *run, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		run(rig);
}

static void run_nothing(struct rig *rig)
{
	rig->next++;
}

/* --- faults --- */

static void prepare_small(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_4K, 1);
	rig_slots(rig, 0, 1, GIB_FRAMES);
	rig_enter(rig);
}

static void prepare_prefetch(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_4K, 8);
	rig_slots(rig, 0, 1, GIB_FRAMES);
	rig_enter(rig);
}

static void prepare_huge(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_2M, 1);
	rig_slots(rig, 0, 1, GIB_FRAMES);
	rig_enter(rig);
}

static void run_fault(struct rig *rig, uint64_t step)
{
	rig_fault(rig, rig->next, VMMU_ACCESS_WRITE, 0, VMMU_OUTCOME_RESUME);
	rig->next += step;
}

static void run_fault_small(struct rig *rig)
{
	run_fault(rig, 1);
}

static void run_fault_prefetch(struct rig *rig)
{
	run_fault(rig, 8);
}

static void run_fault_huge(struct rig *rig)
{
	run_fault(rig, BLOCK_FRAMES);
}

/* Somebody else was faster: the entry is there already. */
static void prepare_mapped(struct rig *rig)
{
	prepare_small(rig);
	rig_map(rig, BLOCK_FRAMES, 1);
}

static void run_fault_spurious(struct rig *rig)
{
	rig_fault(rig, rig->next++ % BLOCK_FRAMES, VMMU_ACCESS_WRITE, 0, VMMU_OUTCOME_SPURIOUS);
}

static void run_device(struct rig *rig)
{
	rig_fault(rig, DEVICE_GFN, VMMU_ACCESS_READ, VMMU_FAULT_RESERVED, VMMU_OUTCOME_MMIO);
}

static void prepare_device(struct rig *rig)
{
	prepare_small(rig);
	rig_fault(rig, DEVICE_GFN, VMMU_ACCESS_READ, 0, VMMU_OUTCOME_MMIO);
}

static void run_enter(struct rig *rig)
{
	rig_enter(rig);
}

/* --- zap --- */

static void prepare_zap(struct rig *rig)
{
	prepare_small(rig);
	rig_map(rig, GIB_FRAMES / 8, 1);
}

static void run_zap(struct rig *rig)
{
	const struct vmmu_gfn_range range = {{rig->next}, {rig->next + BLOCK_FRAMES}};

	if (vmmu_zap_range(rig->vm, 0, range) != VMMU_OK)
		rig_fail("zap");
	rig->next += BLOCK_FRAMES;
}

/* --- harvest --- */

static void harvest(struct rig *rig, enum vmmu_error (*call)(struct vmmu_vm *vm, unsigned space,
							     struct vmmu_gfn_range range,
							     uint64_t *bitmap, uint64_t *count))
{
	const struct vmmu_gfn_range range = {{rig->next}, {rig->next + BLOCK_FRAMES}};
	static uint64_t bitmap[BLOCK_FRAMES / 64];
	uint64_t count;

	if (call(rig->vm, 0, range, bitmap, &count) != VMMU_OK || count != BLOCK_FRAMES)
		rig_fail("harvest");
	rig->next += BLOCK_FRAMES;
}

static void run_harvest_accessed(struct rig *rig)
{
	harvest(rig, vmmu_harvest_accessed);
}

static void run_harvest_dirty(struct rig *rig)
{
	harvest(rig, vmmu_harvest_dirty);
}

/* --- slots --- */

static void prepare_10_slots(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_4K, 1);
	rig_slots(rig, 0, 10, 16);
	rig_enter(rig);
}

static void prepare_10000_slots(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_4K, 1);
	rig_slots(rig, 0, 10000, 16);
	rig_enter(rig);
}

static void find(struct rig *rig, uint64_t slots)
{
	struct vmmu_slot_config found;
	uint64_t gfn = rig->next * 7919 % slots * 32;

	if (vmmu_slot_find(rig->vm, 0, (vmmu_gfn_t){gfn}, &found) != VMMU_OK)
		rig_fail("no slot found");
	rig->next++;
}

static void run_find_10(struct rig *rig)
{
	find(rig, 10);
}

static void run_find_10000(struct rig *rig)
{
	find(rig, 10000);
}

static void run_slot_cycle(struct rig *rig)
{
	const struct vmmu_slot_config slot = {
		.id = 20000, .base = {UINT64_C(1) << 24}, .count = 1024};

	if (vmmu_slot_create(rig->vm, &slot) != VMMU_OK ||
	    vmmu_slot_delete(rig->vm, 0, 20000) != VMMU_OK)
		rig_fail("slot");
}

/* 512 MiB in 4K pages, elsewhere: an unrelated slot's end must not care. */
static void prepare_slot_cycle_mapped(struct rig *rig)
{
	prepare_small(rig);
	rig_map(rig, GIB_FRAMES / 2, 1);
}

static void run_slot_delete_mapped(struct rig *rig)
{
	if (vmmu_slot_delete(rig->vm, 0, 0) != VMMU_OK)
		rig_fail("slot");
}

/* --- walk --- */

static uint64_t guest_tables[4][512];

static bool walk_read(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value)
{
	(void)context;
	(void)bytes;
	*value = guest_tables[gpa.addr >> 12][gpa.addr % 4096 / 8];
	return true;
}

static void run_walk(struct rig *rig)
{
	static const struct vmmu_walk_ops ops = {.read = walk_read};
	static const struct vmmu_paging paging = {
		.mode = VMMU_PAGING_4LEVEL, .physical_bits = 48, .nx = true, .wp = true};
	struct vmmu_walk_result result;

	if (vmmu_walk(&paging, (vmmu_gva_t){0x1000}, VMMU_WALK_WRITE, &ops, NULL, &result) !=
	    VMMU_WALK_OK)
		rig_fail("walk");
	rig->next++;
}

static void prepare_walk(struct rig *rig)
{
	(void)rig;
	for (unsigned i = 0; i < 3; i++)
		guest_tables[i][0] = (uint64_t)(i + 1) << 12 | 0x63;
	guest_tables[3][1] = 0x5000 | 0x63;
}

/* --- audit --- */

static void finding(void *context, const struct vmmu_finding *found)
{
	(void)context;
	rig_fail(found->text);
}

static void run_audit(struct rig *rig)
{
	if (vmmu_audit(rig->vm, finding, rig) != 0)
		rig_fail("audit");
}

static void from_start(struct rig *rig)
{
	rig->next = BLOCK_FRAMES;
}

/* clang-format off */
static const struct operation operations[] = {
	{"nothing", NULL, run_nothing, NULL, 1000, 1},
	{"enter_leave", prepare_small, run_enter, NULL, 1000, 1},
	{"fault_4k", prepare_small, run_fault_small, from_start, 8192, 1},
	{"fault_4k_prefetch", prepare_prefetch, run_fault_prefetch, from_start, 8192, 8},
	{"fault_2m", prepare_huge, run_fault_huge, NULL, 400, 1},
	{"fault_spurious", prepare_mapped, run_fault_spurious, NULL, 1000, 1},
	{"mmio_cached", prepare_device, run_device, NULL, 1000, 1},
	{"walk_4level", prepare_walk, run_walk, NULL, 1000, 1},
	{"shadow_fault", shadow_prepare, shadow_run_fault, NULL, 8192, 1},
	{"shadow_sync", shadow_prepare, shadow_run_sync, NULL, 1000, 1},
	{"zap_4k", prepare_zap, run_zap, NULL, 50, BLOCK_FRAMES},
	{"harvest_accessed_4k", prepare_zap, run_harvest_accessed, NULL, 50, BLOCK_FRAMES},
	{"harvest_dirty_4k", prepare_zap, run_harvest_dirty, NULL, 50, BLOCK_FRAMES},
	{"slot_find_10", prepare_10_slots, run_find_10, NULL, 10000, 1},
	{"slot_find_10000", prepare_10000_slots, run_find_10000, NULL, 10000, 1},
	{"slot_create_delete_10", prepare_10_slots, run_slot_cycle, NULL, 100, 1},
	{"slot_create_delete_10000", prepare_10000_slots, run_slot_cycle, NULL, 20, 1},
	{"slot_create_delete_512m", prepare_slot_cycle_mapped, run_slot_cycle, NULL, 100, 1},
	{"slot_delete_512m", prepare_slot_cycle_mapped, run_slot_delete_mapped, NULL, 1, 1},
	{"track_add_4k", prepare_track_small, run_track_add, NULL, 400, 1},
	{"track_add_2m", prepare_track_huge, run_track_add_huge, NULL, 400, 1},
	{"track_remove_4k", prepare_track_remove, run_track_remove, NULL, 400, 1},
	{"track_write", prepare_track_write, run_track_write, NULL, 1000, 1},
	{"track_write_untracked", prepare_small, run_untracked_write, NULL, 1000, 1},
	{"audit", prepare_zap, run_audit, NULL, 4, GIB_FRAMES / 8},
};
/* clang-format on */

enum { OPERATION_COUNT = sizeof(operations) / sizeof(operations[0]) };

static uint64_t nanoseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void measure(const struct operation *operation)
{
	struct rig rig = {0};
	uint64_t start;

	if (operation->prepare != NULL)
		operation->prepare(&rig);
	if (operation->count > 1)
		for (unsigned i = 0; i < (operation->count < WARM_UPS ? 1 : WARM_UPS); i++)
			operation->run(&rig);
	if (operation->reset != NULL)
		operation->reset(&rig);
	start = nanoseconds();
	measured(&rig, operation->run, operation->count);
	(void)printf("%s %u %u %llu\n", operation->name, operation->count, operation->parts,
		     (unsigned long long)(nanoseconds() - start));
}

static void memory_of(const char *name, enum vmmu_level level, uint64_t step)
{
	struct rig rig = {0};
	uint64_t before, empty;

	before = rig_pages();
	rig_open(&rig, level, 1);
	rig_slots(&rig, 0, 1, GIB_FRAMES);
	rig_enter(&rig);
	empty = rig_pages();
	rig_map(&rig, GIB_FRAMES, step);
	(void)printf("memory.%s.empty %llu\n", name, (unsigned long long)(empty - before));
	(void)printf("memory.%s.gib %llu\n", name, (unsigned long long)(rig_pages() - empty));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "memory") == 0) {
		memory_of("4k", VMMU_LEVEL_4K, 1);
		memory_of("2m", VMMU_LEVEL_2M, BLOCK_FRAMES);
		print_track_memory();
		return 0;
	}
	for (unsigned i = 0; i < OPERATION_COUNT; i++) {
		if (argc == 1)
			(void)puts(operations[i].name);
		else if (strcmp(argv[1], operations[i].name) == 0)
			measure(&operations[i]);
	}
	return 0;
}
