/* SPDX-License-Identifier: MIT */
/*
 * The walker's parts, for the layers above: what the entries of a paging mode mean, prepared
 * once per change of control registers, and the walk on top of that.
 *
 *   vmmu_guest_rules    a paging mode as masks, and what accesses need. Depends on control
 *                       registers and CPUID only, not on CR3, the PDPTEs or PKRU.
 *   vmmu_guest_tables   the rules, the registers, and the memory that holds the tables.
 *   vmmu_guest_walk()   vmmu_walk() without the preparation.
 */
#ifndef VMMU_GUEST_WALK_INTERNAL_H
#define VMMU_GUEST_WALK_INTERNAL_H

#include <vmmu/walk.h>

#include "permission.h"

#define VMMU_GUEST_PRESENT (UINT64_C(1) << 0)
#define VMMU_GUEST_ACCESSED (UINT64_C(1) << 5)
#define VMMU_GUEST_DIRTY (UINT64_C(1) << 6)
#define VMMU_GUEST_NO_EXEC (UINT64_C(1) << 63)

/* Masks for the entries of the tables at one height. */
struct vmmu_guest_level {
	uint64_t leaf;         /* a present entry with one of these bits is a leaf */
	uint64_t fixed[2];     /* of these bits, the present bit alone is set in a good entry:
				* [0] leads to a table, [1] leaf. The others are reserved */
	uint64_t frame;        /* leaf: the page's address */
	uint64_t high;         /* leaf: bits of the page's address that stand 19 too low (PSE36) */
	uint32_t shift;        /* an entry maps 2^shift bytes */
	uint32_t offset_shift; /* moves an address's index to where it is the entry's offset */
};

/* A paging mode. Level 0 stands for "no tables": one page that maps everything to itself. */
struct vmmu_guest_format {
	struct vmmu_guest_level level[VMMU_WALK_LEVELS_MAX + 1];
	uint64_t table;           /* CR3, entries: the address of a table */
	uint64_t pdpte_reserved;  /* must be 0 in a present PDPTE; with @pdptes */
	uint32_t offset_mask;     /* bits of an entry's offset in its table */
	uint32_t top;             /* height of the first table; 0: paging is off */
	uint32_t entry_bytes;     /* 4, 8; 0: paging is off */
	uint32_t canonical_shift; /* address bits from here up are all equal; 63: no such rule */
	bool pdptes;              /* four registers, and not CR3, lead to the first table */
};

struct vmmu_guest_rules {
	struct vmmu_guest_format format;
	struct vmmu_guest_permission permission;
};

struct vmmu_guest_tables {
	const struct vmmu_guest_rules *rules;
	const struct vmmu_paging *paging; /* cr3, pdpte[] and pkru are used */
	const struct vmmu_walk_ops *ops;
	void *context; /* of @ops */
};

enum vmmu_guest_entry_kind {
	VMMU_GUEST_ENTRY_NOT_PRESENT,
	VMMU_GUEST_ENTRY_RESERVED, /* present, with a reserved bit set */
	VMMU_GUEST_ENTRY_TABLE,
	VMMU_GUEST_ENTRY_LEAF,
};

/* Masks of @paging's mode. physical_bits below 32 count as 32, above 52 as 52. */
void vmmu_guest_format_prepare(const struct vmmu_paging *paging, struct vmmu_guest_format *format);

void vmmu_guest_rules_prepare(const struct vmmu_paging *paging, struct vmmu_guest_rules *rules);

/**
 * vmmu_guest_walk() - vmmu_walk() by prepared rules.
 * Context: any; calls nothing but the tables' ops. Return: see enum vmmu_walk_status.
 */
enum vmmu_walk_status vmmu_guest_walk(const struct vmmu_guest_tables *tables, vmmu_gva_t gva,
				      uint32_t flags, struct vmmu_walk_result *result);

/* What an entry of a table at @level's height is. */
static inline enum vmmu_guest_entry_kind vmmu_guest_entry_kind(const struct vmmu_guest_level *level,
							       uint64_t entry)
{
	if (entry & level->leaf) {
		if ((entry & level->fixed[1]) == VMMU_GUEST_PRESENT)
			return VMMU_GUEST_ENTRY_LEAF;
	} else if ((entry & level->fixed[0]) == VMMU_GUEST_PRESENT) {
		return VMMU_GUEST_ENTRY_TABLE;
	}
	return entry & VMMU_GUEST_PRESENT ? VMMU_GUEST_ENTRY_RESERVED
					  : VMMU_GUEST_ENTRY_NOT_PRESENT;
}

/* Where the entry for @gva lies, in the table at address @table. */
static inline vmmu_gpa_t vmmu_guest_entry_gpa(const struct vmmu_guest_format *format,
					      const struct vmmu_guest_level *level, uint64_t table,
					      uint64_t gva)
{
	return (vmmu_gpa_t){table + (gva >> level->offset_shift & format->offset_mask)};
}

/* Where @gva lies, in the page that @leaf maps. */
static inline uint64_t vmmu_guest_leaf_gpa(const struct vmmu_guest_level *level, uint64_t leaf,
					   uint64_t gva)
{
	const uint64_t page = (leaf & level->frame) | (leaf & level->high) << 19;

	return page | (gva & ((UINT64_C(1) << level->shift) - 1));
}

/* Entries combine by AND, once NX counts as "executable". Start with UINT64_MAX. */
static inline uint64_t vmmu_guest_path_add(uint64_t path, uint64_t entry)
{
	return path & (entry ^ VMMU_GUEST_NO_EXEC);
}

#endif
