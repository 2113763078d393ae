/* SPDX-License-Identifier: MIT */
/*
 * vmmu_spte_problem(): what it lets pass and what it notices. The reference is the builders: an
 * entry is right if there are arguments from which the library builds it, up to the accessed and
 * dirty bits that the hardware may have set since.
 */
#include "format_rig.h"

static bool frame_is_addressable(const struct format_cpu *cpu, vmmu_spte_t e)
{
	return !(spte_pfn(e).n >> (cpu->config.physical_bits - VMMU_PAGE_SHIFT));
}

static bool is_some_leaf(const struct format_cpu *cpu, vmmu_spte_t e, enum vmmu_level level)
{
	if (level > VMMU_LEVEL_1G || !frame_is_addressable(cpu, e) ||
	    spte_pfn(e).n & (vmmu_level_frames(level) - 1))
		return false;
	for (unsigned n = 0; n < FORMAT_LEAVES; n++) {
		struct vmmu_leaf leaf = format_leaf(n, level, spte_pfn(e).n);

		/* With or without the mark of a harvest, where there is one. */
		if (vmmu_spte_leaf(&cpu->fmt, &leaf).raw == (e.raw & ~cpu->fmt.saved_write))
			return true;
	}
	return false;
}

static bool is_some_table(const struct format_cpu *cpu, vmmu_spte_t e, enum vmmu_level level)
{
	uint64_t built = spte_table(&cpu->fmt, spte_pfn(e)).raw;
	uint64_t flags = cpu->root.format == SIM_NPT ? 1u << 5 : cpu->root.has_ad ? 1u << 8 : 0;

	/* With or without the mark of a harvest, where there are dirty flags. */
	if (flags && level == VMMU_LEVEL_2M)
		flags |= VMMU_SPTE_USED;
	return level > VMMU_LEVEL_4K && frame_is_addressable(cpu, e) &&
	       (e.raw | flags) == (built | flags);
}

/* Is there anything that the library builds at this level and that looks like this? */
static bool is_of_the_library(const struct format_cpu *cpu, vmmu_spte_t e, enum vmmu_level level)
{
	if (!e.raw || e.raw == spte_frozen().raw)
		return true;
	if (fmt_has_mmio(&cpu->fmt) && level == VMMU_LEVEL_4K &&
	    vmmu_spte_mmio(&cpu->fmt, vmmu_spte_mmio_generation(e)).raw == e.raw)
		return true;
	return is_some_leaf(cpu, e, level) || is_some_table(cpu, e, level);
}

/* ---- all entries of a CPU at a level, one by one ---- */

#define SPECIALS 2u /* empty, frozen */
#define TABLES FORMAT_PFNS
#define LEAVES (FORMAT_PFNS * FORMAT_LEAVES)
#define DEVICES (2u * VMMU_MMIO_GENERATION_BITS)
#define ENTRIES (SPECIALS + TABLES + LEAVES + DEVICES)

/* Return: false, there is no such entry on this CPU at this level. */
static bool nth_entry(const struct format_cpu *cpu, enum vmmu_level level, unsigned n,
		      vmmu_spte_t *e)
{
	if (n < SPECIALS) {
		*e = n ? spte_frozen() : spte_empty();
		return true;
	}
	n -= SPECIALS;
	if (n < TABLES) {
		*e = spte_table(&cpu->fmt, (vmmu_pfn_t){format_pfn(cpu, VMMU_LEVEL_4K, n)});
		return level > VMMU_LEVEL_4K;
	}
	n -= TABLES;
	if (n < LEAVES) {
		struct vmmu_leaf leaf;

		if (level > VMMU_LEVEL_1G)
			return false;
		leaf = format_leaf(n % FORMAT_LEAVES, level,
				   format_pfn(cpu, level, n / FORMAT_LEAVES));
		*e = vmmu_spte_leaf(&cpu->fmt, &leaf);
		return true;
	}
	n -= LEAVES;
	*e = vmmu_spte_mmio(&cpu->fmt, UINT64_C(1) << n / 2 ^ (n & 1 ? UINT64_MAX : 0));
	return level == VMMU_LEVEL_4K && fmt_has_mmio(&cpu->fmt);
}

void what_the_library_builds_is_accepted(void **state)
{
	uint64_t accepted = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		for (unsigned n = 0; n < cpu.root.level_count * ENTRIES; n++) {
			enum vmmu_level level = 1 + n / ENTRIES;
			const char *problem;
			vmmu_spte_t e;

			if (!nth_entry(&cpu, level, n % ENTRIES, &e))
				continue;
			problem = vmmu_spte_problem(&cpu.fmt, e, level);
			if (problem)
				format_fail(&cpu, level, e, problem);
			accepted++;
		}
	}
	print_message("# %llu entries\n", (unsigned long long)accepted);
	/* Specials at 4 and 5 levels, tables above the lowest, leaves at three, devices at one. */
	assert_int_equal(accepted, 42 * 2 * 9 + 42 * 4 * (3 + 4) + 84 * 3 * 320 + 80 * 34);
}

/* A leaf or a table that the hardware would take for damaged, not for a translation. */
void an_address_beyond_the_width_of_the_cpu_is_noticed(void **state)
{
	uint64_t looked_at = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		for (unsigned bit = cpu.config.physical_bits; bit < 52; bit++) {
			struct vmmu_leaf leaf = format_leaf(64 + 3, VMMU_LEVEL_4K, 0x1000);
			vmmu_spte_t e = {vmmu_spte_leaf(&cpu.fmt, &leaf).raw | VMMU_BIT(bit)};

			assert_true(sim_spec_is_reserved(&cpu.root, e.raw, SIM_LEVEL_4K));
			if (!vmmu_spte_problem(&cpu.fmt, e, VMMU_LEVEL_4K))
				format_fail(&cpu, VMMU_LEVEL_4K, e, "a leaf passes");
			e.raw = spte_table(&cpu.fmt, leaf.pfn).raw | VMMU_BIT(bit);
			assert_true(sim_spec_is_reserved(&cpu.root, e.raw, SIM_LEVEL_2M));
			if (!vmmu_spte_problem(&cpu.fmt, e, VMMU_LEVEL_2M))
				format_fail(&cpu, VMMU_LEVEL_2M, e, "a table passes");
			looked_at++;
		}
	}
	assert_int_equal(looked_at, 12 * (16 + 13 + 12 + 6 + 4 + 1));
}

void a_memory_type_that_the_library_never_writes_is_noticed(void **state)
{
	uint64_t noticed = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);
		unsigned shift = 3, bits = cpu.root.format == SIM_NPT ? 2 : 4;

		for (uint64_t type = 0; type < UINT64_C(1) << bits; type++) {
			struct vmmu_leaf leaf = format_leaf(64 + 3, VMMU_LEVEL_2M, 0x1000);
			vmmu_spte_t e = vmmu_spte_leaf(&cpu.fmt, &leaf);
			bool known;

			e.raw = (e.raw & ~VMMU_MASK(shift + bits - 1, shift)) | type << shift;
			known = is_some_leaf(&cpu, e, VMMU_LEVEL_2M);
			if (known != !vmmu_spte_problem(&cpu.fmt, e, VMMU_LEVEL_2M))
				format_fail(&cpu, VMMU_LEVEL_2M, e,
					    known ? "a type of its own is refused" : "it passes");
			noticed += !known;
		}
	}
	/* NPT: UC- alone. EPT: 2, 3, 7, which no CPU accepts, and all that ignore the PAT. */
	assert_int_equal(noticed, 28 * 1 + 56 * (3 + 8));
}

/* ---- flips ---- */

void each_bit_flip_is_noticed_unless_it_gives_another_entry_of_the_library(void **state)
{
	uint64_t noticed = 0, passed = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		for (unsigned n = 0; n < cpu.root.level_count * ENTRIES * 64; n++) {
			enum vmmu_level level = 1 + n / (ENTRIES * 64);
			const char *problem;
			vmmu_spte_t e;

			if (!nth_entry(&cpu, level, n / 64 % ENTRIES, &e))
				continue;
			e.raw ^= VMMU_BIT(n % 64);
			problem = vmmu_spte_problem(&cpu.fmt, e, level);
			if (problem && is_of_the_library(&cpu, e, level))
				format_fail(&cpu, level, e, problem);
			if (!problem && !is_of_the_library(&cpu, e, level))
				format_fail(&cpu, level, e, "a flipped bit passes");
			noticed += problem != NULL;
			passed += !problem;
		}
	}
	print_message("# %llu flips noticed, %llu give another entry\n",
		      (unsigned long long)noticed, (unsigned long long)passed);
	assert_int_equal(noticed + passed,
			 64 * (42 * 2 * 9 + 42 * 4 * (3 + 4) + 84 * 3 * 320 + 80 * 34));
	assert_true(noticed > passed);
}

/* Bits whose flip is noticed in each entry of the kind at the level. */
static uint64_t always_noticed(const struct format_cpu *cpu, enum vmmu_kind kind,
			       enum vmmu_level level)
{
	uint64_t always = UINT64_MAX, entries = 0;

	for (unsigned n = 0; n < ENTRIES; n++) {
		vmmu_spte_t e;

		if (!nth_entry(cpu, level, n, &e) || spte_kind(e) != kind)
			continue;
		entries++;
		for (unsigned bit = 0; bit < 64; bit++) {
			vmmu_spte_t flipped = {e.raw ^ VMMU_BIT(bit)};

			if (!vmmu_spte_problem(&cpu->fmt, flipped, level))
				always &= ~VMMU_BIT(bit);
		}
	}
	assert_true(entries > 0);
	return always;
}

struct statement {
	enum vmmu_format format;
	enum vmmu_kind kind;
	enum vmmu_level level;
	uint64_t noticed;
};

/* With 40 address bits, 4 levels, and accessed and dirty flags. */
void the_bits_whose_flip_is_always_noticed_are_these(void **state)
{
	const uint64_t kind = VMMU_MASK(56, 54), unused = VMMU_MASK(53, 52) | VMMU_MASK(62, 57);
	const uint64_t wide = VMMU_MASK(51, 40), npt_low = VMMU_MASK(11, 8) | 1 << 0 | 1 << 2;
	const uint64_t ept_low = VMMU_MASK(11, 10) | 1 << 0 | 1 << 6, nx = VMMU_BIT(63);
	const uint64_t common = kind | unused | wide | 1 << 7, table = common | nx | 0xfff;
	const struct statement statements[] = {
		/* of a leaf: not rights, accessed, dirty, PWT (UC and WT differ), frame */
		{VMMU_FORMAT_NPT, VMMU_KIND_LEAF, 1, common | npt_low},
		{VMMU_FORMAT_NPT, VMMU_KIND_LEAF, 2, common | npt_low | VMMU_MASK(20, 12)},
		{VMMU_FORMAT_NPT, VMMU_KIND_LEAF, 3, common | npt_low | VMMU_MASK(29, 12)},
		{VMMU_FORMAT_EPT, VMMU_KIND_LEAF, 1, common | nx | ept_low},
		{VMMU_FORMAT_EPT, VMMU_KIND_LEAF, 2, common | nx | ept_low | VMMU_MASK(20, 12)},
		{VMMU_FORMAT_EPT, VMMU_KIND_LEAF, 3, common | nx | ept_low | VMMU_MASK(29, 12)},
		/* of a table: not accessed, frame, at the lowest level a harvest's mark */
		{VMMU_FORMAT_NPT, VMMU_KIND_TABLE, 2, table & ~(VMMU_SPTE_USED | 1u << 5)},
		{VMMU_FORMAT_EPT, VMMU_KIND_TABLE, 2, table & ~(VMMU_SPTE_USED | 1u << 8)},
		{VMMU_FORMAT_EPT, VMMU_KIND_TABLE, 3, table & ~(uint64_t)(1u << 8)},
		/* of a device: not the generation */
		{VMMU_FORMAT_NPT, VMMU_KIND_MMIO, 1, kind | nx | VMMU_MASK(51, 12) | 7},
		{VMMU_FORMAT_EPT, VMMU_KIND_MMIO, 1, kind | nx | VMMU_MASK(51, 12) | 7},
		/* of nothing: all but the one bit between empty and frozen */
		{VMMU_FORMAT_NPT, VMMU_KIND_EMPTY, 1, ~VMMU_BIT(56)},
		{VMMU_FORMAT_EPT, VMMU_KIND_FROZEN, 4, ~VMMU_BIT(56)},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		const struct statement *s = &statements[i];
		struct format_cpu cpu = format_cpu(s->format == VMMU_FORMAT_NPT ? 2 : 28 + 2);

		assert_int_equal(cpu.config.physical_bits, 40);
		assert_int_equal(cpu.config.format, s->format);
		if (always_noticed(&cpu, s->kind, s->level) != s->noticed)
			format_fail(
				&cpu, s->level,
				(vmmu_spte_t){always_noticed(&cpu, s->kind, s->level) ^ s->noticed},
				"these bits of some kind are not as stated");
	}
}
