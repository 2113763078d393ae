/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <string.h>

#include "port.h"

static char words[256];

static const char *end(struct sim_vm *sim, const char *problem)
{
	const char *violation = sim_violation_text(sim->machine, 0);

	if (!problem && violation) {
		strncpy(words, violation, sizeof(words) - 1);
		return words;
	}
	if (!problem)
		sim_vm_free(sim);
	return problem;
}

static struct sim_vm *small_vm_of(enum vmmu_format format, bool no_accessed_dirty)
{
	struct sim_vm_options options = {
		.machine = {.seed = 7,
			    .frame_count = 8192,
			    .host_page_count = 2048,
			    .mode = SIM_CPU_ALWAYS_STALE},
		.vm = sim_vm_config(),
	};
	struct sim_vm *sim;

	options.vm.format = format;
	options.vm.no_accessed_dirty = no_accessed_dirty;
	options.vm.max_leaf = VMMU_LEVEL_4K;
	sim = sim_vm_new(&options, 1);
	if (sim)
		(void)sim_host_populate(sim->machine, (sim_hpage_t){0}, 64, SIM_LEVEL_4K);
	return sim;
}

static struct sim_vm *small_vm(void)
{
	return small_vm_of(VMMU_FORMAT_NPT, false);
}

/* Neighbours come along clean: only what was written is dirty. */
static const char *prefetched_pages_stay_clean(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 1;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	(void)sim_vm_access(sim, 0, 0x3000, SIM_WRITE, &value);
	if (vmmu_zap_all(sim->vm) != VMMU_OK)
		return end(sim, "zap_all fails");
	for (uint64_t page = 0; page < 8; page++) {
		struct sim_host_view view = sim_host_query(sim->machine, (sim_hpage_t){page});
		uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, view.pfn.n);

		if (*dirty != (page == 3))
			return end(sim, "dirty is told of the wrong pages");
	}
	return end(sim, NULL);
}

/* A leaf that allows the access, and a fault that comes back all the same: say so. */
static const char *a_fault_without_cause_is_reported(void)
{
	struct sim_vm *sim = small_vm();
	struct vmmu_fault fault = {
		.gpa = {0x1000}, .access = VMMU_ACCESS_READ, .flags = VMMU_FAULT_PRESENT};
	struct vmmu_fault_result result;
	uint64_t value = 0;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	(void)sim_vm_access(sim, 0, 0x1000, SIM_READ, &value);
	sim_vm_leave(sim, 0);
	for (unsigned i = 0; i < 1000; i++)
		if (vmmu_fault_handle(sim->vcpu[0], &fault, &result) == VMMU_OUTCOME_STUCK)
			return end(sim, NULL);
	return end(sim, "a fault that nothing comes of is never reported");
}

/* The page is taken away between the look-up and the lock, wholly or still under way. */
static void take_away(struct sim_vm *sim, void *context)
{
	bool *half = context;

	if (*half)
		(void)!vmmu_invalidate_host_begin(sim->vm, 0x5000, 0x6000);
	else
		(void)sim_vm_migrate(sim, 5);
}

static const char *a_page_taken_away_is_not_installed(bool half)
{
	struct sim_vm *sim = small_vm();
	struct sim_result hardware;
	struct vmmu_fault_result result;
	enum vmmu_outcome outcome;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	sim->after_page_answer = take_away;
	sim->hook_context = &half;
	outcome = sim_vm_step(sim, 0, 0x5000, SIM_READ, &hardware, &result);
	sim_vm_check(sim);
	if (outcome != VMMU_OUTCOME_RETRY)
		return end(sim, "a page that is going away was installed");
	return end(sim, NULL);
}

/* A root on its way out still maps pages; the host takes one of them away meanwhile. */
static void take_one(struct sim_vm *sim, void *context)
{
	uint64_t *page = context;

	if (*page)
		(void)sim_vm_swap_out(sim, *page);
	*page = 0;
}

static const char *host_invalidation_reaches_invalid_roots(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 1, page = 1200;

	if (!sim || !sim_host_populate(sim->machine, (sim_hpage_t){64}, 1984, SIM_LEVEL_4K) ||
	    sim_slot_create(sim, 0, 0, 0, 2048, 0, 0) != VMMU_OK)
		return "no VM";
	for (uint64_t at = 0; at < 2048; at += 600)
		(void)sim_vm_access(sim, 0, at << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
	sim->options.eager_yield = true;
	sim->on_yield = take_one;
	sim->hook_context = &page;
	if (vmmu_zap_all(sim->vm) != VMMU_OK || page)
		return end(sim, "zap_all fails, or does not pause");
	sim->options.eager_yield = false;
	return end(sim, NULL);
}

/* A slot that is being deleted is in no set any more; its memory goes away meanwhile. */
static const char *host_invalidation_reaches_slots_on_their_way_out(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 1, page = 1200;

	if (!sim || !sim_host_populate(sim->machine, (sim_hpage_t){64}, 1984, SIM_LEVEL_4K) ||
	    sim_slot_create(sim, 0, 0, 0, 2048, 0, 0) != VMMU_OK)
		return "no VM";
	for (uint64_t at = 0; at < 2048; at += 600)
		(void)sim_vm_access(sim, 0, at << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
	sim->options.eager_yield = true;
	sim->on_yield = take_one;
	sim->hook_context = &page;
	if (sim_slot_delete(sim, 0, 0) != VMMU_OK || page)
		return end(sim, "the slot is not deleted, or that does not pause");
	sim->options.eager_yield = false;
	return end(sim, NULL);
}

/* In a pause of the move the guest writes where the old leaf, without the right, still is. */
static void write_once(struct sim_vm *sim, void *context)
{
	uint64_t value = oracle_fresh_value(sim->oracle);
	bool *done = context;

	if (!*done)
		(void)sim_vm_access(sim, 0, 40 << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
	*done = true;
}

static const char *a_slot_may_move_over_its_own_frames(void)
{
	struct sim_vm *sim = small_vm_of(VMMU_FORMAT_EPT, true);
	uint64_t value = 0;
	bool done = false;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	for (uint64_t at = 0; at < 64; at++)
		(void)sim_vm_access(sim, 0, at << VMMU_PAGE_SHIFT, SIM_READ, &value);
	sim->options.eager_yield = true;
	sim->on_yield = write_once;
	sim->hook_context = &done;
	if (sim_slot_move(sim, 0, 0, 8) != VMMU_OK || !done)
		return end(sim, "the slot does not move, or that does not pause");
	sim->options.eager_yield = false;
	sim_vm_check(sim);
	return end(sim, NULL);
}

/* A second invalidation finds the entry gone: then no CPU may use it any more. */
static void take_first(struct sim_vm *sim, void *context)
{
	bool *done = context;

	if (!*done)
		(void)sim_vm_swap_out(sim, 0);
	*done = true;
}

static const char *a_pause_pays_first(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 1;
	bool done = false;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	for (uint64_t at = 0; at < 64; at++)
		(void)sim_vm_access(sim, 0, at << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
	sim->options.eager_yield = true;
	sim->on_yield = take_first;
	sim->hook_context = &done;
	if (vmmu_zap_range(sim->vm, 0, (struct vmmu_gfn_range){{0}, {64}}) != VMMU_OK || !done)
		return end(sim, "zap_range fails, or does not pause");
	sim->options.eager_yield = false;
	return end(sim, NULL);
}

static const char *a_device_frame_becomes_memory(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 0;

	if (!sim || sim_vm_access(sim, 0, 0x2000, SIM_READ, &value) != SIM_ACCESS_MMIO ||
	    sim_vm_access(sim, 0, 0x2000, SIM_READ, &value) != SIM_ACCESS_MMIO)
		return "a hole is no device";
	if (sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK ||
	    sim_vm_access(sim, 0, 0x2000, SIM_READ, &value) != SIM_ACCESS_MEMORY)
		return end(sim, "memory is still taken for a device");
	return end(sim, NULL);
}

/* The slot goes between the look-up of its page and the lock. */
static void delete_slot(struct sim_vm *sim, void *context)
{
	(void)context;
	(void)sim_slot_delete(sim, 0, 0);
}

static const char *a_slot_deleted_meanwhile_is_not_mapped(void)
{
	struct sim_vm *sim = small_vm();
	struct sim_result hardware;
	struct vmmu_fault_result result;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	sim->after_page_answer = delete_slot;
	if (sim_vm_step(sim, 0, 0x5000, SIM_READ, &hardware, &result) != VMMU_OUTCOME_RETRY)
		return end(sim, "a page of a deleted slot was installed");
	sim_vm_check(sim);
	return end(sim, NULL);
}

/* A write that comes after the harvest is told by the next one, whatever the TLB holds. */
static const char *dirty_is_harvested_once_each(bool flags)
{
	struct sim_vm *sim = small_vm_of(flags ? VMMU_FORMAT_NPT : VMMU_FORMAT_EPT, !flags);
	struct vmmu_gfn_range range = {{0}, {64}};
	uint64_t value = 1, dirty[3] = {0}, young = 0, count;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	for (unsigned i = 0; i < 3; i++) {
		if (i != 1)
			(void)sim_vm_access(sim, 0, (3 + i) << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
		(void)sim_vm_access(sim, 0, 3 << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
		if (flags && i == 2)
			(void)!vmmu_harvest_accessed(sim->vm, 0, range, &young, &count);
		if (vmmu_harvest_dirty(sim->vm, 0, range, &dirty[i], &count) != VMMU_OK ||
		    count != (uint64_t)__builtin_popcountll(dirty[i]))
			return end(sim, "harvesting fails, or miscounts");
	}
	if (dirty[0] != 8 || dirty[1] != 8 || dirty[2] != (8 | 32))
		return end(sim, "the harvest is not what was written");
	/* A right that a harvest took comes back, and only that one. */
	if (!flags &&
	    (sim_vm_access(sim, 0, 3 << VMMU_PAGE_SHIFT, SIM_WRITE, &value) != SIM_ACCESS_MEMORY ||
	     sim->pages_asked != 2))
		return end(sim, "a right that a harvest took is looked up again");
	return end(sim, NULL);
}

/* In a pause of one who takes a root apart, others come by with the same intention. */
static void work_too(struct sim_vm *sim, void *context)
{
	unsigned *pauses = context;

	++*pauses;
	(void)vmmu_work(sim->vm, 1);
}

static const char *a_root_is_taken_apart_by_one(void)
{
	struct sim_vm *sim = small_vm();
	uint64_t value = 1, stats[VMMU_STAT_COUNT];
	unsigned pauses = 0;

	if (!sim || sim_slot_create(sim, 0, 0, 0, 64, 0, 0) != VMMU_OK)
		return "no VM";
	(void)sim_vm_access(sim, 0, 0, SIM_WRITE, &value);
	if (vmmu_zap_all_fast(sim->vm) != VMMU_OK)
		return end(sim, "zap_all_fast fails");
	sim->options.eager_yield = true;
	sim->on_yield = work_too;
	sim->hook_context = &pauses;
	sim_vm_leave(sim, 0);
	(void)sim_vm_access(sim, 0, 0, SIM_WRITE, &value); /* on another root */
	while (vmmu_work(sim->vm, 1))
		;
	sim->options.eager_yield = false;
	if (!pauses)
		return end(sim, "the work does not pause");
	vmmu_stats_read(sim->vm, stats);
	if (stats[VMMU_STAT_TABLES] != 4)
		return end(sim, "the old tables are still there");
	return end(sim, NULL);
}

static struct sim_vm *huge_vm(void)
{
	struct sim_vm_options options = {
		.machine = {.seed = 7, .frame_count = 8192, .host_page_count = 2048},
		.vm = sim_vm_config(),
	};
	struct sim_vm *sim = sim_vm_new(&options, 1);

	if (sim)
		(void)sim_host_populate(sim->machine, (sim_hpage_t){0}, 2048, SIM_LEVEL_2M);
	return sim;
}

/* Heads, tails and slots that lie askew to their host memory, page by page. */
static const char *huge_leaves_stay_inside(void)
{
	static const struct {
		uint64_t gfn, count, host;
	} slots[] = {{0, 700, 0}, {0x3fe80, 1000, 0x80}, {0x10000, 1024, 0x100}, {0x20000, 600, 7}};
	struct sim_vm *sim = huge_vm();
	uint64_t value;

	if (!sim)
		return "no VM";
	for (unsigned i = 0; i < 4; i++) {
		if (sim_slot_create(sim, 0, (uint16_t)i, slots[i].gfn, slots[i].count,
				    slots[i].host, 0) != VMMU_OK)
			return end(sim, "no slot");
		for (uint64_t at = slots[i].count; at--;) {
			value = oracle_fresh_value(sim->oracle);
			(void)sim_vm_access(sim, 0, (slots[i].gfn + at) << VMMU_PAGE_SHIFT,
					    SIM_WRITE, &value);
		}
	}
	sim_vm_check(sim);
	return end(sim, NULL);
}

const char *probe_all(void)
{
	static const char *(*const probes[])(void) = {
		prefetched_pages_stay_clean,
		a_fault_without_cause_is_reported,
		host_invalidation_reaches_invalid_roots,
		host_invalidation_reaches_slots_on_their_way_out,
		a_slot_may_move_over_its_own_frames,
		a_pause_pays_first,
		a_device_frame_becomes_memory,
		a_slot_deleted_meanwhile_is_not_mapped,
		huge_leaves_stay_inside,
		a_root_is_taken_apart_by_one,
	};
	const char *problem = a_page_taken_away_is_not_installed(false);

	if (!problem)
		problem = dirty_is_harvested_once_each(true);
	if (!problem)
		problem = dirty_is_harvested_once_each(false);

	if (!problem)
		problem = a_page_taken_away_is_not_installed(true);
	for (size_t i = 0; !problem && i < sizeof(probes) / sizeof(probes[0]); i++)
		problem = probes[i]();
	return problem;
}
