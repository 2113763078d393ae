/* SPDX-License-Identifier: MIT */
/*
 * Reserved bits. First one bit at a time, all bits of all entries, for every width of physical
 * addresses; then random tables in which anything may be wrong, walked at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"
#include "spec.h"

#define BIT(n) (UINT64_C(1) << (n))
#define GOOD (BIT(0) | BIT(1) | BIT(2)) /* present, writable, user */
#define PS BIT(7)

static struct sim sim, copy;

static bool chosen(unsigned from, unsigned number)
{
	return (from >> number & 1) != 0;
}

/* --- one bit at a time --- */

/* All below 2^32; where an entry may be a leaf, too, at multiples of 1 GiB. Every index is 0. */
static uint64_t table_at(unsigned level)
{
	return (uint64_t)level << (level <= 3 ? 30 : 12);
}

static unsigned levels_of(enum vmmu_paging_mode mode)
{
	if (mode == VMMU_PAGING_5LEVEL)
		return 5;
	return mode == VMMU_PAGING_4LEVEL ? 4 : 2;
}

struct tally {
	unsigned cases, reserved;
};

/* Flips each bit of the entry at @level; the leaf stands at @leaf_level. */
static void flip_each_bit(const struct vmmu_paging *p, unsigned level, unsigned leaf_level,
			  struct tally *tally)
{
	unsigned bytes = p->mode == VMMU_PAGING_32BIT ? 4 : 8;

	for (unsigned i = leaf_level; i <= levels_of(p->mode); i++) {
		uint64_t entry = GOOD;

		if (i == leaf_level)
			entry |= i > 1 ? PS : 0;
		else
			entry |= table_at(i - 1);
		sim_set(&sim, table_at(i), bytes, entry);
	}
	for (unsigned n = 0; n < 8 * bytes; n++) {
		uint64_t entry = sim_get(&sim, table_at(level), bytes);
		struct spec_answer want;

		sim_set(&sim, table_at(level), bytes, entry ^ BIT(n));
		spec_access(p, 0, VMMU_WALK_NO_UPDATE, sim_look, &sim, &want);
		sim_compare(&sim, p, 0, VMMU_WALK_NO_UPDATE);
		sim_set(&sim, table_at(level), bytes, entry);
		tally->cases++;
		if (want.status == VMMU_WALK_FAULT && (want.error_code & VMMU_PF_RESERVED))
			tally->reserved++;
	}
}

static struct tally flip_all(enum vmmu_paging_mode mode, unsigned largest_leaf)
{
	struct vmmu_paging p = {.mode = mode};
	struct tally tally = {0, 0};

	sim_init(&sim);
	for (unsigned level = 1; level <= levels_of(mode); level++)
		sim_page(&sim, table_at(level) >> VMMU_PAGE_SHIFT);
	p.cr3 = table_at(levels_of(mode));
	p.pdpte[0] = p.cr3 | BIT(0);
	for (p.physical_bits = 32; p.physical_bits <= 52; p.physical_bits++) {
		for (unsigned r = 0; r < 16; r++) {
			p.pse = p.huge_1g = chosen(r, 0);
			p.pse36 = p.amd = chosen(r, 1);
			p.nx = chosen(r, 2);
			p.smep = chosen(r, 3);
			for (unsigned leaf = 1; leaf <= largest_leaf; leaf++) {
				for (unsigned l = leaf; l <= levels_of(mode); l++)
					flip_each_bit(&p, l, leaf, &tally);
			}
		}
	}
	print_message("# %u combinations, %u with reserved bits\n", tally.cases, tally.reserved);
	return tally;
}

static void each_bit_of_32_bit_entries_is_reserved_as_specified(void **state)
{
	struct tally tally = flip_all(VMMU_PAGING_32BIT, 2);

	(void)state;
	assert_int_equal(tally.cases, 21 * 16 * 3 * 32);
	/*
	 * 4M leaves with PSE, 8 settings each. PSE36 off: 9 bits, at 21 widths. On: 9 bits at
	 * width 32, one less at each further one, and 1 bit from width 40 on.
	 */
	assert_int_equal(tally.reserved, 4 * (9 * 21) + 4 * (9 * 10 / 2 + 12));
}

static void each_bit_of_pae_entries_is_reserved_as_specified(void **state)
{
	struct tally tally = flip_all(VMMU_PAGING_PAE, 2);

	(void)state;
	assert_int_equal(tally.cases, 21 * 16 * 3 * 64);
	/* All three entries: bits 62 to the width, and 63 with NX off. 2M leaf: 8 bits. */
	assert_int_equal(tally.reserved, 3 * 16 * (21 * (31 + 11) / 2) + 3 * 8 * 21 + 16 * 21 * 8);
}

static void each_bit_of_4_level_entries_is_reserved_as_specified(void **state)
{
	struct tally tally = flip_all(VMMU_PAGING_4LEVEL, 3);

	(void)state;
	assert_int_equal(tally.cases, 21 * 16 * (4 + 3 + 2) * 64);
	assert_true(tally.reserved > tally.cases / 8);
}

static void each_bit_of_5_level_entries_is_reserved_as_specified(void **state)
{
	struct tally tally = flip_all(VMMU_PAGING_5LEVEL, 3);

	(void)state;
	assert_int_equal(tally.cases, 21 * 16 * (5 + 4 + 3) * 64);
	assert_true(tally.reserved > tally.cases / 8);
}

static void each_bit_of_a_pdpte_is_reserved_as_specified(void **state)
{
	struct vmmu_paging p = {.mode = VMMU_PAGING_PAE};
	unsigned reserved = 0;

	(void)state;
	sim_init(&sim);
	sim_page(&sim, 2);
	sim_set(&sim, 0x2000, 8, GOOD | PS);
	for (p.physical_bits = 32; p.physical_bits <= 52; p.physical_bits++) {
		for (unsigned n = 0; n < 64; n++) {
			struct vmmu_walk_result result;

			p.pdpte[0] = (0x2000 | BIT(0)) ^ BIT(n);
			sim_compare(&sim, &p, 0, VMMU_WALK_NO_UPDATE);
			if (vmmu_walk(&p, (vmmu_gva_t){0}, 0, &sim_ops, &sim, &result) ==
				    VMMU_WALK_FAULT &&
			    result.error_code == (VMMU_PF_PRESENT | VMMU_PF_RESERVED))
				reserved++;
		}
	}
	/* Bits 2:1 and 8:5, and 63 down to the width. */
	assert_int_equal(reserved, 21 * 6 + 21 * (32 + 12) / 2);
}

/* --- random tables --- */

static uint64_t seed;

/* SplitMix64. */
static uint64_t random64(void)
{
	uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool percent(unsigned chance)
{
	return random64() % 100 < chance;
}

#define TABLES 12u

static struct vmmu_paging random_paging(enum vmmu_paging_mode mode)
{
	struct vmmu_paging p = {
		.mode = mode, .physical_bits = 32 + (unsigned)(random64() % 21), .wp = percent(50)};

	p.pkru = (uint32_t)random64() & (uint32_t)random64() & (uint32_t)random64();
	p.nx = percent(80);
	p.pse = percent(70);
	p.pse36 = percent(60);
	p.smep = percent(40);
	p.smap = percent(40);
	p.pke = percent(50);
	p.huge_1g = percent(60);
	p.amd = percent(30);
	return p;
}

/* Frames below the physical width (32 bits in 32-bit mode) for the tables. */
static void random_frames(const struct vmmu_paging *p, uint64_t frame[TABLES])
{
	unsigned bits = p->mode == VMMU_PAGING_32BIT ? 32 : p->physical_bits;

	sim_init(&sim);
	for (unsigned i = 0; i < TABLES;) {
		frame[i] = random64() & (BIT(bits - VMMU_PAGE_SHIFT) - 1);
		if (sim.present[sim_index(frame[i])])
			continue;
		sim_page(&sim, frame[i++]);
	}
}

static uint64_t random_entry(const uint64_t frame[TABLES])
{
	static const unsigned chance[] = {98, 88, 85, 20, 20, 50, 40, 10, 4, 20, 20, 20};
	uint64_t entry = frame[random64() % TABLES] << VMMU_PAGE_SHIFT;

	for (unsigned n = 0; n < 12; n++)
		entry |= percent(chance[n]) ? BIT(n) : 0;
	/* A page of 2M, 4M or 1G, rightly aligned or not. */
	if ((entry & PS) && percent(40))
		entry &= ~(BIT(30) - BIT(13));
	else if ((entry & PS) && percent(60))
		entry &= ~(BIT(percent(50) ? 21 : 22) - BIT(13));
	if (percent(1))
		entry ^= BIT(random64() % 64);
	if (percent(30))
		entry |= random64() % 16 << 59;
	if (percent(2))
		entry |= BIT(63);
	return entry;
}

static void random_memory(const uint64_t frame[TABLES])
{
	for (unsigned i = 0; i < TABLES; i++) {
		for (unsigned n = 0; n < 512; n++) {
			uint64_t *word = &sim.word[sim_index(frame[i])][n];

			*word = random_entry(frame);
			/* The upper half, too, should look like a four-byte entry at times. */
			if (percent(50))
				*word = (*word & UINT32_MAX) | random_entry(frame) << 32;
		}
	}
}

static uint64_t random_gva(enum vmmu_paging_mode mode)
{
	uint64_t gva = random64();
	unsigned bits = mode == VMMU_PAGING_5LEVEL ? 57 : 48;

	if (mode < VMMU_PAGING_4LEVEL || percent(5))
		return gva;
	gva &= BIT(bits) - 1;
	return gva >> (bits - 1) ? gva | ~(BIT(bits) - 1) : gva;
}

struct seen {
	unsigned status[4], size[64], error[64], twice;
};

/* What the walk should do to memory is done to the copy. */
static void walk_copy(const struct vmmu_paging *p, uint64_t gva, uint32_t flags, struct seen *seen)
{
	unsigned bytes = p->mode == VMMU_PAGING_32BIT ? 4 : 8;
	struct spec_answer want;

	spec_access(p, gva, flags, sim_look, &copy, &want);
	for (unsigned i = 0; i < want.entries; i++) {
		uint64_t now = sim_get(&copy, want.entry[i].gpa, bytes);

		sim_set(&copy, want.entry[i].gpa, bytes, now | want.entry[i].after);
		seen->twice += i && want.entry[i].gpa == want.entry[i - 1].gpa;
	}
	seen->status[want.status]++;
	if (want.status == VMMU_WALK_FAULT)
		seen->error[want.error_code & 63]++;
	for (unsigned n = 0; n < 64; n++)
		seen->size[n] += want.status == VMMU_WALK_OK && want.page_bytes == BIT(n);
}

#define MEMORIES 200u
#define WALKS 4000u

static void walk_at_random(enum vmmu_paging_mode mode, struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	seed = 1 + (uint64_t)mode;
	for (unsigned m = 0; m < MEMORIES; m++) {
		struct vmmu_paging p = random_paging(mode);
		uint64_t frame[TABLES];

		random_frames(&p, frame);
		random_memory(frame);
		sim.entry_bytes = mode == VMMU_PAGING_32BIT ? 4 : 8;
		p.cr3 = frame[0] << VMMU_PAGE_SHIFT | (random64() & 0xfff);
		for (unsigned i = 0; i < 4; i++)
			p.pdpte[i] = frame[i] << VMMU_PAGE_SHIFT | BIT(0) |
				     (percent(10) ? BIT(random64() % 64) : 0);
		memcpy(&copy, &sim, sizeof(sim));
		for (unsigned i = 0; i < WALKS; i++) {
			uint64_t gva = random_gva(mode);
			uint32_t flags = (uint32_t)random64() % 64;

			walk_copy(&p, gva, flags, seen);
			sim_compare(&sim, &p, gva, flags);
		}
		/* No other entry was touched. */
		assert_memory_equal(sim.word, copy.word, sizeof(sim.word));
	}
	print_message("# %u walks: %u ok, %u faults, %u not canonical, %u unreadable\n",
		      MEMORIES * WALKS, seen->status[VMMU_WALK_OK], seen->status[VMMU_WALK_FAULT],
		      seen->status[VMMU_WALK_NOT_CANONICAL], seen->status[VMMU_WALK_UNREADABLE]);
	print_message("# pages: %u 4K, %u 2M, %u 4M, %u 1G; %u steps to the same entry again\n",
		      seen->size[12], seen->size[21], seen->size[22], seen->size[30], seen->twice);
}

/* Enough of everything, or the tables were too dull to show a mistake. */
static void expect_variety(const struct seen *seen)
{
	unsigned reserved = 0, protection = 0;

	for (unsigned code = 0; code < 64; code++) {
		if (code & VMMU_PF_RESERVED)
			reserved += seen->error[code];
		else if (code & VMMU_PF_PRESENT)
			protection += seen->error[code];
	}
	assert_true(seen->status[VMMU_WALK_OK] > 5000);
	assert_true(seen->status[VMMU_WALK_UNREADABLE] > 1000);
	assert_true(seen->size[12] > 1000);
	assert_true(reserved > 5000);
	assert_true(protection > 5000);
	assert_true(seen->twice > 0);
}

static void random_32_bit_tables_are_walked_as_specified(void **state)
{
	struct seen seen;

	(void)state;
	walk_at_random(VMMU_PAGING_32BIT, &seen);
	expect_variety(&seen);
	assert_true(seen.size[22] > 1000);
}

static void random_pae_tables_are_walked_as_specified(void **state)
{
	struct seen seen;

	(void)state;
	walk_at_random(VMMU_PAGING_PAE, &seen);
	expect_variety(&seen);
	assert_true(seen.size[21] > 500);
}

static void random_4_level_tables_are_walked_as_specified(void **state)
{
	struct seen seen;

	(void)state;
	walk_at_random(VMMU_PAGING_4LEVEL, &seen);
	expect_variety(&seen);
	assert_true(seen.size[21] > 500 && seen.size[30] > 500);
	assert_true(seen.status[VMMU_WALK_NOT_CANONICAL] > 1000);
}

static void random_5_level_tables_are_walked_as_specified(void **state)
{
	struct seen seen;

	(void)state;
	walk_at_random(VMMU_PAGING_5LEVEL, &seen);
	expect_variety(&seen);
	assert_true(seen.size[21] > 500 && seen.size[30] > 500);
	assert_true(seen.status[VMMU_WALK_NOT_CANONICAL] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bit_of_32_bit_entries_is_reserved_as_specified),
		cmocka_unit_test(each_bit_of_pae_entries_is_reserved_as_specified),
		cmocka_unit_test(each_bit_of_4_level_entries_is_reserved_as_specified),
		cmocka_unit_test(each_bit_of_5_level_entries_is_reserved_as_specified),
		cmocka_unit_test(each_bit_of_a_pdpte_is_reserved_as_specified),
		cmocka_unit_test(random_32_bit_tables_are_walked_as_specified),
		cmocka_unit_test(random_pae_tables_are_walked_as_specified),
		cmocka_unit_test(random_4_level_tables_are_walked_as_specified),
		cmocka_unit_test(random_5_level_tables_are_walked_as_specified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
