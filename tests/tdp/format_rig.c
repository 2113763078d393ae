/* SPDX-License-Identifier: MIT */
#include "format_rig.h"

#define WIDTHS 7u

struct format_cpu format_cpu(unsigned number)
{
	static const uint8_t widths[WIDTHS] = {36, 39, 40, 46, 48, 51, 52};
	unsigned width = widths[number % WIDTHS], levels = 4 + number / WIDTHS % 2;
	unsigned variant = number / (2 * WIDTHS); /* 0, 1: NPT; 2..5: EPT */
	bool npt = variant < 2;
	struct format_cpu cpu = {
		.config =
			{
				.format = npt ? VMMU_FORMAT_NPT : VMMU_FORMAT_EPT,
				.root_level = levels,
				.physical_bits = width,
				.max_leaf = VMMU_LEVEL_1G,
				.spaces = 1,
				.no_accessed_dirty = !npt && (variant & 1),
			},
		.root =
			{
				.format = npt ? SIM_NPT : SIM_EPT,
				.level_count = (uint8_t)levels,
				.maxphyaddr = (uint8_t)width,
				.has_nx = true,
				.has_1g = true,
				.has_exec_only = variant >= 4,
				.has_ad = !(!npt && (variant & 1)),
				.rsvd_without_p = variant == 1,
				.tag = 1,
			},
	};

	assert_true(number < FORMAT_CPUS);
	vmmu_fmt_init(&cpu.fmt, &cpu.config);
	cpu.fmt.generation_mask = VMMU_BIT(VMMU_MMIO_GENERATION_BITS) - 1;
	return cpu;
}

uint64_t format_gpa(const struct format_cpu *cpu)
{
	return cpu->root.level_count == 4 ? UINT64_C(0x123456789ab8) : UINT64_C(0xb123456789ab8);
}

struct vmmu_leaf format_leaf(unsigned number, enum vmmu_level level, uint64_t pfn)
{
	static const enum vmmu_memtype types[5] = {VMMU_MEMTYPE_UC, VMMU_MEMTYPE_WC,
						   VMMU_MEMTYPE_WT, VMMU_MEMTYPE_WP,
						   VMMU_MEMTYPE_WB};

	assert_true(number < FORMAT_LEAVES);
	return (struct vmmu_leaf){
		.pfn = {pfn},
		.level = level,
		.access = VMMU_ACCESS_READ | (number & 1 ? VMMU_ACCESS_WRITE : 0) |
			  (number & 2 ? VMMU_ACCESS_EXEC : 0),
		.accessed = number & 4,
		.dirty = number & 8,
		.memtype = types[number / 16],
	};
}

uint64_t format_pfn(const struct format_cpu *cpu, enum vmmu_level level, unsigned number)
{
	uint64_t frames = vmmu_level_frames(level);
	uint64_t all = UINT64_C(1) << (cpu->config.physical_bits - VMMU_PAGE_SHIFT);

	switch (number) {
	case 0:
		return 0;
	case 1:
		return frames;
	case 2:
		return UINT64_C(0x5a5a5a5a5a) & (all - 1) & ~(frames - 1);
	default:
		return all - frames;
	}
}

struct sim_path format_path(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e)
{
	uint64_t last = (UINT64_C(1) << (cpu->config.physical_bits - VMMU_PAGE_SHIFT)) - 1;
	struct sim_path path;

	for (unsigned l = 0; l <= 5; l++)
		path.entry[l] = UINT64_MAX;
	for (unsigned l = cpu->root.level_count; l > level; l--)
		path.entry[l] = spte_table(&cpu->fmt, (vmmu_pfn_t){last - l}).raw;
	path.entry[level] = e.raw;
	return path;
}

struct sim_verdict format_judge(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e,
				uint64_t gpa, enum sim_access_kind kind)
{
	struct sim_path path = format_path(cpu, level, e);

	return sim_spec_verdict(&cpu->root, &path, sim_gpa(gpa), kind);
}

uint32_t format_needs(const struct format_cpu *cpu, enum sim_access_kind kind)
{
	bool npt = cpu->root.format == SIM_NPT;

	switch (kind) {
	case SIM_READ:
		return VMMU_ACCESS_READ;
	case SIM_WRITE:
		return VMMU_ACCESS_WRITE;
	case SIM_EXEC:
		return VMMU_ACCESS_EXEC;
	case SIM_TABLE_READ: /* the CPU may want to set accessed: a write, where flags are on */
		if (npt)
			return VMMU_ACCESS_WRITE;
		return VMMU_ACCESS_READ | (cpu->root.has_ad ? VMMU_ACCESS_WRITE : 0);
	case SIM_TABLE_WRITE:
		return npt ? VMMU_ACCESS_WRITE : VMMU_ACCESS_READ | VMMU_ACCESS_WRITE;
	case SIM_ACCESS_KINDS:
		break;
	}
	return 0;
}

void format_fail(const struct format_cpu *cpu, enum vmmu_level level, vmmu_spte_t e,
		 const char *what)
{
	fail_msg("%s: %s, %u levels, %u address bits, accessed/dirty %d, execute-only %d: "
		 "entry 0x%016llx at level %d",
		 what, cpu->fmt.name, cpu->root.level_count, cpu->config.physical_bits,
		 cpu->root.has_ad, cpu->root.has_exec_only, (unsigned long long)e.raw, (int)level);
}

bool format_leaks_address(const struct format_cpu *cpu, vmmu_spte_t e)
{
	unsigned width = cpu->config.physical_bits;
	uint64_t address = e.raw & VMMU_MASK(width - 1, VMMU_PAGE_SHIFT);

	/* Frame 0 holds nothing of value; the top 32nd of the address space is no memory. */
	return address && address >> (width - 5) != 31;
}

/* ---- in memory ---- */

void format_walk_begin(struct format_walk *walk, const struct format_cpu *cpu)
{
	struct sim_config config = {.mode = SIM_CPU_NEVER_STALE, .frame_count = 64};

	*walk = (struct format_walk){.cpu = *cpu, .machine = sim_machine_new(&config)};
	assert_non_null(walk->machine);
	for (unsigned l = 1; l <= cpu->root.level_count; l++)
		walk->table[l] = sim_ram_alloc(walk->machine, SIM_FRAME_TABLE);
	walk->cpu.root.pfn = walk->table[cpu->root.level_count];
	sim_cpu_set_root(sim_machine_cpu(walk->machine, 0), &walk->cpu.root);
}

void format_walk_end(struct format_walk *walk)
{
	assert_int_equal(sim_violation_count(walk->machine), 0);
	sim_machine_free(walk->machine);
}

struct sim_result format_walk_access(struct format_walk *walk, enum vmmu_level level, vmmu_spte_t e,
				     enum sim_access_kind kind, vmmu_spte_t *after)
{
	uint64_t gpa = format_gpa(&walk->cpu);
	vmmu_gfn_t gfn = vmmu_gpa_to_gfn((vmmu_gpa_t){gpa});
	struct sim_result result;
	sim_hpa_t place;

	for (unsigned l = walk->cpu.root.level_count; l > level; l--)
		sim_ram_write(walk->machine, sim_entry_hpa(walk->table[l], gfn_index(gfn, l)),
			      spte_table(&walk->cpu.fmt, (vmmu_pfn_t){walk->table[l - 1].n}).raw);
	place = sim_entry_hpa(walk->table[level], gfn_index(gfn, level));
	sim_ram_write(walk->machine, place, e.raw);
	result = sim_cpu_access(sim_machine_cpu(walk->machine, 0), sim_gpa(gpa), kind);
	after->raw = sim_ram_read(walk->machine, place);
	return result;
}
