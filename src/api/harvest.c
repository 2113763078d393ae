/* SPDX-License-Identifier: MIT */
#include <vmmu/harvest.h>

#include "api/engines.h"
#include "vm.h"

static enum vmmu_error harvest(struct vmmu_task *task, struct vmmu_harvest *h, bool dirty,
			       uint64_t *count)
{
	struct vmmu_vm *vm = task->vm;

	if (task->space >= vm->config.spaces || h->range.start.n > h->range.end.n)
		return VMMU_EINVAL;
	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (h->range.end.n > vm->gfn_end.n)
		h->range.end = vm->gfn_end;
	if (dirty)
		vmmu_collect_dirty(task, h);
	else
		vmmu_collect_accessed(task, h);
	if (count)
		*count = h->count;
	vmmu_table_collect(vm);
	return vm_is_dead(vm) ? VMMU_EDEAD : VMMU_OK;
}

enum vmmu_error vmmu_harvest_accessed(struct vmmu_vm *vm, unsigned space,
				      struct vmmu_gfn_range range, uint64_t *bitmap,
				      uint64_t *count)
{
	return harvest(&(struct vmmu_task){.vm = vm, .space = space},
		       &(struct vmmu_harvest){.range = range, .bitmap = bitmap}, false, count);
}

enum vmmu_error vmmu_harvest_dirty(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
				   uint64_t *bitmap, uint64_t *count)
{
	return harvest(&(struct vmmu_task){.vm = vm, .space = space},
		       &(struct vmmu_harvest){.range = range, .bitmap = bitmap}, true, count);
}
