/* SPDX-License-Identifier: MIT */
#include "tdp/tdp.h"
#include "vm.h"

union vmmu_role vmmu_root_role(const struct vmmu_vm *vm, unsigned space)
{
	union vmmu_role role = {.word = 0};

	role.level = vm->config.root_level & 0xfu;
	role.direct = 1;
	role.space = space & 3u;
	return role;
}

struct vmmu_sp *vmmu_root_get(struct vmmu_task *task, union vmmu_role role)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_sp *root;

	for (root = vm->roots; root; root = root->root_next) {
		if (root->role.word == role.word && root_is_valid(root)) {
			vmmu_root_hold(root);
			return root;
		}
	}
	root = vmmu_table_new(task, (vmmu_gfn_t){0}, role);
	vmmu_table_set_live(task, root);
	root->users = 2; /* the caller, and the VM */
	root->root_next = vm->roots;
	vm->roots = root;
	atomic_put_release(&vm->current_root[role.space], (uintptr_t)root);
	trace(task, VMMU_TRACE_ROOT, role.level, root->pfn.n, 1, role.space);
	return root;
}

void vmmu_root_hold(struct vmmu_sp *root)
{
	root->users++;
}

void vmmu_root_put(struct vmmu_task *task, struct vmmu_sp *root)
{
	struct vmmu_sp **link = &task->vm->roots;

	if (!VMMU_CHECK(task, root->users, "a root was put more often than it was taken",
			root->pfn.n, 0) ||
	    --root->users)
		return;
	if (!VMMU_CHECK(task, !root_is_valid(root), "a valid root lost its last reference",
			root->pfn.n, 0))
		return;
	while (*link != root)
		link = &(*link)->root_next;
	*link = root->root_next;
	trace(task, VMMU_TRACE_ROOT, root->role.level, root->pfn.n, 3, root->role.space);
	vmmu_table_unlink(task, root);
}

void vmmu_root_invalidate(struct vmmu_task *task, struct vmmu_sp *root)
{
	/* Before the flush that is owed now: whoever enters later sees it (vmmu_vcpu_enter). */
	(void)atomic_swap(&root->invalid, 1);
	atomic_put_release(&task->vm->current_root[root->role.space], 0);
	vmmu_debt_add_everything(task);
	trace(task, VMMU_TRACE_ROOT, root->role.level, root->pfn.n, 2, root->role.space);
}

/* EPT pointer: Intel SDM, Extended-Page-Table Pointer. Write-back, walk length, A/D. */
static uint64_t eptp_of(const struct vmmu_vm *vm, const struct vmmu_sp *root)
{
	if (vm->config.format != VMMU_FORMAT_EPT)
		return 0;
	return vmmu_pfn_to_hpa(root->pfn).addr | VMMU_MEMTYPE_WB |
	       (uint64_t)(vm->config.root_level - 1u) << 3 |
	       (vm->config.no_accessed_dirty ? 0 : VMMU_BIT(6));
}

enum vmmu_error vmmu_vcpu_load_root(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_task *task = &vcpu->task;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (VMMU_LIKELY(root_fits(vcpu)))
		return VMMU_OK;
	if (!vmmu_cache_fill(vm, task->cache, 1))
		return VMMU_ENOMEM;
	vmmu_section_begin(task);
	if (vcpu->root)
		vmmu_root_put(task, vcpu->root);
	vcpu->root = vmmu_root_get(task, vcpu->role);
	vmmu_section_end(task);
	vcpu->must_flush = true;
	vcpu->entry = (struct vmmu_entry){
		.root = vmmu_pfn_to_hpa(vcpu->root->pfn),
		.eptp = eptp_of(vm, vcpu->root),
		.root_level = vm->config.root_level,
	};
	vmmu_table_collect(vm);
	return VMMU_OK;
}
