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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tracked_write_comes_out_once_and_is_told),
		cmocka_unit_test(reads_and_fetches_can_be_tracked),
		cmocka_unit_test(a_huge_leaf_over_a_tracked_frame_goes_and_stays_away),
		cmocka_unit_test(a_tracked_page_table_is_told_and_mirrored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
