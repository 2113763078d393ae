/* SPDX-License-Identifier: MIT */
/* Scenarios of promises that are broken: damaged tables (R13), a host that errs. The VM may die. */
#include "scenario.h"

#include "vm.h"

/* ---- damaged tables ---- */

/* Damage the leaf of gfn 5, let the hardware find it. Return: did the VM die of it? */
static bool dies_of(enum vmmu_format format, uint64_t clear, uint64_t set)
{
	struct sim_vm_options options = rig_options(format);
	struct sim_vm *sim = rig_new(&options, 1);
	struct vmmu_fault_result result;
	struct vmmu_fault fault;
	struct sim_result leaf;
	enum vmmu_outcome outcome;
	struct vmmu_sp *table = NULL;
	uint64_t raw;

	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_read(sim, 0, 5);
	leaf = rig_walk(sim, 0, 5, SIM_READ);
	for (uint64_t b = 0; !table || table->role.level != VMMU_LEVEL_4K; b++)
		table = vmmu_table_bucket(sim->vm, b);
	raw = (leaf.entry & ~clear) | set;
	atomic_put(&table->entries[5].raw, raw);
	assert_true(rig_walk(sim, 0, 5, SIM_READ).outcome != SIM_OK);
	sim_cpu_flush_everything(sim_machine_cpu(sim->machine, 0));
	fault = rig_hardware_fault(sim, 0, 5, SIM_READ);
	assert_true(fault.flags & VMMU_FAULT_RESERVED);
	outcome = vmmu_fault_handle(sim->vcpu[0], &fault, &result);
	assert_int_equal(outcome == VMMU_OUTCOME_DEAD, vmmu_vm_death(sim->vm) != NULL);
	atomic_put(&table->entries[5].raw, leaf.entry);
	sim_violations_clear(sim->machine);
	sim_vm_free(sim);
	return outcome == VMMU_OUTCOME_DEAD;
}

/* R13, second half: an ordinary entry with reserved bits is nobody's race. */
void a_damaged_leaf_behind_a_reserved_bit_fault_kills_the_vm(void **state)
{
	(void)state;
	/* EPT: writable, not readable. */
	assert_true(dies_of(VMMU_FORMAT_EPT, VMMU_BIT(0), VMMU_BIT(1)));
	/* NPT: an address beyond the width, and a second bit that vmmu never sets. */
	assert_true(dies_of(VMMU_FORMAT_NPT, 0, VMMU_BIT(45) | VMMU_BIT(9)));
}

void a_leaf_with_bits_that_only_this_cpu_reserves_kills_the_vm(void **state)
{
	(void)state;
	/* The VM's CPUs have 40 address bits: no entry has others. */
	assert_true(dies_of(VMMU_FORMAT_NPT, 0, VMMU_BIT(45)));
	assert_true(dies_of(VMMU_FORMAT_EPT, 0, VMMU_BIT(45)));
	/* EPT: there is no memory type 2. */
	assert_true(dies_of(VMMU_FORMAT_EPT, UINT64_C(7) << 3, UINT64_C(2) << 3));
}

/* ---- a host that errs ---- */

void a_host_frame_beyond_the_address_width_is_a_host_error(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct vmmu_slot_config slot = {
			.count = 0x80, .base = {0x40}, .host_base = (UINT64_C(1) << 40) - 0x40000};
		struct vmmu_fault fault = {.gpa = {0x80000}, .access = VMMU_ACCESS_READ};
		struct vmmu_fault_result result;
		struct sim_vm *sim;

		options.direct = true;
		options.vm.prefetch = 32;
		options.vm.max_leaf = VMMU_LEVEL_1G;
		sim = rig_new(&options, 1);
		assert_int_equal(vmmu_slot_create(sim->vm, &slot), VMMU_OK);
		assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
		sim_vm_leave(sim, 0);
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_HOST_ERROR);
		assert_int_equal(result.gfn.n, 0x80);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 0);
		/* The last frame that can be addressed, and neighbours that can. */
		assert_int_equal(rig_handle(sim, 0, 0x7f, VMMU_ACCESS_WRITE), VMMU_OUTCOME_RESUME);
		assert_int_equal(rig_reachable(sim, 0, 0x7f), 1);
		assert_int_equal(rig_reachable(sim, 0, 0x80), 0);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 32);
		rig_end(sim);
	}
}

static void everything_says_dead(struct sim_vm *sim)
{
	struct vmmu_slot_config slot = {.id = 3, .base = {0x800}, .count = 1}, found;
	struct vmmu_vcpu *another;
	struct vmmu_entry entry;
	uint64_t done;

	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[0], &entry), VMMU_EDEAD);
	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[1], &entry), VMMU_EDEAD);
	assert_int_equal(vmmu_vcpu_set_space(sim->vcpu[0], 1), VMMU_EDEAD);
	assert_int_equal(vmmu_vcpu_create(sim->vm, NULL, &another), VMMU_EDEAD);
	assert_int_equal(rig_handle(sim, 0, 6, VMMU_ACCESS_READ), VMMU_OUTCOME_DEAD);
	assert_int_equal(vmmu_prefault(sim->vcpu[0], rig_range(0, 4), &done), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_create(sim->vm, &slot), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_delete(sim->vm, 0, 0), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_move(sim->vm, 0, 0, (vmmu_gfn_t){0x400}), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, 2), VMMU_EDEAD);
	assert_int_equal(vmmu_slot_find(sim->vm, 0, (vmmu_gfn_t){6}, &found), VMMU_OK);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(0, 4)), VMMU_EDEAD);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(0, 4)), VMMU_EDEAD);
	assert_int_equal(vmmu_invalidate_host_begin(sim->vm, 0, 4096), VMMU_EDEAD);
	assert_int_equal(vmmu_invalidate_host_end(sim->vm, 0, 4096), VMMU_EDEAD);
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 4)), VMMU_EDEAD);
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_EDEAD);
	assert_int_equal(vmmu_vm_destroy(sim->vm), VMMU_EBUSY);
}

void a_host_frame_that_changes_without_invalidation_kills_only_the_vm(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2), *other = rig_new(&options, 1);

		rig_slot(other, 0, 0, 0, 64, 0);
		rig_slot(sim, 0, 0, 0, 64, 0);
		assert_true(sim_vm_write_protect(sim, 5));
		rig_read(sim, 0, 5);
		rig_read(sim, 1, 6);
		/* The host breaks its promise: moved, and nobody told. */
		assert_true(sim_host_write_enable(sim->machine, (sim_hpage_t){5}));
		assert_true(sim_host_migrate(sim->machine, (sim_hpage_t){5}));
		assert_true(sim->running[1]);
		assert_null(vmmu_vm_death(sim->vm));
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_WRITE), VMMU_OUTCOME_DEAD);
		assert_string_equal(vmmu_vm_death(sim->vm),
				    "the host frame behind a guest frame changed without "
				    "vmmu_invalidate_begin()");
		assert_false(sim->running[1]); /* was interrupted */
		assert_string_equal(sim_violation_text(sim->machine, 0),
				    "the library says: the host frame behind a guest frame "
				    "changed without vmmu_invalidate_begin()");
		everything_says_dead(sim);
		assert_int_equal(sim_violation_count(sim->machine), 1); /* said once */
		sim_violations_clear(sim->machine);
		sim_vm_free(sim); /* every page comes back, or this aborts */
		rig_write(other, 0, 5);
		rig_end(other);
	}
}
