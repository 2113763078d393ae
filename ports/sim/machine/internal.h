/* SPDX-License-Identifier: MIT */
/*
 * internal.h - how the parts of the machine see each other; not for tests.
 *
 * A CPU has its own random numbers, so that what one CPU does never depends on how often
 * another was asked.
 */
#ifndef SIM_MACHINE_INTERNAL_H
#define SIM_MACHINE_INTERNAL_H

#include <stdarg.h>

#include "machine.h"
#include "prng.h"

#define SIM_VIOLATIONS_KEPT 64u
#define SIM_VIOLATION_BYTES 240u
#define SIM_RECENT_COUNT 16u

/* Rights of a translation. */
#define SIM_CAN_READ 1u
#define SIM_CAN_WRITE 2u
#define SIM_CAN_EXEC 4u
#define SIM_CAN_ALL 7u

struct sim_ram {
	unsigned char *bytes;
	uint64_t base_pfn;
	uint64_t frame_count;
	uint8_t *state; /* enum sim_frame_state by frame */
	bool *touched;  /* content may differ from the zeroes it was born with */
	uint32_t *free_list;
	uint32_t *free_position; /* of each free frame in free_list */
	uint64_t free_count;
	uint64_t count[SIM_FRAME_POISONED + 1];
	uint64_t table_allocs;
	uint64_t fail_first; /* value of table_allocs that fails first; 0: none */
	uint64_t fail_count;
	bool in_order;
	struct sim_prng prng;
};

struct host_page {
	sim_pfn_t pfn; /* SIM_PFN_NONE: absent */
	bool is_writable;
	uint8_t run_level;
	uint64_t version;
	unsigned char *saved; /* swapped out content, or NULL */
};

struct sim_hostmem {
	struct host_page *page;
	uint64_t page_count;
};

/* A translation that a CPU remembers. */
struct tlb_entry {
	bool is_valid;
	bool is_dirty; /* dirty was set in the leaf, or is not tracked */
	bool ignore_pat;
	uint8_t memory_type;
	uint8_t rights;
	enum sim_level level;
	sim_gfn_t gfn; /* aligned to level */
	sim_pfn_t pfn; /* aligned to level */
	uint64_t stamp;
	struct sim_root root; /* that it was filled under */
};

/* The upper part of a walk that a CPU remembers: where the entry of @level points to. */
struct psc_entry {
	bool is_valid;
	uint8_t rights;
	enum sim_level level; /* 2..5 */
	sim_gfn_t gfn;        /* aligned to what one entry of level covers */
	sim_pfn_t table;      /* of level - 1 */
	uint64_t stamp;
	struct sim_root root;
};

struct sim_cpu {
	struct sim_machine *machine;
	uint32_t index;
	enum sim_cpu_mode mode;
	bool has_root;
	struct sim_root root;
	struct tlb_entry *tlb;
	struct psc_entry *psc;
	uint32_t tlb_count;
	uint32_t psc_count;
	uint64_t stamp;
	sim_gpa_t recent[SIM_RECENT_COUNT];
	uint32_t recent_count; /* ever */
	struct sim_cpu_stats stats;
	struct sim_prng prng;
	uint64_t seed;
	struct linear_cpu *linear; /* made on first use */
};

struct sim_machine {
	struct sim_ram ram;
	struct sim_hostmem host;
	struct sim_cpu *cpu;
	uint32_t cpu_count;
	bool lazy_flush;
	struct sim_prng prng;
	sim_step_fn *step;
	void *step_context;
	uint64_t violation_count;
	char violation[SIM_VIOLATIONS_KEPT][SIM_VIOLATION_BYTES];
};

/* A line-by-line answer in words. */
struct sim_text {
	char *buffer;
	size_t size;
	size_t used;
};

void sim_text_add(struct sim_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

bool sim_ram_init(struct sim_machine *machine, const struct sim_config *config);
void sim_ram_fini(struct sim_machine *machine);
bool sim_host_init(struct sim_machine *machine, uint64_t page_count);
void sim_host_fini(struct sim_machine *machine);
bool sim_cpu_init(struct sim_cpu *cpu, struct sim_machine *machine, uint32_t index,
		  const struct sim_config *config);
void sim_cpu_fini(struct sim_cpu *cpu);
void sim_machine_step(struct sim_machine *machine, struct sim_cpu *cpu);
const char *sim_frame_state_name(enum sim_frame_state state);

/* Address of a frame for the machine's own use; no check of its state beyond being RAM. */
unsigned char *sim_ram_bytes(struct sim_machine *machine, sim_pfn_t pfn);
void sim_ram_touch(struct sim_machine *machine, sim_pfn_t pfn);
bool sim_ram_is_touched(const struct sim_machine *machine, sim_pfn_t pfn);

#endif
