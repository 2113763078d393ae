/* SPDX-License-Identifier: MIT */
/* audit.c - what the CPUs still remember, in words. */
#include "internal.h"
#include "linear_internal.h"
#include "walk.h"

static void describe_range(struct sim_text *text, sim_gfn_t gfn, enum sim_level level)
{
	sim_text_add(text, "gfn 0x%llx..0x%llx", (unsigned long long)gfn.n,
		     (unsigned long long)(gfn.n + sim_level_pages(level) - 1));
}

static size_t stale_on_cpu(const struct sim_cpu *cpu, sim_pfn_t pfn, struct sim_text *text)
{
	size_t found = 0;

	if (cpu->has_root && cpu->root.pfn.n == pfn.n && ++found)
		sim_text_add(text, "cpu %u has pfn 0x%llx loaded as its root\n", cpu->index,
			     (unsigned long long)pfn.n);
	for (uint32_t i = 0; i < cpu->tlb_count; i++) {
		const struct tlb_entry *e = &cpu->tlb[i];

		if (!e->is_valid || pfn.n - e->pfn.n >= sim_level_pages(e->level))
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: TLB maps ", cpu->index, e->root.tag);
		describe_range(text, e->gfn, e->level);
		sim_text_add(text, " %s to pfn 0x%llx, which includes 0x%llx\n",
			     e->rights & SIM_CAN_WRITE ? "writable" : "read-only",
			     (unsigned long long)e->pfn.n, (unsigned long long)pfn.n);
	}
	for (uint32_t i = 0; i < cpu->psc_count; i++) {
		const struct psc_entry *e = &cpu->psc[i];

		if (!e->is_valid || e->table.n != pfn.n)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: level %d cache for ", cpu->index, e->root.tag,
			     (int)e->level);
		describe_range(text, e->gfn, e->level);
		sim_text_add(text, " leads to the table at pfn 0x%llx\n",
			     (unsigned long long)pfn.n);
	}
	if (cpu->linear)
		found += linear_stale_on_cpu(cpu->linear, pfn, text);
	return found;
}

size_t sim_stale_translations(struct sim_machine *machine, sim_pfn_t pfn, char *text,
			      size_t text_bytes)
{
	struct sim_text words = {text, text_bytes, 0};
	size_t found = 0;

	if (text && text_bytes)
		text[0] = '\0';
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		found += stale_on_cpu(&machine->cpu[i], pfn, &words);
	return found;
}

static struct walk_answer walk_now(struct sim_machine *machine, const struct sim_root *root,
				   sim_gfn_t gfn, enum sim_access_kind kind)
{
	struct walk_request request =
		sim_walk_from_root(machine, root, sim_gpa(gfn.n << SIM_PAGE_SHIFT), kind);
	struct walk_answer answer;

	sim_walk_run(&request, &answer);
	return answer;
}

/* Did the walk reach a legal leaf that only lacks rights? */
static bool denied(const struct walk_answer *now)
{
	const struct sim_result *r = &now->result;

	return (r->outcome == SIM_EPT_VIOLATION && now->rights) ||
	       (r->outcome == SIM_NPF && (r->info & SIM_NPF_P) && !(r->info & SIM_NPF_RSVD));
}

/* Why this entry grants what the tables no longer do, or NULL. Only its first and last page
 * are looked at. */
static const char *tlb_entry_is_outdated(struct sim_machine *machine, const struct tlb_entry *e)
{
	enum sim_access_kind kind = e->rights & SIM_CAN_READ ? SIM_READ : SIM_EXEC;

	if (!e->rights)
		return NULL; /* grants nothing */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t offset = i ? sim_level_pages(e->level) - 1 : 0;
		struct walk_answer now =
			walk_now(machine, &e->root, sim_gfn(e->gfn.n + offset), kind);

		if (now.result.outcome == SIM_OK &&
		    now.result.hpa.bytes >> SIM_PAGE_SHIFT != e->pfn.n + offset)
			return "is mapped elsewhere";
		if (now.result.outcome != SIM_OK && !denied(&now))
			return "is no longer mapped";
		if (e->rights & ~now.rights)
			return "has lost rights";
	}
	return NULL;
}

static const char *psc_entry_is_outdated(struct sim_machine *machine, const struct psc_entry *e)
{
	struct walk_answer now = walk_now(machine, &e->root, e->gfn, SIM_READ);

	if (now.passed_high < e->level || now.passed_low > e->level)
		return "has no such table any more";
	if (now.passed_table[e->level].n != e->table.n)
		return "has another table";
	return e->rights & ~now.passed_rights[e->level] ? "has lost rights" : NULL;
}

static size_t outdated_on_cpu(struct sim_cpu *cpu, uint32_t tag, struct sim_text *text)
{
	size_t found = 0;
	const char *why;

	for (uint32_t i = 0; i < cpu->tlb_count; i++) {
		const struct tlb_entry *e = &cpu->tlb[i];

		if (!e->is_valid || e->root.tag != tag)
			continue;
		why = tlb_entry_is_outdated(cpu->machine, e);
		if (!why)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: TLB entry for ", cpu->index, tag);
		describe_range(text, e->gfn, e->level);
		sim_text_add(text, " (pfn 0x%llx) %s\n", (unsigned long long)e->pfn.n, why);
	}
	for (uint32_t i = 0; i < cpu->psc_count; i++) {
		const struct psc_entry *e = &cpu->psc[i];

		if (!e->is_valid || e->root.tag != tag)
			continue;
		why = psc_entry_is_outdated(cpu->machine, e);
		if (!why)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: level %d cache for ", cpu->index, tag,
			     (int)e->level);
		describe_range(text, e->gfn, e->level);
		sim_text_add(text, " (table 0x%llx) %s\n", (unsigned long long)e->table.n, why);
	}
	if (cpu->linear)
		found += linear_outdated_on_cpu(cpu->linear, tag, text);
	return found;
}

size_t sim_outdated_translations(struct sim_machine *machine, uint32_t tag, char *text,
				 size_t text_bytes)
{
	struct sim_text words = {text, text_bytes, 0};
	size_t found = 0;

	if (text && text_bytes)
		text[0] = '\0';
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		found += outdated_on_cpu(&machine->cpu[i], tag, &words);
	return found;
}
