/* SPDX-License-Identifier: MIT */
/*
 * Every combination of rights through the engine: bits of the last two guest entries, registers,
 * kind of access. What comes out of the simulated CPU and the library together must be what the
 * plain specification of the manuals (linear_spec.h) says: where it went, or which fault, and which
 * accessed and dirty bits the guest's entries have afterwards.
 *
 * For each combination the guest writes its entries anew, flushes the address and makes the access;
 * then another one, of another kind, with nothing in between: entries that were made for the first
 * must not decide the second.
 *
 * Of entries that are not present, whose other bits nobody looks at, two stand for all, unless
 * VMMU_MATRIX=full is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "linear_format.h"
#include "linear_spec.h"
#include "shadow_vm.h"

#define PML5 7u
#define PML4 8u
#define PDPT 9u
#define PD 10u
#define PT 11u
#define DATA 40u
#define HUGE 0x400u /* first frame of a 4M page */
#define KEY 1u
#define GVA 0x10u

struct matrix {
	struct shadow_vm *svm;
	struct linear_regs regs;
	bool is_full;
	bool narrow;          /* entries of 4 bytes */
	uint64_t upper, leaf; /* as written last */
	uint64_t accesses, faults, emulated, allowed;
};

static uint64_t entry_gpa(unsigned level)
{
	static const uint64_t frame[] = {0, PT, PD, PDPT, PML4, PML5};

	return frame[level] << 12;
}

static uint64_t get(const struct matrix *m, unsigned level)
{
	uint64_t value = sim_host_read(m->svm->machine, (sim_hpage_t){entry_gpa(level) >> 12}, 0);

	return m->narrow ? value & UINT32_MAX : value;
}

static void put(struct matrix *m, unsigned level, uint64_t value)
{
	vmmu_gpa_t at = {entry_gpa(level)};

	sim_host_write(m->svm->machine, (sim_hpage_t){at.addr >> 12}, 0, value);
	assert_int_equal(vmmu_guest_written(m->svm->vm, 0, at, m->narrow ? 4 : 8), VMMU_OK);
}

static struct linear_path path_of(const struct matrix *m)
{
	struct linear_path path = {{0, get(m, 1), get(m, 2), get(m, 3), get(m, 4), get(m, 5)}};

	if (m->regs.mode == LINEAR_PAE)
		path.entry[3] = m->regs.pdpte[0];
	return path;
}

static void fail_at(const struct matrix *m, const struct linear_access *a, const char *what,
		    uint64_t got, uint64_t wanted)
{
	const struct linear_regs *r = &m->regs;

	fail_msg("mode %d wp %d smep %d smap %d nx %d pke %d pkru %x, entries %llx %llx, kind %d "
		 "privilege %d ac %d: %s is %llx, not %llx",
		 (int)r->mode, r->wp, r->smep, r->smap, r->nxe, r->pke, r->pkru,
		 (unsigned long long)m->upper, (unsigned long long)m->leaf, (int)a->kind,
		 (int)a->privilege, a->ac, what, (unsigned long long)got,
		 (unsigned long long)wanted);
}

/* Host pages are guest frames, those of the huge slot from page 512 on. */
static uint64_t page_of(uint64_t address)
{
	uint64_t frame = address >> 12;

	return frame >= HUGE ? frame - HUGE + 512 : frame;
}

struct end {
	enum linear_outcome outcome;
	uint32_t error;
	uint64_t pfn; /* of the host, where it went */
};

#define TURNS_MAX 8u

/* The access, until hardware or library have decided. */
static struct end access_once(struct matrix *m, const struct linear_access *access)
{
	struct shadow_request request = {.access = *access, .bytes = 8};

	for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
		struct vmmu_shadow_result result;
		struct linear_result hardware;

		enum vmmu_outcome outcome = shadow_step(m->svm, &request, &hardware, &result);

		if (outcome == VMMU_OUTCOME_RESUME && hardware.outcome == LINEAR_OK)
			return (struct end){.pfn = hardware.hpa.bytes >> 12};
		if (outcome == VMMU_OUTCOME_INJECT) {
			m->faults++;
			return (struct end){.outcome = LINEAR_FAULT, .error = result.error_code};
		}
		if (outcome == VMMU_OUTCOME_TABLE_WRITE) {
			sim_hpage_t page = {page_of(result.gpa.addr)};

			m->emulated++;
			return (struct end){.pfn = sim_host_query(m->svm->machine, page).pfn.n};
		}
		if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_RETRY &&
		    outcome != VMMU_OUTCOME_SPURIOUS)
			fail_at(m, access, "outcome", outcome, VMMU_OUTCOME_RESUME);
	}
	fail_at(m, access, "number of turns", TURNS_MAX, 2);
	return (struct end){.outcome = LINEAR_BROKEN};
}

static void check_access(struct matrix *m, const struct linear_access *access)
{
	struct linear_path before = path_of(m), after;
	struct linear_verdict v = linear_spec_verdict(&m->regs, &before, access);
	struct end end = access_once(m, access);
	sim_hpage_t page = {page_of(v.address)};

	m->accesses++;
	if (end.outcome != v.outcome)
		fail_at(m, access, "fault or not", end.outcome, v.outcome);
	if (v.outcome == LINEAR_FAULT && end.error != v.error)
		fail_at(m, access, "error code", end.error, v.error);
	if (v.outcome == LINEAR_OK && end.pfn != sim_host_query(m->svm->machine, page).pfn.n)
		fail_at(m, access, "host frame", end.pfn,
			sim_host_query(m->svm->machine, page).pfn.n);
	m->allowed += v.outcome == LINEAR_OK;
	after = path_of(m);
	for (unsigned level = 1; level <= 5; level++) {
		uint64_t wanted = before.entry[level];

		if (v.outcome == LINEAR_OK && v.accessed[level])
			wanted |= LINEAR_ACCESSED;
		if (v.outcome == LINEAR_OK && v.dirty && level == v.level)
			wanted |= LINEAR_DIRTY;
		if (after.entry[level] != wanted)
			fail_at(m, access, "an entry afterwards", after.entry[level], wanted);
	}
}

/* ---- the combinations ---- */

static const struct linear_access accesses[] = {
	{.kind = LINEAR_READ, .privilege = LINEAR_SUPERVISOR},
	{.kind = LINEAR_READ, .privilege = LINEAR_SUPERVISOR, .ac = true},
	{.kind = LINEAR_READ, .privilege = LINEAR_USER},
	{.kind = LINEAR_READ, .privilege = LINEAR_IMPLICIT, .ac = true},
	{.kind = LINEAR_WRITE, .privilege = LINEAR_SUPERVISOR},
	{.kind = LINEAR_WRITE, .privilege = LINEAR_SUPERVISOR, .ac = true},
	{.kind = LINEAR_WRITE, .privilege = LINEAR_USER},
	{.kind = LINEAR_WRITE, .privilege = LINEAR_IMPLICIT, .ac = true},
	{.kind = LINEAR_FETCH, .privilege = LINEAR_SUPERVISOR},
	{.kind = LINEAR_FETCH, .privilege = LINEAR_SUPERVISOR, .ac = true},
	{.kind = LINEAR_FETCH, .privilege = LINEAR_USER},
};
#define ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

/* Bits of a number, spread over an entry. */
static uint64_t spread(const uint64_t *bits, unsigned count, unsigned number)
{
	uint64_t entry = 0;

	for (unsigned i = 0; i < count; i++)
		entry |= number >> i & 1 ? bits[i] : 0;
	return entry;
}

/* A number's lowest bit is "present". */
static bool is_wanted(const struct matrix *m, unsigned number, unsigned count)
{
	return m->is_full || (number & 1) || number == 0 || number == (1u << count) - 2;
}

static void try_accesses(struct matrix *m)
{
	for (unsigned i = 0; i < ACCESSES; i++) {
		struct linear_access first = accesses[i], second = accesses[(i * 3 + 4) % ACCESSES];

		first.gva = second.gva = sim_gva(GVA);
		if (get(m, 2) != m->upper)
			put(m, 2, m->upper);
		if (get(m, 1) != m->leaf)
			put(m, 1, m->leaf);
		shadow_leave(m->svm, 0);
		vmmu_shadow_invlpg(m->svm->vcpu[0], (vmmu_gva_t){GVA});
		check_access(m, &first);
		check_access(m, &second);
	}
}

static void try_entries(struct matrix *m)
{
	/* The last two of each are not in entries of 4 bytes. */
	const uint64_t leaf_bits[] = {LINEAR_PRESENT,   LINEAR_WRITABLE, LINEAR_USER_PAGE,
				      LINEAR_ACCESSED,  LINEAR_DIRTY,    LINEAR_NO_EXEC,
				      UINT64_C(1) << 45};
	const uint64_t upper_bits[] = {LINEAR_PRESENT, LINEAR_WRITABLE, LINEAR_USER_PAGE,
				       LINEAR_ACCESSED, LINEAR_NO_EXEC};
	const unsigned leaf_count = m->narrow ? 5 : 7, upper_count = m->narrow ? 4 : 5;
	const bool keys = m->regs.mode >= LINEAR_4_LEVEL;
	/* Without CR4.PSE the bit is ignored, and the entry names a table. */
	const uint64_t at = m->regs.pse ? HUGE : PT;
	const uint64_t key = keys ? (uint64_t)KEY << 59 : 0;

	for (unsigned upper = 0; upper < 1u << upper_count; upper++) {
		if (!is_wanted(m, upper, upper_count))
			continue;
		m->upper = spread(upper_bits, upper_count, upper) | (uint64_t)PT << 12;
		for (unsigned leaf = 0; leaf < 1u << leaf_count; leaf++) {
			if (!is_wanted(m, leaf, leaf_count))
				continue;
			m->leaf = spread(leaf_bits, leaf_count, leaf) | (uint64_t)DATA << 12 | key;
			try_accesses(m);
		}
	}
	/* The upper one maps a huge page itself. */
	for (unsigned leaf = 0; leaf < 1u << leaf_count; leaf++) {
		m->upper = spread(leaf_bits, leaf_count, leaf) | at << 12 | LINEAR_HUGE | key;
		try_accesses(m);
	}
}

static void make_tables(struct matrix *m)
{
	const uint64_t flags =
		LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE | LINEAR_ACCESSED;

	m->regs.cr3 = entry_gpa(m->regs.mode == LINEAR_5_LEVEL   ? 5
				: m->regs.mode == LINEAR_4_LEVEL ? 4
				: m->regs.mode == LINEAR_PAE     ? 3
								 : 2);
	m->regs.pdpte[0] = m->regs.mode == LINEAR_PAE ? (uint64_t)PD << 12 | 1 : 0;
	put(m, 5, (uint64_t)PML4 << 12 | flags);
	put(m, 4, (uint64_t)PDPT << 12 | flags);
	put(m, 3, m->regs.mode == LINEAR_PAE ? m->regs.pdpte[0] : (uint64_t)PD << 12 | flags);
}

static struct shadow_vm *new_vm(void)
{
	struct shadow_options options = {
		.machine = {.host_page_count = 2048},
		.prefetch = 8,
		.max_leaf = VMMU_LEVEL_2M,
		.run_level = SIM_LEVEL_2M,
	};
	struct shadow_slot low = {.gfn = 0, .count = 128, .host = 0};
	struct shadow_slot huge = {.gfn = HUGE, .count = 1024, .host = 512};
	struct shadow_vm *svm = shadow_vm_new(&options, 1);

	assert_true(sim_host_populate(svm->machine, (sim_hpage_t){512}, 1024, SIM_LEVEL_2M));
	assert_true(sim_host_populate(svm->machine, (sim_hpage_t){0}, 128, SIM_LEVEL_4K));
	assert_int_equal(shadow_slot_create(svm, 0, &low), VMMU_OK);
	assert_int_equal(shadow_slot_create(svm, 1, &huge), VMMU_OK);
	return svm;
}

/* Registers that count in the mode, all values. */
static void try_mode(enum linear_mode mode)
{
	const bool keys = mode >= LINEAR_4_LEVEL, narrow = mode == LINEAR_32BIT;
	const char *how = getenv("VMMU_MATRIX");
	struct matrix m = {.svm = new_vm(), .narrow = narrow};
	unsigned states = 0;

	m.is_full = how && !strcmp(how, "full");
	for (unsigned bits = 0; bits < 16; bits++) {
		/* PKE off; on with the key free, no access, no write, neither */
		for (unsigned key = 0; key < (keys ? 5u : 1u); key++) {
			m.regs = (struct linear_regs){
				.mode = mode,
				.vendor = LINEAR_INTEL,
				.wp = bits & 1,
				.smep = bits & 2,
				.smap = bits & 4,
				.nxe = !narrow && (bits & 8),
				.pse = !narrow || (bits & 8),
				.pke = key > 0,
				.pkru = key > 1 ? (key - 1) << (2 * KEY) : 0,
				.maxphyaddr = 40,
				.pse36_width = 40,
				.has_1g = true,
			};
			make_tables(&m);
			shadow_reset(m.svm, 0, &m.regs);
			try_entries(&m);
			shadow_check(m.svm);
			states++;
		}
	}
	print_message("# mode %d: %llu accesses in %u register states: %llu allowed, %llu faults, "
		      "%llu emulated\n",
		      (int)mode, (unsigned long long)m.accesses, states,
		      (unsigned long long)m.allowed, (unsigned long long)m.faults,
		      (unsigned long long)m.emulated);
	assert_true(m.allowed > m.accesses / 50 && m.faults > m.accesses / 4);
	assert_true(m.emulated > 0);
	assert_int_equal(sim_violation_count(m.svm->machine), 0);
	shadow_vm_free(m.svm);
}

static void rights_of_32_bit_entries(void **state)
{
	(void)state;
	try_mode(LINEAR_32BIT);
}

static void rights_of_pae_entries(void **state)
{
	(void)state;
	try_mode(LINEAR_PAE);
}

static void rights_of_4_level_entries(void **state)
{
	(void)state;
	try_mode(LINEAR_4_LEVEL);
}

static void rights_of_5_level_entries(void **state)
{
	(void)state;
	try_mode(LINEAR_5_LEVEL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights_of_32_bit_entries),
		cmocka_unit_test(rights_of_pae_entries),
		cmocka_unit_test(rights_of_4_level_entries),
		cmocka_unit_test(rights_of_5_level_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
