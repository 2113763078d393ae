/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "spec.h"

void sim_init(struct sim *sim)
{
	memset(sim, 0, sizeof(*sim));
}

void sim_page(struct sim *sim, uint64_t frame)
{
	unsigned i = sim_index(frame);

	assert_false(sim->present[i]);
	sim->frame[i] = frame;
	sim->present[i] = true;
	memset(sim->word[i], 0, sizeof(sim->word[i]));
}

static uint64_t *word_at(struct sim *sim, uint64_t gpa)
{
	uint64_t frame = gpa >> VMMU_PAGE_SHIFT;
	unsigned i = sim_index(frame);

	if (!sim->present[i] || sim->frame[i] != frame)
		return NULL;
	return &sim->word[i][gpa % VMMU_PAGE_BYTES / 8];
}

static unsigned shift_in_word(uint64_t gpa)
{
	return gpa & 4 ? 32 : 0;
}

static uint64_t load(const uint64_t *word, uint64_t gpa, unsigned bytes)
{
	return bytes == 4 ? *word >> shift_in_word(gpa) & UINT32_MAX : *word;
}

static void store(uint64_t *word, uint64_t gpa, unsigned bytes, uint64_t value)
{
	uint64_t mask = bytes == 4 ? (uint64_t)UINT32_MAX << shift_in_word(gpa) : UINT64_MAX;

	if (bytes == 4)
		value <<= shift_in_word(gpa);
	*word = (*word & ~mask) | (value & mask);
}

uint64_t sim_get(struct sim *sim, uint64_t gpa, unsigned bytes)
{
	uint64_t *word = word_at(sim, gpa);

	assert_non_null(word);
	return load(word, gpa, bytes);
}

void sim_set(struct sim *sim, uint64_t gpa, unsigned bytes, uint64_t value)
{
	uint64_t *word = word_at(sim, gpa);

	assert_non_null(word);
	store(word, gpa, bytes, value);
}

bool sim_look(void *memory, uint64_t gpa, unsigned bytes, uint64_t *value)
{
	uint64_t *word = word_at(memory, gpa);

	if (!word)
		return false;
	*value = load(word, gpa, bytes);
	return true;
}

void sim_forget(struct sim *sim)
{
	sim->reads = 0;
	sim->updates = 0;
	sim->reads_after_update = 0;
	sim->bad_calls = 0;
}

static void check_call(struct sim *sim, uint64_t gpa, unsigned bytes)
{
	if ((bytes != 4 && bytes != 8) || gpa % bytes ||
	    (sim->entry_bytes && bytes != sim->entry_bytes))
		sim->bad_calls++;
}

static bool sim_read(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value)
{
	struct sim *sim = context;

	check_call(sim, gpa.addr, bytes);
	sim->reads++;
	if (sim->updates)
		sim->reads_after_update++;
	return sim_look(sim, gpa.addr, bytes, value);
}

static bool sim_update(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old, uint64_t value,
		       bool *gone)
{
	struct sim *sim = context;
	uint64_t *word = word_at(sim, gpa.addr);

	check_call(sim, gpa.addr, bytes);
	sim->updates++;
	if (sim->races) {
		sim->races--;
		sim->race(sim, gpa.addr);
		return false;
	}
	if (!word || sim->read_only[sim_index(gpa.addr >> VMMU_PAGE_SHIFT)]) {
		*gone = true;
		return false;
	}
	if (load(word, gpa.addr, bytes) != old)
		return false;
	store(word, gpa.addr, bytes, value);
	return true;
}

const struct vmmu_walk_ops sim_ops = {.read = sim_read, .update = sim_update};
const struct vmmu_walk_ops sim_ops_without_update = {.read = sim_read};

static bool path_repeats(const struct spec_answer *want)
{
	for (unsigned i = 1; i < want->entries; i++) {
		for (unsigned j = 0; j < i; j++) {
			if (want->entry[i].gpa == want->entry[j].gpa)
				return true;
		}
	}
	return false;
}

/*
 * A walk that meets one entry twice changes it under its own feet and starts again: then it
 * sees accessed and dirty bits that it has set itself.
 */
static bool value_is_as_wanted(const struct spec_answer *want, unsigned i, uint64_t value)
{
	uint64_t before = want->entry[i].before;
	uint64_t own_bits = 3u << 5;

	if (!path_repeats(want))
		return value == before;
	return (value & before) == before && (value & ~own_bits) == (before & ~own_bits);
}

static const char *difference(const struct spec_answer *want, enum vmmu_walk_status status,
			      const struct vmmu_walk_result *got)
{
	if (status != want->status)
		return "status";
	if (got->levels != want->entries)
		return "number of entries";
	for (unsigned i = 0; i < got->levels; i++) {
		if (got->step[i].gpa.addr != want->entry[i].gpa ||
		    got->step[i].level != want->entry[i].level ||
		    !value_is_as_wanted(want, i, got->step[i].value))
			return "an entry";
	}
	if (status == VMMU_WALK_FAULT && got->error_code != want->error_code)
		return "error code";
	if (status == VMMU_WALK_UNREADABLE && got->table_gpa.addr != want->table_gpa)
		return "table address";
	if (status != VMMU_WALK_OK)
		return NULL;
	if (got->gpa.addr != want->gpa)
		return "address";
	if (got->page_bytes != want->page_bytes)
		return "page size";
	if (got->writable != want->writable || got->user != want->user ||
	    got->executable != want->executable)
		return "rights";
	return got->protection_key != want->key ? "key" : NULL;
}

/* The same entry may be on the path more than once; then it ends with the bits of all. */
static bool entries_are_as_wanted(struct sim *sim, const struct vmmu_paging *paging,
				  const struct spec_answer *want)
{
	unsigned bytes = paging->mode == VMMU_PAGING_32BIT ? 4 : 8;

	for (unsigned i = 0; i < want->entries; i++) {
		uint64_t after = want->entry[i].after;
		uint64_t now;

		for (unsigned j = 0; j < want->entries; j++) {
			if (want->entry[j].gpa == want->entry[i].gpa)
				after |= want->entry[j].after;
		}
		if (!sim_look(sim, want->entry[i].gpa, bytes, &now) || now != after)
			return false;
	}
	return true;
}

static void complain(const char *what, const struct vmmu_paging *p, uint64_t gva, uint32_t flags,
		     const struct spec_answer *want, enum vmmu_walk_status status,
		     const struct vmmu_walk_result *got)
{
	print_error("%s differs: mode %d gva %" PRIx64
		    " flags %x bits %u pkru %x nx %d wp %d pse %d"
		    " pse36 %d smep %d smap %d pke %d 1g %d amd %d\n",
		    what, (int)p->mode, gva, flags, p->physical_bits, p->pkru, p->nx, p->wp, p->pse,
		    p->pse36, p->smep, p->smap, p->pke, p->huge_1g, p->amd);
	for (unsigned i = 0; i < want->entries; i++)
		print_error("  entry at %" PRIx64 ": %" PRIx64 "\n", want->entry[i].gpa,
			    want->entry[i].before);
	print_error("  want status %d error %x gpa %" PRIx64 " bytes %" PRIx64 "\n",
		    (int)want->status, want->error_code, want->gpa, want->page_bytes);
	print_error("  got  status %d error %x gpa %" PRIx64 " bytes %" PRIx64 "\n", (int)status,
		    got->error_code, got->gpa.addr, got->page_bytes);
	fail();
}

void sim_compare(struct sim *sim, const struct vmmu_paging *paging, uint64_t gva, uint32_t flags)
{
	struct vmmu_walk_result got;
	struct spec_answer want;
	enum vmmu_walk_status status;
	const char *what;

	spec_access(paging, gva, flags, sim_look, sim, &want);
	status = vmmu_walk(paging, (vmmu_gva_t){gva}, flags, &sim_ops, sim, &got);
	what = difference(&want, status, &got);
	if (!what && !entries_are_as_wanted(sim, paging, &want))
		what = "accessed or dirty bits";
	if (!what && sim->bad_calls)
		what = "form of the calls";
	if (what)
		complain(what, paging, gva, flags, &want, status, &got);
}
