/* SPDX-License-Identifier: MIT */
/*
 * What the tests of two-dimensional paging have in common: a small VM whose CPUs believe the
 * oldest translation they can find, accesses that must succeed, and a look at the tables
 * through the simulated hardware's eyes.
 */
#ifndef TESTS_TDP_RIG_H
#define TESTS_TDP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port.h"

#define RIG_PAGES 2048u /* host pages */

/* Both formats, one after the other. */
#define RIG_FORMATS(f)                                                                             \
	enum vmmu_format f = VMMU_FORMAT_NPT;                                                      \
	f <= VMMU_FORMAT_EPT;                                                                      \
	f++

/* 4K leaves, no prefetch, CPUs always stale; to be changed before rig_new(). */
struct sim_vm_options rig_options(enum vmmu_format format);
/* With all host pages present, in runs of options->run_level. */
struct sim_vm *rig_new(const struct sim_vm_options *options, unsigned vcpus);
/* Everything is checked once more, and nothing may have gone wrong. */
void rig_end(struct sim_vm *sim);
void rig_no_violation(const struct sim_vm *sim);

void rig_slot(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn, uint64_t count,
	      uint64_t host);
void rig_set_space(struct sim_vm *sim, unsigned vcpu, unsigned space);

/* Accesses to the first word of a frame; they must end as memory, or as a device. */
void rig_write(struct sim_vm *sim, unsigned vcpu, uint64_t gfn);
void rig_read(struct sim_vm *sim, unsigned vcpu, uint64_t gfn);
void rig_mmio(struct sim_vm *sim, unsigned vcpu, uint64_t gfn);

/* One turn: enter, access, and if it faults one vmmu_fault_handle(). */
enum vmmu_outcome rig_step(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
			   enum sim_access_kind kind);
/* The hardware's part of a turn alone: the vCPU is outside of the guest afterwards. */
struct vmmu_fault rig_hardware_fault(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
				     enum sim_access_kind kind);
/* The library's part alone. */
enum vmmu_outcome rig_handle(struct sim_vm *sim, unsigned vcpu, uint64_t gfn, uint32_t access);

uint64_t rig_stat(const struct sim_vm *sim, enum vmmu_stat stat);
struct vmmu_gfn_range rig_range(uint64_t start, uint64_t end);

/* What the tables say to the hardware, without effects: on the vCPU's root. */
struct sim_result rig_walk(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
			   enum sim_access_kind kind);
/* In how many roots of the space, valid or not, is the frame mapped? */
unsigned rig_reachable(struct sim_vm *sim, unsigned space, uint64_t gfn);
bool rig_is_accessed(const struct sim_vm *sim, uint64_t entry);
bool rig_is_dirty(const struct sim_vm *sim, uint64_t entry);

/* Was the library's report about the host page's frame that it is dirty? */
bool rig_told_dirty(const struct sim_vm *sim, uint64_t page);

#endif
