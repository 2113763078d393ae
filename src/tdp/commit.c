/* SPDX-License-Identifier: MIT */
#include "tdp/commit.h"

#include "vm.h"

#define TO(kind) (1u << VMMU_KIND_##kind)
static const uint8_t legal[VMMU_KIND_COUNT] = {
	[VMMU_KIND_EMPTY] = TO(TABLE) | TO(LEAF) | TO(MMIO),
	[VMMU_KIND_TABLE] = TO(EMPTY) | TO(LEAF),
	[VMMU_KIND_LEAF] = TO(EMPTY) | TO(TABLE) | TO(LEAF),
	[VMMU_KIND_MMIO] = TO(EMPTY) | TO(TABLE) | TO(LEAF) | TO(MMIO),
	[VMMU_KIND_FROZEN] = 0,
};

static enum vmmu_stat pages_stat(enum vmmu_level level)
{
	return VMMU_STAT_PAGES_4K + (level - VMMU_LEVEL_4K);
}

/* Does the host want to hear what becomes of single leaves? */
static inline bool is_watched(const struct vmmu_vm *vm)
{
	return vm_hears_dirty(vm) || vm->port->page_accessed || vm->port->trace;
}

static void hand_over_told(const struct vmmu_vm *vm, unsigned space, vmmu_spte_t e,
			   struct vmmu_gfn_range range)
{
	if (spte_is_dirty(&vm->fmt, e) && !VMMU_MUTANT(LOSE_DIRTY))
		vmmu_dirty_told(vm, space, range, spte_pfn(e));
	if (vm->port->page_accessed && spte_is_accessed(&vm->fmt, e))
		vm->port->page_accessed(vm->host, range.start, range.end.n - range.start.n,
					spte_pfn(e));
}

/* The host learns what the hardware recorded before the record goes away. */
static inline void hand_over(const struct vmmu_vm *vm, unsigned space, vmmu_spte_t e,
			     struct vmmu_gfn_range range)
{
	if (VMMU_UNLIKELY(is_watched(vm)))
		hand_over_told(vm, space, e, range);
}

/* ---- a table that was taken out ---- */

struct detached {
	struct vmmu_sp *sp;
	unsigned index;
	uint64_t leaves; /* in this table */
};

/* Freeze entries up to one that is more than a leaf which nobody watches. Return: what it was. */
static vmmu_spte_t freeze_leaves(const struct vmmu_vm *vm, struct detached *d)
{
	bool watched = is_watched(vm);
	vmmu_spte_t old;

	do {
		old.raw = atomic_swap(&d->sp->entries[d->index++].raw, spte_frozen().raw);
		if (watched || spte_kind(old) != VMMU_KIND_LEAF)
			return old;
		d->leaves++;
	} while (d->index < VMMU_TABLE_ENTRIES);
	return spte_empty();
}

/* Freeze the next entries. Return: the table that the last one pointed to, or NULL. */
static struct vmmu_sp *freeze_entries(struct vmmu_task *task, struct detached *d)
{
	struct vmmu_vm *vm = task->vm;
	enum vmmu_level level = d->sp->role.level;
	uint64_t frames = vmmu_level_frames(level);
	vmmu_spte_t old = freeze_leaves(vm, d);
	vmmu_gfn_t gfn = {d->sp->gfn.n + (d->index - 1u) * frames};

	switch (spte_kind(old)) {
	case VMMU_KIND_LEAF:
		d->leaves++;
		hand_over(vm, d->sp->role.space, old,
			  (struct vmmu_gfn_range){gfn, {gfn.n + frames}});
		trace(task, VMMU_TRACE_ENTRY, level, gfn.n, old.raw, spte_frozen().raw);
		return NULL;
	case VMMU_KIND_TABLE:
		return vmmu_table_find(vm, spte_pfn(old));
	case VMMU_KIND_FROZEN:
		(void)VMMU_CHECK(task, false, "a table was taken apart twice", gfn.n, level);
		return NULL;
	case VMMU_KIND_EMPTY:
	case VMMU_KIND_MMIO:
	case VMMU_KIND_COUNT:
		break;
	}
	return NULL;
}

static void detached_done(struct vmmu_task *task, struct detached *d)
{
	enum vmmu_level level = d->sp->role.level;

	if (d->leaves && !VMMU_MUTANT(MISCOUNT)) {
		stat_add(task, pages_stat(level), -d->leaves);
		stat_add(task, VMMU_STAT_ZAPPED, d->leaves);
	}
	vmmu_table_unlink(task, d->sp);
}

/*
 * Nothing points to @top any more, but other threads may still be in it: freezing entry by
 * entry makes each entry's end this thread's doing, exactly once.
 */
static __attribute__((noinline)) void detach(struct vmmu_task *task, struct vmmu_sp *top)
{
	struct detached stack[VMMU_LEVEL_256T] = {{.sp = top}};
	unsigned depth = 1;

	while (depth) {
		struct detached *d = &stack[depth - 1];
		struct vmmu_sp *child;

		if (d->index == VMMU_TABLE_ENTRIES) {
			detached_done(task, d);
			depth--;
			continue;
		}
		child = freeze_entries(task, d);
		if (child && VMMU_CHECK(task, depth < VMMU_LEVEL_256T,
					"tables are nested deeper than levels exist", child->pfn.n,
					child->gfn.n))
			stack[depth++] = (struct detached){.sp = child};
	}
}

/* ---- accounting of one transition ---- */

static void leaf_changed(struct vmmu_iter *it, vmmu_spte_t from, vmmu_spte_t to)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_fmt *fmt = &task->vm->fmt;

	if (spte_access(fmt, from) & ~spte_access(fmt, to))
		vmmu_debt_add(task, it->root->role.space, iter_covers(it));
	if (spte_is_dirty(fmt, from) && !spte_is_dirty(fmt, to)) {
		/* A CPU that holds it as dirty would not record the next write. */
		if (!VMMU_MUTANT(CLEAN_UNPAID))
			vmmu_debt_add(task, it->root->role.space, iter_covers(it));
		hand_over(task->vm, it->root->role.space, from, iter_covers(it));
	}
}

static void leaf_gone(struct vmmu_iter *it, vmmu_spte_t from, vmmu_spte_t to)
{
	struct vmmu_task *task = it->task;

	stat_add(task, pages_stat(it->level), (uint64_t)-1);
	if (spte_kind(to) == VMMU_KIND_TABLE) {
		/* The children say what the huge leaf said: nothing is withdrawn. */
		stat_add(task, VMMU_STAT_SPLITS, 1);
		stat_add(task, pages_stat(it->level - 1u), VMMU_TABLE_ENTRIES);
		return;
	}
	stat_add(task, VMMU_STAT_ZAPPED, 1);
	vmmu_debt_add(task, it->root->role.space, iter_covers(it));
	hand_over(task->vm, it->root->role.space, from, iter_covers(it));
}

static void table_gone(struct vmmu_iter *it, vmmu_spte_t from)
{
	struct vmmu_task *task = it->task;
	struct vmmu_sp *sp = vmmu_table_find(task->vm, spte_pfn(from));

	if (!VMMU_CHECK(task, sp, "an entry points to a table that does not exist", it->gfn.n,
			from.raw))
		return;
	vmmu_debt_add(task, it->root->role.space, iter_covers(it));
	detach(task, sp);
}

static inline __attribute__((always_inline)) void account(struct vmmu_iter *it, vmmu_spte_t from,
							  vmmu_spte_t to)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_port *port = task->vm->port;
	enum vmmu_kind old = spte_kind(from), new = spte_kind(to);

	trace(task, VMMU_TRACE_ENTRY, it->level, it->gfn.n, from.raw, to.raw);
	if (VMMU_UNLIKELY(port->tables_written != NULL))
		port->tables_written(task->vm->host, it->table_pfn[it->level],
				     gfn_index(it->gfn, it->level), 1);
	if (new == VMMU_KIND_LEAF && old != VMMU_KIND_LEAF)
		stat_add(task, pages_stat(it->level), 1);
	else if (new == VMMU_KIND_MMIO && old != VMMU_KIND_MMIO)
		stat_add(task, VMMU_STAT_MMIO_ENTRIES, 1);
	if (old == VMMU_KIND_LEAF) {
		if (new == VMMU_KIND_LEAF)
			leaf_changed(it, from, to);
		else
			leaf_gone(it, from, to);
	} else if (old == VMMU_KIND_TABLE) {
		table_gone(it, from);
	}
}

static bool is_legal(vmmu_spte_t from, vmmu_spte_t to)
{
	enum vmmu_kind old = spte_kind(from), new = spte_kind(to);

	if (!(legal[old] & (1u << new)))
		return false;
	return old != VMMU_KIND_LEAF || new != VMMU_KIND_LEAF || spte_pfn(from).n == spte_pfn(to).n;
}

/* The mistake COMMIT_BLIND. */
static bool store_blindly(struct vmmu_iter *it, vmmu_spte_t to)
{
	it->old = spte_get(it->slot);
	atomic_put(&it->slot->raw, to.raw);
	return true;
}

static inline __attribute__((always_inline)) bool commit_any(struct vmmu_iter *it, vmmu_spte_t to)
{
	vmmu_spte_t from = it->old;

	if (!VMMU_CHECK(it->task, is_legal(from, to),
			"an entry was about to change in a way that no rule allows", from.raw,
			to.raw))
		return false;
	if (!(VMMU_MUTANT(COMMIT_BLIND) ? store_blindly(it, to)
					: atomic_cas(&it->slot->raw, &it->old.raw, to.raw)))
		return false;
	it->old = to;
	account(it, from, to);
	return true;
}

static __attribute__((noinline)) bool commit_rare(struct vmmu_iter *it, vmmu_spte_t to)
{
	return commit_any(it, to);
}

/* A table, or a device, where nothing was; nobody listens. */
static __attribute__((noinline)) bool fill_with_other(struct vmmu_iter *it, vmmu_spte_t to)
{
	enum vmmu_kind new = spte_kind(to);

	if (VMMU_UNLIKELY(!(legal[VMMU_KIND_EMPTY] & (1u << new))))
		return commit_rare(it, to);
	if (!atomic_cas(&it->slot->raw, &it->old.raw, to.raw))
		return false;
	it->old = to;
	if (new == VMMU_KIND_MMIO)
		stat_add(it->task, VMMU_STAT_MMIO_ENTRIES, 1);
	return true;
}

/* Nearly all commits fill an empty entry with a leaf, and nobody listens: that way is short. */
bool vmmu_commit(struct vmmu_iter *it, vmmu_spte_t to)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_port *port = task->vm->port;

	if (spte_kind(it->old) != VMMU_KIND_EMPTY || port->trace || port->tables_written ||
	    VMMU_MUTANT(COMMIT_BLIND))
		return commit_rare(it, to);
	if (VMMU_UNLIKELY(spte_kind(to) != VMMU_KIND_LEAF))
		return fill_with_other(it, to);
	if (!atomic_cas(&it->slot->raw, &it->old.raw, to.raw))
		return false;
	it->old = to;
	stat_add(task, pages_stat(it->level), 1);
	return true;
}

void vmmu_commit_empty(struct vmmu_iter *it)
{
	while (spte_kind(it->old) != VMMU_KIND_EMPTY && !commit_any(it, spte_empty()))
		if (vm_is_dead(it->task->vm))
			return; /* refused: it->old stays, and trying again would not end */
}

bool vmmu_commit_flags(struct vmmu_iter *it, vmmu_spte_t to)
{
	const struct vmmu_port *port = it->task->vm->port;

	if (!atomic_cas(&it->slot->raw, &it->old.raw, to.raw))
		return false;
	it->old = to;
	if (VMMU_UNLIKELY(port->tables_written != NULL))
		port->tables_written(it->task->vm->host, it->table_pfn[it->level],
				     gfn_index(it->gfn, it->level), 1);
	return true;
}
