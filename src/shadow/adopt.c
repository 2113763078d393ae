/* SPDX-License-Identifier: MIT */
/*
 * What the guest wrote to a level-1 table is taken over, all of a table in one go. Most changes are
 * of two kinds, and cheap:
 *
 * - The same frame, no right more. What the leaf may say was decided when it was made, and whatever
 *   has been decided since took rights away: it is narrowed in place.
 *
 * - Another frame, or rights more. The same questions as for a new leaf, asked once for as many
 *   frames as the answer is good for.
 *
 * The rest goes the way of a fault's leaf.
 */
#include "shadow/frame.h"
#include "shadow/leaves.h"

#include "vm.h"

/* Do the rules of the acting vCPU say what this table's entries mean? */
static bool rules_fit(const struct vmmu_vcpu *vcpu, const struct vmmu_shade *s)
{
	const struct vmmu_paging *p = &vcpu->shadow.paging;

	return p->mode == s->sp.role.mode && p->nx == s->sp.role.nx &&
	       (p->mode != VMMU_PAGING_32BIT || p->pse == s->sp.role.pse);
}

/* Note rights, or a frame, that a CPU could still use although they are gone. */
static inline void note_lost(struct vmmu_leaves *l, uint64_t from, uint64_t to)
{
	const struct vmmu_fmt *fmt = &l->task->vm->fmt;

	/* SMAP and SMEP make the user bit a right of the other kind: any change counts. */
	if (!l->owed &&
	    (((from & ~to) & (fmt->read | fmt->write | fmt->dirty)) ||
	     ((to & ~from) & fmt->no_exec) ||
	     ((from ^ to) & (fmt->user_bit | VMMU_SPTE_KEY_MASK | VMMU_SPTE_ADDRESS_MASK))))
		l->owed = true;
}

/* No table of pieces is ever behind the guest's. */
static inline vmmu_gfn_t gfn_of(const struct vmmu_leaves *l, uint64_t gpte)
{
	return (vmmu_gfn_t){(gpte & l->frame) >> VMMU_PAGE_SHIFT};
}

/* A leaf becomes another one, or nothing. Return: what it was, with what the CPU has set in it. */
static inline uint64_t replace(struct vmmu_leaves *l, unsigned index, uint64_t to)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t from = atomic_swap(&l->s->sp.entries[index].raw, to);

	if (VMMU_UNLIKELY(l->watched))
		vmmu_shade_told(l->task, l->s, index, shade_entry(from), shade_entry(to));
	return from;
}

/* The leaf at @index, of the guest's entry @before, is off the reverse map of its frame. */
static inline void unlist(struct vmmu_leaves *l, unsigned index, uint64_t before)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	vmmu_gfn_t gfn = gfn_of(l, before);
	uint64_t region = gfn.n / VMMU_FRAMEMAP_ENTRIES, *cell;

	if (VMMU_UNLIKELY(region != l->gone_region)) {
		struct vmmu_frames *frames = &l->task->vm->frames[l->s->sp.role.space];

		l->gone_region = region;
		l->gone_rmap = vmmu_framemap_find(&frames->rmap[0], region * VMMU_FRAMEMAP_ENTRIES);
	}
	cell = l->gone_rmap ? &l->gone_rmap[gfn.n % VMMU_FRAMEMAP_ENTRIES] : NULL;
	l->gone++;
	if (cell && VMMU_LIKELY(frame_list(cell).n == link_of(l->s, index).n) &&
	    !VMMU_MUTANT(RMAP_LEAK)) {
		(void)vmmu_frame_lock(l->task->vm, frame_word(cell));
		vmmu_frame_unlock(frame_word(cell), l->s->links[index].n);
	} else {
		vmmu_shade_unlist(l->task, cell, l->s, index);
	}
}

static inline void drop(struct vmmu_leaves *l, unsigned index, uint64_t old)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	vmmu_atomic_t *word = &l->s->filled[index / 64];

	if (VMMU_UNLIKELY(shade_raw_kind(old) != VMMU_KIND_LEAF)) {
		vmmu_shade_clear(l->task, l->s, index);
		return;
	}
	(void)replace(l, index, 0);
	atomic_put(word, atomic_get(word) & ~(UINT64_C(1) << index % 64));
	unlist(l, index, l->gptes[index]);
	l->emptied++;
	l->owed = true;
}

/* The same frame. False: the leaf would get rights that it does not have. */
static inline bool narrow(struct vmmu_leaves *l, unsigned index, uint64_t old, uint64_t gpte)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &l->task->vm->fmt;
	uint64_t to = leaves_want(l, gpte), from;

	if (((to & ~old & l->write) || (old & ~to & fmt->no_exec)) && !VMMU_MUTANT(NARROW_WIDENS))
		return false;
	to = (to & ~l->where) | (old & l->where);
	if (to & l->write)
		to |= old & fmt->dirty;
	if (VMMU_MUTANT(NARROW_KEEPS))
		to |= old & l->write;
	l->gptes[index] = gpte;
	if (to == old)
		return true;
	from = replace(l, index, to);
	if (!VMMU_MUTANT(RIGHTS_UNFLUSHED))
		note_lost(l, from, to);
	return true;
}

/* Another frame, or rights more. False: something is out of the ordinary, nothing changed. */
static inline bool rebuild(struct vmmu_leaves *l, unsigned index, uint64_t gpte, bool moves)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	vmmu_gfn_t gfn = gfn_of(l, gpte);
	uint64_t *cell = leaves_cell(l, gfn), from, to;

	if (!cell || VMMU_UNLIKELY(l->tracked))
		return false;
	to = leaves_complete(l, gfn, frame_list(cell).n, leaves_want(l, gpte));
	if (!to)
		return false;
	from = replace(l, index, to);
	note_lost(l, from, to);
	if (moves) {
		unlist(l, index, l->gptes[index]);
		l->s->links[index].n = vmmu_frame_lock(l->task->vm, frame_word(cell));
		vmmu_frame_unlock(frame_word(cell), link_of(l->s, index).n);
	}
	l->gptes[index] = gpte;
	return true;
}

/* Like a fault would, but for what only an access can bring about. */
static __attribute__((noinline)) void adopt_slowly(struct vmmu_leaves *l, unsigned index,
						   uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *s = l->s;
	struct vmmu_wish wish = {
		.level = VMMU_LEVEL_4K,
		.rights = s->sp.role.access & vmmu_gpte_rights(gpte, s->sp.role.nx),
		.gpte = gpte,
	};
	enum vmmu_outcome outcome;

	if (!(gpte & VMMU_GUEST_DIRTY))
		wish.rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	outcome = vmmu_shade_map(l->task, s, index, &wish);
	/* Neither a device nor a page of memory at hand: the next access finds out. */
	if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_MMIO)
		vmmu_shade_clear(l->task, s, index);
	l->region = VMMU_LEAVES_NO_REGION; /* cells may have been made now */
}

/* The guest's entry changed from gptes[index] to @gpte: make ours say the same, or nothing. */
static inline void adopt(struct vmmu_leaves *l, const struct vmmu_guest_level *rules,
			 unsigned index, uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t old = atomic_get(&l->s->sp.entries[index].raw);

	if (!(gpte & VMMU_GUEST_ACCESSED || VMMU_MUTANT(ADOPT_UNACCESSED)) ||
	    vmmu_guest_entry_kind(rules, gpte) != VMMU_GUEST_ENTRY_LEAF) {
		drop(l, index, old);
		return;
	}
	if (VMMU_LIKELY(shade_raw_kind(old) == VMMU_KIND_LEAF)) {
		bool moves = ((gpte ^ l->gptes[index]) & l->frame) != 0;

		if ((!moves && narrow(l, index, old, gpte)) || rebuild(l, index, gpte, moves))
			return;
	}
	adopt_slowly(l, index, gpte);
}

/* The entries of one word of ->filled that are in @bits. In one place, for speed. */
static __attribute__((noinline)) void refresh_word(struct vmmu_leaves *l, const uint8_t *frame,
						   unsigned word, uint64_t bits)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_guest_level *rules = &l->task->vcpu->shadow.rules.format.level[1];

	for (; bits; bits &= bits - 1) {
		unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);
		uint64_t gpte = shade_load_gpte(l->s, frame, i);

		if (gpte != l->gptes[i])
			adopt(l, rules, i, gpte);
	}
}

static __attribute__((noinline)) void refresh_one(struct vmmu_task *task, struct vmmu_shade *s,
						  unsigned index, const uint8_t *frame)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_leaves l;

	vmmu_leaves_begin(&l, task, s);
	refresh_word(&l, frame, index / 64, UINT64_C(1) << index % 64);
	vmmu_leaves_end(&l);
}

void vmmu_shade_refresh_entry(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
{
	const uint8_t *frame;

	if (!shade_is_filled(s, index) ||
	    (VMMU_MUTANT(DEVICE_KEPT) && spte_kind(shade_get(s, index)) == VMMU_KIND_MMIO))
		return;
	frame = vmmu_shade_frame(task, s);
	if (frame && shade_load_gpte(s, frame, index) == s->gptes[index])
		return;
	if (frame && rules_fit(task->vcpu, s))
		refresh_one(task, s, index, frame);
	else
		vmmu_shade_clear(task, s, index);
}

void vmmu_shade_refresh(struct vmmu_task *task, struct vmmu_shade *s)
{
	const uint8_t *frame = rules_fit(task->vcpu, s) ? vmmu_shade_frame(task, s) : NULL;
	struct vmmu_leaves l;

	if (!frame) {
		/* It cannot be read, or not be understood: nothing of it stays. */
		for (unsigned i = shade_filled_from(s, 0); i < VMMU_TABLE_ENTRIES;
		     i = shade_filled_from(s, i + 1))
			vmmu_shade_clear(task, s, i);
		return;
	}
	vmmu_leaves_begin(&l, task, s);
	for (unsigned word = 0; word < VMMU_TABLE_ENTRIES / 64; word++)
		refresh_word(&l, frame, word, atomic_get(&s->filled[word]));
	vmmu_leaves_end(&l);
}
