/* SPDX-License-Identifier: MIT */
/* The scenario that docs/testing.md shows: the host takes a page away that two vCPUs use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port.h"

static void a_swapped_out_page_comes_back_with_its_content(void **state)
{
	struct sim_vm_options options = {.machine = {.mode = SIM_CPU_ALWAYS_STALE}};
	struct sim_vm *sim = sim_vm_new(&options, 2);
	uint64_t value = 0x1234;

	(void)state;
	assert_true(sim_host_populate(sim->machine, (sim_hpage_t){0}, 64, SIM_LEVEL_4K));
	assert_int_equal(sim_slot_create(sim, 0, 0, 0, 64, 0, 0), VMMU_OK);

	assert_int_equal(sim_vm_access(sim, 0, 0x5000, SIM_WRITE, &value), SIM_ACCESS_MEMORY);
	assert_int_equal(sim_vm_access(sim, 1, 0x5000, SIM_READ, &value), SIM_ACCESS_MEMORY);
	assert_true(sim_vm_swap_out(sim, 5)); /* both vCPUs hold a translation of it */

	assert_int_equal(sim_vm_access(sim, 1, 0x5000, SIM_READ, &value), SIM_ACCESS_MEMORY);
	assert_int_equal(value, 0x1234);
	sim_vm_check(sim);
	assert_int_equal(sim_violation_count(sim->machine), 0);
	sim_vm_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_swapped_out_page_comes_back_with_its_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
