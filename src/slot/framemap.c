/* SPDX-License-Identifier: MIT */
#include "slot/framemap.h"

#include "vm.h"

#define LEVELS 4u
#define ENTRIES VMMU_FRAMEMAP_ENTRIES

static unsigned index_at(uint64_t key, unsigned level)
{
	return (unsigned)(key >> (9u * level)) & (ENTRIES - 1u);
}

uint64_t *vmmu_framemap_look_slow(const struct vmmu_framemap *map, uint64_t key)
{
	uint64_t **node = map->root;

	if (!node || key >> VMMU_FRAMEMAP_KEY_BITS)
		return NULL;
	for (unsigned level = LEVELS - 1; level > 1; level--) {
		node = (uint64_t **)(void *)node[index_at(key, level)];
		if (!node)
			return NULL;
	}
	return node[index_at(key, 1)] ? &node[index_at(key, 1)][key % ENTRIES] : NULL;
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
	const void *node =
		__atomic_load_n((void *const *)(const void *)&map->root, __ATOMIC_ACQUIRE);

	if (key >> VMMU_FRAMEMAP_KEY_BITS)
		return 0;
	for (unsigned level = LEVELS - 1; node && level; level--)
		node = __atomic_load_n(&((void *const *)node)[index_at(key, level)],
				       __ATOMIC_ACQUIRE);
	return node ? atomic_get(&((const vmmu_atomic_t *)node)[index_at(key, 0)]) : 0;
}

/* A zeroed page from the reserve, remembered for the end of the VM. */
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

/* Where vmmu_framemap_peek() may come along: the page is zeroed before it can be seen. */
static void publish_page(void *at, void *page)
{
	__atomic_store_n((void **)at, page, __ATOMIC_RELEASE);
}

uint64_t *vmmu_framemap_make_slow(struct vmmu_task *task, struct vmmu_framemap *map, uint64_t key)
{
	uint64_t **node;

	if (!map->root)
		publish_page(&map->root, take_page(task));
	node = map->root;
	for (unsigned level = LEVELS - 1; node && level; level--) {
		uint64_t **entry = &node[index_at(key, level)];

		if (!*entry)
			publish_page(entry, take_page(task));
		node = (uint64_t **)(void *)*entry;
	}
	return node ? vmmu_framemap_find(map, key) : NULL;
}

uint64_t vmmu_framemap_next(const struct vmmu_framemap *map, uint64_t key, uint64_t end)
{
	while (map->root && key < end && !(key >> VMMU_FRAMEMAP_KEY_BITS)) {
		uint64_t **node = map->root;
		unsigned level = LEVELS - 1;

		while (level && node[index_at(key, level)])
			node = (uint64_t **)(void *)node[index_at(key, level--)];
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
