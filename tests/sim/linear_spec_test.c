/* SPDX-License-Identifier: MIT */
/*
 * linear_spec_test.c - walker and oracle against the specification, exhaustively.
 *
 * A path of entries is put where both see it. The CPU without caches walks it, the oracle with
 * an empty history is asked about it, and everything is compared: outcome, level, address,
 * error code, each entry afterwards, the marks that the oracle asks for.
 */
#include "linear_rig.h"

#define GVA_LONG UINT64_C(0x123456789ab8)
#define GVA_32 UINT64_C(0x9a7b6c58)
/* Aligned to 1G, and no two flipped bits lead into RAM, which starts at 1 GiB. */
#define LEAF_PFN_64 UINT64_C(0x3c0000)
#define LEAF_PFN_32 UINT64_C(0x80000)
#define ADDRESS_MASK UINT64_C(0x000ffffffffff000)
#define BIT(n) (UINT64_C(1) << (n))

struct rig {
	struct linear_rig machine;
	struct linear_oracle *oracle;
	uint64_t gva;
	unsigned top; /* level of the first entry, PDPTE included */
	uint64_t place[6], linked[6];
	struct linear_path path; /* what the oracle sees */
	uint64_t compared, skipped;
};

static enum linear_memory read_path(void *context, sim_gpa_t gpa, uint64_t *value)
{
	struct rig *rig = context;
	bool is_half = rig->machine.regs.mode == LINEAR_32BIT;

	*value = 0;
	for (unsigned l = 1; l <= rig->top; l++) {
		uint64_t place = rig->place[l];

		if ((place & ~UINT64_C(7)) == gpa.bytes)
			*value |= is_half ? (rig->path.entry[l] & UINT32_MAX) << (place % 8 * 8)
					  : rig->path.entry[l];
	}
	return LINEAR_RAM;
}

/* 32-bit paging has no CPU here: its tables exist in the oracle's eyes only. */
static void place_32(struct rig *rig)
{
	rig->place[2] = 0x5000 + (rig->gva >> 22) * 4;
	rig->place[1] = 0x7000 + (rig->gva >> 12 & 1023) * 4;
	rig->linked[2] = 0x7000 | LPWU;
	rig->machine.regs.cr3 = 0x5000;
}

static void rig_start(struct rig *rig, enum linear_mode mode)
{
	*rig = (struct rig){.gva = GVA_32, .top = 2};
	if (mode == LINEAR_32BIT) {
		rig->machine = linear_rig_new(LINEAR_PAE, SIM_CPU_NEVER_STALE);
		rig->machine.regs = linear_rig_regs(mode);
		place_32(rig);
	} else {
		rig->machine = linear_rig_new(mode, SIM_CPU_NEVER_STALE);
		rig->top = mode == LINEAR_PAE ? 3 : mode == LINEAR_4_LEVEL ? 4 : 5;
		if (mode != LINEAR_PAE)
			rig->gva = GVA_LONG;
		for (unsigned l = 1; l <= rig->top; l++) {
			rig->place[l] =
				linear_rig_place(&rig->machine, rig->gva, (enum sim_level)l).bytes;
			rig->linked[l] =
				sim_ram_read(rig->machine.machine, (sim_hpa_t){rig->place[l]});
		}
	}
	rig->oracle = linear_oracle_new(1, read_path, rig);
	assert_non_null(rig->oracle);
}

static void rig_end(struct rig *rig)
{
	linear_oracle_free(rig->oracle);
	print_message("# compared %llu walks, skipped %llu\n", (unsigned long long)rig->compared,
		      (unsigned long long)rig->skipped);
	assert_true(rig->compared > 0);
	linear_rig_end(&rig->machine);
}

/* The path's entries must lead along the rig's tables, or end. */
static bool path_stays(const struct rig *rig)
{
	const struct linear_regs *regs = &rig->machine.regs;

	for (unsigned l = rig->top; l > 1; l--) {
		uint64_t e = rig->path.entry[l];
		enum sim_level level = (enum sim_level)l;

		if (!(e & LP) || linear_spec_is_reserved(regs, e, level) ||
		    linear_spec_is_leaf(regs, e, level))
			return true;
		if ((e & ADDRESS_MASK) != (rig->linked[l] & ADDRESS_MASK))
			return false;
	}
	return true;
}

static void fail_path(const struct rig *rig, const struct linear_access *access, const char *what)
{
	const struct linear_regs *r = &rig->machine.regs;

	print_error("%s: mode %d, vendor %d, maxphyaddr %u, pse36 %u, wp %d, pse %d, smep %d, "
		    "smap %d, pke %d, nxe %d, 1g %d, pkru 0x%x; kind %d, privilege %d, ac %d\n",
		    what, (int)r->mode, (int)r->vendor, r->maxphyaddr, r->pse36_width, r->wp,
		    r->pse, r->smep, r->smap, r->pke, r->nxe, r->has_1g, r->pkru, (int)access->kind,
		    (int)access->privilege, access->ac);
	for (unsigned l = rig->top; l >= 1; l--)
		print_error("  level %u: 0x%016llx\n", l, (unsigned long long)rig->path.entry[l]);
	fail();
}

static uint64_t marks_of(const struct linear_verdict *verdict, unsigned level)
{
	uint64_t marks = 0;

	if (verdict->outcome != LINEAR_OK || level < verdict->level)
		return 0;
	if (verdict->accessed[level])
		marks |= LA;
	if (verdict->dirty && level == verdict->level)
		marks |= LD;
	return marks;
}

static void compare_cpu(struct rig *rig, const struct linear_access *access,
			const struct linear_verdict *verdict)
{
	struct sim_machine *machine = rig->machine.machine;
	struct linear_result result;

	for (unsigned l = 1; l <= rig->top; l++)
		sim_ram_write(machine, (sim_hpa_t){rig->place[l]}, rig->path.entry[l]);
	linear_cpu_set_regs(rig->machine.cpu, &rig->machine.regs);
	if (rig->machine.regs.mode == LINEAR_PAE &&
	    linear_cpu_load(rig->machine.cpu, &rig->machine.regs, 1) != LINEAR_LOADED)
		fail_path(rig, access, "PDPTEs are refused");
	result = linear_cpu_access(rig->machine.cpu, access);
	if (result.outcome != verdict->outcome)
		fail_path(rig, access, "outcome differs");
	if (result.level != verdict->level)
		fail_path(rig, access, "level differs");
	if (result.error != verdict->error)
		fail_path(rig, access, "error code differs");
	if (result.hpa.bytes != verdict->address)
		fail_path(rig, access, "address differs");
	for (unsigned l = 1; l <= rig->top; l++)
		if (sim_ram_read(machine, (sim_hpa_t){rig->place[l]}) !=
		    (rig->path.entry[l] | marks_of(verdict, l)))
			fail_path(rig, access, "an entry afterwards differs");
}

static uint64_t marks_asked(const struct linear_allowed *allowed, uint64_t place)
{
	for (unsigned i = 0; i < allowed->mark_count; i++)
		if (allowed->mark[i].entry.bytes == place)
			return allowed->mark[i].bits;
	return 0;
}

static void compare_oracle(struct rig *rig, const struct linear_access *access,
			   const struct linear_verdict *verdict)
{
	struct linear_regs regs = rig->machine.regs;
	struct linear_query query = {.access = *access};
	struct linear_answers answers;
	const struct linear_allowed *only;

	regs.pdpte[rig->gva >> 30 & 3] = rig->path.entry[3];
	linear_oracle_reset(rig->oracle, 0, &regs);
	answers = linear_oracle_expect(rig->oracle, &query);
	only = answers.item;
	if (answers.count != 1 || answers.is_partial)
		fail_path(rig, access, "the oracle has not one answer");
	if (only->outcome != verdict->outcome || only->error != verdict->error)
		fail_path(rig, access, "the oracle's outcome differs");
	if (only->gpa.bytes != verdict->address || !only->is_present_truth)
		fail_path(rig, access, "the oracle's address differs");
	for (unsigned l = 1; l <= rig->top; l++)
		if (marks_asked(only, rig->place[l]) !=
		    (marks_of(verdict, l) & ~rig->path.entry[l]))
			fail_path(rig, access, "the oracle asks for other marks");
}

static void compare(struct rig *rig, const struct linear_access *access)
{
	struct linear_verdict verdict;

	if (!path_stays(rig)) {
		rig->skipped++;
		return;
	}
	rig->compared++;
	verdict = linear_spec_verdict(&rig->machine.regs, &rig->path, access);
	if (rig->machine.regs.mode != LINEAR_32BIT)
		compare_cpu(rig, access, &verdict);
	compare_oracle(rig, access, &verdict);
}

static uint64_t leaf_entry(const struct rig *rig, unsigned level, uint64_t flags)
{
	bool is_half = rig->machine.regs.mode == LINEAR_32BIT;

	return linear_rig_leaf(sim_pfn(is_half ? LEAF_PFN_32 : LEAF_PFN_64), (enum sim_level)level,
			       flags);
}

static void plain_path(struct rig *rig, unsigned leaf)
{
	for (unsigned l = 1; l <= rig->top; l++)
		rig->path.entry[l] = l > leaf ? rig->linked[l] : leaf_entry(rig, l, LPWU);
}

/* ---- rights ---- */

static void for_all_accesses(struct rig *rig)
{
	for (unsigned i = 0; i < 18; i++) {
		struct linear_access access = {
			.gva = sim_gva(rig->gva),
			.kind = (enum linear_kind)(i % 3),
			.privilege = (enum linear_privilege)(i / 3 % 3),
			.ac = i / 9,
		};

		compare(rig, &access);
	}
}

static void for_all_registers(struct rig *rig)
{
	struct linear_regs *r = &rig->machine.regs;
	bool has_keys = r->mode == LINEAR_4_LEVEL || r->mode == LINEAR_5_LEVEL;

	for (unsigned i = 0; i < 32; i++) {
		r->wp = i & 1;
		r->smep = i & 2;
		r->smap = i & 4;
		r->nxe = i & 8;
		r->pke = i & 16;
		for (unsigned two = 0; two < (has_keys || !r->pke ? 4u : 1u); two++) {
			r->pkru = two << 18 | ~(UINT32_C(3) << 18) * (two & 1);
			for_all_accesses(rig);
			if (!r->pke)
				break;
		}
	}
}

/* What a table entry can do to the rights: nothing, take one, take all. */
static uint64_t upper_rights(unsigned variant)
{
	static const uint64_t variants[] = {LPWU, LP | LU, LP | LW, LPWU | LNX, LP | LNX};

	return variants[variant];
}

static void sweep_rights(struct rig *rig, unsigned leaf)
{
	unsigned upper_count = rig->top - leaf;
	unsigned combos = 1;

	for (unsigned i = 0; i < upper_count; i++)
		combos *= i < 3 ? 5 : 2;
	for (unsigned combo = 0; combo < combos * 8; combo++) {
		unsigned rest = combo / 8;
		uint64_t flags = LP | (combo & 1 ? LW : 0) | (combo & 2 ? LU : 0) |
				 (combo & 4 ? LNX : 0) | UINT64_C(9) << 59;

		plain_path(rig, leaf);
		if (rig->machine.regs.mode == LINEAR_PAE)
			flags &= LPWU | LNX;
		rig->path.entry[leaf] = leaf_entry(rig, leaf, flags);
		for (unsigned i = 0; i < upper_count; i++) {
			unsigned l = leaf + 1 + i;

			if (rig->machine.regs.mode == LINEAR_PAE && l == 3)
				continue; /* PDPTEs have no rights */
			rig->path.entry[l] &= ADDRESS_MASK;
			rig->path.entry[l] |= upper_rights(rest % (i < 3 ? 5 : 2));
			rest /= i < 3 ? 5 : 2;
		}
		for_all_registers(rig);
	}
}

static void check_rights(enum linear_mode mode)
{
	struct rig rig;

	rig_start(&rig, mode);
	for (unsigned leaf = 1; leaf <= (mode >= LINEAR_4_LEVEL ? 3u : 2u); leaf++)
		sweep_rights(&rig, leaf);
	rig_end(&rig);
}

static void rights_with_32_bit_paging_are_as_specified(void **state)
{
	(void)state;
	check_rights(LINEAR_32BIT);
}

static void rights_with_pae_paging_are_as_specified(void **state)
{
	(void)state;
	check_rights(LINEAR_PAE);
}

static void rights_with_4_level_paging_are_as_specified(void **state)
{
	(void)state;
	check_rights(LINEAR_4_LEVEL);
}

static void rights_with_5_level_paging_are_as_specified(void **state)
{
	struct rig rig;

	(void)state;
	rig_start(&rig, LINEAR_5_LEVEL);
	sweep_rights(&rig, 3);
	rig_end(&rig);
}

/* ---- present and reserved ---- */

static void for_shape(struct rig *rig, unsigned shape)
{
	static const uint8_t widths[] = {36, 40, 46, 52};
	static const uint8_t pse36[] = {0, 36, 40, 32};
	struct linear_regs *r = &rig->machine.regs;

	r->vendor = shape & 1 ? LINEAR_INTEL : LINEAR_AMD;
	r->nxe = shape & 2;
	r->has_1g = shape & 4;
	r->maxphyaddr = widths[shape >> 3 & 3];
	r->pse36_width = pse36[shape >> 3 & 3];
	r->pse = shape & 4;
	r->rsvd_without_p = shape & 32;
}

static void compare_two(struct rig *rig, unsigned odd)
{
	struct linear_access access = {
		.gva = sim_gva(rig->gva),
		.kind = odd & 1 ? LINEAR_WRITE : LINEAR_FETCH,
		.privilege = odd & 2 ? LINEAR_USER : LINEAR_SUPERVISOR,
	};

	compare(rig, &access);
}

/* Flip every bit, and every pair of bits, of one entry. */
static void flip_bits(struct rig *rig, unsigned level)
{
	uint64_t plain = rig->path.entry[level];
	unsigned width = rig->machine.regs.mode == LINEAR_32BIT ? 32 : 64;
	bool is_pdpte = rig->machine.regs.mode == LINEAR_PAE && level == 3;

	for (unsigned a = 0; a < width; a++)
		for (unsigned b = a; b < width; b++) {
			uint64_t pdpte[4] = {plain ^ (BIT(a) | BIT(b))};

			if (is_pdpte && !linear_spec_pdptes_are_legal(&rig->machine.regs, pdpte))
				continue; /* cannot be loaded: another test */
			rig->path.entry[level] = pdpte[0];
			compare_two(rig, a + b);
		}
	rig->path.entry[level] = plain;
}

static void check_reserved(enum linear_mode mode)
{
	struct rig rig;
	unsigned leaf_max = mode >= LINEAR_4_LEVEL ? 3 : 2;

	rig_start(&rig, mode);
	for (unsigned shape = 0; shape < 64; shape++) {
		for_shape(&rig, shape);
		for (unsigned leaf = 1; leaf <= leaf_max; leaf++) {
			plain_path(&rig, leaf);
			for (unsigned level = leaf; level <= rig.top; level++)
				flip_bits(&rig, level);
		}
	}
	rig_end(&rig);
}

static void every_pair_of_bits_with_32_bit_paging_is_as_specified(void **state)
{
	(void)state;
	check_reserved(LINEAR_32BIT);
}

static void every_pair_of_bits_with_pae_paging_is_as_specified(void **state)
{
	(void)state;
	check_reserved(LINEAR_PAE);
}

static void every_pair_of_bits_with_4_level_paging_is_as_specified(void **state)
{
	(void)state;
	check_reserved(LINEAR_4_LEVEL);
}

static void every_pair_of_bits_with_5_level_paging_is_as_specified(void **state)
{
	(void)state;
	check_reserved(LINEAR_5_LEVEL);
}

static void a_pdpte_with_reserved_bits_is_refused_when_it_is_loaded(void **state)
{
	struct rig rig;

	(void)state;
	rig_start(&rig, LINEAR_PAE);
	for (unsigned number = 0; number < 128; number++) {
		uint64_t words[4] = {0, BIT(number % 64) | (number & 64 ? 0 : LP), 0, 0};
		bool legal = linear_spec_pdptes_are_legal(&rig.machine.regs, words);
		sim_hpa_t place = {rig.machine.regs.cr3 + 8};

		sim_ram_write(rig.machine.machine, place, words[1]);
		assert_int_equal(linear_cpu_load(rig.machine.cpu, &rig.machine.regs, 1),
				 legal ? LINEAR_LOADED : LINEAR_LOAD_BAD_PDPTE);
		assert_int_equal(legal,
				 number >= 64 || !((BIT(number) >> 1 & 3) ||
						   (BIT(number) >> 5 & 15) || BIT(number) >> 46));
		rig.compared++;
	}
	rig_end(&rig);
}

static void addresses_are_canonical_as_specified(void **state)
{
	(void)state;
	for (unsigned mode = LINEAR_PAE; mode <= LINEAR_5_LEVEL; mode++) {
		struct linear_rig rig = linear_rig_new((enum linear_mode)mode, SIM_CPU_NEVER_STALE);

		for (unsigned low = 0; low < 64; low++)
			for (unsigned high = low; high < 64; high++) {
				uint64_t gva = (UINT64_MAX >> (63 - high)) & (UINT64_MAX << low);
				bool canonical = linear_spec_is_canonical(&rig.regs, sim_gva(gva));

				assert_int_equal(linear_rig_read(&rig, gva).outcome,
						 canonical ? LINEAR_FAULT : LINEAR_NONCANONICAL);
			}
		linear_rig_end(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights_with_32_bit_paging_are_as_specified),
		cmocka_unit_test(rights_with_pae_paging_are_as_specified),
		cmocka_unit_test(rights_with_4_level_paging_are_as_specified),
		cmocka_unit_test(rights_with_5_level_paging_are_as_specified),
		cmocka_unit_test(every_pair_of_bits_with_32_bit_paging_is_as_specified),
		cmocka_unit_test(every_pair_of_bits_with_pae_paging_is_as_specified),
		cmocka_unit_test(every_pair_of_bits_with_4_level_paging_is_as_specified),
		cmocka_unit_test(every_pair_of_bits_with_5_level_paging_is_as_specified),
		cmocka_unit_test(a_pdpte_with_reserved_bits_is_refused_when_it_is_loaded),
		cmocka_unit_test(addresses_are_canonical_as_specified),
	};

	return cmocka_run_group_tests_name("sim_linear_spec", tests, NULL, NULL);
}
