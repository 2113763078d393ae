/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - what a guest access should do, from slots and host memory alone.
 *
 * Deliberately naive: a list of slots, searched from one end to the other, and a table of the
 * values last stored. It knows nothing of page tables, caches or faults.
 */
#ifndef SIM_MACHINE_ORACLE_H
#define SIM_MACHINE_ORACLE_H

#include "types.h"

struct oracle;
struct sim_machine;

#define ORACLE_SPACES 2u
#define ORACLE_SLOT_IDS 32764u
#define ORACLE_PAGES_MAX UINT64_C(0x7fffffff)

enum oracle_status {
	ORACLE_OK = 0,
	ORACLE_EINVAL, /* the request makes no sense, or changes what cannot be changed */
	ORACLE_EEXIST, /* it would overlap another slot of its address space */
};

#define ORACLE_READ_ONLY (1u << 0)
#define ORACLE_LOG_DIRTY (1u << 1)
#define ORACLE_HIDDEN (1u << 2) /* holds an id and a range, but the guest sees no memory there */

/* Bytes, as an embedder would ask; byte_count 0 deletes. */
struct oracle_request {
	uint32_t space;
	uint32_t id;
	uint64_t gpa;
	uint64_t byte_count;
	uint64_t host_address; /* host page index * 4096 */
	uint32_t flags;
};

struct oracle_slot {
	uint32_t space;
	uint32_t id;
	sim_gfn_t first;
	uint64_t page_count;
	sim_hpage_t host_first;
	uint32_t flags;
};

enum oracle_change { ORACLE_NO_CHANGE, ORACLE_ADD, ORACLE_DELETE, ORACLE_MOVE, ORACLE_FLAGS };

enum oracle_kind {
	ORACLE_MEMORY,         /* translates to (host_page, offset) */
	ORACLE_MMIO,           /* no slot: the device model's business */
	ORACLE_READONLY_WRITE, /* a write to a read-only slot: the device model's business */
	ORACLE_HOST_ABSENT,    /* memory, once the host gives the page a frame */
	ORACLE_HOST_READ_ONLY, /* a write; memory, once the host makes the page writable */
};

struct oracle_answer {
	enum oracle_kind kind;
	sim_hpage_t host_page; /* of MEMORY, HOST_ABSENT, HOST_READ_ONLY, READONLY_WRITE */
	uint32_t offset;
	sim_pfn_t pfn;     /* of MEMORY: the frame it must be */
	uint32_t slot_id;  /* valid unless MMIO */
	bool is_log_dirty; /* a write must end up in the dirty log */
};

/* Between oracle_begin() and oracle_end() both worlds are right. */
struct oracle_answers {
	unsigned count; /* 1 or 2 */
	struct oracle_answer answer[2];
};

struct oracle *oracle_new(struct sim_machine *machine);
void oracle_free(struct oracle *oracle);

/* Decide only. @change, may be NULL: what would happen. */
enum oracle_status oracle_check(const struct oracle *oracle, const struct oracle_request *request,
				enum oracle_change *change);
/* Decide and apply at once. */
enum oracle_status oracle_set(struct oracle *oracle, const struct oracle_request *request);
/* Decide, and open the window in which old and new are both right. One at a time. */
enum oracle_status oracle_begin(struct oracle *oracle, const struct oracle_request *request);
void oracle_end(struct oracle *oracle);    /* it happened */
void oracle_cancel(struct oracle *oracle); /* it did not */

size_t oracle_slot_count(const struct oracle *oracle);
const struct oracle_slot *oracle_slot_at(const struct oracle *oracle, size_t index);
/* Return: the slot that holds the frame, hidden ones included, or NULL. */
const struct oracle_slot *oracle_find(const struct oracle *oracle, uint32_t space, sim_gfn_t gfn);
const struct oracle_slot *oracle_find_id(const struct oracle *oracle, uint32_t space, uint32_t id);

struct oracle_answers oracle_expect(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa,
				    enum sim_access_kind kind);
/* Is this CPU result one of the right ones? A fault always is: it asks the hypervisor, who has
 * to ask oracle_expect(). @why, may be NULL: a sentence if not. */
bool oracle_agrees(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa,
		   enum sim_access_kind kind, const struct sim_result *result, char *why,
		   size_t why_bytes);

/* Content. Values belong to the host page, so that they follow slots around. */
uint64_t oracle_fresh_value(struct oracle *oracle); /* never 0, never twice */
bool oracle_store(struct oracle *oracle, uint32_t space, sim_gpa_t gpa, uint64_t value);
bool oracle_load(const struct oracle *oracle, uint32_t space, sim_gpa_t gpa, uint64_t *value);
void oracle_host_store(struct oracle *oracle, sim_hpage_t page, uint32_t offset, uint64_t value);
uint64_t oracle_host_load(const struct oracle *oracle, sim_hpage_t page, uint32_t offset);
void oracle_host_discard(struct oracle *oracle, sim_hpage_t page);

#endif
