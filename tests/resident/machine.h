/* SPDX-License-Identifier: MIT */
/* Frames for the hypervisor's store of packed pages, from malloc. */
#ifndef TESTS_RESIDENT_MACHINE_H
#define TESTS_RESIDENT_MACHINE_H

#include "../../hv/platform/platform.h"

struct machine {
	uint64_t frames;       /* the hypervisor's, now out */
	uint64_t guest_frames; /* the guest's */
	uint64_t frames_left;  /* frame_alloc() fails at 0 */
};

extern struct machine machine;

#endif
