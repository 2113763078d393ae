/* SPDX-License-Identifier: MIT */
/* Tracking under shadow paging, scenario by scenario. */
#include "../shadow/rig.h"
#include "client.h"

#define GVA(i) (RIG_GVA + ((uint64_t)(i) << 12))
#define GPA(i) ((uint64_t)(RIG_DATA + (i)) << 12)

static void a_tracked_write_comes_out_once_and_is_told(void **state)
{
	struct rig rig = rig_new(2, 8);
	struct client c = {0};
	uint64_t frame = RIG_DATA + 3;

	(void)state;
	rig_writes(&rig, 0, GVA(3), GPA(3));
	rig_writes(&rig, 1, GVA(3), GPA(3));
	assert_int_equal(shadow_enter(rig.svm, 0), VMMU_OK);
	assert_int_equal(shadow_enter(rig.svm, 1), VMMU_OK);
	client_join(&c, rig.svm->vm);
	client_add(&c, frame, frame + 1, CLIENT_WRITE);
	rig_check(&rig); /* no CPU holds what is withdrawn */
	rig_reads(&rig, 0, GVA(3), GPA(3));
	rig_writes(&rig, 0, GVA(2), GPA(2));
	rig_writes(&rig, 0, GVA(4), GPA(4));
	assert_int_equal(c.told, 0);
	rig_writes(&rig, 0, GVA(3), GPA(3));
	client_was_told(&c, 1, frame, CLIENT_WRITE);
	rig_writes(&rig, 1, RIG_WINDOW + GPA(3), GPA(3)); /* another way to the frame */
	client_was_told(&c, 2, frame, CLIENT_WRITE);
	assert_int_equal(rig.svm->count.tracked, 2);
	client_remove(&c, frame, frame + 1, CLIENT_WRITE);
	rig_writes(&rig, 0, GVA(3), GPA(3));
	rig_writes(&rig, 1, RIG_WINDOW + GPA(3), GPA(3));
	assert_int_equal(c.told, 2);
	client_leave(&c);
	rig_free(&rig);
}

static void access_kind(struct rig *rig, unsigned i, enum linear_kind kind)
{
	struct shadow_result r = rig_access(rig, 0, GVA(i), kind, LINEAR_SUPERVISOR);

	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa, GPA(i));
}

static void reads_and_fetches_can_be_tracked(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct client c = {0};

	(void)state;
	client_join(&c, rig.svm->vm);
	for (unsigned i = 1; i < 4; i++) {
		access_kind(&rig, i, LINEAR_WRITE);
		access_kind(&rig, i, LINEAR_FETCH);
	}
	client_add(&c, RIG_DATA + 1, RIG_DATA + 2, CLIENT_READ);
	client_add(&c, RIG_DATA + 2, RIG_DATA + 3, CLIENT_EXEC);
	client_add(&c, RIG_DATA + 3, RIG_DATA + 4, CLIENT_READ | CLIENT_WRITE | CLIENT_EXEC);
	access_kind(&rig, 1, LINEAR_WRITE); /* comes out, and is nobody's business */
	access_kind(&rig, 1, LINEAR_FETCH);
	assert_int_equal(c.told, 0);
	assert_int_equal(rig.svm->count.tracked, 2);
	access_kind(&rig, 1, LINEAR_READ);
	client_was_told(&c, 1, RIG_DATA + 1, CLIENT_READ);
	access_kind(&rig, 2, LINEAR_WRITE);
	access_kind(&rig, 2, LINEAR_READ);
	assert_int_equal(rig.svm->count.tracked, 3);
	access_kind(&rig, 2, LINEAR_FETCH);
	client_was_told(&c, 2, RIG_DATA + 2, CLIENT_EXEC);
	access_kind(&rig, 3, LINEAR_READ);
	client_was_told(&c, 3, RIG_DATA + 3, CLIENT_READ);
	access_kind(&rig, 3, LINEAR_WRITE);
	client_was_told(&c, 4, RIG_DATA + 3, CLIENT_WRITE);
	access_kind(&rig, 3, LINEAR_FETCH);
	client_was_told(&c, 5, RIG_DATA + 3, CLIENT_EXEC);
	client_leave(&c);
	for (unsigned i = 1; i < 4; i++) {
		access_kind(&rig, i, LINEAR_WRITE);
		access_kind(&rig, i, LINEAR_FETCH);
	}
	assert_int_equal(c.told, 5);
	rig_free(&rig);
}

#define HUGE_GVA UINT64_C(0x400000) /* the third entry of the PD */

static void a_huge_leaf_over_a_tracked_frame_goes_and_stays_away(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct client c = {0};
	uint64_t at = 5u << 12;

	(void)state;
	rig_poke(&rig, RIG_PD, 2, (uint64_t)RIG_HUGE << 12 | RW | LINEAR_HUGE);
	rig_writes(&rig, 0, HUGE_GVA, (uint64_t)RIG_HUGE << 12);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 1);
	client_join(&c, rig.svm->vm);
	client_add(&c, RIG_HUGE + 5, RIG_HUGE + 6, CLIENT_WRITE);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 0);
	rig_writes(&rig, 0, HUGE_GVA + 0x4000, ((uint64_t)RIG_HUGE << 12) + 0x4000);
	rig_reads(&rig, 0, HUGE_GVA + at, ((uint64_t)RIG_HUGE << 12) + at);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_2M), 0);
	assert_int_equal(c.told, 0);
	rig_writes(&rig, 0, HUGE_GVA + at, ((uint64_t)RIG_HUGE << 12) + at);
	client_was_told(&c, 1, RIG_HUGE + 5, CLIENT_WRITE);
	client_leave(&c);
	rig_writes(&rig, 0, HUGE_GVA + at, ((uint64_t)RIG_HUGE << 12) + at);
	assert_int_equal(c.told, 1);
	rig_free(&rig);
}

/* The trackers hear of it first, the shadow tables after them. */
static void look_at_shadow(struct client *c, const struct client_told *t)
{
	uint64_t *writes = c->context;
	uint64_t values[VMMU_STAT_COUNT];

	(void)t;
	vmmu_stats_read(c->vm, values);
	*writes = values[VMMU_STAT_SHADOW_WRITES];
}

static void a_tracked_page_table_is_told_and_mirrored(void **state)
{
	struct rig rig = rig_new(1, 1);
	uint64_t seen = UINT64_MAX, before;
	struct client c = {.on_told = look_at_shadow, .context = &seen};

	(void)state;
	rig_reads(&rig, 0, GVA(1), GPA(1));
	client_join(&c, rig.svm->vm);
	client_add(&c, RIG_PT, RIG_PT + 1, CLIENT_WRITE);
	client_add(&c, RIG_PD, RIG_PD + 1, CLIENT_WRITE);
	before = rig_stat(&rig, VMMU_STAT_SHADOW_WRITES);
	/* Level 1: not unsync, as it would be if nobody tracked it. */
	rig_store(&rig, 0, RIG_PT, 1, GPA(6) | RW);
	client_was_told(&c, 1, RIG_PT, CLIENT_WRITE);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_UNSYNC), 0);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_FAULT_TABLE_WRITE), 1);
	assert_int_equal(seen, before);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_WRITES), before + 1);
	shadow_invlpg(rig.svm, 0, GVA(1));
	rig_reads(&rig, 0, GVA(1), GPA(6));
	rig_store(&rig, 0, RIG_PD, 3, (uint64_t)RIG_PT << 12 | RW);
	client_was_told(&c, 2, RIG_PD, CLIENT_WRITE);
	rig_reads(&rig, 0, GVA(1) + 0x600000, GPA(6));
	client_leave(&c);
	rig_free(&rig);
}

/* The walk for the guest's access sets bits in a page that a client tracks. */
static void accessed_and_dirty_bits_of_a_tracked_table_are_told(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct client c = {0};

	(void)state;
	rig_poke(&rig, RIG_PT, 5, GPA(5) | LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE);
	client_join(&c, rig.svm->vm);
	client_add(&c, RIG_PT, RIG_PT + 1, CLIENT_WRITE);
	rig_reads(&rig, 0, GVA(5), GPA(5));
	client_was_told(&c, 1, RIG_PT, CLIENT_WRITE);
	assert_int_equal(c.log[0].gpa, rig_gpa(RIG_PT, 5));
	assert_int_equal(c.log[0].bytes, 8);
	rig_reads(&rig, 0, GVA(5), GPA(5));
	assert_int_equal(c.told, 1);
	rig_writes(&rig, 0, GVA(5), GPA(5));
	client_was_told(&c, 2, RIG_PT, CLIENT_WRITE);
	assert_int_equal(shadow_peek(rig.svm, rig_gpa(RIG_PT, 5)) &
				 (LINEAR_ACCESSED | LINEAR_DIRTY),
			 LINEAR_ACCESSED | LINEAR_DIRTY);
	client_leave(&c);
	rig_free(&rig);
}

static void one_write_is_told_until_the_client_rearms(void **state)
{
	struct rig rig = rig_new(2, 8);
	struct client c = {0};
	uint64_t frame = RIG_DATA + 3;
	struct vmmu_gfn_range range = {{frame}, {frame + 1}};

	(void)state;
	client_join(&c, rig.svm->vm);
	client_add(&c, frame, frame + 1, CLIENT_WRITE);
	assert_int_equal(vmmu_track_once(c.vm, c.id, range, true), VMMU_OK);
	for (unsigned round = 1; round < 4; round++) {
		rig_writes(&rig, 0, GVA(3), GPA(3));
		client_was_told(&c, round, frame, CLIENT_WRITE);
		rig_writes(&rig, 0, GVA(3), GPA(3));
		rig_writes(&rig, 1, RIG_WINDOW + GPA(3), GPA(3));
		assert_int_equal(c.told, round);
		assert_int_equal(shadow_enter(rig.svm, 1), VMMU_OK);
		assert_int_equal(vmmu_track_rearm(c.vm, c.id, range), VMMU_OK);
		rig_check(&rig);
	}
	client_leave(&c);
	rig_free(&rig);
}

/* A page table that is unsync when the client comes: its writes come out from then on. */
static void an_unsync_table_can_be_tracked(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct client c = {0};

	(void)state;
	rig_reads(&rig, 0, GVA(1), GPA(1));
	rig_store(&rig, 0, RIG_PT, 1, GPA(6) | RW);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_SHADOW_UNSYNC), 1);
	client_join(&c, rig.svm->vm);
	client_add(&c, RIG_PT, RIG_PT + 1, CLIENT_WRITE);
	rig_store(&rig, 0, RIG_PT, 2, GPA(7) | RW);
	client_was_told(&c, 1, RIG_PT, CLIENT_WRITE);
	shadow_invlpg(rig.svm, 0, GVA(1));
	shadow_invlpg(rig.svm, 0, GVA(2));
	rig_reads(&rig, 0, GVA(1), GPA(6));
	rig_reads(&rig, 0, GVA(2), GPA(7));
	client_remove(&c, RIG_PT, RIG_PT + 1, CLIENT_WRITE);
	rig_store(&rig, 0, RIG_PT, 2, GPA(5) | RW); /* unsync again, or emulated: as it likes */
	assert_int_equal(c.told, 1);
	client_leave(&c);
	rig_free(&rig);
}

/* What is left of the slot when its end is told. */
static void no_leaf_is_left(struct client *c, const struct client_ended *t)
{
	struct vmmu_slot_config slot;

	assert_int_equal(vmmu_slot_find(c->vm, t->space, t->range.start, &slot), VMMU_ENOENT);
	assert_int_equal(vmmu_audit(c->vm, NULL, NULL), 0);
	assert_int_equal(vmmu_track_remove(c->vm, c->id,
					   (struct vmmu_gfn_range){{RIG_HUGE + 5}, {RIG_HUGE + 6}},
					   CLIENT_WRITE),
			 VMMU_ENOENT);
}

/* I14 */
static void the_end_of_a_slot_is_told_once_with_nothing_left_of_it(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct client c = {.on_end = no_leaf_is_left};
	uint64_t gpa = (uint64_t)(RIG_HUGE + 5) << 12;

	(void)state;
	rig_poke(&rig, RIG_PT, 5, gpa | RW);
	client_join(&c, rig.svm->vm);
	client_add(&c, RIG_HUGE + 5, RIG_HUGE + 6, CLIENT_WRITE);
	rig_writes(&rig, 0, GVA(5), gpa);
	client_was_told(&c, 1, RIG_HUGE + 5, CLIENT_WRITE);
	assert_int_equal(shadow_slot_delete(rig.svm, 1), VMMU_OK);
	assert_int_equal(c.ended, 1);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_TRACK_FRAMES), 0);
	assert_int_equal(shadow_slot_create(rig.svm, 1,
					    &(struct shadow_slot){
						    .gfn = RIG_HUGE, .count = 1024, .host = 512}),
			 VMMU_OK);
	rig_writes(&rig, 0, GVA(5), gpa);
	assert_int_equal(c.told, 1);
	assert_int_equal(shadow_slot_move(rig.svm, 1, 0x1000), VMMU_EBUSY);
	client_leave(&c);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tracked_write_comes_out_once_and_is_told),
		cmocka_unit_test(reads_and_fetches_can_be_tracked),
		cmocka_unit_test(a_huge_leaf_over_a_tracked_frame_goes_and_stays_away),
		cmocka_unit_test(a_tracked_page_table_is_told_and_mirrored),
		cmocka_unit_test(accessed_and_dirty_bits_of_a_tracked_table_are_told),
		cmocka_unit_test(one_write_is_told_until_the_client_rearms),
		cmocka_unit_test(an_unsync_table_can_be_tracked),
		cmocka_unit_test(the_end_of_a_slot_is_told_once_with_nothing_left_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
