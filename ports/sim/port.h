/* SPDX-License-Identifier: MIT */
/*
 * The library on the simulated machine: callbacks that take pages from simulated RAM, look up
 * simulated host memory, and flush the TLBs of simulated CPUs. One vCPU runs on each CPU.
 *
 * sim_vm_access() is the life of a vCPU: enter, access, leave, resolve the fault, again. Every
 * step is compared with the oracle; what differs is a violation of the machine.
 */
#ifndef SIM_PORT_H
#define SIM_PORT_H

#include <vmmu/vmmu.h>

#include "machine.h"
#include "oracle.h"
#include "watch.h"

#define SIM_VCPUS_MAX 8u

struct sim_vm_options {
	struct sim_config machine;
	struct vmmu_vm_config vm; /* zero members take defaults */
	enum sim_level run_level; /* host memory comes in runs of this size */
	bool direct;              /* no guest_page callback: slots name host-physical memory */
	bool rsvd_without_p;      /* QEMU's reserved-bit faults */
	bool own_locks;           /* the port brings its locks */
	bool eager_yield;         /* every chance to yield is taken */
	bool patient;             /* host pages are answered PENDING first */
};

struct sim_vm;

/* Called at each yield of the library, without its locks. */
typedef void sim_yield_fn(struct sim_vm *sim, void *context);

struct sim_vm {
	struct sim_machine *machine;
	struct oracle *oracle;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu[SIM_VCPUS_MAX];
	unsigned space[SIM_VCPUS_MAX];
	bool running[SIM_VCPUS_MAX];
	struct sim_vm_options options;
	struct vmmu_port port;
	/* what came of accesses */
	uint64_t memory, mmio, readonly, mmio_fast, faults, stuck, pages_asked;
	/* hooks: one shot before the host answers for a page; at every yield */
	sim_yield_fn *before_page_answer, *after_page_answer, *on_yield;
	void *hook_context;
	struct sim_watch watch;
	uint64_t tracked; /* accesses that came out for a client, and were emulated */
	bool in_hook;
	uint64_t pending_page; /* PENDING was answered for this one already */
	uint64_t locks_held;
	/* one byte a host frame of RAM: told dirty by the library, written by a CPU */
	uint8_t *dirty_frame, *written_frame;
	bool harvesting; /* what is written now may be told by this harvest, or later */
	uint64_t traces;
	unsigned last_outcome;
};

/* Return: NULL, with a sentence on stderr, if the machine or the VM cannot be made. */
struct sim_vm *sim_vm_new(const struct sim_vm_options *options, unsigned vcpus);
/* Destroys the VM and checks that every table page came back. */
void sim_vm_free(struct sim_vm *sim);

/* The VM's configuration with defaults: NPT, 4 levels, 40 bits, 1G leaves, two spaces. */
struct vmmu_vm_config sim_vm_config(void);

/* Slot operations on library and oracle together; results must agree. @host: page index. */
enum vmmu_error sim_slot_create(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn,
				uint64_t count, uint64_t host, uint32_t flags);
enum vmmu_error sim_slot_delete(struct sim_vm *sim, unsigned space, uint16_t id);
enum vmmu_error sim_slot_move(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn);

enum sim_access_end {
	SIM_ACCESS_MEMORY,   /* done, perhaps by emulation; *value is what was read or written */
	SIM_ACCESS_MMIO,     /* the device model's */
	SIM_ACCESS_READONLY, /* the device model's */
	SIM_ACCESS_STUCK,
	SIM_ACCESS_ERROR, /* out of memory, or dead */
};

/**
 * sim_vm_access() - one aligned eight-byte access of a vCPU, with all that follows.
 * @value: in for SIM_WRITE, out for SIM_READ and SIM_EXEC.
 */
enum sim_access_end sim_vm_access(struct sim_vm *sim, unsigned vcpu, uint64_t gpa,
				  enum sim_access_kind kind, uint64_t *value);

/* One enter, access, leave, and if it faults one vmmu_fault_handle(). @hardware: as reported. */
enum vmmu_outcome sim_vm_step(struct sim_vm *sim, unsigned vcpu, uint64_t gpa,
			      enum sim_access_kind kind, struct sim_result *hardware,
			      struct vmmu_fault_result *result);

/* Be in the guest (holding translations), or out of it. */
enum vmmu_error sim_vm_enter(struct sim_vm *sim, unsigned vcpu);
void sim_vm_leave(struct sim_vm *sim, unsigned vcpu);

/* Host events, bracketed by the library's invalidation of the host range. */
bool sim_vm_swap_out(struct sim_vm *sim, uint64_t page);
bool sim_vm_migrate(struct sim_vm *sim, uint64_t page);
bool sim_vm_write_protect(struct sim_vm *sim, uint64_t page);
/* Read and clear what the hardware recorded, of all spaces: all that was written must be told. */
void sim_vm_harvest_dirty(struct sim_vm *sim);
bool sim_vm_copy_on_write(struct sim_vm *sim, uint64_t page);
/* The 2M run around the page becomes contiguous. */
bool sim_vm_collapse(struct sim_vm *sim, uint64_t page);

/* The frame's byte in one of the two arrays; NULL outside of RAM. */
uint8_t *sim_vm_frame(const struct sim_vm *sim, uint8_t *array, uint64_t pfn);

/* A CPU has written to the frame. */
void sim_vm_wrote(struct sim_vm *sim, uint64_t pfn);

/* Whole audit; findings become violations. Return: number of findings. */
uint64_t sim_vm_audit(struct sim_vm *sim);
/* Everything that must hold when no call is under way: audit, no stale TLB entry. */
void sim_vm_check(struct sim_vm *sim);

/* The root that the hardware would walk for this vCPU now. */
struct sim_root sim_vm_root(const struct sim_vm *sim, const struct vmmu_entry *entry);

#endif
