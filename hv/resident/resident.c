/* SPDX-License-Identifier: MIT */
/*
 * A clock: the hand goes round over groups of frames. What was not accessed since the hand came by
 * last goes. QEMU records an access only when a CPU has no translation, and a CPU drops its
 * translations at each exit and each flush: every group that is taken flushes all CPUs, so no
 * frame in use looks cold for a whole turn. What was only looked at by the library or the
 * emulator counts as used, too.
 */
#include "resident.h"

#include "../guest/guest.h"
#include "../svm/smp.h"
#include "backing.h"

enum {
	GROUPS_EACH = 256,  /* groups looked at in one step at most */
	FRAMES_SPARE = 128, /* so many below the limit are made free, or fewer if that is few */
	SHARE_SPARE = 16,
};

static uint64_t frames_now(const struct guest_memory *memory)
{
	return __atomic_load_n(&memory->frames, __ATOMIC_RELAXED);
}

static void cold_evict(struct guest *guest, uint64_t first, uint64_t cold)
{
	struct vmmu_gfn_range range = {
		.start = {first + (unsigned)__builtin_ctzll(cold)},
		.end = {first + BACKING_GROUP - (unsigned)__builtin_clzll(cold)},
	};

	/* Of a dead VM the translations are withdrawn all the same. */
	if (vmmu_invalidate_begin(guest->vm, 0, range) == VMMU_EINVAL)
		hv_panic("the library does not take a range of the guest's memory");
	for (unsigned i = 0; i < BACKING_GROUP; i++) {
		if ((cold >> i & 1) != 0 && !backing_evict(&guest->memory, first + i))
			break;
	}
	HV_ASSERT(vmmu_invalidate_end(guest->vm, 0, range) != VMMU_EINVAL);
}

static void group_look(struct guest *guest, uint64_t first)
{
	struct vmmu_gfn_range range = {.start = {first}, .end = {first + BACKING_GROUP}};
	uint64_t cold = backing_idle(&guest->memory, first);
	uint64_t accessed = 0;

	if (vmmu_harvest_accessed(guest->vm, 0, range, &accessed, NULL) != VMMU_OK)
		return;
	cold &= ~accessed;
	if (cold != 0)
		cold_evict(guest, first, cold);
}

/* The other vCPUs are held. */
static void frames_make_free(struct guest *guest)
{
	struct backing *backing = guest->memory.backing;
	uint64_t groups = guest->memory.block_count * (GUEST_BLOCK_FRAMES / BACKING_GROUP);
	uint64_t spare = backing->limit / SHARE_SPARE;
	uint64_t target = backing->limit - (spare < FRAMES_SPARE ? spare : FRAMES_SPARE);

	for (unsigned i = 0; i < GROUPS_EACH && frames_now(&guest->memory) > target; i++) {
		uint64_t group = backing->hand;

		backing->hand = (group + 1) % groups;
		if (backing->frames[group / (GUEST_BLOCK_FRAMES / BACKING_GROUP)] != NULL)
			group_look(guest, group * BACKING_GROUP);
	}
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		guest->vcpus[i]->code.linear = UINT64_MAX;
		guest->vcpus[i]->code.levels = 0;
	}
}

void resident_step(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;
	struct backing *backing = guest->memory.backing;
	uint64_t begin = rdtsc();

	if (frames_now(&guest->memory) <= backing->limit || !smp_hold(vcpu))
		return;
	frames_make_free(guest);
	backing->tsc_evict += rdtsc() - begin;
	smp_release(vcpu);
}
