/* SPDX-License-Identifier: MIT */
/* Host memory that goes away, and CPUs on their way in. */
#include "scenario.h"
#include "world.h"

#define WORLD .watch = world_watch, .check = world_check, .teardown = world_free

static void small(unsigned vcpus, bool eager)
{
	world_new(&(struct world_options){.vcpus = vcpus, .eager = eager});
	world_slot_create(0, 0, 64, 0);
}

static void migrate_1(void)
{
	world_migrate(1);
}

static void migrate_1_by_frame(void)
{
	world_migrate_gfn(1, 1);
}

static void migrate_1_twice(void)
{
	world_migrate(1);
	world_migrate(1);
}

static void migrate_2(void)
{
	world_migrate(2);
}

/* ---- R46: a page is looked up, goes away, and is to be mapped ---- */

static void page_2_in_use(void)
{
	small(1, false);
	world_read(0, 2);
}

static void read_1_twice(void)
{
	world_read(0, 1);
	world_read(0, 1);
}

static void read_1(void)
{
	world_read(0, 1);
}

/* ---- R39: the hardware sets dirty while the entry goes ---- */

static void page_1_clean(void)
{
	small(1, false);
	world_read(0, 1);
}

static void write_1(void)
{
	world_write(0, 1);
}

/* ---- enter against withdraw ---- */

static void page_1_cached_and_out(void)
{
	small(1, false);
	world_write(0, 1);
	world_leave(0);
}

/* ---- R42: what a pause lets in finds the flush paid ---- */

static void pages_in_use_eager(void)
{
	small(1, true);
	for (uint64_t gfn = 1; gfn < 4; gfn++)
		world_write(0, gfn);
}

static void zap_some(void)
{
	world_zap_range(0, 8);
}

/* ---- R45: slots change between begin and end ---- */

static void delete_0(void)
{
	world_slot_delete(0);
}

static void delete_and_create(void)
{
	world_slot_delete(0);
	world_slot_create(1, 0, 8, 0);
}

static void look_at_1(void)
{
	(void)world_access(0, 1, SIM_READ);
	(void)world_access(0, 1, SIM_READ);
}

/* ---- R64: a CPU that the vCPU was on before ---- */

static void on_its_second_cpu(void)
{
	small(1, false);
	world_read(0, 1);
	world_move(0, 1);
	world_read(0, 1);
}

static void back_to_the_first_cpu(void)
{
	world_read(0, 1);
	world_move(0, 0);
	world_read(0, 1);
}

static void speculate_1(void)
{
	world_prefetch(0, 1);
	world_read(0, 1);
}

const struct scenario scenarios_host[] = {
	{
		.races = "R46",
		.test = {.name = "a page that goes away while it is looked up",
			 .threads = 2,
			 .setup = page_2_in_use,
			 .thread = {read_1_twice, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_SEQUENCE, VMMU_MUTANT_IGNORE_ACTIVE},
		.fail_allocations = 4,
	},
	{
		.races = "R46",
		.test = {.name = "the same, by guest frame",
			 .threads = 2,
			 .setup = page_2_in_use,
			 .thread = {read_1_twice, migrate_1_by_frame},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_SEQUENCE, VMMU_MUTANT_IGNORE_ACTIVE},
	},
	{
		.races = "R39",
		.test = {.name = "the hardware sets dirty in an entry that goes",
			 .threads = 2,
			 .setup = page_1_clean,
			 .thread = {write_1, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND, VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "-",
		.test = {.name = "a CPU enters while a page is withdrawn",
			 .threads = 2,
			 .setup = page_1_cached_and_out,
			 .thread = {read_1_twice, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STAMP_EARLY, VMMU_MUTANT_SKIP_STAMP,
			    VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "-",
		.test = {.name = "a CPU speculates while a page is withdrawn",
			 .threads = 2,
			 .setup = page_1_cached_and_out,
			 .thread = {speculate_1, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R42",
		.test = {.name = "a pause with a flush still owed",
			 .threads = 3,
			 .setup = pages_in_use_eager,
			 .thread = {zap_some, migrate_1, read_1},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_PAUSE_UNPAID},
	},
	{
		.races = "R45 R46",
		.test = {.name = "two invalidations of one page",
			 .threads = 3,
			 .setup = page_2_in_use,
			 .thread = {read_1, migrate_1, migrate_1},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_END_ENDS_ALL},
	},
	{
		.races = "R46",
		.test = {.name = "invalidations of two pages, and again",
			 .threads = 3,
			 .setup = page_2_in_use,
			 .thread = {read_1, migrate_1_twice, migrate_2},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_IGNORE_ACTIVE},
	},
	{
		.races = "R45",
		.test = {.name = "a page and its slot go at once",
			 .threads = 2,
			 .setup = pages_in_use_eager,
			 .thread = {migrate_2, delete_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_WITHDRAWN},
	},
	{
		.races = "R45",
		.test = {.name = "slots change between begin and end",
			 .threads = 3,
			 .setup = page_1_clean,
			 .thread = {migrate_1, delete_and_create, look_at_1},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_IGNORE_CHECK},
	},
	{
		.races = "R64",
		.test = {.name = "a vCPU moves to where it was before",
			 .threads = 2,
			 .setup = on_its_second_cpu,
			 .thread = {back_to_the_first_cpu, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_MOVED_FORGETS},
	},
	{.races = NULL},
};
