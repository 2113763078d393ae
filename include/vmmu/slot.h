/* SPDX-License-Identifier: MIT */
/*
 * Slots: which guest frames exist, and where the host keeps them. A slot set is a
 * snapshot: readers see the old one or the new one, never a mixture.
 */
#ifndef VMMU_SLOT_H
#define VMMU_SLOT_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmmu_slot_flags {
	VMMU_SLOT_READONLY = 1u << 0, /* reads map; writes come out as VMMU_OUTCOME_READONLY */
	VMMU_SLOT_SMALL = 1u << 1,    /* 4K leaves only, whatever the host memory allows */
	VMMU_SLOT_LOG = 1u << 2,      /* writes are logged, see dirty.h; implies SMALL */
};

struct vmmu_slot_config {
	uint16_t id;        /* 0 .. VMMU_SLOTS_MAX-1, per space */
	uint16_t space;     /* guest-physical address space */
	uint32_t flags;     /* enum vmmu_slot_flags */
	vmmu_gfn_t base;    /* first guest frame */
	uint64_t count;     /* frames, 1 .. 2^31-1 */
	uint64_t host_base; /* bytes, page aligned. Without port->guest_page: host-physical
			     * address of the memory. With it: whatever the port wants back,
			     * as long as neighbouring frames differ by 4096 */
};

/**
 * vmmu_slot_create() - make frames exist.
 *
 * Context: any thread; not from a callback. Serialised with other slot changes. May sleep
 *          if page_alloc does; waits for readers of the old set.
 * Return:  VMMU_OK; VMMU_EINVAL, id, space, flags, count or alignment break a rule, or a sum
 *          wraps; VMMU_EEXIST, the id is in use or frames overlap another slot of the
 *          space; VMMU_ERANGE, frames beyond what the tables map; VMMU_ENOMEM; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_slot_create(struct vmmu_vm *vm,
						 const struct vmmu_slot_config *config);

/**
 * vmmu_slot_delete() - make frames vanish. On return no translation of them is left
 * anywhere; the host memory is the caller's again. Tracking clients have been told by then.
 *
 * Context: as vmmu_slot_create(), and no lock is held that clients' callbacks take.
 * Return:  VMMU_OK; VMMU_ENOENT, no such slot; VMMU_ENOMEM, the new set could not be built
 *          and the slot is as it was; VMMU_EINVAL, no such space; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_slot_delete(struct vmmu_vm *vm, unsigned space, uint16_t id);

/**
 * vmmu_slot_move() - same memory at other guest frames: a delete and a create in one
 * snapshot.
 * Return: as create and delete; VMMU_OK without any work if @base is the old one; VMMU_EBUSY,
 *         tracking clients are registered, or the slot logs writes: what they know of the
 *         frames, and the log, would be wrong.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_slot_move(struct vmmu_vm *vm, unsigned space, uint16_t id,
					       vmmu_gfn_t base);

/**
 * vmmu_slot_set_flags() - VMMU_SLOT_READONLY cannot change during a slot's life.
 * When all that changes is that VMMU_SLOT_LOG comes, translations stay: huge leaves are split (or
 * go, where there is no memory for tables; under shadow paging always), and every write that
 * begins after the call has returned is logged. They stay, too, when it goes and the slot cannot
 * have larger leaves without it. With any other change all the slot's translations are withdrawn,
 * so that leaves of another size come back by faults.
 * Return: VMMU_OK (also if nothing changes); VMMU_ENOENT; VMMU_EINVAL, unknown flag or
 *         READONLY differs; VMMU_ENOMEM, nothing has changed; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_slot_set_flags(struct vmmu_vm *vm, unsigned space, uint16_t id,
						    uint32_t flags);

/**
 * vmmu_slot_find() - the slot that holds a frame.
 * @config: filled in on success with the slot as it is now.
 * Context: any thread. Return: VMMU_OK; VMMU_ENOENT; VMMU_EINVAL, no such space.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_slot_find(struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn,
					       struct vmmu_slot_config *config);

/**
 * vmmu_slot_generation() - a number that no other state of this space's slots shares.
 * For caches of the embedder's own. Bit 63 is set while a change is under way: do not
 * fill a cache then.
 */
uint64_t vmmu_slot_generation(struct vmmu_vm *vm, unsigned space);

#ifdef __cplusplus
}
#endif

#endif
