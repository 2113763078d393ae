/* SPDX-License-Identifier: MIT */
/* Scenarios about roots: which one a vCPU runs on, how long it lives, what is kept of it. */
#include <vmmu/harvest.h>

#include "rig.h"
#include "scenario.h"

/* Another space: its own upper tables, over the window and a PT of its own. Frames from @first. */
static void make_space(struct rig *rig, uint64_t first, uint64_t data)
{
	rig_poke(rig, first, 0, (first + 1) << 12 | RW);
	rig_poke(rig, first + 1, 0, (first + 2) << 12 | RW);
	rig_poke(rig, first + 2, 0, (first + 3) << 12 | RW);
	rig_poke(rig, first + 2, 1, RIG_WINDOW_PT << 12 | KERNEL);
	for (unsigned i = 0; i < 4; i++)
		rig_poke(rig, first + 3, i, (data + i) << 12 | RW);
}

#define SPACES 6u
static uint64_t space_frame(unsigned space)
{
	return RIG_SPARE + 4u * space;
}

static void make_spaces(struct rig *rig)
{
	for (unsigned i = 0; i < SPACES; i++)
		make_space(rig, space_frame(i), RIG_DATA + i);
}

/* R10: all of CR0, CR3, CR4 and EFER change between two entries, several times in a row. */
void a_vcpu_whose_state_changed_runs_on_a_root_of_its_role(void **state)
{
	static const enum linear_mode order[] = {LINEAR_PAE,     LINEAR_4_LEVEL, LINEAR_OFF,
						 LINEAR_5_LEVEL, LINEAR_32BIT,   LINEAR_4_LEVEL,
						 LINEAR_32BIT,   LINEAR_PAE,     LINEAR_OFF,
						 LINEAR_4_LEVEL, LINEAR_5_LEVEL, LINEAR_PAE};
	struct rig rig = rig_new(2, 8);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	const uint64_t top5 = RIG_SPARE, pdpt = RIG_SPARE + 1, pd32 = RIG_SPARE + 2,
		       pt32 = RIG_SPARE + 3;

	(void)state;
	rig_poke(&rig, top5, 0, RIG_PML4 << 12 | RW);
	rig_poke(&rig, pdpt, 0, RIG_PD << 12 | 1);
	assert_true(shadow_poke(rig.svm, pd32 << 12, 4, pt32 << 12 | RW));
	assert_true(shadow_poke(rig.svm, pt32 << 12, 4, RIG_DATA << 12 | RW));
	for (unsigned i = 0; i < 4 * sizeof(order) / sizeof(order[0]); i++) {
		enum linear_mode mode = order[i % (sizeof(order) / sizeof(order[0]))];
		uint64_t gva = mode == LINEAR_OFF ? RIG_DATA << 12 : RIG_GVA;

		regs.mode = mode;
		regs.cr3 = (mode == LINEAR_5_LEVEL ? top5
			    : mode == LINEAR_PAE   ? pdpt
			    : mode == LINEAR_32BIT ? pd32
						   : RIG_PML4)
			   << 12;
		regs.pdpte[0] = mode == LINEAR_PAE ? RIG_PD << 12 | 1 : 0;
		regs.wp = i & 1;
		regs.smep = i & 2;
		regs.nxe = !(i & 4);
		shadow_reset(rig.svm, 0, &regs);
		if (i % 3 == 0)
			continue; /* the next state comes before this one has ever run */
		if (i % 3 == 1 && mode >= LINEAR_4_LEVEL)
			assert_true(shadow_mov_cr3(rig.svm, 0, regs.cr3));
		assert_int_equal(shadow_enter(rig.svm, 0), VMMU_OK);
		rig_check(&rig); /* in the guest: I8 */
		rig_writes(&rig, 0, gva, rig_gpa(RIG_DATA, 0));
		rig_writes(&rig, 1, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
	}
	rig_free(&rig);
}

/* Many directories with a table each: more than the quota. Region i of the PD is PT frame i. */
#define LOAD 300u
static uint64_t load_frame(unsigned i)
{
	return RIG_HUGE + 512 + i;
}

static void make_load(struct rig *rig)
{
	for (unsigned i = 0; i < LOAD; i++) {
		rig_poke(rig, RIG_PD, 2 + i, load_frame(i) << 12 | RW);
		rig_poke(rig, load_frame(i), 0, (RIG_DATA + i % 8) << 12 | RW);
	}
}

static struct rig small_quota_rig(unsigned vcpus)
{
	struct shadow_options options = {
		.machine = {.host_page_count = 2048, .mode = SIM_CPU_ALWAYS_STALE},
		.prefetch = 1,
		.table_quota = 64,
		.own_locks = true,
	};
	struct rig rig = rig_new_of(vcpus, &options);

	rig.is_bulk = true;
	return rig;
}

/* R51, R22 */
void few_tables_are_enough_and_roots_in_use_stay(void **state)
{
	struct rig rig = small_quota_rig(2);
	struct linear_regs regs = *shadow_regs(rig.svm, 1);
	uint64_t root[2];

	(void)state;
	make_load(&rig);
	make_space(&rig, RIG_SPARE, RIG_DATA);
	rig_poke(&rig, RIG_SPARE + 1, 0, RIG_PD << 12 | RW);
	regs.cr3 = RIG_SPARE << 12;
	shadow_reset(rig.svm, 1, &regs);
	for (unsigned v = 0; v < 2; v++) {
		rig_reads(&rig, v, RIG_GVA, rig_gpa(RIG_DATA, 0));
		root[v] = rig_entry(&rig, v).root.addr;
	}
	for (unsigned i = 0; i < 3 * LOAD; i++) {
		unsigned region = i * 7 % LOAD, v = i & 1;
		uint64_t before = rig.svm->count.faults;

		rig_writes(&rig, v, (uint64_t)(2 + region) << 21,
			   rig_gpa(RIG_DATA + region % 8, 0));
		/* Each fault gets its access further, however little there is. */
		assert_true(rig.svm->count.faults - before <= 3);
		assert_true(rig_stat(&rig, VMMU_STAT_TABLES) <= 64 + 8);
		assert_int_equal(rig_entry(&rig, v).root.addr, root[v]);
	}
	assert_true(rig_stat(&rig, VMMU_STAT_SHADOW_RECLAIMED) > LOAD);
	rig_free(&rig);
}

/* R51: everything that there is is needed at once, again and again. */
void a_working_set_of_the_quota_makes_progress(void **state)
{
	struct rig rig = small_quota_rig(4);
	uint64_t faults;

	(void)state;
	make_load(&rig);
	faults = rig.svm->count.faults;
	for (unsigned i = 0; i < 2000; i++)
		rig_reads(&rig, i % 4, (uint64_t)(2 + i % 80) << 21,
			  rig_gpa(RIG_DATA + i % 80 % 8, 0));
	assert_true(rig.svm->count.faults - faults <= 2 * 2000);
	rig_free(&rig);
}

/* R52 */
void a_frame_with_thousands_of_names_loses_them_all(void **state)
{
	const unsigned tables = 5, each = 256;
	struct rig rig = rig_new(2, 8);
	uint64_t page = RIG_DATA + 9;

	(void)state;
	rig.is_bulk = true;
	for (unsigned t = 0; t < tables; t++) {
		rig_poke(&rig, RIG_PD, 2 + t, load_frame(t) << 12 | RW);
		for (unsigned i = 0; i < each; i++)
			rig_poke(&rig, load_frame(t), i, page << 12 | RW);
	}
	for (unsigned t = 0; t < tables; t++)
		for (unsigned i = 0; i < each; i++)
			rig_writes(&rig, i & 1, (uint64_t)(2 + t) << 21 | i << 12,
				   rig_gpa(page, 0));
	assert_true(rig_stat(&rig, VMMU_STAT_PAGES_4K) >= tables * each);
	/* The frame becomes a table: all names are read-only, those of the other vCPU, too. */
	rig_poke(&rig, page, 1, (RIG_DATA + 1) << 12 | RW);
	rig_poke(&rig, RIG_PD, 20, page << 12 | RW);
	rig_reads(&rig, 0, UINT64_C(20) << 21 | 0x1000, rig_gpa(RIG_DATA + 1, 0));
	rig_store(&rig, 1, page, 1, (RIG_DATA + 2) << 12 | RW);
	shadow_invlpg(rig.svm, 0, UINT64_C(20) << 21 | 0x1000);
	rig_reads(&rig, 0, UINT64_C(20) << 21 | 0x1000, rig_gpa(RIG_DATA + 2, 0));
	/* The host takes it away: none is left. */
	for (unsigned t = 0; t < tables; t++)
		for (unsigned i = 0; i < each; i++)
			rig_reads(&rig, i & 1, (uint64_t)(2 + t) << 21 | i << 12, rig_gpa(page, 0));
	assert_true(shadow_migrate(rig.svm, page));
	assert_true(rig_stat(&rig, VMMU_STAT_PAGES_4K) < tables * each);
	rig_reads(&rig, 1, UINT64_C(2) << 21, rig_gpa(page, 0));
	rig_free(&rig);
}

/* R64: what a CPU cached through a root that is gone must not come back with the root's page. */
void a_vcpu_that_moved_forgets_the_root_that_was_freed(void **state)
{
	struct rig rig = rig_new(2, 1);
	struct vmmu_entry before, after;

	(void)state;
	make_spaces(&rig);
	for (unsigned i = 0; i < SPACES; i++) {
		rig_writes(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
		before = rig_entry(&rig, 0);
		assert_int_equal(shadow_enter(rig.svm, 0), VMMU_OK);
		shadow_leave(rig.svm, 0);
		/* Elsewhere everything is taken apart, and its pages are used again. */
		assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
		assert_true(shadow_mov_cr3(rig.svm, 1, space_frame(i) << 12));
		rig_reads(&rig, 1, RIG_GVA, rig_gpa(RIG_DATA + i, 0));
		vmmu_vcpu_moved(rig.svm->vcpu[0]);
		after = rig_entry(&rig, 0);
		assert_true(after.flush);
		assert_true(after.root.addr != before.root.addr || after.flush);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	}
	/* Moved and nothing else: the flush is asked for, once. */
	assert_int_equal(shadow_enter(rig.svm, 0), VMMU_OK);
	shadow_leave(rig.svm, 0);
	assert_false(rig_entry(&rig, 0).flush);
	vmmu_vcpu_moved(rig.svm->vcpu[0]);
	assert_true(rig_entry(&rig, 0).flush);
	rig_free(&rig);
}

/* Spaces that are come back to are there, with what was changed in them. */
static void go_round(struct rig *rig, bool keep)
{
	for (unsigned i = 0; i < SPACES; i++) {
		uint64_t cr3 = space_frame(i) << 12 | (keep ? (i + 1) | LINEAR_CR3_NO_FLUSH : 0);

		assert_true(shadow_mov_cr3(rig->svm, 0, cr3));
		rig_writes(rig, 0, RIG_GVA, rig_gpa(RIG_DATA + i, 0));
	}
}

void many_spaces_in_turn_are_found_again(void **state)
{
	(void)state;
	for (unsigned keep = 0; keep < 2; keep++) {
		struct rig rig = rig_new(1, 1);
		struct linear_regs regs = *shadow_regs(rig.svm, 0);
		uint64_t tables, faults, synced;

		make_spaces(&rig);
		regs.pcide = keep;
		shadow_reset(rig.svm, 0, &regs);
		go_round(&rig, keep);
		tables = rig_stat(&rig, VMMU_STAT_TABLES);
		faults = rig.svm->count.faults;
		synced = rig_stat(&rig, VMMU_STAT_SHADOW_SYNC);
		go_round(&rig, keep);
		/* Nothing had to be made, nothing was out of date. */
		assert_int_equal(rig_stat(&rig, VMMU_STAT_TABLES), tables);
		assert_int_equal(rig.svm->count.faults, faults);
		assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_SYNC), synced);
		/* A change in each of the others is seen when its space is come back to. */
		for (unsigned i = 0; i < SPACES; i++)
			rig_store(&rig, 0, space_frame(i) + 3, 0,
				  (RIG_DATA + SPACES - i) << 12 | RW);
		for (unsigned i = 0; i < SPACES; i++) {
			assert_true(shadow_mov_cr3(rig.svm, 0,
						   space_frame(i) << 12 | (keep ? i + 1 : 0)));
			rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + SPACES - i, 0));
		}
		rig_free(&rig);
	}
}

/* With and without the flush that the guest owes for it. */
void a_space_kept_by_its_identifier_is_flushed_when_told(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);

	(void)state;
	make_spaces(&rig);
	regs.pcide = true;
	shadow_reset(rig.svm, 0, &regs);
	go_round(&rig, true);
	for (unsigned i = 0; i < 4 * SPACES; i++) {
		unsigned a = i % SPACES, b = (i * 5 + 1) % SPACES;
		uint64_t page = RIG_DATA + 10 + i % 4;

		/* From space b into the tables of space a. */
		assert_true(shadow_mov_cr3(rig.svm, 0,
					   space_frame(b) << 12 | (b + 1) | LINEAR_CR3_NO_FLUSH));
		rig_store(&rig, 0, space_frame(a) + 3, 0, page << 12 | RW);
		if (i & 1)
			shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_SINGLE, (uint16_t)(a + 1), 0);
		assert_true(shadow_mov_cr3(rig.svm, 0,
					   space_frame(a) << 12 | (a + 1) |
						   (i & 1 ? LINEAR_CR3_NO_FLUSH : 0)));
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(page, 0));
	}
	rig_free(&rig);
}

/* A table that is written and never walked is no table any more. */
void a_directory_written_like_data_is_let_go(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t flooded, emulated;

	(void)state;
	/* A second directory, walked once. */
	rig_poke(&rig, RIG_PDPT, 1, RIG_SPARE << 12 | RW);
	rig_poke(&rig, RIG_SPARE, 0, RIG_PT << 12 | RW);
	rig_reads(&rig, 0, UINT64_C(1) << 30, rig_gpa(RIG_DATA, 0));
	flooded = rig_stat(&rig, VMMU_STAT_SHADOW_FLOODED);
	for (unsigned i = 0; i < 20; i++)
		rig_store(&rig, 0, RIG_SPARE, 100 + i, i);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_FLOODED), flooded + 1);
	emulated = rig.svm->count.table_writes;
	rig_store(&rig, 0, RIG_SPARE, 120, 1);
	assert_int_equal(rig.svm->count.table_writes, emulated);
	rig_reads(&rig, 0, UINT64_C(1) << 30, rig_gpa(RIG_DATA, 0));
	rig_free(&rig);
}

/* Huge leaves come back when no table is left among their frames. */
void a_huge_page_is_whole_again_without_tables(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t huge = UINT64_C(2) << 21;

	(void)state;
	rig_poke(&rig, RIG_HUGE, 0, RIG_DATA << 12 | RW);
	rig_poke(&rig, RIG_PD, 2, RIG_HUGE << 12 | LINEAR_HUGE | RW);
	rig_poke(&rig, RIG_PD, 3, RIG_HUGE << 12 | RW);
	rig_reads(&rig, 0, UINT64_C(3) << 21, rig_gpa(RIG_DATA, 0));
	rig_reads(&rig, 0, huge + 0x1000, rig_gpa(RIG_HUGE + 1, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 0);
	shadow_leave(rig.svm, 0);
	rig_poke(&rig, RIG_PD, 3, 0);
	assert_true(vmmu_shadow_unprotect(rig.svm->vm, 0, (vmmu_gfn_t){RIG_HUGE}));
	assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
	rig_reads(&rig, 0, huge + 0x1000, rig_gpa(RIG_HUGE + 1, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 1);
	rig_free(&rig);
}

/* A root that was zapped and is still held is on no list: what it once pointed to may be reused. */
void a_root_that_is_held_after_its_end_is_in_nobodys_list(void **state)
{
	struct rig rig = rig_new(2, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);

	(void)state;
	make_spaces(&rig);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	regs.wp = false;
	assert_true(shadow_set_regs(rig.svm, 1, &regs));
	rig_reads(&rig, 1, RIG_GVA, rig_gpa(RIG_DATA, 0));
	shadow_leave(rig.svm, 1);
	/* Two tables of the PML4 end; vCPU 1 holds the later one all the time. */
	shadow_leave(rig.svm, 0);
	assert_true(vmmu_shadow_unprotect(rig.svm->vm, 0, (vmmu_gfn_t){RIG_PML4}));
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 6 * SPACES; i++) {
		assert_true(shadow_mov_cr3(rig.svm, 0, space_frame(i % SPACES) << 12));
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + i % SPACES, 0));
		if (i % SPACES == SPACES - 1)
			assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
	}
	rig_free(&rig);
}

static uint64_t harvested(struct rig *rig, bool dirty)
{
	struct vmmu_gfn_range range = {{RIG_DATA}, {RIG_DATA + 8}};
	uint64_t bits = 0, count = 0;

	assert_int_equal(dirty ? vmmu_harvest_dirty(rig->svm->vm, 0, range, &bits, &count)
			       : vmmu_harvest_accessed(rig->svm->vm, 0, range, &bits, &count),
			 VMMU_OK);
	assert_int_equal(count, __builtin_popcountll(bits));
	return bits;
}

/* R47: also a write by way of a translation that the CPU held as dirty. */
void what_is_harvested_is_what_was_used_since(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	rig_reads(&rig, 0, RIG_GVA + 0x2000, rig_gpa(RIG_DATA + 2, 0));
	for (unsigned round = 0; round < 3; round++) {
		rig_writes(&rig, 0, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
		assert_int_equal(harvested(&rig, true), 1u << 1);
		assert_int_equal(harvested(&rig, true), 0);
	}
	(void)harvested(&rig, false);
	shadow_flush(rig.svm, 0);
	rig_reads(&rig, 0, RIG_GVA + 0x2000, rig_gpa(RIG_DATA + 2, 0));
	assert_int_equal(harvested(&rig, false), 1u << 2);
	assert_int_equal(harvested(&rig, false), 0);
	rig_free(&rig);
}
