/* SPDX-License-Identifier: MIT */
/*
 * Slots that log in the random lives of two-dimensional paging. Writes come in the middle of looks,
 * too: by whole accesses in pauses, and by CPUs that go on with what they have at each store to a
 * table, at each question whether to pause, and before each flush.
 */
#include <stdlib.h>
#include <string.h>

#include "../tdp/random.h"
#include "lives.h"

#define RECENT 16u
#define PAUSES 20u

struct companion {
	struct sim_vm *sim;
	struct model *model;
	struct vmmu_port port; /* as it was */
	bool eager;
	bool in_change; /* a slot comes or goes: what CPUs write there is nobody's */
	bool quiet;     /* memory is short: nobody gets in */
	bool busy;      /* in a hook already */
	uint64_t in_between;
	unsigned pauses; /* in which somebody may still get in, in this step */
	struct sim_seen recent[RECENT];
	unsigned recents;
};

/* Of the life under way. */
static struct companion *life;
static struct logged_life *result;
static bool deaf; /* its port listens neither to dirty pages nor to traces */

static uint64_t roll(struct companion *c, uint64_t bound)
{
	return sim_random_below(c->sim->machine, bound);
}

/* ---- looking on ---- */

static void passed(void *context, const struct sim_seen *seen)
{
	struct companion *c = context;

	c->recent[c->recents++ % RECENT] = *seen;
	if (seen->access == VMMU_ACCESS_WRITE)
		model_wrote(c->model, seen->space, vmmu_gpa_to_gfn(seen->gpa).n);
}

static void telling(void *context, const struct sim_seen *seen)
{
	struct companion *c = context;

	if (seen->access == VMMU_ACCESS_WRITE)
		model_wrote(c->model, seen->space, vmmu_gpa_to_gfn(seen->gpa).n);
}

/* ---- in the middle of a call ---- */

/* A CPU goes on with what it has at hand: the hardware's part of a write alone. */
static void cpu_writes(struct companion *c)
{
	struct sim_vm *sim = c->sim;
	struct sim_seen *seen = &c->recent[roll(c, RECENT)];
	uint64_t value;
	struct sim_result r;

	if (!sim->running[seen->vcpu] || sim->space[seen->vcpu] != seen->space)
		return;
	r = sim_cpu_access(sim_machine_cpu(sim->machine, seen->vcpu), (sim_gpa_t){seen->gpa.addr},
			   SIM_WRITE);
	if (r.outcome != SIM_OK)
		return;
	value = oracle_fresh_value(sim->oracle);
	sim_vm_wrote(sim, r.hpa.bytes >> VMMU_PAGE_SHIFT);
	sim_ram_write(sim->machine, r.hpa, value);
	if (!oracle_store(sim->oracle, seen->space, (sim_gpa_t){seen->gpa.addr}, value))
		sim_violation(sim->machine, "a CPU writes where there is no memory");
	model_wrote(c->model, seen->space, vmmu_gpa_to_gfn(seen->gpa).n);
	c->in_between++;
}

static void get_in(uint64_t one_in)
{
	struct companion *c = life;

	if (!c || c->busy || c->in_change || c->quiet || roll(c, one_in))
		return;
	c->busy = true;
	cpu_writes(c);
	/* Whoever calls this needs no lock. */
	if (!roll(c, 8))
		model_host_writes(c->model, 0, vmmu_gpa_to_gfn(c->recent[0].gpa).n);
	c->busy = false;
}

static void flush(void *host, const struct vmmu_flush *what)
{
	get_in(2);
	life->port.tlb_flush(host, what);
}

static bool should_yield(void *host)
{
	get_in(6);
	return life->port.should_yield(host);
}

static void tables_written(void *host, vmmu_pfn_t table, unsigned index, unsigned count)
{
	(void)host;
	(void)table;
	(void)index;
	(void)count;
	get_in(20);
}

static void write_at(struct companion *c, uint64_t gfn)
{
	uint64_t value = oracle_fresh_value(c->sim->oracle);

	(void)sim_vm_access(c->sim, (unsigned)roll(c, 4),
			    (gfn << VMMU_PAGE_SHIFT) + 8 * roll(c, 512), SIM_WRITE, &value);
}

static uint64_t some_gfn(struct companion *c)
{
	const struct model_slot *s = model_some_slot(c->model);

	if (!s || !roll(c, 4))
		return vmmu_gpa_to_gfn(c->recent[roll(c, RECENT)].gpa).n;
	return s->base + roll(c, s->count);
}

static void disturb(struct companion *c, uint64_t gfn)
{
	struct vmmu_gfn_range range = {{gfn}, {gfn + roll(c, 600)}};
	unsigned space = (unsigned)roll(c, 2);
	enum vmmu_error error = VMMU_OK;

	switch (roll(c, 6)) {
	case 0:
		error = vmmu_zap_range(c->sim->vm, space, range);
		break;
	case 1:
		error = vmmu_zap_all_fast(c->sim->vm);
		break;
	case 2:
		(void)vmmu_work(c->sim->vm, 1);
		break;
	case 3:
		error = vmmu_harvest_dirty(c->sim->vm, space, range, NULL, NULL);
		break;
	case 4:
		error = vmmu_harvest_accessed(c->sim->vm, space, range, NULL, NULL);
		break;
	default:
		model_host_writes(c->model, space, gfn);
		break;
	}
	if (error != VMMU_OK)
		sim_violation(c->sim->machine, "in a pause: %s", vmmu_error_text(error));
}

static void in_a_pause(struct sim_vm *sim, void *context)
{
	struct companion *c = life;
	uint64_t before = c->model->count.writes;

	(void)sim;
	(void)context;
	/* Roots that go while roots are taken apart: this must have an end. */
	if (c->quiet || c->busy || c->in_change || !c->pauses || roll(c, 3))
		return;
	c->pauses--;
	c->busy = true;
	for (uint64_t n = roll(c, 4); n; n--)
		write_at(c, some_gfn(c));
	if (!roll(c, 3))
		disturb(c, some_gfn(c));
	c->in_between += c->model->count.writes - before;
	c->busy = false;
}

/* ---- the companion ---- */

static void *start(struct sim_vm *sim)
{
	struct companion *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->sim = sim;
	c->model = model_new(sim->machine, sim->vm);
	c->port = sim->port;
	c->eager = sim->options.eager_yield;
	sim->port.tlb_flush = flush;
	sim->port.should_yield = should_yield;
	if (deaf) {
		sim->port.page_dirty = NULL;
		sim->port.trace = NULL;
	}
	sim->port.tables_written = tables_written;
	sim->on_yield = in_a_pause;
	sim->watch = (struct sim_watch){.context = c, .passed = passed, .telling = telling};
	life = c;
	return c;
}

static void step_flags(struct companion *c)
{
	struct model_slot *s = model_some_slot(c->model);
	struct vmmu_slot_config now;
	uint32_t flags;

	if (!s)
		return;
	if (vmmu_slot_find(c->sim->vm, s->space, (vmmu_gfn_t){s->base}, &now) != VMMU_OK ||
	    now.id != s->id || !(now.flags & VMMU_SLOT_LOG) != !s->logs) {
		sim_violation(c->sim->machine, "a slot is not what it was");
		return;
	}
	flags = now.flags ^ (roll(c, 4) ? VMMU_SLOT_LOG : VMMU_SLOT_SMALL);
	if (!roll(c, 6)) {
		c->quiet = true;
		sim_ram_fail_tables(c->sim->machine, 1 + roll(c, 30), 1 + roll(c, 2) * 100);
	}
	model_set_flags(c->model, s, flags);
	sim_ram_fail_tables(c->sim->machine, 0, 0);
	c->quiet = false;
}

static void step(void *companion, uint64_t gfn)
{
	struct companion *c = companion;
	struct model_slot *s = model_some_slot(c->model);

	c->sim->options.eager_yield = c->eager || !roll(c, 3);
	switch (roll(c, 12)) {
	case 0:
		step_flags(c);
		break;
	case 1:
		model_host_writes(c->model, (unsigned)roll(c, 2), roll(c, 4) ? some_gfn(c) : gfn);
		break;
	case 2:
		model_ask_wrongly(c->model);
		break;
	case 3:
		model_look_at_all(c->model);
		break;
	case 4:
	case 5:
	case 6:
		if (s)
			model_look(c->model, s);
		break;
	default:
		for (uint64_t n = roll(c, 6); n; n--)
			write_at(c, some_gfn(c));
		break;
	}
}

static uint32_t slot_flags(void *companion)
{
	struct companion *c = companion;

	c->in_change = true;
	return roll(c, 4) ? VMMU_SLOT_LOG : 0;
}

static void slot_made(void *companion, const struct vmmu_slot_config *config)
{
	struct companion *c = companion;

	model_slot_made(c->model, config);
	c->in_change = false;
}

static unsigned ending_space;
static uint16_t ending_id;

static void slot_ends(void *companion, unsigned space, uint16_t id)
{
	struct companion *c = companion;

	ending_space = space;
	ending_id = id;
	c->in_change = true;
}

static void slot_ended(void *companion, enum vmmu_error error)
{
	struct companion *c = companion;

	if (error == VMMU_OK)
		model_slot_gone(c->model, ending_space, ending_id);
	c->in_change = false;
}

static void check(void *companion)
{
	struct companion *c = companion;

	c->model->orphans = 0;
	c->in_change = false; /* also if there was no room for the slot */
	c->pauses = PAUSES;
}

static void end(void *companion)
{
	struct companion *c = companion;

	c->sim->options.eager_yield = c->eager;
	if (!sim_violation_count(c->sim->machine))
		model_look_at_all(c->model);
	result->count = c->model->count;
	result->in_between = c->in_between;
	c->sim->watch = (struct sim_watch){0};
	c->sim->on_yield = NULL;
	c->sim->port.tlb_flush = c->port.tlb_flush;
	c->sim->port.should_yield = c->port.should_yield;
	c->sim->port.tables_written = c->port.tables_written;
	free(c->model);
	free(c);
	life = NULL;
}

struct logged_life nested_life(uint64_t seed, uint64_t steps, unsigned variant)
{
	static const struct random_companion logger = {
		.start = start,
		.step = step,
		.slot_flags = slot_flags,
		.slot_made = slot_made,
		.slot_ends = slot_ends,
		.slot_ended = slot_ended,
		.check = check,
		.end = end,
		.keeps_slots = true,
	};
	struct random_run run = {.seed = seed,
				 .steps = steps,
				 .vcpus = 4,
				 .companion = &logger,
				 .variant = variant % RANDOM_VARIANTS};
	struct logged_life l = {0};
	struct random_result r;

	result = &l;
	deaf = variant % 3 == 2;
	r = random_life(&run, 10);
	l.steps = r.steps;
	l.violations = r.violations;
	memcpy(l.first, r.first, sizeof(l.first));
	return l;
}
