/* SPDX-License-Identifier: MIT */
/*
 * The two formats of second-stage tables. Bits: AMD APM volume 2, Page Translation and
 * Protection, and Nested Paging; Intel SDM volume 3, VMX Support for Address Translation.
 */
#include "format/entry.h"

#include "base/mutate.h"

/* NPT: long-mode entries, walked with user rights. */
#define NPT_PRESENT VMMU_BIT(0)
#define NPT_WRITE VMMU_BIT(1)
#define NPT_USER VMMU_BIT(2)
#define NPT_PWT VMMU_BIT(3)
#define NPT_PCD VMMU_BIT(4)
#define NPT_ACCESSED VMMU_BIT(5)
#define NPT_DIRTY VMMU_BIT(6)
#define NPT_HUGE VMMU_BIT(7)
#define NPT_NO_EXEC VMMU_BIT(63)

#define EPT_READ VMMU_BIT(0)
#define EPT_WRITE VMMU_BIT(1)
#define EPT_EXEC VMMU_BIT(2)
#define EPT_MEMTYPE_SHIFT 3
#define EPT_IGNORE_PAT VMMU_BIT(6)
#define EPT_HUGE VMMU_BIT(7)
#define EPT_ACCESSED VMMU_BIT(8)
#define EPT_DIRTY VMMU_BIT(9)
#define EPT_SAVED_WRITE VMMU_BIT(53) /* ignored by the hardware */

/* Bits that each walker looks at, in some entry of some level. */
#define NPT_HARDWARE (VMMU_MASK(8, 0) | VMMU_MASK(51, 12) | VMMU_MASK(63, 59))
#define EPT_HARDWARE (VMMU_MASK(10, 0) | VMMU_MASK(51, 12) | VMMU_MASK(63, 57))
_Static_assert(!(VMMU_SPTE_KIND_MASK & NPT_HARDWARE), "the kind uses a bit the NPT walker uses");
_Static_assert(!(VMMU_SPTE_KIND_MASK & EPT_HARDWARE), "the kind uses a bit the EPT walker uses");

/* A MMIO entry's generation: bits 3-11, 52-53, 57-62 of the entry. Its highest bits are in 9-11,
 * which are not to be had in shadow tables: the kind is there. */
#define GENERATION_LOW 6u  /* bits in 3..8 */
#define GENERATION_MID 2u  /* bits in 52..53 */
#define GENERATION_HIGH 6u /* bits in 57..62 */
#define GENERATION_TOP 3u  /* bits in 9..11 */
#define GENERATION_SHADOW (GENERATION_LOW + GENERATION_MID + GENERATION_HIGH)
_Static_assert(GENERATION_SHADOW + GENERATION_TOP == VMMU_MMIO_GENERATION_BITS,
	       "the generation fills its bits");
#define GENERATION_MASK (VMMU_MASK(11, 3) | VMMU_MASK(53, 52) | VMMU_MASK(62, 57))
_Static_assert(!(GENERATION_MASK & VMMU_SPTE_KIND_MASK), "generation and kind overlap");
_Static_assert(!(GENERATION_MASK & VMMU_SPTE_ADDRESS_MASK), "the generation forms an address");

#ifndef VMMU_TEST_GENERATION_BITS
#define GENERATION_BITS VMMU_MMIO_GENERATION_BITS
#else
#define GENERATION_BITS VMMU_TEST_GENERATION_BITS /* test builds wrap early */
#endif

static void init_npt(struct vmmu_fmt *fmt, const struct vmmu_vm_config *config)
{
	fmt->name = "npt";
	fmt->read = NPT_PRESENT;
	fmt->write = NPT_WRITE;
	fmt->no_exec = NPT_NO_EXEC;
	fmt->user = NPT_USER;
	fmt->huge = NPT_HUGE;
	fmt->accessed = NPT_ACCESSED;
	fmt->dirty = NPT_DIRTY;
	fmt->memtype_mask = NPT_PWT | NPT_PCD;
	/* Positions 0, 1 and 3 of the PAT as the CPU resets it. WC and WP are not in it: the
	 * stricter UC stands in. */
	fmt->memtype[VMMU_MEMTYPE_UC] = NPT_PWT | NPT_PCD;
	fmt->memtype[VMMU_MEMTYPE_WC] = NPT_PWT | NPT_PCD;
	fmt->memtype[VMMU_MEMTYPE_WP] = NPT_PWT | NPT_PCD;
	fmt->memtype[VMMU_MEMTYPE_WT] = NPT_PWT;
	fmt->table = NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED;
	/* A present entry with reserved address bits faults as reserved at once. */
	if (config->physical_bits < 52 && !config->no_mmio_entries)
		fmt->mmio = NPT_PRESENT | VMMU_MASK(51, config->physical_bits);
}

/* What the hardware walks without nested paging: long-mode and PAE tables with all rights used. */
static void init_shadow(struct vmmu_fmt *fmt, const struct vmmu_vm_config *config)
{
	init_npt(fmt, config);
	fmt->name = "shadow";
	fmt->user = 0;
	fmt->user_bit = NPT_USER;
	fmt->key_mask = VMMU_SPTE_KEY_MASK;
	/* shadow/leaves.h takes these from the guest's entries as they are. */
	_Static_assert(NPT_WRITE == VMMU_BIT(1) && NPT_USER == VMMU_BIT(2) &&
			       NPT_NO_EXEC == VMMU_BIT(63),
		       "a leaf has its rights where the guest's entry has them");
}

static void init_ept(struct vmmu_fmt *fmt, const struct vmmu_vm_config *config)
{
	fmt->name = "ept";
	fmt->read = EPT_READ;
	fmt->write = EPT_WRITE;
	fmt->exec = EPT_EXEC;
	fmt->huge = EPT_HUGE;
	fmt->accessed = config->no_accessed_dirty ? 0 : EPT_ACCESSED;
	fmt->dirty = config->no_accessed_dirty ? 0 : EPT_DIRTY;
	fmt->saved_write = config->no_accessed_dirty ? EPT_SAVED_WRITE : 0;
	fmt->memtype_mask = VMMU_MASK(5, EPT_MEMTYPE_SHIFT) | EPT_IGNORE_PAT;
	for (unsigned type = 0; type < 7; type++)
		fmt->memtype[type] = (uint64_t)type << EPT_MEMTYPE_SHIFT;
	fmt->table = EPT_READ | EPT_WRITE | EPT_EXEC;
	/* Writable but not readable is a misconfiguration on every CPU. */
	if (!config->no_mmio_entries)
		fmt->mmio = EPT_WRITE | EPT_EXEC;
}

void vmmu_fmt_init(struct vmmu_fmt *fmt, const struct vmmu_vm_config *config)
{
	*fmt = (struct vmmu_fmt){0};
	if (config->format == VMMU_FORMAT_SHADOW)
		init_shadow(fmt, config);
	else if (config->format == VMMU_FORMAT_NPT)
		init_npt(fmt, config);
	else
		init_ept(fmt, config);
	/* CPUs that look up their first-level cache with the address of an entry that is not
	 * usable (L1 terminal fault) may ignore bits above the implemented width: the five
	 * highest implemented bits set give an address where no memory is. */
	fmt->unbacked = VMMU_MASK(config->physical_bits - 1, config->physical_bits - 5);
	if (config->physical_bits < 52)
		fmt->beyond = VMMU_MASK(51, config->physical_bits);
	if (fmt->mmio)
		fmt->mmio |= fmt->unbacked | (uint64_t)VMMU_KIND_MMIO << VMMU_SPTE_KIND_SHIFT;
	fmt->generation_mask = VMMU_BIT(GENERATION_BITS) - 1;
	if (config->format == VMMU_FORMAT_SHADOW)
		fmt->generation_mask &= VMMU_BIT(GENERATION_SHADOW) - 1;
}

vmmu_spte_t vmmu_spte_mmio(const struct vmmu_fmt *fmt, uint64_t generation)
{
	uint64_t g = generation & fmt->generation_mask;
	uint64_t low = g & (VMMU_BIT(GENERATION_LOW) - 1);
	uint64_t mid = g >> GENERATION_LOW & (VMMU_BIT(GENERATION_MID) - 1);
	uint64_t high = g >> (GENERATION_LOW + GENERATION_MID) & (VMMU_BIT(GENERATION_HIGH) - 1);
	uint64_t top = g >> GENERATION_SHADOW;

	if (VMMU_MUTANT(MMIO_ADDRESS))
		return (vmmu_spte_t){(fmt->mmio & ~fmt->unbacked) | low << 12 | mid << 52};
	return (vmmu_spte_t){fmt->mmio | low << 3 | mid << 52 | high << 57 | top << 9};
}

uint64_t vmmu_spte_mmio_generation(vmmu_spte_t e)
{
	uint64_t low = e.raw >> 3 & (VMMU_BIT(GENERATION_LOW) - 1);
	uint64_t mid = e.raw >> 52 & (VMMU_BIT(GENERATION_MID) - 1);
	uint64_t high = e.raw >> 57 & (VMMU_BIT(GENERATION_HIGH) - 1);
	uint64_t top = e.raw >> 9 & (VMMU_BIT(GENERATION_TOP) - 1);

	return low | mid << GENERATION_LOW | high << (GENERATION_LOW + GENERATION_MID) |
	       top << GENERATION_SHADOW;
}

vmmu_spte_t vmmu_spte_child_of_huge(const struct vmmu_fmt *fmt, vmmu_spte_t huge,
				    enum vmmu_level level, unsigned index)
{
	uint64_t raw =
		huge.raw + ((uint64_t)index * vmmu_level_frames(level - 1u) << VMMU_PAGE_SHIFT);

	if (level - 1u == VMMU_LEVEL_4K)
		raw &= ~fmt->huge; /* bit 7 means something else, or nothing, in a 4K entry */
	return (vmmu_spte_t){raw};
}

static bool memtype_is_known(const struct vmmu_fmt *fmt, vmmu_spte_t e)
{
	static const uint8_t types[] = {VMMU_MEMTYPE_UC, VMMU_MEMTYPE_WC, VMMU_MEMTYPE_WT,
					VMMU_MEMTYPE_WP, VMMU_MEMTYPE_WB};

	for (unsigned i = 0; i < sizeof(types); i++)
		if ((e.raw & fmt->memtype_mask) == fmt->memtype[types[i]])
			return true;
	return false;
}

static const char *leaf_problem(const struct vmmu_fmt *fmt, vmmu_spte_t e, enum vmmu_level level)
{
	uint64_t known = VMMU_SPTE_KIND_MASK | VMMU_SPTE_ADDRESS_MASK | fmt->read | fmt->write |
			 fmt->exec | fmt->no_exec | fmt->user | fmt->user_bit | fmt->key_mask |
			 fmt->accessed | fmt->dirty | fmt->saved_write | fmt->memtype_mask |
			 (level > VMMU_LEVEL_4K ? fmt->huge : 0);

	if (level > VMMU_LEVEL_1G)
		return "a leaf in a table where no leaf can be";
	if (!(e.raw & fmt->read))
		return "a leaf that is not readable";
	if (fmt->user && !(e.raw & fmt->user))
		return "a leaf without the user right that nested walks need";
	if (level > VMMU_LEVEL_4K && !(e.raw & fmt->huge))
		return "a leaf above 4K without the bit that makes it one";
	if (e.raw & fmt->beyond)
		return "a leaf with an address that the CPU does not have";
	if (!memtype_is_known(fmt, e))
		return "a leaf of a memory type that does not exist";
	if (e.raw & ~known)
		return "a leaf with bits set that mean nothing in this format";
	if (spte_pfn(e).n & (vmmu_level_frames(level) - 1))
		return "a huge leaf whose frame is not aligned to its size";
	return NULL;
}

/* Flags of our own that a table entry may have. */
static uint64_t table_marks(const struct vmmu_fmt *fmt, enum vmmu_level level)
{
	return fmt->dirty && level == VMMU_LEVEL_2M ? VMMU_SPTE_USED : 0;
}

const char *vmmu_spte_problem(const struct vmmu_fmt *fmt, vmmu_spte_t e, enum vmmu_level level)
{
	uint64_t address = e.raw & VMMU_SPTE_ADDRESS_MASK;

	switch (spte_kind(e)) {
	case VMMU_KIND_EMPTY:
		return e.raw ? "an empty entry with bits set" : NULL;
	case VMMU_KIND_FROZEN:
		return e.raw != spte_frozen().raw ? "a frozen entry with bits set" : NULL;
	case VMMU_KIND_TABLE:
		if (level == VMMU_LEVEL_4K)
			return "a table below the lowest level";
		if (e.raw & fmt->beyond)
			return "a table with an address that the CPU does not have";
		if ((e.raw & ~(VMMU_SPTE_ADDRESS_MASK | fmt->accessed | table_marks(fmt, level))) !=
		    (spte_table(fmt, (vmmu_pfn_t){0}).raw & ~fmt->accessed))
			return "a table entry with unexpected bits";
		return NULL;
	case VMMU_KIND_MMIO:
		if (!fmt->mmio)
			return "a MMIO entry in a VM that cannot have one";
		if (level != VMMU_LEVEL_4K)
			return "a MMIO entry above the lowest level";
		if ((e.raw & ~GENERATION_MASK) != fmt->mmio ||
		    (address & fmt->unbacked) != fmt->unbacked)
			return "a MMIO entry with unexpected bits";
		return NULL;
	case VMMU_KIND_LEAF:
		return leaf_problem(fmt, e, level);
	case VMMU_KIND_COUNT:
		break;
	}
	return "an entry of no known kind";
}
