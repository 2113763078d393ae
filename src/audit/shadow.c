/* SPDX-License-Identifier: MIT */
/*
 * The audit of shadow tables: against the guest's own tables, against the lists that each entry
 * must be on, and against the rule that the guest cannot write what is mirrored.
 */
#include "audit/auditor.h"
#include "shadow/frame.h"
#include "shadow/shade.h"
#include "vm.h"

static bool list_holds(vmmu_link_t at, vmmu_link_t want)
{
	/* No list is longer than there are entries in all tables. */
	while (at.n && at.n != want.n)
		at = link_shade(at)->links[link_index(at)];
	return at.n != 0;
}

/* May the guest write this frame? I3, I4. */
static void check_writable(struct vmmu_auditor *a, const struct vmmu_shade *s,
			   const struct vmmu_iter *at) VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_shade *m = vmmu_shade_first(a->vm, s->sp.role.space, at->gfn);

	if (at->level > VMMU_LEVEL_4K) {
		if (vmmu_frames_mirrored(a->vm, s->sp.role.space, at->gfn, at->level))
			vmmu_audit_entry(a, 3, "a huge leaf lets the guest write its own tables",
					 at);
		return;
	}
	for (; m; m = m->same_frame) {
		if (!shade_is_mirror(m))
			continue;
		if (m->sp.role.level > VMMU_LEVEL_4K)
			vmmu_audit_entry(a, 3, "the guest can write a table above level 1", at);
		else if (!shade_is_unsync(m))
			vmmu_audit_entry(a, 4, "the guest can write a table that is in sync", at);
	}
}

/* Does the guest's entry say what it said when ours was made? I4. */
static void check_in_sync(struct vmmu_auditor *a, const struct vmmu_shade *s, unsigned index,
			  const struct vmmu_iter *at) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t now, soft = VMMU_GUEST_ACCESSED | VMMU_GUEST_DIRTY;

	/* The top of PAE mode comes from registers. */
	if (!shade_is_mirror(s) || shade_is_unsync(s) ||
	    (s->sp.role.mode <= VMMU_PAGING_PAE && s->sp.role.level == VMMU_LEVEL_1G))
		return;
	if (vmmu_guest_read(a->task, s->sp.role.space, vmmu_shade_gpte_gpa(s, index),
			    shade_gpte_bytes(s), &now) &&
	    ((now ^ s->gptes[index]) & ~soft))
		vmmu_audit_entry(a, 4, "a table in sync differs from the guest's", at);
}

static void check_leaf(struct vmmu_auditor *a, struct vmmu_shade *s, unsigned index,
		       struct vmmu_iter *at) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_frames *frames = &a->vm->frames[s->sp.role.space];
	uint64_t *cell;

	at->gfn = vmmu_shade_leaf_gfn(s, index);
	vmmu_audit_leaf(a, s->sp.role.space, at);
	cell = vmmu_framemap_find(&frames->rmap[at->level - 1u],
				  at->gfn.n >> (9u * (at->level - 1u)));
	if (!cell || !list_holds(frame_list(cell), link_of(s, index)))
		vmmu_audit_entry(a, 5, "a leaf is not on the reverse map of its frame", at);
	if (at->old.raw & a->vm->fmt.write)
		check_writable(a, s, at);
	check_in_sync(a, s, index, at);
}

static void check_table(struct vmmu_auditor *a, struct vmmu_shade *s, unsigned index,
			const struct vmmu_iter *at) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_sp *sp = vmmu_table_find(a->vm, spte_pfn(at->old));
	bool marked = s->unsync_below[index / 64] >> (index % 64) & 1u;
	struct vmmu_shade *child;

	a->links++;
	if (!sp || sp->state != VMMU_SP_LIVE) {
		vmmu_audit_entry(a, 12, "an entry points to a page that is no table (any more)",
				 at);
		return;
	}
	child = shade_of(sp);
	if (!list_holds(child->parents, link_of(s, index)))
		vmmu_audit_entry(a, 6, "a table does not know an entry that points to it", at);
	if (child->generation != s->generation)
		vmmu_audit_entry(a, 7, "a table that was forgotten is linked", at);
	if (sp->role.level + 1u != s->sp.role.level || sp->role.space != s->sp.role.space ||
	    sp->role.mode != s->sp.role.mode || (sp->role.access & ~s->sp.role.access))
		vmmu_audit_entry(a, 7, "a table is linked where its role does not belong", at);
	if (marked != shade_is_stale(child))
		vmmu_audit_entry(a, 4, "the mark for unsync tables below is wrong", at);
	check_in_sync(a, s, index, at);
}

static void check_device(struct vmmu_auditor *a, const struct vmmu_shade *s, unsigned index,
			 struct vmmu_iter *at) VMMU_REQUIRES(vmmu_mmu_lock)
{
	at->gfn = vmmu_shade_leaf_gfn(s, index);
	vmmu_audit_device(a, &s->sp, at);
	check_in_sync(a, s, index, at);
}

static void check_entry(struct vmmu_auditor *a, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_iter at = {
		.gfn = s->sp.gfn,
		.level = s->sp.role.level,
		.old = shade_get(s, index),
	};
	bool filled = shade_is_filled(s, index);
	const char *problem;

	a->entries++;
	if (filled != (at.old.raw != 0))
		vmmu_audit_entry(a, 16, "the mark for an entry that is not empty is wrong", &at);
	if (!at.old.raw)
		return;
	problem = vmmu_spte_problem(&a->vm->fmt, at.old, at.level);
	if (problem)
		vmmu_audit_entry(a, 15, problem, &at);
	if (spte_kind(at.old) == VMMU_KIND_LEAF)
		check_leaf(a, s, index, &at);
	else if (spte_kind(at.old) == VMMU_KIND_TABLE)
		check_table(a, s, index, &at);
	else if (spte_kind(at.old) == VMMU_KIND_MMIO)
		check_device(a, s, index, &at);
}

/* Neither zapped nor a vCPU's own. */
static bool is_listed(struct vmmu_vm *vm, const struct vmmu_shade *s) VMMU_REQUIRES(vmmu_mmu_lock)
{
	const struct vmmu_shade *m = vmmu_shade_first(vm, s->sp.role.space, s->sp.gfn);

	while (m && m != s)
		m = m->same_frame;
	return m != NULL;
}

void vmmu_audit_shade(struct vmmu_auditor *a, struct vmmu_sp *sp)
{
	struct vmmu_shade *s = shade_of(sp);
	uint32_t marks = 0;

	if (is_listed(a->vm, s)) {
		a->mirrors += shade_is_mirror(s); /* they forbid huge leaves over their frame */
		if (!atomic_get(&s->settled))
			vmmu_audit_numbers(a, 12, "a table whose making was never finished",
					   sp->pfn.n, sp->gfn.n);
	}
	for (unsigned index = 0; index < VMMU_TABLE_ENTRIES; index++)
		check_entry(a, s, index);
	for (unsigned word = 0; word < VMMU_TABLE_ENTRIES / 64; word++)
		for (uint64_t bits = s->unsync_below[word]; bits; bits &= bits - 1)
			marks++;
	if (marks != s->unsync_count)
		vmmu_audit_numbers(a, 16, "marks for unsync tables", s->unsync_count, marks);
	for (const struct vmmu_shade *m = s->same_frame; m; m = m->same_frame)
		if (m->sp.role.word == sp->role.word && m->generation == s->generation)
			vmmu_audit_numbers(a, 7, "two tables of one frame and role", sp->gfn.n,
					   m->sp.gfn.n);
	/* Whatever says that it points here does. */
	for (vmmu_link_t at = s->parents; at.n; at = link_shade(at)->links[link_index(at)]) {
		vmmu_spte_t e = shade_get(link_shade(at), link_index(at));

		if (spte_kind(e) != VMMU_KIND_TABLE || spte_pfn(e).n != sp->pfn.n)
			vmmu_audit_numbers(a, 6, "a table's list of parents is wrong", sp->pfn.n,
					   spte_pfn(e).n);
	}
}

/* Tables counted by region, against tables seen. */
static void check_mirrored(struct vmmu_auditor *a) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t end = UINT64_C(1) << VMMU_FRAMEMAP_KEY_BITS;

	for (unsigned size = 0; size < 2; size++) {
		uint64_t counted = 0;

		for (unsigned space = 0; space < a->vm->config.spaces; space++) {
			struct vmmu_framemap *map = &a->vm->frames[space].mirrored[size];
			uint64_t key = vmmu_framemap_next(map, 0, end);

			for (; key < end; key = vmmu_framemap_next(map, key + 1, end))
				counted += *vmmu_framemap_find(map, key);
		}
		if (counted != a->mirrors)
			vmmu_audit_numbers(a, 16, "tables that forbid huge leaves", counted,
					   a->mirrors);
	}
}

/* Every reverse-map entry is a live leaf: as many of them as leaves were counted. */
void vmmu_audit_frames(struct vmmu_auditor *a)
{
	uint64_t end = UINT64_C(1) << VMMU_FRAMEMAP_KEY_BITS;

	check_mirrored(a);
	for (unsigned level = 0; level < VMMU_LEAF_SIZES; level++) {
		uint64_t counted = 0;

		for (unsigned space = 0; space < a->vm->config.spaces; space++) {
			struct vmmu_framemap *map = &a->vm->frames[space].rmap[level];
			uint64_t key = vmmu_framemap_next(map, 0, end);

			for (; key < end; key = vmmu_framemap_next(map, key + 1, end)) {
				vmmu_link_t at = frame_list(vmmu_framemap_find(map, key));

				for (; at.n; at = link_shade(at)->links[link_index(at)])
					counted++;
			}
		}
		if (counted != a->leaves[level])
			vmmu_audit_numbers(a, 5, "leaves on reverse maps", counted,
					   a->leaves[level]);
	}
}
