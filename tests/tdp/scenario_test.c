/* SPDX-License-Identifier: MIT */
/*
 * Scenarios that must hold. The second party acts exactly where it hurts: in the hooks before and
 * after the host's answer, and where the library lets others run. Numbers such as R42 are
 * those of the scenario catalogue.
 */
#include "scenario.h"

int main(void)
{
#define ROW(name) cmocka_unit_test(name),
	const struct CMUnitTest tests[] = {SCENARIOS_SLOT(ROW) SCENARIOS_HOST(ROW)
						   SCENARIOS_GUEST(ROW) SCENARIOS_BROKEN(ROW)};
#undef ROW

	return cmocka_run_group_tests(tests, NULL, NULL);
}
