/* SPDX-License-Identifier: MIT */
#include "linear_format.h"

#define ADDRESS_64 UINT64_C(0x000ffffffffff000)
#define ADDRESS_32 UINT64_C(0xfffff000)

/* Bits high..low; none if high < low. */
static uint64_t bits(unsigned high, unsigned low)
{
	if (high < low)
		return 0;
	return (UINT64_MAX >> (63u - high)) & (UINT64_MAX << low);
}

static bool is_long(enum linear_mode mode)
{
	return mode == LINEAR_4_LEVEL || mode == LINEAR_5_LEVEL;
}

enum sim_level linear_top_level(enum linear_mode mode)
{
	switch (mode) {
	case LINEAR_OFF:
		return SIM_LEVEL_NONE;
	case LINEAR_32BIT:
	case LINEAR_PAE:
		return SIM_LEVEL_2M;
	case LINEAR_4_LEVEL:
		return SIM_LEVEL_PML4;
	case LINEAR_5_LEVEL:
		return SIM_LEVEL_PML5;
	}
	return SIM_LEVEL_NONE;
}

unsigned linear_entry_bytes(enum linear_mode mode)
{
	return mode == LINEAR_32BIT ? 4 : 8;
}

static unsigned index_bits(enum linear_mode mode)
{
	return mode == LINEAR_32BIT ? 10 : 9;
}

unsigned linear_shift(enum linear_mode mode, enum sim_level level)
{
	return SIM_PAGE_SHIFT + index_bits(mode) * ((unsigned)level - 1u);
}

uint64_t linear_entry_offset(enum linear_mode mode, sim_gva_t gva, enum sim_level level)
{
	uint64_t index = gva.bytes >> linear_shift(mode, level) & bits(index_bits(mode) - 1, 0);

	return index * linear_entry_bytes(mode);
}

uint64_t linear_cr3_base(const struct linear_regs *regs)
{
	if (regs->mode == LINEAR_PAE)
		return regs->cr3 & UINT64_C(0xffffffe0);
	return regs->cr3 & (regs->mode == LINEAR_32BIT ? ADDRESS_32 : ADDRESS_64);
}

bool linear_is_canonical(enum linear_mode mode, sim_gva_t gva)
{
	unsigned width = mode == LINEAR_5_LEVEL ? 57 : 48;
	uint64_t high = gva.bytes & bits(63, width - 1);

	if (!is_long(mode))
		return gva.bytes >> 32 == 0;
	return high == 0 || high == bits(63, width - 1);
}

bool linear_is_leaf(const struct linear_regs *regs, uint64_t entry, enum sim_level level)
{
	if (level == SIM_LEVEL_4K)
		return true;
	if (level > SIM_LEVEL_1G || (regs->mode == LINEAR_32BIT && !regs->pse))
		return false;
	return entry & LINEAR_HUGE;
}

static uint64_t must_be_zero_32(const struct linear_regs *regs, uint64_t entry,
				enum sim_level level)
{
	unsigned width = regs->pse36_width < 32 ? 32 : regs->pse36_width;

	if (level == SIM_LEVEL_4K || !linear_is_leaf(regs, entry, level))
		return 0;
	return bits(21, width - 19);
}

static uint64_t must_be_zero_64(const struct linear_regs *regs, uint64_t entry,
				enum sim_level level)
{
	uint64_t mask = bits(regs->mode == LINEAR_PAE ? 62 : 51, regs->maxphyaddr);

	if (!regs->nxe)
		mask |= LINEAR_NO_EXEC;
	if (level >= SIM_LEVEL_PML4) {
		mask |= LINEAR_HUGE;
		if (regs->vendor == LINEAR_AMD)
			mask |= LINEAR_GLOBAL;
	} else if (level == SIM_LEVEL_1G) {
		if (!regs->has_1g)
			mask |= LINEAR_HUGE;
		if (entry & LINEAR_HUGE)
			mask |= bits(29, 13);
	} else if (level == SIM_LEVEL_2M && (entry & LINEAR_HUGE)) {
		mask |= bits(20, 13);
	}
	return mask;
}

uint64_t linear_illegal_bits(const struct linear_regs *regs, uint64_t entry, enum sim_level level)
{
	if (regs->mode == LINEAR_32BIT)
		return entry & must_be_zero_32(regs, entry, level);
	return entry & must_be_zero_64(regs, entry, level);
}

bool linear_pdpte_is_illegal(const struct linear_regs *regs, uint64_t pdpte)
{
	uint64_t mask = bits(2, 1) | bits(8, 5) | bits(63, regs->maxphyaddr);

	return (pdpte & LINEAR_PRESENT) && (pdpte & mask);
}

uint64_t linear_table_base(enum linear_mode mode, uint64_t entry)
{
	return entry & (mode == LINEAR_32BIT ? ADDRESS_32 : ADDRESS_64);
}

uint64_t linear_page_base(const struct linear_regs *regs, uint64_t entry, enum sim_level level)
{
	uint64_t offset_mask = bits(linear_shift(regs->mode, level) - 1, 0);
	uint64_t base = linear_table_base(regs->mode, entry) & ~offset_mask;

	if (regs->mode == LINEAR_32BIT && level == SIM_LEVEL_2M)
		base |= (entry >> 13 & 0xff) << 32;
	return base;
}

struct linear_rights linear_all_rights(void)
{
	return (struct linear_rights){.write = true, .user = true};
}

struct linear_rights linear_narrow(const struct linear_regs *regs, struct linear_rights rights,
				   uint64_t entry, bool is_leaf)
{
	rights.write = rights.write && (entry & LINEAR_WRITABLE);
	rights.user = rights.user && (entry & LINEAR_USER_PAGE);
	rights.no_exec = rights.no_exec || (regs->mode != LINEAR_32BIT && (entry & LINEAR_NO_EXEC));
	if (is_leaf) {
		rights.global = entry & LINEAR_GLOBAL;
		rights.key = is_long(regs->mode) ? (uint8_t)(entry >> 59 & 15) : 0;
	}
	return rights;
}

uint32_t linear_error_of(const struct linear_regs *regs, const struct linear_access *access)
{
	bool has_nx = regs->nxe && regs->mode != LINEAR_32BIT;
	uint32_t error = 0;

	if (access->kind == LINEAR_WRITE)
		error |= LINEAR_PF_W;
	if (access->kind == LINEAR_FETCH && (regs->smep || has_nx))
		error |= LINEAR_PF_I;
	if (access->privilege == LINEAR_USER)
		error |= LINEAR_PF_U;
	return error;
}

static bool key_denies(const struct linear_regs *regs, const struct linear_rights *rights,
		       const struct linear_access *access)
{
	uint32_t two = regs->pkru >> (2u * rights->key) & 3u;

	if (!regs->pke || !is_long(regs->mode) || !rights->user || access->kind == LINEAR_FETCH)
		return false;
	if (two & 1u)
		return true;
	return (two & 2u) && access->kind == LINEAR_WRITE &&
	       (regs->wp || access->privilege == LINEAR_USER);
}

static bool mode_denies(const struct linear_regs *regs, const struct linear_rights *rights,
			const struct linear_access *access)
{
	if (access->privilege == LINEAR_USER)
		return !rights->user;
	if (!rights->user)
		return false;
	if (access->kind == LINEAR_FETCH)
		return regs->smep;
	return regs->smap && (access->privilege == LINEAR_IMPLICIT || !access->ac);
}

bool linear_is_denied(const struct linear_regs *regs, const struct linear_rights *rights,
		      const struct linear_access *access, uint32_t *error)
{
	bool by_key = key_denies(regs, rights, access);
	bool denied = by_key || mode_denies(regs, rights, access);

	if (access->kind == LINEAR_WRITE && !rights->write)
		denied |= regs->wp || access->privilege == LINEAR_USER;
	if (access->kind == LINEAR_FETCH && rights->no_exec)
		denied |= regs->nxe;
	*error = LINEAR_PF_P | linear_error_of(regs, access) | (by_key ? LINEAR_PF_PK : 0);
	return denied;
}

uint32_t linear_error_absent(const struct linear_regs *regs, const struct linear_access *access)
{
	return linear_error_of(regs, access);
}

uint32_t linear_error_reserved(const struct linear_regs *regs, const struct linear_access *access)
{
	uint32_t error = linear_error_of(regs, access) | LINEAR_PF_RSVD;

	return regs->rsvd_without_p ? error : error | LINEAR_PF_P;
}
