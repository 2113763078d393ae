/* SPDX-License-Identifier: MIT */
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES 2048u /* guest frames in play, in each of three regions */
#define HOST_PAGES 4096u
#define SLOTS 12u

struct life {
	struct sim_vm *sim;
	struct random_result result;
	const struct random_companion *with;
	void *companion;
	unsigned vcpus;
};

const char *random_variant_name(unsigned variant)
{
	static const char *const names[RANDOM_VARIANTS] = {
		"NPT, 4 levels",
		"EPT, 4 levels",
		"NPT, 5 levels, QEMU's reserved-bit faults",
		"EPT, 5 levels, no accessed and dirty flags",
		"NPT, 4K leaves only, no prefetch",
		"EPT, eager yields, the port's own locks",
		"NPT, everything zapped when a slot goes, eager yields",
		"NPT, no device entries, 52 address bits, host answers late",
	};

	return variant < RANDOM_VARIANTS ? names[variant] : "?";
}

static struct sim_vm_options options_of(const struct random_run *run)
{
	struct sim_vm_options o = {
		.machine = {.seed = run->seed,
			    .frame_count = 16384,
			    .host_page_count = HOST_PAGES,
			    .tlb_count = 48,
			    .psc_count = 24},
		.vm = sim_vm_config(),
		.run_level = SIM_LEVEL_2M,
	};

	switch (run->variant) {
	case 1:
		o.vm.format = VMMU_FORMAT_EPT;
		break;
	case 2:
		o.vm.root_level = 5;
		o.vm.physical_bits = 46;
		o.rsvd_without_p = true;
		break;
	case 3:
		o.vm.format = VMMU_FORMAT_EPT;
		o.vm.root_level = 5;
		o.vm.no_accessed_dirty = true;
		break;
	case 4:
		o.vm.max_leaf = VMMU_LEVEL_4K;
		o.vm.prefetch = 1;
		o.run_level = SIM_LEVEL_4K;
		break;
	case 5:
		o.vm.format = VMMU_FORMAT_EPT;
		o.own_locks = true;
		o.eager_yield = true;
		break;
	case 6:
		o.vm.zap_all_on_delete = true;
		o.eager_yield = true;
		break;
	case 7:
		o.vm.no_mmio_entries = true;
		o.vm.physical_bits = 52;
		o.patient = true;
		break;
	default:
		break;
	}
	return o;
}

static uint64_t roll(struct life *l, uint64_t bound)
{
	return sim_random_below(l->sim->machine, bound);
}

/* Frames near the bottom, across the 1 GiB mark, and high up. */
static uint64_t some_gfn(struct life *l)
{
	static const uint64_t regions[3] = {0x0, 0x3fe00, 0x10000000};

	return regions[roll(l, 3)] + roll(l, FRAMES);
}

static void step_create(struct life *l)
{
	static const uint64_t counts[] = {1, 3, 100, 512, 513, 1024, 1500, 1500};
	uint64_t gfn = some_gfn(l), count = counts[roll(l, 8)];
	uint64_t host = roll(l, HOST_PAGES - 1500);
	struct vmmu_slot_config config = {0};

	if (roll(l, 2)) { /* congruent and aligned: huge leaves are possible */
		gfn &= ~UINT64_C(511);
		host &= ~UINT64_C(511);
	}
	config.base.n = gfn;
	config.count = count;
	if (!roll(l, 5))
		config.flags = VMMU_SLOT_READONLY;
	config.id = (uint16_t)roll(l, SLOTS);
	config.space = (uint16_t)roll(l, 2);
	if (l->with && l->with->slot_flags)
		config.flags |= l->with->slot_flags(l->companion);
	if (sim_slot_create(l->sim, config.space, config.id, gfn, count, host, config.flags) !=
	    VMMU_OK)
		return;
	l->result.slot_changes++;
	if (l->with && l->with->slot_made)
		l->with->slot_made(l->companion, &config);
}

static void step_delete(struct life *l, unsigned space, uint16_t id)
{
	enum vmmu_error error;

	if (l->with)
		l->with->slot_ends(l->companion, space, id);
	error = sim_slot_delete(l->sim, space, id);
	if (l->with)
		l->with->slot_ended(l->companion, error);
	l->result.slot_changes += error == VMMU_OK;
}

static void step_slot(struct life *l)
{
	unsigned space = (unsigned)roll(l, 2);
	uint16_t id = (uint16_t)roll(l, SLOTS);

	switch (roll(l, 6)) {
	case 0:
		step_delete(l, space, id);
		break;
	case 1:
		if (l->with && l->with->keeps_slots)
			break;
		l->result.slot_changes += sim_slot_move(l->sim, space, id, some_gfn(l)) == VMMU_OK;
		break;
	default:
		step_create(l);
		break;
	}
}

static void step_host(struct life *l)
{
	uint64_t page = roll(l, HOST_PAGES);
	struct sim_machine *m = l->sim->machine;

	l->result.host_events++;
	switch (roll(l, 5)) {
	case 0:
		(void)sim_vm_swap_out(l->sim, page);
		break;
	case 1:
		(void)sim_vm_migrate(l->sim, page);
		break;
	case 2:
		(void)sim_vm_write_protect(l->sim, page);
		break;
	case 3:
		(void)sim_vm_copy_on_write(l->sim, page);
		break;
	default:
		(void)sim_host_populate(m, (sim_hpage_t){page & ~UINT64_C(511)}, 512,
					l->sim->options.run_level);
		if (l->sim->options.run_level > SIM_LEVEL_4K)
			(void)sim_vm_collapse(l->sim, page);
		break;
	}
}

/* The yields of long operations are where others get in. */
static void intrude(struct sim_vm *sim, void *context)
{
	struct life *l = context;
	uint64_t value = 0;
	unsigned vcpu = (unsigned)roll(l, l->vcpus);

	if (roll(l, 3))
		return;
	(void)sim_vm_access(sim, vcpu, (some_gfn(l) << VMMU_PAGE_SHIFT) + 8 * roll(l, 512),
			    SIM_READ, &value);
}

static void step_access(struct life *l)
{
	static const enum sim_access_kind kinds[] = {SIM_READ,       SIM_READ, SIM_WRITE,
						     SIM_WRITE,      SIM_EXEC, SIM_TABLE_READ,
						     SIM_TABLE_WRITE};
	unsigned vcpu = (unsigned)roll(l, l->vcpus);
	uint64_t gfn = some_gfn(l);
	enum sim_access_kind kind = kinds[roll(l, 7)];

	for (uint64_t n = 1 + roll(l, 4); n; n--, gfn += roll(l, 3)) {
		uint64_t value = oracle_fresh_value(l->sim->oracle);

		(void)sim_vm_access(l->sim, vcpu, (gfn << VMMU_PAGE_SHIFT) + 8 * roll(l, 4), kind,
				    &value);
	}
}

static void step_harvest(struct life *l)
{
	uint64_t bitmap[FRAMES / 64 + 1] = {0}, count = 0;
	uint64_t gfn = some_gfn(l), frames = 1 + roll(l, FRAMES);

	if (roll(l, 2)) {
		sim_vm_harvest_dirty(l->sim);
		return;
	}
	if (vmmu_harvest_accessed(l->sim->vm, (unsigned)roll(l, 2),
				  (struct vmmu_gfn_range){{gfn}, {gfn + frames}}, bitmap,
				  &count) != VMMU_OK)
		sim_violation(l->sim->machine, "accessed frames cannot be harvested");
	for (uint64_t i = 0; i < frames; i++)
		count -= bitmap[i / 64] >> i % 64 & 1;
	if (count)
		sim_violation(l->sim->machine, "the count is not that of the bitmap");
}

static void step_vcpu(struct life *l)
{
	unsigned vcpu = (unsigned)roll(l, l->vcpus);

	sim_vm_leave(l->sim, vcpu);
	switch (roll(l, 6)) {
	case 0:
		l->sim->space[vcpu] = (unsigned)roll(l, 2);
		if (vmmu_vcpu_set_space(l->sim->vcpu[vcpu], l->sim->space[vcpu]) != VMMU_OK)
			sim_violation(l->sim->machine, "the space cannot be set");
		break;
	case 1:
		if (vmmu_zap_all(l->sim->vm) != VMMU_OK)
			sim_violation(l->sim->machine, "zap_all fails");
		break;
	case 2:
		step_harvest(l);
		break;
	case 3:
		if (vmmu_zap_all_fast(l->sim->vm) != VMMU_OK)
			sim_violation(l->sim->machine, "zap_all_fast fails");
		break;
	case 4:
		if (vmmu_zap_range(l->sim->vm, (unsigned)roll(l, 2),
				   (struct vmmu_gfn_range){{0x3fe00}, {0x3fe00 + FRAMES}}) !=
		    VMMU_OK)
			sim_violation(l->sim->machine, "zap_range fails");
		break;
	default:
		break;
	}
}

static void step_prefault(struct life *l)
{
	unsigned vcpu = (unsigned)roll(l, l->vcpus);
	uint64_t gfn = some_gfn(l), done;

	sim_vm_leave(l->sim, vcpu);
	(void)!vmmu_prefault(l->sim->vcpu[vcpu],
			     (struct vmmu_gfn_range){{gfn}, {gfn + roll(l, 64)}}, &done);
}

static void step(struct life *l)
{
	uint64_t dice = roll(l, 100);

	if (dice % 16 == 0)
		(void)vmmu_work(l->sim->vm, roll(l, 4));
	if (dice < 8)
		step_slot(l);
	else if (dice < 16)
		step_host(l);
	else if (dice < 20)
		step_vcpu(l);
	else if (dice < 22)
		step_prefault(l);
	else
		step_access(l);
}

/* The same over and over: the counts the run ends with, and the first thing that went wrong. */
static void finish(struct life *l)
{
	struct sim_vm *sim = l->sim;
	const char *first = sim_violation_text(sim->machine, 0);

	l->result.memory = sim->memory;
	l->result.mmio = sim->mmio;
	l->result.readonly = sim->readonly;
	l->result.faults = sim->faults;
	l->result.violations = sim_violation_count(sim->machine);
	if (first)
		strncpy(l->result.first, first, sizeof(l->result.first) - 1);
}

struct random_result random_life(const struct random_run *run, uint64_t check_every)
{
	struct sim_vm_options options = options_of(run);
	struct life l = {.vcpus = run->vcpus,
			 .with = run->companion,
			 .sim = sim_vm_new(&options, run->vcpus)};

	if (!l.sim)
		return (struct random_result){.violations = 1, .first = "no machine"};
	l.sim->on_yield = intrude;
	l.sim->hook_context = &l;
	(void)sim_host_populate(l.sim->machine, (sim_hpage_t){0}, HOST_PAGES / 2,
				options.run_level);
	if (l.with)
		l.companion = l.with->start(l.sim);
	while (l.result.steps < run->steps && !sim_violation_count(l.sim->machine)) {
		if (l.with && roll(&l, 2))
			l.with->step(l.companion, some_gfn(&l));
		step(&l);
		if (l.with)
			l.with->check(l.companion);
		if (++l.result.steps % check_every == 0)
			sim_vm_check(l.sim);
	}
	if (l.with)
		l.with->end(l.companion);
	finish(&l);
	if (!l.result.violations)
		sim_vm_free(l.sim);
	return l.result;
}
