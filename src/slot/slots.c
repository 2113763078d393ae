/* SPDX-License-Identifier: MIT */
/* Slot sets: look-up, copying edits, life cycle of their pages. */
#include "slot/slots.h"

#include "vm.h"

/* Last chunk whose first slot starts at or before @gfn; 0 if none does. */
static uint32_t chunk_of(const struct vmmu_slot_set *set, vmmu_gfn_t gfn)
{
	uint32_t low = 0, high = set->chunks;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (set->chunk[middle]->slots[0].base.n <= gfn.n)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Index of the first slot in the chunk that starts after @gfn. */
static uint32_t upper_bound(const struct vmmu_slot_chunk *chunk, vmmu_gfn_t gfn)
{
	uint32_t low = 0, high = (uint32_t)chunk->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (chunk->slots[middle].base.n <= gfn.n)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct vmmu_slot *vmmu_slots_from(const struct vmmu_slot_set *set, vmmu_gfn_t gfn)
{
	const struct vmmu_slot_chunk *chunk;
	uint32_t c, after;

	VMMU_POINT_READ(set); /* plain from here on */
	if (!set->chunks)
		return NULL;
	c = chunk_of(set, gfn);
	chunk = set->chunk[c];
	after = upper_bound(chunk, gfn);
	if (after && vmmu_slot_holds(&chunk->slots[after - 1], gfn))
		return &chunk->slots[after - 1];
	if (after < chunk->count)
		return &chunk->slots[after];
	return c + 1 < set->chunks ? &set->chunk[c + 1]->slots[0] : NULL;
}

const struct vmmu_slot *vmmu_slots_find(const struct vmmu_slot_set *set, vmmu_gfn_t gfn)
{
	const struct vmmu_slot *slot = vmmu_slots_from(set, gfn);

	return slot && vmmu_slot_holds(slot, gfn) ? slot : NULL;
}

enum vmmu_level vmmu_slot_level(const struct vmmu_slot *slot, vmmu_gfn_t gfn, enum vmmu_level max)
{
	uint64_t shift = slot->base.n - (slot->host_base >> VMMU_PAGE_SHIFT);

	if (slot->flags & VMMU_SLOT_SMALL)
		return VMMU_LEVEL_4K;
	if ((slot->flags & VMMU_SLOT_LOG) && !VMMU_MUTANT(LOG_INSTALLS_HUGE))
		return VMMU_LEVEL_4K;
	for (enum vmmu_level level = max; level > VMMU_LEVEL_4K; level--) {
		uint64_t frames = vmmu_level_frames(level);
		uint64_t first = gfn.n & ~(frames - 1);

		bool inside =
			first >= slot->base.n &&
			(first + frames <= slot->base.n + slot->count || VMMU_MUTANT(HUGE_TAIL));

		if (inside && (!(shift & (frames - 1)) || VMMU_MUTANT(HUGE_SKEWED)))
			return level;
	}
	return VMMU_LEVEL_4K;
}

/* ---- edits ---- */

bool vmmu_edit_reserve(struct vmmu_slot_edit *edit, struct vmmu_vm *vm)
{
	*edit = (struct vmmu_slot_edit){.vm = vm};
	while (edit->spares < VMMU_EDIT_PAGES) {
		vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);

		if (vmmu_pfn_is_none(pfn)) {
			vmmu_edit_cancel(edit);
			return false;
		}
		edit->spare_pfn[edit->spares] = pfn;
		edit->spare[edit->spares++] = vm->port->page_map(vm->host, pfn);
	}
	return true;
}

void vmmu_edit_begin(struct vmmu_slot_edit *edit, const struct vmmu_slot_set *from)
{
	edit->spares--;
	edit->set = edit->spare[edit->spares];
	*edit->set = *from;
	edit->set->self = edit->spare_pfn[edit->spares];
}

static struct vmmu_slot_chunk *chunk_make(struct vmmu_slot_edit *edit)
{
	struct vmmu_slot_chunk *chunk = edit->spare[--edit->spares];

	chunk->self = edit->spare_pfn[edit->spares];
	chunk->count = 0;
	edit->made[edit->mades++] = chunk;
	return chunk;
}

static bool chunk_is_private(const struct vmmu_slot_edit *edit, const struct vmmu_slot_chunk *chunk)
{
	for (unsigned i = 0; i < edit->mades; i++)
		if (edit->made[i] == chunk)
			return true;
	return false;
}

/* The chunk at @c of the new set, as a copy that may be written. */
static struct vmmu_slot_chunk *chunk_own(struct vmmu_slot_edit *edit, uint32_t c)
{
	struct vmmu_slot_chunk *shared = edit->set->chunk[c], *own;
	vmmu_pfn_t self;

	if (chunk_is_private(edit, shared))
		return shared;
	own = chunk_make(edit);
	self = own->self;
	*own = *shared;
	own->self = self;
	edit->set->chunk[c] = own;
	edit->old[edit->olds++] = shared;
	return own;
}

static void dir_insert(struct vmmu_slot_set *set, uint32_t at, struct vmmu_slot_chunk *chunk)
{
	memmove(&set->chunk[at + 1], &set->chunk[at], (set->chunks - at) * sizeof(set->chunk[0]));
	set->chunk[at] = chunk;
	set->chunks++;
}

static void dir_remove(struct vmmu_slot_set *set, uint32_t at)
{
	set->chunks--;
	memmove(&set->chunk[at], &set->chunk[at + 1], (set->chunks - at) * sizeof(set->chunk[0]));
}

/* Two neighbours that fit well into one become one: no trail of almost empty chunks. */
static void chunk_merge(struct vmmu_slot_edit *edit, uint32_t left)
{
	struct vmmu_slot_set *set = edit->set;
	struct vmmu_slot_chunk *into, *from;

	if (left + 1 >= set->chunks ||
	    set->chunk[left]->count + set->chunk[left + 1]->count > VMMU_CHUNK_MERGE)
		return;
	from = set->chunk[left + 1];
	into = chunk_own(edit, left);
	memcpy(&into->slots[into->count], from->slots, from->count * sizeof(from->slots[0]));
	into->count += from->count;
	if (!chunk_is_private(edit, from))
		edit->old[edit->olds++] = from;
	dir_remove(set, left + 1);
}

void vmmu_edit_remove(struct vmmu_slot_edit *edit, vmmu_gfn_t base)
{
	struct vmmu_slot_set *set = edit->set;
	uint32_t c = chunk_of(set, base);
	struct vmmu_slot_chunk *chunk = chunk_own(edit, c);
	uint32_t at = upper_bound(chunk, base) - 1;

	set->slots--;
	set->frames -= chunk->slots[at].count;
	chunk->count--;
	memmove(&chunk->slots[at], &chunk->slots[at + 1],
		(chunk->count - at) * sizeof(chunk->slots[0]));
	if (!chunk->count)
		dir_remove(set, c);
	else
		chunk_merge(edit, c);
	if (c)
		chunk_merge(edit, c - 1);
}

void vmmu_edit_insert(struct vmmu_slot_edit *edit, const struct vmmu_slot *slot)
{
	struct vmmu_slot_set *set = edit->set;
	struct vmmu_slot_chunk *chunk;
	uint32_t c = chunk_of(set, slot->base), at;
	bool split = false;

	if (!set->chunks)
		dir_insert(set, 0, chunk_make(edit));
	chunk = chunk_own(edit, c);
	if (chunk->count == VMMU_CHUNK_SLOTS) {
		struct vmmu_slot_chunk *upper;
		uint32_t half = VMMU_CHUNK_SLOTS / 2;

		upper = chunk_make(edit);
		upper->count = chunk->count - half;
		memcpy(upper->slots, &chunk->slots[half], upper->count * sizeof(upper->slots[0]));
		chunk->count = half;
		dir_insert(set, c + 1, upper);
		if (slot->base.n >= upper->slots[0].base.n)
			chunk = upper;
		split = true;
	}
	at = upper_bound(chunk, slot->base);
	memmove(&chunk->slots[at + 1], &chunk->slots[at],
		(chunk->count - at) * sizeof(chunk->slots[0]));
	chunk->slots[at] = *slot;
	chunk->count++;
	set->slots++;
	set->frames += slot->count;
	/* A half may fit into an almost empty neighbour: then it must not stay on its own. */
	if (split) {
		chunk_merge(edit, c + 1);
		if (c)
			chunk_merge(edit, c - 1);
	}
}

/* Is the chunk part of the edit's new set? */
static bool chunk_in_set(const struct vmmu_slot_set *set, const struct vmmu_slot_chunk *chunk)
{
	for (uint32_t c = 0; c < set->chunks; c++)
		if (set->chunk[c] == chunk)
			return true;
	return false;
}

static void spares_free(struct vmmu_slot_edit *edit)
{
	while (edit->spares)
		edit->vm->port->page_free(edit->vm->host, edit->spare_pfn[--edit->spares]);
}

void vmmu_edit_done(struct vmmu_slot_edit *edit, struct vmmu_slot_set *from)
{
	struct vmmu_vm *vm = edit->vm;

	for (unsigned i = 0; i < edit->olds; i++)
		vm->port->page_free(vm->host, edit->old[i]->self);
	for (unsigned i = 0; i < edit->mades; i++)
		if (!chunk_in_set(edit->set, edit->made[i]))
			vm->port->page_free(vm->host, edit->made[i]->self);
	vm->port->page_free(vm->host, from->self);
	spares_free(edit);
}

void vmmu_edit_cancel(struct vmmu_slot_edit *edit)
{
	struct vmmu_vm *vm = edit->vm;

	for (unsigned i = 0; i < edit->mades; i++)
		vm->port->page_free(vm->host, edit->made[i]->self);
	if (edit->set)
		vm->port->page_free(vm->host, edit->set->self);
	spares_free(edit);
}

/* ---- life cycle ---- */

bool vmmu_slots_init(struct vmmu_vm *vm, unsigned space)
{
	struct vmmu_slot_space *s = &vm->spaces[space];
	vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);
	struct vmmu_slot_set *set;

	if (vmmu_pfn_is_none(pfn))
		return false;
	set = vm->port->page_map(vm->host, pfn);
	set->self = pfn;
	set->generation = space;
	atomic_put(&s->generation, set->generation);
	atomic_put_release(&s->set, (uintptr_t)set);
	return true;
}

void vmmu_slots_fini(struct vmmu_vm *vm, unsigned space)
{
	struct vmmu_slot_space *s = &vm->spaces[space];
	struct vmmu_slot_set *set = vmmu_slots_now(s);

	if (!set)
		return;
	for (uint32_t c = 0; c < set->chunks; c++)
		vm->port->page_free(vm->host, set->chunk[c]->self);
	for (unsigned i = 0; i < VMMU_ID_PAGES; i++)
		if (s->by_id[i])
			vm->port->page_free(vm->host, s->by_id_pfn[i]);
	vm->port->page_free(vm->host, set->self);
}
