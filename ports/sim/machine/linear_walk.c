/* SPDX-License-Identifier: MIT */
/*
 * linear_walk.c - the hardware's walk of tables in host memory with a linear address.
 *
 * As walk.c: each entry is read once, absent comes before reserved, rights are judged at the
 * leaf over the whole path, accessed and dirty are set by compare-and-swap on the value that
 * was judged, and a lost race starts the walk again.
 */
#include "linear_format.h"
#include "linear_internal.h"

#define RESTARTS_MAX 1000u

/* May hardware read this table? If not, say what it did. */
static bool table_is_readable(const struct linear_walk_request *request, sim_pfn_t table,
			      enum sim_level level)
{
	enum sim_frame_state state = sim_ram_state(request->machine, table);

	if (state == SIM_FRAME_TABLE)
		return true;
	if (request->effects == WALK_PURE)
		return false;
	sim_violation(request->machine,
		      "cpu %u: hardware walked %s at level %d (pfn 0x%llx, gva 0x%llx%s)",
		      request->cpu->index,
		      state == SIM_FRAME_POISONED ? "a freed table page"
						  : sim_frame_state_name(state),
		      (int)level, (unsigned long long)table.n,
		      (unsigned long long)request->access->gva.bytes,
		      request->effects == WALK_SPECULATIVE ? ", speculatively" : "");
	return false;
}

static void report(struct linear_walk_answer *answer, enum sim_level level, uint64_t entry,
		   uint32_t error)
{
	answer->result.outcome = LINEAR_FAULT;
	answer->result.level = level;
	answer->result.entry = entry;
	answer->result.error = error;
}

/* Set @want in the entry, if it still is what was read. Return: false if it is not. */
static bool mark_entry(const struct linear_walk_request *request, sim_hpa_t where, uint64_t *entry,
		       uint64_t want)
{
	uint64_t seen = *entry;

	if ((seen & want) == want || request->effects == WALK_PURE)
		return true;
	sim_machine_step(request->machine, request->cpu);
	if (!sim_ram_cmpxchg(request->machine, where, &seen, *entry | want))
		return false;
	*entry |= want;
	return true;
}

struct walk_path {
	unsigned count;
	enum sim_level level[SIM_LEVEL_PML5];
	sim_hpa_t where[SIM_LEVEL_PML5];
	uint64_t entry[SIM_LEVEL_PML5];
	struct linear_rights rights[SIM_LEVEL_PML5];
};

static void note_passed(const struct walk_path *path, struct linear_walk_answer *answer)
{
	bool accessed = true;

	for (unsigned i = 0; i < path->count; i++) {
		enum sim_level level = path->level[i];

		answer->passed[level] = true;
		accessed = accessed && (path->entry[i] & LINEAR_ACCESSED);
		answer->passed_accessed[level] = accessed;
		answer->passed_table[level] = sim_pfn(
			linear_table_base(LINEAR_4_LEVEL, path->entry[i]) >> SIM_PAGE_SHIFT);
		answer->passed_rights[level] = path->rights[i];
	}
}

static uint8_t memory_type(uint64_t entry, enum sim_level level)
{
	uint64_t pat = level == SIM_LEVEL_4K ? LINEAR_HUGE : LINEAR_HUGE_PAT;

	return (uint8_t)((entry & pat ? 4u : 0u) | (entry & LINEAR_PCD ? 2u : 0u) |
			 (entry & LINEAR_PWT ? 1u : 0u));
}

/* Judge rights, mark the path, fill in the answer. Return: false to start again. */
static bool finish_at_leaf(const struct linear_walk_request *request, struct walk_path *path,
			   sim_hpa_t where, uint64_t entry, struct linear_walk_answer *answer)
{
	enum sim_level level = answer->result.level;
	uint64_t marks = LINEAR_ACCESSED;
	uint32_t error;

	answer->is_at_leaf = true;
	answer->pfn.n = linear_page_base(request->regs, entry, level) >> SIM_PAGE_SHIFT;
	if (request->effects != WALK_SPECULATIVE) {
		if (linear_is_denied(request->regs, &answer->rights, request->access, &error)) {
			report(answer, level, entry, error);
			return true;
		}
		if (request->access->kind == LINEAR_WRITE)
			marks |= LINEAR_DIRTY;
	}
	for (unsigned i = 0; i < path->count; i++)
		if (!mark_entry(request, path->where[i], &path->entry[i], LINEAR_ACCESSED))
			return false;
	if (!mark_entry(request, where, &entry, marks))
		return false;
	answer->is_dirty = entry & LINEAR_DIRTY;
	answer->result.outcome = LINEAR_OK;
	answer->result.entry = entry;
	answer->result.memory_type = memory_type(entry, level);
	answer->result.hpa.bytes =
		(answer->pfn.n << SIM_PAGE_SHIFT) +
		(request->access->gva.bytes &
		 ((UINT64_C(1) << linear_shift(request->regs->mode, level)) - 1));
	return true;
}

/* Where the walk starts. Return: false if a PDPTE register already ends it. */
static bool find_start(const struct linear_walk_request *request, struct linear_walk_answer *answer,
		       enum sim_level *level, sim_pfn_t *table)
{
	const struct linear_regs *regs = request->regs;
	uint64_t pdpte;

	*level = request->level;
	*table = request->table;
	answer->rights = request->rights;
	if (request->level != SIM_LEVEL_NONE)
		return true;
	answer->rights = linear_all_rights();
	*level = linear_top_level(regs->mode);
	*table = sim_pfn(linear_cr3_base(regs) >> SIM_PAGE_SHIFT);
	if (regs->mode != LINEAR_PAE)
		return true;
	pdpte = regs->pdpte[request->access->gva.bytes >> 30 & 3];
	*table = sim_pfn(linear_table_base(regs->mode, pdpte) >> SIM_PAGE_SHIFT);
	if (!(pdpte & LINEAR_PRESENT))
		report(answer, SIM_LEVEL_1G, pdpte, linear_error_absent(regs, request->access));
	return pdpte & LINEAR_PRESENT;
}

/* Return: false to start again. */
static bool walk_down(const struct linear_walk_request *request, struct walk_path *path,
		      struct linear_walk_answer *answer)
{
	const struct linear_regs *regs = request->regs;
	enum sim_level level;
	sim_pfn_t table;

	if (!find_start(request, answer, &level, &table))
		return true;
	for (; level >= SIM_LEVEL_4K; level--) {
		sim_hpa_t where = {(table.n << SIM_PAGE_SHIFT) +
				   linear_entry_offset(regs->mode, request->access->gva, level)};
		uint64_t entry;
		bool is_leaf;

		if (request->cpu)
			sim_machine_step(request->machine, request->cpu);
		answer->result.level = level;
		if (!table_is_readable(request, table, level))
			return true;
		entry = sim_ram_read(request->machine, where);
		if (!(entry & LINEAR_PRESENT)) {
			report(answer, level, entry, linear_error_absent(regs, request->access));
			return true;
		}
		if (linear_illegal_bits(regs, entry, level)) {
			report(answer, level, entry, linear_error_reserved(regs, request->access));
			return true;
		}
		is_leaf = linear_is_leaf(regs, entry, level);
		answer->rights = linear_narrow(regs, answer->rights, entry, is_leaf);
		if (is_leaf)
			return finish_at_leaf(request, path, where, entry, answer);
		if (request->eager_accessed && !mark_entry(request, where, &entry, LINEAR_ACCESSED))
			return false;
		path->level[path->count] = level;
		path->where[path->count] = where;
		path->rights[path->count] = answer->rights;
		path->entry[path->count++] = entry;
		table = sim_pfn(linear_table_base(regs->mode, entry) >> SIM_PAGE_SHIFT);
	}
	return true; /* not reached: level 1 is always a leaf */
}

void linear_walk_run(const struct linear_walk_request *request, struct linear_walk_answer *answer)
{
	for (unsigned tries = 0; tries < RESTARTS_MAX; tries++) {
		struct walk_path path = {0};

		*answer = (struct linear_walk_answer){
			.result = {.gva = request->access->gva, .outcome = LINEAR_BROKEN},
		};
		if (walk_down(request, &path, answer)) {
			note_passed(&path, answer);
			return;
		}
	}
	sim_violation(request->machine, "cpu %u: an entry changes on every try (gva 0x%llx)",
		      request->cpu->index, (unsigned long long)request->access->gva.bytes);
	answer->result.outcome = LINEAR_BROKEN;
}

struct linear_result linear_walk(struct sim_machine *machine, const struct linear_regs *regs,
				 const struct linear_access *access)
{
	struct linear_walk_request request = {
		.machine = machine, .regs = regs, .access = access, .effects = WALK_PURE};
	struct linear_walk_answer answer = {
		.result = {.gva = access->gva, .outcome = LINEAR_NONCANONICAL}};

	if (linear_is_canonical(regs->mode, access->gva))
		linear_walk_run(&request, &answer);
	return answer.result;
}
