/* SPDX-License-Identifier: MIT */
/* What the hardware says about a fault, and what decides whether it may be resolved now. */
#include "fault/internal.h"
#include "vm.h"

/* AMD APM, Nested Paging: EXITINFO1 is a page-fault error code with two bits more. */
#define NPF_PRESENT VMMU_BIT(0)
#define NPF_WRITE VMMU_BIT(1)
#define NPF_RESERVED VMMU_BIT(3)
#define NPF_FETCH VMMU_BIT(4)
#define NPF_TABLE_WALK VMMU_BIT(33)

/* Intel SDM, Exit Qualification for EPT Violations. */
#define EPTV_READ VMMU_BIT(0)
#define EPTV_WRITE VMMU_BIT(1)
#define EPTV_FETCH VMMU_BIT(2)
#define EPTV_RIGHTS VMMU_MASK(5, 3) /* what the entries allowed; none: not present */
#define EPTV_LINEAR_VALID VMMU_BIT(7)
#define EPTV_FINAL VMMU_BIT(8) /* only if a linear address is valid */

struct vmmu_fault vmmu_fault_from_npf(uint64_t info1, uint64_t info2)
{
	struct vmmu_fault fault = {.gpa = {info2}};

	if (info1 & NPF_WRITE)
		fault.access = VMMU_ACCESS_WRITE;
	else if (info1 & NPF_FETCH)
		fault.access = VMMU_ACCESS_EXEC;
	else
		fault.access = VMMU_ACCESS_READ;
	if (info1 & NPF_PRESENT)
		fault.flags |= VMMU_FAULT_PRESENT;
	if (info1 & NPF_RESERVED)
		fault.flags |= VMMU_FAULT_RESERVED;
	if (info1 & NPF_TABLE_WALK)
		fault.flags |= VMMU_FAULT_TABLE;
	return fault;
}

struct vmmu_fault vmmu_fault_from_ept(uint64_t qualification, uint64_t gpa)
{
	struct vmmu_fault fault = {.gpa = {gpa}};

	if (qualification & EPTV_READ)
		fault.access |= VMMU_ACCESS_READ;
	if (qualification & EPTV_WRITE)
		fault.access |= VMMU_ACCESS_WRITE;
	if (qualification & EPTV_FETCH)
		fault.access |= VMMU_ACCESS_EXEC;
	if (qualification & EPTV_RIGHTS)
		fault.flags |= VMMU_FAULT_PRESENT;
	if ((qualification & EPTV_LINEAR_VALID) && !(qualification & EPTV_FINAL))
		fault.flags |= VMMU_FAULT_TABLE;
	return fault;
}

struct vmmu_fault vmmu_fault_from_ept_misconfig(uint64_t gpa)
{
	return (struct vmmu_fault){
		.gpa = {gpa},
		.access = VMMU_ACCESS_READ,
		.flags = VMMU_FAULT_PRESENT | VMMU_FAULT_RESERVED,
	};
}

/* May pages that were looked up at @sequence be installed? */
static bool invalidation_allows(const struct vmmu_vm *vm, struct vmmu_target *target,
				uint64_t sequence)
{
	const struct vmmu_invalidations *inv = &vm->invalidations;
	const struct vmmu_withdrawn *frames = &inv->frames[target->slot->space];

	if (VMMU_UNLIKELY(atomic_get(&inv->sequence) != sequence) && !VMMU_MUTANT(IGNORE_SEQUENCE))
		return false;
	if ((VMMU_LIKELY(!frames->active) && VMMU_LIKELY(!inv->host.active)) ||
	    VMMU_MUTANT(IGNORE_ACTIVE))
		return true;
	if (vmmu_withdrawn_holds(frames, target->gfn.n) ||
	    vmmu_withdrawn_holds(&inv->host, vmmu_slot_host(target->slot, target->gfn)))
		return false;
	/* A huge leaf or a neighbour could reach into the range. */
	target->pages += target->gfn.n - target->first.n;
	target->first = target->gfn;
	target->count = 1;
	target->max = VMMU_LEVEL_4K;
	return true;
}

enum vmmu_outcome vmmu_fault_obstacles(const struct vmmu_vm *vm, struct vmmu_target *target,
				       uint64_t sequence)
{
	if (!invalidation_allows(vm, target, sequence))
		return VMMU_OUTCOME_RETRY;
	return vm_tracks(vm) && !vmmu_tdp_obey_trackers(vm, target) ? VMMU_OUTCOME_TRACKED
								    : VMMU_OUTCOME_RESUME;
}

#define SPARE_TABLES 512u

bool vmmu_mmio_tables_allowed(const struct vmmu_vm *vm, unsigned space)
{
	/* Only a bound is wanted: a set that is just being replaced will do. */
	uint64_t slots = atomic_get(&vm->slots_total[space]);
	uint64_t frames = atomic_get(&vm->frames_total[space]);
	uint64_t bound = frames / VMMU_TABLE_ENTRIES + slots * vm->config.root_level + SPARE_TABLES;

	return atomic_get(&vm->pages.live) < bound;
}
