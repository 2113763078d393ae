/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define HUGE_FRAMES UINT64_C(512)
#define WORDS (MODEL_FRAMES / 64 + 2)

static uint64_t roll(struct model *m, uint64_t bound)
{
	return sim_random_below(m->machine, bound);
}

struct model *model_new(struct sim_machine *machine, struct vmmu_vm *vm)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->machine = machine;
	m->vm = vm;
	return m;
}

/* ---- slots ---- */

static struct model_slot *find(struct model *m, unsigned space, uint16_t id)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		if (m->slot[i].is_used && m->slot[i].space == space && m->slot[i].id == id)
			return &m->slot[i];
	return NULL;
}

struct model_slot *model_slot_at(struct model *m, unsigned space, uint64_t gfn)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &m->slot[i];

		if (s->is_used && s->space == space && gfn - s->base < s->count)
			return s;
	}
	return NULL;
}

struct model_slot *model_some_slot(struct model *m)
{
	uint64_t start = roll(m, MODEL_SLOTS);

	for (uint64_t i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *s = &m->slot[(start + i) % MODEL_SLOTS];

		if (s->is_used)
			return s;
	}
	return NULL;
}

void model_slot_made(struct model *m, const struct vmmu_slot_config *config)
{
	struct model_slot *s = m->slot;

	while (s->is_used)
		if (++s == m->slot + MODEL_SLOTS)
			abort();
	if (config->count > MODEL_FRAMES)
		abort();
	memset(s, 0, sizeof(*s));
	s->is_used = true;
	s->logs = config->flags & VMMU_SLOT_LOG;
	s->space = config->space;
	s->id = config->id;
	s->base = config->base.n;
	s->count = config->count;
	/* Written before the call that made it has returned. */
	for (uint64_t i = 0; m->orphans && i < s->count; i++)
		s->frame[i].excused = s->frame[i].touched = true;
}

void model_slot_gone(struct model *m, unsigned space, uint16_t id)
{
	struct model_slot *s = find(m, space, id);

	if (s)
		s->is_used = false;
}

/* ---- writes ---- */

void model_wrote(struct model *m, unsigned space, uint64_t gfn)
{
	struct model_slot *s = model_slot_at(m, space, gfn);
	struct model_frame *f;

	m->count.writes++;
	if (!s) {
		m->orphans++;
		return;
	}
	f = &s->frame[gfn - s->base];
	f->touched = true;
	if (s->changing)
		f->fresh = 1;
	else if (!s->logs)
		return;
	else if (m->looking == s && gfn - s->base >= m->first && gfn - s->base < m->last)
		f->fresh += f->fresh < 2;
	else
		f->due = true;
}

void model_host_writes(struct model *m, unsigned space, uint64_t gfn)
{
	static const uint64_t counts[] = {0, 1, 1, 2, 70, 600};
	uint64_t count = counts[roll(m, 6)];
	vmmu_gpa_t gpa = {(gfn << VMMU_PAGE_SHIFT) + roll(m, VMMU_PAGE_BYTES)};
	uint64_t end = gpa.addr + count * roll(m, VMMU_PAGE_BYTES), last = gfn + count;
	enum vmmu_error error;

	if (roll(m, 2)) {
		error = vmmu_dirty_mark(m->vm, space, (struct vmmu_gfn_range){{gfn}, {last}});
	} else {
		error = vmmu_guest_written(m->vm, space, gpa, end - gpa.addr);
		last = end > gpa.addr ? (end - 1) / VMMU_PAGE_BYTES + 1 : gfn;
	}
	if (error != VMMU_OK)
		sim_violation(m->machine, "the host's writes are refused: %s",
			      vmmu_error_text(error));
	for (; gfn < last; gfn++)
		model_wrote(m, space, gfn);
}

/* ---- logging begins and ends ---- */

/* A huge leaf that is dirty may be split into small ones that are: they are told together. */
static void excuse_what_is_dirty(struct model_slot *s)
{
	uint64_t end;

	for (uint64_t i = 0; i < s->count; i = end) {
		bool touched = false;

		end = ((s->base + i) | (HUGE_FRAMES - 1)) + 1 - s->base;
		if (end > s->count)
			end = s->count;
		for (uint64_t k = i; k < end; k++)
			touched |= s->frame[k].touched;
		for (uint64_t k = i; k < end; k++)
			s->frame[k].excused |= touched;
	}
}

/* What was written while the call ran. */
static void settle(struct model_slot *s, bool logged, bool logs)
{
	for (uint64_t i = 0; i < s->count; i++) {
		struct model_frame *f = &s->frame[i];

		if (logged && logs)
			f->due |= f->fresh;
		else if (logs)
			f->excused |= f->fresh;
		else if (logged)
			*f = (struct model_frame){.touched = f->fresh};
		f->fresh = 0;
	}
}

void model_set_flags(struct model *m, struct model_slot *s, uint32_t flags)
{
	bool logged = s->logs, logs = flags & VMMU_SLOT_LOG;
	enum vmmu_error error;

	s->changing = logs != logged;
	error = vmmu_slot_set_flags(m->vm, s->space, s->id, flags);
	if (error != VMMU_OK && error != VMMU_ENOMEM)
		sim_violation(m->machine, "flags cannot be set: %s", vmmu_error_text(error));
	m->count.refused += error != VMMU_OK;
	if (error == VMMU_OK)
		s->logs = logs;
	if (s->changing) {
		m->count.begun += s->logs && !logged;
		m->count.ended += logged && !s->logs;
		settle(s, logged, s->logs);
		if (s->logs && !logged)
			excuse_what_is_dirty(s);
	}
	s->changing = false;
}

/* ---- looks ---- */

struct answer {
	uint64_t bitmap[WORDS];
	uint64_t found;
	bool counted_only;
};

static void compare_frame(struct model *m, struct model_slot *s, uint64_t i, bool told)
{
	struct model_frame *f = &s->frame[i];

	if (f->due && !told)
		sim_violation(m->machine, "frame %llx was written, and a look does not tell it",
			      (unsigned long long)(s->base + i));
	if (told && !f->due && !f->fresh && !f->excused)
		sim_violation(m->machine, "frame %llx was not written, and a look tells it",
			      (unsigned long long)(s->base + i));
	m->count.frames_told += told;
	m->count.due += f->due;
	m->count.fresh += f->fresh > 0;
	if (told)
		/* One write is told once; of several some may have come too late for it. */
		f->excused = f->fresh && (f->due || f->excused || f->fresh > 1);
	else
		f->excused = false;
	f->due = f->fresh && !told;
	f->fresh = 0;
}

/* Which frames were told nobody knows, only how many. */
static void compare_count(struct model *m, struct model_slot *s, const struct answer *a)
{
	uint64_t least = 0, most = 0;

	for (uint64_t i = m->first; i < m->last; i++) {
		struct model_frame *f = &s->frame[i];

		least += f->due;
		most += f->due || f->fresh || f->excused;
		f->excused = f->fresh;
		f->due = false;
		f->fresh = 0;
	}
	if (a->found < least || a->found > most)
		sim_violation(m->machine, "a look counts %llu frames, where %llu to %llu are right",
			      (unsigned long long)a->found, (unsigned long long)least,
			      (unsigned long long)most);
}

static void compare(struct model *m, struct model_slot *s, struct answer *a, uint64_t noise)
{
	uint64_t count = m->last - m->first, seen = 0;

	if (a->counted_only) {
		compare_count(m, s, a);
		return;
	}
	for (uint64_t i = 0; i < 64 * WORDS; i++) {
		bool bit = a->bitmap[i / 64] >> i % 64 & 1;

		if (i < count)
			compare_frame(m, s, m->first + i, bit);
		else if (bit != (noise >> i % 64 & 1))
			sim_violation(m->machine, "a look at %llu frames changes bit %llu",
				      (unsigned long long)count, (unsigned long long)i);
		seen += bit && i < count;
	}
	if (seen != a->found)
		sim_violation(m->machine, "a look counts %llu frames and tells %llu",
			      (unsigned long long)a->found, (unsigned long long)seen);
}

static void look_at(struct model *m, struct model_slot *s, uint64_t first, uint64_t count)
{
	struct vmmu_slot_part part = {s->space, s->id, first, count};
	uint64_t noise = sim_random(m->machine);
	struct answer a = {.counted_only = !roll(m, 12), .found = UINT64_MAX};
	enum vmmu_error error;

	m->first = first;
	m->last = count ? first + count : s->count;
	for (uint64_t i = m->last - first; i < 64 * WORDS; i++)
		a.bitmap[i / 64] |= noise & UINT64_C(1) << i % 64;
	m->looking = s;
	error = vmmu_dirty_log(m->vm, &part, a.counted_only ? NULL : a.bitmap, &a.found);
	m->looking = NULL;
	m->count.looks++;
	if (error != VMMU_OK)
		sim_violation(m->machine, "a look is refused: %s", vmmu_error_text(error));
	else
		compare(m, s, &a, noise);
}

void model_look(struct model *m, struct model_slot *s)
{
	struct vmmu_slot_part part = {.space = s->space, .id = s->id};
	uint64_t first = 0, count = 0;

	if (!s->logs) {
		if (vmmu_dirty_log(m->vm, &part, NULL, NULL) != VMMU_ENOENT)
			sim_violation(m->machine, "a slot that does not log is looked at");
		return;
	}
	if (roll(m, 3)) {
		first = roll(m, s->count);
		count = roll(m, s->count - first + 1);
	}
	look_at(m, s, first, count);
}

void model_look_at_all(struct model *m)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		if (m->slot[i].is_used && m->slot[i].logs)
			look_at(m, &m->slot[i], 0, 0);
}

void model_ask_wrongly(struct model *m)
{
	struct model_slot *s = model_some_slot(m);
	struct vmmu_slot_part part = {.space = VMMU_SPACES_MAX};
	enum vmmu_error wanted = VMMU_EINVAL;

	if (s && s->logs && roll(m, 2)) {
		part = (struct vmmu_slot_part){s->space, s->id, 0, s->count + 1};
		if (roll(m, 2)) {
			part.first = 1 + roll(m, s->count);
			part.count = s->count - part.first + 1 + roll(m, 2) * (UINT64_MAX / 2);
		}
	} else if (roll(m, 2)) {
		part = (struct vmmu_slot_part){.id = VMMU_SLOTS_MAX - 1};
		wanted = VMMU_ENOENT;
	}
	if (vmmu_dirty_log(m->vm, &part, NULL, NULL) != wanted)
		sim_violation(m->machine, "a look that makes no sense is not refused");
}
