/* SPDX-License-Identifier: MIT */
/* Shadow faults beside what happens from outside: devices, the host, slots, clients, harvests. */
#include "guest.h"
#include "scenario.h"

#define GUEST .watch = guest_watch, .check = guest_check, .teardown = guest_free
#define GUEST_DIRTY .watch = guest_watch, .check = guest_check_dirty, .teardown = guest_free

static void tables_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
	/* So that there are lists of leaves: the shared lock is enough. */
	guest_read(0, GUEST_GVA + guest_page(7));
	guest_zap_range(GUEST_FAR, GUEST_FAR + 1);
}

static void pages_in_use(void)
{
	tables_linked();
	guest_write(0, GUEST_GVA + guest_page(1));
	guest_write(1, GUEST_GVA + guest_page(2));
}

static void write_1_on_vcpu_0(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
}

static void write_1_and_3_on_vcpu_0(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
	guest_write(0, GUEST_GVA + guest_page(3));
}

static void write_1_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(1));
}

static void write_2_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(2));
}

/* ---- the entry that a fault read is written: by a device, by an emulated instruction ---- */

static void device_writes_entry_1(void)
{
	guest_poke(GUEST_PT << VMMU_PAGE_SHIFT | 8, guest_entry(GUEST_DATA + 6));
}

static void device_writes_directory(void)
{
	guest_poke(GUEST_PD << VMMU_PAGE_SHIFT, guest_entry(GUEST_SPARE));
}

/* ---- the host takes a page of data, or of the guest's table ---- */

static void migrate_data_1(void)
{
	guest_migrate(GUEST_DATA + 1);
}

static void migrate_data_1_by_frame(void)
{
	guest_migrate_frame(GUEST_DATA + 1);
}

static void migrate_table(void)
{
	guest_migrate(GUEST_PT);
}

/* One more table, not linked yet. */
static void spare_in_directory(void)
{
	pages_in_use();
	guest_smuggle(GUEST_PD, 2, guest_entry(GUEST_SPARE));
}

static void read_region_2_on_vcpu_0(void)
{
	guest_read(0, GUEST_REGION(2));
}

static void migrate_directory(void)
{
	guest_migrate(GUEST_PD);
}

/* Both are out of the guest, vCPU 0's CPU holds a translation. */
static void pages_in_use_outside(void)
{
	pages_in_use();
	guest_leave(0);
	guest_leave(1);
}

/* ---- a slot goes ---- */

static void touch_far_on_vcpu_0(void)
{
	(void)guest_touch(0, GUEST_GVA + guest_page(7), LINEAR_WRITE);
}

static void far_page_mapped(void)
{
	tables_linked();
	guest_write(1, GUEST_GVA + guest_page(7));
}

static void touch_far_on_vcpu_1(void)
{
	(void)guest_touch(1, GUEST_GVA + guest_page(7), LINEAR_WRITE);
}

/* ---- R5: a client begins to track the frame ---- */

static void track_data_1(void)
{
	guest_track_write(GUEST_DATA + 1);
}

static void window_open(void)
{
	tables_linked();
	guest_read(0, GUEST_WINDOW);
	guest_read(1, GUEST_WINDOW);
}

static void store_entry_1(void)
{
	guest_store(0, GUEST_PT, 1, guest_entry(GUEST_DATA + 6));
}

static void track_table(void)
{
	guest_track_write(GUEST_PT);
}

/* ---- R39, R47: what the hardware sets in an entry that changes ---- */

static void pages_in_use_clean(void)
{
	pages_in_use();
	guest_harvest(true);
}

static void clean(void)
{
	guest_harvest(true);
}

static void age(void)
{
	guest_harvest(false);
}

const struct scenario scenarios_change[] = {
	{
		.races = "-",
		.test = {.name = "an entry is written while a fault fills from it",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, device_writes_entry_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_WRITTEN_BESIDE},
	},
	{
		.races = "-",
		.test = {.name = "two faults fill from an entry that is written",
			 .threads = 3,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, write_1_on_vcpu_1, device_writes_entry_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_WRITTEN_BESIDE, VMMU_MUTANT_FILL_UNCLAIMED},
	},
	{
		.races = "-",
		.test = {.name = "a directory is written while a fault is below it",
			 .threads = 2,
			 .setup = pages_in_use,
			 .thread = {write_1_and_3_on_vcpu_0, device_writes_directory},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_WRITTEN_BESIDE},
	},
	{
		.races = "-",
		.test = {.name = "a shadow fault, and the host takes its page",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, migrate_data_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_ACTIVE},
	},
	{
		.races = "-",
		.test = {.name = "a shadow fault, and the host takes its frame",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, migrate_data_1_by_frame},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_IGNORE_ACTIVE},
	},
	{
		.races = "-",
		.test = {.name = "a shadow fault, and the host takes the guest's table",
			 .threads = 2,
			 .setup = pages_in_use,
			 .thread = {write_1_and_3_on_vcpu_0, migrate_table},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FRAME_KEPT},
	},
	{
		.races = "-",
		.test = {.name = "two faults, and the host takes the directory",
			 .threads = 3,
			 .setup = spare_in_directory,
			 .thread = {read_region_2_on_vcpu_0, write_2_on_vcpu_1, migrate_directory},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FRAME_KEPT},
	},
	{
		.races = "-",
		.test = {.name = "a shadow vCPU enters while the host takes its page",
			 .threads = 2,
			 .setup = pages_in_use_outside,
			 .thread = {write_1_on_vcpu_0, migrate_data_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STAMP_EARLY, VMMU_MUTANT_SKIP_STAMP},
	},
	{
		.races = "-",
		.test = {.name = "a slot goes while a shadow fault needs it",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {touch_far_on_vcpu_0, guest_far_slot_delete},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_STALE_SLOT, VMMU_MUTANT_DELETE_KEEPS},
	},
	{
		.races = "-",
		.test = {.name = "a slot goes under two vCPUs",
			 .threads = 3,
			 .setup = far_page_mapped,
			 .thread = {touch_far_on_vcpu_0, touch_far_on_vcpu_1,
				    guest_far_slot_delete},
			 GUEST},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_SKIP_FLUSH, VMMU_MUTANT_DELETE_KEEPS},
	},
	{
		.races = "-",
		.test = {.name = "everything is zapped under two shadow faults",
			 .threads = 3,
			 .setup = pages_in_use,
			 .thread = {write_1_on_vcpu_0, write_1_on_vcpu_1, guest_zap_all_fast},
			 GUEST},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_FORGET_KEEPS_ROOTS, VMMU_MUTANT_ROOT_FREED},
	},
	{
		.races = "-",
		.test = {.name = "everything is zapped while tables are made",
			 .threads = 2,
			 .setup = pages_in_use,
			 .thread = {write_1_and_3_on_vcpu_0, guest_zap_all_fast},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FORGET_KEEPS_ROOTS, VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R5",
		.test = {.name = "a client comes while a shadow fault maps a write",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, track_data_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_TRACK_FILL, VMMU_MUTANT_TRACK_HINT,
			    VMMU_MUTANT_TRACK_UNPAID},
	},
	{
		.races = "R5",
		.test = {.name = "a client comes while a table becomes unsync",
			 .threads = 2,
			 .setup = window_open,
			 .thread = {store_entry_1, track_table},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_TRACK_UNSYNC, VMMU_MUTANT_TRACK_HINT},
	},
	{
		.races = "R39",
		.test = {.name = "the hardware sets dirty in a leaf that is narrowed",
			 .threads = 2,
			 .setup = pages_in_use_clean,
			 .thread = {write_1_on_vcpu_0, track_data_1},
			 GUEST_DIRTY},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND, VMMU_MUTANT_DIRTY_LOST},
	},
	{
		.races = "R47",
		.test = {.name = "dirty is harvested while a shadow fault maps",
			 .threads = 2,
			 .setup = pages_in_use,
			 .thread = {write_1_and_3_on_vcpu_0, clean},
			 GUEST_DIRTY},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_RIGHTS_UNFLUSHED},
	},
	{
		.races = "R60",
		.test = {.name = "shadow leaves are aged while they are written",
			 .threads = 2,
			 .setup = pages_in_use_clean,
			 .thread = {write_1_and_3_on_vcpu_0, age},
			 GUEST_DIRTY},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_COMMIT_BLIND},
	},
	{.races = NULL},
};
