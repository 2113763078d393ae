/* SPDX-License-Identifier: MIT */
/* page_rig.h - one guest page that two CPUs know, and another page to put in its place. */
#ifndef TESTS_SIM_PAGE_RIG_H
#define TESTS_SIM_PAGE_RIG_H

#include "tables.h"

#define GPA sim_gpa(0x40203000)
#define GFN 0x40203u
#define OLD_VALUE 0x01du
#define NEW_VALUE 0x2e3u

struct page_rig {
	struct sim_machine *machine;
	struct tables tables;
	struct sim_cpu *cpu; /* number 0 */
	sim_pfn_t old, new;  /* hold OLD_VALUE, NEW_VALUE */
};

/* Two CPUs in this mode; GPA is mapped to the old page with all rights. */
struct page_rig page_rig_new(enum sim_format format, enum sim_cpu_mode mode);
/* Replace the leaf: the new page, not accessed, not dirty. No flush. */
void page_rig_map_new(struct page_rig *rig);
/* Return: the value read at GPA, 0 on a fault. */
uint64_t page_rig_load(struct sim_cpu *cpu);
/* Run a check under each format. */
void for_both(void (*check)(enum sim_format format));

#endif
