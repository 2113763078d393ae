/* SPDX-License-Identifier: MIT */
/*
 * Lock rules in the code: clang's thread-safety analysis reads them, gcc ignores them.
 * A token stands for a class of lock; tokens are declared, never defined.
 */
#ifndef VMMU_BASE_ANNOTATE_H
#define VMMU_BASE_ANNOTATE_H

#ifdef __clang__
#define VMMU_ATTRIBUTE(x) __attribute__((x))
#else
#define VMMU_ATTRIBUTE(x)
#endif

#define VMMU_CAPABILITY(name) VMMU_ATTRIBUTE(capability(name))
#define VMMU_ACQUIRED_AFTER(...) VMMU_ATTRIBUTE(acquired_after(__VA_ARGS__))
#define VMMU_ACQUIRE(...) VMMU_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define VMMU_ACQUIRE_SHARED(...) VMMU_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define VMMU_RELEASE(...) VMMU_ATTRIBUTE(release_capability(__VA_ARGS__))
#define VMMU_RELEASE_SHARED(...) VMMU_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define VMMU_REQUIRES(...) VMMU_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define VMMU_REQUIRES_SHARED(...) VMMU_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define VMMU_EXCLUDES(...) VMMU_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define VMMU_NO_ANALYSIS VMMU_ATTRIBUTE(no_thread_safety_analysis)

struct VMMU_CAPABILITY("lock") vmmu_lock_class {
	char unused;
};

/* Slot changes; outermost. */
extern struct vmmu_lock_class vmmu_slots_lock;
/* A VM's tables: shared for what only adds, exclusive for what removes. */
extern struct vmmu_lock_class vmmu_mmu_lock VMMU_ACQUIRED_AFTER(vmmu_slots_lock);
/* A read section: what was reachable at its begin is not freed before its end. */
extern struct vmmu_lock_class vmmu_read_section VMMU_ACQUIRED_AFTER(vmmu_mmu_lock);

/* The lock bit of one guest frame, under shadow paging. */
extern struct vmmu_lock_class vmmu_frame_bit VMMU_ACQUIRED_AFTER(vmmu_read_section);

#define VMMU_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define VMMU_LIKELY(x) __builtin_expect(!!(x), 1)

#endif
