/* SPDX-License-Identifier: MIT */
/*
 * What an entry of a table that the hardware walks means. An entry's raw value is read
 * here and in entry.c and nowhere else.
 *
 * Bits 54..56, ignored by the hardware in every format, say what kind of entry it is, so no
 * reader has to guess from rights:
 *
 *   kind    hardware sees        holds
 *   EMPTY   not present          nothing: the whole word is 0
 *   TABLE   table                frame of the next table
 *   LEAF    translation          frame, rights, accessed, dirty, memory type
 *   MMIO    reserved-bit fault   generation (17 bits); no address of memory
 *           or misconfiguration
 *   FROZEN  not present          nothing: the table it is in was taken out
 */
#ifndef VMMU_FORMAT_ENTRY_H
#define VMMU_FORMAT_ENTRY_H

#include <vmmu/port.h>
#include <vmmu/types.h>
#include <vmmu/vm.h>

#include "base/atomic.h"

/* clang-format off */
typedef struct { uint64_t raw; } vmmu_spte_t;		/* value of an entry */
typedef struct { vmmu_atomic_t raw; } vmmu_spte_slot_t;	/* live entry in a table */
/* clang-format on */
_Static_assert(sizeof(vmmu_spte_slot_t) == 8, "a slot is one hardware entry");

enum vmmu_kind {
	VMMU_KIND_EMPTY,
	VMMU_KIND_TABLE,
	VMMU_KIND_LEAF,
	VMMU_KIND_MMIO,
	VMMU_KIND_FROZEN,
	VMMU_KIND_COUNT
};

#define VMMU_BIT(n) (UINT64_C(1) << (n))
#define VMMU_MASK(high, low) ((~UINT64_C(0) >> (63 - (high))) & ~(VMMU_BIT(low) - 1))

#define VMMU_SPTE_KIND_SHIFT 54
#define VMMU_SPTE_KIND_MASK VMMU_MASK(56, 54)
#define VMMU_SPTE_ADDRESS_MASK VMMU_MASK(51, 12)
#define VMMU_SPTE_USED VMMU_BIT(53) /* TABLE: to be looked through for dirty leaves */
#define VMMU_SPTE_KEY_SHIFT 59
#define VMMU_SPTE_KEY_MASK VMMU_MASK(62, 59)
#define VMMU_MMIO_GENERATION_BITS 17u

/* What the vendors disagree about, computed once per VM. A mask of 0: no such bit. */
struct vmmu_fmt {
	const char *name;
	uint64_t read, write, exec, no_exec, user, huge, accessed, dirty;
	uint64_t user_bit;        /* a right of its own (shadow); @user is set in every leaf */
	uint64_t key_mask;        /* protection keys, where leaves have them */
	uint64_t memtype_mask;    /* where leaves keep the memory type */
	uint64_t memtype[7];      /* bits for each enum vmmu_memtype */
	uint64_t saved_write;     /* without dirty: the leaf lost @write to a harvest only */
	uint64_t table;           /* all bits of a table entry but the frame and the kind */
	uint64_t mmio;            /* a MMIO entry of generation 0; 0: cannot be had */
	uint64_t beyond;          /* address bits that the CPU does not have */
	uint64_t unbacked;        /* address bits that no cached memory has all set */
	uint64_t generation_mask; /* of slot generations, as far as entries hold them */
};

/* Fill in @fmt. The configuration has been validated. */
void vmmu_fmt_init(struct vmmu_fmt *fmt, const struct vmmu_vm_config *config);

static inline enum vmmu_kind spte_kind(vmmu_spte_t e)
{
	return (enum vmmu_kind)((e.raw & VMMU_SPTE_KIND_MASK) >> VMMU_SPTE_KIND_SHIFT);
}

static inline vmmu_spte_t spte_get(const vmmu_spte_slot_t *slot)
{
	return (vmmu_spte_t){atomic_get_acquire(&slot->raw)};
}

/* Frame of a LEAF or TABLE. */
static inline vmmu_pfn_t spte_pfn(vmmu_spte_t e)
{
	return (vmmu_pfn_t){(e.raw & VMMU_SPTE_ADDRESS_MASK) >> VMMU_PAGE_SHIFT};
}

static inline vmmu_spte_t spte_empty(void)
{
	return (vmmu_spte_t){0};
}

static inline vmmu_spte_t spte_frozen(void)
{
	return (vmmu_spte_t){(uint64_t)VMMU_KIND_FROZEN << VMMU_SPTE_KIND_SHIFT};
}

static inline vmmu_spte_t spte_table(const struct vmmu_fmt *fmt, vmmu_pfn_t table)
{
	return (vmmu_spte_t){(uint64_t)VMMU_KIND_TABLE << VMMU_SPTE_KIND_SHIFT | fmt->table |
			     table.n << VMMU_PAGE_SHIFT};
}

/* The same entry: the hardware need not have used it since, but its leaves may be dirty. */
static inline vmmu_spte_t spte_table_used(const struct vmmu_fmt *fmt, vmmu_spte_t e)
{
	return (vmmu_spte_t){(e.raw & ~fmt->accessed) | VMMU_SPTE_USED};
}

/* What a leaf shall say. */
struct vmmu_leaf {
	vmmu_pfn_t pfn;
	enum vmmu_level level;
	uint32_t access; /* enum vmmu_access; READ is always there */
	bool accessed, dirty;
	enum vmmu_memtype memtype;
};

static inline vmmu_spte_t vmmu_spte_leaf(const struct vmmu_fmt *fmt, const struct vmmu_leaf *leaf)
{
	uint64_t raw = (uint64_t)VMMU_KIND_LEAF << VMMU_SPTE_KIND_SHIFT | fmt->read | fmt->user |
		       fmt->memtype[leaf->memtype] | leaf->pfn.n << VMMU_PAGE_SHIFT;

	if (leaf->level > VMMU_LEVEL_4K)
		raw |= fmt->huge;
	if (leaf->access & VMMU_ACCESS_WRITE)
		raw |= fmt->write;
	raw |= leaf->access & VMMU_ACCESS_EXEC ? fmt->exec : fmt->no_exec;
	if (leaf->accessed)
		raw |= fmt->accessed;
	if (leaf->dirty)
		raw |= fmt->dirty;
	return (vmmu_spte_t){raw};
}

/* Does a MMIO entry exist in this format, on this CPU? */
static inline bool fmt_has_mmio(const struct vmmu_fmt *fmt)
{
	return fmt->mmio != 0;
}

vmmu_spte_t vmmu_spte_mmio(const struct vmmu_fmt *fmt, uint64_t generation);
/* Generation of a MMIO entry, as far as it holds it. */
uint64_t vmmu_spte_mmio_generation(vmmu_spte_t e);

/* enum vmmu_access bits that a LEAF grants; 0 for other kinds. */
static inline uint32_t spte_access(const struct vmmu_fmt *fmt, vmmu_spte_t e)
{
	uint32_t access = 0;

	if (spte_kind(e) != VMMU_KIND_LEAF)
		return 0;
	if (e.raw & fmt->read)
		access |= VMMU_ACCESS_READ;
	if (e.raw & fmt->write)
		access |= VMMU_ACCESS_WRITE;
	if (fmt->no_exec ? !(e.raw & fmt->no_exec) : (e.raw & fmt->exec) != 0)
		access |= VMMU_ACCESS_EXEC;
	return access;
}

static inline bool spte_is_accessed(const struct vmmu_fmt *fmt, vmmu_spte_t e)
{
	return (e.raw & fmt->accessed) != 0;
}

/* Without a dirty flag a writable leaf counts as dirty. */
static inline bool spte_is_dirty(const struct vmmu_fmt *fmt, vmmu_spte_t e)
{
	return (e.raw & (fmt->dirty ? fmt->dirty : fmt->write)) != 0;
}

/* The same leaf with rights, accessed and dirty of both. Same frame, same type. */
static inline vmmu_spte_t spte_union(const struct vmmu_fmt *fmt, vmmu_spte_t a, vmmu_spte_t b)
{
	return (vmmu_spte_t){((a.raw | b.raw) & ~fmt->no_exec) | (a.raw & b.raw & fmt->no_exec)};
}

/* The same leaf without some rights; READ is none that a leaf can do without. */
static inline vmmu_spte_t spte_without(const struct vmmu_fmt *fmt, vmmu_spte_t e, uint32_t access)
{
	if (access & VMMU_ACCESS_WRITE)
		e.raw &= ~(fmt->write | fmt->saved_write);
	if (access & VMMU_ACCESS_EXEC)
		e.raw = (e.raw & ~fmt->exec) | fmt->no_exec;
	return e;
}

/* The leaf for part @index of a huge leaf of @level, one level down. */
vmmu_spte_t vmmu_spte_child_of_huge(const struct vmmu_fmt *fmt, vmmu_spte_t huge,
				    enum vmmu_level level, unsigned index);

/**
 * vmmu_spte_problem() - is this value one that vmmu could have written at this height?
 * Return: NULL, or what is wrong with it in words. Knows nothing of slots.
 */
const char *vmmu_spte_problem(const struct vmmu_fmt *fmt, vmmu_spte_t e, enum vmmu_level level);

/* Index of a frame's entry in a table of @level. */
static inline unsigned gfn_index(vmmu_gfn_t gfn, unsigned level)
{
	return (unsigned)(gfn.n >> (9u * (level - 1u))) & (VMMU_TABLE_ENTRIES - 1u);
}

#endif
