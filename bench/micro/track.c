/* SPDX-License-Identifier: MIT */
#include "track.h"

#include <stdio.h>

enum { GIB_FRAMES = 262144, BLOCK_FRAMES = 512, GIBS = 4 };

static vmmu_tracker_id_t tracker;
static uint64_t told;

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	(void)client;
	(void)space;
	(void)gpa;
	(void)bytes;
	(void)kind;
	told++;
}

static const struct vmmu_tracker_ops ops = {.accessed = accessed};

static void come(struct rig *rig)
{
	if (vmmu_tracker_register(rig->vm, &ops, NULL, &tracker) != VMMU_OK)
		rig_fail("tracker");
}

static struct vmmu_gfn_range frames(uint64_t first, uint64_t count)
{
	return (struct vmmu_gfn_range){{first}, {first + count}};
}

static void add(struct rig *rig, uint64_t first, uint64_t count)
{
	if (vmmu_track_add(rig->vm, tracker, frames(first, count), VMMU_ACCESS_WRITE) != VMMU_OK)
		rig_fail("add");
}

void prepare_track_small(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_4K, 1);
	rig_slots(rig, 0, 1, (uint64_t)GIBS * GIB_FRAMES);
	rig_enter(rig);
	rig_map(rig, (uint64_t)GIBS * GIB_FRAMES, 1);
	come(rig);
	rig->next = BLOCK_FRAMES;
}

void prepare_track_huge(struct rig *rig)
{
	rig_open(rig, VMMU_LEVEL_2M, 1);
	rig_slots(rig, 0, 1, (uint64_t)GIBS * GIB_FRAMES);
	rig_enter(rig);
	rig_map(rig, (uint64_t)GIBS * GIB_FRAMES, BLOCK_FRAMES);
	come(rig);
	rig->next = BLOCK_FRAMES;
}

void run_track_add(struct rig *rig)
{
	add(rig, rig->next++, 1);
}

void run_track_add_huge(struct rig *rig)
{
	add(rig, rig->next, 1);
	rig->next += BLOCK_FRAMES;
}

void prepare_track_remove(struct rig *rig)
{
	prepare_track_small(rig);
	add(rig, rig->next, BLOCK_FRAMES);
}

void run_track_remove(struct rig *rig)
{
	if (vmmu_track_remove(rig->vm, tracker, frames(rig->next++, 1), VMMU_ACCESS_WRITE) !=
	    VMMU_OK)
		rig_fail("remove");
}

void prepare_track_write(struct rig *rig)
{
	prepare_track_small(rig);
	add(rig, rig->next, 1);
}

void run_track_write(struct rig *rig)
{
	uint64_t before = told;

	rig_fault(rig, rig->next, VMMU_ACCESS_WRITE, VMMU_FAULT_PRESENT, VMMU_OUTCOME_TRACKED);
	if (vmmu_guest_written(rig->vm, 0, (vmmu_gpa_t){rig->next << 12}, 8) != VMMU_OK ||
	    told != before + 1)
		rig_fail("written");
}

void run_untracked_write(struct rig *rig)
{
	if (vmmu_guest_written(rig->vm, 0, (vmmu_gpa_t){rig->next << 12}, 8) != VMMU_OK)
		rig_fail("written");
}

void print_track_memory(void)
{
	struct rig rig = {0};
	uint64_t before, one;

	rig_open(&rig, VMMU_LEVEL_4K, 1);
	rig_slots(&rig, 0, 1, 2 * GIB_FRAMES);
	before = rig_pages();
	come(&rig);
	add(&rig, 0, 1);
	one = rig_pages();
	add(&rig, GIB_FRAMES, GIB_FRAMES);
	(void)printf("memory.track.first %llu\n", (unsigned long long)(one - before));
	(void)printf("memory.track.gib %llu\n", (unsigned long long)(rig_pages() - one));
}
