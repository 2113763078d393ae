/* SPDX-License-Identifier: MIT */
/*
 * The sweep over failing allocations. A scene is a VM in some state and one call on it. For
 * each number n: the same state, the n-th allocation fails, and the call either says so,
 * with nothing changed, or did not need it.
 */
#ifndef TESTS_TDP_MEMORY_RIG_H
#define TESTS_TDP_MEMORY_RIG_H

#include "slot_rig.h"

#define FRAME UINT64_C(0x40000) /* guest frames of the first slot: at 1 GiB */
#define GIGABYTE UINT64_C(0x40000)

struct scene {
	const char *words;
	void (*options)(struct vmmu_vm_config *config);
	void (*prepare)(struct sim_vm *sim);
	bool (*act)(struct sim_vm *sim);    /* false: it says that there is no memory */
	void (*verify)(struct sim_vm *sim); /* it did what it is for */
	unsigned points;                    /* allocations that can fail, at least */
	bool may_shrug;                     /* what it asks for may be a luxury */
};

/* Each allocation of each scene fails once alone, once with all that follow. */
void memory_sweep(const struct scene *scenes, unsigned count);

/* Everything that a failed call must leave alone. */
struct picture {
	uint64_t slots, tables, words;
	uint64_t stats[VMMU_STAT_COUNT];
	uint32_t vcpus;
};
struct picture memory_picture(struct sim_vm *sim);
void memory_check_unchanged(const char *words, const struct picture *before,
			    const struct picture *after);
/* No page is lost or held twice, and the audit is content. */
void memory_check_sound(const char *words, struct sim_vm *sim);

/* The beginning of a scene, for tests that go on by themselves. */
struct sim_vm *memory_begin(const struct scene *scene);

/* Calls of scenes: false if there is no memory; anything else but success fails the test. */
bool memory_said(enum vmmu_error error);
bool memory_enter(struct sim_vm *sim);
/* A fault of vCPU 0 that shall end in RESUME; what came of it is in memory_last. */
bool memory_resumes(struct sim_vm *sim, uint64_t gfn, uint32_t access);
extern struct vmmu_fault_result memory_last;

void memory_slot(struct sim_vm *sim, unsigned space, unsigned id, uint64_t base, uint64_t count);
uint64_t memory_stat(struct sim_vm *sim, enum vmmu_stat stat);
/* A slot of 16 frames at FRAME, vCPU 0 has been in the guest, and one frame was written. */
void memory_one_page_mapped(struct sim_vm *sim);

/* ---- the tests of memory_fault.c ---- */

void faults_survive_every_allocation_failure(void **state);
void a_fault_that_fails_again_and_again_takes_no_more_in_the_end(void **state);
void a_prefault_that_runs_out_of_memory_has_done_what_it_says(void **state);
void device_frames_are_answered_without_memory_to_remember_them(void **state);

#endif
