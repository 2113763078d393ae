/* SPDX-License-Identifier: MIT */
#include <vmmu/harvest.h>

#include "shadow/harvest.h"
#include "vm.h"

/* Return: OK, and the harvest prepared; or what is wrong with the request. */
static enum vmmu_error prepare(const struct vmmu_task *task, struct vmmu_harvest *h)
{
	const struct vmmu_vm *vm = task->vm;

	if (task->space >= vm->config.spaces || h->range.start.n > h->range.end.n)
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (h->range.end.n > vm->gfn_end.n)
		h->range.end = vm->gfn_end;
	return VMMU_OK;
}

static enum vmmu_error done(struct vmmu_vm *vm, const struct vmmu_harvest *h, uint64_t *count)
{
	if (count)
		*count = h->count;
	vmmu_table_collect(vm);
	return vm_is_dead(vm) ? VMMU_EDEAD : VMMU_OK;
}

enum vmmu_error vmmu_harvest_accessed(struct vmmu_vm *vm, unsigned space,
				      struct vmmu_gfn_range range, uint64_t *bitmap,
				      uint64_t *count)
{
	struct vmmu_task task = {.vm = vm, .space = space};
	struct vmmu_harvest h = {.range = range, .bitmap = bitmap};
	enum vmmu_error error = prepare(&task, &h);

	if (error != VMMU_OK)
		return error;
	if (vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_shadow_harvest_accessed(&task, &h);
	else
		vmmu_tdp_harvest_accessed(&task, &h);
	return done(vm, &h, count);
}

enum vmmu_error vmmu_harvest_dirty(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
				   uint64_t *bitmap, uint64_t *count)
{
	struct vmmu_task task = {.vm = vm, .space = space};
	struct vmmu_harvest h = {.range = range, .bitmap = bitmap};
	enum vmmu_error error = prepare(&task, &h);

	if (error != VMMU_OK)
		return error;
	if (vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_shadow_harvest_dirty(&task, &h);
	else
		vmmu_tdp_harvest_dirty(&task, &h);
	return done(vm, &h, count);
}
