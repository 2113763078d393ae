/* SPDX-License-Identifier: MIT */
/* As many slots as there can be, in every order, and in the orders that suit the sets least. */
#include "slot_rig.h"

#include <stdlib.h>

/* ---- all of them, against a plain array ---- */

#define STRIDE 4u /* slots of 1, 2 and 3 frames, at most one frame apart */
#define FRAMES (VMMU_SLOTS_MAX * STRIDE + 2)
#define NOBODY UINT16_MAX

struct plain {
	struct sim_vm *sim;
	uint16_t owner[FRAMES]; /* slot id of each frame */
	uint16_t order[VMMU_SLOTS_MAX];
};

static uint64_t base_of(unsigned id)
{
	return 1 + (uint64_t)id * STRIDE;
}

static uint64_t count_of(unsigned id)
{
	return 1 + id % 3;
}

static struct plain *plain_new(void)
{
	struct plain *p = malloc(sizeof(*p));

	assert_non_null(p);
	p->sim = slot_vm(4, 2, 0);
	for (unsigned i = 0; i < FRAMES; i++)
		p->owner[i] = NOBODY;
	for (unsigned i = 0; i < VMMU_SLOTS_MAX; i++)
		p->order[i] = (uint16_t)i;
	return p;
}

static void shuffle(struct plain *p)
{
	for (unsigned i = VMMU_SLOTS_MAX - 1; i > 0; i--) {
		unsigned j = (unsigned)sim_random_below(p->sim->machine, i + 1);
		uint16_t swap = p->order[i];

		p->order[i] = p->order[j];
		p->order[j] = swap;
	}
}

static void own(struct plain *p, unsigned id, uint16_t owner)
{
	for (uint64_t i = 0; i < count_of(id); i++)
		p->owner[base_of(id) + i] = owner;
}

static void plain_create(struct plain *p, unsigned id)
{
	struct vmmu_slot_config c = slot_config(0, id, base_of(id), count_of(id));

	assert_int_equal(vmmu_slot_create(p->sim->vm, &c), VMMU_OK);
	own(p, id, (uint16_t)id);
	assert_in_range(slot_set(p->sim, 0)->chunks, 1, SLOT_CHUNKS_MAX);
}

static void plain_delete(struct plain *p, unsigned id)
{
	assert_int_equal(vmmu_slot_delete(p->sim->vm, 0, (uint16_t)id), VMMU_OK);
	own(p, id, NOBODY);
	assert_in_range(slot_set(p->sim, 0)->chunks, 0, SLOT_CHUNKS_MAX);
}

static void look_up(const struct plain *p, uint64_t frame)
{
	struct vmmu_slot_config found;
	enum vmmu_error error = vmmu_slot_find(p->sim->vm, 0, (vmmu_gfn_t){frame}, &found);
	unsigned owner = p->owner[frame];

	assert_int_equal(error, owner == NOBODY ? VMMU_ENOENT : VMMU_OK);
	if (owner == NOBODY)
		return;
	assert_int_equal(found.id, owner);
	assert_int_equal(found.base.n, base_of(owner));
	assert_int_equal(found.count, count_of(owner));
}

/* The frames before, at the begin, at the end and behind of each slot, be it there or not. */
static uint64_t look_everywhere(const struct plain *p)
{
	uint64_t looked_up = 0;

	slot_check_set(p->sim, 0);
	for (unsigned id = 0; id < VMMU_SLOTS_MAX; id++, looked_up += 4) {
		look_up(p, base_of(id) - 1);
		look_up(p, base_of(id));
		look_up(p, base_of(id) + count_of(id) - 1);
		look_up(p, base_of(id) + count_of(id));
	}
	return looked_up;
}

/* Create in the order given, then delete in another, looking around on the way. */
static void make_all(struct plain *p)
{
	struct vmmu_slot_config more = slot_config(0, 7, FRAMES + 10, 1);
	uint64_t looked_up = 0;

	for (unsigned i = 0; i < VMMU_SLOTS_MAX; i++) {
		plain_create(p, p->order[i]);
		if (i == VMMU_SLOTS_MAX / 2)
			looked_up += look_everywhere(p);
	}
	looked_up += look_everywhere(p);
	assert_int_equal(slot_set(p->sim, 0)->slots, VMMU_SLOTS_MAX);
	assert_int_equal(vmmu_slot_create(p->sim->vm, &more), VMMU_EEXIST); /* no id is left */
	shuffle(p);
	for (unsigned i = 0; i < VMMU_SLOTS_MAX; i++) {
		plain_delete(p, p->order[i]);
		if (i % 10000 == 5000)
			looked_up += look_everywhere(p);
	}
	looked_up += look_everywhere(p);
	assert_int_equal(slot_set(p->sim, 0)->chunks, 0);
	assert_int_equal(looked_up, 6 * 4 * VMMU_SLOTS_MAX);
	assert_int_equal(sim_ram_count(p->sim->machine, SIM_FRAME_TABLE), slot_pages_held(p->sim));
	sim_vm_free(p->sim);
	free(p);
}

void all_slots_can_be_made_and_found_in_ascending_order(void **state)
{
	(void)state;
	make_all(plain_new());
}

void all_slots_can_be_made_and_found_in_descending_order(void **state)
{
	struct plain *p = plain_new();

	(void)state;
	for (unsigned i = 0; i < VMMU_SLOTS_MAX; i++)
		p->order[i] = (uint16_t)(VMMU_SLOTS_MAX - 1 - i);
	make_all(p);
}

void all_slots_can_be_made_and_found_in_random_order(void **state)
{
	struct plain *p = plain_new();

	(void)state;
	shuffle(p);
	make_all(p);
}

/* ---- an adversary that sees the chunks ---- */

#define APART 8192u /* frames between slots that are appended: room for those in between */

struct adversary {
	struct sim_vm *sim;
	uint16_t free_id[VMMU_SLOTS_MAX];
	unsigned free_ids;
	uint32_t chunks_max;
	uint64_t changes;
};

static struct adversary *adversary_new(void)
{
	struct adversary *a = calloc(1, sizeof(*a));

	assert_non_null(a);
	a->sim = slot_vm(4, 1, 0);
	while (a->free_ids < VMMU_SLOTS_MAX) {
		a->free_id[a->free_ids] = (uint16_t)a->free_ids;
		a->free_ids++;
	}
	return a;
}

static void adversary_end(struct adversary *a)
{
	slot_check_set(a->sim, 0);
	print_message("# %llu changes, at most %u chunks, %u slots at the end\n",
		      (unsigned long long)a->changes, a->chunks_max, slot_set(a->sim, 0)->slots);
	sim_vm_free(a->sim);
	free(a);
}

static uint32_t chunks(const struct adversary *a)
{
	return slot_set(a->sim, 0)->chunks;
}

static const struct vmmu_slot_chunk *chunk(const struct adversary *a, uint32_t c)
{
	return slot_set(a->sim, 0)->chunk[c];
}

/* Beyond the promise the next change may write behind the directory: stop at once. */
static void note_change(struct adversary *a)
{
	a->changes++;
	if (chunks(a) > a->chunks_max)
		a->chunks_max = chunks(a);
	if (chunks(a) > SLOT_CHUNKS_MAX)
		fail_msg("%u chunks after %llu changes, with %u slots", chunks(a),
			 (unsigned long long)a->changes, slot_set(a->sim, 0)->slots);
}

static bool put(struct adversary *a, uint64_t base)
{
	struct vmmu_slot_config c;

	if (!a->free_ids)
		return false;
	c = slot_config(0, a->free_id[--a->free_ids], base, 1);
	assert_int_equal(vmmu_slot_create(a->sim->vm, &c), VMMU_OK);
	note_change(a);
	return true;
}

static void take(struct adversary *a, const struct vmmu_slot *slot)
{
	a->free_id[a->free_ids++] = slot->id;
	assert_int_equal(vmmu_slot_delete(a->sim->vm, 0, slot->id), VMMU_OK);
	note_change(a);
}

static bool append(struct adversary *a)
{
	const struct vmmu_slot_chunk *last = chunks(a) ? chunk(a, chunks(a) - 1) : NULL;

	return put(a, last ? last->slots[last->count - 1].base.n + APART : 0);
}

/* A slot in the middle of the widest gap inside the chunk. False: no room, or no slot left. */
static bool squeeze(struct adversary *a, uint32_t at)
{
	const struct vmmu_slot_chunk *k = chunk(a, at);
	uint64_t best = 1, base = 0;

	for (uint64_t i = 0; i + 1 < k->count; i++) {
		uint64_t gap = k->slots[i + 1].base.n - k->slots[i].base.n;

		if (gap > best) {
			best = gap;
			base = k->slots[i].base.n + gap / 2;
		}
	}
	return best > 1 && put(a, base);
}

static bool fill(struct adversary *a, uint32_t at)
{
	while (at < chunks(a) && chunk(a, at)->count < VMMU_CHUNK_SLOTS)
		if (!squeeze(a, at))
			return false;
	return true;
}

static uint64_t with_neighbour(const struct adversary *a, uint32_t at, uint32_t neighbour)
{
	return neighbour < chunks(a) ? chunk(a, at)->count + chunk(a, neighbour)->count
				     : UINT64_MAX;
}

/* As few slots as the chunk may have without being merged with a neighbour. */
static void drain(struct adversary *a, uint32_t at)
{
	while (at < chunks(a) && chunk(a, at)->count > 1 &&
	       with_neighbour(a, at, at + 1) > VMMU_CHUNK_MERGE + 1 &&
	       with_neighbour(a, at, at - 1) > VMMU_CHUNK_MERGE + 1)
		take(a, &chunk(a, at)->slots[chunk(a, at)->count / 2]);
}

/*
 * Full and drained chunks in turns, as many as the ids allow; then each full one is split by one
 * more slot, which leaves three chunks where 172 slots are.
 */
void sparse_chunks_between_full_ones_do_not_fill_the_directory(void **state)
{
	struct adversary *a = adversary_new();
	uint32_t drained = 0;

	(void)state;
	while (a->free_ids > 2 * VMMU_CHUNK_SLOTS + 200) {
		while (chunks(a) < 2 * drained + 3 && append(a))
			for (uint32_t c = 2 * drained; c < chunks(a); c++)
				(void)fill(a, c);
		if (chunks(a) < 2 * drained + 3)
			break;
		drain(a, 2 * drained + 1);
		drained++;
	}
	for (uint32_t c = 0; c < chunks(a) && a->free_ids; c++) {
		uint32_t before = chunks(a);

		if (chunk(a, c)->count == VMMU_CHUNK_SLOTS && squeeze(a, c))
			c += chunks(a) - before; /* over both halves */
	}
	assert_in_range(drained, 100, VMMU_SLOTS_MAX / VMMU_CHUNK_SLOTS);
	assert_in_range(slot_set(a->sim, 0)->slots, 32000, VMMU_SLOTS_MAX);
	adversary_end(a);
}

/* At random, but mostly what hurts: draining, filling and splitting where chunks are now. */
void the_directory_never_fills_up_whatever_is_made_and_deleted(void **state)
{
	struct adversary *a = adversary_new();

	(void)state;
	while (a->free_ids > 16)
		assert_true(append(a));
	for (unsigned round = 0; round < 1500; round++) {
		uint32_t at = (uint32_t)sim_random_below(a->sim->machine, chunks(a));

		switch (sim_random_below(a->sim->machine, 4)) {
		case 0:
		case 1:
			drain(a, at);
			break;
		case 2:
			if (fill(a, at))
				(void)squeeze(a, at);
			break;
		default:
			for (unsigned n = 0; n < 40 && chunk(a, chunks(a) / 2)->count > 1; n++)
				take(a, &chunk(a, chunks(a) / 2)->slots[0]);
			break;
		}
		while (chunks(a) < 8 && append(a))
			;
	}
	assert_in_range(a->changes, 40000, UINT64_MAX);
	adversary_end(a);
}
