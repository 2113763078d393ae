/* SPDX-License-Identifier: MIT */
/*
 * The way of a second-stage fault:
 *
 *   reserved bit?  -> MMIO entry or cache of the current generation -> MMIO
 *   slot?          -> none: MMIO; read-only and a write: READONLY
 *   reserve tables -> sequence number -> host frame (may sleep; no locks)
 *   shared section -> slots, root, sequence still the same? -> install
 *
 * Everything looked up before the section is a hint; what is checked inside it decides.
 */
#include <vmmu/fault.h>

#include "fault/internal.h"
#include "vm.h"

/* The slot that holds the frame, by value in the vCPU; false if there is none. */
static bool find_slot(struct vmmu_task *task, vmmu_gfn_t gfn, uint64_t *generation)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	struct vmmu_slot_space *space =
		&task->vm->spaces[VMMU_MUTANT(WRONG_SPACE) ? 0 : vcpu->space];
	const struct vmmu_slot *slot;

	/* Before the set: whoever sees this number sees its set, or a newer one whose number
	 * the check inside the section will not accept. */
	*generation = atomic_get_acquire(&space->generation);
	if (VMMU_LIKELY(vcpu->slot_generation == *generation ||
			(VMMU_MUTANT(STALE_SLOT) && vcpu->slot_generation != UINT64_MAX)) &&
	    VMMU_LIKELY(vmmu_slot_holds(&vcpu->slot, gfn)))
		return true;
	vmmu_reading_begin(task);
	slot = vmmu_slots_find(vmmu_slots_now(space), gfn);
	if (slot) {
		vcpu->slot = *slot;
		vcpu->slot_generation = *generation;
	}
	vmmu_reading_end(task);
	return slot != NULL;
}

/* May what was looked up under @generation and @sequence still be installed? */
static inline bool still_true(const struct vmmu_task *task, uint64_t generation)
{
	const struct vmmu_vcpu *vcpu = task->vcpu;

	if (VMMU_MUTANT(IGNORE_CHECK) || VMMU_MUTANT(WRONG_SPACE))
		return vcpu->root != NULL;
	return VMMU_LIKELY(atomic_get(&task->vm->spaces[vcpu->space].generation) == generation) &&
	       VMMU_LIKELY(vcpu->root != NULL) && VMMU_LIKELY(root_is_valid(vcpu->root)) &&
	       VMMU_LIKELY(vcpu->root->role.space == vcpu->space);
}

/* ---- device frames ---- */

static enum vmmu_outcome mmio_remember(struct vmmu_task *task, vmmu_gfn_t gfn, uint64_t generation)
{
	struct vmmu_vm *vm = task->vm;
	enum vmmu_outcome outcome = VMMU_OUTCOME_MMIO;

	/* While a change is under way nothing is remembered (I13). */
	if (generation & VMMU_GENERATION_IN_PROGRESS)
		return outcome;
	task->vcpu->mmio = (struct vmmu_mmio_cache){gfn, generation};
	if (!fmt_has_mmio(&vm->fmt) || !vmmu_mmio_tables_allowed(vm, task->vcpu->space))
		return outcome;
	if (!vmmu_cache_fill(vm, task->cache, vm->config.root_level - 1u))
		return outcome; /* remembering is a luxury */
	vmmu_section_begin_shared(task);
	if (still_true(task, generation))
		vmmu_tdp_map_mmio(task, task->vcpu->root, gfn, generation);
	else
		outcome = VMMU_OUTCOME_RETRY;
	vmmu_section_end_shared(task);
	return outcome;
}

static bool mmio_is_cached(struct vmmu_task *task, vmmu_gfn_t gfn)
{
	const struct vmmu_mmio_cache *cache = &task->vcpu->mmio;

	if (cache->gfn.n != gfn.n || cache->generation == UINT64_MAX)
		return false;
	return VMMU_MUTANT(STALE_CACHE) ||
	       cache->generation ==
		       atomic_get_acquire(&task->vm->spaces[task->vcpu->space].generation);
}

/*
 * A fault on a reserved bit. Return: MMIO; RETRY if the entry is an ordinary one by now;
 * RESUME if it has to go the long way.
 */
static enum vmmu_outcome reserved_fault(struct vmmu_task *task, vmmu_gfn_t gfn)
{
	struct vmmu_vm *vm = task->vm;
	uint64_t generation;
	enum vmmu_level level;
	const char *problem;
	vmmu_spte_t e;

	if (mmio_is_cached(task, gfn))
		return VMMU_OUTCOME_MMIO;
	generation = atomic_get_acquire(&vm->spaces[task->vcpu->space].generation);
	/* The entries of an invalid root are of the past, whatever their generation says. */
	if (!task->vcpu->root || !root_is_valid(task->vcpu->root))
		return VMMU_OUTCOME_RETRY;
	vmmu_reading_begin(task);
	e = vmmu_tdp_look(task, task->vcpu->root, gfn, &level);
	vmmu_reading_end(task);
	if (spte_kind(e) == VMMU_KIND_MMIO) {
		if (!VMMU_MUTANT(STALE_GENERATION) &&
		    ((generation & VMMU_GENERATION_IN_PROGRESS) ||
		     vmmu_spte_mmio_generation(e) != (generation & vm->fmt.generation_mask)))
			return VMMU_OUTCOME_RESUME;
		task->vcpu->mmio = (struct vmmu_mmio_cache){gfn, generation};
		return VMMU_OUTCOME_MMIO;
	}
	/* It was replaced between the hardware's walk and ours, or it is damaged. */
	problem = vmmu_spte_problem(&vm->fmt, e, level);
	if (!VMMU_CHECK(task, !problem, "the hardware found a reserved bit in an ordinary entry",
			gfn.n, e.raw))
		return VMMU_OUTCOME_DEAD;
	return VMMU_OUTCOME_RETRY;
}

/* ---- frames of slots ---- */

/* The group of frames, of @size at most, around the wanted one that is asked for in one go. */
static void choose_group(const struct vmmu_slot *slot, vmmu_gfn_t gfn, uint64_t size,
			 struct vmmu_page_request *request)
{
	uint64_t first = gfn.n & ~(size - 1), end = first + size;

	if (size > 1) {
		if (first < slot->base.n)
			first = slot->base.n;
		if (end > slot->base.n + slot->count)
			end = slot->base.n + slot->count;
	}
	request->space = slot->space;
	request->slot = slot->id;
	request->first.n = first;
	request->host_address = vmmu_slot_host(slot, request->first);
	request->count = (uint32_t)(end - first);
	request->wanted = (uint32_t)(gfn.n - first);
}

static enum vmmu_page_status find_pages(struct vmmu_vm *vm, const struct vmmu_page_request *request,
					struct vmmu_page *pages)
{
	if (vm->port->guest_page) {
		/* What the port leaves alone is not at hand. */
		for (uint32_t i = 0; i < request->count; i++)
			pages[i] = (struct vmmu_page){.pfn = VMMU_PFN_NONE};
		return vm->port->guest_page(vm->host, request, pages);
	}
	for (uint32_t i = 0; i < request->count; i++)
		pages[i] = (struct vmmu_page){
			.pfn = {(request->host_address >> VMMU_PAGE_SHIFT) + i},
			.level = VMMU_LEVEL_1G,
			.writable = true,
		};
	return VMMU_PAGE_OK;
}

static enum vmmu_outcome outcome_of_status(enum vmmu_page_status status)
{
	switch (status) {
	case VMMU_PAGE_OK:
		return VMMU_OUTCOME_RESUME;
	case VMMU_PAGE_PENDING:
		return VMMU_OUTCOME_PENDING;
	case VMMU_PAGE_RETRY:
		return VMMU_OUTCOME_RETRY;
	case VMMU_PAGE_ERROR:
		break;
	}
	return VMMU_OUTCOME_HOST_ERROR;
}

/* Mostly no invalidation is about, none has ended since the look-up, and nothing is tracked. */
static inline enum vmmu_outcome obstacles(const struct vmmu_vm *vm, struct vmmu_target *target,
					  uint64_t sequence) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	if (VMMU_LIKELY(atomic_get(&vm->invalidations.sequence) == sequence) &&
	    VMMU_LIKELY(!vm->obstacles))
		return VMMU_OUTCOME_RESUME;
	return vmmu_fault_obstacles(vm, target, sequence);
}

static inline __attribute__((always_inline)) enum vmmu_outcome fault_map(struct vmmu_task *task,
									 struct vmmu_target *target,
									 uint64_t generation,
									 enum vmmu_level *level)
{
	struct vmmu_vm *vm = task->vm;
	struct vmmu_page pages[VMMU_PREFETCH_MAX];
	struct vmmu_page_request request;
	enum vmmu_outcome outcome;
	uint64_t sequence;

	if (VMMU_UNLIKELY(!vmmu_cache_fill(vm, task->cache, vm->config.root_level)))
		return VMMU_OUTCOME_NO_MEMORY;
	/* Where huge pages are, the next one is most likely huge, too, and holds all neighbours. If
	 * it is not, this fault maps one page, and the next one looks around again. */
	choose_group(target->slot, target->gfn, task->vcpu->last_was_huge ? 1 : vm->config.prefetch,
		     &request);
	request.write = (target->access & VMMU_ACCESS_WRITE) != 0;
	/* Before the look-up: an invalidation that ends after this is noticed (I10). */
	sequence = atomic_get_acquire(&vm->invalidations.sequence);
	outcome = outcome_of_status(find_pages(vm, &request, pages));
	if (VMMU_UNLIKELY(outcome != VMMU_OUTCOME_RESUME))
		return outcome;
	if (VMMU_UNLIKELY(request.write && !pages[request.wanted].writable))
		return VMMU_OUTCOME_HOST_ERROR;
	target->pages = pages;
	target->first = request.first;
	target->count = request.count;
	vmmu_section_begin_shared(task);
	outcome =
		still_true(task, generation) ? obstacles(vm, target, sequence) : VMMU_OUTCOME_RETRY;
	if (VMMU_LIKELY(outcome == VMMU_OUTCOME_RESUME))
		outcome = vmmu_tdp_map(task, task->vcpu->root, target, level);
	vmmu_section_end_shared(task);
	if (VMMU_LIKELY(outcome == VMMU_OUTCOME_RESUME))
		task->vcpu->last_was_huge = *level > VMMU_LEVEL_4K;
	return outcome;
}

enum vmmu_outcome vmmu_fault_map(struct vmmu_task *task, struct vmmu_target *target,
				 uint64_t generation, enum vmmu_level *level)
{
	return fault_map(task, target, generation, level);
}

/* A fault on an entry that is present: mostly somebody was faster. COUNT: it is not as simple. */
static enum vmmu_outcome fast(struct vmmu_task *task, const struct vmmu_fault *fault,
			      struct vmmu_fault_result *result)
{
	enum vmmu_outcome outcome;

	vmmu_reading_begin(task);
	outcome =
		vmmu_tdp_widen(task, task->vcpu->root, result->gfn, fault->access, &result->level);
	vmmu_reading_end(task);
	return outcome;
}

/* A fault that finds no mark of a device in the tables. */
static __attribute__((noinline)) enum vmmu_outcome
resolve(struct vmmu_task *task, const struct vmmu_fault *fault, struct vmmu_fault_result *result)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	vmmu_gfn_t gfn = result->gfn;
	struct vmmu_target target;
	uint64_t generation;

	if (!find_slot(task, gfn, &generation))
		return mmio_remember(task, gfn, generation);
	if ((fault->access & VMMU_ACCESS_WRITE) && (vcpu->slot.flags & VMMU_SLOT_READONLY))
		return VMMU_OUTCOME_READONLY;
	/* Field by field: on this path clearing first would cost more than setting. */
	target.gfn = gfn;
	target.access = fault->access;
	target.slot = &vcpu->slot;
	target.max = task->vm->config.max_leaf;
	target.allowed = VMMU_TRACK_KINDS;
	target.prefault = 0;
	/* Without the lock this is a hint: where it says yes it saves work, and at worst one access
	 * is emulated for nobody. vmmu_tdp_obey_trackers() decides, in the section. */
	if (VMMU_UNLIKELY(vm_tracks(task->vm)) &&
	    (vmmu_tracked_kinds(task->vm, gfn) & fault->access))
		return VMMU_OUTCOME_TRACKED;
	return fault_map(task, &target, generation, &result->level);
}

static inline enum vmmu_outcome handle(struct vmmu_task *task, const struct vmmu_fault *fault,
				       struct vmmu_fault_result *result)
{
	if (VMMU_UNLIKELY(vm_is_dead(task->vm)))
		return VMMU_OUTCOME_DEAD;
	if (VMMU_UNLIKELY(!task->vcpu->root) ||
	    VMMU_UNLIKELY(task->vm->config.format == VMMU_FORMAT_SHADOW))
		return VMMU_OUTCOME_RETRY; /* never entered, or the other engine's fault */
	if (fault->flags & VMMU_FAULT_RESERVED) {
		enum vmmu_outcome outcome = reserved_fault(task, result->gfn);

		result->from_cache = outcome == VMMU_OUTCOME_MMIO;
		if (outcome != VMMU_OUTCOME_RESUME)
			return outcome;
	}
	if ((fault->flags & (VMMU_FAULT_PRESENT | VMMU_FAULT_RESERVED)) == VMMU_FAULT_PRESENT) {
		enum vmmu_outcome outcome = fast(task, fault, result);

		if (outcome != VMMU_OUTCOME_COUNT)
			return outcome;
	}
	return resolve(task, fault, result);
}

/* ---- forward progress ---- */

/* The same fault this often with the same entry behind it: nothing will come of it. */
#define STUCK_AFTER 64u

/*
 * SPURIOUS is right when somebody else was faster, or the hardware used an old translation. If
 * the entry stays as it is, nothing is withdrawn, and the fault comes back and back, then
 * nothing moves: say so instead of looping for ever.
 */
static enum vmmu_outcome guard(struct vmmu_task *task, const struct vmmu_fault *fault,
			       enum vmmu_outcome outcome)
{
	struct vmmu_guard *g = &task->vcpu->guard;
	uint64_t stamp = atomic_get(&task->vm->flush_stamp);
	enum vmmu_level level;
	vmmu_spte_t e;

	if (!task->vcpu->root)
		return outcome;
	/* The hardware may go on with an old translation that forbids the access. */
	task->vcpu->must_flush = true;
	vmmu_reading_begin(task);
	e = vmmu_tdp_look(task, task->vcpu->root, vmmu_gpa_to_gfn(fault->gpa), &level);
	vmmu_reading_end(task);
	if (g->gpa != fault->gpa.addr || g->access != fault->access || g->entry != e.raw ||
	    g->stamp != stamp) {
		*g = (struct vmmu_guard){fault->gpa.addr, e.raw, stamp, fault->access, 1};
		return outcome;
	}
	if (VMMU_MUTANT(NO_GUARD))
		return outcome;
	return ++g->repeats < STUCK_AFTER ? outcome : VMMU_OUTCOME_STUCK;
}

enum vmmu_outcome vmmu_fault_handle(struct vmmu_vcpu *vcpu, const struct vmmu_fault *fault,
				    struct vmmu_fault_result *result)
{
	struct vmmu_task *task = &vcpu->task;
	enum vmmu_outcome outcome;

	*result = (struct vmmu_fault_result){.gfn = vmmu_gpa_to_gfn(fault->gpa)};
	if (VMMU_LIKELY(result->gfn.n < vcpu->vm->gfn_end.n))
		outcome = handle(task, fault, result);
	else
		outcome = vm_is_dead(vcpu->vm) ? VMMU_OUTCOME_DEAD : VMMU_OUTCOME_MMIO;
	/* RETRY has a reason that passes, but for a reserved bit that nobody else ever sees. */
	if (VMMU_UNLIKELY(outcome == VMMU_OUTCOME_SPURIOUS ||
			  (outcome == VMMU_OUTCOME_RETRY && (fault->flags & VMMU_FAULT_RESERVED))))
		outcome = guard(task, fault, outcome);
	else
		vcpu->guard.repeats = 0;
	if (VMMU_UNLIKELY(vm_is_dead(vcpu->vm)))
		outcome = VMMU_OUTCOME_DEAD;
	vcpu_stat_add(vcpu, VMMU_STAT_FAULTS, 1);
	vcpu_stat_add(vcpu, VMMU_STAT_FAULT_RESUME + (enum vmmu_stat)outcome, 1);
	if (outcome == VMMU_OUTCOME_RESUME)
		vcpu_stat_add(vcpu, VMMU_STAT_FAULT_4K + (result->level - VMMU_LEVEL_4K), 1);
	else if (result->from_cache)
		vcpu_stat_add(vcpu, VMMU_STAT_MMIO_CACHED, 1);
	trace(task, VMMU_TRACE_FAULT, result->level, fault->gpa.addr, fault->access, outcome);
	if (VMMU_UNLIKELY(task->debt.owed)) { /* killed outside a section */
		vmmu_section_begin_shared(task);
		vmmu_section_end_shared(task);
	}
	vmmu_table_collect(vcpu->vm);
	return outcome;
}

_Static_assert((int)VMMU_STAT_FAULT_DEAD - (int)VMMU_STAT_FAULT_RESUME ==
		       (int)VMMU_OUTCOME_DEAD - (int)VMMU_OUTCOME_RESUME,
	       "each outcome has its counter, in the same order");
