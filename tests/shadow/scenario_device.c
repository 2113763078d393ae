/* SPDX-License-Identifier: MIT */
/* Scenarios about devices: what is remembered of them, and when it is forgotten. */
#include <string.h>

#include "rig.h"
#include "scenario.h"

#define DEVICE ((uint64_t)RIG_HOLE)
#define DEVICE_PAGE 4u
#define DEVICE_GVA (RIG_GVA + 0x1000 * DEVICE_PAGE)

static void is_device(struct rig *rig, unsigned vcpu, uint64_t gva, enum linear_kind kind,
		      uint64_t gpa)
{
	struct shadow_result r = rig_access(rig, vcpu, gva, kind, LINEAR_SUPERVISOR);

	assert_int_equal(r.end, SHADOW_MMIO);
	assert_int_equal(r.gpa, gpa);
}

static struct rig device_rig(unsigned vcpus, uint64_t flags)
{
	struct rig rig = rig_new(vcpus, 1);

	rig_poke(&rig, RIG_PT, DEVICE_PAGE, DEVICE << 12 | flags);
	return rig;
}

/* @found: answered by an entry, without a look at the guest's tables. */
static void device_found(struct rig *rig, unsigned vcpu, uint64_t gva, uint64_t gpa, bool found)
{
	uint64_t cached = rig_stat(rig, VMMU_STAT_MMIO_CACHED);

	is_device(rig, vcpu, gva, LINEAR_READ, gpa);
	assert_int_equal(rig_stat(rig, VMMU_STAT_MMIO_CACHED) - cached, found);
}

void a_device_is_found_in_the_tables_the_second_time(void **state)
{
	struct rig rig = device_rig(2, RW);
	struct vmmu_shadow_result result;

	(void)state;
	device_found(&rig, 0, DEVICE_GVA, DEVICE << 12, false);
	device_found(&rig, 0, DEVICE_GVA + 0x123, (DEVICE << 12) + 0x123, true);
	device_found(&rig, 1, DEVICE_GVA + 8, (DEVICE << 12) + 8, true);
	/* The reserved bit says it, also where the CPU forgets that the entry is present. */
	shadow_leave(rig.svm, 0);
	assert_int_equal(vmmu_shadow_fault(rig.svm->vcpu[0], (vmmu_gva_t){DEVICE_GVA},
					   VMMU_PF_RESERVED, 0, &result),
			 VMMU_OUTCOME_MMIO);
	assert_int_equal(result.gpa.addr, DEVICE << 12);
	assert_int_equal(rig_stat(&rig, VMMU_STAT_MMIO_CACHED), 3);
	/* R13: gone between the hardware's walk and ours. */
	assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
	assert_int_equal(vmmu_shadow_fault(rig.svm->vcpu[0], (vmmu_gva_t){DEVICE_GVA},
					   VMMU_PF_RESERVED | VMMU_PF_PRESENT, 0, &result),
			 VMMU_OUTCOME_RETRY);
	device_found(&rig, 0, DEVICE_GVA, DEVICE << 12, false);
	rig_free(&rig);
}

void devices_are_remembered_in_all_modes_and_sizes(void **state)
{
	struct rig rig = device_rig(1, RW);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	const uint64_t huge = UINT64_C(2) << 21, pd32 = RIG_SPARE + 2;

	(void)state;
	rig_poke(&rig, RIG_PD, 2, UINT64_C(0x80000000) | LINEAR_HUGE | RW);
	for (unsigned i = 0; i < 2; i++)
		device_found(&rig, 0, huge + 0x5000, 0x80005000, i);
	assert_true(shadow_poke(rig.svm, pd32 << 12, 4, UINT32_C(0x80000000) | LINEAR_HUGE | RW));
	regs.mode = LINEAR_32BIT;
	regs.pse = true;
	regs.cr3 = pd32 << 12;
	shadow_reset(rig.svm, 0, &regs);
	for (unsigned i = 0; i < 2; i++)
		device_found(&rig, 0, 0x200010, 0x80200010, i);
	regs.mode = LINEAR_PAE;
	regs.pdpte[0] = RIG_PD << 12 | 1;
	shadow_reset(rig.svm, 0, &regs);
	for (unsigned i = 0; i < 2; i++)
		device_found(&rig, 0, DEVICE_GVA, DEVICE << 12, i);
	regs.mode = LINEAR_OFF;
	shadow_reset(rig.svm, 0, &regs);
	for (unsigned i = 0; i < 2; i++)
		device_found(&rig, 0, 0xfee00020, 0xfee00020, i);
	rig_free(&rig);
}

/* R11, I13: also when the number starts over, which it does after 16 changes in test builds. */
void a_device_where_memory_appears_is_memory(void **state)
{
	struct rig rig = device_rig(2, RW);
	struct shadow_slot slot = {.gfn = DEVICE, .count = 1, .host = 140};
	struct shadow_slot elsewhere = {.gfn = DEVICE + 32, .count = 1, .host = 141};

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned v = 0; v < 2; v++)
			for (unsigned i = 0; i < 2; i++)
				is_device(&rig, v, DEVICE_GVA, LINEAR_READ, DEVICE << 12);
		/* Any change makes it doubtful, only this one makes it wrong. */
		for (unsigned i = 0; i < round; i++) {
			assert_int_equal(shadow_slot_create(rig.svm, 3, &elsewhere), VMMU_OK);
			assert_int_equal(shadow_slot_delete(rig.svm, 3), VMMU_OK);
		}
		device_found(&rig, 0, DEVICE_GVA, DEVICE << 12, round == 0);
		assert_int_equal(shadow_slot_create(rig.svm, 2, &slot), VMMU_OK);
		rig_check(&rig);
		rig_writes(&rig, round & 1, DEVICE_GVA, DEVICE << 12);
		rig_writes(&rig, !(round & 1), DEVICE_GVA, DEVICE << 12);
		assert_int_equal(shadow_slot_delete(rig.svm, 2), VMMU_OK);
	}
	/* Long enough for every number to come back. */
	is_device(&rig, 0, DEVICE_GVA, LINEAR_READ, DEVICE << 12);
	for (unsigned i = 0; i < 40; i++) {
		slot.gfn = DEVICE + (i & 1 ? 0 : 64);
		assert_int_equal(shadow_slot_create(rig.svm, 2, &slot), VMMU_OK);
		rig_check(&rig);
		if (i & 1)
			rig_writes(&rig, 0, DEVICE_GVA, DEVICE << 12);
		assert_int_equal(shadow_slot_delete(rig.svm, 2), VMMU_OK);
		if (i % 3 == 0)
			is_device(&rig, 0, DEVICE_GVA, LINEAR_READ, DEVICE << 12);
	}
	rig_free(&rig);
}

/* R14: the guest moves its device, or takes rights away, in a table that it writes freely. */
void a_device_entry_follows_the_guests_at_each_kind_of_flush(void **state)
{
	struct rig rig = device_rig(1, RW);
	const uint32_t denied = LINEAR_PF_P | LINEAR_PF_W;

	(void)state;
	for (unsigned way = 0; way < 3; way++)
		for (unsigned change = 0; change < 4; change++) {
			uint64_t entry = change == 0   ? (DEVICE + 1) << 12 | RW
					 : change == 1 ? DEVICE << 12 | RO
					 : change == 2 ? RIG_DATA << 12 | RW
						       : 0;

			rig_store(&rig, 0, RIG_PT, DEVICE_PAGE, DEVICE << 12 | RW);
			shadow_invlpg(rig.svm, 0, DEVICE_GVA);
			is_device(&rig, 0, DEVICE_GVA, LINEAR_WRITE, DEVICE << 12);
			is_device(&rig, 0, DEVICE_GVA, LINEAR_WRITE, DEVICE << 12);
			rig_store(&rig, 0, RIG_PT, DEVICE_PAGE, entry);
			if (way == 0)
				shadow_invlpg(rig.svm, 0, DEVICE_GVA);
			else if (way == 1)
				assert_true(shadow_mov_cr3(rig.svm, 0, RIG_PML4 << 12));
			else
				shadow_flush(rig.svm, 0);
			if (change == 0)
				is_device(&rig, 0, DEVICE_GVA, LINEAR_WRITE, (DEVICE + 1) << 12);
			else if (change == 1)
				rig_faults(&rig, 0, DEVICE_GVA, LINEAR_WRITE, LINEAR_SUPERVISOR,
					   denied);
			else if (change == 2)
				rig_writes(&rig, 0, DEVICE_GVA, RIG_DATA << 12);
			else
				rig_faults(&rig, 0, DEVICE_GVA, LINEAR_WRITE, LINEAR_SUPERVISOR,
					   LINEAR_PF_W);
		}
	rig_free(&rig);
}

/* The entry is there; who may use it is asked each time. */
void a_device_that_is_remembered_keeps_its_rights(void **state)
{
	struct rig rig = device_rig(1, (RW & ~LINEAR_DIRTY) | UINT64_C(3) << 59);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	const uint32_t denied = LINEAR_PF_P | LINEAR_PF_U;

	(void)state;
	is_device(&rig, 0, DEVICE_GVA, LINEAR_READ, DEVICE << 12);
	assert_false(shadow_peek(rig.svm, rig_gpa(RIG_PT, DEVICE_PAGE)) & LINEAR_DIRTY);
	is_device(&rig, 0, DEVICE_GVA, LINEAR_WRITE, DEVICE << 12);
	assert_true(shadow_peek(rig.svm, rig_gpa(RIG_PT, DEVICE_PAGE)) & LINEAR_DIRTY);
	regs.pke = true;
	regs.pkru = UINT32_C(1) << 6;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 2; i++)
		rig_faults(&rig, 0, DEVICE_GVA, LINEAR_READ, LINEAR_USER, denied | LINEAR_PF_PK);
	regs.pkru = UINT32_C(2) << 6;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	device_found(&rig, 0, DEVICE_GVA, DEVICE << 12, true);
	rig_faults(&rig, 0, DEVICE_GVA, LINEAR_WRITE, LINEAR_SUPERVISOR,
		   LINEAR_PF_P | LINEAR_PF_W | LINEAR_PF_PK);
	regs.pke = false;
	regs.smap = true;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(rig_access(&rig, 0, DEVICE_GVA, LINEAR_READ, LINEAR_USER).end,
				 SHADOW_MMIO);
		rig_faults(&rig, 0, DEVICE_GVA, LINEAR_READ, LINEAR_SUPERVISOR, LINEAR_PF_P);
	}
	regs.smap = false;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	rig_store(&rig, 0, RIG_PT, DEVICE_PAGE, DEVICE << 12 | KERNEL | LINEAR_NO_EXEC);
	shadow_flush(rig.svm, 0);
	for (unsigned i = 0; i < 2; i++) {
		is_device(&rig, 0, DEVICE_GVA, LINEAR_WRITE, DEVICE << 12);
		rig_faults(&rig, 0, DEVICE_GVA, LINEAR_READ, LINEAR_USER, denied);
		rig_faults(&rig, 0, DEVICE_GVA, LINEAR_FETCH, LINEAR_SUPERVISOR,
			   LINEAR_PF_P | LINEAR_PF_I);
	}
	rig_free(&rig);
}

/* The entry that the vCPU's CPU finds for the address: where it lies in the machine's memory. */
static uint64_t *entry_of(struct rig *rig, unsigned vcpu, uint64_t gva)
{
	uint64_t at = rig_entry(rig, vcpu).root.addr;
	uint64_t *table = NULL;

	for (unsigned shift = 39; shift >= 12; shift -= 9) {
		table = sim_ram_pointer(rig->svm->machine, (sim_pfn_t){at >> 12});
		table += gva >> shift & 511;
		at = *table & UINT64_C(0xffffffffff000);
	}
	return table;
}

static bool fault_kills(struct rig *rig, uint32_t error)
{
	struct vmmu_shadow_result result;
	enum vmmu_outcome outcome =
		vmmu_shadow_fault(rig->svm->vcpu[0], (vmmu_gva_t){RIG_GVA}, error, 0, &result);

	assert_int_equal(outcome == VMMU_OUTCOME_DEAD, vmmu_vm_death(rig->svm->vm) != NULL);
	return outcome == VMMU_OUTCOME_DEAD;
}

/* R13: gone in between is no error; an ordinary entry that the hardware calls reserved is. */
void a_reserved_bit_in_an_ordinary_entry_ends_the_vm(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	shadow_leave(rig.svm, 0);
	assert_false(fault_kills(&rig, VMMU_PF_RESERVED));
	assert_int_equal(
		vmmu_zap_range(rig.svm->vm, 0, (struct vmmu_gfn_range){{RIG_DATA}, {RIG_DATA + 1}}),
		VMMU_OK);
	assert_false(fault_kills(&rig, VMMU_PF_RESERVED));
	*entry_of(&rig, 0, RIG_GVA) |= UINT64_C(1) << 50; /* the machine has 46 address bits */
	assert_false(fault_kills(&rig, 0));
	assert_true(fault_kills(&rig, VMMU_PF_RESERVED));
	assert_non_null(strstr(vmmu_vm_death(rig.svm->vm), "reserved bit"));
	/* The log told, too. It can still be destroyed, and gives every page back. */
	assert_int_equal(sim_violation_count(rig.svm->machine), 1);
	sim_violations_clear(rig.svm->machine);
	shadow_vm_free(rig.svm);
}
