/* SPDX-License-Identifier: MIT */
/* ram_test.c - host physical memory. */
#include "tables.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void memory_does_not_start_at_frame_zero(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);

	(void)state;
	assert_true(sim_ram_first_pfn(machine).n > 0);
	assert_int_equal(sim_ram_state(machine, sim_pfn(0)), SIM_FRAME_OUTSIDE);
	assert_int_equal(sim_ram_state(machine, sim_ram_first_pfn(machine)), SIM_FRAME_FREE);
	assert_null(sim_ram_pointer(machine, sim_pfn(0)));
	assert_violation(machine, "the address of a frame outside of RAM");
	machine_end(machine);
}

static void every_frame_comes_zeroed_also_the_second_time(void **state)
{
	struct sim_machine *machine = sim_machine_new(&(struct sim_config){.frame_count = 1});
	sim_pfn_t pfn = sim_ram_alloc(machine, SIM_FRAME_TABLE);
	sim_pfn_t again;

	(void)state;
	assert_int_equal(sim_ram_read(machine, sim_entry_hpa(pfn, 3)), 0);
	sim_ram_write(machine, sim_entry_hpa(pfn, 3), 9);
	*(uint64_t *)sim_ram_pointer(machine, pfn) = 5;
	sim_ram_free(machine, pfn);
	again = sim_ram_alloc(machine, SIM_FRAME_GUEST);
	assert_int_equal(again.n, pfn.n);
	for (unsigned i = 0; i < SIM_TABLE_ENTRIES; i++)
		assert_int_equal(sim_ram_read(machine, sim_entry_hpa(pfn, i)), 0);
	assert_int_equal(sim_ram_alloc(machine, SIM_FRAME_GUEST).n, SIM_PFN_NONE.n);
	machine_end(machine);
}

static void the_nth_table_fails_and_only_as_many_as_were_asked_for(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);

	(void)state;
	(void)sim_ram_alloc(machine, SIM_FRAME_TABLE);
	sim_ram_fail_tables(machine, 3, 2);
	for (unsigned i = 1; i <= 6; i++) {
		bool fails = sim_ram_alloc(machine, SIM_FRAME_TABLE).n == SIM_PFN_NONE.n;

		assert_int_equal(fails, i == 3 || i == 4);
		assert_int_not_equal(sim_ram_alloc(machine, SIM_FRAME_GUEST).n, SIM_PFN_NONE.n);
	}
	assert_int_equal(sim_ram_table_allocs(machine), 7);
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_TABLE), 5);
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_GUEST), 6);
	machine_end(machine);
}

static void from_the_nth_on_all_tables_fail(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);

	(void)state;
	sim_ram_fail_tables(machine, 2, UINT64_MAX);
	assert_int_not_equal(sim_ram_alloc(machine, SIM_FRAME_TABLE).n, SIM_PFN_NONE.n);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(sim_ram_alloc(machine, SIM_FRAME_TABLE).n, SIM_PFN_NONE.n);
	sim_ram_fail_tables(machine, 0, 0);
	assert_int_not_equal(sim_ram_alloc(machine, SIM_FRAME_TABLE).n, SIM_PFN_NONE.n);
	machine_end(machine);
}

static uint64_t frame_order(uint64_t seed, bool in_order)
{
	struct sim_machine *machine =
		sim_machine_new(&(struct sim_config){.seed = seed, .frames_in_order = in_order});
	uint64_t hash = 0;

	for (unsigned i = 0; i < 50; i++)
		hash = hash * 1000003 + sim_ram_alloc(machine, SIM_FRAME_TABLE).n;
	machine_end(machine);
	return hash;
}

static void the_order_of_frames_follows_from_the_seed(void **state)
{
	(void)state;
	assert_int_equal(frame_order(3, false), frame_order(3, false));
	assert_int_not_equal(frame_order(3, false), frame_order(4, false));
	assert_int_equal(frame_order(3, true), frame_order(4, true));
}

static void a_run_is_contiguous_and_aligned_and_fits_around_others(void **state)
{
	struct sim_config config = {.base_pfn = 0x1234, .frame_count = 2048};
	struct sim_machine *machine = sim_machine_new(&config);
	sim_pfn_t run = sim_ram_alloc_run(machine, SIM_FRAME_GUEST, SIM_LEVEL_2M);
	unsigned runs = 1;

	(void)state;
	assert_int_not_equal(run.n, SIM_PFN_NONE.n);
	assert_int_equal(run.n % 512, 0);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(sim_ram_state(machine, sim_pfn(run.n + i)), SIM_FRAME_GUEST);
	while (sim_ram_alloc_run(machine, SIM_FRAME_GUEST, SIM_LEVEL_2M).n != SIM_PFN_NONE.n)
		runs++;
	assert_int_equal(runs, 3); /* the base is not aligned */
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_FREE), 512);
	assert_int_equal(sim_ram_alloc_run(machine, SIM_FRAME_GUEST, SIM_LEVEL_1G).n,
			 SIM_PFN_NONE.n);
	machine_end(machine);
}

static void a_run_is_never_laid_over_a_used_frame(void **state)
{
	struct sim_config config = {.base_pfn = 512, .frame_count = 1024, .frames_in_order = true};
	struct sim_machine *machine = sim_machine_new(&config);
	sim_pfn_t first = sim_ram_alloc(machine, SIM_FRAME_TABLE);
	sim_pfn_t second = sim_ram_alloc(machine, SIM_FRAME_TABLE);

	(void)state;
	sim_ram_free(machine, first);
	assert_int_equal(second.n, 513);
	assert_int_equal(sim_ram_alloc_run(machine, SIM_FRAME_GUEST, SIM_LEVEL_2M).n, 1024);
	assert_int_equal(sim_ram_alloc_run(machine, SIM_FRAME_GUEST, SIM_LEVEL_2M).n,
			 SIM_PFN_NONE.n);
	assert_int_equal(sim_ram_state(machine, second), SIM_FRAME_TABLE);
	machine_end(machine);
}

static void freeing_twice_or_what_is_no_memory_is_a_violation(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);
	sim_pfn_t pfn = sim_ram_alloc(machine, SIM_FRAME_TABLE);

	(void)state;
	sim_ram_free(machine, pfn);
	assert_int_equal(sim_ram_state(machine, pfn), SIM_FRAME_POISONED);
	sim_ram_free(machine, pfn);
	assert_violation(machine, "a freed frame is freed");
	sim_ram_free(machine, sim_pfn(1));
	assert_violation(machine, "a frame outside of RAM is freed");
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_POISONED), 1);
	machine_end(machine);
}

static void touching_a_freed_frame_is_a_violation(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);
	sim_pfn_t pfn = sim_ram_alloc(machine, SIM_FRAME_TABLE);
	uint64_t expected = 0;

	(void)state;
	sim_ram_free(machine, pfn);
	assert_int_equal(sim_ram_read(machine, sim_entry_hpa(pfn, 0)), 0);
	assert_violation(machine, "a freed frame is accessed");
	sim_ram_write(machine, sim_entry_hpa(pfn, 0), 1);
	assert_violation(machine, "a freed frame is accessed");
	assert_false(sim_ram_cmpxchg(machine, sim_entry_hpa(pfn, 0), &expected, 1));
	assert_violation(machine, "a freed frame is accessed");
	assert_null(sim_ram_pointer(machine, pfn));
	assert_violation(machine, "somebody wants the address of a freed frame");
	machine_end(machine);
}

static void a_freed_frame_is_hidden_from_everybody(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);
	sim_pfn_t pfn = sim_ram_alloc(machine, SIM_FRAME_TABLE);
	void *address = sim_ram_pointer(machine, pfn);

	(void)state;
#ifdef HAVE_ASAN
	assert_false(__asan_address_is_poisoned(address));
	sim_ram_free(machine, pfn);
	assert_true(__asan_address_is_poisoned(address));
#else
	sim_ram_free(machine, pfn);
	assert_int_equal(*(uint64_t *)address, UINT64_C(0x0005deadbeef5e67));
#endif
	machine_end(machine);
}

static void compare_and_swap_tells_what_it_found(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);
	sim_hpa_t where = sim_entry_hpa(sim_ram_alloc(machine, SIM_FRAME_TABLE), 7);
	uint64_t expected = 0;

	(void)state;
	assert_true(sim_ram_cmpxchg(machine, where, &expected, 5));
	assert_false(sim_ram_cmpxchg(machine, where, &expected, 6));
	assert_int_equal(expected, 5);
	assert_int_equal(sim_ram_read(machine, where), 5);
	machine_end(machine);
}

static void a_misplaced_word_is_a_violation(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);
	sim_hpa_t where = sim_entry_hpa(sim_ram_alloc(machine, SIM_FRAME_TABLE), 7);

	(void)state;
	where.bytes += 4;
	assert_int_equal(sim_ram_read(machine, where), 0);
	assert_violation(machine, "across its boundary");
	machine_end(machine);
}

static void violations_beyond_those_kept_are_still_counted(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_RANDOM);

	(void)state;
	for (int i = 0; i < 100; i++)
		sim_violation(machine, "number %d", i);
	assert_int_equal(sim_violation_count(machine), 100);
	assert_string_equal(sim_violation_text(machine, 63), "number 63");
	assert_null(sim_violation_text(machine, 64));
	sim_violations_clear(machine);
	assert_null(sim_violation_text(machine, 0));
	machine_end(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_does_not_start_at_frame_zero),
		cmocka_unit_test(every_frame_comes_zeroed_also_the_second_time),
		cmocka_unit_test(the_nth_table_fails_and_only_as_many_as_were_asked_for),
		cmocka_unit_test(from_the_nth_on_all_tables_fail),
		cmocka_unit_test(the_order_of_frames_follows_from_the_seed),
		cmocka_unit_test(a_run_is_contiguous_and_aligned_and_fits_around_others),
		cmocka_unit_test(a_run_is_never_laid_over_a_used_frame),
		cmocka_unit_test(freeing_twice_or_what_is_no_memory_is_a_violation),
		cmocka_unit_test(touching_a_freed_frame_is_a_violation),
		cmocka_unit_test(a_freed_frame_is_hidden_from_everybody),
		cmocka_unit_test(compare_and_swap_tells_what_it_found),
		cmocka_unit_test(a_misplaced_word_is_a_violation),
		cmocka_unit_test(violations_beyond_those_kept_are_still_counted),
	};

	return cmocka_run_group_tests_name("sim_ram", tests, NULL, NULL);
}
