/* SPDX-License-Identifier: MIT */
/* Writes to frames that hold the guest's tables, by others than the guest's CPUs. */
#include "shadow/shade.h"
#include "vm.h"

/* This often written without being walked: it is no page table any more. */
#define FLOOD 3u

/* Clear what is mirrored of the guest entries [first, last] of the table's frame. */
static void clear_guest_entries(struct vmmu_task *task, struct vmmu_shade *s, unsigned first,
				unsigned last) VMMU_REQUIRES(vmmu_mmu_lock)
{
	bool halves = s->sp.role.mode == VMMU_PAGING_32BIT;
	unsigned per_entry = halves && s->sp.role.level == VMMU_LEVEL_2M ? 2 : 1;
	unsigned here = VMMU_TABLE_ENTRIES / per_entry; /* guest entries in this table */
	unsigned base = halves ? s->sp.role.quadrant * here : 0;

	for (unsigned g = first; g <= (VMMU_MUTANT(FIRST_WRITTEN) ? first : last); g++) {
		if (g < base || g >= base + here)
			continue;
		for (unsigned i = 0; i < per_entry; i++)
			vmmu_shade_clear(task, s, (g - base) * per_entry + i);
	}
}

void vmmu_frame_marked(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, unsigned bytes)
{
	struct vmmu_shade *s = vmmu_shade_first(task->vm, space, vmmu_gpa_to_gfn(gpa));
	unsigned offset = (unsigned)(gpa.addr % VMMU_PAGE_BYTES);

	for (; s; s = s->same_frame) {
		unsigned size = shade_gpte_bytes(s);

		if (shade_is_mirror(s) && size != bytes)
			clear_guest_entries(task, s, offset / size, (offset + bytes - 1) / size);
	}
}

bool vmmu_frame_is_uniform(const struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn, unsigned bytes)
{
	const struct vmmu_shade *s = vmmu_shade_first(vm, space, gfn);

	while (s && (!shade_is_mirror(s) || shade_gpte_bytes(s) == bytes ||
		     VMMU_MUTANT(FILL_OTHER_WIDTH)))
		s = s->same_frame;
	return !s;
}

bool vmmu_guest_update_plainly(struct vmmu_task *task, unsigned space, const struct vmmu_update *u)
{
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn(u->gpa);

	*u->gone = true;
	if ((vm_tracks(task->vm) && vmmu_tracked_kinds(task->vm, gfn)) ||
	    !vmmu_frame_is_uniform(task->vm, space, gfn, u->bytes))
		return false;
	return vmmu_guest_update(task, space, u);
}

/* @offset, @bytes: inside the frame. */
static void frame_written(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn, unsigned offset,
			  unsigned bytes) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_shade *s = vmmu_shade_first(task->vm, space, gfn);

	while (s) {
		struct vmmu_shade *next = s->same_frame;
		unsigned size = shade_gpte_bytes(s);

		if (shade_is_mirror(s) && atomic_plus(&s->writes, 1) + 1 >= FLOOD &&
		    s->sp.role.level > 1 && !VMMU_MUTANT(FLOOD_IGNORED)) {
			vmmu_shade_zap(task, s);
			stat_add(task, VMMU_STAT_SHADOW_FLOODED, 1);
			next = vmmu_shade_first(task->vm, space, gfn);
		} else if (shade_is_mirror(s)) {
			clear_guest_entries(task, s, offset / size, (offset + bytes - 1) / size);
		}
		s = next;
	}
}

static void begin(struct vmmu_task *task) VMMU_ACQUIRE(vmmu_mmu_lock) VMMU_NO_ANALYSIS
{
	if (VMMU_MUTANT(WRITTEN_BESIDE))
		vmmu_section_begin_shared(task);
	else
		vmmu_section_begin(task);
}

static void end(struct vmmu_task *task) VMMU_RELEASE(vmmu_mmu_lock) VMMU_NO_ANALYSIS
{
	if (VMMU_MUTANT(WRITTEN_BESIDE))
		vmmu_section_end_shared(task);
	else
		vmmu_section_end(task);
}

void vmmu_frames_written(struct vmmu_task *task, unsigned space, vmmu_gpa_t gpa, uint64_t bytes)
{
	/* The bytes are there; whoever makes a table after this reads them (pairs with the lock).
	 */
	if (VMMU_MUTANT(WRITTEN_PEEK) &&
	    !vmmu_framemap_peek(&task->vm->frames[space].tables, vmmu_gpa_to_gfn(gpa).n))
		return;
	begin(task);
	while (bytes) {
		unsigned offset = (unsigned)(gpa.addr % VMMU_PAGE_BYTES);
		uint64_t here = VMMU_PAGE_BYTES - offset;

		if (here > bytes)
			here = bytes;
		frame_written(task, space, vmmu_gpa_to_gfn(gpa), offset, (unsigned)here);
		gpa.addr += here;
		bytes -= here;
	}
	end(task);
	stat_add(task, VMMU_STAT_SHADOW_WRITES, 1);
	vmmu_table_collect(task->vm);
}

bool vmmu_shadow_unprotect(struct vmmu_vm *vm, unsigned space, vmmu_gfn_t gfn)
{
	struct vmmu_task task = task_of_vm(vm);
	bool any = false;

	if (space >= vm->config.spaces || vm_is_dead(vm) || vm->config.format != VMMU_FORMAT_SHADOW)
		return false;
	vmmu_section_begin(&task);
	for (struct vmmu_shade *s = vmmu_shade_first(vm, space, gfn); s;) {
		if (!shade_is_mirror(s)) {
			s = s->same_frame;
			continue;
		}
		vmmu_shade_zap(&task, s);
		any = true;
		s = vmmu_shade_first(vm, space, gfn);
	}
	vmmu_section_end(&task);
	vmmu_table_collect(vm);
	return any;
}
