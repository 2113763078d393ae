/* SPDX-License-Identifier: MIT */
/*
 * linear_cpu.h - the side of a CPU that runs a guest under shadow paging: it walks the tables
 * at a CR3 that the hypervisor chose, in host memory, with the guest's linear address.
 *
 * Translations and paging-structure-cache entries are found by tag and linear address alone:
 * another CR3, another mode under the same tag finds those of the former. They stay until they
 * are flushed, evicted, or dropped by a fault on their address. Rights are judged at each use,
 * with the registers of that moment. Absent and reserved entries are never cached, nor are
 * entries whose accessed bit is clear. The global bit does nothing. Mode (random, always-stale,
 * never-stale), cache sizes, step function and violations are those of the sim_cpu.
 */
#ifndef SIM_MACHINE_LINEAR_CPU_H
#define SIM_MACHINE_LINEAR_CPU_H

#include "cpu.h"
#include "linear_types.h"

struct linear_cpu;

struct linear_result {
	enum linear_outcome outcome;
	enum sim_source source;
	sim_hpa_t hpa;        /* LINEAR_OK */
	enum sim_level level; /* OK: of what answered, a piece of a huge page has its own size;
				 FAULT: of the entry at fault */
	uint32_t error;       /* LINEAR_FAULT: error code */
	uint8_t memory_type;  /* LINEAR_OK: PAT index (PAT, PCD, PWT) */
	sim_gva_t gva;
	uint64_t entry; /* raw leaf, or the raw entry at fault, as it was read; 0 from a TLB hit */
};

enum linear_load {
	LINEAR_LOADED,
	LINEAR_LOAD_BAD_CR3,   /* misaligned, or beyond MAXPHYADDR */
	LINEAR_LOAD_BAD_PDPTE, /* PAE: a present PDPTE has reserved bits */
	LINEAR_LOAD_BROKEN,    /* no table, or a mode no hypervisor can run; violation recorded */
};

/* Return: the linear side of a CPU, made on first use; NULL: out of memory. */
struct linear_cpu *linear_cpu_of(struct sim_cpu *cpu);
struct sim_cpu *linear_cpu_owner(const struct linear_cpu *cpu);

/*
 * Enter a guest. @regs: PAE, 4 or 5 levels; cr3 is a host physical address, for PAE 32-byte
 * aligned, and the four PDPTEs are read here, once (@regs->pdpte is not looked at). Bits 11:0
 * of cr3 other than PWT and PCD must be clear. Cached entries stay.
 * Return: if not LINEAR_LOADED, what was loaded before still is.
 */
enum linear_load linear_cpu_load(struct linear_cpu *cpu, const struct linear_regs *regs,
				 uint32_t tag);
/* Change registers without loading CR3: all but mode, cr3 and pdpte are taken. */
void linear_cpu_set_regs(struct linear_cpu *cpu, const struct linear_regs *regs);
/* Leave the guest. Cached entries stay. */
void linear_cpu_unload(struct linear_cpu *cpu);
/* Return: what is loaded, with the PDPTEs, or NULL. */
const struct linear_regs *linear_cpu_regs(const struct linear_cpu *cpu);
uint32_t linear_cpu_tag(const struct linear_cpu *cpu);
struct sim_cpu_stats linear_cpu_stats(const struct linear_cpu *cpu);

/* Translate one access, with what the hardware does on the way: accessed and dirty bits by
 * compare-and-swap, fills, on a fault the drop of the entries for that address. Nothing
 * loaded: LINEAR_BROKEN. */
struct linear_result linear_cpu_access(struct linear_cpu *cpu, const struct linear_access *access);
/* Translate, then read or write the eight bytes there. @access: the kind agrees with the
 * function, the address is 8-byte aligned. Data outside of guest memory: LINEAR_BROKEN. */
struct linear_result linear_cpu_load8(struct linear_cpu *cpu, const struct linear_access *access,
				      uint64_t *value);
struct linear_result linear_cpu_store8(struct linear_cpu *cpu, const struct linear_access *access,
				       uint64_t value);

/* Fill speculatively from one address: accessed bits may get set, dirty bits never, no fault.
 * Return: true if it could be translated. */
bool linear_cpu_prefetch(struct linear_cpu *cpu, sim_gva_t gva);
/* The same from some address that is mapped, or near the last accesses. SIM_CPU_RANDOM does
 * this by itself now and then. */
void linear_cpu_speculate(struct linear_cpu *cpu);

/*
 * Shoot-downs. The flushes of machine.h and cpu.h by tag, by root and of everything include
 * the linear side, those of a range of guest frames do not: linear entries have no such name.
 * A flush of one address does what INVLPGA and INVVPID promise and no more: it drops the
 * translation that covers it, with all pieces of the same leaf, and the paging-structure-cache
 * entries that would be used for it.
 */
void linear_cpu_flush_gva(struct linear_cpu *cpu, uint32_t tag, sim_gva_t gva);
void linear_cpu_flush_all(struct linear_cpu *cpu, uint32_t tag);
void linear_cpu_flush_root(struct linear_cpu *cpu, sim_pfn_t root);
void linear_cpu_flush_everything(struct linear_cpu *cpu);
/* On every CPU. */
void linear_flush_gva(struct sim_machine *machine, uint32_t tag, sim_gva_t gva);
void linear_flush_all(struct sim_machine *machine, uint32_t tag);

/*
 * Which linear CPUs still reach a host frame: as a target, as a table, as a loaded CR3 or
 * PDPTE? And which cached entries grant more than a fresh walk of the CR3 they came from, or
 * lead elsewhere? Legal until the flush, 0 once it is paid. sim_stale_translations() and
 * sim_outdated_translations() include both. @text: one line per finding, may be NULL.
 */
size_t linear_stale(struct sim_machine *machine, sim_pfn_t pfn, char *text, size_t text_bytes);
size_t linear_outdated(struct sim_machine *machine, uint32_t tag, char *text, size_t text_bytes);

/* What the tables say now: without caches, without effects, by nobody. For PAE, @regs->pdpte
 * counts. A walk through a frame that is no table gives LINEAR_BROKEN and no violation. */
struct linear_result linear_walk(struct sim_machine *machine, const struct linear_regs *regs,
				 const struct linear_access *access);

#endif
