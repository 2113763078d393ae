/* SPDX-License-Identifier: MIT */
/*
 * Shadow paging on the simulated machine: a VM of VMMU_FORMAT_SHADOW, whose vCPUs run on linear
 * CPUs, and the linear oracle that is told all that the guest does.
 *
 * shadow_access() is the life of a vCPU: enter, access with a linear address, leave, have the
 * library look at the fault, again. The end of it is judged by the oracle; what no hardware could
 * have answered is a violation of the machine.
 */
#ifndef SIM_SHADOW_VM_H
#define SIM_SHADOW_VM_H

#include <vmmu/vmmu.h>

#include "linear.h"
#include "machine.h"
#include "watch.h"

#define SHADOW_VCPUS_MAX 4u
#define SHADOW_SLOTS_MAX 8u

struct shadow_options {
	struct sim_config machine;
	uint64_t table_quota;
	unsigned prefetch;        /* of the VM's configuration */
	enum vmmu_level max_leaf; /* 0: 1G */
	enum sim_level run_level; /* host memory comes in runs of this size; 0: 4K */
	unsigned guest_bits;      /* guest's MAXPHYADDR; 0: 40 */
	bool direct;              /* no guest_page callback: slots name host-physical memory */
	bool patient;             /* host pages are answered PENDING first */
	bool own_locks;           /* the library's locks are counted */
};

struct shadow_slot {
	bool is_used, is_readonly;
	uint64_t gfn, count, host; /* host: page index */
	uint32_t flags;            /* besides VMMU_SLOT_READONLY */
};

/* What came of accesses and faults. */
struct shadow_counts {
	uint64_t memory, mmio, readonly, injected, noncanonical, table_writes, self_writes,
		unprotected, faults, resumed, host_errors, partial, stale, tracked;
};

struct shadow_vm {
	struct sim_machine *machine;
	struct linear_oracle *oracle;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu[SHADOW_VCPUS_MAX];
	unsigned vcpus;
	bool running[SHADOW_VCPUS_MAX];
	struct shadow_slot slot[SHADOW_SLOTS_MAX];
	struct shadow_options options;
	struct vmmu_port port;
	struct shadow_counts count;
	struct sim_watch watch;
	unsigned unprotect_one_in; /* so often a write to a table is answered by unprotecting;
				    * 0: never */
	uint64_t pending_page;     /* PENDING was answered for this one already */
	uint64_t locks_held;
	/* Called when the library asks for a guest frame's address: the moments at which it reads
	 * the guest's tables. What other vCPUs do then they do in the middle of a fault. */
	void (*on_guest_map)(struct shadow_vm *svm, void *context);
	/* Called in each pause of a long operation, if set: then every chance to pause is taken. */
	void (*on_pause)(struct shadow_vm *svm, void *context);
	void *hook_context;
	bool raced; /* the hook changed memory: the access under way may see it or not */
	uint8_t *dirty_frame, *written_frame; /* one byte a host frame of RAM */
};

/* Return: NULL, with a sentence on stderr, if the machine or the VM cannot be made. */
struct shadow_vm *shadow_vm_new(const struct shadow_options *options, unsigned vcpus);
/* Destroys the VM and checks that every table page came back. */
void shadow_vm_free(struct shadow_vm *svm);

/* ---- memory ---- */

/* Slot operations on library and oracle together. */
enum vmmu_error shadow_slot_create(struct shadow_vm *svm, unsigned id,
				   const struct shadow_slot *slot);
enum vmmu_error shadow_slot_delete(struct shadow_vm *svm, unsigned id);
enum vmmu_error shadow_slot_move(struct shadow_vm *svm, unsigned id, uint64_t gfn);
/* The slot of a guest address, or NULL; *page: the host page behind it. */
const struct shadow_slot *shadow_slot_of(const struct shadow_vm *svm, uint64_t gpa, uint64_t *page);

/* The aligned 8 bytes at @gpa as they are; all ones in a hole. */
uint64_t shadow_peek(const struct shadow_vm *svm, uint64_t gpa);
/* A device, or an emulated instruction, writes 4 or 8 bytes at @gpa. False: a hole, or ROM. */
bool shadow_poke(struct shadow_vm *svm, uint64_t gpa, unsigned bytes, uint64_t value);

/* Host events, bracketed by the library's invalidation of the host range. */
bool shadow_swap_out(struct shadow_vm *svm, uint64_t page);
bool shadow_migrate(struct shadow_vm *svm, uint64_t page);
bool shadow_write_protect(struct shadow_vm *svm, uint64_t page);
bool shadow_copy_on_write(struct shadow_vm *svm, uint64_t page);
bool shadow_collapse(struct shadow_vm *svm, uint64_t page);

/* ---- what the guest does ---- */

/* Reset: everything at once. */
void shadow_reset(struct shadow_vm *svm, unsigned vcpu, const struct linear_regs *regs);
/* Return: false, the CPU refuses with #GP and nothing has changed. */
bool shadow_set_regs(struct shadow_vm *svm, unsigned vcpu, const struct linear_regs *regs);
bool shadow_mov_cr3(struct shadow_vm *svm, unsigned vcpu, uint64_t value);
void shadow_invlpg(struct shadow_vm *svm, unsigned vcpu, uint64_t gva);
void shadow_invpcid(struct shadow_vm *svm, unsigned vcpu, enum linear_invpcid type, uint16_t pcid,
		    uint64_t gva);
void shadow_flush(struct shadow_vm *svm, unsigned vcpu);
const struct linear_regs *shadow_regs(const struct shadow_vm *svm, unsigned vcpu);

enum shadow_end {
	SHADOW_MEMORY,       /* done: *value is what was read, or written */
	SHADOW_MMIO,         /* the device model's */
	SHADOW_READONLY,     /* the device model's */
	SHADOW_FAULT,        /* #PF in the guest: result->error */
	SHADOW_NONCANONICAL, /* #GP in the guest */
	SHADOW_ERROR,        /* out of memory, dead, or a violation */
};

struct shadow_result {
	enum shadow_end end;
	uint64_t gpa;   /* MEMORY, MMIO, READONLY */
	uint32_t error; /* FAULT */
	uint64_t value; /* MEMORY, reads: the aligned bytes */
	bool emulated;  /* a write to a table, or tracked: by the device model */
};

struct shadow_request {
	unsigned vcpu;
	struct linear_access access;
	unsigned bytes; /* of a write: 4 or 8; the address is aligned to it */
	uint64_t value; /* of a write */
};

/* One access of a vCPU with all that follows, judged. */
struct shadow_result shadow_access(struct shadow_vm *svm, const struct shadow_request *request);

/* In short: supervisor, 8 bytes. */
struct shadow_result shadow_read(struct shadow_vm *svm, unsigned vcpu, uint64_t gva);
struct shadow_result shadow_write(struct shadow_vm *svm, unsigned vcpu, uint64_t gva,
				  uint64_t value);

/* One turn: enter, access, and if it faults one vmmu_shadow_fault(). Not judged, nothing written.
 */
enum vmmu_outcome shadow_step(struct shadow_vm *svm, const struct shadow_request *request,
			      struct linear_result *hardware, struct vmmu_shadow_result *result);

/* Called by a hook: a vCPU that is in the guest writes 8 bytes, if its CPU lets it. */
bool shadow_race_write(struct shadow_vm *svm, unsigned vcpu, uint64_t gva, uint64_t gpa,
		       uint64_t value);

/* What the hardware runs with: the header of shadow.h says which bits are whose. */
struct linear_regs shadow_hardware_regs(const struct shadow_vm *svm, unsigned vcpu,
					const struct vmmu_entry *entry);
/* Be in the guest (holding translations), or out of it. */
enum vmmu_error shadow_enter(struct shadow_vm *svm, unsigned vcpu);
void shadow_leave(struct shadow_vm *svm, unsigned vcpu);

/* Whole audit, and no running CPU holds what its tables no longer give; findings become violations.
 */
void shadow_check(struct shadow_vm *svm);

/* A counter of the library. */
uint64_t shadow_stat(struct shadow_vm *svm, enum vmmu_stat stat);

/* ---- between shadow_vm.c and shadow_life.c ---- */

uint8_t *shadow_frame_byte(const struct shadow_vm *svm, uint8_t *array, uint64_t pfn);

#endif
