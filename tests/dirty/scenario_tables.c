/* SPDX-License-Identifier: MIT */
/* The guest's own tables in a slot that logs; what shadow paging does with them. */
#include "scenario.h"

#define BASE LAB_BASE
#define LOG ((uint32_t)VMMU_SLOT_LOG)

#define PT 100u /* frames of the slot */
#define PD 101u
#define DATA 200u
#define FRESH (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE)
#define RW (FRESH | LINEAR_ACCESSED | LINEAR_DIRTY)
#define PT_GVA ((BASE + 2048) << VMMU_PAGE_SHIFT) /* fifth entry of LAB_PD */
#define PD_GVA (UINT64_C(4) << 30)                /* fifth entry of LAB_PDPT */

static void poke(struct lab *lab, uint64_t frame, uint64_t index, uint64_t entry)
{
	assert_true(shadow_poke(lab->svm, frame << VMMU_PAGE_SHIFT | 8 * index, 8, entry));
}

/* A page table in the slot, which nobody has used, and a directory that leads to it. */
static struct lab *tables_lab(unsigned prefetch)
{
	struct lab_options options = {.prefetch = prefetch};
	struct lab *lab = lab_new(LAB_SHADOW, &options);

	lab_slot(lab, 0, BASE, 512, 0, LOG);
	for (uint64_t i = 0; i < 8; i++)
		poke(lab, BASE + PT, i, (BASE + DATA + i) << VMMU_PAGE_SHIFT | FRESH);
	poke(lab, BASE + PD, 0, (BASE + PT) << VMMU_PAGE_SHIFT | RW);
	poke(lab, LAB_PD, 4, (BASE + PT) << VMMU_PAGE_SHIFT | RW);
	poke(lab, LAB_PDPT, 4, (BASE + PD) << VMMU_PAGE_SHIFT | RW);
	LAB_TELLS(lab, 0, PT, PD);
	return lab;
}

static void access_at(struct lab *lab, unsigned vcpu, uint64_t gva, bool write, uint64_t frame)
{
	struct shadow_result r =
		write ? shadow_write(lab->svm, vcpu, gva, 0x55) : shadow_read(lab->svm, vcpu, gva);

	lab_check(lab);
	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa >> VMMU_PAGE_SHIFT, BASE + frame);
}

void marks_in_the_guests_tables_are_logged(void **state)
{
	(void)state;
	for (unsigned prefetch = 1; prefetch <= 8; prefetch += 7) {
		struct lab *lab = tables_lab(prefetch);

		access_at(lab, 0, PT_GVA, false, DATA);
		LAB_TELLS(lab, 0, PT);
		access_at(lab, 0, PT_GVA, false, DATA);
		access_at(lab, 1, PT_GVA, false, DATA);
		LAB_TELLS_NOTHING(lab, 0);
		access_at(lab, 0, PT_GVA, true, DATA);
		LAB_TELLS(lab, 0, PT, DATA);
		/* Dirty by now: the data changes, the table does not. */
		access_at(lab, 1, PT_GVA, true, DATA);
		LAB_TELLS(lab, 0, DATA);
		/* Both at once. */
		access_at(lab, 0, PT_GVA + 0x3000, true, DATA + 3);
		LAB_TELLS(lab, 0, PT, DATA + 3);
		/* In a table whose translations went right after. */
		access_at(lab, 0, PT_GVA + 0x4000, false, DATA + 4);
		assert_int_equal(vmmu_zap_all(lab->vm), VMMU_OK);
		LAB_TELLS(lab, 0, PT);
		lab_end(lab);
	}
}

void writes_to_the_guests_tables_are_logged(void **state)
{
	const uint64_t pt = (BASE + PT) << VMMU_PAGE_SHIFT, pd = (BASE + PD) << VMMU_PAGE_SHIFT;
	struct lab *lab = tables_lab(1);
	struct shadow_result r;

	(void)state;
	access_at(lab, 0, PD_GVA, true, DATA);
	access_at(lab, 1, PT_GVA, true, DATA);
	lab_forget(lab, 0);
	/* A table of the lowest level, which the guest may be let write. */
	for (unsigned round = 0; round < 3; round++) {
		r = shadow_write(lab->svm, 1, lab_linear(lab, BASE + PT) + 8 * 5,
				 (BASE + DATA + 5 + round) << VMMU_PAGE_SHIFT | RW);
		assert_int_equal(r.end, SHADOW_MEMORY);
		assert_int_equal(r.gpa, pt + 8 * 5);
		LAB_TELLS(lab, 0, PT);
		shadow_flush(lab->svm, 0);
		access_at(lab, 0, PT_GVA + 0x5000, false, DATA + 5 + round);
		LAB_TELLS_NOTHING(lab, 0);
	}
	/* One above, which is emulated. */
	for (unsigned round = 0; round < 3; round++) {
		access_at(lab, 0, PD_GVA, false, DATA);
		lab_forget(lab, 0);
		r = shadow_write(lab->svm, 1, lab_linear(lab, BASE + PD) + 8 * 7, 0);
		assert_int_equal(r.end, SHADOW_MEMORY);
		assert_int_equal(r.gpa, pd + 8 * 7);
		assert_true(r.emulated);
		LAB_TELLS(lab, 0, PD);
	}
	lab_end(lab);
}

void all_names_of_a_frame_are_looked_at(void **state)
{
	struct lab *lab = lab_new(LAB_SHADOW, NULL);

	(void)state;
	lab_slot(lab, 0, BASE, 512, 0, LOG);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			lab->window = (enum lab_window)i;
			lab_write(lab, i & 1, BASE + 5);
		}
		LAB_TELLS(lab, 0, 5);
		LAB_TELLS_NOTHING(lab, 0);
		/* Each CPU has each of them at hand. */
		for (unsigned i = 0; i < 3; i++) {
			lab->window = (enum lab_window)i;
			lab_write(lab, i & 1, BASE + 5);
			LAB_TELLS(lab, 0, 5);
		}
		lab->window = LAB_SMALL;
		lab_read(lab, 0, BASE + 5);
		LAB_TELLS_NOTHING(lab, 0);
	}
	lab_end(lab);
}

void a_leaf_that_the_guest_takes_away_is_told(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 6; way++) {
		struct lab *lab = lab_new(LAB_SHADOW, NULL);
		uint64_t entry = (BASE + 5) << VMMU_PAGE_SHIFT | RW;

		lab_slot(lab, 0, BASE, 64, 0, LOG);
		lab_write(lab, 0, BASE + 5);
		lab_leave(lab, 0);
		if (way & 1)
			poke(lab, LAB_PT, 5, 0); /* by a device */
		else
			assert_int_equal(
				shadow_write(lab->svm, 1, lab_linear(lab, BASE + 7), 1).end,
				SHADOW_MEMORY);
		if (way < 2)
			shadow_invlpg(lab->svm, 0, lab_linear(lab, BASE + 5));
		else if (way < 4)
			shadow_flush(lab->svm, 0);
		else
			assert_true(shadow_mov_cr3(lab->svm, 0, LAB_PML4 << VMMU_PAGE_SHIFT));
		poke(lab, LAB_PT, 5, entry & ~LINEAR_WRITABLE);
		shadow_invlpg(lab->svm, 0, lab_linear(lab, BASE + 5));
		lab_read(lab, 0, BASE + 5);
		if (way & 1)
			LAB_TELLS(lab, 0, 5);
		else
			LAB_TELLS(lab, 0, 5, 7);
		poke(lab, LAB_PT, 5, entry);
		shadow_invlpg(lab->svm, 0, lab_linear(lab, BASE + 5));
		lab_write(lab, 0, BASE + 5);
		LAB_TELLS(lab, 0, 5);
		lab_end(lab);
	}
}

static void link_the_directory(struct lab *lab, void *context)
{
	unsigned *pauses = context;

	if ((*pauses)++)
		return;
	access_at(lab, 0, PD_GVA, false, DATA);
	/* The directory is mirrored: nobody writes it without a fault. */
	assert_false(lab_cpu_writes(lab, 1, BASE + PD));
}

/* R48: the look has taken the dirty flag, and its flush may still be owed. */
void a_frame_that_becomes_a_table_during_a_look_is_protected(void **state)
{
	struct lab *lab = tables_lab(1);
	unsigned pauses = 0;

	(void)state;
	for (uint64_t i = 0; i < 512; i += 3)
		if (i != PT && i != PD)
			lab_write(lab, 1, BASE + i);
	assert_int_equal(shadow_write(lab->svm, 1, lab_linear(lab, BASE + PD) + 8 * 9, 0).end,
			 SHADOW_MEMORY);
	lab_enter(lab, 1);
	lab->on_pause = link_the_directory;
	lab->context = &pauses;
	assert_int_equal(lab_look(lab, 0, 0, 0, NULL, NULL), VMMU_OK);
	lab->on_pause = NULL;
	if (!pauses)
		link_the_directory(lab, &pauses);
	lab_forget(lab, 0);
	assert_true(shadow_write(lab->svm, 1, lab_linear(lab, BASE + PD) + 8 * 9, 0).emulated);
	LAB_TELLS(lab, 0, PD);
	lab_end(lab);
}
