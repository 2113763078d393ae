/* SPDX-License-Identifier: MIT */
/*
 * The audit: everything that is kept incrementally, computed again from what is really there.
 * It goes through the tables bucket by bucket of the index, so it can stop and go on between
 * any two, and it believes no counter and no link that it has not seen for itself.
 */
#include <vmmu/audit.h>

#include "audit/auditor.h"
#include "base/text.h"
#include "shadow/shade.h"
#include "vm.h"

/* ---- findings ---- */

static void find(struct vmmu_auditor *a, unsigned invariant, const struct vmmu_text *text,
		 vmmu_gfn_t gfn, uint64_t entry)
{
	struct vmmu_finding finding = {
		.invariant = invariant,
		.gfn = gfn,
		.entry = entry,
		.text = text->line,
	};

	a->found++;
	if (a->report)
		a->report(a->context, &finding);
}

void vmmu_audit_entry(struct vmmu_auditor *a, unsigned invariant, const char *words,
		      const struct vmmu_iter *at)
{
	struct vmmu_text text;

	vmmu_text_clear(&text);
	vmmu_text_add(&text, "I");
	vmmu_text_dec(&text, invariant);
	vmmu_text_add(&text, ": ");
	vmmu_text_add(&text, words);
	vmmu_text_add(&text, ": gfn ");
	vmmu_text_hex(&text, at->gfn.n);
	vmmu_text_add(&text, ", level ");
	vmmu_text_dec(&text, at->level);
	vmmu_text_add(&text, ", entry ");
	vmmu_text_hex(&text, at->old.raw);
	find(a, invariant, &text, at->gfn, at->old.raw);
}

void vmmu_audit_numbers(struct vmmu_auditor *a, unsigned invariant, const char *words,
			uint64_t kept, uint64_t counted)
{
	struct vmmu_text text;

	vmmu_text_clear(&text);
	vmmu_text_add(&text, "I");
	vmmu_text_dec(&text, invariant);
	vmmu_text_add(&text, ": ");
	vmmu_text_add(&text, words);
	vmmu_text_add(&text, ": kept ");
	vmmu_text_dec(&text, kept);
	vmmu_text_add(&text, ", counted ");
	vmmu_text_dec(&text, counted);
	find(a, invariant, &text, (vmmu_gfn_t){0}, kept);
}

/* ---- one entry ---- */

static bool withdrawn_meets(const struct vmmu_withdrawn *w, uint64_t start, uint64_t end)
{
	return w->active && start < w->end && w->start < end;
}

static bool is_too_large(const struct vmmu_vm *vm, const struct vmmu_slot *slot,
			 const struct vmmu_iter *at)
{
	if (at->level == VMMU_LEVEL_4K)
		return false;
	if (at->level > vm->config.max_leaf)
		return true;
	/* Huge leaves of a slot that begins to log are split one by one. */
	if ((slot->flags & VMMU_SLOT_LOG) && atomic_get(&vm->log_begins))
		return false;
	return vmmu_slot_level(slot, at->gfn, at->level) < at->level;
}

void vmmu_audit_leaf(struct vmmu_auditor *a, unsigned space, const struct vmmu_iter *at)
{
	const struct vmmu_vm *vm = a->vm;
	const struct vmmu_slot_set *set = vmmu_slots_now(&vm->spaces[space]);
	const struct vmmu_slot *slot = vmmu_slots_find(set, at->gfn);
	uint64_t frames = vmmu_level_frames(at->level), host;

	if (at->level <= VMMU_LEVEL_1G)
		a->leaves[at->level - VMMU_LEVEL_4K]++;
	vmmu_audit_tracked_leaf(a, at);
	/* While a change is under way its old translations are still being withdrawn. */
	if (atomic_get(&vm->spaces[space].generation) & VMMU_GENERATION_IN_PROGRESS)
		return;
	if (!slot || at->gfn.n + frames > slot->base.n + slot->count) {
		vmmu_audit_entry(a, 1, "a leaf maps frames that no single slot holds", at);
		return;
	}
	if (is_too_large(vm, slot, at))
		vmmu_audit_entry(a, 1, "a leaf is larger than slot or configuration allow", at);
	if (spte_access(&vm->fmt, at->old) & VMMU_ACCESS_WRITE & ~vmmu_slot_access(slot))
		vmmu_audit_entry(a, 1, "a leaf grants more than its slot", at);
	if (!vm->port->guest_page &&
	    spte_pfn(at->old).n != vmmu_slot_host(slot, at->gfn) >> VMMU_PAGE_SHIFT)
		vmmu_audit_entry(a, 1, "a leaf maps another host frame than its slot names", at);
	host = vmmu_slot_host(slot, at->gfn);
	if (vm->invalidations.beginning)
		return;
	/* Of several only the range that covers all of them is known, with gaps in it. */
	if (vm->invalidations.frames[space].joined || vm->invalidations.host.joined)
		return;
	if (withdrawn_meets(&vm->invalidations.frames[space], at->gfn.n, at->gfn.n + frames) ||
	    withdrawn_meets(&vm->invalidations.host, host, host + (frames << VMMU_PAGE_SHIFT)))
		vmmu_audit_entry(a, 10, "a leaf maps what the host is taking away", at);
}

void vmmu_audit_device(struct vmmu_auditor *a, const struct vmmu_sp *sp, const struct vmmu_iter *at)
{
	const struct vmmu_slot_set *set = vmmu_slots_now(&a->vm->spaces[sp->role.space]);
	uint64_t now = set->generation & a->vm->fmt.generation_mask;

	if (atomic_get(&a->vm->spaces[sp->role.space].generation) & VMMU_GENERATION_IN_PROGRESS)
		return;
	if (vmmu_spte_mmio_generation(at->old) == now && vmmu_slots_find(set, at->gfn))
		vmmu_audit_entry(a, 13, "a device entry of this generation stands where a slot is",
				 at);
}

static void check_link(struct vmmu_auditor *a, const struct vmmu_sp *sp, const struct vmmu_iter *at)
{
	struct vmmu_sp *child = vmmu_table_find(a->vm, spte_pfn(at->old));
	union vmmu_role role = sp->role;

	a->links++;
	role.level = (sp->role.level - 1u) & 0xfu;
	if (!child)
		vmmu_audit_entry(a, 12, "an entry points to a page that is no table (any more)",
				 at);
	else if (child->state != VMMU_SP_LIVE)
		vmmu_audit_entry(a, 12, "an entry points to a table that was taken out", at);
	else if (child->gfn.n != at->gfn.n || child->role.word != role.word)
		vmmu_audit_entry(a, 7, "an entry points to a table of another place or role", at);
}

static void check_entry(struct vmmu_auditor *a, const struct vmmu_sp *sp, unsigned index)
{
	enum vmmu_level level = sp->role.level;
	struct vmmu_iter at = {
		.gfn = {sp->gfn.n + index * vmmu_level_frames(level)},
		.level = level,
		.old = spte_get(&sp->entries[index]),
	};
	const char *problem;

	a->entries++;
	if (!at.old.raw)
		return;
	problem = vmmu_spte_problem(&a->vm->fmt, at.old, level);
	if (problem)
		vmmu_audit_entry(a, 15, problem, &at);
	switch (spte_kind(at.old)) {
	case VMMU_KIND_LEAF:
		vmmu_audit_leaf(a, sp->role.space, &at);
		break;
	case VMMU_KIND_TABLE:
		check_link(a, sp, &at);
		break;
	case VMMU_KIND_MMIO:
		vmmu_audit_device(a, sp, &at);
		break;
	case VMMU_KIND_FROZEN:
		vmmu_audit_entry(a, 12, "a frozen entry in a table that is in use", &at);
		break;
	case VMMU_KIND_EMPTY:
	case VMMU_KIND_COUNT:
		break;
	}
}

static void check_table(struct vmmu_auditor *a, struct vmmu_sp *sp) VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_iter at = {.gfn = sp->gfn, .level = sp->role.level};

	a->tables++;
	if (sp->state != VMMU_SP_LIVE) {
		vmmu_audit_entry(a, 12, "a table in the index is not in use", &at);
		return;
	}
	if (a->vm->config.format == VMMU_FORMAT_SHADOW) {
		vmmu_audit_shade(a, sp);
		return;
	}
	for (unsigned index = 0; index < VMMU_TABLE_ENTRIES; index++)
		check_entry(a, sp, index);
}

/* ---- roots, vCPUs, counters ---- */

static uint64_t users_of(const struct vmmu_vm *vm, const struct vmmu_sp *root)
{
	uint64_t users = root_is_valid(root) ? 1 : 0; /* the VM's own */

	for (const struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
		users += v->root == root;
	return users;
}

static uint64_t check_roots(struct vmmu_auditor *a)
{
	const struct vmmu_vm *vm = a->vm;
	uint64_t count = 0;

	for (const struct vmmu_sp *root = vm->roots; root; root = root->root_next) {
		uint64_t users = users_of(vm, root);

		count++;
		/* Zappers that pause hold references, too: more is possible, less is not. */
		if (root->users < users)
			vmmu_audit_numbers(a, 9, "references of a root", root->users, users);
	}
	return count;
}

/* From the vCPU's state, not from what it remembers of it. */
static union vmmu_role wanted_role(const struct vmmu_vcpu *v)
{
	return v->vm->config.format == VMMU_FORMAT_SHADOW ? v->role
							  : vmmu_root_role(v->vm, v->space);
}

static void check_vcpus(struct vmmu_auditor *a)
{
	for (const struct vmmu_vcpu *v = a->vm->vcpus; v; v = v->next) {
		if (!atomic_get_ordered(&v->in_guest))
			continue;
		if (!v->root)
			vmmu_audit_numbers(a, 8, "a vCPU runs without a root", v->index, 0);
		else if (root_is_valid(v->root) && v->root->role.word != wanted_role(v).word)
			vmmu_audit_numbers(a, 8, "a vCPU runs on a root of another role",
					   v->root->role.word, wanted_role(v).word);
	}
}

static uint64_t stat_sum(const struct vmmu_vm *vm, enum vmmu_stat stat)
{
	uint64_t sum = atomic_get(&vm->stats[stat]);

	for (const struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
		sum += atomic_get(&v->stats[stat]);
	return sum;
}

/* After a whole pass without a gap. */
static void check_counters(struct vmmu_auditor *a) VMMU_REQUIRES(vmmu_mmu_lock)
{
	static const char *const words[VMMU_LEAF_SIZES] = {"4K leaves", "2M leaves", "1G leaves"};
	uint64_t live = atomic_get(&a->vm->pages.live), roots = check_roots(a);

	for (unsigned i = 0; i < VMMU_LEAF_SIZES; i++) {
		uint64_t kept = stat_sum(a->vm, VMMU_STAT_PAGES_4K + i);

		if (kept != a->leaves[i])
			vmmu_audit_numbers(a, 16, words[i], kept, a->leaves[i]);
	}
	if (live != a->tables)
		vmmu_audit_numbers(a, 16, "tables", live, a->tables);
	vmmu_audit_tracking(a);
	if (a->vm->config.format == VMMU_FORMAT_SHADOW)
		vmmu_audit_frames(a);
	/* Each table but the roots hangs on exactly one entry. */
	else if (a->links + roots != a->tables)
		vmmu_audit_numbers(a, 6, "tables that entries or root list point to", a->tables,
				   a->links + roots);
}

/* ---- passes ---- */

static uint64_t pass(struct vmmu_vm *vm, struct vmmu_audit *audit, uint64_t budget,
		     struct vmmu_auditor *a) VMMU_REQUIRES(vmmu_mmu_lock)
{
	uint64_t buckets = vmmu_table_buckets(vm), start = audit->position;

	for (uint64_t seen = 0; audit->position < buckets && seen < budget; audit->position++)
		for (struct vmmu_sp *sp = vmmu_table_bucket(vm, audit->position); sp;
		     sp = vmmu_table_next(sp), seen++)
			check_table(a, sp);
	check_vcpus(a);
	if (audit->position >= buckets) {
		if (!start)
			check_counters(a);
		audit->position = 0;
		audit->rounds++;
	}
	return a->found;
}

uint64_t vmmu_audit_step(struct vmmu_vm *vm, struct vmmu_audit *audit, uint64_t budget,
			 vmmu_finding_fn *report, void *context)
{
	struct vmmu_task task = task_of_vm(vm);
	struct vmmu_auditor a = {.vm = vm, .task = &task, .report = report, .context = context};

	vmmu_section_begin(&task);
	(void)pass(vm, audit, budget ? budget : 1, &a);
	vmmu_section_end(&task);
	audit->findings += a.found;
	audit->entries += a.entries;
	stat_add(&task, VMMU_STAT_AUDIT_STEPS, 1);
	stat_add(&task, VMMU_STAT_AUDIT_FINDINGS, a.found);
	return a.found;
}

uint64_t vmmu_audit(struct vmmu_vm *vm, vmmu_finding_fn *report, void *context)
{
	struct vmmu_audit audit = {0};

	return vmmu_audit_step(vm, &audit, UINT64_MAX, report, context);
}
