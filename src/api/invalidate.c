/* SPDX-License-Identifier: MIT */
/*
 * Host invalidation and zapping on request.
 *
 *   vCPU (fault)                    | host
 *   sequence = s                    | begin: active, range covers; zap; flush; return
 *   host frame looked up            | (takes the page away)
 *   section: sequence == s, and not | end: sequence + 1, no longer active
 *   in an active range? install     |
 *
 * A frame looked up before or during an invalidation is refused either by the range or by the
 * sequence number, whichever the section sees.
 */
#include <vmmu/slot.h>
#include <vmmu/vm.h>

#include "api/engines.h"
#include "vm.h"

static bool range_is_valid(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	return space < vm->config.spaces && range.start.n <= range.end.n;
}

static void withdrawn_begin(struct vmmu_vm *vm, struct vmmu_withdrawn *w, uint64_t start,
			    uint64_t end)
{
	vm->obstacles++;
	if (!w->active++) {
		w->start = start;
		w->end = end;
		return;
	}
	w->joined = true;
	if (start < w->start)
		w->start = start;
	if (end > w->end)
		w->end = end;
}

/* False: there was no begin. */
static bool withdrawn_end(struct vmmu_vm *vm, struct vmmu_withdrawn *w)
{
	if (!w->active)
		return false;
	/* The sequence first: a fault sees the range active, or the new number. Both are
	 * read inside its section anyway. */
	(void)atomic_plus(&vm->invalidations.sequence, 1);
	vm->obstacles--;
	if (VMMU_MUTANT(END_ENDS_ALL))
		w->active = 1;
	if (!--w->active)
		w->joined = false;
	return true;
}

static enum vmmu_error done(struct vmmu_vm *vm)
{
	vmmu_table_collect(vm);
	return vm_is_dead(vm) ? VMMU_EDEAD : VMMU_OK;
}

enum vmmu_error vmmu_invalidate_begin(struct vmmu_vm *vm, unsigned space,
				      struct vmmu_gfn_range range)
{
	struct vmmu_task task = task_of_vm(vm);

	if (!range_is_valid(vm, space, range))
		return VMMU_EINVAL;
	task.space = space;
	vmmu_section_begin(&task);
	trace(&task, VMMU_TRACE_INVALIDATE, 0, range.start.n, range.end.n, 1);
	withdrawn_begin(vm, &vm->invalidations.frames[space], range.start.n, range.end.n);
	vm->invalidations.begun++;
	vm->invalidations.beginning++;
	vmmu_zap_space(&task, space, range);
	vm->invalidations.beginning--;
	vmmu_section_end(&task);
	stat_add(&task, VMMU_STAT_INVALIDATIONS, 1);
	return done(vm);
}

enum vmmu_error vmmu_invalidate_end(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_task task = task_of_vm(vm);
	bool begun;

	if (!range_is_valid(vm, space, range))
		return VMMU_EINVAL;
	task.space = space;
	vmmu_section_begin(&task);
	begun = withdrawn_end(vm, &vm->invalidations.frames[space]);
	trace(&task, VMMU_TRACE_INVALIDATE, 0, range.start.n, range.end.n, 2);
	vmmu_section_end(&task);
	return begun ? done(vm) : VMMU_EINVAL;
}

/*
 * By host address: faults compare the host address that they looked up, so slots may come and
 * go between begin and end. Slots are found anew after each zap, which may have paused.
 */
static void zap_host_of_slot(struct vmmu_task *task, const struct vmmu_slot *slot, uint64_t start,
			     uint64_t end) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t bytes = (uint64_t)slot->count << VMMU_PAGE_SHIFT;
	uint64_t from = start > slot->host_base ? start - slot->host_base : 0;
	uint64_t to = end > slot->host_base ? end - slot->host_base : 0;
	struct vmmu_gfn_range range;

	if (to > bytes)
		to = bytes;
	if (from >= to)
		return;
	range.start.n = slot->base.n + (from >> VMMU_PAGE_SHIFT);
	range.end.n = slot->base.n + (to >> VMMU_PAGE_SHIFT);
	vmmu_zap_space(task, slot->space, range);
}

static void zap_host_range(struct vmmu_task *task, unsigned space, uint64_t start, uint64_t end)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_slot_space *s = &task->vm->spaces[space];
	vmmu_gfn_t next = {0};
	const struct vmmu_slot *slot;

	task->space = space;
	while ((slot = vmmu_slots_from(vmmu_slots_now(s), next)) != NULL) {
		struct vmmu_slot copy = *slot;

		next.n = copy.base.n + copy.count;
		zap_host_of_slot(task, &copy, start, end);
	}
	/* A slot that is no longer in the set, while another thread is still withdrawing it. */
	if (s->withdrawn.count && !VMMU_MUTANT(SKIP_WITHDRAWN)) {
		struct vmmu_slot copy = s->withdrawn;

		zap_host_of_slot(task, &copy, start, end);
	}
}

static bool host_range_is_valid(uint64_t start, uint64_t end)
{
	return start <= end && !((start | end) & (VMMU_PAGE_BYTES - 1));
}

enum vmmu_error vmmu_invalidate_host_begin(struct vmmu_vm *vm, uint64_t start, uint64_t end)
{
	struct vmmu_task task = task_of_vm(vm);

	if (!host_range_is_valid(start, end))
		return VMMU_EINVAL;
	vmmu_section_begin(&task);
	withdrawn_begin(vm, &vm->invalidations.host, start, end);
	trace(&task, VMMU_TRACE_INVALIDATE, 0, start, end, 3);
	vm->invalidations.begun++;
	vm->invalidations.beginning++;
	for (unsigned space = 0; space < vm->config.spaces; space++)
		zap_host_range(&task, space, start, end);
	vm->invalidations.beginning--;
	vmmu_section_end(&task);
	stat_add(&task, VMMU_STAT_INVALIDATIONS, 1);
	return done(vm);
}

enum vmmu_error vmmu_invalidate_host_end(struct vmmu_vm *vm, uint64_t start, uint64_t end)
{
	struct vmmu_task task = task_of_vm(vm);
	bool begun;

	if (!host_range_is_valid(start, end))
		return VMMU_EINVAL;
	vmmu_section_begin(&task);
	begun = withdrawn_end(vm, &vm->invalidations.host);
	trace(&task, VMMU_TRACE_INVALIDATE, 0, start, end, 4);
	vmmu_section_end(&task);
	return begun ? done(vm) : VMMU_EINVAL;
}

enum vmmu_error vmmu_zap_range(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_task task = task_of_vm(vm);

	if (!range_is_valid(vm, space, range))
		return VMMU_EINVAL;
	task.space = space;
	vmmu_section_begin(&task);
	vmmu_zap_space(&task, space, range);
	vmmu_section_end(&task);
	return done(vm);
}

enum vmmu_error vmmu_zap_all_fast(struct vmmu_vm *vm)
{
	struct vmmu_task task = task_of_vm(vm);

	vmmu_section_begin(&task);
	vmmu_invalidate_everything(&task);
	vmmu_section_end(&task);
	return done(vm);
}

bool vmmu_work(struct vmmu_vm *vm, uint64_t tables)
{
	struct vmmu_task task = task_of_vm(vm);
	bool more = vmmu_take_apart(&task, tables ? tables : 1);

	vmmu_table_collect(vm);
	return more;
}

enum vmmu_error vmmu_zap_all(struct vmmu_vm *vm)
{
	struct vmmu_task task = task_of_vm(vm);

	vmmu_section_begin(&task);
	vmmu_zap_everything(&task);
	vmmu_section_end(&task);
	return done(vm);
}
