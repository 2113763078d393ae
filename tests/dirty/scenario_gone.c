/* SPDX-License-Identifier: MIT */
/* Leaves that went, one way or another, between the write and the look. */
#include "scenario.h"

#define BASE LAB_BASE
#define LOG ((uint32_t)VMMU_SLOT_LOG)

static void ok(enum vmmu_error error)
{
	assert_int_equal(error, VMMU_OK);
}

static void invalidated(struct lab *lab)
{
	ok(vmmu_invalidate_begin(lab->vm, 0, lab_range(BASE, BASE + 64)));
	ok(vmmu_invalidate_end(lab->vm, 0, lab_range(BASE, BASE + 64)));
}

static void invalidated_on_the_host(struct lab *lab)
{
	ok(vmmu_invalidate_host_begin(lab->vm, 5 << 12, 7 << 12));
	ok(vmmu_invalidate_host_end(lab->vm, 5 << 12, 7 << 12));
}

static void migrated(struct lab *lab)
{
	assert_true(lab_migrate(lab, 5));
	assert_true(lab_migrate(lab, 6));
}

static void write_protected(struct lab *lab)
{
	assert_true(lab_write_protect(lab, 5));
	assert_true(lab_write_protect(lab, 6));
}

static void zapped(struct lab *lab)
{
	ok(vmmu_zap_range(lab->vm, 0, lab_range(BASE + 5, BASE + 7)));
}

static void all_zapped(struct lab *lab)
{
	ok(vmmu_zap_all(lab->vm));
}

static void all_forgotten(struct lab *lab)
{
	ok(vmmu_zap_all_fast(lab->vm));
}

static void all_forgotten_and_taken_apart(struct lab *lab)
{
	ok(vmmu_zap_all_fast(lab->vm));
	while (vmmu_work(lab->vm, 1))
		;
}

static void half_taken_apart_and_used_again(struct lab *lab)
{
	ok(vmmu_zap_all_fast(lab->vm));
	lab_read(lab, 0, BASE + 5);
	(void)vmmu_work(lab->vm, 1);
	lab_read(lab, 1, BASE + 6);
}

static void flags_changed(struct lab *lab)
{
	lab_flags(lab, 0, LOG | VMMU_SLOT_SMALL);
}

static void other_slot_went(struct lab *lab)
{
	lab_slot_delete(lab, 1);
}

static void harvested(struct lab *lab)
{
	ok(vmmu_harvest_dirty(lab->vm, 0, lab_range(0, 2 * BASE), NULL, NULL));
}

static void aged(struct lab *lab)
{
	ok(vmmu_harvest_accessed(lab->vm, 0, lab_range(0, 2 * BASE), NULL, NULL));
}

static void tracked_for_a_while(struct lab *lab)
{
	static const struct vmmu_tracker_ops ops = {0};
	vmmu_tracker_id_t id;

	ok(vmmu_tracker_register(lab->vm, &ops, NULL, &id));
	ok(vmmu_track_add(lab->vm, id, lab_range(BASE, BASE + 6), VMMU_ACCESS_READ));
	ok(vmmu_track_add(lab->vm, id, lab_range(BASE + 6, BASE + 9), VMMU_ACCESS_WRITE));
	ok(vmmu_tracker_unregister(lab->vm, id));
}

static void tables_unprotected(struct lab *lab)
{
	if (lab->svm)
		assert_true(vmmu_shadow_unprotect(lab->vm, 0, (vmmu_gfn_t){LAB_PT}));
}

static void (*const ways[])(struct lab *lab) = {
	invalidated,
	invalidated_on_the_host,
	migrated,
	write_protected,
	zapped,
	all_zapped,
	all_forgotten,
	all_forgotten_and_taken_apart,
	half_taken_apart_and_used_again,
	flags_changed,
	other_slot_went,
	harvested,
	aged,
	tracked_for_a_while,
	tables_unprotected,
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

void writes_in_leaves_that_went_before_the_look_are_told(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (unsigned way = 0; way < 2 * WAYS; way++) {
			struct lab_options options = {.deaf = way & 1};
			struct lab *lab = lab_new(engine, &options);

			lab_slot(lab, 0, BASE, 64, 0, LOG);
			lab_slot(lab, 1, BASE + 64, 64, 64, 0);
			lab_write(lab, 0, BASE + 64);
			lab_write(lab, 0, BASE + 5);
			lab_write(lab, 1, BASE + 6);
			lab_leave(lab, 1);
			ways[way / 2](lab);
			lab_check(lab);
			LAB_TELLS(lab, 0, 5, 6);
			LAB_TELLS_NOTHING(lab, 0);
			while (vmmu_work(lab->vm, 1))
				;
			LAB_TELLS_NOTHING(lab, 0);
			lab_read(lab, 0, BASE + 5);
			LAB_TELLS_NOTHING(lab, 0);
			lab_write(lab, 1, BASE + 5);
			LAB_TELLS(lab, 0, 5);
			lab_end(lab);
		}
}
