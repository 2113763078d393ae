/* SPDX-License-Identifier: MIT */
/*
 * walk_ept.c - Intel extended page tables, as the SDM's chapter on VMX support for address
 * translation tells it.
 *
 * An entry is present if any of R, W, X is set. A present entry that no processor accepts is a
 * misconfiguration and goes before any question of rights. With accessed and dirty flags on,
 * the guest's own table walks count as writes.
 */
#include "walk.h"

#define EPT_READ (UINT64_C(1) << 0)
#define EPT_WRITE (UINT64_C(1) << 1)
#define EPT_EXEC (UINT64_C(1) << 2)
#define EPT_RWX (EPT_READ | EPT_WRITE | EPT_EXEC)
#define EPT_TYPE_SHIFT 3u
#define EPT_TYPE_MASK 7u
#define EPT_IGNORE_PAT (UINT64_C(1) << 6)
#define EPT_PAGE_SIZE (UINT64_C(1) << 7)
#define EPT_ACCESSED (UINT64_C(1) << 8)
#define EPT_DIRTY (UINT64_C(1) << 9)

_Static_assert(EPT_READ == SIM_CAN_READ && EPT_WRITE == SIM_CAN_WRITE && EPT_EXEC == SIM_CAN_EXEC,
	       "rights of an entry are its low three bits");

static uint64_t bits(unsigned high, unsigned low)
{
	return (UINT64_MAX >> (63u - high)) & (UINT64_MAX << low);
}

static bool ept_tracks_access(const struct sim_root *root)
{
	return root->has_ad;
}

static bool ept_is_present(uint64_t entry)
{
	return entry & EPT_RWX;
}

static bool ept_is_leaf(uint64_t entry, enum sim_level level)
{
	if (level == SIM_LEVEL_4K)
		return true;
	return level <= SIM_LEVEL_1G && (entry & EPT_PAGE_SIZE);
}

static uint64_t ept_must_be_zero(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	uint64_t mask = root->maxphyaddr < 52 ? bits(51, root->maxphyaddr) : 0;

	switch (level) {
	case SIM_LEVEL_PML5:
	case SIM_LEVEL_PML4:
		return mask | bits(7, 3);
	case SIM_LEVEL_1G:
		if (!root->has_1g)
			return mask | bits(7, 3);
		return mask | (entry & EPT_PAGE_SIZE ? bits(29, 12) : bits(6, 3));
	case SIM_LEVEL_2M:
		return mask | (entry & EPT_PAGE_SIZE ? bits(20, 12) : bits(6, 3));
	case SIM_LEVEL_4K:
	case SIM_LEVEL_NONE:
		break;
	}
	return mask;
}

static bool ept_is_illegal(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	uint64_t type = entry >> EPT_TYPE_SHIFT & EPT_TYPE_MASK;

	if ((entry & (EPT_READ | EPT_WRITE)) == EPT_WRITE)
		return true;
	if ((entry & EPT_RWX) == EPT_EXEC && !root->has_exec_only)
		return true;
	if (entry & ept_must_be_zero(root, entry, level))
		return true;
	return ept_is_leaf(entry, level) && (type == 2 || type == 3 || type == 7);
}

static unsigned ept_rights(const struct sim_root *root, uint64_t entry)
{
	(void)root;
	return (unsigned)(entry & EPT_RWX);
}

static unsigned ept_needs(const struct sim_root *root, enum sim_access_kind kind)
{
	switch (kind) {
	case SIM_WRITE:
		return SIM_CAN_WRITE;
	case SIM_EXEC:
		return SIM_CAN_EXEC;
	case SIM_TABLE_READ:
		return root->has_ad ? SIM_CAN_READ | SIM_CAN_WRITE : SIM_CAN_READ;
	case SIM_TABLE_WRITE:
		return SIM_CAN_READ | SIM_CAN_WRITE;
	case SIM_READ:
	case SIM_ACCESS_KINDS:
		break;
	}
	return SIM_CAN_READ;
}

static void ept_memory_type(uint64_t entry, enum sim_level level, struct sim_result *result)
{
	(void)level;
	result->memory_type = (uint8_t)(entry >> EPT_TYPE_SHIFT & EPT_TYPE_MASK);
	result->ignore_pat = entry & EPT_IGNORE_PAT;
}

static void ept_fault(const struct sim_root *root, enum sim_access_kind kind,
		      enum walk_trouble trouble, unsigned rights, struct sim_result *result)
{
	bool is_table = kind == SIM_TABLE_READ || kind == SIM_TABLE_WRITE;
	/* An access that both reads and writes reports both. */
	uint64_t info = ept_needs(root, kind) | (uint64_t)rights << 3 | SIM_EPTQ_LINEAR_VALID;

	if (trouble == TROUBLE_ILLEGAL) {
		result->outcome = SIM_EPT_MISCONFIG;
		result->info = 0;
		return;
	}
	result->outcome = SIM_EPT_VIOLATION;
	result->info = is_table ? info : info | SIM_EPTQ_FINAL;
}

const struct walk_format sim_walk_ept = {
	.accessed = EPT_ACCESSED,
	.dirty = EPT_DIRTY,
	.tracks_access = ept_tracks_access,
	.is_present = ept_is_present,
	.is_illegal = ept_is_illegal,
	.is_leaf = ept_is_leaf,
	.rights = ept_rights,
	.needs = ept_needs,
	.memory_type = ept_memory_type,
	.fault = ept_fault,
};
