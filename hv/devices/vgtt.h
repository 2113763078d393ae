/* SPDX-License-Identifier: MIT */
/*
 * A mediated device: a copy engine whose page table lies in the guest's memory. All that it does
 * goes through the shadow table of examples/mediator. The registers are in docs/run-interface.md.
 *
 * Its spare memory is a slot of its own that the guest can have deleted and created again, each
 * time on other host frames: what was found before must not be used after.
 */
#ifndef HV_DEVICES_VGTT_H
#define HV_DEVICES_VGTT_H

#include <stdbool.h>
#include <stdint.h>

#include "../../examples/mediator/mediator.h"

struct guest;

/* What the report shows. */
struct vgtt_counts {
	uint64_t copies;         /* pages copied */
	uint64_t faults;         /* commands that met an entry without shadow */
	uint64_t deleted;        /* spare slot */
	uint64_t created;        /* the same */
	uint64_t stale;          /* shadow entries that a check found wrong */
	uint64_t strays;         /* words of withdrawn host memory that changed */
	uint64_t copies_checked; /* by the guest */
	uint64_t mismatches;     /* bytes that the guest found wrong */
};

struct vgtt {
	struct guest *guest;
	struct mediator mediator;
	uint64_t table[MEDIATOR_PAGES]; /* as the guest wrote them */
	uint64_t source, target;
	uint64_t status, fault;
	uint64_t move_every; /* pages; 0: never */
	uint64_t move_countdown;
	unsigned region;    /* index of the spare memory's */
	uint64_t spare[2];  /* host memory for it: one in use, one full of poison */
	unsigned spare_now; /* which is in use */
	bool spare_there;   /* the slot exists */
	struct vgtt_counts counts;
};

/* The guest's device; the VM exists, with the spare memory among its slots. */
struct vgtt *vgtt_create(struct guest *guest);

/* Is this an address of its register page? Also false if there is no device. */
bool vgtt_has(const struct vgtt *vgtt, uint64_t gpa);

/* Aligned 8-byte accesses; others read as ones and write nothing. */
void vgtt_read(struct vgtt *vgtt, uint64_t gpa, uint32_t bytes, void *value);
void vgtt_write(struct vgtt *vgtt, uint64_t gpa, uint32_t bytes, const void *value);

/* The CPU itself is to write to a tracked page. False: not a page of the device's table. */
bool vgtt_let_write(struct vgtt *vgtt, uint64_t gpa);

#endif
