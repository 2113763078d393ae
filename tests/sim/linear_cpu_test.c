/* SPDX-License-Identifier: MIT */
/* linear_cpu_test.c - what a linear CPU remembers, until when, and how it judges. */
#include <string.h>

#include "linear_rig.h"

#define GVA UINT64_C(0x40203000)
#define OTHER UINT64_C(0x40204000)
#define HUGE_ UINT64_C(0x80000000)
#define FAR_PFN 0x2000000u /* outside RAM, aligned to 1G */

struct page {
	struct linear_rig rig;
	sim_pfn_t old, new;
};

/* GVA leads to the old page with all rights. */
static struct page page_new(enum linear_mode mode, enum sim_cpu_mode cpu_mode)
{
	struct page p = {.rig = linear_rig_new(mode, cpu_mode)};

	p.old = sim_ram_alloc(p.rig.machine, SIM_FRAME_GUEST);
	p.new = sim_ram_alloc(p.rig.machine, SIM_FRAME_GUEST);
	linear_rig_set(&p.rig, GVA, SIM_LEVEL_4K, linear_rig_leaf(p.old, SIM_LEVEL_4K, LPWU));
	return p;
}

static void map(struct page *p, sim_pfn_t pfn, uint64_t flags)
{
	linear_rig_set(&p->rig, GVA, SIM_LEVEL_4K, linear_rig_leaf(pfn, SIM_LEVEL_4K, flags));
}

static uint64_t pfn_read(struct page *p, uint64_t gva)
{
	struct linear_result r = linear_rig_read(&p->rig, gva);

	return r.outcome == LINEAR_OK ? linear_rig_pfn(r).n : 0;
}

static void for_all_modes(void (*check)(enum linear_mode mode))
{
	check(LINEAR_PAE);
	check(LINEAR_4_LEVEL);
	check(LINEAR_5_LEVEL);
}

static void check_stale(enum linear_mode mode)
{
	struct page p = page_new(mode, SIM_CPU_ALWAYS_STALE);
	char text[400];

	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	map(&p, p.new, LPWU);
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	assert_int_equal(linear_outdated(p.rig.machine, 1, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "is mapped elsewhere"));
	assert_int_equal(sim_outdated_translations(p.rig.machine, 1, NULL, 0), 1);
	linear_flush_gva(p.rig.machine, 1, sim_gva(GVA));
	assert_int_equal(pfn_read(&p, GVA), p.new.n);
	assert_int_equal(linear_outdated(p.rig.machine, 1, text, sizeof(text)), 0);
	linear_rig_end(&p.rig);
}

static void an_old_translation_answers_until_it_is_flushed(void **state)
{
	(void)state;
	for_all_modes(check_stale);
}

static void check_never_stale(enum linear_mode mode)
{
	struct page p = page_new(mode, SIM_CPU_NEVER_STALE);

	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	map(&p, p.new, LPWU);
	assert_int_equal(pfn_read(&p, GVA), p.new.n);
	assert_int_equal(linear_stale(p.rig.machine, p.new, NULL, 0), 0);
	linear_rig_end(&p.rig);
}

static void a_linear_cpu_without_caches_sees_every_change(void **state)
{
	(void)state;
	for_all_modes(check_never_stale);
}

static void check_upper_stale(enum linear_mode mode)
{
	struct page p = page_new(mode, SIM_CPU_ALWAYS_STALE);
	sim_pfn_t table = sim_ram_alloc(p.rig.machine, SIM_FRAME_TABLE);

	linear_rig_set(&p.rig, OTHER, SIM_LEVEL_4K, linear_rig_leaf(p.old, SIM_LEVEL_4K, LPWU));
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	sim_ram_write(p.rig.machine, sim_entry_hpa(table, OTHER >> 12 & 511),
		      linear_rig_leaf(p.new, SIM_LEVEL_4K, LPWU));
	linear_rig_set(&p.rig, GVA, SIM_LEVEL_2M, table.n * SIM_PAGE_BYTES | LPWU);
	assert_int_equal(pfn_read(&p, OTHER), p.old.n); /* never asked before */
	linear_flush_gva(p.rig.machine, 1, sim_gva(OTHER));
	assert_int_equal(pfn_read(&p, OTHER), p.new.n);
	linear_rig_end(&p.rig);
}

static void an_old_upper_entry_leads_to_the_old_table_for_other_addresses(void **state)
{
	(void)state;
	for_all_modes(check_upper_stale);
}

static void absent_and_reserved_entries_are_never_remembered(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);

	(void)state;
	map(&p, p.old, 0);
	assert_int_equal(linear_rig_read(&p.rig, GVA).error, 0);
	map(&p, p.old, LPWU | UINT64_C(1) << 51);
	assert_int_equal(linear_rig_read(&p.rig, GVA).error, LINEAR_PF_P | LINEAR_PF_RSVD);
	p.rig.regs.rsvd_without_p = true;
	linear_cpu_set_regs(p.rig.cpu, &p.rig.regs);
	assert_int_equal(linear_rig_read(&p.rig, GVA).error, LINEAR_PF_RSVD);
	map(&p, p.new, LPWU);
	assert_int_equal(pfn_read(&p, GVA), p.new.n);
	linear_rig_end(&p.rig);
}

static void a_cached_denial_faults_once_and_the_retry_walks(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);
	struct linear_result r;

	(void)state;
	map(&p, p.old, LP | LU);
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	map(&p, p.old, LPWU);
	r = linear_rig_write(&p.rig, GVA);
	assert_int_equal(r.outcome, LINEAR_FAULT);
	assert_int_equal(r.error, LINEAR_PF_P | LINEAR_PF_W);
	assert_int_equal(r.source, SIM_FROM_TLB);
	r = linear_rig_write(&p.rig, GVA);
	assert_int_equal(r.outcome, LINEAR_OK);
	assert_int_equal(r.source, SIM_FROM_WALK);
	linear_rig_end(&p.rig);
}

static uint32_t error_of(struct page *p, const struct linear_access *access)
{
	struct linear_result r;

	/* A denial drops the entry: fill it again, in a way that nothing denies. */
	assert_true(linear_cpu_prefetch(p->rig.cpu, access->gva));
	linear_cpu_set_regs(p->rig.cpu, &p->rig.regs);
	r = linear_cpu_access(p->rig.cpu, access);
	assert_int_equal(r.source, SIM_FROM_TLB);
	return r.error;
}

static void a_cached_translation_is_judged_by_the_registers_of_now(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);
	struct linear_access read = linear_read_of(GVA), write = linear_write_of(GVA);
	struct linear_access fetch = {.gva = sim_gva(GVA), .kind = LINEAR_FETCH};

	(void)state;
	map(&p, p.old, LP | LU | LD | UINT64_C(5) << 59);
	assert_int_equal(error_of(&p, &write), LINEAR_PF_P | LINEAR_PF_W);
	p.rig.regs.wp = false;
	assert_int_equal(error_of(&p, &write), 0);
	write.privilege = LINEAR_USER;
	assert_int_equal(error_of(&p, &write), LINEAR_PF_P | LINEAR_PF_W | LINEAR_PF_U);
	assert_int_equal(error_of(&p, &fetch), 0);
	p.rig.regs.smep = true;
	assert_int_equal(error_of(&p, &fetch), LINEAR_PF_P | LINEAR_PF_I);
	assert_int_equal(error_of(&p, &read), 0);
	p.rig.regs.smap = true;
	assert_int_equal(error_of(&p, &read), LINEAR_PF_P);
	read.ac = true;
	assert_int_equal(error_of(&p, &read), 0);
	read.privilege = LINEAR_IMPLICIT;
	assert_int_equal(error_of(&p, &read), LINEAR_PF_P);
	read.privilege = LINEAR_USER;
	p.rig.regs.pkru = 1u << 10;
	assert_int_equal(error_of(&p, &read), 0);
	p.rig.regs.pke = true;
	assert_int_equal(error_of(&p, &read), LINEAR_PF_P | LINEAR_PF_U | LINEAR_PF_PK);
	linear_rig_end(&p.rig);
}

static void the_first_write_reads_the_leaf_again_to_set_dirty(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);

	(void)state;
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & (LA | LD), LA);
	map(&p, p.new, LPWU);
	assert_int_equal(linear_rig_pfn(linear_rig_write(&p.rig, GVA)).n, p.new.n);
	assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & (LA | LD), LA | LD);
	map(&p, p.new, LPWU);
	assert_int_equal(linear_rig_write(&p.rig, GVA).source, SIM_FROM_TLB);
	assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & (LA | LD), 0);
	linear_rig_end(&p.rig);
}

static void a_denied_write_sets_no_dirty_bit(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);

	(void)state;
	map(&p, p.old, LP | LU);
	assert_int_equal(linear_rig_write(&p.rig, GVA).outcome, LINEAR_FAULT);
	assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & LD, 0);
	linear_rig_end(&p.rig);
}

static void pdptes_are_read_when_they_are_loaded_and_never_again(void **state)
{
	struct page p = page_new(LINEAR_PAE, SIM_CPU_NEVER_STALE);

	(void)state;
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	sim_ram_write(p.rig.machine, (sim_hpa_t){p.rig.regs.cr3 + 8}, 0);
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	linear_rig_load(&p.rig);
	assert_int_equal(linear_rig_read(&p.rig, GVA).outcome, LINEAR_FAULT);
	assert_int_equal(linear_rig_read(&p.rig, GVA).level, SIM_LEVEL_1G);
	linear_rig_end(&p.rig);
}

static void a_cr3_that_cannot_be_loaded_leaves_the_former_one(void **state)
{
	struct page p = page_new(LINEAR_PAE, SIM_CPU_NEVER_STALE);
	struct linear_regs bad = p.rig.regs;

	(void)state;
	bad.cr3 += 4; /* setting registers loads no CR3 */
	linear_cpu_set_regs(p.rig.cpu, &bad);
	assert_int_equal(linear_cpu_regs(p.rig.cpu)->cr3, p.rig.regs.cr3);
	assert_int_equal(linear_cpu_load(p.rig.cpu, &bad, 1), LINEAR_LOAD_BAD_CR3);
	bad.cr3 = p.rig.regs.cr3 + (UINT64_C(1) << 32);
	assert_int_equal(linear_cpu_load(p.rig.cpu, &bad, 1), LINEAR_LOAD_BAD_CR3);
	sim_ram_write(p.rig.machine, (sim_hpa_t){p.rig.regs.cr3}, LPWU);
	assert_int_equal(linear_cpu_load(p.rig.cpu, &p.rig.regs, 1), LINEAR_LOAD_BAD_PDPTE);
	bad = linear_rig_regs(LINEAR_4_LEVEL);
	bad.cr3 = p.old.n * SIM_PAGE_BYTES;
	assert_int_equal(linear_cpu_load(p.rig.cpu, &bad, 1), LINEAR_LOAD_BROKEN);
	assert_violation(p.rig.machine, "a guest page is loaded as CR3");
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	linear_rig_end(&p.rig);
}

/* Another CR3 under @tag, where GVA is the new page. Return: what is read there. */
static uint64_t read_under_second_cr3(uint32_t tag)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);
	struct linear_regs first = p.rig.regs;
	uint64_t value;

	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	p.rig.regs.cr3 = sim_ram_alloc(p.rig.machine, SIM_FRAME_TABLE).n * SIM_PAGE_BYTES;
	map(&p, p.new, LPWU);
	assert_int_equal(linear_cpu_load(p.rig.cpu, &p.rig.regs, tag), LINEAR_LOADED);
	value = pfn_read(&p, GVA) == p.old.n;
	linear_cpu_flush_root(p.rig.cpu, sim_pfn(first.cr3 >> SIM_PAGE_SHIFT));
	assert_int_equal(pfn_read(&p, GVA), p.new.n);
	linear_rig_end(&p.rig);
	return value;
}

static void another_cr3_under_the_same_tag_finds_the_old_entries(void **state)
{
	(void)state;
	assert_true(read_under_second_cr3(1));
}

static void another_tag_finds_no_old_entries(void **state)
{
	(void)state;
	assert_false(read_under_second_cr3(2));
}

static void another_mode_under_the_same_tag_finds_the_old_entries(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);

	(void)state;
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	p.rig.regs = linear_rig_regs(LINEAR_PAE);
	p.rig.regs.cr3 = sim_ram_alloc(p.rig.machine, SIM_FRAME_TABLE).n * SIM_PAGE_BYTES;
	map(&p, p.new, LPWU);
	linear_rig_load(&p.rig);
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	linear_rig_end(&p.rig);
}

static void a_flush_of_one_address_takes_all_pieces_of_its_leaf_and_nothing_else(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_RANDOM);
	uint64_t leaf = linear_rig_leaf(sim_pfn(FAR_PFN), SIM_LEVEL_2M, LPWU | LA);
	uint64_t stale = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		linear_rig_set(&p.rig, HUGE_, SIM_LEVEL_2M, leaf);
		for (unsigned k = 0; k < 20; k++)
			(void)pfn_read(&p, HUGE_ + k % 4 * SIM_PAGE_BYTES);
		linear_rig_set(&p.rig, HUGE_, SIM_LEVEL_2M, leaf + (1u << 21));
		linear_flush_gva(p.rig.machine, 1, sim_gva(GVA));
		stale += pfn_read(&p, HUGE_ + 0x2000) == FAR_PFN + 2;
		linear_flush_gva(p.rig.machine, 1, sim_gva(HUGE_ + 0x5000));
		assert_int_equal(pfn_read(&p, HUGE_ + 0x2000), FAR_PFN + 512 + 2);
		linear_flush_gva(p.rig.machine, 1, sim_gva(HUGE_));
	}
	assert_in_range(stale, 100, 290);
	linear_rig_end(&p.rig);
}

static void the_flushes_of_the_machine_include_the_linear_side(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);
	sim_pfn_t root = {p.rig.regs.cr3 >> SIM_PAGE_SHIFT};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		map(&p, p.old, LPWU);
		assert_int_equal(pfn_read(&p, GVA), p.old.n);
		map(&p, p.new, LPWU);
		if (i == 0)
			sim_flush_all(p.rig.machine, 1);
		else if (i == 1)
			sim_flush_root(p.rig.machine, root);
		else if (i == 2)
			sim_flush_everything(p.rig.machine);
		else
			sim_flush_all(p.rig.machine, 2);
		assert_int_equal(pfn_read(&p, GVA), i < 3 ? p.new.n : p.old.n);
		sim_flush_everything(p.rig.machine);
	}
	linear_rig_end(&p.rig);
}

static void a_frame_in_reach_is_not_freed_without_a_violation(void **state)
{
	struct page p = page_new(LINEAR_PAE, SIM_CPU_ALWAYS_STALE);
	sim_pfn_t pd = {p.rig.regs.pdpte[1] >> SIM_PAGE_SHIFT};
	char text[400];

	(void)state;
	assert_int_equal(linear_stale(p.rig.machine, pd, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "loaded in PDPTE 1"));
	assert_int_equal(pfn_read(&p, GVA), p.old.n);
	sim_ram_free(p.rig.machine, p.old);
	assert_violation(p.rig.machine, "a guest page is freed while in reach");
	map(&p, p.new, LPWU);
	linear_flush_gva(p.rig.machine, 1, sim_gva(GVA));
	assert_int_equal(linear_stale(p.rig.machine, p.old, NULL, 0), 0);
	assert_int_equal(pfn_read(&p, GVA), p.new.n);
	linear_rig_end(&p.rig);
}

static void walking_a_freed_table_is_a_violation(void **state)
{
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);
	uint64_t link = linear_rig_get(&p.rig, GVA, SIM_LEVEL_2M);

	(void)state;
	sim_ram_free(p.rig.machine, sim_pfn(link >> SIM_PAGE_SHIFT));
	assert_int_equal(linear_rig_read(&p.rig, GVA).outcome, LINEAR_BROKEN);
	assert_violation(p.rig.machine, "hardware walked a freed table page at level 1");
	linear_rig_set(&p.rig, GVA, SIM_LEVEL_2M, 0);
	linear_flush_all(p.rig.machine, 1);
	assert_int_equal(linear_rig_read(&p.rig, GVA).outcome, LINEAR_FAULT);
	linear_rig_end(&p.rig);
}

static void rights_lost_in_the_tables_make_a_translation_outdated(void **state)
{
	static const uint64_t flags[] = {LP | LU, LP | LW, LPWU | LNX, 0, LPWU};
	char text[400];
	struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_ALWAYS_STALE);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		map(&p, p.old, LPWU);
		assert_int_equal(pfn_read(&p, GVA), p.old.n);
		map(&p, p.old, flags[i]);
		assert_int_equal(linear_outdated(p.rig.machine, 1, text, sizeof(text)), i < 4);
		assert_non_null(strstr(text, i < 3 ? "lost rights" : i < 4 ? "longer mapped" : ""));
		linear_flush_all(p.rig.machine, 1);
		assert_int_equal(linear_outdated(p.rig.machine, 1, NULL, 0), 0);
	}
	linear_rig_end(&p.rig);
}

static void change_leaf_once(void *context, struct sim_cpu *cpu)
{
	struct page *p = context;

	/* The fifth step is the one that sets accessed in the leaf. */
	(void)cpu;
	sim_machine_set_step(p->rig.machine, NULL, NULL);
	map(p, p->new, LPWU);
}

struct countdown {
	struct page *page;
	unsigned left;
};

static void count_down(void *context, struct sim_cpu *cpu)
{
	struct countdown *c = context;

	if (--c->left == 0)
		change_leaf_once(c->page, cpu);
}

static void a_lost_race_for_accessed_starts_the_walk_again(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 8; at++) {
		struct page p = page_new(LINEAR_4_LEVEL, SIM_CPU_NEVER_STALE);
		struct countdown c = {&p, at};

		sim_machine_set_step(p.rig.machine, count_down, &c);
		assert_int_equal(pfn_read(&p, GVA), p.new.n);
		assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K),
				 linear_rig_leaf(p.new, SIM_LEVEL_4K, LPWU | LA));
		linear_rig_end(&p.rig);
	}
}

static void speculation_sets_accessed_and_never_dirty_in_linear_tables(void **state)
{
	struct page p = page_new(LINEAR_PAE, SIM_CPU_RANDOM);
	unsigned tries = 0;

	(void)state;
	while (!(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & LA) && ++tries < 1000)
		linear_cpu_speculate(p.rig.cpu);
	assert_in_range(tries, 0, 999);
	for (unsigned i = 0; i < 1000; i++)
		linear_cpu_speculate(p.rig.cpu);
	assert_int_equal(linear_rig_get(&p.rig, GVA, SIM_LEVEL_4K) & LD, 0);
	assert_int_equal(linear_cpu_stats(p.rig.cpu).faults, 0);
	assert_true(linear_cpu_stats(p.rig.cpu).speculative_fills > 100);
	linear_rig_end(&p.rig);
}

static void loads_and_stores_reach_the_frame(void **state)
{
	struct page p = page_new(LINEAR_5_LEVEL, SIM_CPU_RANDOM);
	struct linear_access read = linear_read_of(GVA + 16), write = linear_write_of(GVA + 16);
	uint64_t value;

	(void)state;
	assert_int_equal(linear_cpu_store8(p.rig.cpu, &write, 77).outcome, LINEAR_OK);
	assert_int_equal(linear_cpu_load8(p.rig.cpu, &read, &value).outcome, LINEAR_OK);
	assert_int_equal(value, 77);
	assert_int_equal(sim_ram_read(p.rig.machine, sim_entry_hpa(p.old, 2)), 77);
	linear_cpu_unload(p.rig.cpu);
	assert_int_equal(linear_cpu_load8(p.rig.cpu, &read, &value).outcome, LINEAR_BROKEN);
	assert_violation(p.rig.machine, "linear access without a CR3");
	linear_rig_end(&p.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_translation_answers_until_it_is_flushed),
		cmocka_unit_test(a_linear_cpu_without_caches_sees_every_change),
		cmocka_unit_test(an_old_upper_entry_leads_to_the_old_table_for_other_addresses),
		cmocka_unit_test(absent_and_reserved_entries_are_never_remembered),
		cmocka_unit_test(a_cached_denial_faults_once_and_the_retry_walks),
		cmocka_unit_test(a_cached_translation_is_judged_by_the_registers_of_now),
		cmocka_unit_test(the_first_write_reads_the_leaf_again_to_set_dirty),
		cmocka_unit_test(a_denied_write_sets_no_dirty_bit),
		cmocka_unit_test(pdptes_are_read_when_they_are_loaded_and_never_again),
		cmocka_unit_test(a_cr3_that_cannot_be_loaded_leaves_the_former_one),
		cmocka_unit_test(another_cr3_under_the_same_tag_finds_the_old_entries),
		cmocka_unit_test(another_tag_finds_no_old_entries),
		cmocka_unit_test(another_mode_under_the_same_tag_finds_the_old_entries),
		cmocka_unit_test(
			a_flush_of_one_address_takes_all_pieces_of_its_leaf_and_nothing_else),
		cmocka_unit_test(the_flushes_of_the_machine_include_the_linear_side),
		cmocka_unit_test(a_frame_in_reach_is_not_freed_without_a_violation),
		cmocka_unit_test(walking_a_freed_table_is_a_violation),
		cmocka_unit_test(rights_lost_in_the_tables_make_a_translation_outdated),
		cmocka_unit_test(a_lost_race_for_accessed_starts_the_walk_again),
		cmocka_unit_test(speculation_sets_accessed_and_never_dirty_in_linear_tables),
		cmocka_unit_test(loads_and_stores_reach_the_frame),
	};

	return cmocka_run_group_tests_name("sim_linear_cpu", tests, NULL, NULL);
}
