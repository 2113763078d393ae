/* SPDX-License-Identifier: MIT */
/* Reading and clearing what the hardware recorded in leaves, by way of the reverse maps. */
#include "shadow/harvest.h"

#include "vm.h"

/* One leaf: what of @bits was set. The hardware sets bits meanwhile. */
static bool take(struct vmmu_task *task, vmmu_link_t at, uint64_t bits, bool dirty)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *s = link_shade(at);
	unsigned index = link_index(at);

	vmmu_spte_t e = shade_get(s, index);

	if (!(e.raw & bits))
		return false;
	if (dirty)
		vmmu_shade_clean(task, s, index);
	else if (VMMU_MUTANT(COMMIT_BLIND))
		atomic_put_release(&s->sp.entries[index].raw,
				   shade_raw((vmmu_spte_t){e.raw & ~bits}));
	else
		(void)atomic_clear(&s->sp.entries[index].raw, bits);
	return true;
}

/* All leaves of one size over one key of the reverse map. */
static void take_key(struct vmmu_task *task, struct vmmu_harvest *h, unsigned level, uint64_t key,
		     bool dirty) VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_fmt *fmt = &task->vm->fmt;
	uint64_t *cell = vmmu_framemap_find(&task->vm->frames[task->space].rmap[level - 1], key);
	vmmu_link_t at = {cell ? *cell : 0};
	uint64_t frames = vmmu_level_frames((enum vmmu_level)level);
	bool found = false;

	for (; at.n; at = link_shade(at)->links[link_index(at)])
		found |= take(task, at, dirty ? fmt->dirty : fmt->accessed, dirty);
	if (found)
		vmmu_harvest_add(h, (struct vmmu_gfn_range){{key * frames}, {(key + 1) * frames}});
}

void vmmu_shadow_harvest(struct vmmu_task *task, struct vmmu_harvest *h, bool dirty)
{
	vmmu_section_begin(task);
	for (unsigned level = 1; level <= VMMU_LEAF_SIZES; level++) {
		struct vmmu_framemap *map = &task->vm->frames[task->space].rmap[level - 1];
		unsigned shift = 9u * (level - 1);
		uint64_t end = (h->range.end.n + (UINT64_C(1) << shift) - 1) >> shift;
		uint64_t key = vmmu_framemap_next(map, h->range.start.n >> shift, end);

		for (; key < end; key = vmmu_framemap_next(map, key + 1, end)) {
			take_key(task, h, level, key, dirty);
			(void)vmmu_section_pause(task);
		}
	}
	vmmu_section_end(task);
}
