/* SPDX-License-Identifier: MIT */
/*
 * A VM with many vCPUs in user space, for the measurements of bench/scale: a port whose pages come
 * from lists of each CPU's own, and faults that only add.
 */
#ifndef BENCH_SCALE_RIG_H
#define BENCH_SCALE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#define RIG_CPUS_MAX 64u
#define RIG_GIB_FRAMES UINT64_C(262144)

enum rig_kind {
	RIG_TDP,        /* nested paging; each vCPU touches frames of its own */
	RIG_TDP_SHARED, /* nested paging; all touch the same frames */
	RIG_SHADOW,     /* each vCPU runs a process of its own */
};

struct rig_options {
	enum rig_kind kind;
	unsigned cpus;
	uint64_t faults;       /* of each vCPU, at most */
	uint64_t gib;          /* if not 0: of guest memory, whatever the kind needs */
	struct vmmu_port port; /* callbacks beside those for pages; locks */
};

struct rig {
	struct vmmu_port port;
	struct rig_options options;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu[RIG_CPUS_MAX];
};

/* Whose pages page_alloc takes. A thread, or a coroutine, sets it when it begins to run. */
extern _Thread_local unsigned rig_cpu;

__attribute__((noreturn)) void rig_fail(const char *text);

/* Memory for tables, once: @bytes for each of @cpus lists. @fill: have it at hand already. */
void rig_memory(unsigned cpus, size_t bytes, bool fill);

/* Every vCPU has had one fault: its upper tables are there. */
void rig_open(struct rig *rig, const struct rig_options *options);
void rig_close(struct rig *rig);

/* vCPU @cpu leaves the guest with its @n-th fault, has it resolved, and enters again. */
void rig_fault(struct rig *rig, unsigned cpu, uint64_t n);
/* One write to a frame, nested paging. */
void rig_touch(struct rig *rig, unsigned cpu, uint64_t gfn);
void rig_enter(struct rig *rig, unsigned cpu);

/* Steps of the clock that only goes on. */
uint64_t rig_nanoseconds(void);

#endif
