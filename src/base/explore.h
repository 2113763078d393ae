/* SPDX-License-Identifier: MIT */
/*
 * Only in builds of tests/explore and bench/scale (VMMU_TEST_EXPLORE): each access to shared memory
 * first asks a scheduler, which may let another thread run. Included by base/atomic.h and by
 * nothing else.
 */
#ifndef VMMU_BASE_EXPLORE_H
#define VMMU_BASE_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

/* Defined by the test program. @word is read, or written, when the call returns. */
void vmmu_explore_access(const void *word, bool is_write);
/* A write if *@word is @old by then, else a read. */
void vmmu_explore_cas(const void *word, uint64_t old);
/* Where the next access is in the source. */
void vmmu_explore_here(const char *file, int line, const char *function, const char *what);

#define VMMU_POINT_READ(a) vmmu_explore_access((a), false)
#define VMMU_POINT_WRITE(a) vmmu_explore_access((a), true)
#define VMMU_POINT_CAS(a, old) vmmu_explore_cas((a), (old))
#define VMMU_POINT_HERE(what) vmmu_explore_here(__FILE__, __LINE__, __func__, (what))

#endif
