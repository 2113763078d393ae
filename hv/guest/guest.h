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
struct migration;

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
	struct vcpu *vcpus[CPUS_MAX]; /* the first is the boot CPU */
	unsigned cpu_count;
	struct vgtt *vgtt;           /* NULL: there is no mediated device */
	struct migration *migration; /* NULL: nobody copies */
	enum guest_kind kind;

	enum guest_outcome outcome;
	char reason[160]; /* a sentence for "crash" and the like */
	uint8_t exit_code;
	bool has_exit_code;

	bool exit_work; /* something is to be done at every exit: audit, stress and the like */

	uint64_t flushes;  /* remote flushes begun; svm/smp.c */
	uint32_t dozed;    /* some vCPU may sleep while it waits for the library's lock */
	uint32_t auditing; /* somebody audits: nobody writes untold */
	uint64_t wakes;    /* requests, and ends of rests */
	uint32_t held;     /* a vCPU takes guest memory away; svm/smp.c */
	bool nmi_sources;  /* the guest routed an interrupt as NMI */

	uint64_t audit_findings; /* counted with the library's lock held */
};

/*
 * The guest is over: remember how. The first caller wins. @format gives a sentence for
 * people; for outcomes that speak for themselves pass NULL. The reason is there once the caller's
 * vCPU has stopped.
 */
void guest_end(struct guest *guest, enum guest_outcome outcome, const char *format, ...)
	PRINTF_LIKE(3, 4);

static inline bool guest_has_ended(const struct guest *guest)
{
	return __atomic_load_n(&guest->outcome, __ATOMIC_RELAXED) != GUEST_NONE;
}

const char *guest_outcome_word(enum guest_outcome outcome);

#endif
