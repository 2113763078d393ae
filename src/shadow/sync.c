/* SPDX-License-Identifier: MIT */
/*
 * Out-of-sync tables. A level-1 table whose guest frame the guest may write is unsync; each entry
 * that leads to it, over any number of tables, has its bit in unsync_below of the table it is in.
 *
 *   write fault on the frame:   mark unsync, tell the tables above, then let the write through
 *   the guest flushes:          write-protect the frames, flush, then read and compare
 *
 * Marks are set beside other faults, too, with the frame's lock bit and the shades spin; they go
 * under the exclusive lock only. Links come with the spin: a new one is either there to be marked,
 * or its maker finds the table stale and leaves it to the exclusive lock.
 *
 * In that order a write of the guest that comes before its flush is never missed: either it
 * came before the frame was write-protected and is read, or it faults.
 */
#include "shadow/shade.h"
#include "vm.h"

/* ---- marks ---- */

static bool bit_get(const struct vmmu_shade *s, unsigned index)
{
	return s->unsync_below[index / 64] >> (index % 64) & 1u;
}

static void bit_flip(struct vmmu_shade *s, unsigned index)
{
	s->unsync_below[index / 64] ^= UINT64_C(1) << (index % 64);
}

/*
 * Bring the marks of all tables above in line with @below, whose staleness has just changed. A walk
 * up over parent lists; as deep as there are levels.
 */
static void tell_above(struct vmmu_shade *below, bool stale)
{
	vmmu_link_t todo[VMMU_LEVEL_256T + 1];
	unsigned depth = 0;

	todo[0] = below->parents;
	for (;;) {
		struct vmmu_shade *s;
		unsigned index;
		bool was;

		while (!todo[depth].n) {
			if (!depth--)
				return;
		}
		s = link_shade(todo[depth]);
		index = link_index(todo[depth]);
		todo[depth] = s->links[index];
		if (bit_get(s, index) == stale)
			continue;
		was = shade_is_stale(s);
		bit_flip(s, index);
		s->unsync_count += stale ? 1u : UINT32_MAX;
		if (was != shade_is_stale(s) && depth < VMMU_LEVEL_256T)
			todo[++depth] = s->parents;
	}
}

static void set_bit(struct vmmu_shade *s, unsigned index, bool stale)
{
	bool was = shade_is_stale(s);

	if (bit_get(s, index) == stale)
		return;
	bit_flip(s, index);
	s->unsync_count += stale ? 1u : UINT32_MAX;
	if (was != shade_is_stale(s))
		tell_above(s, stale);
}

void vmmu_unsync_mark(struct vmmu_shade *parent, unsigned index)
{
	set_bit(parent, index, true);
}

void vmmu_unsync_unmark(struct vmmu_shade *parent, unsigned index)
{
	set_bit(parent, index, false);
}

static void set_unsync(struct vmmu_vm *vm, struct vmmu_shade *s, bool unsync)
{
	if (shade_is_unsync(s) == unsync)
		return;
	if (!VMMU_MUTANT(UNSYNC_UNTOLD))
		tell_above(s, unsync);
	atomic_put_release(&s->unsync, unsync);
	vm->shades.unsync += unsync ? 1u : (uint64_t)-1;
}

bool vmmu_frame_is_shut(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn, bool is_write)
{
	const struct vmmu_shade *s = vmmu_shade_first(vm, space, gfn);

	for (; s; s = s->same_frame) {
		if (!shade_is_mirror(s))
			continue;
		if ((s->sp.role.level > VMMU_LEVEL_4K && !VMMU_MUTANT(FREELY_WRITABLE)) ||
		    (!is_write && !shade_is_unsync(s)))
			return true;
	}
	return false;
}

static void make_unsync(struct vmmu_task *task, struct vmmu_shade *first)
{
	for (struct vmmu_shade *s = first; s; s = s->same_frame) {
		if (!shade_is_mirror(s) || shade_is_unsync(s))
			continue;
		set_unsync(task->vm, s, true);
		stat_add(task, VMMU_STAT_SHADOW_UNSYNC, 1);
	}
}

enum vmmu_writable vmmu_frame_writable(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn,
				       bool is_write)
{
	if (vmmu_frame_is_shut(task->vm, space, gfn, is_write))
		return VMMU_MUST_NOT_WRITE;
	if (!VMMU_MUTANT(UNSYNC_LATE))
		make_unsync(task, vmmu_shade_first(task->vm, space, gfn));
	return VMMU_MAY_WRITE;
}

bool vmmu_frame_unsync(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
{
	struct vmmu_vm *vm = task->vm;

	if (vmmu_frame_is_shut(vm, space, gfn, true))
		return false;
	/* Links come one by one with this, so each is marked here, or finds the table stale. */
	vmmu_spin_acquire(&vm->shades.lock, vm->port, vm->host);
	make_unsync(task, vmmu_shade_first(vm, space, gfn));
	vmmu_spin_release(&vm->shades.lock);
	return true;
}

/* ---- bringing up to date; entry by entry in adopt.c ---- */

/* The first unsync table below @root, by way of the marks. */
static struct vmmu_shade *find_unsync(struct vmmu_task *task, struct vmmu_shade *root)
{
	struct vmmu_shade *s = root;

	while (s && !shade_is_unsync(s)) {
		unsigned word = 0;
		vmmu_spte_t e;
		struct vmmu_sp *child;

		while (word < VMMU_TABLE_ENTRIES / 64 && !s->unsync_below[word])
			word++;
		if (!VMMU_CHECK(task, word < VMMU_TABLE_ENTRIES / 64,
				"a table counts unsync tables below it and marks none", s->sp.gfn.n,
				s->unsync_count))
			return NULL;
		e = shade_get(s, word * 64 + (unsigned)__builtin_ctzll(s->unsync_below[word]));
		child = vmmu_table_find(task->vm, spte_pfn(e));
		if (!VMMU_CHECK(task, child, "a mark for unsync tables is on an entry without one",
				s->sp.gfn.n, e.raw))
			return NULL;
		s = shade_of(child);
	}
	return s;
}

/* Tables that share a flush. */
#define SYNC_TABLES 16u

/* Write-protect some of the unsync tables below @root. Return: how many. */
static unsigned protect_unsync(struct vmmu_task *task, struct vmmu_shade *root,
			       struct vmmu_shade *found[SYNC_TABLES]) VMMU_REQUIRES(vmmu_mmu_lock)
{
	unsigned count = 0;

	while (count < SYNC_TABLES && shade_is_stale(root)) {
		struct vmmu_shade *s = find_unsync(task, root);

		if (!s)
			break;
		if (!VMMU_MUTANT(SYNC_WRITABLE))
			vmmu_frame_protect(task, s->sp.role.space, s->sp.gfn);
		set_unsync(task->vm, s, false); /* so that the next one is found */
		found[count++] = s;
	}
	return count;
}

void vmmu_shade_sync(struct vmmu_task *task, struct vmmu_shade *root)
{
	struct vmmu_shade *found[SYNC_TABLES];
	unsigned count;

	while (shade_is_stale(root) && (count = protect_unsync(task, root, found)) != 0) {
		vmmu_section_settle(task); /* after this the guest cannot write them unseen */
		for (unsigned i = 0; i < count; i++)
			vmmu_shade_refresh(task, found[i]);
		stat_add(task, VMMU_STAT_SHADOW_SYNC, count);
	}
}
