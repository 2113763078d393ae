/* SPDX-License-Identifier: MIT */
/*
 * linear_speculate.c - linear addresses that a CPU looks at without being asked to: near its
 * last accesses, or found by going down the loaded tables at random.
 */
#include "linear_format.h"
#include "linear_internal.h"

/* A present entry of @table at or after a random index, wrapping. Return: false if none. */
static bool find_present(struct linear_cpu *cpu, sim_pfn_t table, unsigned *index, uint64_t *entry)
{
	unsigned start = (unsigned)sim_prng_below(&cpu->prng, SIM_TABLE_ENTRIES);

	if (sim_ram_state(cpu->owner->machine, table) != SIM_FRAME_TABLE)
		return false; /* prefetching this path will tell */
	for (unsigned i = 0; i < SIM_TABLE_ENTRIES; i++) {
		*index = (start + i) % SIM_TABLE_ENTRIES;
		*entry = sim_ram_read(cpu->owner->machine, sim_entry_hpa(table, *index));
		if (*entry & LINEAR_PRESENT)
			return true;
	}
	return false;
}

/* Fill in the bits above those that the mode translates. */
static sim_gva_t sign_extend(enum linear_mode mode, uint64_t bytes)
{
	unsigned width = mode == LINEAR_5_LEVEL ? 57 : 48;

	if (mode != LINEAR_PAE && bytes >> (width - 1) & 1)
		bytes |= UINT64_MAX << width;
	return sim_gva(bytes);
}

/* Some address that is mapped, or nearly. */
static sim_gva_t pick_mapped(struct linear_cpu *cpu)
{
	const struct linear_regs *regs = &cpu->now.regs;
	sim_pfn_t table = {linear_cr3_base(regs) >> SIM_PAGE_SHIFT};
	uint64_t bytes = 0;
	unsigned index;
	uint64_t entry;

	if (regs->mode == LINEAR_PAE) {
		index = (unsigned)sim_prng_below(&cpu->prng, 4);
		bytes = (uint64_t)index << 30;
		entry = regs->pdpte[index];
		if (!(entry & LINEAR_PRESENT))
			return sim_gva(bytes);
		table = sim_pfn(linear_table_base(regs->mode, entry) >> SIM_PAGE_SHIFT);
	}
	for (enum sim_level level = linear_top_level(regs->mode); level >= SIM_LEVEL_4K; level--) {
		if (!find_present(cpu, table, &index, &entry))
			break;
		bytes += (uint64_t)index << linear_shift(regs->mode, level);
		if (linear_illegal_bits(regs, entry, level))
			break;
		if (linear_is_leaf(regs, entry, level)) {
			bytes += sim_prng_below(&cpu->prng, sim_level_pages(level))
				 << SIM_PAGE_SHIFT;
			break;
		}
		table = sim_pfn(linear_table_base(regs->mode, entry) >> SIM_PAGE_SHIFT);
	}
	return sign_extend(regs->mode, bytes);
}

static sim_gva_t pick_near(struct linear_cpu *cpu)
{
	uint32_t count =
		cpu->recent_count < SIM_RECENT_COUNT ? cpu->recent_count : SIM_RECENT_COUNT;
	sim_gva_t gva = cpu->recent[sim_prng_below(&cpu->prng, count)];

	gva.bytes += sim_prng_below(&cpu->prng, 4) * SIM_PAGE_BYTES;
	return gva;
}

void linear_cpu_speculate(struct linear_cpu *cpu)
{
	if (!cpu->is_loaded)
		return;
	if (cpu->recent_count && sim_prng_chance(&cpu->prng, 1, 2))
		(void)linear_cpu_prefetch(cpu, pick_near(cpu));
	else
		(void)linear_cpu_prefetch(cpu, pick_mapped(cpu));
}
