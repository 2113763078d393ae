/* SPDX-License-Identifier: MIT */
/*
 * The dirty log of shadow paging: looks, and logs that begin, while the guest writes and the
 * library sets accessed and dirty bits in the guest's tables.
 */
#include <vmmu/harvest.h>

#include "guest.h"
#include "migrator.h"
#include "scenario.h"

#define COPIED .watch = guest_watch, .check = copy_is_right, .teardown = guest_free

static const void *page_of_frame(uint64_t gfn)
{
	return ground_page(sim_host_query(guest.svm->machine, (sim_hpage_t){gfn}).pfn);
}

#define FRAME(n) (UINT64_C(1) << (n))
#define DATA (FRAME(GUEST_DATA + 1) | FRAME(GUEST_DATA + 3))

static void migrator_of_guest(uint64_t frames, bool is_one_of_several)
{
	migrator_new(&(struct migrator_options){
		.vm = guest.svm->vm,
		.machine = guest.svm->machine,
		.frames = frames,
		.object = page_of_frame,
		.is_one_of_several = is_one_of_several,
		.may_end = world_fail_at != 0,
	});
}

static const char *copy_is_right(void)
{
	struct vmmu_slot_config slot = {.flags = 0};
	const char *wrong;

	guest.fail_at = 0;
	(void)!vmmu_slot_find(guest.svm->vm, 0, (vmmu_gfn_t){0}, &slot);
	/* There was no memory for a log. */
	wrong = !guest.ran_out || (slot.flags & VMMU_SLOT_LOG) ? migrator_end() : NULL;
	return wrong ? wrong : guest_check();
}

static void begin_to_log(void)
{
	guest_slot_flags(0, VMMU_SLOT_LOG);
	migrator_copy_all();
}

/* ---- setups ---- */

static void not_logged(uint64_t frames)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
	guest_write(0, GUEST_GVA + guest_page(1));
	migrator_of_guest(frames, false);
}

static void small_leaves(void)
{
	not_logged(DATA);
}

static void in_use(void)
{
	small_leaves();
	begin_to_log();
	guest_write(0, GUEST_GVA + guest_page(1));
	guest_write(1, GUEST_GVA + guest_page(2));
}

/* vCPU 0 holds a translation that is not dirty, and all was told. */
static void clean(void)
{
	in_use();
	migrator_look();
	guest_read(0, GUEST_GVA + guest_page(1));
}

static void in_use_by_several(void)
{
	in_use();
	migrator_of_guest(DATA, true);
	migrator_copy_all();
	guest_write(0, GUEST_GVA + guest_page(1));
}

/* Pages 3 and 4 were never used: accesses mark their entries. */
static void fresh_pages(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	for (unsigned i = 3; i < 5; i++)
		guest_put(GUEST_PT, i, (GUEST_DATA + i) << VMMU_PAGE_SHIFT | GUEST_FRESH);
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
	migrator_of_guest(DATA | FRAME(GUEST_PT), false);
}

static void fresh_pages_logged(void)
{
	fresh_pages();
	begin_to_log();
}

/* The directory's entry was never used, either: the walk of all tables marks it. */
static void fresh_table_logged(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_put(GUEST_PD, 2, GUEST_SPARE << VMMU_PAGE_SHIFT | GUEST_FRESH);
	guest_read(0, GUEST_GVA);
	guest_read(1, GUEST_GVA);
	migrator_of_guest(FRAME(GUEST_PD), false);
	begin_to_log();
}

/* The guest has written a frame through the window, which the next access makes a table. */
static void table_to_be(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_read(0, GUEST_GVA);
	guest_store(0, GUEST_SPARE, 6, guest_entry(GUEST_DATA));
	guest_read(1, GUEST_GVA);
	guest_smuggle(GUEST_PD, 2, guest_entry(GUEST_SPARE));
	migrator_of_guest(FRAME(GUEST_SPARE), false);
	begin_to_log();
	guest_store(0, GUEST_SPARE, 7, guest_entry(GUEST_DATA));
}

static void window_open(void)
{
	guest_new(&(struct guest_options){.vcpus = 2});
	guest_read(0, GUEST_GVA);
	guest_read(0, GUEST_WINDOW);
	guest_read(1, GUEST_WINDOW);
	migrator_of_guest(FRAME(GUEST_PT), false);
	begin_to_log();
}

static void huge_page(void)
{
	guest_new(&(struct guest_options){.vcpus = 2, .huge = true});
	guest_read(0, GUEST_GVA);
	guest_write(0, GUEST_REGION(3) + guest_page(1));
	migrator_new(&(struct migrator_options){
		.vm = guest.svm->vm,
		.machine = guest.svm->machine,
		.slot = 2,
		.first = GUEST_HUGE,
		.frames = FRAME(1) | FRAME(3),
		.count = 64,
		.object = page_of_frame,
	});
	world_need(migrator_huge_leaves() == 1, "a huge leaf");
}

/* ---- threads ---- */

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
	guest_write(0, GUEST_GVA + guest_page(1));
}

static void write_1_on_vcpu_1(void)
{
	guest_write(1, GUEST_GVA + guest_page(1));
}

static void write_1_and_3(void)
{
	guest_write(0, GUEST_GVA + guest_page(1));
	guest_write(0, GUEST_GVA + guest_page(3));
}

static void write_3(void)
{
	guest_write(0, GUEST_GVA + guest_page(3));
}

static void read_4_on_vcpu_1(void)
{
	guest_read(1, GUEST_GVA + guest_page(4));
}

static void read_region_2(void)
{
	guest_read(1, GUEST_REGION(2));
}

static void store_entry_1(void)
{
	guest_store(0, GUEST_PT, 1, guest_entry(GUEST_DATA + 6));
}

static void store_in_table_to_be(void)
{
	guest_store(0, GUEST_SPARE, 6, guest_entry(GUEST_DATA + 2));
}

static void device_writes_entry_1(void)
{
	guest_poke(GUEST_PT << VMMU_PAGE_SHIFT | 8, guest_entry(GUEST_DATA + 6));
}

static void write_huge(void)
{
	guest_write(0, GUEST_REGION(3) + guest_page(1));
	guest_write(0, GUEST_REGION(3) + guest_page(3));
}

static void zap_data(void)
{
	guest_zap_range(GUEST_DATA, GUEST_DATA + 8);
}

static void migrate_1(void)
{
	guest_migrate(GUEST_DATA + 1);
}

static void harvest(void)
{
	(void)!vmmu_harvest_dirty(guest.svm->vm, 0, (struct vmmu_gfn_range){{0}, {GUEST_FRAMES}},
				  NULL, NULL);
}

static void change_flags(void)
{
	guest_slot_flags(0, VMMU_SLOT_LOG | VMMU_SLOT_SMALL);
}

static void begin_to_log_and_look(void)
{
	begin_to_log();
	migrator_look();
}

static void begin_to_log_huge(void)
{
	guest_slot_flags(2, VMMU_SLOT_LOG);
	migrator_copy_all();
	/* Takes the lock, which orders much: afterwards. */
	if (migrator_huge_leaves())
		sim_violation(guest.svm->machine, "huge leaves in a slot that logs");
}

static const char *huge_copy_is_right(void)
{
	return migrator_huge_leaves() ? "huge leaves in a slot that logs" : copy_is_right();
}

const struct scenario scenarios_shadow_dirty[] = {
	{
		.races = "R47",
		.test = {.name = "a look while a shadow CPU writes",
			 .threads = 2,
			 .setup = in_use,
			 .thread = {look_twice, write_1_and_3},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_RIGHTS_UNFLUSHED, VMMU_MUTANT_LOG_TAKES_FIRST},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and its shadow leaf is zapped",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, zap_data},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and all shadow tables are zapped",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, guest_zap_all_fast},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and the host takes its page",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, migrate_1},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and shadow leaves are harvested",
			 .threads = 3,
			 .setup = in_use,
			 .thread = {look, write_1, harvest},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "R47",
		.test = {.name = "a look, a write, and the shadowed slot changes",
			 .threads = 3,
			 .setup = clean,
			 .thread = {look, write_1, change_flags},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST},
	},
	{
		.races = "R47",
		.test = {.name = "two looks while two shadow CPUs write",
			 .threads = 4,
			 .setup = in_use_by_several,
			 .thread = {look, look, write_1, write_1_on_vcpu_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_RIGHTS_UNFLUSHED},
	},
	{
		.races = "-",
		.test = {.name = "a look while entries are marked side by side",
			 .threads = 3,
			 .setup = fresh_pages_logged,
			 .thread = {look_twice, write_3, read_4_on_vcpu_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_MARKS},
	},
	{
		.races = "-",
		.test = {.name = "a look while a walk marks an entry",
			 .threads = 2,
			 .setup = fresh_table_logged,
			 .thread = {look_twice, read_region_2},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_MARKS},
	},
	{
		.races = "-",
		.test = {.name = "a look while a written frame becomes a table",
			 .threads = 3,
			 .setup = table_to_be,
			 .thread = {look, read_region_2, store_in_table_to_be},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_DIRTY_LOST, VMMU_MUTANT_LOG_UNSETTLED},
	},
	{
		.races = "-",
		.test = {.name = "a look while the guest writes its table",
			 .threads = 2,
			 .setup = window_open,
			 .thread = {look_twice, store_entry_1},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_RIGHTS_UNFLUSHED},
	},
	{
		.races = "-",
		.test = {.name = "a look while a device writes the guest's table",
			 .threads = 3,
			 .setup = fresh_pages_logged,
			 .thread = {look_twice, device_writes_entry_1, write_3},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_DEAF},
	},
	{
		.races = "R47",
		.test = {.name = "a log begins while a shadow CPU writes",
			 .threads = 2,
			 .setup = small_leaves,
			 .thread = {begin_to_log_and_look, write_1_and_3},
			 COPIED},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_RIGHTS_UNFLUSHED},
		.fail_allocations = 6,
	},
	{
		.races = "-",
		.test = {.name = "a log begins while entries are marked",
			 .threads = 3,
			 .setup = fresh_pages,
			 .thread = {begin_to_log, write_3, read_4_on_vcpu_1},
			 COPIED},
		.bound = 1,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_MARKS},
	},
	{
		.races = "R47",
		.test = {.name = "a shadow log begins, and what was written is zapped",
			 .threads = 3,
			 .setup = small_leaves,
			 .thread = {begin_to_log, write_1, zap_data},
			 COPIED},
		.bound = 2,
		.long_bound = 2,
		.mutants = {VMMU_MUTANT_LOG_DISCARDS},
	},
	{
		.races = "R37 R40",
		.test = {.name = "a log begins while a huge shadow leaf is written",
			 .threads = 2,
			 .setup = huge_page,
			 .thread = {begin_to_log_huge, write_huge},
			 .watch = guest_watch,
			 .check = huge_copy_is_right,
			 .teardown = guest_free},
		.bound = 2,
		.long_bound = 3,
		.mutants = {VMMU_MUTANT_LOG_KEEPS_HUGE},
	},
	{.races = NULL},
};
