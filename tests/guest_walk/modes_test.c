/* SPDX-License-Identifier: MIT */
/* What is peculiar to one paging mode, by example: numbers written down, not computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define P UINT64_C(0x001)
#define W UINT64_C(0x002)
#define U UINT64_C(0x004)
#define PS UINT64_C(0x080)
#define GOOD (P | W | U)
#define NX (UINT64_C(1) << 63)

#define LOOK ((uint32_t)VMMU_WALK_NO_UPDATE)

static struct sim sim;
static struct vmmu_paging paging;
static struct vmmu_walk_result result;

static int setup(void **state)
{
	(void)state;
	sim_init(&sim);
	memset(&paging, 0, sizeof(paging));
	paging.physical_bits = 40;
	return 0;
}

static enum vmmu_walk_status walk(uint64_t gva, uint32_t flags)
{
	sim_forget(&sim);
	memset(&result, 0xee, sizeof(result));
	return vmmu_walk(&paging, (vmmu_gva_t){gva}, flags, &sim_ops, &sim, &result);
}

static void expect_page(uint64_t gva, uint64_t gpa, uint64_t bytes)
{
	assert_int_equal(walk(gva, LOOK), VMMU_WALK_OK);
	assert_int_equal(result.gpa.addr, gpa);
	assert_int_equal(result.page_bytes, bytes);
}

static void expect_fault(uint64_t gva, uint32_t flags, uint32_t error_code)
{
	assert_int_equal(walk(gva, flags | LOOK), VMMU_WALK_FAULT);
	assert_int_equal(result.error_code, error_code);
}

/* --- paging off --- */

static void without_paging_every_access_reaches_its_own_address(void **state)
{
	(void)state;
	paging.mode = VMMU_PAGING_OFF;
	paging.smep = paging.smap = paging.wp = paging.nx = paging.pke = true;
	paging.pkru = UINT32_MAX;
	for (uint32_t flags = 0; flags < 64; flags++) {
		assert_int_equal(walk(0xfee00123, flags), VMMU_WALK_OK);
		assert_int_equal(result.gpa.addr, 0xfee00123);
		assert_true(result.writable && result.user && result.executable);
		assert_int_equal(result.protection_key, 0);
		assert_int_equal(result.levels, 0);
		assert_int_equal(sim.reads + sim.updates, 0);
	}
}

static void without_paging_addresses_have_32_bits(void **state)
{
	(void)state;
	paging.mode = VMMU_PAGING_OFF;
	expect_page(UINT64_C(0x8000000100000010), 0x10, UINT64_C(1) << 32);
}

/* --- 32-bit paging --- */

static void setup_32_bit(void)
{
	paging.mode = VMMU_PAGING_32BIT;
	paging.cr3 = 0x5018; /* with PWT and PCD */
	sim.entry_bytes = 4;
	sim_page(&sim, 5);
	sim_page(&sim, 6);
	sim_set(&sim, 0x5ffc, 4, 0x6000 | GOOD); /* directory entry 1023 */
	sim_set(&sim, 0x6004, 4, UINT64_C(0xfffff000) | GOOD);
}

static void a_32_bit_directory_has_1024_entries_of_4_bytes(void **state)
{
	(void)state;
	setup_32_bit();
	expect_page(0xffc01abc, 0xfffffabc, 4096);
	assert_int_equal(result.levels, 2);
	assert_int_equal(result.step[0].gpa.addr, 0x5ffc);
	assert_int_equal(result.step[0].level, 2);
	assert_int_equal(result.step[1].gpa.addr, 0x6004);
	assert_int_equal(result.step[1].level, 1);
	assert_int_equal(sim.bad_calls, 0);
}

static void a_32_bit_address_has_no_upper_half(void **state)
{
	(void)state;
	setup_32_bit();
	expect_page(UINT64_C(0x12345678ffc01abc), 0xfffffabc, 4096);
}

static void a_32_bit_update_leaves_the_neighbour_alone(void **state)
{
	(void)state;
	setup_32_bit();
	sim_set(&sim, 0x6000, 4, 0x11111111);
	assert_int_equal(walk(0xffc01000, VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(sim_get(&sim, 0x6004, 4), UINT64_C(0xfffff067));
	assert_int_equal(sim_get(&sim, 0x6000, 4), 0x11111111);
	assert_int_equal(sim.bad_calls, 0);
}

static void bit_7_of_a_directory_entry_is_ignored_without_pse(void **state)
{
	(void)state;
	setup_32_bit();
	sim_set(&sim, 0x5ffc, 4, 0x6000 | GOOD | PS);
	expect_page(0xffc01abc, 0xfffffabc, 4096);
	paging.pse = true;
	expect_fault(0xffc01abc, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
}

static void a_4m_page_takes_address_bits_39_to_32_from_bits_20_to_13_with_pse36(void **state)
{
	(void)state;
	setup_32_bit();
	paging.pse = true;
	sim_set(&sim, 0x5ffc, 4, UINT64_C(0x80400000) | GOOD | PS);
	expect_page(0xffe23456, UINT64_C(0x80623456), 1 << 22);
	sim_set(&sim, 0x5ffc, 4, UINT64_C(0x80400000) | 0x1fe000 | GOOD | PS);
	expect_fault(0xffe23456, VMMU_WALK_WRITE,
		     VMMU_PF_PRESENT | VMMU_PF_RESERVED | VMMU_PF_WRITE);
	paging.pse36 = true;
	expect_page(0xffe23456, UINT64_C(0xff80623456), 1 << 22);
	paging.physical_bits = 39;
	expect_fault(0xffe23456, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	sim_set(&sim, 0x5ffc, 4, UINT64_C(0x80400000) | 0x0fe000 | GOOD | PS);
	expect_page(0xffe23456, UINT64_C(0x7f80623456), 1 << 22);
	paging.physical_bits = 52;
	expect_page(0xffe23456, UINT64_C(0x7f80623456), 1 << 22);
	sim_set(&sim, 0x5ffc, 4, UINT64_C(0x80400000) | 0x200000 | GOOD | PS);
	expect_fault(0xffe23456, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
}

static void in_32_bit_paging_nx_neither_forbids_nor_tells_fetches(void **state)
{
	(void)state;
	setup_32_bit();
	paging.nx = true;
	assert_int_equal(walk(0xffc01000, VMMU_WALK_FETCH | LOOK), VMMU_WALK_OK);
	assert_true(result.executable);
	expect_fault(0, VMMU_WALK_FETCH | VMMU_WALK_USER, VMMU_PF_USER);
	paging.smep = true;
	expect_fault(0, VMMU_WALK_FETCH | VMMU_WALK_USER, VMMU_PF_USER | VMMU_PF_FETCH);
}

static void protection_keys_are_for_long_mode_only(void **state)
{
	(void)state;
	setup_32_bit();
	paging.pke = true;
	paging.pkru = UINT32_MAX;
	expect_page(0xffc01abc, 0xfffffabc, 4096);
	assert_int_equal(result.protection_key, 0);
}

static void a_32_bit_directory_that_is_its_own_table_maps_the_tables(void **state)
{
	(void)state;
	setup_32_bit();
	sim_set(&sim, 0x5004, 4, 0x5000 | GOOD); /* entry 1: 4M at 0x400000 */
	expect_page(0x401004, 0x5004, 4096);     /* the directory itself */
	expect_page(0x7ff004, 0x6004, 4096);     /* the table of entry 1023 */
}

/* --- PAE --- */

static void setup_pae(void)
{
	paging.mode = VMMU_PAGING_PAE;
	paging.cr3 = 0x5020; /* the registers decide: no memory there */
	paging.nx = true;
	sim.entry_bytes = 8;
	sim_page(&sim, 6);
	sim_page(&sim, 7);
	paging.pdpte[2] = 0x6000 | P | 0x18 | 0xe00; /* PWT, PCD, available bits */
	sim_set(&sim, 0x6ff8, 8, 0x7000 | GOOD);
	sim_set(&sim, 0x7008, 8, UINT64_C(0xfedcba9000) | GOOD);
}

static void pae_starts_from_the_register_that_address_bits_31_and_30_name(void **state)
{
	(void)state;
	setup_pae();
	expect_page(0xbfe01abc, UINT64_C(0xfedcba9abc), 4096);
	assert_int_equal(result.levels, 2);
	assert_int_equal(result.step[0].gpa.addr, 0x6ff8);
	assert_int_equal(result.step[0].level, 2);
	assert_int_equal(sim.reads, 2);
	assert_true(result.writable && result.user && result.executable);
}

static void a_pae_address_has_no_upper_half(void **state)
{
	(void)state;
	setup_pae();
	expect_page(UINT64_C(0xfffffff7bfe01abc), UINT64_C(0xfedcba9abc), 4096);
}

static void a_pdpte_that_is_not_present_faults_without_a_read(void **state)
{
	(void)state;
	setup_pae();
	for (uint64_t region = 0; region < 4; region++) {
		if (region == 2)
			continue;
		paging.pdpte[region] = 0x6000 | 0x1e6; /* reserved bits do not count */
		expect_fault(region << 30, VMMU_WALK_WRITE, VMMU_PF_WRITE);
		assert_int_equal(sim.reads, 0);
		assert_int_equal(result.levels, 0);
	}
}

static void a_pdpte_with_reserved_bits_faults_without_a_read(void **state)
{
	static const uint64_t bad[] = {W, U, 0x20, 0x40, 0x80, 0x100, UINT64_C(1) << 40, NX};

	(void)state;
	setup_pae();
	for (unsigned i = 0; i < 8; i++) {
		paging.pdpte[2] = 0x6000 | P | bad[i];
		expect_fault(0xbfe01000, VMMU_WALK_FETCH | VMMU_WALK_USER,
			     VMMU_PF_PRESENT | VMMU_PF_RESERVED | VMMU_PF_FETCH | VMMU_PF_USER);
		assert_int_equal(sim.reads, 0);
	}
}

static void a_pae_walk_never_writes_to_the_pdpte(void **state)
{
	(void)state;
	setup_pae();
	sim_page(&sim, 5);
	sim_set(&sim, 0x5030, 8, paging.pdpte[2]);
	assert_int_equal(walk(0xbfe01000, VMMU_WALK_WRITE), VMMU_WALK_OK);
	assert_int_equal(sim_get(&sim, 0x5030, 8), paging.pdpte[2]);
	assert_int_equal(sim.updates, 2);
}

static void pae_has_2m_pages_whatever_cr4_pse_says(void **state)
{
	(void)state;
	setup_pae();
	sim_set(&sim, 0x6ff8, 8, UINT64_C(0x1234400000) | GOOD | PS);
	expect_page(0xbff23456, UINT64_C(0x1234523456), 1 << 21);
}

static void bits_62_to_52_are_reserved_in_pae_entries_and_free_in_long_mode(void **state)
{
	(void)state;
	setup_pae();
	for (unsigned n = 52; n <= 62; n++) {
		sim_set(&sim, 0x7008, 8, UINT64_C(1) << n | 0x9000 | GOOD);
		paging.mode = VMMU_PAGING_PAE;
		expect_fault(0xbfe01000, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	}
	sim_page(&sim, 8);
	sim_page(&sim, 9);
	paging.mode = VMMU_PAGING_4LEVEL;
	paging.cr3 = 0x9000;
	for (unsigned n = 52; n <= 62; n++) {
		sim_set(&sim, 0x9000, 8, UINT64_C(1) << n | 0x8000 | GOOD);
		sim_set(&sim, 0x8000 + 8 * 2, 8, UINT64_C(1) << n | 0x6000 | GOOD);
		sim_set(&sim, 0x7008, 8, UINT64_C(1) << n | 0x9000 | GOOD);
		expect_page(0xbfe01abc, 0x9abc, 4096);
	}
}

/* --- long mode --- */

/* A chain of tables in frames 1 (leaf) to @levels, each with its entry @index in use. */
static void setup_long(enum vmmu_paging_mode mode, unsigned levels, unsigned index)
{
	setup(NULL);
	paging.mode = mode;
	paging.huge_1g = true;
	/* PCID below the address, LAM and no-flush bits above it. */
	paging.cr3 = UINT64_C(0xe000000000000fff) | levels * UINT64_C(0x1000);
	sim.entry_bytes = 8;
	for (unsigned level = 1; level <= levels; level++) {
		uint64_t next = level > 1 ? (level - 1) * UINT64_C(0x1000) : 0xa000;

		sim_page(&sim, level);
		sim_set(&sim, level * UINT64_C(0x1000) + 8 * index, 8, next | GOOD);
	}
}

static void with_4_levels_bits_63_to_47_must_be_equal(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 511);
	expect_page(UINT64_C(0xfffffffffffffabc), 0xaabc, 4096);
	expect_fault(UINT64_C(0xffff800000000000), 0, 0);
	expect_fault(UINT64_C(0x00007fffffffffff), 0, 0);
	assert_int_equal(walk(UINT64_C(0x0000800000000000), LOOK), VMMU_WALK_NOT_CANONICAL);
	assert_int_equal(result.levels, 0);
	assert_int_equal(sim.reads, 0);
	assert_int_equal(walk(UINT64_C(0xffff7fffffffffff), LOOK), VMMU_WALK_NOT_CANONICAL);
	assert_int_equal(walk(UINT64_C(0x7fffffffffffffff), LOOK), VMMU_WALK_NOT_CANONICAL);
	assert_int_equal(walk(UINT64_C(0x8000000000000000), LOOK), VMMU_WALK_NOT_CANONICAL);
}

static void with_5_levels_bits_63_to_56_must_be_equal(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_5LEVEL, 5, 511);
	expect_page(UINT64_C(0xfffffffffffffabc), 0xaabc, 4096);
	assert_int_equal(result.levels, 5);
	assert_int_equal(result.step[0].level, 5);
	expect_fault(UINT64_C(0xff00000000000000), 0, 0);
	expect_fault(UINT64_C(0x00ffffffffffffff), 0, 0);
	expect_fault(UINT64_C(0x0000800000000000), 0, 0);
	assert_int_equal(walk(UINT64_C(0x0100000000000000), LOOK), VMMU_WALK_NOT_CANONICAL);
	assert_int_equal(walk(UINT64_C(0xfeffffffffffffff), LOOK), VMMU_WALK_NOT_CANONICAL);
}

static void the_fifth_level_is_indexed_by_bits_56_to_48(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_5LEVEL, 5, 0);
	sim_set(&sim, 0x5000, 8, 0);
	sim_set(&sim, 0x5000 + 8 * 0x55, 8, 0x4000 | GOOD);
	expect_page(UINT64_C(0x0055000000000123), 0xa123, 4096);
}

static void the_fifth_level_has_no_leaves(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_5LEVEL, 5, 0);
	sim_set(&sim, 0x5000, 8, PS | GOOD);
	expect_fault(0, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	assert_int_equal(result.levels, 1);
}

static void a_1g_page_is_a_reserved_bit_where_the_cpu_has_none(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	sim_set(&sim, 0x3000, 8, UINT64_C(0x1c0000000) | PS | GOOD);
	expect_page(0x12345678, UINT64_C(0x1d2345678), 1 << 30);
	paging.huge_1g = false;
	expect_fault(0x12345678, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
}

static void bit_8_of_upper_entries_is_reserved_on_amd_only(void **state)
{
	(void)state;
	for (unsigned level = 2; level <= 5; level++) {
		setup_long(VMMU_PAGING_5LEVEL, 5, 0);
		sim_set(&sim, level * UINT64_C(0x1000), 8,
			(level - 1) * UINT64_C(0x1000) | GOOD | 0x100);
		expect_page(0x123, 0xa123, 4096);
		paging.amd = true;
		if (level == 2)
			expect_page(0x123, 0xa123, 4096);
		else
			expect_fault(0x123, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	}
	/* In a leaf it is the global bit. */
	sim_set(&sim, 0x5000, 8, 0x4000 | GOOD);
	sim_set(&sim, 0x3000, 8, PS | GOOD | 0x100);
	expect_page(0x123, 0x123, 1 << 30);
}

static void an_unreadable_table_is_told_at_each_level(void **state)
{
	const uint64_t gva = UINT64_C(0x00030180c0603000); /* index 3 at all levels */

	(void)state;
	for (unsigned level = 1; level <= 5; level++) {
		setup_long(VMMU_PAGING_5LEVEL, 5, 3);
		sim.present[level] = false;
		assert_int_equal(walk(gva, LOOK), VMMU_WALK_UNREADABLE);
		assert_int_equal(result.table_gpa.addr, level * 0x1000 + 0x18);
		assert_int_equal(result.levels, 5 - level);
	}
}

static void a_missing_entry_faults_as_missing_whatever_the_levels_above_forbid(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	paging.nx = paging.wp = true;
	sim_set(&sim, 0x4000, 8, 0x3000 | P | NX);
	sim_set(&sim, 0x1000, 8, 0xa000 | W | U);
	expect_fault(0, VMMU_WALK_WRITE | VMMU_WALK_USER, VMMU_PF_WRITE | VMMU_PF_USER);
	sim_set(&sim, 0x1000, 8, 0xa000 | P | UINT64_C(1) << 50);
	expect_fault(0, VMMU_WALK_WRITE | VMMU_WALK_USER,
		     VMMU_PF_WRITE | VMMU_PF_USER | VMMU_PF_PRESENT | VMMU_PF_RESERVED);
}

static void the_protection_key_is_that_of_the_leaf(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	paging.pke = true;
	paging.pkru = 3u << 2 * 9; /* key 9: nothing */
	sim_set(&sim, 0x2000, 8, UINT64_C(9) << 59 | 0x1000 | GOOD);
	sim_set(&sim, 0x1000, 8, UINT64_C(6) << 59 | 0xa000 | GOOD);
	assert_int_equal(walk(0, VMMU_WALK_WRITE | LOOK), VMMU_WALK_OK);
	assert_int_equal(result.protection_key, 6);
	sim_set(&sim, 0x2000, 8, UINT64_C(9) << 59 | PS | GOOD);
	expect_fault(0, 0, VMMU_PF_PRESENT | VMMU_PF_PROTECTION_KEY);
	assert_int_equal(walk(0, VMMU_WALK_FETCH | VMMU_WALK_USER | LOOK), VMMU_WALK_OK);
	assert_int_equal(result.protection_key, 9);
	sim_set(&sim, 0x4000, 8, 0x3000 | P | W);
	assert_int_equal(walk(0, VMMU_WALK_WRITE | LOOK), VMMU_WALK_OK);
	assert_int_equal(result.protection_key, 0);
}

static void an_implicit_access_is_a_supervisor_access_at_cpl_3_too(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	sim_set(&sim, 0x1000, 8, 0xa000 | P | W);
	expect_fault(0, VMMU_WALK_USER, VMMU_PF_PRESENT | VMMU_PF_USER);
	assert_int_equal(walk(0, VMMU_WALK_USER | VMMU_WALK_IMPLICIT | LOOK), VMMU_WALK_OK);
	paging.smap = true;
	sim_set(&sim, 0x1000, 8, 0xa000 | GOOD);
	expect_fault(0, VMMU_WALK_USER | VMMU_WALK_IMPLICIT | VMMU_WALK_AC, VMMU_PF_PRESENT);
}

static void a_self_referencing_top_entry_shows_the_tables_as_pages(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	sim_set(&sim, 0x4000 + 8 * 256, 8, 0x4000 | GOOD);
	/* One, two, three, four times through entry 256. */
	expect_page(UINT64_C(0xffff800000000000), 0x1000, 4096);
	expect_page(UINT64_C(0xffff804000000000), 0x2000, 4096);
	expect_page(UINT64_C(0xffff804020000000), 0x3000, 4096);
	expect_page(UINT64_C(0xffff804020100800), 0x4800, 4096);
}

static void widths_out_of_range_count_as_the_nearest(void **state)
{
	(void)state;
	setup_long(VMMU_PAGING_4LEVEL, 4, 0);
	sim_set(&sim, 0x1000, 8, UINT64_C(0x80000000) | GOOD);
	paging.physical_bits = 0;
	expect_page(0, UINT64_C(0x80000000), 4096);
	sim_set(&sim, 0x1000, 8, UINT64_C(0x100000000) | GOOD);
	expect_fault(0, 0, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
	paging.physical_bits = 1000;
	sim_set(&sim, 0x1000, 8, UINT64_C(0xffffffffff000) | GOOD);
	expect_page(0, UINT64_C(0xffffffffff000), 4096);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(without_paging_every_access_reaches_its_own_address),
		TEST(without_paging_addresses_have_32_bits),
		TEST(a_32_bit_directory_has_1024_entries_of_4_bytes),
		TEST(a_32_bit_address_has_no_upper_half),
		TEST(a_32_bit_update_leaves_the_neighbour_alone),
		TEST(bit_7_of_a_directory_entry_is_ignored_without_pse),
		TEST(a_4m_page_takes_address_bits_39_to_32_from_bits_20_to_13_with_pse36),
		TEST(in_32_bit_paging_nx_neither_forbids_nor_tells_fetches),
		TEST(protection_keys_are_for_long_mode_only),
		TEST(a_32_bit_directory_that_is_its_own_table_maps_the_tables),
		TEST(pae_starts_from_the_register_that_address_bits_31_and_30_name),
		TEST(a_pae_address_has_no_upper_half),
		TEST(a_pdpte_that_is_not_present_faults_without_a_read),
		TEST(a_pdpte_with_reserved_bits_faults_without_a_read),
		TEST(a_pae_walk_never_writes_to_the_pdpte),
		TEST(pae_has_2m_pages_whatever_cr4_pse_says),
		TEST(bits_62_to_52_are_reserved_in_pae_entries_and_free_in_long_mode),
		TEST(with_4_levels_bits_63_to_47_must_be_equal),
		TEST(with_5_levels_bits_63_to_56_must_be_equal),
		TEST(the_fifth_level_is_indexed_by_bits_56_to_48),
		TEST(the_fifth_level_has_no_leaves),
		TEST(a_1g_page_is_a_reserved_bit_where_the_cpu_has_none),
		TEST(bit_8_of_upper_entries_is_reserved_on_amd_only),
		TEST(an_unreadable_table_is_told_at_each_level),
		TEST(a_missing_entry_faults_as_missing_whatever_the_levels_above_forbid),
		TEST(the_protection_key_is_that_of_the_leaf),
		TEST(an_implicit_access_is_a_supervisor_access_at_cpl_3_too),
		TEST(a_self_referencing_top_entry_shows_the_tables_as_pages),
		TEST(widths_out_of_range_count_as_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
