/* SPDX-License-Identifier: MIT */
#include "scenario.h"

#define SCENARIO_TEST(name) cmocka_unit_test(name),
const struct CMUnitTest scenarios[] = {SCENARIOS(SCENARIO_TEST)};
const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
