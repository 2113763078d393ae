/* SPDX-License-Identifier: MIT */
/*
 * spec.c - the manuals' rules, one small predicate each (see spec.h).
 *
 * Nothing here is shared with the walkers on purpose: bits are asked for by number, and every
 * question is asked of the whole path at once.
 */
#include "spec.h"

static bool bit(uint64_t entry, unsigned number)
{
	return entry >> number & 1;
}

static bool is_top_two(enum sim_level level)
{
	return level == SIM_LEVEL_PML4 || level == SIM_LEVEL_PML5;
}

bool sim_spec_is_present(enum sim_format format, uint64_t entry)
{
	if (format == SIM_NPT)
		return bit(entry, 0);
	return bit(entry, 0) || bit(entry, 1) || bit(entry, 2);
}

bool sim_spec_is_leaf(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	(void)root;
	if (level == SIM_LEVEL_4K)
		return true;
	if (is_top_two(level))
		return false;
	return bit(entry, 7);
}

/* Must this bit be zero in a present entry of this level? */
static bool npt_bit_is_reserved(const struct sim_root *root, uint64_t entry, enum sim_level level,
				unsigned number)
{
	bool is_2m = level == SIM_LEVEL_2M && bit(entry, 7);
	bool is_1g = level == SIM_LEVEL_1G && bit(entry, 7);

	if (number == 63)
		return !root->has_nx;
	if (number >= 52)
		return false; /* available to software */
	if (number >= root->maxphyaddr)
		return true;
	if (number == 7 || number == 8)
		return is_top_two(level) || (number == 7 && level == SIM_LEVEL_1G && !root->has_1g);
	if (number >= 13 && number <= 20)
		return is_2m || is_1g;
	if (number >= 21 && number <= 29)
		return is_1g;
	return false;
}

static bool ept_bit_is_reserved(const struct sim_root *root, uint64_t entry, enum sim_level level,
				unsigned number)
{
	bool is_leaf = sim_spec_is_leaf(root, entry, level);

	if (number >= 52)
		return false; /* ignored, or for features that are not simulated */
	if (number >= root->maxphyaddr)
		return true;
	if (number == 7)
		return is_top_two(level) || (level == SIM_LEVEL_1G && !root->has_1g);
	if (number >= 3 && number <= 6)
		return !is_leaf; /* memory type and ignore-PAT belong to leaves */
	if (number >= 12 && number <= 20)
		return is_leaf && level >= SIM_LEVEL_2M;
	if (number >= 21 && number <= 29)
		return is_leaf && level == SIM_LEVEL_1G;
	return false;
}

/* Combinations that no processor accepts though every single bit is allowed. */
static bool ept_combination_is_reserved(const struct sim_root *root, uint64_t entry,
					enum sim_level level)
{
	bool r = bit(entry, 0), w = bit(entry, 1), x = bit(entry, 2);
	unsigned type = (bit(entry, 5) ? 4u : 0u) + (bit(entry, 4) ? 2u : 0u) + bit(entry, 3);

	if (w && !r)
		return true;
	if (x && !r && !w && !root->has_exec_only)
		return true;
	if (!sim_spec_is_leaf(root, entry, level))
		return false;
	return !(type == 0 || type == 1 || type == 4 || type == 5 || type == 6);
}

bool sim_spec_is_reserved(const struct sim_root *root, uint64_t entry, enum sim_level level)
{
	for (unsigned number = 0; number < 64; number++) {
		if (!bit(entry, number))
			continue;
		if (root->format == SIM_NPT && npt_bit_is_reserved(root, entry, level, number))
			return true;
		if (root->format == SIM_EPT && ept_bit_is_reserved(root, entry, level, number))
			return true;
	}
	return root->format == SIM_EPT && ept_combination_is_reserved(root, entry, level);
}

/* Where the path ends if nothing is wrong with it. */
static enum sim_level end_of_path(const struct sim_path *path)
{
	if (bit(path->entry[3], 7))
		return SIM_LEVEL_1G;
	if (bit(path->entry[2], 7))
		return SIM_LEVEL_2M;
	return SIM_LEVEL_4K;
}

/* The highest level whose entry is absent or reserved; 0 if all is well. */
static enum sim_level first_bad_level(const struct sim_root *root, const struct sim_path *path)
{
	enum sim_level bad = SIM_LEVEL_NONE;

	for (unsigned l = end_of_path(path); l <= root->level_count; l++)
		if (!sim_spec_is_present(root->format, path->entry[l]) ||
		    sim_spec_is_reserved(root, path->entry[l], (enum sim_level)l))
			bad = (enum sim_level)l;
	return bad;
}

/* Is a bit set in every entry from the top down to @last? */
static bool all_have(const struct sim_root *root, const struct sim_path *path, enum sim_level last,
		     unsigned number)
{
	for (unsigned l = last; l <= root->level_count; l++)
		if (!bit(path->entry[l], number))
			return false;
	return true;
}

static bool some_has(const struct sim_root *root, const struct sim_path *path, enum sim_level last,
		     unsigned number)
{
	for (unsigned l = last; l <= root->level_count; l++)
		if (bit(path->entry[l], number))
			return true;
	return false;
}

static bool is_guest_walk(enum sim_access_kind kind)
{
	return kind == SIM_TABLE_READ || kind == SIM_TABLE_WRITE;
}

/* How the second stage sees an access: does it read, write, fetch? */
static bool npt_writes(enum sim_access_kind kind)
{
	return kind == SIM_WRITE || is_guest_walk(kind);
}

static bool ept_writes(const struct sim_root *root, enum sim_access_kind kind)
{
	return kind == SIM_WRITE || kind == SIM_TABLE_WRITE ||
	       (kind == SIM_TABLE_READ && root->has_ad);
}

static bool ept_reads(enum sim_access_kind kind)
{
	return kind == SIM_READ || is_guest_walk(kind);
}

static bool npt_allows(const struct sim_root *root, const struct sim_path *path,
		       enum sim_level leaf, enum sim_access_kind kind)
{
	if (!all_have(root, path, leaf, 2))
		return false; /* every nested access is a user access */
	if (npt_writes(kind) && !all_have(root, path, leaf, 1))
		return false;
	return !(kind == SIM_EXEC && some_has(root, path, leaf, 63));
}

static bool ept_allows(const struct sim_root *root, const struct sim_path *path,
		       enum sim_level leaf, enum sim_access_kind kind)
{
	if (ept_reads(kind) && !all_have(root, path, leaf, 0))
		return false;
	if (ept_writes(root, kind) && !all_have(root, path, leaf, 1))
		return false;
	return !(kind == SIM_EXEC && !all_have(root, path, leaf, 2));
}

static uint64_t npt_info(enum sim_access_kind kind, bool p, bool rsvd)
{
	uint64_t info = 4; /* user */

	info += p ? 1 : 0;
	info += npt_writes(kind) ? 2 : 0;
	info += rsvd ? 8 : 0;
	info += kind == SIM_EXEC ? 16 : 0;
	info += is_guest_walk(kind) ? UINT64_C(0x200000000) : UINT64_C(0x100000000);
	return info;
}

/* @last: the lowest level that was looked at; above the top if none was. */
static uint64_t ept_info(const struct sim_root *root, const struct sim_path *path,
			 enum sim_access_kind kind, enum sim_level last)
{
	uint64_t info = 0x80; /* a linear address exists */
	bool none = last == SIM_LEVEL_NONE;

	info += ept_reads(kind) ? 1 : 0;
	info += ept_writes(root, kind) ? 2 : 0;
	info += kind == SIM_EXEC ? 4 : 0;
	info += !none && all_have(root, path, last, 0) ? 8 : 0;
	info += !none && all_have(root, path, last, 1) ? 16 : 0;
	info += !none && all_have(root, path, last, 2) ? 32 : 0;
	info += is_guest_walk(kind) ? 0 : 0x100;
	return info;
}

static struct sim_verdict bad_verdict(const struct sim_root *root, const struct sim_path *path,
				      enum sim_access_kind kind, enum sim_level level)
{
	bool absent =
		level == SIM_LEVEL_NONE || !sim_spec_is_present(root->format, path->entry[level]);
	struct sim_verdict verdict = {.level = level};

	if (root->format == SIM_NPT) {
		verdict.outcome = SIM_NPF;
		verdict.info = npt_info(kind, !absent && !root->rsvd_without_p, !absent);
	} else if (absent) {
		verdict.outcome = SIM_EPT_VIOLATION;
		verdict.info = ept_info(root, path, kind, level);
	} else {
		verdict.outcome = SIM_EPT_MISCONFIG;
	}
	return verdict;
}

static struct sim_verdict denied_verdict(const struct sim_root *root, const struct sim_path *path,
					 enum sim_access_kind kind, enum sim_level leaf)
{
	struct sim_verdict verdict = {.level = leaf};

	if (root->format == SIM_NPT) {
		verdict.outcome = SIM_NPF;
		verdict.info = npt_info(kind, true, false);
	} else {
		verdict.outcome = SIM_EPT_VIOLATION;
		verdict.info = ept_info(root, path, kind, leaf);
	}
	return verdict;
}

static struct sim_verdict good_verdict(const struct sim_root *root, const struct sim_path *path,
				       sim_gpa_t gpa, enum sim_access_kind kind)
{
	enum sim_level leaf = end_of_path(path);
	uint64_t size = SIM_PAGE_BYTES * sim_level_pages(leaf);
	uint64_t base = path->entry[leaf] % (UINT64_C(1) << 52) / size * size;
	struct sim_verdict verdict = {.outcome = SIM_OK, .level = leaf};

	verdict.hpa.bytes = base + gpa.bytes % size;
	for (unsigned l = 1; l <= 5; l++) {
		bool used = l >= leaf && l <= root->level_count;

		if (root->format == SIM_NPT)
			verdict.accessed[l] = used || bit(path->entry[l], 5);
		else
			verdict.accessed[l] = (used && root->has_ad) || bit(path->entry[l], 8);
	}
	if (root->format == SIM_NPT)
		verdict.dirty = npt_writes(kind) || bit(path->entry[leaf], 6);
	else
		verdict.dirty =
			(ept_writes(root, kind) && root->has_ad) || bit(path->entry[leaf], 9);
	return verdict;
}

struct sim_verdict sim_spec_verdict(const struct sim_root *root, const struct sim_path *path,
				    sim_gpa_t gpa, enum sim_access_kind kind)
{
	enum sim_level bad = first_bad_level(root, path);
	enum sim_level leaf = end_of_path(path);
	bool allowed;

	if (gpa.bytes >= UINT64_C(1) << (root->level_count == 4 ? 48 : 57))
		return bad_verdict(root, path, kind, SIM_LEVEL_NONE);
	if (bad != SIM_LEVEL_NONE)
		return bad_verdict(root, path, kind, bad);
	allowed = root->format == SIM_NPT ? npt_allows(root, path, leaf, kind)
					  : ept_allows(root, path, leaf, kind);
	if (!allowed)
		return denied_verdict(root, path, kind, leaf);
	return good_verdict(root, path, gpa, kind);
}
