/* SPDX-License-Identifier: MIT */
/* A VM in user space for microbenchmarks: a port with a pool of pages, one vCPU. */
#ifndef BENCH_MICRO_RIG_H
#define BENCH_MICRO_RIG_H

#include <vmmu/vmmu.h>

struct rig {
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
	uint64_t next; /* position of an operation, its own meaning */
};

/* Print one line and leave with status 1. */
__attribute__((noreturn)) void rig_fail(const char *text);

/* A VM without slots; @prefetch as in struct vmmu_vm_config. */
void rig_open(struct rig *rig, enum vmmu_level max_leaf, unsigned prefetch);

/*
 * The same under shadow paging, with one slot of @frames frames from 0 on that are real memory.
 * Return: where that is.
 */
uint64_t *rig_open_shadow(struct rig *rig, uint64_t frames);

/* @count slots of @frames each, one behind the other with a gap of as much, from frame @base. */
void rig_slots(struct rig *rig, uint64_t base, uint64_t count, uint64_t frames);

/* One fault that must come out as @outcome. */
void rig_fault(struct rig *rig, uint64_t gfn, uint32_t access, uint32_t flags,
	       enum vmmu_outcome outcome);

/* vmmu_vcpu_enter() and vmmu_vcpu_leave(). */
void rig_enter(struct rig *rig);

/* Fault in @frames frames, @step apart. */
void rig_map(struct rig *rig, uint64_t frames, uint64_t step);

/* Pages that the library holds from the port's pool. */
uint64_t rig_pages(void);

/* --- shadow.c: operations of shadow paging --- */

void shadow_prepare(struct rig *rig);

/* The first touch of a page that the guest maps. */
void shadow_run_fault(struct rig *rig);

/* The guest writes to an entry of a table that is in use, and loads CR3. */
void shadow_run_sync(struct rig *rig);

#endif
