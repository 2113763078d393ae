/* SPDX-License-Identifier: MIT */
/*
 * linear_paths.c - depth-first over the values that each entry may have had (see linear_oracle.h
 * for the rules).
 *
 * A walk reads an entry after the one above it. So each level hands down the earliest moment at
 * which its value can have been read; going for the earliest leaves the levels below the most
 * freedom, hence one moment per value is enough.
 */
#include "linear_paths.h"

#include <stdlib.h>

#include "linear_format.h"

#define VISITS_MAX 200000u
#define ANSWERS_MAX 4096u

struct frame {
	enum sim_level level;
	sim_gpa_t entry;
	uint64_t time;               /* the entry above was read no earlier */
	struct linear_rights rights; /* of the entries above */
	size_t first, next;          /* candidates: of this level, the one to try */
	struct linear_candidate chosen;
};

struct search {
	struct linear_oracle *oracle;
	const struct linear_reach *reach;
	const struct linear_regs *regs; /* of now: they judge */
	uint64_t begun;
	unsigned depth;
	struct frame frame[SIM_LEVEL_PML5];
};

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Return: false if there is no memory; the answers are then partial. */
static bool reserve(struct linear_oracle *oracle, void **array, size_t *capacity, size_t count,
		    size_t item_bytes)
{
	void *more;

	if (count < *capacity)
		return true;
	more = realloc(*array, (*capacity * 2 + 16) * item_bytes);
	if (!more) {
		oracle->is_partial = true;
		return false;
	}
	*array = more;
	*capacity = *capacity * 2 + 16;
	return true;
}

enum linear_memory linear_paths_read(const struct linear_oracle *oracle, sim_gpa_t gpa,
				     uint64_t *value)
{
	enum linear_memory memory = oracle->read(oracle->context, gpa, value);

	if (memory == LINEAR_HOLE)
		*value = UINT64_MAX;
	return memory;
}

static bool is_same_answer(const struct linear_allowed *a, const struct linear_allowed *b)
{
	if (a->outcome != b->outcome || a->error != b->error || a->gpa.bytes != b->gpa.bytes ||
	    a->page_bytes != b->page_bytes || a->leaf.bytes != b->leaf.bytes ||
	    a->mark_count != b->mark_count)
		return false;
	if (a->rights.write != b->rights.write || a->rights.user != b->rights.user ||
	    a->rights.no_exec != b->rights.no_exec || a->rights.global != b->rights.global ||
	    a->rights.key != b->rights.key)
		return false;
	for (unsigned i = 0; i < a->mark_count; i++)
		if (a->mark[i].entry.bytes != b->mark[i].entry.bytes ||
		    a->mark[i].bits != b->mark[i].bits)
			return false;
	return true;
}

void linear_paths_answer(struct linear_oracle *oracle, const struct linear_allowed *answer)
{
	void *array = oracle->answer;

	for (size_t i = 0; i < oracle->answer_count; i++) {
		if (!is_same_answer(&oracle->answer[i], answer))
			continue;
		oracle->answer[i].is_present_truth |= answer->is_present_truth;
		return;
	}
	if (oracle->answer_count == ANSWERS_MAX) {
		oracle->is_partial = true;
		return;
	}
	if (!reserve(oracle, &array, &oracle->answer_capacity, oracle->answer_count,
		     sizeof(*answer)))
		return;
	oracle->answer = array;
	oracle->answer[oracle->answer_count++] = *answer;
}

/* ---- the values an entry may have ---- */

static bool is_legal(const struct linear_regs *format, uint64_t value, enum sim_level level)
{
	return (value & LINEAR_PRESENT) && !linear_illegal_bits(format, value, level);
}

static void see(struct search *s, const struct frame *frame, uint64_t value, bool is_ram)
{
	struct linear_oracle *oracle = s->oracle;
	unsigned bytes = linear_entry_bytes(s->reach->root->regs.mode);
	void *array = oracle->seen;

	for (size_t i = 0; i < oracle->seen_count; i++) {
		struct linear_seen *seen = &oracle->seen[i];

		if (seen->entry.bytes != frame->entry.bytes || seen->bytes != bytes)
			continue;
		seen->may_access |= is_ram && is_legal(s->regs, value, frame->level);
		return;
	}
	if (!reserve(oracle, &array, &oracle->seen_capacity, oracle->seen_count,
		     sizeof(*oracle->seen)))
		return;
	oracle->seen = array;
	oracle->seen[oracle->seen_count++] = (struct linear_seen){
		.entry = frame->entry,
		.bytes = bytes,
		.value = value,
		.may_access = is_ram && is_legal(s->regs, value, frame->level),
	};
}

static void add_candidate(struct search *s, const struct frame *frame,
			  const struct linear_candidate *candidate)
{
	struct linear_oracle *oracle = s->oracle;
	void *array = oracle->candidate;

	for (size_t i = frame->first; i < oracle->candidate_count; i++) {
		struct linear_candidate *have = &oracle->candidate[i];

		if (have->value != candidate->value || have->is_fresh != candidate->is_fresh)
			continue;
		have->is_present |= candidate->is_present;
		have->time = candidate->time < have->time ? candidate->time : have->time;
		return;
	}
	if (!reserve(oracle, &array, &oracle->candidate_capacity, oracle->candidate_count,
		     sizeof(*candidate)))
		return;
	oracle->candidate = array;
	oracle->candidate[oracle->candidate_count++] = *candidate;
}

/* The entry was this value for a while: can it have been cached then? Return: true if so. */
static bool consider_cached(struct search *s, const struct frame *frame,
			    const struct linear_past *was, bool is_ram)
{
	const struct linear_reach *reach = s->reach;
	const struct linear_regs *format = &reach->root->regs;
	bool is_leaf = linear_is_leaf(format, was->value, frame->level);
	struct linear_candidate c = {
		.value = was->value,
		.is_present = was->until == LINEAR_STILL,
		.is_ram = is_ram,
	};

	if (!is_legal(format, was->value, frame->level))
		return false;
	if (is_ram && !(was->value & LINEAR_ACCESSED))
		return false;
	c.time = max(max(frame->time, was->from), is_leaf ? reach->leaf : reach->upper);
	if (c.time >= was->until || c.time >= (s->depth ? reach->end : reach->first_end))
		return false;
	add_candidate(s, frame, &c);
	return true;
}

/* Can a walk of now read it? Absent and reserved entries are seen in no other way, nor are
 * those not accessed: a past value that is not has never been used, or it would be marked. */
static void consider_fresh(struct search *s, const struct frame *frame,
			   const struct linear_past *was, bool is_ram)
{
	bool legal = is_legal(s->regs, was->value, frame->level);
	struct linear_candidate c = {
		.value = was->value,
		.time = max(max(frame->time, was->from), s->begun),
		.is_present = was->until == LINEAR_STILL,
		.is_fresh = true,
		.needs_mark = legal && is_ram && !(was->value & LINEAR_ACCESSED),
		.is_ram = is_ram,
	};

	if (s->reach->all_is_cached || (s->depth == 0 && s->reach->first_is_cached))
		return;
	if (c.time < was->until && (c.is_present || !legal))
		add_candidate(s, frame, &c);
}

static void consider(struct search *s, const struct frame *frame, const struct linear_past *was,
		     bool is_ram)
{
	if (!consider_cached(s, frame, was, is_ram) || !is_legal(s->regs, was->value, frame->level))
		consider_fresh(s, frame, was, is_ram);
}

/* By whose rules was the chosen value read? */
static const struct linear_regs *format_of(const struct search *s, const struct frame *frame)
{
	return frame->chosen.is_fresh ? s->regs : &s->reach->root->regs;
}

static uint64_t extract(const struct search *s, const struct frame *frame, uint64_t word)
{
	if (linear_entry_bytes(s->reach->root->regs.mode) == 8)
		return word;
	return word >> (8 * (frame->entry.bytes & 4)) & UINT32_MAX;
}

/* Put all values that the entry of the top frame may have on the stack. */
static void gather(struct search *s)
{
	struct linear_oracle *oracle = s->oracle;
	struct frame *frame = &s->frame[s->depth];
	sim_gpa_t at = {frame->entry.bytes & ~UINT64_C(7)};
	const struct linear_word *word = linear_words_find(&oracle->words, at.bytes);
	struct linear_past present = {.until = LINEAR_STILL};
	uint64_t value = 0;
	bool is_ram = linear_paths_read(oracle, at, &value) == LINEAR_RAM;

	frame->first = oracle->candidate_count;
	frame->next = frame->first;
	for (uint32_t i = 0; word && i < word->count; i++) {
		struct linear_past was = word->past[i];

		was.value = extract(s, frame, was.value);
		consider(s, frame, &was, is_ram);
	}
	present.value = extract(s, frame, value);
	present.from = word ? word->present_from : 0;
	see(s, frame, present.value, is_ram);
	consider(s, frame, &present, is_ram);
}

/* ---- where a path ends ---- */

static bool all_present(const struct search *s)
{
	bool present = !s->reach->first_is_cached && !s->reach->all_is_cached;

	for (unsigned i = 0; i <= s->depth; i++)
		present = present && s->frame[i].chosen.is_present;
	return present;
}

static void end_in_fault(struct search *s, uint32_t error)
{
	struct linear_allowed answer = {
		.outcome = LINEAR_FAULT,
		.error = error,
		.is_present_truth = all_present(s),
	};

	linear_paths_answer(s->oracle, &answer);
}

/* What the access must leave behind if it took this path. Return: false if it cannot have. */
static bool collect_marks(struct search *s, struct linear_allowed *answer)
{
	const struct linear_candidate *leaf = &s->frame[s->depth].chosen;
	bool to_dirty =
		s->oracle->query.access.kind == LINEAR_WRITE && !(leaf->value & LINEAR_DIRTY);

	/* A write through a leaf that is not dirty reads it again. */
	if (to_dirty && (!leaf->is_present || s->reach->all_is_cached ||
			 (s->depth == 0 && s->reach->first_is_cached)))
		return false;
	for (unsigned i = 0; i <= s->depth; i++) {
		struct linear_mark mark = {.entry = s->frame[i].entry};

		if (s->frame[i].chosen.needs_mark)
			mark.bits |= LINEAR_ACCESSED;
		if (i == s->depth && to_dirty && leaf->is_ram)
			mark.bits |= LINEAR_DIRTY;
		if (mark.bits)
			answer->mark[answer->mark_count++] = mark;
	}
	return true;
}

static void end_at_leaf(struct search *s, struct linear_rights rights)
{
	const struct frame *frame = &s->frame[s->depth];
	const struct linear_regs *format = format_of(s, frame);
	const struct linear_access *access = &s->oracle->query.access;
	uint64_t page_bytes = UINT64_C(1) << linear_shift(format->mode, frame->level);
	struct linear_allowed answer = {
		.outcome = LINEAR_OK,
		.page_bytes = page_bytes,
		.rights = rights,
		.leaf = frame->entry,
		.is_present_truth = all_present(s),
	};
	uint32_t error;

	if (s->reach->global_only && !rights.global)
		return;
	if (linear_is_denied(s->regs, &rights, access, &error)) {
		end_in_fault(s, error);
		return;
	}
	answer.gpa.bytes = linear_page_base(format, frame->chosen.value, frame->level) +
			   (access->gva.bytes & (page_bytes - 1));
	if (collect_marks(s, &answer))
		linear_paths_answer(s->oracle, &answer);
}

/* Follow the chosen value of the top frame. Return: true if it leads to another table. */
static bool follow(struct search *s)
{
	struct frame *frame = &s->frame[s->depth];
	const struct linear_regs *format = format_of(s, frame);
	const struct linear_access *access = &s->oracle->query.access;
	uint64_t value = frame->chosen.value;
	struct linear_rights rights;
	struct frame below = {.level = frame->level - 1, .time = frame->chosen.time};
	bool is_leaf;

	if (!(value & LINEAR_PRESENT)) {
		end_in_fault(s, linear_error_absent(s->regs, access));
		return false;
	}
	if (linear_illegal_bits(format, value, frame->level)) {
		end_in_fault(s, linear_error_reserved(s->regs, access));
		return false;
	}
	is_leaf = linear_is_leaf(format, value, frame->level);
	rights = linear_narrow(format, frame->rights, value, is_leaf);
	if (is_leaf) {
		end_at_leaf(s, rights);
		return false;
	}
	below.rights = rights;
	below.entry.bytes = linear_table_base(format->mode, value) +
			    linear_entry_offset(format->mode, access->gva, below.level);
	s->frame[++s->depth] = below;
	return true;
}

static void run(struct search *s)
{
	struct linear_oracle *oracle = s->oracle;

	gather(s);
	for (;;) {
		struct frame *frame = &s->frame[s->depth];

		if (++oracle->visits > VISITS_MAX) {
			oracle->is_partial = true;
			break;
		}
		if (frame->next == oracle->candidate_count) {
			oracle->candidate_count = frame->first;
			if (s->depth == 0)
				break;
			s->depth--;
			continue;
		}
		frame->chosen = oracle->candidate[frame->next++];
		if (follow(s))
			gather(s);
	}
	oracle->candidate_count = 0;
}

/* ---- where paths start ---- */

void linear_paths_walk(struct linear_oracle *oracle, const struct linear_reach *reach)
{
	const struct linear_regs *format = &reach->root->regs;
	const struct linear_query *query = &oracle->query;
	uint64_t table = linear_cr3_base(format);
	struct search search = {
		.oracle = oracle,
		.reach = reach,
		.regs = &oracle->vcpu[query->vcpu].regs,
		.begun = query->begun ? query->begun : oracle->time,
	};
	struct frame *top = &search.frame[0];

	if (format->mode == LINEAR_PAE) {
		uint64_t pdpte = format->pdpte[query->access.gva.bytes >> 30 & 3];
		struct linear_allowed absent = {
			.outcome = LINEAR_FAULT,
			.error = linear_error_absent(search.regs, &query->access),
			.is_present_truth = true,
		};

		if (!(pdpte & LINEAR_PRESENT)) {
			/* A register: never stale, and another root's cannot be asked. */
			if (!reach->first_is_cached && !reach->all_is_cached)
				linear_paths_answer(oracle, &absent);
			return;
		}
		table = linear_table_base(format->mode, pdpte);
	}
	top->level = linear_top_level(format->mode);
	top->entry.bytes = table + linear_entry_offset(format->mode, query->access.gva, top->level);
	top->time = reach->root->from;
	top->rights = linear_all_rights();
	run(&search);
}

/* Translations that are not global, and everything that is still read from tables. */
static void find_local(struct linear_oracle *oracle, enum linear_depth depth)
{
	const struct linear_vcpu *vcpu = &oracle->vcpu[oracle->query.vcpu];
	uint16_t pcid = linear_pcid_of(&vcpu->regs);
	uint64_t since = depth == LINEAR_WHOLE_FLUSHES
				 ? linear_flushes_whole(&vcpu->flushes, pcid)
				 : linear_flushes_local(&vcpu->flushes, pcid,
							oracle->query.access.gva, oracle->time);

	for (size_t i = 0; i < vcpu->root_count; i++) {
		const struct linear_root *root = &vcpu->root[i];
		struct linear_reach reach = {
			.root = root,
			.upper = since,
			.leaf = since,
			.first_end = root->until,
			.end = LINEAR_STILL,
			.first_is_cached = root->until != LINEAR_STILL,
		};

		if (root->pcid == pcid && root->until > since)
			linear_paths_walk(oracle, &reach);
	}
}

/* Global translations, found through whatever root. They are older than what was left of the
 * table entries above them when they were flushed for the last time. */
static void find_global(struct linear_oracle *oracle, enum linear_depth depth)
{
	const struct linear_vcpu *vcpu = &oracle->vcpu[oracle->query.vcpu];
	sim_gva_t gva = oracle->query.access.gva;
	uint64_t since = depth == LINEAR_WHOLE_FLUSHES ? linear_flushes_everything(&vcpu->flushes)
						       : linear_flushes_global(&vcpu->flushes, gva);

	for (size_t i = 0; i < vcpu->root_count; i++) {
		const struct linear_root *root = &vcpu->root[i];
		struct linear_reach reach = {
			.root = root,
			.leaf = since,
			.first_end = root->until,
			.end = root->until,
			.all_is_cached = true,
			.global_only = true,
		};

		reach.upper =
			depth == LINEAR_WHOLE_FLUSHES
				? since
				: linear_flushes_local(&vcpu->flushes, root->pcid, gva, since);
		if (root->until > since)
			linear_paths_walk(oracle, &reach);
	}
}

void linear_paths_find(struct linear_oracle *oracle, enum linear_depth depth)
{
	const struct linear_regs *regs = &oracle->vcpu[oracle->query.vcpu].regs;
	struct linear_allowed only = {.is_present_truth = true};

	oracle->asked_at = oracle->time;
	oracle->visits = 0;
	oracle->answer_count = 0;
	oracle->seen_count = 0;
	oracle->candidate_count = 0;
	oracle->is_partial = oracle->is_out_of_memory || oracle->words.is_out_of_memory;
	if (!linear_is_canonical(regs->mode, oracle->query.access.gva)) {
		only.outcome = LINEAR_NONCANONICAL;
		linear_paths_answer(oracle, &only);
	} else if (regs->mode == LINEAR_OFF) {
		only.gpa.bytes = oracle->query.access.gva.bytes;
		only.rights = linear_all_rights();
		linear_paths_answer(oracle, &only);
	} else {
		find_local(oracle, depth);
		if (regs->pge)
			find_global(oracle, depth);
	}
}
