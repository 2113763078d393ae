/* SPDX-License-Identifier: MIT */
/* Shadow tables made, linked, reclaimed, while others use or write what they mirror. */
#include "guest.h"
#include "scenario.h"
#include "vm.h"

#define GUEST .watch = guest_watch, .check = guest_check, .teardown = guest_free

/* ---- two faults that miss the same tables ---- */

static void nothing_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
}

/* All but the lowest. */
static void directory_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_read(0, GUEST_WINDOW);
	guest_read(1, GUEST_WINDOW);
}

static void write_1_on_vcpu_0(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
}

static void write_2_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(2));
}

/* The same table below two directories, which are linked. */
static void directories_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2, .apart = true});
	guest_put(GUEST_PD_B, 2, guest_entry(GUEST_PT));
	guest_read(0, GUEST_WINDOW);
	guest_read(1, GUEST_WINDOW);
}

static void write_2_in_region_2_on_vcpu_1(void)
{
	guest_write(1, GUEST_REGION(2) + guest_page(2));
}

/* The same, and a third vCPU can write the table that is missing. */
static void directories_linked_table_open(void)
{
	guest_new(&(struct guest_options){.vcpus = 3, .apart = true});
	guest_put(GUEST_PD_B, 2, guest_entry(GUEST_PT));
	guest_read(0, GUEST_WINDOW);
	guest_read(1, GUEST_WINDOW);
	guest_store(2, GUEST_PT, 511, 0);
}

static void read_1_on_vcpu_0(void)
{
	guest_read(0, GUEST_GVA + guest_page(1));
}

static void read_1_in_region_2_on_vcpu_1(void)
{
	guest_read(1, GUEST_REGION(2) + guest_page(1));
}

static void edit_1_on_vcpu_2(void)
{
	guest_store(2, GUEST_PT, 1, guest_entry(GUEST_DATA + 6));
}

/* ---- a table is linked, and what is mirrored of its frame goes ---- */

static void unprotect_table(void)
{
	guest_unprotect(GUEST_PT);
}

static void write_1_and_3_on_vcpu_0(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
	guest_write(0, GUEST_GVA + guest_page(3));
}

/* ---- one links a table over a frame, another maps the frame writable ---- */

static void spare_not_linked(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_put(GUEST_PD, 2, guest_entry(GUEST_SPARE));
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_WINDOW);
}

static void spare_not_linked_but_open(void)
{
	spare_not_linked();
	guest_store(1, GUEST_SPARE, 511, 0);
}

static void read_region_2_on_vcpu_0(void)
{
	guest_read(0, GUEST_REGION(2));
}

/* Changes a page of region 2, flushes, and uses it. */
static void edit_region_2_on_vcpu_1(void)
{
	guest_store(1, GUEST_SPARE, 0, guest_entry(GUEST_DATA + 1));
	guest_flush(1);
	guest_read(1, GUEST_REGION(2));
}

/* ---- R1: the frame of an unsync table becomes a directory ---- */

static void spare_unsync(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_put(GUEST_PD, 2, guest_entry(GUEST_SPARE));
	guest_put(GUEST_SPARE, 0, guest_entry(GUEST_PT));
	guest_put(GUEST_PDPT, 1, guest_entry(GUEST_SPARE));
	guest_read(0, GUEST_REGION(2));
	guest_read(1, GUEST_REGION(2));
	guest_store(1, GUEST_SPARE, 511, 0);
}

/* SPARE as a directory: its entry 0 leads to PT. */
static void read_gigabyte_on_vcpu_0(void)
{
	guest_read(0, GUEST_GIGABYTE + guest_page(1));
}

static void edit_both_on_vcpu_1(void)
{
	guest_store(1, GUEST_SPARE, 1, guest_entry(GUEST_DATA + 1));
	guest_flush(1);
	guest_read(1, GUEST_REGION(2) + guest_page(1));
	guest_store(1, GUEST_SPARE, 2, guest_entry(GUEST_DATA + 2));
}

/* Whoever mirrors the frame below a directory of its own is in sync with it. */
static const char *no_table_beside_a_directory_is_unsync(void)
{
	bool is_directory = false, is_unsync = false;
	const struct vmmu_shade *s = vmmu_shade_first(guest.svm->vm, 0, (vmmu_gfn_t){GUEST_SPARE});

	for (; s; s = s->same_frame) {
		is_directory |= s->sp.role.level > VMMU_LEVEL_4K;
		is_unsync |= shade_is_unsync(s);
	}
	return is_directory && is_unsync ? "a table is unsync, its frame is a directory"
					 : guest_check();
}

/* ---- R18: the entry does not lead where the guest's says, and nobody told ---- */

static void walks_the_long_way(void)
{
	guest_new(&(struct guest_options){.vcpus = 2, .long_way = true});
	guest_put(GUEST_PD, 2, guest_entry(GUEST_PT));
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
	guest_read(0, GUEST_REGION(2));
}

static void read_4_on_vcpu_0(void)
{
	guest_read(0, GUEST_GVA + guest_page(4));
}

static void smuggle_and_read_5(void)
{
	guest_smuggle(GUEST_PD, 0, guest_entry(GUEST_SPARE));
	guest_flush(1);
	guest_read(1, GUEST_GVA + guest_page(5));
}

/* The first fault on a page that nobody touched goes down the guest's new path. */
static const char *new_path_is_taken(void)
{
	for (unsigned i = 0; i < 2; i++) {
		guest_flush(i);
		guest_read(i, GUEST_GVA + guest_page(6));
		guest_read(i, GUEST_REGION(2) + guest_page(6));
	}
	return guest_check();
}

/* ---- R22: hardly any tables are left ---- */

/* Nine would be enough for everything. */
#define TABLES 7u

static void few_tables(void)
{
	guest_new(&(struct guest_options){.vcpus = 2, .apart = true, .quota = TABLES});
	guest_put(GUEST_PD, 2, guest_entry(GUEST_SPARE));
	guest_put(GUEST_PD_B, 2, guest_entry(GUEST_SPARE));
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_WINDOW);
}

static void read_all_on_vcpu_0(void)
{
	guest_read(0, GUEST_REGION(2));
	guest_read(0, GUEST_GVA + guest_page(1));
}

static void read_all_on_vcpu_1(void)
{
	guest_read(1, GUEST_REGION(2) + guest_page(1));
	guest_write(1, GUEST_WINDOW + guest_page(GUEST_DATA));
}

/* Nobody but the reclaim takes tables out here. */
static const char *roots_stay(void)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct vmmu_sp *root = guest.svm->vcpu[i]->root;

		if (root && ((const struct vmmu_shade *)(const void *)root)->zapped)
			return "a root in use was reclaimed";
	}
	return guest_watch();
}

static const char *few_tables_were_made(void)
{
	if (atomic_get(&guest.svm->vm->shades.count) > TABLES)
		return "there are more tables than the quota";
	return guest_check();
}

/* ---- R31: an entry changes after it was walked, by a CPU that may write it ---- */

/* vCPU 1 can write @frame, which nothing mirrors. */
static void apart_and_open(uint64_t frame)
{
	guest_new(&(struct guest_options){.vcpus = 2, .apart = true});
	guest_put(GUEST_PD_B, 2, guest_entry(GUEST_PT));
	guest_read(1, GUEST_WINDOW);
	guest_store(1, frame, 511, 0);
}

static void table_is_open(void)
{
	apart_and_open(GUEST_PT);
	guest_read(0, GUEST_WINDOW);
}

static void directory_is_open(void)
{
	apart_and_open(GUEST_PD);
}

static void read_0_on_vcpu_0(void)
{
	guest_read(0, GUEST_GVA);
}

static void touch_0_on_vcpu_0(void)
{
	(void)guest_touch(0, GUEST_GVA, LINEAR_WRITE);
}

/* Another page, not to be written; and has a table made of it at once. */
static void edit_and_mirror_on_vcpu_1(void)
{
	guest_store(1, GUEST_PT, 0, guest_entry(GUEST_DATA + 5) & ~LINEAR_WRITABLE);
	guest_read(1, GUEST_REGION(2));
}

static const char *page_0_cannot_be_written(void)
{
	guest_flush(0);
	if (guest_touch(0, GUEST_GVA, LINEAR_WRITE) != SHADOW_FAULT)
		return "a page can be written that the guest has made read-only";
	return guest_check();
}

static void edit_directory_on_vcpu_1(void)
{
	guest_store(1, GUEST_PD, 0, guest_entry(GUEST_SPARE));
	guest_read(1, GUEST_REGION(2));
}

/* ---- R34: a device writes an entry of a table that is about to be mirrored ---- */

static void device_writes_directory(void)
{
	guest_poke(GUEST_PD << VMMU_PAGE_SHIFT, guest_entry(GUEST_SPARE));
}

const struct scenario scenarios_table[] = {
	{
		.races = "-",
		.test = {.name = "two vCPUs link the same missing table",
			 .threads = 2,
			 .setup = directory_linked,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_UNCLAIMED},
		.fail_allocations = 6,
	},
	{
		.races = "-",
		.test = {.name = "two vCPUs link the same missing tables of all levels",
			 .threads = 2,
			 .setup = nothing_linked,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_UNCLAIMED},
	},
	{
		.races = "-",
		.test = {.name = "two address spaces link the same missing table",
			 .threads = 2,
			 .setup = directories_linked,
			 .thread = {write_1_on_vcpu_0, write_2_in_region_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_TABLE_TWICE, VMMU_MUTANT_PARENT_LEAK},
	},
	{
		.races = "R33",
		.test = {.name = "a table is linked before the guest lost the right to write it",
			 .threads = 3,
			 .setup = directories_linked_table_open,
			 .thread = {read_1_on_vcpu_0, read_1_in_region_2_on_vcpu_1,
				    edit_1_on_vcpu_2},
			 GUEST},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LINK_WRITABLE},
	},
	{
		.races = "-",
		.test = {.name = "a table is linked while those of its frame go",
			 .threads = 2,
			 .setup = directory_linked,
			 .thread = {write_1_and_3_on_vcpu_0, unprotect_table},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_PARENT_LEAK, VMMU_MUTANT_FREE_EARLY},
	},
	{
		.races = "-",
		.test = {.name = "a table is linked over a frame that is being opened",
			 .threads = 2,
			 .setup = spare_not_linked,
			 .thread = {read_region_2_on_vcpu_0, edit_region_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_WRITABLE, VMMU_MUTANT_FILL_TABLE,
			    VMMU_MUTANT_FRAME_UNLOCKED},
	},
	{
		.races = "-",
		.test = {.name = "a table is linked over a frame that is written",
			 .threads = 2,
			 .setup = spare_not_linked_but_open,
			 .thread = {read_region_2_on_vcpu_0, edit_region_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_WRITABLE, VMMU_MUTANT_SKIP_FLUSH},
	},
	{
		.races = "R1",
		.test = {.name = "the frame of an unsync table becomes a directory",
			 .threads = 2,
			 .setup = spare_unsync,
			 .thread = {read_gigabyte_on_vcpu_0, edit_both_on_vcpu_1},
			 .watch = guest_watch,
			 .check = no_table_beside_a_directory_is_unsync,
			 .teardown = guest_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNSYNC_STAYS, VMMU_MUTANT_FREELY_WRITABLE},
	},
	{
		.races = "R18",
		.test = {.name = "a linked table is no longer the guest's",
			 .threads = 2,
			 .setup = walks_the_long_way,
			 .thread = {read_4_on_vcpu_0, smuggle_and_read_5},
			 .watch = guest_watch,
			 .check = new_path_is_taken,
			 .teardown = guest_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_ANY},
	},
	{
		.races = "R22",
		.test = {.name = "two vCPUs fault with hardly a table left",
			 .threads = 2,
			 .setup = few_tables,
			 .thread = {read_all_on_vcpu_0, read_all_on_vcpu_1},
			 .watch = roots_stay,
			 .check = few_tables_were_made,
			 .teardown = guest_free},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_ROOT_RECLAIMED, VMMU_MUTANT_QUOTA_IGNORED},
	},
	{
		.races = "R31",
		.test = {.name = "a page's entry is changed and mirrored under a walk",
			 .threads = 2,
			 .setup = table_is_open,
			 .thread = {touch_0_on_vcpu_0, edit_and_mirror_on_vcpu_1},
			 .watch = guest_watch,
			 .check = page_0_cannot_be_written,
			 .teardown = guest_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LINK_WRITABLE},
	},
	{
		.races = "R31",
		.test = {.name = "a directory's entry is changed under a walk",
			 .threads = 2,
			 .setup = directory_is_open,
			 .thread = {read_0_on_vcpu_0, edit_directory_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_UNCHECKED_WALK},
	},
	{
		.races = "R34",
		.test = {.name = "a table is written from outside while it is first walked",
			 .threads = 2,
			 .setup = nothing_linked,
			 .thread = {read_0_on_vcpu_0, device_writes_directory},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_WRITTEN_PEEK},
	},
	{.races = NULL},
};
