/* SPDX-License-Identifier: MIT */
/*
 * Trace records: what the MMU did, as fixed-size binary records through one callback.
 * Little endian, 40 bytes, version in every record. New kinds may be added at the end.
 */
#ifndef VMMU_TRACE_H
#define VMMU_TRACE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMMU_TRACE_VERSION 1u

/* kind, meaning of a, b, c */
#define VMMU_TRACE_KINDS(X)                                                                        \
	X(FAULT, 1, "fault handled: a = gpa, b = access bits, c = outcome")                        \
	X(ENTRY, 2, "entry changed: a = first gfn, b = old entry, c = new entry")                  \
	X(FLUSH, 3, "flush paid: a = first gfn, b = end gfn, c = 1 if everything")                 \
	X(SLOT, 4, "slot set changed: a = slot id, b = first gfn, c = page count (0: deleted)")    \
	X(ROOT, 5, "root: a = table pfn, b = 1 created, 2 invalidated, 3 freed, c = space")        \
	X(INVALIDATE, 6,                                                                           \
	  "host invalidation: a = first gfn, b = end; c = 1, 2: begin, end; "                      \
	  "c = 3, 4: the same with host addresses")                                                \
	X(DEAD, 7, "a check failed and the VM is dead: a, b, c as the check says")                 \
	X(TRACK, 8,                                                                                \
	  "tracking changed: a = first gfn, b = end, c = kinds | (0 add, 1 remove, "               \
	  "2 once, 3 always, 4 rearm) << 8")

enum vmmu_trace_kind {
#define VMMU_TRACE_ENUM(name, value, text) VMMU_TRACE_##name = (value),
	VMMU_TRACE_KINDS(VMMU_TRACE_ENUM)
#undef VMMU_TRACE_ENUM
};

struct vmmu_trace {
	uint8_t version; /* VMMU_TRACE_VERSION */
	uint8_t kind;    /* enum vmmu_trace_kind */
	uint8_t level;   /* enum vmmu_level, where it applies */
	uint8_t space;   /* address space, where it applies */
	uint32_t vcpu;   /* index of the vCPU, UINT32_MAX: another thread */
	uint64_t number; /* counts up per VM: order, and proof that none is missing */
	uint64_t a, b, c;
};

#ifndef __cplusplus
_Static_assert(sizeof(struct vmmu_trace) == 40, "trace records are a file format");
#endif

#ifdef __cplusplus
}
#endif

#endif
