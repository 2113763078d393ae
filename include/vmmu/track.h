/* SPDX-License-Identifier: MIT */
/*
 * Tracking: be told when guest frames are written, read or executed, and when slots end. For
 * mediators of devices whose tables live in guest memory. Works for nested and for shadow paging.
 *
 * A client registers, then adds frames. From then on the guest's CPUs have no right to the
 * tracked kinds of access: each such access comes out as VMMU_OUTCOME_TRACKED, or TABLE_WRITE; the
 * embedder emulates the instruction and tells vmmu_guest_written() or vmmu_guest_accessed(),
 * and these call the clients that track the frame.
 *
 * Tracking goes by guest frame number and holds in every address space. It is counted per client
 * and frame: what a client added twice it removes twice; clients do not disturb each other.
 *
 * Callbacks run in the thread that told the access, without any lock of vmmu: they may sleep,
 * take the client's own locks, and call vmmu_track_add(), vmmu_track_remove() and the rest of this
 * header but vmmu_tracker_unregister() of the tracker that is being called (it would wait for
 * itself), or of one whose callback waits for this one; and no slot changes.
 */
#ifndef VMMU_TRACK_H
#define VMMU_TRACK_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMMU_TRACKERS_MAX 16u /* of a VM at a time */

/* Kinds of access to track are enum vmmu_access bits: VMMU_ACCESS_READ, _WRITE, _EXEC.
 * Tracking reads implies that nothing is readable, so writes and fetches come out, too; each
 * is told with its own kind, and only to clients that asked for it. */

struct vmmu_tracker_ops {
	/**
	 * accessed - the guest, or a device by way of vmmu_guest_written(), accessed a tracked
	 * frame. @kind: one enum vmmu_access bit. For a write the bytes are in memory by now.
	 * @bytes from @gpa lie within one frame (longer accesses are told frame by frame). May be
	 * NULL if the client only wants to know of regions.
	 */
	void (*accessed)(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes,
			 uint32_t kind);
	/**
	 * region_removed - a slot with these frames has ended: its end is certain, its memory is
	 * not yet reused. The client's tracking of these frames is gone already, but for frames
	 * that a slot of the other space still holds. Never called for a change that failed.
	 * Called once per slot, tracked frames in it or not. May be NULL.
	 */
	void (*region_removed)(void *client, unsigned space, struct vmmu_gfn_range range);
};

/* Names a registered tracker of one VM; never reused for another one. */
typedef struct vmmu_tracker_id {
	uint64_t n; /* 0: none */
} vmmu_tracker_id_t;

/**
 * vmmu_tracker_register() - a new client, at any time in the VM's life.
 * @ops: kept, not copied. @client: handed to the callbacks.
 * Context: any thread; may sleep if page_alloc does.
 * Return:  VMMU_OK; VMMU_EINVAL; VMMU_ELIMIT, VMMU_TRACKERS_MAX are registered; VMMU_ENOMEM;
 *          VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_tracker_register(struct vmmu_vm *vm,
						      const struct vmmu_tracker_ops *ops,
						      void *client, vmmu_tracker_id_t *id);

/**
 * vmmu_tracker_unregister() - the client leaves; whatever it still tracks is removed. When this
 * returns no callback of it runs or will run.
 * Context: any thread; waits for callbacks under way, so not from one of its own.
 * Return:  VMMU_OK, also for a dead VM; VMMU_ENOENT, no such tracker (any more).
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_tracker_unregister(struct vmmu_vm *vm, vmmu_tracker_id_t id);

/**
 * vmmu_track_add() - track these kinds of access to each frame of the range, once more.
 * @kinds: enum vmmu_access bits. Every frame lies in a slot of some space, below 2^36.
 * When this returns no CPU has a translation left that would let a tracked access pass untold.
 * Large leaves over the frames are split or refused from now on.
 * Context: any thread, also callbacks of trackers. May sleep if page_alloc does.
 * Return:  VMMU_OK; VMMU_EINVAL, no kinds, unknown ones, a range upside down; VMMU_ENOENT, no such
 *          tracker, or a frame in no slot; VMMU_ERANGE; VMMU_ELIMIT, added 2^20 times by now;
 *          VMMU_ENOMEM; VMMU_EDEAD. After an error nothing has changed.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_track_add(struct vmmu_vm *vm, vmmu_tracker_id_t id,
					       struct vmmu_gfn_range range, uint32_t kinds);

/**
 * vmmu_track_remove() - take back one vmmu_track_add() of each frame. Once the one that brings a
 * count to zero has returned, no access that is told later leads to a callback for the frame and
 * kind. Callbacks under way may still run: only vmmu_tracker_unregister() waits for them.
 * Return: VMMU_OK; VMMU_EINVAL, as above; VMMU_ENOENT, no such tracker, or it does not track one of
 *         these frames for one of these kinds: nothing has changed; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_track_remove(struct vmmu_vm *vm, vmmu_tracker_id_t id,
						  struct vmmu_gfn_range range, uint32_t kinds);

/**
 * vmmu_track_once() - for frames that are written too often for a callback each: tell the next
 * write only, and let the guest write freely after it.
 * @on: false goes back to telling every write. Frames that are not tracked for writes are ENOENT.
 * vmmu_track_rearm() - the client is about to read the frame again: take the right to write away
 * once more, and tell the next write. Does nothing to frames that have not been written. A frame
 * that was written stays writable to the guest until then, also if vmmu_track_add() counts it
 * again.
 * Return: as vmmu_track_remove().
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_track_once(struct vmmu_vm *vm, vmmu_tracker_id_t id,
						struct vmmu_gfn_range range, bool on);
VMMU_MUST_CHECK enum vmmu_error vmmu_track_rearm(struct vmmu_vm *vm, vmmu_tracker_id_t id,
						 struct vmmu_gfn_range range);

/**
 * vmmu_guest_written() - guest memory was written by other means than a CPU in the guest: by the
 * instruction emulator, by a device. Call it for every such write, after the bytes are there: it
 * tells the clients that track the frames, then the shadow tables that mirror them. With
 * nothing tracked and no shadow tables it costs next to nothing.
 * Context: any thread that holds no lock which clients' callbacks take. @bytes may span pages.
 * Return:  VMMU_OK; VMMU_EINVAL, no such space or an address that wraps; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_guest_written(struct vmmu_vm *vm, unsigned space,
						   vmmu_gpa_t gpa, uint64_t bytes);

/**
 * vmmu_guest_accessed() - the emulator has read, or fetched from, guest memory on behalf of the
 * guest. Tells the clients that track such accesses. Writes: vmmu_guest_written().
 * @kind: VMMU_ACCESS_READ or VMMU_ACCESS_EXEC.
 * Context: any thread that holds no lock which clients' callbacks take.
 * Return:  VMMU_OK; VMMU_EINVAL; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_guest_accessed(struct vmmu_vm *vm, unsigned space,
						    vmmu_gpa_t gpa, uint64_t bytes, uint32_t kind);

#ifdef __cplusplus
}
#endif

#endif
