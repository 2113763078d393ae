/* SPDX-License-Identifier: MIT */
/*
 * machine.h - the simulated machine that plays the hardware in tests; include this one.
 *
 * A machine is RAM, host virtual memory, N CPUs with caches that keep every stale entry the
 * architecture allows, and a log of violations. All randomness comes from one seed; the same
 * seed and the same calls give the same run. It knows nothing of the library. Not
 * thread-safe, except that table entries are read and updated atomically.
 */
#ifndef SIM_MACHINE_MACHINE_H
#define SIM_MACHINE_MACHINE_H

#include <stdio.h>

#include "cpu.h"
#include "hostmem.h"
#include "ram.h"
#include "types.h"

struct sim_machine;

/* Zero in a field means the default in brackets. */
struct sim_config {
	uint64_t seed;        /* [1] */
	uint64_t base_pfn;    /* first frame of RAM [0x140000, that is 5 GiB]; never 0 */
	uint64_t frame_count; /* RAM, in 4 KiB frames [4096]; backed lazily, so 1 GiB runs are cheap
			       */
	uint64_t host_page_count; /* size of the host virtual space in pages [frame_count] */
	uint32_t cpu_count;       /* [1] */
	uint32_t tlb_count;       /* entries per CPU [64] */
	uint32_t psc_count;       /* paging-structure-cache entries per CPU [32] */
	enum sim_cpu_mode mode;   /* of all CPUs [SIM_CPU_RANDOM] */
	bool frames_in_order;     /* allocate the lowest free frame instead of a random one */
	bool lazy_flush;          /* freeing a frame some CPU still caches is not a violation */
};

/* Return: NULL if the C library is out of memory or the configuration makes no sense. */
struct sim_machine *sim_machine_new(const struct sim_config *config);
void sim_machine_free(struct sim_machine *machine);

struct sim_cpu *sim_machine_cpu(struct sim_machine *machine, uint32_t index);
uint32_t sim_machine_cpu_count(const struct sim_machine *machine);
void sim_machine_set_mode(struct sim_machine *machine, enum sim_cpu_mode mode);

/* The machine's random numbers, for tests that want to be replayed with the same seed. */
uint64_t sim_random(struct sim_machine *machine);
uint64_t sim_random_below(struct sim_machine *machine, uint64_t bound);

/* Called before each access of a walker to a table entry; for interleaving tests. */
typedef void sim_step_fn(void *context, struct sim_cpu *cpu);
void sim_machine_set_step(struct sim_machine *machine, sim_step_fn *step, void *context);

/* Record a sentence about something that must never happen. */
void sim_violation(struct sim_machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t sim_violation_count(const struct sim_machine *machine);
/* The first 64 are kept. Return: NULL beyond the last one kept. */
const char *sim_violation_text(const struct sim_machine *machine, uint64_t index);
void sim_violations_print(const struct sim_machine *machine, FILE *out);
void sim_violations_clear(struct sim_machine *machine);

/*
 * What every CPU does for a shoot-down. @tag names the VM (sim_root.tag). A range flush drops
 * all translations and all paging-structure-cache entries that overlap [start, end), and
 * nothing else. sim_flush_root() drops what was filled from one top table, under any tag.
 */
void sim_flush_range(struct sim_machine *machine, uint32_t tag, sim_gfn_t start, sim_gfn_t end);
void sim_flush_all(struct sim_machine *machine, uint32_t tag);
void sim_flush_root(struct sim_machine *machine, sim_pfn_t root);
void sim_flush_everything(struct sim_machine *machine);

/*
 * Which CPUs still reach a host frame, as a mapping's target, as a table, or as a loaded root?
 * @text: receives one line per finding, may be NULL.
 * Return: number of findings; 0 means the frame is unreachable from caches and loaded roots.
 */
size_t sim_stale_translations(struct sim_machine *machine, sim_pfn_t pfn, char *text,
			      size_t text_bytes);

/*
 * Which cached translations grant more than a fresh walk of the same root would, or lead
 * elsewhere? Legal until the flush; must be 0 once every owed flush is paid.
 */
size_t sim_outdated_translations(struct sim_machine *machine, uint32_t tag, char *text,
				 size_t text_bytes);

#endif
