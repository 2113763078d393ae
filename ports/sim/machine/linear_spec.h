/* SPDX-License-Identifier: MIT */
/*
 * linear_spec.h - what the manuals say about one linear address, as plainly as possible.
 *
 * Input is the whole path, already read. There is no memory and no state. Shares no code with
 * the CPU's walker and the oracle; tests compare all three on every combination.
 */
#ifndef SIM_MACHINE_LINEAR_SPEC_H
#define SIM_MACHINE_LINEAR_SPEC_H

#include "linear_types.h"

struct linear_path {
	/* By level: entry[4] is the PML4 entry, entry[1] the last. 32-bit: entry[2], entry[1] in
	 * the low halves. PAE: entry[3] is the PDPTE register. Below a leaf or a fault they do
	 * not matter. */
	uint64_t entry[6];
};

struct linear_verdict {
	enum linear_outcome outcome; /* never LINEAR_BROKEN */
	enum sim_level level;        /* of the leaf, or of the entry at fault; 0: paging is off */
	uint64_t address;            /* LINEAR_OK: physical */
	uint32_t error;              /* LINEAR_FAULT */
	bool accessed[6];            /* LINEAR_OK: accessed is set in the entry of that level */
	bool dirty;                  /* LINEAR_OK: dirty is set in the leaf */
};

struct linear_verdict linear_spec_verdict(const struct linear_regs *regs,
					  const struct linear_path *path,
					  const struct linear_access *access);

/* The single rules. */
bool linear_spec_is_leaf(const struct linear_regs *regs, uint64_t entry, enum sim_level level);
bool linear_spec_is_reserved(const struct linear_regs *regs, uint64_t entry, enum sim_level level);
bool linear_spec_pdptes_are_legal(const struct linear_regs *regs, const uint64_t pdpte[4]);
bool linear_spec_is_canonical(const struct linear_regs *regs, sim_gva_t gva);

#endif
