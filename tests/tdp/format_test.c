/* SPDX-License-Identifier: MIT */
/*
 * What the library's entries mean to the hardware: every entry it can build, judged by the
 * specification functions of the simulated machine, for every access. Each test says how many
 * combinations it looked at. Accesses are never made here: a verdict is a pure function.
 */
#include "format_rig.h"

#define KINDS ((unsigned)SIM_ACCESS_KINDS)

/* ---- leaves ---- */

static void judge_leaf(const struct format_cpu *cpu, const struct vmmu_leaf *leaf,
		       enum sim_access_kind kind)
{
	vmmu_spte_t e = vmmu_spte_leaf(&cpu->fmt, leaf);
	uint64_t gpa = format_gpa(cpu), bytes = vmmu_level_frames(leaf->level) << VMMU_PAGE_SHIFT;
	struct sim_verdict v = format_judge(cpu, leaf->level, e, gpa, kind);
	uint32_t needs = format_needs(cpu, kind);

	if (v.level != (enum sim_level)leaf->level)
		format_fail(cpu, leaf->level, e, "the hardware stops at another level");
	if (!(needs & ~leaf->access)) {
		if (v.outcome != SIM_OK)
			format_fail(cpu, leaf->level, e, "an access it allows does not go through");
		if (v.hpa.bytes != (leaf->pfn.n << VMMU_PAGE_SHIFT) + gpa % bytes)
			format_fail(cpu, leaf->level, e, "it leads elsewhere");
		if (cpu->root.has_ad && v.dirty != (leaf->dirty || (needs & VMMU_ACCESS_WRITE)))
			format_fail(cpu, leaf->level, e, "dirty is another bit to the hardware");
		return;
	}
	if (cpu->root.format == SIM_NPT
		    ? v.outcome != SIM_NPF || (v.info & SIM_NPF_RSVD) || !(v.info & SIM_NPF_P)
		    : v.outcome != SIM_EPT_VIOLATION)
		format_fail(cpu, leaf->level, e, "what it forbids is not a fault of rights");
}

static void read_leaf(const struct format_cpu *cpu, const struct vmmu_leaf *leaf)
{
	vmmu_spte_t e = vmmu_spte_leaf(&cpu->fmt, leaf);
	bool dirty = cpu->root.has_ad ? leaf->dirty : (leaf->access & VMMU_ACCESS_WRITE) != 0;

	if (spte_kind(e) != VMMU_KIND_LEAF || spte_pfn(e).n != leaf->pfn.n)
		format_fail(cpu, leaf->level, e, "kind or frame is not what went in");
	if (spte_access(&cpu->fmt, e) != leaf->access)
		format_fail(cpu, leaf->level, e, "the rights are not what went in");
	if (spte_is_accessed(&cpu->fmt, e) != (leaf->accessed && cpu->root.has_ad))
		format_fail(cpu, leaf->level, e, "accessed is not what went in");
	if (spte_is_dirty(&cpu->fmt, e) != dirty)
		format_fail(cpu, leaf->level, e, "dirty is not what went in");
}

static void a_leaf_gives_the_hardware_what_the_library_reads_from_it(void **state)
{
	uint64_t judged = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		for (unsigned n = 0; n < 3 * FORMAT_PFNS * FORMAT_LEAVES; n++) {
			enum vmmu_level level = 1 + n / (FORMAT_PFNS * FORMAT_LEAVES);
			uint64_t pfn = format_pfn(&cpu, level, n / FORMAT_LEAVES % FORMAT_PFNS);
			struct vmmu_leaf leaf = format_leaf(n % FORMAT_LEAVES, level, pfn);

			read_leaf(&cpu, &leaf);
			for (unsigned kind = 0; kind < KINDS; kind++, judged++)
				judge_leaf(&cpu, &leaf, (enum sim_access_kind)kind);
		}
	}
	print_message("# %llu combinations\n", (unsigned long long)judged);
	assert_int_equal(judged, 84 * 3 * 4 * 80 * 5);
}

/* ---- entries that must never translate ---- */

static bool is_absent(const struct format_cpu *cpu, const struct sim_verdict *v)
{
	if (cpu->root.format == SIM_NPT)
		return v->outcome == SIM_NPF && !(v->info & (SIM_NPF_P | SIM_NPF_RSVD));
	return v->outcome == SIM_EPT_VIOLATION &&
	       !(v->info & (SIM_EPTQ_CAN_READ | SIM_EPTQ_CAN_WRITE | SIM_EPTQ_CAN_EXEC));
}

static void empty_and_frozen_entries_are_absent_at_every_level(void **state)
{
	uint64_t judged = 0, expected = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		expected += 2u * cpu.root.level_count * KINDS;
		for (unsigned n = 0; n < 2u * cpu.root.level_count * KINDS; n++, judged++) {
			vmmu_spte_t e = n & 1 ? spte_frozen() : spte_empty();
			enum vmmu_level level = 1 + n / 2 % cpu.root.level_count;
			enum sim_access_kind kind = n / 2 / cpu.root.level_count;
			struct sim_verdict v = format_judge(&cpu, level, e, format_gpa(&cpu), kind);

			if (!is_absent(&cpu, &v) || v.level != (enum sim_level)level)
				format_fail(&cpu, level, e, "it is not absent to the hardware");
			if (format_leaks_address(&cpu, e))
				format_fail(&cpu, level, e, "it holds the address of memory");
			if (spte_access(&cpu.fmt, e))
				format_fail(&cpu, level, e, "it grants something");
		}
	}
	assert_int_equal(spte_kind(spte_empty()), VMMU_KIND_EMPTY);
	assert_int_equal(spte_kind(spte_frozen()), VMMU_KIND_FROZEN);
	print_message("# %llu combinations\n", (unsigned long long)judged);
	assert_int_equal(judged, expected);
	assert_int_equal(judged, 42 * 2 * 5 * (4 + 5));
}

static bool is_mmio(const struct format_cpu *cpu, const struct sim_verdict *v)
{
	if (cpu->root.format == SIM_EPT)
		return v->outcome == SIM_EPT_MISCONFIG;
	return v->outcome == SIM_NPF && (v->info & SIM_NPF_RSVD) &&
	       !(v->info & SIM_NPF_P) == cpu->root.rsvd_without_p;
}

static void judge_mmio(const struct format_cpu *cpu, uint64_t generation, enum sim_access_kind kind)
{
	vmmu_spte_t e = vmmu_spte_mmio(&cpu->fmt, generation);
	struct sim_verdict v = format_judge(cpu, VMMU_LEVEL_4K, e, format_gpa(cpu), kind);

	if (!is_mmio(cpu, &v) || v.level != SIM_LEVEL_4K)
		format_fail(cpu, VMMU_LEVEL_4K, e, "the hardware does not take it for a device");
	if (spte_kind(e) != VMMU_KIND_MMIO || vmmu_spte_mmio_generation(e) != generation)
		format_fail(cpu, VMMU_LEVEL_4K, e, "kind or generation is not what went in");
	if (format_leaks_address(cpu, e))
		format_fail(cpu, VMMU_LEVEL_4K, e, "it holds the address of memory");
	if (spte_access(&cpu->fmt, e))
		format_fail(cpu, VMMU_LEVEL_4K, e, "it grants something");
}

/* R27, I15. All 2^17 generations; kinds take turns, and all of them on each single bit. */
static void a_device_entry_is_one_at_every_generation_and_holds_no_address(void **state)
{
	uint64_t generations = UINT64_C(1) << VMMU_MMIO_GENERATION_BITS;
	uint64_t judged = 0, cpus = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);

		if (!fmt_has_mmio(&cpu.fmt)) /* no reserved bit is left */
			continue;
		cpus++;
		for (unsigned n = 0; n < 2 * VMMU_MMIO_GENERATION_BITS * KINDS; n++, judged++)
			judge_mmio(&cpu,
				   UINT64_C(1) << n / 2 / KINDS ^ (n & 1 ? generations - 1 : 0),
				   n / 2 % KINDS);
		if (c % 3) /* every format, width, quirk and flag still has its turn */
			continue;
		for (uint64_t g = 0; g < generations; g++, judged++)
			judge_mmio(&cpu, g, (g ^ g >> 8) % KINDS);
	}
	print_message("# %llu combinations on %llu CPUs\n", (unsigned long long)judged,
		      (unsigned long long)cpus);
	assert_int_equal(cpus, 84 - 4);
	assert_int_equal(judged, 80 * 2 * 17 * 5 + 26 * 131072);
}

static void device_entries_exist_where_the_cpu_and_the_embedder_allow_them(void **state)
{
	uint64_t looked_at = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c++) {
		struct format_cpu cpu = format_cpu(c);
		bool reserved = cpu.root.format == SIM_EPT || cpu.config.physical_bits < 52;

		assert_int_equal(fmt_has_mmio(&cpu.fmt), reserved);
		cpu.config.no_mmio_entries = true;
		vmmu_fmt_init(&cpu.fmt, &cpu.config);
		assert_false(fmt_has_mmio(&cpu.fmt));
		looked_at++;
	}
	assert_int_equal(looked_at, 84);
}

/* ---- leaves made of leaves ---- */

static void the_union_of_two_leaves_allows_what_either_allows(void **state)
{
	uint64_t judged = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c += 7) { /* widths do not matter here */
		struct format_cpu cpu = format_cpu(c);

		for (unsigned n = 0; n < 3 * FORMAT_LEAVES * 16; n++, judged++) {
			enum vmmu_level level = 1 + n / (FORMAT_LEAVES * 16);
			unsigned first = n % FORMAT_LEAVES;
			unsigned second = first / 16 * 16 + n / FORMAT_LEAVES % 16;
			struct vmmu_leaf a = format_leaf(first, level, format_pfn(&cpu, level, 2));
			struct vmmu_leaf b = format_leaf(second, level, a.pfn.n);
			struct vmmu_leaf both = a;
			vmmu_spte_t u = spte_union(&cpu.fmt, vmmu_spte_leaf(&cpu.fmt, &a),
						   vmmu_spte_leaf(&cpu.fmt, &b));

			both.access |= b.access;
			both.accessed |= b.accessed;
			both.dirty |= b.dirty;
			if (u.raw != vmmu_spte_leaf(&cpu.fmt, &both).raw)
				format_fail(&cpu, level, u, "it is not the leaf that says both");
		}
	}
	print_message("# %llu combinations\n", (unsigned long long)judged);
	assert_int_equal(judged, 12 * 3 * 80 * 16);
}

/* Same place, same rights, same flags for one address inside the huge leaf. */
static void compare_split(const struct format_cpu *cpu, const struct vmmu_leaf *huge,
			  enum vmmu_level level, vmmu_spte_t child, uint64_t gpa)
{
	vmmu_spte_t whole = vmmu_spte_leaf(&cpu->fmt, huge);

	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct sim_verdict was = format_judge(cpu, huge->level, whole, gpa, kind);
		struct sim_verdict is = format_judge(cpu, level, child, gpa, kind);

		if (was.outcome != is.outcome || was.hpa.bytes != is.hpa.bytes ||
		    was.info != is.info || is.level != (enum sim_level)level)
			format_fail(cpu, level, child, "a piece is not what the whole was");
	}
	if (spte_access(&cpu->fmt, child) != spte_access(&cpu->fmt, whole) ||
	    spte_is_accessed(&cpu->fmt, child) != spte_is_accessed(&cpu->fmt, whole) ||
	    spte_is_dirty(&cpu->fmt, child) != spte_is_dirty(&cpu->fmt, whole))
		format_fail(cpu, level, child, "a piece does not say what the whole said");
}

/* All pieces one level down, for all rights, flags and memory types. */
static uint64_t split_once(const struct format_cpu *cpu, enum vmmu_level level)
{
	uint64_t size = vmmu_level_frames(level) << VMMU_PAGE_SHIFT;
	uint64_t piece = size / VMMU_TABLE_ENTRIES, compared = 0;
	uint64_t gpa = format_gpa(cpu) / size * size;

	for (unsigned n = 0; n < FORMAT_LEAVES; n++) {
		struct vmmu_leaf huge = format_leaf(n, level, format_pfn(cpu, level, 3));
		vmmu_spte_t whole = vmmu_spte_leaf(&cpu->fmt, &huge);

		for (unsigned i = 0; i < VMMU_TABLE_ENTRIES; i++, compared++) {
			vmmu_spte_t child = vmmu_spte_child_of_huge(&cpu->fmt, whole, level, i);
			struct vmmu_leaf same = huge;

			compare_split(cpu, &huge, level - 1, child, gpa + i * piece + 0xab8);
			same.level = level - 1;
			same.pfn.n += i * (piece >> VMMU_PAGE_SHIFT);
			if (child.raw != vmmu_spte_leaf(&cpu->fmt, &same).raw)
				format_fail(cpu, level - 1, child, "a piece is no leaf of its own");
		}
	}
	return compared;
}

static void the_pieces_of_a_huge_leaf_say_what_it_said(void **state)
{
	static const unsigned cpus[4] = {2, 14 + 9, 28 + 2, 42 + 9}; /* NPT, EPT; A/D; 4, 5 */
	uint64_t compared = 0;

	(void)state;
	for (unsigned c = 0; c < 4; c++) {
		struct format_cpu cpu = format_cpu(cpus[c]);

		compared += split_once(&cpu, VMMU_LEVEL_2M);
		compared += split_once(&cpu, VMMU_LEVEL_1G);
	}
	print_message("# %llu pieces, %u kinds of access each\n", (unsigned long long)compared,
		      KINDS);
	assert_int_equal(compared, 4 * 2 * 80 * 512);
}

/* A gigabyte, split twice: each of its 262,144 pages is where it was. */
static void every_page_of_a_gigabyte_stays_in_place_when_it_is_split_twice(void **state)
{
	uint64_t size = vmmu_level_frames(VMMU_LEVEL_1G) << VMMU_PAGE_SHIFT, compared = 0;

	(void)state;
	for (unsigned c = 0; c < FORMAT_CPUS; c += FORMAT_CPUS / 2) {
		struct format_cpu cpu = format_cpu(c);
		uint64_t gpa = format_gpa(&cpu) / size * size;
		struct vmmu_leaf huge =
			format_leaf(64 + 1, VMMU_LEVEL_1G, format_pfn(&cpu, VMMU_LEVEL_1G, 2));
		vmmu_spte_t whole = vmmu_spte_leaf(&cpu.fmt, &huge);

		for (unsigned page = 0; page < 512 * 512; page++, compared++) {
			vmmu_spte_t middle =
				vmmu_spte_child_of_huge(&cpu.fmt, whole, VMMU_LEVEL_1G, page / 512);
			vmmu_spte_t small = vmmu_spte_child_of_huge(&cpu.fmt, middle, VMMU_LEVEL_2M,
								    page % 512);
			uint64_t at = gpa + ((uint64_t)page << VMMU_PAGE_SHIFT) + 8;
			struct sim_verdict v =
				format_judge(&cpu, VMMU_LEVEL_4K, small, at, SIM_WRITE);

			if (v.outcome != SIM_OK ||
			    v.hpa.bytes != (huge.pfn.n << VMMU_PAGE_SHIFT) + (at - gpa))
				format_fail(&cpu, VMMU_LEVEL_4K, small, "a page has moved");
		}
	}
	print_message("# %llu pages\n", (unsigned long long)compared);
	assert_int_equal(compared, 2 * 262144);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_gives_the_hardware_what_the_library_reads_from_it),
		cmocka_unit_test(empty_and_frozen_entries_are_absent_at_every_level),
		cmocka_unit_test(a_device_entry_is_one_at_every_generation_and_holds_no_address),
		cmocka_unit_test(device_entries_exist_where_the_cpu_and_the_embedder_allow_them),
		cmocka_unit_test(the_union_of_two_leaves_allows_what_either_allows),
		cmocka_unit_test(the_pieces_of_a_huge_leaf_say_what_it_said),
		cmocka_unit_test(every_page_of_a_gigabyte_stays_in_place_when_it_is_split_twice),
		cmocka_unit_test(what_the_library_builds_is_accepted),
		cmocka_unit_test(an_address_beyond_the_width_of_the_cpu_is_noticed),
		cmocka_unit_test(a_memory_type_that_the_library_never_writes_is_noticed),
		cmocka_unit_test(
			each_bit_flip_is_noticed_unless_it_gives_another_entry_of_the_library),
		cmocka_unit_test(the_bits_whose_flip_is_always_noticed_are_these),
		cmocka_unit_test(every_fault_of_the_walkers_is_decoded),
		cmocka_unit_test(what_the_walkers_do_to_a_leaf_is_what_the_library_reads),
		cmocka_unit_test(every_npf_code_is_decoded_bit_by_bit),
		cmocka_unit_test(every_ept_qualification_is_decoded_bit_by_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
