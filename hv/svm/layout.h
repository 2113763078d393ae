/* SPDX-License-Identifier: MIT */
/* Offsets in struct vcpu, for the world switch; asserted in vcpu.h. */
#ifndef HV_SVM_LAYOUT_H
#define HV_SVM_LAYOUT_H

#define VCPU_REGS 4096
#define VCPU_TSC_EXIT (VCPU_REGS + 16 * 8)
#define VCPU_TSC_RUN (VCPU_TSC_EXIT + 8)
#define VCPU_HOST_VMCB (VCPU_TSC_RUN + 8)

#endif
