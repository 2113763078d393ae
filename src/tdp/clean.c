/* SPDX-License-Identifier: MIT */
/*
 * Dirty leaves: read and cleaned, beside faults. Two passes, the first of which finds out where to
 * look.
 */
#include "tdp/harvest.h"

#include "tdp/tdp.h"
#include "vm.h"

/* Frames harvested between two looks at who waits. */
#define FRAMES_PER_STEP (VMMU_TABLE_ENTRIES * 8u)

/*
 * Most tables have not been used since the last look, and are not looked through. A TABLE entry of
 * the lowest kind tells by its accessed flag, which the first pass makes a mark of our own. The
 * flush after it has every CPU set the flag again before it uses what is below; so whatever becomes
 * dirty once the second pass has looked is found by the next first pass.
 *
 * Tables that are only partly in the range are looked through, and keep their flag.
 */
static bool is_lowest_table(const struct vmmu_iter *it)
{
	return it->level == VMMU_LEVEL_2M && spte_kind(it->old) == VMMU_KIND_TABLE;
}

static bool tells_use(const struct vmmu_iter *it)
{
	return it->task->vm->fmt.dirty && range_holds(it->range, iter_covers(it));
}

static void mark_used(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_2M, range);
	for (; it.valid; vmmu_iter_next(&it)) {
		while (is_lowest_table(&it) && tells_use(&it) && (it.old.raw & fmt->accessed)) {
			if (!vmmu_commit_flags(&it, spte_table_used(fmt, it.old)))
				continue;
			if (!VMMU_MUTANT(MARK_UNPAID))
				vmmu_debt_add(task, task->space, iter_covers(&it));
		}
	}
}

/* False: nothing below can be dirty. */
static bool take_mark(struct vmmu_iter *it)
{
	while (is_lowest_table(it) && (it->old.raw & VMMU_SPTE_USED))
		if (vmmu_commit_flags(it, (vmmu_spte_t){it->old.raw & ~VMMU_SPTE_USED}))
			return true;
	return false;
}

/* ---- leaves ---- */

/* What is taken from a leaf. Without dirty flags, what is writable counts as dirty. */
static uint64_t wanted_of(const struct vmmu_fmt *fmt)
{
	return fmt->dirty ? fmt->dirty : fmt->write;
}

static void clean_huge(struct vmmu_iter *it, struct vmmu_harvest *h)
{
	const struct vmmu_fmt *fmt = &it->task->vm->fmt;

	vmmu_harvest_take(it, h, wanted_of(fmt), wanted_of(fmt), fmt->saved_write);
}

/* Leaves of neighbouring frames that were cleaned and not told yet. */
struct run {
	struct vmmu_task *task;
	struct vmmu_harvest *h;
	struct vmmu_gfn_range frames;
	vmmu_pfn_t pfn; /* of the first */
};

static void run_tell(const struct run *run)
{
	const struct vmmu_vm *vm = run->task->vm;

	vmmu_harvest_add(run->h, run->frames);
	if (vm_hears_dirty(vm) && run->frames.start.n < run->frames.end.n &&
	    !VMMU_MUTANT(LOSE_DIRTY))
		vmmu_dirty_told(vm, run->task->space, run->frames, run->pfn);
}

static void run_add(struct run *run, vmmu_gfn_t gfn, vmmu_pfn_t pfn)
{
	uint64_t count = run->frames.end.n - run->frames.start.n;

	/* Host frames are of interest to the port only. */
	if (gfn.n != run->frames.end.n ||
	    (pfn.n != run->pfn.n + count && run->task->vm->port->page_dirty)) {
		run_tell(run);
		run->frames.start = gfn;
		run->pfn = pfn;
	}
	run->frames.end.n = gfn.n + 1;
}

/*
 * A leaf of a lowest table, where most of the work is: as vmmu_commit() has it, but what is owed
 * and told is done for many at once. Return: it was dirty, and this thread has cleaned it; *@old is
 * what it was.
 */
static bool clean_entry(struct vmmu_task *task, vmmu_spte_slot_t *slot, vmmu_gfn_t gfn,
			vmmu_spte_t *old)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	uint64_t wanted = wanted_of(fmt), to;

	*old = spte_get(slot);
	do {
		if (!(old->raw & wanted) || spte_kind(*old) != VMMU_KIND_LEAF)
			return false;
		to = (old->raw & ~wanted) | fmt->saved_write;
	} while (!atomic_cas(&slot->raw, &old->raw, to));
	trace(task, VMMU_TRACE_ENTRY, VMMU_LEVEL_4K, gfn.n, old->raw, to);
	return true;
}

static struct vmmu_gfn_range covered_part(const struct vmmu_iter *it)
{
	struct vmmu_gfn_range part = iter_covers(it);

	if (part.start.n < it->range.start.n)
		part.start = it->range.start;
	if (part.end.n > it->range.end.n)
		part.end = it->range.end;
	return part;
}

static void clean_table(const struct vmmu_iter *it, struct vmmu_harvest *h)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_port *port = task->vm->port;
	vmmu_pfn_t table = spte_pfn(it->old);
	vmmu_spte_slot_t *entries = port->page_map(task->vm->host, table);
	struct vmmu_gfn_range part = covered_part(it);
	struct run run = {.task = task, .h = h};
	vmmu_spte_t old;

	for (vmmu_gfn_t gfn = part.start; gfn.n < part.end.n; gfn.n++)
		if (clean_entry(task, &entries[gfn.n % VMMU_TABLE_ENTRIES], gfn, &old))
			run_add(&run, gfn, spte_pfn(old));
	if (run.frames.start.n == run.frames.end.n)
		return;
	run_tell(&run);
	/* A CPU that holds one as dirty would not record the next write. */
	if (!VMMU_MUTANT(CLEAN_UNPAID))
		vmmu_debt_add(task, task->space, part);
	if (VMMU_UNLIKELY(port->tables_written != NULL))
		port->tables_written(task->vm->host, table,
				     (unsigned)(part.start.n % VMMU_TABLE_ENTRIES),
				     (unsigned)(part.end.n - part.start.n));
}

static void clean_root(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_harvest *h,
		       struct vmmu_gfn_range range) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_2M, range);
	for (; it.valid; vmmu_iter_next(&it)) {
		if (!is_lowest_table(&it))
			clean_huge(&it, h);
		else if (!tells_use(&it) || take_mark(&it))
			clean_table(&it, h);
	}
}

/*
 * All roots of the space: one on its way out still knows what was written by way of it. Faults go
 * on meanwhile; each entry has one winner. Return: first frame not looked at.
 */
static uint64_t pass_some(struct vmmu_task *task, struct vmmu_harvest *h, uint64_t start,
			  bool marks) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	uint64_t end = h->range.end.n;

	while (start < end) {
		struct vmmu_gfn_range step = {{start}, {end}};

		step.start = vmmu_tdp_next_used_any(task, step);
		/* Up to the end of a table: none is cut in two. */
		start = step.start.n + FRAMES_PER_STEP - step.start.n % VMMU_TABLE_ENTRIES;
		if (start > end)
			start = end;
		step.end.n = start;
		for (struct vmmu_sp *r = task->vm->roots; r; r = r->root_next) {
			if (r->role.space != task->space)
				continue;
			if (marks)
				mark_used(task, r, step);
			else
				clean_root(task, r, h, step);
		}
		if (vmmu_section_wants_pause(task, true))
			break;
	}
	return start;
}

static void pass(struct vmmu_task *task, struct vmmu_harvest *h, bool marks)
{
	uint64_t start = h->range.start.n;

	while (start < h->range.end.n) {
		vmmu_section_begin_shared(task);
		start = pass_some(task, h, start, marks);
		vmmu_section_end_shared(task);
		if (start < h->range.end.n)
			vmmu_section_yield(task);
	}
}

void vmmu_tdp_harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	if (task->vm->fmt.dirty)
		pass(task, h, true);
	pass(task, h, false);
}
