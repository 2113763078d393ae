/* SPDX-License-Identifier: MIT */
/*
 * The dirty log: which frames of a slot were written since somebody last asked. For live migration,
 * for snapshots, for displays. A slot logs from the moment that it gets VMMU_SLOT_LOG (slot.h) to
 * the one that it loses it.
 *
 * What counts as a write: one by a vCPU; accessed and dirty bits that the library or the CPU sets
 * in the guest's own tables; what the host wrote and told by vmmu_guest_written() or
 * vmmu_dirty_mark().
 *
 * The hardware keeps the log where it can: guests go on writing without exits. In a slot that logs
 * all leaves are 4K ones, so that one write costs one page. Formats without dirty flags
 * (config.no_accessed_dirty) take a fault for the first write to each frame after each look.
 */
#ifndef VMMU_DIRTY_H
#define VMMU_DIRTY_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Some frames of one slot, counted from its first. */
struct vmmu_slot_part {
	unsigned space;
	uint16_t id;
	uint64_t first; /* frame of the slot */
	uint64_t count; /* frames; 0: all from there on */
};

/**
 * vmmu_dirty_log() - which frames of a slot were written since the last call, or since logging
 * began? They count as clean afterwards, the rest of the slot stays as it is: who has much to copy
 * asks for a part, copies it, and asks for the next.
 * @bitmap: one bit for each frame of the part, bit i % 64 of word i / 64 for frame first + i. Bits
 * are set, never cleared: several calls may add up in one bitmap. NULL: count only.
 * @count:  set to the number of frames found; may be NULL.
 *
 * Every write that had landed when the call began is told by this call or was by one before. One
 * that comes while it runs is told by this call or by the next, one that comes after it by the
 * next: copy pages after the call and no write is lost. Flushes are paid before it returns.
 * Context: any thread; no callback; faults go on. May call yield. Serialised with slot changes.
 * Return:  VMMU_OK; VMMU_ENOENT, no such slot, or it does not log; VMMU_EINVAL, no such space, or
 * the part reaches beyond the slot; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_dirty_log(struct vmmu_vm *vm,
					       const struct vmmu_slot_part *part, uint64_t *bitmap,
					       uint64_t *count);

/**
 * vmmu_dirty_mark() - the host has written frames by a way of its own: DMA of a device, say. Call
 * it after the write has landed. Frames that no slot logs are passed over. Tables of the guest's
 * that are shadowed want vmmu_guest_written(), which does this, too. Context: any; takes no lock.
 * Return: VMMU_OK; VMMU_EINVAL, no such space or a range upside down.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_dirty_mark(struct vmmu_vm *vm, unsigned space,
						struct vmmu_gfn_range range);

#ifdef __cplusplus
}
#endif

#endif
