/* SPDX-License-Identifier: MIT */
/* Roots: invalidated under faults, entries, host invalidation and each other. */
#include "scenario.h"
#include "world.h"

#define WORLD .watch = world_watch, .check = world_check, .teardown = world_free

static void pages_in_use(unsigned vcpus, bool eager)
{
	world_new(&(struct world_options){.vcpus = vcpus, .eager = eager});
	world_slot_create(0, 0, 64, 0);
	world_write(0, 1);
	world_write(0, 2);
}

static void in_use(void)
{
	pages_in_use(1, false);
}

static void in_use_eager(void)
{
	pages_in_use(1, true);
}

static void in_use_by_two(void)
{
	pages_in_use(2, false);
	world_write(1, 3);
}

static void zap(void)
{
	world_zap_all();
}

static void zap_2_in_pieces(void)
{
	world_zap_range(1, 3);
}

static void use(void)
{
	world_read(0, 1);
	world_write(0, 3);
}

static void use_on_vcpu_1(void)
{
	world_write(1, 2);
}

static void migrate_2(void)
{
	world_migrate(2);
}

static void enter_and_stay(void)
{
	world_read(0, 1);
}

const struct scenario scenarios_root[] = {
	{
		.races = "R17",
		.test = {.name = "a root is invalidated under a fault",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {use, zap},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_CHECK, VMMU_MUTANT_ENTER_INVALID},
	},
	{
		.races = "R17",
		.test = {.name = "a root is invalidated under two vCPUs",
			 .threads = 3,
			 .setup = in_use_by_two,
			 .thread = {use, use_on_vcpu_1, zap},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_ENTER_INVALID},
	},
	{
		.races = "R15",
		.test = {.name = "the host takes a page out of a root that goes",
			 .threads = 2,
			 .setup = in_use_eager,
			 .thread = {zap, migrate_2},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_INVALID_ROOT},
	},
	{
		.races = "R15 R17",
		.test = {.name = "the same, and a vCPU makes a new root",
			 .threads = 3,
			 .setup = in_use_eager,
			 .thread = {zap, migrate_2, use},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
	},
	{
		.races = "R16",
		.test = {.name = "two threads zap everything",
			 .threads = 2,
			 .setup = in_use_eager,
			 .thread = {zap, zap},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_ZAP_TWICE},
	},
	{
		.races = "R16",
		.test = {.name = "two threads zap everything, a third a range",
			 .threads = 3,
			 .setup = in_use_eager,
			 .thread = {zap, zap_2_in_pieces, zap},
			 WORLD},
		.bound = 0,
		.long_bound = 1,
		.mutants = {VMMU_MUTANT_ZAP_TWICE},
	},
	{
		.races = "-",
		.test = {.name = "a vCPU that idles in the guest is called out",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {enter_and_stay, zap},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH},
	},
	{.races = NULL},
};
