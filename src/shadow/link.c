/* SPDX-License-Identifier: MIT */
/*
 * Tables linked side by side with other vCPUs' faults. The address leads nowhere yet: the guest's
 * tables are walked, and each table of ours that is missing on the way is found or made:
 *
 *   claim the entry above | frame's bit: found by frame and role? else a new one onto the frame's
 *   list, and no leaf of the frame may write any more | the flush for that | the table is settled |
 *   onto its list of parents | the entry leads to it
 *
 * A table is read and linked when it is settled only, so what is read of the guest's table below
 * cannot change unseen. Whatever is out of the ordinary is left to the long way, alone: tables that
 * are not up to date, or that somebody is making just now, huge leaves in the way, entries of
 * several widths in one frame. What was linked by then stays.
 */
#include "shadow/fetch.h"
#include "shadow/frame.h"
#include "shadow/short.h"
#include "vm.h"

struct linking {
	struct vmmu_task *task;
	unsigned space;
	bool is_plain; /* so far */
};

/* ---- the guest's walk ---- */

/* Called back by the walk, under the lock of its caller. */
static bool read_entry(void *context, vmmu_gpa_t gpa, unsigned bytes,
		       uint64_t *value) VMMU_NO_ANALYSIS
{
	struct linking *l = context;

	return vmmu_guest_read(l->task, l->space, gpa, bytes, value);
}

/* Accessed and dirty, where nothing follows from it. */
static bool update_entry(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
			 uint64_t value, bool *gone) VMMU_NO_ANALYSIS
{
	struct linking *l = context;
	struct vmmu_update update = {
		.gpa = gpa, .bytes = bytes, .old = old, .value = value, .gone = gone};

	if (vmmu_guest_update_plainly(l->task, l->space, &update))
		return true;
	l->is_plain &= !*gone;
	return false;
}

static const struct vmmu_walk_ops walk_ops = {.read = read_entry, .update = update_entry};

/* The page is a small one of memory. False: or it takes more than to link tables. */
static bool walk_plainly(const struct shadow_fault *f, struct vmmu_walk_result *walk)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_vcpu *vcpu = f->vcpu;
	struct linking context = {.task = f->task, .space = vcpu->space, .is_plain = true};
	struct vmmu_guest_tables tables = {
		.rules = &vcpu->shadow.rules,
		.paging = &vcpu->shadow.paging,
		.ops = &walk_ops,
		.context = &context,
	};

	return vmmu_guest_walk(&tables, f->gva, f->flags, walk) == VMMU_WALK_OK &&
	       context.is_plain && walk->page_bytes == VMMU_PAGE_BYTES &&
	       shadow_slot(f->task, vcpu->space, vmmu_gpa_to_gfn(walk->gpa));
}

/* ---- a table ---- */

/* It may be linked as it is. */
static bool is_ready(const struct vmmu_shade *s)
{
	return atomic_get_acquire(&s->settled) || VMMU_MUTANT(LINK_UNSETTLED);
}

/* May a mirror of this role come onto the frame's list, with no more to do than to narrow leaves?
 */
static bool may_come(const struct vmmu_vm *vm, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock) VMMU_REQUIRES(vmmu_frame_bit)
{
	const struct vmmu_frames *frames = &vm->frames[role.space];
	const struct vmmu_shade *s = vmmu_shade_first(vm, role.space, gfn);

	for (; s; s = s->same_frame)
		if (role.level > VMMU_LEVEL_4K && shade_is_unsync(s))
			return false;
	/* Huge leaves come under the exclusive lock only. */
	return !(vmmu_framemap_peek(&frames->rmap[1], gfn.n >> 9) & ~VMMU_FRAME_LOCKED) &&
	       !(vmmu_framemap_peek(&frames->rmap[2], gfn.n >> 18) & ~VMMU_FRAME_LOCKED) &&
	       vmmu_frame_is_uniform(vm, role.space, gfn, 8);
}

/* Onto the frame's list, if no table of this role has come meanwhile. */
static struct vmmu_shade *enter(struct vmmu_task *task, uint64_t list, vmmu_gfn_t gfn,
				union vmmu_role role, struct vmmu_narrowed *narrowed)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock) VMMU_REQUIRES(vmmu_frame_bit)
{
	struct vmmu_shade *s;

	if ((vmmu_shade_find(task->vm, gfn, role) && !VMMU_MUTANT(TABLE_TWICE)) ||
	    !may_come(task->vm, gfn, role))
		return NULL;
	narrowed->count = 0;
	if (!VMMU_MUTANT(LINK_WRITABLE) && !vmmu_frame_narrow(task, list, narrowed))
		return NULL;
	s = vmmu_shade_new(task, gfn, role);
	vmmu_shade_enlist(task->vm, s);
	return s;
}

/* One more table, unless they are too many. The caller makes it, or gives the right to back. */
static bool quota_take(struct vmmu_shades *all)
{
	if (atomic_plus(&all->count, 1) < all->quota)
		return true;
	(void)atomic_plus(&all->count, (uint64_t)-1);
	return false;
}

/* A mirror that nobody knows yet. NULL: as vmmu_shadow_link(). */
static struct vmmu_shade *make(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_vm *vm = task->vm;
	uint64_t *head = vmmu_framemap_grow(task, &vm->frames[role.space].rmap[0], gfn.n);
	const uint8_t *frame = vmmu_guest_frame(task, role.space, gfn);
	struct vmmu_narrowed narrowed;
	struct vmmu_shade *s;
	uint64_t list;

	if (!head || !frame || !task->cache->count || !vmmu_shade_make_cells(task, gfn, role) ||
	    !quota_take(&vm->shades))
		return NULL;
	list = vmmu_frame_lock(vm, frame_word(head));
	s = enter(task, list, gfn, role, &narrowed);
	vmmu_frame_unlock(frame_word(head), list);
	if (!s) {
		(void)atomic_plus(&vm->shades.count, (uint64_t)-1);
		return NULL;
	}
	vmmu_table_set_live(task, &s->sp);
	s->frame = frame;
	s->frame_begun = vm->invalidations.begun;
	vmmu_frame_tell_narrowed(task, gfn, &narrowed);
	vmmu_section_settle(task); /* before anybody reads the guest's table */
	vmmu_shade_count_in(vm, s);
	return s;
}

static struct vmmu_shade *find_or_make(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_shade *s = vmmu_shade_find(task->vm, gfn, role);

	if (!s)
		return make(task, gfn, role);
	if (!is_ready(s))
		return NULL;
	atomic_put(&s->writes, 0);
	return s;
}

/* ---- down ---- */

/* The guest's entry for the address in the table that @s mirrors still says what the walk saw: it
 * is read with no writer about. */
static bool still_says(const struct vmmu_fetch *f, const struct vmmu_shade *s, uint64_t *gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_walk_step *step = vmmu_fetch_step(f, s->sp.role.level);

	*gpte = 0;
	if (!step)
		return true; /* a register says it */
	return vmmu_guest_read(f->task, f->vcpu->space, step->gpa, 8, gpte) &&
	       (!((*gpte ^ step->value) & ~(VMMU_GUEST_ACCESSED | VMMU_GUEST_DIRTY)) ||
		VMMU_MUTANT(UNCHECKED_WALK) || VMMU_MUTANT(WRITTEN_PEEK));
}

static struct vmmu_shade *step_down(const struct vmmu_fetch *f, struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	unsigned index = gfn_index((vmmu_gfn_t){f->gva >> VMMU_PAGE_SHIFT}, s->sp.role.level);
	uint64_t own = UINT64_C(1) << (index % 64), gpte;
	vmmu_atomic_t *word = &s->filled[index / 64];
	struct vmmu_shade *child;
	union vmmu_role role;
	vmmu_gfn_t gfn;

	if (!still_says(f, s, &gpte))
		return NULL;
	role = vmmu_fetch_child_role(f, s, gpte, &gfn);
	child = vmmu_fetch_linked(f, s, index, gfn, role);
	if (child)
		return child;
	if ((atomic_set(word, own) & own) && !VMMU_MUTANT(LINK_UNCLAIMED))
		return NULL; /* it leads elsewhere, or somebody is about to fill it */
	child = find_or_make(f->task, gfn, role);
	if (child && vmmu_shade_add_table(f->task, s, index, child, gpte))
		return child;
	(void)atomic_clear(word, own);
	return NULL;
}

struct vmmu_shade *vmmu_shadow_link(struct shadow_fault *f)
{
	struct vmmu_vcpu *vcpu = f->vcpu;
	const struct vmmu_paging *paging = &vcpu->shadow.paging;
	struct vmmu_shade *s = shade_of(vcpu->root);
	struct vmmu_walk_result walk;
	struct vmmu_fetch fetch = {
		.task = f->task, .vcpu = vcpu, .gva = f->gva.addr, .walk = &walk};

	/* Entries of 4 bytes: those of one frame may be marked as 8 bytes meanwhile. */
	if (paging->mode < VMMU_PAGING_PAE || !paging->wp || vcpu->shadow.dummy ||
	    !walk_plainly(f, &walk))
		return NULL;
	while (s && s->sp.role.level > VMMU_LEVEL_4K)
		s = step_down(&fetch, s);
	return s;
}
