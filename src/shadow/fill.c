/* SPDX-License-Identifier: MIT */
/*
 * Empty entries of a level-1 table become leaves, side by side with other vCPUs: that of a fault,
 * and those of its neighbours which the guest has used before, for which there will be no fault.
 */
#include "shadow/fetch.h"
#include "shadow/frame.h"
#include "shadow/leaves.h"
#include "vm.h"

/* Claim the empty ones of @bits. Return: those that are the caller's to fill now. */
static inline uint64_t claim(vmmu_atomic_t *word, uint64_t bits)
{
	if (VMMU_MUTANT(FILL_UNCLAIMED))
		return bits;
	return bits & ~atomic_set(word, bits);
}

/*
 * May the guest write the frame? For a write its level-1 tables become unsync: whoever is above
 * them knows before the leaf can be used.
 */
static inline bool may_write(struct vmmu_leaves *l, vmmu_gfn_t gfn, bool is_write)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock) VMMU_REQUIRES(vmmu_frame_bit)
{
	const struct vmmu_vm *vm = l->task->vm;
	unsigned space = l->s->sp.role.space;

	return !leaves_may_hold_tables(l, gfn) || !vmmu_frame_is_shut(vm, space, gfn, false) ||
	       VMMU_MUTANT(FILL_TABLE) ||
	       (is_write && !VMMU_MUTANT(UNSYNC_LATE) && vmmu_frame_unsync(l->task, space, gfn));
}

/*
 * The leaf, and its place on the list of the frame. Whether tables of the guest in the frame forbid
 * writing is decided with the frame's bit held, for none comes meanwhile. Return: the leaf as
 * stored; 0: it had to be writable and may not; nothing changed.
 */
static inline uint64_t add(struct vmmu_leaves *l, unsigned index, uint64_t to, uint64_t gpte,
			   bool is_write) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	vmmu_gfn_t gfn = leaves_gfn(l, index, gpte);
	vmmu_atomic_t *head = (vmmu_atomic_t *)(void *)&l->rmap[gfn.n % VMMU_FRAMEMAP_ENTRIES];
	struct vmmu_shade *s = l->s;
	uint64_t list = vmmu_frame_lock(l->task->vm, head);

	if ((to & l->write) && !may_write(l, gfn, is_write)) {
		if (is_write) {
			vmmu_frame_unlock(head, list);
			return 0;
		}
		to &= ~l->write;
	}
	s->gptes[index] = l->frame ? gpte : 0;
	s->links[index].n = list;
	atomic_put_release(&s->sp.entries[index].raw, to);
	vmmu_frame_unlock(head, VMMU_MUTANT(FILL_UNLISTED) ? list : link_of(s, index).n);
	if (VMMU_MUTANT(FILL_UNCLAIMED))
		(void)atomic_set(&s->filled[index / 64], UINT64_C(1) << (index % 64));
	return to;
}

/* Entry @index is claimed. False: this is for vmmu_shade_map() to see to; nothing changed. */
static inline bool fill(struct vmmu_leaves *l, unsigned index, uint64_t gpte, bool is_write)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_vm *vm = l->task->vm;
	vmmu_gfn_t gfn = leaves_gfn(l, index, gpte);
	uint64_t *cell = leaves_cell(l, gfn);
	uint64_t to = leaves_want(l, gpte);

	if (VMMU_UNLIKELY(!cell))
		cell = vmmu_leaves_make_cell(l, gfn);
	if (!cell ||
	    (VMMU_UNLIKELY(l->tracked) && vmmu_tracked_kinds(vm, gfn) && !VMMU_MUTANT(TRACK_FILL)))
		return false;
	if (VMMU_MUTANT(GUEST_DIRTY))
		to |= l->take & l->write;
	to = leaves_complete(l, gfn, atomic_get((vmmu_atomic_t *)(void *)cell) & ~VMMU_FRAME_LOCKED,
			     to);
	if (!to)
		return false;
	if (is_write) {
		if (!(to & l->write))
			return false;
		to |= vm->fmt.dirty;
	}
	to = add(l, index, to, gpte, is_write);
	if (!to)
		return false;
	l->filled++;
	if (VMMU_UNLIKELY(l->watched))
		vmmu_shade_told(l->task, l->s, index, spte_empty(), shade_entry(to));
	return true;
}

/* Has the guest used the page that the entry maps? */
static inline bool is_worth(const struct vmmu_leaves *l, uint64_t gpte)
{
	const struct vmmu_guest_level *level = &l->task->vcpu->shadow.rules.format.level[1];

	return (gpte & VMMU_GUEST_ACCESSED) &&
	       vmmu_guest_entry_kind(level, gpte) == VMMU_GUEST_ENTRY_LEAF;
}

/* The entries of @bits that are worth a leaf. @frame: NULL for pieces of huge pages. */
static inline uint64_t worth_of(const struct vmmu_leaves *l, const uint8_t *frame, unsigned base,
				uint64_t bits)
{
	uint64_t worth = 0;

	if (!frame)
		return bits;
	for (; bits; bits &= bits - 1)
		if (is_worth(l,
			     shade_load_gpte(l->s, frame, base + (unsigned)__builtin_ctzll(bits))))
			worth |= bits & -bits;
	return worth;
}

/* Neighbours of entry @index that are empty, as bits of its word in ->filled. */
static inline uint64_t empty_around(const struct vmmu_leaves *l, unsigned index)
{
	unsigned count = l->task->vm->config.prefetch; /* a group lies in one word */
	unsigned first = index % 64 & ~(count - 1u);
	uint64_t group = ((UINT64_C(1) << count) - 1) << first;

	return group & ~(atomic_get(&l->s->filled[index / 64]) | UINT64_C(1) << (index % 64));
}

static void fill_around(struct vmmu_leaves *l, unsigned index) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_shade *s = l->s;
	const uint8_t *frame = l->frame ? shade_known_frame(l->task->vm, s) : NULL;
	vmmu_atomic_t *word = &s->filled[index / 64];
	unsigned base = index & ~63u;
	uint32_t before = l->filled;
	uint64_t bits, empty = 0;

	if (l->frame && !frame)
		return;
	bits = worth_of(l, frame, base, empty_around(l, index));
	if (!bits)
		return;
	/* Who sees the claim takes the lock alone before he relies on nothing being cached: so what
	 * the guest's entry says is asked once more. */
	for (bits = claim(word, bits); bits; bits &= bits - 1) {
		unsigned i = base + (unsigned)__builtin_ctzll(bits);
		uint64_t gpte = frame ? shade_load_gpte(s, frame, i) : VMMU_SHADE_PIECE;

		if (VMMU_MUTANT(PREFETCH_CLEAN))
			gpte |= VMMU_GUEST_DIRTY;
		if ((frame && !is_worth(l, gpte)) || !fill(l, i, gpte, false))
			empty |= bits & -bits;
	}
	if (empty)
		(void)atomic_clear(word, empty);
	stat_add(l->task, VMMU_STAT_PREFETCHED, l->filled - before);
}

/* Does the guest's entry still say so? */
static inline bool is_current(const struct vmmu_leaves *l, unsigned index, uint64_t gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const uint8_t *frame;

	if (!l->frame || VMMU_MUTANT(WRITTEN_PEEK))
		return true;
	frame = shade_known_frame(l->task->vm, l->s);
	return frame && shade_load_gpte(l->s, frame, index) == gpte;
}

bool vmmu_shade_fill_group(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			   uint64_t gpte, bool is_write)
{
	vmmu_atomic_t *word = &s->filled[index / 64];
	uint64_t own = UINT64_C(1) << (index % 64);
	struct vmmu_leaves l;
	bool done;

	if (!claim(word, own))
		return false;
	vmmu_leaves_begin(&l, task, s);
	l.decides_later = true;
	done = is_current(&l, index, gpte) && fill(&l, index, gpte, is_write);
	if (!done)
		(void)atomic_clear(word, own);
	else if (task->vm->config.prefetch > 1)
		fill_around(&l, index);
	vmmu_leaves_end(&l);
	return done;
}

void vmmu_shade_prefetch(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
{
	struct vmmu_leaves l;

	if (task->vm->config.prefetch <= 1 || (shade_is_mirror(s) && !vmmu_shade_frame(task, s)))
		return;
	vmmu_leaves_begin(&l, task, s);
	l.decides_later = true;
	fill_around(&l, index);
	vmmu_leaves_end(&l);
}

/* ---- leaves that are there ---- */

/* Is it the same leaf, but for the right to write and what that leaves behind? */
static bool differs_by_write(const struct vmmu_leaves *l, unsigned index, uint64_t to,
			     uint64_t gpte)
{
	const struct vmmu_fmt *fmt = &l->task->vm->fmt;
	uint64_t from = atomic_get_acquire(&l->s->sp.entries[index].raw);
	uint64_t marks = fmt->write | fmt->dirty | fmt->accessed;
	uint64_t soft = VMMU_GUEST_ACCESSED | VMMU_GUEST_DIRTY | VMMU_BIT(1);

	/* An entry of the guest's that has changed otherwise may be of another frame. */
	if (shade_raw_kind(from) != VMMU_KIND_LEAF || VMMU_MUTANT(WIDEN_CHANGED))
		return shade_raw_kind(from) == VMMU_KIND_LEAF;
	return !((from ^ to) & ~marks) && !((shade_gpte(l->s, index) ^ gpte) & ~soft);
}

/* As vmmu_shade_widen(). @to: what a new leaf would be. */
static bool widen(struct vmmu_leaves *l, unsigned index, uint64_t to, uint64_t gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	vmmu_gfn_t gfn = leaves_gfn(l, index, gpte);
	vmmu_atomic_t *head = (vmmu_atomic_t *)(void *)&l->rmap[gfn.n % VMMU_FRAMEMAP_ENTRIES];
	uint64_t list = vmmu_frame_lock(l->task->vm, head), from = 0;
	bool done = differs_by_write(l, index, to, l->frame ? gpte : 0) && may_write(l, gfn, true);

	if (done) {
		__atomic_store_n(&l->s->gptes[index], l->frame ? gpte : 0, __ATOMIC_RELAXED);
		/* What the CPU has set meanwhile stays. */
		from = atomic_set(&l->s->sp.entries[index].raw, to);
	}
	vmmu_frame_unlock(head, list);
	if (done && VMMU_UNLIKELY(l->watched))
		vmmu_shade_told(l->task, l->s, index, shade_entry(from), shade_entry(from | to));
	return done;
}

bool vmmu_shade_widen(struct vmmu_task *task, struct vmmu_shade *s, unsigned index, uint64_t gpte)
{
	struct vmmu_leaves l;
	vmmu_gfn_t gfn;
	uint64_t *cell, to;
	bool done;

	vmmu_leaves_begin(&l, task, s);
	l.decides_later = true;
	gfn = leaves_gfn(&l, index, gpte);
	cell = leaves_cell(&l, gfn);
	if (!cell || (VMMU_UNLIKELY(l.tracked) && vmmu_tracked_kinds(task->vm, gfn) &&
		      !VMMU_MUTANT(TRACK_FILL)))
		return false;
	/* Not by another leaf of the frame: this one may be the first on its list. */
	to = vmmu_leaves_complete(&l, gfn, leaves_want(&l, gpte));
	done = (to & l.write) && widen(&l, index, to | task->vm->fmt.dirty, gpte);
	vmmu_leaves_end(&l);
	return done;
}
