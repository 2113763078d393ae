/* SPDX-License-Identifier: MIT */
/* Shadow tables: found by guest frame and role, made, zapped, reclaimed. */
#include "shadow/leaves.h"
#include "shadow/shade.h"
#include "vm.h"

static struct vmmu_shade **cell_shade(uint64_t *cell)
{
	return (struct vmmu_shade **)(void *)cell;
}

static vmmu_atomic_t *cell_word(uint64_t *cell)
{
	return (vmmu_atomic_t *)(void *)cell;
}

struct vmmu_shade *vmmu_shade_first(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn)
{
	uint64_t *cell = vmmu_framemap_look(&vm->frames[space].tables, gfn.n);

	/* pairs with vmmu_shade_enlist() */
	return cell ? (struct vmmu_shade *)(uintptr_t)atomic_get_acquire(cell_word(cell)) : NULL;
}

struct vmmu_shade *vmmu_shade_find(struct vmmu_vm *vm, vmmu_gfn_t gfn, union vmmu_role role)
{
	struct vmmu_shade *s = vmmu_shade_first(vm, role.space, gfn);

	while (s && (s->sp.role.word != role.word ||
		     (shade_is_obsolete(vm, s) && !VMMU_MUTANT(FORGET_FINDS))))
		s = s->same_frame;
	return s;
}

struct vmmu_shade *vmmu_shade_lowest(struct vmmu_task *task, vmmu_gva_t gva)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	vmmu_gfn_t page = {gva.addr >> VMMU_PAGE_SHIFT};
	struct vmmu_sp *sp = vcpu->root;

	while (sp && sp->role.level > VMMU_LEVEL_4K) {
		vmmu_spte_t e = shade_get(shade_of(sp), gfn_index(page, sp->role.level));

		sp = spte_kind(e) == VMMU_KIND_TABLE ? vmmu_table_find(task->vm, spte_pfn(e))
						     : NULL;
		if (sp)
			atomic_put(&shade_of(sp)->writes, 0);
	}
	if (!sp)
		return NULL;
	vcpu->shadow.path = (struct vmmu_known_path){vcpu->root, page.n / VMMU_TABLE_ENTRIES,
						     task->vm->shades.cuts, shade_of(sp)};
	return shade_of(sp);
}

/* ---- age ---- */

static void age_add(struct vmmu_shades *all, struct vmmu_shade *s)
{
	s->older = all->newest;
	s->newer = NULL;
	if (all->newest)
		all->newest->newer = s;
	else
		all->oldest = s;
	all->newest = s;
}

static void age_remove(struct vmmu_shades *all, struct vmmu_shade *s)
{
	if (s->older)
		s->older->newer = s->newer;
	else
		all->oldest = s->newer;
	if (s->newer)
		s->newer->older = s->older;
	else
		all->newest = s->older;
	(void)atomic_plus(&all->count, (uint64_t)-1);
}

/* ---- mirrors: no huge leaf may cover a frame that holds tables ---- */

static void mirrored_add(struct vmmu_vm *vm, const struct vmmu_shade *s, uint64_t n)
{
	struct vmmu_framemap *mirrored = vm->frames[s->sp.role.space].mirrored;

	if (!shade_is_mirror(s))
		return;
	for (unsigned i = 0; i < 2; i++)
		(void)atomic_plus(
			cell_word(vmmu_framemap_look(&mirrored[i], s->sp.gfn.n >> (9u * (i + 1)))),
			n);
}

bool vmmu_frames_mirrored(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn,
			  enum vmmu_level level)
{
	uint64_t *cell = vmmu_framemap_look(&vm->frames[space].mirrored[level - 2],
					    gfn.n >> (9u * (level - 1)));

	return cell && atomic_get(cell_word(cell)) && !VMMU_MUTANT(HUGE_OVER_TABLE);
}

/* ---- making ---- */

/*
 * A table above level 1 makes its frame read-only for good. Level-1 tables of the same frame that
 * are unsync count on it being writable: they go.
 */
static void zap_unsync_of_frame(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *s = vmmu_shade_first(task->vm, space, gfn);

	while (s) {
		struct vmmu_shade *next = s->same_frame;

		if (shade_is_unsync(s) && !VMMU_MUTANT(UNSYNC_STAYS)) {
			vmmu_shade_zap(task, s);
			/* Zapping may have taken others of the chain along. */
			next = vmmu_shade_first(task->vm, space, gfn);
		}
		s = next;
	}
}

bool vmmu_shade_make_cells(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
{
	struct vmmu_frames *frames = &task->vm->frames[role.space];

	return vmmu_framemap_grow(task, &frames->tables, gfn.n) &&
	       (role.direct || (vmmu_framemap_grow(task, &frames->mirrored[0], gfn.n >> 9) &&
				vmmu_framemap_grow(task, &frames->mirrored[1], gfn.n >> 18)));
}

struct vmmu_shade *vmmu_shade_new(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
{
	struct vmmu_shade *s = shade_of(vmmu_table_new(task, gfn, role));

	s->generation = task->vm->shades.generation;
	vmmu_leaves_prepare(task->vm, s);
	return s;
}

void vmmu_shade_enlist(struct vmmu_vm *vm, struct vmmu_shade *s)
{
	uint64_t *cell = vmmu_framemap_look(&vm->frames[s->sp.role.space].tables, s->sp.gfn.n);

	mirrored_add(vm, s, 1);
	s->same_frame = *cell_shade(cell);
	atomic_put_release(cell_word(cell), (uintptr_t)s);
}

void vmmu_shade_count_in(struct vmmu_vm *vm, struct vmmu_shade *s)
{
	vmmu_spin_acquire(&vm->shades.lock, vm->port, vm->host);
	age_add(&vm->shades, s);
	vmmu_spin_release(&vm->shades.lock);
	atomic_put_release(&s->settled, 1);
}

struct vmmu_shade *vmmu_shade_get(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_shade *s;

	if (!role.direct && role.level > VMMU_LEVEL_4K)
		zap_unsync_of_frame(task, role.space, gfn);
	s = vmmu_shade_find(vm, gfn, role);
	if (s) {
		atomic_put(&s->writes, 0);
		if (shade_is_unsync(s) && !VMMU_MUTANT(LINK_STALE))
			vmmu_shade_refresh(task, s); /* before it is linked: R32 */
		return s;
	}
	if (!task->cache->count || !vmmu_shade_make_cells(task, gfn, role))
		return NULL;
	s = vmmu_shade_new(task, gfn, role);
	vmmu_table_set_live(task, &s->sp);
	(void)atomic_plus(&vm->shades.count, 1);
	(void)vmmu_framemap_find(&vm->frames[role.space].tables, gfn.n); /* used last */
	vmmu_shade_enlist(vm, s);
	if (!role.direct && !VMMU_MUTANT(TABLE_WRITABLE)) {
		/* No CPU may write the guest's table from here on, before it is read. */
		vmmu_frame_protect(task, role.space, gfn);
		vmmu_section_settle(task);
	}
	vmmu_shade_count_in(vm, s);
	return s;
}

/* ---- zapping ---- */

static void chain_remove(struct vmmu_vm *vm, struct vmmu_shade *s)
{
	struct vmmu_shade **at =
		cell_shade(vmmu_framemap_find(&vm->frames[s->sp.role.space].tables, s->sp.gfn.n));

	while (*at != s)
		at = &(*at)->same_frame;
	*at = s->same_frame;
	s->same_frame = NULL; /* who still runs on it must not lead to what is freed before */
}

void vmmu_shade_zap(struct vmmu_task *task, struct vmmu_shade *s)
{
	if (s->zapped)
		return;
	s->zapped = true;
	for (unsigned i = shade_filled_from(s, 0); i < VMMU_TABLE_ENTRIES;
	     i = shade_filled_from(s, i + 1))
		vmmu_shade_clear(task, s, i);
	while (s->parents.n && !vm_is_dead(task->vm))
		vmmu_shade_clear(task, link_shade(s->parents), link_index(s->parents));
	chain_remove(task->vm, s);
	age_remove(&task->vm->shades, s);
	if (!VMMU_MUTANT(MIRROR_UNCOUNTED))
		mirrored_add(task->vm, s, (uint64_t)-1);
	if (shade_is_unsync(s)) {
		atomic_put(&s->unsync, 0);
		task->vm->shades.unsync--;
	}
	stat_add(task, VMMU_STAT_SHADOW_ZAPPED, 1);
	if (s->sp.users && !VMMU_MUTANT(ROOT_FREED)) {
		(void)atomic_swap(&s->sp.invalid, 1); /* whoever runs on it loads another root */
		vmmu_debt_add_everything(task);
	} else {
		vmmu_debt_add_everything(task);
		vmmu_table_unlink(task, &s->sp);
	}
}

void vmmu_shades_zap_range(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_framemap *map = &task->vm->frames[space].tables;
	uint64_t key = vmmu_framemap_next(map, range.start.n, range.end.n);

	for (; key < range.end.n; key = vmmu_framemap_next(map, key + 1, range.end.n)) {
		struct vmmu_shade *s;

		while ((s = vmmu_shade_first(task->vm, space, (vmmu_gfn_t){key})) != NULL)
			vmmu_shade_zap(task, s);
		(void)vmmu_section_pause(task);
	}
}

void vmmu_shades_reclaim(struct vmmu_task *task, uint64_t want)
{
	struct vmmu_shades *all = &task->vm->shades;
	struct vmmu_shade *s = all->oldest;

	while (s && atomic_get(&all->count) + want > all->quota && !VMMU_MUTANT(QUOTA_IGNORED)) {
		struct vmmu_shade *next = s->newer;

		if (!s->sp.users || VMMU_MUTANT(ROOT_RECLAIMED)) {
			vmmu_shade_zap(task, s);
			stat_add(task, VMMU_STAT_SHADOW_RECLAIMED, 1);
			next = all->oldest;
			/* Those in use stay at the old end: step over them. */
			while (next && next->sp.users)
				next = next->newer;
		}
		s = next;
	}
}

void vmmu_shade_hold(struct vmmu_shade *s)
{
	s->sp.users++;
}

void vmmu_shade_put(struct vmmu_task *task, struct vmmu_shade *s)
{
	if (VMMU_CHECK(task, s->sp.users, "a shadow root was put more often than it was taken",
		       s->sp.gfn.n, 0) &&
	    !--s->sp.users && s->zapped)
		vmmu_table_unlink(task, &s->sp);
}
