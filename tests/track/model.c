/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT64_MAX

static uint64_t roll(struct model *m, uint64_t bound)
{
	return sim_random_below(m->machine, bound);
}

static uint64_t index_of(const struct model *m, uint64_t gfn)
{
	for (unsigned i = 0; i < MODEL_REGIONS; i++)
		if (gfn - m->region[i] < MODEL_REGION)
			return i * MODEL_REGION + (gfn - m->region[i]);
	return NOWHERE;
}

static uint32_t cell_forbids(const struct model_cell *c)
{
	uint32_t kinds = 0;

	if (c->count[0])
		kinds |= VMMU_ACCESS_READ;
	if (c->count[1] && !c->open)
		kinds |= VMMU_ACCESS_WRITE;
	if (c->count[2])
		kinds |= VMMU_ACCESS_EXEC;
	return kinds;
}

static struct model_cell *cell_of(struct model_client *c, uint64_t gfn)
{
	uint64_t index = index_of(c->model, gfn);

	return index == NOWHERE ? NULL : &c->cell[index];
}

uint32_t model_tracks(const struct model *m, uint64_t gfn)
{
	uint64_t index = index_of(m, gfn);
	uint32_t kinds = 0;

	for (unsigned i = 0; i < MODEL_CLIENTS && index != NOWHERE; i++)
		kinds |= cell_forbids(&m->client[i].cell[index]);
	return kinds;
}

uint32_t model_forbids(const struct model *m, uint64_t gfn)
{
	uint32_t kinds = model_tracks(m, gfn);

	return kinds & VMMU_ACCESS_READ ? VMMU_ACCESS_READ | VMMU_ACCESS_WRITE | VMMU_ACCESS_EXEC
					: kinds;
}

static bool is_busy(const struct model *m, uint64_t gfn)
{
	return gfn >= m->busy_start && gfn < m->busy_end;
}

/* ---- looking on ---- */

static void passed(void *context, const struct sim_seen *seen)
{
	struct model *m = context;
	uint64_t gfn = vmmu_gpa_to_gfn(seen->gpa).n;

	m->count.passed++;
	if (!is_busy(m, gfn) && (model_forbids(m, gfn) & seen->access))
		sim_violation(m->machine, "vCPU %u: access %x to frame %llx passed untold",
			      seen->vcpu, seen->access, (unsigned long long)gfn);
}

static void came_out(void *context, const struct sim_seen *seen)
{
	struct model *m = context;
	uint64_t gfn = vmmu_gpa_to_gfn(seen->gpa).n;

	m->count.came_out++;
	if (!is_busy(m, gfn) && !(model_forbids(m, gfn) & seen->access))
		sim_violation(m->machine, "vCPU %u: access %x to frame %llx came out for nobody",
			      seen->vcpu, seen->access, (unsigned long long)gfn);
}

static void telling(void *context, const struct sim_seen *seen)
{
	struct model *m = context;
	uint64_t gfn = vmmu_gpa_to_gfn(seen->gpa).n;

	m->telling = *seen;
	for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
		struct model_client *c = &m->client[i];
		struct model_cell *cell = cell_of(c, gfn);

		c->due = 0;
		if (!cell || is_busy(m, gfn) || !(cell_forbids(cell) & seen->access))
			continue;
		c->due = 1;
		if ((seen->access & VMMU_ACCESS_WRITE) && cell->once)
			cell->open = true;
	}
}

struct sim_watch model_watch(struct model *m)
{
	return (struct sim_watch){
		.context = m, .passed = passed, .came_out = came_out, .telling = telling};
}

/* ---- being told ---- */

/* Not announced: the library's own accessed and dirty bits, or an access while things change. */
static void told_by_itself(struct model_client *c, uint64_t gfn, uint32_t kind)
{
	struct model *m = c->model;
	struct model_cell *cell = cell_of(c, gfn);

	if (is_busy(m, gfn))
		return;
	if (!m->marks || kind != VMMU_ACCESS_WRITE || !cell || !cell->count[1] || cell->open) {
		sim_violation(m->machine, "a client is told of access %x to frame %llx for nothing",
			      kind, (unsigned long long)gfn);
		return;
	}
	m->count.marks++;
	if (cell->once)
		cell->open = true;
}

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct model_client *c = client;
	struct model *m = c->model;

	m->count.told++;
	if (m->on_told)
		m->on_told(m, vmmu_gpa_to_gfn(gpa).n);
	if (!c->joined)
		sim_violation(m->machine, "a client that has left is told");
	if (!bytes || bytes > 8 || !c->due || gpa.addr != m->telling.gpa.addr ||
	    kind != m->telling.access || space != m->telling.space) {
		told_by_itself(c, vmmu_gpa_to_gfn(gpa).n, kind);
		return;
	}
	c->due--;
	/* Callbacks may change what is tracked. */
	if (m->busy_start == m->busy_end && !(m->in_hook && *m->in_hook) && !roll(m, 8)) {
		m->is_told = true;
		model_step(m, vmmu_gpa_to_gfn(gpa).n);
		m->is_told = false;
	}
}

static void region_removed(void *client, unsigned space, struct vmmu_gfn_range range)
{
	struct model_client *c = client;
	struct model *m = c->model;

	m->count.ends++;
	if (!c->joined || !c->endings || space != m->ending_space ||
	    range.start.n != m->ending.start.n || range.end.n != m->ending.end.n)
		sim_violation(m->machine, "the end of %llx..%llx is told out of turn",
			      (unsigned long long)range.start.n, (unsigned long long)range.end.n);
	else
		c->endings--;
}

static const struct vmmu_tracker_ops ops = {.accessed = accessed, .region_removed = region_removed};

void model_check(struct model *m)
{
	for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
		if (m->client[i].due)
			sim_violation(m->machine, "client %u was not told of access %x to %llx", i,
				      m->telling.access, (unsigned long long)m->telling.gpa.addr);
		if (m->client[i].endings)
			sim_violation(m->machine, "client %u was not told of the end of %llx", i,
				      (unsigned long long)m->ending.start.n);
		m->client[i].due = m->client[i].endings = 0;
	}
}

/* ---- edits ---- */

enum edit { ADD, REMOVE, ONCE, ALWAYS, REARM, EDITS };

struct request {
	enum edit edit;
	uint64_t start, end;
	uint32_t kinds;
};

/* Is it right to ask that? */
static bool is_right(struct model_client *c, const struct request *r)
{
	for (uint64_t gfn = r->start; gfn < r->end; gfn++) {
		const struct model_cell *cell = cell_of(c, gfn);

		if (r->edit == ADD && !c->model->held(c->model, gfn))
			return false;
		for (unsigned k = 0; r->edit == REMOVE && k < 3; k++)
			if ((r->kinds >> k & 1u) && !cell->count[k])
				return false;
		if (r->edit > REMOVE && !cell->count[1])
			return false;
	}
	return c->joined;
}

static void edit_cell(struct model_cell *cell, const struct request *r)
{
	for (unsigned k = 0; r->edit <= REMOVE && k < 3; k++)
		if (r->kinds >> k & 1u)
			cell->count[k] += r->edit == ADD ? 1u : UINT32_MAX;
	if (r->edit == ONCE)
		cell->once = true;
	if (r->edit == ALWAYS || !cell->count[1])
		cell->once = false;
	if (r->edit == ALWAYS || r->edit == REARM || !cell->count[1])
		cell->open = false;
}

static enum vmmu_error ask(struct model *m, const struct model_client *c, const struct request *r)
{
	struct vmmu_gfn_range range = {{r->start}, {r->end}};

	switch (r->edit) {
	case ADD:
		return vmmu_track_add(m->vm, c->id, range, r->kinds);
	case REMOVE:
		return vmmu_track_remove(m->vm, c->id, range, r->kinds);
	case ONCE:
	case ALWAYS:
		return vmmu_track_once(m->vm, c->id, range, r->edit == ONCE);
	case REARM:
	case EDITS:
		break;
	}
	return vmmu_track_rearm(m->vm, c->id, range);
}

static void run(struct model *m, struct model_client *c, const struct request *r)
{
	bool right = is_right(c, r);
	uint64_t start = m->busy_start, end = m->busy_end;
	enum vmmu_error error;

	m->busy_start = r->start;
	m->busy_end = r->end;
	error = ask(m, c, r);
	m->busy_start = start;
	m->busy_end = end;
	m->count.edits += error == VMMU_OK;
	m->count.refused += error != VMMU_OK;
	if (error == VMMU_ENOMEM)
		return; /* nothing has changed */
	if (error != (right ? VMMU_OK : VMMU_ENOENT))
		sim_violation(m->machine, "edit %d of %llx..%llx, kinds %x: \"%s\", but it was %s",
			      (int)r->edit, (unsigned long long)r->start,
			      (unsigned long long)r->end, r->kinds, vmmu_error_text(error),
			      right ? "right" : "wrong");
	for (uint64_t gfn = r->start; right && gfn < r->end; gfn++)
		edit_cell(cell_of(c, gfn), r);
}

static void leave(struct model *m, struct model_client *c)
{
	m->busy_end = UINT64_MAX;
	if (vmmu_tracker_unregister(m->vm, c->id) != VMMU_OK)
		sim_violation(m->machine, "a client cannot leave");
	m->busy_end = 0;
	c->joined = false;
	memset(c->cell, 0, sizeof(c->cell));
	/* Its name means nothing any more. */
	if (vmmu_tracker_unregister(m->vm, c->id) != VMMU_ENOENT)
		sim_violation(m->machine, "a client left twice");
}

static void join(struct model *m, struct model_client *c)
{
	uint64_t before = c->id.n;

	if (vmmu_tracker_register(m->vm, &ops, c, &c->id) != VMMU_OK || c->id.n == before)
		sim_violation(m->machine, "a client cannot come");
	c->joined = true;
}

void model_step(struct model *m, uint64_t gfn)
{
	static const uint64_t counts[] = {1, 1, 1, 1, 2, 5, 64, 700};
	static const enum edit edits[] = {ADD, ADD, ADD, REMOVE, REMOVE, ONCE, ALWAYS, REARM};
	struct model_client *c = &m->client[roll(m, MODEL_CLIENTS)];
	struct request r = {.edit = edits[roll(m, 8)], .kinds = VMMU_ACCESS_WRITE};

	if (!m->is_told && !roll(m, 40)) {
		if (c->joined)
			leave(m, c);
		else
			join(m, c);
		return;
	}
	if (!roll(m, 3))
		r.kinds = (uint32_t)(1 + roll(m, 7));
	r.start = gfn;
	r.end = gfn + counts[roll(m, 8)];
	while (index_of(m, r.end - 1) == NOWHERE)
		r.end--;
	if (r.end > r.start)
		run(m, c, &r);
}

/* ---- slots ---- */

void model_slot_ends(struct model *m, unsigned space, uint64_t first, uint64_t count)
{
	m->ending_space = space;
	m->ending = (struct vmmu_gfn_range){{first}, {first + count}};
	m->busy_start = first;
	m->busy_end = first + count;
	for (unsigned i = 0; i < MODEL_CLIENTS; i++)
		m->client[i].endings = m->client[i].joined;
}

void model_slot_ended(struct model *m, enum vmmu_error error)
{
	m->busy_start = m->busy_end = 0;
	if (error != VMMU_OK) {
		/* Nobody may have heard of it. */
		for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
			if (m->client[i].endings != m->client[i].joined)
				sim_violation(m->machine, "a change that failed was told");
			m->client[i].endings = 0;
		}
		return;
	}
	for (uint64_t gfn = m->ending.start.n; gfn < m->ending.end.n; gfn++)
		for (unsigned i = 0; !m->held(m, gfn) && i < MODEL_CLIENTS; i++)
			if (cell_of(&m->client[i], gfn))
				*cell_of(&m->client[i], gfn) = (struct model_cell){0};
}

/* ---- life cycle ---- */

struct model *model_new(struct sim_machine *machine, struct vmmu_vm *vm)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->machine = machine;
	m->vm = vm;
	for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
		m->client[i].model = m;
		join(m, &m->client[i]);
	}
	return m;
}

void model_free(struct model *m)
{
	uint64_t values[VMMU_STAT_COUNT];

	for (unsigned i = 0; i < MODEL_CLIENTS; i++)
		if (m->client[i].joined)
			leave(m, &m->client[i]);
	vmmu_stats_read(m->vm, values);
	if (values[VMMU_STAT_TRACK_FRAMES])
		sim_violation(m->machine, "all clients have left, and %llu frames are tracked",
			      (unsigned long long)values[VMMU_STAT_TRACK_FRAMES]);
	free(m);
}
