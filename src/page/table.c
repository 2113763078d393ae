/* SPDX-License-Identifier: MIT */
/* Life cycle of tables; see table.h for the states. */
#include "page/table.h"

#include "vm.h"

static const uint8_t sp_next[] = {
	[VMMU_SP_NEW] = 1u << VMMU_SP_LIVE | 1u << VMMU_SP_FREED,
	[VMMU_SP_LIVE] = 1u << VMMU_SP_UNLINKED | 1u << VMMU_SP_NEW,
	[VMMU_SP_UNLINKED] = 1u << VMMU_SP_RETIRED,
	[VMMU_SP_RETIRED] = 1u << VMMU_SP_FREED,
	[VMMU_SP_FREED] = 1u << VMMU_SP_NEW,
};

/* The only writer of the state. */
static void set_state(struct vmmu_task *task, struct vmmu_sp *sp, enum vmmu_sp_state to)
{
	(void)VMMU_CHECK(task, sp_next[sp->state] & (1u << to),
			 "a table went through a state change that does not exist", sp->pfn.n,
			 (uint64_t)sp->state << 8 | (uint64_t)to);
	sp->state = to;
}

/* ---- index: pfn -> table ---- */

#define BUCKETS_PER_PAGE (VMMU_PAGE_BYTES / sizeof(vmmu_atomic_t))
#define BUCKET_LOCKED UINT64_C(1)

static vmmu_atomic_t *bucket_of(const struct vmmu_table_index *index, vmmu_pfn_t pfn)
{
	uint64_t hash = pfn.n * UINT64_C(0x9E3779B97F4A7C15) >> 40;
	uint64_t bucket = hash & (index->pages * BUCKETS_PER_PAGE - 1);

	return &index->page[bucket / BUCKETS_PER_PAGE][bucket % BUCKETS_PER_PAGE];
}

/* Return: the chain. Held for a few steps along a short chain. */
static struct vmmu_sp *bucket_lock(struct vmmu_vm *vm, vmmu_atomic_t *bucket)
{
	for (;;) {
		uint64_t seen = atomic_get(bucket) & ~BUCKET_LOCKED;

		if (atomic_cas(bucket, &seen, seen | BUCKET_LOCKED))
			return (struct vmmu_sp *)(uintptr_t)seen;
		vmmu_relax(vm->port, vm->host);
	}
}

static void bucket_unlock(vmmu_atomic_t *bucket, struct vmmu_sp *chain)
{
	atomic_put_release(bucket, (uintptr_t)chain); /* pairs with bucket_lock() */
}

static struct vmmu_sp *chain_of(uint64_t raw)
{
	return (struct vmmu_sp *)(uintptr_t)(raw & ~BUCKET_LOCKED);
}

static void index_add(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	vmmu_atomic_t *bucket = bucket_of(vm->pages.index, sp->pfn);

	atomic_put_release(&sp->in_bucket, (uintptr_t)bucket_lock(vm, bucket));
	bucket_unlock(bucket, sp);
}

static void index_remove(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	vmmu_atomic_t *bucket = bucket_of(vm->pages.index, sp->pfn);
	struct vmmu_sp *chain = bucket_lock(vm, bucket), *before = chain;

	if (chain == sp) {
		bucket_unlock(bucket, vmmu_table_next(sp));
		return;
	}
	while (before && vmmu_table_next(before) != sp)
		before = vmmu_table_next(before);
	/* Who stands on @sp still finds the rest of the chain from there. */
	if (before)
		atomic_put_release(&before->in_bucket, (uintptr_t)vmmu_table_next(sp));
	bucket_unlock(bucket, chain);
}

/*
 * Without the bucket's lock: what was taken out meanwhile keeps its place in the chain until the
 * caller's section has ended. A table that was withdrawn may be back by then, in the same bucket,
 * at the head: the rest of the chain is seen twice then, and nothing is missed.
 */
struct vmmu_sp *vmmu_table_find(struct vmmu_vm *vm, vmmu_pfn_t pfn)
{
	/* pairs with bucket_unlock() */
	struct vmmu_sp *sp = chain_of(atomic_get_acquire(bucket_of(vm->pages.index, pfn)));

	while (sp && sp->pfn.n != pfn.n)
		sp = vmmu_table_next(sp);
	return sp;
}

uint64_t vmmu_table_buckets(const struct vmmu_vm *vm)
{
	return vm->pages.index->pages * BUCKETS_PER_PAGE;
}

struct vmmu_sp *vmmu_table_bucket(struct vmmu_vm *vm, uint64_t bucket)
{
	struct vmmu_table_index *index = vm->pages.index;

	return chain_of(
		atomic_get(&index->page[bucket / BUCKETS_PER_PAGE][bucket % BUCKETS_PER_PAGE]));
}

/* ---- life cycle ---- */

struct vmmu_sp *vmmu_table_new(struct vmmu_task *task, vmmu_gfn_t gfn, union vmmu_role role)
{
	struct vmmu_sp *sp = task->cache->tables[--task->cache->count];

	sp->gfn = gfn;
	sp->role = role;
	return sp;
}

void vmmu_table_unused(struct vmmu_task *task, struct vmmu_sp *sp)
{
	memset(sp->entries, 0, VMMU_PAGE_BYTES);
	task->cache->tables[task->cache->count++] = sp;
}

void vmmu_table_set_live(struct vmmu_task *task, struct vmmu_sp *sp)
{
	set_state(task, sp, VMMU_SP_LIVE);
	index_add(task->vm, sp);
	(void)atomic_plus(&task->vm->pages.live, 1);
}

void vmmu_table_withdraw(struct vmmu_task *task, struct vmmu_sp *sp)
{
	index_remove(task->vm, sp);
	(void)atomic_plus(&task->vm->pages.live, (uint64_t)-1);
	set_state(task, sp, VMMU_SP_NEW);
	vmmu_table_unused(task, sp);
}

void vmmu_table_unlink(struct vmmu_task *task, struct vmmu_sp *sp)
{
	set_state(task, sp, VMMU_SP_UNLINKED);
	index_remove(task->vm, sp);
	(void)atomic_plus(&task->vm->pages.live, (uint64_t)-1);
	(void)atomic_plus(&task->vm->pages.unlinked, 1); /* struct vmmu_last_table ends here */
	if (VMMU_MUTANT(FREE_EARLY)) {
		vmmu_table_retire(task, sp);
		task->vm->port->page_free(task->vm->host, sp->pfn);
		return;
	}
	sp->next = task->debt.unlinked;
	task->debt.unlinked = sp;
}

void vmmu_table_retire(struct vmmu_task *task, struct vmmu_sp *sp)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_pages *pages = &vm->pages;

	set_state(task, sp, VMMU_SP_RETIRED);
	vmmu_spin_acquire(&pages->pool_lock, vm->port, vm->host);
	/* Read under the lock: the list stays ordered by epoch. */
	sp->retired = atomic_get_ordered(&vm->epoch.now);
	sp->next = pages->retired;
	pages->retired = sp;
	vmmu_spin_release(&pages->pool_lock);
	(void)atomic_plus(&pages->retired_count, 1);
}

/* The retired tables that nobody can see in epoch @now, unlinked from the list. */
static struct vmmu_sp *take_past(struct vmmu_vm *vm, uint64_t now)
{
	struct vmmu_pages *pages = &vm->pages;
	struct vmmu_sp **link, *past;

	vmmu_spin_acquire(&pages->pool_lock, vm->port, vm->host);
	link = &pages->retired;
	/* Newest first: once one is past, so is the rest. */
	while (*link && !vmmu_epoch_is_past((*link)->retired - VMMU_MUTANT(EPOCH_HASTY), now))
		link = &(*link)->next;
	past = *link;
	*link = NULL;
	vmmu_spin_release(&pages->pool_lock);
	return past;
}

static void pool_put(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	sp->next = vm->pages.pool;
	vm->pages.pool = sp;
	vmmu_spin_release(&vm->pages.pool_lock);
}

/* The pages that come with a shadow table. */
static void side_pages_free(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	struct vmmu_shade *s = (struct vmmu_shade *)(void *)sp;

	vm->port->page_free(vm->host, s->gptes_pfn);
	vm->port->page_free(vm->host, s->links_pfn);
}

static bool side_pages_alloc(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	struct vmmu_shade *s = (struct vmmu_shade *)(void *)sp;
	vmmu_pfn_t gptes = vm->port->page_alloc(vm->host), links;

	if (vmmu_pfn_is_none(gptes))
		return false;
	links = vm->port->page_alloc(vm->host);
	if (vmmu_pfn_is_none(links)) {
		vm->port->page_free(vm->host, gptes);
		return false;
	}
	s->gptes_pfn = gptes;
	s->links_pfn = links;
	s->gptes = vm->port->page_map(vm->host, gptes);
	s->links = vm->port->page_map(vm->host, links);
	return true;
}

static void pages_free(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	if (vm->pages.side_pages)
		side_pages_free(vm, sp);
	vm->port->page_free(vm->host, sp->pfn);
}

/* Shadow tables come and go with the guest's processes: some are kept with their pages. */
#define SPARE_MAX 32u

/* A shadow table is emptied before it is taken out; what its side pages say of empty entries
 * does not matter. */
static bool spare_put(struct vmmu_vm *vm, struct vmmu_sp *sp)
{
	bool room;

	if (!vm->pages.side_pages)
		return false;
	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	room = atomic_get(&vm->pages.spare_count) < SPARE_MAX;
	if (room) {
		sp->next = vm->pages.spare;
		vm->pages.spare = sp;
		(void)atomic_plus(&vm->pages.spare_count, 1);
	}
	vmmu_spin_release(&vm->pages.pool_lock);
	return room;
}

static struct vmmu_sp *spare_get(struct vmmu_vm *vm)
{
	struct vmmu_sp *sp;

	/* A hint, so that vCPUs do not meet here in vain. */
	if (!vm->pages.side_pages || !atomic_get(&vm->pages.spare_count))
		return NULL;
	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	sp = vm->pages.spare;
	if (sp) {
		vm->pages.spare = sp->next;
		(void)atomic_plus(&vm->pages.spare_count, (uint64_t)-1);
	}
	vmmu_spin_release(&vm->pages.pool_lock);
	return sp;
}

/* Give page and descriptor back. */
static void table_free(struct vmmu_task *task, struct vmmu_sp *sp)
{
	struct vmmu_vm *vm = task->vm;

	set_state(task, sp, VMMU_SP_FREED);
	if (spare_put(vm, sp))
		return;
	pages_free(vm, sp);
	pool_put(vm, sp);
}

static void collect(struct vmmu_vm *vm)
{
	struct vmmu_task task = task_of_vm(vm);
	struct vmmu_sp *past;
	uint64_t freed = 0, now;

	vmmu_rwlock_acquire_shared(&vm->mmu_lock, vm->port, vm->host);
	now = vmmu_epoch_try_advance(&vm->epoch, vm->mmu_lock.readers, vm->port, vm->host);
	vmmu_rwlock_release_shared(&vm->mmu_lock, vm->port, vm->host);
	past = take_past(vm, now);
	while (past) {
		struct vmmu_sp *sp = past;

		past = sp->next;
		table_free(&task, sp);
		freed++;
	}
	if (!freed)
		return;
	(void)atomic_plus(&vm->pages.retired_count, (uint64_t)-freed);
	stat_add(&task, VMMU_STAT_TABLES_FREED, freed);
}

void vmmu_table_collect(struct vmmu_vm *vm)
{
	if (VMMU_UNLIKELY(atomic_get(&vm->pages.retired_count) != 0))
		collect(vm);
}

/* ---- reserve ---- */

struct pool_page {
	struct pool_page *next;
	vmmu_pfn_t pfn;
	/* then descriptors, each aligned to VMMU_SHADE_ALIGN */
};
_Static_assert(sizeof(struct pool_page) <= VMMU_SHADE_ALIGN, "the first descriptor comes after");
_Static_assert(offsetof(struct vmmu_shade, sp) == 0, "a shadow table's descriptor begins as any");

/* Descriptors that a cache takes from the pool at a time. */
#define POOL_BATCH 16u

static struct vmmu_sp *pool_take(struct vmmu_vm *vm)
{
	struct vmmu_sp *first, **link;

	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	first = vm->pages.pool;
	link = &first;
	for (unsigned i = 0; *link && i < POOL_BATCH; i++)
		link = &(*link)->next;
	vm->pages.pool = *link;
	*link = NULL;
	vmmu_spin_release(&vm->pages.pool_lock);
	return first;
}

/* A page full of new ones. Return: NULL if there is no memory. */
static struct vmmu_sp *pool_grow(struct vmmu_vm *vm)
{
	vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);
	struct vmmu_sp *first = NULL;
	struct pool_page *page;

	if (vmmu_pfn_is_none(pfn))
		return NULL;
	page = vm->port->page_map(vm->host, pfn);
	page->pfn = pfn;
	for (uint32_t at = VMMU_SHADE_ALIGN; at + vm->pages.descriptor_bytes <= VMMU_PAGE_BYTES;
	     at += vm->pages.descriptor_bytes) {
		struct vmmu_sp *sp = (struct vmmu_sp *)(void *)((uint8_t *)page + at);

		sp->state = VMMU_SP_FREED;
		sp->next = first;
		first = sp;
	}
	vmmu_spin_acquire(&vm->pages.pool_lock, vm->port, vm->host);
	page->next = vm->pages.pool_pages;
	vm->pages.pool_pages = page;
	vmmu_spin_release(&vm->pages.pool_lock);
	return first;
}

static struct vmmu_sp *descriptor_get(struct vmmu_vm *vm, struct vmmu_cache *cache)
{
	struct vmmu_sp *sp;

	if (!cache->descriptors)
		cache->descriptors = pool_take(vm);
	if (!cache->descriptors)
		cache->descriptors = pool_grow(vm);
	sp = cache->descriptors;
	if (sp)
		cache->descriptors = sp->next;
	return sp;
}

static void descriptor_put(struct vmmu_cache *cache, struct vmmu_sp *sp)
{
	sp->next = cache->descriptors;
	cache->descriptors = sp;
}

/* A descriptor with its pages, all of them empty. */
static struct vmmu_sp *pages_alloc(struct vmmu_vm *vm, struct vmmu_cache *cache)
{
	struct vmmu_sp *sp = descriptor_get(vm, cache);
	vmmu_pfn_t pfn;

	if (!sp)
		return NULL;
	pfn = vm->port->page_alloc(vm->host);
	if (!vmmu_pfn_is_none(pfn) && vm->pages.side_pages && !side_pages_alloc(vm, sp)) {
		vm->port->page_free(vm->host, pfn);
		pfn = VMMU_PFN_NONE;
	}
	if (vmmu_pfn_is_none(pfn)) {
		descriptor_put(cache, sp);
		return NULL;
	}
	sp->pfn = pfn;
	sp->entries = vm->port->page_map(vm->host, pfn);
	return sp;
}

static struct vmmu_sp *table_alloc(struct vmmu_vm *vm, struct vmmu_cache *cache)
{
	struct vmmu_task task = task_of_vm(vm);
	struct vmmu_sp *sp = vm->pages.side_pages ? spare_get(vm) : NULL;

	if (!sp)
		sp = pages_alloc(vm, cache);
	if (!sp)
		return NULL;
	set_state(&task, sp, VMMU_SP_NEW);
	sp->users = 0;
	sp->root_next = NULL;
	sp->doomed = false;
	atomic_put(&sp->invalid, 0);
	if (vm->pages.side_pages) {
		struct vmmu_shade *s = (struct vmmu_shade *)(void *)sp;

		memset(&s->parents, 0, sizeof(*s) - offsetof(struct vmmu_shade, parents));
	}
	return sp;
}

bool vmmu_cache_fill_slow(struct vmmu_vm *vm, struct vmmu_cache *cache, unsigned want)
{
	while (cache->count < want) {
		struct vmmu_sp *sp = table_alloc(vm, cache);

		if (!sp)
			return false;
		cache->tables[cache->count++] = sp;
	}
	return true;
}

bool vmmu_reserve_fill(struct vmmu_vm *vm, struct vmmu_reserve *reserve, unsigned want)
{
	while (reserve->count < want) {
		vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);

		if (vmmu_pfn_is_none(pfn))
			return false;
		reserve->pfn[reserve->count] = pfn;
		reserve->page[reserve->count++] = vm->port->page_map(vm->host, pfn);
	}
	return true;
}

void vmmu_cache_drain(struct vmmu_vm *vm, struct vmmu_cache *cache)
{
	struct vmmu_task task = task_of_vm(vm);

	while (cache->reserve.count)
		vm->port->page_free(vm->host, cache->reserve.pfn[--cache->reserve.count]);
	while (cache->count)
		table_free(&task, cache->tables[--cache->count]);
	while (cache->descriptors) {
		struct vmmu_sp *sp = cache->descriptors;

		cache->descriptors = sp->next;
		pool_put(vm, sp);
	}
}

/* ---- creation, growth, destruction ---- */

static void index_free(struct vmmu_vm *vm, struct vmmu_table_index *index)
{
	for (uint32_t i = 0; i < index->pages; i++)
		vm->port->page_free(vm->host, index->page_pfn[i]);
	vm->port->page_free(vm->host, index->self);
}

/* Return: NULL if there is no memory. */
static struct vmmu_table_index *index_make(struct vmmu_vm *vm, uint32_t pages)
{
	vmmu_pfn_t self = vm->port->page_alloc(vm->host);
	struct vmmu_table_index *index;

	if (vmmu_pfn_is_none(self))
		return NULL;
	index = vm->port->page_map(vm->host, self);
	index->self = self;
	for (; index->pages < pages; index->pages++) {
		vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);

		if (vmmu_pfn_is_none(pfn)) {
			index_free(vm, index);
			return NULL;
		}
		index->page_pfn[index->pages] = pfn;
		index->page[index->pages] = vm->port->page_map(vm->host, pfn);
	}
	return index;
}

bool vmmu_pages_init(struct vmmu_vm *vm)
{
	uint32_t bytes = sizeof(struct vmmu_sp);

	if (vm->config.format == VMMU_FORMAT_SHADOW) {
		bytes = sizeof(struct vmmu_shade);
		vm->pages.side_pages = 2;
	}
	vm->pages.descriptor_bytes = (bytes + VMMU_SHADE_ALIGN - 1u) & ~(VMMU_SHADE_ALIGN - 1u);
	vm->pages.index = index_make(vm, 1);
	return vm->pages.index != NULL;
}

/* Move every table to the bucket that the larger index gives it. */
static void index_rehash(struct vmmu_vm *vm, const struct vmmu_table_index *old)
{
	for (uint64_t b = 0; b < old->pages * BUCKETS_PER_PAGE; b++) {
		uint64_t raw = atomic_get(&old->page[b / BUCKETS_PER_PAGE][b % BUCKETS_PER_PAGE]);
		struct vmmu_sp *sp = (struct vmmu_sp *)(uintptr_t)raw;

		while (sp) {
			struct vmmu_sp *next = vmmu_table_next(sp);

			index_add(vm, sp);
			sp = next;
		}
	}
}

void vmmu_pages_grow(struct vmmu_vm *vm, uint64_t frames)
{
	struct vmmu_table_index *grown, *old;
	uint64_t tables = frames / VMMU_TABLE_ENTRIES; /* if all were mapped by 4K leaves */
	uint32_t want = 1;

	while (want < VMMU_INDEX_PAGES && want * BUCKETS_PER_PAGE * 8 < tables)
		want *= 2;
	if (want <= vm->pages.index->pages)
		return;
	grown = index_make(vm, want);
	if (!grown)
		return;
	vmmu_rwlock_acquire(&vm->mmu_lock, vm->port, vm->host); /* withdraws nothing: no debt */
	old = vm->pages.index;
	vm->pages.index = grown;
	index_rehash(vm, old);
	vmmu_rwlock_release(&vm->mmu_lock, vm->port, vm->host);
	index_free(vm, old);
}

void vmmu_pages_fini(struct vmmu_vm *vm)
{
	struct pool_page *page = vm->pages.pool_pages;

	for (struct vmmu_sp *sp = vm->pages.spare; sp; sp = sp->next)
		pages_free(vm, sp);
	while (page) {
		struct pool_page *next = page->next;

		vm->port->page_free(vm->host, page->pfn);
		page = next;
	}
	if (vm->pages.index)
		index_free(vm, vm->pages.index);
}
