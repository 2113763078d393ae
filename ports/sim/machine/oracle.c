/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - slots: what may be asked for, and what a guest access then means.
 *
 * During a change there are two worlds, before and after; outside of one they are the same.
 * A world is just an array of slots in no order.
 */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_internal.h"

#define KNOWN_FLAGS (ORACLE_READ_ONLY | ORACLE_LOG_DIRTY | ORACLE_HIDDEN)

struct oracle *oracle_new(struct sim_machine *machine)
{
	struct oracle *oracle = calloc(1, sizeof(*oracle));

	if (oracle)
		oracle->machine = machine;
	return oracle;
}

void oracle_free(struct oracle *oracle)
{
	if (!oracle)
		return;
	free(oracle->now.slot);
	free(oracle->next.slot);
	oracle_content_fini(&oracle->content);
	free(oracle);
}

static const struct oracle_slot *world_find_id(const struct oracle_world *world, uint32_t space,
					       uint32_t id)
{
	for (size_t i = 0; i < world->count; i++)
		if (world->slot[i].space == space && world->slot[i].id == id)
			return &world->slot[i];
	return NULL;
}

static const struct oracle_slot *world_find(const struct oracle_world *world, uint32_t space,
					    sim_gfn_t gfn)
{
	for (size_t i = 0; i < world->count; i++) {
		const struct oracle_slot *s = &world->slot[i];

		if (s->space == space && gfn.n >= s->first.n && gfn.n - s->first.n < s->page_count)
			return s;
	}
	return NULL;
}

static bool is_page_aligned(uint64_t bytes)
{
	return bytes % SIM_PAGE_BYTES == 0;
}

static bool wraps(uint64_t start, uint64_t count)
{
	return start + count < start;
}

/* Does the request make sense by itself, whatever slots there are? */
static bool is_sane(const struct oracle_request *r)
{
	return r->space < ORACLE_SPACES && r->id < ORACLE_SLOT_IDS && !(r->flags & ~KNOWN_FLAGS) &&
	       is_page_aligned(r->gpa) && is_page_aligned(r->byte_count) &&
	       is_page_aligned(r->host_address) && !wraps(r->gpa, r->byte_count) &&
	       !wraps(r->host_address, r->byte_count) &&
	       r->byte_count / SIM_PAGE_BYTES <= ORACLE_PAGES_MAX;
}

static struct oracle_slot as_slot(const struct oracle_request *r)
{
	return (struct oracle_slot){
		.space = r->space,
		.id = r->id,
		.first = sim_gfn(r->gpa / SIM_PAGE_BYTES),
		.page_count = r->byte_count / SIM_PAGE_BYTES,
		.host_first = sim_hpage(r->host_address / SIM_PAGE_BYTES),
		.flags = r->flags,
	};
}

/* Would it overlap a slot of its address space other than its own former self? */
static bool overlaps_other(const struct oracle_world *world, const struct oracle_slot *want)
{
	for (size_t i = 0; i < world->count; i++) {
		const struct oracle_slot *s = &world->slot[i];

		if (s->space == want->space && s->id != want->id &&
		    s->first.n < want->first.n + want->page_count &&
		    want->first.n < s->first.n + s->page_count)
			return true;
	}
	return false;
}

static enum oracle_status classify(const struct oracle *oracle, const struct oracle_request *r,
				   enum oracle_change *change)
{
	const struct oracle_slot *old = world_find_id(&oracle->now, r->space, r->id);
	struct oracle_slot want = as_slot(r);
	uint32_t differs;

	*change = ORACLE_NO_CHANGE;
	if (want.page_count == 0) {
		*change = ORACLE_DELETE;
		return old ? ORACLE_OK : ORACLE_EINVAL;
	}
	if (!old) {
		*change = ORACLE_ADD;
		return overlaps_other(&oracle->now, &want) ? ORACLE_EEXIST : ORACLE_OK;
	}
	differs = old->flags ^ want.flags;
	if (old->page_count != want.page_count || old->host_first.n != want.host_first.n ||
	    (differs & (ORACLE_READ_ONLY | ORACLE_HIDDEN)))
		return ORACLE_EINVAL;
	if (old->first.n != want.first.n) {
		*change = ORACLE_MOVE;
		return overlaps_other(&oracle->now, &want) ? ORACLE_EEXIST : ORACLE_OK;
	}
	*change = differs ? ORACLE_FLAGS : ORACLE_NO_CHANGE;
	return ORACLE_OK;
}

enum oracle_status oracle_check(const struct oracle *oracle, const struct oracle_request *request,
				enum oracle_change *change)
{
	enum oracle_change ignored;

	if (!is_sane(request))
		return ORACLE_EINVAL;
	return classify(oracle, request, change ? change : &ignored);
}

/* Return: false if the C library is out of memory. */
static bool world_copy(struct oracle_world *to, const struct oracle_world *from)
{
	if (to->capacity < from->count + 1) {
		size_t capacity = 2 * from->count + 16;
		struct oracle_slot *slot = realloc(to->slot, capacity * sizeof(*slot));

		if (!slot)
			return false;
		to->slot = slot;
		to->capacity = capacity;
	}
	if (from->count)
		memcpy(to->slot, from->slot, from->count * sizeof(*to->slot));
	to->count = from->count;
	return true;
}

static void world_remove(struct oracle_world *world, uint32_t space, uint32_t id)
{
	for (size_t i = 0; i < world->count; i++)
		if (world->slot[i].space == space && world->slot[i].id == id) {
			world->slot[i] = world->slot[--world->count];
			return;
		}
}

enum oracle_status oracle_begin(struct oracle *oracle, const struct oracle_request *request)
{
	enum oracle_change change;
	enum oracle_status status = oracle_check(oracle, request, &change);

	if (status != ORACLE_OK)
		return status;
	if (oracle->is_changing || !world_copy(&oracle->next, &oracle->now))
		return ORACLE_EINVAL;
	world_remove(&oracle->next, request->space, request->id);
	if (change != ORACLE_DELETE)
		oracle->next.slot[oracle->next.count++] = as_slot(request);
	oracle->is_changing = true;
	return ORACLE_OK;
}

void oracle_end(struct oracle *oracle)
{
	struct oracle_world old = oracle->now;

	if (!oracle->is_changing)
		return;
	oracle->now = oracle->next;
	oracle->next = old;
	oracle->is_changing = false;
}

void oracle_cancel(struct oracle *oracle)
{
	oracle->is_changing = false;
}

enum oracle_status oracle_set(struct oracle *oracle, const struct oracle_request *request)
{
	enum oracle_status status = oracle_begin(oracle, request);

	if (status == ORACLE_OK)
		oracle_end(oracle);
	return status;
}

size_t oracle_slot_count(const struct oracle *oracle)
{
	return oracle->now.count;
}

const struct oracle_slot *oracle_slot_at(const struct oracle *oracle, size_t index)
{
	return index < oracle->now.count ? &oracle->now.slot[index] : NULL;
}

const struct oracle_slot *oracle_find(const struct oracle *oracle, uint32_t space, sim_gfn_t gfn)
{
	return world_find(&oracle->now, space, gfn);
}

const struct oracle_slot *oracle_find_id(const struct oracle *oracle, uint32_t space, uint32_t id)
{
	return world_find_id(&oracle->now, space, id);
}

static struct oracle_answer answer_in(const struct oracle *oracle, const struct oracle_world *world,
				      uint32_t space, sim_gpa_t gpa, enum sim_access_kind kind)
{
	sim_gfn_t gfn = sim_gfn(gpa.bytes / SIM_PAGE_BYTES);
	const struct oracle_slot *slot = world_find(world, space, gfn);
	bool is_write = kind == SIM_WRITE || kind == SIM_TABLE_WRITE;
	struct oracle_answer answer = {.kind = ORACLE_MMIO, .pfn = SIM_PFN_NONE};
	struct sim_host_view host;

	if (!slot || (slot->flags & ORACLE_HIDDEN))
		return answer;
	answer.host_page = sim_hpage(slot->host_first.n + gfn.n - slot->first.n);
	answer.offset = (uint32_t)(gpa.bytes % SIM_PAGE_BYTES);
	answer.slot_id = slot->id;
	answer.is_log_dirty = slot->flags & ORACLE_LOG_DIRTY;
	host = sim_host_query(oracle->machine, answer.host_page);
	if (is_write && (slot->flags & ORACLE_READ_ONLY)) {
		answer.kind = ORACLE_READONLY_WRITE;
	} else if (!host.is_present) {
		answer.kind = ORACLE_HOST_ABSENT;
	} else if (is_write && !host.is_writable) {
		answer.kind = ORACLE_HOST_READ_ONLY;
	} else {
		answer.kind = ORACLE_MEMORY;
		answer.pfn = host.pfn;
	}
	return answer;
}

struct oracle_answers oracle_expect(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa,
				    enum sim_access_kind kind)
{
	struct oracle_answers answers = {.count = 1};

	answers.answer[0] = answer_in(oracle, &oracle->now, space, gpa, kind);
	if (oracle->is_changing)
		answers.answer[answers.count++] =
			answer_in(oracle, &oracle->next, space, gpa, kind);
	return answers;
}

static const char *kind_name(enum oracle_kind kind)
{
	switch (kind) {
	case ORACLE_MEMORY:
		return "memory";
	case ORACLE_MMIO:
		return "MMIO";
	case ORACLE_READONLY_WRITE:
		return "a write to a read-only slot";
	case ORACLE_HOST_ABSENT:
		return "a page that the host has taken away";
	case ORACLE_HOST_READ_ONLY:
		return "a write to a page that the host shares";
	}
	return "nothing known";
}

bool oracle_agrees(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa,
		   enum sim_access_kind kind, const struct sim_result *result, char *why,
		   size_t why_bytes)
{
	struct oracle_answers answers = oracle_expect(oracle, space, gpa, kind);
	uint64_t offset = gpa.bytes % SIM_PAGE_BYTES;

	if (result->outcome == SIM_BROKEN) {
		if (why)
			(void)snprintf(why, why_bytes, "gpa 0x%llx: the hardware is broken",
				       (unsigned long long)gpa.bytes);
		return false;
	}
	if (result->outcome != SIM_OK)
		return true;
	for (unsigned i = 0; i < answers.count; i++)
		if (answers.answer[i].kind == ORACLE_MEMORY &&
		    result->hpa.bytes == answers.answer[i].pfn.n * SIM_PAGE_BYTES + offset)
			return true;
	if (why)
		(void)snprintf(why, why_bytes,
			       "gpa 0x%llx went to hpa 0x%llx, but it is %s (pfn 0x%llx)%s",
			       (unsigned long long)gpa.bytes, (unsigned long long)result->hpa.bytes,
			       kind_name(answers.answer[0].kind),
			       (unsigned long long)answers.answer[0].pfn.n,
			       answers.count > 1 ? ", during a change" : "");
	return false;
}
