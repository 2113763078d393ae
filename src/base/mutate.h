/* SPDX-License-Identifier: MIT */
/*
 * Deliberate mistakes. In a normal build VMMU_MUTANT() is 0 and nothing of this exists. In the
 * test build with mutations one number chooses which mistake is made, and the tests must
 * notice each of them. docs/testing.md tells how.
 */
#ifndef VMMU_BASE_MUTATE_H
#define VMMU_BASE_MUTATE_H

#define VMMU_MUTANTS(X)                                                                            \
	X(SKIP_FLUSH, "a flush that is owed is not made")                                          \
	X(SKIP_STAMP, "vCPUs outside the guest are not told of a flush")                           \
	X(PAUSE_UNPAID, "a long operation lets others in before its flush is paid")                \
	X(FREE_EARLY, "a table is freed before the flush")                                         \
	X(RIGHTS_INVERTED, "a read-only slot is mapped writable")                                  \
	X(STALE_GENERATION, "a device entry of an older generation is believed")                   \
	X(STALE_CACHE, "the vCPU's device cache is believed across slot changes")                  \
	X(STALE_SLOT, "the vCPU's last slot is believed across slot changes")                      \
	X(IGNORE_CHECK, "what was looked up before the lock is not checked under it")              \
	X(IGNORE_SEQUENCE, "a page taken away meanwhile is installed")                             \
	X(IGNORE_ACTIVE, "a page is installed while it is being taken away")                       \
	X(DELETE_KEEPS, "a deleted slot's translations stay")                                      \
	X(SKIP_INVALID_ROOT, "host invalidation forgets roots on their way out")                   \
	X(SKIP_WITHDRAWN, "host invalidation forgets a slot that is being deleted")                \
	X(MOVE_IS_FATAL, "a slot that moves over its own frames is taken for a broken contract")   \
	X(ENTER_INVALID, "a vCPU keeps running on an invalidated root")                            \
	X(LOSE_DIRTY, "the dirty state of a withdrawn leaf is not handed over")                    \
	X(PREFETCH_DIRTY, "a prefetched leaf is dirty")                                            \
	X(HUGE_TAIL, "a huge leaf reaches over the end of its slot")                               \
	X(HUGE_SKEWED, "a huge leaf maps host memory that is not congruent")                       \
	X(WRONG_SPACE, "a fault looks into the slots of the other space")                          \
	X(MISCOUNT, "a withdrawn leaf is still counted")                                           \
	X(MMIO_ADDRESS, "a device entry holds an address of memory")                               \
	X(NO_GUARD, "a fault that nothing comes of is repeated for ever")

/* Mistakes that take two threads, in an order that only tests/explore is sure to meet. */
#define VMMU_RACE_MUTANTS(X)                                                                       \
	X(COMMIT_BLIND, "an entry is stored without a look at what it is by then")                 \
	X(STAMP_EARLY, "a vCPU reads the flush stamp before it says that it runs")                 \
	X(ZAP_TWICE, "roots that another thread invalidated are taken apart, too")                 \
	X(PAUSE_KEEPS, "a walk goes on after a pause where it stood")                              \
	X(END_ENDS_ALL, "the end of an invalidation ends all of them")                             \
	X(EPOCH_BLIND, "the epoch moves on without a look at the readers")                         \
	X(EPOCH_HASTY, "what was taken out is free after one move of the epoch")                   \
	X(SET_EARLY, "an old slot set is freed while it is read")                                  \
	X(MOVED_FORGETS, "a vCPU that moved to another CPU does not flush there")                  \
	X(LOCK_BARGES, "a reader takes the lock beside a writer")

enum vmmu_mutant {
	VMMU_MUTANT_NONE,
#define VMMU_MUTANT_ENUM(name, text) VMMU_MUTANT_##name,
	VMMU_MUTANTS(VMMU_MUTANT_ENUM) VMMU_MUTANT_COUNT,
	VMMU_RACE_MUTANTS(VMMU_MUTANT_ENUM)
#undef VMMU_MUTANT_ENUM
		VMMU_MUTANT_END
};

#ifdef VMMU_TEST_MUTATIONS
extern enum vmmu_mutant vmmu_mutant; /* defined by the test program */
#define VMMU_MUTANT(name) (vmmu_mutant == VMMU_MUTANT_##name)
#else
#define VMMU_MUTANT(name) 0
#endif

#endif
