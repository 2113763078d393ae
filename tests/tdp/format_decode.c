/* SPDX-License-Identifier: MIT */
/* What the walkers report, and what the library reads from it; and what walkers do to leaves. */
#include "format_rig.h"

#define KINDS ((unsigned)SIM_ACCESS_KINDS)

static struct vmmu_fault decode(const struct sim_result *r)
{
	if (r->outcome == SIM_NPF)
		return vmmu_fault_from_npf(r->info, r->gpa.bytes);
	if (r->outcome == SIM_EPT_MISCONFIG)
		return vmmu_fault_from_ept_misconfig(r->gpa.bytes);
	return vmmu_fault_from_ept(r->info, r->gpa.bytes);
}

/* What an entry does to an access that it does not let through. */
enum trouble { ABSENT, DENIED, RESERVED, TROUBLES };

static struct vmmu_fault expected(const struct format_cpu *cpu, enum trouble trouble,
				  enum sim_access_kind kind)
{
	struct vmmu_fault fault = {.gpa = {format_gpa(cpu)}, .access = format_needs(cpu, kind)};
	bool misconfig = trouble == RESERVED && cpu->root.format == SIM_EPT;

	if (misconfig) /* the hardware says nothing about the access */
		fault.access = VMMU_ACCESS_READ;
	else if (kind == SIM_TABLE_READ || kind == SIM_TABLE_WRITE)
		fault.flags |= VMMU_FAULT_TABLE;
	if (trouble == RESERVED)
		fault.flags |= VMMU_FAULT_RESERVED;
	if (trouble == DENIED || (trouble == RESERVED && !cpu->root.rsvd_without_p) || misconfig)
		fault.flags |= VMMU_FAULT_PRESENT;
	return fault;
}

/* Entries that make trouble: empty, frozen, leaves with too few rights, device, reserved bit. */
#define ENTRIES 7u

static bool nth_entry(const struct format_cpu *cpu, unsigned n, enum vmmu_level level,
		      vmmu_spte_t *e, enum trouble *trouble)
{
	struct vmmu_leaf leaf = format_leaf(64 + n % 4, level, vmmu_level_frames(level));
	bool reserved = cpu->config.physical_bits < 52;

	switch (n) {
	case 0:
	case 1:
	case 2: /* read; read and write; read and execute */
		*e = vmmu_spte_leaf(&cpu->fmt, &leaf);
		*trouble = DENIED;
		return level <= VMMU_LEVEL_1G;
	case 3:
		*e = spte_empty();
		*trouble = ABSENT;
		return true;
	case 4:
		*e = spte_frozen();
		*trouble = ABSENT;
		return true;
	case 5:
		*e = vmmu_spte_mmio(&cpu->fmt, 0x1abcd);
		*trouble = RESERVED;
		return level == VMMU_LEVEL_4K && fmt_has_mmio(&cpu->fmt);
	default:
		*e = spte_table(&cpu->fmt, leaf.pfn);
		e->raw |= VMMU_BIT(51);
		*trouble = RESERVED;
		return level > VMMU_LEVEL_4K && reserved;
	}
}

void every_fault_of_the_walkers_is_decoded(void **state)
{
	uint64_t faults[TROUBLES] = {0};

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);
		unsigned rounds = cpu.root.level_count * ENTRIES * KINDS;
		struct format_walk walk;

		format_walk_begin(&walk, &cpu);
		for (unsigned n = 0; n < rounds; n++) {
			enum vmmu_level level = 1 + n / (ENTRIES * KINDS);
			enum sim_access_kind kind = n % KINDS;
			struct vmmu_fault got, want;
			struct sim_result r;
			enum trouble trouble;
			vmmu_spte_t e, after;

			if (!nth_entry(&cpu, n / KINDS % ENTRIES, level, &e, &trouble))
				continue;
			r = format_walk_access(&walk, level, e, kind, &after);
			if (trouble == DENIED && r.outcome == SIM_OK)
				continue;
			got = decode(&r);
			want = expected(&cpu, trouble, kind);
			if (got.gpa.addr != want.gpa.addr || got.access != want.access)
				format_fail(&cpu, level, e, "another address or access is read");
			if (got.flags != want.flags)
				format_fail(&cpu, level, e, "other flags are read");
			faults[trouble]++;
		}
		format_walk_end(&walk);
	}
	print_message("# %llu absent, %llu denied, %llu reserved\n",
		      (unsigned long long)faults[ABSENT], (unsigned long long)faults[DENIED],
		      (unsigned long long)faults[RESERVED]);
	assert_int_equal(faults[ABSENT], 42 * 2 * 5 * (4 + 5));
	/* A reader denies four kinds, a writer one, an executor three; without flags EPT lets the
	 * guest's walks read. */
	assert_int_equal(faults[DENIED], 3 * (28 * 8 + 28 * 8 + 28 * 6));
	assert_int_equal(faults[RESERVED], 5 * (80 + 12 * 3 * (3 + 4)));
}

/* ---- accessed, dirty and memory type ---- */

/* The effective type: EPT names it, NPT through the PAT as a CPU comes out of reset. */
static unsigned type_of(const struct format_cpu *cpu, const struct sim_result *r)
{
	static const uint8_t pat[8] = {6, 4, 7, 0, 6, 4, 7, 0};

	return cpu->root.format == SIM_NPT ? pat[r->memory_type & 7] : r->memory_type;
}

static void check_effect(const struct format_walk *walk, const struct vmmu_leaf *leaf,
			 const struct sim_result *r, enum sim_access_kind kind, vmmu_spte_t after)
{
	const struct format_cpu *cpu = &walk->cpu;
	bool writes = format_needs(cpu, kind) & VMMU_ACCESS_WRITE;
	unsigned type = leaf->memtype;

	if (cpu->root.format == SIM_NPT && type != VMMU_MEMTYPE_WT && type != VMMU_MEMTYPE_WB)
		type = VMMU_MEMTYPE_UC; /* WC and WP are not to be had */
	if (type_of(cpu, r) != type || r->ignore_pat)
		format_fail(cpu, leaf->level, after, "it has another memory type");
	if (spte_is_accessed(&cpu->fmt, after) != cpu->root.has_ad)
		format_fail(cpu, leaf->level, after, "accessed is not seen");
	if (cpu->root.has_ad && spte_is_dirty(&cpu->fmt, after) != (leaf->dirty || writes))
		format_fail(cpu, leaf->level, after, "dirty is not seen");
	if (vmmu_spte_problem(&cpu->fmt, after, leaf->level))
		format_fail(cpu, leaf->level, after, "it is damaged afterwards");
}

void what_the_walkers_do_to_a_leaf_is_what_the_library_reads(void **state)
{
	uint64_t through = 0, denied = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);
		struct format_walk walk;

		format_walk_begin(&walk, &cpu);
		for (unsigned n = 0; n < 3 * FORMAT_LEAVES * KINDS; n++) {
			enum vmmu_level level = 1 + n / (FORMAT_LEAVES * KINDS);
			struct vmmu_leaf leaf = format_leaf(n / KINDS % FORMAT_LEAVES, level,
							    format_pfn(&cpu, level, 3));
			vmmu_spte_t e = vmmu_spte_leaf(&cpu.fmt, &leaf), after;
			struct sim_result r =
				format_walk_access(&walk, level, e, n % KINDS, &after);

			if (r.outcome == SIM_OK) {
				check_effect(&walk, &leaf, &r, n % KINDS, after);
				through++;
			} else {
				assert_int_equal(e.raw, after.raw);
				denied++;
			}
		}
		format_walk_end(&walk);
	}
	print_message("# %llu accesses go through, %llu do not\n", (unsigned long long)through,
		      (unsigned long long)denied);
	assert_int_equal(through + denied, 84 * 3 * 80 * 5);
	assert_int_equal(denied, 3 * 20 * (28 * 8 + 28 * 8 + 28 * 6));
}

/* ---- codes bit by bit, also those that no walker reports ---- */

void every_npf_code_is_decoded_bit_by_bit(void **state)
{
	uint64_t looked_at = 0;

	(void)state;
	for (uint64_t n = 0; n < 1 << 10; n++, looked_at++) {
		uint64_t code = (n & 0x7f) | (n >> 7) << 31; /* bits 0..6 and 31..33 */
		struct vmmu_fault f = vmmu_fault_from_npf(code, UINT64_C(0xfedcba987654));
		uint32_t access = code & 2    ? VMMU_ACCESS_WRITE
				  : code & 16 ? VMMU_ACCESS_EXEC
					      : VMMU_ACCESS_READ;

		assert_int_equal(f.gpa.addr, UINT64_C(0xfedcba987654));
		assert_int_equal(f.access, access);
		assert_int_equal(!(f.flags & VMMU_FAULT_PRESENT), !(code & 1));
		assert_int_equal(!(f.flags & VMMU_FAULT_RESERVED), !(code & 8));
		assert_int_equal(!(f.flags & VMMU_FAULT_TABLE), !(code >> 33 & 1));
	}
	assert_int_equal(looked_at, 1024);
}

void every_ept_qualification_is_decoded_bit_by_bit(void **state)
{
	uint64_t looked_at = 0;

	(void)state;
	for (uint64_t q = 0; q < 1 << 13; q++, looked_at++) {
		struct vmmu_fault f = vmmu_fault_from_ept(q, UINT64_C(0xfedcba987654));
		bool table = (q & 0x80) && !(q & 0x100);

		assert_int_equal(f.gpa.addr, UINT64_C(0xfedcba987654));
		assert_int_equal(f.access, q & 7); /* read, write, fetch in the same order */
		assert_int_equal(!(f.flags & VMMU_FAULT_PRESENT), !(q & 0x38));
		assert_int_equal(!(f.flags & VMMU_FAULT_TABLE), !table);
		assert_false(f.flags & VMMU_FAULT_RESERVED);
	}
	assert_int_equal(looked_at, 8192);
}
