/* SPDX-License-Identifier: MIT */
#include "rig.h"

struct rig rig_new(unsigned vcpus, unsigned prefetch)
{
	struct shadow_options options = {
		.machine = {.host_page_count = 2048, .mode = SIM_CPU_ALWAYS_STALE},
		.prefetch = prefetch,
		.own_locks = true,
	};

	return rig_new_of(vcpus, &options);
}

struct rig rig_new_of(unsigned vcpus, const struct shadow_options *options)
{
	struct shadow_slot low = {.gfn = 0, .count = RIG_FRAMES, .host = 0};
	struct shadow_slot huge = {.gfn = RIG_HUGE, .count = 1024, .host = 512};
	struct linear_regs regs = {
		.mode = LINEAR_4_LEVEL,
		.vendor = LINEAR_INTEL,
		.cr3 = RIG_PML4 << 12,
		.wp = true,
		.nxe = true,
		.maxphyaddr = 40,
		.pse36_width = 40,
		.has_1g = true,
	};
	struct rig rig = {.svm = shadow_vm_new(options, vcpus)};

	/* Runs first: single frames lie anywhere. */
	assert_true(sim_host_populate(rig.svm->machine, (sim_hpage_t){512}, 1024, SIM_LEVEL_2M));
	assert_true(sim_host_populate(rig.svm->machine, (sim_hpage_t){0}, 256, SIM_LEVEL_4K));
	assert_int_equal(shadow_slot_create(rig.svm, 0, &low), VMMU_OK);
	assert_int_equal(shadow_slot_create(rig.svm, 1, &huge), VMMU_OK);
	rig_poke(&rig, RIG_PML4, 0, RIG_PDPT << 12 | RW);
	rig_poke(&rig, RIG_PDPT, 0, RIG_PD << 12 | RW);
	rig_poke(&rig, RIG_PD, 0, RIG_PT << 12 | RW);
	rig_poke(&rig, RIG_PD, 1, RIG_WINDOW_PT << 12 | KERNEL);
	for (unsigned i = 0; i < 8; i++)
		rig_poke(&rig, RIG_PT, i, (RIG_DATA + i) << 12 | RW);
	for (unsigned i = 0; i < RIG_FRAMES; i++)
		rig_poke(&rig, RIG_WINDOW_PT, i, (uint64_t)i << 12 | KERNEL);
	for (unsigned i = 0; i < vcpus; i++)
		shadow_reset(rig.svm, i, &regs);
	return rig;
}

void rig_check(struct rig *rig)
{
	shadow_check(rig->svm);
	if (sim_violation_count(rig->svm->machine))
		fail_msg("%s", sim_violation_text(rig->svm->machine, 0));
}

void rig_free(struct rig *rig)
{
	rig_check(rig);
	shadow_vm_free(rig->svm);
}

void rig_poke(struct rig *rig, uint64_t frame, unsigned index, uint64_t entry)
{
	assert_true(shadow_poke(rig->svm, rig_gpa(frame, index), 8, entry));
}

void rig_store(struct rig *rig, unsigned vcpu, uint64_t frame, unsigned index, uint64_t entry)
{
	struct shadow_result r =
		shadow_write(rig->svm, vcpu, RIG_WINDOW + rig_gpa(frame, index), entry);

	rig_check(rig);
	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa, rig_gpa(frame, index));
}

struct shadow_result rig_access(struct rig *rig, unsigned vcpu, uint64_t gva, enum linear_kind kind,
				enum linear_privilege privilege)
{
	struct shadow_request request = {
		.vcpu = vcpu,
		.access = {.gva = sim_gva(gva), .kind = kind, .privilege = privilege},
		.bytes = 8,
		.value = 0x5a5a,
	};
	struct shadow_result r = shadow_access(rig->svm, &request);

	if (!rig->is_bulk || ++rig->accesses % 256 == 0 || sim_violation_count(rig->svm->machine))
		rig_check(rig);
	return r;
}

void rig_reads(struct rig *rig, unsigned vcpu, uint64_t gva, uint64_t gpa)
{
	struct shadow_result r = rig_access(rig, vcpu, gva, LINEAR_READ, LINEAR_SUPERVISOR);

	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa, gpa);
}

void rig_writes(struct rig *rig, unsigned vcpu, uint64_t gva, uint64_t gpa)
{
	struct shadow_result r = rig_access(rig, vcpu, gva, LINEAR_WRITE, LINEAR_SUPERVISOR);

	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa, gpa);
}

void rig_faults(struct rig *rig, unsigned vcpu, uint64_t gva, enum linear_kind kind,
		enum linear_privilege privilege, uint32_t error)
{
	struct shadow_result r = rig_access(rig, vcpu, gva, kind, privilege);

	assert_int_equal(r.end, SHADOW_FAULT);
	assert_int_equal(r.error, error);
}

uint64_t rig_stat(struct rig *rig, enum vmmu_stat stat)
{
	return shadow_stat(rig->svm, stat);
}

void rig_smuggle(struct rig *rig, uint64_t frame, unsigned index, uint64_t entry)
{
	struct shadow_vm *svm = rig->svm;
	uint64_t page, gpa = rig_gpa(frame, index), old = shadow_peek(svm, gpa);

	assert_non_null(shadow_slot_of(svm, gpa, &page));
	sim_host_write(svm->machine, (sim_hpage_t){page}, gpa & 0xff8, entry);
	linear_oracle_wrote(svm->oracle, sim_gpa(gpa), 8, old, entry);
}

struct vmmu_entry rig_entry(struct rig *rig, unsigned vcpu)
{
	struct vmmu_entry entry;

	shadow_leave(rig->svm, vcpu);
	assert_int_equal(vmmu_vcpu_enter(rig->svm->vcpu[vcpu], &entry), VMMU_OK);
	vmmu_vcpu_leave(rig->svm->vcpu[vcpu]);
	/* What was entered did not run: the flush that it was told of is still to be made. */
	if (entry.flush)
		vmmu_vcpu_moved(rig->svm->vcpu[vcpu]);
	return entry;
}
