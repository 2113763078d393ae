/* SPDX-License-Identifier: MIT */
/* oracle_content.c - which value was last stored where. */
#include <stdlib.h>

#include "oracle_internal.h"

void oracle_content_fini(struct oracle_content *content)
{
	free(content->word);
}

/* The word with this key, or the free one where it would go. */
static struct oracle_word *find_word(const struct oracle_content *content, uint64_t key)
{
	size_t mask = content->capacity - 1;
	size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;

	while (content->word[at].key && content->word[at].key != key)
		at = (at + 1) & mask;
	return &content->word[at];
}

/* Return: false if the C library is out of memory. */
static bool grow(struct oracle_content *content)
{
	struct oracle_content bigger = {
		.count = content->count,
		.capacity = content->capacity ? 2 * content->capacity : 1024,
	};

	if (2 * (content->count + 1) <= content->capacity)
		return true;
	bigger.word = calloc(bigger.capacity, sizeof(*bigger.word));
	if (!bigger.word)
		return false;
	for (size_t i = 0; i < content->capacity; i++)
		if (content->word[i].key)
			*find_word(&bigger, content->word[i].key) = content->word[i];
	free(content->word);
	*content = bigger;
	return true;
}

static uint64_t key_of(sim_hpage_t page, uint32_t offset)
{
	return (page.n * SIM_PAGE_BYTES + offset) / 8 + 1;
}

void oracle_host_store(struct oracle *oracle, sim_hpage_t page, uint32_t offset, uint64_t value)
{
	struct oracle_word *word;

	if (!grow(&oracle->content)) {
		sim_violation(oracle->machine, "the C library is out of memory for the oracle");
		return;
	}
	word = find_word(&oracle->content, key_of(page, offset));
	oracle->content.count += !word->key;
	word->key = key_of(page, offset);
	word->value = value;
}

uint64_t oracle_host_load(const struct oracle *oracle, sim_hpage_t page, uint32_t offset)
{
	const struct oracle_word *word;

	if (!oracle->content.capacity)
		return 0;
	word = find_word(&oracle->content, key_of(page, offset));
	return word->key ? word->value : 0;
}

void oracle_host_discard(struct oracle *oracle, sim_hpage_t page)
{
	for (size_t i = 0; i < oracle->content.capacity; i++) {
		struct oracle_word *word = &oracle->content.word[i];

		if (word->key && (word->key - 1) * 8 / SIM_PAGE_BYTES == page.n)
			word->value = 0;
	}
}

uint64_t oracle_fresh_value(struct oracle *oracle)
{
	return UINT64_C(0x5eed000000000000) + ++oracle->last_value;
}

static const struct oracle_slot *slot_with_memory(const struct oracle *oracle, uint32_t space,
						  sim_gpa_t gpa)
{
	const struct oracle_slot *slot =
		oracle_find(oracle, space, sim_gfn(gpa.bytes / SIM_PAGE_BYTES));

	return slot && !(slot->flags & ORACLE_HIDDEN) ? slot : NULL;
}

static sim_hpage_t page_in(const struct oracle_slot *slot, sim_gpa_t gpa)
{
	return sim_hpage(slot->host_first.n + gpa.bytes / SIM_PAGE_BYTES - slot->first.n);
}

bool oracle_store(struct oracle *oracle, uint32_t space, sim_gpa_t gpa, uint64_t value)
{
	const struct oracle_slot *slot = slot_with_memory(oracle, space, gpa);

	if (!slot || (slot->flags & ORACLE_READ_ONLY))
		return false;
	oracle_host_store(oracle, page_in(slot, gpa), (uint32_t)(gpa.bytes % SIM_PAGE_BYTES),
			  value);
	return true;
}

bool oracle_load(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa, uint64_t *value)
{
	const struct oracle_slot *slot = slot_with_memory(oracle, space, gpa);

	if (!slot)
		return false;
	*value = oracle_host_load(oracle, page_in(slot, gpa),
				  (uint32_t)(gpa.bytes % SIM_PAGE_BYTES));
	return true;
}
