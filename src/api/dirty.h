/* SPDX-License-Identifier: MIT */
/* The life of a slot's dirty log, as slot changes see it. */
#ifndef VMMU_API_DIRTY_H
#define VMMU_API_DIRTY_H

#include <vmmu/error.h>

#include "api/engines.h"

/* Room for the log of these frames, empty. The slot that is to log is not published yet.
 * Return: VMMU_ENOMEM; nothing has changed then. Each success wants a vmmu_log_end(). */
VMMU_MUST_CHECK enum vmmu_error vmmu_log_prepare(struct vmmu_vm *vm, unsigned space,
						 struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_slots_lock);

/* The slot is published and had translations before: from here on, writes are seen. */
void vmmu_log_begin(struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
	VMMU_REQUIRES(vmmu_slots_lock);

/* The slot logs no more, or its change came to nothing. */
void vmmu_log_end(struct vmmu_vm *vm);

#endif
