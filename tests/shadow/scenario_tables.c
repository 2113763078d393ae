/* SPDX-License-Identifier: MIT */
/* Scenarios about tables that change what they are. */
#include "rig.h"
#include "scenario.h"

/* Entry @index of the PD, for addresses from 4M on. */
static uint64_t region(unsigned index)
{
	return (uint64_t)index << 21;
}

/* Have the guest write the PT through a leaf of its own: unsync from then on. */
static void make_unsync(struct rig *rig, unsigned vcpu)
{
	uint64_t before = rig_stat(rig, VMMU_STAT_SHADOW_UNSYNC);

	rig_reads(rig, vcpu, RIG_GVA, rig_gpa(RIG_DATA, 0));
	rig_store(rig, vcpu, RIG_PT, 7, (RIG_DATA + 7) << 12 | RO);
	assert_true(rig_stat(rig, VMMU_STAT_SHADOW_UNSYNC) > before);
}

/* R1 */
void an_unsync_table_goes_when_its_frame_becomes_a_directory(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t zapped, emulated;

	(void)state;
	make_unsync(&rig, 0);
	zapped = rig_stat(&rig, VMMU_STAT_SHADOW_ZAPPED);
	/* The same frame as a page directory: PDPT[1] -> PT, whose entry 0 leads to DATA. */
	rig_poke(&rig, RIG_DATA, 0, (RIG_DATA + 4) << 12 | RW);
	rig_store(&rig, 0, RIG_PDPT, 1, RIG_PT << 12 | RW);
	rig_reads(&rig, 0, UINT64_C(1) << 30, rig_gpa(RIG_DATA + 4, 0));
	assert_true(rig_stat(&rig, VMMU_STAT_SHADOW_ZAPPED) > zapped);
	/* From now on writes to it are emulated. */
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	emulated = rig.svm->count.table_writes;
	rig_store(&rig, 0, RIG_PT, 6, (RIG_DATA + 1) << 12 | RW);
	assert_true(rig.svm->count.table_writes > emulated);
	rig_reads(&rig, 0, RIG_GVA + 0x6000, rig_gpa(RIG_DATA + 1, 0));
	rig_free(&rig);
}

/* R2 */
void two_roles_of_an_unsync_frame_stay_right_when_one_is_flushed(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	/* A second, read-only way to the PT: another role. */
	rig_poke(&rig, RIG_PD, 2, RIG_PT << 12 | RO);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	rig_reads(&rig, 0, region(2), rig_gpa(RIG_DATA, 0));
	rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 5) << 12 | RW);
	shadow_invlpg(rig.svm, 0, RIG_GVA);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 5, 0));
	/* Now the frame becomes a directory. */
	rig_store(&rig, 0, RIG_PDPT, 1, RIG_PT << 12 | RW);
	(void)rig_access(&rig, 0, UINT64_C(1) << 30, LINEAR_READ, LINEAR_SUPERVISOR);
	shadow_flush(rig.svm, 0);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 5, 0));
	rig_reads(&rig, 0, region(2), rig_gpa(RIG_DATA + 5, 0));
	rig_free(&rig);
}

/* R3 */
void a_piece_of_a_huge_page_leaves_unsync_tables_alone(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t unsync, zapped, emulated;

	(void)state;
	make_unsync(&rig, 0);
	unsync = rig_stat(&rig, VMMU_STAT_SHADOW_UNSYNC);
	zapped = rig_stat(&rig, VMMU_STAT_SHADOW_ZAPPED);
	/* A 1G page over all of memory is split into direct tables, one of which starts at the
	 * frame of the PD ... */
	rig_store(&rig, 0, RIG_PDPT, 2, LINEAR_HUGE | RW);
	rig_reads(&rig, 0, (UINT64_C(2) << 30) + rig_gpa(RIG_DATA, 0), rig_gpa(RIG_DATA, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_ZAPPED), zapped);
	/* ... and the PT is still written freely. */
	emulated = rig.svm->count.table_writes;
	rig_store(&rig, 0, RIG_PT, 5, (RIG_DATA + 2) << 12 | RW);
	assert_int_equal(rig.svm->count.table_writes, emulated);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_UNSYNC), unsync);
	rig_free(&rig);
}

/* R18 */
void a_table_entry_that_changes_frames_gets_another_table(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	rig_poke(&rig, RIG_SPARE, 0, (RIG_DATA + 6) << 12 | RW);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	/* Changed by somebody who tells nobody, then by one who does. */
	rig_store(&rig, 0, RIG_PD, 0, RIG_SPARE << 12 | RW);
	shadow_invlpg(rig.svm, 0, RIG_GVA);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 6, 0));
	assert_int_equal(shadow_slot_delete(rig.svm, 0), VMMU_OK);
	rig_check(&rig);
	shadow_vm_free(rig.svm);
}

/* R19 */
void a_huge_page_that_becomes_a_table_gets_another_table(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t gva = region(3);

	(void)state;
	/* A 2M page whose frames include tables is mapped in pieces; then a table at the first of
	 * those frames takes its place. */
	rig_poke(&rig, RIG_HUGE, 1, (RIG_DATA + 3) << 12 | RW);
	rig_poke(&rig, RIG_PD, 3, RIG_HUGE << 12 | LINEAR_HUGE | RW);
	rig_poke(&rig, RIG_PD, 4, RIG_HUGE << 12 | RW);
	rig_reads(&rig, 0, region(4) + 0x1000, rig_gpa(RIG_DATA + 3, 0));
	rig_reads(&rig, 0, gva + 0x1000, rig_gpa(RIG_HUGE + 1, 0));
	rig_store(&rig, 0, RIG_PD, 3, RIG_HUGE << 12 | RW);
	shadow_invlpg(rig.svm, 0, gva + 0x1000);
	rig_reads(&rig, 0, gva + 0x1000, rig_gpa(RIG_DATA + 3, 0));
	rig_store(&rig, 0, RIG_PD, 3, RIG_HUGE << 12 | LINEAR_HUGE | RW);
	shadow_invlpg(rig.svm, 0, gva + 0x1000);
	rig_reads(&rig, 0, gva + 0x1000, rig_gpa(RIG_HUGE + 1, 0));
	rig_free(&rig);
}

/* R20, R14 */
void a_page_that_becomes_a_device_is_withdrawn(void **state)
{
	struct rig rig = rig_new(1, 8);
	uint64_t pages;

	(void)state;
	make_unsync(&rig, 0);
	rig_reads(&rig, 0, RIG_GVA + 0x3000, rig_gpa(RIG_DATA + 3, 0));
	pages = rig_stat(&rig, VMMU_STAT_PAGES_4K);
	rig_store(&rig, 0, RIG_PT, 3, (uint64_t)RIG_HOLE << 12 | RW);
	shadow_flush(rig.svm, 0);
	assert_true(rig_stat(&rig, VMMU_STAT_PAGES_4K) < pages);
	assert_int_equal(rig_access(&rig, 0, RIG_GVA + 0x3000, LINEAR_READ, LINEAR_USER).end,
			 SHADOW_MMIO);
	/* Another device, other rights: the next access knows. */
	rig_store(&rig, 0, RIG_PT, 3, (uint64_t)(RIG_HOLE + 1) << 12 | LINEAR_PRESENT);
	shadow_invlpg(rig.svm, 0, RIG_GVA + 0x3000);
	rig_faults(&rig, 0, RIG_GVA + 0x3000, LINEAR_READ, LINEAR_USER, LINEAR_PF_P | LINEAR_PF_U);
	assert_int_equal(rig_access(&rig, 0, RIG_GVA + 0x3000, LINEAR_READ, LINEAR_SUPERVISOR).gpa,
			 rig_gpa(RIG_HOLE + 1, 0));
	rig_free(&rig);
}

/* R21 */
void a_page_that_becomes_another_page_is_withdrawn(void **state)
{
	struct rig rig = rig_new(2, 8);

	(void)state;
	make_unsync(&rig, 0);
	rig_writes(&rig, 1, RIG_GVA + 0x3000, rig_gpa(RIG_DATA + 3, 0));
	rig_store(&rig, 0, RIG_PT, 3, (RIG_DATA + 9) << 12 | RW);
	shadow_invlpg(rig.svm, 0, RIG_GVA + 0x3000);
	rig_writes(&rig, 0, RIG_GVA + 0x3000, rig_gpa(RIG_DATA + 9, 0));
	shadow_invlpg(rig.svm, 1, RIG_GVA + 0x3000);
	rig_writes(&rig, 1, RIG_GVA + 0x3000, rig_gpa(RIG_DATA + 9, 0));
	/* From outside: a device. */
	rig_poke(&rig, RIG_PT, 3, (RIG_DATA + 2) << 12 | RW);
	shadow_invlpg(rig.svm, 1, RIG_GVA + 0x3000);
	rig_writes(&rig, 1, RIG_GVA + 0x3000, rig_gpa(RIG_DATA + 2, 0));
	rig_free(&rig);
}

/* R32 */
void a_table_edited_before_it_is_linked_is_up_to_date(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	make_unsync(&rig, 0);
	/* A second way to the PT that was never used: no flush is owed for what it finds. */
	rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 8) << 12 | RW);
	rig_store(&rig, 0, RIG_PD, 5, RIG_PT << 12 | RW);
	rig_reads(&rig, 0, region(5), rig_gpa(RIG_DATA + 8, 0));
	rig_free(&rig);
}

/* R25 */
void two_paths_to_one_table_keep_their_rights_apart(void **state)
{
	struct rig rig = rig_new(1, 8);
	const uint32_t denied = LINEAR_PF_P | LINEAR_PF_W;

	(void)state;
	rig_poke(&rig, RIG_PD, 2, RIG_PT << 12 | RO);
	rig_poke(&rig, RIG_PD, 3, RIG_PT << 12 | KERNEL);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t page = 0x1000 * i;

		rig_writes(&rig, 0, RIG_GVA + page, rig_gpa(RIG_DATA + i, 0));
		rig_faults(&rig, 0, region(2) + page, LINEAR_WRITE, LINEAR_SUPERVISOR, denied);
		rig_reads(&rig, 0, region(2) + page, rig_gpa(RIG_DATA + i, 0));
		rig_faults(&rig, 0, region(3) + page, LINEAR_READ, LINEAR_USER,
			   LINEAR_PF_P | LINEAR_PF_U);
		rig_writes(&rig, 0, region(3) + page, rig_gpa(RIG_DATA + i, 0));
	}
	rig_free(&rig);
}

void a_huge_page_that_holds_a_table_of_its_own_path_is_mapped_in_pieces(void **state)
{
	struct rig rig = rig_new(1, 1);
	const uint64_t gva = UINT64_C(1) << 30;

	(void)state;
	/* Mapped whole as long as no table is there. */
	rig_poke(&rig, RIG_HUGE + 600, 0, RIG_HUGE << 12 | LINEAR_HUGE | RW);
	rig_poke(&rig, RIG_PDPT, 2, (RIG_HUGE + 600) << 12 | RW);
	rig_writes(&rig, 0, UINT64_C(2) << 30, rig_gpa(RIG_HUGE, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 1);
	/* The page directory at frame HUGE + 5 maps the 2M that it lies in. */
	rig_poke(&rig, RIG_HUGE + 5, 0, RIG_HUGE << 12 | LINEAR_HUGE | RW);
	rig_poke(&rig, RIG_PDPT, 1, (RIG_HUGE + 5) << 12 | RW);
	rig_writes(&rig, 0, gva, rig_gpa(RIG_HUGE, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 0);
	/* So its entries are not written unseen. */
	assert_true(rig_access(&rig, 0, gva + 0x5008, LINEAR_WRITE, LINEAR_SUPERVISOR).emulated);
	rig_free(&rig);
}

void one_write_over_two_entries_changes_both(void **state)
{
	struct rig rig = rig_new(1, 8);
	const uint64_t entry[] = {(RIG_DATA + 5) << 12 | RW, (RIG_DATA + 6) << 12 | RW};

	(void)state;
	rig_reads(&rig, 0, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
	rig_reads(&rig, 0, RIG_GVA + 0x2000, rig_gpa(RIG_DATA + 2, 0));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t gpa = rig_gpa(RIG_PT, 1 + i);

		linear_oracle_wrote(rig.svm->oracle, sim_gpa(gpa), 8, shadow_peek(rig.svm, gpa),
				    entry[i]);
		sim_host_write(rig.svm->machine, (sim_hpage_t){RIG_PT}, gpa & 0xff8, entry[i]);
	}
	assert_int_equal(vmmu_guest_written(rig.svm->vm, 0, (vmmu_gpa_t){rig_gpa(RIG_PT, 1)}, 16),
			 VMMU_OK);
	shadow_flush(rig.svm, 0);
	rig_reads(&rig, 0, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 5, 0));
	rig_reads(&rig, 0, RIG_GVA + 0x2000, rig_gpa(RIG_DATA + 6, 0));
	rig_free(&rig);
}

/* R35 */
void a_clean_huge_page_becomes_writable_at_the_first_write(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t clean = LINEAR_HUGE | (RW & ~LINEAR_DIRTY), read_only = LINEAR_HUGE | RO;

	(void)state;
	/* A table in its frames: pieces instead of one huge leaf. */
	rig_poke(&rig, RIG_PD, 4, (RIG_HUGE + 511) << 12 | RW);
	rig_poke(&rig, RIG_HUGE + 511, 0, RIG_DATA << 12 | RW);
	rig_reads(&rig, 0, region(4), rig_gpa(RIG_DATA, 0));
	rig_poke(&rig, RIG_PD, 2, RIG_HUGE << 12 | clean);
	rig_poke(&rig, RIG_PD, 3, RIG_HUGE << 12 | read_only);
	rig_reads(&rig, 0, region(2), rig_gpa(RIG_HUGE, 0));
	rig_reads(&rig, 0, region(3), rig_gpa(RIG_HUGE, 0));
	rig_writes(&rig, 0, region(2), rig_gpa(RIG_HUGE, 0));
	assert_true(shadow_peek(rig.svm, rig_gpa(RIG_PD, 2)) & LINEAR_DIRTY);
	rig_faults(&rig, 0, region(3), LINEAR_WRITE, LINEAR_SUPERVISOR, LINEAR_PF_P | LINEAR_PF_W);
	rig_writes(&rig, 0, region(2) + 0x1000, rig_gpa(RIG_HUGE + 1, 0));
	rig_free(&rig);
}

/* What reads as all ones may be a table, too: until there is memory. */
void tables_in_a_hole_are_forgotten_when_memory_appears(void **state)
{
	(void)state;
	for (unsigned moves = 0; moves < 2; moves++) {
		struct rig rig = rig_new(1, 1);
		struct linear_regs regs = *shadow_regs(rig.svm, 0);
		struct shadow_slot top = {.gfn = 0xfffff, .count = 1, .host = 128};
		struct shadow_slot slot = {.gfn = RIG_HOLE + 16 * moves, .count = 8, .host = 136};

		/* All ones in a directory of 32-bit mode without PSE: a table at the very top. */
		assert_int_equal(shadow_slot_create(rig.svm, 2, &top), VMMU_OK);
		assert_true(shadow_poke(rig.svm, UINT64_C(0xfffff) << 12, 4, RIG_DATA << 12 | RW));
		if (moves)
			assert_int_equal(shadow_slot_create(rig.svm, 3, &slot), VMMU_OK);
		regs.mode = LINEAR_32BIT;
		regs.cr3 = (uint64_t)RIG_HOLE << 12;
		shadow_reset(rig.svm, 0, &regs);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
		rig_check(&rig);
		if (moves)
			assert_int_equal(shadow_slot_move(rig.svm, 3, RIG_HOLE), VMMU_OK);
		else
			assert_int_equal(shadow_slot_create(rig.svm, 3, &slot), VMMU_OK);
		rig_check(&rig);
		rig_faults(&rig, 0, RIG_GVA, LINEAR_READ, LINEAR_SUPERVISOR, 0);
		rig_free(&rig);
	}
}

/* One frame, a table of 8-byte entries for one vCPU and of 4-byte entries for the other: what is
 * the accessed bit to one of them is a bit of the address to the other. */
static void mark_in_the_other_width(bool is_linked)
{
	struct rig rig = rig_new(2, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 1);
	const uint64_t table = RIG_SPARE, low = RIG_DATA << 12 | RW;
	const uint64_t high = LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE;

	rig_poke(&rig, table, 0, high << 32 | low);
	rig_poke(&rig, RIG_PD, 2, table << 12 | RW);
	assert_int_equal(rig_access(&rig, 0, region(2), LINEAR_READ, LINEAR_USER).gpa,
			 high << 32 | RIG_DATA << 12);
	assert_true(shadow_poke(rig.svm, (table + 1) << 12, 4, table << 12 | RW));
	regs.mode = LINEAR_32BIT;
	regs.cr3 = (table + 1) << 12;
	shadow_reset(rig.svm, 1, &regs);
	if (is_linked)
		rig_reads(&rig, 1, 0, rig_gpa(RIG_DATA, 0));
	rig_reads(&rig, 1, 0x1000, 0);
	shadow_invlpg(rig.svm, 0, region(2));
	assert_int_equal(rig_access(&rig, 0, region(2), LINEAR_READ, LINEAR_USER).gpa,
			 (high | LINEAR_ACCESSED) << 32 | RIG_DATA << 12);
	rig_free(&rig);
}

void an_accessed_bit_is_a_change_to_tables_of_the_other_width(void **state)
{
	(void)state;
	mark_in_the_other_width(false);
	/* Its tables are there: no walk, one entry decides. */
	mark_in_the_other_width(true);
}
