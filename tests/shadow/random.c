/* SPDX-License-Identifier: MIT */
#include "random.h"

#include <stdlib.h>
#include <string.h>

#include "random_life.h"

static const struct variant variants[RANDOM_VARIANTS] = {
	{.name = "4 levels, one vCPU, nothing else",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 1,
	 .prefetch = 1,
	 .run_level = SIM_LEVEL_4K},
	{.name = "32-bit",
	 .modes = MODE(LINEAR_32BIT),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "PAE",
	 .modes = MODE(LINEAR_PAE),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "4 levels",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "5 levels",
	 .modes = MODE(LINEAR_5_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "all modes in turn, one vCPU",
	 .modes = 31,
	 .vcpus = 1,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "all modes at once, four vCPUs",
	 .modes = 31,
	 .vcpus = 4,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "few tables",
	 .modes = 31,
	 .vcpus = 4,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .quota = 64,
	 .prefetch = 4,
	 .run_level = SIM_LEVEL_2M},
	{.name = "host memory never moves",
	 .modes = 31,
	 .vcpus = 2,
	 .registers = true,
	 .slots = true,
	 .prefetch = 32,
	 .direct = true,
	 .run_level = SIM_LEVEL_2M},
	{.name = "host answers late, the CPUs keep all they can",
	 .modes = 31,
	 .vcpus = 3,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 2,
	 .patient = true,
	 .run_level = SIM_LEVEL_2M,
	 .cpu = SIM_CPU_ALWAYS_STALE},
	{.name = "process-context identifiers",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .pcid = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_4K},
	{.name = "other vCPUs write in the middle of faults",
	 .modes = 31,
	 .vcpus = 4,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .race = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
};

const char *random_variant_name(unsigned variant)
{
	return variant < RANDOM_VARIANTS ? variants[variant].name : "?";
}

uint64_t roll(struct life *l, uint64_t bound)
{
	return sim_random_below(l->svm->machine, bound);
}

bool chance(struct life *l, unsigned percent)
{
	return roll(l, 100) < percent;
}

void say(const struct life *l, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	if (l->is_loud)
		fprintf(stderr, "%llu: %s %llx %llx %llx\n", (unsigned long long)l->result.steps,
			what, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
}

/* The library looks at guest memory: a moment for others. */
static void in_between(struct shadow_vm *svm, void *context)
{
	struct life *l = context;

	(void)svm;
	if (!l->is_checking && chance(l, 20))
		write_in_between(l, l->actor);
}

static void step(struct life *l)
{
	uint64_t dice = roll(l, 1000);
	unsigned vcpu = l->actor = (unsigned)roll(l, l->variant->vcpus);

	if (dice < 250) {
		edit_some_entry(l, vcpu);
		if (chance(l, 50))
			flush_some(l, vcpu);
	} else if (dice < 280) {
		flush_some(l, vcpu);
	} else if (dice < 320) {
		switch_cr3(l, vcpu);
	} else if (dice < 330) {
		reset_vcpu(l, vcpu);
	} else if (dice < 350 && l->variant->registers) {
		change_register(l, vcpu);
	} else if (dice < 365 && l->variant->host) {
		host_event(l);
	} else if (dice < 370 && l->variant->slots) {
		slot_event(l);
	} else if (dice < 375 && l->variant->registers) {
		library_event(l);
	} else if (dice < 380) {
		repair_window(l, vcpu);
	} else {
		access_some(l, vcpu);
	}
}

/* ---- a life ---- */

static struct shadow_options options_of(const struct random_run *run, const struct variant *v)
{
	return (struct shadow_options){
		.machine = {.seed = run->seed,
			    .host_page_count = 2048,
			    .tlb_count = 32,
			    .psc_count = 16,
			    .mode = v->cpu},
		.table_quota = v->quota,
		.prefetch = v->prefetch,
		.run_level = v->run_level,
		.patient = v->patient,
		.direct = v->direct,
		.own_locks = true,
	};
}

static void make_memory(struct life *l)
{
	static const struct shadow_slot slots[] = {
		[SLOT_MAIN] = {.gfn = 0, .count = WINDOW_FRAMES, .host = 0},
		[SLOT_HUGE] = {.gfn = HUGE_FIRST, .count = HUGE_COUNT, .host = 512},
		[SLOT_ROM] = {.gfn = ROM_FIRST, .count = 8, .host = 200, .is_readonly = true},
	};

	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){0}, 512, l->variant->run_level);
	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){512}, 1024, l->variant->run_level);
	for (unsigned i = 0; i < 3; i++) {
		struct shadow_slot slot = slots[i];

		if (l->variant->direct && slot.count > 512)
			slot.count = 512; /* one run */
		if (shadow_slot_create(l->svm, i, &slot) != VMMU_OK)
			sim_violation(l->svm->machine, "no slot");
	}
	/* Read-only memory may hold tables, too. */
	for (unsigned i = 0; i < 16; i++)
		sim_host_write(l->svm->machine, (sim_hpage_t){200 + i % 2}, 8 * (i / 2),
			       some_entry(l));
	build_window(l);
}

static void finish(struct life *l)
{
	struct shadow_vm *svm = l->svm;
	const char *first = sim_violation_text(svm->machine, 0);

	l->result.count = svm->count;
	l->result.unsync = shadow_stat(svm, VMMU_STAT_SHADOW_UNSYNC);
	l->result.sync = shadow_stat(svm, VMMU_STAT_SHADOW_SYNC);
	l->result.zapped = shadow_stat(svm, VMMU_STAT_SHADOW_ZAPPED);
	l->result.reclaimed = shadow_stat(svm, VMMU_STAT_SHADOW_RECLAIMED);
	l->result.flooded = shadow_stat(svm, VMMU_STAT_SHADOW_FLOODED);
	l->result.pages_2m = shadow_stat(svm, VMMU_STAT_FAULT_2M);
	l->result.violations = sim_violation_count(svm->machine);
	if (first)
		strncpy(l->result.first, first, sizeof(l->result.first) - 1);
}

struct random_result random_life(const struct random_run *run)
{
	const struct variant *v = &variants[run->variant];
	struct shadow_options options = options_of(run, v);
	struct life l = {.variant = v, .is_loud = getenv("VMMU_LOUD") != NULL};

	l.svm = shadow_vm_new(&options, v->vcpus);
	if (!l.svm)
		return (struct random_result){.violations = 1, .first = "no machine"};
	make_memory(&l);
	l.svm->unprotect_one_in = 8;
	l.svm->on_guest_map = v->race ? in_between : NULL;
	l.svm->hook_context = &l;
	for (unsigned i = 0; i < v->vcpus; i++)
		reset_vcpu(&l, i);
	for (unsigned i = 0; i < 100; i++)
		edit_some_entry(&l, 0);
	while (l.result.steps < run->steps && !sim_violation_count(l.svm->machine)) {
		step(&l);
		if (++l.result.steps % run->check_every)
			continue;
		l.is_checking = true;
		shadow_check(l.svm);
		l.is_checking = false;
	}
	finish(&l);
	if (!l.result.violations)
		shadow_vm_free(l.svm);
	return l.result;
}
