/* SPDX-License-Identifier: MIT */
/*
 * A page fault under shadow paging: the guest's own tables are walked first. What they refuse is
 * the guest's fault; what they allow is looked up and installed. If a page that is needed is not at
 * hand the lock is let go, the port fetches it, and the fault starts again.
 */
#include "shadow/device.h"
#include "shadow/fetch.h"
#include "shadow/root.h"
#include "shadow/short.h"
#include "vm.h"

/* Pages that one fault may use up: maps of frames for the leaf and for each table on the way. */
#define RESERVE_PAGES 12u
#define TRIES_MAX 16u

struct walking {
	struct vmmu_task *task;
	struct marks *marks;
	unsigned space;
	/* an entry that must be marked lies in a page that the host did not make writable yet */
	bool blocked;
	vmmu_gfn_t blocked_at;
};

/* Called back by the walk, under the lock of its caller. */
static bool read_entry(void *context, vmmu_gpa_t gpa, unsigned bytes,
		       uint64_t *value) VMMU_NO_ANALYSIS
{
	struct walking *w = context;

	return vmmu_guest_read(w->task, w->space, gpa, bytes, value);
}

static bool update_entry(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
			 uint64_t value, bool *gone) VMMU_NO_ANALYSIS
{
	struct walking *w = context;
	struct vmmu_update update = {
		.gpa = gpa, .bytes = bytes, .old = old, .value = value, .gone = gone};
	const struct vmmu_slot *slot;

	if (vmmu_shadow_mark(w->task, w->marks, w->space, &update))
		return true;
	slot = *gone ? shadow_slot(w->task, w->space, vmmu_gpa_to_gfn(gpa)) : NULL;
	if (slot && !(slot->flags & VMMU_SLOT_READONLY)) {
		w->blocked = true;
		w->blocked_at = vmmu_gpa_to_gfn(gpa);
	}
	return false;
}

static const struct vmmu_walk_ops walk_ops = {.read = read_entry, .update = update_entry};

/* Rights that the guest's tables give. */
static uint32_t plain_rights(const struct shadow_fault *f, const struct vmmu_walk_result *walk)
{
	bool write = f->flags & VMMU_WALK_WRITE;
	uint32_t rights = 0;

	if (walk->writable)
		rights |= VMMU_RIGHT_WRITE;
	if (walk->user)
		rights |= VMMU_RIGHT_USER;
	if (walk->executable)
		rights |= VMMU_RIGHT_EXEC;
	if (walk->levels && !write && !VMMU_MUTANT(GUEST_DIRTY) &&
	    !(walk->step[walk->levels - 1].value & VMMU_GUEST_DIRTY))
		rights &= ~(uint32_t)VMMU_RIGHT_WRITE; /* the first write sets it */
	return rights;
}

/* What CR0.WP = 0 makes of them for the access under way. */
static uint32_t rights_of(const struct shadow_fault *f, const struct vmmu_walk_result *walk)
{
	const struct vmmu_paging *p = &f->vcpu->shadow.paging;
	bool write = f->flags & VMMU_WALK_WRITE, user = f->flags & VMMU_WALK_USER;
	uint32_t rights = plain_rights(f, walk);

	if (write && !user && !p->wp && !(rights & VMMU_RIGHT_WRITE)) {
		/* Supervisor writes pass, user accesses must come here first, and SMEP must not be
		 * fooled by the user bit that is not there. */
		rights |= VMMU_RIGHT_WRITE;
		if (!VMMU_MUTANT(TRICK_USER))
			rights &= ~(uint32_t)VMMU_RIGHT_USER;
		if (p->smep && walk->user && !VMMU_MUTANT(TRICK_EXEC))
			rights &= ~(uint32_t)VMMU_RIGHT_EXEC;
	}
	return rights;
}

/*
 * CR0.WP = 0: may the supervisor's write to a user page be let through by an entry? As a
 * supervisor's page it would lose what SMAP and protection keys forbid to reads; and with CR0.WP
 * set the hardware lets keys forbid the supervisor's writes.
 */
static bool must_emulate(const struct shadow_fault *f, const struct vmmu_walk_result *walk)
{
	const struct vmmu_paging *p = &f->vcpu->shadow.paging;
	bool keys = p->pke && p->mode >= VMMU_PAGING_4LEVEL;

	if (p->wp || !walk->user || !(f->flags & VMMU_WALK_WRITE) || (f->flags & VMMU_WALK_USER))
		return false;
	if (!walk->writable)
		return (p->smap || keys) && !VMMU_MUTANT(TRICK_SMAP);
	return keys && p->pkru >> (2u * walk->protection_key + 1u) & 1u;
}

/* Does the write go to a table that translates its own address? */
static bool writes_own_table(const struct vmmu_walk_result *walk)
{
	for (unsigned i = 0; i < walk->levels; i++)
		if (vmmu_gpa_to_gfn(walk->step[i].gpa).n == vmmu_gpa_to_gfn(walk->gpa).n)
			return true;
	return false;
}

static enum vmmu_outcome install(struct shadow_fault *f, const struct vmmu_walk_result *walk)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_vcpu *vcpu = f->vcpu;
	struct vmmu_fetch fetch = {
		.task = f->task,
		.vcpu = vcpu,
		.gva = f->gva.addr,
		.walk = walk,
		.rights = rights_of(f, walk),
		.plain = plain_rights(f, walk),
		.is_write = f->flags & VMMU_WALK_WRITE,
		.is_fetch = f->flags & VMMU_WALK_FETCH,
	};
	const struct vmmu_slot *slot;
	enum vmmu_outcome outcome;
	enum vmmu_level level;

	f->result->gpa = walk->gpa;
	slot = shadow_slot(f->task, vcpu->space, vmmu_gpa_to_gfn(walk->gpa));
	if (!slot) /* no more than a look-up is saved by remembering it */
		return vcpu->shadow.dummy ? VMMU_OUTCOME_MMIO
					  : vmmu_fetch(&fetch, shade_of(vcpu->root), &level);
	if (must_emulate(f, walk))
		return slot->flags & VMMU_SLOT_READONLY ? VMMU_OUTCOME_READONLY
							: VMMU_OUTCOME_TABLE_WRITE;
	if (vcpu->shadow.dummy && !VMMU_MUTANT(DUMMY_STAYS)) {
		vmmu_shadow_drop_root(f->task); /* there is memory by now: R63 */
		return VMMU_OUTCOME_RETRY;
	}
	outcome = vmmu_fetch(&fetch, shade_of(vcpu->root), &f->result->level);
	if (outcome == VMMU_OUTCOME_PENDING) {
		f->missing = vmmu_gpa_to_gfn(walk->gpa);
		f->missing_write = fetch.is_write;
	} else if (outcome == VMMU_OUTCOME_TABLE_WRITE) {
		f->result->self_write = writes_own_table(walk);
	}
	return outcome;
}

/* ---- the long way ---- */

static enum vmmu_outcome long_way(struct shadow_fault *f) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_vcpu *vcpu = f->vcpu;
	struct walking context = {.task = f->task, .marks = &f->marks, .space = vcpu->space};
	struct vmmu_guest_tables tables = {
		.rules = &vcpu->shadow.rules,
		.paging = &vcpu->shadow.paging,
		.ops = &walk_ops,
		.context = &context,
	};
	struct vmmu_walk_result walk;

	switch (vmmu_guest_walk(&tables, f->gva, f->flags, &walk)) {
	case VMMU_WALK_OK:
		if (!context.blocked || VMMU_MUTANT(ACCESSED_SHARED))
			return install(f, &walk);
		f->missing = context.blocked_at;
		f->missing_write = true;
		return VMMU_OUTCOME_PENDING;
	case VMMU_WALK_FAULT:
		/* A page fault flushes the address: entries that the guest changed go now. */
		if (!VMMU_MUTANT(INJECT_KEEPS))
			vmmu_shadow_forget_gva(f->task, f->gva);
		f->result->error_code = walk.error_code;
		return VMMU_OUTCOME_INJECT;
	case VMMU_WALK_UNREADABLE:
		f->missing = vmmu_gpa_to_gfn(walk.table_gpa);
		f->missing_write = false;
		return VMMU_OUTCOME_PENDING;
	case VMMU_WALK_NOT_CANONICAL:
		break;
	}
	return VMMU_OUTCOME_RETRY;
}

static enum vmmu_outcome resolve(struct shadow_fault *f) VMMU_REQUIRES(vmmu_mmu_lock)
{
	enum vmmu_outcome outcome;

	if (!root_fits(f->vcpu))
		return VMMU_OUTCOME_RETRY; /* the next entry loads another root */
	if (f->reserved && vmmu_shadow_device(f->task, f->gva, f->flags, &f->result->gpa))
		return VMMU_OUTCOME_MMIO;
	/* Should a table have come meanwhile the long way is as good. */
	return !f->untabled && vmmu_shadow_short_way(f, &outcome) ? outcome : long_way(f);
}

/* Have the port fetch the page that was missing. RESUME: try again. */
static enum vmmu_outcome fetch_missing(struct shadow_fault *f)
{
	struct vmmu_vm *vm = f->vcpu->vm;
	struct vmmu_page page = {.pfn = VMMU_PFN_NONE};
	struct vmmu_page_request request = {.space = f->vcpu->space,
					    .first = f->missing,
					    .count = 1,
					    .write = f->missing_write};
	struct vmmu_slot slot;
	uint64_t generation;

	if (!vm->port->guest_page)
		return VMMU_OUTCOME_RETRY; /* only an invalidation can be in the way */
	if (!vmmu_slot_copy(f->task, f->vcpu->space, f->missing, &slot, &generation))
		return VMMU_OUTCOME_RETRY;
	request.slot = slot.id;
	request.host_address = vmmu_slot_host(&slot, f->missing);
	switch (vm->port->guest_page(vm->host, &request, &page)) {
	case VMMU_PAGE_OK:
		return f->missing_write && !page.writable ? VMMU_OUTCOME_HOST_ERROR
							  : VMMU_OUTCOME_RESUME;
	case VMMU_PAGE_PENDING:
		return VMMU_OUTCOME_PENDING;
	case VMMU_PAGE_RETRY:
		return VMMU_OUTCOME_RETRY;
	case VMMU_PAGE_ERROR:
		break;
	}
	f->result->gpa = vmmu_gfn_to_gpa(f->missing);
	return VMMU_OUTCOME_HOST_ERROR;
}

static void tell_marks(struct shadow_fault *f)
{
	for (unsigned i = 0; i < f->marks.count && !VMMU_MUTANT(TRACK_MARKS); i++)
		vmmu_tell_accessed(f->task, f->vcpu->space, f->marks.gpa[i], f->marks.bytes,
				   VMMU_ACCESS_WRITE);
	f->marks.count = 0;
}

/* Side by side with faults of other vCPUs, if it is one of those that can be. */
static bool handle_shared(struct shadow_fault *f, enum vmmu_outcome *outcome)
{
	bool done;

	f->untabled = false;
	if (f->reserved)
		return false;
	vmmu_section_begin_shared(f->task);
	done = root_fits(f->vcpu) && vmmu_shadow_shared_way(f, outcome);
	vmmu_section_end_shared(f->task);
	return done;
}

static enum vmmu_outcome handle(struct shadow_fault *f)
{
	struct vmmu_vm *vm = f->vcpu->vm;
	enum vmmu_outcome outcome = VMMU_OUTCOME_RETRY;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		f->waits = false;
		if (vm_is_dead(vm))
			return VMMU_OUTCOME_DEAD;
		if (handle_shared(f, &outcome))
			return outcome;
		if (!vmmu_cache_fill(vm, f->task->cache, VMMU_CACHE_TABLES) ||
		    !vmmu_reserve_fill(vm, &f->task->cache->reserve, RESERVE_PAGES))
			return VMMU_OUTCOME_NO_MEMORY;
		vmmu_section_begin(f->task);
		vmmu_shades_reclaim(f->task, VMMU_CACHE_TABLES);
		outcome = resolve(f);
		vmmu_section_end(f->task);
		tell_marks(f);
		if (outcome == VMMU_OUTCOME_NO_MEMORY)
			continue; /* the reserve was used up by what was installed so far */
		if (outcome != VMMU_OUTCOME_PENDING)
			return outcome;
		f->waits = true;
		outcome = fetch_missing(f);
		if (outcome != VMMU_OUTCOME_RESUME)
			return outcome;
	}
	return VMMU_OUTCOME_RETRY;
}

/* ---- forward progress ---- */

#define STUCK_AFTER 64u

/* The same fault again and again, and the entry that we made last time is still there. */
static enum vmmu_outcome guard(struct vmmu_vcpu *vcpu, vmmu_gva_t gva, uint32_t code,
			       enum vmmu_outcome outcome)
{
	struct vmmu_guard *g = &vcpu->guard;
	uint64_t stamp = atomic_get(&vcpu->vm->flush_stamp);
	uint64_t zapped = atomic_get(&vcpu->stats[VMMU_STAT_ZAPPED]);

	if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_RETRY) {
		g->repeats = 0;
		return outcome;
	}
	if (g->gpa != gva.addr || g->access != code || g->entry != zapped || g->stamp != stamp) {
		*g = (struct vmmu_guard){gva.addr, zapped, stamp, code, 1};
		return outcome;
	}
	vcpu->must_flush = true;
	return ++g->repeats < STUCK_AFTER ? outcome : VMMU_OUTCOME_STUCK;
}

enum vmmu_outcome vmmu_shadow_fault(struct vmmu_vcpu *vcpu, vmmu_gva_t gva, uint32_t error_code,
				    uint32_t flags, struct vmmu_shadow_result *result)
{
	enum vmmu_outcome outcome;
	struct shadow_fault f;

	/* Field by field: most faults need no more, and clearing the rest would cost them. */
	f.task = &vcpu->task;
	f.vcpu = vcpu;
	f.gva = gva;
	f.flags = flags & (VMMU_WALK_USER | VMMU_WALK_AC | VMMU_WALK_IMPLICIT);
	/* Not every CPU says with it that the entry is present. */
	f.reserved = error_code & VMMU_PF_RESERVED;
	f.result = result;
	f.marks.count = 0;
	*result = (struct vmmu_shadow_result){.level = VMMU_LEVEL_NONE};
	if (error_code & VMMU_PF_WRITE)
		f.flags |= VMMU_WALK_WRITE;
	if (error_code & VMMU_PF_FETCH)
		f.flags |= VMMU_WALK_FETCH;
	outcome = handle(&f);
	/* As long as the host takes the page away, a fault comes back as often as it likes. */
	if (outcome == VMMU_OUTCOME_RETRY && f.waits)
		vcpu->guard.repeats = 0;
	else
		outcome = guard(vcpu, gva, error_code, outcome);
	if (vm_is_dead(vcpu->vm))
		outcome = VMMU_OUTCOME_DEAD;
	vcpu_stat_add(vcpu, VMMU_STAT_FAULTS, 1);
	vcpu_stat_add(vcpu, VMMU_STAT_FAULT_RESUME + (enum vmmu_stat)outcome, 1);
	if (outcome == VMMU_OUTCOME_RESUME && result->level)
		vcpu_stat_add(vcpu, VMMU_STAT_FAULT_4K + (result->level - VMMU_LEVEL_4K), 1);
	trace(&vcpu->task, VMMU_TRACE_FAULT, result->level, gva.addr, error_code, outcome);
	vmmu_table_collect(vcpu->vm);
	return outcome;
}
