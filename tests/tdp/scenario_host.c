/* SPDX-License-Identifier: MIT */
/* Scenarios of host memory that comes and goes: R42, R46, and what is handed over. */
#include "scenario.h"

#include "vm.h"

/* ---- R42 ---- */

static void nothing_is_outdated(struct sim_vm *sim, void *context)
{
	unsigned *pauses = context;
	char text[256];

	for (unsigned i = 0; i < 2; i++) {
		assert_true(sim->running[i]);
		if (sim_outdated_translations(sim->machine, 1 + i, text, sizeof(text)))
			fail_msg("pause %u: %s", *pauses, text);
	}
	++*pauses;
}

/* R42, first half: nobody is let in before the flush of what has been withdrawn. */
void a_zap_that_pauses_has_paid_for_what_it_withdrew(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		unsigned pauses = 0;

		rig_slot(sim, 0, 0, 0, 1024, 0);
		for (uint64_t gfn = 0; gfn < 1024; gfn += 16) {
			rig_write(sim, 0, gfn);
			rig_read(sim, 1, gfn);
		}
		sim->on_yield = nothing_is_outdated;
		sim->hook_context = &pauses;
		sim->options.eager_yield = true;
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 1023)), VMMU_OK);
		sim->options.eager_yield = false;
		assert_true(pauses >= 500);
		assert_true(rig_stat(sim, VMMU_STAT_FLUSHES) >= 32);
		assert_int_equal(rig_reachable(sim, 0, 0), 0);
		rig_end(sim);
	}
}

/* R42, second half. Bit n of @mapped: the page is mapped in the root of space n. */
static void migrate_under_two_roots(unsigned mapped)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);

	rig_set_space(sim, 1, 1);
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_slot(sim, 1, 0, 0x400, 64, 0);
	rig_read(sim, 0, 40);
	rig_read(sim, 1, 0x428);
	if (mapped & 1)
		rig_write(sim, 0, 5);
	if (mapped & 2)
		rig_write(sim, 1, 0x405);
	assert_true(sim->running[0] && sim->running[1]);
	/* This checks the TLBs, and that dirty was told, when begin has returned. */
	assert_true(sim_vm_migrate(sim, 5));
	rig_no_violation(sim);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FLUSHES_REMOTE), mapped != 0);
	rig_write(sim, 0, 5);
	rig_read(sim, 1, 0x405);
	rig_end(sim);
}

void a_second_root_does_not_overwrite_what_the_first_one_owes(void **state)
{
	(void)state;
	for (unsigned mapped = 0; mapped < 4; mapped++)
		migrate_under_two_roots(mapped);
}

static void map_again_and_migrate(struct sim_vm *sim, void *context)
{
	bool *done = context;

	if (*done || rig_reachable(sim, 0, 660) != 1)
		return;
	*done = true;
	rig_write(sim, 0, 660); /* on the new root */
	assert_int_equal(rig_reachable(sim, 0, 660), 2);
	assert_true(sim_vm_migrate(sim, 660));
	rig_no_violation(sim);
	assert_int_equal(rig_reachable(sim, 0, 660), 0);
}

/* R42 and R15: two roots of one space. */
void a_page_in_a_valid_and_an_invalid_root_is_taken_from_both(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);
	bool done = false;

	(void)state;
	rig_slot(sim, 0, 0, 0, 1024, 0);
	for (uint64_t gfn = 0; gfn < 1024; gfn += 60)
		rig_write(sim, 0, gfn);
	sim->on_yield = map_again_and_migrate;
	sim->hook_context = &done;
	sim->options.eager_yield = true;
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
	assert_true(done);
	rig_end(sim);
}

/* ---- R46 ---- */

static void migrate_page_5(struct sim_vm *sim, void *context)
{
	unsigned *calls = context;

	++*calls;
	assert_true(sim_vm_migrate(sim, 5));
}

static void begin_by_frame(struct sim_vm *sim, void *context)
{
	const struct vmmu_gfn_range *range = context;

	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, *range), VMMU_OK);
}

static void begin_by_address(struct sim_vm *sim, void *context)
{
	const struct vmmu_gfn_range *range = context;

	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, range->start.n << VMMU_PAGE_SHIFT,
						    range->end.n << VMMU_PAGE_SHIFT),
			 VMMU_OK);
}

static enum vmmu_error end_as_begun(struct sim_vm *sim, sim_yield_fn *begin,
				    const struct vmmu_gfn_range *range)
{
	return begin == begin_by_frame
		       ? vmmu_invalidate_end(sim->vm, 0, *range)
		       : vmmu_invalidate_host_end(sim->vm, range->start.n << VMMU_PAGE_SHIFT,
						  range->end.n << VMMU_PAGE_SHIFT);
}

/* R46, first half: the page moved, begin and end, after it was looked up. */
void a_page_taken_away_between_look_up_and_lock_is_not_installed(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		unsigned calls = 0;

		rig_slot(sim, 0, 0, 0, 64, 0);
		sim->after_page_answer = migrate_page_5;
		sim->hook_context = &calls;
		assert_int_equal(rig_step(sim, 0, 5, SIM_READ), VMMU_OUTCOME_RETRY);
		assert_int_equal(calls, 1);
		assert_int_equal(rig_reachable(sim, 0, 5), 0);
		rig_write(sim, 0, 5);
		rig_end(sim);
	}
}

/* Slot and host memory lie alike (frame n is page n), in runs of 2M. */
static struct sim_vm *huge_vm(void)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim;

	options.vm.max_leaf = VMMU_LEVEL_2M;
	options.vm.prefetch = 8;
	options.run_level = SIM_LEVEL_2M;
	sim = rig_new(&options, 1);
	rig_slot(sim, 0, 0, 0, 2048, 0);
	return sim;
}

static void fault_during(sim_yield_fn *begin, bool in_hook)
{
	struct vmmu_gfn_range range = rig_range(100, 140);
	struct sim_vm *sim = huge_vm();

	sim->hook_context = &range;
	if (in_hook)
		sim->after_page_answer = begin;
	else
		begin(sim, &range);
	/* Outside of the range: small, and alone, as the neighbours may be inside. */
	assert_int_equal(rig_step(sim, 0, 99, SIM_WRITE), VMMU_OUTCOME_RESUME);
	assert_null(sim->after_page_answer);
	assert_int_equal(rig_walk(sim, 0, 99, SIM_READ).level, SIM_LEVEL_4K);
	assert_int_equal(rig_reachable(sim, 0, 98), 0);
	assert_int_equal(rig_step(sim, 0, 100, SIM_READ), VMMU_OUTCOME_RETRY);
	assert_int_equal(rig_step(sim, 0, 139, SIM_READ), VMMU_OUTCOME_RETRY);
	assert_int_equal(rig_step(sim, 0, 140, SIM_READ), VMMU_OUTCOME_RESUME);
	assert_int_equal(rig_reachable(sim, 0, 139), 0);
	sim_vm_check(sim);
	assert_int_equal(end_as_begun(sim, begin, &range), VMMU_OK);
	rig_read(sim, 0, 100);
	assert_int_equal(rig_walk(sim, 0, 100, SIM_READ).level, SIM_LEVEL_2M);
	rig_end(sim);
}

/* R46, second half. */
void an_invalidation_under_way_stops_faults_in_its_range_only(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		fault_during(i & 1 ? begin_by_frame : begin_by_address, i & 2);
}

void invalidations_nest_and_overlap_and_each_needs_its_end(void **state)
{
	static sim_yield_fn *const begins[2] = {begin_by_frame, begin_by_address};
	struct vmmu_gfn_range first = rig_range(10, 20), second = rig_range(15, 30);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_vm *sim = huge_vm();

		begins[i](sim, &first);
		begins[i](sim, &first);
		begins[i](sim, &second);
		assert_int_equal(rig_step(sim, 0, 12, SIM_READ), VMMU_OUTCOME_RETRY);
		assert_int_equal(end_as_begun(sim, begins[i], &first), VMMU_OK);
		assert_int_equal(rig_step(sim, 0, 12, SIM_READ), VMMU_OUTCOME_RETRY);
		assert_int_equal(end_as_begun(sim, begins[i], &first), VMMU_OK);
		assert_int_equal(rig_step(sim, 0, 17, SIM_READ), VMMU_OUTCOME_RETRY);
		assert_int_equal(rig_step(sim, 0, 29, SIM_READ), VMMU_OUTCOME_RETRY);
		assert_int_equal(rig_step(sim, 0, 30, SIM_READ), VMMU_OUTCOME_RESUME);
		assert_int_equal(end_as_begun(sim, begins[i], &second), VMMU_OK);
		for (uint64_t gfn = 10; gfn < 30; gfn++)
			rig_read(sim, 0, gfn);
		/* One end too many is refused, on the other kind and space, too. */
		assert_int_equal(end_as_begun(sim, begins[i], &second), VMMU_EINVAL);
		assert_int_equal(end_as_begun(sim, begins[!i], &second), VMMU_EINVAL);
		assert_int_equal(vmmu_invalidate_end(sim->vm, 1, second), VMMU_EINVAL);
		assert_int_equal(vmmu_invalidate_end(sim->vm, 2, second), VMMU_EINVAL);
		assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(2, 1)), VMMU_EINVAL);
		assert_int_equal(vmmu_invalidate_host_begin(sim->vm, 1, 4096), VMMU_EINVAL);
		assert_int_equal(rig_stat(sim, VMMU_STAT_INVALIDATIONS), 3);
		rig_read(sim, 0, 12);
		rig_end(sim);
	}
}

/* The range is host memory, whatever slots show it by the time of the end. */
void a_slot_created_during_a_host_invalidation_waits_for_its_end(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct sim_vm *sim = rig_new(&options, 1);
	uint64_t start = 5 << VMMU_PAGE_SHIFT, end = 6 << VMMU_PAGE_SHIFT;

	(void)state;
	rig_slot(sim, 0, 0, 0, 16, 0);
	rig_write(sim, 0, 5);
	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, start, end), VMMU_OK);
	assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
	rig_slot(sim, 0, 1, 0x400, 16, 0);
	rig_slot(sim, 1, 1, 0x800, 16, 0);
	assert_int_equal(rig_step(sim, 0, 0x405, SIM_READ), VMMU_OUTCOME_RETRY);
	rig_read(sim, 0, 0x404);
	rig_set_space(sim, 0, 1);
	assert_int_equal(rig_step(sim, 0, 0x805, SIM_READ), VMMU_OUTCOME_RETRY);
	rig_read(sim, 0, 0x804);
	assert_true(sim_host_migrate(sim->machine, (sim_hpage_t){5}));
	assert_int_equal(vmmu_invalidate_host_end(sim->vm, start, end), VMMU_OK);
	rig_read(sim, 0, 0x805);
	rig_set_space(sim, 0, 0);
	rig_write(sim, 0, 0x405);
	rig_end(sim);
}

/* ---- what the hardware recorded ---- */

/* Withdraw all 64 frames of slot 0 in one of several ways. */
static void withdraw(struct sim_vm *sim, unsigned way)
{
	struct vmmu_gfn_range all = rig_range(0, 64);

	switch (way) {
	case 0:
		assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
		break;
	case 1:
		assert_int_equal(vmmu_zap_range(sim->vm, 0, all), VMMU_OK);
		break;
	case 2: /* the table goes as a whole */
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 512)), VMMU_OK);
		break;
	case 3:
		assert_int_equal(vmmu_slot_delete(sim->vm, 0, 0), VMMU_OK);
		break;
	case 4:
		assert_int_equal(vmmu_slot_move(sim->vm, 0, 0, (vmmu_gfn_t){0x400}), VMMU_OK);
		break;
	default:
		assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, all), VMMU_OK);
		assert_int_equal(vmmu_invalidate_end(sim->vm, 0, all), VMMU_OK);
		break;
	}
}

static bool is_written(uint64_t gfn)
{
	return gfn % 7 == 3 || gfn % 11 == 0;
}

/* Variant 2: EPT without accessed and dirty flags, where writable means dirty. */
static void dirty_exactly(unsigned variant, unsigned way)
{
	struct sim_vm_options options = rig_options(variant ? VMMU_FORMAT_EPT : VMMU_FORMAT_NPT);
	unsigned told = 0;
	struct sim_vm *sim;

	options.vm.no_accessed_dirty = variant == 2;
	options.vm.prefetch = 8;
	sim = rig_new(&options, 1);
	rig_slot(sim, 0, 0, 0, 64, 0);
	for (uint64_t gfn = 0; gfn < 64; gfn++) {
		if (gfn & 1)
			rig_read(sim, 0, gfn);
		if (is_written(gfn))
			rig_write(sim, 0, gfn);
	}
	for (uint64_t gfn = 0; gfn < 64; gfn++)
		assert_false(rig_told_dirty(sim, gfn));
	withdraw(sim, way);
	for (uint64_t gfn = 0; gfn < 64; gfn++) {
		assert_int_equal(rig_told_dirty(sim, gfn), is_written(gfn));
		told += rig_told_dirty(sim, gfn);
	}
	assert_int_equal(told, 15);
	rig_end(sim);
}

void pages_are_handed_over_dirty_exactly_when_written(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 3; variant++)
		for (unsigned way = 0; way < 6; way++)
			dirty_exactly(variant, way);
}

static uint64_t accessed_frames; /* bit n: frame n was reported */

static void note_accessed(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	const struct sim_vm *sim = host;

	assert_int_equal(frames, 1);
	assert_int_equal(sim_host_query(sim->machine, (sim_hpage_t){first.n}).pfn.n, pfn.n);
	accessed_frames |= UINT64_C(1) << first.n;
}

void pages_are_handed_over_accessed_exactly_when_used(void **state)
{
	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned way = 0; way < 6; way++) {
			struct sim_vm_options options = rig_options(format);
			struct sim_vm *sim;

			options.vm.prefetch = 16;
			sim = rig_new(&options, 1);
			sim->port.page_accessed = note_accessed;
			rig_slot(sim, 0, 0, 0, 64, 0);
			rig_read(sim, 0, 3);
			rig_write(sim, 0, 17);
			rig_read(sim, 0, 18);
			assert_true(rig_stat(sim, VMMU_STAT_PAGES_4K) == 32);
			accessed_frames = 0;
			withdraw(sim, way);
			assert_int_equal(accessed_frames, 1u << 3 | 1u << 17 | 1u << 18);
			rig_end(sim);
		}
}

void a_write_to_a_shared_host_page_asks_the_host_for_a_copy(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim;
		sim_pfn_t shared;

		options.vm.prefetch = 8;
		sim = rig_new(&options, 2);
		rig_slot(sim, 0, 0, 0, 64, 0);
		rig_write(sim, 0, 5);
		assert_true(sim_vm_write_protect(sim, 5));
		shared = sim_host_query(sim->machine, (sim_hpage_t){5}).pfn;
		rig_read(sim, 1, 5);
		rig_read(sim, 0, 4); /* brings frame 5 along, if nothing else did */
		assert_int_equal(rig_walk(sim, 0, 5, SIM_READ).outcome, SIM_OK);
		assert_int_not_equal(rig_walk(sim, 0, 5, SIM_WRITE).outcome, SIM_OK);
		assert_int_equal(rig_step(sim, 0, 5, SIM_WRITE), VMMU_OUTCOME_HOST_ERROR);
		rig_write(sim, 0, 5); /* the simulated host makes a copy */
		assert_int_not_equal(sim_host_query(sim->machine, (sim_hpage_t){5}).pfn.n,
				     shared.n);
		rig_read(sim, 1, 5);
		assert_true(rig_stat(sim, VMMU_STAT_FAULT_HOST_ERROR) == 2);
		rig_end(sim);
	}
}

void a_page_that_is_being_fetched_is_pending_and_then_there(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim;

	(void)state;
	options.patient = true;
	sim = rig_new(&options, 2);
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_int_equal(rig_step(sim, 0, 5, SIM_WRITE), VMMU_OUTCOME_PENDING);
	assert_int_equal(rig_reachable(sim, 0, 5), 0);
	assert_int_equal(rig_step(sim, 0, 5, SIM_WRITE), VMMU_OUTCOME_RESUME);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_PENDING), 1);
	rig_write(sim, 0, 5);
	rig_read(sim, 1, 5);
	rig_read(sim, 1, 6);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_PENDING), 2);
	rig_end(sim);
}
