/* SPDX-License-Identifier: MIT */
/* Cells: what each client tracks, and what follows from it for the VM. */
#include "track/track.h"
#include "vm.h"

/*
 * A client's cell:   0..59   three counts of 20 bits: reads, writes, fetches
 *                    60      ONCE: tells one write, then lets the guest write
 *                    61      OPEN: that write was told
 * The VM's cell:     three bytes: clients that forbid reads, writes, fetches
 */
#define KINDS 3u
#define COUNT_BITS 20u
#define ONCE VMMU_BIT(60)
#define OPEN VMMU_BIT(61)
#define WRITE_INDEX 1u
_Static_assert(VMMU_TRACK_COUNT_MAX == (1u << COUNT_BITS) - 1u, "counts have their width");
_Static_assert(VMMU_ACCESS_WRITE == 1u << WRITE_INDEX, "kinds are numbered by their bits");
_Static_assert(VMMU_TRACKERS_MAX < 256, "clients are counted in a byte");

static uint64_t count_of(uint64_t cell, unsigned kind)
{
	return cell >> (COUNT_BITS * kind) & VMMU_TRACK_COUNT_MAX;
}

/* Kinds that a client with this cell forbids. */
static uint32_t forbids(uint64_t cell)
{
	uint32_t kinds = 0;

	for (unsigned kind = 0; kind < KINDS; kind++)
		if (count_of(cell, kind))
			kinds |= 1u << kind;
	return cell & OPEN ? kinds & ~(uint32_t)VMMU_ACCESS_WRITE : kinds;
}

/* Kinds that somebody forbids. */
static uint32_t forbidden(uint64_t sum)
{
	uint32_t kinds = 0;

	for (unsigned kind = 0; kind < KINDS; kind++)
		if (sum >> (8u * kind) & 0xffu)
			kinds |= 1u << kind;
	return kinds;
}

uint32_t vmmu_tracked_kinds(const struct vmmu_vm *vm, vmmu_gfn_t gfn)
{
	const struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	uint32_t kinds;

	if (!tracking)
		return 0;
	kinds = forbidden(vmmu_framemap_peek(&tracking->frames, gfn.n));
	return kinds & VMMU_ACCESS_READ ? VMMU_TRACK_KINDS : kinds;
}

bool vmmu_tracked_around(const struct vmmu_vm *vm, vmmu_gfn_t gfn, enum vmmu_level level)
{
	const struct vmmu_tracking *tracking = vmmu_tracking_of(vm);

	return tracking && vmmu_framemap_peek(&tracking->regions[level - VMMU_LEVEL_2M],
					      gfn.n / vmmu_level_frames(level));
}

uint32_t vmmu_track_wants(const struct vmmu_tracker *t, vmmu_gfn_t gfn)
{
	return forbids(vmmu_framemap_peek(&t->cells, gfn.n));
}

bool vmmu_track_is_once(const struct vmmu_tracker *t, vmmu_gfn_t gfn)
{
	return (vmmu_framemap_peek(&t->cells, gfn.n) & (ONCE | OPEN)) == ONCE;
}

/* ---- edits ---- */

static enum vmmu_error count_up(uint64_t *cell, uint32_t kinds)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (!(kinds & 1u << kind))
			continue;
		if (count_of(*cell, kind) == VMMU_TRACK_COUNT_MAX)
			return VMMU_ELIMIT;
		*cell += UINT64_C(1) << (COUNT_BITS * kind);
	}
	return VMMU_OK;
}

static enum vmmu_error count_down(uint64_t *cell, uint32_t kinds)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (!(kinds & 1u << kind))
			continue;
		if (!count_of(*cell, kind) && !VMMU_MUTANT(TRACK_BELOW_ZERO))
			return VMMU_ENOENT;
		*cell -= UINT64_C(1) << (COUNT_BITS * kind);
	}
	if (!count_of(*cell, WRITE_INDEX))
		*cell &= ~(ONCE | OPEN);
	return VMMU_OK;
}

/* What the cell becomes. After an error *@cell is worthless. */
static enum vmmu_error edited(uint64_t *cell, enum vmmu_track_edit edit, uint32_t kinds)
{
	bool writes = count_of(*cell, WRITE_INDEX) != 0;

	switch (edit) {
	case VMMU_TRACK_ADD:
		return count_up(cell, kinds);
	case VMMU_TRACK_REMOVE:
		return count_down(cell, kinds);
	case VMMU_TRACK_ONCE:
		*cell |= ONCE;
		return writes ? VMMU_OK : VMMU_ENOENT;
	case VMMU_TRACK_ALWAYS:
		*cell &= ~(ONCE | OPEN);
		return writes ? VMMU_OK : VMMU_ENOENT;
	case VMMU_TRACK_REARM:
		*cell &= ~OPEN;
		return writes ? VMMU_OK : VMMU_ENOENT;
	case VMMU_TRACK_OPEN:
		if (writes && (*cell & ONCE) && !VMMU_MUTANT(TRACK_ONCE_STAYS))
			*cell |= OPEN;
		return VMMU_OK;
	case VMMU_TRACK_DROP:
		*cell = 0;
		break;
	}
	return VMMU_OK;
}

enum vmmu_error vmmu_track_check(const struct vmmu_tracker *t, vmmu_gfn_t gfn,
				 enum vmmu_track_edit edit, uint32_t kinds)
{
	uint64_t cell = vmmu_framemap_peek(&t->cells, gfn.n);

	return edited(&cell, edit, kinds);
}

bool vmmu_track_make(struct vmmu_task *task, struct vmmu_tracker *t, vmmu_gfn_t gfn)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(task->vm);

	return vmmu_framemap_make(task, &t->cells, gfn.n) &&
	       vmmu_framemap_make(task, &tracking->frames, gfn.n) &&
	       vmmu_framemap_make(task, &tracking->regions[0], gfn.n >> 9) &&
	       vmmu_framemap_make(task, &tracking->regions[1], gfn.n >> 18);
}

/* A frame comes to be tracked, or no longer is. */
static void count_frame(struct vmmu_vm *vm, struct vmmu_tracking *tracking, vmmu_gfn_t gfn,
			uint64_t one)
{
	uint64_t before;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t *cell =
			vmmu_framemap_find(&tracking->regions[i], gfn.n >> (9u * (i + 1u)));

		vmmu_framemap_put(cell, *cell + one);
	}
	before = atomic_plus(&vm->tracked, one);
	if (!before || !(before + one))
		vm->obstacles += one;
}

/* The client's cell becomes @to, and the VM's numbers follow. Return: kinds newly forbidden. */
static uint32_t set_cell(struct vmmu_vm *vm, vmmu_gfn_t gfn, uint64_t *cell, uint64_t to)
{
	struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	uint64_t *sum = vmmu_framemap_find(&tracking->frames, gfn.n);
	uint32_t before = forbids(*cell), after = forbids(to);
	uint64_t old = *sum, new = old;

	vmmu_framemap_put(cell, to);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (after & ~before & 1u << kind)
			new += UINT64_C(1) << (8u * kind);
		else if (before & ~after & 1u << kind)
			new -= UINT64_C(1) << (8u * kind);
	}
	vmmu_framemap_put(sum, new);
	if (!old != !new)
		count_frame(vm, tracking, gfn, new ? 1 : (uint64_t)-1);
	return forbidden(new) & ~forbidden(old);
}

uint32_t vmmu_track_apply(struct vmmu_task *task, struct vmmu_tracker *t, vmmu_gfn_t gfn,
			  enum vmmu_track_edit edit, uint32_t kinds)
{
	uint64_t *cell = vmmu_framemap_find(&t->cells, gfn.n);
	uint64_t to;

	if (!VMMU_CHECK(task, cell, "a tracked frame has no cell", gfn.n, edit))
		return 0;
	to = *cell;
	if (!VMMU_CHECK(task, edited(&to, edit, kinds) == VMMU_OK,
			"tracking changed between check and effect", gfn.n, *cell))
		return 0;
	return set_cell(task->vm, gfn, cell, to);
}

uint64_t vmmu_track_recount(const struct vmmu_tracking *tracking, vmmu_gfn_t gfn)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VMMU_TRACKERS_MAX; i++) {
		uint32_t kinds = vmmu_track_wants(&tracking->trackers[i], gfn);

		for (unsigned kind = 0; kind < KINDS; kind++)
			sum += (uint64_t)(kinds >> kind & 1u) << (8u * kind);
	}
	return sum;
}

bool vmmu_track_in_slot(const struct vmmu_vm *vm, vmmu_gfn_t gfn)
{
	for (unsigned space = 0; space < vm->config.spaces; space++)
		if (vmmu_slots_find(vmmu_slots_now(&vm->spaces[space]), gfn))
			return true;
	return false;
}

void vmmu_track_drop(struct vmmu_task *task, struct vmmu_tracker *t, struct vmmu_gfn_range range,
		     bool gone)
{
	uint64_t end = range.end.n < VMMU_TRACK_FRAMES_MAX ? range.end.n : VMMU_TRACK_FRAMES_MAX;
	uint64_t key = vmmu_framemap_next(&t->cells, range.start.n, end);

	for (; key < end; key = vmmu_framemap_next(&t->cells, key + 1, end)) {
		uint64_t *cell = vmmu_framemap_find(&t->cells, key);

		if (*cell && !(gone && vmmu_track_in_slot(task->vm, (vmmu_gfn_t){key}) &&
			       !VMMU_MUTANT(TRACK_FORGETS_SHARED)))
			(void)set_cell(task->vm, (vmmu_gfn_t){key}, cell, 0);
		if (!((key + 1) % VMMU_TABLE_ENTRIES))
			(void)vmmu_section_pause(task);
	}
}
