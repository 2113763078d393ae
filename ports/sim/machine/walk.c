/* SPDX-License-Identifier: MIT */
/*
 * walk.c - the loop of the page walk, the same for both vendors.
 *
 * Each entry is read once; accessed and dirty are set by compare-and-swap on exactly the value
 * that was judged. If the entry has changed in between, the walk starts again. Order at each
 * level: absent, then illegal; rights are judged at the leaf, over the whole path.
 */
#include "walk.h"

#define RESTARTS_MAX 1000u

const struct walk_format *sim_walk_format(enum sim_format format)
{
	return format == SIM_NPT ? &sim_walk_npt : &sim_walk_ept;
}

struct walk_request sim_walk_from_root(struct sim_machine *machine, const struct sim_root *root,
				       sim_gpa_t gpa, enum sim_access_kind kind)
{
	return (struct walk_request){
		.machine = machine,
		.root = root,
		.gpa = gpa,
		.kind = kind,
		.effects = WALK_PURE,
		.level = (enum sim_level)root->level_count,
		.table = root->pfn,
		.rights = SIM_CAN_ALL,
	};
}

static unsigned table_index(sim_gpa_t gpa, enum sim_level level)
{
	return (unsigned)(gpa.bytes >> (SIM_PAGE_SHIFT + 9u * ((unsigned)level - 1u))) & 511u;
}

static bool gpa_is_too_wide(const struct sim_root *root, sim_gpa_t gpa)
{
	return gpa.bytes >> (SIM_PAGE_SHIFT + 9u * root->level_count);
}

/* May hardware read this table? If not, say what it did. */
static bool table_is_readable(const struct walk_request *request, sim_pfn_t table,
			      enum sim_level level)
{
	enum sim_frame_state state = sim_ram_state(request->machine, table);

	if (state == SIM_FRAME_TABLE)
		return true;
	if (request->effects == WALK_PURE)
		return false;
	sim_violation(
		request->machine,
		"cpu %u: hardware walked %s at level %d (pfn 0x%llx, gpa 0x%llx%s)",
		request->cpu->index,
		state == SIM_FRAME_POISONED ? "a freed table page" : sim_frame_state_name(state),
		(int)level, (unsigned long long)table.n, (unsigned long long)request->gpa.bytes,
		request->effects == WALK_SPECULATIVE ? ", speculatively" : "");
	return false;
}

static void report(const struct walk_request *request, enum walk_trouble trouble,
		   enum sim_level level, uint64_t entry, struct walk_answer *answer)
{
	answer->result.level = level;
	answer->result.entry = entry;
	sim_walk_format(request->root->format)
		->fault(request->root, request->kind, trouble, answer->rights, &answer->result);
}

/* Set @want in the entry, if it still is what was read. Return: false if it is not. */
static bool mark_entry(const struct walk_request *request, sim_hpa_t where, uint64_t *entry,
		       uint64_t want)
{
	uint64_t seen = *entry;

	if ((seen & want) == want || request->effects == WALK_PURE)
		return true;
	if (!sim_walk_format(request->root->format)->tracks_access(request->root))
		return true;
	sim_machine_step(request->machine, request->cpu);
	if (!sim_ram_cmpxchg(request->machine, where, &seen, *entry | want))
		return false;
	*entry |= want;
	return true;
}

struct walk_path {
	unsigned count;
	sim_hpa_t where[SIM_LEVEL_PML5];
	uint64_t entry[SIM_LEVEL_PML5];
};

/* The walk has arrived: judge rights, mark the path, fill in the answer.
 * Return: false to start again. */
static bool finish_at_leaf(const struct walk_request *request, struct walk_path *path,
			   enum sim_level level, struct walk_answer *answer)
{
	const struct walk_format *format = sim_walk_format(request->root->format);
	unsigned needs = format->needs(request->root, request->kind);
	unsigned leaf = path->count - 1;
	uint64_t marks = format->accessed;
	uint64_t entry = path->entry[leaf];

	if (request->effects != WALK_SPECULATIVE && (answer->rights & needs) != needs) {
		report(request, TROUBLE_DENIED, level, entry, answer);
		return true;
	}
	if (request->effects != WALK_SPECULATIVE && (needs & SIM_CAN_WRITE))
		marks |= format->dirty;
	for (unsigned i = 0; i < leaf; i++)
		if (!mark_entry(request, path->where[i], &path->entry[i], format->accessed))
			return false;
	if (!mark_entry(request, path->where[leaf], &path->entry[leaf], marks))
		return false;
	entry = path->entry[leaf];
	answer->pfn.n = (entry & UINT64_C(0x000ffffffffff000)) >> SIM_PAGE_SHIFT;
	answer->pfn.n &= ~(sim_level_pages(level) - 1);
	answer->is_dirty = !format->tracks_access(request->root) || (entry & format->dirty);
	answer->result.outcome = SIM_OK;
	answer->result.level = level;
	answer->result.entry = entry;
	answer->result.hpa.bytes =
		(answer->pfn.n << SIM_PAGE_SHIFT) +
		(request->gpa.bytes & ((sim_level_pages(level) << SIM_PAGE_SHIFT) - 1));
	format->memory_type(entry, level, &answer->result);
	return true;
}

/* The walk passed a table entry: remember where it led. */
static sim_pfn_t pass_entry(struct walk_answer *answer, enum sim_level level, uint64_t entry)
{
	sim_pfn_t next = {(entry & UINT64_C(0x000ffffffffff000)) >> SIM_PAGE_SHIFT};

	if (answer->passed_high < level)
		answer->passed_high = level;
	answer->passed_low = level;
	answer->passed_table[level] = next;
	answer->passed_rights[level] = answer->rights;
	return next;
}

/* Return: false to start again. */
static bool walk_once(const struct walk_request *request, struct walk_answer *answer)
{
	const struct walk_format *format = sim_walk_format(request->root->format);
	struct walk_path path = {0};
	sim_pfn_t table = request->table;

	for (enum sim_level level = request->level; level >= SIM_LEVEL_4K; level--) {
		sim_hpa_t where = sim_entry_hpa(table, table_index(request->gpa, level));
		uint64_t entry;

		if (request->cpu)
			sim_machine_step(request->machine, request->cpu);
		if (!table_is_readable(request, table, level)) {
			answer->result.outcome = SIM_BROKEN;
			answer->result.level = level;
			return true;
		}
		entry = sim_ram_read(request->machine, where);
		answer->rights &= format->rights(request->root, entry);
		if (!format->is_present(entry)) {
			answer->rights = 0;
			report(request, TROUBLE_ABSENT, level, entry, answer);
			return true;
		}
		if (format->is_illegal(request->root, entry, level)) {
			report(request, TROUBLE_ILLEGAL, level, entry, answer);
			return true;
		}
		path.where[path.count] = where;
		path.entry[path.count++] = entry;
		if (format->is_leaf(entry, level))
			return finish_at_leaf(request, &path, level, answer);
		if (request->eager_accessed &&
		    !mark_entry(request, where, &path.entry[path.count - 1], format->accessed))
			return false;
		table = pass_entry(answer, level, entry);
	}
	return true; /* not reached: level 1 is always a leaf */
}

void sim_walk_run(const struct walk_request *request, struct walk_answer *answer)
{
	for (unsigned tries = 0; tries < RESTARTS_MAX; tries++) {
		*answer = (struct walk_answer){
			.result = {.gpa = request->gpa, .outcome = SIM_BROKEN},
			.rights = request->rights,
			.passed_low = SIM_LEVEL_PML5,
		};
		if (gpa_is_too_wide(request->root, request->gpa)) {
			answer->rights = 0;
			report(request, TROUBLE_ABSENT, SIM_LEVEL_NONE, 0, answer);
			return;
		}
		if (walk_once(request, answer))
			return;
	}
	sim_violation(request->machine, "cpu %u: an entry changes on every try (gpa 0x%llx)",
		      request->cpu->index, (unsigned long long)request->gpa.bytes);
	answer->result.outcome = SIM_BROKEN;
}

struct sim_result sim_walk(struct sim_machine *machine, const struct sim_root *root, sim_gpa_t gpa,
			   enum sim_access_kind kind)
{
	struct walk_request request = sim_walk_from_root(machine, root, gpa, kind);
	struct walk_answer answer;

	sim_walk_run(&request, &answer);
	return answer.result;
}
