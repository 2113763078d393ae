/* SPDX-License-Identifier: MIT */
/* Scenarios of slots that come and go: R11, R12, R13, R29, R43, R61, R63. */
#include "scenario.h"

#include "vm.h"

/* R11: a device entry and the vCPU's device cache are not believed once a slot is there. */
void a_device_frame_becomes_memory_when_a_slot_is_created_over_it(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);

		rig_mmio(sim, 0, 600);
		assert_int_equal(sim->mmio_fast, 0);
		rig_mmio(sim, 0, 600); /* from its own cache */
		rig_mmio(sim, 1, 600); /* from the table */
		assert_int_equal(sim->mmio_fast, 2);
		rig_slot(sim, 0, 0, 512, 512, 0);
		rig_write(sim, 0, 600);
		rig_read(sim, 1, 600);
		rig_write(sim, 1, 601);
		rig_read(sim, 0, 601);
		assert_int_equal(sim->mmio, 3);
		rig_end(sim);
	}
}

struct during {
	uint64_t device, going; /* frames: never in a slot; the first to be withdrawn */
	unsigned seen;
};

static void access_during(struct sim_vm *sim, void *context)
{
	struct during *d = context;
	uint64_t fast = sim->mmio_fast, kept = rig_stat(sim, VMMU_STAT_MMIO_ENTRIES);

	if (!(vmmu_slot_generation(sim->vm, 0) >> 63))
		return;
	rig_mmio(sim, 1, d->device);
	rig_mmio(sim, 1, d->going);
	assert_int_equal(sim->mmio_fast, fast);
	assert_int_equal(rig_stat(sim, VMMU_STAT_MMIO_ENTRIES), kept);
	d->seen++;
}

/* R11, during the update. */
void during_a_slot_change_device_accesses_go_the_slow_way_and_nothing_is_remembered(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		struct during during = {.device = 600, .going = 0};

		rig_slot(sim, 0, 0, 0, 64, 0);
		for (uint64_t gfn = 0; gfn < 16; gfn++)
			rig_write(sim, 0, gfn);
		rig_mmio(sim, 1, during.device);
		rig_mmio(sim, 1, during.device);
		assert_int_equal(sim->mmio_fast, 1);
		sim->on_yield = access_during;
		sim->hook_context = &during;
		sim->options.eager_yield = true;
		assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		sim->options.eager_yield = false;
		assert_true(during.seen >= 16);
		rig_mmio(sim, 1, during.device); /* the old entry is refreshed ... */
		rig_mmio(sim, 0, during.device); /* ... and believed again */
		assert_int_equal(sim->mmio_fast, 2);
		assert_int_equal(rig_stat(sim, VMMU_STAT_MMIO_ENTRIES), 1);
		rig_end(sim);
	}
}

static void toggle_far_slot(struct sim_vm *sim)
{
	if (oracle_find_id(sim->oracle, 0, 9))
		assert_int_equal(sim_slot_delete(sim, 0, 9), VMMU_OK);
	else
		rig_slot(sim, 0, 9, 0x8000, 8, 1024);
}

/* R11, wrap. Entries of this build hold 4 bits of the generation, a change adds 2. */
void device_entries_do_not_survive_a_wrap_of_the_generation(void **state)
{
	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned start = 0; start < 8; start++) {
			struct sim_vm_options options = rig_options(format);
			struct sim_vm *sim = rig_new(&options, 1);
			uint64_t generation;

			assert_int_equal(sim->vm->fmt.generation_mask, 0xf);
			for (unsigned i = 0; i < start; i++)
				toggle_far_slot(sim);
			rig_mmio(sim, 0, 600);
			generation = vmmu_slot_generation(sim->vm, 0);
			rig_slot(sim, 0, 0, 512, 512, 0);
			for (unsigned i = 0; i < 7; i++)
				toggle_far_slot(sim);
			assert_int_equal(vmmu_slot_generation(sim->vm, 0), generation + 16);
			rig_read(sim, 0, 600);
			rig_end(sim);
		}
}

static void read_something(struct sim_vm *sim, void *context)
{
	uint64_t *gfn = context, value = 0;
	enum sim_access_end end = sim_vm_access(sim, 1, *gfn << VMMU_PAGE_SHIFT, SIM_READ, &value);

	assert_true(end == SIM_ACCESS_MEMORY || end == SIM_ACCESS_MMIO);
	*gfn = (*gfn + 1) % 16;
}

/* R12, as far as it goes without guest tables: the guest-physical address changes sides. */
void a_device_becomes_memory_and_a_device_again_under_stale_tlbs(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);
		uint64_t next = 0;

		sim->on_yield = read_something;
		sim->hook_context = &next;
		for (unsigned round = 0; round < 12; round++) {
			rig_mmio(sim, 0, round % 16);
			rig_mmio(sim, 1, round % 16);
			sim->options.eager_yield = round & 1;
			rig_slot(sim, 0, 0, 0, 16, round * 16);
			for (uint64_t gfn = 0; gfn < 16; gfn++) {
				rig_write(sim, gfn & 1, gfn);
				rig_read(sim, !(gfn & 1), gfn);
			}
			assert_true(sim->running[0] && sim->running[1]);
			if (round % 3)
				assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
			else
				assert_int_equal(sim_slot_move(sim, 0, 0, 0x400), VMMU_OK);
			for (uint64_t gfn = 0; gfn < 16; gfn++) {
				rig_mmio(sim, 0, gfn);
				rig_mmio(sim, 1, gfn);
			}
			if (!(round % 3))
				assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		}
		assert_true(next > 0);
		rig_end(sim);
	}
}

/* R13: what happens to the device entry before the library sees the fault, and what then. */
void a_device_entry_that_vanishes_between_walk_and_handling_is_retried(void **state)
{
	static const enum vmmu_outcome expected[4] = {
		VMMU_OUTCOME_RETRY,  /* the range was zapped */
		VMMU_OUTCOME_RETRY,  /* everything was zapped */
		VMMU_OUTCOME_RESUME, /* a slot came: the long way finds it */
		VMMU_OUTCOME_RETRY,  /* a slot came and is mapped already */
	};

	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned event = 0; event < 4; event++) {
			struct sim_vm_options options = rig_options(format);
			struct sim_vm *sim = rig_new(&options, 2);
			struct vmmu_fault_result result;
			struct vmmu_fault fault;

			rig_mmio(sim, 0, 600);
			fault = rig_hardware_fault(sim, 1, 600, SIM_READ);
			assert_true(fault.flags & VMMU_FAULT_RESERVED);
			if (event == 0)
				assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(600, 601)),
						 0);
			else if (event == 1)
				assert_int_equal(vmmu_zap_all(sim->vm), 0);
			else
				rig_slot(sim, 0, 0, 512, 512, 0);
			if (event == 3)
				rig_write(sim, 0, 600);
			assert_int_equal(vmmu_fault_handle(sim->vcpu[1], &fault, &result),
					 expected[event]);
			if (event < 2)
				rig_mmio(sim, 1, 600);
			else
				rig_read(sim, 1, 600);
			rig_end(sim);
		}
}

/* ---- R29 ---- */

struct shape {
	uint64_t base, count, host;
};

/* A 2M leaf needs its whole block inside of the slot, and host memory that lies as it does. */
static enum sim_level fitting_level(const struct shape *s, uint64_t gfn, bool small)
{
	uint64_t first = gfn & ~UINT64_C(511);

	if (small || first < s->base || first + 512 > s->base + s->count ||
	    (s->base - s->host) % 512)
		return SIM_LEVEL_4K;
	return SIM_LEVEL_2M;
}

static void check_shape(struct sim_vm *sim, const struct shape *s, bool small)
{
	for (uint64_t at = 0; at < s->count; at += at < 2 || at + 3 > s->count ? 1 : 37) {
		rig_write(sim, 0, s->base + at);
		assert_int_equal(rig_walk(sim, 0, s->base + at, SIM_READ).level,
				 fitting_level(s, s->base + at, small));
	}
	rig_mmio(sim, 0, s->base - 1);
	rig_mmio(sim, 0, s->base + s->count);
}

/* R29: slots smaller than a huge page, unaligned bases; the attribute is SMALL. */
void slots_smaller_than_a_huge_page_or_askew_get_leaves_that_fit(void **state)
{
	static const struct shape shapes[] = {
		{0x1000, 1, 0},     {0x11ff, 1, 511},      {0x1001, 511, 1},  {0x1000, 511, 0},
		{0x11ff, 513, 511}, {0x1001, 1023, 1},     {0x1000, 512, 0},  {0x11ff, 514, 511},
		{0x1003, 700, 4},   {0x1180, 1400, 0x180}, {0x1000, 1024, 7}, {0x1180, 1400, 0x80},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];
		struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
		struct sim_vm *sim;

		options.vm.max_leaf = VMMU_LEVEL_1G;
		options.run_level = SIM_LEVEL_2M;
		sim = rig_new(&options, 1);
		rig_slot(sim, 0, 0, s->base, s->count, s->host);
		check_shape(sim, s, false);
		for (unsigned small = 2; small-- > 0;) {
			assert_int_equal(
				vmmu_slot_set_flags(sim->vm, 0, 0, small ? VMMU_SLOT_SMALL : 0),
				VMMU_OK);
			check_shape(sim, s, small);
		}
		rig_end(sim);
	}
}

/* ---- R43 ---- */

static void delete_slot(struct sim_vm *sim, void *context)
{
	(void)context;
	assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
}

static void move_slot(struct sim_vm *sim, void *context)
{
	(void)context;
	assert_int_equal(sim_slot_move(sim, 0, 0, 0x400), VMMU_OK);
}

static void replace_slot(struct sim_vm *sim, void *context)
{
	delete_slot(sim, context);
	rig_slot(sim, 0, 0, 0, 64, 512);
}

static void narrow_slot(struct sim_vm *sim, void *context)
{
	(void)context;
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, VMMU_SLOT_SMALL), VMMU_OK);
}

/* R43: the slot changes between the look-up of its page and the lock, either side of it. */
void a_slot_that_goes_between_look_up_and_lock_is_not_mapped(void **state)
{
	static sim_yield_fn *const events[4] = {delete_slot, move_slot, replace_slot, narrow_slot};

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		sim_yield_fn *event = events[i % 4];
		struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
		struct sim_vm *sim;

		options.vm.zap_all_on_delete = i & 8;
		sim = rig_new(&options, 2);
		rig_slot(sim, 0, 0, 0, 64, 0);
		*(i & 4 ? &sim->before_page_answer : &sim->after_page_answer) = event;
		assert_int_equal(rig_step(sim, 0, 5, SIM_WRITE), VMMU_OUTCOME_RETRY);
		assert_null(i & 4 ? sim->before_page_answer : sim->after_page_answer);
		assert_int_equal(rig_reachable(sim, 0, 5), 0);
		sim_vm_check(sim);
		if (event == delete_slot || event == move_slot)
			rig_mmio(sim, 0, 5);
		else
			rig_write(sim, 0, 5);
		if (event == move_slot)
			rig_write(sim, 0, 0x405);
		rig_end(sim);
	}
}

/* ---- R61 ---- */

/* Where the two slots are: in tables of their own, so that one can go before the other. */
#define STAYING 0x0u
#define GOING 0x400u

static void rig_two_slots(struct sim_vm *sim)
{
	rig_slot(sim, 0, 0, GOING, 64, 0);
	rig_slot(sim, 0, 1, STAYING, 64, 64);
	for (uint64_t at = 0; at < 64; at++) {
		rig_write(sim, 0, GOING + at);
		rig_read(sim, 1, GOING + at);
		rig_write(sim, 1, STAYING + at);
	}
}

static void nothing_is_left(struct sim_vm *sim)
{
	for (uint64_t page = 0; page < 64; page++) {
		assert_int_equal(rig_reachable(sim, 0, GOING + page), 0);
		assert_true(rig_told_dirty(sim, page));
	}
	/* The memory is the host's again: whoever still reaches it now breaks the machine. */
	for (uint64_t page = 0; page < 64; page++)
		assert_true(sim_host_discard(sim->machine, (sim_hpage_t){page}));
	memset(sim->dirty_frame, 0, sim->options.machine.frame_count);
}

static void delete_and_look(bool everything)
{
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim;

		options.vm.zap_all_on_delete = everything;
		sim = rig_new(&options, 2);
		rig_two_slots(sim);
		assert_true(sim->running[0] && sim->running[1]);
		assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		nothing_is_left(sim);
		sim_vm_check(sim); /* no TLB either */
		assert_int_equal(rig_reachable(sim, 0, STAYING + 5), !everything);
		for (uint64_t gfn = 0; gfn < 64; gfn++) {
			rig_mmio(sim, gfn & 1, GOING + gfn);
			rig_mmio(sim, !(gfn & 1), GOING + gfn);
			rig_read(sim, 0, STAYING + gfn);
		}
		rig_end(sim);
	}
}

/* R61, both modes. */
void a_deleted_slot_leaves_nothing_behind_slot_only(void **state)
{
	(void)state;
	delete_and_look(false);
}

void a_deleted_slot_leaves_nothing_behind_zap_all(void **state)
{
	(void)state;
	delete_and_look(true);
}

static void delete_once(struct sim_vm *sim, void *context)
{
	bool *done = context;

	if (*done)
		return;
	*done = true;
	assert_int_equal(rig_reachable(sim, 0, GOING), 1); /* the zapper is not there yet */
	assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
	nothing_is_left(sim);
}

static void delete_meanwhile(bool everything)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim;
	bool done = false;

	options.vm.zap_all_on_delete = everything;
	options.eager_yield = true;
	sim = rig_new(&options, 2);
	rig_two_slots(sim);
	sim->on_yield = delete_once;
	sim->hook_context = &done;
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
	assert_true(done);
	/* Nobody is told about pages that were no longer the VM's. */
	for (uint64_t i = 0; i < sim->options.machine.frame_count; i++) {
		sim_pfn_t pfn = {sim_ram_first_pfn(sim->machine).n + i};

		assert_true(!sim->dirty_frame[i] ||
			    sim_ram_state(sim->machine, pfn) == SIM_FRAME_GUEST);
	}
	rig_end(sim);
}

/* R61 with another zapper half way through (R15, R16): an invalid root counts, too. */
void a_slot_deleted_while_everything_is_zapped_leaves_nothing_behind_slot_only(void **state)
{
	(void)state;
	delete_meanwhile(false);
}

void a_slot_deleted_while_everything_is_zapped_leaves_nothing_behind_zap_all(void **state)
{
	(void)state;
	delete_meanwhile(true);
}

/* R63, two-dimensional: the guest's CR3 points into a hole. */
void page_tables_in_a_hole_are_a_device_until_a_slot_is_created_there(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		struct vmmu_fault_result result;
		struct vmmu_fault fault;
		uint64_t value = 0;

		fault = rig_hardware_fault(sim, 0, 600, SIM_TABLE_READ);
		assert_true(fault.flags & VMMU_FAULT_TABLE);
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_MMIO);
		assert_false(result.from_cache);
		fault = rig_hardware_fault(sim, 0, 600, SIM_TABLE_READ);
		/* A misconfiguration does not say what the access was. */
		assert_true(format == VMMU_FORMAT_EPT || (fault.flags & VMMU_FAULT_TABLE));
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_MMIO);
		assert_true(result.from_cache);
		rig_slot(sim, 0, 0, 512, 512, 0);
		assert_int_equal(sim_vm_access(sim, 0, UINT64_C(600) << VMMU_PAGE_SHIFT,
					       SIM_TABLE_READ, &value),
				 SIM_ACCESS_MEMORY);
		assert_int_equal(sim->mmio, 0);
		rig_end(sim);
	}
}
