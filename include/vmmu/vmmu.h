/* SPDX-License-Identifier: MIT */
/* Everything that an embedder includes. */
#ifndef VMMU_VMMU_H
#define VMMU_VMMU_H

#include <vmmu/audit.h>
#include <vmmu/dirty.h>
#include <vmmu/error.h>
#include <vmmu/fault.h>
#include <vmmu/harvest.h>
#include <vmmu/port.h>
#include <vmmu/shadow.h>
#include <vmmu/slot.h>
#include <vmmu/stats.h>
#include <vmmu/trace.h>
#include <vmmu/track.h>
#include <vmmu/types.h>
#include <vmmu/vcpu.h>
#include <vmmu/vm.h>
#include <vmmu/walk.h>

#define VMMU_VERSION_MAJOR 0
#define VMMU_VERSION_MINOR 1

#endif
