/* SPDX-License-Identifier: MIT */
#include "tlb.h"

#include <string.h>

#include "linear_internal.h"

bool sim_tlb_root_matches(const struct sim_root *filled, const struct sim_root *running)
{
	if (filled->format != running->format || filled->tag != running->tag)
		return false;
	return filled->format == SIM_NPT || filled->pfn.n == running->pfn.n;
}

static bool covers(sim_gfn_t gfn, enum sim_level level, sim_gpa_t gpa)
{
	uint64_t offset = (gpa.bytes >> SIM_PAGE_SHIFT) - gfn.n;

	return offset < sim_level_pages(level);
}

struct tlb_entry *sim_tlb_next(struct sim_cpu *cpu, sim_gpa_t gpa, uint32_t *at)
{
	for (; *at < cpu->tlb_count; ++*at) {
		struct tlb_entry *e = &cpu->tlb[*at];

		if (e->is_valid && covers(e->gfn, e->level, gpa) &&
		    sim_tlb_root_matches(&e->root, &cpu->root))
			return &cpu->tlb[(*at)++];
	}
	return NULL;
}

struct psc_entry *sim_psc_next(struct sim_cpu *cpu, sim_gpa_t gpa, uint32_t *at)
{
	for (; *at < cpu->psc_count; ++*at) {
		struct psc_entry *e = &cpu->psc[*at];

		if (e->is_valid && covers(e->gfn, e->level, gpa) &&
		    sim_tlb_root_matches(&e->root, &cpu->root))
			return &cpu->psc[(*at)++];
	}
	return NULL;
}

static sim_gfn_t align_gfn(sim_gpa_t gpa, enum sim_level level)
{
	return sim_gfn(gpa.bytes >> SIM_PAGE_SHIFT & ~(sim_level_pages(level) - 1));
}

/* The place for a new entry: that of the same key, a free one, or a random one. */
static struct tlb_entry *tlb_place(struct sim_cpu *cpu, sim_gfn_t gfn, enum sim_level level)
{
	struct tlb_entry *place = NULL;

	for (uint32_t i = 0; i < cpu->tlb_count; i++) {
		struct tlb_entry *e = &cpu->tlb[i];

		if (e->is_valid && e->gfn.n == gfn.n && e->level == level &&
		    sim_tlb_root_matches(&e->root, &cpu->root))
			return e;
		if (!e->is_valid && !place)
			place = e;
	}
	return place ? place : &cpu->tlb[sim_prng_below(&cpu->prng, cpu->tlb_count)];
}

static struct psc_entry *psc_place(struct sim_cpu *cpu, sim_gfn_t gfn, enum sim_level level)
{
	struct psc_entry *place = NULL;

	for (uint32_t i = 0; i < cpu->psc_count; i++) {
		struct psc_entry *e = &cpu->psc[i];

		if (e->is_valid && e->gfn.n == gfn.n && e->level == level &&
		    sim_tlb_root_matches(&e->root, &cpu->root))
			return e;
		if (!e->is_valid && !place)
			place = e;
	}
	return place ? place : &cpu->psc[sim_prng_below(&cpu->prng, cpu->psc_count)];
}

bool sim_tlb_fill(struct sim_cpu *cpu, const struct walk_answer *answer, enum sim_level level)
{
	sim_gfn_t gfn = align_gfn(answer->result.gpa, level);
	sim_gfn_t leaf_gfn = align_gfn(answer->result.gpa, answer->result.level);
	struct tlb_entry *e = tlb_place(cpu, gfn, level);
	bool is_other = e->is_valid && (e->gfn.n != gfn.n || e->level != level);

	*e = (struct tlb_entry){
		.is_valid = true,
		.is_dirty = answer->is_dirty,
		.ignore_pat = answer->result.ignore_pat,
		.memory_type = answer->result.memory_type,
		.rights = (uint8_t)answer->rights,
		.level = level,
		.gfn = gfn,
		.pfn = sim_pfn(answer->pfn.n + (gfn.n - leaf_gfn.n)),
		.stamp = cpu->stamp++,
		.root = cpu->root,
	};
	return is_other;
}

bool sim_psc_fill(struct sim_cpu *cpu, const struct walk_answer *answer, enum sim_level level)
{
	sim_gfn_t gfn = align_gfn(answer->result.gpa, level);
	struct psc_entry *e = psc_place(cpu, gfn, level);
	bool is_other = e->is_valid && (e->gfn.n != gfn.n || e->level != level);

	*e = (struct psc_entry){
		.is_valid = true,
		.rights = (uint8_t)answer->passed_rights[level],
		.level = level,
		.gfn = gfn,
		.table = answer->passed_table[level],
		.stamp = cpu->stamp++,
		.root = cpu->root,
	};
	return is_other;
}

void sim_tlb_drop(struct sim_cpu *cpu, sim_gpa_t gpa)
{
	struct tlb_entry *t;
	struct psc_entry *p;
	uint32_t at = 0;

	while ((t = sim_tlb_next(cpu, gpa, &at)))
		t->is_valid = false;
	at = 0;
	while ((p = sim_psc_next(cpu, gpa, &at)))
		p->is_valid = false;
}

static bool overlaps(sim_gfn_t gfn, enum sim_level level, sim_gfn_t start, sim_gfn_t end)
{
	return gfn.n < end.n && gfn.n + sim_level_pages(level) > start.n;
}

void sim_cpu_flush_range(struct sim_cpu *cpu, uint32_t tag, sim_gfn_t start, sim_gfn_t end)
{
	for (uint32_t i = 0; i < cpu->tlb_count; i++) {
		struct tlb_entry *e = &cpu->tlb[i];

		if (e->is_valid && e->root.tag == tag && overlaps(e->gfn, e->level, start, end))
			e->is_valid = false;
	}
	for (uint32_t i = 0; i < cpu->psc_count; i++) {
		struct psc_entry *e = &cpu->psc[i];

		if (e->is_valid && e->root.tag == tag && overlaps(e->gfn, e->level, start, end))
			e->is_valid = false;
	}
}

void sim_cpu_flush_all(struct sim_cpu *cpu, uint32_t tag)
{
	sim_cpu_flush_range(cpu, tag, sim_gfn(0), sim_gfn(UINT64_MAX));
	if (cpu->linear)
		linear_cpu_flush_all(cpu->linear, tag);
}

void sim_cpu_flush_root(struct sim_cpu *cpu, sim_pfn_t root)
{
	for (uint32_t i = 0; i < cpu->tlb_count; i++)
		if (cpu->tlb[i].root.pfn.n == root.n)
			cpu->tlb[i].is_valid = false;
	for (uint32_t i = 0; i < cpu->psc_count; i++)
		if (cpu->psc[i].root.pfn.n == root.n)
			cpu->psc[i].is_valid = false;
	if (cpu->linear)
		linear_cpu_flush_root(cpu->linear, root);
}

void sim_cpu_flush_everything(struct sim_cpu *cpu)
{
	memset(cpu->tlb, 0, cpu->tlb_count * sizeof(*cpu->tlb));
	memset(cpu->psc, 0, cpu->psc_count * sizeof(*cpu->psc));
	if (cpu->linear)
		linear_cpu_flush_everything(cpu->linear);
}
