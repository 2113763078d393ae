/* SPDX-License-Identifier: MIT */
/*
 * walk_npt.c - AMD nested paging, as the APM's chapters on page translation and on nested
 * paging tell it.
 *
 * Nested tables have the long-mode format of the host's own paging mode. All nested accesses
 * are user accesses; the guest's own table walks are user writes whatever the guest does.
 * EFER.NXE is the host's. Accessed and dirty are always kept.
 */
#include "walk.h"

#define NPT_PRESENT (UINT64_C(1) << 0)
#define NPT_WRITE (UINT64_C(1) << 1)
#define NPT_USER (UINT64_C(1) << 2)
#define NPT_PWT (UINT64_C(1) << 3)
#define NPT_PCD (UINT64_C(1) << 4)
#define NPT_ACCESSED (UINT64_C(1) << 5)
#define NPT_DIRTY (UINT64_C(1) << 6)
#define NPT_PAGE_SIZE (UINT64_C(1) << 7) /* in a 4K leaf: PAT */
#define NPT_GLOBAL (UINT64_C(1) << 8)    /* must be zero in PML4 and PML5 entries */
#define NPT_HUGE_PAT (UINT64_C(1) << 12)
#define NPT_NO_EXEC (UINT64_C(1) << 63)

static uint64_t bits(unsigned high, unsigned low)
{
	return (UINT64_MAX >> (63u - high)) & (UINT64_MAX << low);
}

static bool npt_tracks_access(const struct sim_root *root)
{
	(void)root;
	return true;
}

static bool npt_is_present(uint64_t entry)
{
	return entry & NPT_PRESENT;
}

static bool npt_is_leaf(uint64_t entry, enum sim_level level)
{
	if (level == SIM_LEVEL_4K)
		return true;
	return level <= SIM_LEVEL_1G && (entry & NPT_PAGE_SIZE);
}

/* Bits that must be zero in an entry of this level. */
static uint64_t npt_must_be_zero(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	uint64_t mask = 0;

	if (root->maxphyaddr < 52)
		mask |= bits(51, root->maxphyaddr);
	if (!root->has_nx)
		mask |= NPT_NO_EXEC;
	switch (level) {
	case SIM_LEVEL_PML5:
	case SIM_LEVEL_PML4:
		return mask | NPT_PAGE_SIZE | NPT_GLOBAL;
	case SIM_LEVEL_1G:
		if (!root->has_1g)
			return mask | NPT_PAGE_SIZE;
		return entry & NPT_PAGE_SIZE ? mask | bits(29, 13) : mask;
	case SIM_LEVEL_2M:
		return entry & NPT_PAGE_SIZE ? mask | bits(20, 13) : mask;
	case SIM_LEVEL_4K:
	case SIM_LEVEL_NONE:
		break;
	}
	return mask;
}

static bool npt_is_illegal(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	return entry & npt_must_be_zero(root, entry, level);
}

static unsigned npt_rights(const struct sim_root *root, uint64_t entry)
{
	unsigned rights = SIM_CAN_READ;

	(void)root;
	if (!(entry & NPT_USER))
		return 0;
	if (entry & NPT_WRITE)
		rights |= SIM_CAN_WRITE;
	if (!(entry & NPT_NO_EXEC))
		rights |= SIM_CAN_EXEC;
	return rights;
}

static unsigned npt_needs(const struct sim_root *root, enum sim_access_kind kind)
{
	(void)root;
	if (kind == SIM_READ)
		return SIM_CAN_READ;
	if (kind == SIM_EXEC)
		return SIM_CAN_READ | SIM_CAN_EXEC;
	return SIM_CAN_READ | SIM_CAN_WRITE;
}

static void npt_memory_type(uint64_t entry, enum sim_level level, struct sim_result *result)
{
	uint64_t pat = level == SIM_LEVEL_4K ? NPT_PAGE_SIZE : NPT_HUGE_PAT;

	result->memory_type = (uint8_t)((entry & pat ? 4u : 0u) | (entry & NPT_PCD ? 2u : 0u) |
					(entry & NPT_PWT ? 1u : 0u));
	result->ignore_pat = false;
}

static void npt_fault(const struct sim_root *root, enum sim_access_kind kind,
		      enum walk_trouble trouble, unsigned rights, struct sim_result *result)
{
	uint64_t info = SIM_NPF_U;

	(void)rights;
	if (kind == SIM_TABLE_READ || kind == SIM_TABLE_WRITE)
		info |= SIM_NPF_TABLE | SIM_NPF_W;
	else
		info |= SIM_NPF_FINAL;
	if (kind == SIM_WRITE)
		info |= SIM_NPF_W;
	if (kind == SIM_EXEC)
		info |= SIM_NPF_ID;
	if (trouble == TROUBLE_DENIED)
		info |= SIM_NPF_P;
	if (trouble == TROUBLE_ILLEGAL)
		info |= root->rsvd_without_p ? SIM_NPF_RSVD : SIM_NPF_RSVD | SIM_NPF_P;
	result->outcome = SIM_NPF;
	result->info = info;
}

const struct walk_format sim_walk_npt = {
	.accessed = NPT_ACCESSED,
	.dirty = NPT_DIRTY,
	.tracks_access = npt_tracks_access,
	.is_present = npt_is_present,
	.is_illegal = npt_is_illegal,
	.is_leaf = npt_is_leaf,
	.rights = npt_rights,
	.needs = npt_needs,
	.memory_type = npt_memory_type,
	.fault = npt_fault,
};
