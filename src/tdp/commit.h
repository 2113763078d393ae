/* SPDX-License-Identifier: MIT */
/*
 * The one place where a live entry changes, but for dirty flags of small leaves, which clean.c
 * takes by the table. A commit classifies the transition, refuses illegal ones, does all the
 * accounting, hands accessed and dirty state to the host, and notes what is owed to the TLBs in the
 * task's debt.
 *
 *   from \ to   EMPTY   TABLE   LEAF          MMIO
 *   EMPTY       -       link    map           remember
 *   TABLE       unlink  -       collapse      -
 *   LEAF        zap     split   widen/narrow  -
 *   MMIO        forget  link    map           refresh
 *
 * A collapse, of one table with 4K leaves into a 2M leaf, withdraws no translation: the table
 * is unlinked, and its debt is paid before the shared lock is let go.
 * FROZEN is never replaced by a commit: the table it is in belongs to the thread that took
 * it out. A leaf never changes its frame in place.
 */
#ifndef VMMU_TDP_COMMIT_H
#define VMMU_TDP_COMMIT_H

#include "tdp/iter.h"

/**
 * vmmu_commit() - replace it->old by @to.
 * Context: mmu lock; shared for what only adds (link, map, widen, split, remember) or clears
 *          dirty (and write, without dirty flags), exclusive, or a root that nobody enters any
 *          more, for what removes. A read section is enough to clear accessed.
 * Return:  true, done and it->old is @to; false, the entry was changed by somebody else (or by
 *          the hardware) and it->old is what it is now.
 */
bool vmmu_commit(struct vmmu_iter *it, vmmu_spte_t to);

/*
 * Other flags for the TABLE entry that @it stands on; what it leads to stays. Context: mmu lock in
 * any mode. Return: as above.
 */
bool vmmu_commit_flags(struct vmmu_iter *it, vmmu_spte_t to);

/* The same for callers that nothing but the hardware can race with. */
void vmmu_commit_empty(struct vmmu_iter *it);

#endif
