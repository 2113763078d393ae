/* SPDX-License-Identifier: MIT */
/* Second-stage faults: nested page faults, EPT violations and misconfigurations. */
#ifndef VMMU_FAULT_H
#define VMMU_FAULT_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What to do about a fault. */
#define VMMU_OUTCOMES(X)                                                                           \
	X(RESUME, "resume", "an entry was installed or widened: run the guest again")              \
	X(SPURIOUS, "spurious", "the entry already allows the access: run the guest again")        \
	X(RETRY, "retry", "something changed meanwhile: run the guest again")                      \
	X(MMIO, "mmio", "no slot holds the frame: emulate the access as a device's")               \
	X(READONLY, "readonly", "a write to a read-only slot: emulate or refuse it")               \
	X(PENDING, "pending", "the host is fetching the page: run something else, then retry")     \
	X(HOST_ERROR, "host_error", "the host has no page for the frame: result.gfn says which")   \
	X(NO_MEMORY, "no_memory", "no page for a table: make room and run the guest again")        \
	X(STUCK, "stuck", "the same fault came back many times with nothing changed: report it")   \
	X(INJECT, "inject", "shadow paging: the fault is the guest's own, hand it on")             \
	X(TABLE_WRITE, "table_write", "shadow paging: a write to the guest's tables: emulate it")  \
	X(TRACKED, "tracked", "a client tracks this access to the frame: emulate it, and tell it") \
	X(DEAD, "dead", "an internal check failed: this VM must not run again")

enum vmmu_outcome {
#define VMMU_OUTCOME_ENUM(name, word, text) VMMU_OUTCOME_##name,
	VMMU_OUTCOMES(VMMU_OUTCOME_ENUM)
#undef VMMU_OUTCOME_ENUM
		VMMU_OUTCOME_COUNT
};

/* The word of an outcome ("mmio"); "?" for other values. */
const char *vmmu_outcome_name(enum vmmu_outcome outcome);

enum vmmu_fault_flags {
	VMMU_FAULT_PRESENT = 1u << 0,  /* the entry was present: a rights fault */
	VMMU_FAULT_RESERVED = 1u << 1, /* reserved bit, or EPT misconfiguration */
	VMMU_FAULT_TABLE = 1u << 2,    /* the access was a read or an accessed/dirty update of
					* the guest's own page tables, not the final access */
};

struct vmmu_fault {
	vmmu_gpa_t gpa;  /* faulting guest-physical address */
	uint32_t access; /* enum vmmu_access bits that were wanted */
	uint32_t flags;  /* enum vmmu_fault_flags */
};

/**
 * vmmu_fault_from_npf() - decode an SVM nested page fault (AMD APM, Nested Paging: nested
 * page faults). @info1, @info2: EXITINFO1 and EXITINFO2 of the VMCB. Works with and without
 * the P bit on reserved-bit faults.
 */
struct vmmu_fault vmmu_fault_from_npf(uint64_t info1, uint64_t info2);

/**
 * vmmu_fault_from_ept() - decode an EPT violation (Intel SDM, Exit Qualification for EPT
 * Violations). @qualification and @gpa: the VMCS fields.
 */
struct vmmu_fault vmmu_fault_from_ept(uint64_t qualification, uint64_t gpa);

/* Decode an EPT misconfiguration; the hardware does not say which access it was. */
struct vmmu_fault vmmu_fault_from_ept_misconfig(uint64_t gpa);

/* More about what happened; valid for the outcomes named. */
struct vmmu_fault_result {
	vmmu_gfn_t gfn;        /* all outcomes: the guest frame */
	enum vmmu_level level; /* RESUME: size of the leaf that was installed */
	bool from_cache;       /* MMIO: found in the tables or the vCPU's cache, no look-up */
};

/**
 * vmmu_fault_handle() - resolve a second-stage fault of this vCPU.
 * @fault:  what the hardware reported.
 * @result: filled in.
 *
 * RESUME, SPURIOUS and RETRY need nothing but vmmu_vcpu_enter() and another run. Rights
 * are only added here, so no flush is owed by the caller.
 * Context: the vCPU's thread, after vmmu_vcpu_leave(), no locks of the embedder that its
 *          callbacks take. May sleep if guest_page or page_alloc do. Any number of vCPUs
 *          at once.
 */
VMMU_MUST_CHECK enum vmmu_outcome vmmu_fault_handle(struct vmmu_vcpu *vcpu,
						    const struct vmmu_fault *fault,
						    struct vmmu_fault_result *result);

/**
 * vmmu_prefault() - install translations before the guest asks.
 * @range: frames of one slot of the vCPU's space. @done: frames ready, counted from
 *         range.start, also when an error stops it.
 *
 * Entries are readable, and writable if the host's page is at hand for writing; neither
 * accessed nor dirty. Context: as vmmu_fault_handle().
 * Return: VMMU_OK; VMMU_ENOENT, a frame without slot; VMMU_EAGAIN, the slots changed, an
 *         invalidation is under way, or the host is still fetching a page; VMMU_EHOST;
 *         VMMU_ENOMEM; VMMU_EINVAL, a range upside down or a shadow VM; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_prefault(struct vmmu_vcpu *vcpu, struct vmmu_gfn_range range,
					      uint64_t *done);

#ifdef __cplusplus
}
#endif

#endif
