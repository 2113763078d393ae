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

/* All leaves of one size over one key of the reverse map. The hardware sets bits meanwhile. */
static bool clean_key(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t *cell = vmmu_framemap_find(map, key);
	vmmu_link_t at = cell ? frame_list(cell) : (vmmu_link_t){0};
	bool found = false;

	for (; at.n; at = link_shade(at)->links[link_index(at)]) {
		if (!(shade_get(link_shade(at), link_index(at)).raw & task->vm->fmt.dirty))
			continue;
		vmmu_shade_clean(task, link_shade(at), link_index(at));
		found = true;
		if (VMMU_MUTANT(LOG_FIRST_LEAF))
			break;
	}
	return found;
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

static void harvest_dirty(struct vmmu_task *task, struct vmmu_harvest *h)
{
	vmmu_section_begin(task);
	for (unsigned level = 1; level <= VMMU_LEAF_SIZES; level++) {
		struct keys keys = keys_of(task, h, level);

		for (; keys.key < keys.end; keys_next(&keys)) {
			if (clean_key(task, keys.map, keys.key))
				found_key(h, level, keys.key);
			(void)vmmu_section_pause(task);
		}
	}
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
