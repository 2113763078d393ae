/* SPDX-License-Identifier: MIT */
/* The one guest of this hypervisor: options, memory, what became of it, what was counted. */
#ifndef HV_GUEST_GUEST_H
#define HV_GUEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#include "memory.h"
#include "options.h"

struct vcpu;
struct vgtt;

/* How a run ended; the words are part of docs/run-interface.md. */
#define GUEST_OUTCOMES(X)                                                                          \
	X(NONE, "none")                                                                            \
	X(POWEROFF, "poweroff")                                                                    \
	X(RESET, "reset")                                                                          \
	X(EXIT, "exit")                                                                            \
	X(CRASH, "crash")                                                                          \
	X(STALL, "stall")                                                                          \
	X(HALT, "halt")                                                                            \
	X(TIMEOUT, "timeout")                                                                      \
	X(DONE, "done")

enum guest_outcome {
#define GUEST_OUTCOME_ENUM(name, word) GUEST_##name,
	GUEST_OUTCOMES(GUEST_OUTCOME_ENUM)
#undef GUEST_OUTCOME_ENUM
};

enum guest_kind { GUEST_LINUX, GUEST_MULTIBOOT };

struct guest {
	struct options options;
	const struct boot_info *boot;
	struct guest_memory memory;
	struct vmmu_vm *vm;
	struct vcpu *vcpu; /* the boot CPU */
	struct vgtt *vgtt; /* NULL: there is no mediated device */
	enum guest_kind kind;

	enum guest_outcome outcome;
	char reason[160]; /* a sentence for "crash" and the like */
	uint8_t exit_code;
	bool has_exit_code;

	uint64_t tsc_entry; /* first VMRUN */
	uint64_t tsc_end;   /* after the last exit */

	uint64_t mmio_reads, mmio_writes;           /* forwarded to devices */
	uint64_t mmio_open_reads, mmio_open_writes; /* where nothing is */
	uint64_t msr_reads_unknown, msr_writes_unknown;
	uint64_t ports_refused;
	uint64_t audit_runs, audit_findings;
	uint64_t audit_countdown; /* exits until the next whole audit */
	struct vmmu_audit audit;  /* sampling */
};

/*
 * The guest is over: remember how. The first caller wins. @format gives a sentence for
 * people; for outcomes that speak for themselves pass NULL.
 */
void guest_end(struct guest *guest, enum guest_outcome outcome, const char *format, ...)
	PRINTF_LIKE(3, 4);

static inline bool guest_has_ended(const struct guest *guest)
{
	return guest->outcome != GUEST_NONE;
}

const char *guest_outcome_word(enum guest_outcome outcome);

#endif
