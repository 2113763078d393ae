/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - a CPU: a loaded second-stage root, a TLB, paging-structure caches, and a policy
 * that decides on each access which of them to believe.
 *
 * Cached entries stay until they are flushed, evicted, or dropped by a fault on their address.
 * Under NPT they are found by tag alone: another root under the same tag finds the entries of
 * the former one. Under EPT they are found by tag and top table. Absent, misconfigured and
 * reserved entries are never cached.
 */
#ifndef SIM_MACHINE_CPU_H
#define SIM_MACHINE_CPU_H

#include "types.h"

struct sim_cpu;
struct sim_machine;

enum sim_cpu_mode {
	SIM_CPU_RANDOM, /* each access rolls: TLB, caches, fresh walk, eviction, speculation */
	SIM_CPU_ALWAYS_STALE, /* the oldest cached answer, if there is any, even one that denies */
	SIM_CPU_NEVER_STALE,  /* always walks, caches nothing */
};

struct sim_cpu_stats {
	uint64_t accesses;
	uint64_t tlb_uses;
	uint64_t psc_uses;
	uint64_t full_walks;
	uint64_t faults;
	uint64_t evictions;
	uint64_t speculative_fills;
};

/* Enter a guest with this root. Cached entries stay. */
void sim_cpu_set_root(struct sim_cpu *cpu, const struct sim_root *root);
/* Leave the guest: no root is loaded. Cached entries stay. */
void sim_cpu_clear_root(struct sim_cpu *cpu);
/* Return: the loaded root, or NULL. */
const struct sim_root *sim_cpu_root(const struct sim_cpu *cpu);
void sim_cpu_set_mode(struct sim_cpu *cpu, enum sim_cpu_mode mode);
struct sim_cpu_stats sim_cpu_stats(const struct sim_cpu *cpu);
uint32_t sim_cpu_index(const struct sim_cpu *cpu);
struct sim_machine *sim_cpu_machine(const struct sim_cpu *cpu);

/*
 * Translate one access and do what the hardware does on the way: accessed and dirty bits,
 * fills, on a fault the drop of the entries for that address. No root loaded: SIM_BROKEN.
 */
struct sim_result sim_cpu_access(struct sim_cpu *cpu, sim_gpa_t gpa, enum sim_access_kind kind);

/* Translate, then load or store eight bytes; @gpa is 8-byte aligned. Data that does not lie in
 * guest memory is a violation and SIM_BROKEN. *value is 0 unless SIM_OK. */
struct sim_result sim_cpu_load(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t *value);
struct sim_result sim_cpu_store(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t value);
struct sim_result sim_cpu_fetch(struct sim_cpu *cpu, sim_gpa_t gpa, uint64_t *value);

/* Fill from some address that the loaded root maps, as if speculating: accessed bits may get
 * set, dirty bits never, no fault. SIM_CPU_RANDOM does this by itself now and then. */
void sim_cpu_speculate(struct sim_cpu *cpu);
/* Fill speculatively from one address. Return: true if it could be translated. */
bool sim_cpu_prefetch(struct sim_cpu *cpu, sim_gpa_t gpa);

/* This CPU's part of the shoot-downs in machine.h. */
void sim_cpu_flush_range(struct sim_cpu *cpu, uint32_t tag, sim_gfn_t start, sim_gfn_t end);
void sim_cpu_flush_all(struct sim_cpu *cpu, uint32_t tag);
void sim_cpu_flush_root(struct sim_cpu *cpu, sim_pfn_t root);
void sim_cpu_flush_everything(struct sim_cpu *cpu);

/* What the tables say now: a walk without caches, without effects, by nobody. A walk through
 * a frame that is no table gives SIM_BROKEN and no violation. */
struct sim_result sim_walk(struct sim_machine *machine, const struct sim_root *root, sim_gpa_t gpa,
			   enum sim_access_kind kind);

#endif
