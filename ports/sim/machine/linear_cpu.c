/* SPDX-License-Identifier: MIT */
/*
 * linear_cpu.c - one access with a linear address: which cached entry to believe, what to
 * remember, what to forget.
 *
 * A cached translation answers with its cached rights, judged by the registers of now; a write
 * needs one that is dirty, else the CPU walks to set the bit. A denial may come from the cache;
 * the fault drops everything for the address, so a retry walks.
 */
#include "linear_cpu.h"

#include <stdlib.h>

#include "linear_format.h"
#include "linear_internal.h"

struct linear_cpu *linear_cpu_of(struct sim_cpu *owner)
{
	struct linear_cpu *cpu;

	if (owner->linear)
		return owner->linear;
	cpu = calloc(1, sizeof(*cpu));
	if (!cpu)
		return NULL;
	cpu->owner = owner;
	cpu->tlb = calloc(owner->tlb_count, sizeof(*cpu->tlb));
	cpu->psc = calloc(owner->psc_count, sizeof(*cpu->psc));
	/* Of the owner's start, not of its state: its own run must not depend on this. */
	sim_prng_seed(&cpu->prng, owner->seed ^ UINT64_C(0x6c696e656172));
	if (!cpu->tlb || !cpu->psc) {
		linear_cpu_free(cpu);
		return NULL;
	}
	owner->linear = cpu;
	return cpu;
}

void linear_cpu_free(struct linear_cpu *cpu)
{
	if (!cpu)
		return;
	free(cpu->tlb);
	free(cpu->psc);
	free(cpu);
}

struct sim_cpu *linear_cpu_owner(const struct linear_cpu *cpu)
{
	return cpu->owner;
}

static enum linear_load load_is_broken(struct linear_cpu *cpu, const struct linear_regs *regs,
				       const char *what)
{
	sim_violation(cpu->owner->machine, "cpu %u: %s is loaded as CR3 (0x%llx, mode %d)",
		      cpu->owner->index, what, (unsigned long long)regs->cr3, (int)regs->mode);
	return LINEAR_LOAD_BROKEN;
}

enum linear_load linear_cpu_load(struct linear_cpu *cpu, const struct linear_regs *regs,
				 uint32_t tag)
{
	struct sim_machine *machine = cpu->owner->machine;
	struct linear_regs next = *regs;
	uint64_t base = linear_cr3_base(regs);
	uint64_t low = regs->mode == LINEAR_PAE ? UINT64_C(7) : UINT64_C(0xfe7);
	enum sim_frame_state state = sim_ram_state(machine, sim_pfn(base >> SIM_PAGE_SHIFT));

	if (regs->mode < LINEAR_PAE || regs->maxphyaddr < 36 || regs->maxphyaddr > 52)
		return load_is_broken(cpu, regs, "something no CPU can walk");
	if ((regs->cr3 & low) || regs->cr3 >> (regs->mode == LINEAR_PAE ? 32 : regs->maxphyaddr))
		return LINEAR_LOAD_BAD_CR3;
	if (state != SIM_FRAME_TABLE)
		return load_is_broken(cpu, regs, sim_frame_state_name(state));
	for (unsigned i = 0; i < 4; i++) {
		next.pdpte[i] = 0;
		if (regs->mode == LINEAR_PAE)
			next.pdpte[i] = sim_ram_read(machine, (sim_hpa_t){base + 8u * i});
		if (linear_pdpte_is_illegal(regs, next.pdpte[i]))
			return LINEAR_LOAD_BAD_PDPTE;
	}
	cpu->now = (struct linear_origin){tag, next};
	cpu->is_loaded = true;
	return LINEAR_LOADED;
}

void linear_cpu_set_regs(struct linear_cpu *cpu, const struct linear_regs *regs)
{
	struct linear_regs next = *regs;

	next.mode = cpu->now.regs.mode;
	next.cr3 = cpu->now.regs.cr3;
	for (unsigned i = 0; i < 4; i++)
		next.pdpte[i] = cpu->now.regs.pdpte[i];
	cpu->now.regs = next;
}

void linear_cpu_unload(struct linear_cpu *cpu)
{
	cpu->is_loaded = false;
}

const struct linear_regs *linear_cpu_regs(const struct linear_cpu *cpu)
{
	return cpu->is_loaded ? &cpu->now.regs : NULL;
}

uint32_t linear_cpu_tag(const struct linear_cpu *cpu)
{
	return cpu->now.tag;
}

struct sim_cpu_stats linear_cpu_stats(const struct linear_cpu *cpu)
{
	return cpu->stats;
}

/* Roll, if this CPU rolls at all. */
static bool rolls(struct linear_cpu *cpu, uint64_t part, uint64_t whole)
{
	return cpu->owner->mode == SIM_CPU_RANDOM && sim_prng_chance(&cpu->prng, part, whole);
}

static bool is_denied(const struct linear_cpu *cpu, const struct linear_tlb_entry *e,
		      const struct linear_access *access)
{
	uint32_t error;

	return linear_is_denied(&cpu->now.regs, &e->rights, access, &error);
}

/* The cached translation to believe, or NULL to walk. */
static const struct linear_tlb_entry *choose_tlb(struct linear_cpu *cpu,
						 const struct linear_access *access)
{
	const struct linear_tlb_entry *chosen = NULL;
	const struct linear_tlb_entry *e;
	uint64_t seen = 0;
	uint32_t at = 0;

	if (cpu->owner->mode == SIM_CPU_NEVER_STALE || rolls(cpu, 1, 4))
		return NULL;
	while ((e = linear_tlb_next(cpu, access->gva, &at))) {
		if (access->kind == LINEAR_WRITE && !e->is_dirty && !is_denied(cpu, e, access))
			continue;
		if (cpu->owner->mode == SIM_CPU_ALWAYS_STALE) {
			if (!chosen || e->stamp < chosen->stamp)
				chosen = e;
		} else if (sim_prng_below(&cpu->prng, ++seen) == 0) {
			chosen = e;
		}
	}
	/* Some CPUs walk again before they report a cached denial. */
	if (chosen && is_denied(cpu, chosen, access) && rolls(cpu, 1, 2))
		return NULL;
	return chosen;
}

static const struct linear_psc_entry *choose_psc(struct linear_cpu *cpu, sim_gva_t gva)
{
	enum sim_level top = linear_top_level(cpu->now.regs.mode);
	const struct linear_psc_entry *chosen = NULL;
	const struct linear_psc_entry *e;
	uint64_t seen = 0;
	uint32_t at = 0;

	if (cpu->owner->mode == SIM_CPU_NEVER_STALE || rolls(cpu, 1, 4))
		return NULL;
	while ((e = linear_psc_next(cpu, gva, &at))) {
		if (e->level > top)
			continue;
		if (cpu->owner->mode == SIM_CPU_ALWAYS_STALE) {
			if (!chosen || e->level < chosen->level)
				chosen = e;
		} else if (sim_prng_below(&cpu->prng, ++seen) == 0) {
			chosen = e;
		}
	}
	return chosen;
}

static struct linear_result answer_from_tlb(struct linear_cpu *cpu,
					    const struct linear_tlb_entry *e,
					    const struct linear_access *access)
{
	struct linear_result result = {
		.outcome = LINEAR_OK,
		.source = SIM_FROM_TLB,
		.level = e->level,
		.memory_type = e->memory_type,
		.gva = access->gva,
	};

	cpu->stats.tlb_uses++;
	if (linear_is_denied(&cpu->now.regs, &e->rights, access, &result.error)) {
		result.outcome = LINEAR_FAULT;
		return result;
	}
	result.error = 0;
	result.hpa.bytes =
		(e->pfn.n << SIM_PAGE_SHIFT) + access->gva.bytes - (e->page << SIM_PAGE_SHIFT);
	return result;
}

static void remember(struct linear_cpu *cpu, const struct linear_walk_answer *answer)
{
	enum sim_level level = answer->result.level;

	if (cpu->owner->mode == SIM_CPU_NEVER_STALE)
		return;
	for (unsigned l = SIM_LEVEL_2M; l <= SIM_LEVEL_PML5; l++)
		if (answer->passed_accessed[l] && !rolls(cpu, 1, 4))
			cpu->stats.evictions += linear_psc_fill(cpu, answer, (enum sim_level)l);
	if (answer->result.outcome != LINEAR_OK || rolls(cpu, 1, 8))
		return;
	while (level > SIM_LEVEL_4K && rolls(cpu, 1, 3))
		level--;
	cpu->stats.evictions += linear_tlb_fill(cpu, answer, level);
}

static struct linear_result walk(struct linear_cpu *cpu, const struct linear_access *access,
				 enum walk_effects effects)
{
	const struct linear_psc_entry *psc = choose_psc(cpu, access->gva);
	struct linear_walk_request request = {
		.machine = cpu->owner->machine,
		.cpu = cpu->owner,
		.regs = &cpu->now.regs,
		.access = access,
		.effects = effects,
		.eager_accessed = cpu->owner->mode == SIM_CPU_ALWAYS_STALE || rolls(cpu, 1, 2),
	};
	struct linear_walk_answer answer;

	if (psc) {
		request.level = (enum sim_level)(psc->level - 1);
		request.table = psc->table;
		request.rights = psc->rights;
	}
	linear_walk_run(&request, &answer);
	answer.result.source = psc ? SIM_FROM_PSC : SIM_FROM_WALK;
	if (effects == WALK_REAL && psc)
		cpu->stats.psc_uses++;
	else if (effects == WALK_REAL)
		cpu->stats.full_walks++;
	remember(cpu, &answer);
	return answer.result;
}

static void evict_one(struct linear_cpu *cpu)
{
	if (sim_prng_chance(&cpu->prng, 1, 2))
		cpu->tlb[sim_prng_below(&cpu->prng, cpu->owner->tlb_count)].is_valid = false;
	else
		cpu->psc[sim_prng_below(&cpu->prng, cpu->owner->psc_count)].is_valid = false;
	cpu->stats.evictions++;
}

/* A translation that reaches a frame nobody owns, or a table, is somebody's bug. */
static void check_target(struct linear_cpu *cpu, struct linear_result *result, const char *who)
{
	struct sim_machine *machine = cpu->owner->machine;
	sim_pfn_t pfn = {result->hpa.bytes >> SIM_PAGE_SHIFT};
	enum sim_frame_state state = sim_ram_state(machine, pfn);

	if (result->outcome != LINEAR_OK || state == SIM_FRAME_GUEST || state == SIM_FRAME_OUTSIDE)
		return;
	sim_violation(machine, "cpu %u: %s translates gva 0x%llx to %s (pfn 0x%llx)%s",
		      cpu->owner->index, who, (unsigned long long)result->gva.bytes,
		      sim_frame_state_name(state), (unsigned long long)pfn.n,
		      result->source == SIM_FROM_TLB   ? ", from its TLB"
		      : result->source == SIM_FROM_PSC ? ", from a cached upper level"
						       : "");
	result->outcome = LINEAR_BROKEN;
}

bool linear_cpu_prefetch(struct linear_cpu *cpu, sim_gva_t gva)
{
	struct linear_access access = {.gva = gva};
	struct linear_result result;

	if (!cpu->is_loaded || !linear_is_canonical(cpu->now.regs.mode, gva))
		return false;
	result = walk(cpu, &access, WALK_SPECULATIVE);
	check_target(cpu, &result, "speculation");
	cpu->stats.speculative_fills += result.outcome == LINEAR_OK;
	return result.outcome == LINEAR_OK;
}

struct linear_result linear_cpu_access(struct linear_cpu *cpu, const struct linear_access *access)
{
	struct linear_result result = {.outcome = LINEAR_BROKEN, .gva = access->gva};
	const struct linear_tlb_entry *cached;

	cpu->stats.accesses++;
	if (!cpu->is_loaded) {
		sim_violation(cpu->owner->machine, "cpu %u: linear access without a CR3",
			      cpu->owner->index);
		return result;
	}
	if (!linear_is_canonical(cpu->now.regs.mode, access->gva)) {
		result.outcome = LINEAR_NONCANONICAL;
		return result;
	}
	cpu->recent[cpu->recent_count++ % SIM_RECENT_COUNT] = access->gva;
	if (rolls(cpu, 1, 16))
		evict_one(cpu);
	if (rolls(cpu, 1, 8))
		linear_cpu_speculate(cpu);
	cached = choose_tlb(cpu, access);
	result = cached ? answer_from_tlb(cpu, cached, access) : walk(cpu, access, WALK_REAL);
	if (result.outcome == LINEAR_FAULT)
		linear_tlb_drop(cpu, access->gva);
	cpu->stats.faults += result.outcome != LINEAR_OK;
	check_target(cpu, &result, "an access");
	return result;
}

/* Translate for a data access. Return: true if the word can be touched. */
static bool reach_data(struct linear_cpu *cpu, const struct linear_access *access,
		       struct linear_result *result)
{
	sim_pfn_t pfn;

	*result = linear_cpu_access(cpu, access);
	if (result->outcome != LINEAR_OK)
		return false;
	pfn.n = result->hpa.bytes >> SIM_PAGE_SHIFT;
	if (access->gva.bytes % 8 == 0 &&
	    sim_ram_state(cpu->owner->machine, pfn) == SIM_FRAME_GUEST)
		return true;
	sim_violation(cpu->owner->machine,
		      "cpu %u: data at gva 0x%llx is not in guest memory (hpa 0x%llx)",
		      cpu->owner->index, (unsigned long long)access->gva.bytes,
		      (unsigned long long)result->hpa.bytes);
	result->outcome = LINEAR_BROKEN;
	return false;
}

struct linear_result linear_cpu_load8(struct linear_cpu *cpu, const struct linear_access *access,
				      uint64_t *value)
{
	struct linear_result result;
	bool reached = reach_data(cpu, access, &result);

	*value = reached ? sim_ram_read(cpu->owner->machine, result.hpa) : 0;
	return result;
}

struct linear_result linear_cpu_store8(struct linear_cpu *cpu, const struct linear_access *access,
				       uint64_t value)
{
	struct linear_result result;

	if (reach_data(cpu, access, &result))
		sim_ram_write(cpu->owner->machine, result.hpa, value);
	return result;
}
