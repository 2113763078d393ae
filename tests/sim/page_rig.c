/* SPDX-License-Identifier: MIT */
#include "page_rig.h"

struct page_rig page_rig_new(enum sim_format format, enum sim_cpu_mode mode)
{
	struct page_rig rig = {.machine = machine_new(mode)};

	rig.tables = tables_new(rig.machine, format);
	rig.old = sim_ram_alloc(rig.machine, SIM_FRAME_GUEST);
	rig.new = sim_ram_alloc(rig.machine, SIM_FRAME_GUEST);
	sim_ram_write(rig.machine, sim_entry_hpa(rig.old, 0), OLD_VALUE);
	sim_ram_write(rig.machine, sim_entry_hpa(rig.new, 0), NEW_VALUE);
	rig.cpu = sim_machine_cpu(rig.machine, 0);
	sim_cpu_set_root(rig.cpu, &rig.tables.root);
	sim_cpu_set_root(sim_machine_cpu(rig.machine, 1), &rig.tables.root);
	tables_map(&rig.tables, GPA, rig.old, SIM_LEVEL_4K, "rwx");
	return rig;
}

void page_rig_map_new(struct page_rig *rig)
{
	tables_map(&rig->tables, GPA, rig->new, SIM_LEVEL_4K, "rwx");
}

uint64_t page_rig_load(struct sim_cpu *cpu)
{
	uint64_t value;

	(void)sim_cpu_load(cpu, GPA, &value);
	return value;
}

void for_both(void (*check)(enum sim_format format))
{
	check(SIM_NPT);
	check(SIM_EPT);
}
