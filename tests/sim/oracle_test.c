/* SPDX-License-Identifier: MIT */
/* oracle_test.c - slots and what accesses to them mean. */
#include <string.h>

#include "oracle.h"
#include "tables.h"

#define PAGES(n) ((uint64_t)(n)*SIM_PAGE_BYTES)

struct rig {
	struct sim_machine *machine;
	struct oracle *oracle;
};

static struct rig rig_new(void)
{
	struct rig rig = {.machine = machine_new(SIM_CPU_NEVER_STALE)};

	rig.oracle = oracle_new(rig.machine);
	assert_non_null(rig.oracle);
	assert_true(sim_host_populate(rig.machine, sim_hpage(0), 64, SIM_LEVEL_4K));
	return rig;
}

static void rig_end(struct rig *rig)
{
	oracle_free(rig->oracle);
	machine_end(rig->machine);
}

/* Slot 1 of space 0: frames 16..31, host pages 8..23. */
static struct oracle_request slot_one(void)
{
	return (struct oracle_request){
		.id = 1, .gpa = PAGES(16), .byte_count = PAGES(16), .host_address = PAGES(8)};
}

static enum oracle_kind kind_at(const struct rig *rig, uint64_t gfn, enum sim_access_kind kind)
{
	struct oracle_answers a = oracle_expect(rig->oracle, 0, sim_gpa(PAGES(gfn)), kind);

	assert_int_equal(a.count, 1);
	return a.answer[0].kind;
}

static void an_access_goes_to_the_page_behind_the_slot(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();
	struct oracle_answers a;

	(void)state;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(kind_at(&rig, 15, SIM_READ), ORACLE_MMIO);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MEMORY);
	assert_int_equal(kind_at(&rig, 31, SIM_WRITE), ORACLE_MEMORY);
	assert_int_equal(kind_at(&rig, 32, SIM_WRITE), ORACLE_MMIO);
	a = oracle_expect(rig.oracle, 0, sim_gpa(PAGES(20) + 24), SIM_READ);
	assert_int_equal(a.answer[0].host_page.n, 12);
	assert_int_equal(a.answer[0].offset, 24);
	assert_int_equal(a.answer[0].pfn.n, sim_host_query(rig.machine, sim_hpage(12)).pfn.n);
	a = oracle_expect(rig.oracle, 1, sim_gpa(PAGES(20)), SIM_READ);
	assert_int_equal(a.answer[0].kind, ORACLE_MMIO);
	rig_end(&rig);
}

static void the_host_decides_whether_memory_is_there(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();

	(void)state;
	r.flags = ORACLE_LOG_DIRTY;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_true(sim_host_write_protect(rig.machine, sim_hpage(8)));
	assert_true(sim_host_swap_out(rig.machine, sim_hpage(9)));
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MEMORY);
	assert_int_equal(kind_at(&rig, 16, SIM_WRITE), ORACLE_HOST_READ_ONLY);
	assert_int_equal(kind_at(&rig, 17, SIM_READ), ORACLE_HOST_ABSENT);
	assert_true(
		oracle_expect(rig.oracle, 0, sim_gpa(PAGES(18)), SIM_READ).answer[0].is_log_dirty);
	rig_end(&rig);
}

static void writes_to_a_read_only_slot_are_not_memory(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();

	(void)state;
	r.flags = ORACLE_READ_ONLY;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MEMORY);
	assert_int_equal(kind_at(&rig, 16, SIM_WRITE), ORACLE_READONLY_WRITE);
	assert_int_equal(kind_at(&rig, 16, SIM_TABLE_WRITE), ORACLE_READONLY_WRITE);
	assert_false(oracle_store(rig.oracle, 0, sim_gpa(PAGES(16)), 1));
	rig_end(&rig);
}

static void a_hidden_slot_keeps_its_place_and_shows_nothing(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();

	(void)state;
	r.flags = ORACLE_HIDDEN;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MMIO);
	r.flags = 0;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EINVAL);
	r.id = 2;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EEXIST);
	rig_end(&rig);
}

static void senseless_requests_are_refused(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request bad[] = {
		{.gpa = 1, .byte_count = PAGES(1)},
		{.byte_count = PAGES(1) + 8},
		{.byte_count = PAGES(1), .host_address = 0x800},
		{.space = 2, .byte_count = PAGES(1)},
		{.id = 32764, .byte_count = PAGES(1)},
		{.byte_count = PAGES(1), .flags = 8},
		{.gpa = UINT64_MAX - 0xfff, .byte_count = PAGES(1)},
		{.gpa = UINT64_MAX - 0xfff, .byte_count = PAGES(2)},
		{.host_address = UINT64_MAX - 0xfff, .byte_count = PAGES(2)},
		{.byte_count = PAGES(0x80000000)},
		{.byte_count = 0},
	};
	struct oracle_request biggest = {.id = 32763, .byte_count = PAGES(0x7fffffff)};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(oracle_set(rig.oracle, &bad[i]), ORACLE_EINVAL);
	assert_int_equal(oracle_slot_count(rig.oracle), 0);
	assert_int_equal(oracle_set(rig.oracle, &biggest), ORACLE_OK);
	rig_end(&rig);
}

static void slots_of_one_space_never_overlap(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();

	(void)state;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	r.id = 2;
	for (uint64_t first = 0; first < 48; first++) {
		bool overlaps = first + 4 > 16 && first < 32;

		r.gpa = PAGES(first);
		r.byte_count = PAGES(4);
		assert_int_equal(oracle_check(rig.oracle, &r, NULL),
				 overlaps ? ORACLE_EEXIST : ORACLE_OK);
		r.space = 1;
		assert_int_equal(oracle_check(rig.oracle, &r, NULL), ORACLE_OK);
		r.space = 0;
	}
	assert_int_equal(oracle_slot_count(rig.oracle), 1);
	rig_end(&rig);
}

static void only_place_and_logging_of_a_slot_can_change(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request was = slot_one(), r = was;
	enum oracle_change change;

	(void)state;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(oracle_check(rig.oracle, &r, &change), ORACLE_OK);
	assert_int_equal(change, ORACLE_NO_CHANGE);
	r.flags = ORACLE_READ_ONLY;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EINVAL);
	r = was;
	r.host_address = PAGES(9);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EINVAL);
	r = was;
	r.byte_count = PAGES(15);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EINVAL);
	r = was;
	r.flags = ORACLE_LOG_DIRTY;
	assert_int_equal(oracle_check(rig.oracle, &r, &change), ORACLE_OK);
	assert_int_equal(change, ORACLE_FLAGS);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	r.gpa = PAGES(20); /* over its own former place */
	assert_int_equal(oracle_check(rig.oracle, &r, &change), ORACLE_OK);
	assert_int_equal(change, ORACLE_MOVE);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MMIO);
	assert_int_equal(kind_at(&rig, 35, SIM_READ), ORACLE_MEMORY);
	r.byte_count = 0;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_EINVAL);
	rig_end(&rig);
}

static void during_a_change_old_and_new_are_both_right(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();
	struct oracle_answers a;

	(void)state;
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	r.gpa = PAGES(20);
	assert_int_equal(oracle_begin(rig.oracle, &r), ORACLE_OK);
	a = oracle_expect(rig.oracle, 0, sim_gpa(PAGES(20)), SIM_READ);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.answer[0].host_page.n, 12);
	assert_int_equal(a.answer[1].host_page.n, 8);
	a = oracle_expect(rig.oracle, 0, sim_gpa(PAGES(16)), SIM_READ);
	assert_int_equal(a.answer[0].kind, ORACLE_MEMORY);
	assert_int_equal(a.answer[1].kind, ORACLE_MMIO);
	oracle_cancel(rig.oracle);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MEMORY);
	assert_int_equal(oracle_begin(rig.oracle, &r), ORACLE_OK);
	oracle_end(rig.oracle);
	assert_int_equal(kind_at(&rig, 16, SIM_READ), ORACLE_MMIO);
	rig_end(&rig);
}

static void content_follows_the_host_page_not_the_address(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();
	uint64_t first = oracle_fresh_value(rig.oracle), second = oracle_fresh_value(rig.oracle);
	uint64_t value;

	(void)state;
	assert_int_not_equal(first, second);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_true(oracle_store(rig.oracle, 0, sim_gpa(PAGES(16) + 8), first));
	assert_true(oracle_load(rig.oracle, 0, sim_gpa(PAGES(16) + 16), &value));
	assert_int_equal(value, 0);
	r.gpa = PAGES(40);
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_false(oracle_load(rig.oracle, 0, sim_gpa(PAGES(16) + 8), &value));
	assert_true(oracle_load(rig.oracle, 0, sim_gpa(PAGES(40) + 8), &value));
	assert_int_equal(value, first);
	for (uint64_t i = 0; i < 5000; i++)
		oracle_host_store(rig.oracle, sim_hpage(100 + i), 0, i);
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(oracle_host_load(rig.oracle, sim_hpage(100 + i), 0), i);
	assert_int_equal(oracle_host_load(rig.oracle, sim_hpage(8), 8), first);
	oracle_host_discard(rig.oracle, sim_hpage(8));
	assert_int_equal(oracle_host_load(rig.oracle, sim_hpage(8), 8), 0);
	assert_int_equal(oracle_host_load(rig.oracle, sim_hpage(101), 0), 1);
	rig_end(&rig);
}

static void a_cpu_that_goes_elsewhere_is_told_so(void **state)
{
	struct rig rig = rig_new();
	struct oracle_request r = slot_one();
	sim_gpa_t gpa = sim_gpa(PAGES(16) + 8);
	uint64_t pfn = sim_host_query(rig.machine, sim_hpage(8)).pfn.n;
	struct sim_result result = {.outcome = SIM_OK, .gpa = gpa, .hpa = {PAGES(pfn) + 8}};
	char why[200];

	(void)state;
	assert_false(oracle_agrees(rig.oracle, 0, gpa, SIM_READ, &result, why, sizeof(why)));
	assert_non_null(strstr(why, "but it is MMIO"));
	assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	assert_true(oracle_agrees(rig.oracle, 0, gpa, SIM_READ, &result, why, sizeof(why)));
	result.hpa.bytes += 8;
	assert_false(oracle_agrees(rig.oracle, 0, gpa, SIM_READ, &result, NULL, 0));
	result.outcome = SIM_NPF;
	assert_true(oracle_agrees(rig.oracle, 0, gpa, SIM_READ, &result, NULL, 0));
	rig_end(&rig);
}

static void thousands_of_slots_are_found_by_id_and_by_frame(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	for (uint32_t id = 0; id < 2000; id++) {
		struct oracle_request r = {
			.id = 32763 - id, .gpa = PAGES(2 * id), .byte_count = PAGES(1)};

		assert_int_equal(oracle_set(rig.oracle, &r), ORACLE_OK);
	}
	assert_int_equal(oracle_slot_count(rig.oracle), 2000);
	assert_int_equal(oracle_find_id(rig.oracle, 0, 32763)->first.n, 0);
	assert_int_equal(oracle_find_id(rig.oracle, 0, 32763 - 1500)->first.n, 3000);
	assert_null(oracle_find_id(rig.oracle, 0, 5));
	assert_int_equal(oracle_find(rig.oracle, 0, sim_gfn(3998))->id, 32763 - 1999);
	assert_null(oracle_find(rig.oracle, 0, sim_gfn(3999)));
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_access_goes_to_the_page_behind_the_slot),
		cmocka_unit_test(the_host_decides_whether_memory_is_there),
		cmocka_unit_test(writes_to_a_read_only_slot_are_not_memory),
		cmocka_unit_test(a_hidden_slot_keeps_its_place_and_shows_nothing),
		cmocka_unit_test(senseless_requests_are_refused),
		cmocka_unit_test(slots_of_one_space_never_overlap),
		cmocka_unit_test(only_place_and_logging_of_a_slot_can_change),
		cmocka_unit_test(during_a_change_old_and_new_are_both_right),
		cmocka_unit_test(content_follows_the_host_page_not_the_address),
		cmocka_unit_test(a_cpu_that_goes_elsewhere_is_told_so),
		cmocka_unit_test(thousands_of_slots_are_found_by_id_and_by_frame),
	};

	return cmocka_run_group_tests_name("sim_oracle", tests, NULL, NULL);
}
