/* SPDX-License-Identifier: MIT */
#include "memory_rig.h"

static void add_line(void *context, const char *line)
{
	uint64_t *sum = context;

	for (; *line; line++)
		*sum = (*sum ^ (unsigned char)*line) * UINT64_C(0x100000001b3);
}

/* Every entry of every table, and how the interesting frames translate, in words. */
struct picture memory_picture(struct sim_vm *sim)
{
	static const uint64_t frames[] = {0,           1,         FRAME - 1,    FRAME,
					  FRAME + 1,   FRAME + 7, FRAME + 8,    FRAME + 511,
					  FRAME + 512, 2 * FRAME, 2 * FRAME + 5};
	struct picture p = {.slots = slot_digest(sim), .vcpus = sim->vm->vcpu_count};

	for (uint64_t b = 0; b < vmmu_table_buckets(sim->vm); b++)
		for (struct vmmu_sp *sp = vmmu_table_bucket(sim->vm, b); sp;
		     sp = vmmu_table_next(sp))
			for (unsigned i = 0; i < VMMU_TABLE_ENTRIES; i++)
				p.tables += spte_get(&sp->entries[i]).raw *
					    (2 * (sp->pfn.n * VMMU_TABLE_ENTRIES + i) + 1);
	for (unsigned i = 0; i < 2 * sizeof(frames) / sizeof(frames[0]); i++)
		assert_int_equal(vmmu_explain(sim->vm, i & 1,
					      (vmmu_gpa_t){frames[i / 2] << VMMU_PAGE_SHIFT},
					      add_line, &p.words),
				 VMMU_OK);
	vmmu_stats_read(sim->vm, p.stats);
	return p;
}

void memory_check_unchanged(const char *words, const struct picture *before,
			    const struct picture *after)
{
	static const enum vmmu_stat stats[] = {
		VMMU_STAT_PAGES_4K,   VMMU_STAT_PAGES_2M,      VMMU_STAT_PAGES_1G,
		VMMU_STAT_TABLES,     VMMU_STAT_SPLITS,        VMMU_STAT_ZAPPED,
		VMMU_STAT_PREFETCHED, VMMU_STAT_MMIO_ENTRIES,  VMMU_STAT_SLOT_CHANGES,
		VMMU_STAT_FLUSHES,    VMMU_STAT_INVALIDATIONS,
	};

	if (before->slots != after->slots || before->tables != after->tables ||
	    before->words != after->words || before->vcpus != after->vcpus)
		fail_msg("%s: failed, but slots, tables or vCPUs are not as they were", words);
	for (unsigned i = 0; i < sizeof(stats) / sizeof(stats[0]); i++)
		if (before->stats[stats[i]] != after->stats[stats[i]])
			fail_msg("%s: failed, but %s changed", words,
				 vmmu_stats_table()[stats[i]].key);
}

void memory_check_sound(const char *words, struct sim_vm *sim)
{
	uint64_t held = slot_pages_held(sim);
	uint64_t given = sim_ram_count(sim->machine, SIM_FRAME_TABLE);

	if (held != given)
		fail_msg("%s: %llu pages given, %llu found in use", words,
			 (unsigned long long)given, (unsigned long long)held);
	if (sim_vm_audit(sim) || sim_violation_count(sim->machine))
		fail_msg("%s: %s", words, sim_violation_text(sim->machine, 0));
}

/* ---- the sweep ---- */

struct sim_vm *memory_begin(const struct scene *scene)
{
	struct sim_vm_options options = {
		.machine = {.seed = 5, .frame_count = 2048, .host_page_count = 16, .cpu_count = 2},
		.vm = sim_vm_config(),
		.direct = true,
	};
	struct sim_vm *sim;

	if (scene->options)
		scene->options(&options.vm);
	sim = sim_vm_new(&options, 1);
	assert_non_null(sim);
	if (scene->prepare)
		scene->prepare(sim);
	/* What earlier calls left in reserve would hide allocations. */
	vmmu_cache_drain(sim->vm, &sim->vcpu[0]->cache);
	vmmu_table_collect(sim->vm);
	memory_check_sound(scene->words, sim);
	return sim;
}

/* Return: false once the call asks for less than @nth pages. */
static bool fail_nth(const struct scene *scene, uint64_t nth, uint64_t count, uint64_t *failures)
{
	struct sim_vm *sim = memory_begin(scene);
	struct picture before = memory_picture(sim), after;
	uint64_t asked = sim_ram_table_allocs(sim->machine);
	bool done, hit;

	sim_ram_fail_tables(sim->machine, nth, count);
	done = scene->act(sim);
	hit = sim_ram_table_allocs(sim->machine) - asked >= nth;
	sim_ram_fail_tables(sim->machine, 0, 0);
	if (!done && !hit)
		fail_msg("%s: says there is no memory where there is", scene->words);
	if (done && hit && !scene->may_shrug)
		fail_msg("%s: nothing said of failure %llu", scene->words, (unsigned long long)nth);
	if (!done) {
		memory_check_sound(scene->words, sim);
		after = memory_picture(sim);
		memory_check_unchanged(scene->words, &before, &after);
		if (!scene->act(sim))
			fail_msg("%s: fails with memory at hand", scene->words);
	}
	scene->verify(sim);
	memory_check_sound(scene->words, sim);
	sim_vm_free(sim); /* looks for pages that were not given back */
	*failures += hit;
	return hit;
}

void memory_sweep(const struct scene *scenes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t alone = 0, lasting = 0;

		for (uint64_t nth = 1; fail_nth(&scenes[i], nth, 1, &alone); nth++)
			assert_in_range(nth, 1, 300);
		for (uint64_t nth = 1; fail_nth(&scenes[i], nth, UINT64_MAX, &lasting); nth++)
			assert_in_range(nth, 1, 300);
		print_message("# %s: %llu failures alone, %llu lasting\n", scenes[i].words,
			      (unsigned long long)alone, (unsigned long long)lasting);
		assert_in_range(alone, scenes[i].points, 300);
		assert_in_range(lasting, scenes[i].points, 300);
	}
}

/* ---- helpers of the scenes ---- */

bool memory_said(enum vmmu_error error)
{
	if (error != VMMU_OK && error != VMMU_ENOMEM)
		fail_msg("neither done nor out of memory: %s", vmmu_error_text(error));
	return error == VMMU_OK;
}

bool memory_enter(struct sim_vm *sim)
{
	struct vmmu_entry entry;
	bool done = memory_said(vmmu_vcpu_enter(sim->vcpu[0], &entry));

	if (done) {
		assert_int_equal(sim_ram_state(sim->machine, sim_pfn(entry.root.addr >> 12)),
				 SIM_FRAME_TABLE);
		vmmu_vcpu_leave(sim->vcpu[0]);
	}
	return done;
}

void memory_slot(struct sim_vm *sim, unsigned space, unsigned id, uint64_t base, uint64_t count)
{
	struct vmmu_slot_config c = slot_config(space, id, base, count);

	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_OK);
}

struct vmmu_fault_result memory_last;

static enum vmmu_outcome fault(struct sim_vm *sim, uint64_t gfn, uint32_t access)
{
	struct vmmu_fault f = {.gpa = {gfn << VMMU_PAGE_SHIFT}, .access = access};

	return vmmu_fault_handle(sim->vcpu[0], &f, &memory_last);
}

bool memory_resumes(struct sim_vm *sim, uint64_t gfn, uint32_t access)
{
	enum vmmu_outcome outcome = fault(sim, gfn, access);

	if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_NO_MEMORY)
		fail_msg("a fault comes out as %s", vmmu_outcome_name(outcome));
	return outcome == VMMU_OUTCOME_RESUME;
}

uint64_t memory_stat(struct sim_vm *sim, enum vmmu_stat stat)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(sim->vm, values);
	return values[stat];
}

void memory_one_page_mapped(struct sim_vm *sim)
{
	memory_slot(sim, 0, 0, FRAME, 16);
	assert_true(memory_enter(sim));
	assert_true(memory_resumes(sim, FRAME + 3, VMMU_ACCESS_WRITE));
}
