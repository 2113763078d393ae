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
		return vmmu_split_leaf(it) ? GO_DOWN : LOOK_AGAIN;
	case VMMU_KIND_FROZEN:
	case VMMU_KIND_COUNT:
		break;
	}
	return GIVE_UP;
}

static bool leaf_memtype_ask(const struct vmmu_vm *vm, struct vmmu_leaf *leaf, vmmu_gfn_t gfn)
{
	if (!vm->port->memory_type(vm->host, gfn, vmmu_level_frames(leaf->level), leaf->pfn,
				   &leaf->memtype))
		return false;
	/* Other values are no types: the strictest one stands in. */
	if (leaf->memtype > VMMU_MEMTYPE_WB || leaf->memtype == 2 || leaf->memtype == 3)
		leaf->memtype = VMMU_MEMTYPE_UC;
	return true;
}

/* Memory type of a leaf; false if the frames differ and a smaller leaf is needed. */
static inline bool leaf_memtype(const struct vmmu_vm *vm, struct vmmu_leaf *leaf, vmmu_gfn_t gfn)
{
	leaf->memtype = VMMU_MEMTYPE_WB;
	return VMMU_LIKELY(!vm->port->memory_type) || leaf_memtype_ask(vm, leaf, gfn);
}

/* Rights for a leaf on this page: what slot and host allow, wanted or not. */
static inline uint32_t leaf_access(const struct vmmu_vm *vm, const struct vmmu_target *t,
				   bool writable, uint32_t wanted)
{
	uint32_t access = vmmu_slot_access(t->slot);

	if (VMMU_MUTANT(RIGHTS_INVERTED))
		access ^= VMMU_ACCESS_WRITE;
	if (!writable)
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

/* What the leaf of the wanted page allows, and whether the access counts as done. */
static inline void leaf_rights(const struct vmmu_vm *vm, const struct vmmu_target *t,
			       const struct vmmu_page *page, struct vmmu_leaf *leaf)
{
	leaf->access = leaf_access(vm, t, page->writable, t->access) & t->allowed;
	leaf->accessed = !t->prefault;
	leaf->dirty = (t->access & VMMU_ACCESS_WRITE) && !t->prefault;
}

/* The largest leaf up to @max for the wanted page, and what it shall say. */
static void choose_leaf(const struct vmmu_vm *vm, const struct vmmu_target *t, enum vmmu_level max,
			struct vmmu_leaf *leaf)
{
	const struct vmmu_page *page = &t->pages[t->gfn.n - t->first.n];
	enum vmmu_level level = page->level < max ? page->level : max;

	leaf_rights(vm, t, page, leaf);
	if (level <= VMMU_LEVEL_4K) { /* or whatever smaller number the port came up with */
		leaf->level = VMMU_LEVEL_4K;
		leaf->pfn = page->pfn;
		(void)leaf_memtype(vm, leaf, t->gfn);
		return;
	}
	for (level = vmmu_slot_level(t->slot, t->gfn, level);; level--) {
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

/* A neighbour's leaf, neither accessed nor dirty, without its frame. */
static vmmu_spte_t neighbour_leaf(const struct vmmu_vm *vm, const struct vmmu_target *t,
				  bool writable)
{
	const struct vmmu_leaf leaf = {
		.level = VMMU_LEVEL_4K,
		.access = leaf_access(vm, t, writable, 0),
		.dirty = VMMU_MUTANT(PREFETCH_DIRTY),
		.memtype = VMMU_MEMTYPE_WB,
	};

	return vmmu_spte_leaf(&vm->fmt, &leaf);
}

/* The same with the memory type that the port gives it; false if none. */
static bool neighbour_memtype(const struct vmmu_vm *vm, vmmu_pfn_t pfn, vmmu_gfn_t gfn,
			      vmmu_spte_t *to)
{
	struct vmmu_leaf leaf = {.pfn = pfn, .level = VMMU_LEVEL_4K};

	if (!leaf_memtype_ask(vm, &leaf, gfn))
		return false;
	to->raw = (to->raw & ~vm->fmt.memtype_mask) | vm->fmt.memtype[leaf.memtype];
	return true;
}

/* Neighbours in the same table whose frames are at hand. */
static void prefetch(struct vmmu_iter *it, const struct vmmu_target *t)
{
	struct vmmu_task *task = it->task;
	struct vmmu_vm *vm = task->vm;
	unsigned frame_bits = vm->config.physical_bits - VMMU_PAGE_SHIFT;
	const vmmu_spte_t writable = neighbour_leaf(vm, t, true);
	const vmmu_spte_t readonly = neighbour_leaf(vm, t, false);
	vmmu_spte_slot_t *slot = &it->table[VMMU_LEVEL_4K][gfn_index(t->first, VMMU_LEVEL_4K)];
	uint64_t installed = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		const struct vmmu_page *page = &t->pages[i];
		vmmu_spte_t to = page->writable ? writable : readonly;

		it->gfn.n = t->first.n + i;
		it->slot = &slot[i];
		it->old = spte_get(it->slot);
		if (spte_kind(it->old) != VMMU_KIND_EMPTY || page->pfn.n >> frame_bits ||
		    it->gfn.n == t->gfn.n)
			continue;
		if (VMMU_UNLIKELY(vm->port->memory_type != NULL) &&
		    !neighbour_memtype(vm, page->pfn, it->gfn, &to))
			continue;
		to.raw |= page->pfn.n << VMMU_PAGE_SHIFT;
		installed += vmmu_commit(it, to);
	}
	if (installed)
		stat_add(task, VMMU_STAT_PREFETCHED, installed);
}

/* Frames of a whole table of this level, as a shift. */
static inline unsigned region_shift(enum vmmu_level level)
{
	return 9u * level;
}

/* Stand in the table of @level by way of the last fault's walk, if that still holds. */
static inline bool jump(struct vmmu_iter *it, struct vmmu_task *task, const struct vmmu_sp *root,
			vmmu_gfn_t gfn, enum vmmu_level level)
{
	const struct vmmu_last_table *last = &task->vcpu->last_table;

	if (last->root != root || last->level != level ||
	    last->region != gfn.n >> region_shift(level) ||
	    last->unlinked != atomic_get_acquire(&task->vm->pages.unlinked))
		return false;
	it->level = level;
	it->gfn.n = gfn.n & ~(vmmu_level_frames(level) - 1);
	it->table[level] = last->entries;
	it->table_pfn[level] = last->pfn;
	it->slot = &last->entries[gfn_index(gfn, level)];
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
		.region = it->gfn.n >> region_shift(it->level),
		.entries = it->table[it->level],
		.pfn = it->table_pfn[it->level],
		.level = it->level,
	};
}

/* Walk to @level, making tables where there are none. RESUME: @it stands there. */
static enum vmmu_outcome walk(struct vmmu_iter *it, struct vmmu_sp *root,
			      const struct vmmu_target *target, enum vmmu_level level)
{
	struct vmmu_task *task = it->task;
	uint64_t unlinked = atomic_get_acquire(&task->vm->pages.unlinked);

	vmmu_iter_point(it, task, root, target->gfn);
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
	remember(it, unlinked);
	return VMMU_OUTCOME_RESUME;
}

/*
 * The way of most faults: a 4K leaf into an empty entry of the table that the last fault ended in,
 * and nothing about it is special. False: nothing was done.
 */
static inline bool map_short(struct vmmu_iter *it, struct vmmu_task *task, struct vmmu_sp *root,
			     const struct vmmu_target *t)
{
	const struct vmmu_vm *vm = task->vm;
	const struct vmmu_page *page = &t->pages[t->gfn.n - t->first.n];
	struct vmmu_leaf leaf = {
		.pfn = page->pfn, .level = VMMU_LEVEL_4K, .memtype = VMMU_MEMTYPE_WB};

	if ((page->level > VMMU_LEVEL_4K && t->max > VMMU_LEVEL_4K) || vm->port->memory_type ||
	    page->pfn.n >> (vm->config.physical_bits - VMMU_PAGE_SHIFT) ||
	    !jump(it, task, root, t->gfn, VMMU_LEVEL_4K) || spte_kind(it->old) != VMMU_KIND_EMPTY)
		return false;
	leaf_rights(vm, t, page, &leaf);
	return vmmu_commit(it, vmmu_spte_leaf(&vm->fmt, &leaf));
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
	if (VMMU_LIKELY(map_short(&it, task, root, target))) {
		*level = VMMU_LEVEL_4K;
		if (target->count > 1)
			prefetch(&it, target);
		return VMMU_OUTCOME_RESUME;
	}
	for (;; max = leaf.level - 1u) {
		choose_leaf(task->vm, target, max, &leaf);
		if (VMMU_UNLIKELY(leaf.pfn.n >> (task->vm->config.physical_bits - VMMU_PAGE_SHIFT)))
			return VMMU_OUTCOME_HOST_ERROR;
		if (!jump(&it, task, root, target->gfn, leaf.level)) {
			outcome = walk(&it, root, target, leaf.level);
			if (outcome != VMMU_OUTCOME_RESUME)
				return outcome;
		}
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

	vmmu_iter_point(&it, task, root, gfn);
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

	vmmu_iter_point(&it, task, root, gfn);
	vmmu_iter_dive(&it, gfn, VMMU_LEVEL_4K);
	*level = it.level;
	return it.old;
}

enum vmmu_outcome vmmu_tdp_widen(struct vmmu_task *task, struct vmmu_sp *root, vmmu_gfn_t gfn,
				 uint32_t access, enum vmmu_level *level)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	struct vmmu_iter it;
	uint32_t missing;

	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, (struct vmmu_gfn_range){gfn, {gfn.n + 1}});
	vmmu_iter_dive(&it, gfn, VMMU_LEVEL_4K);
	if (spte_kind(it.old) != VMMU_KIND_LEAF)
		return VMMU_OUTCOME_COUNT;
	missing = access & ~spte_access(fmt, it.old);
	if (!missing)
		return VMMU_OUTCOME_SPURIOUS;
	if (missing != VMMU_ACCESS_WRITE || !(it.old.raw & fmt->saved_write) ||
	    !vmmu_commit(&it, (vmmu_spte_t){it.old.raw | fmt->write}))
		return VMMU_OUTCOME_COUNT;
	*level = it.level;
	return VMMU_OUTCOME_RESUME;
}
