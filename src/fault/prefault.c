/* SPDX-License-Identifier: MIT */
/* Translations before the guest asks for them. */
#include "fault/internal.h"
#include "vm.h"

static enum vmmu_error error_of_outcome(enum vmmu_outcome outcome)
{
	switch (outcome) {
	case VMMU_OUTCOME_RESUME:
	case VMMU_OUTCOME_SPURIOUS:
	case VMMU_OUTCOME_TRACKED: /* nothing may be there */
		return VMMU_OK;
	case VMMU_OUTCOME_NO_MEMORY:
		return VMMU_ENOMEM;
	case VMMU_OUTCOME_HOST_ERROR:
		return VMMU_EHOST;
	case VMMU_OUTCOME_DEAD:
		return VMMU_EDEAD;
	case VMMU_OUTCOME_RETRY:
	case VMMU_OUTCOME_PENDING:
	case VMMU_OUTCOME_MMIO:
	case VMMU_OUTCOME_READONLY:
	case VMMU_OUTCOME_STUCK:
	case VMMU_OUTCOME_INJECT:
	case VMMU_OUTCOME_TABLE_WRITE:
	case VMMU_OUTCOME_COUNT:
		break;
	}
	return VMMU_EAGAIN;
}

/* First frame past the leaf that maps @gfn. */
static uint64_t leaf_end(struct vmmu_task *task, vmmu_gfn_t gfn)
{
	enum vmmu_level level;
	vmmu_spte_t e;
	uint64_t frames;

	vmmu_reading_begin(task);
	e = vmmu_tdp_look(task, task->vcpu->root, gfn, &level);
	vmmu_reading_end(task);
	frames = spte_kind(e) == VMMU_KIND_LEAF ? vmmu_level_frames(level) : 1;
	return (gfn.n & ~(frames - 1)) + frames;
}

enum vmmu_error vmmu_prefault(struct vmmu_vcpu *vcpu, struct vmmu_gfn_range range, uint64_t *done)
{
	struct vmmu_task *task = &vcpu->task;
	struct vmmu_vm *vm = vcpu->vm;
	enum vmmu_error error;
	uint64_t next = range.start.n;

	*done = 0;
	if (vm->config.format == VMMU_FORMAT_SHADOW)
		return VMMU_EINVAL; /* which linear addresses would be meant? */
	if (range.start.n > range.end.n || range.end.n > vm->gfn_end.n)
		return VMMU_EINVAL;
	error = vmmu_vcpu_load_root(vcpu);
	while (error == VMMU_OK && next < range.end.n) {
		struct vmmu_slot slot;
		struct vmmu_target target = {
			.gfn = {next},
			.access = VMMU_ACCESS_READ,
			.slot = &slot,
			.max = vm->config.max_leaf,
			.allowed = VMMU_TRACK_KINDS,
			.prefault = 1,
		};
		enum vmmu_level level;
		uint64_t generation;

		if (vm_is_dead(vm))
			error = VMMU_EDEAD;
		else if (!vmmu_slot_copy(task, vcpu->space, target.gfn, &slot, &generation))
			error = VMMU_ENOENT;
		else
			error = error_of_outcome(vmmu_fault_map(task, &target, generation, &level));
		if (error != VMMU_OK)
			break;
		next = leaf_end(task, target.gfn);
		*done = (next < range.end.n ? next : range.end.n) - range.start.n;
	}
	vmmu_table_collect(vm);
	return error;
}
