/* SPDX-License-Identifier: MIT */
/*
 * linear_rig.h - tables for linear addresses, written by hand into the machine's RAM, and a CPU
 * that walks them. Upper entries are made on demand and grant everything.
 *
 * The oracle can watch the same tables: then the machine's RAM plays the guest's memory.
 */
#ifndef TESTS_SIM_LINEAR_RIG_H
#define TESTS_SIM_LINEAR_RIG_H

#include "tables.h"

#include "linear.h"

/* Bits of an entry. */
#define LP UINT64_C(0x001)
#define LW UINT64_C(0x002)
#define LU UINT64_C(0x004)
#define LA UINT64_C(0x020)
#define LD UINT64_C(0x040)
#define LPS UINT64_C(0x080)
#define LG UINT64_C(0x100)
#define LNX (UINT64_C(1) << 63)
#define LPWU (LP | LW | LU)

struct linear_rig {
	struct sim_machine *machine;
	struct linear_cpu *cpu;       /* of CPU 0 */
	struct linear_regs regs;      /* as loaded, with tag 1 */
	struct linear_oracle *oracle; /* NULL, or told of linear_rig_set() */
};

/* Everything on, 46 address bits, AMD, no CR3. */
struct linear_regs linear_rig_regs(enum linear_mode mode);
/* A machine with two CPUs and an empty top table, loaded on both. */
struct linear_rig linear_rig_new(enum linear_mode mode, enum sim_cpu_mode cpu_mode);
/* Let an oracle with two vCPUs watch; the vCPUs run with rig->regs. */
void linear_rig_watch(struct linear_rig *rig);
/* Asserts that nothing was violated. */
void linear_rig_end(struct linear_rig *rig);
/* Load rig->regs on CPU 0 again, PDPTEs included. */
void linear_rig_load(struct linear_rig *rig);

/* Where the entry of @level for @gva is; makes the tables above it. */
sim_hpa_t linear_rig_place(struct linear_rig *rig, uint64_t gva, enum sim_level level);
uint64_t linear_rig_get(struct linear_rig *rig, uint64_t gva, enum sim_level level);
/* As a guest would: no flush, the oracle is told. */
void linear_rig_set(struct linear_rig *rig, uint64_t gva, enum sim_level level, uint64_t entry);
/* An entry that maps @pfn. @flags: bits above; LPS is added above level 1. */
uint64_t linear_rig_leaf(sim_pfn_t pfn, enum sim_level level, uint64_t flags);

struct linear_access linear_read_of(uint64_t gva);
struct linear_access linear_write_of(uint64_t gva);
/* One access of the supervisor on CPU 0. */
struct linear_result linear_rig_read(struct linear_rig *rig, uint64_t gva);
struct linear_result linear_rig_write(struct linear_rig *rig, uint64_t gva);
sim_pfn_t linear_rig_pfn(struct linear_result result);

#endif
