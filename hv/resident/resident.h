/* SPDX-License-Identifier: MIT */
/* The guest keeps a share of its memory in host frames: cold pages go when there are too many. */
#ifndef HV_RESIDENT_RESIDENT_H
#define HV_RESIDENT_RESIDENT_H

struct vcpu;

/* Called at every exit with resident= below 100, outside of the library: takes cold pages away
 * while more than the share is there. Addresses in guest memory from before are void. */
void resident_step(struct vcpu *vcpu);

#endif
