/* SPDX-License-Identifier: MIT */
/* Slots that change under faults and readers. */
#include "scenario.h"
#include "world.h"

#define WORLD .watch = world_watch, .check = world_check, .teardown = world_free

static void page_1_in_use(bool eager)
{
	world_new(&(struct world_options){.vcpus = 1, .eager = eager});
	world_slot_create(0, 0, 64, 0);
	world_write(0, 1);
}

static void in_use(void)
{
	page_1_in_use(false);
}

static void in_use_eager(void)
{
	page_1_in_use(true);
}

static void no_slot(void)
{
	world_new(&(struct world_options){.vcpus = 1});
	for (unsigned i = 0; i < 2; i++)
		(void)world_access(0, 1, SIM_READ);
}

static void no_slot_ept(void)
{
	world_new(&(struct world_options){.vcpus = 1, .format = VMMU_FORMAT_EPT});
	for (unsigned i = 0; i < 2; i++)
		(void)world_access(0, 1, SIM_READ);
}

static void look(void)
{
	(void)world_access(0, 2, SIM_READ);
	(void)world_access(0, 1, SIM_WRITE);
}

static void look_at_1_twice(void)
{
	(void)world_access(0, 1, SIM_READ);
	(void)world_access(0, 1, SIM_READ);
}

static void delete_0(void)
{
	world_slot_delete(0);
}

static void create_0(void)
{
	world_slot_create(0, 0, 64, 0);
}

static void delete_and_create_elsewhere(void)
{
	world_slot_delete(0);
	world_slot_create(0, 0, 64, 0);
}

static void move_0(void)
{
	world_slot_move(0, 2);
}

/* ---- a reader of the slots ---- */

static void find_twice(void)
{
	struct vmmu_slot_config config;

	for (unsigned i = 0; i < 2; i++) {
		enum vmmu_error error = vmmu_slot_find(world.sim->vm, 0, (vmmu_gfn_t){1}, &config);

		if (error == VMMU_OK && (config.base.n != 0 || config.count != 64))
			sim_violation(world.sim->machine, "a slot that never was");
	}
}

static void create_1(void)
{
	world_slot_create(1, 128, 8, 8);
}

/* Without the oracle, which knows one change at a time only. */
static void create_quietly(uint16_t id, uint64_t gfn)
{
	struct vmmu_slot_config config = {
		.id = id, .base = {gfn}, .count = 8, .host_base = 8 << VMMU_PAGE_SHIFT};

	if (vmmu_slot_create(world.sim->vm, &config) != VMMU_OK)
		sim_violation(world.sim->machine, "create fails");
	if (vmmu_slot_delete(world.sim->vm, 0, id) != VMMU_OK)
		sim_violation(world.sim->machine, "delete fails");
}

static void create_2_and_delete(void)
{
	create_quietly(2, 256);
}

static void create_3_and_delete(void)
{
	create_quietly(3, 512);
}

const struct scenario scenarios_slot[] = {
	{
		.races = "R43",
		.test = {.name = "a slot goes while its page is looked up",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {look, delete_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_CHECK, VMMU_MUTANT_STALE_SLOT,
			    VMMU_MUTANT_DELETE_KEEPS},
		.fail_allocations = 4,
	},
	{
		.races = "R43",
		.test = {.name = "a slot goes, with pauses",
			 .threads = 2,
			 .setup = in_use_eager,
			 .thread = {look, delete_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_CHECK},
	},
	{
		.races = "R11",
		.test = {.name = "a device becomes memory (NPT)",
			 .threads = 2,
			 .setup = no_slot,
			 .thread = {look_at_1_twice, create_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STALE_GENERATION, VMMU_MUTANT_STALE_CACHE},
		.fail_allocations = 4,
	},
	{
		.races = "R11",
		.test = {.name = "a device becomes memory (EPT)",
			 .threads = 2,
			 .setup = no_slot_ept,
			 .thread = {look_at_1_twice, create_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STALE_GENERATION, VMMU_MUTANT_STALE_CACHE},
	},
	{
		.races = "R11 R43",
		.test = {.name = "a slot goes and comes back",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {look, delete_and_create_elsewhere},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STALE_CACHE},
	},
	{
		.races = "-",
		.test = {.name = "a slot moves over its own frames",
			 .threads = 2,
			 .setup = in_use_eager,
			 .thread = {look, move_0},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_DELETE_KEEPS},
	},
	{
		.races = "-",
		.test = {.name = "a reader of the slots, its set freed",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {find_twice, create_1},
			 WORLD},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SET_EARLY, VMMU_MUTANT_EPOCH_BLIND},
	},
	{
		.races = "-",
		.test = {.name = "two changes of slots, and a reader",
			 .threads = 3,
			 .setup = in_use,
			 .thread = {create_2_and_delete, create_3_and_delete, find_twice},
			 WORLD},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_SET_EARLY},
	},
	{.races = NULL},
};
