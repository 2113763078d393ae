/* SPDX-License-Identifier: MIT */
#include "shadow/leaves.h"

#include "vm.h"

/* Rights in roles become those of leaves by a shift. */
#define RIGHTS_SHIFT 1
_Static_assert(VMMU_RIGHT_WRITE << RIGHTS_SHIFT == VMMU_BIT(1) &&
		       VMMU_RIGHT_USER << RIGHTS_SHIFT == VMMU_BIT(2),
	       "rights in roles are in the order of those in entries");

void vmmu_leaves_prepare(const struct vmmu_vm *vm, struct vmmu_shade *s)
{
	const struct vmmu_fmt *fmt = &vm->fmt;
	union vmmu_role role = s->sp.role;
	uint64_t base = (uint64_t)VMMU_KIND_LEAF << VMMU_SHADE_KIND_SHIFT;
	uint64_t take = (uint64_t)role.access << RIGHTS_SHIFT & (fmt->write | fmt->user_bit);

	base |= fmt->read | fmt->accessed | (uint64_t)role.key << VMMU_SPTE_KEY_SHIFT;
	if (!vm->port->memory_type)
		base |= fmt->memtype[VMMU_MEMTYPE_WB];
	if (!(role.access & VMMU_RIGHT_EXEC))
		base |= fmt->no_exec;
	if (role.nx)
		take |= fmt->no_exec;
	/* Under long mode the guest's protection key goes along. */
	if (role.mode >= VMMU_PAGING_4LEVEL && !role.direct)
		take |= VMMU_SPTE_KEY_MASK;
	s->leaf_base = base;
	s->leaf_take = take;
	s->leaf_frame = role.direct                      ? 0
			: role.mode == VMMU_PAGING_32BIT ? VMMU_MASK(31, 12)
							 : VMMU_MASK(51, 12);
}

void vmmu_leaves_begin(struct vmmu_leaves *l, struct vmmu_task *task, struct vmmu_shade *s)
{
	const struct vmmu_vm *vm = task->vm;
	unsigned space = s->sp.role.space;

	l->task = task;
	l->s = s;
	l->gptes = s->gptes;
	l->base = s->leaf_base;
	l->take = s->leaf_take;
	l->frame = s->leaf_frame;
	l->write = vm->fmt.write;
	l->where = VMMU_SPTE_ADDRESS_MASK | vm->fmt.memtype_mask;
	l->watched = vm_hears_dirty(vm) || vm->port->trace;
	l->tracked = vm_tracks(vm);
	l->decides_later = false;
	/* Taking away pauses: then there are leaves that are on their way out. */
	l->copies = !(vm->invalidations.frames[space].active | vm->invalidations.host.active) &&
		    !(atomic_get(&vm->spaces[space].generation) & VMMU_GENERATION_IN_PROGRESS);
	l->region = l->gone_region = l->tables_region = VMMU_LEAVES_NO_REGION;
	l->slot.count = 0;
	l->block = l->block_count = 0;
	l->owed = false;
	l->gone = l->emptied = l->filled = 0;
}

void vmmu_leaves_end(const struct vmmu_leaves *l)
{
	if (l->gone)
		stat_add(l->task, VMMU_STAT_ZAPPED, l->gone);
	if (l->filled != l->emptied)
		stat_add(l->task, VMMU_STAT_PAGES_4K, (uint64_t)l->filled - l->emptied);
	if (l->owed)
		vmmu_debt_add_everything(l->task);
}

void vmmu_leaves_enter(struct vmmu_leaves *l, uint64_t region)
{
	const struct vmmu_frames *frames = &l->task->vm->frames[l->s->sp.role.space];

	l->region = region;
	l->rmap = vmmu_framemap_look(&frames->rmap[0], region * VMMU_FRAMEMAP_ENTRIES);
}

uint64_t *vmmu_leaves_make_cell(struct vmmu_leaves *l, vmmu_gfn_t gfn)
{
	struct vmmu_frames *frames = &l->task->vm->frames[l->s->sp.role.space];

	if (!vmmu_framemap_grow(l->task, &frames->rmap[0], gfn.n))
		return NULL;
	vmmu_leaves_enter(l, gfn.n / VMMU_FRAMEMAP_ENTRIES);
	return leaves_cell(l, gfn);
}

void vmmu_leaves_enter_tables(struct vmmu_leaves *l, uint64_t region)
{
	struct vmmu_framemap *tables = &l->task->vm->frames[l->s->sp.role.space].tables;

	l->tables_region = region;
	l->tables_grown = &tables->grown;
	/* The number first: what came after it is looked for again. */
	l->tables_seen = atomic_get_acquire(l->tables_grown);
	l->tables = vmmu_framemap_look(tables, region * VMMU_FRAMEMAP_ENTRIES);
}

/* Do tables of the guest in the frame keep it from being written? */
static inline bool is_shut(struct vmmu_leaves *l, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	return leaves_may_hold_tables(l, gfn) &&
	       vmmu_frame_is_shut(l->task->vm, l->s->sp.role.space, gfn, false) &&
	       !VMMU_MUTANT(FILL_TABLE);
}

/* The memory type for a leaf, as bits. */
static uint64_t memtype_of(const struct vmmu_leaves *l, vmmu_gfn_t gfn, vmmu_pfn_t pfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_vm *vm = l->task->vm;
	enum vmmu_memtype memtype = VMMU_MEMTYPE_WB;

	/* No page of 4K has parts that differ; whoever says so gets the strictest. */
	if (!vm->port->memory_type(vm->host, gfn, 1, pfn, &memtype))
		memtype = VMMU_MEMTYPE_UC;
	return vm->fmt.memtype[memtype];
}

/* As far as the slot reaches, the frames of a huge host page follow each other. */
static __attribute__((noinline)) void keep_block(struct vmmu_leaves *l, vmmu_gfn_t gfn,
						 const struct vmmu_page *page)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_invalidations *inv = &l->task->vm->invalidations;
	uint64_t host = vmmu_slot_host(&l->slot, gfn) >> VMMU_PAGE_SHIFT;
	uint64_t frames = vmmu_level_frames(page->level), offset = page->pfn.n & (frames - 1);
	uint64_t before = gfn.n - l->slot.base.n, after = frames - offset;
	uint64_t left = l->slot.count - before;

	/* What the host takes away now need not be all of it. */
	if ((inv->frames[l->slot.space].active | inv->host.active) ||
	    (host & (frames - 1)) != offset)
		return;
	if (before > offset)
		before = offset;
	l->block = gfn.n - before;
	l->block_pfn = page->pfn.n - before;
	l->block_count = before + (after < left ? after : left);
	l->block_writable = page->writable;
}

static __attribute__((noinline)) bool find_slot(struct vmmu_leaves *l, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const struct vmmu_slot *slot = shadow_slot(l->task, l->s->sp.role.space, gfn);

	if (slot)
		l->slot = *slot;
	l->block_count = 0; /* lies in another one */
	return slot != NULL;
}

/* Of the last huge page, or asked for. False: it is not at hand, or no slot holds it. */
static inline bool find_page(struct vmmu_leaves *l, vmmu_gfn_t gfn, struct vmmu_page *page)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	if (gfn.n - l->block < l->block_count) {
		page->pfn.n = l->block_pfn + (gfn.n - l->block);
		page->writable = l->block_writable;
		return true;
	}
	if ((VMMU_UNLIKELY(!vmmu_slot_holds(&l->slot, gfn)) && !find_slot(l, gfn)) ||
	    !page_at_hand(l->task->vm, &l->slot, gfn, page))
		return false;
	if (VMMU_UNLIKELY(page->level > VMMU_LEVEL_4K))
		keep_block(l, gfn, page);
	return true;
}

uint64_t vmmu_leaves_complete(struct vmmu_leaves *l, vmmu_gfn_t gfn, uint64_t want)
{
	struct vmmu_page page;

	if (!find_page(l, gfn, &page))
		return 0;
	if ((want & l->write) && (!page.writable || (l->slot.flags & VMMU_SLOT_READONLY) ||
				  (!l->decides_later && is_shut(l, gfn))))
		want &= ~l->write;
	if (VMMU_UNLIKELY(l->task->vm->port->memory_type != NULL))
		want |= memtype_of(l, gfn, page.pfn);
	return want | page.pfn.n << VMMU_PAGE_SHIFT;
}
