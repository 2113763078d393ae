/* SPDX-License-Identifier: MIT */
/* Breaking a VM on purpose, from the inside, in ways that can be undone. */
#ifndef TESTS_TDP_INVARIANT_H
#define TESTS_TDP_INVARIANT_H

#include "rig.h"

#include "tdp/tdp.h"
#include "vm.h"

#define PATIENT_POKES_MAX 8u

/*
 * A VM of two vCPUs, both in the guest: vCPU 0 in space 0, vCPU 1 in space 1.
 *
 *   space 0   0x0..0x40     slot 0, writable; 5 is mapped, 9 is not
 *             0x40..0x80    slot 1, read-only; 0x46 is mapped
 *             0x80..        no slot; 0x12c is remembered as a device
 *             0x400..0x800  slot 2, writable; 0x405 is mapped
 *             0x8000        no slot; remembered as a device, in a table of its own
 *   space 1   0x0..0x40     slot 0, writable; 6 is mapped
 */
struct patient {
	struct sim_vm *sim;
	struct vmmu_vm *vm;
	struct {
		void *at;
		uint64_t was;
		size_t bytes;
	} poke[PATIENT_POKES_MAX];
	unsigned pokes;
	vmmu_tracker_id_t client;
};

struct breakage {
	const char *name;     /* of the test; what is broken, as a sentence */
	const char *how;      /* for the table */
	unsigned found_as[2]; /* invariants that must be found, and no others */
	const char *words;    /* part of a finding's text */
	bool names_frame;     /* the text names this frame: */
	uint64_t gfn;
	bool direct;  /* needs a VM without guest_page: slot 0 alone, 5 is mapped */
	bool tracked; /* needs a client that tracks writes to frame 0x20 */
	void (*apply)(struct patient *patient);
};

/* invariant_break.c */
extern const struct breakage breakages[];
extern const unsigned breakage_count;

/* Write a member of 1 to 8 bytes; undone, last first, by patient_mend(). */
void patient_poke(struct patient *patient, void *at, size_t bytes, uint64_t value);
#define PATIENT_POKE(patient, member, value)                                                       \
	patient_poke((patient), &(member), sizeof(member), (uint64_t)(value))
void patient_mend(struct patient *patient);

/* The table of this level that covers a frame of space 0; there must be one. */
struct vmmu_sp *patient_table(const struct patient *patient, uint64_t gfn, enum vmmu_level level);
/* The entry for a frame in it. */
vmmu_spte_slot_t *patient_entry(const struct patient *patient, uint64_t gfn, enum vmmu_level level);

#endif
