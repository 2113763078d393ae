/* SPDX-License-Identifier: MIT */
/* A guest with tables at known places, for scenarios under shadow paging. */
#ifndef TESTS_SHADOW_RIG_H
#define TESTS_SHADOW_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "linear_format.h"
#include "shadow_vm.h"

/* Guest frames: 0..127 are memory, host page = guest frame; 0x400..0x7ff, too, from host page 512
 * in runs of 2M. */
#define RIG_FRAMES 128u
#define RIG_PML4 8u
#define RIG_PDPT 9u
#define RIG_PD 10u
#define RIG_PT 11u        /* maps DATA */
#define RIG_WINDOW_PT 12u /* maps all frames below 128 at RIG_WINDOW */
#define RIG_SPARE 16u     /* frames from here on are free for tables */
#define RIG_DATA 40u
#define RIG_HUGE 0x400u
#define RIG_HOLE 0x200u
#define RIG_WINDOW UINT64_C(0x200000) /* the second entry of the PD */
#define RIG_GVA UINT64_C(0)           /* the first: entry i of the PT maps frame DATA + i, i < 8 */

#define RW (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE | LINEAR_ACCESSED | LINEAR_DIRTY)
#define RO (LINEAR_PRESENT | LINEAR_USER_PAGE | LINEAR_ACCESSED | LINEAR_DIRTY)
#define KERNEL (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_ACCESSED | LINEAR_DIRTY)

struct rig {
	struct shadow_vm *svm;
	bool is_bulk; /* audit now and then, not after each access */
	unsigned accesses;
};

/* Four levels, @vcpus vCPUs on the PML4, WP = 1, NXE = 1. The CPUs forget nothing by themselves. */
struct rig rig_new(unsigned vcpus, unsigned prefetch);
/* With options of one's own; at least 2048 host pages. */
struct rig rig_new_of(unsigned vcpus, const struct shadow_options *options);
/* No violation so far, nothing found by the audit. */
void rig_check(struct rig *rig);
void rig_free(struct rig *rig);

static inline uint64_t rig_gpa(uint64_t frame, unsigned index)
{
	return frame << 12 | 8u * index;
}

/* Entry @index of the table at @frame, through the window, as the guest does it. */
void rig_store(struct rig *rig, unsigned vcpu, uint64_t frame, unsigned index, uint64_t entry);
/* The same from outside, told to the library. */
void rig_poke(struct rig *rig, uint64_t frame, unsigned index, uint64_t entry);

/* Accesses that have to end like this. */
void rig_reads(struct rig *rig, unsigned vcpu, uint64_t gva, uint64_t gpa);
void rig_writes(struct rig *rig, unsigned vcpu, uint64_t gva, uint64_t gpa);
void rig_faults(struct rig *rig, unsigned vcpu, uint64_t gva, enum linear_kind kind,
		enum linear_privilege privilege, uint32_t error);
struct shadow_result rig_access(struct rig *rig, unsigned vcpu, uint64_t gva, enum linear_kind kind,
				enum linear_privilege privilege);
/* Host and guest change an entry behind the library's back: nobody tells it. */
void rig_smuggle(struct rig *rig, uint64_t frame, unsigned index, uint64_t entry);
/* What the vCPU would be entered with now. */
struct vmmu_entry rig_entry(struct rig *rig, unsigned vcpu);
uint64_t rig_stat(struct rig *rig, enum vmmu_stat stat);

#endif
