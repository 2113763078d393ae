/* SPDX-License-Identifier: MIT */
#include "scenario.h"

int main(void)
{
	return _cmocka_run_group_tests("scenarios", scenarios, scenario_count, NULL, NULL);
}
