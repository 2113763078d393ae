/* SPDX-License-Identifier: MIT */
/* How a guest-virtual address translates under shadow paging: the guest's tables and ours. */
#include <vmmu/shadow.h>

#include "audit/teller.h"
#include "shadow/shade.h"
#include "vm.h"

static bool read_entry(void *context, vmmu_gpa_t gpa, unsigned bytes,
		       uint64_t *value) VMMU_NO_ANALYSIS
{
	struct vmmu_task *task = context;

	return vmmu_guest_read(task, task->vcpu->space, gpa, bytes, value);
}

static void add_bits(struct vmmu_text *x, uint64_t gpte)
{
	static const struct {
		uint64_t bit;
		const char *word;
	} bits[] = {
		{VMMU_BIT(0), " P"},   {VMMU_BIT(1), " W"}, {VMMU_BIT(2), " U"},
		{VMMU_BIT(5), " A"},   {VMMU_BIT(6), " D"}, {VMMU_BIT(7), " PS"},
		{VMMU_BIT(63), " NX"},
	};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (gpte & bits[i].bit)
			vmmu_text_add(x, bits[i].word);
}

/* The guest's half of a line. */
static void say_guest(struct vmmu_teller *t, const struct vmmu_walk_result *walk, unsigned level)
{
	struct vmmu_text *x = &t->text;

	for (unsigned i = 0; i < walk->levels; i++) {
		if (walk->step[i].level != level)
			continue;
		vmmu_text_add(x, "guest ");
		vmmu_text_hex(x, walk->step[i].value);
		vmmu_text_add(x, " at ");
		vmmu_text_hex(x, walk->step[i].gpa.addr);
		add_bits(x, walk->step[i].value);
		return;
	}
	vmmu_text_add(x, "guest -");
}

/* Our half. Return: the table below, or NULL. */
static struct vmmu_shade *say_shadow(struct vmmu_teller *t, struct vmmu_task *task,
				     const struct vmmu_shade *s, uint64_t gva)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	unsigned index = gfn_index((vmmu_gfn_t){gva >> VMMU_PAGE_SHIFT}, s->sp.role.level);
	vmmu_spte_t e = shade_get(s, index);
	struct vmmu_sp *child = NULL;

	vmmu_text_add(&t->text, " | shadow ");
	vmmu_text_hex(&t->text, e.raw);
	vmmu_text_add(&t->text, ": ");
	vmmu_teller_entry(t, task->vm, e, s->sp.role.space);
	if (spte_kind(e) == VMMU_KIND_LEAF)
		vmmu_text_add(&t->text, e.raw & task->vm->fmt.user_bit ? ", user" : ", supervisor");
	vmmu_text_add(&t->text, shade_is_unsync(s) ? "; unsync" : "");
	if (spte_kind(e) == VMMU_KIND_TABLE)
		child = vmmu_table_find(task->vm, spte_pfn(e));
	return child ? shade_of(child) : NULL;
}

static void say_result(struct vmmu_teller *t, const struct vmmu_vm *vm,
		       enum vmmu_walk_status status, const struct vmmu_walk_result *walk)
{
	switch (status) {
	case VMMU_WALK_OK:
		vmmu_text_add(&t->text, "the guest's tables lead to gpa ");
		vmmu_text_hex(&t->text, walk->gpa.addr);
		vmmu_text_add(&t->text, walk->writable ? ", writable" : ", read-only");
		vmmu_text_add(&t->text, walk->user ? ", user" : ", supervisor");
		vmmu_text_add(&t->text, walk->executable ? ", executable" : ", no execute");
		if (vmmu_tracked_kinds(vm, vmmu_gpa_to_gfn(walk->gpa)))
			vmmu_text_add(&t->text, "; tracked");
		break;
	case VMMU_WALK_FAULT:
		vmmu_text_add(&t->text, "the guest's tables refuse a read: page fault, code ");
		vmmu_text_hex(&t->text, walk->error_code);
		break;
	case VMMU_WALK_NOT_CANONICAL:
		vmmu_text_add(&t->text, "not canonical: no table is looked at");
		break;
	case VMMU_WALK_UNREADABLE:
		vmmu_text_add(&t->text, "a table of the guest is not at hand, at gpa ");
		vmmu_text_hex(&t->text, walk->table_gpa.addr);
		break;
	}
	vmmu_teller_say(t);
}

enum vmmu_error vmmu_explain_gva(struct vmmu_vcpu *vcpu, vmmu_gva_t gva, vmmu_line_fn *emit,
				 void *context)
{
	struct vmmu_task *task = &vcpu->task;
	struct vmmu_teller t = {.emit = emit, .context = context};
	struct vmmu_walk_ops ops = {.read = read_entry};
	struct vmmu_guest_tables tables = {
		.rules = &vcpu->shadow.rules,
		.paging = &vcpu->shadow.paging,
		.ops = &ops,
		.context = task,
	};
	struct vmmu_walk_result walk;
	enum vmmu_walk_status status;
	struct vmmu_shade *s;

	if (vcpu->vm->config.format != VMMU_FORMAT_SHADOW)
		return VMMU_EINVAL;
	vmmu_text_clear(&t.text);
	vmmu_text_hex(vmmu_text_add(&t.text, "gva "), gva.addr);
	vmmu_text_hex(vmmu_text_add(&t.text, ", cr3 "), vcpu->shadow.paging.cr3);
	vmmu_teller_say(&t);
	vmmu_section_begin(task);
	status = vmmu_guest_walk(&tables, gva, VMMU_WALK_NO_UPDATE, &walk);
	s = vcpu->root ? shade_of(vcpu->root) : NULL;
	for (unsigned level = s ? s->sp.role.level : VMMU_LEVEL_256T; level; level--) {
		vmmu_text_dec(vmmu_text_add(&t.text, "level "), level);
		vmmu_text_add(&t.text, " | ");
		say_guest(&t, &walk, level);
		if (s)
			s = say_shadow(&t, task, s, gva.addr);
		vmmu_teller_say(&t);
	}
	say_result(&t, task->vm, status, &walk);
	vmmu_section_end(task);
	return VMMU_OK;
}
