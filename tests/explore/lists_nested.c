/* SPDX-License-Identifier: MIT */
/* The races of nested paging. */
#include <stddef.h>

#include "scenario.h"

const struct scenario *const scenario_lists[] = {scenarios_fault,
						 scenarios_harvest,
						 scenarios_host,
						 scenarios_slot,
						 scenarios_root,
						 scenarios_dirty,
						 NULL};
