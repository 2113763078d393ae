/* SPDX-License-Identifier: MIT */
/* Scenarios about tables that are forgotten all at once and taken apart later. */
#include "rig.h"
#include "scenario.h"

#define FORGOTTEN 3u /* pages of the guest in use before */

static void use_some(struct rig *rig, unsigned vcpu)
{
	for (unsigned i = 0; i < FORGOTTEN; i++)
		rig_writes(rig, vcpu, RIG_GVA + 0x1000 * i, rig_gpa(RIG_DATA + i, 0));
}

static void forget(struct rig *rig)
{
	uint64_t zapped = rig_stat(rig, VMMU_STAT_SHADOW_ZAPPED);

	assert_int_equal(vmmu_zap_all_fast(rig->svm->vm), VMMU_OK);
	/* Whatever is mapped: nothing was taken apart for it. */
	assert_int_equal(rig_stat(rig, VMMU_STAT_SHADOW_ZAPPED), zapped);
	rig_check(rig);
}

/* R16, R17 */
void what_is_forgotten_is_found_by_no_vcpu_and_goes_in_steps(void **state)
{
	struct rig rig = rig_new(2, 1);
	uint64_t tables, faults, root, steps = 0;

	(void)state;
	use_some(&rig, 0);
	use_some(&rig, 1);
	tables = rig_stat(&rig, VMMU_STAT_TABLES);
	root = rig_entry(&rig, 0).root.addr;
	shadow_leave(rig.svm, 0);
	assert_int_equal(shadow_enter(rig.svm, 1), VMMU_OK); /* one is in the guest, one is not */
	forget(&rig);
	assert_true(rig_entry(&rig, 0).root.addr != root);
	assert_true(rig_entry(&rig, 1).root.addr != root);
	faults = rig.svm->count.faults;
	use_some(&rig, 0);
	assert_int_equal(rig.svm->count.faults, faults + FORGOTTEN);
	/* All of the old ones, and the new ones of the same frames. */
	assert_true(rig_stat(&rig, VMMU_STAT_TABLES) > tables);
	while (vmmu_work(rig.svm->vm, 1)) {
		steps++;
		rig_check(&rig);
		use_some(&rig, (unsigned)steps & 1);
	}
	assert_true(steps >= tables - 1);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_TABLES), tables);
	assert_false(vmmu_work(rig.svm->vm, 1));
	rig_free(&rig);
}

/* The guest may not write what old tables mirror unseen, and new tables follow what it writes. */
void tables_that_are_forgotten_go_on_following_the_guest(void **state)
{
	struct rig rig = rig_new(2, 1);

	(void)state;
	use_some(&rig, 0);
	for (unsigned round = 0; round < 4; round++) {
		forget(&rig);
		/* Through the table that nobody has mapped anew, and then through a new one. */
		rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 8 + round) << 12 | RW);
		shadow_invlpg(rig.svm, 0, RIG_GVA);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 8 + round, 0));
		rig_store(&rig, 0, RIG_PD, 5, RIG_PT << 12 | RW);
		rig_reads(&rig, 0, UINT64_C(5) << 21, rig_gpa(RIG_DATA + 8 + round, 0));
		rig_reads(&rig, 1, RIG_GVA, rig_gpa(RIG_DATA + 8 + round, 0));
		rig_store(&rig, 0, RIG_PD, 5, 0);
		shadow_flush(rig.svm, 0);
		if (round & 1)
			(void)vmmu_work(rig.svm->vm, 2);
	}
	rig_free(&rig);
}

/* R15: pages that only old tables map are withdrawn from them all the same. */
void pages_go_from_tables_that_are_forgotten(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	use_some(&rig, 0);
	forget(&rig);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_4K) >= FORGOTTEN, true);
	for (unsigned i = 0; i < FORGOTTEN; i++)
		assert_true(shadow_swap_out(rig.svm, RIG_DATA + i));
	rig_check(&rig);
	use_some(&rig, 0);
	/* A slot ends with old tables in it. */
	forget(&rig);
	assert_int_equal(shadow_slot_delete(rig.svm, 0), VMMU_OK);
	rig_check(&rig);
	assert_false(vmmu_work(rig.svm->vm, 100));
	rig_free(&rig);
}

/* Four-entry tables of the vCPU's own, and a root in a hole. */
void tables_of_the_vcpu_are_forgotten_with_the_others(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);

	(void)state;
	rig_poke(&rig, RIG_SPARE, 0, RIG_PD << 12 | 1);
	regs.mode = LINEAR_PAE;
	regs.cr3 = RIG_SPARE << 12;
	regs.pdpte[0] = RIG_PD << 12 | 1;
	for (unsigned round = 0; round < 3; round++) {
		shadow_reset(rig.svm, 0, &regs);
		use_some(&rig, 0);
		forget(&rig);
		use_some(&rig, 0);
		forget(&rig);
		while (vmmu_work(rig.svm->vm, 3))
			use_some(&rig, 0);
		if (round == 1) {
			regs.mode = LINEAR_4_LEVEL;
			regs.cr3 = RIG_PML4 << 12;
		}
	}
	rig_free(&rig);
}

/* Old tables count for the quota, and are the first to go. */
void tables_that_are_forgotten_are_reclaimed_first(void **state)
{
	struct shadow_options options = {
		.machine = {.host_page_count = 2048, .mode = SIM_CPU_ALWAYS_STALE},
		.prefetch = 1,
		.table_quota = 64,
		.own_locks = true,
	};
	struct rig rig = rig_new_of(1, &options);

	(void)state;
	rig.is_bulk = true;
	for (unsigned round = 0; round < 100; round++) {
		use_some(&rig, 0);
		forget(&rig);
	}
	assert_true(rig_stat(&rig, VMMU_STAT_SHADOW_RECLAIMED) > 100);
	assert_true(rig_stat(&rig, VMMU_STAT_TABLES) <= 64 + 8);
	rig_free(&rig);
}

struct lively {
	struct rig *rig;
	unsigned pauses;
};

static void read_meanwhile(struct shadow_vm *svm, void *context)
{
	struct lively *lively = context;

	svm->on_pause = NULL;
	rig_reads(lively->rig, 1, RIG_GVA + 0x7000, rig_gpa(RIG_DATA + 7, 0));
	rig_check(lively->rig);
	svm->on_pause = read_meanwhile;
	lively->pauses++;
}

/* R42, R44: what comes in the pauses of a zap stays, what was there goes. */
void long_zaps_let_the_guest_go_on(void **state)
{
	struct rig rig = rig_new(2, 1);
	struct lively lively = {.rig = &rig};
	struct vmmu_gfn_range range = {{RIG_DATA}, {RIG_DATA + FORGOTTEN}};

	(void)state;
	rig.svm->hook_context = &lively;
	for (unsigned kind = 0; kind < 3; kind++) {
		uint64_t faults;

		use_some(&rig, 0);
		use_some(&rig, 1);
		lively.pauses = 0;
		rig.svm->on_pause = read_meanwhile;
		if (kind == 0)
			assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
		else if (kind == 1)
			assert_int_equal(vmmu_zap_range(rig.svm->vm, 0, range), VMMU_OK);
		else
			assert_int_equal(vmmu_invalidate_begin(rig.svm->vm, 0, range), VMMU_OK);
		rig.svm->on_pause = NULL;
		assert_true(lively.pauses >= FORGOTTEN);
		if (kind == 2)
			assert_int_equal(vmmu_invalidate_end(rig.svm->vm, 0, range), VMMU_OK);
		rig_check(&rig);
		faults = rig.svm->count.faults;
		use_some(&rig, 0);
		assert_int_equal(rig.svm->count.faults, faults + FORGOTTEN);
	}
	rig_free(&rig);
}
