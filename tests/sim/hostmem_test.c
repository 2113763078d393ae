/* SPDX-License-Identifier: MIT */
/* hostmem_test.c - host pages that come, go, move and are shared. */
#include "tables.h"

#define PAGE sim_hpage(1030) /* inside the 2M run that starts at page 1024 */

/* Pages 1024..1535 as one 2M run; the value 77 in the page under test. */
static struct sim_machine *machine_with_run(void)
{
	struct sim_machine *machine = machine_new(SIM_CPU_NEVER_STALE);

	assert_true(sim_host_populate(machine, sim_hpage(1024), 512, SIM_LEVEL_2M));
	sim_host_write(machine, PAGE, 64, 77);
	return machine;
}

static void a_run_is_one_piece_of_host_memory(void **state)
{
	struct sim_machine *machine = machine_with_run();
	struct sim_host_view first = sim_host_query(machine, sim_hpage(1024));

	(void)state;
	assert_int_equal(first.pfn.n % 512, 0);
	for (uint64_t i = 0; i < 512; i++) {
		struct sim_host_view view = sim_host_query(machine, sim_hpage(1024 + i));

		assert_true(view.is_present && view.is_writable);
		assert_int_equal(view.pfn.n, first.pfn.n + i);
		assert_int_equal(view.run_level, SIM_LEVEL_2M);
	}
	assert_false(sim_host_query(machine, sim_hpage(1536)).is_present);
	assert_false(sim_host_query(machine, sim_hpage(UINT64_MAX)).is_present);
	machine_end(machine);
}

static void content_survives_every_move(void **state)
{
	struct sim_machine *machine = machine_with_run();
	sim_pfn_t pfn = sim_host_query(machine, PAGE).pfn;

	(void)state;
	assert_true(sim_host_swap_out(machine, PAGE));
	assert_int_equal(sim_ram_state(machine, pfn), SIM_FRAME_POISONED);
	assert_int_equal(sim_host_read(machine, PAGE, 64), 77);
	sim_host_write(machine, PAGE, 72, 78);
	assert_false(sim_host_swap_out(machine, PAGE));
	assert_true(sim_host_swap_in(machine, PAGE));
	assert_false(sim_host_swap_in(machine, PAGE));
	assert_int_equal(sim_host_read(machine, PAGE, 64), 77);
	assert_int_equal(sim_host_read(machine, PAGE, 72), 78);
	pfn = sim_host_query(machine, PAGE).pfn;
	assert_true(sim_host_migrate(machine, PAGE));
	assert_int_not_equal(sim_host_query(machine, PAGE).pfn.n, pfn.n);
	assert_int_equal(sim_host_read(machine, PAGE, 64), 77);
	assert_true(sim_host_collapse(machine, PAGE, SIM_LEVEL_2M));
	assert_int_equal(sim_host_read(machine, PAGE, 72), 78);
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_GUEST), 512);
	machine_end(machine);
}

static void discarded_content_comes_back_as_zeroes(void **state)
{
	struct sim_machine *machine = machine_with_run();

	(void)state;
	assert_true(sim_host_discard(machine, PAGE));
	assert_int_equal(sim_host_read(machine, PAGE, 64), 0);
	assert_true(sim_host_swap_in(machine, PAGE));
	assert_int_equal(sim_host_read(machine, PAGE, 64), 0);
	sim_host_write(machine, PAGE, 64, 79);
	assert_true(sim_host_swap_out(machine, PAGE));
	assert_true(sim_host_discard(machine, PAGE));
	assert_int_equal(sim_host_read(machine, PAGE, 64), 0);
	machine_end(machine);
}

static void copy_on_write_moves_the_page_and_frees_the_old_frame(void **state)
{
	struct sim_machine *machine = machine_with_run();
	sim_pfn_t shared = sim_host_query(machine, PAGE).pfn;

	(void)state;
	assert_false(sim_host_copy_on_write(machine, PAGE)); /* not shared */
	assert_true(sim_host_write_protect(machine, PAGE));
	assert_false(sim_host_write_protect(machine, PAGE));
	assert_int_equal(sim_host_query(machine, PAGE).pfn.n, shared.n);
	assert_false(sim_host_query(machine, PAGE).is_writable);
	assert_true(sim_host_copy_on_write(machine, PAGE));
	assert_true(sim_host_query(machine, PAGE).is_writable);
	assert_int_not_equal(sim_host_query(machine, PAGE).pfn.n, shared.n);
	assert_int_equal(sim_host_read(machine, PAGE, 64), 77);
	assert_int_equal(sim_ram_state(machine, shared), SIM_FRAME_POISONED);
	assert_true(sim_host_write_protect(machine, PAGE));
	assert_true(sim_host_write_enable(machine, PAGE));
	machine_end(machine);
}

static void losing_one_page_breaks_the_run_around_it(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 4; how++) {
		struct sim_machine *machine = machine_with_run();
		uint64_t version = sim_host_query(machine, sim_hpage(1100)).version;

		assert_true(how == 0   ? sim_host_swap_out(machine, PAGE)
			    : how == 1 ? sim_host_migrate(machine, PAGE)
			    : how == 2 ? sim_host_discard(machine, PAGE)
				       : sim_host_write_protect(machine, PAGE));
		for (uint64_t i = 1024; i < 1536; i++)
			assert_int_equal(sim_host_query(machine, sim_hpage(i)).run_level,
					 SIM_LEVEL_4K);
		assert_int_not_equal(sim_host_query(machine, sim_hpage(1100)).version, version);
		machine_end(machine);
	}
}

static void a_gigabyte_run_falls_into_2m_runs(void **state)
{
	struct sim_config config = {.frame_count = 2 * 262144, .mode = SIM_CPU_NEVER_STALE};
	struct sim_machine *machine = sim_machine_new(&config);

	(void)state;
	assert_true(sim_host_populate(machine, sim_hpage(0), 262144 + 512, SIM_LEVEL_1G));
	assert_int_equal(sim_host_query(machine, sim_hpage(262143)).run_level, SIM_LEVEL_1G);
	assert_int_equal(sim_host_query(machine, sim_hpage(262144)).run_level, SIM_LEVEL_2M);
	assert_int_equal(sim_host_query(machine, sim_hpage(0)).pfn.n % 262144, 0);
	assert_true(sim_host_swap_out(machine, sim_hpage(1000)));
	assert_int_equal(sim_host_query(machine, sim_hpage(511)).run_level, SIM_LEVEL_2M);
	assert_int_equal(sim_host_query(machine, sim_hpage(512)).run_level, SIM_LEVEL_4K);
	assert_int_equal(sim_host_query(machine, sim_hpage(1023)).run_level, SIM_LEVEL_4K);
	assert_int_equal(sim_host_query(machine, sim_hpage(1024)).run_level, SIM_LEVEL_2M);
	machine_end(machine);
}

static void collapsing_needs_every_page_present_and_writable(void **state)
{
	struct sim_machine *machine = machine_with_run();

	(void)state;
	assert_false(sim_host_collapse(machine, PAGE, SIM_LEVEL_2M)); /* it is one already */
	assert_true(sim_host_swap_out(machine, PAGE));
	assert_false(sim_host_collapse(machine, PAGE, SIM_LEVEL_2M));
	assert_true(sim_host_swap_in(machine, PAGE));
	assert_true(sim_host_write_protect(machine, sim_hpage(1500)));
	assert_false(sim_host_collapse(machine, PAGE, SIM_LEVEL_2M));
	assert_true(sim_host_write_enable(machine, sim_hpage(1500)));
	assert_true(sim_host_collapse(machine, PAGE, SIM_LEVEL_2M));
	assert_int_equal(sim_host_query(machine, sim_hpage(1500)).run_level, SIM_LEVEL_2M);
	machine_end(machine);
}

static void unaligned_ranges_are_populated_in_the_pieces_that_fit(void **state)
{
	struct sim_machine *machine = machine_new(SIM_CPU_NEVER_STALE);

	(void)state;
	assert_true(sim_host_populate(machine, sim_hpage(500), 600, SIM_LEVEL_2M));
	assert_int_equal(sim_host_query(machine, sim_hpage(511)).run_level, SIM_LEVEL_4K);
	assert_int_equal(sim_host_query(machine, sim_hpage(512)).run_level, SIM_LEVEL_2M);
	assert_int_equal(sim_host_query(machine, sim_hpage(1024)).run_level, SIM_LEVEL_4K);
	assert_false(sim_host_populate(machine, sim_hpage(1000), 200, SIM_LEVEL_4K));
	machine_end(machine);
}

static void without_enough_frames_nothing_is_populated(void **state)
{
	struct sim_config config = {.frame_count = 100, .host_page_count = 200};
	struct sim_machine *machine = sim_machine_new(&config);

	(void)state;
	assert_false(sim_host_populate(machine, sim_hpage(0), 101, SIM_LEVEL_4K));
	assert_int_equal(sim_ram_count(machine, SIM_FRAME_GUEST), 0);
	assert_false(sim_host_query(machine, sim_hpage(0)).is_present);
	assert_true(sim_host_populate(machine, sim_hpage(0), 100, SIM_LEVEL_4K));
	assert_false(sim_host_migrate(machine, sim_hpage(0)));
	assert_true(sim_host_query(machine, sim_hpage(0)).is_present);
	machine_end(machine);
}

static void taking_a_page_that_a_cpu_still_reaches_is_a_violation(void **state)
{
	struct sim_machine *machine = machine_with_run();
	struct tables tables = tables_new(machine, SIM_NPT);
	struct sim_cpu *cpu = sim_machine_cpu(machine, 0);

	(void)state;
	sim_cpu_set_mode(cpu, SIM_CPU_ALWAYS_STALE);
	sim_cpu_set_root(cpu, &tables.root);
	tables_map(&tables, sim_gpa(0), sim_host_query(machine, sim_hpage(1024)).pfn, SIM_LEVEL_2M,
		   "rwx");
	assert_int_equal(sim_cpu_access(cpu, sim_gpa(0), SIM_READ).outcome, SIM_OK);
	assert_true(sim_host_swap_out(machine, PAGE));
	assert_violation(machine, "a guest page is freed while in reach");
	machine_end(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_is_one_piece_of_host_memory),
		cmocka_unit_test(content_survives_every_move),
		cmocka_unit_test(discarded_content_comes_back_as_zeroes),
		cmocka_unit_test(copy_on_write_moves_the_page_and_frees_the_old_frame),
		cmocka_unit_test(losing_one_page_breaks_the_run_around_it),
		cmocka_unit_test(a_gigabyte_run_falls_into_2m_runs),
		cmocka_unit_test(collapsing_needs_every_page_present_and_writable),
		cmocka_unit_test(unaligned_ranges_are_populated_in_the_pieces_that_fit),
		cmocka_unit_test(without_enough_frames_nothing_is_populated),
		cmocka_unit_test(taking_a_page_that_a_cpu_still_reaches_is_a_violation),
	};

	return cmocka_run_group_tests_name("sim_hostmem", tests, NULL, NULL);
}
