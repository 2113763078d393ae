/* SPDX-License-Identifier: MIT */
/* linear_oracle.c - what the guest does (see linear_oracle.h); linear_judge.c has the answers. */
#include "linear_oracle.h"

#include <stdlib.h>

#include "linear_format.h"
#include "linear_paths.h"

struct linear_oracle *linear_oracle_new(unsigned vcpu_count, linear_read_fn *read, void *context)
{
	struct linear_oracle *oracle = calloc(1, sizeof(*oracle));

	if (!oracle)
		return NULL;
	oracle->read = read;
	oracle->context = context;
	oracle->vcpu_count = vcpu_count;
	oracle->vcpu = calloc(vcpu_count, sizeof(*oracle->vcpu));
	if (!oracle->vcpu) {
		linear_oracle_free(oracle);
		return NULL;
	}
	return oracle;
}

void linear_oracle_free(struct linear_oracle *oracle)
{
	if (!oracle)
		return;
	for (unsigned i = 0; oracle->vcpu && i < oracle->vcpu_count; i++)
		free(oracle->vcpu[i].root);
	linear_words_free(&oracle->words);
	free(oracle->vcpu);
	free(oracle->answer);
	free(oracle->seen);
	free(oracle->candidate);
	free(oracle);
}

uint64_t linear_oracle_time(const struct linear_oracle *oracle)
{
	return oracle->time;
}

const struct linear_regs *linear_oracle_regs(const struct linear_oracle *oracle, unsigned vcpu)
{
	return &oracle->vcpu[vcpu].regs;
}

size_t linear_oracle_word_count(const struct linear_oracle *oracle)
{
	return oracle->words.used;
}

size_t linear_oracle_value_count(const struct linear_oracle *oracle)
{
	return oracle->words.value_count;
}

/* ---- memory ---- */

static uint64_t oldest_of_all(const struct linear_oracle *oracle)
{
	uint64_t oldest = oracle->time;

	for (unsigned i = 0; i < oracle->vcpu_count; i++) {
		uint64_t one = linear_vcpu_oldest(&oracle->vcpu[i], oracle->time);

		oldest = one < oldest ? one : oldest;
	}
	return oldest;
}

/* Bytes [first, first + count) of the word at @gpa were the low bytes of @old. */
static void wrote_in_word(struct linear_oracle *oracle, uint64_t gpa, unsigned first,
			  unsigned count, uint64_t old)
{
	uint64_t mask = (UINT64_MAX >> (64 - 8 * count)) << (8 * first);
	uint64_t value = 0;
	uint64_t oldest = 0;

	if (linear_words_wants_pruning(&oracle->words, gpa))
		oldest = oldest_of_all(oracle);
	(void)linear_paths_read(oracle, (sim_gpa_t){gpa}, &value);
	value = (value & ~mask) | (old << (8 * first) & mask);
	linear_words_push(&oracle->words, gpa, value, oracle->time, oldest);
}

void linear_oracle_wrote(struct linear_oracle *oracle, sim_gpa_t gpa, unsigned byte_count,
			 uint64_t old, uint64_t new)
{
	unsigned first = (unsigned)(gpa.bytes & 7);
	unsigned here = byte_count < 8 - first ? byte_count : 8 - first;
	uint64_t used = UINT64_MAX >> (64 - 8 * byte_count);

	if (((old ^ new) & used) == 0)
		return;
	oracle->time++;
	wrote_in_word(oracle, gpa.bytes - first, first, here, old);
	if (here < byte_count)
		wrote_in_word(oracle, gpa.bytes - first + 8, 0, byte_count - here,
			      old >> (8 * here));
}

void linear_oracle_forget(struct linear_oracle *oracle, sim_gpa_t start, sim_gpa_t end)
{
	oracle->time++;
	linear_words_forget(&oracle->words, start.bytes, end.bytes);
}

/* ---- flushes ---- */

static void flush(struct linear_oracle *oracle, unsigned vcpu, enum linear_scope scope,
		  uint16_t pcid)
{
	struct linear_flush f = {.time = oracle->time, .scope = scope, .pcid = pcid};

	f.with_global = scope == LINEAR_FLUSH_ALL;
	linear_flushes_add(&oracle->vcpu[vcpu].flushes, &f);
}

static void flush_page(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva,
		       uint64_t page_bytes)
{
	struct linear_flush f = {
		.time = oracle->time,
		.scope = LINEAR_FLUSH_ADDRESS,
		.pcid = linear_pcid_of(&oracle->vcpu[vcpu].regs),
		.with_global = true,
		.first = gva.bytes & ~(page_bytes - 1),
		.last = gva.bytes | (page_bytes - 1),
	};

	linear_flushes_add(&oracle->vcpu[vcpu].flushes, &f);
}

/* Size of the page at @gva, if everything that may be cached there is a huge page of that size;
 * else 4096. INVLPG drops all pieces of the huge page then. */
static uint64_t certain_page_bytes(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva)
{
	struct linear_regs *regs = &oracle->vcpu[vcpu].regs;
	struct linear_regs saved = *regs;
	uint64_t page_bytes = SIM_PAGE_BYTES;

	oracle->query = (struct linear_query){.vcpu = vcpu, .access = {.gva = gva, .ac = true}};
	regs->pke = false; /* so that nothing is denied */
	linear_paths_find(oracle, LINEAR_WHOLE_FLUSHES);
	*regs = saved;
	if (!oracle->is_partial && oracle->answer_count)
		page_bytes = oracle->answer[0].page_bytes;
	for (size_t i = 0; i < oracle->answer_count; i++)
		if (oracle->answer[i].outcome != LINEAR_OK ||
		    oracle->answer[i].page_bytes != page_bytes)
			page_bytes = SIM_PAGE_BYTES;
	oracle->answer_count = 0;
	return page_bytes ? page_bytes : SIM_PAGE_BYTES;
}

void linear_oracle_invlpg(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva)
{
	oracle->time++;
	if (linear_is_canonical(oracle->vcpu[vcpu].regs.mode, gva))
		flush_page(oracle, vcpu, gva, certain_page_bytes(oracle, vcpu, gva));
}

void linear_oracle_invpcid(struct linear_oracle *oracle, unsigned vcpu, enum linear_invpcid type,
			   uint16_t pcid, sim_gva_t gva)
{
	struct linear_flush one = {
		.scope = LINEAR_FLUSH_ADDRESS,
		.pcid = pcid,
		.first = gva.bytes & ~UINT64_C(0xfff),
		.last = gva.bytes | UINT64_C(0xfff),
	};

	one.time = ++oracle->time;
	switch (type) {
	case LINEAR_INVPCID_ADDRESS:
		linear_flushes_add(&oracle->vcpu[vcpu].flushes, &one);
		return;
	case LINEAR_INVPCID_SINGLE:
		flush(oracle, vcpu, LINEAR_FLUSH_PCID, pcid);
		return;
	case LINEAR_INVPCID_ALL:
		flush(oracle, vcpu, LINEAR_FLUSH_ALL, 0);
		return;
	case LINEAR_INVPCID_LOCAL:
		flush(oracle, vcpu, LINEAR_FLUSH_LOCAL, 0);
		return;
	}
}

void linear_oracle_flush_all(struct linear_oracle *oracle, unsigned vcpu)
{
	oracle->time++;
	flush(oracle, vcpu, LINEAR_FLUSH_ALL, 0);
}

void linear_oracle_fault_taken(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva)
{
	oracle->time++;
	flush_page(oracle, vcpu, gva, SIM_PAGE_BYTES);
}

/* ---- registers ---- */

/* Read the PDPTEs at regs->cr3. */
static enum linear_event read_pdptes(const struct linear_oracle *oracle, struct linear_regs *regs)
{
	sim_gpa_t at = {linear_cr3_base(regs)};
	bool legal = true;

	for (unsigned i = 0; i < 4; i++, at.bytes += 8) {
		regs->pdpte[i] = 0;
		(void)linear_paths_read(oracle, at, &regs->pdpte[i]);
		legal = legal && !linear_pdpte_is_illegal(regs, regs->pdpte[i]);
	}
	return legal ? LINEAR_DONE : LINEAR_GP;
}

static void take(struct linear_oracle *oracle, unsigned vcpu, const struct linear_regs *regs)
{
	oracle->vcpu[vcpu].regs = *regs;
	oracle->is_out_of_memory |= !linear_vcpu_switch(&oracle->vcpu[vcpu], oracle->time);
}

enum linear_event linear_oracle_mov_cr3(struct linear_oracle *oracle, unsigned vcpu, uint64_t value)
{
	struct linear_regs next = oracle->vcpu[vcpu].regs;
	bool is_long = next.mode == LINEAR_4_LEVEL || next.mode == LINEAR_5_LEVEL;
	bool keep = next.pcide && (value & LINEAR_CR3_NO_FLUSH);

	if (next.pcide)
		value &= ~LINEAR_CR3_NO_FLUSH;
	if (!is_long)
		value &= UINT32_MAX;
	else if (value >> next.maxphyaddr)
		return LINEAR_GP;
	next.cr3 = value;
	if (next.mode == LINEAR_PAE && read_pdptes(oracle, &next) == LINEAR_GP)
		return LINEAR_GP;
	oracle->time++;
	if (!keep)
		flush(oracle, vcpu, LINEAR_FLUSH_PCID, linear_pcid_of(&next));
	take(oracle, vcpu, &next);
	return LINEAR_DONE;
}

enum linear_event linear_oracle_load_pdptes(struct linear_oracle *oracle, unsigned vcpu)
{
	struct linear_regs next = oracle->vcpu[vcpu].regs;

	if (next.mode != LINEAR_PAE)
		return LINEAR_DONE;
	if (read_pdptes(oracle, &next) == LINEAR_GP)
		return LINEAR_GP;
	oracle->time++;
	take(oracle, vcpu, &next);
	return LINEAR_DONE;
}

/* Does the change flush everything, global translations included? */
static bool flushes_everything(const struct linear_regs *old, const struct linear_regs *new)
{
	if (old->mode != new->mode || old->pge != new->pge || (old->pcide && !new->pcide))
		return true;
	return new->vendor == LINEAR_AMD && old->pse != new->pse;
}

enum linear_event linear_oracle_set_regs(struct linear_oracle *oracle, unsigned vcpu,
					 const struct linear_regs *regs)
{
	const struct linear_regs *old = &oracle->vcpu[vcpu].regs;
	struct linear_regs next = *regs;
	bool reads_pdptes = old->mode != LINEAR_PAE || old->pge != next.pge ||
			    old->pse != next.pse || old->smep != next.smep;

	next.cr3 = old->cr3;
	for (unsigned i = 0; i < 4; i++)
		next.pdpte[i] = old->pdpte[i];
	if (!old->pcide && next.pcide && (next.cr3 & LINEAR_PCID_MASK))
		return LINEAR_GP;
	if (next.mode == LINEAR_PAE && reads_pdptes && read_pdptes(oracle, &next) == LINEAR_GP)
		return LINEAR_GP;
	oracle->time++;
	if (flushes_everything(old, &next))
		flush(oracle, vcpu, LINEAR_FLUSH_ALL, 0);
	else if (!old->smep && next.smep && next.vendor == LINEAR_INTEL)
		flush(oracle, vcpu, LINEAR_FLUSH_PCID, linear_pcid_of(old));
	take(oracle, vcpu, &next);
	return LINEAR_DONE;
}

void linear_oracle_reset(struct linear_oracle *oracle, unsigned vcpu,
			 const struct linear_regs *regs)
{
	oracle->time++;
	flush(oracle, vcpu, LINEAR_FLUSH_ALL, 0);
	take(oracle, vcpu, regs);
}
