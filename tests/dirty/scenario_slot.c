/* SPDX-License-Identifier: MIT */
/* When logging begins and ends, what slots do meanwhile, and the rules. */
#include "scenario.h"

#include <string.h>

#include "vm.h"

#define BASE LAB_BASE
#define LOG ((uint32_t)VMMU_SLOT_LOG)

static uint64_t huge_leaves(struct lab *lab)
{
	return lab_stat(lab, VMMU_STAT_PAGES_2M) + lab_stat(lab, VMMU_STAT_PAGES_1G);
}

/* A VM whose host memory, and whose guest's pages, are of this size; the slot does not log. */
static struct lab *huge_lab(enum lab_engine engine, enum sim_level level)
{
	struct lab_options options = {.run_level = level};
	struct lab *lab;

	options.pages = level == SIM_LEVEL_1G ? LAB_GIGABYTE : 4096;
	lab = lab_new(engine, &options);
	lab->window = level == SIM_LEVEL_1G ? LAB_1G : LAB_2M;
	lab_slot(lab, 0, BASE, options.pages, 0, 0);
	return lab;
}

/* A look that tells at least these two. */
static void tells_both(struct lab *lab, uint64_t a, uint64_t b)
{
	const uint64_t frames[] = {a, b};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t bitmap = 0;

		assert_int_equal(lab_look(lab, 0, frames[i], 1, &bitmap, NULL), VMMU_OK);
		assert_int_equal(bitmap, 1);
	}
}

void small_leaves_stay_when_logging_begins(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		uint64_t pages;

		lab_slot(lab, 0, BASE, 128, 0, 0);
		lab_write(lab, 0, BASE + 3);
		lab_write(lab, 1, BASE + 90);
		lab_read(lab, 0, BASE + 5);
		lab_leave(lab, 1);
		pages = lab_stat(lab, VMMU_STAT_PAGES_4K);
		lab_flags(lab, 0, LOG);
		lab_check(lab);
		assert_int_equal(lab_stat(lab, VMMU_STAT_PAGES_4K), pages);
		lab_read_quietly(lab, 0, BASE + 3);
		lab_read_quietly(lab, 0, BASE + 5);
		lab_read_quietly(lab, 1, BASE + 90);
		/* CPUs that can write without a walk: one in the guest, one outside. */
		lab_write(lab, 0, BASE + 3);
		lab_write(lab, 1, BASE + 90);
		tells_both(lab, 3, 90);
		LAB_TELLS_NOTHING(lab, 0);
		lab_write(lab, 1, BASE + 3);
		LAB_TELLS(lab, 0, 3);
		/* Once more is no change. */
		lab_write(lab, 0, BASE + 5);
		lab_flags(lab, 0, LOG);
		lab_flags(lab, 0, LOG | VMMU_SLOT_SMALL);
		lab_write(lab, 0, BASE + 6);
		lab_flags(lab, 0, LOG);
		assert_int_equal(lab_flags_of(lab, BASE), LOG);
		LAB_TELLS(lab, 0, 5, 6);
		lab_end(lab);
	}
}

/* A CPU that goes on with a huge translation would set one flag for all that it writes there. */
static void no_cpu_is_huge(struct lab *lab, uint64_t gfn)
{
	for (unsigned vcpu = 0; vcpu < lab->options.vcpus && lab->sim; vcpu++) {
		struct sim_result r;

		lab_enter(lab, vcpu);
		r = sim_cpu_access(sim_machine_cpu(lab->machine, vcpu),
				   (sim_gpa_t){gfn << VMMU_PAGE_SHIFT}, SIM_READ);
		assert_int_equal(r.outcome, SIM_OK);
		assert_int_equal(r.level, SIM_LEVEL_4K);
	}
}

static void begin_on_huge(enum lab_engine engine, enum sim_level level, bool written)
{
	struct lab *lab = huge_lab(engine, level);
	uint64_t far = level == SIM_LEVEL_1G ? 200000 : 500;

	lab_read(lab, 0, BASE + 5);
	if (written)
		lab_write(lab, 0, BASE + 5);
	lab_read(lab, 1, BASE + far);
	assert_int_equal(
		lab_stat(lab, level == SIM_LEVEL_1G ? VMMU_STAT_PAGES_1G : VMMU_STAT_PAGES_2M), 1);
	lab_enter(lab, 0);
	lab_leave(lab, 1);
	lab_flags(lab, 0, LOG);
	lab_check(lab);
	assert_int_equal(huge_leaves(lab), 0);
	no_cpu_is_huge(lab, BASE + 5);
	if (lab->sim) {
		lab_read_quietly(lab, 0, BASE + 5);
		lab_read_quietly(lab, 0, BASE + 300);
		lab_read_quietly(lab, 1, BASE + far);
	}
	/* What was dirty before may be told, a page that was only read not. A format without dirty
	 * flags does not know. */
	if (written || engine == LAB_EPT_PLAIN)
		lab_forget(lab, 0);
	LAB_TELLS_NOTHING(lab, 0);
	lab_read(lab, 0, BASE + 7);
	lab_read(lab, 0, BASE + far);
	LAB_TELLS_NOTHING(lab, 0);
	lab_write(lab, 0, BASE + 6);
	lab_write(lab, 1, BASE + far);
	assert_int_equal(huge_leaves(lab), 0);
	LAB_TELLS(lab, 0, 6, far);
	LAB_TELLS_NOTHING(lab, 0);
	lab_end(lab);
}

void huge_leaves_become_small_when_logging_begins(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (enum sim_level level = SIM_LEVEL_2M; level <= SIM_LEVEL_1G; level++) {
			begin_on_huge(engine, level, false);
			begin_on_huge(engine, level, true);
		}
}

void a_cpu_that_knows_a_huge_page_does_not_write_unseen(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = huge_lab(engine, SIM_LEVEL_2M);

		lab_write(lab, 0, BASE + 5);
		lab_write(lab, 1, BASE + 512 + 5);
		/* Clean in the tables; both CPUs can still write at once. */
		assert_int_equal(vmmu_harvest_dirty(lab->vm, 0, lab_range(0, 2 * BASE), NULL, NULL),
				 VMMU_OK);
		lab_write(lab, 0, BASE + 5);
		lab_write(lab, 1, BASE + 512 + 5);
		lab_enter(lab, 0);
		lab_leave(lab, 1);
		lab_flags(lab, 0, LOG);
		lab_check(lab);
		lab_write(lab, 0, BASE + 9);
		lab_write(lab, 1, BASE + 512 + 9);
		tells_both(lab, 9, 512 + 9);
		/* Each of the small pages for itself. */
		lab_forget(lab, 0);
		lab_write(lab, 0, BASE + 5);
		lab_write(lab, 1, BASE + 512 + 7);
		LAB_TELLS(lab, 0, 5, 512 + 7);
		lab_end(lab);
	}
}

void huge_pages_come_back_when_logging_ends(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = huge_lab(engine, SIM_LEVEL_2M);

		for (unsigned round = 0; round < 3; round++) {
			lab_write(lab, 0, BASE + 5);
			assert_int_equal(huge_leaves(lab), 1);
			lab_flags(lab, 0, LOG);
			lab_write(lab, 0, BASE + 5);
			lab_read(lab, 1, BASE + 400);
			assert_int_equal(huge_leaves(lab), 0);
			assert_int_equal(lab_flags_of(lab, BASE), LOG);
			lab_flags(lab, 0, 0);
			assert_int_equal(lab_stat(lab, VMMU_STAT_PAGES_4K), 0);
			assert_int_equal(lab_look(lab, 0, 0, 0, NULL, NULL), VMMU_ENOENT);
		}
		lab_end(lab);
	}
}

void a_slot_can_log_from_its_creation(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab_options options = {.run_level = SIM_LEVEL_2M};
		struct lab *lab = lab_new(engine, &options);

		lab->window = LAB_2M;
		lab_slot(lab, 0, BASE, 1024, 0, LOG);
		lab_slot(lab, 1, BASE + 1024, 512, 1024, LOG | VMMU_SLOT_READONLY);
		lab_read(lab, 0, BASE + 8);
		lab_write(lab, 0, BASE + 9);
		lab_write(lab, 1, BASE + 1023);
		lab_read(lab, 0, BASE + 1024);
		assert_int_equal(huge_leaves(lab), 0);
		LAB_TELLS(lab, 0, 9, 1023);
		/* ROM: the host may write it. */
		assert_int_equal(vmmu_dirty_mark(lab->vm, 0, lab_range(BASE + 1026, BASE + 1027)),
				 VMMU_OK);
		LAB_TELLS(lab, 1, 2);
		LAB_TELLS_NOTHING(lab, 0);
		lab_end(lab);
	}
}

void a_slot_that_comes_back_has_no_old_bits(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (unsigned way = 0; way < 4; way++) {
			struct lab *lab = lab_new(engine, NULL);

			lab_slot(lab, 0, BASE, 100, 0, way & 1 ? LOG : 0);
			for (uint64_t i = 0; i < 100; i += 3)
				lab_write(lab, i & 1, BASE + i);
			assert_int_equal(
				vmmu_dirty_mark(lab->vm, 0, lab_range(BASE + 50, BASE + 55)),
				VMMU_OK);
			/* What was written stands in tables that wait to be taken apart. */
			if (way & 2)
				assert_int_equal(vmmu_zap_all_fast(lab->vm), VMMU_OK);
			lab_slot_delete(lab, 0);
			/* Another number, another place in it, the same frames. */
			lab_slot(lab, 1, BASE - 3, 100, 0, LOG);
			LAB_TELLS_NOTHING(lab, 1);
			while (vmmu_work(lab->vm, 1))
				;
			for (uint64_t i = 0; i < 90; i++)
				lab_read(lab, 0, BASE + i);
			LAB_TELLS_NOTHING(lab, 1);
			lab_write(lab, 0, BASE + 6);
			LAB_TELLS(lab, 1, 9);
			lab_end(lab);
		}
}

void logging_that_ends_forgets(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 100, 0, LOG);
		for (unsigned round = 0; round < 3; round++) {
			lab_write(lab, 0, BASE + 5);
			lab_write(lab, 1, BASE + 66);
			assert_int_equal(
				vmmu_dirty_mark(lab->vm, 0, lab_range(BASE + 9, BASE + 10)),
				VMMU_OK);
			lab_flags(lab, 0, round & 1 ? VMMU_SLOT_SMALL : 0);
			/* Nobody logs this. */
			assert_int_equal(
				vmmu_dirty_mark(lab->vm, 0, lab_range(BASE + 11, BASE + 12)),
				VMMU_OK);
			lab_flags(lab, 0, LOG);
			LAB_TELLS_NOTHING(lab, 0);
			lab_write(lab, 0, BASE + 5);
			LAB_TELLS(lab, 0, 5);
		}
		lab_end(lab);
	}
}

void a_slot_that_logs_does_not_move(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 64, 0, LOG);
		lab_write(lab, 0, BASE + 5);
		assert_int_equal(vmmu_slot_move(lab->vm, 0, 0, (vmmu_gfn_t){BASE + 64}),
				 VMMU_EBUSY);
		assert_int_equal(vmmu_slot_move(lab->vm, 0, 0, (vmmu_gfn_t){BASE}), VMMU_OK);
		LAB_TELLS(lab, 0, 5);
		lab_flags(lab, 0, 0);
		assert_int_equal(lab->svm ? shadow_slot_move(lab->svm, 0, BASE + 64)
					  : sim_slot_move(lab->sim, 0, 0, BASE + 64),
				 VMMU_OK);
		lab_flags(lab, 0, LOG);
		lab_write(lab, 0, BASE + 64 + 5);
		LAB_TELLS(lab, 0, 5);
		lab_end(lab);
	}
}

static enum vmmu_error flags(struct lab *lab, unsigned space, uint16_t id, uint32_t value)
{
	return vmmu_slot_set_flags(lab->vm, space, id, value);
}

void rules_of_the_log_are_checked(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct vmmu_slot_config config = {.id = 3, .base = {BASE + 4096}, .count = 1};
		struct vmmu_slot_part part = {.space = VMMU_SPACES_MAX, .id = 0};
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 300, 0, LOG);
		lab_slot(lab, 1, BASE + 300, 10, 300, VMMU_SLOT_SMALL);
		lab_write(lab, 0, BASE + 299);
		assert_int_equal(lab_look(lab, 2, 0, 0, NULL, NULL), VMMU_ENOENT);
		assert_int_equal(lab_look(lab, 1, 0, 0, NULL, NULL), VMMU_ENOENT);
		assert_int_equal(lab_look(lab, VMMU_SLOTS_MAX, 0, 0, NULL, NULL), VMMU_ENOENT);
		assert_int_equal(vmmu_dirty_log(lab->vm, &part, NULL, NULL), VMMU_EINVAL);
		part.space = UINT32_MAX;
		assert_int_equal(vmmu_dirty_log(lab->vm, &part, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 0, 301, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 299, 2, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 301, 0, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 300, 1, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, UINT64_MAX, 2, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 10, UINT64_MAX - 9, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(lab_look(lab, 0, 10, UINT64_MAX, NULL, NULL), VMMU_EINVAL);
		assert_int_equal(flags(lab, 0, 0, LOG | 8), VMMU_EINVAL);
		assert_int_equal(flags(lab, 0, 0, LOG | VMMU_SLOT_READONLY), VMMU_EINVAL);
		assert_int_equal(flags(lab, 0, 2, LOG), VMMU_ENOENT);
		assert_int_not_equal(flags(lab, VMMU_SPACES_MAX, 0, LOG), VMMU_OK);
		config.flags = LOG | 8;
		assert_int_equal(vmmu_slot_create(lab->vm, &config), VMMU_EINVAL);
		assert_int_equal(lab_flags_of(lab, BASE), LOG);
		assert_int_equal(lab_flags_of(lab, BASE + 300), VMMU_SLOT_SMALL);
		LAB_TELLS(lab, 0, 299);
		lab_end(lab);
	}
}

void a_dead_vm_tells_nothing(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		struct vmmu_task task = {.vm = lab->vm};

		lab_slot(lab, 0, BASE, 64, 0, LOG);
		lab_slot(lab, 1, BASE + 64, 64, 64, 0);
		lab_write(lab, 0, BASE + 5);
		vmmu_section_begin(&task);
		/* It would be a violation. */
		*(lab->svm ? &lab->svm->port.log : &lab->sim->port.log) = NULL;
		vmmu_vm_kill(&task, "for the test", 0, 0);
		vmmu_section_end(&task);
		assert_int_equal(lab_look(lab, 0, 0, 0, NULL, NULL), VMMU_EDEAD);
		assert_int_equal(flags(lab, 0, 1, LOG), VMMU_EDEAD);
		assert_int_equal(flags(lab, 0, 0, 0), VMMU_EDEAD);
		assert_int_equal(vmmu_slot_delete(lab->vm, 0, 0), VMMU_EDEAD);
		/* It has no such answer, and must do no harm. */
		assert_int_equal(vmmu_dirty_mark(lab->vm, 0, lab_range(BASE, BASE + 64)), VMMU_OK);
		lab_end(lab);
	}
}

/* The n-th allocation, alone or with all that follow. Return: false once there are fewer. */
static bool begins_without_memory(enum lab_engine engine, enum sim_level level, uint64_t nth,
				  uint64_t count)
{
	struct lab *lab = huge_lab(engine, level);
	uint64_t asked, small;
	enum vmmu_error error;
	bool hit;

	lab_write(lab, 0, BASE + 5);
	lab_write(lab, 1, BASE + 512 + 5);
	lab_enter(lab, 0);
	small = lab_stat(lab, VMMU_STAT_PAGES_4K);
	asked = sim_ram_table_allocs(lab->machine);
	sim_ram_fail_tables(lab->machine, nth, count);
	error = flags(lab, 0, 0, LOG);
	hit = sim_ram_table_allocs(lab->machine) - asked >= nth;
	sim_ram_fail_tables(lab->machine, 0, 0);
	lab_check(lab);
	if (error == VMMU_ENOMEM) {
		assert_true(hit);
		assert_int_equal(lab_flags_of(lab, BASE), 0);
		assert_int_equal(lab_look(lab, 0, 0, 0, NULL, NULL), VMMU_ENOENT);
		assert_int_equal(huge_leaves(lab), level == SIM_LEVEL_4K ? 0 : 2);
		assert_int_equal(lab_stat(lab, VMMU_STAT_PAGES_4K), small);
		lab_read_quietly(lab, 0, BASE + 5);
		lab_read_quietly(lab, 1, BASE + 512 + 5);
		lab_flags(lab, 0, LOG);
	} else {
		assert_int_equal(error, VMMU_OK);
	}
	assert_int_equal(huge_leaves(lab), 0);
	lab_write(lab, 0, BASE + 9);
	lab_write(lab, 1, BASE + 512 + 9);
	tells_both(lab, 9, 512 + 9);
	lab_forget(lab, 0);
	lab_write(lab, 0, BASE + 8);
	lab_write(lab, 1, BASE + 512 + 9);
	LAB_TELLS(lab, 0, 8, 512 + 9);
	lab_end(lab);
	return hit;
}

void logging_begins_whatever_allocation_fails(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (enum sim_level level = SIM_LEVEL_4K; level <= SIM_LEVEL_2M; level++) {
			uint64_t alone = 0, lasting = 0;

			while (begins_without_memory(engine, level, alone + 1, 1))
				alone++;
			while (begins_without_memory(engine, level, lasting + 1, UINT64_MAX))
				lasting++;
			print_message("# engine %d, level %d: %llu failures alone, %llu lasting\n",
				      (int)engine, (int)level, (unsigned long long)alone,
				      (unsigned long long)lasting);
			assert_true(alone > 0 && lasting > 0);
		}
}

/* ---- I1 ---- */

static void note(void *context, const struct vmmu_finding *finding)
{
	unsigned *found = context;

	assert_int_equal(finding->invariant, 1);
	assert_non_null(strstr(finding->text, "larger than slot or configuration allow"));
	assert_true(finding->gfn.n == BASE || finding->gfn.n == BASE + 512);
	++*found;
}

/* Broken from the inside: the slot says that it logs, and nobody has split anything. */
void a_huge_leaf_in_a_slot_that_logs_is_a_finding(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (enum sim_level level = SIM_LEVEL_2M; level <= SIM_LEVEL_1G; level++) {
			struct lab *lab = huge_lab(engine, level);
			struct vmmu_slot_set *set = vmmu_slots_now(&lab->vm->spaces[0]);
			struct vmmu_slot *slot;
			unsigned found = 0;

			lab_write(lab, 0, BASE + 5);
			lab_read(lab, 1, BASE + 512);
			lab_check(lab);
			/* The tables of the guest under shadow paging come first. */
			slot = &set->chunk[0]->slots[lab->svm ? 1 : 0];
			assert_int_equal(slot->base.n, BASE);
			slot->flags |= VMMU_SLOT_LOG;
			assert_int_equal(vmmu_audit(lab->vm, note, &found), huge_leaves(lab));
			assert_int_equal(found, huge_leaves(lab));
			assert_true(found > 0);
			slot->flags = 0;
			lab_end(lab);
		}
}
