/* SPDX-License-Identifier: MIT */
/* What a look tells, and what it leaves. */
#include "scenario.h"

#include <string.h>

#define BASE LAB_BASE

void a_write_is_told_once_and_a_read_is_not(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 200, 0, VMMU_SLOT_LOG);
		LAB_TELLS_NOTHING(lab, 0);
		lab_read(lab, 0, BASE + 7);
		LAB_TELLS_NOTHING(lab, 0);
		lab_write(lab, 0, BASE + 7);
		lab_write(lab, 0, BASE + 7);
		lab_write(lab, 1, BASE + 199);
		lab_read(lab, 1, BASE + 8);
		LAB_TELLS(lab, 0, 7, 199);
		LAB_TELLS_NOTHING(lab, 0);
		/* The CPUs have what they have written through still at hand. */
		lab_read(lab, 0, BASE + 7);
		LAB_TELLS_NOTHING(lab, 0);
		for (unsigned round = 0; round < 3; round++) {
			lab_write(lab, 0, BASE + 7);
			lab_write(lab, 1, BASE + 7);
			lab_write(lab, 0, BASE + 64);
			LAB_TELLS(lab, 0, 7, 64);
		}
		lab_end(lab);
	}
}

/* A look at a part: what is told, what the rest of the bitmap looks like, and the count. */
static void tells_part(struct lab *lab, uint64_t first, uint64_t count, uint64_t low, uint64_t high)
{
	uint64_t bitmap[4] = {0}, found = 77;
	uint64_t beyond = count % 64 ? UINT64_MAX << count % 64 : 0;
	uint64_t last = (count + 63) / 64 - 1;

	/* Bits beyond the part are somebody else's. */
	bitmap[last] = beyond;
	bitmap[last + 1] = UINT64_C(0x5a5a5a5a5a5a5a5a);
	assert_int_equal(lab_look(lab, 0, first, count, bitmap, &found), VMMU_OK);
	assert_int_equal(bitmap[last + 1], UINT64_C(0x5a5a5a5a5a5a5a5a));
	bitmap[last + 1] = 0;
	assert_true((bitmap[last] & beyond) == beyond);
	bitmap[last] &= ~beyond;
	assert_int_equal(bitmap[0], low);
	assert_int_equal(bitmap[1], high);
	assert_int_equal(bitmap[2], 0);
	assert_int_equal(found, __builtin_popcountll(low) + __builtin_popcountll(high));
}

void looks_at_parts_leave_the_rest(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		uint64_t found;

		/* Neither the slot nor any part begins at a word of anything. */
		lab_slot(lab, 0, BASE + 37, 300, 3, VMMU_SLOT_LOG);
		for (uint64_t i = 60; i < 140; i++)
			lab_write(lab, i & 1, BASE + 37 + i);
		tells_part(lab, 59, 3, 6, 0);
		tells_part(lab, 59, 3, 0, 0);
		tells_part(lab, 62, 1, 1, 0);
		tells_part(lab, 50, 70, ~UINT64_C(0) << 13, 0x3f);
		tells_part(lab, 63, 64, UINT64_C(0x7f) << 57, 0);
		/* Halves of what is left: counted only, not even counted. */
		assert_int_equal(lab_look(lab, 0, 127, 3, NULL, &found), VMMU_OK);
		assert_int_equal(found, 3);
		assert_int_equal(lab_look(lab, 0, 130, 3, NULL, NULL), VMMU_OK);
		LAB_TELLS(lab, 0, 133, 134, 135, 136, 137, 138, 139);
		/* To the end: the ends of slot and part are the same. */
		lab_write(lab, 0, BASE + 37);
		lab_write(lab, 0, BASE + 37 + 299);
		assert_int_equal(lab_look(lab, 0, 1, 0, NULL, &found), VMMU_OK);
		assert_int_equal(found, 1);
		assert_int_equal(lab_look(lab, 0, 299, 1, NULL, &found), VMMU_OK);
		assert_int_equal(found, 0);
		LAB_TELLS(lab, 0, 0);
		lab_end(lab);
	}
}

void several_looks_add_up_in_one_bitmap(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		uint64_t bitmap[2] = {0}, found = 0;

		lab_slot(lab, 0, BASE, 128, 0, VMMU_SLOT_LOG);
		lab_write(lab, 0, BASE + 3);
		lab_write(lab, 0, BASE + 70);
		assert_int_equal(lab_look(lab, 0, 0, 0, bitmap, &found), VMMU_OK);
		assert_int_equal(found, 2);
		lab_write(lab, 1, BASE + 3);
		lab_write(lab, 1, BASE + 5);
		assert_int_equal(lab_look(lab, 0, 0, 0, bitmap, &found), VMMU_OK);
		/* What it found, not what is in the bitmap. */
		assert_int_equal(found, 2);
		assert_int_equal(bitmap[0], 1u << 3 | 1u << 5);
		assert_int_equal(bitmap[1], 1u << 6);
		assert_int_equal(lab_look(lab, 0, 0, 0, bitmap, &found), VMMU_OK);
		assert_int_equal(found, 0);
		assert_int_equal(bitmap[0], 1u << 3 | 1u << 5);
		lab_end(lab);
	}
}

void slots_that_share_a_word_of_64_frames_log_for_themselves(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		/* 0 and 2 log, 1 in between does not, nor does what follows. */
		lab_slot(lab, 0, BASE, 10, 0, VMMU_SLOT_LOG);
		lab_slot(lab, 1, BASE + 10, 10, 10, 0);
		lab_slot(lab, 2, BASE + 20, 20, 20, VMMU_SLOT_LOG);
		lab_slot(lab, 3, BASE + 40, 90, 40, 0);
		for (uint64_t i = 0; i < 100; i++)
			lab_write(lab, 0, BASE + i);
		LAB_TELLS(lab, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
		assert_int_equal(lab_look(lab, 1, 0, 0, NULL, NULL), VMMU_ENOENT);
		LAB_TELLS_NOTHING(lab, 0);
		LAB_TELLS(lab, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
			  19);
		lab_write(lab, 0, BASE + 9);
		lab_write(lab, 0, BASE + 20);
		LAB_TELLS(lab, 2, 0);
		LAB_TELLS(lab, 0, 9);
		/* Slots over the same memory: frames are logged, not what is behind them. */
		lab_slot(lab, 4, BASE + 512, 10, 0, VMMU_SLOT_LOG);
		lab_write(lab, 0, BASE + 512 + 3);
		LAB_TELLS_NOTHING(lab, 0);
		LAB_TELLS(lab, 4, 3);
		lab_end(lab);
	}
}

static enum vmmu_error mark(struct lab *lab, unsigned space, uint64_t start, uint64_t end)
{
	return vmmu_dirty_mark(lab->vm, space, lab_range(start, end));
}

static enum vmmu_error written(struct lab *lab, uint64_t gpa, uint64_t bytes)
{
	return vmmu_guest_written(lab->vm, 0, (vmmu_gpa_t){gpa}, bytes);
}

void what_the_host_writes_is_logged(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		const uint64_t gpa = BASE << VMMU_PAGE_SHIFT;

		lab_slot(lab, 0, BASE, 70, 0, VMMU_SLOT_LOG);
		lab_slot(lab, 1, BASE + 70, 10, 70, 0);
		lab_slot(lab, 2, BASE + 90, 100, 90, VMMU_SLOT_LOG);
		/* Over a slot that does not log and a hole. */
		assert_int_equal(mark(lab, 0, BASE + 68, BASE + 93), VMMU_OK);
		LAB_TELLS(lab, 0, 68, 69);
		LAB_TELLS(lab, 2, 0, 1, 2);
		LAB_TELLS_NOTHING(lab, 0);
		assert_int_equal(mark(lab, 0, BASE + 5, BASE + 5), VMMU_OK);
		assert_int_equal(mark(lab, 0, 0x200, 0x210), VMMU_OK);
		assert_int_equal(mark(lab, 0, BASE + 189, UINT64_MAX), VMMU_OK);
		LAB_TELLS_NOTHING(lab, 0);
		LAB_TELLS(lab, 2, 99);
		/* Emulators: by address, over the end of a page, of all kinds of length. */
		assert_int_equal(written(lab, gpa + 0x3ff8, 8), VMMU_OK);
		assert_int_equal(written(lab, gpa + 0x5fff, 0x1002), VMMU_OK);
		assert_int_equal(written(lab, gpa + 0x9000, 0), VMMU_OK);
		LAB_TELLS(lab, 0, 3, 5, 6, 7);
		assert_int_equal(written(lab, gpa + 0x45fff, 0x15000), VMMU_OK);
		LAB_TELLS(lab, 0, 69);
		LAB_TELLS(lab, 2, 0);
		/* As much as can be said: it costs what is logged, not what is named. */
		assert_int_equal(mark(lab, 0, BASE + 68, UINT64_MAX), VMMU_OK);
		LAB_TELLS(lab, 0, 68, 69);
		lab_forget(lab, 2);
		if (lab->sim) {
			assert_int_equal(written(lab, gpa + 0x44000, UINT64_MAX / 2), VMMU_OK);
			LAB_TELLS(lab, 0, 68, 69);
			lab_forget(lab, 2);
		}
		/* With a leaf there, and without dirty state of its own. */
		lab_read(lab, 0, BASE + 9);
		assert_int_equal(mark(lab, 0, BASE + 9, BASE + 10), VMMU_OK);
		lab_write(lab, 0, BASE + 10);
		assert_int_equal(mark(lab, 0, BASE + 10, BASE + 11), VMMU_OK);
		LAB_TELLS(lab, 0, 9, 10);
		LAB_TELLS_NOTHING(lab, 0);
		assert_int_equal(mark(lab, 2, 0, 1), VMMU_EINVAL);
		assert_int_equal(mark(lab, 0, 2, 1), VMMU_EINVAL);
		assert_int_equal(written(lab, UINT64_MAX, 8), VMMU_EINVAL);
		lab_end(lab);
	}
}

void two_spaces_log_for_themselves(void **state)
{
	(void)state;
	for (LAB_NESTED(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		struct vmmu_slot_part part = {.space = 1, .id = 0};
		uint64_t bitmap[1] = {0}, found;

		lab_slot(lab, 0, BASE, 64, 0, VMMU_SLOT_LOG);
		assert_int_equal(sim_slot_create(lab->sim, 1, 0, BASE, 64, 64, VMMU_SLOT_LOG),
				 VMMU_OK);
		lab->sim->space[1] = 1;
		assert_int_equal(vmmu_vcpu_set_space(lab->sim->vcpu[1], 1), VMMU_OK);
		lab_write(lab, 0, BASE + 4);
		lab_write(lab, 1, BASE + 5);
		assert_int_equal(mark(lab, 1, BASE + 6, BASE + 7), VMMU_OK);
		LAB_TELLS(lab, 0, 4);
		assert_int_equal(vmmu_dirty_log(lab->vm, &part, bitmap, &found), VMMU_OK);
		assert_int_equal(bitmap[0], 1u << 5 | 1u << 6);
		assert_int_equal(found, 2);
		/* Logging ends in one of them. */
		assert_int_equal(vmmu_slot_set_flags(lab->vm, 1, 0, 0), VMMU_OK);
		lab_write(lab, 0, BASE + 4);
		lab_write(lab, 1, BASE + 5);
		assert_int_equal(vmmu_dirty_log(lab->vm, &part, bitmap, &found), VMMU_ENOENT);
		LAB_TELLS(lab, 0, 4);
		lab_end(lab);
	}
}

void frames_that_nobody_wrote_are_clean_however_they_came(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab_options options = {.prefetch = 8};
		struct lab *lab = lab_new(engine, &options);
		uint64_t done = 0;

		lab_slot(lab, 0, BASE, 64, 0, VMMU_SLOT_LOG);
		/* Neighbours of a page that is written come along. */
		lab_write(lab, 0, BASE + 12);
		LAB_TELLS(lab, 0, 12);
		lab_read(lab, 0, BASE + 20);
		LAB_TELLS_NOTHING(lab, 0);
		if (lab->sim) {
			lab_leave(lab, 0);
			assert_int_equal(
				vmmu_prefault(lab->sim->vcpu[0], lab_range(BASE, BASE + 64), &done),
				VMMU_OK);
			assert_int_equal(done, 64);
			LAB_TELLS_NOTHING(lab, 0);
		}
		for (uint64_t i = 0; i < 64; i++)
			lab_read(lab, 0, BASE + i);
		LAB_TELLS_NOTHING(lab, 0);
		lab_write(lab, 0, BASE + 13);
		lab_write(lab, 0, BASE + 40);
		LAB_TELLS(lab, 0, 13, 40);
		lab_end(lab);
	}
}

static void told(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	unsigned *count = client;

	(void)space;
	(void)gpa;
	(void)bytes;
	(void)kind;
	++*count;
}

void writes_that_are_emulated_are_logged(void **state)
{
	static const struct vmmu_tracker_ops ops = {.accessed = told};

	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		vmmu_tracker_id_t id;
		unsigned count = 0;

		lab_slot(lab, 0, BASE, 64, 0, VMMU_SLOT_LOG);
		assert_int_equal(vmmu_tracker_register(lab->vm, &ops, &count, &id), VMMU_OK);
		lab_write(lab, 0, BASE + 6);
		/* The right goes with dirty state in the leaf. */
		assert_int_equal(vmmu_track_add(lab->vm, id, lab_range(BASE + 6, BASE + 8),
						VMMU_ACCESS_WRITE),
				 VMMU_OK);
		LAB_TELLS(lab, 0, 6);
		for (unsigned round = 1; round < 4; round++) {
			lab_write(lab, 0, BASE + 7);
			assert_int_equal(count, round);
			LAB_TELLS(lab, 0, 7);
			lab_read(lab, 0, BASE + 7);
			LAB_TELLS_NOTHING(lab, 0);
		}
		assert_int_equal(vmmu_tracker_unregister(lab->vm, id), VMMU_OK);
		lab_write(lab, 0, BASE + 7);
		LAB_TELLS(lab, 0, 7);
		lab_end(lab);
	}
}

void harvests_leave_the_log_what_it_has(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		struct vmmu_gfn_range all = lab_range(0, 2 * BASE);
		uint64_t count;

		lab_slot(lab, 0, BASE, 64, 0, VMMU_SLOT_LOG);
		for (unsigned round = 0; round < 3; round++) {
			lab_write(lab, 0, BASE + 3);
			lab_write(lab, 1, BASE + 63);
			assert_int_equal(vmmu_harvest_dirty(lab->vm, 0, all, NULL, &count),
					 VMMU_OK);
			assert_true(count >= 2);
			assert_int_equal(vmmu_harvest_accessed(lab->vm, 0, all, NULL, NULL),
					 VMMU_OK);
			LAB_TELLS(lab, 0, 3, 63);
			assert_int_equal(vmmu_harvest_dirty(lab->vm, 0, all, NULL, NULL), VMMU_OK);
			LAB_TELLS_NOTHING(lab, 0);
			/* Each harvest finds writes that came after it, by the same CPU. */
			lab_write(lab, 0, BASE + 3);
			assert_int_equal(vmmu_harvest_dirty(lab->vm, 0, all, NULL, NULL), VMMU_OK);
			lab_write(lab, 0, BASE + 5);
			assert_int_equal(vmmu_harvest_dirty(lab->vm, 0, all, NULL, NULL), VMMU_OK);
			LAB_TELLS(lab, 0, 3, 5);
		}
		lab_end(lab);
	}
}

/* I11: whoever takes dirty state from a leaf hands it over. The simulated host checks that when it
 * takes the page. */
void what_a_look_takes_from_the_hardware_is_told_to_the_port(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 64, 0, VMMU_SLOT_LOG);
		lab_write(lab, 0, BASE + 3);
		LAB_TELLS(lab, 0, 3);
		assert_true(lab_migrate(lab, 3));
		lab_read(lab, 0, BASE + 3);
		LAB_TELLS_NOTHING(lab, 0);
		lab_end(lab);
	}
}
