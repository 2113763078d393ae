/* SPDX-License-Identifier: MIT */
/* vCPUs: creation, entry, roots. */
#include <vmmu/vcpu.h>

#include "api/engines.h"
#include "vm.h"

enum vmmu_error vmmu_vcpu_create(struct vmmu_vm *vm, void *cookie, struct vmmu_vcpu **out)
{
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error = VMMU_OK;
	struct vmmu_vcpu *vcpu;
	vmmu_pfn_t pfn;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	pfn = vm->port->page_alloc(vm->host);
	if (vmmu_pfn_is_none(pfn))
		return VMMU_ENOMEM;
	vcpu = vm->port->page_map(vm->host, pfn);
	vcpu->vm = vm;
	vcpu->cookie = cookie;
	vcpu->self = pfn;
	vcpu->task = (struct vmmu_task){.vm = vm, .vcpu = vcpu, .cache = &vcpu->cache};
	vcpu->role = vmmu_root_role(vm, 0);
	vcpu->must_flush = true;
	vcpu->slot_generation = UINT64_MAX;
	vcpu->mmio.generation = UINT64_MAX;
	if (vm->config.format == VMMU_FORMAT_SHADOW && !vmmu_shadow_vcpu_init(vcpu)) {
		vm->port->page_free(vm->host, pfn);
		return VMMU_ENOMEM;
	}
	vmmu_section_begin(&task);
	if (vm->vcpu_count == VMMU_VCPUS_MAX) {
		error = VMMU_ELIMIT;
	} else {
		vcpu->index = vm->vcpu_created++;
		vcpu->next = vm->vcpus;
		vcpu->reader.next = vm->mmu_lock.readers;
		vm->mmu_lock.readers = &vcpu->reader;
		vm->vcpus = vcpu;
		vm->vcpu_count++;
	}
	vmmu_section_end(&task);
	if (error == VMMU_OK) {
		*out = vcpu;
		return error;
	}
	if (vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_shadow_vcpu_fini(vcpu);
	vm->port->page_free(vm->host, pfn);
	return error;
}

static void unlink_vcpu(struct vmmu_vm *vm, struct vmmu_vcpu *vcpu)
{
	struct vmmu_vcpu *before = NULL;

	for (struct vmmu_vcpu *v = vm->vcpus; v != vcpu; v = v->next)
		before = v;
	if (before) {
		before->next = vcpu->next;
		before->reader.next = vcpu->reader.next;
	} else {
		vm->vcpus = vcpu->next;
		vm->mmu_lock.readers = vcpu->reader.next;
	}
	vm->vcpu_count--;
}

void vmmu_vcpu_destroy(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_task task = task_of_vm(vm);

	if (atomic_get(&vcpu->in_guest))
		vmmu_panic(vm, "vmmu_vcpu_destroy() of a vCPU that is in the guest");
	if (vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_shadow_vcpu_fini(vcpu);
	vmmu_section_begin(&task);
	if (vcpu->root)
		vmmu_root_put(&task, vcpu->root);
	for (unsigned i = 0; i < VMMU_STAT_COUNT; i++)
		(void)atomic_plus(&vm->stats[i], atomic_get(&vcpu->stats[i]));
	unlink_vcpu(vm, vcpu);
	vmmu_section_end(&task);
	/* Not before: those who shared the lock until then may stand on a table that was withdrawn,
	 * and it must not come to another bucket of the index meanwhile. */
	vmmu_cache_drain(vm, &vcpu->cache);
	vm->port->page_free(vm->host, vcpu->self);
	vmmu_table_collect(vm);
}

void *vmmu_vcpu_cookie(const struct vmmu_vcpu *vcpu)
{
	return vcpu->cookie;
}

uint32_t vmmu_vcpu_index(const struct vmmu_vcpu *vcpu)
{
	return vcpu->index;
}

/* Running from here on, for those who withdraw: the swap comes before every look at what they may
 * have changed. Pairs with flush() in debt.c. False: it has no root to run on, and does not. */
static inline bool try_enter(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;

	if (VMMU_UNLIKELY(atomic_swap(&vcpu->in_guest, 1)))
		vmmu_panic(vm, "vmmu_vcpu_enter() without vmmu_vcpu_leave()");
	if (VMMU_LIKELY(root_fits(vcpu)) && VMMU_LIKELY(!vm_is_dead(vm)))
		return true;
	atomic_put_release(&vcpu->in_guest, 0);
	return false;
}

static inline enum vmmu_error say_what_to_load(struct vmmu_vcpu *vcpu, struct vmmu_entry *entry,
					       uint64_t stamp)
{
	*entry = vcpu->entry;
	entry->flush = vcpu->must_flush || stamp != vcpu->flush_seen;
	vcpu->must_flush = false;
	vcpu->flush_seen = stamp;
	if (VMMU_UNLIKELY(vcpu->shadow.own))
		vmmu_shadow_fill_pdptes(vcpu);
	return VMMU_OK;
}

/* Apart, so that other entries need no stack frame. */
static __attribute__((noinline)) enum vmmu_error enter_on_new_root(struct vmmu_vcpu *vcpu,
								   struct vmmu_entry *entry)
{
	do {
		enum vmmu_error error = vmmu_load_root(vcpu);

		if (error != VMMU_OK)
			return error;
	} while (!try_enter(vcpu));
	return say_what_to_load(vcpu, entry, atomic_get_ordered(&vcpu->vm->flush_stamp));
}

enum vmmu_error vmmu_vcpu_enter(struct vmmu_vcpu *vcpu, struct vmmu_entry *entry)
{
	const struct vmmu_vm *vm = vcpu->vm;
	uint64_t stamp = VMMU_MUTANT(STAMP_EARLY) ? atomic_get_ordered(&vm->flush_stamp) : 0;

	if (VMMU_UNLIKELY(!try_enter(vcpu)))
		return enter_on_new_root(vcpu, entry);
	if (!VMMU_MUTANT(STAMP_EARLY))
		stamp = atomic_get_ordered(&vm->flush_stamp);
	return say_what_to_load(vcpu, entry, stamp);
}

void vmmu_vcpu_leave(struct vmmu_vcpu *vcpu)
{
	atomic_put_release(&vcpu->in_guest, 0);
}

void vmmu_vcpu_moved(struct vmmu_vcpu *vcpu)
{
	vcpu->must_flush |= !VMMU_MUTANT(MOVED_FORGETS);
}

enum vmmu_error vmmu_vcpu_set_space(struct vmmu_vcpu *vcpu, unsigned space)
{
	if (vm_is_dead(vcpu->vm))
		return VMMU_EDEAD;
	if (space >= vcpu->vm->config.spaces)
		return VMMU_EINVAL;
	vcpu->space = space;
	if (vcpu->vm->config.format == VMMU_FORMAT_SHADOW)
		vcpu->role.space = space & 3u;
	else
		vcpu->role = vmmu_root_role(vcpu->vm, space);
	vcpu->slot_generation = UINT64_MAX;
	vcpu->mmio.generation = UINT64_MAX;
	return VMMU_OK;
}
