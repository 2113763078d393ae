/* SPDX-License-Identifier: MIT */
/* What goes on without a lock, or beside faults: harvesting, widening, taking old roots apart. */
#include <vmmu/track.h>

#include "scenario.h"
#include "world.h"

#define WORLD .watch = world_watch, .check = world_check, .teardown = world_free

static const struct vmmu_gfn_range frames = {{0}, {WORLD_FRAMES}};
/* All that their lowest table maps: it may be passed over if nobody has used it. */
static const struct vmmu_gfn_range table = {{0}, {512}};

static void no_error(enum vmmu_error error, const char *what)
{
	if (error != VMMU_OK)
		sim_violation(world.sim->machine, "%s: %s", what, vmmu_error_text(error));
}

static void pages_in_use(enum vmmu_format format, bool flags)
{
	world_new(
		&(struct world_options){.vcpus = 1, .format = format, .no_accessed_dirty = !flags});
	world_slot_create(0, 0, 64, 0);
	world_write(0, 1);
	world_write(0, 2);
}

static void in_use(void)
{
	pages_in_use(VMMU_FORMAT_NPT, true);
}

static void use(void)
{
	world_write(0, 1);
	world_write(0, 3);
}

static void write_twice(void)
{
	world_write(0, 1);
	world_write(0, 1);
}

/* ---- R60: ageing, while tables go ---- */

static void age(void)
{
	no_error(vmmu_harvest_accessed(world.sim->vm, 0, frames, NULL, NULL), "age");
}

/* Freed at once, if nobody is seen to read them. */
static void zap_tables_thoroughly(void)
{
	for (unsigned i = 0; i < 3; i++)
		world_zap_range(0, UINT64_C(1) << 18);
}

/* ---- R40, R47: dirty is harvested while a CPU writes ---- */

static void clean(void)
{
	no_error(vmmu_harvest_dirty(world.sim->vm, 0, table, NULL, NULL), "harvest");
	/* Whatever was written so far has been told. */
	for (uint64_t i = 0; i < world.sim->options.machine.frame_count; i++)
		world.sim->written_frame[i] = world.sim->dirty_frame[i] = 0;
}

/* No leaf is dirty, and the CPU has used all tables since the last look. */
static void read_only(void)
{
	in_use();
	clean();
	world_read(0, 1);
	world_read(0, 2);
}

static void write_1(void)
{
	world_write(0, 1);
}

static const char *all_writes_were_told(void)
{
	struct sim_vm *sim = world.sim;

	no_error(vmmu_harvest_dirty(sim->vm, 0, table, NULL, NULL), "harvest");
	for (uint64_t i = 0; i < sim->options.machine.frame_count; i++)
		if (sim->written_frame[i] && !sim->dirty_frame[i])
			return "a write was never told";
	return world_check();
}

/* ---- a right comes back without the lock, while its page goes ---- */

static void cleaned_without_flags(void)
{
	pages_in_use(VMMU_FORMAT_EPT, false);
	clean();
}

static void migrate_1(void)
{
	world_migrate(1);
}

/* ---- R48: the same, while a client begins to track the frame ---- */

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	(void)client;
	(void)space;
	(void)gpa;
	(void)bytes;
	(void)kind;
}

static vmmu_tracker_id_t tracker;
static const struct vmmu_tracker_ops ops = {.accessed = accessed};

static void cleaned_with_a_client(void)
{
	cleaned_without_flags();
	no_error(vmmu_tracker_register(world.sim->vm, &ops, NULL, &tracker), "register");
}

static void unmapped_with_a_client(void)
{
	world_new(&(struct world_options){.vcpus = 1});
	world_slot_create(0, 0, 64, 0);
	no_error(vmmu_tracker_register(world.sim->vm, &ops, NULL, &tracker), "register");
}

static void track_1(void)
{
	no_error(vmmu_track_add(world.sim->vm, tracker, (struct vmmu_gfn_range){{1}, {2}},
				VMMU_ACCESS_WRITE),
		 "add");
}

/* The write may come out, or be made before the client is there. */
static void try_to_write_1(void)
{
	struct sim_result hardware;
	struct vmmu_fault_result result;

	for (unsigned i = 0; i < 3; i++)
		(void)sim_vm_step(world.sim, 0, 0x1000, SIM_WRITE, &hardware, &result);
}

static const char *nobody_can_write_it(void)
{
	sim_vm_check(world.sim);
	no_error(vmmu_tracker_unregister(world.sim->vm, tracker), "unregister");
	return world_check();
}

/* ---- R15, R16: roots that wait to be taken apart ---- */

static void old_root_in_the_way(void)
{
	world_new(&(struct world_options){.vcpus = 1});
	world_slot_create(0, 0, 64, 0);
	world_write(0, 1);
	world_write(0, 2);
	no_error(vmmu_zap_all_fast(world.sim->vm), "zap_all_fast");
}

static void work(void)
{
	(void)vmmu_work(world.sim->vm, 2 * VMMU_TABLE_ENTRIES);
}

static void migrate_2(void)
{
	world_migrate(2);
}

const struct scenario scenarios_harvest[] = {
	{
		.races = "R60",
		.test = {.name = "ageing, while tables go",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {age, zap_tables_thoroughly},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_EPOCH_BLIND, VMMU_MUTANT_EPOCH_HASTY},
	},
	{
		.races = "R60 R39",
		.test = {.name = "ageing, while the page is used and goes",
			 .threads = 3,
			 .setup = in_use,
			 .thread = {age, write_1, migrate_1},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND, VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "R40 R47",
		.test = {.name = "dirty is harvested while a CPU writes",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {clean, write_twice},
			 .watch = world_watch,
			 .check = all_writes_were_told,
			 .teardown = world_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_CLEAN_UNPAID},
	},
	{
		.races = "R47",
		.test = {.name = "a look finds nothing while a page becomes dirty",
			 .threads = 2,
			 .setup = read_only,
			 .thread = {clean, write_1},
			 .watch = world_watch,
			 .check = all_writes_were_told,
			 .teardown = world_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_MARK_UNPAID},
	},
	{
		.races = "R47",
		.test = {.name = "the same, without dirty flags",
			 .threads = 2,
			 .setup = cleaned_without_flags,
			 .thread = {clean, use},
			 .watch = world_watch,
			 .check = all_writes_were_told,
			 .teardown = world_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R38",
		.test = {.name = "a right comes back while its page goes",
			 .threads = 2,
			 .setup = cleaned_without_flags,
			 .thread = {write_1, migrate_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND},
	},
	{
		.races = "R5 R48",
		.test = {.name = "a right comes back while a client comes",
			 .threads = 2,
			 .setup = cleaned_with_a_client,
			 .thread = {try_to_write_1, track_1},
			 .watch = world_watch,
			 .check = nobody_can_write_it,
			 .teardown = world_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND},
	},
	{
		.races = "R5",
		.test = {.name = "a page is mapped while a client comes",
			 .threads = 2,
			 .setup = unmapped_with_a_client,
			 .thread = {try_to_write_1, track_1},
			 .watch = world_watch,
			 .check = nobody_can_write_it,
			 .teardown = world_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_TRACK_HINT, VMMU_MUTANT_TRACK_UNPAID},
	},
	{
		.races = "R16",
		.test = {.name = "two threads take one old root apart",
			 .threads = 2,
			 .setup = old_root_in_the_way,
			 .thread = {work, work},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_ZAP_TWICE, VMMU_MUTANT_WORK_TWICE},
	},
	{
		.races = "R15",
		.test = {.name = "an old root is taken apart, a page of it goes",
			 .threads = 3,
			 .setup = old_root_in_the_way,
			 .thread = {work, migrate_2, use},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_SKIP_INVALID_ROOT},
	},
	{.races = NULL},
};
