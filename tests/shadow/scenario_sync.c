/* SPDX-License-Identifier: MIT */
/* Scenarios about what a flush of the guest takes over from its tables. */
#include "rig.h"
#include "scenario.h"

#define PAGE(n) (RIG_GVA + ((uint64_t)(n) << 12))

/* A guest with all pages of the PT written once, and the PT out of sync. */
static struct rig rig_unsync(void)
{
	struct rig rig = rig_new(1, 1);

	for (unsigned i = 0; i < 8; i++)
		rig_writes(&rig, 0, PAGE(i), rig_gpa(RIG_DATA + i, 0));
	rig_store(&rig, 0, RIG_PT, 9, 0);
	assert_true(rig_stat(&rig, VMMU_STAT_SHADOW_UNSYNC) > 0);
	return rig;
}

void what_a_flush_takes_over_needs_no_fault(void **state)
{
	struct rig rig = rig_unsync();
	uint64_t faults;

	(void)state;
	rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 0) << 12 | RO);
	rig_store(&rig, 0, RIG_PT, 1, (RIG_DATA + 11) << 12 | RW);
	rig_store(&rig, 0, RIG_PT, 2, (RIG_DATA + 2) << 12 | KERNEL);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	faults = rig_stat(&rig, VMMU_STAT_FAULTS);
	rig_reads(&rig, 0, PAGE(0), rig_gpa(RIG_DATA, 0));
	rig_writes(&rig, 0, PAGE(1), rig_gpa(RIG_DATA + 11, 0));
	rig_writes(&rig, 0, PAGE(2), rig_gpa(RIG_DATA + 2, 0));
	rig_writes(&rig, 0, PAGE(3), rig_gpa(RIG_DATA + 3, 0));
	assert_int_equal(rig_stat(&rig, VMMU_STAT_FAULTS), faults);
	rig_free(&rig);
}

void rights_that_the_guest_takes_away_are_gone_after_its_flush(void **state)
{
	struct rig rig = rig_unsync();

	(void)state;
	rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 0) << 12 | RO);
	rig_store(&rig, 0, RIG_PT, 1, (RIG_DATA + 1) << 12 | KERNEL);
	rig_store(&rig, 0, RIG_PT, 2, (RIG_DATA + 2) << 12 | RW | LINEAR_NO_EXEC);
	rig_store(&rig, 0, RIG_PT, 3, ((RIG_DATA + 3) << 12 | RW) & ~(uint64_t)LINEAR_DIRTY);
	rig_store(&rig, 0, RIG_PT, 4, ((RIG_DATA + 4) << 12 | RW) & ~(uint64_t)LINEAR_ACCESSED);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	rig_faults(&rig, 0, PAGE(0), LINEAR_WRITE, LINEAR_SUPERVISOR,
		   VMMU_PF_PRESENT | VMMU_PF_WRITE);
	rig_faults(&rig, 0, PAGE(1), LINEAR_READ, LINEAR_USER, VMMU_PF_PRESENT | VMMU_PF_USER);
	rig_faults(&rig, 0, PAGE(2), LINEAR_FETCH, LINEAR_SUPERVISOR,
		   VMMU_PF_PRESENT | VMMU_PF_FETCH);
	/* The oracle knows that the bits have to come back. */
	rig_writes(&rig, 0, PAGE(3), rig_gpa(RIG_DATA + 3, 0));
	rig_reads(&rig, 0, PAGE(4), rig_gpa(RIG_DATA + 4, 0));
	rig_free(&rig);
}

void a_flush_gives_no_right_to_write_to_the_guests_upper_tables(void **state)
{
	struct rig rig = rig_unsync();
	uint64_t emulated;

	(void)state;
	/* One entry leads there already, without the right; one comes to lead there. */
	rig_store(&rig, 0, RIG_PT, 0, RIG_PDPT << 12 | RO);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	rig_reads(&rig, 0, PAGE(0), rig_gpa(RIG_PDPT, 0));
	rig_store(&rig, 0, RIG_PT, 0, RIG_PDPT << 12 | RW);
	rig_store(&rig, 0, RIG_PT, 1, RIG_PDPT << 12 | RW);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	rig_check(&rig);
	emulated = rig.svm->count.table_writes;
	assert_int_equal(shadow_write(rig.svm, 0, PAGE(0) + 0x800, 0).end, SHADOW_MEMORY);
	assert_int_equal(shadow_write(rig.svm, 0, PAGE(1) + 0x808, 0).end, SHADOW_MEMORY);
	assert_int_equal(rig.svm->count.table_writes, emulated + 2);
	rig_free(&rig);
}

void a_page_of_a_read_only_slot_stays_so_whatever_the_guest_says(void **state)
{
	struct rig rig = rig_unsync();
	struct shadow_slot rom = {.is_readonly = true, .gfn = 0x100, .count = 4, .host = 200};

	(void)state;
	assert_int_equal(shadow_slot_create(rig.svm, 2, &rom), VMMU_OK);
	rig_store(&rig, 0, RIG_PT, 0, UINT64_C(0x100) << 12 | RO);
	rig_reads(&rig, 0, PAGE(1), rig_gpa(RIG_DATA + 1, 0));
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	rig_reads(&rig, 0, PAGE(0), UINT64_C(0x100) << 12);
	rig_store(&rig, 0, RIG_PT, 0, UINT64_C(0x100) << 12 | RW);
	rig_store(&rig, 0, RIG_PT, 1, UINT64_C(0x100) << 12 | RW);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	rig_check(&rig);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rig_access(&rig, 0, PAGE(i), LINEAR_WRITE, LINEAR_SUPERVISOR).end,
				 SHADOW_READONLY);
	rig_free(&rig);
}

void tables_that_are_brought_up_to_date_together_share_a_flush(void **state)
{
	struct rig rig = rig_unsync();
	uint64_t flushes, synced;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		rig_poke(&rig, RIG_SPARE + i, 0, (RIG_DATA + i) << 12 | RW);
		rig_poke(&rig, RIG_PD, 2 + i, (RIG_SPARE + i) << 12 | RW);
		rig_reads(&rig, 0, (uint64_t)(2 + i) << 21, rig_gpa(RIG_DATA + i, 0));
		rig_store(&rig, 0, RIG_SPARE + i, 0, (RIG_DATA + 20 + i) << 12 | RW);
	}
	flushes = rig_stat(&rig, VMMU_STAT_FLUSHES);
	synced = rig_stat(&rig, VMMU_STAT_SHADOW_SYNC);
	assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
	/* One before they are read, one for what was read. */
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_SYNC), synced + 5);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_FLUSHES), flushes + 2);
	for (unsigned i = 0; i < 4; i++)
		rig_reads(&rig, 0, (uint64_t)(2 + i) << 21, rig_gpa(RIG_DATA + 20 + i, 0));
	rig_free(&rig);
}
