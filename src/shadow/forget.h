/* SPDX-License-Identifier: MIT */
/* Forgetting every shadow table at once. */
#ifndef VMMU_SHADOW_FORGET_H
#define VMMU_SHADOW_FORGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/annotate.h"

struct vmmu_task;

/* All tables there are become obsolete: once the debt is paid no vCPU uses one, and none is found
 * again. In time that depends on the number of vCPUs only. */
void vmmu_shades_forget(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);

/* Take all obsolete tables apart. Pauses. */
void vmmu_shades_zap_obsolete(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);

/* Take @tables of them apart, letting go of the lock after each. Return: true if some are left. */
bool vmmu_shadow_work(struct vmmu_task *task, uint64_t tables) VMMU_EXCLUDES(vmmu_mmu_lock);

#endif
