/* SPDX-License-Identifier: MIT */
/*
 * The short way: one entry of the guest's decides a fault, and nothing above it is walked. Most
 * faults fill an empty entry: those go side by side, under the shared lock.
 */
#include "shadow/short.h"

#include "shadow/fetch.h"
#include "shadow/root.h"
#include "vm.h"

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

bool vmmu_shadow_mark(struct vmmu_task *task, struct marks *marks, unsigned space,
		      const struct vmmu_update *update)
{
	if (!vmmu_guest_update(task, space, update))
		return false;
	if (VMMU_UNLIKELY(vm_tracks(task->vm)))
		note_mark(task, marks, update->gpa, update->bytes);
	vmmu_frame_marked(task, space, update->gpa, update->bytes);
	return true;
}

static vmmu_gfn_t gva_page(vmmu_gva_t gva)
{
	return (vmmu_gfn_t){gva.addr >> VMMU_PAGE_SHIFT};
}

/* What marks the entry as used. False: it is marked already. */
static inline bool wants_mark(const struct shadow_fault *f, const struct vmmu_shade *s,
			      unsigned index, uint64_t gpte, struct vmmu_update *update)
{
	uint64_t marks = VMMU_GUEST_ACCESSED;

	if (f->flags & VMMU_WALK_WRITE)
		marks |= VMMU_GUEST_DIRTY;
	if (!(marks & ~gpte))
		return false;
	update->gpa = vmmu_shade_gpte_gpa(s, index);
	update->bytes = shade_gpte_bytes(s);
	update->old = gpte;
	update->value = gpte | marks;
	return true;
}

/* Marks the entry as used. False: it is no longer @gpte, or cannot be written. */
static bool mark_used(struct shadow_fault *f, const struct vmmu_shade *s, unsigned index,
		      uint64_t *gpte) VMMU_REQUIRES(vmmu_mmu_lock)
{
	bool gone = false;
	struct vmmu_update update = {.gone = &gone};

	if (!wants_mark(f, s, index, *gpte, &update))
		return true;
	if (!vmmu_shadow_mark(f->task, &f->marks, s->sp.role.space, &update))
		return false;
	*gpte = update.value;
	return true;
}

/* The same where nothing follows from it. False: or something would. */
static bool mark_plainly(struct shadow_fault *f, const struct vmmu_shade *s, unsigned index,
			 uint64_t *gpte) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	bool gone = false;
	struct vmmu_update update = {.gone = &gone};

	if (!wants_mark(f, s, index, *gpte, &update))
		return true;
	if (!vmmu_guest_update_plainly(f->task, s->sp.role.space, &update))
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
static inline uint32_t error_of(const struct shadow_fault *f, const struct vmmu_shade *s,
				uint64_t gpte, bool *is_fault)
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

/* What a leaf shall allow. False: it takes more than a leaf that says what the entry says. */
static inline bool short_wish(const struct shadow_fault *f, const struct vmmu_shade *s,
			      uint64_t gpte, struct vmmu_wish *wish)
{
	const struct vmmu_paging *paging = &f->vcpu->shadow.paging;

	*wish = (struct vmmu_wish){
		.level = VMMU_LEVEL_4K,
		.rights = s->sp.role.access & vmmu_gpte_rights(gpte, s->sp.role.nx),
		.is_write = f->flags & VMMU_WALK_WRITE,
		.is_fetch = f->flags & VMMU_WALK_FETCH,
	};
	/* CR0.WP = 0 takes tricks for writes that the entry refuses, and for all with keys. */
	return paging->wp ||
	       !(paging->pke || (wish->is_write && !(wish->rights & VMMU_RIGHT_WRITE)));
}

/* The entry, marked as used, is known. */
static inline void complete_wish(const struct vmmu_shade *s, uint64_t gpte, struct vmmu_wish *wish)
{
	if (shade_is_mirror(s))
		wish->gpte = gpte;
	if (!(gpte & VMMU_GUEST_DIRTY) && !VMMU_MUTANT(GUEST_DIRTY))
		wish->rights &= ~(uint32_t)VMMU_RIGHT_WRITE; /* the first write sets it */
}

static inline void say_where(const struct shadow_fault *f, const struct vmmu_shade *s,
			     unsigned index, uint64_t gpte)
{
	f->result->gpa.addr = vmmu_shade_gfn_of(s, index, gpte).n << VMMU_PAGE_SHIFT |
			      (f->gva.addr & (VMMU_PAGE_BYTES - 1u));
}

/* The entry allows the access: a leaf for it. False: as vmmu_shadow_short_way(). */
static bool short_install(struct shadow_fault *f, struct vmmu_shade *s, uint64_t gpte,
			  enum vmmu_outcome *outcome) VMMU_REQUIRES(vmmu_mmu_lock)
{
	unsigned index = gfn_index(gva_page(f->gva), VMMU_LEVEL_4K);
	struct vmmu_wish wish;

	if (!short_wish(f, s, gpte, &wish) ||
	    (shade_is_mirror(s) && !mark_used(f, s, index, &gpte)))
		return false;
	complete_wish(s, gpte, &wish);
	*outcome = vmmu_shade_map(f->task, s, index, &wish);
	say_where(f, s, index, gpte);
	if (*outcome == VMMU_OUTCOME_RESUME) {
		f->result->level = VMMU_LEVEL_4K;
		vmmu_shade_prefetch(f->task, s, index);
	} else if (*outcome == VMMU_OUTCOME_TABLE_WRITE) {
		f->result->self_write = path_holds(f, vmmu_gpa_to_gfn(f->result->gpa));
	}
	return *outcome != VMMU_OUTCOME_PENDING && *outcome != VMMU_OUTCOME_NO_MEMORY;
}

/* Somebody was faster: what is there allows the access, and for the same entry of the guest's. */
static inline bool is_served(const struct shadow_fault *f, const struct vmmu_shade *s,
			     unsigned index, uint64_t gpte)
{
	const struct vmmu_fmt *fmt = &f->task->vm->fmt;
	vmmu_spte_t e = shade_get(s, index);
	uint64_t needs = fmt->read;

	/* Without CR0.WP leaves may pretend. */
	if (spte_kind(e) != VMMU_KIND_LEAF || !f->vcpu->shadow.paging.wp ||
	    (shade_is_mirror(s) && shade_gpte(s, index) != gpte))
		return false;
	if (f->flags & VMMU_WALK_WRITE)
		needs |= fmt->write;
	if (f->flags & VMMU_WALK_USER)
		needs |= fmt->user_bit;
	return !(needs & ~e.raw) && !((f->flags & VMMU_WALK_FETCH) && (e.raw & fmt->no_exec));
}

/* What is there lacks the right to write. False: or more. */
static bool widen(struct shadow_fault *f, struct vmmu_shade *s, unsigned index, uint64_t gpte,
		  const struct vmmu_wish *wish) VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	/* Without CR0.WP leaves may pretend. */
	return wish->is_write && f->vcpu->shadow.paging.wp &&
	       vmmu_shade_widen(f->task, s, index, gpte);
}

/* As short_install(). */
static bool shared_install(struct shadow_fault *f, struct vmmu_shade *s, uint64_t gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	unsigned index = gfn_index(gva_page(f->gva), VMMU_LEVEL_4K);
	struct vmmu_wish wish;
	bool is_filled;

	if (!short_wish(f, s, gpte, &wish))
		return false;
	is_filled = shade_is_filled(s, index);
	if (!is_filled || !is_served(f, s, index, gpte)) {
		if (shade_is_mirror(s) && !mark_plainly(f, s, index, &gpte))
			return false;
		if (is_filled ? !widen(f, s, index, gpte, &wish)
			      : !vmmu_shade_fill_group(f->task, s, index, gpte, wish.is_write))
			return false;
	}
	say_where(f, s, index, gpte);
	f->result->level = VMMU_LEVEL_4K;
	return true;
}

/* The guest's entry; 0: it is not known where its frame is. */
static inline uint64_t gpte_of_page(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	const uint8_t *frame = shade_known_frame(f->task->vm, s);

	return frame ? shade_load_gpte(s, frame, gfn_index(gva_page(f->gva), VMMU_LEVEL_4K)) : 0;
}

/* Can a huge leaf stand by now where the pieces of @s are? */
static bool may_be_huge(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_vm *vm = f->task->vm;
	vmmu_gfn_t gfn = {s->sp.gfn.n + gfn_index(gva_page(f->gva), VMMU_LEVEL_4K)};
	const struct vmmu_slot *slot;
	struct vmmu_page page;

	if (vm->config.max_leaf == VMMU_LEVEL_4K ||
	    vmmu_frames_mirrored(vm, s->sp.role.space, gfn, VMMU_LEVEL_2M))
		return false;
	slot = shadow_slot(f->task, s->sp.role.space, gfn);
	return !slot || !vmmu_page_at_hand(f->task, slot, gfn, &page) || page.level > VMMU_LEVEL_4K;
}

/*
 * Piece of a huge page: its table's role says what the guest's entry allows, with a dirty one
 * presumed, for without that the role has no right to write. What the role refuses is for the
 * long way. 0: so is what a huge leaf may be for.
 */
static uint64_t gpte_of_piece(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	union vmmu_role role = s->sp.role;

	if (role.mode == VMMU_PAGING_OFF || may_be_huge(f, s))
		return 0;
	return VMMU_SHADE_PIECE | (uint64_t)role.key << VMMU_SPTE_KEY_SHIFT;
}

/* May one entry decide? */
static inline bool is_in_reach(const struct shadow_fault *f)
{
	unsigned shift = f->vcpu->shadow.rules.format.canonical_shift;
	int64_t top = (int64_t)f->gva.addr >> shift;

	/* With a second space there may be other ways to write a table: then all are walked. */
	return (!top || top == -1) && f->task->vm->config.spaces == 1;
}

static inline uint64_t gpte_of(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	return shade_is_mirror(s) ? gpte_of_page(f, s) : gpte_of_piece(f, s);
}

/* Is the fault one that the guest's entry makes, and no piece's role or frame out of reach? */
static bool is_guests(const struct shadow_fault *f, const struct vmmu_shade *s)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	return shade_is_mirror(s) && shade_known_frame(f->task->vm, s);
}

bool vmmu_shadow_short_way(struct shadow_fault *f, enum vmmu_outcome *outcome)
{
	struct vmmu_shade *s = is_in_reach(f) ? shade_lowest(f->task, f->gva) : NULL;
	bool is_fault;
	uint64_t gpte;

	if (!s)
		return false;
	if (shade_is_mirror(s))
		(void)vmmu_shade_frame(f->task, s);
	gpte = gpte_of(f, s);
	f->result->error_code = error_of(f, s, gpte, &is_fault);
	if (!is_fault)
		return short_install(f, s, gpte, outcome);
	if (!is_guests(f, s))
		return false;
	if (!VMMU_MUTANT(INJECT_KEEPS))
		vmmu_shadow_forget_gva(f->task, f->gva);
	*outcome = VMMU_OUTCOME_INJECT;
	return true;
}

bool vmmu_shadow_shared_way(struct shadow_fault *f, enum vmmu_outcome *outcome)
{
	struct vmmu_shade *s;
	bool is_fault;
	uint64_t gpte;

	s = is_in_reach(f) ? shade_lowest(f->task, f->gva) : NULL;
	if (VMMU_UNLIKELY(!s) && is_in_reach(f))
		s = vmmu_shadow_link(f);
	f->untabled = !s;
	if (!s)
		return false;
	gpte = gpte_of(f, s);
	f->result->error_code = error_of(f, s, gpte, &is_fault);
	if (!is_fault) {
		*outcome = VMMU_OUTCOME_RESUME;
		return shared_install(f, s, gpte);
	}
	*outcome = VMMU_OUTCOME_INJECT;
	return is_guests(f, s) && !vmmu_shadow_would_forget(f->task, f->gva, s);
}
