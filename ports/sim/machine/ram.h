/* SPDX-License-Identifier: MIT */
/*
 * ram.h - host physical memory: frames, their states, atomic access to 64-bit words.
 *
 * RAM starts at a non-zero frame, so that a forgotten pfn shows. A freed frame is filled with
 * a pattern, hidden from AddressSanitizer, and must not be touched by anybody until it is
 * allocated again.
 */
#ifndef SIM_MACHINE_RAM_H
#define SIM_MACHINE_RAM_H

#include "types.h"

struct sim_machine;

enum sim_frame_state {
	SIM_FRAME_OUTSIDE,  /* not RAM */
	SIM_FRAME_FREE,     /* never used so far */
	SIM_FRAME_TABLE,    /* a translation table: walkers may read it */
	SIM_FRAME_GUEST,    /* guest memory: CPUs may load and store */
	SIM_FRAME_POISONED, /* was used, then freed */
};

/* Return: a zeroed frame, or SIM_PFN_NONE (RAM is full, or failure was asked for). */
sim_pfn_t sim_ram_alloc(struct sim_machine *machine, enum sim_frame_state state);

/* 1, 512 or 262144 frames, contiguous and aligned. Return: the first, or SIM_PFN_NONE. */
sim_pfn_t sim_ram_alloc_run(struct sim_machine *machine, enum sim_frame_state state,
			    enum sim_level level);

/* Freeing a frame that a CPU still reaches is a violation, unless sim_config.lazy_flush. So is
 * freeing what is not allocated. */
void sim_ram_free(struct sim_machine *machine, sim_pfn_t pfn);

/* Let allocations of tables fail. @first: 1 = the next one; 0 = none. @count: how many fail
 * from there on; UINT64_MAX = all. Guest frames are not counted and do not fail. */
void sim_ram_fail_tables(struct sim_machine *machine, uint64_t first, uint64_t count);

enum sim_frame_state sim_ram_state(const struct sim_machine *machine, sim_pfn_t pfn);
uint64_t sim_ram_count(const struct sim_machine *machine, enum sim_frame_state state);
/* Tables asked for so far, failures included. */
uint64_t sim_ram_table_allocs(const struct sim_machine *machine);
sim_pfn_t sim_ram_first_pfn(const struct sim_machine *machine);

/* Address of an allocated frame, 4 KiB aligned. A frame that is not: violation and NULL. */
void *sim_ram_pointer(struct sim_machine *machine, sim_pfn_t pfn);

/* 64-bit words at 8-byte aligned addresses of allocated frames; sequentially consistent.
 * Anything else is a violation and reads as 0. */
uint64_t sim_ram_read(struct sim_machine *machine, sim_hpa_t hpa);
void sim_ram_write(struct sim_machine *machine, sim_hpa_t hpa, uint64_t value);
/* Return: true if *hpa was *expected and is now @value; else *expected is what was found. */
bool sim_ram_cmpxchg(struct sim_machine *machine, sim_hpa_t hpa, uint64_t *expected,
		     uint64_t value);

/* Address of entry @index in a table. */
static inline sim_hpa_t sim_entry_hpa(sim_pfn_t table, unsigned index)
{
	return (sim_hpa_t){(table.n << SIM_PAGE_SHIFT) + 8u * (uint64_t)index};
}

#endif
