/* SPDX-License-Identifier: MIT */
/*
 * What the architecture says about one guest access, in plain words: the answer that the
 * walker must give. Written from the manuals (Intel SDM, chapter Paging; AMD APM, Page
 * Translation and Protection), one rule after the other, slow on purpose. It shares nothing
 * with the library but the public description of the question.
 */
#ifndef TESTS_GUEST_WALK_SPEC_H
#define TESTS_GUEST_WALK_SPEC_H

#include <vmmu/walk.h>

/* Reads one entry of guest memory; false: nothing there. */
typedef bool (*spec_read_fn)(void *memory, uint64_t gpa, unsigned bytes, uint64_t *value);

struct spec_entry {
	uint64_t gpa;
	uint64_t before; /* as found */
	uint64_t after;  /* as the access leaves it */
	unsigned level;
};

struct spec_answer {
	enum vmmu_walk_status status;
	uint32_t error_code;
	uint64_t gpa, page_bytes;
	bool writable, user, executable;
	unsigned key;
	uint64_t table_gpa;
	unsigned entries; /* read from memory, the top one first */
	struct spec_entry entry[5];
};

void spec_access(const struct vmmu_paging *paging, uint64_t gva, uint32_t flags, spec_read_fn read,
		 void *memory, struct spec_answer *answer);

#endif
