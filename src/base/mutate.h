/* SPDX-License-Identifier: MIT */
/*
 * Deliberate mistakes. In a normal build VMMU_MUTANT() is 0 and nothing of this exists. In the
 * test build with mutations one number chooses which mistake is made, and the tests must
 * notice each of them. docs/testing.md tells how.
 */
#ifndef VMMU_BASE_MUTATE_H
#define VMMU_BASE_MUTATE_H

#define VMMU_TDP_MUTANTS(X)                                                                        \
	X(SKIP_FLUSH, "a flush that is owed is not made")                                          \
	X(SKIP_STAMP, "vCPUs outside the guest are not told of a flush")                           \
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
	X(PAUSE_UNPAID, "a long operation lets others in before its flush is paid")                \
	X(PREFETCH_DIRTY, "a prefetched leaf is dirty")                                            \
	X(HUGE_TAIL, "a huge leaf reaches over the end of its slot")                               \
	X(HUGE_SKEWED, "a huge leaf maps host memory that is not congruent")                       \
	X(WRONG_SPACE, "a fault looks into the slots of the other space")                          \
	X(MISCOUNT, "a withdrawn leaf is still counted")                                           \
	X(MMIO_ADDRESS, "a device entry holds an address of memory")                               \
	X(NO_GUARD, "a fault that nothing comes of is repeated for ever")                          \
	X(CLEAN_UNPAID, "dirty pages are harvested without a flush")                               \
	X(AGE_CLEANS, "harvesting accessed frames clears the dirty bits, too")                     \
	X(WORK_TWICE, "two threads take the same root apart")

/* Tracking; tests/track/mutant_test.c. */
#define VMMU_TRACK_MUTANTS(X)                                                                      \
	X(TRACK_TELL_EARLY, "clients hear of a slot's end before it is certain")                   \
	X(TRACK_OUTLIVES_SLOT, "what is tracked stays tracked when its slot ends")                 \
	X(TRACK_FORGETS_SHARED, "a frame that the other space still has is no longer tracked")     \
	X(TRACK_KEEPS_HUGE, "a huge leaf over a tracked frame stays")                              \
	X(TRACK_ALLOWS_HUGE, "a huge leaf is installed over a tracked frame")                      \
	X(TRACK_ONE_SPACE, "adding forgets the second address space")                              \
	X(TRACK_VALID_ONLY, "adding forgets roots on their way out")                               \
	X(TRACK_UNPAID, "adding returns before the flush")                                         \
	X(TRACK_HINT, "what a fault saw without the lock decides")                                 \
	X(TRACK_NEIGHBOURS, "tracked neighbours are prefetched")                                   \
	X(TRACK_NO_WAIT, "unregistering does not wait for callbacks")                              \
	X(TRACK_ONCE_STAYS, "a client that wants one write gets all of them")                      \
	X(TRACK_REARM_IDLE, "rearming leaves the guest the right to write")                        \
	X(TRACK_BELOW_ZERO, "removing what was never added is not refused")                        \
	X(TRACK_MARKS, "accessed and dirty bits that the library sets are not told")               \
	X(TRACK_UNSYNC, "a tracked page table becomes unsync")                                     \
	X(TRACK_FILL, "faults that go side by side overlook what is tracked")                      \
	X(TRACK_LATE, "shadow tables follow a write before clients hear of it")

#define VMMU_LOG_MUTANTS(X)                                                                        \
	X(SPLIT_UNUSED, "a table that a huge leaf was split into counts as unused")                \
	X(LOG_KEEPS_HUGE, "huge leaves stay when a slot begins to log")                            \
	X(LOG_TAKES_FIRST, "a look takes what is logged before the hardware is asked")             \
	X(LOG_UNFLUSHED, "CPUs keep huge translations when a slot begins to log")                  \
	X(LOG_DEAF, "what the host wrote is not logged")                                           \
	X(LOG_WHOLE_CELLS, "a look takes more frames than it was asked for")                       \
	X(LOG_OLD_BITS, "a slot that logs begins with what was logged of its frames before")       \
	X(LOG_MARKS, "accessed and dirty bits that the library sets are not logged")               \
	X(LOG_INSTALLS_HUGE, "huge leaves are installed in a slot that logs")                      \
	X(LOG_VALID_ONLY, "a look forgets roots on their way out")                                 \
	X(LOG_UNWATCHED, "leaves are not told to the log if the port does not listen")             \
	X(LOG_SPLITS_FIRST, "huge leaves are split before faults know that the slot logs")         \
	X(LOG_ENDS_KEEPING, "translations stay when a slot ends to log")                           \
	X(LOG_FIRST_LEAF, "of several leaves over a frame a look asks only the first")

#define VMMU_SHADOW_MUTANTS(X)                                                                     \
	X(FORGET_FINDS, "tables that were forgotten all at once are found again")                  \
	X(FORGET_KEEPS_ROOTS, "vCPUs go on with the roots that were forgotten")                    \
	X(SYNC_SKIPPED, "MOV to CR3 brings no table up to date")                                   \
	X(SYNC_WRITABLE, "a table that is brought up to date stays writable to the guest")         \
	X(KEEP_UNSYNCED, "MOV to CR3 that keeps translations never brings a table up to date")     \
	X(KNOWN_FOREVER, "a flush forgets nothing of spaces that are not loaded")                  \
	X(INVLPG_NOTHING, "INVLPG leaves what it names")                                           \
	X(INJECT_KEEPS, "a page fault of the guest leaves what is cached of its address")          \
	X(UNSYNC_UNTOLD, "tables above do not learn that one below is out of date")                \
	X(UNSYNC_STAYS, "a table is left out of date when its frame becomes an upper table")       \
	X(LINK_STALE, "a table is linked as it was, though the guest has written to it")           \
	X(LINK_ANY, "an entry is followed wherever it leads")                                      \
	X(UNCHECKED_WALK, "what the guest's tables said is not checked under the lock")            \
	X(TABLE_WRITABLE, "the frame of a new shadow table stays writable to the guest")           \
	X(FREELY_WRITABLE, "a leaf over an upper table of the guest is writable")                  \
	X(HUGE_OVER_TABLE, "a huge leaf covers the guest's own tables")                            \
	X(ROLE_RIGHTS, "the role of a table leaves out the rights of the path to it")              \
	X(ROLE_SMAP, "the role of a table leaves out SMAP and keys without CR0.WP")                \
	X(ROLE_WP, "the role of a table leaves out CR0.WP")                                        \
	X(ROLE_QUADRANT, "the role of a table leaves out which part of the guest's it mirrors")    \
	X(DIRECT_KEY, "pieces of a huge page have protection key 0")                               \
	X(TRICK_USER, "a page that only the supervisor may write is left to the user")             \
	X(TRICK_EXEC, "SMEP is forgotten for pages written without CR0.WP")                        \
	X(TRICK_SMAP, "SMAP is forgotten for pages written without CR0.WP")                        \
	X(GUEST_DIRTY, "the first write to a clean page does not mark it dirty")                   \
	X(ACCESSED_SHARED, "accessed is not set in a table whose host page is shared")             \
	X(ADOPT_UNACCESSED, "an entry that the guest has not used is taken over")                  \
	X(NARROW_KEEPS, "a leaf changed in place keeps the right to write")                        \
	X(NARROW_WIDENS, "a leaf changed in place gets rights that nobody was asked for")          \
	X(COPY_WRITABLE, "a frame that is read-only elsewhere is mapped writable unasked")         \
	X(PREFETCH_CLEAN, "a neighbour that is clean is mapped writable")                          \
	X(HALF_PAGE, "both halves of a 4M page lead to the first")                                 \
	X(FIRST_WRITTEN, "of several entries written at once only the first is dropped")           \
	X(FLOOD_IGNORED, "a table that is written all the time is kept")                           \
	X(STALE_PDPTES, "the CPU's four top entries are not refreshed")                            \
	X(DUMMY_STAYS, "a root in a hole stays when there is memory")                              \
	X(RIGHTS_UNFLUSHED, "rights are taken from a leaf without a flush")                        \
	X(RMAP_LEAK, "a withdrawn leaf stays on the reverse map")                                  \
	X(PARENT_LEAK, "a table that was taken out is still linked")                               \
	X(MIRROR_UNCOUNTED, "a zapped table still forbids huge leaves")                            \
	X(DIRTY_LOST, "the dirty state of a shadow leaf is not handed over")                       \
	X(QUOTA_IGNORED, "tables are made without end")                                            \
	X(ROOT_RECLAIMED, "a root in use is reclaimed")                                            \
	X(ROOT_FREED, "a root in use is freed")                                                    \
	X(DEVICE_OVER_LEAF, "a device entry is stored over a leaf that is not withdrawn")          \
	X(DEVICE_KEPT, "a device entry is kept when the guest flushes")                            \
	X(DEVICE_OUTDATED, "a shadow entry for a device is believed when the slots have changed")  \
	X(FILL_UNCLAIMED, "two faults at once fill the same entry")                                \
	X(FILL_UNLISTED, "a leaf filled beside others is on no reverse map")                       \
	X(FILL_TABLE, "faults that go side by side let the guest write its tables")                \
	X(FILL_OTHER_WIDTH, "marks made beside others leave tables of another width")              \
	X(LINK_UNSETTLED, "a table is linked before its frame cannot be written unseen")           \
	X(LINK_WRITABLE, "a table made beside others leaves its frame writable to the guest")      \
	X(LINK_UNCLAIMED, "two faults at once link a table to the same entry")                     \
	X(WIDEN_CHANGED, "a leaf of an entry that the guest has changed becomes writable")         \
	X(DEVICE_RIGHTS, "a shadow entry for a device lets everybody pass")

#define VMMU_MUTANTS(X)                                                                            \
	VMMU_TDP_MUTANTS(X) VMMU_SHADOW_MUTANTS(X) VMMU_TRACK_MUTANTS(X) VMMU_LOG_MUTANTS(X)

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
	X(FRAME_UNLOCKED, "what concerns one frame is decided without its lock bit")               \
	X(MARK_UNPAID, "no flush follows when tables are marked as used")                          \
	X(LOG_HASTY, "a look does not wait for those who took leaves away")                        \
	X(LOG_UNSETTLED, "a look tells of writes that CPUs are still about to make")               \
	X(LOG_DISCARDS, "what CPUs are about to write when a log begins is forgotten")             \
	X(LOG_DROPS, "what is logged while a look takes is dropped")                               \
	X(LOCK_SILENT, "who lets the lock go wakes nobody")                                        \
	X(LOCK_BARGES, "a reader takes the lock beside a writer")                                  \
	X(WRITTEN_BESIDE, "what the guest wrote is dropped beside faults that fill")               \
	X(WRITTEN_PEEK, "neither a write nor a walk looks again once the other can be seen")       \
	X(FRAME_KEPT, "the place of a guest's table is believed across invalidations")             \
	X(UNSYNC_LATE, "a table is marked unsync after the guest can write it")                    \
	X(TABLE_TWICE, "a table that was missing is made, whoever was faster")

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
