/* SPDX-License-Identifier: MIT */
/* Scenarios about registers, flushes, roots and faults. */
#include <string.h>

#include "scenario.h"

#include "rig.h"

/* R23 */
void invalidations_without_paging_change_nothing(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);

	(void)state;
	regs.mode = LINEAR_OFF;
	shadow_reset(rig.svm, 0, &regs);
	rig_writes(&rig, 0, rig_gpa(RIG_DATA, 0), rig_gpa(RIG_DATA, 0));
	shadow_invlpg(rig.svm, 0, rig_gpa(RIG_DATA, 0));
	shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_ADDRESS, 3, UINT64_C(0x8000000000001000));
	shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_ALL, 0, 0);
	rig_writes(&rig, 0, rig_gpa(RIG_DATA, 1), rig_gpa(RIG_DATA, 1));
	rig_free(&rig);
}

/* R53 */
void registers_of_one_cpu_do_not_change_anothers_rights(void **state)
{
	struct rig rig = rig_new(2, 8);
	struct linear_regs regs = *shadow_regs(rig.svm, 1);
	const uint32_t denied = LINEAR_PF_P | LINEAR_PF_W;

	(void)state;
	rig_poke(&rig, RIG_PT, 1, (RIG_DATA + 1) << 12 | RO);
	regs.wp = false;
	assert_true(shadow_set_regs(rig.svm, 1, &regs));
	for (unsigned smep = 0; smep < 2; smep++) {
		regs.smep = smep;
		assert_true(shadow_set_regs(rig.svm, 1, &regs));
		rig_writes(&rig, 1, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
		rig_faults(&rig, 0, RIG_GVA + 0x1000, LINEAR_WRITE, LINEAR_SUPERVISOR, denied);
		rig_faults(&rig, 1, RIG_GVA + 0x1000, LINEAR_WRITE, LINEAR_USER,
			   denied | LINEAR_PF_U);
		rig_writes(&rig, 1, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
		if (smep)
			rig_faults(&rig, 1, RIG_GVA + 0x1000, LINEAR_FETCH, LINEAR_SUPERVISOR,
				   LINEAR_PF_P | LINEAR_PF_I);
		else
			assert_int_equal(rig_access(&rig, 1, RIG_GVA + 0x1000, LINEAR_FETCH,
						    LINEAR_SUPERVISOR)
						 .end,
					 SHADOW_MEMORY);
	}
	rig_free(&rig);
}

/* R53: a supervisor's write under CR0.WP = 0 must not hide the page from SMAP and keys. */
void smap_is_kept_for_pages_written_without_write_protection(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	struct shadow_request request = {
		.access = {.gva = sim_gva(RIG_GVA + 0x1000), .kind = LINEAR_WRITE, .ac = true},
		.bytes = 8,
		.value = 77,
	};

	(void)state;
	rig_poke(&rig, RIG_PT, 1, (RIG_DATA + 1) << 12 | RO);
	regs.wp = false;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	assert_int_equal(shadow_access(rig.svm, &request).end, SHADOW_MEMORY);
	/* The same for protection keys, switched on afterwards. */
	regs.pke = true;
	regs.pkru = 1;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	rig_faults(&rig, 0, RIG_GVA + 0x1000, LINEAR_READ, LINEAR_SUPERVISOR,
		   LINEAR_PF_P | LINEAR_PF_PK);
	regs.pke = false;
	regs.smap = true;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(shadow_access(rig.svm, &request).end, SHADOW_MEMORY);
		assert_int_equal(shadow_peek(rig.svm, rig_gpa(RIG_DATA + 1, 0)), 77);
		rig_faults(&rig, 0, RIG_GVA + 0x1000, LINEAR_READ, LINEAR_SUPERVISOR, LINEAR_PF_P);
	}
	rig_free(&rig);
}

void protection_keys_hold_in_pieces_of_huge_pages(void **state)
{
	struct rig rig = rig_new(1, 8);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	uint64_t gva = UINT64_C(2) << 21;

	(void)state;
	/* A table in its frames: pieces instead of one huge leaf. */
	rig_poke(&rig, RIG_PD, 4, (RIG_HUGE + 511) << 12 | RW);
	rig_poke(&rig, RIG_HUGE + 511, 0, RIG_DATA << 12 | RW);
	rig_reads(&rig, 0, UINT64_C(4) << 21, rig_gpa(RIG_DATA, 0));
	rig_poke(&rig, RIG_PD, 2, UINT64_C(5) << 59 | RIG_HUGE << 12 | LINEAR_HUGE | RW);
	/* Made while keys do not count, by a fault on a neighbour. */
	rig_writes(&rig, 0, gva, rig_gpa(RIG_HUGE, 0));
	regs.pke = true;
	regs.pkru = UINT32_C(1) << 10;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 3; i++)
		rig_faults(&rig, 0, gva + 0x1000 * i, LINEAR_READ, LINEAR_USER,
			   LINEAR_PF_P | LINEAR_PF_U | LINEAR_PF_PK);
	regs.pkru = 0;
	assert_true(shadow_set_regs(rig.svm, 0, &regs));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			rig_access(&rig, 0, gva + 0x1000 * i, LINEAR_READ, LINEAR_USER).end,
			SHADOW_MEMORY);
	rig_free(&rig);
}

/* A page fault makes the CPU forget the address: the guest owes no flush for it. */
void a_fault_of_the_guest_flushes_its_address(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	rig_poke(&rig, RIG_PT, 0, RIG_DATA << 12 | RO);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 3) << 12 | (RO & ~LINEAR_USER_PAGE));
	rig_faults(&rig, 0, RIG_GVA, LINEAR_WRITE, LINEAR_USER,
		   LINEAR_PF_P | LINEAR_PF_W | LINEAR_PF_U);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 3, 0));
	rig_free(&rig);
}

/* A space that was left with its translations kept is flushed by all that names it. */
void a_flush_reaches_spaces_that_are_not_loaded(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct rig rig = rig_new(1, 1);
		struct linear_regs regs = *shadow_regs(rig.svm, 0);
		const uint64_t first = RIG_PML4 << 12 | 1, second = RIG_SPARE << 12 | 2;

		rig_poke(&rig, RIG_SPARE, 0, (RIG_SPARE + 1) << 12 | RW);
		rig_poke(&rig, RIG_SPARE + 1, 0, (RIG_SPARE + 2) << 12 | RW);
		rig_poke(&rig, RIG_SPARE + 2, 1, RIG_WINDOW_PT << 12 | KERNEL);
		regs.pcide = true;
		regs.cr3 = first;
		shadow_reset(rig.svm, 0, &regs);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
		rig_store(&rig, 0, RIG_PT, 0, (RIG_DATA + 3) << 12 | RW);
		assert_true(shadow_mov_cr3(rig.svm, 0, second | LINEAR_CR3_NO_FLUSH));
		if (way == 0)
			shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_ALL, 0, 0);
		else if (way == 1)
			shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_ADDRESS, 1, RIG_GVA);
		else if (way == 2)
			shadow_invpcid(rig.svm, 0, LINEAR_INVPCID_SINGLE, 1, 0);
		else /* another table under the same identifier, with a flush of it */
			assert_true(shadow_mov_cr3(rig.svm, 0, RIG_SPARE << 12 | 1));
		assert_true(shadow_mov_cr3(rig.svm, 0, first | LINEAR_CR3_NO_FLUSH));
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA + 3, 0));
		rig_free(&rig);
	}
}

void accessed_is_set_in_a_table_that_the_host_shares(void **state)
{
	struct rig rig = rig_new(1, 1);

	(void)state;
	rig_poke(&rig, RIG_PT, 2, (RIG_DATA + 2) << 12 | (RW & ~LINEAR_ACCESSED & ~LINEAR_DIRTY));
	assert_true(shadow_write_protect(rig.svm, RIG_PT));
	rig_reads(&rig, 0, RIG_GVA + 0x2000, rig_gpa(RIG_DATA + 2, 0));
	assert_true(shadow_peek(rig.svm, rig_gpa(RIG_PT, 2)) & LINEAR_ACCESSED);
	assert_int_equal(rig.svm->count.host_errors, 1);
	rig_free(&rig);
}

/* R62 */
void four_entry_roots_survive_zaps_and_lack_of_memory(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	struct shadow_result r;

	(void)state;
	rig_poke(&rig, RIG_SPARE, 0, RIG_PD << 12 | 1);
	regs.mode = LINEAR_PAE;
	regs.cr3 = RIG_SPARE << 12;
	regs.pdpte[0] = RIG_PD << 12 | 1;
	for (unsigned fail = 0; fail < 24; fail++) {
		shadow_reset(rig.svm, 0, &regs);
		assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
		sim_ram_fail_tables(rig.svm->machine, 1 + fail % 12, 1);
		r = shadow_read(rig.svm, 0, RIG_GVA);
		assert_true(r.end == SHADOW_MEMORY || r.end == SHADOW_ERROR);
		sim_ram_fail_tables(rig.svm->machine, 0, 0);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
		assert_int_equal(vmmu_zap_all(rig.svm->vm), VMMU_OK);
		rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	}
	rig_free(&rig);
}

/* R63 */
void a_root_in_a_hole_works_once_there_is_memory(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct linear_regs regs = *shadow_regs(rig.svm, 0);
	struct shadow_slot slot = {.gfn = RIG_HOLE, .count = 8, .host = 128};

	(void)state;
	regs.cr3 = (uint64_t)RIG_HOLE << 12;
	shadow_reset(rig.svm, 0, &regs);
	rig_faults(&rig, 0, RIG_GVA, LINEAR_READ, LINEAR_SUPERVISOR, LINEAR_PF_P | LINEAR_PF_RSVD);
	assert_int_equal(shadow_slot_create(rig.svm, 2, &slot), VMMU_OK);
	rig_poke(&rig, RIG_HOLE, 0, RIG_PDPT << 12 | RW);
	rig_reads(&rig, 0, RIG_GVA, rig_gpa(RIG_DATA, 0));
	assert_int_equal(shadow_slot_delete(rig.svm, 2), VMMU_OK);
	rig_faults(&rig, 0, RIG_GVA, LINEAR_READ, LINEAR_SUPERVISOR, LINEAR_PF_P | LINEAR_PF_RSVD);
	rig_free(&rig);
}

/* R66 */
void a_write_to_a_table_that_maps_itself_ends(void **state)
{
	struct rig rig = rig_new(1, 1);
	/* PML4[256] -> PML4: the PML4 appears at the address of all indices 256. */
	const uint64_t self = UINT64_C(256) << 39 | UINT64_C(256) << 30 | UINT64_C(256) << 21 |
			      UINT64_C(256) << 12 | UINT64_C(0xffff) << 48;

	uint64_t before;

	(void)state;
	rig_poke(&rig, RIG_PML4, 256, RIG_PML4 << 12 | RW);
	/* The page that maps the address is the page that is written. */
	rig_writes(&rig, 0, self + 8, rig_gpa(RIG_PML4, 1));
	assert_true(rig.svm->count.self_writes > 0);
	/* Also when all tables on the way are linked. */
	before = rig.svm->count.self_writes;
	rig_writes(&rig, 0, self + 16, rig_gpa(RIG_PML4, 2));
	assert_true(rig.svm->count.self_writes > before);
	/* And it is what the guest's later accesses see. */
	rig_reads(&rig, 0, self + 8, rig_gpa(RIG_PML4, 1));
	/* A write that takes its own mapping away works once, and not again. */
	assert_int_equal(shadow_write(rig.svm, 0, self + 8 * 256, 0).end, SHADOW_MEMORY);
	shadow_flush(rig.svm, 0);
	rig_faults(&rig, 0, self + 8 * 256, LINEAR_WRITE, LINEAR_SUPERVISOR, LINEAR_PF_W);
	rig_free(&rig);
}

/* R65 */
void an_entry_written_in_two_halves_is_never_mixed_later(void **state)
{
	struct rig rig = rig_new(2, 8);
	struct shadow_request half = {
		.vcpu = 0,
		.access = {.gva = sim_gva(RIG_WINDOW + rig_gpa(RIG_PD, 2)), .kind = LINEAR_WRITE},
		.bytes = 4,
		.value = (RIG_PT << 12 | RW) & UINT32_MAX,
	};

	(void)state;
	rig_poke(&rig, RIG_PD, 2, UINT64_C(7) << 32);
	assert_int_equal(shadow_access(rig.svm, &half).end, SHADOW_MEMORY);
	(void)rig_access(&rig, 1, UINT64_C(2) << 21, LINEAR_READ, LINEAR_SUPERVISOR);
	half.access.gva.bytes += 4;
	half.value = 0;
	assert_int_equal(shadow_access(rig.svm, &half).end, SHADOW_MEMORY);
	shadow_flush(rig.svm, 1);
	rig_reads(&rig, 1, UINT64_C(2) << 21, rig_gpa(RIG_DATA, 0));
	rig_free(&rig);
}

struct told {
	unsigned lines;
	char text[2048];
};

static void tell(void *context, const char *line)
{
	struct told *told = context;

	told->lines++;
	strncat(told->text, line, sizeof(told->text) - strlen(told->text) - 2);
	strcat(told->text, "\n");
}

void an_address_is_explained_with_both_tables(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct told told = {.lines = 0};

	(void)state;
	rig_reads(&rig, 0, RIG_GVA, RIG_DATA << 12);
	shadow_leave(rig.svm, 0);
	assert_int_equal(vmmu_explain_gva(rig.svm->vcpu[0], (vmmu_gva_t){RIG_GVA}, tell, &told),
			 VMMU_OK);
	assert_int_equal(told.lines, 6); /* heading, four levels, result */
	assert_non_null(strstr(told.text, "level 4 | guest "));
	assert_non_null(strstr(told.text, "level 1 | guest "));
	assert_non_null(strstr(told.text, "table at host frame "));
	assert_non_null(strstr(told.text, "leaf, host frame "));
	assert_non_null(
		strstr(told.text, "the guest's tables lead to gpa 0x28000, writable, user"));
	rig_free(&rig);
}

void an_address_is_found_where_the_cpu_finds_it(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct vmmu_vcpu *vcpu = rig.svm->vcpu[0];
	vmmu_gva_t gva = {RIG_GVA + 0x1abc};
	struct vmmu_page page;
	vmmu_hpa_t at = {0};

	(void)state;
	assert_true(rig.svm->port.guest_page_now(rig.svm, (RIG_DATA + 1) << 12, &page));
	assert_false(vmmu_shadow_translate(vcpu, gva, &at));
	rig_reads(&rig, 0, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
	assert_true(vmmu_shadow_translate(vcpu, gva, &at));
	assert_int_equal(at.addr, page.pfn.n << 12 | 0xabc);
	/* It has its guest entry by now, but the CPU does not use it. */
	assert_false(vmmu_shadow_translate(vcpu, (vmmu_gva_t){RIG_GVA + 0x2000}, &at));
	assert_false(vmmu_shadow_translate(vcpu, (vmmu_gva_t){gva.addr | UINT64_C(1) << 47}, &at));
	rig_free(&rig);
}

/* R46: the host may take its time between begin and end. */
void a_fault_that_waits_for_the_host_is_never_stuck(void **state)
{
	struct rig rig = rig_new(1, 1);
	struct shadow_request request = {
		.access = {.gva = sim_gva(RIG_GVA + 0x1000), .kind = LINEAR_READ}, .bytes = 8};
	uint64_t start = (RIG_DATA + 1) << VMMU_PAGE_SHIFT, end = start + VMMU_PAGE_BYTES;

	(void)state;
	assert_int_equal(vmmu_invalidate_host_begin(rig.svm->vm, start, end), VMMU_OK);
	for (unsigned i = 0; i < 1000; i++) {
		struct vmmu_shadow_result result;
		struct linear_result hardware;

		assert_int_equal(shadow_step(rig.svm, &request, &hardware, &result),
				 VMMU_OUTCOME_RETRY);
	}
	assert_int_equal(vmmu_invalidate_host_end(rig.svm->vm, start, end), VMMU_OK);
	rig_reads(&rig, 0, RIG_GVA + 0x1000, rig_gpa(RIG_DATA + 1, 0));
	rig_free(&rig);
}
