/* SPDX-License-Identifier: MIT */
/* The races of shadow paging. */
#include <stddef.h>

#include "scenario.h"

const struct scenario *const scenario_lists[] = {scenarios_fill,         scenarios_change,
						 scenarios_table,        scenarios_unsync,
						 scenarios_shadow_dirty, NULL};
