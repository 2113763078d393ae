/* SPDX-License-Identifier: MIT */
/* Tracking under two-dimensional paging, scenario by scenario. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scenario.h"

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tracked_write_comes_out_once_and_is_told),
		cmocka_unit_test(reads_and_fetches_can_be_tracked),
		cmocka_unit_test(a_huge_leaf_over_a_tracked_frame_goes_and_stays_away),
		cmocka_unit_test(adding_takes_the_right_from_cpus_that_have_it),
		cmocka_unit_test(clients_count_for_themselves),
		cmocka_unit_test(a_write_over_two_frames_is_told_to_each),
		cmocka_unit_test(one_write_is_told_until_the_client_rearms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
