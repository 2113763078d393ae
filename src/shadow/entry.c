/* SPDX-License-Identifier: MIT */
/* The commit point of the shadow engine, and what is done to all leaves of a guest frame. */
#include "shadow/frame.h"
#include "shadow/shade.h"
#include "vm.h"

/* ---- lists through the links pages ---- */

static void list_add(vmmu_link_t *head, struct vmmu_shade *s, unsigned index)
{
	s->links[index] = *head;
	*head = link_of(s, index);
}

/* A leaf's list has somebody looking along it who has no other lock: harvest.c. */
static void leaf_push(const struct vmmu_vm *vm, uint64_t *cell, struct vmmu_shade *s,
		      unsigned index)
{
	s->links[index].n = vmmu_frame_lock(vm, frame_word(cell));
	vmmu_frame_unlock(frame_word(cell), link_of(s, index).n);
}

static void list_remove(struct vmmu_task *task, vmmu_link_t *head, struct vmmu_shade *s,
			unsigned index)
{
	vmmu_link_t want = link_of(s, index);
	vmmu_link_t *at = head;

	while (at->n && at->n != want.n)
		at = &link_shade(*at)->links[link_index(*at)];
	if (VMMU_CHECK(task, at->n, "a shadow entry is not on the list it should be on",
		       s->sp.gfn.n, index))
		*at = s->links[index];
}

/* ---- geometry ---- */

unsigned vmmu_shade_guest_index(const struct vmmu_shade *s, unsigned index)
{
	/* A 32-bit table has 1024 entries. One page table is mirrored by two tables of ours, one
	 * page directory by four, in which two entries stand for one of the guest's. */
	if (s->sp.role.mode != VMMU_PAGING_32BIT)
		return index;
	index += s->sp.role.quadrant * VMMU_TABLE_ENTRIES;
	return s->sp.role.level == VMMU_LEVEL_2M ? index / 2 : index;
}

vmmu_gpa_t vmmu_shade_gpte_gpa(const struct vmmu_shade *s, unsigned index)
{
	uint64_t offset = (uint64_t)vmmu_shade_guest_index(s, index) * shade_gpte_bytes(s);

	return (vmmu_gpa_t){(s->sp.gfn.n << VMMU_PAGE_SHIFT) + offset};
}

/* Address bits of a guest leaf of this mode and height. */
static uint64_t gpte_frame(union vmmu_role role, uint64_t gpte)
{
	unsigned shift = VMMU_PAGE_SHIFT + 9u * (role.level - 1u);

	if (role.mode != VMMU_PAGING_32BIT)
		return gpte & VMMU_MASK(51, shift);
	if (role.level == VMMU_LEVEL_4K)
		return gpte & VMMU_MASK(31, 12);
	return (gpte & VMMU_MASK(31, 22)) | (gpte & VMMU_MASK(20, 13)) << 19; /* PSE36 */
}

vmmu_gfn_t vmmu_shade_gfn_of_any(const struct vmmu_shade *s, unsigned index, uint64_t gpte)
{
	uint64_t frames = vmmu_level_frames(s->sp.role.level);
	uint64_t address;

	if (!shade_is_mirror(s))
		return (vmmu_gfn_t){s->sp.gfn.n + index * frames};
	address = gpte_frame(s->sp.role, gpte);
	if (s->sp.role.mode == VMMU_PAGING_32BIT && s->sp.role.level == VMMU_LEVEL_2M &&
	    !VMMU_MUTANT(HALF_PAGE))
		address += (uint64_t)(index & 1u) << 21; /* the second half of a 4M page */
	return vmmu_gpa_to_gfn((vmmu_gpa_t){address});
}

/* ---- reverse map ---- */

static struct vmmu_framemap *rmap_of(struct vmmu_vm *vm, const struct vmmu_shade *s)
{
	return &vm->frames[s->sp.role.space].rmap[s->sp.role.level - 1u];
}

static uint64_t rmap_key(const struct vmmu_shade *s, vmmu_gfn_t gfn)
{
	return gfn.n >> (9u * (s->sp.role.level - 1u));
}

/* ---- one entry ---- */

static void fill(struct vmmu_shade *s, unsigned index)
{
	vmmu_atomic_t *word = &s->filled[index / 64];

	atomic_put(word, atomic_get(word) | UINT64_C(1) << (index % 64));
}

static void empty(struct vmmu_shade *s, unsigned index)
{
	vmmu_atomic_t *word = &s->filled[index / 64];

	atomic_put(word, atomic_get(word) & ~(UINT64_C(1) << (index % 64)));
}

static enum vmmu_stat pages_stat(const struct vmmu_shade *s)
{
	return VMMU_STAT_PAGES_4K + (s->sp.role.level - VMMU_LEVEL_4K);
}

void vmmu_shade_unlist(struct vmmu_task *task, uint64_t *cell, struct vmmu_shade *s, unsigned index)
{
	vmmu_link_t list;

	if (!VMMU_CHECK(task, cell, "a leaf's frame has no reverse map",
			vmmu_shade_leaf_gfn(s, index).n, index) ||
	    VMMU_MUTANT(RMAP_LEAK))
		return;
	list.n = vmmu_frame_lock(task->vm, frame_word(cell));
	list_remove(task, &list, s, index);
	vmmu_frame_unlock(frame_word(cell), list.n);
}

/* The leaf goes, or another takes its place: off its reverse map. */
static void leaf_gone(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t key = rmap_key(s, vmmu_shade_leaf_gfn(s, index));

	stat_add(task, VMMU_STAT_ZAPPED, 1);
	vmmu_shade_unlist(task, vmmu_framemap_find(rmap_of(task->vm, s), key), s, index);
}

static void table_gone(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
		       vmmu_spte_t from) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_sp *child = vmmu_table_find(task->vm, spte_pfn(from));

	vmmu_unsync_unmark(s, index);
	task->vm->shades.cuts++;
	if (VMMU_MUTANT(PARENT_LEAK))
		return;
	if (VMMU_CHECK(task, child, "a shadow entry points to a table that does not exist",
		       s->sp.gfn.n, index))
		list_remove(task, &shade_of(child)->parents, s, index);
}

/* Rights that a CPU could still use although they are gone now. */
static bool loses_rights(const struct vmmu_fmt *fmt, vmmu_spte_t from, vmmu_spte_t to)
{
	uint64_t rights = fmt->read | fmt->write | fmt->user_bit;

	if (spte_kind(from) != VMMU_KIND_LEAF)
		return spte_kind(from) == VMMU_KIND_TABLE;
	if (spte_kind(to) != VMMU_KIND_LEAF || spte_pfn(from).n != spte_pfn(to).n)
		return true;
	/* SMAP and SMEP make the user bit a right of the other kind: any change counts. */
	return ((from.raw & ~to.raw) & (rights | fmt->dirty)) ||
	       ((to.raw & ~from.raw) & (fmt->no_exec | fmt->user_bit)) ||
	       ((from.raw ^ to.raw) & VMMU_SPTE_KEY_MASK);
}

static void hand_over_dirty(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			    vmmu_spte_t from, vmmu_spte_t to)
{
	const struct vmmu_vm *vm = task->vm;
	vmmu_gfn_t gfn;

	if (!vm_hears_dirty(vm) || spte_kind(from) != VMMU_KIND_LEAF || VMMU_MUTANT(DIRTY_LOST) ||
	    !spte_is_dirty(&vm->fmt, from))
		return;
	if (spte_kind(to) == VMMU_KIND_LEAF && spte_is_dirty(&vm->fmt, to) &&
	    spte_pfn(to).n == spte_pfn(from).n)
		return;
	gfn = vmmu_shade_leaf_gfn(s, index);
	vmmu_dirty_told(vm, s->sp.role.space,
			(struct vmmu_gfn_range){gfn, {gfn.n + vmmu_level_frames(s->sp.role.level)}},
			spte_pfn(from));
}

void vmmu_shade_told(struct vmmu_task *task, struct vmmu_shade *s, unsigned index, vmmu_spte_t from,
		     vmmu_spte_t to)
{
	hand_over_dirty(task, s, index, from, to);
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, vmmu_shade_leaf_gfn(s, index).n, from.raw,
	      to.raw);
}

/* Same leaf, other rights: it stays on its reverse map. */
static void change_rights(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			  vmmu_spte_t to) VMMU_REQUIRES(vmmu_mmu_lock)
{
	vmmu_spte_t from = shade_swap(s, index, to);

	vmmu_shade_told(task, s, index, from, to);
	if (loses_rights(&task->vm->fmt, from, to) && !VMMU_MUTANT(RIGHTS_UNFLUSHED))
		vmmu_debt_add_everything(task);
}

void vmmu_shade_clear(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
{
	vmmu_spte_t from = shade_swap(s, index, spte_empty());

	if (spte_kind(from) == VMMU_KIND_EMPTY)
		return;
	empty(s, index);
	if (spte_kind(from) == VMMU_KIND_LEAF) {
		hand_over_dirty(task, s, index, from, spte_empty());
		leaf_gone(task, s, index);
		stat_add(task, pages_stat(s), (uint64_t)-1);
	} else if (spte_kind(from) == VMMU_KIND_TABLE) {
		table_gone(task, s, index, from);
	}
	if (loses_rights(&task->vm->fmt, from, spte_empty()))
		vmmu_debt_add_everything(task);
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, s->sp.gfn.n, from.raw, 0);
}

bool vmmu_shade_set_leaf(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			 vmmu_spte_t to, uint64_t gpte)
{
	vmmu_spte_t old = shade_get(s, index);
	vmmu_gfn_t gfn = vmmu_shade_gfn_of(s, index, gpte);
	vmmu_spte_t from;
	uint64_t *cell;

	if (spte_kind(old) == VMMU_KIND_LEAF && spte_pfn(old).n == spte_pfn(to).n &&
	    vmmu_shade_leaf_gfn(s, index).n == gfn.n) {
		s->gptes[index] = gpte;
		change_rights(task, s, index, to);
		return true;
	}
	cell = vmmu_framemap_make(task, rmap_of(task->vm, s), rmap_key(s, gfn));
	if (!cell)
		return false;
	if (old.raw && spte_kind(old) != VMMU_KIND_LEAF) {
		vmmu_shade_clear(task, s, index);
		old = spte_empty();
	}
	from = shade_swap(s, index, to); /* if it is a leaf: with what the CPU has set in it */
	if (old.raw) {
		hand_over_dirty(task, s, index, from, to);
		leaf_gone(task, s, index);
		vmmu_debt_add_everything(task);
	} else {
		fill(s, index);
		stat_add(task, pages_stat(s), 1);
	}
	s->gptes[index] = gpte;
	leaf_push(task->vm, cell, s, index);
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, gfn.n, from.raw, to.raw);
	return true;
}

bool vmmu_shade_add_table(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			  struct vmmu_shade *child, uint64_t gpte)
{
	struct vmmu_vm *vm = task->vm;
	vmmu_spte_t to = spte_table(&vm->fmt, child->sp.pfn);
	bool is_fresh;

	s->gptes[index] = gpte;
	vmmu_spin_acquire(&vm->shades.lock, vm->port, vm->host);
	is_fresh = !shade_is_stale(child) || VMMU_MUTANT(LINK_STALE);
	if (is_fresh)
		list_add(&child->parents, s, index);
	vmmu_spin_release(&vm->shades.lock);
	if (!is_fresh)
		return false;
	atomic_put_release(&s->sp.entries[index].raw, shade_raw(to));
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, s->sp.gfn.n, 0, to.raw);
	return true;
}

void vmmu_shade_set_mmio(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			 uint64_t gpte)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	uint64_t generation = atomic_get(&task->vm->spaces[s->sp.role.space].generation);

	if (!VMMU_MUTANT(DEVICE_OVER_LEAF))
		vmmu_shade_clear(task, s, index);
	s->gptes[index] = gpte;
	/* While a change is under way nothing is remembered (I13). */
	if (!fmt_has_mmio(fmt) || (generation & VMMU_GENERATION_IN_PROGRESS) ||
	    s->sp.role.level != VMMU_LEVEL_4K)
		return;
	fill(s, index);
	(void)shade_swap(s, index, vmmu_spte_mmio(fmt, generation));
	stat_add(task, VMMU_STAT_MMIO_ENTRIES, 1);
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, vmmu_shade_leaf_gfn(s, index).n, 0,
	      shade_get(s, index).raw);
}

void vmmu_shade_set_table(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			  struct vmmu_shade *child, uint64_t gpte)
{
	vmmu_spte_t to = spte_table(&task->vm->fmt, child->sp.pfn);

	vmmu_shade_clear(task, s, index);
	s->gptes[index] = gpte;
	list_add(&child->parents, s, index);
	if (shade_is_stale(child))
		vmmu_unsync_mark(s, index);
	fill(s, index);
	(void)shade_swap(s, index, to);
	trace(task, VMMU_TRACE_ENTRY, s->sp.role.level, s->sp.gfn.n, 0, to.raw);
}

/* ---- all leaves of a frame ---- */

static void leaf_narrow(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			uint32_t kinds) VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	vmmu_spte_t e = shade_get(s, index), to = spte_without(fmt, e, kinds);

	if (e.raw & ~to.raw & fmt->write)
		to.raw &= ~fmt->dirty;
	if (to.raw != e.raw)
		change_rights(task, s, index, to);
}

/* @kinds: WRITE and EXEC at most. */
static void frame_narrow(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn, uint32_t kinds)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_frames *frames = &task->vm->frames[space];
	uint64_t *cell = vmmu_framemap_find(&frames->rmap[0], gfn.n);
	vmmu_link_t at = cell ? frame_list(cell) : (vmmu_link_t){0};

	for (; at.n; at = link_shade(at)->links[link_index(at)])
		leaf_narrow(task, link_shade(at), link_index(at), kinds);
	/* A huge leaf around it could not stay writable for its other frames: it goes. */
	for (unsigned level = 2; level <= 3 && !VMMU_MUTANT(TRACK_KEEPS_HUGE); level++) {
		cell = vmmu_framemap_find(&frames->rmap[level - 1], gfn.n >> (9u * (level - 1)));
		while (cell && (at = frame_list(cell)).n)
			vmmu_shade_clear(task, link_shade(at), link_index(at));
	}
}

void vmmu_frame_protect(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn)
{
	frame_narrow(task, space, gfn, VMMU_ACCESS_WRITE);
}

void vmmu_frames_forbid(struct vmmu_task *task, struct vmmu_gfn_range range, uint32_t kinds)
{
	for (unsigned space = 0; space < task->vm->config.spaces; space++) {
		if (kinds & VMMU_ACCESS_READ) {
			vmmu_frames_zap(task, space, range, VMMU_ITER_HOLDS);
			continue;
		}
		for (vmmu_gfn_t gfn = range.start; gfn.n < range.end.n; gfn.n++)
			frame_narrow(task, space, gfn, kinds);
	}
}

static void zap_from_level(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range,
			   unsigned lowest, enum vmmu_iter_pause pauses)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	for (unsigned level = lowest; level <= VMMU_LEAF_SIZES; level++) {
		struct vmmu_framemap *map = &task->vm->frames[space].rmap[level - 1];
		unsigned shift = 9u * (level - 1);
		uint64_t end = (range.end.n + (UINT64_C(1) << shift) - 1) >> shift;
		uint64_t key = vmmu_framemap_next(map, range.start.n >> shift, end);

		for (; key < end; key = vmmu_framemap_next(map, key + 1, end)) {
			uint64_t *cell = vmmu_framemap_find(map, key);
			vmmu_link_t at;

			while (cell && (at = frame_list(cell)).n && !vm_is_dead(task->vm))
				vmmu_shade_clear(task, link_shade(at), link_index(at));
			if (pauses == VMMU_ITER_PAUSES)
				(void)vmmu_section_pause(task);
		}
	}
}

void vmmu_frames_zap(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range,
		     enum vmmu_iter_pause pauses)
{
	zap_from_level(task, space, range, 1, pauses);
}

void vmmu_shadow_zap_huge(struct vmmu_task *task, struct vmmu_gfn_range range)
{
	vmmu_section_begin(task);
	zap_from_level(task, task->space, range, 2, VMMU_ITER_PAUSES);
	vmmu_section_end(task);
}
