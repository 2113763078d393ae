/* SPDX-License-Identifier: MIT */
/*
 * Exhaustive: every combination of what decides about an access, against the specification.
 *
 * Modes with two levels are crossed completely. With more levels the bits come in two groups
 * which meet only in the order of checks: rights (W U NX), judged when the page is found, and
 * structure (P A D PS NX), judged entry by entry. Each group is crossed over all levels, and
 * the two are mixed by the random tables of random_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim.h"

#define P UINT64_C(0x001)
#define W UINT64_C(0x002)
#define U UINT64_C(0x004)
#define A UINT64_C(0x020)
#define D UINT64_C(0x040)
#define PS UINT64_C(0x080)
#define NX (UINT64_C(1) << 63)

#define FLAGS_ALL 64u /* combinations of enum vmmu_walk_flags */
#define KEY 5u        /* the leaf's protection key */

static struct sim sim;
static uint64_t cases;

static bool chosen(unsigned from, unsigned number)
{
	return (from >> number & 1) != 0;
}

/* The bits of @set which the binary digits of @number choose. */
static uint64_t pick(uint64_t set, unsigned number)
{
	uint64_t picked = 0;

	while (set) {
		uint64_t lowest = set & (~set + 1);

		if (number & 1)
			picked |= lowest;
		number >>= 1;
		set ^= lowest;
	}
	return picked;
}

/*
 * One table at each height; every index is 1. The tables lie at multiples of 1 GiB, so that
 * an entry is a good pointer to a table and a good leaf of any size.
 */
struct chain {
	unsigned levels, bytes;
	uint64_t gva;
	uint64_t link[6]; /* entry at this height, without the bits that vary */
};

static uint64_t table_at(unsigned level)
{
	return (uint64_t)level << 30;
}

static struct chain chain_make(struct vmmu_paging *p)
{
	struct chain c = {.levels = 2, .bytes = 8};

	if (p->mode == VMMU_PAGING_4LEVEL)
		c.levels = 4;
	if (p->mode == VMMU_PAGING_5LEVEL)
		c.levels = 5;
	if (p->mode == VMMU_PAGING_32BIT)
		c.bytes = 4;
	sim_init(&sim);
	sim.entry_bytes = c.bytes;
	c.gva = 0x123;
	for (unsigned level = 1; level <= c.levels; level++) {
		sim_page(&sim, table_at(level) >> VMMU_PAGE_SHIFT);
		c.link[level] = table_at(level - 1);
		c.gva |= UINT64_C(1) << (12 + (c.bytes == 4 ? 10 : 9) * (level - 1));
	}
	c.link[1] = 0x7000;
	if (c.levels > 2)
		c.link[1] |= (uint64_t)KEY << 59;
	p->cr3 = table_at(c.levels);
	for (unsigned i = 0; i < 4; i++)
		p->pdpte[i] = p->cr3 | P;
	return c;
}

static void chain_set(const struct chain *c, unsigned level, uint64_t bits)
{
	sim_set(&sim, table_at(level) + c->bytes, c->bytes, c->link[level] | bits);
}

static void compare(const struct vmmu_paging *p, const struct chain *c, uint32_t flags)
{
	sim_compare(&sim, p, c->gva, flags);
	cases++;
}

static void expect_cases(uint64_t count)
{
	print_message("# %llu combinations\n", (unsigned long long)cases);
	assert_true(cases == count);
}

static int start(void **state)
{
	(void)state;
	cases = 0;
	return 0;
}

/* --- two levels: everything with everything --- */

/* P W U A D PS [NX] at both levels, all registers that matter, all flags. */
static void cross_two_levels(enum vmmu_paging_mode mode, uint64_t bits, unsigned bit_count,
			     unsigned registers)
{
	struct vmmu_paging p = {.mode = mode, .physical_bits = 40};
	struct chain c = chain_make(&p);

	for (unsigned r = 0; r < 1u << registers; r++) {
		p.wp = chosen(r, 0);
		p.smep = chosen(r, 1);
		p.smap = chosen(r, 2);
		p.nx = chosen(r, 3);
		p.pse = chosen(r, 4);
		for (unsigned e = 0; e < 1u << 2 * bit_count; e++) {
			uint64_t upper = pick(bits, e >> bit_count);
			uint64_t lower = pick(bits, e & ((1u << bit_count) - 1));

			for (uint32_t flags = 0; flags < FLAGS_ALL; flags++) {
				chain_set(&c, 2, upper);
				chain_set(&c, 1, lower);
				compare(&p, &c, flags);
			}
		}
	}
}

static void every_32_bit_path_is_judged_as_specified(void **state)
{
	(void)state;
	cross_two_levels(VMMU_PAGING_32BIT, P | W | U | A | D | PS, 6, 5);
	expect_cases(32u * 4096 * 64);
}

static void every_pae_path_is_judged_as_specified(void **state)
{
	(void)state;
	cross_two_levels(VMMU_PAGING_PAE, P | W | U | A | D | PS | NX, 7, 4);
	expect_cases(16u * 16384 * 64);
}

/* --- long mode: rights --- */

/* One path under all registers, flags and PKRU states of the leaf's key. */
static void all_accesses(struct vmmu_paging *p, const struct chain *c)
{
	for (unsigned r = 0; r < 32; r++) {
		p->wp = chosen(r, 0);
		p->smep = chosen(r, 1);
		p->smap = chosen(r, 2);
		p->pke = chosen(r, 3);
		p->nx = chosen(r, 4);
		for (unsigned pkru = 0; pkru < 4; pkru++) {
			/* The other keys refuse what this one allows, and the other way round. */
			p->pkru = ((pkru ^ 3) * 0x55555555u & ~(3u << 2 * KEY)) | pkru << 2 * KEY;
			for (uint32_t flags = 0; flags < VMMU_WALK_NO_UPDATE; flags++)
				compare(p, c, flags);
		}
	}
}

static void set_rights(const struct chain *c, unsigned level, unsigned rights)
{
	/* 0: all rights; each binary digit takes one away. */
	chain_set(c, level, (P | A | D | W | U | NX) ^ pick(W | U | NX, rights ^ 4));
}

static void every_right_at_each_of_4_levels_counts(void **state)
{
	struct vmmu_paging p = {.mode = VMMU_PAGING_4LEVEL, .physical_bits = 40};
	struct chain c = chain_make(&p);

	(void)state;
	for (unsigned path = 0; path < 4096; path++) {
		for (unsigned level = 1; level <= 4; level++)
			set_rights(&c, level, path >> 3 * (level - 1) & 7);
		all_accesses(&p, &c);
	}
	expect_cases(UINT64_C(4096) * 32 * 4 * 32);
}

/* Levels of a path that lack some right. */
static unsigned lacking(unsigned path)
{
	unsigned count = 0;

	for (; path; path >>= 3)
		count += (path & 7) != 0;
	return count;
}

static void every_right_at_up_to_2_of_5_levels_counts(void **state)
{
	struct vmmu_paging p = {.mode = VMMU_PAGING_5LEVEL, .physical_bits = 40};
	struct chain c = chain_make(&p);

	(void)state;
	for (unsigned path = 0; path < 32768; path++) {
		if (lacking(path) > 2)
			continue;
		for (unsigned level = 1; level <= 5; level++)
			set_rights(&c, level, path >> 3 * (level - 1) & 7);
		all_accesses(&p, &c);
	}
	expect_cases((1 + 5 * 7 + 10 * 49) * 32 * 4 * 32);
}

static void every_right_at_each_of_5_levels_counts_with_all_features_on(void **state)
{
	struct vmmu_paging p = {.mode = VMMU_PAGING_5LEVEL,
				.physical_bits = 40,
				.wp = true,
				.smep = true,
				.smap = true,
				.pke = true,
				.nx = true};
	struct chain c = chain_make(&p);

	(void)state;
	for (unsigned path = 0; path < 32768; path++) {
		for (unsigned level = 1; level <= 5; level++)
			set_rights(&c, level, path >> 3 * (level - 1) & 7);
		for (uint32_t flags = 0; flags < VMMU_WALK_NO_UPDATE; flags++)
			compare(&p, &c, flags);
	}
	expect_cases(32768 * 32);
}

/* --- long mode: structure --- */

/* P A D PS, and NX with EFER.NXE off and on, at all levels, for reads, writes and looks. */
static void cross_structure(enum vmmu_paging_mode mode, uint64_t bits, unsigned bit_count,
			    unsigned registers)
{
	static const uint32_t flags[] = {0, VMMU_WALK_WRITE, VMMU_WALK_WRITE | VMMU_WALK_NO_UPDATE};
	struct vmmu_paging p = {.mode = mode, .physical_bits = 40};
	struct chain c = chain_make(&p);

	for (unsigned r = 0; r < 1u << registers; r++) {
		p.huge_1g = chosen(r, 0);
		p.amd = p.nx = chosen(r, 1);
		for (unsigned path = 0; path < 1u << bit_count * c.levels; path++) {
			for (unsigned f = 0; f < 3; f++) {
				for (unsigned l = 1; l <= c.levels; l++) {
					unsigned n = path >> bit_count * (l - 1);

					chain_set(&c, l,
						  W | U | pick(bits, n & ((1u << bit_count) - 1)));
				}
				compare(&p, &c, flags[f]);
			}
		}
	}
}

static void every_shape_of_a_4_level_path_is_followed_and_marked_as_specified(void **state)
{
	(void)state;
	cross_structure(VMMU_PAGING_4LEVEL, P | A | D | PS, 4, 2);
	expect_cases(4u * 65536 * 3);
}

static void every_shape_of_a_5_level_path_is_followed_and_marked_as_specified(void **state)
{
	(void)state;
	cross_structure(VMMU_PAGING_5LEVEL, P | A | PS, 3, 2);
	expect_cases(4u * 32768 * 3);
}

static void no_execute_and_page_size_bits_are_reserved_as_specified_at_all_levels(void **state)
{
	(void)state;
	cross_structure(VMMU_PAGING_4LEVEL, P | PS | NX, 3, 2);
	cross_structure(VMMU_PAGING_5LEVEL, P | PS | NX, 3, 2);
	expect_cases(4u * (4096 + 32768) * 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_32_bit_path_is_judged_as_specified, start),
		cmocka_unit_test_setup(every_pae_path_is_judged_as_specified, start),
		cmocka_unit_test_setup(every_right_at_each_of_4_levels_counts, start),
		cmocka_unit_test_setup(every_right_at_up_to_2_of_5_levels_counts, start),
		cmocka_unit_test_setup(every_right_at_each_of_5_levels_counts_with_all_features_on,
				       start),
		cmocka_unit_test_setup(
			every_shape_of_a_4_level_path_is_followed_and_marked_as_specified, start),
		cmocka_unit_test_setup(
			every_shape_of_a_5_level_path_is_followed_and_marked_as_specified, start),
		cmocka_unit_test_setup(
			no_execute_and_page_size_bits_are_reserved_as_specified_at_all_levels,
			start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
