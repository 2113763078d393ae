/* SPDX-License-Identifier: MIT */
/*
 * Who watches which guest frames, and telling them.
 *
 * Each client has a cell for a frame with its counts by kind of access; the VM has a cell that
 * says how many clients forbid which kind, and counts of tracked frames for each 2M and 1G
 * region, so that huge leaves are refused without a search. The VM's numbers follow from the
 * clients' cells alone: one function changes both.
 *
 *   vCPU (fault)                         | client (vmmu_track_add)
 *   looks at the cells without a lock:   | section, exclusive: cells; rights taken out of every
 *   a hint, wrong in either direction    |   entry; flush paid
 *   section: looks again where the entry | returns
 *   is built; that decides               |
 *
 *   emulator (vmmu_guest_written)        | client
 *   bytes are in memory                  | section, exclusive: cells
 *   looks at the cells                   | reads memory
 *   Both write first and read then, ordered by vm->tracked or the lock: the write is told, or
 *   the client reads it.
 *
 * Cells change under the slots lock and the mmu lock, exclusive; but for OPEN, which telling a
 * write sets under the mmu lock alone. So whoever holds the slots lock may check first, pause
 * as it likes, and apply what it checked.
 */
#ifndef VMMU_TRACK_TRACK_H
#define VMMU_TRACK_TRACK_H

#include <vmmu/track.h>

#include "base/annotate.h"
#include "base/atomic.h"
#include "slot/framemap.h"

struct vmmu_vm;
struct vmmu_task;

struct vmmu_tracker {
	uint64_t id; /* slots lock and mmu lock, exclusive; 0: free */
	bool leaving;
	const struct vmmu_tracker_ops *ops;
	void *client;
	vmmu_atomic_t calls; /* callbacks announced, under the mmu lock, and not yet returned */
	struct vmmu_framemap cells; /* stays for the next client that comes to this place */
};

/* A page, made for the first client. */
struct vmmu_tracking {
	vmmu_pfn_t self;
	uint64_t serial;                 /* of the last id given */
	uint64_t registered;             /* trackers, those on their way out included */
	struct vmmu_framemap frames;     /* by frame: clients that forbid, a byte for each kind */
	struct vmmu_framemap regions[2]; /* by 2M, 1G region: tracked frames in it */
	struct vmmu_tracker trackers[VMMU_TRACKERS_MAX];
};
_Static_assert(sizeof(struct vmmu_tracking) <= VMMU_PAGE_BYTES, "all trackers are one page");

#define VMMU_TRACK_KINDS                                                                           \
	((uint32_t)VMMU_ACCESS_READ | (uint32_t)VMMU_ACCESS_WRITE | (uint32_t)VMMU_ACCESS_EXEC)
#define VMMU_TRACK_COUNT_MAX 0xfffffu /* adds of one client, frame and kind */
#define VMMU_TRACK_FRAMES_MAX (UINT64_C(1) << VMMU_FRAMEMAP_KEY_BITS)

/* ---- cells.c ---- */

/**
 * vmmu_tracked_kinds() - accesses to the frame that must come out now: enum vmmu_access bits.
 * What is tracked for reads must not be accessed at all.
 * Context: mmu lock in any mode: the answer decides. Without it: a hint.
 */
uint32_t vmmu_tracked_kinds(const struct vmmu_vm *vm, vmmu_gfn_t gfn);

/* Is a frame of the huge page around @gfn tracked? Context: mmu lock in any mode. */
bool vmmu_tracked_around(const struct vmmu_vm *vm, vmmu_gfn_t gfn, enum vmmu_level level);

/* What can be done to a client's cell. The first five are numbers in trace records. */
enum vmmu_track_edit {
	VMMU_TRACK_ADD,
	VMMU_TRACK_REMOVE,
	VMMU_TRACK_ONCE,
	VMMU_TRACK_ALWAYS, /* no longer once */
	VMMU_TRACK_REARM,
	VMMU_TRACK_OPEN, /* a write is told to a client that wants one only */
	VMMU_TRACK_DROP,
};

/* May it be done? @kinds: for ADD and REMOVE. Context: slots lock. */
enum vmmu_error vmmu_track_check(const struct vmmu_tracker *t, vmmu_gfn_t gfn,
				 enum vmmu_track_edit edit, uint32_t kinds);

/* Have the cells for a frame. False: the reserve is used up; what was made stays, empty. */
bool vmmu_track_make(struct vmmu_task *task, struct vmmu_tracker *t, vmmu_gfn_t gfn)
	VMMU_REQUIRES(vmmu_mmu_lock);

/**
 * vmmu_track_apply() - do what vmmu_track_check() allowed; the cells exist.
 * Return: kinds that nobody tracked before: the caller takes those rights away.
 */
uint32_t vmmu_track_apply(struct vmmu_task *task, struct vmmu_tracker *t, vmmu_gfn_t gfn,
			  enum vmmu_track_edit edit, uint32_t kinds) VMMU_REQUIRES(vmmu_mmu_lock);

/* Does a slot of any space hold the frame? Context: slots lock or mmu lock. */
bool vmmu_track_in_slot(const struct vmmu_vm *vm, vmmu_gfn_t gfn);

/* What the VM's cell of a frame must be. Context: mmu lock, exclusive. */
uint64_t vmmu_track_recount(const struct vmmu_tracking *tracking, vmmu_gfn_t gfn);

/* Nothing of this client is left in the range, but for frames that some slot holds, if @gone.
 * Pauses. Context: slots lock, too. */
void vmmu_track_drop(struct vmmu_task *task, struct vmmu_tracker *t, struct vmmu_gfn_range range,
		     bool gone) VMMU_REQUIRES(vmmu_mmu_lock);

/* Kinds that this client itself forbids for a frame. Context: mmu lock in any mode. */
uint32_t vmmu_track_wants(const struct vmmu_tracker *t, vmmu_gfn_t gfn);
/* Does it wait for one write, to let the guest write after it? Context: as above. */
bool vmmu_track_is_once(const struct vmmu_tracker *t, vmmu_gfn_t gfn);

/* ---- tell.c ---- */

/* The registered tracker of this name, or NULL. Context: slots lock. */
struct vmmu_tracker *vmmu_tracker_find(const struct vmmu_vm *vm, vmmu_tracker_id_t id);

/* The page that holds all of them; NULL before the first one. */
struct vmmu_tracking *vmmu_tracking_of(const struct vmmu_vm *vm);

/* Tell an access, frame by frame. Context: no locks; calls clients. */
void vmmu_tell_accessed(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint64_t bytes,
			uint32_t kind);

/*
 * The end of a slot is certain. Announce the callbacks in the section that makes it so, and make
 * them when no lock is held: whoever is announced here cannot be unregistered before.
 */
uint32_t vmmu_tell_announce(struct vmmu_vm *vm) VMMU_REQUIRES(vmmu_mmu_lock);
void vmmu_tell_removed(struct vmmu_vm *vm, uint32_t announced, unsigned space,
		       struct vmmu_gfn_range range);

/* Wait until no callback of this tracker is announced or runs. Context: no locks. */
void vmmu_tell_wait(struct vmmu_vm *vm, struct vmmu_tracker *t);

/* The end of the VM. */
void vmmu_tracking_fini(struct vmmu_vm *vm);

#endif
