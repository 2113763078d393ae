/* SPDX-License-Identifier: MIT */
/*
 * Races of shadow paging, in four files: faults that fill empty entries side by side (here),
 * faults beside what happens from outside (races_shadow_change.c), tables and links
 * (races_shadow_table.c), tables out of sync (races_shadow_unsync.c).
 *
 * Explored: all orders of the library's atomics, its reads and marks of the guest's entries, the
 * guest's stores, the hardware's walks of shadow tables, locks, flushes and look-ups of host pages,
 * up to the bound of preemptions, with CPUs that believe the oldest they have. Four levels, one
 * space, 4K pages. Not explored: plain accesses that should hold a lock, orders that are not
 * sequentially consistent, other paging modes, pages that the host does not have at hand.
 */
#include "guest.h"
#include "scenario.h"

#define GUEST .watch = guest_watch, .check = guest_check, .teardown = guest_free

static void tables_linked_in(const struct guest_options *options)
{
	guest_new(options);
	for (unsigned i = 0; i < options->vcpus; i++)
		guest_read(i, GUEST_GVA);
}

static void tables_linked(void)
{
	tables_linked_in(&(struct guest_options){.vcpus = 2});
}

static void tables_linked_prefetch(void)
{
	tables_linked_in(&(struct guest_options){.vcpus = 2, .prefetch = 4});
	guest_zap_range(GUEST_DATA, GUEST_DATA + 8);
}

static void tables_linked_builtin_locks(void)
{
	tables_linked_in(&(struct guest_options){.vcpus = 2, .builtin_locks = true});
}

/* Page 2 leads where page 1 does. */
static void one_frame_twice(const struct guest_options *options)
{
	guest_new(options);
	guest_put(GUEST_PT, 2, guest_entry(GUEST_DATA + 1));
	for (unsigned i = 0; i < options->vcpus; i++)
		guest_read(i, GUEST_GVA);
	/* So that its list of leaves has been made. */
	guest_read(0, GUEST_GVA + guest_page(1));
	guest_zap_range(GUEST_DATA + 1, GUEST_DATA + 2);
}

static void two_pages_of_one_frame(void)
{
	one_frame_twice(&(struct guest_options){.vcpus = 2});
}

static void two_pages_of_one_frame_three(void)
{
	one_frame_twice(&(struct guest_options){.vcpus = 3});
}

static void fresh_page(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_put(GUEST_PT, 1, (GUEST_DATA + 1) << VMMU_PAGE_SHIFT | GUEST_FRESH);
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
}

static void read_1_on_vcpu_0(void)
{
	guest_read(0, GUEST_GVA + guest_page(1));
}

static void write_1_on_vcpu_0(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
}

static void write_1_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(1));
}

static void write_2_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(2));
}

static void write_1_on_vcpu_2(void)
{
	guest_write(2, GUEST_GVA + guest_page(1));
}

/* What was written by a CPU that never walked the guest's tables is marked in them. */
static const char *page_1_is_marked(void)
{
	uint64_t gpte = shadow_peek(guest.svm, GUEST_PT << VMMU_PAGE_SHIFT | 8);

	if (!(gpte & LINEAR_ACCESSED) || !(gpte & LINEAR_DIRTY))
		return "the guest's entry of a page that was written is not dirty";
	return guest_check();
}

const struct scenario scenarios_fill[] = {
	{
		.races = "-",
		.test = {.name = "two shadow faults fill the same entry",
			 .threads = 2,
			 .setup = tables_linked,
			 .thread = {write_1_on_vcpu_0, write_1_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FILL_UNCLAIMED, VMMU_MUTANT_FILL_UNLISTED},
	},
	{
		.races = "-",
		.test = {.name = "two shadow faults, built-in locks",
			 .threads = 2,
			 .setup = tables_linked_builtin_locks,
			 .thread = {write_1_on_vcpu_0, write_1_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FILL_UNCLAIMED},
	},
	{
		.races = "-",
		.test = {.name = "two shadow faults fill each other's neighbours",
			 .threads = 2,
			 .setup = tables_linked_prefetch,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_FILL_UNCLAIMED, VMMU_MUTANT_FILL_UNLISTED},
	},
	{
		.races = "-",
		.test = {.name = "two shadow faults for the same frame",
			 .threads = 2,
			 .setup = two_pages_of_one_frame,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FRAME_UNLOCKED, VMMU_MUTANT_FILL_UNLISTED},
	},
	{
		.races = "-",
		.test = {.name = "three shadow faults, one entry, one frame",
			 .threads = 3,
			 .setup = two_pages_of_one_frame_three,
			 .thread = {write_1_on_vcpu_0, write_2_on_vcpu_1, write_1_on_vcpu_2},
			 GUEST},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_FRAME_UNLOCKED, VMMU_MUTANT_FILL_UNCLAIMED},
	},
	{
		.races = "-",
		.test = {.name = "a fresh page is read and written at once",
			 .threads = 2,
			 .setup = fresh_page,
			 .thread = {read_1_on_vcpu_0, write_1_on_vcpu_1},
			 .watch = guest_watch,
			 .check = page_1_is_marked,
			 .teardown = guest_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_GUEST_DIRTY, VMMU_MUTANT_FILL_UNCLAIMED},
	},
	{.races = NULL},
};
