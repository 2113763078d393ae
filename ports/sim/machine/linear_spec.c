/* SPDX-License-Identifier: MIT */
/*
 * linear_spec.c - the manuals' rules on linear addresses, one small predicate each.
 *
 * Nothing is shared with the walker and the oracle on purpose: bits are asked for by number,
 * and every question is asked of the whole path at once.
 */
#include "linear_spec.h"

static bool bit(uint64_t entry, unsigned number)
{
	return entry >> number & 1;
}

static bool is_ia32e(const struct linear_regs *regs)
{
	return regs->mode == LINEAR_4_LEVEL || regs->mode == LINEAR_5_LEVEL;
}

/* Is execute-disable in force? The 32-bit entries have no room for it. */
static bool has_nx(const struct linear_regs *regs)
{
	return regs->nxe && (regs->mode == LINEAR_PAE || is_ia32e(regs));
}

static unsigned first_level(const struct linear_regs *regs)
{
	switch (regs->mode) {
	case LINEAR_OFF:
		return 0;
	case LINEAR_32BIT:
		return 2;
	case LINEAR_PAE:
		return 3;
	case LINEAR_4_LEVEL:
		return 4;
	case LINEAR_5_LEVEL:
		return 5;
	}
	return 0;
}

static bool is_pdpte_register(const struct linear_regs *regs, unsigned level)
{
	return regs->mode == LINEAR_PAE && level == 3;
}

bool linear_spec_is_canonical(const struct linear_regs *regs, sim_gva_t gva)
{
	unsigned sign = regs->mode == LINEAR_5_LEVEL ? 56 : 47;

	for (unsigned number = 0; number < 64; number++) {
		if (is_ia32e(regs) && number > sign &&
		    bit(gva.bytes, number) != bit(gva.bytes, sign))
			return false;
		if (!is_ia32e(regs) && number >= 32 && bit(gva.bytes, number))
			return false;
	}
	return true;
}

bool linear_spec_is_leaf(const struct linear_regs *regs, uint64_t entry, enum sim_level level)
{
	if (level == 1)
		return true;
	if (regs->mode == LINEAR_32BIT)
		return level == 2 && regs->pse && bit(entry, 7);
	if (level == 2)
		return bit(entry, 7);
	return level == 3 && is_ia32e(regs) && bit(entry, 7);
}

static bool bit_is_reserved_32(const struct linear_regs *regs, uint64_t entry, unsigned level,
			       unsigned number)
{
	bool is_4m = level == 2 && linear_spec_is_leaf(regs, entry, SIM_LEVEL_2M);

	/* Bit 13 stands for physical bit 32, bit 20 for physical bit 39, bit 21 for nothing. */
	return is_4m && number >= 13 && number <= 21 && number + 19 >= regs->pse36_width;
}

static bool bit_is_reserved_pae(const struct linear_regs *regs, uint64_t entry, unsigned level,
				unsigned number)
{
	if (number == 63)
		return level == 3 || !regs->nxe;
	if (number >= 52 || number >= regs->maxphyaddr)
		return true;
	if (level == 3)
		return number == 1 || number == 2 || (number >= 5 && number <= 8);
	return level == 2 && bit(entry, 7) && number >= 13 && number <= 20;
}

static bool bit_is_reserved_long(const struct linear_regs *regs, uint64_t entry, unsigned level,
				 unsigned number)
{
	if (number == 63)
		return !regs->nxe;
	if (number >= 52)
		return false; /* for software, or the protection key */
	if (number >= regs->maxphyaddr)
		return true;
	if (level >= 4)
		return number == 7 || (number == 8 && regs->vendor == LINEAR_AMD);
	if (level == 3 && number == 7)
		return !regs->has_1g;
	if (level == 3 && bit(entry, 7))
		return number >= 13 && number <= 29;
	if (level == 2 && bit(entry, 7))
		return number >= 13 && number <= 20;
	return false;
}

bool linear_spec_is_reserved(const struct linear_regs *regs, uint64_t entry, enum sim_level level)
{
	for (unsigned number = 0; number < 64; number++) {
		if (!bit(entry, number))
			continue;
		if (regs->mode == LINEAR_32BIT && bit_is_reserved_32(regs, entry, level, number))
			return true;
		if (regs->mode == LINEAR_PAE && bit_is_reserved_pae(regs, entry, level, number))
			return true;
		if (is_ia32e(regs) && bit_is_reserved_long(regs, entry, level, number))
			return true;
	}
	return false;
}

bool linear_spec_pdptes_are_legal(const struct linear_regs *regs, const uint64_t pdpte[4])
{
	for (unsigned i = 0; i < 4; i++)
		for (unsigned number = 0; number < 64; number++)
			if (bit(pdpte[i], 0) && bit(pdpte[i], number) &&
			    bit_is_reserved_pae(regs, pdpte[i], 3, number))
				return false;
	return true;
}

/* Is this bit set in all entries of the path, down to the leaf? Registers do not count. */
static bool in_all(const struct linear_regs *regs, const struct linear_path *path, unsigned leaf,
		   unsigned number)
{
	for (unsigned level = first_level(regs); level >= leaf; level--)
		if (!is_pdpte_register(regs, level) && !bit(path->entry[level], number))
			return false;
	return true;
}

static bool in_any(const struct linear_regs *regs, const struct linear_path *path, unsigned leaf,
		   unsigned number)
{
	for (unsigned level = first_level(regs); level >= leaf; level--)
		if (!is_pdpte_register(regs, level) && bit(path->entry[level], number))
			return true;
	return false;
}

static bool violates_key(const struct linear_regs *regs, const struct linear_access *access,
			 bool is_user_page, uint64_t leaf)
{
	unsigned key = (unsigned)(leaf >> 59) & 15;
	bool access_disabled = bit(regs->pkru, 2 * key);
	bool write_disabled = bit(regs->pkru, 2 * key + 1);

	if (!is_ia32e(regs) || !regs->pke)
		return false;
	if (!is_user_page)
		return false;
	if (access->kind == LINEAR_FETCH)
		return false;
	if (access_disabled)
		return true;
	if (write_disabled && access->kind == LINEAR_WRITE)
		return regs->wp || access->privilege == LINEAR_USER;
	return false;
}

/* The access-rights rules, case by case as the manual lists them. Keys come on top. */
static bool is_permitted(const struct linear_regs *regs, const struct linear_path *path,
			 unsigned leaf, const struct linear_access *access)
{
	bool user_page = in_all(regs, path, leaf, 2);
	bool writable = in_all(regs, path, leaf, 1);
	bool no_exec = has_nx(regs) && in_any(regs, path, leaf, 63);
	bool smap_stops =
		regs->smap && user_page && (access->privilege == LINEAR_IMPLICIT || !access->ac);

	if (access->privilege == LINEAR_USER) {
		if (!user_page)
			return false;
		if (access->kind == LINEAR_READ)
			return true;
		return access->kind == LINEAR_WRITE ? writable : !no_exec;
	}
	if (access->kind == LINEAR_READ)
		return !smap_stops;
	if (access->kind == LINEAR_WRITE)
		return (writable || !regs->wp) && !smap_stops;
	if (user_page && regs->smep)
		return false;
	return !no_exec;
}

static struct linear_verdict fault(const struct linear_regs *regs,
				   const struct linear_access *access, unsigned level,
				   uint32_t cause)
{
	struct linear_verdict verdict = {.outcome = LINEAR_FAULT, .level = (enum sim_level)level};

	if (cause & LINEAR_PF_RSVD && regs->rsvd_without_p)
		cause = LINEAR_PF_RSVD;
	verdict.error = cause;
	if (access->kind == LINEAR_WRITE)
		verdict.error += LINEAR_PF_W;
	if (access->privilege == LINEAR_USER)
		verdict.error += LINEAR_PF_U;
	if (access->kind == LINEAR_FETCH && (has_nx(regs) || regs->smep))
		verdict.error += LINEAR_PF_I;
	return verdict;
}

static uint64_t physical(const struct linear_regs *regs, uint64_t leaf, unsigned level,
			 uint64_t gva)
{
	unsigned offset_bits = level == 1 ? 12 : level == 2 ? 21 : 30;
	unsigned address_bits = 52;
	uint64_t address = 0;

	if (regs->mode == LINEAR_32BIT) {
		offset_bits = level == 1 ? 12 : 22;
		address_bits = 32;
		for (unsigned number = 13; level == 2 && number <= 20; number++)
			if (bit(leaf, number))
				address += UINT64_C(1) << (number + 19);
	}
	for (unsigned number = 0; number < address_bits; number++)
		if (bit(number < offset_bits ? gva : leaf, number))
			address += UINT64_C(1) << number;
	return address;
}

struct linear_verdict linear_spec_verdict(const struct linear_regs *regs,
					  const struct linear_path *path,
					  const struct linear_access *access)
{
	struct linear_verdict verdict = {.outcome = LINEAR_OK};
	unsigned level = first_level(regs);
	uint64_t leaf;
	bool by_key;

	if (!linear_spec_is_canonical(regs, access->gva))
		return (struct linear_verdict){.outcome = LINEAR_NONCANONICAL};
	if (level == 0) {
		verdict.address = access->gva.bytes;
		return verdict;
	}
	for (;; level--) {
		if (!bit(path->entry[level], 0))
			return fault(regs, access, level, 0);
		if (linear_spec_is_reserved(regs, path->entry[level], (enum sim_level)level))
			return fault(regs, access, level, LINEAR_PF_P | LINEAR_PF_RSVD);
		verdict.accessed[level] = !is_pdpte_register(regs, level);
		if (linear_spec_is_leaf(regs, path->entry[level], (enum sim_level)level))
			break;
	}
	leaf = path->entry[level];
	by_key = violates_key(regs, access, in_all(regs, path, level, 2), leaf);
	if (by_key)
		return fault(regs, access, level, LINEAR_PF_P | LINEAR_PF_PK);
	if (!is_permitted(regs, path, level, access))
		return fault(regs, access, level, LINEAR_PF_P);
	verdict.level = (enum sim_level)level;
	verdict.dirty = access->kind == LINEAR_WRITE;
	verdict.address = physical(regs, leaf, level, access->gva.bytes);
	return verdict;
}
