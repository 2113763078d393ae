/* SPDX-License-Identifier: MIT */
#include "tables.h"

#include <string.h>

#define ADDRESS_MASK UINT64_C(0x000ffffffffff000)
#define HUGE_BIT (UINT64_C(1) << 7)

struct tables tables_new(struct sim_machine *machine, enum sim_format format)
{
	struct tables tables = {
		.machine = machine,
		.root =
			{
				.format = format,
				.pfn = sim_ram_alloc(machine, SIM_FRAME_TABLE),
				.level_count = 4,
				.maxphyaddr = 52,
				.has_nx = true,
				.has_1g = true,
				.has_exec_only = true,
				.has_ad = true,
				.tag = 1,
			},
	};

	assert_int_not_equal(tables.root.pfn.n, SIM_PFN_NONE.n);
	return tables;
}

static unsigned index_of(sim_gpa_t gpa, enum sim_level level)
{
	return (unsigned)(gpa.bytes / SIM_PAGE_BYTES / sim_level_pages(level) % SIM_TABLE_ENTRIES);
}

uint64_t tables_link(const struct tables *tables, sim_pfn_t table)
{
	(void)tables;
	return table.n * SIM_PAGE_BYTES + 7; /* P, W, U or R, W, X */
}

uint64_t tables_leaf(const struct tables *tables, sim_pfn_t pfn, enum sim_level level,
		     const char *rights)
{
	uint64_t entry = pfn.n * SIM_PAGE_BYTES;

	if (level > SIM_LEVEL_4K)
		entry |= HUGE_BIT;
	if (tables->root.format == SIM_NPT) {
		entry |= strchr(rights, 'r') ? 5u : 0u;
		entry |= strchr(rights, 'w') ? 2u : 0u;
		entry |= strchr(rights, 'x') ? 0 : UINT64_C(1) << 63;
	} else {
		entry |= strchr(rights, 'r') ? 1u : 0u;
		entry |= strchr(rights, 'w') ? 2u : 0u;
		entry |= strchr(rights, 'x') ? 4u : 0u;
		entry |= 6u << 3;
	}
	return entry;
}

sim_hpa_t tables_place(const struct tables *tables, sim_gpa_t gpa, enum sim_level level)
{
	sim_pfn_t table = tables->root.pfn;

	for (unsigned l = tables->root.level_count; l > level; l--) {
		sim_hpa_t place = sim_entry_hpa(table, index_of(gpa, (enum sim_level)l));
		uint64_t entry = sim_ram_read(tables->machine, place);

		if (!(entry & ADDRESS_MASK)) {
			table = sim_ram_alloc(tables->machine, SIM_FRAME_TABLE);
			assert_int_not_equal(table.n, SIM_PFN_NONE.n);
			sim_ram_write(tables->machine, place, tables_link(tables, table));
		} else {
			table = sim_pfn((entry & ADDRESS_MASK) / SIM_PAGE_BYTES);
		}
	}
	return sim_entry_hpa(table, index_of(gpa, level));
}

uint64_t tables_get(const struct tables *tables, sim_gpa_t gpa, enum sim_level level)
{
	return sim_ram_read(tables->machine, tables_place(tables, gpa, level));
}

void tables_set(const struct tables *tables, sim_gpa_t gpa, enum sim_level level, uint64_t entry)
{
	sim_ram_write(tables->machine, tables_place(tables, gpa, level), entry);
}

sim_pfn_t tables_below(const struct tables *tables, sim_gpa_t gpa, enum sim_level level)
{
	return sim_pfn((tables_get(tables, gpa, level) & ADDRESS_MASK) / SIM_PAGE_BYTES);
}

void tables_map(const struct tables *tables, sim_gpa_t gpa, sim_pfn_t pfn, enum sim_level level,
		const char *rights)
{
	tables_set(tables, gpa, level, tables_leaf(tables, pfn, level, rights));
}

void tables_unmap(const struct tables *tables, sim_gpa_t gpa, enum sim_level level)
{
	tables_set(tables, gpa, level, 0);
}

uint64_t tables_accessed_bit(const struct tables *tables)
{
	return tables->root.format == SIM_NPT ? 1u << 5 : 1u << 8;
}

uint64_t tables_dirty_bit(const struct tables *tables)
{
	return tables->root.format == SIM_NPT ? 1u << 6 : 1u << 9;
}

struct sim_machine *machine_new(enum sim_cpu_mode mode)
{
	struct sim_machine *machine =
		sim_machine_new(&(struct sim_config){.mode = mode, .cpu_count = 2});

	assert_non_null(machine);
	return machine;
}

void machine_end(struct sim_machine *machine)
{
	sim_violations_print(machine, stderr);
	assert_int_equal(sim_violation_count(machine), 0);
	sim_machine_free(machine);
}

void assert_violation(struct sim_machine *machine, const char *words)
{
	const char *text = sim_violation_text(machine, 0);

	assert_int_equal(sim_violation_count(machine), 1);
	assert_non_null(text);
	if (!strstr(text, words))
		fail_msg("violation \"%s\" does not say \"%s\"", text, words);
	sim_violations_clear(machine);
}
