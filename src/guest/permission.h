/* SPDX-License-Identifier: MIT */
/*
 * May this access touch this page? A pure function of the entries' rights and the access.
 *
 * A page has a set of rights; an access needs a set of rights; the access is refused exactly
 * if it needs one that the page lacks. Every rule of the architecture fits: what a rule
 * forbids becomes a right that only the other pages have. "No supervisor fetch of user
 * pages" reads: such a fetch needs a supervisor page.
 *
 * What each kind of access needs depends on control registers alone and is computed once
 * (vmmu_guest_permission_prepare()); the check is a look-up, an AND and a compare.
 */
#ifndef VMMU_GUEST_PERMISSION_H
#define VMMU_GUEST_PERMISSION_H

#include <vmmu/walk.h>

/* Rights of a page, all entries that lead to it together. */
enum vmmu_guest_right {
	VMMU_GUEST_RIGHT_WRITE = 1u << 0,
	VMMU_GUEST_RIGHT_USER = 1u << 1, /* a user page: U in every entry */
	VMMU_GUEST_RIGHT_EXEC = 1u << 2,
	VMMU_GUEST_RIGHT_SUPERVISOR = 1u << 3, /* a supervisor page: the opposite of USER */
	VMMU_GUEST_RIGHT_KEY_DATA = 1u << 4,   /* its protection key lets data accesses pass */
	VMMU_GUEST_RIGHT_KEY_WRITE = 1u << 5,  /* its protection key lets writes pass */
};

/* Who makes the access. */
enum vmmu_guest_agent {
	VMMU_GUEST_AGENT_USER,
	VMMU_GUEST_AGENT_SUPERVISOR,
	VMMU_GUEST_AGENT_SUPERVISOR_AC, /* explicit access with EFLAGS.AC set */
	VMMU_GUEST_AGENT_COUNT,
};

/* Kinds of access: the two low bits of enum vmmu_walk_flags. 0 is a read. */
#define VMMU_GUEST_KINDS 4u

struct vmmu_guest_permission {
	uint8_t needs[VMMU_GUEST_AGENT_COUNT][VMMU_GUEST_KINDS]; /* enum vmmu_guest_right bits */
	bool keys;                                               /* protection keys are on */
	bool fetch_is_told; /* the error code says whether it was a fetch */
};

/* Fills in @permission: what accesses need under these control registers. */
void vmmu_guest_permission_prepare(const struct vmmu_paging *paging,
				   struct vmmu_guest_permission *permission);

/**
 * vmmu_guest_permission_rights() - the rights of a page.
 * @path: entries that lead to it, ANDed, each with bit 63 inverted (vmmu_guest_path_add()).
 * @leaf: the last of them, for its protection key.
 * Return: enum vmmu_guest_right bits.
 */
uint32_t vmmu_guest_permission_rights(const struct vmmu_guest_permission *permission, uint64_t path,
				      uint64_t leaf, uint32_t pkru);

/**
 * vmmu_guest_permission_check() - may an access (enum vmmu_walk_flags) use a page?
 * @rights: of the page. An access flagged as both a write and a fetch needs what both need.
 * Return: 0, it may; else the error code of the page fault.
 */
uint32_t vmmu_guest_permission_check(const struct vmmu_guest_permission *permission,
				     uint32_t rights, uint32_t flags);

/* The bits of a page fault's error code that describe the access: W, U, I/D. */
uint32_t vmmu_guest_permission_access_bits(const struct vmmu_guest_permission *permission,
					   uint32_t flags);

/* The protection key that an entry names. */
static inline uint8_t vmmu_guest_entry_key(uint64_t entry)
{
	return (uint8_t)(entry >> 59 & 0xf);
}

#endif
