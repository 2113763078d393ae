/* SPDX-License-Identifier: MIT */
/*
 * spec_test.c - the walkers against the specification functions, exhaustively.
 *
 * A path of entries is written to memory, a CPU without caches walks it, and everything that
 * can be seen is compared: outcome, level, address, fault information, and each entry afterwards.
 */
#include <stdio.h>

#include "spec.h"
#include "tables.h"

#define GPA UINT64_C(0x123456789ab8)
/* Far from RAM (which starts at 5 GiB), aligned to 1G. */
#define LEAF_PFN UINT64_C(0x80000)
#define ADDRESS_MASK UINT64_C(0x000ffffffffff000)
#define BIT(n) (UINT64_C(1) << (n))

struct rig {
	struct sim_machine *machine;
	struct tables tables;
	sim_hpa_t place[6]; /* of the entry of each level */
	uint64_t linked[6]; /* an entry that leads to the next table */
	uint64_t compared;
	uint64_t skipped; /* paths that leave the tables: their next entries are not known */
};

static void rig_start(struct rig *rig, const struct sim_root *shape)
{
	sim_pfn_t top;

	*rig = (struct rig){.machine = machine_new(SIM_CPU_NEVER_STALE)};
	rig->tables = tables_new(rig->machine, shape->format);
	top = rig->tables.root.pfn;
	rig->tables.root = *shape;
	rig->tables.root.pfn = top;
	for (unsigned l = 1; l <= shape->level_count; l++) {
		rig->place[l] = tables_place(&rig->tables, sim_gpa(GPA), (enum sim_level)l);
		rig->linked[l] = sim_ram_read(rig->machine, rig->place[l]);
	}
	sim_cpu_set_root(sim_machine_cpu(rig->machine, 0), &rig->tables.root);
}

/* The path's entries must lead along the rig's tables, or end. */
static bool path_stays(const struct rig *rig, const struct sim_path *path)
{
	const struct sim_root *root = &rig->tables.root;

	for (unsigned l = root->level_count; l > 1; l--) {
		uint64_t e = path->entry[l];

		if (!sim_spec_is_present(root->format, e) ||
		    sim_spec_is_reserved(root, e, (enum sim_level)l) ||
		    sim_spec_is_leaf(root, e, (enum sim_level)l))
			return true;
		if ((e & ADDRESS_MASK) != (rig->linked[l] & ADDRESS_MASK))
			return false;
	}
	return true;
}

static void fail_path(const struct rig *rig, const struct sim_path *path, enum sim_access_kind kind,
		      const char *what)
{
	const struct sim_root *root = &rig->tables.root;

	print_error("%s: format %d, %u levels, maxphyaddr %u, nx %d, 1g %d, x-only %d, ad %d, kind "
		    "%d\n",
		    what, (int)root->format, root->level_count, root->maxphyaddr, root->has_nx,
		    root->has_1g, root->has_exec_only, root->has_ad, (int)kind);
	for (unsigned l = root->level_count; l >= 1; l--)
		print_error("  level %u: 0x%016llx\n", l, (unsigned long long)path->entry[l]);
	fail();
}

/* What the entry of a level must be after the access. */
static uint64_t expected_entry(const struct rig *rig, const struct sim_path *path,
			       const struct sim_verdict *verdict, unsigned level)
{
	uint64_t entry = path->entry[level];

	if (verdict->outcome != SIM_OK || level < verdict->level)
		return entry;
	if (verdict->accessed[level])
		entry |= tables_accessed_bit(&rig->tables);
	if (verdict->dirty && level == verdict->level)
		entry |= tables_dirty_bit(&rig->tables);
	return entry;
}

static void compare(struct rig *rig, const struct sim_path *path, enum sim_access_kind kind)
{
	const struct sim_root *root = &rig->tables.root;
	struct sim_cpu *cpu = sim_machine_cpu(rig->machine, 0);
	struct sim_verdict verdict;
	struct sim_result result;

	if (!path_stays(rig, path)) {
		rig->skipped++;
		return;
	}
	rig->compared++;
	for (unsigned l = 1; l <= root->level_count; l++)
		sim_ram_write(rig->machine, rig->place[l], path->entry[l]);
	verdict = sim_spec_verdict(root, path, sim_gpa(GPA), kind);
	result = sim_cpu_access(cpu, sim_gpa(GPA), kind);
	if (result.outcome != verdict.outcome)
		fail_path(rig, path, kind, "outcome differs");
	if (result.level != verdict.level)
		fail_path(rig, path, kind, "level differs");
	if (result.info != verdict.info)
		fail_path(rig, path, kind, "fault information differs");
	if (result.hpa.bytes != verdict.hpa.bytes)
		fail_path(rig, path, kind, "address differs");
	if (result.gpa.bytes != GPA)
		fail_path(rig, path, kind, "guest address differs");
	for (unsigned l = 1; l <= root->level_count; l++)
		if (sim_ram_read(rig->machine, rig->place[l]) !=
		    expected_entry(rig, path, &verdict, l))
			fail_path(rig, path, kind, "an entry afterwards differs");
}

/* An entry of @level that grants everything; a leaf if @is_leaf. */
static uint64_t plain_entry(const struct rig *rig, unsigned level, bool is_leaf)
{
	if (is_leaf)
		return tables_leaf(&rig->tables, sim_pfn(LEAF_PFN), (enum sim_level)level, "rwx");
	return rig->linked[level];
}

/* A path that grants everything and ends at @leaf. */
static struct sim_path plain_path(const struct rig *rig, unsigned leaf)
{
	struct sim_path path = {{0}};

	for (unsigned l = 1; l <= rig->tables.root.level_count; l++)
		path.entry[l] = plain_entry(rig, l, l == leaf || l == 1);
	return path;
}

static void compare_all_kinds(struct rig *rig, const struct sim_path *path)
{
	for (unsigned kind = 0; kind < SIM_ACCESS_KINDS; kind++)
		compare(rig, path, (enum sim_access_kind)kind);
}

/* All subsets of @bits in one entry of @level, its address field taken from @base. */
static void sweep_subsets(struct rig *rig, unsigned level, uint64_t base, const uint8_t *bits,
			  unsigned bit_count)
{
	struct sim_path path = plain_path(rig, 1);

	for (uint32_t subset = 0; subset < 1u << bit_count; subset++) {
		uint64_t entry = base & ADDRESS_MASK;

		for (unsigned i = 0; i < bit_count; i++)
			if (subset >> i & 1)
				entry ^= BIT(bits[i]);
		path.entry[level] = entry;
		compare_all_kinds(rig, &path);
	}
}

static const uint8_t npt_bits[] = {0, 1, 2, 63, 5, 6, 7, 8, 12, 13, 29, 40, 51};
static const uint8_t ept_bits[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 29, 40};

static void sweep_root(const struct sim_root *root, uint64_t *compared)
{
	bool is_npt = root->format == SIM_NPT;
	struct rig rig;

	rig_start(&rig, root);
	for (unsigned l = 1; l <= root->level_count; l++) {
		uint64_t leaf = LEAF_PFN * SIM_PAGE_BYTES;

		sweep_subsets(&rig, l, leaf, is_npt ? npt_bits : ept_bits,
			      is_npt ? sizeof(npt_bits) : sizeof(ept_bits));
		sweep_subsets(&rig, l, rig.linked[l], is_npt ? npt_bits : ept_bits, 8);
	}
	*compared += rig.compared;
	machine_end(rig.machine);
}

/* Every root there is, but for address widths: 36, 40 and 52. */
static unsigned root_shapes(enum sim_format format, struct sim_root *shapes)
{
	static const uint8_t widths[] = {40, 52, 36};
	unsigned count = 0;

	for (unsigned i = 0; i < 16; i++) {
		struct sim_root root = {
			.format = format,
			.level_count = i & 1 ? 5 : 4,
			.maxphyaddr = widths[(i ^ i >> 1 ^ i >> 3) % 3],
			.has_1g = i & 2,
			.has_nx = i & 4,
			.rsvd_without_p = i & 8,
			.has_exec_only = i & 4,
			.has_ad = i & 8,
			.tag = 1,
		};
		shapes[count++] = root;
	}
	return count;
}

static void npt_walks_agree_with_the_rules_for_every_entry(void **state)
{
	struct sim_root shapes[16];
	unsigned count = root_shapes(SIM_NPT, shapes);
	uint64_t compared = 0;

	(void)state;
	for (unsigned i = 0; i < count; i++)
		sweep_root(&shapes[i], &compared);
	print_message("# %llu accesses compared\n", (unsigned long long)compared);
	assert_true(compared > 1000000);
}

static void ept_walks_agree_with_the_rules_for_every_entry(void **state)
{
	struct sim_root shapes[16];
	unsigned count = root_shapes(SIM_EPT, shapes);
	uint64_t compared = 0;

	(void)state;
	for (unsigned i = 0; i < count; i++)
		sweep_root(&shapes[i], &compared);
	print_message("# %llu accesses compared\n", (unsigned long long)compared);
	assert_true(compared > 1000000);
}

/* The rights of one entry, all combinations by number. */
static uint64_t with_rights(enum sim_format format, uint64_t entry, unsigned rights)
{
	entry &= ~(BIT(0) | BIT(1) | BIT(2) | BIT(63));
	entry |= rights & 7;
	if (format == SIM_NPT && (rights & 8))
		entry |= BIT(63);
	return entry;
}

/* All combinations of rights at all levels at once, for a leaf at each level. */
static void sweep_rights(const struct sim_root *root, uint64_t *compared)
{
	unsigned choices = root->format == SIM_NPT ? 16 : 8;
	struct rig rig;

	rig_start(&rig, root);
	for (unsigned leaf = 1; leaf <= 3; leaf++) {
		struct sim_path base = plain_path(&rig, leaf);
		unsigned depth = root->level_count - leaf + 1;
		uint32_t total = 1;

		for (unsigned i = 0; i < depth; i++)
			total *= choices;
		for (uint32_t number = 0; number < total; number++) {
			struct sim_path path = base;
			uint32_t rest = number;

			for (unsigned l = leaf; l <= root->level_count; l++, rest /= choices)
				path.entry[l] =
					with_rights(root->format, path.entry[l], rest % choices);
			compare_all_kinds(&rig, &path);
		}
	}
	*compared += rig.compared;
	machine_end(rig.machine);
}

static void rights_of_all_levels_are_combined_as_the_rules_say(void **state)
{
	struct sim_root npt = {.format = SIM_NPT,
			       .level_count = 4,
			       .maxphyaddr = 52,
			       .tag = 1,
			       .has_nx = true,
			       .has_1g = true};
	struct sim_root ept = {.format = SIM_EPT,
			       .level_count = 5,
			       .maxphyaddr = 52,
			       .tag = 1,
			       .has_1g = true,
			       .has_exec_only = true,
			       .has_ad = true};
	uint64_t compared = 0;

	(void)state;
	sweep_rights(&npt, &compared);
	sweep_rights(&ept, &compared);
	ept.has_ad = false;
	ept.has_exec_only = false;
	ept.level_count = 4;
	sweep_rights(&ept, &compared);
	print_message("# %llu accesses compared\n", (unsigned long long)compared);
	assert_true(compared > 100000);
}

/* Each pair of bits flipped in an otherwise plain entry of each level and kind. */
static void sweep_pairs(const struct sim_root *root, unsigned leaf)
{
	struct rig rig;

	rig_start(&rig, root);
	for (unsigned l = leaf; l <= root->level_count; l++)
		for (unsigned a = 0; a < 64; a++)
			for (unsigned b = a; b < 64; b++) {
				struct sim_path path = plain_path(&rig, leaf);

				path.entry[l] ^= BIT(a) | BIT(b);
				compare(&rig, &path, (enum sim_access_kind)((a + b) % 5));
				compare(&rig, &path, SIM_READ);
			}
	assert_true(rig.compared > 1000);
	machine_end(rig.machine);
}

static void any_two_bits_of_an_entry_mean_what_the_rules_say(void **state)
{
	struct sim_root shapes[16];

	(void)state;
	for (unsigned format = SIM_NPT; format <= SIM_EPT; format++) {
		unsigned count = root_shapes((enum sim_format)format, shapes);

		for (unsigned i = 0; i < count; i++)
			for (unsigned leaf = 1; leaf <= 3; leaf++)
				sweep_pairs(&shapes[i], leaf);
	}
}

static void an_address_too_wide_for_the_tables_is_absent(void **state)
{
	(void)state;
	for (unsigned format = SIM_NPT; format <= SIM_EPT; format++)
		for (unsigned levels = 4; levels <= 5; levels++) {
			struct sim_root root = {.format = (enum sim_format)format,
						.tag = 1,
						.level_count = (uint8_t)levels,
						.maxphyaddr = 52};
			sim_gpa_t gpa = {levels == 4 ? BIT(48) : BIT(57)};
			struct sim_path path;
			struct rig rig;

			rig_start(&rig, &root);
			path = plain_path(&rig, 1);
			for (unsigned kind = 0; kind < SIM_ACCESS_KINDS; kind++) {
				struct sim_verdict v = sim_spec_verdict(&root, &path, gpa,
									(enum sim_access_kind)kind);
				struct sim_result r =
					sim_cpu_access(sim_machine_cpu(rig.machine, 0), gpa,
						       (enum sim_access_kind)kind);

				assert_int_not_equal(v.outcome, SIM_OK);
				assert_int_equal(v.outcome, r.outcome);
				assert_int_equal(v.info, r.info);
				assert_int_equal(r.level, SIM_LEVEL_NONE);
			}
			machine_end(rig.machine);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(npt_walks_agree_with_the_rules_for_every_entry),
		cmocka_unit_test(ept_walks_agree_with_the_rules_for_every_entry),
		cmocka_unit_test(rights_of_all_levels_are_combined_as_the_rules_say),
		cmocka_unit_test(any_two_bits_of_an_entry_mean_what_the_rules_say),
		cmocka_unit_test(an_address_too_wide_for_the_tables_is_absent),
	};

	return cmocka_run_group_tests_name("sim_spec", tests, NULL, NULL);
}
