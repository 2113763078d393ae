/* SPDX-License-Identifier: MIT */
/*
 * From a guest walk to a shadow leaf: table by table along the guest's path, each entry checked
 * against what the guest's table says now, then a leaf of the largest size that guest page, host
 * page and tracked frames allow.
 */
#include "shadow/fetch.h"
#include "vm.h"

/* Guest entries are 4 bytes: the walk's level-2 table is mirrored by quadrants. */
static unsigned quadrant_of(const struct vmmu_fetch *f, unsigned level)
{
	if (f->vcpu->shadow.paging.mode != VMMU_PAGING_32BIT)
		return 0;
	return (unsigned)(f->gva >> (level == 2 ? 30 : 21)) & (level == 2 ? 3u : 1u);
}

static unsigned index_of(uint64_t gva, unsigned level)
{
	return (unsigned)(gva >> (VMMU_PAGE_SHIFT + 9u * (level - 1u))) & (VMMU_TABLE_ENTRIES - 1u);
}

union vmmu_role vmmu_shade_role(const struct vmmu_vcpu *vcpu, unsigned level)
{
	const struct vmmu_paging *p = &vcpu->shadow.paging;
	union vmmu_role role = {.word = 0};

	role.level = level & 0xfu;
	role.space = vcpu->space & 3u;
	role.mode = (unsigned)p->mode & 7u;
	role.access = VMMU_RIGHT_WRITE | VMMU_RIGHT_USER | VMMU_RIGHT_EXEC;
	role.nx = p->nx;
	role.wp = p->wp || VMMU_MUTANT(ROLE_WP);
	/* Entries that pretend, for CR0.WP = 0, are good only in the mode they were made for. */
	role.smep_without_wp = p->smep && !p->wp;
	/* Protection keys are hidden by the same pretence. */
	role.smap_without_wp = (p->smap || (p->pke && p->mode >= VMMU_PAGING_4LEVEL)) && !p->wp &&
			       !VMMU_MUTANT(ROLE_SMAP);
	role.pse = p->mode == VMMU_PAGING_32BIT && p->pse;
	role.direct = p->mode == VMMU_PAGING_OFF;
	return role;
}

const struct vmmu_walk_step *vmmu_fetch_step(const struct vmmu_fetch *f, unsigned level)
{
	for (unsigned i = 0; i < f->walk->levels; i++)
		if (f->walk->step[i].level == level)
			return &f->walk->step[i];
	return NULL;
}

union vmmu_role vmmu_fetch_child_role(const struct vmmu_fetch *f, const struct vmmu_shade *s,
				      uint64_t gpte, vmmu_gfn_t *at)
{
	unsigned level = s->sp.role.level - 1u;
	const struct vmmu_walk_step *next = vmmu_fetch_step(f, level);
	union vmmu_role role = s->sp.role;
	vmmu_gfn_t gfn;

	role.level = level & 0xfu;
	if (next) {
		role.direct = 0;
		role.quadrant = VMMU_MUTANT(ROLE_QUADRANT) ? 0 : quadrant_of(f, level) & 3u;
		/* PAE's page-directory pointers and paging that is off give no rights. */
		if (vmmu_fetch_step(f, s->sp.role.level) && !VMMU_MUTANT(ROLE_RIGHTS))
			role.access = s->sp.role.access & vmmu_gpte_rights(gpte, role.nx) & 7u;
		gfn = vmmu_gpa_to_gfn(next->gpa);
	} else {
		role.direct = 1;
		role.quadrant = 0;
		role.access = f->plain & 7u;
		/* Whether keys count now or not: they may later. */
		if (role.mode >= VMMU_PAGING_4LEVEL && !VMMU_MUTANT(DIRECT_KEY))
			role.key = vmmu_guest_entry_key(f->walk->step[f->walk->levels - 1].value) &
				   15u;
		gfn.n = vmmu_gpa_to_gfn(f->walk->gpa).n & ~(vmmu_level_frames(level + 1u) - 1);
	}
	*at = gfn;
	return role;
}

struct vmmu_shade *vmmu_fetch_linked(const struct vmmu_fetch *f, const struct vmmu_shade *s,
				     unsigned index, vmmu_gfn_t gfn, union vmmu_role role)
{
	vmmu_spte_t e = shade_get(s, index);
	struct vmmu_sp *child = NULL;

	if (spte_kind(e) == VMMU_KIND_TABLE)
		child = vmmu_table_find(f->task->vm, spte_pfn(e));
	if (!child ||
	    ((child->gfn.n != gfn.n || child->role.word != role.word) && !VMMU_MUTANT(LINK_ANY)))
		return NULL;
	atomic_put(&shade_of(child)->writes, 0);
	return shade_of(child);
}

/* Entry @index of @s leads to the child, linked anew if it does not. */
static struct vmmu_shade *descend(struct vmmu_fetch *f, struct vmmu_shade *s, unsigned index,
				  uint64_t gpte) VMMU_REQUIRES(vmmu_mmu_lock)
{
	vmmu_gfn_t gfn;
	union vmmu_role role = vmmu_fetch_child_role(f, s, gpte, &gfn);
	struct vmmu_shade *child = vmmu_fetch_linked(f, s, index, gfn, role);

	/* Where it is linked already the guest flushes before it may expect anything. */
	if (child) {
		s->gptes[index] = gpte;
		return child;
	}
	child = vmmu_shade_get(f->task, gfn, role);
	/* Making it may have zapped what we came by. */
	if (!child || s->zapped)
		return NULL;
	/* To make an entry present the guest owes no flush: what is below must be up to date. */
	if (!VMMU_MUTANT(LINK_STALE))
		vmmu_shade_sync(f->task, child);
	if (s->zapped || child->zapped)
		return NULL;
	vmmu_shade_set_table(f->task, s, index, child, gpte);
	return child;
}

/* Largest leaf for the page, as far as everybody is concerned. */
static enum vmmu_level leaf_level(struct vmmu_fetch *f) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_vm *vm = f->task->vm;
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn(f->walk->gpa);
	const struct vmmu_slot *slot;
	enum vmmu_level level = vm->config.max_leaf;
	struct vmmu_page page;

	/* Without long mode the top entries are page-directory pointers, never leaves. */
	if (level >= f->vcpu->root->role.level)
		level = f->vcpu->root->role.level - 1u;

	while (level > VMMU_LEVEL_4K &&
	       vmmu_level_frames(level) << VMMU_PAGE_SHIFT > f->walk->page_bytes)
		level--;
	if (level == VMMU_LEVEL_4K)
		return VMMU_LEVEL_4K;
	slot = shadow_slot(f->task, f->vcpu->space, gfn);
	if (!slot || !vmmu_page_at_hand(f->task, slot, gfn, &page))
		return VMMU_LEVEL_4K;
	if (page.level < level)
		level = page.level;
	if (level > VMMU_LEVEL_4K)
		level = vmmu_slot_level(slot, gfn, level);
	if (vm->invalidations.host.active || vm->invalidations.frames[slot->space].active)
		return VMMU_LEVEL_4K;
	while (level > VMMU_LEVEL_4K &&
	       (((page.pfn.n ^ gfn.n) & (vmmu_level_frames(level) - 1)) ||
		vmmu_frames_mirrored(vm, f->vcpu->space, gfn, level) ||
		(vmmu_tracked_around(vm, gfn, level) && !VMMU_MUTANT(TRACK_ALLOWS_HUGE))))
		level--;
	return level;
}

/* The guest's entry for @s, if it still says what the walk saw: read with no writer about. */
static uint64_t gpte_at(struct vmmu_fetch *f, struct vmmu_shade *s, bool *ok)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_walk_step *step = vmmu_fetch_step(f, s->sp.role.level);
	const uint8_t *frame;
	uint64_t now;

	*ok = true;
	if (!step)
		return 0;
	frame = vmmu_shade_frame(f->task, s);
	if (frame) {
		frame += step->gpa.addr % VMMU_PAGE_BYTES;
		now = shade_gpte_bytes(s) == 4 ? vmmu_load4(frame) : vmmu_load8(frame);
	} else if (!vmmu_guest_read(f->task, f->vcpu->space, step->gpa, shade_gpte_bytes(s),
				    &now)) { /* a table in a hole can be read */
		*ok = false;
		return 0;
	}
	*ok = !((now ^ step->value) & ~(VMMU_GUEST_ACCESSED | VMMU_GUEST_DIRTY)) ||
	      VMMU_MUTANT(UNCHECKED_WALK);
	return now;
}

/* What a leaf for this entry of the guest's may allow before it is used. False: it is none. */
static bool wish_for(const struct vmmu_task *task, const struct vmmu_shade *s, uint64_t gpte,
		     struct vmmu_wish *wish)
{
	const struct vmmu_guest_level *level = &task->vcpu->shadow.rules.format.level[1];

	if (vmmu_guest_entry_kind(level, gpte) != VMMU_GUEST_ENTRY_LEAF)
		return false;
	wish->gpte = gpte;
	wish->rights = s->sp.role.access & vmmu_gpte_rights(gpte, s->sp.role.nx);
	if (!(gpte & VMMU_GUEST_DIRTY) && !VMMU_MUTANT(PREFETCH_CLEAN))
		wish->rights &= ~(uint32_t)VMMU_RIGHT_WRITE;
	return true;
}

/* What a leaf for entry @i may allow, asked once more. @frame: NULL for pieces of huge pages. */
static bool wish_of(const struct vmmu_task *task, const struct vmmu_shade *s, const uint8_t *frame,
		    unsigned i, struct vmmu_wish *wish)
{
	uint64_t gpte;

	if (!frame)
		return true;
	gpte = shade_load_gpte(s, frame, i);
	return (gpte & VMMU_GUEST_ACCESSED) && wish_for(task, s, gpte, wish);
}

/* Neighbours of entry @index that are empty, as bits of its word in ->filled. */
static uint64_t empty_around(const struct vmmu_task *task, const struct vmmu_shade *s,
			     unsigned index)
{
	unsigned count = task->vm->config.prefetch; /* a group lies in one word */
	unsigned first = index % 64 & ~(count - 1u);
	uint64_t group = ((UINT64_C(1) << count) - 1) << first;

	return group & ~(atomic_get(&s->filled[index / 64]) | UINT64_C(1) << (index % 64));
}

void vmmu_shade_prefetch(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
{
	struct vmmu_wish wish = {.level = VMMU_LEVEL_4K, .rights = s->sp.role.access};
	uint64_t todo = empty_around(task, s, index);
	const uint8_t *frame = NULL;

	if (todo && shade_is_mirror(s)) {
		frame = vmmu_shade_frame(task, s);
		if (!frame)
			return;
	}
	for (; todo; todo &= todo - 1) {
		unsigned i = (index & ~63u) + (unsigned)__builtin_ctzll(todo);

		if (!wish_of(task, s, frame, i, &wish))
			continue;
		if (vmmu_shade_map(task, s, i, &wish) == VMMU_OUTCOME_RESUME)
			stat_add(task, VMMU_STAT_PREFETCHED, 1);
		if (s->zapped)
			return;
	}
}

/* Claim the empty ones of @bits. Return: those that are the caller's to fill now. */
static inline uint64_t claim(vmmu_atomic_t *word, uint64_t bits)
{
	if (VMMU_MUTANT(FILL_UNCLAIMED))
		return bits;
	return bits & ~atomic_set(word, bits);
}

static void fill_around(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_wish wish = {.level = VMMU_LEVEL_4K, .rights = s->sp.role.access};
	const uint8_t *frame = shade_is_mirror(s) ? shade_known_frame(task->vm, s) : NULL;
	uint64_t bits = empty_around(task, s, index), worth = 0, empty = 0;
	vmmu_atomic_t *word = &s->filled[index / 64];
	unsigned base = index & ~63u;

	for (; bits; bits &= bits - 1)
		if (wish_of(task, s, frame, base + (unsigned)__builtin_ctzll(bits), &wish))
			worth |= bits & -bits;
	if (worth)
		bits = claim(word, worth);
	for (; bits; bits &= bits - 1) {
		unsigned i = base + (unsigned)__builtin_ctzll(bits);

		if (wish_of(task, s, frame, i, &wish) && vmmu_shade_fill(task, s, i, &wish, false))
			stat_add(task, VMMU_STAT_PREFETCHED, 1);
		else
			empty |= bits & -bits;
	}
	if (empty)
		(void)atomic_clear(word, empty);
}

bool vmmu_shade_fill_group(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			   const struct vmmu_wish *wish)
{
	vmmu_atomic_t *word = &s->filled[index / 64];
	uint64_t own = UINT64_C(1) << (index % 64);

	if (!claim(word, own))
		return false;
	if (!vmmu_shade_fill(task, s, index, wish, false)) {
		(void)atomic_clear(word, own);
		return false;
	}
	if (task->vm->config.prefetch > 1)
		fill_around(task, s, index);
	return true;
}

enum vmmu_outcome vmmu_fetch(struct vmmu_fetch *f, struct vmmu_shade *root, enum vmmu_level *level)
{
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn(f->walk->gpa);
	enum vmmu_level goal = leaf_level(f);
	struct vmmu_shade *s = root;
	struct vmmu_wish wish = {
		.rights = f->rights,
		.is_write = f->is_write,
		.is_fetch = f->is_fetch,
	};
	enum vmmu_outcome outcome;
	bool ok;

	for (;;) {
		uint64_t gpte;

		/* A table made on the way may itself lie in the huge page. */
		while (goal > VMMU_LEVEL_4K &&
		       vmmu_frames_mirrored(f->task->vm, f->vcpu->space, gfn, goal))
			goal--;
		if (s->sp.role.level <= goal)
			break;
		gpte = gpte_at(f, s, &ok);
		if (!ok)
			return VMMU_OUTCOME_RETRY;
		s = descend(f, s, index_of(f->gva, s->sp.role.level), gpte);
		if (!s)
			return vm_is_dead(f->task->vm) ? VMMU_OUTCOME_DEAD : VMMU_OUTCOME_NO_MEMORY;
	}
	wish.gpte = gpte_at(f, s, &ok);
	if (!ok || root->zapped)
		return VMMU_OUTCOME_RETRY;
	*level = wish.level = goal;
	outcome = vmmu_shade_map(f->task, s, index_of(f->gva, goal), &wish);
	if (outcome == VMMU_OUTCOME_RESUME && goal == VMMU_LEVEL_4K)
		vmmu_shade_prefetch(f->task, s, index_of(f->gva, goal));
	return outcome;
}
