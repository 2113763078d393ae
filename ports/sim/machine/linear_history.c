/* SPDX-License-Identifier: MIT */
#include "linear_history.h"

#include <stdlib.h>
#include <string.h>

#include "linear_format.h"

/* Above this length equal values are joined: order among them is lost, soundness is not. */
#define PAST_LONG 16u
/* From this length on it pays to ask how far back anybody remembers. */
#define PAST_WORTH_PRUNING 4u

/* ---- words ---- */

static size_t hash(uint64_t gpa, size_t slot_count)
{
	return (size_t)(gpa / 8 * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (slot_count - 1);
}

static struct linear_word *slot_for(struct linear_word *slot, size_t slot_count, uint64_t gpa)
{
	size_t i = hash(gpa, slot_count);

	while (slot[i].is_used && slot[i].gpa != gpa)
		i = (i + 1) & (slot_count - 1);
	return &slot[i];
}

static bool grow(struct linear_words *words)
{
	size_t slot_count = words->slot_count ? words->slot_count * 2 : 256;
	struct linear_word *slot = calloc(slot_count, sizeof(*slot));

	if (!slot)
		return false;
	for (size_t i = 0; i < words->slot_count; i++)
		if (words->slot[i].is_used)
			*slot_for(slot, slot_count, words->slot[i].gpa) = words->slot[i];
	free(words->slot);
	words->slot = slot;
	words->slot_count = slot_count;
	return true;
}

void linear_words_free(struct linear_words *words)
{
	for (size_t i = 0; i < words->slot_count; i++)
		free(words->slot[i].past);
	free(words->slot);
}

const struct linear_word *linear_words_find(const struct linear_words *words, uint64_t gpa)
{
	const struct linear_word *word;

	if (!words->slot_count)
		return NULL;
	word = slot_for(words->slot, words->slot_count, gpa);
	return word->is_used ? word : NULL;
}

bool linear_words_wants_pruning(const struct linear_words *words, uint64_t gpa)
{
	const struct linear_word *word = linear_words_find(words, gpa);

	return word && word->count >= PAST_WORTH_PRUNING;
}

static void prune(struct linear_words *words, struct linear_word *word, uint64_t oldest)
{
	uint32_t gone = 0;

	while (gone < word->count && word->past[gone].until <= oldest)
		gone++;
	if (!gone)
		return;
	memmove(word->past, word->past + gone, (word->count - gone) * sizeof(*word->past));
	word->count -= gone;
	words->value_count -= gone;
}

/* Join the new value with the last equal one. Return: true if there was one. */
static bool join(struct linear_word *word, uint64_t value, uint64_t until)
{
	for (uint32_t i = 0; i < word->count; i++) {
		struct linear_past joined = word->past[i];

		if (joined.value != value)
			continue;
		joined.until = until;
		memmove(&word->past[i], &word->past[i + 1],
			(word->count - i - 1) * sizeof(*word->past));
		word->past[word->count - 1] = joined; /* the list stays ordered by until */
		return true;
	}
	return false;
}

void linear_words_push(struct linear_words *words, uint64_t gpa, uint64_t old, uint64_t now,
		       uint64_t oldest)
{
	struct linear_word *word;
	struct linear_past *more;

	if (words->used * 4 >= words->slot_count * 3 && !grow(words)) {
		words->is_out_of_memory = true;
		return;
	}
	word = slot_for(words->slot, words->slot_count, gpa);
	words->used += !word->is_used;
	word->is_used = true;
	word->gpa = gpa;
	prune(words, word, oldest);
	if (word->count == word->capacity) {
		more = realloc(word->past, (word->capacity * 2 + 2) * sizeof(*more));
		words->is_out_of_memory |= !more;
		if (!more)
			return;
		word->past = more;
		word->capacity = word->capacity * 2 + 2;
	}
	if (word->count < PAST_LONG || !join(word, old, now)) {
		word->past[word->count++] = (struct linear_past){old, word->present_from, now};
		words->value_count++;
	}
	word->present_from = now;
}

void linear_words_forget(struct linear_words *words, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < words->slot_count; i++) {
		struct linear_word *word = &words->slot[i];

		if (!word->is_used || word->gpa < start || word->gpa >= end)
			continue;
		words->value_count -= word->count;
		word->count = 0;
		word->present_from = 0;
	}
}

/* ---- flushes ---- */

/* Does @later undo all that @earlier could have left? */
static bool supersedes(const struct linear_flush *later, const struct linear_flush *earlier)
{
	if (later->scope == LINEAR_FLUSH_ALL)
		return true;
	if (earlier->scope == LINEAR_FLUSH_ALL || (earlier->with_global && !later->with_global))
		return false;
	if (later->scope == LINEAR_FLUSH_LOCAL)
		return true;
	if (earlier->scope == LINEAR_FLUSH_LOCAL || earlier->pcid != later->pcid)
		return false;
	if (later->scope == LINEAR_FLUSH_PCID)
		return true;
	return earlier->scope == LINEAR_FLUSH_ADDRESS && earlier->first >= later->first &&
	       earlier->last <= later->last;
}

static void flushes_remove(struct linear_flushes *flushes, unsigned index)
{
	flushes->count--;
	memmove(&flushes->item[index], &flushes->item[index + 1],
		(flushes->count - index) * sizeof(flushes->item[0]));
}

void linear_flushes_add(struct linear_flushes *flushes, const struct linear_flush *flush)
{
	unsigned at = 0;

	for (unsigned i = 0; i < flushes->count;)
		if (supersedes(flush, &flushes->item[i]))
			flushes_remove(flushes, i);
		else
			i++;
	if (flushes->count == LINEAR_FLUSHES_MAX) {
		/* To forget a flush only makes more answers right. */
		while (at < flushes->count - 1 && flushes->item[at].scope != LINEAR_FLUSH_ADDRESS)
			at++;
		flushes_remove(flushes, at);
	}
	flushes->item[flushes->count++] = *flush;
}

static bool covers(const struct linear_flush *flush, sim_gva_t gva)
{
	return flush->scope != LINEAR_FLUSH_ADDRESS ||
	       (gva.bytes >= flush->first && gva.bytes <= flush->last);
}

static bool is_of_pcid(const struct linear_flush *flush, uint16_t pcid)
{
	return flush->scope == LINEAR_FLUSH_ALL || flush->scope == LINEAR_FLUSH_LOCAL ||
	       flush->pcid == pcid;
}

uint64_t linear_flushes_local(const struct linear_flushes *flushes, uint16_t pcid, sim_gva_t gva,
			      uint64_t before)
{
	for (unsigned i = flushes->count; i-- > 0;) {
		const struct linear_flush *flush = &flushes->item[i];

		if (flush->time <= before && is_of_pcid(flush, pcid) && covers(flush, gva))
			return flush->time;
	}
	return 0;
}

uint64_t linear_flushes_global(const struct linear_flushes *flushes, sim_gva_t gva)
{
	for (unsigned i = flushes->count; i-- > 0;) {
		const struct linear_flush *flush = &flushes->item[i];

		if (flush->with_global && covers(flush, gva))
			return flush->time;
	}
	return 0;
}

uint64_t linear_flushes_whole(const struct linear_flushes *flushes, uint16_t pcid)
{
	for (unsigned i = flushes->count; i-- > 0;)
		if (flushes->item[i].scope != LINEAR_FLUSH_ADDRESS &&
		    is_of_pcid(&flushes->item[i], pcid))
			return flushes->item[i].time;
	return 0;
}

uint64_t linear_flushes_everything(const struct linear_flushes *flushes)
{
	for (unsigned i = flushes->count; i-- > 0;)
		if (flushes->item[i].scope == LINEAR_FLUSH_ALL)
			return flushes->item[i].time;
	return 0;
}

/* ---- roots ---- */

uint16_t linear_pcid_of(const struct linear_regs *regs)
{
	return regs->pcide ? (uint16_t)(regs->cr3 & LINEAR_PCID_MASK) : 0;
}

/* Do both start from the same tables, under the same name? */
static bool is_same_top(const struct linear_root *root, const struct linear_regs *b)
{
	const struct linear_regs *a = &root->regs;

	for (unsigned i = 0; b->mode == LINEAR_PAE && i < 4; i++)
		if (a->pdpte[i] != b->pdpte[i])
			return false;
	return a->mode == b->mode && root->pcid == linear_pcid_of(b) &&
	       (b->mode == LINEAR_PAE || linear_cr3_base(a) == linear_cr3_base(b));
}

/* And do they read entries the same way? (EFER.NXE: see allow_no_exec().) */
static bool is_same_root(const struct linear_root *root, const struct linear_regs *b)
{
	const struct linear_regs *a = &root->regs;

	return is_same_top(root, b) && a->pse == b->pse && a->vendor == b->vendor &&
	       a->maxphyaddr == b->maxphyaddr && a->pse36_width == b->pse36_width &&
	       a->has_1g == b->has_1g;
}

/* When was all that this root may have filled in gone for the last time? */
static uint64_t root_cleared(const struct linear_vcpu *vcpu, const struct linear_root *root)
{
	if (vcpu->regs.pge)
		return linear_flushes_everything(&vcpu->flushes);
	return linear_flushes_whole(&vcpu->flushes, root->pcid);
}

static void drop_cleared_roots(struct linear_vcpu *vcpu)
{
	size_t kept = 0;

	for (size_t i = 0; i < vcpu->root_count; i++)
		if (vcpu->root[i].until > root_cleared(vcpu, &vcpu->root[i]))
			vcpu->root[kept++] = vcpu->root[i];
	vcpu->root_count = kept;
}

/* Where no-execute was legal once, it may be in cached entries, whichever root has led there. */
static void allow_no_exec(struct linear_vcpu *vcpu)
{
	bool legal = vcpu->regs.nxe;

	for (size_t i = 0; i < vcpu->root_count; i++)
		legal |= vcpu->root[i].regs.nxe;
	for (size_t i = 0; i < vcpu->root_count; i++)
		vcpu->root[i].regs.nxe = legal;
}

static bool append_root(struct linear_vcpu *vcpu, uint64_t from)
{
	struct linear_root *more;

	if (vcpu->root_count == vcpu->root_capacity) {
		more = realloc(vcpu->root, (vcpu->root_capacity * 2 + 4) * sizeof(*more));
		if (!more)
			return false;
		vcpu->root = more;
		vcpu->root_capacity = vcpu->root_capacity * 2 + 4;
	}
	vcpu->root[vcpu->root_count++] =
		(struct linear_root){vcpu->regs, linear_pcid_of(&vcpu->regs), from, LINEAR_STILL};
	return true;
}

bool linear_vcpu_switch(struct linear_vcpu *vcpu, uint64_t now)
{
	bool is_known = false;
	uint64_t from = now;

	for (size_t i = 0; i < vcpu->root_count; i++)
		if (vcpu->root[i].until == LINEAR_STILL)
			vcpu->root[i].until = now;
	drop_cleared_roots(vcpu);
	if (vcpu->regs.mode == LINEAR_OFF)
		return true;
	for (size_t i = 0; i < vcpu->root_count; i++) {
		/* What was cached by other rules may be continued by the new ones. */
		if (is_same_top(&vcpu->root[i], &vcpu->regs) && vcpu->root[i].from < from)
			from = vcpu->root[i].from;
		if (!is_same_root(&vcpu->root[i], &vcpu->regs))
			continue;
		vcpu->root[i].until = LINEAR_STILL;
		is_known = true;
	}
	if (!is_known && !append_root(vcpu, from))
		return false;
	allow_no_exec(vcpu);
	return true;
}

uint64_t linear_vcpu_oldest(const struct linear_vcpu *vcpu, uint64_t now)
{
	uint64_t oldest = now;

	for (size_t i = 0; i < vcpu->root_count; i++) {
		const struct linear_root *root = &vcpu->root[i];
		uint64_t cleared = root_cleared(vcpu, root);
		uint64_t start = root->from > cleared ? root->from : cleared;

		if (root->until > cleared && start < oldest)
			oldest = start;
	}
	return oldest;
}
