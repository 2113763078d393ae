/* SPDX-License-Identifier: MIT */
/*
 * linear_soak_test.c - the linear CPU plays the guest's real hardware: it walks the guest's own
 * tables, and the oracle must find each of its answers, marks included, right. Guests rewrite
 * tables at all levels with and without the flushes they owe, switch CR3, PCID and registers.
 */
#include "linear_rig.h"

#define STEPS 100000u
#define POOL 3u
#define CPUS 2u
#define ROOT_COUNT 2u
#define FRAME_COUNT 6u

struct soak {
	struct linear_rig rig;
	struct linear_cpu *cpu[CPUS];
	sim_pfn_t root[ROOT_COUNT];
	sim_pfn_t table[SIM_LEVEL_PML5 + 1][POOL];
	sim_pfn_t frame[FRAME_COUNT];
	uint64_t stale, several, granted, faulted, wrong;
	bool forgets; /* the CPUs miss some flushes: the oracle must see it */
};

static uint64_t roll(struct soak *soak, uint64_t bound)
{
	return sim_random_below(soak->rig.machine, bound);
}

static unsigned top_of(const struct soak *soak)
{
	return soak->rig.regs.mode == LINEAR_PAE       ? 2
	       : soak->rig.regs.mode == LINEAR_4_LEVEL ? 4
						       : 5;
}

/* Few addresses, so that they share entries of all levels. */
static uint64_t pick_gva(struct soak *soak)
{
	static const uint64_t offset[] = {0x000, 0x1000, 0x1008, 0x200000, 0x201000, 0x40000000};
	uint64_t gva = offset[roll(soak, 6)];

	if (soak->rig.regs.mode != LINEAR_PAE && roll(soak, 3) == 0)
		gva |= UINT64_C(0xffff800000000000);
	return gva;
}

static uint64_t pick_entry(struct soak *soak, unsigned level)
{
	static const uint64_t flags[] = {LPWU | LA,    LPWU | LA | LD,  LPWU,         LP | LU | LA,
					 LP | LW | LA, LPWU | LA | LNX, LP | LA | LD, LPWU | LD};
	uint64_t entry = flags[roll(soak, 8)];
	bool is_leaf = level == 1 || (level <= 3 && roll(soak, 4) == 0);
	sim_pfn_t huge = {UINT64_C(0x2000000) << (roll(soak, 2))};

	if (roll(soak, 10) == 0)
		return roll(soak, 2) ? 0 : LPWU | UINT64_C(1) << 51;
	if (!is_leaf)
		return entry | soak->table[level - 1][roll(soak, POOL)].n << SIM_PAGE_SHIFT;
	if (level > 1)
		return linear_rig_leaf(huge, (enum sim_level)level, entry);
	if (soak->rig.regs.mode != LINEAR_PAE)
		entry |= roll(soak, 2) << 59;
	return entry | soak->frame[roll(soak, FRAME_COUNT)].n << SIM_PAGE_SHIFT;
}

static void store(struct soak *soak, uint64_t where, uint64_t value)
{
	sim_hpa_t hpa = {where};
	uint64_t old = sim_ram_read(soak->rig.machine, hpa);

	sim_ram_write(soak->rig.machine, hpa, value);
	linear_oracle_wrote(soak->rig.oracle, sim_gpa(where), 8, old, value);
}

/* Some entry that some address may use. */
static void rewrite(struct soak *soak)
{
	unsigned top = top_of(soak);
	unsigned level = (unsigned)roll(soak, top) + 1;
	uint64_t gva = pick_gva(soak);
	sim_pfn_t table = soak->table[level][roll(soak, POOL)];

	if (level == top && soak->rig.regs.mode != LINEAR_PAE)
		table = soak->root[roll(soak, ROOT_COUNT)];
	store(soak, table.n * SIM_PAGE_BYTES + (gva >> (3 + 9 * level) & 511) * 8,
	      pick_entry(soak, level));
}

static void move_cr3(struct soak *soak, unsigned vcpu)
{
	struct linear_regs regs = *linear_oracle_regs(soak->rig.oracle, vcpu);
	uint64_t pcid = regs.pcide ? roll(soak, 3) : 0;
	bool keep = regs.pcide && roll(soak, 2);
	uint64_t cr3 = soak->root[roll(soak, ROOT_COUNT)].n * SIM_PAGE_BYTES;
	enum linear_load load;

	regs.cr3 = cr3;
	load = linear_cpu_load(soak->cpu[vcpu], &regs, (uint32_t)pcid);
	assert_int_equal(
		linear_oracle_mov_cr3(soak->rig.oracle, vcpu, cr3 | pcid | (uint64_t)keep << 63),
		load == LINEAR_LOADED ? LINEAR_DONE : LINEAR_GP);
	if (load == LINEAR_LOADED && !keep && !(soak->forgets && roll(soak, 8) == 0))
		linear_cpu_flush_all(soak->cpu[vcpu], (uint32_t)pcid);
}

static void flush(struct soak *soak, unsigned vcpu)
{
	uint64_t gva = pick_gva(soak);
	uint16_t pcid = (uint16_t)roll(soak, 3);
	struct linear_cpu *cpu = soak->cpu[vcpu];

	switch (roll(soak, 4)) {
	case 0:
		linear_oracle_invpcid(soak->rig.oracle, vcpu, LINEAR_INVPCID_ADDRESS, pcid,
				      sim_gva(gva));
		linear_cpu_flush_gva(cpu, pcid, sim_gva(gva));
		return;
	case 1:
		linear_oracle_invpcid(soak->rig.oracle, vcpu, LINEAR_INVPCID_SINGLE, pcid,
				      sim_gva(0));
		linear_cpu_flush_all(cpu, pcid);
		return;
	default:
		linear_oracle_invlpg(soak->rig.oracle, vcpu, sim_gva(gva));
		linear_cpu_flush_gva(cpu, linear_cpu_tag(cpu), sim_gva(gva));
	}
}

static void change_registers(struct soak *soak, unsigned vcpu)
{
	struct linear_regs regs = *linear_oracle_regs(soak->rig.oracle, vcpu);

	regs.wp = roll(soak, 2);
	regs.smap = roll(soak, 2);
	regs.smep = regs.mode == LINEAR_PAE ? regs.smep : roll(soak, 2); /* PAE: reads PDPTEs */
	regs.nxe = roll(soak, 4);
	regs.pke = roll(soak, 2);
	regs.pkru = (uint32_t)roll(soak, 16);
	assert_int_equal(linear_oracle_set_regs(soak->rig.oracle, vcpu, &regs), LINEAR_DONE);
	linear_cpu_set_regs(soak->cpu[vcpu], &regs);
}

static void access(struct soak *soak, unsigned vcpu)
{
	struct linear_query query = {
		.vcpu = vcpu,
		.access = {.gva = sim_gva(pick_gva(soak)),
			   .kind = (enum linear_kind)roll(soak, 3),
			   .privilege = (enum linear_privilege)roll(soak, 3),
			   .ac = roll(soak, 2)},
	};
	struct linear_answers answers = linear_oracle_expect(soak->rig.oracle, &query);
	struct linear_result result = linear_cpu_access(soak->cpu[vcpu], &query.access);
	struct linear_answer answer = {
		.outcome = result.outcome, .error = result.error, .gpa = sim_gpa(result.hpa.bytes)};
	bool is_truth = false;
	char why[600];

	assert_false(answers.is_partial);
	if (!linear_oracle_allows(soak->rig.oracle, &answer, why, sizeof(why))) {
		soak->wrong++;
		if (!soak->forgets)
			print_error("%s\n", why);
		assert_true(soak->forgets);
	}
	for (size_t i = 0; i < answers.count; i++)
		is_truth |= answers.item[i].is_present_truth &&
			    answers.item[i].outcome == answer.outcome &&
			    answers.item[i].error == answer.error &&
			    answers.item[i].gpa.bytes == answer.gpa.bytes;
	soak->stale += !is_truth;
	soak->several += answers.count > 1;
	soak->granted += result.outcome == LINEAR_OK;
	soak->faulted += result.outcome == LINEAR_FAULT;
	if (result.outcome == LINEAR_FAULT)
		linear_oracle_fault_taken(soak->rig.oracle, vcpu, query.access.gva);
}

static void soak_start(struct soak *soak, enum linear_mode mode, enum sim_cpu_mode cpu_mode)
{
	struct linear_regs regs;

	*soak = (struct soak){.rig = linear_rig_new(mode, cpu_mode)};
	for (unsigned i = 0; i < ROOT_COUNT; i++)
		soak->root[i] = sim_ram_alloc(soak->rig.machine, SIM_FRAME_TABLE);
	for (unsigned l = 1; l <= SIM_LEVEL_PML5; l++)
		for (unsigned i = 0; i < POOL; i++)
			soak->table[l][i] = sim_ram_alloc(soak->rig.machine, SIM_FRAME_TABLE);
	for (unsigned i = 0; i < FRAME_COUNT; i++)
		soak->frame[i] = sim_ram_alloc(soak->rig.machine, SIM_FRAME_GUEST);
	linear_rig_watch(&soak->rig);
	for (unsigned i = 0; i < CPUS; i++)
		soak->cpu[i] = linear_cpu_of(sim_machine_cpu(soak->rig.machine, i));
	for (unsigned i = 0; i < 400; i++)
		rewrite(soak);
	for (unsigned i = 0; mode == LINEAR_PAE && i < ROOT_COUNT * 4; i++)
		store(soak, soak->root[i / 4].n * SIM_PAGE_BYTES + i % 4 * 8,
		      soak->table[2][roll(soak, POOL)].n << SIM_PAGE_SHIFT | LP);
	regs = soak->rig.regs;
	regs.pcide = mode != LINEAR_PAE;
	regs.cr3 = soak->root[0].n * SIM_PAGE_BYTES;
	for (unsigned i = 0; i < CPUS; i++) {
		assert_int_equal(linear_cpu_load(soak->cpu[i], &regs, 0), LINEAR_LOADED);
		linear_oracle_reset(soak->rig.oracle, i, linear_cpu_regs(soak->cpu[i]));
	}
}

static void step(struct soak *soak)
{
	unsigned vcpu = (unsigned)roll(soak, CPUS);
	uint64_t what = roll(soak, 40);

	if (what < 24)
		access(soak, vcpu);
	else if (what < 33)
		rewrite(soak);
	else if (what < 36)
		flush(soak, vcpu);
	else if (what < 38)
		change_registers(soak, vcpu);
	else
		move_cr3(soak, vcpu);
}

static void run(enum linear_mode mode, enum sim_cpu_mode cpu_mode)
{
	struct soak soak;

	soak_start(&soak, mode, cpu_mode);
	for (unsigned i = 0; i < STEPS; i++)
		step(&soak);
	print_message("# %llu granted, %llu faulted, %llu stale, %llu with several answers, "
		      "%zu values in %zu words\n",
		      (unsigned long long)soak.granted, (unsigned long long)soak.faulted,
		      (unsigned long long)soak.stale, (unsigned long long)soak.several,
		      linear_oracle_value_count(soak.rig.oracle),
		      linear_oracle_word_count(soak.rig.oracle));
	assert_true(soak.granted > STEPS / 20);
	assert_true(soak.faulted > STEPS / 20);
	assert_true(cpu_mode == SIM_CPU_NEVER_STALE ? soak.stale == 0 : soak.stale > STEPS / 100);
	for (unsigned tag = 0; tag < 3; tag++) {
		sim_flush_all(soak.rig.machine, tag);
		assert_int_equal(linear_outdated(soak.rig.machine, tag, NULL, 0), 0);
	}
	linear_rig_end(&soak.rig);
}

static void every_answer_of_a_cpu_that_rolls_is_allowed(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_PAE; mode <= LINEAR_5_LEVEL; mode++)
		run((enum linear_mode)mode, SIM_CPU_RANDOM);
}

static void every_answer_of_a_cpu_that_believes_the_oldest_is_allowed(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_PAE; mode <= LINEAR_5_LEVEL; mode++)
		run((enum linear_mode)mode, SIM_CPU_ALWAYS_STALE);
}

static void every_answer_of_a_cpu_without_caches_is_the_present_truth(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_PAE; mode <= LINEAR_5_LEVEL; mode++)
		run((enum linear_mode)mode, SIM_CPU_NEVER_STALE);
}

static void a_cpu_that_forgets_some_flushes_is_caught(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_PAE; mode <= LINEAR_5_LEVEL; mode++) {
		struct soak soak;

		soak_start(&soak, (enum linear_mode)mode, SIM_CPU_RANDOM);
		soak.forgets = true;
		for (unsigned i = 0; i < STEPS / 10; i++)
			step(&soak);
		print_message("# %llu wrong answers\n", (unsigned long long)soak.wrong);
		assert_true(soak.wrong > 0);
		linear_rig_end(&soak.rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_answer_of_a_cpu_that_rolls_is_allowed),
		cmocka_unit_test(every_answer_of_a_cpu_that_believes_the_oldest_is_allowed),
		cmocka_unit_test(every_answer_of_a_cpu_without_caches_is_the_present_truth),
		cmocka_unit_test(a_cpu_that_forgets_some_flushes_is_caught),
	};

	return cmocka_run_group_tests_name("sim_linear_soak", tests, NULL, NULL);
}
