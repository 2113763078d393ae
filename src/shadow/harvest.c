/* SPDX-License-Identifier: MIT */
/*
 * Reading and clearing what the hardware recorded in leaves, by way of the reverse maps.
 *
 * Ageing takes no lock but the bit of one list of leaves at a time. Whoever takes a leaf off the
 * list takes the bit, too: so what is on it stays, and so do the tables that it is in. The cells
 * stay until the VM ends.
 */
#include "shadow/harvest.h"

#include "shadow/frame.h"
#include "vm.h"

static void found_key(struct vmmu_harvest *h, unsigned level, uint64_t key)
{
	uint64_t frames = vmmu_level_frames((enum vmmu_level)level);

	vmmu_harvest_add(h, (struct vmmu_gfn_range){{key * frames}, {(key + 1) * frames}});
}

/* ---- dirty ---- */

/*
 * All leaves of one size over one key of the reverse map. The hardware sets bits meanwhile.
 * Return: one of them was dirty; *@old is what it was.
 */
static bool clean_list(struct vmmu_task *task, vmmu_link_t at, uint64_t key, vmmu_spte_t *old)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t dirty = task->vm->fmt.dirty;
	bool found = false;

	for (; at.n; at = link_shade(at)->links[link_index(at)]) {
		struct vmmu_sp *sp = &link_shade(at)->sp;
		vmmu_atomic_t *entry = &sp->entries[link_index(at)].raw;
		uint64_t now = atomic_get(entry);

		if (!(now & dirty))
			continue;
		now = atomic_clear(entry, dirty);
		*old = shade_entry(now);
		found = true;
		trace(task, VMMU_TRACE_ENTRY, sp->role.level,
		      key * vmmu_level_frames(sp->role.level), now, now & ~dirty);
		if (VMMU_MUTANT(LOG_FIRST_LEAF))
			break;
	}
	return found;
}

static void clean_huge(struct vmmu_task *task, struct vmmu_harvest *h, unsigned level, uint64_t key,
		       vmmu_link_t list) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t frames = vmmu_level_frames((enum vmmu_level)level);
	struct vmmu_gfn_range range = {{key * frames}, {(key + 1) * frames}};
	vmmu_spte_t old;

	if (!clean_list(task, list, key, &old))
		return;
	vmmu_harvest_add(h, range);
	if (vm_hears_dirty(task->vm) && !VMMU_MUTANT(DIRTY_LOST))
		vmmu_dirty_told(task->vm, task->space, range, spte_pfn(old));
}

/* Cells of small leaves that lie side by side. */
static void clean_small(struct vmmu_run *run, uint64_t *cells, uint64_t key, uint64_t count)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	bool watched = run->task->vm->port->page_dirty != NULL;
	vmmu_spte_t old;

	for (uint64_t i = 0; i < count; i++) {
		if (clean_list(run->task, frame_list(&cells[i]), key + i, &old)) {
			if (watched)
				vmmu_run_watch(run, key + i, spte_pfn(old));
			run->count++;
		} else if (run->count) {
			vmmu_run_tell(run, key + i);
		}
	}
	if (run->count)
		vmmu_run_tell(run, key + count);
}

/* The same for accessed, without the lock. */
static bool age_key(const struct vmmu_vm *vm, const struct vmmu_framemap *map, uint64_t key)
{
	uint64_t *cell = vmmu_framemap_look_slow(map, key);
	uint64_t list, seen = 0;

	if (!cell || !frame_list(cell).n)
		return false;
	list = vmmu_frame_lock(vm, frame_word(cell));
	for (vmmu_link_t at = {list}; at.n; at = link_shade(at)->links[link_index(at)]) {
		vmmu_atomic_t *entry = &link_shade(at)->sp.entries[link_index(at)].raw;

		uint64_t now = atomic_get(entry);

		if (!(now & vm->fmt.accessed))
			continue;
		seen |= now;
		if (VMMU_MUTANT(COMMIT_BLIND))
			atomic_put_release(entry, now & ~vm->fmt.accessed);
		else
			(void)atomic_clear(entry, vm->fmt.accessed);
	}
	vmmu_frame_unlock(frame_word(cell), list);
	return (seen & vm->fmt.accessed) != 0;
}

/* Keys of a map that may hold something. */
struct keys {
	struct vmmu_framemap *map;
	uint64_t key, end;
};

static struct keys keys_of(struct vmmu_task *task, const struct vmmu_harvest *h, unsigned level)
{
	unsigned shift = 9u * (level - 1);
	struct keys keys = {
		.map = &task->vm->frames[task->space].rmap[level - 1],
		.end = (h->range.end.n + (UINT64_C(1) << shift) - 1) >> shift,
	};

	keys.key = vmmu_framemap_next(keys.map, h->range.start.n >> shift, keys.end);
	return keys;
}

static void keys_next(struct keys *keys)
{
	keys->key = vmmu_framemap_next(keys->map, keys->key + 1, keys->end);
}

static void clean_level(struct vmmu_task *task, struct vmmu_harvest *h, unsigned level)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_run run = {.task = task, .h = h};
	struct keys keys = keys_of(task, h, level);

	while (keys.key < keys.end) {
		uint64_t *cells = vmmu_framemap_find(keys.map, keys.key), before = h->count;
		uint64_t count = VMMU_FRAMEMAP_ENTRIES - keys.key % VMMU_FRAMEMAP_ENTRIES;

		if (count > keys.end - keys.key)
			count = keys.end - keys.key;
		if (level == 1)
			clean_small(&run, cells, keys.key, count);
		for (uint64_t i = 0; level > 1 && i < count; i++)
			clean_huge(task, h, level, keys.key + i, frame_list(&cells[i]));
		/* A CPU that holds one as dirty would not record the next write. */
		if (h->count != before && !VMMU_MUTANT(RIGHTS_UNFLUSHED))
			vmmu_debt_add_everything(task);
		(void)vmmu_section_pause(task);
		keys.key = vmmu_framemap_next(keys.map, keys.key + count, keys.end);
	}
}

static void harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	vmmu_section_begin(task);
	for (unsigned level = 1; level <= VMMU_LEAF_SIZES; level++)
		clean_level(task, h, level);
	vmmu_section_end(task);
}

static void harvest_accessed(struct vmmu_task *task, struct vmmu_harvest *h)
{
	for (unsigned level = 1; level <= VMMU_LEAF_SIZES; level++) {
		struct keys keys = keys_of(task, h, level);

		for (; keys.key < keys.end; keys_next(&keys))
			if (age_key(task->vm, keys.map, keys.key))
				found_key(h, level, keys.key);
	}
}

void vmmu_shadow_harvest(struct vmmu_task *task, struct vmmu_harvest *h, bool dirty)
{
	if (dirty)
		harvest_dirty(task, h);
	else
		harvest_accessed(task, h);
}
