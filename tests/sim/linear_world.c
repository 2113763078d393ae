/* SPDX-License-Identifier: MIT */
#include "linear_world.h"

#include <stdlib.h>

static enum linear_memory read_world(void *context, sim_gpa_t gpa, uint64_t *value)
{
	struct world *w = context;

	if (gpa.bytes >= WORLD_BYTES)
		return LINEAR_HOLE;
	*value = w->word[gpa.bytes / 8];
	return gpa.bytes >= WORLD_ROM ? LINEAR_ROM : LINEAR_RAM;
}

static void make_tables(struct world *w)
{
	uint64_t link = LPWU | LA;

	if (w->regs.mode == LINEAR_32BIT) {
		put4(w, PD, (uint32_t)(PT | link));
		put4(w, PT + 4 * 7, (uint32_t)(0x100000 | link));
		w->regs.cr3 = PD;
		return;
	}
	put(w, PT + 8 * 7, 0x100000 | link);
	put(w, PD, PT | link);
	put(w, PDPT, PD | (w->regs.mode == LINEAR_PAE ? LP : link));
	put(w, PML4, PDPT | link);
	w->regs.cr3 = w->regs.mode == LINEAR_PAE ? PDPT : PML4;
	w->regs.pdpte[0] = w->regs.mode == LINEAR_PAE ? PD | LP : 0;
}

struct world *world_new(enum linear_mode mode)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->oracle = linear_oracle_new(2, read_world, w);
	assert_non_null(w->oracle);
	w->regs = linear_rig_regs(mode);
	if (mode != LINEAR_OFF)
		make_tables(w);
	linear_oracle_reset(w->oracle, 0, &w->regs);
	linear_oracle_reset(w->oracle, 1, &w->regs);
	return w;
}

void world_end(struct world *w)
{
	linear_oracle_free(w->oracle);
	free(w);
}

uint64_t world_entry(const struct world *w, unsigned level)
{
	static const uint64_t table[] = {0, PT, PD, PDPT, PML4};
	unsigned bytes = w->regs.mode == LINEAR_32BIT ? 4 : 8;

	return table[level] + (level == 1 ? bytes * 7 : 0);
}

void put(struct world *w, uint64_t gpa, uint64_t value)
{
	uint64_t old = w->word[gpa / 8];

	w->word[gpa / 8] = value;
	linear_oracle_wrote(w->oracle, sim_gpa(gpa), 8, old, value);
}

void put4(struct world *w, uint64_t gpa, uint32_t value)
{
	unsigned shift = (unsigned)(gpa & 4) * 8;
	uint64_t *word = &w->word[gpa / 8];
	uint32_t old = (uint32_t)(*word >> shift);

	*word = (*word & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
	linear_oracle_wrote(w->oracle, sim_gpa(gpa), 4, old, value);
}

uint64_t get(const struct world *w, uint64_t gpa)
{
	return w->word[gpa / 8];
}

void mark(struct world *w, uint64_t gpa, uint64_t bits)
{
	w->word[gpa / 8] |= bits << (gpa & 4) * 8;
}

void ask(struct world *w, unsigned vcpu, enum linear_kind kind, uint64_t gva)
{
	w->query =
		(struct linear_query){.vcpu = vcpu, .access = {.gva = sim_gva(gva), .kind = kind}};
	w->answers = linear_oracle_expect(w->oracle, &w->query);
	assert_false(w->answers.is_partial);
}

static bool accepts(struct world *w, const struct linear_answer *answer)
{
	char why[500];
	bool allowed = linear_oracle_allows(w->oracle, answer, why, sizeof(why));

	assert_int_equal(allowed, why[0] == '\0');
	return allowed;
}

bool has_gpa(struct world *w, uint64_t gpa)
{
	struct linear_answer answer = {
		.outcome = LINEAR_OK, .gpa = sim_gpa(gpa), .ignore_marks = true};

	return accepts(w, &answer);
}

bool has_fault(struct world *w, uint32_t error)
{
	struct linear_answer answer = {
		.outcome = LINEAR_FAULT, .error = error, .ignore_marks = true};

	return accepts(w, &answer);
}

void assert_only_gpa(struct world *w, uint64_t gpa)
{
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_gpa(w, gpa));
	assert_int_equal(w->answers.count, 1);
}

void assert_both_gpas(struct world *w, uint64_t one, uint64_t other)
{
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_gpa(w, one));
	assert_true(has_gpa(w, other));
	assert_int_equal(w->answers.count, 2);
}

void assert_only_fault(struct world *w, uint32_t error)
{
	ask(w, 0, LINEAR_READ, GVA);
	assert_true(has_fault(w, error));
	assert_false(has_fault(w, error ^ LINEAR_PF_P));
	assert_int_equal(w->answers.count, 1);
}

bool accepts_gpa(struct world *w, uint64_t gpa)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = sim_gpa(gpa)};

	return accepts(w, &answer);
}

bool accepts_fault(struct world *w, uint32_t error)
{
	struct linear_answer answer = {.outcome = LINEAR_FAULT, .error = error};

	return accepts(w, &answer);
}
