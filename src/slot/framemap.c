/* SPDX-License-Identifier: MIT */
#include "slot/framemap.h"

#include "vm.h"

#define LEVELS 4u
_Static_assert(9u * LEVELS == VMMU_FRAMEMAP_KEY_BITS, "nine bits a level");
#define ENTRIES VMMU_FRAMEMAP_ENTRIES

static unsigned index_at(uint64_t key, unsigned level)
{
	return (unsigned)(key >> (9u * level)) & (ENTRIES - 1u);
}

/* Pairs with add_page(): who sees a page sees it zeroed. */
static void *page_at(const void *at)
{
	return __atomic_load_n((void *const *)at, __ATOMIC_ACQUIRE);
}

uint64_t *vmmu_framemap_look_slow(const struct vmmu_framemap *map, uint64_t key)
{
	void **node = page_at(&map->root);
	uint64_t *leaf;

	/* Written out: on the way of each fault. */
	if (!node || key >> VMMU_FRAMEMAP_KEY_BITS)
		return NULL;
	node = page_at(&node[index_at(key, 3)]);
	if (!node)
		return NULL;
	node = page_at(&node[index_at(key, 2)]);
	if (!node)
		return NULL;
	leaf = page_at(&node[index_at(key, 1)]);
	return leaf ? &leaf[key % ENTRIES] : NULL;
}

uint64_t *vmmu_framemap_find_slow(struct vmmu_framemap *map, uint64_t key)
{
	uint64_t *cell = vmmu_framemap_look_slow(map, key);

	if (cell) {
		map->last_key = key / ENTRIES;
		map->last_leaf = cell - key % ENTRIES;
	}
	return cell;
}

uint64_t vmmu_framemap_peek(const struct vmmu_framemap *map, uint64_t key)
{
	const uint64_t *cell = vmmu_framemap_look_slow(map, key);

	return cell ? atomic_get((const vmmu_atomic_t *)(const void *)cell) : 0;
}

/* A zeroed page from the reserve, remembered for the end of the VM. Context: pool spin. */
static void *take_page(struct vmmu_task *task)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_page_log *log = vm->frame_pages;
	struct vmmu_reserve *reserve = &task->cache->reserve;

	if (!log || log->count == VMMU_PAGE_LOG_MAX) {
		if (reserve->count < 2)
			return NULL;
		reserve->count--;
		log = reserve->page[reserve->count];
		log->self = reserve->pfn[reserve->count];
		log->next = vm->frame_pages;
		vm->frame_pages = log;
	}
	if (!reserve->count)
		return NULL;
	reserve->count--;
	log->pfn[log->count++] = reserve->pfn[reserve->count];
	return reserve->page[reserve->count];
}

/* The page that is there, made if there is none: one of those who share the mmu lock makes it. */
static void *add_page(struct vmmu_task *task, struct vmmu_framemap *map, void *at)
{
	struct vmmu_vm *vm = task->vm;
	void *page;

	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	page = page_at(at);
	if (!page) {
		page = take_page(task);
		/* Before the page can be seen: who has put something there was counted. */
		(void)atomic_plus(&map->grown, 1);
		__atomic_store_n((void **)at, page, __ATOMIC_RELEASE);
	}
	vmmu_spin_release(&vm->pages.pool_lock);
	return page;
}

uint64_t *vmmu_framemap_grow(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key)
{
	void *at = &map->root, **node;

	if (key >> VMMU_FRAMEMAP_KEY_BITS)
		return NULL;
	for (unsigned level = LEVELS - 1;; level--) {
		node = page_at(at);
		if (!node)
			node = add_page(task, map, at);
		if (!node || !level)
			break;
		at = &node[index_at(key, level)];
	}
	return node ? (uint64_t *)(void *)node + key % ENTRIES : NULL;
}

uint64_t *vmmu_framemap_make_slow(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key)
{
	return vmmu_framemap_grow(task, map, key) ? vmmu_framemap_find(map, key) : NULL;
}

uint64_t vmmu_framemap_next(const struct vmmu_framemap *map, uint64_t key, uint64_t end)
{
	void **root = page_at(&map->root);

	while (root && key < end && !(key >> VMMU_FRAMEMAP_KEY_BITS)) {
		void **node = root, **next;
		unsigned level = LEVELS - 1;

		while (level && (next = page_at(&node[index_at(key, level)])) != NULL) {
			node = next;
			level--;
		}
		if (!level)
			return key;
		/* Nothing below this entry: on to the next one of its node. */
		key = ((key >> (9u * level)) + 1) << (9u * level);
	}
	return end;
}

void vmmu_framemap_fini(struct vmmu_vm *vm)
{
	struct vmmu_page_log *log = vm->frame_pages;

	while (log) {
		struct vmmu_page_log *next = log->next;

		while (log->count)
			vm->port->page_free(vm->host, log->pfn[--log->count]);
		vm->port->page_free(vm->host, log->self);
		log = next;
	}
}
