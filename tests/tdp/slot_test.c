/* SPDX-License-Identifier: MIT */
/*
 * Slots: each rule of their contract, and a small world compared with a plain array after each of
 * many random changes.
 */
#include "slot_rig.h"

#define COUNT_MAX UINT64_C(0x7fffffff) /* 2^31 - 1 */
#define END_4 (UINT64_C(1) << 36)      /* first frame that 4 levels cannot map */
#define END_5 (UINT64_C(1) << 40)      /* the same for 5 levels: 52 address bits */

/* ---- rules of creation ---- */

struct rule {
	const char *words;
	struct vmmu_slot_config config;
	enum vmmu_error want;
};

#define SLOT(id_, space_, base_, count_, host_, flags_)                                            \
	{                                                                                          \
		.id = (id_), .space = (space_), .base = {(base_)}, .count = (count_),              \
		.host_base = (host_), .flags = (flags_)                                            \
	}

/* An error leaves everything as it was; what was made can be deleted again. */
static void check_rule(struct sim_vm *sim, const struct rule *r)
{
	uint64_t before = slot_digest(sim), pages = sim_ram_count(sim->machine, SIM_FRAME_TABLE);
	enum vmmu_error error = vmmu_slot_create(sim->vm, &r->config);
	struct vmmu_slot_config found;

	if (error != r->want)
		fail_msg("%s: %s", r->words, vmmu_error_text(error));
	if (error == VMMU_OK) {
		uint64_t last = r->config.base.n + r->config.count - 1;

		assert_int_equal(
			vmmu_slot_find(sim->vm, r->config.space, (vmmu_gfn_t){last}, &found),
			VMMU_OK);
		assert_memory_equal(&found, &r->config, sizeof(found));
		assert_int_not_equal(slot_digest(sim), before);
		assert_int_equal(vmmu_slot_delete(sim->vm, r->config.space, r->config.id), VMMU_OK);
		return;
	}
	assert_int_equal(slot_digest(sim), before);
	assert_int_equal(sim_ram_count(sim->machine, SIM_FRAME_TABLE), pages);
}

static void check_rules(struct sim_vm *sim, const struct rule *rules, unsigned count)
{
	const struct vmmu_slot_config standing[] = {
		SLOT(1, 0, 0x1000, 0x100, 0x10000000, 0),
		SLOT(2, 0, 0x2000, 0x100, 0x20000000, VMMU_SLOT_READONLY),
		SLOT(1, 1, 0x1080, 0x100, 0x10000000, 0),
	};

	for (unsigned i = 0; i < 2u + (sim->vm->config.spaces > 1); i++)
		assert_int_equal(vmmu_slot_create(sim->vm, &standing[i]), VMMU_OK);
	for (unsigned i = 0; i < count; i++)
		check_rule(sim, &rules[i]);
	sim_vm_free(sim);
}

static void the_rules_of_slot_creation_hold_each(void **state)
{
	const struct rule rules[] = {
		{"no frame", SLOT(9, 0, 0x5000, 0, 0, 0), VMMU_EINVAL},
		{"one frame", SLOT(9, 0, 0x5000, 1, 0, 0), VMMU_OK},
		{"as many as can be", SLOT(9, 0, 0x5000, COUNT_MAX, 0, 0), VMMU_OK},
		{"one more", SLOT(9, 0, 0x5000, COUNT_MAX + 1, 0, 0), VMMU_EINVAL},
		{"2^32 + 1, no 1", SLOT(9, 0, 0x5000, (UINT64_C(1) << 32) + 1, 0, 0), VMMU_EINVAL},
		{"2^52: bytes wrap", SLOT(9, 0, 0x5000, UINT64_C(1) << 52, 0, 0), VMMU_EINVAL},
		{"all ones", SLOT(9, 0, 0x5000, UINT64_MAX, 0, 0), VMMU_EINVAL},
		{"the last id", SLOT(VMMU_SLOTS_MAX - 1, 0, 0x5000, 1, 0, 0), VMMU_OK},
		{"one id more", SLOT(VMMU_SLOTS_MAX, 0, 0x5000, 1, 0, 0), VMMU_EINVAL},
		{"the last number", SLOT(UINT16_MAX, 0, 0x5000, 1, 0, 0), VMMU_EINVAL},
		{"the other space", SLOT(9, 1, 0x5000, 1, 0, 0), VMMU_OK},
		{"no such space", SLOT(9, 2, 0x5000, 1, 0, 0), VMMU_EINVAL},
		{"no such space", SLOT(9, UINT16_MAX, 0x5000, 1, 0, 0), VMMU_EINVAL},
		{"all flags", SLOT(9, 0, 0x5000, 1, 0, 7), VMMU_OK},
		{"a host address inside a page", SLOT(9, 0, 0x5000, 1, 0x1001, 0), VMMU_EINVAL},
		{"half a page", SLOT(9, 0, 0x5000, 1, 0x1800, 0), VMMU_EINVAL},
		{"host addresses to the end", SLOT(9, 0, 0x5000, 2, (uint64_t)-0x3000, 0), VMMU_OK},
		{"host addresses wrap", SLOT(9, 0, 0x5000, 2, (uint64_t)-0x1000, 0), VMMU_EINVAL},
		{"host memory shown twice", SLOT(9, 0, 0x5000, 0x100, 0x10000000, 0), VMMU_OK},
		{"frames wrap", SLOT(9, 0, UINT64_MAX, 2, 0, 0), VMMU_EINVAL},
		{"frames wrap to 0", SLOT(9, 0, UINT64_MAX, 1, 0, 0), VMMU_EINVAL},
		{"far out", SLOT(9, 0, UINT64_MAX - 1, 1, 0, 0), VMMU_ERANGE},
		{"the last frame", SLOT(9, 0, END_4 - 1, 1, 0, 0), VMMU_OK},
		{"up to the last", SLOT(9, 0, END_4 - COUNT_MAX, COUNT_MAX, 0, 0), VMMU_OK},
		{"over the last", SLOT(9, 0, END_4 - COUNT_MAX + 1, COUNT_MAX, 0, 0), VMMU_ERANGE},
		{"behind the last", SLOT(9, 0, END_4, 1, 0, 0), VMMU_ERANGE},
		{"two, one behind", SLOT(9, 0, END_4 - 1, 2, 0, 0), VMMU_ERANGE},
		{"an id in use", SLOT(1, 0, 0x5000, 1, 0, 0), VMMU_EEXIST},
		{"an id in use there only", SLOT(2, 1, 0x5000, 1, 0, 0), VMMU_OK},
		{"what the other space has", SLOT(9, 1, 0x2000, 0x100, 0, 0), VMMU_OK},
		{"up to a slot", SLOT(9, 0, 0xf00, 0x100, 0, 0), VMMU_OK},
		{"into it by one", SLOT(9, 0, 0xf00, 0x101, 0, 0), VMMU_EEXIST},
		{"its last frame", SLOT(9, 0, 0x10ff, 1, 0, 0), VMMU_EEXIST},
		{"its first frame", SLOT(9, 0, 0x1000, 1, 0, 0), VMMU_EEXIST},
		{"right behind it", SLOT(9, 0, 0x1100, 1, 0, 0), VMMU_OK},
		{"around it", SLOT(9, 0, 0xfff, 0x102, 0, 0), VMMU_EEXIST},
		{"the same frames", SLOT(9, 0, 0x1000, 0x100, 0, 0), VMMU_EEXIST},
		{"between two", SLOT(9, 0, 0x1100, 0xf00, 0, 0), VMMU_OK},
		{"between, and one more", SLOT(9, 0, 0x1100, 0xf01, 0, 0), VMMU_EEXIST},
		{"the rest, over both", SLOT(9, 0, 0, 0x10000, 0, 0), VMMU_EEXIST},
	};

	(void)state;
	assert_int_equal(sizeof(rules) / sizeof(rules[0]), 40);
	check_rules(slot_vm(4, 2, 0), rules, 40);
}

static void five_levels_reach_further_and_one_space_is_the_only_one(void **state)
{
	const struct rule rules[] = {
		{"beyond four levels", SLOT(9, 0, END_4, 1, 0, 0), VMMU_OK},
		{"the last frame", SLOT(9, 0, END_5 - 1, 1, 0, 0), VMMU_OK},
		{"behind the last", SLOT(9, 0, END_5, 1, 0, 0), VMMU_ERANGE},
		{"two, one behind", SLOT(9, 0, END_5 - 1, 2, 0, 0), VMMU_ERANGE},
		{"what 57 bits could map", SLOT(9, 0, UINT64_C(1) << 44, 1, 0, 0), VMMU_ERANGE},
		{"space 1 of 1", SLOT(9, 1, 0x5000, 1, 0, 0), VMMU_EINVAL},
	};

	(void)state;
	check_rules(slot_vm(5, 1, 0), rules, 6);
}

static void every_unknown_flag_and_every_misalignment_is_refused(void **state)
{
	struct sim_vm *sim = slot_vm(4, 2, 0);
	unsigned refused = 0;

	(void)state;
	for (unsigned bit = 0; bit < 32 + 12; bit++) {
		struct rule r = {"a bit", SLOT(9, 0, 0x5000, 1, 0x10000000, 0), VMMU_EINVAL};

		if (bit < 32)
			r.config.flags = UINT32_C(1) << bit;
		else
			r.config.host_base |= UINT64_C(1) << (bit - 32);
		if (bit < 3)
			r.want = VMMU_OK;
		check_rule(sim, &r);
		refused += r.want != VMMU_OK;
	}
	assert_int_equal(refused, 41);
	sim_vm_free(sim);
}

/* ---- a small world, against a plain array ---- */

#define WORLD 24u
#define IDS 6u

struct world {
	struct sim_vm *sim;
	/* The model: id + 1 of each frame, and the slots themselves; count 0: none. */
	uint8_t owner[2][WORLD];
	struct vmmu_slot_config slot[2][IDS];
	uint64_t generation[2];
	uint64_t done[4], refused[4]; /* create, delete, move, flags */
};

static bool is_free(const struct world *w, unsigned space, unsigned base, unsigned count,
		    unsigned except)
{
	for (unsigned f = base; f < base + count; f++)
		if (w->owner[space][f] && w->owner[space][f] != except)
			return false;
	return true;
}

static void own(struct world *w, const struct vmmu_slot_config *slot, unsigned owner)
{
	for (uint64_t f = slot->base.n; f < slot->base.n + slot->count; f++)
		w->owner[slot->space][f] = (uint8_t)owner;
}

static unsigned roll(struct world *w, unsigned bound)
{
	return (unsigned)sim_random_below(w->sim->machine, bound);
}

static enum vmmu_error step_create(struct world *w, unsigned space, unsigned id, bool *changes)
{
	unsigned base = roll(w, WORLD - 4), count = 1 + roll(w, 4);
	struct vmmu_slot_config c = slot_config(space, id, base, count);
	bool fits = !w->slot[space][id].count && is_free(w, space, base, count, 0);

	c.flags = roll(w, 8);
	if (vmmu_slot_create(w->sim->vm, &c) != (fits ? VMMU_OK : VMMU_EEXIST))
		fail_msg("create differs");
	*changes = fits;
	if (fits) {
		w->slot[space][id] = c;
		own(w, &c, id + 1);
	}
	return fits ? VMMU_OK : VMMU_EEXIST;
}

static enum vmmu_error step_delete(struct world *w, unsigned space, unsigned id, bool *changes)
{
	struct vmmu_slot_config *slot = &w->slot[space][id];
	enum vmmu_error want = slot->count ? VMMU_OK : VMMU_ENOENT;

	assert_int_equal(vmmu_slot_delete(w->sim->vm, space, (uint16_t)id), want);
	*changes = want == VMMU_OK;
	own(w, slot, 0);
	slot->count = 0;
	return want;
}

static enum vmmu_error step_move(struct world *w, unsigned space, unsigned id, bool *changes)
{
	struct vmmu_slot_config *slot = &w->slot[space][id];
	unsigned base = roll(w, WORLD - 4);
	enum vmmu_error want = VMMU_OK;

	if (!slot->count)
		want = VMMU_ENOENT;
	else if ((slot->flags & VMMU_SLOT_LOG) && base != slot->base.n)
		want = VMMU_EBUSY;
	else if (!is_free(w, space, base, (unsigned)slot->count, id + 1))
		want = VMMU_EEXIST;
	assert_int_equal(vmmu_slot_move(w->sim->vm, space, (uint16_t)id, (vmmu_gfn_t){base}), want);
	*changes = want == VMMU_OK && base != slot->base.n;
	if (*changes) {
		own(w, slot, 0);
		slot->base.n = base;
		own(w, slot, id + 1);
	}
	return want;
}

static enum vmmu_error step_flags(struct world *w, unsigned space, unsigned id, bool *changes)
{
	struct vmmu_slot_config *slot = &w->slot[space][id];
	uint32_t flags = roll(w, 9);
	enum vmmu_error want = VMMU_OK;

	if (flags == 8)
		want = VMMU_EINVAL;
	else if (!slot->count)
		want = VMMU_ENOENT;
	else if ((flags ^ slot->flags) & VMMU_SLOT_READONLY)
		want = VMMU_EINVAL;
	assert_int_equal(vmmu_slot_set_flags(w->sim->vm, space, (uint16_t)id, flags), want);
	*changes = want == VMMU_OK && flags != slot->flags;
	if (*changes)
		slot->flags = flags;
	return want;
}

/* Generations count up by the number of spaces with each change, and only then. */
static void check_world(struct world *w)
{
	for (unsigned space = 0; space < 2; space++) {
		assert_int_equal(vmmu_slot_generation(w->sim->vm, space), w->generation[space]);
		for (unsigned f = 0; f < WORLD; f++) {
			unsigned owner = w->owner[space][f];
			struct vmmu_slot_config found;
			enum vmmu_error error =
				vmmu_slot_find(w->sim->vm, space, (vmmu_gfn_t){f}, &found);

			assert_int_equal(error, owner ? VMMU_OK : VMMU_ENOENT);
			if (owner)
				assert_memory_equal(&found, &w->slot[space][owner - 1],
						    sizeof(found));
		}
	}
}

static void a_small_world_is_what_a_plain_array_says(void **state)
{
	typedef enum vmmu_error step_fn(struct world * w, unsigned space, unsigned id,
					bool *changes);
	static step_fn *const steps[4] = {step_create, step_delete, step_move, step_flags};
	struct world w = {.sim = slot_vm(4, 2, 0), .generation = {0, 1}};

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		unsigned dice = roll(&w, 8), kind = dice < 4 ? 0 : dice < 5 ? 1 : dice < 7 ? 2 : 3;
		unsigned space = roll(&w, 2);
		bool changes = false;

		if (steps[kind](&w, space, roll(&w, IDS), &changes) == VMMU_OK)
			w.done[kind]++;
		else
			w.refused[kind]++;
		if (changes)
			w.generation[space] += 2;
		check_world(&w);
	}
	for (unsigned kind = 0; kind < 4; kind++)
		assert_true(w.done[kind] > 500 && w.refused[kind] > 200);
	assert_int_equal(w.generation[0] & 1, 0);
	assert_int_equal(w.generation[1] & 1, 1);
	sim_vm_free(w.sim);
}

/* ---- bad arguments of the other calls; a dead VM ---- */

static void moves_and_deletions_of_what_is_not_there_change_nothing(void **state)
{
	struct sim_vm *sim = slot_vm(4, 2, 0);
	struct vmmu_slot_config c = slot_config(0, 3, 0x1000, 16), found;
	struct vmmu_vm *vm = sim->vm;
	uint64_t before;

	(void)state;
	assert_int_equal(vmmu_slot_create(vm, &c), VMMU_OK);
	before = slot_digest(sim);
	assert_int_equal(vmmu_slot_delete(vm, 0, 4), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_delete(vm, 1, 3), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_delete(vm, 2, 3), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_delete(vm, 0, UINT16_MAX), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_move(vm, 0, 4, (vmmu_gfn_t){0}), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_move(vm, 2, 3, (vmmu_gfn_t){0}), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_move(vm, 0, 3, (vmmu_gfn_t){0x1000}), VMMU_OK);
	assert_int_equal(vmmu_slot_move(vm, 0, 3, (vmmu_gfn_t){END_4 - 15}), VMMU_ERANGE);
	assert_int_equal(vmmu_slot_move(vm, 0, 3, (vmmu_gfn_t){UINT64_MAX - 3}), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(vm, 0, 4, 0), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_set_flags(vm, 2, 3, 0), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(vm, 0, 3, 8), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(vm, 0, 3, VMMU_SLOT_READONLY), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(vm, 0, 3, 0), VMMU_OK);
	assert_int_equal(vmmu_slot_find(vm, 2, (vmmu_gfn_t){0x1000}, &found), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_find(vm, 0, (vmmu_gfn_t){UINT64_MAX}, &found), VMMU_ENOENT);
	assert_int_equal(vmmu_slot_generation(vm, 2), UINT64_MAX);
	assert_int_equal(slot_digest(sim), before);
	assert_int_equal(vmmu_slot_move(vm, 0, 3, (vmmu_gfn_t){END_4 - 16}), VMMU_OK);
	assert_int_equal(vmmu_slot_move(vm, 0, 3, (vmmu_gfn_t){END_4 - 8}), VMMU_ERANGE);
	sim_vm_free(sim);
}

static void a_dead_vm_changes_no_slot(void **state)
{
	struct sim_vm *sim = slot_vm(4, 2, 0);
	struct vmmu_slot_config c = slot_config(0, 3, 0x1000, 16);
	struct vmmu_task task = task_of_vm(sim->vm);
	uint64_t before;

	(void)state;
	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_OK);
	vmmu_vm_kill(&task, "killed by a test", 0, 0);
	sim_violations_clear(sim->machine); /* the log said so */
	before = slot_digest(sim);
	assert_string_equal(vmmu_vm_death(sim->vm), "killed by a test");
	c.id = 4;
	c.base.n = 0x2000;
	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_EDEAD);
	c.count = 0;
	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_delete(sim->vm, 0, 3), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_move(sim->vm, 0, 3, (vmmu_gfn_t){0}), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 3, VMMU_SLOT_SMALL), VMMU_EDEAD);
	assert_int_equal(slot_digest(sim), before);
	sim_vm_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rules_of_slot_creation_hold_each),
		cmocka_unit_test(five_levels_reach_further_and_one_space_is_the_only_one),
		cmocka_unit_test(every_unknown_flag_and_every_misalignment_is_refused),
		cmocka_unit_test(a_small_world_is_what_a_plain_array_says),
		cmocka_unit_test(moves_and_deletions_of_what_is_not_there_change_nothing),
		cmocka_unit_test(a_dead_vm_changes_no_slot),
		cmocka_unit_test(a_change_is_marked_in_progress_until_old_translations_are_gone),
		cmocka_unit_test(a_reader_on_another_thread_sees_one_set_or_the_other),
		cmocka_unit_test(all_slots_can_be_made_and_found_in_ascending_order),
		cmocka_unit_test(all_slots_can_be_made_and_found_in_descending_order),
		cmocka_unit_test(all_slots_can_be_made_and_found_in_random_order),
		cmocka_unit_test(the_directory_never_fills_up_whatever_is_made_and_deleted),
		cmocka_unit_test(sparse_chunks_between_full_ones_do_not_fill_the_directory),
		cmocka_unit_test(a_leaf_never_reaches_out_of_its_slot_or_over_skewed_memory_r29),
		cmocka_unit_test(faults_install_the_largest_leaf_that_the_slot_allows_r29),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
