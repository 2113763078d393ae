/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - one access: which cached entry to believe, what to remember, what to forget.
 *
 * A cached translation may be used whatever the tables say now, as long as it is allowed to
 * answer: a write needs one that knows the leaf to be dirty, else the CPU walks to set it. A
 * cached denial may be reported; the fault drops all entries for the address, so a retry walks.
 * A misconfiguration drops nothing: the manual promises that for violations only.
 */
#include "cpu.h"

#include <stdlib.h>

#include "internal.h"
#include "linear_internal.h"
#include "tlb.h"
#include "walk.h"

bool sim_cpu_init(struct sim_cpu *cpu, struct sim_machine *machine, uint32_t index,
		  const struct sim_config *config)
{
	cpu->machine = machine;
	cpu->index = index;
	cpu->mode = config->mode;
	cpu->tlb_count = config->tlb_count;
	cpu->psc_count = config->psc_count;
	cpu->seed = config->seed * 1000003u + index;
	sim_prng_seed(&cpu->prng, cpu->seed);
	cpu->tlb = calloc(cpu->tlb_count, sizeof(*cpu->tlb));
	cpu->psc = calloc(cpu->psc_count, sizeof(*cpu->psc));
	return cpu->tlb && cpu->psc;
}

void sim_cpu_fini(struct sim_cpu *cpu)
{
	free(cpu->tlb);
	free(cpu->psc);
	linear_cpu_free(cpu->linear);
}

void sim_cpu_set_root(struct sim_cpu *cpu, const struct sim_root *root)
{
	if (root->level_count < 4 || root->level_count > 5 || root->maxphyaddr < 36 ||
	    root->maxphyaddr > 52)
		sim_violation(cpu->machine, "cpu %u: no CPU has %u levels and %u address bits",
			      cpu->index, root->level_count, root->maxphyaddr);
	else if (sim_ram_state(cpu->machine, root->pfn) != SIM_FRAME_TABLE)
		sim_violation(cpu->machine, "cpu %u: %s is loaded as a root (pfn 0x%llx)",
			      cpu->index,
			      sim_frame_state_name(sim_ram_state(cpu->machine, root->pfn)),
			      (unsigned long long)root->pfn.n);
	else {
		cpu->root = *root;
		cpu->has_root = true;
	}
}

void sim_cpu_clear_root(struct sim_cpu *cpu)
{
	cpu->has_root = false;
}

const struct sim_root *sim_cpu_root(const struct sim_cpu *cpu)
{
	return cpu->has_root ? &cpu->root : NULL;
}

void sim_cpu_set_mode(struct sim_cpu *cpu, enum sim_cpu_mode mode)
{
	cpu->mode = mode;
	if (mode == SIM_CPU_NEVER_STALE)
		sim_cpu_flush_everything(cpu);
}

struct sim_cpu_stats sim_cpu_stats(const struct sim_cpu *cpu)
{
	return cpu->stats;
}

uint32_t sim_cpu_index(const struct sim_cpu *cpu)
{
	return cpu->index;
}

struct sim_machine *sim_cpu_machine(const struct sim_cpu *cpu)
{
	return cpu->machine;
}

/* Roll, if this CPU rolls at all. */
static bool rolls(struct sim_cpu *cpu, uint64_t part, uint64_t whole)
{
	return cpu->mode == SIM_CPU_RANDOM && sim_prng_chance(&cpu->prng, part, whole);
}

static unsigned missing_rights(const struct sim_cpu *cpu, const struct tlb_entry *e,
			       enum sim_access_kind kind)
{
	unsigned needs = sim_walk_format(cpu->root.format)->needs(&cpu->root, kind);

	return needs & ~(unsigned)e->rights;
}

/* May this entry answer without a walk? */
static bool may_answer(const struct sim_cpu *cpu, const struct tlb_entry *e,
		       enum sim_access_kind kind)
{
	unsigned needs = sim_walk_format(cpu->root.format)->needs(&cpu->root, kind);

	return missing_rights(cpu, e, kind) || e->is_dirty || !(needs & SIM_CAN_WRITE);
}

/* The cached translation to believe, or NULL to walk. */
static const struct tlb_entry *choose_tlb(struct sim_cpu *cpu, sim_gpa_t gpa,
					  enum sim_access_kind kind)
{
	const struct tlb_entry *chosen = NULL;
	const struct tlb_entry *e;
	uint64_t seen = 0;
	uint32_t at = 0;

	if (cpu->mode == SIM_CPU_NEVER_STALE || rolls(cpu, 1, 4))
		return NULL;
	while ((e = sim_tlb_next(cpu, gpa, &at))) {
		if (!may_answer(cpu, e, kind))
			continue;
		if (cpu->mode == SIM_CPU_ALWAYS_STALE) {
			if (!chosen || e->stamp < chosen->stamp)
				chosen = e;
		} else if (sim_prng_below(&cpu->prng, ++seen) == 0) {
			chosen = e;
		}
	}
	/* Some CPUs walk again before they report a cached denial. */
	if (chosen && missing_rights(cpu, chosen, kind) && rolls(cpu, 1, 2))
		return NULL;
	return chosen;
}

static const struct psc_entry *choose_psc(struct sim_cpu *cpu, sim_gpa_t gpa)
{
	const struct psc_entry *chosen = NULL;
	const struct psc_entry *e;
	uint64_t seen = 0;
	uint32_t at = 0;

	if (cpu->mode == SIM_CPU_NEVER_STALE || rolls(cpu, 1, 4))
		return NULL;
	while ((e = sim_psc_next(cpu, gpa, &at))) {
		if (cpu->mode == SIM_CPU_ALWAYS_STALE) {
			if (!chosen || e->level < chosen->level)
				chosen = e;
		} else if (sim_prng_below(&cpu->prng, ++seen) == 0) {
			chosen = e;
		}
	}
	return chosen;
}

static struct sim_result answer_from_tlb(struct sim_cpu *cpu, const struct tlb_entry *e,
					 sim_gpa_t gpa, enum sim_access_kind kind)
{
	struct sim_result result = {
		.outcome = SIM_OK,
		.source = SIM_FROM_TLB,
		.level = e->level,
		.memory_type = e->memory_type,
		.ignore_pat = e->ignore_pat,
		.gpa = gpa,
	};

	cpu->stats.tlb_uses++;
	if (missing_rights(cpu, e, kind))
		sim_walk_format(cpu->root.format)
			->fault(&cpu->root, kind, TROUBLE_DENIED, e->rights, &result);
	else
		result.hpa.bytes =
			(e->pfn.n << SIM_PAGE_SHIFT) + gpa.bytes - (e->gfn.n << SIM_PAGE_SHIFT);
	return result;
}

static void remember(struct sim_cpu *cpu, const struct walk_answer *answer)
{
	enum sim_level level = answer->result.level;

	if (cpu->mode == SIM_CPU_NEVER_STALE)
		return;
	for (unsigned l = answer->passed_low; l <= answer->passed_high; l++)
		if (!rolls(cpu, 1, 4))
			cpu->stats.evictions += sim_psc_fill(cpu, answer, (enum sim_level)l);
	if (answer->result.outcome != SIM_OK || rolls(cpu, 1, 8))
		return;
	while (level > SIM_LEVEL_4K && rolls(cpu, 1, 3))
		level--;
	cpu->stats.evictions += sim_tlb_fill(cpu, answer, level);
}

static struct sim_result walk(struct sim_cpu *cpu, sim_gpa_t gpa, enum sim_access_kind kind,
			      enum walk_effects effects)
{
	struct walk_request request = sim_walk_from_root(cpu->machine, &cpu->root, gpa, kind);
	const struct psc_entry *psc = choose_psc(cpu, gpa);
	struct walk_answer answer;

	request.cpu = cpu;
	request.effects = effects;
	request.eager_accessed = cpu->mode == SIM_CPU_ALWAYS_STALE || rolls(cpu, 1, 2);
	if (psc) {
		request.level = (enum sim_level)(psc->level - 1);
		request.table = psc->table;
		request.rights = psc->rights;
	}
	sim_walk_run(&request, &answer);
	answer.result.source = psc ? SIM_FROM_PSC : SIM_FROM_WALK;
	if (effects == WALK_REAL && psc)
		cpu->stats.psc_uses++;
	else if (effects == WALK_REAL)
		cpu->stats.full_walks++;
	remember(cpu, &answer);
	return answer.result;
}

static void evict_one(struct sim_cpu *cpu)
{
	if (sim_prng_chance(&cpu->prng, 1, 2))
		cpu->tlb[sim_prng_below(&cpu->prng, cpu->tlb_count)].is_valid = false;
	else
		cpu->psc[sim_prng_below(&cpu->prng, cpu->psc_count)].is_valid = false;
	cpu->stats.evictions++;
}

/* A translation that reaches a frame nobody owns, or a table, is somebody's bug. */
static void check_target(struct sim_cpu *cpu, struct sim_result *result, const char *who)
{
	sim_pfn_t pfn = {result->hpa.bytes >> SIM_PAGE_SHIFT};
	enum sim_frame_state state = sim_ram_state(cpu->machine, pfn);

	if (result->outcome != SIM_OK || state == SIM_FRAME_GUEST || state == SIM_FRAME_OUTSIDE)
		return;
	sim_violation(cpu->machine, "cpu %u: %s translates gpa 0x%llx to %s (pfn 0x%llx)%s",
		      cpu->index, who, (unsigned long long)result->gpa.bytes,
		      sim_frame_state_name(state), (unsigned long long)pfn.n,
		      result->source == SIM_FROM_TLB   ? ", from its TLB"
		      : result->source == SIM_FROM_PSC ? ", from a cached upper level"
						       : "");
	result->outcome = SIM_BROKEN;
}

bool sim_cpu_prefetch(struct sim_cpu *cpu, sim_gpa_t gpa)
{
	struct sim_result result;

	if (!cpu->has_root)
		return false;
	result = walk(cpu, gpa, SIM_READ, WALK_SPECULATIVE);
	check_target(cpu, &result, "speculation");
	cpu->stats.speculative_fills += result.outcome == SIM_OK;
	return result.outcome == SIM_OK;
}

struct sim_result sim_cpu_access(struct sim_cpu *cpu, sim_gpa_t gpa, enum sim_access_kind kind)
{
	struct sim_result result = {.outcome = SIM_BROKEN, .gpa = gpa};
	const struct tlb_entry *cached;

	cpu->stats.accesses++;
	if (!cpu->has_root) {
		sim_violation(cpu->machine, "cpu %u: guest access without a root", cpu->index);
		return result;
	}
	cpu->recent[cpu->recent_count++ % SIM_RECENT_COUNT] = gpa;
	if (rolls(cpu, 1, 16))
		evict_one(cpu);
	if (rolls(cpu, 1, 8))
		sim_cpu_speculate(cpu);
	cached = choose_tlb(cpu, gpa, kind);
	result = cached ? answer_from_tlb(cpu, cached, gpa, kind) : walk(cpu, gpa, kind, WALK_REAL);
	if (result.outcome == SIM_NPF || result.outcome == SIM_EPT_VIOLATION)
		sim_tlb_drop(cpu, gpa);
	cpu->stats.faults += result.outcome != SIM_OK;
	check_target(cpu, &result, "an access");
	return result;
}

/* Translate for a data access. Return: true if the word can be touched. */
static bool reach_data(struct sim_cpu *cpu, sim_gpa_t gpa, enum sim_access_kind kind,
		       struct sim_result *result)
{
	*result = sim_cpu_access(cpu, gpa, kind);
	if (result->outcome != SIM_OK)
		return false;
	if (gpa.bytes % 8 == 0 &&
	    sim_ram_state(cpu->machine, sim_pfn(result->hpa.bytes >> SIM_PAGE_SHIFT)) ==
		    SIM_FRAME_GUEST)
		return true;
	sim_violation(cpu->machine,
		      "cpu %u: data at gpa 0x%llx is not in guest memory (hpa 0x%llx)", cpu->index,
		      (unsigned long long)gpa.bytes, (unsigned long long)result->hpa.bytes);
	result->outcome = SIM_BROKEN;
	return false;
}

struct sim_result sim_cpu_load(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t *value)
{
	struct sim_result result;

	*value = reach_data(cpu, gpa, SIM_READ, &result) ? sim_ram_read(cpu->machine, result.hpa)
							 : 0;
	return result;
}

struct sim_result sim_cpu_store(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t value)
{
	struct sim_result result;

	if (reach_data(cpu, gpa, SIM_WRITE, &result))
		sim_ram_write(cpu->machine, result.hpa, value);
	return result;
}

struct sim_result sim_cpu_fetch(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t *value)
{
	struct sim_result result;

	*value = reach_data(cpu, gpa, SIM_EXEC, &result) ? sim_ram_read(cpu->machine, result.hpa)
							 : 0;
	return result;
}
