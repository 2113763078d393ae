/* SPDX-License-Identifier: MIT */
/*
 * What a host does to a guest's memory while the guest runs: invalidates ranges (here the pages
 * stay where they are, so the guest may not notice), changes a slot's flags, and now and then
 * forgets every translation, at once or in constant time. Every vCPU does it, so these meet each
 * other and faults.
 */
#include "stress.h"

#include "../svm/vcpu.h"
#include "guest.h"

enum {
	EXITS_EACH = 150,
	SLOT_EACH = 16, /* of these steps */
	ALL_EACH = 64,
	WORK_TABLES = 8, /* of what is forgotten, taken apart at each step */
	FRAMES_MAX = 1024,
	SLOT_LOW = 1, /* RAM below 640 KiB: the second region */
};

/* Depends on the vCPU and on what it has done, so that runs that repeat repeat this, too. */
static uint64_t number_next(struct vcpu *vcpu)
{
	vcpu->stress_state += UINT64_C(0x9e3779b97f4a7c15);
	return (vcpu->stress_state ^ vcpu->stress_state >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 16;
}

static enum vmmu_error range_withdraw(struct vcpu *vcpu)
{
	const struct guest_region *ram = &vcpu->guest->memory.regions[0];
	uint64_t first = ram->start / FRAME_BYTES;
	uint64_t frames = ram->end / FRAME_BYTES - first;
	struct vmmu_gfn_range range;
	enum vmmu_error error;

	range.start.n = first + number_next(vcpu) % frames;
	range.end.n = range.start.n + 1 + number_next(vcpu) % FRAMES_MAX;
	if (range.end.n > first + frames)
		range.end.n = first + frames;
	error = vmmu_invalidate_begin(vcpu->guest->vm, 0, range);
	if (error != VMMU_OK)
		return error;
	return vmmu_invalidate_end(vcpu->guest->vm, 0, range);
}

static enum vmmu_error slot_change(struct vcpu *vcpu)
{
	uint32_t flags = (number_next(vcpu) & 1) != 0 ? VMMU_SLOT_SMALL : 0;

	return vmmu_slot_set_flags(vcpu->guest->vm, 0, SLOT_LOW, flags);
}

void stress_step(struct vcpu *vcpu)
{
	enum vmmu_error error;
	uint64_t step;

	if (vcpu->exits % EXITS_EACH != 0)
		return;
	step = ++vcpu->counts.stress_steps;
	(void)vmmu_work(vcpu->guest->vm, WORK_TABLES);
	if (step % (2 * ALL_EACH) == 0)
		error = vmmu_zap_all(vcpu->guest->vm);
	else if (step % ALL_EACH == 0)
		error = vmmu_zap_all_fast(vcpu->guest->vm);
	else if (step % SLOT_EACH == 0)
		error = slot_change(vcpu);
	else
		error = range_withdraw(vcpu);
	/* A dead VM is noticed at the next entry. */
	HV_ASSERT(error == VMMU_OK || error == VMMU_EDEAD || error == VMMU_ENOMEM);
}
