/* SPDX-License-Identifier: MIT */
/*
 * speculate.c - addresses that a CPU looks at without being asked to.
 *
 * Half of them are near what it accessed lately; the others are found by going down the loaded
 * tables at random, so that nothing that is mapped can count on staying unused.
 */
#include "internal.h"
#include "walk.h"

/* A present entry of @table at or after a random index, wrapping. Return: false if none. */
static bool find_present(struct sim_cpu *cpu, sim_pfn_t table, unsigned *index, uint64_t *entry)
{
	unsigned start = (unsigned)sim_prng_below(&cpu->prng, SIM_TABLE_ENTRIES);

	if (sim_ram_state(cpu->machine, table) != SIM_FRAME_TABLE)
		return false; /* prefetching this path will tell */
	for (unsigned i = 0; i < SIM_TABLE_ENTRIES; i++) {
		*index = (start + i) % SIM_TABLE_ENTRIES;
		*entry = sim_ram_read(cpu->machine, sim_entry_hpa(table, *index));
		if (sim_walk_format(cpu->root.format)->is_present(*entry))
			return true;
	}
	return false;
}

/* Some address that the loaded root maps, or nearly. */
static sim_gpa_t pick_mapped(struct sim_cpu *cpu)
{
	const struct walk_format *format = sim_walk_format(cpu->root.format);
	sim_pfn_t table = cpu->root.pfn;
	sim_gfn_t gfn = {0};
	unsigned index;
	uint64_t entry;

	for (unsigned l = cpu->root.level_count; l >= SIM_LEVEL_4K; l--) {
		enum sim_level level = (enum sim_level)l;

		if (!find_present(cpu, table, &index, &entry))
			break;
		gfn.n += index * sim_level_pages(level);
		if (format->is_illegal(&cpu->root, entry, level))
			break;
		if (format->is_leaf(entry, level)) {
			gfn.n += sim_prng_below(&cpu->prng, sim_level_pages(level));
			break;
		}
		table = sim_pfn((entry & UINT64_C(0x000ffffffffff000)) >> SIM_PAGE_SHIFT);
	}
	return sim_gpa(gfn.n << SIM_PAGE_SHIFT);
}

static sim_gpa_t pick_near(struct sim_cpu *cpu)
{
	uint32_t count =
		cpu->recent_count < SIM_RECENT_COUNT ? cpu->recent_count : SIM_RECENT_COUNT;
	sim_gpa_t gpa = cpu->recent[sim_prng_below(&cpu->prng, count)];

	gpa.bytes += sim_prng_below(&cpu->prng, 4) * SIM_PAGE_BYTES;
	return gpa;
}

void sim_cpu_speculate(struct sim_cpu *cpu)
{
	if (!cpu->has_root)
		return;
	if (cpu->recent_count && sim_prng_chance(&cpu->prng, 1, 2))
		(void)sim_cpu_prefetch(cpu, pick_near(cpu));
	else
		(void)sim_cpu_prefetch(cpu, pick_mapped(cpu));
}
