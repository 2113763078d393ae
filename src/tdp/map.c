/* SPDX-License-Identifier: MIT */
/* Installing translations: runs on any number of vCPUs at once. */
#include "tdp/tdp.h"
#include "vm.h"

/* Link a new table below the entry that @it stands on. False: lost a race, look again. */
static bool link_table(struct vmmu_iter *it)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_port *port = task->vm->port;
	union vmmu_role role = it->root->role;
	struct vmmu_sp *sp;

	role.level = (it->level - 1u) & 0xfu;
	sp = vmmu_table_new(task, it->gfn, role);
	vmmu_table_set_live(task, sp);
	if (VMMU_UNLIKELY(port->tables_written != NULL))
		port->tables_written(task->vm->host, sp->pfn, 0, VMMU_TABLE_ENTRIES);
	if (VMMU_LIKELY(vmmu_commit(it, spte_table(&task->vm->fmt, sp->pfn))))
		return true;
	vmmu_table_withdraw(task, sp);
	return false;
}

/* Replace the huge leaf that @it stands on by a table that says the same. */
static bool split_leaf(struct vmmu_iter *it)
{
	struct vmmu_task *task = it->task;
	struct vmmu_vm *vm = task->vm;
	union vmmu_role role = it->root->role;
	vmmu_spte_t huge = it->old;
	struct vmmu_sp *sp;

	role.level = (it->level - 1u) & 0xfu;
	sp = vmmu_table_new(task, it->gfn, role);
	for (unsigned i = 0; i < VMMU_TABLE_ENTRIES; i++)
		atomic_put(&sp->entries[i].raw,
			   vmmu_spte_child_of_huge(&vm->fmt, huge, it->level, i).raw);
	vmmu_table_set_live(task, sp);
	if (VMMU_UNLIKELY(vm->port->tables_written != NULL))
		vm->port->tables_written(vm->host, sp->pfn, 0, VMMU_TABLE_ENTRIES);
	if (VMMU_LIKELY(vmmu_commit(it, spte_table(&vm->fmt, sp->pfn))))
		return true;
	vmmu_table_withdraw(task, sp);
	return false;
}

/* What came of making way at the entry that @it stands on. */
enum descent { GO_DOWN, LOOK_AGAIN, GIVE_UP, ALREADY };

static enum descent clear_way(struct vmmu_iter *it, uint32_t access)
{
	struct vmmu_vm *vm = it->task->vm;

	switch (spte_kind(it->old)) {
	case VMMU_KIND_TABLE:
		return GO_DOWN;
	case VMMU_KIND_EMPTY:
	case VMMU_KIND_MMIO:
		return link_table(it) ? GO_DOWN : LOOK_AGAIN;
	case VMMU_KIND_LEAF:
		if (!(access & ~spte_access(&vm->fmt, it->old)))
			return ALREADY;
		return split_leaf(it) ? GO_DOWN : LOOK_AGAIN;
	case VMMU_KIND_FROZEN:
	case VMMU_KIND_COUNT:
		break;
	}
	return GIVE_UP;
}

/* Memory type of a leaf; false if the frames differ and a smaller leaf is needed. */
static bool leaf_memtype(const struct vmmu_vm *vm, struct vmmu_leaf *leaf, vmmu_gfn_t gfn)
{
	leaf->memtype = VMMU_MEMTYPE_WB;
	if (VMMU_LIKELY(!vm->port->memory_type))
		return true;
	if (!vm->port->memory_type(vm->host, gfn, vmmu_level_frames(leaf->level), leaf->pfn,
				   &leaf->memtype))
		return false;
	/* Other values are no types: the strictest one stands in. */
	if (leaf->memtype > VMMU_MEMTYPE_WB || leaf->memtype == 2 || leaf->memtype == 3)
		leaf->memtype = VMMU_MEMTYPE_UC;
	return true;
}

/* Rights for a leaf on this page: what slot and host allow, wanted or not. */
static uint32_t leaf_access(const struct vmmu_vm *vm, const struct vmmu_target *t,
			    const struct vmmu_page *page, uint32_t wanted)
{
	uint32_t access = vmmu_slot_access(t->slot);

	if (VMMU_MUTANT(RIGHTS_INVERTED))
		access ^= VMMU_ACCESS_WRITE;
	if (!page->writable)
		access &= ~(uint32_t)VMMU_ACCESS_WRITE;
	/* Without a dirty flag a writable leaf counts as dirty: only a write may make one. */
	if (!vm->fmt.dirty && !(wanted & VMMU_ACCESS_WRITE))
		access &= ~(uint32_t)VMMU_ACCESS_WRITE;
	return access;
}

/*
 * Here, under the lock, is where it is decided what the entries to come may allow; what anybody
 * saw without the lock was a hint.
 */
bool vmmu_tdp_obey_trackers(const struct vmmu_vm *vm, struct vmmu_target *t)
{
	uint32_t kinds = vmmu_tracked_kinds(vm, t->gfn);

	if (VMMU_MUTANT(TRACK_HINT))
		return true;
	if (kinds & (t->access | VMMU_ACCESS_READ))
		return false;
	t->allowed = ~kinds;
	while (t->max > VMMU_LEVEL_4K && vmmu_tracked_around(vm, t->gfn, t->max) &&
	       !VMMU_MUTANT(TRACK_ALLOWS_HUGE))
		t->max--;
	for (uint32_t i = 0; i < t->count; i++) {
		vmmu_gfn_t gfn = {t->first.n + i};

		/* A neighbour that is tracked is not worth a guess. */
		if (gfn.n != t->gfn.n && vmmu_tracked_kinds(vm, gfn) &&
		    !VMMU_MUTANT(TRACK_NEIGHBOURS))
			t->pages[i].pfn = VMMU_PFN_NONE;
	}
	return true;
}

/* The largest leaf up to @max for the wanted page, and what it shall say. */
static void choose_leaf(const struct vmmu_vm *vm, const struct vmmu_target *t, enum vmmu_level max,
			struct vmmu_leaf *leaf)
{
	const struct vmmu_page *page = &t->pages[t->gfn.n - t->first.n];
	enum vmmu_level level = page->level < max ? page->level : max;

	leaf->access = leaf_access(vm, t, page, t->access) & t->allowed;
	leaf->accessed = !t->prefault;
	leaf->dirty = (t->access & VMMU_ACCESS_WRITE) && !t->prefault;
	if (level > VMMU_LEVEL_4K)
		level = vmmu_slot_level(t->slot, t->gfn, level);
	else
		level = VMMU_LEVEL_4K; /* whatever smaller number the port came up with */
	for (;; level--) {
		uint64_t inside = t->gfn.n & (vmmu_level_frames(level) - 1);

		leaf->level = level;
		leaf->pfn.n = page->pfn.n - inside;
		/* The frame must be aligned as the address is, and of one memory type. */
		if (level == VMMU_LEVEL_4K ||
		    !((page->pfn.n ^ t->gfn.n) & (vmmu_level_frames(level) - 1)) ||
		    VMMU_MUTANT(HUGE_SKEWED)) {
			if (leaf_memtype(vm, leaf, (vmmu_gfn_t){t->gfn.n - inside}) ||
			    level == VMMU_LEVEL_4K)
				return;
		}
	}
}

static bool slots_are_changing(const struct vmmu_iter *it)
{
	const struct vmmu_slot_space *space = &it->task->vm->spaces[it->root->role.space];

	return (atomic_get(&space->generation) & VMMU_GENERATION_IN_PROGRESS) &&
	       !VMMU_MUTANT(MOVE_IS_FATAL);
}

/* Install the leaf at the entry that @it stands on, which is at the leaf's level. */
static enum vmmu_outcome set_leaf(struct vmmu_iter *it, const struct vmmu_leaf *leaf,
				  uint32_t access)
{
	struct vmmu_task *task = it->task;
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	vmmu_spte_t want = vmmu_spte_leaf(fmt, leaf);

	for (;;) {
		vmmu_spte_t to = want;

		if (spte_kind(it->old) == VMMU_KIND_FROZEN ||
		    (spte_kind(it->old) == VMMU_KIND_TABLE && leaf->level > VMMU_LEVEL_2M))
			return VMMU_OUTCOME_RETRY; /* somebody else was here */
		if (spte_kind(it->old) == VMMU_KIND_LEAF) {
			/* A slot that moves over its own frames leaves its old leaves behind for
			 * as long as the change is under way. */
			if (spte_pfn(it->old).n != leaf->pfn.n && slots_are_changing(it))
				return VMMU_OUTCOME_RETRY;
			if (!VMMU_CHECK(task, spte_pfn(it->old).n == leaf->pfn.n,
					"the host frame behind a guest frame changed without "
					"vmmu_invalidate_begin()",
					it->gfn.n, it->old.raw))
				return VMMU_OUTCOME_DEAD;
			if (!(access & ~spte_access(fmt, it->old)))
				return VMMU_OUTCOME_SPURIOUS;
			/* The memory type stays: vmmu_zap_range() is how it changes. */
			to.raw =
				(want.raw & ~fmt->memtype_mask) | (it->old.raw & fmt->memtype_mask);
			to = spte_union(fmt, it->old, to);
		}
		if (VMMU_LIKELY(vmmu_commit(it, to)))
			return VMMU_OUTCOME_RESUME;
		if (vm_is_dead(task->vm))
			return VMMU_OUTCOME_DEAD;
	}
}

/* Neighbours in the same table whose frames are at hand: neither accessed nor dirty. */
static void prefetch(struct vmmu_iter *it, const struct vmmu_target *t)
{
	struct vmmu_task *task = it->task;
	struct vmmu_vm *vm = task->vm;
	vmmu_spte_slot_t *table = it->table[VMMU_LEVEL_4K];
	uint64_t installed = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		struct vmmu_leaf leaf = {.pfn = t->pages[i].pfn, .level = VMMU_LEVEL_4K};
		vmmu_gfn_t gfn = {t->first.n + i};

		if (gfn.n == t->gfn.n || leaf.pfn.n >> (vm->config.physical_bits - VMMU_PAGE_SHIFT))
			continue;
		it->gfn = gfn;
		it->slot = &table[gfn_index(gfn, VMMU_LEVEL_4K)];
		it->old = spte_get(it->slot);
		if (spte_kind(it->old) != VMMU_KIND_EMPTY || !leaf_memtype(vm, &leaf, gfn))
			continue;
		leaf.access = leaf_access(vm, t, &t->pages[i], 0);
		leaf.dirty = VMMU_MUTANT(PREFETCH_DIRTY);
		installed += vmmu_commit(it, vmmu_spte_leaf(&vm->fmt, &leaf));
	}
	if (installed)
		stat_add(task, VMMU_STAT_PREFETCHED, installed);
}

/* Stand in the lowest table by way of the last fault's walk, if that still holds. */
static bool jump(struct vmmu_iter *it, struct vmmu_task *task, const struct vmmu_sp *root,
		 vmmu_gfn_t gfn)
{
	const struct vmmu_last_table *last = &task->vcpu->last_table;

	if (last->root != root || last->region != gfn.n / VMMU_TABLE_ENTRIES ||
	    last->unlinked != atomic_get_acquire(&task->vm->pages.unlinked))
		return false;
	it->level = VMMU_LEVEL_4K;
	it->gfn = gfn;
	it->table[VMMU_LEVEL_4K] = last->entries;
	it->table_pfn[VMMU_LEVEL_4K] = last->pfn;
	it->slot = &last->entries[gfn_index(gfn, VMMU_LEVEL_4K)];
	it->old = spte_get(it->slot);
	return true;
}

/*
 * Remember the walk. @unlinked was read before it: if a table on the way was taken out
 * meanwhile, the numbers differ and the memory is worthless at once.
 */
static void remember(const struct vmmu_iter *it, uint64_t unlinked)
{
	it->task->vcpu->last_table = (struct vmmu_last_table){
		.root = it->root,
		.unlinked = unlinked,
		.region = it->gfn.n / VMMU_TABLE_ENTRIES,
		.entries = it->table[VMMU_LEVEL_4K],
		.pfn = it->table_pfn[VMMU_LEVEL_4K],
	};
}

/* Walk to @level, making tables where there are none. RESUME: @it stands there. */
static enum vmmu_outcome walk(struct vmmu_iter *it, struct vmmu_sp *root,
			      const struct vmmu_target *target, enum vmmu_level level)
{
	struct vmmu_task *task = it->task;
	uint64_t unlinked = atomic_get_acquire(&task->vm->pages.unlinked);

	vmmu_iter_begin(it, task, root, level,
			(struct vmmu_gfn_range){target->gfn, {target->gfn.n + 1}});
	for (;;) {
		enum descent way;

		vmmu_iter_dive(it, target->gfn, level);
		if (it->level == level)
			break;
		way = clear_way(it, target->access);
		if (way == GIVE_UP)
			return VMMU_OUTCOME_RETRY;
		if (way == ALREADY)
			return VMMU_OUTCOME_SPURIOUS;
		if (vm_is_dead(task->vm))
			return VMMU_OUTCOME_DEAD;
	}
	if (level == VMMU_LEVEL_4K)
		remember(it, unlinked);
	return VMMU_OUTCOME_RESUME;
}

enum vmmu_outcome vmmu_tdp_map(struct vmmu_task *task, struct vmmu_sp *root,
			       const struct vmmu_target *target, enum vmmu_level *level)
{
	struct vmmu_iter it; /* large: what is used of it is set on the way */
	enum vmmu_level max = target->max;
	enum vmmu_outcome outcome;
	struct vmmu_leaf leaf;

	it.task = task;
	it.root = root;
	for (;; max = leaf.level - 1u) {
		choose_leaf(task->vm, target, max, &leaf);
		if (VMMU_UNLIKELY(leaf.pfn.n >> (task->vm->config.physical_bits - VMMU_PAGE_SHIFT)))
			return VMMU_OUTCOME_HOST_ERROR;
		if (leaf.level == VMMU_LEVEL_4K && jump(&it, task, root, target->gfn))
			break;
		outcome = walk(&it, root, target, leaf.level);
		if (outcome != VMMU_OUTCOME_RESUME)
			return outcome;
		/* One table makes room for a 2M leaf; a whole tree of them is too much for a fault.
		 */
		if (leaf.level <= VMMU_LEVEL_2M || spte_kind(it.old) != VMMU_KIND_TABLE)
			break;
	}
	outcome = set_leaf(&it, &leaf, target->access);
	if (outcome != VMMU_OUTCOME_RESUME)
		return outcome;
	*level = leaf.level;
	if (leaf.level == VMMU_LEVEL_4K && target->count > 1)
		prefetch(&it, target);
	return outcome;
}

void vmmu_tdp_map_mmio(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
		       uint64_t generation)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, (struct vmmu_gfn_range){gfn, {gfn.n + 1}});
	for (;;) {
		enum descent way;

		vmmu_iter_dive(&it, gfn, VMMU_LEVEL_4K);
		if (it.level == VMMU_LEVEL_4K)
			break;
		/* No access is wanted: whatever leaf is in the way stays. */
		way = clear_way(&it, 0);
		if (way == GIVE_UP || way == ALREADY || vm_is_dead(task->vm))
			return;
	}
	if (spte_kind(it.old) == VMMU_KIND_EMPTY || spte_kind(it.old) == VMMU_KIND_MMIO)
		(void)vmmu_commit(&it, vmmu_spte_mmio(&task->vm->fmt, generation));
}

vmmu_spte_t vmmu_tdp_look(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
			  enum vmmu_level *level)
{
	struct vmmu_iter it;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, (struct vmmu_gfn_range){gfn, {gfn.n + 1}});
	vmmu_iter_dive(&it, gfn, VMMU_LEVEL_4K);
	*level = it.level;
	return it.old;
}
