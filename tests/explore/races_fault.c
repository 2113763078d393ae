/* SPDX-License-Identifier: MIT */
/* Faults beside faults, zaps and readers of tables. */
#include "scenario.h"
#include "world.h"

#define WORLD .watch = world_watch, .check = world_check, .teardown = world_free

static void small(unsigned vcpus, bool eager)
{
	world_new(&(struct world_options){.vcpus = vcpus, .eager = eager});
	world_slot_create(0, 0, 64, 0);
}

/* ---- two faults, the tables still missing: either order of linking ---- */

static void nothing_mapped(void)
{
	small(2, false);
}

static void write_1_on_vcpu_0(void)
{
	world_write(0, 1);
}

static void write_1_on_vcpu_1(void)
{
	world_write(1, 1);
}

static void write_2_on_vcpu_1(void)
{
	world_write(1, 2);
}

/* ---- a fault and a zap of what it maps ---- */

static void both_mapped(void)
{
	small(2, false);
	world_write(0, 1);
	world_write(1, 2);
}

static void both_mapped_eager(void)
{
	small(2, true);
	world_write(0, 1);
	world_write(1, 2);
}

static void both_mapped_builtin_locks(void)
{
	world_new(&(struct world_options){.vcpus = 2, .builtin_locks = true});
	world_slot_create(0, 0, 64, 0);
	world_write(0, 1);
	world_write(1, 2);
}

static void zap_some(void)
{
	world_zap_range(0, 8);
}

/* Also the tables, as they lie inside. */
static void zap_tables(void)
{
	world_zap_range(0, UINT64_C(1) << 18);
}

static void use_1_and_2(void)
{
	world_write(0, 1);
	world_write(0, 2);
}

/* ---- R44: a walk pauses on an entry of a table that another one takes out ---- */

static void zap_tables_thoroughly(void)
{
	for (unsigned i = 0; i < 3; i++)
		zap_tables();
}

/* ---- R50, epochs: a walk without a lock ---- */

static void prefault_some(void)
{
	uint64_t done;

	world_leave(0);
	(void)!vmmu_prefault(world.sim->vcpu[0], (struct vmmu_gfn_range){{1}, {3}}, &done);
}

/* ---- R41: a table gives way to a huge leaf while another fault is in it ---- */

static void small_leaves_where_huge_ones_fit(void)
{
	struct vmmu_gfn_range far = {{1000}, {1001}};

	world_new(&(struct world_options){.vcpus = 2,
					  .max_leaf = VMMU_LEVEL_2M,
					  .run_level = SIM_LEVEL_2M,
					  .host_pages = 1024});
	world_slot_create(0, 0, 1024, 0);
	/* While an invalidation is under way, leaves are small. */
	(void)!vmmu_invalidate_begin(world.sim->vm, 0, far);
	world_write(0, 1);
	world_read(1, 2);
	(void)!vmmu_invalidate_end(world.sim->vm, 0, far);
}

static void write_3_on_vcpu_0(void)
{
	world_write(0, 3);
	world_write(0, 1);
}

static void write_4_on_vcpu_1(void)
{
	world_write(1, 4);
	world_write(1, 2);
}

static void zap_1000(void)
{
	world_zap_range(1000, 1001);
}

const struct scenario scenarios_fault[] = {
	{
		.races = "-",
		.test = {.name = "two faults that need the same tables",
			 .threads = 2,
			 .setup = nothing_mapped,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND},
		.fail_allocations = 12,
	},
	{
		.races = "-",
		.test = {.name = "two faults on the same page",
			 .threads = 2,
			 .setup = nothing_mapped,
			 .thread = {write_1_on_vcpu_0, write_1_on_vcpu_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND},
	},
	{
		.races = "-",
		.test = {.name = "a fault and a zap of tables, built-in locks",
			 .threads = 2,
			 .setup = both_mapped_builtin_locks,
			 .thread = {use_1_and_2, zap_tables},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FREE_EARLY},
		.fail_allocations = 3,
	},
	{
		.races = "-",
		.test = {.name = "a fault and a zap of its tables",
			 .threads = 2,
			 .setup = both_mapped,
			 .thread = {use_1_and_2, zap_tables},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FREE_EARLY},
		.fail_allocations = 4,
	},
	{
		.races = "-",
		.test = {.name = "two faults and a zap",
			 .threads = 3,
			 .setup = both_mapped,
			 .thread = {use_1_and_2, write_2_on_vcpu_1, zap_tables},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_FREE_EARLY},
	},
	{
		.races = "R44",
		.test = {.name = "a walk whose table goes while it pauses",
			 .threads = 2,
			 .setup = both_mapped_eager,
			 .thread = {zap_some, zap_tables_thoroughly},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_PAUSE_KEEPS},
	},
	{
		.races = "R50",
		.test = {.name = "a walk without a lock, its tables freed",
			 .threads = 2,
			 .setup = both_mapped,
			 .thread = {prefault_some, zap_tables_thoroughly},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_EPOCH_BLIND, VMMU_MUTANT_EPOCH_HASTY,
			    VMMU_MUTANT_FREE_EARLY},
	},
	{
		.races = "R41",
		.test = {.name = "a huge leaf in the place of a table in use",
			 .threads = 3,
			 .setup = small_leaves_where_huge_ones_fit,
			 .thread = {write_3_on_vcpu_0, write_4_on_vcpu_1, zap_1000},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_FREE_EARLY},
	},
	{.races = NULL},
};
