/* SPDX-License-Identifier: MIT */
/* tlb.h - what a CPU remembers of walks: finding, filling, dropping. Policy is in cpu.c. */
#ifndef SIM_MACHINE_TLB_H
#define SIM_MACHINE_TLB_H

#include "internal.h"
#include "walk.h"

/* Does an entry filled under @filled answer for a CPU that runs @running? */
bool sim_tlb_root_matches(const struct sim_root *filled, const struct sim_root *running);

/* Iterate: the next matching entry at or after *@at, NULL at the end. */
struct tlb_entry *sim_tlb_next(struct sim_cpu *cpu, sim_gpa_t gpa, uint32_t *at);
struct psc_entry *sim_psc_next(struct sim_cpu *cpu, sim_gpa_t gpa, uint32_t *at);

/* Remember what a walk found. An entry for the same address and level is replaced.
 * @level: at most that of the leaf; smaller remembers only a piece of it.
 * Return: true if another entry had to go. */
bool sim_tlb_fill(struct sim_cpu *cpu, const struct walk_answer *answer, enum sim_level level);
bool sim_psc_fill(struct sim_cpu *cpu, const struct walk_answer *answer, enum sim_level level);

/* Drop everything that would be used to translate @gpa under the loaded root. */
void sim_tlb_drop(struct sim_cpu *cpu, sim_gpa_t gpa);

#endif
