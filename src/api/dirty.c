/* SPDX-License-Identifier: MIT */
/*
 * The dirty log. A look takes the dirty flags from the leaves, which writes them into the cells of
 * slot/dirty.h, waits for those who may have taken a leaf away and not told the cells yet, takes
 * what the cells hold, and waits for those who have told them and not flushed yet:
 *
 *   vCPU                 | a thread that zaps     | look
 *   sets dirty in a leaf |                        |
 *                        | takes the leaf, tells  |
 *                        |                        | takes what was told
 *   stores               |                        |
 *                        | flush: it has landed   | returns; the caller copies the page
 *
 * Who copied before the store would never hear of it again.
 */
#include <vmmu/dirty.h>

#include "api/dirty.h"
#include "vm.h"

/* Pages for cells: one for 32,768 frames, and those above. */
#define RESERVE VMMU_RESERVE_PAGES

static bool make_cells(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_gfn_range left = range;

	for (;;) {
		vmmu_section_begin(task);
		left.start = vmmu_dirty_make(task, space, left);
		vmmu_section_end(task);
		if (left.start.n == range.end.n)
			return true;
		if (!vmmu_reserve_fill(task->vm, &task->cache->reserve, RESERVE))
			return false;
	}
}

enum vmmu_error vmmu_log_prepare(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_cache cache = {.count = 0};
	struct vmmu_task task = task_of_vm(vm);
	bool made;

	task.cache = &cache;
	made = make_cells(&task, space, range);
	vmmu_cache_drain(vm, &cache);
	if (!made)
		return VMMU_ENOMEM;
	/* From an earlier life. */
	if (!VMMU_MUTANT(LOG_OLD_BITS))
		(void)vmmu_dirty_take(vm, space, range, NULL);
	(void)atomic_plus(&vm->logging, 1);
	return VMMU_OK;
}

void vmmu_log_end(struct vmmu_vm *vm)
{
	(void)atomic_plus(&vm->logging, (uint64_t)-1);
}

/* Whoever took a leaf away in a section that began before has told the cells, and has flushed. */
static void wait_for_sections(struct vmmu_task *task)
{
	vmmu_section_begin(task);
	vmmu_section_end(task);
}

/* The leaves' dirty flags go into the cells. */
static void collect(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	struct vmmu_harvest h = {.range = range};

	vmmu_collect_dirty(task, &h);
}

/*
 * What is forgotten here comes before the flush: it has landed when the flush is over, and the call
 * has not returned. CPUs may still write by way of huge leaves that are split now, too.
 */
static void forget_until_now(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	if (!VMMU_MUTANT(LOG_DISCARDS) && !VMMU_MUTANT(LOG_OLD_BITS))
		(void)vmmu_dirty_take(task->vm, task->space, range, NULL);
	vmmu_section_begin(task);
	if (!VMMU_MUTANT(LOG_UNFLUSHED))
		vmmu_debt_add(task, task->space, range);
	vmmu_section_end(task);
	if (VMMU_MUTANT(LOG_DISCARDS))
		(void)vmmu_dirty_take(task->vm, task->space, range, NULL);
}

void vmmu_log_begin(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_cache cache = {.count = 0};
	struct vmmu_task task = task_of_vm(vm);

	task.cache = &cache;
	task.space = space;
	if (!VMMU_MUTANT(LOG_KEEPS_HUGE))
		vmmu_split_huge(&task, range);
	collect(&task, range);
	forget_until_now(&task, range);
	vmmu_cache_drain(vm, &cache);
	vmmu_table_collect(vm);
}

/* ---- the calls ---- */

static enum vmmu_error range_of_part(struct vmmu_vm *vm, const struct vmmu_slot_part *part,
				     struct vmmu_gfn_range *range) VMMU_REQUIRES(vmmu_slots_lock)
{
	const struct vmmu_slot *slot = vmmu_slot_of_id(vm, part->space, part->id);
	uint64_t count = part->count;

	if (!slot || !(slot->flags & VMMU_SLOT_LOG))
		return VMMU_ENOENT;
	if (part->first > slot->count || count > slot->count - part->first)
		return VMMU_EINVAL;
	if (!count)
		count = slot->count - part->first;
	range->start.n = slot->base.n + part->first;
	range->end.n = range->start.n + count;
	return VMMU_OK;
}

static enum vmmu_error look(struct vmmu_task *task, const struct vmmu_slot_part *part,
			    uint64_t *bitmap, uint64_t *count) VMMU_REQUIRES(vmmu_slots_lock)
{
	struct vmmu_gfn_range range;
	enum vmmu_error error = range_of_part(task->vm, part, &range);
	uint64_t found = 0;

	if (error != VMMU_OK)
		return error;
	if (VMMU_MUTANT(LOG_TAKES_FIRST))
		found = vmmu_dirty_take(task->vm, part->space, range, bitmap);
	collect(task, range);
	if (!VMMU_MUTANT(LOG_HASTY))
		wait_for_sections(task);
	if (!VMMU_MUTANT(LOG_TAKES_FIRST))
		found = vmmu_dirty_take(task->vm, part->space, range, bitmap);
	if (found && !VMMU_MUTANT(LOG_UNSETTLED))
		wait_for_sections(task);
	if (count)
		*count = found;
	return VMMU_OK;
}

enum vmmu_error vmmu_dirty_log(struct vmmu_vm *vm, const struct vmmu_slot_part *part,
			       uint64_t *bitmap, uint64_t *count)
{
	struct vmmu_task task = task_of_vm(vm);
	enum vmmu_error error;

	if (vm_is_dead(vm))
		return VMMU_EDEAD;
	if (part->space >= vm->config.spaces)
		return VMMU_EINVAL;
	task.space = part->space;
	vmmu_slots_acquire(vm);
	error = look(&task, part, bitmap, count);
	vmmu_slots_release(vm);
	vmmu_table_collect(vm);
	return error == VMMU_OK && vm_is_dead(vm) ? VMMU_EDEAD : error;
}

enum vmmu_error vmmu_dirty_mark(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	if (space >= vm->config.spaces || range.start.n > range.end.n)
		return VMMU_EINVAL;
	if (range.end.n > vm->gfn_end.n)
		range.end = vm->gfn_end;
	/* A full barrier between what the host wrote and the cells, as in vmmu_guest_written(). */
	if (atomic_plus(&vm->logging, 0) && range.start.n < range.end.n)
		vmmu_dirty_set(vm, space, range);
	return VMMU_OK;
}
