/* SPDX-License-Identifier: MIT */
/* The dirty log of nested paging: looks, and logs that begin and end, while the guest writes. */
#include <vmmu/dirty.h>
#include <vmmu/harvest.h>

#include "migrator.h"
#include "scenario.h"
#include "world.h"

#define COPIED .watch = world_watch, .check = copy_is_right, .teardown = world_free

static const struct vmmu_gfn_range frames = {{0}, {WORLD_FRAMES}};

static void no_error(enum vmmu_error error, const char *what)
{
	if (error != VMMU_OK && !(error == VMMU_ENOMEM && world.ran_out))
		sim_violation(world.sim->machine, "%s: %s", what, vmmu_error_text(error));
}

/* Whose copy it is. */
static void migrator_of_world(bool is_one_of_several, bool may_end)
{
	migrator_new(&(struct migrator_options){
		.vm = world.sim->vm,
		.machine = world.sim->machine,
		.frames = 1 << 1 | 1 << 2 | 1 << 3,
		.count = 64,
		.is_one_of_several = is_one_of_several,
		.may_end = may_end,
	});
}

static const char *copy_is_right(void)
{
	const char *wrong = migrator_end();

	return wrong ? wrong : world_check();
}

/* ---- a slot that logs, and two pages in use ---- */

static void logged(const struct world_options *options)
{
	world_new(options);
	world_slot_create(0, 0, 64, 0);
	world_slot_flags(0, VMMU_SLOT_LOG);
	migrator_of_world(false, false);
	migrator_copy_all();
	for (unsigned i = 0; i < options->vcpus; i++) {
		world_write(i, 1);
		world_write(i, 2);
	}
}

static void in_use(void)
{
	logged(&(struct world_options){.vcpus = 1});
}

static void in_use_eager(void)
{
	logged(&(struct world_options){.vcpus = 1, .eager = true});
}

static const struct world_options two_without_flags = {
	.vcpus = 2, .format = VMMU_FORMAT_EPT, .no_accessed_dirty = true};

static void in_use_without_flags(void)
{
	struct world_options options = two_without_flags;

	options.vcpus = 1;
	logged(&options);
}

static void clean_without_flags(void)
{
	logged(&two_without_flags);
	migrator_look();
}

/* The CPU holds a translation that is not dirty, and all was told. */
static void clean(void)
{
	in_use();
	migrator_look();
	world_read(0, 1);
}

/* All was told but what the CPU writes to one of the pages. */
static void page_2_in_use(void)
{
	in_use();
	migrator_look();
	world_write(0, 2);
}

/* Nobody is alone: what one look tells the other one does not. */
static void in_use_by_several(void)
{
	in_use();
	migrator_of_world(true, false);
	migrator_copy_all();
	world_write(0, 1);
}

static void in_use_for_a_while(void)
{
	in_use();
	migrator_of_world(true, true);
	migrator_copy_all();
	world_write(0, 1);
}

static void look(void)
{
	migrator_look();
}

static void look_twice(void)
{
	migrator_look();
	migrator_look();
}

static void write_1(void)
{
	world_write(0, 1);
}

static void write_1_on_vcpu_1(void)
{
	world_write(1, 1);
}

static void use(void)
{
	world_write(0, 1);
	world_write(0, 3);
}

/* ---- what takes leaves away meanwhile ---- */

static void zap_some(void)
{
	world_zap_range(0, WORLD_FRAMES);
}

static void zap_tables(void)
{
	world_zap_range(0, UINT64_C(1) << 18);
}

static void zap_all_fast(void)
{
	no_error(vmmu_zap_all_fast(world.sim->vm), "zap_all_fast");
	(void)vmmu_work(world.sim->vm, 2 * VMMU_TABLE_ENTRIES);
}

static void old_root_in_the_way(void)
{
	in_use();
	no_error(vmmu_zap_all_fast(world.sim->vm), "zap_all_fast");
}

static void work(void)
{
	(void)vmmu_work(world.sim->vm, 2 * VMMU_TABLE_ENTRIES);
}

static void migrate_1(void)
{
	world_migrate(1);
}

static void harvest(void)
{
	no_error(vmmu_harvest_dirty(world.sim->vm, 0, frames, NULL, NULL), "harvest");
}

static void change_flags(void)
{
	world_slot_flags(0, VMMU_SLOT_LOG | VMMU_SLOT_SMALL);
}

static void end_and_begin(void)
{
	world_slot_flags(0, 0);
	world_slot_flags(0, VMMU_SLOT_LOG);
	migrator_copy_all();
}

static void delete_0(void)
{
	world_slot_delete(0);
}

static void touch_1(void)
{
	(void)world_access(0, 1, SIM_WRITE);
}

/* Nothing is left to ask for. */
static const char *only_the_world_is_right(void)
{
	return world_check();
}

/* ---- what the host writes ---- */

static void device_stores_and_marks(void)
{
	world_device_stores(1);
	no_error(vmmu_dirty_mark(world.sim->vm, 0, (struct vmmu_gfn_range){{1}, {2}}), "mark");
	migrator_host_has_told(1);
}

static void device_stores_and_tells(void)
{
	world_device_stores(1);
	no_error(vmmu_guest_written(world.sim->vm, 0, (vmmu_gpa_t){1 << VMMU_PAGE_SHIFT}, 8),
		 "guest_written");
	migrator_host_has_told(1);
}

/* ---- a log begins ---- */

static const struct world_options huge = {
	.vcpus = 1,
	.max_leaf = VMMU_LEVEL_2M,
	.run_level = SIM_LEVEL_2M,
	.host_pages = 1024,
};

static void not_logged(const struct world_options *options)
{
	world_new(options);
	world_slot_create(0, 0, 1024, 0);
	migrator_of_world(false, true);
}

static void huge_leaf(void)
{
	not_logged(&huge);
	world_write(0, 1);
	world_need(migrator_huge_leaves() == 1, "a huge leaf");
}

static void small_leaves(void)
{
	struct world_options options = huge;

	options.max_leaf = VMMU_LEVEL_4K;
	not_logged(&options);
	world_write(0, 1);
	world_write(0, 2);
}

static void no_leaf(void)
{
	not_logged(&huge);
	world_write(0, 600); /* the tables above */
}

/* Clean: the right to write comes back without a lock. */
static void huge_leaf_without_flags(void)
{
	struct world_options options = huge;

	options.format = VMMU_FORMAT_EPT;
	options.no_accessed_dirty = true;
	not_logged(&options);
	world_write(0, 1);
	harvest();
	world_need(migrator_huge_leaves() == 1, "a huge leaf");
}

static void begin_to_log(void)
{
	world_slot_flags(0, VMMU_SLOT_LOG);
	migrator_copy_all();
	/* Takes the lock, which orders much: afterwards. */
	if (!world.ran_out && migrator_huge_leaves())
		sim_violation(world.sim->machine, "huge leaves in a slot that logs");
}

static void begin_to_log_and_look(void)
{
	begin_to_log();
	migrator_look();
}

static const char *copy_is_right_if_there_is_one(void)
{
	struct vmmu_slot_config slot = {.flags = 0};

	world.fail_at = 0;
	(void)!vmmu_slot_find(world.sim->vm, 0, (vmmu_gfn_t){1}, &slot);
	if (slot.flags & VMMU_SLOT_LOG) {
		if (migrator_huge_leaves())
			return "huge leaves in a slot that logs";
		return copy_is_right();
	}
	return world.ran_out ? world_check() : "the slot does not log";
}

#define BEGINS .watch = world_watch, .check = copy_is_right_if_there_is_one, .teardown = world_free

const struct scenario scenarios_dirty[] = {
	{
		.races = "R47",
		.test = {.name = "a look while a CPU writes",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {look_twice, use},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_CLEAN_UNPAID, VMMU_MUTANT_LOG_TAKES_FIRST},
	},
	{
		.races = "R47",
		.test = {.name = "a look while a CPU writes, without dirty flags",
			 .threads = 2,
			 .setup = in_use_without_flags,
			 .thread = {look_twice, use},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R39 R48",
		.test = {.name = "a look while a right to write comes back",
			 .threads = 3,
			 .setup = clean_without_flags,
			 .thread = {look, write_1, write_1_on_vcpu_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and its leaf is zapped",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, zap_some},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and its table is zapped",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, zap_tables},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "R47",
		.test = {.name = "a look while leaves go, with pauses",
			 .threads = 2,
			 .setup = in_use_eager,
			 .thread = {look_twice, zap_some},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "R47 R15",
		.test = {.name = "a look, a write, and everything is zapped",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, zap_all_fast},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "R15",
		.test = {.name = "a look while an old root is taken apart",
			 .threads = 2,
			 .setup = old_root_in_the_way,
			 .thread = {look, work},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_HASTY, VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and the host takes the page",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, migrate_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R39 R47",
		.test = {.name = "a look, a write, and dirty is harvested",
			 .threads = 3,
			 .setup = in_use,
			 .thread = {look, write_1, harvest},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_HASTY, VMMU_MUTANT_CLEAN_UNPAID,
			    VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and the slot changes its flags",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, change_flags},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOSE_DIRTY},
	},
	{
		.races = "-",
		.test = {.name = "a look while the log ends and begins",
			 .threads = 3,
			 .setup = in_use_for_a_while,
			 .thread = {look, write_1, end_and_begin},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
	},
	{
		.races = "-",
		.test = {.name = "a look while the slot is deleted",
			 .threads = 3,
			 .setup = in_use_for_a_while,
			 .thread = {look, touch_1, delete_0},
			 .watch = world_watch,
			 .check = only_the_world_is_right,
			 .teardown = world_free},
		.bound = 1,
		.long_bound = 2,
	},
	{
		.races = "R47",
		.test = {.name = "two looks while a CPU writes",
			 .threads = 3,
			 .setup = in_use_by_several,
			 .thread = {look, look, write_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_CLEAN_UNPAID},
	},
	{
		.races = "-",
		.test = {.name = "a look while a device writes and marks",
			 .threads = 3,
			 .setup = page_2_in_use,
			 .thread = {look_twice, device_stores_and_marks, write_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_DROPS},
	},
	{
		.races = "-",
		.test = {.name = "a look while a device writes and tells",
			 .threads = 2,
			 .setup = page_2_in_use,
			 .thread = {look_twice, device_stores_and_tells},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_DEAF, VMMU_MUTANT_LOG_DROPS},
	},
	{
		.races = "R47 R40",
		.test = {.name = "a log begins while a CPU writes a huge page",
			 .threads = 2,
			 .setup = huge_leaf,
			 .thread = {begin_to_log_and_look, use},
			 BEGINS},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_KEEPS_HUGE},
		.fail_allocations = 6,
	},
	{
		.races = "-",
		.test = {.name = "a log begins while a huge page is mapped",
			 .threads = 2,
			 .setup = no_leaf,
			 .thread = {begin_to_log, use},
			 BEGINS},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_IGNORE_CHECK},
		.fail_allocations = 6,
	},
	{
		.races = "R37",
		.test = {.name = "a log begins while a right to write comes back",
			 .threads = 2,
			 .setup = huge_leaf_without_flags,
			 .thread = {begin_to_log, use},
			 BEGINS},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_KEEPS_HUGE, VMMU_MUTANT_COMMIT_BLIND},
	},
	{
		.races = "R40",
		.test = {.name = "a log begins while dirty is harvested",
			 .threads = 2,
			 .setup = huge_leaf,
			 .thread = {begin_to_log, harvest},
			 BEGINS},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_KEEPS_HUGE},
	},
	{
		.races = "R47",
		.test = {.name = "a log begins, and what was written is zapped",
			 .threads = 3,
			 .setup = small_leaves,
			 .thread = {begin_to_log, write_1, zap_some},
			 BEGINS},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_DISCARDS},
	},
	{.races = NULL},
};
