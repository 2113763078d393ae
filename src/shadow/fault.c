/* SPDX-License-Identifier: MIT */
/*
 * A page fault under shadow paging: the guest's own tables are walked first. What they refuse is
 * the guest's fault; what they allow is looked up and installed. If a page that is needed is not at
 * hand the lock is let go, the port fetches it, and the fault starts again.
 */
#include "shadow/device.h"
#include "shadow/fetch.h"
#include "shadow/root.h"
#include "vm.h"

/* Pages that one fault may use up: maps of frames for the leaf and for each table on the way. */
#define RESERVE_PAGES 12u
#define TRIES_MAX 16u

/* Accessed and dirty bits that were set on the guest's behalf in entries that clients track. */
#define MARKS_MAX 8u
struct marks {
	vmmu_gpa_t gpa[MARKS_MAX];
	unsigned bytes, count;
};

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

/* To be told when the lock is let go. */
static void note_mark(struct vmmu_task *task, struct marks *marks, vmmu_gpa_t gpa, unsigned bytes)
{
	if (!(vmmu_tracked_kinds(task->vm, vmmu_gpa_to_gfn(gpa)) & VMMU_ACCESS_WRITE))
		return;
	/* A walk updates an entry of each level, and starts over only if one has changed. */
	for (unsigned i = 0; i < marks->count; i++)
		if (marks->gpa[i].addr == gpa.addr)
			return;
	if (VMMU_CHECK(task, marks->count < MARKS_MAX, "a walk has updated too many entries",
		       gpa.addr, marks->count))
		marks->gpa[marks->count++] = gpa;
	marks->bytes = bytes;
}

/* Compare-and-swap of an entry, and what follows from it. */
static bool mark_entry(struct vmmu_task *task, struct marks *marks, unsigned space,
		       const struct vmmu_update *update) VMMU_REQUIRES(vmmu_mmu_lock)
{
	if (!vmmu_guest_update(task, space, update))
		return false;
	if (VMMU_UNLIKELY(vm_tracks(task->vm)))
		note_mark(task, marks, update->gpa, update->bytes);
	vmmu_frame_marked(task, space, update->gpa, update->bytes);
	return true;
}

static bool update_entry(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
			 uint64_t value, bool *gone) VMMU_NO_ANALYSIS
{
	struct walking *w = context;
	struct vmmu_update update = {
		.gpa = gpa, .bytes = bytes, .old = old, .value = value, .gone = gone};
	const struct vmmu_slot *slot;

	if (mark_entry(w->task, w->marks, w->space, &update))
		return true;
	slot = *gone ? shadow_slot(w->task, w->space, vmmu_gpa_to_gfn(gpa)) : NULL;
	if (slot && !(slot->flags & VMMU_SLOT_READONLY)) {
		w->blocked = true;
		w->blocked_at = vmmu_gpa_to_gfn(gpa);
	}
	return false;
}

static const struct vmmu_walk_ops walk_ops = {.read = read_entry, .update = update_entry};

struct shadow_fault {
	struct vmmu_task *task;
	struct vmmu_vcpu *vcpu;
	vmmu_gva_t gva;
	uint32_t flags; /* enum vmmu_walk_flags */
	bool reserved;  /* the hardware met a reserved bit */
	struct vmmu_shadow_result *result;
	struct marks marks;
	/* PENDING: what is missing */
	vmmu_gfn_t missing;
	bool missing_write;
	bool waits; /* for the host: the page cannot be had right now */
};

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

/* ---- the short way ---- */

static vmmu_gfn_t gva_page(vmmu_gva_t gva)
{
	return (vmmu_gfn_t){gva.addr >> VMMU_PAGE_SHIFT};
}

/* Marks the entry as used. False: it is no longer @gpte, or cannot be written. */
static bool mark_used(struct shadow_fault *f, const struct vmmu_shade *s, unsigned index,
		      uint64_t *gpte) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t marks = VMMU_GUEST_ACCESSED;
	bool gone = false;
	struct vmmu_update update = {
		.gpa = vmmu_shade_gpte_gpa(s, index),
		.bytes = shade_gpte_bytes(s),
		.old = *gpte,
		.gone = &gone,
	};

	if (f->flags & VMMU_WALK_WRITE)
		marks |= VMMU_GUEST_DIRTY;
	update.value = *gpte | marks;
	if (update.value == *gpte)
		return true;
	if (!mark_entry(f->task, &f->marks, s->sp.role.space, &update))
		return false;
	*gpte = update.value;
	return true;
}

/* Rights of the path through @s that ends in @gpte, as a walk adds them up. */
static uint64_t path_through(const struct vmmu_shade *s, uint64_t gpte)
{
	uint64_t path = vmmu_guest_path_add(UINT64_MAX, gpte);

	if (!(s->sp.role.access & VMMU_RIGHT_WRITE))
		path &= ~VMMU_BIT(1);
	if (!(s->sp.role.access & VMMU_RIGHT_USER))
		path &= ~VMMU_BIT(2);
	if (!(s->sp.role.access & VMMU_RIGHT_EXEC))
		path &= ~VMMU_GUEST_NO_EXEC;
	return path;
}

/* 0, or the error code of the fault that the guest's entry makes of the access. */
static uint32_t error_of(const struct shadow_fault *f, const struct vmmu_shade *s, uint64_t gpte,
			 bool *is_fault)
{
	const struct vmmu_guest_rules *rules = &f->vcpu->shadow.rules;
	const struct vmmu_guest_permission *permission = &rules->permission;
	uint32_t rights, error;

	*is_fault = true;
	if (vmmu_guest_entry_kind(&rules->format.level[1], gpte) != VMMU_GUEST_ENTRY_LEAF) {
		error = vmmu_guest_permission_access_bits(permission, f->flags);
		/* At level 1 what is present and no leaf has a reserved bit set. */
		return gpte & VMMU_GUEST_PRESENT ? error | VMMU_PF_PRESENT | VMMU_PF_RESERVED
						 : error;
	}
	rights = vmmu_guest_permission_rights(permission, path_through(s, gpte), gpte,
					      f->vcpu->shadow.paging.pkru);
	error = vmmu_guest_permission_check(permission, rights, f->flags);
	*is_fault = error != 0;
	return error;
}

/* As writes_own_table(), by the tables that are linked. */
static bool path_holds(const struct shadow_fault *f, vmmu_gfn_t gfn) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_sp *sp = f->vcpu->root;
	bool is_top = f->vcpu->shadow.own; /* of no frame */

	while (sp && (is_top || sp->gfn.n != gfn.n) && sp->role.level > VMMU_LEVEL_4K) {
		unsigned index = gfn_index(gva_page(f->gva), sp->role.level);

		sp = vmmu_table_find(f->task->vm, spte_pfn(shade_get(shade_of(sp), index)));
		is_top = false;
	}
	return sp && sp->gfn.n == gfn.n;
}

/* The entry allows the access: a leaf for it. False: as short_way(). */
static bool short_install(struct shadow_fault *f, struct vmmu_shade *s, uint64_t gpte,
			  enum vmmu_outcome *outcome) VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_paging *paging = &f->vcpu->shadow.paging;
	unsigned index = gfn_index(gva_page(f->gva), VMMU_LEVEL_4K);
	struct vmmu_wish wish = {
		.level = VMMU_LEVEL_4K,
		.rights = s->sp.role.access & vmmu_gpte_rights(gpte, s->sp.role.nx),
		.is_write = f->flags & VMMU_WALK_WRITE,
		.is_fetch = f->flags & VMMU_WALK_FETCH,
	};

	/* CR0.WP = 0 takes tricks for writes that the entry refuses, and for all with keys. */
	if (!paging->wp && (paging->pke || (wish.is_write && !(wish.rights & VMMU_RIGHT_WRITE))))
		return false;
	if (shade_is_mirror(s)) {
		if (!mark_used(f, s, index, &gpte))
			return false;
		wish.gpte = gpte;
	}
	if (!(gpte & VMMU_GUEST_DIRTY) && !VMMU_MUTANT(GUEST_DIRTY))
		wish.rights &= ~(uint32_t)VMMU_RIGHT_WRITE; /* the first write sets it */
	*outcome = vmmu_shade_map(f->task, s, index, &wish);
	f->result->gpa.addr = vmmu_shade_gfn_of(s, index, gpte).n << VMMU_PAGE_SHIFT |
			      (f->gva.addr & (VMMU_PAGE_BYTES - 1u));
	if (*outcome == VMMU_OUTCOME_RESUME) {
		f->result->level = VMMU_LEVEL_4K;
		vmmu_shade_prefetch(f->task, s, index);
	} else if (*outcome == VMMU_OUTCOME_TABLE_WRITE) {
		f->result->self_write = path_holds(f, vmmu_gpa_to_gfn(f->result->gpa));
	}
	return *outcome != VMMU_OUTCOME_PENDING && *outcome != VMMU_OUTCOME_NO_MEMORY;
}

/* The guest's entry; 0: its frame is not at hand. */
static uint64_t gpte_of_page(const struct shadow_fault *f, struct vmmu_shade *s)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	const uint8_t *frame = vmmu_shade_frame(f->task, s);

	return frame ? shade_load_gpte(s, frame, gfn_index(gva_page(f->gva), VMMU_LEVEL_4K)) : 0;
}

/*
 * Piece of a huge page: its table's role says what the guest's entry allows, with a dirty one
 * presumed, for without that the role has no right to write. What the role refuses is for the
 * long way. 0: perhaps a huge leaf can stand there by now.
 */
static uint64_t gpte_of_piece(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	union vmmu_role role = s->sp.role;

	if (role.mode == VMMU_PAGING_OFF ||
	    !vmmu_frames_mirrored(f->task->vm, role.space, s->sp.gfn, VMMU_LEVEL_2M))
		return 0;
	return VMMU_GUEST_PRESENT | VMMU_BIT(1) | VMMU_BIT(2) | VMMU_GUEST_ACCESSED |
	       VMMU_GUEST_DIRTY | (uint64_t)role.key << 59;
}

/*
 * The tables above the lowest one are linked as the guest's are: they cannot be written unseen.
 * So one entry of the guest's decides, and nothing above it has to be walked. False: something
 * is out of the ordinary, the long way finds out what.
 */
static bool short_way(struct shadow_fault *f, enum vmmu_outcome *outcome)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	unsigned shift = f->vcpu->shadow.rules.format.canonical_shift;
	int64_t top = (int64_t)f->gva.addr >> shift;
	struct vmmu_shade *s = vmmu_shade_lowest(f->task, f->gva);
	bool is_fault;
	uint64_t gpte;

	/* With a second space there may be other ways to write a table: then all are walked. */
	if (!s || (top && top != -1) || f->task->vm->config.spaces > 1)
		return false;
	gpte = shade_is_mirror(s) ? gpte_of_page(f, s) : gpte_of_piece(f, s);
	f->result->error_code = error_of(f, s, gpte, &is_fault);
	if (!is_fault)
		return short_install(f, s, gpte, outcome);
	if (!shade_is_mirror(s) || !s->frame)
		return false;
	if (!VMMU_MUTANT(INJECT_KEEPS))
		vmmu_shadow_forget_gva(f->task, f->gva);
	*outcome = VMMU_OUTCOME_INJECT;
	return true;
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
	return short_way(f, &outcome) ? outcome : long_way(f);
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

static enum vmmu_outcome handle(struct shadow_fault *f)
{
	struct vmmu_vm *vm = f->vcpu->vm;
	enum vmmu_outcome outcome = VMMU_OUTCOME_RETRY;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		f->waits = false;
		if (vm_is_dead(vm))
			return VMMU_OUTCOME_DEAD;
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
	struct shadow_fault f = {
		.task = &vcpu->task,
		.vcpu = vcpu,
		.gva = gva,
		.flags = flags & (VMMU_WALK_USER | VMMU_WALK_AC | VMMU_WALK_IMPLICIT),
		/* Not every CPU says with it that the entry is present. */
		.reserved = error_code & VMMU_PF_RESERVED,
		.result = result,
	};
	enum vmmu_outcome outcome;

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
