/* SPDX-License-Identifier: MIT */
#include "permission.h"

/* Entry bits 1 and 2 become rights by one shift; a pair of PKRU bits takes two away. */
#define ENTRY_RIGHTS_SHIFT 1
#define ENTRY_EXEC_SHIFT 61
#define PKRU_RIGHTS_SHIFT 4

_Static_assert(VMMU_GUEST_RIGHT_WRITE << ENTRY_RIGHTS_SHIFT == 1 << 1, "W is bit 1 of an entry");
_Static_assert(VMMU_GUEST_RIGHT_USER << ENTRY_RIGHTS_SHIFT == 1 << 2, "U is bit 2 of an entry");
_Static_assert((uint64_t)VMMU_GUEST_RIGHT_EXEC << ENTRY_EXEC_SHIFT == UINT64_C(1) << 63,
	       "NX is bit 63 of an entry");
_Static_assert(VMMU_GUEST_RIGHT_KEY_DATA == 1 << PKRU_RIGHTS_SHIFT, "AD is PKRU's even bit");
_Static_assert(VMMU_GUEST_RIGHT_KEY_WRITE == 2 << PKRU_RIGHTS_SHIFT, "WD is PKRU's odd bit");
_Static_assert((VMMU_WALK_WRITE | VMMU_WALK_FETCH) == VMMU_GUEST_KINDS - 1,
	       "kinds of access are the low flags");

#define WRITE_AND_FETCH (VMMU_WALK_WRITE | VMMU_WALK_FETCH)

static void needs_set(uint8_t needs[VMMU_GUEST_KINDS], uint32_t read, uint32_t write,
		      uint32_t fetch)
{
	needs[0] = (uint8_t)read;
	needs[VMMU_WALK_WRITE] = (uint8_t)(read | write);
	needs[VMMU_WALK_FETCH] = (uint8_t)fetch;
	needs[WRITE_AND_FETCH] = (uint8_t)(read | write | fetch);
}

/* "No supervisor data access to user pages" binds reads and writes, not fetches. */
void vmmu_guest_permission_prepare(const struct vmmu_paging *paging,
				   struct vmmu_guest_permission *permission)
{
	const uint32_t user = VMMU_GUEST_RIGHT_USER;
	const uint32_t data = VMMU_GUEST_RIGHT_KEY_DATA;
	const uint32_t full_write = VMMU_GUEST_RIGHT_WRITE | VMMU_GUEST_RIGHT_KEY_WRITE;
	const uint32_t write = paging->wp ? full_write : 0;
	const uint32_t smap = paging->smap ? VMMU_GUEST_RIGHT_SUPERVISOR : 0;
	const uint32_t smep = paging->smep ? VMMU_GUEST_RIGHT_SUPERVISOR : 0;
	const uint32_t fetch = VMMU_GUEST_RIGHT_EXEC | smep;

	/* Keys exist in long mode; bit 63 where entries have eight bytes. */
	permission->keys = paging->pke && paging->mode >= VMMU_PAGING_4LEVEL;
	permission->fetch_is_told = paging->smep || (paging->nx && paging->mode >= VMMU_PAGING_PAE);
	if (paging->mode == VMMU_PAGING_OFF) {
		*permission = (struct vmmu_guest_permission){.keys = false};
		return;
	}
	needs_set(permission->needs[VMMU_GUEST_AGENT_USER], user | data, full_write,
		  user | VMMU_GUEST_RIGHT_EXEC);
	needs_set(permission->needs[VMMU_GUEST_AGENT_SUPERVISOR], data | smap, write, fetch);
	needs_set(permission->needs[VMMU_GUEST_AGENT_SUPERVISOR_AC], data, write, fetch);
}

uint32_t vmmu_guest_permission_rights(const struct vmmu_guest_permission *permission, uint64_t path,
				      uint64_t leaf, uint32_t pkru)
{
	uint32_t rights = VMMU_GUEST_RIGHT_KEY_DATA | VMMU_GUEST_RIGHT_KEY_WRITE;

	rights |= (uint32_t)(path >> ENTRY_RIGHTS_SHIFT) &
		  (VMMU_GUEST_RIGHT_WRITE | VMMU_GUEST_RIGHT_USER);
	rights |= (uint32_t)(path >> ENTRY_EXEC_SHIFT) & VMMU_GUEST_RIGHT_EXEC;
	if (!(rights & VMMU_GUEST_RIGHT_USER))
		return rights | VMMU_GUEST_RIGHT_SUPERVISOR;
	if (permission->keys)
		rights ^= (pkru >> 2 * vmmu_guest_entry_key(leaf) & 3) << PKRU_RIGHTS_SHIFT;
	return rights;
}

/* An implicit access to a system structure is a supervisor access at every CPL. */
static bool access_is_user(uint32_t flags)
{
	return (flags & (VMMU_WALK_USER | VMMU_WALK_IMPLICIT)) == VMMU_WALK_USER;
}

static enum vmmu_guest_agent agent_of(uint32_t flags)
{
	if (access_is_user(flags))
		return VMMU_GUEST_AGENT_USER;
	if ((flags & (VMMU_WALK_AC | VMMU_WALK_IMPLICIT)) == VMMU_WALK_AC)
		return VMMU_GUEST_AGENT_SUPERVISOR_AC;
	return VMMU_GUEST_AGENT_SUPERVISOR;
}

uint32_t vmmu_guest_permission_check(const struct vmmu_guest_permission *permission,
				     uint32_t rights, uint32_t flags)
{
	const uint32_t keys = VMMU_GUEST_RIGHT_KEY_DATA | VMMU_GUEST_RIGHT_KEY_WRITE;
	const uint32_t needs = permission->needs[agent_of(flags)][flags & WRITE_AND_FETCH];
	const uint32_t lacks = needs & ~rights;
	uint32_t code;

	if (!lacks)
		return 0;
	code = VMMU_PF_PRESENT | vmmu_guest_permission_access_bits(permission, flags);
	/* The bit tells that the key refuses, also where another rule refuses as well. */
	if (lacks & keys)
		code |= VMMU_PF_PROTECTION_KEY;
	return code;
}

uint32_t vmmu_guest_permission_access_bits(const struct vmmu_guest_permission *permission,
					   uint32_t flags)
{
	uint32_t code = 0;

	if (flags & VMMU_WALK_WRITE)
		code |= VMMU_PF_WRITE;
	if (access_is_user(flags))
		code |= VMMU_PF_USER;
	if ((flags & VMMU_WALK_FETCH) && permission->fetch_is_told)
		code |= VMMU_PF_FETCH;
	return code;
}
