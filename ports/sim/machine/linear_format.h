/* SPDX-License-Identifier: MIT */
/*
 * linear_format.h - page-table entries as masks and shifts; for the CPU's walker and for the
 * oracle. The specification (linear_spec.c) asks for the same things in another way.
 */
#ifndef SIM_MACHINE_LINEAR_FORMAT_H
#define SIM_MACHINE_LINEAR_FORMAT_H

#include "linear_types.h"

#define LINEAR_PRESENT (UINT64_C(1) << 0)
#define LINEAR_WRITABLE (UINT64_C(1) << 1)
#define LINEAR_USER_PAGE (UINT64_C(1) << 2)
#define LINEAR_PWT (UINT64_C(1) << 3)
#define LINEAR_PCD (UINT64_C(1) << 4)
#define LINEAR_ACCESSED (UINT64_C(1) << 5)
#define LINEAR_DIRTY (UINT64_C(1) << 6)
#define LINEAR_HUGE (UINT64_C(1) << 7) /* in a 4K leaf: PAT */
#define LINEAR_GLOBAL (UINT64_C(1) << 8)
#define LINEAR_HUGE_PAT (UINT64_C(1) << 12)
#define LINEAR_NO_EXEC (UINT64_C(1) << 63)

#define LINEAR_CR3_NO_FLUSH (UINT64_C(1) << 63)
#define LINEAR_PCID_MASK UINT64_C(0xfff)

/* Level of the first entry that is read from memory in a walk: PAE has its PDPTEs in registers. */
enum sim_level linear_top_level(enum linear_mode mode);
unsigned linear_entry_bytes(enum linear_mode mode);
/* Bits below those that choose an entry of @level: 12, 21 or 22, 30, 39, 48. */
unsigned linear_shift(enum linear_mode mode, enum sim_level level);
/* Where in its table the entry of @level for @gva is, in bytes. */
uint64_t linear_entry_offset(enum linear_mode mode, sim_gva_t gva, enum sim_level level);
/* Physical address of the top table; PAE: of the four PDPTEs. */
uint64_t linear_cr3_base(const struct linear_regs *regs);

bool linear_is_canonical(enum linear_mode mode, sim_gva_t gva);
bool linear_is_leaf(const struct linear_regs *regs, uint64_t entry, enum sim_level level);
/* Bits of this entry that are set and must not be. */
uint64_t linear_illegal_bits(const struct linear_regs *regs, uint64_t entry, enum sim_level level);
bool linear_pdpte_is_illegal(const struct linear_regs *regs, uint64_t pdpte);
/* Where an entry that is no leaf leads to. */
uint64_t linear_table_base(enum linear_mode mode, uint64_t entry);
/* Where the page of a leaf starts. */
uint64_t linear_page_base(const struct linear_regs *regs, uint64_t entry, enum sim_level level);

struct linear_rights linear_all_rights(void);
/* Rights of a path, one entry longer. */
struct linear_rights linear_narrow(const struct linear_regs *regs, struct linear_rights rights,
				   uint64_t entry, bool is_leaf);
/* W, U and I of the error code: what the access was. */
uint32_t linear_error_of(const struct linear_regs *regs, const struct linear_access *access);
/* Return: true if these rights do not do; *error is then the whole error code. */
bool linear_is_denied(const struct linear_regs *regs, const struct linear_rights *rights,
		      const struct linear_access *access, uint32_t *error);
uint32_t linear_error_absent(const struct linear_regs *regs, const struct linear_access *access);
uint32_t linear_error_reserved(const struct linear_regs *regs, const struct linear_access *access);

#endif
