/* SPDX-License-Identifier: MIT */
/*
 * What a host does to a guest's memory while the guest runs: invalidates ranges (here the pages
 * stay where they are, so the guest may not notice), changes a slot's flags, logs for a while what
 * is written and counts it, and now and then forgets every translation, at once or in constant
 * time. Every vCPU does it, so these meet each other and faults, and what one writes another
 * counts.
 */
#include "stress.h"

#include "../migrate/migrate.h"
#include "../svm/vcpu.h"
#include "guest.h"

enum {
	EXITS_EACH = 150,
	SLOT_EACH = 16, /* of these steps */
	ALL_EACH = 64,
	LOG_EACH = 32, /* of so many the log is on from one to the other: 4K leaves cost faults */
	LOG_ON = 18,
	LOG_OFF = 23,
	WORK_TABLES = 8, /* of what is forgotten, taken apart at each step */
	FRAMES_MAX = 1024,
	LOOK_FRAMES = 8192,
	SLOT_MAIN = 0, /* RAM from 1 MiB upwards: the first region */
	SLOT_LOW = 1,  /* RAM below 640 KiB: the second */
};

/* Depends on the vCPU and on what it has done, so that runs that repeat repeat this, too. */
static uint64_t number_next(struct vcpu *vcpu)
{
	vcpu->stress_state += UINT64_C(0x9e3779b97f4a7c15);
	return (vcpu->stress_state ^ vcpu->stress_state >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 16;
}

static enum vmmu_error range_withdraw(struct vcpu *vcpu)
{
	const struct guest_region *ram = &vcpu->guest->memory.regions[SLOT_MAIN];
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

	/* A migration needs its log, and has yet to turn it on. */
	if (vcpu->guest->migration != NULL) {
		if (!migrate_logs(vcpu->guest))
			return VMMU_OK;
		flags |= VMMU_SLOT_LOG;
	}
	return vmmu_slot_set_flags(vcpu->guest->vm, 0, SLOT_LOW, flags);
}

static enum vmmu_error log_switch(struct vcpu *vcpu, uint32_t flags)
{
	enum vmmu_error error;

	/* What a look here finds, a migration would never hear of. */
	if (vcpu->guest->migration != NULL)
		return VMMU_OK;
	error = vmmu_slot_set_flags(vcpu->guest->vm, 0, SLOT_MAIN, flags);
	if (error == VMMU_OK && flags != 0)
		vcpu->counts.log_starts++;
	return error;
}

/* Count what was written in a part of main memory, if somebody has the log on. */
static enum vmmu_error log_look(struct vcpu *vcpu)
{
	const struct guest_region *ram = &vcpu->guest->memory.regions[SLOT_MAIN];
	uint64_t frames = (ram->end - ram->start) / FRAME_BYTES;
	struct vmmu_slot_part part = {.id = SLOT_MAIN};
	enum vmmu_error error;
	uint64_t count;

	if (vcpu->guest->migration != NULL)
		return VMMU_OK;
	part.first = number_next(vcpu) % frames;
	part.count = frames - part.first < LOOK_FRAMES ? frames - part.first : LOOK_FRAMES;
	error = vmmu_dirty_log(vcpu->guest->vm, &part, NULL, &count);
	if (error == VMMU_ENOENT)
		return VMMU_OK;
	if (error == VMMU_OK) {
		vcpu->counts.log_looks++;
		vcpu->counts.log_pages += count;
	}
	return error;
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
	else if (step % LOG_EACH == LOG_ON)
		error = log_switch(vcpu, VMMU_SLOT_LOG);
	else if (step % LOG_EACH == LOG_OFF)
		error = log_switch(vcpu, 0);
	else
		error = range_withdraw(vcpu);
	if (error == VMMU_OK)
		error = log_look(vcpu);
	/* A dead VM is noticed at the next entry. */
	HV_ASSERT(error == VMMU_OK || error == VMMU_EDEAD || error == VMMU_ENOMEM);
}
