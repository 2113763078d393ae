/* SPDX-License-Identifier: MIT */
#include "api/engines.h"

#include "shadow/forget.h"
#include "shadow/harvest.h"
#include "vm.h"

static bool is_shadow(const struct vmmu_vm *vm)
{
	return vm->config.format == VMMU_FORMAT_SHADOW;
}

void vmmu_slots_acquire(struct vmmu_vm *vm) VMMU_NO_ANALYSIS
{
	vmmu_giveway_acquire(&vm->slots_lock, vm->port, vm->host);
}

void vmmu_slots_release(struct vmmu_vm *vm) VMMU_NO_ANALYSIS
{
	vmmu_giveway_release(&vm->slots_lock);
}

void vmmu_zap_space(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	if (is_shadow(task->vm))
		vmmu_frames_zap(task, space, range, VMMU_ITER_PAUSES);
	else
		vmmu_tdp_zap_space(task, space, range);
}

void vmmu_zap_slot(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	vmmu_zap_space(task, space, range);
	if (is_shadow(task->vm))
		vmmu_shades_zap_range(task, space, range);
}

void vmmu_invalidate_everything(struct vmmu_task *task)
{
	if (is_shadow(task->vm))
		vmmu_shades_forget(task);
	else
		vmmu_tdp_invalidate_all(task);
}

void vmmu_zap_hole(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	/* Tables in a hole read as all ones; device entries go by their generation. */
	if (is_shadow(task->vm))
		vmmu_shades_zap_range(task, space, range);
}

void vmmu_zap_everything(struct vmmu_task *task)
{
	if (!is_shadow(task->vm)) {
		vmmu_tdp_zap_all(task);
		return;
	}
	vmmu_shades_forget(task);
	vmmu_shades_zap_obsolete(task);
}

bool vmmu_take_apart(struct vmmu_task *task, uint64_t tables)
{
	return is_shadow(task->vm) ? vmmu_shadow_work(task, tables) : vmmu_tdp_work(task, tables);
}

enum vmmu_error vmmu_load_root(struct vmmu_vcpu *vcpu)
{
	return is_shadow(vcpu->vm) ? vmmu_shadow_load_root(vcpu) : vmmu_vcpu_load_root(vcpu);
}

void vmmu_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
{
	if (is_shadow(task->vm))
		vmmu_frames_forbid(task, range, kinds);
	else
		vmmu_tdp_forbid(task, range, kinds);
}

void vmmu_split_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	if (is_shadow(task->vm))
		vmmu_shadow_zap_huge(task, range);
	else
		vmmu_tdp_split_huge(task, range);
}

void vmmu_collect_accessed(struct vmmu_task *task, struct vmmu_harvest *h)
{
	if (is_shadow(task->vm))
		vmmu_shadow_harvest(task, h, false);
	else
		vmmu_tdp_harvest_accessed(task, h);
}

void vmmu_collect_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	if (is_shadow(task->vm))
		vmmu_shadow_harvest(task, h, true);
	else
		vmmu_tdp_harvest_dirty(task, h);
}
