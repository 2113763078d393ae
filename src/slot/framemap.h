/* SPDX-License-Identifier: MIT */
/*
 * A 64-bit cell for each guest frame, made when it is first wanted: reverse maps, tables of a
 * frame. Four levels of pages with 512 entries; a VM that needs no cells has no pages.
 * Pages stay until the VM ends. Context: mmu lock, exclusive, unless it says otherwise.
 */
#ifndef VMMU_SLOT_FRAMEMAP_H
#define VMMU_SLOT_FRAMEMAP_H

#include <stddef.h>

#include <vmmu/types.h>

#include "base/atomic.h"

struct vmmu_task;
struct vmmu_vm;

#define VMMU_FRAMEMAP_KEY_BITS 36u
#define VMMU_FRAMEMAP_ENTRIES 512u

struct vmmu_framemap {
	uint64_t **root;     /* page of pointers, NULL while it is empty */
	vmmu_atomic_t grown; /* counts pages; who looked in vain need not look again before */
	uint64_t last_key;   /* / 512, of ... */
	uint64_t *last_leaf; /* ... the leaf used last; NULL: none */
};

/* The cell, if it is in the leaf used last; else NULL. */
static inline uint64_t *vmmu_framemap_last(const struct vmmu_framemap *map, uint64_t key)
{
	return map->last_leaf && map->last_key == key / VMMU_FRAMEMAP_ENTRIES
		       ? &map->last_leaf[key % VMMU_FRAMEMAP_ENTRIES]
		       : NULL;
}

uint64_t *vmmu_framemap_look_slow(const struct vmmu_framemap *map, uint64_t key);
uint64_t *vmmu_framemap_find_slow(struct vmmu_framemap *map, uint64_t key);
uint64_t *vmmu_framemap_make_slow(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key);

/* As vmmu_framemap_make(), for those who may share the mmu lock: the leaf used last stays. */
uint64_t *vmmu_framemap_grow(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key);

/* The cell, or NULL if it was never made. */
static inline uint64_t *vmmu_framemap_find(struct vmmu_framemap *map, uint64_t key)
{
	uint64_t *cell = vmmu_framemap_last(map, key);

	return cell ? cell : vmmu_framemap_find_slow(map, key);
}

/* As vmmu_framemap_find(), and writes nothing. Context: mmu lock in any mode. */
static inline uint64_t *vmmu_framemap_look(const struct vmmu_framemap *map, uint64_t key)
{
	uint64_t *cell = vmmu_framemap_last(map, key);

	return cell ? cell : vmmu_framemap_look_slow(map, key);
}

/*
 * What the cell holds, 0 if there is none. Writes nothing. Context: any; without the mmu lock the
 * value may be outdated at once, and cells must be changed by vmmu_framemap_put().
 */
uint64_t vmmu_framemap_peek(const struct vmmu_framemap *map, uint64_t key);

static inline void vmmu_framemap_put(uint64_t *cell, uint64_t value)
{
	atomic_put((vmmu_atomic_t *)(void *)cell, value);
}

/* The cell, made if need be from the task's reserve. NULL: the reserve is used up. */
static inline uint64_t *vmmu_framemap_make(struct vmmu_task *task, struct vmmu_framemap *map,
					   uint64_t key)
{
	uint64_t *cell = vmmu_framemap_find(map, key);

	return cell ? cell : vmmu_framemap_make_slow(task, map, key);
}

/* First key >= @key and < @end whose page exists; @end if there is none. Cells may be 0. Context:
 * any: pages may come meanwhile. */
uint64_t vmmu_framemap_next(const struct vmmu_framemap *map, uint64_t key, uint64_t end);

/* All pages of all maps of the VM go at its end. */
void vmmu_framemap_fini(struct vmmu_vm *vm);

#endif
