/* SPDX-License-Identifier: MIT */
/*
 * hostmem.h - host virtual memory behind the guest, which the host may take away.
 *
 * A host page is absent or has a frame; it is writable or not; its content survives being
 * swapped out and moved. Frames are contiguous in runs of 2M or 1G where that was asked for,
 * which is what makes a huge mapping of them legitimate. These functions change the host's
 * side only: whoever calls them brackets them with the library's invalidation, and a frame
 * that is freed while a CPU still reaches it is a violation (see sim_ram_free()).
 */
#ifndef SIM_MACHINE_HOSTMEM_H
#define SIM_MACHINE_HOSTMEM_H

#include "types.h"

struct sim_machine;

struct sim_host_view {
	bool is_present;
	bool is_writable;
	sim_pfn_t pfn; /* SIM_PFN_NONE if absent */
	enum sim_level
		run_level; /* biggest aligned run, in page index and in pfn, that holds the page */
	uint64_t version;  /* changes whenever any of the above does */
};

struct sim_host_view sim_host_query(const struct sim_machine *machine, sim_hpage_t page);
uint64_t sim_host_page_count(const struct sim_machine *machine);

/* All return true if done, false if there is no frame for it or the page is in no state for it;
 * then nothing changed. */

/* Make absent pages [first, first + count) present and writable, in runs of at most @max_level. */
bool sim_host_populate(struct sim_machine *machine, sim_hpage_t first, uint64_t count,
		       enum sim_level max_level);
/* Save the content, free the frame. The run around it falls apart. */
bool sim_host_swap_out(struct sim_machine *machine, sim_hpage_t page);
/* Give an absent page a frame, with its saved content or zeroes. */
bool sim_host_swap_in(struct sim_machine *machine, sim_hpage_t page);
/* Move a present page to another frame. */
bool sim_host_migrate(struct sim_machine *machine, sim_hpage_t page);
/* Drop content and frame: the page is absent and comes back as zeroes. */
bool sim_host_discard(struct sim_machine *machine, sim_hpage_t page);
/* Share the page: it stays where it is, read-only. */
bool sim_host_write_protect(struct sim_machine *machine, sim_hpage_t page);
/* Break the sharing: copied to a new, writable frame, and the old one is freed. */
bool sim_host_copy_on_write(struct sim_machine *machine, sim_hpage_t page);
/* Make it writable where it is (the last sharer left). */
bool sim_host_write_enable(struct sim_machine *machine, sim_hpage_t page);
/* Move all pages of the aligned run around @page into one contiguous run. All must be present. */
bool sim_host_collapse(struct sim_machine *machine, sim_hpage_t page, enum sim_level level);

/* Content as the host sees it, wherever it lives now. @offset: 8-byte aligned, below 4096. */
uint64_t sim_host_read(struct sim_machine *machine, sim_hpage_t page, uint32_t offset);
void sim_host_write(struct sim_machine *machine, sim_hpage_t page, uint32_t offset, uint64_t value);

#endif
