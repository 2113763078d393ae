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

/* Return: the second pass may find something. */
static bool mark_entry(struct vmmu_iter *it) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &it->task->vm->fmt;

	if (!is_lowest_table(it))
		return spte_kind(it->old) == VMMU_KIND_LEAF;
	if (!tells_use(it))
		return true;
	while (is_lowest_table(it) && (it->old.raw & fmt->accessed)) {
		if (!vmmu_commit_flags(it, spte_table_used(fmt, it->old)))
			continue;
		if (!VMMU_MUTANT(MARK_UNPAID))
			vmmu_debt_add(it->task, it->task->space, iter_covers(it));
	}
	return (it->old.raw & VMMU_SPTE_USED) || !is_lowest_table(it);
}

static bool mark_used(struct vmmu_task *task, struct vmmu_sp *root, struct vmmu_gfn_range range)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_iter it;
	bool any = false;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_2M, range);
	for (; it.valid; vmmu_iter_next(&it))
		any |= mark_entry(&it);
	return any;
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

/* What makes an entry a dirty leaf, and what the leaf becomes. */
struct cleaning {
	uint64_t mask, dirty_leaf, taken, added;
};

static struct cleaning cleaning_of(const struct vmmu_fmt *fmt)
{
	uint64_t wanted = wanted_of(fmt);

	return (struct cleaning){
		.mask = wanted | VMMU_SPTE_KIND_MASK,
		.dirty_leaf = wanted | (uint64_t)VMMU_KIND_LEAF << VMMU_SPTE_KIND_SHIFT,
		.taken = wanted,
		.added = fmt->saved_write,
	};
}

/* False: it is no dirty leaf, or somebody else was faster. */
static inline bool clean_one(vmmu_spte_slot_t *slot, const struct cleaning *c, vmmu_spte_t *old,
			     vmmu_spte_t *to)
{
	*old = spte_get(slot);
	do {
		if ((old->raw & c->mask) != c->dirty_leaf)
			return false;
		to->raw = (old->raw & ~c->taken) | c->added;
	} while (!atomic_cas(&slot->raw, &old->raw, to->raw));
	return true;
}

/*
 * Leaves of a lowest table, where most of the work is: as vmmu_commit() has it, but what is owed
 * and told is done for many at once. A call of its own, so that the loop has registers.
 */
static __attribute__((noinline)) void clean_entries(struct vmmu_run *run, vmmu_spte_slot_t *entries,
						    struct vmmu_gfn_range part)
{
	const struct vmmu_vm *vm = run->task->vm;
	const struct cleaning cleaning = cleaning_of(&vm->fmt);
	bool watched = vm->port->page_dirty || vm->port->trace;
	uint64_t base = part.start.n - part.start.n % VMMU_TABLE_ENTRIES;

	for (uint64_t i = part.start.n - base; i < part.end.n - base; i++) {
		vmmu_spte_t old, to;

		if (clean_one(&entries[i], &cleaning, &old, &to)) {
			if (VMMU_UNLIKELY(watched)) {
				trace(run->task, VMMU_TRACE_ENTRY, VMMU_LEVEL_4K, base + i, old.raw,
				      to.raw);
				vmmu_run_watch(run, base + i, spte_pfn(old));
			}
			run->count++;
		} else if (run->count) {
			vmmu_run_tell(run, base + i);
		}
	}
	if (run->count)
		vmmu_run_tell(run, part.end.n);
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
	struct vmmu_run run = {.task = task, .h = h};
	uint64_t before = h->count;

	clean_entries(&run, entries, part);
	if (h->count == before)
		return;
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

enum pass { PASS_MARK, PASS_CLEAN };

/*
 * All roots of the space: one on its way out still knows what was written by way of it. Faults go
 * on meanwhile; each entry has one winner. @any: set if PASS_CLEAN may find something.
 * Return: first frame not looked at.
 */
static uint64_t pass_some(struct vmmu_task *task, struct vmmu_harvest *h, uint64_t start,
			  enum pass pass, bool *any) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
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
			if (r->role.space != task->space ||
			    (VMMU_MUTANT(LOG_VALID_ONLY) && !root_is_valid(r)))
				continue;
			if (pass == PASS_MARK)
				*any |= mark_used(task, r, step);
			else
				clean_root(task, r, h, step);
		}
		if (vmmu_section_wants_pause(task, true))
			break;
	}
	return start;
}

static bool pass_all(struct vmmu_task *task, struct vmmu_harvest *h, enum pass pass)
{
	uint64_t start = h->range.start.n;
	bool any = false;

	while (start < h->range.end.n) {
		vmmu_section_begin_shared(task);
		start = pass_some(task, h, start, pass, &any);
		vmmu_section_end_shared(task);
		if (start < h->range.end.n)
			vmmu_section_yield(task);
	}
	return any;
}

void vmmu_tdp_harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	if (!task->vm->fmt.dirty || pass_all(task, h, PASS_MARK))
		(void)pass_all(task, h, PASS_CLEAN);
}
