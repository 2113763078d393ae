/* SPDX-License-Identifier: MIT */
/*
 * One VM for the tests of the dirty log, whichever engine runs it: slots, accesses by guest frame,
 * looks, and hooks for what happens in the middle of a call. CPUs believe the oldest translation
 * that they can find.
 */
#ifndef TESTS_DIRTY_LAB_H
#define TESTS_DIRTY_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "linear_format.h"
#include "port.h"
#include "shadow_vm.h"

enum lab_engine {
	LAB_EPT,
	LAB_EPT_PLAIN /* without accessed and dirty flags */,
	LAB_NPT,
	LAB_SHADOW
};

#define LAB_ENGINES(e)                                                                             \
	enum lab_engine e = LAB_EPT;                                                               \
	e <= LAB_SHADOW;                                                                           \
	e++
#define LAB_NESTED(e)                                                                              \
	enum lab_engine e = LAB_EPT;                                                               \
	e <= LAB_NPT;                                                                              \
	e++

/*
 * Under shadow paging the guest's tables stand in a slot of their own, number 7, which does not
 * log; their accessed and dirty bits are set. Frames from BASE on have three linear addresses: in
 * 4K pages (the first 2048 frames), in 2M pages, and in one 1G page.
 */
#define LAB_BASE UINT64_C(0x40000)
#define LAB_TABLES_SLOT 7u
#define LAB_GIGABYTE UINT64_C(0x40000) /* frames */
enum lab_window { LAB_SMALL, LAB_2M, LAB_1G };
/* Guest frames of the tables. */
enum { LAB_PML4 = 1, LAB_PDPT, LAB_PD, LAB_PD_2M, LAB_PT, LAB_FREE_TABLE = 10 };

struct lab_options {
	unsigned vcpus;           /* 0: 2 */
	unsigned prefetch;        /* 0: 1, that is none */
	enum sim_level run_level; /* of host memory; 0: 4K */
	uint64_t pages;           /* of host memory; 0: 4096 */
	bool deaf;                /* the port listens neither to dirty pages nor to traces */
};

struct lab;
typedef void lab_hook_fn(struct lab *lab, void *context);

struct lab {
	enum lab_engine engine;
	struct lab_options options;
	struct sim_vm *sim;    /* nested paging, */
	struct shadow_vm *svm; /* or shadow paging */
	struct vmmu_vm *vm;
	struct sim_machine *machine;
	enum lab_window window; /* which linear address shadowed accesses use */
	/* Hooks, NULL: none. In each pause of a long operation, without the VM's lock; and before
	 * each flush, with it. A hook is not called while one runs. */
	lab_hook_fn *on_pause, *on_flush;
	void *context;
	bool in_hook;
};

struct lab *lab_new(enum lab_engine engine, const struct lab_options *options);
/* Everything is checked once more, and nothing may have gone wrong. */
void lab_end(struct lab *lab);
void lab_check(struct lab *lab);

void lab_slot(struct lab *lab, unsigned id, uint64_t gfn, uint64_t count, uint64_t host,
	      uint32_t flags);
void lab_slot_delete(struct lab *lab, unsigned id);
void lab_flags(struct lab *lab, unsigned id, uint32_t flags);
uint32_t lab_flags_of(struct lab *lab, uint64_t gfn);
bool lab_migrate(struct lab *lab, uint64_t page);
bool lab_write_protect(struct lab *lab, uint64_t page);

/* Accesses that must end in memory, with all the faults that they take. */
void lab_write(struct lab *lab, unsigned vcpu, uint64_t gfn);
void lab_read(struct lab *lab, unsigned vcpu, uint64_t gfn);
/* The same, and the CPU must not fault. */
void lab_read_quietly(struct lab *lab, unsigned vcpu, uint64_t gfn);
/* The CPU's part of a write alone, as it can be in the middle of a call. False: it faults, or it is
 * not in the guest. */
bool lab_cpu_writes(struct lab *lab, unsigned vcpu, uint64_t gfn);
void lab_enter(struct lab *lab, unsigned vcpu);
void lab_leave(struct lab *lab, unsigned vcpu);

uint64_t lab_stat(struct lab *lab, enum vmmu_stat stat);
struct vmmu_gfn_range lab_range(uint64_t start, uint64_t end);
uint64_t lab_linear(const struct lab *lab, uint64_t gfn);

enum vmmu_error lab_look(struct lab *lab, unsigned id, uint64_t first, uint64_t count,
			 uint64_t *bitmap, uint64_t *found);
/* A look at the whole slot tells these frames of it, and no other; the last one is LAB_NO_MORE. */
#define LAB_NO_MORE UINT64_MAX
void lab_tells(struct lab *lab, unsigned id, const uint64_t *frames, unsigned line);
#define LAB_TELLS(lab, id, ...)                                                                    \
	lab_tells((lab), (id), (const uint64_t[]){__VA_ARGS__, LAB_NO_MORE}, __LINE__)
#define LAB_TELLS_NOTHING(lab, id) lab_tells((lab), (id), (const uint64_t[]){LAB_NO_MORE}, __LINE__)
/* Whatever it tells. */
void lab_forget(struct lab *lab, unsigned id);

#endif
