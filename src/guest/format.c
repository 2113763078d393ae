/* SPDX-License-Identifier: MIT */
/*
 * The paging modes as tables, and the masks that follow from them for one guest: the width
 * of its physical addresses, and what its CPU offers and has switched on.
 */
#include "walk_internal.h"

#define BIT(n) (UINT64_C(1) << (n))
#define BITS(high, low) ((UINT64_MAX >> (63 - (high))) & (UINT64_MAX << (low)))

#define PAGE_SIZE_BIT BIT(7)

/* What the CPU must offer, or have switched on, for an entry to be a leaf. */
enum leaf_if {
	LEAF_ALWAYS,
	LEAF_IF_PSE, /* CR4.PSE */
	LEAF_IF_1G,  /* CPUID: 1G pages */
};

struct level_facts {
	uint64_t leaf;          /* bits one of which makes an entry a leaf */
	uint64_t leaf_else;     /* reserved where that bit does not make a leaf */
	uint64_t leaf_reserved; /* reserved in leaves */
	uint64_t leaf_high;     /* PSE36: those of them which address bits may fill */
	uint64_t amd_reserved;  /* reserved in entries that lead to tables, on AMD's CPUs */
	uint8_t shift;
	uint8_t leaf_if; /* enum leaf_if */
};

struct mode_facts {
	struct level_facts level[VMMU_WALK_LEVELS_MAX + 1];
	uint64_t table;   /* the address of a table */
	uint64_t beyond;  /* bits that are reserved from the physical width up */
	uint64_t no_exec; /* reserved while EFER.NXE is 0 */
	uint8_t top;
	uint8_t index_bits;
	uint8_t entry_shift; /* log2 of an entry's bytes */
	uint8_t linear_bits; /* canonical addresses: so many count; 64: all do */
	bool pdptes;
};

/* clang-format off */
/* At level 1 the present bit makes the leaf. */
#define LEVEL_4K { .shift = 12, .leaf = VMMU_GUEST_PRESENT }
#define LEVEL_2M { .shift = 21, .leaf = PAGE_SIZE_BIT, .leaf_reserved = BITS(20, 13) }
#define LEVEL_4M { .shift = 22, .leaf = PAGE_SIZE_BIT, .leaf_if = LEAF_IF_PSE,			\
		   .leaf_reserved = BITS(21, 13), .leaf_high = BITS(20, 13) }
#define LEVEL_1G { .shift = 30, .leaf = PAGE_SIZE_BIT, .leaf_if = LEAF_IF_1G,			\
		   .leaf_else = PAGE_SIZE_BIT, .leaf_reserved = BITS(29, 13),			\
		   .amd_reserved = BIT(8) }
#define LEVEL_512G { .shift = 39, .leaf_else = PAGE_SIZE_BIT, .amd_reserved = BIT(8) }
#define LEVEL_256T { .shift = 48, .leaf_else = PAGE_SIZE_BIT, .amd_reserved = BIT(8) }

static const struct mode_facts modes[] = {
	/* One page of 4 GiB at address 0: what lies above 32 bits is cut off. */
	[VMMU_PAGING_OFF] = {
		.level = {{ .shift = 32 }},
		.linear_bits = 64,
	},
	[VMMU_PAGING_32BIT] = {
		.level = { [1] = LEVEL_4K, [2] = LEVEL_4M },
		.table = BITS(31, 12),
		.top = 2,
		.index_bits = 10,
		.entry_shift = 2,
		.linear_bits = 64,
	},
	[VMMU_PAGING_PAE] = {
		.level = { [1] = LEVEL_4K, [2] = LEVEL_2M },
		.table = BITS(51, 12),
		.beyond = BITS(62, 12),
		.top = 2,
		.index_bits = 9,
		.entry_shift = 3,
		.linear_bits = 64,
		.no_exec = VMMU_GUEST_NO_EXEC,
		.pdptes = true,
	},
	[VMMU_PAGING_4LEVEL] = {
		.level = { [1] = LEVEL_4K, [2] = LEVEL_2M, [3] = LEVEL_1G, [4] = LEVEL_512G },
		.table = BITS(51, 12),
		.beyond = BITS(51, 12),
		.top = 4,
		.index_bits = 9,
		.entry_shift = 3,
		.linear_bits = 48,
		.no_exec = VMMU_GUEST_NO_EXEC,
	},
	[VMMU_PAGING_5LEVEL] = {
		.level = { [1] = LEVEL_4K, [2] = LEVEL_2M, [3] = LEVEL_1G, [4] = LEVEL_512G,
			   [5] = LEVEL_256T },
		.table = BITS(51, 12),
		.beyond = BITS(51, 12),
		.top = 5,
		.index_bits = 9,
		.entry_shift = 3,
		.linear_bits = 57,
		.no_exec = VMMU_GUEST_NO_EXEC,
	},
};
/* clang-format on */

_Static_assert(sizeof(modes) / sizeof(modes[0]) == VMMU_PAGING_5LEVEL + 1, "a mode has no facts");

/* PDPTEs of PAE paging: what is reserved below the address. */
#define PDPTE_RESERVED_LOW (BITS(2, 1) | BITS(8, 5))

/* What the guest's CPU decides, for all levels. */
struct choices {
	uint64_t reserved; /* in every entry */
	uint64_t amd;      /* all ones on AMD's CPUs, else 0 */
	uint64_t high;     /* bits of a 4M leaf that hold address bits 32 and up */
	unsigned leaf_if;  /* bit n: condition n of enum leaf_if holds */
};

static unsigned physical_bits_clamp(unsigned bits)
{
	if (bits < 32)
		return 32;
	return bits > 52 ? 52 : bits;
}

static struct choices choices_make(const struct vmmu_paging *paging, const struct mode_facts *mode,
				   uint64_t above)
{
	struct choices choices = {.reserved = mode->beyond & above, .leaf_if = 1u << LEAF_ALWAYS};

	if (!paging->nx)
		choices.reserved |= mode->no_exec;
	if (paging->amd)
		choices.amd = UINT64_MAX;
	if (paging->pse36)
		choices.high = ~above >> 19;
	if (paging->pse)
		choices.leaf_if |= 1u << LEAF_IF_PSE;
	if (paging->huge_1g)
		choices.leaf_if |= 1u << LEAF_IF_1G;
	return choices;
}

static void level_prepare(const struct mode_facts *mode, const struct level_facts *facts,
			  const struct choices *choices, struct vmmu_guest_level *level)
{
	const uint64_t leaf = choices->leaf_if >> facts->leaf_if & 1 ? facts->leaf : 0;
	const uint64_t high = facts->leaf_high & choices->high;
	const uint64_t fixed = choices->reserved | VMMU_GUEST_PRESENT;

	level->leaf = leaf;
	level->fixed[0] = fixed | (facts->leaf_else & ~leaf) | (facts->amd_reserved & choices->amd);
	level->fixed[1] = fixed | (facts->leaf_reserved & ~high);
	level->frame = mode->table & UINT64_MAX << facts->shift;
	level->high = high;
	level->shift = facts->shift;
	level->offset_shift = (uint32_t)facts->shift - mode->entry_shift;
}

void vmmu_guest_format_prepare(const struct vmmu_paging *paging, struct vmmu_guest_format *format)
{
	const struct mode_facts *mode = &modes[paging->mode];
	const uint64_t above = UINT64_MAX << physical_bits_clamp(paging->physical_bits);
	const struct choices choices = choices_make(paging, mode, above);

	/* With paging off, level 0 alone: no table has it, but addresses lie in its page. */
	for (unsigned i = mode->top ? 1 : 0; i <= mode->top; i++)
		level_prepare(mode, &mode->level[i], &choices, &format->level[i]);
	format->table = mode->table;
	format->pdpte_reserved = PDPTE_RESERVED_LOW | above;
	format->offset_mask = ((1u << mode->index_bits) - 1) << mode->entry_shift;
	format->top = mode->top;
	format->entry_bytes = mode->top ? 1u << mode->entry_shift : 0;
	format->canonical_shift = mode->linear_bits - 1u;
	format->pdptes = mode->pdptes;
}
