/* SPDX-License-Identifier: MIT */
/* linear_audit.c - what the linear CPUs still remember, in words. */
#include "linear_format.h"
#include "linear_internal.h"

static void describe_range(struct sim_text *text, uint64_t page, enum sim_level level)
{
	uint64_t last = page + sim_level_pages(level) - 1;

	sim_text_add(text, "gva 0x%llx..0x%llx", (unsigned long long)(page << SIM_PAGE_SHIFT),
		     (unsigned long long)(last << SIM_PAGE_SHIFT | 0xfff));
}

/* Is the frame loaded, as the top table or through a PDPTE? */
static size_t stale_registers(const struct linear_cpu *cpu, sim_pfn_t pfn, struct sim_text *text)
{
	const struct linear_regs *regs = &cpu->now.regs;
	size_t found = 0;

	if (!cpu->is_loaded)
		return 0;
	if (linear_cr3_base(regs) >> SIM_PAGE_SHIFT == pfn.n && ++found)
		sim_text_add(text, "cpu %u has pfn 0x%llx loaded as CR3\n", cpu->owner->index,
			     (unsigned long long)pfn.n);
	for (unsigned i = 0; regs->mode == LINEAR_PAE && i < 4; i++) {
		uint64_t table = linear_table_base(regs->mode, regs->pdpte[i]);

		if (!(regs->pdpte[i] & LINEAR_PRESENT) || table >> SIM_PAGE_SHIFT != pfn.n)
			continue;
		found++;
		sim_text_add(text, "cpu %u has pfn 0x%llx loaded in PDPTE %u\n", cpu->owner->index,
			     (unsigned long long)pfn.n, i);
	}
	return found;
}

size_t linear_stale_on_cpu(const struct linear_cpu *cpu, sim_pfn_t pfn, struct sim_text *text)
{
	size_t found = stale_registers(cpu, pfn, text);

	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++) {
		const struct linear_tlb_entry *e = &cpu->tlb[i];

		if (!e->is_valid || pfn.n - e->pfn.n >= sim_level_pages(e->level))
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: TLB maps ", cpu->owner->index, e->origin.tag);
		describe_range(text, e->page, e->level);
		sim_text_add(text, " %s to pfn 0x%llx, which includes 0x%llx\n",
			     e->rights.write ? "writable" : "read-only",
			     (unsigned long long)e->pfn.n, (unsigned long long)pfn.n);
	}
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++) {
		const struct linear_psc_entry *e = &cpu->psc[i];

		if (!e->is_valid || e->table.n != pfn.n)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: level %d cache for ", cpu->owner->index,
			     e->origin.tag, (int)e->level);
		describe_range(text, e->page, e->level);
		sim_text_add(text, " leads to the table at pfn 0x%llx\n",
			     (unsigned long long)pfn.n);
	}
	return found;
}

/* Walk now from the CR3 an entry came from; PDPTEs as they would be loaded now. */
static struct linear_walk_answer walk_now(struct sim_machine *machine,
					  const struct linear_origin *origin, uint64_t page)
{
	struct linear_access access = {.gva = sim_gva(page << SIM_PAGE_SHIFT), .ac = true};
	struct linear_regs regs = origin->regs;
	struct linear_walk_request request = {
		.machine = machine, .regs = &regs, .access = &access, .effects = WALK_PURE};
	sim_hpa_t pdptes = {linear_cr3_base(&regs)};
	struct linear_walk_answer answer = {.result = {.outcome = LINEAR_BROKEN}};

	if (regs.mode == LINEAR_PAE) {
		sim_pfn_t pfn = {pdptes.bytes >> SIM_PAGE_SHIFT};

		if (sim_ram_state(machine, pfn) != SIM_FRAME_TABLE)
			return answer;
		for (unsigned i = 0; i < 4; i++)
			regs.pdpte[i] = sim_ram_read(machine, (sim_hpa_t){pdptes.bytes + 8u * i});
	}
	linear_walk_run(&request, &answer);
	return answer;
}

/* Does @cached let something through that @now would not? A page that has become a user page
 * is closed to the supervisor by SMEP and SMAP only. */
static bool grants_more(const struct linear_regs *regs, const struct linear_rights *cached,
			const struct linear_rights *now)
{
	if ((cached->write && !now->write) || (!cached->no_exec && now->no_exec))
		return true;
	if (cached->user && !now->user)
		return true;
	return !cached->user && now->user && (regs->smep || regs->smap);
}

/* Why, or NULL. Only the first and the last page are looked at. */
static const char *tlb_entry_is_outdated(struct sim_machine *machine,
					 const struct linear_tlb_entry *e)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t offset = i ? sim_level_pages(e->level) - 1 : 0;
		uint64_t page = e->page + offset;
		struct linear_walk_answer now = walk_now(machine, &e->origin, page);
		uint64_t leaf_pages;

		if (!now.is_at_leaf)
			return "is no longer mapped";
		leaf_pages = sim_level_pages(now.result.level);
		if (now.pfn.n + (page & (leaf_pages - 1)) != e->pfn.n + offset)
			return "is mapped elsewhere";
		if (grants_more(&e->origin.regs, &e->rights, &now.rights))
			return "has lost rights";
		if (now.rights.key != e->rights.key)
			return "has another protection key";
	}
	return NULL;
}

static const char *psc_entry_is_outdated(struct sim_machine *machine,
					 const struct linear_psc_entry *e)
{
	struct linear_walk_answer now = walk_now(machine, &e->origin, e->page);

	if (!now.passed[e->level])
		return "has no such table any more";
	if (now.passed_table[e->level].n != e->table.n)
		return "has another table";
	if (grants_more(&e->origin.regs, &e->rights, &now.passed_rights[e->level]))
		return "has lost rights";
	return NULL;
}

size_t linear_outdated_on_cpu(const struct linear_cpu *cpu, uint32_t tag, struct sim_text *text)
{
	struct sim_machine *machine = cpu->owner->machine;
	size_t found = 0;
	const char *why;

	for (uint32_t i = 0; i < cpu->owner->tlb_count; i++) {
		const struct linear_tlb_entry *e = &cpu->tlb[i];

		if (!e->is_valid || e->origin.tag != tag)
			continue;
		why = tlb_entry_is_outdated(machine, e);
		if (!why)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: TLB entry for ", cpu->owner->index, tag);
		describe_range(text, e->page, e->level);
		sim_text_add(text, " (pfn 0x%llx) %s\n", (unsigned long long)e->pfn.n, why);
	}
	for (uint32_t i = 0; i < cpu->owner->psc_count; i++) {
		const struct linear_psc_entry *e = &cpu->psc[i];

		if (!e->is_valid || e->origin.tag != tag)
			continue;
		why = psc_entry_is_outdated(machine, e);
		if (!why)
			continue;
		found++;
		sim_text_add(text, "cpu %u, tag %u: level %d cache for ", cpu->owner->index, tag,
			     (int)e->level);
		describe_range(text, e->page, e->level);
		sim_text_add(text, " (table 0x%llx) %s\n", (unsigned long long)e->table.n, why);
	}
	return found;
}

size_t linear_stale(struct sim_machine *machine, sim_pfn_t pfn, char *text, size_t text_bytes)
{
	struct sim_text words = {text, text_bytes, 0};
	size_t found = 0;

	if (text && text_bytes)
		text[0] = '\0';
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		if (machine->cpu[i].linear)
			found += linear_stale_on_cpu(machine->cpu[i].linear, pfn, &words);
	return found;
}

size_t linear_outdated(struct sim_machine *machine, uint32_t tag, char *text, size_t text_bytes)
{
	struct sim_text words = {text, text_bytes, 0};
	size_t found = 0;

	if (text && text_bytes)
		text[0] = '\0';
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		if (machine->cpu[i].linear)
			found += linear_outdated_on_cpu(machine->cpu[i].linear, tag, &words);
	return found;
}
