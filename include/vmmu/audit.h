/* SPDX-License-Identifier: MIT */
/* The audit and the explanation: what is kept incrementally, computed again from scratch. */
#ifndef VMMU_AUDIT_H
#define VMMU_AUDIT_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One violated invariant, in words with the entries involved. */
struct vmmu_finding {
	unsigned invariant; /* number in docs/architecture.md: 1 = I1 */
	vmmu_gfn_t gfn;     /* frame it is about, where one is */
	uint64_t entry;     /* raw value of the entry, where one is */
	const char *text;   /* a sentence; valid during the call only */
};

/* Where findings go. Must not call vmmu. Called with the VM's lock held. */
typedef void vmmu_finding_fn(void *context, const struct vmmu_finding *finding);

/* Progress of an audit in steps; zero it to start at the beginning. */
struct vmmu_audit {
	uint64_t position; /* opaque */
	uint64_t rounds;   /* complete passes over the VM */
	uint64_t findings; /* violations seen */
	uint64_t entries;  /* entries looked at */
};

/**
 * vmmu_audit_step() - check a part of the VM.
 * @budget: how many tables to look at, at least one is. UINT64_MAX checks everything, with
 *          the counters compared to a recount.
 *
 * Exclusive: vCPUs that fault meanwhile wait for one step. Changes nothing.
 * Return: number of violations found in this step.
 */
uint64_t vmmu_audit_step(struct vmmu_vm *vm, struct vmmu_audit *audit, uint64_t budget,
			 vmmu_finding_fn *report, void *context);

/* Everything at once. Return: number of violations. */
uint64_t vmmu_audit(struct vmmu_vm *vm, vmmu_finding_fn *report, void *context);

/* Receives one line of text, without newline. Must not call vmmu. The VM's lock is held. */
typedef void vmmu_line_fn(void *context, const char *line);

/**
 * vmmu_explain() - how does an address translate now, and why? One line per step: slot,
 * root, each table entry with its meaning, and what a read, write or fetch would do.
 * Context: any thread; takes the VM's lock shared. Return: VMMU_OK; VMMU_EINVAL, no such
 * space. Works on a dead VM (and says that it is).
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_explain(struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa,
					     vmmu_line_fn *emit, void *context);

#ifdef __cplusplus
}
#endif

#endif
