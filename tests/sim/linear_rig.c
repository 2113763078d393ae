/* SPDX-License-Identifier: MIT */
#include "linear_rig.h"

#define ADDRESS_MASK UINT64_C(0x000ffffffffff000)

struct linear_regs linear_rig_regs(enum linear_mode mode)
{
	return (struct linear_regs){
		.mode = mode,
		.vendor = LINEAR_AMD,
		.wp = true,
		.pse = true,
		.nxe = true,
		.maxphyaddr = 46,
		.pse36_width = 40,
		.has_1g = true,
	};
}

/* PAE wants its PDPTEs below 4 GiB, so this RAM starts low. */
struct linear_rig linear_rig_new(enum linear_mode mode, enum sim_cpu_mode cpu_mode)
{
	struct sim_config config = {.cpu_count = 2, .mode = cpu_mode, .base_pfn = 0x40000};
	struct linear_rig rig = {.machine = sim_machine_new(&config)};
	struct linear_cpu *second;

	assert_non_null(rig.machine);
	rig.cpu = linear_cpu_of(sim_machine_cpu(rig.machine, 0));
	second = linear_cpu_of(sim_machine_cpu(rig.machine, 1));
	rig.regs = linear_rig_regs(mode);
	rig.regs.cr3 = sim_ram_alloc(rig.machine, SIM_FRAME_TABLE).n * SIM_PAGE_BYTES;
	linear_rig_load(&rig);
	assert_int_equal(linear_cpu_load(second, &rig.regs, 1), LINEAR_LOADED);
	return rig;
}

static enum linear_memory read_ram(void *context, sim_gpa_t gpa, uint64_t *value)
{
	struct sim_machine *machine = context;
	enum sim_frame_state state = sim_ram_state(machine, sim_pfn(gpa.bytes >> SIM_PAGE_SHIFT));

	if (state != SIM_FRAME_TABLE && state != SIM_FRAME_GUEST)
		return LINEAR_HOLE;
	*value = sim_ram_read(machine, (sim_hpa_t){gpa.bytes});
	return LINEAR_RAM;
}

void linear_rig_watch(struct linear_rig *rig)
{
	rig->oracle = linear_oracle_new(2, read_ram, rig->machine);
	assert_non_null(rig->oracle);
	linear_oracle_reset(rig->oracle, 0, linear_cpu_regs(rig->cpu));
	linear_oracle_reset(rig->oracle, 1, linear_cpu_regs(rig->cpu));
}

void linear_rig_end(struct linear_rig *rig)
{
	linear_oracle_free(rig->oracle);
	machine_end(rig->machine);
}

void linear_rig_load(struct linear_rig *rig)
{
	assert_int_equal(linear_cpu_load(rig->cpu, &rig->regs, 1), LINEAR_LOADED);
	rig->regs = *linear_cpu_regs(rig->cpu);
}

static unsigned index_of(uint64_t gva, enum sim_level level)
{
	return (unsigned)(gva / SIM_PAGE_BYTES / sim_level_pages(level) % SIM_TABLE_ENTRIES);
}

static void store(struct linear_rig *rig, sim_hpa_t where, uint64_t value)
{
	uint64_t old = sim_ram_read(rig->machine, where);

	sim_ram_write(rig->machine, where, value);
	if (rig->oracle)
		linear_oracle_wrote(rig->oracle, sim_gpa(where.bytes), 8, old, value);
}

sim_hpa_t linear_rig_place(struct linear_rig *rig, uint64_t gva, enum sim_level level)
{
	static const unsigned tops[] = {0, 2, 3, 4, 5};
	unsigned at = tops[rig->regs.mode];
	uint64_t table = rig->regs.cr3 & ADDRESS_MASK;
	sim_hpa_t where;

	for (;; at--) {
		bool is_pdpte = rig->regs.mode == LINEAR_PAE && at == 3;
		unsigned index = index_of(gva, (enum sim_level)at);
		sim_pfn_t next;
		uint64_t entry;

		where = (sim_hpa_t){table + 8 * (is_pdpte ? index & 3 : index)};
		if (at == level)
			return where;
		entry = sim_ram_read(rig->machine, where);
		if (!(entry & LP)) {
			next = sim_ram_alloc(rig->machine, SIM_FRAME_TABLE);
			entry = next.n * SIM_PAGE_BYTES | (is_pdpte ? LP : LPWU);
			store(rig, where, entry);
			if (is_pdpte)
				linear_rig_load(rig);
		}
		table = entry & ADDRESS_MASK;
	}
}

uint64_t linear_rig_get(struct linear_rig *rig, uint64_t gva, enum sim_level level)
{
	return sim_ram_read(rig->machine, linear_rig_place(rig, gva, level));
}

void linear_rig_set(struct linear_rig *rig, uint64_t gva, enum sim_level level, uint64_t entry)
{
	store(rig, linear_rig_place(rig, gva, level), entry);
}

uint64_t linear_rig_leaf(sim_pfn_t pfn, enum sim_level level, uint64_t flags)
{
	return pfn.n * SIM_PAGE_BYTES | flags | (level > SIM_LEVEL_4K ? LPS : 0);
}

struct linear_access linear_read_of(uint64_t gva)
{
	return (struct linear_access){.gva = sim_gva(gva), .kind = LINEAR_READ};
}

struct linear_access linear_write_of(uint64_t gva)
{
	return (struct linear_access){.gva = sim_gva(gva), .kind = LINEAR_WRITE};
}

struct linear_result linear_rig_read(struct linear_rig *rig, uint64_t gva)
{
	struct linear_access access = linear_read_of(gva);

	return linear_cpu_access(rig->cpu, &access);
}

struct linear_result linear_rig_write(struct linear_rig *rig, uint64_t gva)
{
	struct linear_access access = linear_write_of(gva);

	return linear_cpu_access(rig->cpu, &access);
}

sim_pfn_t linear_rig_pfn(struct linear_result result)
{
	return sim_pfn(result.hpa.bytes >> SIM_PAGE_SHIFT);
}
