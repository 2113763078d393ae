/* SPDX-License-Identifier: MIT */
/* How an address translates now, and why, step by step in words. */
#include <vmmu/audit.h>

#include "audit/teller.h"
#include "base/text.h"
#include "tdp/tdp.h"
#include "vm.h"

void vmmu_teller_say(struct vmmu_teller *t)
{
	t->emit(t->context, t->text.line);
	vmmu_text_clear(&t->text);
}

static void say_slot(struct vmmu_teller *t, const struct vmmu_slot *slot, vmmu_gfn_t gfn)
{
	struct vmmu_text *x = &t->text;

	if (!slot) {
		vmmu_text_add(x, "slot: none holds gfn ");
		vmmu_text_hex(x, gfn.n);
		vmmu_text_add(x, ": a device's, or nothing");
		vmmu_teller_say(t);
		return;
	}
	vmmu_text_add(x, "slot ");
	vmmu_text_dec(x, slot->id);
	vmmu_text_add(x, ": gfn ");
	vmmu_text_hex(x, slot->base.n);
	vmmu_text_add(x, " to ");
	vmmu_text_hex(x, slot->base.n + slot->count);
	vmmu_text_add(x, slot->flags & VMMU_SLOT_READONLY ? ", read-only" : ", writable");
	vmmu_text_add(x, slot->flags & VMMU_SLOT_SMALL ? ", 4K leaves only" : "");
	vmmu_text_add(x, ", host address here ");
	vmmu_text_hex(x, vmmu_slot_host(slot, gfn));
	vmmu_teller_say(t);
}

static void say_rights(struct vmmu_text *x, uint32_t access)
{
	vmmu_text_add(x, access & VMMU_ACCESS_READ ? "r" : "-");
	vmmu_text_add(x, access & VMMU_ACCESS_WRITE ? "w" : "-");
	vmmu_text_add(x, access & VMMU_ACCESS_EXEC ? "x" : "-");
}

void vmmu_teller_entry(struct vmmu_teller *t, const struct vmmu_vm *vm, vmmu_spte_t e,
		       unsigned space)
{
	struct vmmu_text *x = &t->text;
	uint64_t now = atomic_get(&vm->spaces[space].generation);

	switch (spte_kind(e)) {
	case VMMU_KIND_EMPTY:
		vmmu_text_add(x, "empty: any access faults and is looked up");
		break;
	case VMMU_KIND_TABLE:
		vmmu_text_add(x, "table at host frame ");
		vmmu_text_hex(x, spte_pfn(e).n);
		break;
	case VMMU_KIND_LEAF:
		vmmu_text_add(x, "leaf, host frame ");
		vmmu_text_hex(x, spte_pfn(e).n);
		vmmu_text_add(x, ", rights ");
		say_rights(x, spte_access(&vm->fmt, e));
		vmmu_text_add(x, spte_is_accessed(&vm->fmt, e) ? ", accessed" : ", not accessed");
		vmmu_text_add(x, spte_is_dirty(&vm->fmt, e) ? ", dirty" : ", clean");
		break;
	case VMMU_KIND_MMIO:
		vmmu_text_add(x, "device entry of generation ");
		vmmu_text_dec(x, vmmu_spte_mmio_generation(e));
		vmmu_text_add(x, vmmu_spte_mmio_generation(e) == (now & vm->fmt.generation_mask)
					 ? ", current: any access is emulated"
					 : ", outdated: any access is looked up");
		break;
	case VMMU_KIND_FROZEN:
		vmmu_text_add(x, "frozen: its table was taken out");
		break;
	case VMMU_KIND_COUNT:
		vmmu_text_add(x, "of no known kind");
		break;
	}
}

static void say_entry(struct vmmu_teller *t, const struct vmmu_iter *it)
{
	const struct vmmu_vm *vm = it->task->vm;
	const char *problem = vmmu_spte_problem(&vm->fmt, it->old, it->level);

	vmmu_text_add(&t->text, "level ");
	vmmu_text_dec(&t->text, it->level);
	vmmu_text_add(&t->text, ", entry ");
	vmmu_text_dec(&t->text, gfn_index(it->gfn, it->level));
	vmmu_text_add(&t->text, " = ");
	vmmu_text_hex(&t->text, it->old.raw);
	vmmu_text_add(&t->text, ": ");
	vmmu_teller_entry(t, vm, it->old, it->root->role.space);
	vmmu_teller_say(t);
	if (problem) {
		vmmu_text_add(&t->text, "  damaged: ");
		vmmu_text_add(&t->text, problem);
		vmmu_teller_say(t);
	}
}

/* What comes of accesses to a frame. */
struct prospect {
	const struct vmmu_slot *slot;
	uint32_t granted, tracked; /* enum vmmu_access bits */
};

static void say_access(struct vmmu_teller *t, const char *verb, const struct prospect *p,
		       uint32_t access)
{
	vmmu_text_add(&t->text, verb);
	if (p->granted & access)
		vmmu_text_add(&t->text, ": goes through");
	else if (!p->slot)
		vmmu_text_add(&t->text, ": comes out as mmio");
	else if (access & ~vmmu_slot_access(p->slot))
		vmmu_text_add(&t->text, ": comes out as readonly");
	else if (p->tracked & access)
		vmmu_text_add(&t->text, ": comes out as tracked");
	else
		vmmu_text_add(&t->text, ": faults, and an entry is installed");
	vmmu_teller_say(t);
}

static void say_accesses(struct vmmu_teller *t, const struct prospect *p)
{
	say_access(t, "a read", p, VMMU_ACCESS_READ);
	say_access(t, "a write", p, VMMU_ACCESS_WRITE);
	say_access(t, "a fetch", p, VMMU_ACCESS_EXEC);
}

static void explain(struct vmmu_task *task, struct vmmu_teller *t, unsigned space, vmmu_gfn_t gfn)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	struct vmmu_vm *vm = task->vm;
	const struct vmmu_slot *slot = vmmu_slots_find(vmmu_slots_now(&vm->spaces[space]), gfn);
	struct prospect prospect = {.slot = slot, .tracked = vmmu_tracked_kinds(vm, gfn)};
	struct vmmu_sp *root = vm->roots;
	struct vmmu_iter it;

	say_slot(t, slot, gfn);
	while (root && (root->role.space != space || !root_is_valid(root)))
		root = root->root_next;
	if (!root || gfn.n >= vm->gfn_end.n) {
		vmmu_text_add(&t->text, root ? "beyond what the tables map" : "root: none yet");
		vmmu_teller_say(t);
		say_accesses(t, &prospect);
		return;
	}
	vmmu_text_add(&t->text, "root: ");
	vmmu_text_add(&t->text, vm->fmt.name);
	vmmu_text_add(&t->text, " table at host frame ");
	vmmu_text_hex(&t->text, root->pfn.n);
	vmmu_teller_say(t);
	vmmu_iter_begin(&it, task, root, VMMU_LEVEL_4K, (struct vmmu_gfn_range){gfn, {gfn.n + 1}});
	say_entry(t, &it);
	while (it.level > VMMU_LEVEL_4K && spte_kind(it.old) == VMMU_KIND_TABLE) {
		vmmu_iter_descend(&it, gfn);
		say_entry(t, &it);
	}
	prospect.granted = spte_access(&vm->fmt, it.old);
	say_accesses(t, &prospect);
}

enum vmmu_error vmmu_explain(struct vmmu_vm *vm, unsigned space, vmmu_gpa_t gpa, vmmu_line_fn *emit,
			     void *context)
{
	struct vmmu_task task = task_of_vm(vm);
	struct vmmu_teller t = {.emit = emit, .context = context};

	if (space >= vm->config.spaces)
		return VMMU_EINVAL;
	vmmu_text_clear(&t.text);
	if (vm_is_dead(vm)) {
		vmmu_text_add(&t.text, "this VM is dead: ");
		vmmu_text_add(&t.text, vmmu_vm_death(vm));
		vmmu_teller_say(&t);
	}
	vmmu_text_add(&t.text, "gpa ");
	vmmu_text_hex(&t.text, gpa.addr);
	vmmu_text_add(&t.text, " in space ");
	vmmu_text_dec(&t.text, space);
	vmmu_teller_say(&t);
	vmmu_section_begin_shared(&task);
	explain(&task, &t, space, vmmu_gpa_to_gfn(gpa));
	vmmu_section_end_shared(&task);
	return VMMU_OK;
}
