/* SPDX-License-Identifier: MIT */
/* Which ports and MSRs the guest may touch without an exit. */
#ifndef HV_SVM_PERMISSIONS_H
#define HV_SVM_PERMISSIONS_H

#include <stdint.h>

/* Physical addresses of the two maps; built at the first call, shared by all vCPUs. */
uint64_t permissions_ports(void);
uint64_t permissions_msrs(void);

#endif
