/* SPDX-License-Identifier: MIT */
/* Scenarios about what happens in the middle of something else, or behind the library's back. */
#include "rig.h"
#include "scenario.h"

/* ---- another vCPU writes while this one's fault is being resolved ---- */

struct race {
	unsigned calls, fire_at; /* the write happens at this call of the port */
	uint64_t frame, entry;   /* entry 0 of this table becomes this */
	bool wrote;
};

static void write_in_the_middle(struct shadow_vm *svm, void *context)
{
	struct race *race = context;
	uint64_t gpa = rig_gpa(race->frame, 0);

	if (race->calls++ == race->fire_at)
		race->wrote = shadow_race_write(svm, 1, RIG_WINDOW + gpa, gpa, race->entry);
}

/*
 * vCPU 1 is in the guest and holds a writable translation of the table at @frame, which nothing
 * mirrors yet; it writes entry 0 when vCPU 0's fault has got as far as @fire_at.
 * Return: whether it could.
 */
static bool race_once(bool wp, uint64_t frame, uint64_t entry, unsigned fire_at, uint64_t new_gpa)
{
	struct rig rig = rig_new(2, 1);
	struct race race = {.fire_at = fire_at, .frame = frame, .entry = entry};
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	struct shadow_result r;
	uint64_t above;

	regs.wp = wp;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));

	/* vCPU 1 has tables of its own, with the window in them and nothing else in common. */
	rig_poke(&rig, RIG_SPARE, 0, (RIG_SPARE + 1) << 12 | RW);
	rig_poke(&rig, RIG_SPARE + 1, 0, (RIG_SPARE + 2) << 12 | RW);
	rig_poke(&rig, RIG_SPARE + 2, 1, RIG_WINDOW_PT << 12 | KERNEL);
	assert_true(shadow_mov_cr3(rig.svm, 1, RIG_SPARE << 12));
	rig_poke(&rig, RIG_SPARE + 3, 0, (RIG_DATA + 6) << 12 | RW); /* a PT to change to */
	rig_poke(&rig, RIG_SPARE + 4, 0, (RIG_SPARE + 3) << 12 | RW);
	/* The tables above are mirrored already: making them would call vCPU 1 out of the guest. */
	rig_poke(&rig, RIG_PML4, 1, (RIG_SPARE + 1) << 12 | RW);
	rig_poke(&rig, RIG_PDPT, 1, (RIG_SPARE + 2) << 12 | RW);
	above = frame == RIG_PDPT ? UINT64_C(1) << 39 : frame == RIG_PD ? UINT64_C(1) << 30 : 0;
	rig_reads(&rig, 0, above + RIG_WINDOW + rig_gpa(RIG_DATA, 0), rig_gpa(RIG_DATA, 0));
	rig_store(&rig, 1, frame, 511, 0);
	assert_int_equal(shadow_enter(rig.svm, 1), VMMU_OK);
	rig.svm->on_guest_map = write_in_the_middle;
	rig.svm->hook_context = &race;
	r = rig_access(&rig, 0, RIG_GVA, LINEAR_READ, LINEAR_SUPERVISOR);
	rig.svm->on_guest_map = NULL;
	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_true(r.gpa == new_gpa || r.gpa == rig_gpa(RIG_DATA, 0));
	/* Once flushed there is one answer. */
	shadow_invlpg(rig.svm, 0, RIG_GVA);
	rig_reads(&rig, 0, RIG_GVA, race.wrote ? new_gpa : rig_gpa(RIG_DATA, 0));
	/* And as long as nobody flushes no table in sync says anything else. */
	rig_free(&rig);
	return race.wrote;
}

/* R31: at each moment at which the library looks at the guest's tables, at each level. */
void an_entry_changed_between_walk_and_installation_is_noticed(void **state)
{
	const struct {
		uint64_t frame, entry, gpa;
	} changes[] = {
		{RIG_PT, (RIG_DATA + 5) << 12 | RW, rig_gpa(RIG_DATA + 5, 0)},
		{RIG_PD, (RIG_SPARE + 3) << 12 | RW, rig_gpa(RIG_DATA + 6, 0)},
		{RIG_PDPT, (RIG_SPARE + 4) << 12 | RW, rig_gpa(RIG_DATA + 6, 0)},
	};

	(void)state;
	/* Without CR0.WP tables are linked alone, with it side by side with others. */
	for (unsigned c = 0; c < 2 * sizeof(changes) / sizeof(changes[0]); c++) {
		unsigned wrote = 0;

		for (unsigned at = 0; at < 24; at++)
			wrote += race_once(c & 1, changes[c / 2].frame, changes[c / 2].entry, at,
					   changes[c / 2].gpa);
		/* Before the walk, in it, and after it; then the frame is write-protected. */
		assert_true(wrote >= 3);
	}
}

/* ---- behind the library's back ---- */

/* R18: the linked table is that of another frame than the guest's entry names now. */
void an_entry_changed_by_nobody_knows_whom_gets_its_own_table(void **state)
{
	struct rig rig = rig_new(2, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	const uint64_t other = UINT64_C(2) << 21;
	uint64_t pages;

	(void)state;
	/* Keys without CR0.WP: each fault walks all of the guest's tables. */
	regs.wp = false;
	regs.pke = true;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 8; i++)
		rig_poke(&rig, RIG_SPARE, i, (RIG_DATA + 16 + i) << 12 | RW);
	rig_poke(&rig, RIG_PD, 2, RIG_PT << 12 | RW);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	rig_reads(&rig, 0, other, rig_gpa(RIG_DATA, 0));
	rig_smuggle(&rig, RIG_PD, 0, RIG_SPARE << 12 | RW);
	shadow_flush(rig.svm, 0);
	/* A page that was never touched: the fault goes down the guest's new path. */
	rig_reads(&rig, 0, RIG_GVA + 0x5000, rig_gpa(RIG_DATA + 16 + 5, 0));
	/* The old table has not got what belongs into the new one. */
	rig_reads(&rig, 0, other + 0x5000, rig_gpa(RIG_DATA + 5, 0));
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 16, 0));
	/* Every leaf is found again: by the host ... */
	for (unsigned i = 0; i < 8; i++)
		assert_true(shadow_migrate(rig.svm, RIG_DATA + 16 + i));
	rig_reads(&rig, 0, RIG_GVA + 0x5000, rig_gpa(RIG_DATA + 16 + 5, 0));
	/* ... and by the end of the slot, after which the host finds nothing. */
	pages = rig_stat(&rig, VMMU_STAT_PAGES_4K);
	assert_true(pages > 0);
	assert_int_equal(shadow_slot_delete(rig.svm, 0), VMMU_OK);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_PAGES_4K), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_true(shadow_migrate(rig.svm, RIG_DATA + 16 + i));
	rig_free(&rig);
}

/* R12: a device becomes memory on one CPU while the other still uses the device. */
void a_device_that_becomes_memory_is_memory_after_the_flush(void **state)
{
	struct rig rig = rig_new(2, 8);

	(void)state;
	rig_poke(&rig, RIG_PT, 4, (uint64_t)RIG_HOLE << 12 | RW);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t gva = RIG_GVA + 0x4000;
		struct shadow_result r;

		for (unsigned v = 0; v < 2; v++)
			for (unsigned i = 0; i < 3; i++)
				assert_int_equal(
					rig_access(&rig, v, gva, LINEAR_READ, LINEAR_USER).end,
					SHADOW_MMIO);
		rig_store(&rig, 1, RIG_PT, 4, (RIG_DATA + 4) << 12 | RW);
		r = rig_access(&rig, 0, gva, LINEAR_READ, LINEAR_USER); /* either */
		assert_true(r.end == SHADOW_MMIO || r.end == SHADOW_MEMORY);
		if (round & 1)
			shadow_invlpg(rig.svm, 0, gva);
		else
			assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
		rig_writes(&rig, 0, gva, rig_gpa(RIG_DATA + 4, 0));
		rig_store(&rig, 0, RIG_PT, 4, (uint64_t)RIG_HOLE << 12 | RW);
		shadow_invlpg(rig.svm, 0, gva);
		shadow_invlpg(rig.svm, 1, gva);
	}
	rig_free(&rig);
}
