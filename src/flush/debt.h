/* SPDX-License-Identifier: MIT */
/*
 * Flush debt: what a call that withdrew rights owes to the hardware. It lives in the task, and
 * the only way to let go of the mmu lock pays it first:
 *
 *   entry withdrawn (commit) -> debt owed -> vmmu_section_end(): CPUs flushed -> tables
 *   retired -> lock released
 *
 * So nobody can act on "the entry is gone" while a CPU still uses it, and no table is freed
 * while a CPU may walk it.
 */
#ifndef VMMU_FLUSH_DEBT_H
#define VMMU_FLUSH_DEBT_H

#include <vmmu/types.h>

#include "base/annotate.h"

struct vmmu_vm;
struct vmmu_task;
struct vmmu_sp;

struct vmmu_debt {
	bool owed;
	bool everything;             /* all spaces, all frames */
	unsigned space;              /* of @range */
	struct vmmu_gfn_range range; /* smallest range that covers all that is owed */
	struct vmmu_sp *unlinked;    /* tables to retire once it is paid */
	bool out_of_reach;           /* what is withdrawn now belongs to a root that no CPU
				      * can use any more: nothing is owed for it */
};

/* Translations of @range are withdrawn. */
void vmmu_debt_add(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range);
void vmmu_debt_add_everything(struct vmmu_task *task);

/* The mmu lock, together with a read section. The ends pay. */
void vmmu_section_begin_shared(struct vmmu_task *task)
	VMMU_ACQUIRE_SHARED(vmmu_mmu_lock, vmmu_read_section);
void vmmu_section_end_shared(struct vmmu_task *task)
	VMMU_RELEASE_SHARED(vmmu_mmu_lock, vmmu_read_section);
void vmmu_section_begin(struct vmmu_task *task) VMMU_ACQUIRE(vmmu_mmu_lock);
void vmmu_section_end(struct vmmu_task *task) VMMU_RELEASE(vmmu_mmu_lock);

/**
 * vmmu_section_pause() - if the port says so, or somebody waits: pay, let others have the lock,
 * take it again.
 * Return: true if it was let go: everything seen before may have changed.
 */
bool vmmu_section_pause(struct vmmu_task *task) VMMU_REQUIRES(vmmu_mmu_lock);
/* @shares: the lock is held shared. */
bool vmmu_section_wants_pause(struct vmmu_task *task, bool shares);
/* Between two sections of one operation. */
void vmmu_section_yield(struct vmmu_task *task);
bool vmmu_section_pause_shared(struct vmmu_task *task)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock, vmmu_read_section);

/* Pay now and go on with the lock held. */
void vmmu_section_settle(struct vmmu_task *task) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* A read section without the mmu lock: slots and tables seen in it stay. */
void vmmu_reading_begin(struct vmmu_task *task) VMMU_ACQUIRE_SHARED(vmmu_read_section);
void vmmu_reading_end(struct vmmu_task *task) VMMU_RELEASE_SHARED(vmmu_read_section);

/* Wait until every read section that is under way now has ended. Context: not in one. */
void vmmu_reading_wait(struct vmmu_task *task) VMMU_EXCLUDES(vmmu_mmu_lock);

#endif
