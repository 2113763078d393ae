/* SPDX-License-Identifier: MIT */
/* Tables out of sync: marked, brought up to date, linked, while the guest writes them. */
#include "guest.h"
#include "scenario.h"

#define GUEST .watch = guest_watch, .check = guest_check, .teardown = guest_free

/* SPARE is linked at region 2 and in sync; the window does not lead there yet. */
static void spare_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_put(GUEST_PD, 2, guest_entry(GUEST_SPARE));
	guest_put(GUEST_PDPT, 1, guest_entry(GUEST_SPARE_B));
	guest_put(GUEST_SPARE_B, 0, guest_entry(GUEST_SPARE));
	for (unsigned i = 0; i < 2; i++) {
		guest_read(i, GUEST_REGION(2));
		guest_read(i, GUEST_WINDOW);
	}
}

static void spare_unsync(void)
{
	spare_linked();
	guest_store(0, GUEST_SPARE, 511, 0);
	guest_store(1, GUEST_SPARE, 510, 0);
}

/* ---- R33: marked, and written by another one ---- */

static void open_spare_on_vcpu_0(void)
{
	guest_store(0, GUEST_SPARE, 1, guest_entry(GUEST_DATA + 2));
}

static void edit_on_vcpu_1(void)
{
	guest_store(1, GUEST_SPARE, 0, guest_entry(GUEST_DATA + 1));
	guest_flush(1);
	guest_read(1, GUEST_REGION(2));
}

static void edit_on_vcpu_0(void)
{
	guest_store(0, GUEST_SPARE, 1, guest_entry(GUEST_DATA + 2));
	guest_flush(0);
	guest_read(0, GUEST_REGION(2) + guest_page(1));
}

/* ---- R32: written, then linked ---- */

/* What was not there needs no flush. */
static void edit_and_link_on_vcpu_1(void)
{
	guest_store(1, GUEST_SPARE, 0, guest_entry(GUEST_DATA + 1));
	guest_store(1, GUEST_PD, 3, guest_entry(GUEST_SPARE));
	guest_read(1, GUEST_REGION(3));
}

static void touch_region_3_on_vcpu_0(void)
{
	(void)guest_touch(0, GUEST_REGION(3), LINEAR_READ);
}

/* ---- brought up to date, and written ---- */

static void flush_on_vcpu_0(void)
{
	guest_flush(0);
	guest_read(0, GUEST_REGION(2));
}

static void invlpg_on_vcpu_0(void)
{
	guest_store(0, GUEST_SPARE, 1, guest_entry(GUEST_DATA + 2));
	guest_invlpg(0, GUEST_REGION(2) + guest_page(1));
	guest_read(0, GUEST_REGION(2) + guest_page(1));
}

/* ---- an entry is filled in a table that becomes unsync ---- */

static void edit_2_on_vcpu_0(void)
{
	guest_store(0, GUEST_SPARE, 2, guest_entry(GUEST_DATA + 1));
	guest_flush(0);
	guest_read(0, GUEST_REGION(2) + guest_page(2));
}

static void read_page_2_on_vcpu_1(void)
{
	guest_read(1, GUEST_REGION(2) + guest_page(2));
}

/* ---- a second parent ---- */

static void link_twice_on_vcpu_1(void)
{
	guest_read(1, GUEST_GIGABYTE);
	guest_store(1, GUEST_SPARE, 0, guest_entry(GUEST_DATA + 1));
	guest_flush(1);
	guest_read(1, GUEST_GIGABYTE);
	guest_read(1, GUEST_REGION(2));
}

static void migrate_spare(void)
{
	guest_migrate(GUEST_SPARE);
}

const struct scenario scenarios_unsync[] = {
	{
		.races = "R33",
		.test = {.name = "a table is marked unsync while another vCPU writes it",
			 .threads = 2,
			 .setup = spare_linked,
			 .thread = {open_spare_on_vcpu_0, edit_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNSYNC_LATE, VMMU_MUTANT_UNSYNC_UNTOLD},
	},
	{
		.races = "R33",
		.test = {.name = "two vCPUs edit one table at once",
			 .threads = 2,
			 .setup = spare_linked,
			 .thread = {edit_on_vcpu_0, edit_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNSYNC_LATE, VMMU_MUTANT_SYNC_WRITABLE},
	},
	{
		.races = "R32",
		.test = {.name = "an unsync table is edited and linked without a flush",
			 .threads = 2,
			 .setup = spare_unsync,
			 .thread = {touch_region_3_on_vcpu_0, edit_and_link_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_STALE},
	},
	{
		.races = "-",
		.test = {.name = "a table is brought up to date while it is written",
			 .threads = 2,
			 .setup = spare_unsync,
			 .thread = {flush_on_vcpu_0, edit_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SYNC_WRITABLE, VMMU_MUTANT_SYNC_SKIPPED,
			    VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "-",
		.test = {.name = "one address is flushed while a table is brought up to date",
			 .threads = 2,
			 .setup = spare_unsync,
			 .thread = {invlpg_on_vcpu_0, edit_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_SYNC_WRITABLE, VMMU_MUTANT_SYNC_SKIPPED},
	},
	{
		.races = "-",
		.test = {.name = "an entry is filled while its table becomes unsync",
			 .threads = 2,
			 .setup = spare_linked,
			 .thread = {edit_2_on_vcpu_0, read_page_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNSYNC_UNTOLD, VMMU_MUTANT_SYNC_SKIPPED},
	},
	{
		.races = "-",
		.test = {.name = "a table becomes unsync and gets a second parent",
			 .threads = 2,
			 .setup = spare_linked,
			 .thread = {open_spare_on_vcpu_0, link_twice_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNSYNC_UNTOLD, VMMU_MUTANT_UNSYNC_LATE},
	},
	{
		.races = "-",
		.test = {.name = "an unsync table is written, synced, and its page moves",
			 .threads = 3,
			 .setup = spare_unsync,
			 .thread = {flush_on_vcpu_0, edit_on_vcpu_1, migrate_spare},
			 GUEST},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_SYNC_WRITABLE},
	},
	{.races = NULL},
};
