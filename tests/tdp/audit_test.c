/* SPDX-License-Identifier: MIT */
/* The audit in steps, beside everything else that goes on, and what it says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#include "tdp/tdp.h"
#include "vm.h"

/* ---- a VM with many tables ---- */

#define BLOCKS 24u /* 2M blocks with a table each */
#define BLOCK_GFN(i) (0x10000u + (uint64_t)(i)*512u)
#define CHURN_GFN 0x4000000u

static struct sim_vm *many_tables(void)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);

	rig_slot(sim, 0, 0, BLOCK_GFN(0), 512, 0);
	rig_slot(sim, 0, 1, BLOCK_GFN(1), 512, 512);
	for (unsigned i = 0; i < BLOCKS; i++)
		(i < 2 ? rig_write : rig_mmio)(sim, 0, BLOCK_GFN(i) + 3);
	assert_true(rig_stat(sim, VMMU_STAT_TABLES) >= BLOCKS + 3);
	return sim;
}

/* Tables come and go, far away from those that are looked for. */
static void churn(struct sim_vm *sim, unsigned turn)
{
	rig_mmio(sim, 1, CHURN_GFN + turn % 7 * 512);
	if (turn % 3 == 0)
		assert_int_equal(vmmu_zap_range(sim->vm, 0,
						rig_range(CHURN_GFN, CHURN_GFN + turn % 7 * 512)),
				 VMMU_OK);
}

static struct vmmu_sp *table_of_gfn(const struct sim_vm *sim, uint64_t first)
{
	for (uint64_t b = 0; b < vmmu_table_buckets(sim->vm); b++)
		for (struct vmmu_sp *sp = vmmu_table_bucket(sim->vm, b); sp;
		     sp = vmmu_table_next(sp))
			if (sp->role.level == VMMU_LEVEL_4K && sp->gfn.n == first)
				return sp;
	fail_msg("gfn %llx has no table", (unsigned long long)first);
	return NULL;
}

static uint64_t longest_chain(const struct sim_vm *sim)
{
	uint64_t longest = 0;

	for (uint64_t b = 0; b < vmmu_table_buckets(sim->vm); b++) {
		uint64_t length = 0;

		for (const struct vmmu_sp *sp = vmmu_table_bucket(sim->vm, b); sp;
		     sp = vmmu_table_next(sp))
			length++;
		longest = length > longest ? length : longest;
	}
	return longest;
}

/* ---- steps ---- */

/* A finding in the last entry of each block's table. */
struct seen {
	unsigned of_block[BLOCKS];
	unsigned others;
};

static void note_block(void *context, const struct vmmu_finding *finding)
{
	struct seen *seen = context;
	uint64_t block = (finding->gfn.n - BLOCK_GFN(0)) / 512;

	if (finding->invariant == 15 && block < BLOCKS &&
	    finding->gfn.n == BLOCK_GFN(block) + 511 && finding->entry == 0x5000)
		seen->of_block[block]++;
	else
		seen->others++;
}

/* One round in steps, with churn after each. Return: steps. */
static unsigned round_in_steps(struct sim_vm *sim, uint64_t budget, struct seen *seen)
{
	struct vmmu_audit audit = {0};
	uint64_t found = 0;
	unsigned steps = 0;

	while (!audit.rounds) {
		found += vmmu_audit_step(sim->vm, &audit, budget, note_block, seen);
		churn(sim, steps++);
	}
	assert_int_equal(audit.findings, found);
	return steps;
}

static void an_audit_in_steps_sees_every_table_in_one_round(void **state)
{
	static const uint64_t budgets[] = {1, 2, 5, 0, 1000};

	(void)state;
	for (unsigned b = 0; b < 5; b++) {
		struct sim_vm *sim = many_tables();
		struct seen seen = {{0}, 0};
		unsigned steps;

		for (unsigned i = 0; i < BLOCKS; i++)
			atomic_put(&table_of_gfn(sim, BLOCK_GFN(i))->entries[511].raw, 0x5000);
		steps = round_in_steps(sim, budgets[b], &seen);
		for (unsigned i = 0; i < BLOCKS; i++) {
			assert_int_equal(seen.of_block[i], 1);
			atomic_put(&table_of_gfn(sim, BLOCK_GFN(i))->entries[511].raw, 0);
		}
		assert_int_equal(seen.others, 0);
		if (budgets[b] <= 1)
			assert_true(steps >= BLOCKS);
		else if (budgets[b] == 1000)
			assert_int_equal(steps, 1);
		seen = (struct seen){{0}, 0};
		(void)round_in_steps(sim, budgets[b], &seen);
		for (unsigned i = 0; i < BLOCKS; i++)
			assert_int_equal(seen.of_block[i], 0);
		rig_end(sim);
	}
}

/* The index of tables gets more buckets in the middle of a round. */
static void an_audit_in_steps_misses_no_table_when_the_index_grows(void **state)
{
	(void)state;
	for (unsigned grow_at = 0; grow_at < 20; grow_at += 3) {
		struct vmmu_slot_config huge = {
			.id = 9, .base = {UINT64_C(1) << 30}, .count = UINT64_C(1) << 30};
		struct sim_vm *sim = many_tables();
		uint64_t buckets = vmmu_table_buckets(sim->vm);
		struct vmmu_audit audit = {0};
		struct seen seen = {{0}, 0};

		for (unsigned i = 0; i < BLOCKS; i++)
			atomic_put(&table_of_gfn(sim, BLOCK_GFN(i))->entries[511].raw, 0x5000);
		for (unsigned steps = 0; !audit.rounds; steps++) {
			(void)vmmu_audit_step(sim->vm, &audit, 1, note_block, &seen);
			if (steps == grow_at)
				assert_int_equal(vmmu_slot_create(sim->vm, &huge), VMMU_OK);
		}
		assert_true(vmmu_table_buckets(sim->vm) > buckets);
		for (unsigned i = 0; i < BLOCKS; i++) {
			assert_in_range(seen.of_block[i], 1, 2);
			atomic_put(&table_of_gfn(sim, BLOCK_GFN(i))->entries[511].raw, 0);
		}
		rig_end(sim);
	}
}

static void a_step_looks_at_no_more_tables_than_its_budget(void **state)
{
	struct sim_vm *sim = many_tables();
	/* A bucket is finished once it is begun. */
	uint64_t extra = longest_chain(sim) - 1;

	(void)state;
	for (uint64_t budget = 0; budget < 40; budget = budget * 2 + 1) {
		struct vmmu_audit audit = {0};
		uint64_t tables = rig_stat(sim, VMMU_STAT_TABLES), total = 0;

		while (!audit.rounds) {
			uint64_t before = audit.entries, looked;

			assert_int_equal(vmmu_audit_step(sim->vm, &audit, budget, NULL, NULL), 0);
			looked = (audit.entries - before) / VMMU_TABLE_ENTRIES;
			assert_true(looked <= (budget ? budget : 1) + extra);
			assert_true(looked >= 1 || audit.rounds);
			total += looked;
		}
		assert_int_equal(total, tables);
		assert_int_equal(audit.position, 0);
	}
	rig_end(sim);
}

/* ---- what it says ---- */

struct texts {
	char text[1024];
	struct vmmu_finding last;
};

static void note_text(void *context, const struct vmmu_finding *finding)
{
	struct texts *t = context;

	assert_true(strlen(t->text) + strlen(finding->text) + 2 < sizeof(t->text));
	strcat(strcat(t->text, finding->text), "\n");
	t->last = *finding;
}

static void findings_are_sentences_with_the_frame_and_the_entry(void **state)
{
	struct sim_vm *sim = many_tables();
	vmmu_atomic_t *entry = &table_of_gfn(sim, BLOCK_GFN(0))->entries[9].raw;
	struct texts texts = {.text = ""};
	uint64_t steps = rig_stat(sim, VMMU_STAT_AUDIT_STEPS);

	(void)state;
	atomic_put(entry, 0x5000);
	assert_int_equal(vmmu_audit(sim->vm, note_text, &texts), 1);
	assert_string_equal(texts.text, "I15: an empty entry with bits set: gfn 0x10009, level 1, "
					"entry 0x5000\n");
	assert_int_equal(texts.last.invariant, 15);
	assert_int_equal(texts.last.gfn.n, 0x10009);
	assert_int_equal(texts.last.entry, 0x5000);
	assert_int_equal(vmmu_audit(sim->vm, NULL, NULL), 1); /* nobody listens: still counted */
	atomic_put(entry, 0);
	atomic_put(&sim->vm->stats[VMMU_STAT_PAGES_2M],
		   atomic_get(&sim->vm->stats[VMMU_STAT_PAGES_2M]) + 2);
	texts.text[0] = '\0';
	assert_int_equal(vmmu_audit(sim->vm, note_text, &texts), 1);
	assert_string_equal(texts.text, "I16: 2M leaves: kept 2, counted 0\n");
	atomic_put(&sim->vm->stats[VMMU_STAT_PAGES_2M],
		   atomic_get(&sim->vm->stats[VMMU_STAT_PAGES_2M]) - 2);
	assert_int_equal(rig_stat(sim, VMMU_STAT_AUDIT_FINDINGS), 3);
	assert_int_equal(rig_stat(sim, VMMU_STAT_AUDIT_STEPS), steps + 3);
	rig_end(sim);
}

static void an_audit_changes_nothing(void **state)
{
	struct sim_vm *sim = many_tables();
	uint64_t before[VMMU_STAT_COUNT], after[VMMU_STAT_COUNT], sum[2] = {0, 0};
	uint64_t traces = sim->traces;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (uint64_t b = 0; b < vmmu_table_buckets(sim->vm); b++)
			for (const struct vmmu_sp *sp = vmmu_table_bucket(sim->vm, b); sp;
			     sp = vmmu_table_next(sp))
				for (unsigned k = 0; k < VMMU_TABLE_ENTRIES; k++)
					sum[i] = sum[i] * 31 + spte_get(&sp->entries[k]).raw;
		vmmu_stats_read(sim->vm, i ? after : before);
		assert_int_equal(vmmu_audit(sim->vm, NULL, NULL), 0);
	}
	assert_int_equal(sum[0], sum[1]);
	assert_int_equal(after[VMMU_STAT_AUDIT_STEPS]--, before[VMMU_STAT_AUDIT_STEPS] + 1);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(sim->traces, traces);
	rig_end(sim);
}

static void an_empty_vm_is_clean(void **state)
{
	(void)state;
	for (unsigned vcpus = 0; vcpus < 3; vcpus++) {
		struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
		struct sim_vm *sim = rig_new(&options, vcpus);
		struct vmmu_audit audit = {0};

		for (unsigned i = 1; i <= 3; i++) {
			assert_int_equal(vmmu_audit_step(sim->vm, &audit, 1, NULL, NULL), 0);
			assert_int_equal(audit.rounds, i);
		}
		assert_int_equal(audit.entries, 0);
		assert_int_equal(audit.findings, 0);
		rig_end(sim);
	}
}

static void a_dead_vm_can_still_be_audited(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct vmmu_audit audit = {0};
	struct texts texts = {.text = ""};

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_true(sim_vm_write_protect(sim, 5));
	rig_read(sim, 0, 5);
	assert_true(sim_host_write_enable(sim->machine, (sim_hpage_t){5}));
	assert_true(sim_host_migrate(sim->machine, (sim_hpage_t){5}));
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_WRITE), VMMU_OUTCOME_DEAD);
	assert_non_null(vmmu_vm_death(sim->vm));
	assert_int_equal(vmmu_audit_step(sim->vm, &audit, UINT64_MAX, note_text, &texts), 0);
	assert_int_equal(audit.rounds, 1);
	assert_int_equal(audit.entries, 4 * VMMU_TABLE_ENTRIES);
	/* What is found on it is told as on any other. */
	atomic_put(&sim->vm->roots->entries[3].raw, 0x5000);
	assert_int_equal(vmmu_audit(sim->vm, note_text, &texts), 1);
	assert_int_equal(texts.last.invariant, 15);
	atomic_put(&sim->vm->roots->entries[3].raw, 0);
	sim_violations_clear(sim->machine);
	sim_vm_free(sim);
}

/* ---- while others are at work ---- */

static void tell_violation(void *context, const struct vmmu_finding *finding)
{
	struct sim_vm *sim = context;

	sim_violation(sim->machine, "%s", finding->text);
}

static void live_a_little(struct sim_vm *sim, uint64_t dice)
{
	uint64_t gfn = sim_random_below(sim->machine, 1500), value = 0;
	unsigned vcpu = (unsigned)(dice % 3);

	switch (dice % 16) {
	case 0:
		(void)sim_slot_create(sim, 0, (uint16_t)(dice >> 8 & 3), gfn & ~UINT64_C(255), 600,
				      gfn / 2 & ~UINT64_C(255),
				      dice >> 16 & 1 ? VMMU_SLOT_READONLY : 0);
		break;
	case 1:
		(void)sim_slot_delete(sim, 0, (uint16_t)(dice >> 8 & 3));
		break;
	case 2:
		(void)sim_vm_swap_out(sim, gfn);
		break;
	case 3:
		(void)sim_vm_migrate(sim, gfn);
		break;
	case 4:
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(gfn, gfn + 300)), VMMU_OK);
		break;
	case 5:
		if (dice >> 8 & 1)
			assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
		break;
	default:
		value = oracle_fresh_value(sim->oracle);
		(void)sim_vm_access(sim, vcpu, gfn << VMMU_PAGE_SHIFT,
				    dice >> 8 & 1 ? SIM_WRITE : SIM_READ, &value);
		break;
	}
}

static void a_sampling_audit_beside_a_random_life_stays_clean(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct vmmu_audit audit = {0};
		struct sim_vm *sim;

		options.machine.mode = SIM_CPU_RANDOM;
		options.vm.max_leaf = VMMU_LEVEL_2M;
		options.vm.prefetch = 8;
		options.run_level = SIM_LEVEL_2M;
		sim = rig_new(&options, 3);
		for (unsigned i = 0; i < 6000; i++) {
			live_a_little(sim, sim_random(sim->machine));
			(void)vmmu_audit_step(sim->vm, &audit, 2, tell_violation, sim);
			rig_no_violation(sim);
		}
		assert_true(audit.rounds > 100 && audit.entries > 100000);
		assert_true(sim->memory > 300 && sim->mmio > 300);
		assert_true(rig_stat(sim, VMMU_STAT_ZAPPED) > 100);
		rig_end(sim);
	}
}

/* Somebody else's audit runs whenever a long operation lets others in. */
static void audit_now(struct sim_vm *sim, void *context)
{
	unsigned *audits = context;

	++*audits;
	(void)vmmu_audit(sim->vm, tell_violation, sim);
}

static struct sim_vm *audited_at_each_pause(unsigned *audits)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	rig_slot(sim, 0, 0, 0, 1200, 0);
	for (uint64_t gfn = 0; gfn < 1200; gfn += 40)
		rig_write(sim, 0, gfn);
	for (uint64_t gfn = 2000; gfn < 2010; gfn++)
		rig_mmio(sim, 0, gfn);
	sim->on_yield = audit_now;
	sim->hook_context = audits;
	sim->options.eager_yield = true;
	return sim;
}

static void an_audit_in_the_pauses_of_a_zap_finds_nothing(void **state)
{
	unsigned audits = 0;
	struct sim_vm *sim = audited_at_each_pause(&audits);

	(void)state;
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(100, 1100)), VMMU_OK);
	assert_true(audits > 100);
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
	rig_end(sim);
}

static void an_audit_in_the_pauses_of_an_invalidation_finds_nothing(void **state)
{
	unsigned audits = 0;
	struct sim_vm *sim = audited_at_each_pause(&audits);

	(void)state;
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(100, 600)), VMMU_OK);
	assert_in_range(audits, 50, 10000);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(100, 600)), VMMU_OK);
	audits = 0;
	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, 0x258000, 0x44c000), VMMU_OK);
	assert_in_range(audits, 50, 10000);
	assert_int_equal(vmmu_invalidate_host_end(sim->vm, 0x258000, 0x44c000), VMMU_OK);
	rig_end(sim);
}

static void an_audit_in_the_pauses_of_a_slot_deletion_finds_nothing(void **state)
{
	unsigned audits = 0;
	struct sim_vm *sim = audited_at_each_pause(&audits);

	(void)state;
	assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
	assert_true(audits > 100);
	rig_end(sim);
}

/* Generations start over while old device entries are still in a root on its way out. */
static void an_audit_in_the_pauses_of_a_generation_wrap_finds_nothing(void **state)
{
	unsigned audits = 0;
	struct sim_vm *sim = audited_at_each_pause(&audits);

	(void)state;
	while ((vmmu_slot_generation(sim->vm, 0) & 0xf) != 14) {
		if (oracle_find_id(sim->oracle, 0, 5))
			assert_int_equal(sim_slot_delete(sim, 0, 5), VMMU_OK);
		else
			rig_slot(sim, 0, 5, 5000, 10, 1500);
	}
	rig_no_violation(sim);
	/* Entries of generation 0, as they were before the first change. */
	for (unsigned k = 0; k < 10; k++) {
		vmmu_atomic_t *raw = &table_of_gfn(sim, 1536)->entries[2000 - 1536 + k].raw;

		assert_int_equal(spte_kind((vmmu_spte_t){atomic_get(raw)}), VMMU_KIND_MMIO);
		atomic_put(raw, vmmu_spte_mmio(&sim->vm->fmt, 0).raw);
	}
	audits = 0;
	rig_slot(sim, 0, 1, 1990, 40, 1600);
	assert_true(audits > 30);
	rig_no_violation(sim);
	rig_write(sim, 0, 2003);
	rig_end(sim);
}

/* What lies between two invalidations is not being taken away. */
static void a_leaf_between_two_invalidations_is_no_finding(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_write(sim, 0, 5);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(0, 2)), VMMU_OK);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(9, 12)), VMMU_OK);
	(void)vmmu_audit(sim->vm, tell_violation, sim);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(0, 2)), VMMU_OK);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(9, 12)), VMMU_OK);
	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, 0, 0x2000), VMMU_OK);
	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, 0x9000, 0xc000), VMMU_OK);
	(void)vmmu_audit(sim->vm, tell_violation, sim);
	assert_int_equal(vmmu_invalidate_host_end(sim->vm, 0, 0x2000), VMMU_OK);
	assert_int_equal(vmmu_invalidate_host_end(sim->vm, 0x9000, 0xc000), VMMU_OK);
	assert_int_equal(rig_reachable(sim, 0, 5), 1);
	rig_end(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_audit_in_steps_sees_every_table_in_one_round),
		cmocka_unit_test(an_audit_in_steps_misses_no_table_when_the_index_grows),
		cmocka_unit_test(a_step_looks_at_no_more_tables_than_its_budget),
		cmocka_unit_test(findings_are_sentences_with_the_frame_and_the_entry),
		cmocka_unit_test(an_audit_changes_nothing),
		cmocka_unit_test(an_empty_vm_is_clean),
		cmocka_unit_test(a_dead_vm_can_still_be_audited),
		cmocka_unit_test(a_sampling_audit_beside_a_random_life_stays_clean),
		cmocka_unit_test(an_audit_in_the_pauses_of_a_zap_finds_nothing),
		cmocka_unit_test(an_audit_in_the_pauses_of_an_invalidation_finds_nothing),
		cmocka_unit_test(an_audit_in_the_pauses_of_a_slot_deletion_finds_nothing),
		cmocka_unit_test(an_audit_in_the_pauses_of_a_generation_wrap_finds_nothing),
		cmocka_unit_test(a_leaf_between_two_invalidations_is_no_finding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
