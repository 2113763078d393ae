/* SPDX-License-Identifier: MIT */
/* Tracking clients join the random lives of two-dimensional paging. */
#include <string.h>

#include "../tdp/random.h"
#include "lives.h"

/* Of the life under way: its numbers outlive it. */
static struct model_counts counts;

static bool held(const struct model *m, uint64_t gfn)
{
	const struct sim_vm *sim = m->context;

	for (unsigned space = 0; space < 2; space++)
		if (oracle_find(sim->oracle, space, (sim_gfn_t){gfn}))
			return true;
	return false;
}

static void *start(struct sim_vm *sim)
{
	struct model *m = model_new(sim->machine, sim->vm);

	m->region[0] = 0;
	m->region[1] = 0x3fe00;
	m->region[2] = 0x10000000;
	m->held = held;
	m->context = sim;
	m->in_hook = &sim->in_hook;
	sim->watch = model_watch(m);
	return m;
}

static void step(void *companion, uint64_t gfn)
{
	struct model *m = companion;
	const struct sim_vm *sim = m->context;
	size_t slots = oracle_slot_count(sim->oracle);

	/* Mostly where something is. */
	if (slots && sim_random_below(sim->machine, 5)) {
		const struct oracle_slot *slot =
			oracle_slot_at(sim->oracle, sim_random_below(sim->machine, slots));

		gfn = slot->first.n + sim_random_below(sim->machine, slot->page_count);
	}
	model_step(m, gfn);
}

static void slot_ends(void *companion, unsigned space, uint16_t id)
{
	struct model *m = companion;
	const struct sim_vm *sim = m->context;
	const struct oracle_slot *slot = oracle_find_id(sim->oracle, space, id);

	model_slot_ends(m, space, slot ? slot->first.n : 0, slot ? slot->page_count : 0);
}

static void slot_ended(void *companion, enum vmmu_error error)
{
	model_slot_ended(companion, error);
}

static void check(void *companion)
{
	model_check(companion);
}

static void end(void *companion)
{
	struct model *m = companion;
	struct sim_vm *sim = m->context;

	counts = m->count;
	sim->watch = (struct sim_watch){0};
	if (!sim_violation_count(sim->machine))
		model_free(m);
}

struct tracked_life nested_life(uint64_t seed, uint64_t steps, unsigned variant)
{
	static const struct random_companion clients = {
		.start = start,
		.step = step,
		.slot_ends = slot_ends,
		.slot_ended = slot_ended,
		.check = check,
		.end = end,
		.keeps_slots = true,
	};
	struct random_run run = {.seed = seed,
				 .steps = steps,
				 .vcpus = 4,
				 .companion = &clients,
				 .variant = variant % RANDOM_VARIANTS};
	struct random_result r = random_life(&run, 10);
	struct tracked_life life = {.steps = r.steps, .violations = r.violations, .count = counts};

	memcpy(life.first, r.first, sizeof(life.first));
	return life;
}
