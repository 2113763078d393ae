/* SPDX-License-Identifier: MIT */
/* linear_tlb.c - what a linear CPU remembers: finding, filling, dropping. Policy: linear_cpu.c. */
#include "linear_format.h"
#include "linear_internal.h"

static uint64_t align_page(sim_gva_t gva, enum sim_level level)
{
	return gva.bytes >> SIM_PAGE_SHIFT & ~(sim_level_pages(level) - 1);
}

static bool tlb_covers(const struct linear_tlb_entry *e, uint32_t tag, sim_gva_t gva)
{
	return e->is_valid && e->origin.tag == tag && align_page(gva, e->level) == e->page;
}

static bool psc_covers(const struct linear_psc_entry *e, uint32_t tag, sim_gva_t gva)
{
	return e->is_valid && e->origin.tag == tag && align_page(gva, e->level) == e->page;
}

struct linear_tlb_entry *linear_tlb_next(struct linear_cpu *cpu, sim_gva_t gva, uint32_t *at)
{
	for (; *at < cpu->owner->tlb_count; ++*at)
		if (tlb_covers(&cpu->tlb[*at], cpu->now.tag, gva))
			return &cpu->tlb[(*at)++];
	return NULL;
}

struct linear_psc_entry *linear_psc_next(struct linear_cpu *cpu, sim_gva_t gva, uint32_t *at)
{
	for (; *at < cpu->owner->psc_count; ++*at)
		if (psc_covers(&cpu->psc[*at], cpu->now.tag, gva))
			return &cpu->psc[(*at)++];
	return NULL;
}

/* The place for a new entry: that of the same key, a free one, or a random one. */
static struct linear_tlb_entry *tlb_place(struct linear_cpu *cpu, sim_gva_t gva,
					  enum sim_level level)
{
	struct linear_tlb_entry *place = NULL;

	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++) {
		struct linear_tlb_entry *e = &cpu->tlb[i];

		if (tlb_covers(e, cpu->now.tag, gva) && e->level == level)
			return e;
		if (!e->is_valid && !place)
			place = e;
	}
	return place ? place : &cpu->tlb[sim_prng_below(&cpu->prng, cpu->owner->tlb_count)];
}

static struct linear_psc_entry *psc_place(struct linear_cpu *cpu, sim_gva_t gva,
					  enum sim_level level)
{
	struct linear_psc_entry *place = NULL;

	for (uint32_t i = 0; i < cpu->owner->psc_count; i++) {
		struct linear_psc_entry *e = &cpu->psc[i];

		if (psc_covers(e, cpu->now.tag, gva) && e->level == level)
			return e;
		if (!e->is_valid && !place)
			place = e;
	}
	return place ? place : &cpu->psc[sim_prng_below(&cpu->prng, cpu->owner->psc_count)];
}

bool linear_tlb_fill(struct linear_cpu *cpu, const struct linear_walk_answer *answer,
		     enum sim_level level)
{
	sim_gva_t gva = answer->result.gva;
	struct linear_tlb_entry *e = tlb_place(cpu, gva, level);
	bool is_other = e->is_valid && (!tlb_covers(e, cpu->now.tag, gva) || e->level != level);
	uint64_t page = align_page(gva, level);

	*e = (struct linear_tlb_entry){
		.is_valid = true,
		.is_dirty = answer->is_dirty,
		.memory_type = answer->result.memory_type,
		.level = level,
		.leaf_level = answer->result.level,
		.rights = answer->rights,
		.page = page,
		.pfn = sim_pfn(answer->pfn.n + (page - align_page(gva, answer->result.level))),
		.stamp = cpu->stamp++,
		.origin = cpu->now,
	};
	return is_other;
}

bool linear_psc_fill(struct linear_cpu *cpu, const struct linear_walk_answer *answer,
		     enum sim_level level)
{
	sim_gva_t gva = answer->result.gva;
	struct linear_psc_entry *e = psc_place(cpu, gva, level);
	bool is_other = e->is_valid && (!psc_covers(e, cpu->now.tag, gva) || e->level != level);

	*e = (struct linear_psc_entry){
		.is_valid = true,
		.level = level,
		.rights = answer->passed_rights[level],
		.page = align_page(gva, level),
		.table = answer->passed_table[level],
		.stamp = cpu->stamp++,
		.origin = cpu->now,
	};
	return is_other;
}

void linear_cpu_flush_gva(struct linear_cpu *cpu, uint32_t tag, sim_gva_t gva)
{
	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++) {
		struct linear_tlb_entry *e = &cpu->tlb[i];

		if (e->is_valid && e->origin.tag == tag &&
		    align_page(gva, e->leaf_level) ==
			    align_page(sim_gva(e->page << SIM_PAGE_SHIFT), e->leaf_level))
			e->is_valid = false;
	}
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++)
		if (psc_covers(&cpu->psc[i], tag, gva))
			cpu->psc[i].is_valid = false;
}

void linear_tlb_drop(struct linear_cpu *cpu, sim_gva_t gva)
{
	linear_cpu_flush_gva(cpu, cpu->now.tag, gva);
}

void linear_cpu_flush_all(struct linear_cpu *cpu, uint32_t tag)
{
	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++)
		if (cpu->tlb[i].origin.tag == tag)
			cpu->tlb[i].is_valid = false;
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++)
		if (cpu->psc[i].origin.tag == tag)
			cpu->psc[i].is_valid = false;
}

static bool is_from_root(const struct linear_origin *origin, sim_pfn_t root)
{
	return linear_cr3_base(&origin->regs) >> SIM_PAGE_SHIFT == root.n;
}

void linear_cpu_flush_root(struct linear_cpu *cpu, sim_pfn_t root)
{
	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++)
		if (is_from_root(&cpu->tlb[i].origin, root))
			cpu->tlb[i].is_valid = false;
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++)
		if (is_from_root(&cpu->psc[i].origin, root))
			cpu->psc[i].is_valid = false;
}

void linear_cpu_flush_everything(struct linear_cpu *cpu)
{
	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++)
		cpu->tlb[i].is_valid = false;
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++)
		cpu->psc[i].is_valid = false;
}

void linear_flush_gva(struct sim_machine *machine, uint32_t tag, sim_gva_t gva)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		if (machine->cpu[i].linear)
			linear_cpu_flush_gva(machine->cpu[i].linear, tag, gva);
}

void linear_flush_all(struct sim_machine *machine, uint32_t tag)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		if (machine->cpu[i].linear)
			linear_cpu_flush_all(machine->cpu[i].linear, tag);
}
