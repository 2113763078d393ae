/* SPDX-License-Identifier: MIT */
/* Memory that is taken from under the running guest, for tests of what must then happen. */
#ifndef HV_GUEST_STRESS_H
#define HV_GUEST_STRESS_H

struct vcpu;

/* Called at every exit with stress=on: now and then withdraws translations. */
void stress_step(struct vcpu *vcpu);

#endif
