/* SPDX-License-Identifier: MIT */
/* linear_judge.c - the oracle's questions and answers, and why an answer is wrong. */
#include "internal.h"
#include "linear_format.h"
#include "linear_paths.h"

struct linear_answers linear_oracle_expect(struct linear_oracle *oracle,
					   const struct linear_query *query)
{
	oracle->query = *query;
	linear_paths_find(oracle, LINEAR_ALL_FLUSHES);
	return (struct linear_answers){oracle->answer_count, oracle->answer, oracle->is_partial};
}

/* ---- words ---- */

static void describe_outcome(struct sim_text *text, enum linear_outcome outcome, uint32_t error,
			     sim_gpa_t gpa)
{
	switch (outcome) {
	case LINEAR_OK:
		sim_text_add(text, "gpa 0x%llx", (unsigned long long)gpa.bytes);
		return;
	case LINEAR_FAULT:
		sim_text_add(text, "#PF with error code 0x%x", error);
		return;
	case LINEAR_NONCANONICAL:
		sim_text_add(text, "a non-canonical address");
		return;
	case LINEAR_BROKEN:
		sim_text_add(text, "a broken CPU");
		return;
	}
}

static void describe_question(struct sim_text *text, const struct linear_query *query)
{
	static const char *const kind[] = {"read", "write", "fetch"};
	static const char *const who[] = {"supervisor", "user", "implicit supervisor"};

	sim_text_add(text, "vcpu %u, %s %s at gva 0x%llx: ", query->vcpu,
		     who[query->access.privilege], kind[query->access.kind],
		     (unsigned long long)query->access.gva.bytes);
}

static void say_not_among(const struct linear_oracle *oracle, const struct linear_answer *answer,
			  struct sim_text *text)
{
	describe_question(text, &oracle->query);
	describe_outcome(text, answer->outcome, answer->error, answer->gpa);
	if (answer->page_bytes)
		sim_text_add(text, " in a page of 0x%llx bytes",
			     (unsigned long long)answer->page_bytes);
	sim_text_add(text, " is none of the %zu right answers", oracle->answer_count);
	for (size_t i = 0; i < oracle->answer_count && i < 8; i++) {
		const struct linear_allowed *a = &oracle->answer[i];

		sim_text_add(text, i ? ", " : ": ");
		describe_outcome(text, a->outcome, a->error, a->gpa);
		if (a->page_bytes)
			sim_text_add(text, " (page of 0x%llx)", (unsigned long long)a->page_bytes);
		if (!a->is_present_truth)
			sim_text_add(text, " (stale)");
	}
}

/* ---- accessed and dirty ---- */

static uint64_t entry_now(const struct linear_oracle *oracle, sim_gpa_t entry, unsigned bytes)
{
	uint64_t value = 0;

	(void)linear_paths_read(oracle, (sim_gpa_t){entry.bytes & ~UINT64_C(7)}, &value);
	return bytes == 8 ? value : value >> (8 * (entry.bytes & 4)) & UINT32_MAX;
}

/* Has the guest written there since the question? Then nothing can be said. */
static bool was_written(const struct linear_oracle *oracle, sim_gpa_t entry)
{
	const struct linear_word *word =
		linear_words_find(&oracle->words, entry.bytes & ~UINT64_C(7));

	return word && word->present_from > oracle->asked_at;
}

static bool fits(const struct linear_allowed *allowed, const struct linear_answer *answer)
{
	if (allowed->outcome != answer->outcome)
		return false;
	if (allowed->outcome == LINEAR_FAULT)
		return allowed->error == answer->error;
	if (allowed->outcome != LINEAR_OK)
		return true;
	return allowed->gpa.bytes == answer->gpa.bytes &&
	       (!answer->page_bytes || answer->page_bytes == allowed->page_bytes);
}

/* Return: the first mark that is missing, or NULL. */
static const struct linear_mark *missing_mark(const struct linear_oracle *oracle,
					      const struct linear_allowed *allowed)
{
	for (unsigned i = 0; i < allowed->mark_count; i++) {
		const struct linear_mark *mark = &allowed->mark[i];

		if (!was_written(oracle, mark->entry) &&
		    (entry_now(oracle, mark->entry, 4) & mark->bits) != mark->bits)
			return mark;
	}
	return NULL;
}

/* May the access have set dirty in this entry? */
static bool may_be_dirty(const struct linear_oracle *oracle, const struct linear_answer *answer,
			 sim_gpa_t entry)
{
	if (oracle->query.access.kind != LINEAR_WRITE)
		return false;
	for (size_t i = 0; i < oracle->answer_count; i++) {
		const struct linear_allowed *allowed = &oracle->answer[i];

		if (allowed->outcome == LINEAR_OK && allowed->page_bytes &&
		    allowed->leaf.bytes == entry.bytes && fits(allowed, answer) &&
		    !missing_mark(oracle, allowed))
			return true;
	}
	return false;
}

/* Has nothing changed but what may? */
static bool entries_are_untouched(const struct linear_oracle *oracle,
				  const struct linear_answer *answer, struct sim_text *text)
{
	for (size_t i = 0; i < oracle->seen_count; i++) {
		const struct linear_seen *seen = &oracle->seen[i];
		uint64_t now = entry_now(oracle, seen->entry, seen->bytes);
		uint64_t may = seen->may_access ? LINEAR_ACCESSED : 0;

		if (now == seen->value || was_written(oracle, seen->entry))
			continue;
		if (may_be_dirty(oracle, answer, seen->entry))
			may |= LINEAR_DIRTY;
		if ((now & seen->value) == seen->value && ((now ^ seen->value) & ~may) == 0)
			continue;
		describe_question(text, &oracle->query);
		sim_text_add(text,
			     "the entry at gpa 0x%llx has become 0x%llx from 0x%llx; the access "
			     "may set only 0x%llx",
			     (unsigned long long)seen->entry.bytes, (unsigned long long)now,
			     (unsigned long long)seen->value, (unsigned long long)may);
		return false;
	}
	return true;
}

static bool find_fitting(const struct linear_oracle *oracle, const struct linear_answer *answer,
			 struct sim_text *text)
{
	const struct linear_mark *missing = NULL;
	bool found = false;

	for (size_t i = 0; i < oracle->answer_count; i++) {
		const struct linear_allowed *allowed = &oracle->answer[i];

		if (!fits(allowed, answer))
			continue;
		found = true;
		if (answer->ignore_marks || oracle->query.begun)
			return true;
		missing = missing_mark(oracle, allowed);
		if (!missing)
			return true;
	}
	if (!found) {
		say_not_among(oracle, answer, text);
		return false;
	}
	describe_question(text, &oracle->query);
	sim_text_add(text, "the entry at gpa 0x%llx must have 0x%x set after this access",
		     (unsigned long long)missing->entry.bytes, missing->bits);
	return false;
}

bool linear_oracle_allows(struct linear_oracle *oracle, const struct linear_answer *answer,
			  char *why, size_t why_bytes)
{
	struct sim_text text = {why, why_bytes, 0};

	if (why && why_bytes)
		why[0] = '\0';
	if (oracle->is_partial)
		return true;
	if (!find_fitting(oracle, answer, &text))
		return false;
	return answer->ignore_marks || oracle->query.begun ||
	       entries_are_untouched(oracle, answer, &text);
}
