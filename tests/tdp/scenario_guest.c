/* SPDX-License-Identifier: MIT */
/* Scenarios of what the guest and the embedder ask for: progress, prefetch, rights, types. */
#include "scenario.h"

#include <stdlib.h>

#include "vm.h"

/* ---- forward progress ---- */

#define TRIES 300u

/* How often the same fault may come back before it is reported, from a clean start. */
static unsigned tries_until_stuck(struct sim_vm *sim, uint64_t gfn, uint32_t access)
{
	for (unsigned i = 1; i <= TRIES; i++) {
		enum vmmu_outcome outcome = rig_handle(sim, 0, gfn, access);

		if (outcome == VMMU_OUTCOME_STUCK)
			return i;
		assert_int_equal(outcome, VMMU_OUTCOME_SPURIOUS);
	}
	return 0;
}

void a_fault_that_nothing_comes_of_is_reported_as_stuck(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		unsigned tries;

		rig_slot(sim, 0, 0, 0, 64, 0);
		rig_read(sim, 0, 5);
		rig_read(sim, 0, 6);
		tries = tries_until_stuck(sim, 5, VMMU_ACCESS_READ);
		assert_in_range(tries, 8, 200);
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_STUCK);
		/* Another address, another access, another entry: each starts from nothing.
		 */
		assert_int_equal(tries_until_stuck(sim, 6, VMMU_ACCESS_READ), tries);
		assert_int_equal(tries_until_stuck(sim, 6, VMMU_ACCESS_EXEC), tries);
		rig_write(sim, 0, 6); /* the leaf is dirty now */
		assert_int_equal(tries_until_stuck(sim, 6, VMMU_ACCESS_EXEC), tries);
		assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_STUCK), 5);
		rig_end(sim);
	}
}

void a_fault_is_never_stuck_when_its_entry_was_rebuilt_in_between(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_read(sim, 0, 5);
	rig_read(sim, 1, 5);
	/* This vCPU's fault always comes second: the other one has just mapped the page. */
	for (unsigned i = 0; i < TRIES; i++) {
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(5, 6)), VMMU_OK);
		assert_int_equal(rig_handle(sim, 1, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RESUME);
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_SPURIOUS);
	}
	rig_end(sim);
}

void a_fault_is_never_stuck_while_an_invalidation_around_it_is_under_way(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_true(sim_vm_write_protect(sim, 5));
	rig_read(sim, 0, 5);
	assert_true(sim_host_write_enable(sim->machine, (sim_hpage_t){5}));
	/* Two ranges; frame 5 lies between them and keeps its leaf. */
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(0, 1)), VMMU_OK);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(9, 10)), VMMU_OK);
	for (unsigned i = 0; i < TRIES; i++) {
		enum vmmu_outcome outcome = rig_handle(sim, 0, 5, VMMU_ACCESS_WRITE);

		assert_true(outcome == VMMU_OUTCOME_RETRY || outcome == VMMU_OUTCOME_RESUME ||
			    outcome == VMMU_OUTCOME_SPURIOUS);
		if (outcome != VMMU_OUTCOME_RETRY)
			break;
	}
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(0, 1)), VMMU_OK);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(9, 10)), VMMU_OK);
	rig_write(sim, 0, 5);
	rig_end(sim);
}

static unsigned answers;

static enum vmmu_page_status not_yet(void *host, const struct vmmu_page_request *request,
				     struct vmmu_page *pages)
{
	(void)host;
	(void)request;
	(void)pages;
	answers++;
	return VMMU_PAGE_RETRY;
}

void a_fault_is_never_stuck_while_the_host_asks_for_another_try(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_true(sim_vm_write_protect(sim, 5));
	rig_read(sim, 0, 5);
	sim->port.guest_page = not_yet;
	answers = 0;
	for (unsigned i = 0; i < TRIES; i++)
		assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_WRITE), VMMU_OUTCOME_RETRY);
	assert_int_equal(answers, TRIES);
	rig_end(sim);
}

/* ---- before it is asked for ---- */

void prefetched_neighbours_are_neither_accessed_nor_dirty(void **state)
{
	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned prefetch = 2; prefetch <= 32; prefetch *= 2) {
			struct sim_vm_options options = rig_options(format);
			uint64_t group = 33 / prefetch * prefetch;
			struct sim_vm *sim;

			options.vm.prefetch = prefetch;
			sim = rig_new(&options, 1);
			rig_slot(sim, 0, 0, 0, 128, 0);
			assert_int_equal(rig_step(sim, 0, 33, SIM_WRITE), VMMU_OUTCOME_RESUME);
			for (uint64_t gfn = group; gfn < group + prefetch; gfn++) {
				struct sim_result r = rig_walk(sim, 0, gfn, SIM_READ);

				assert_int_equal(r.outcome, SIM_OK);
				if (gfn == 33)
					continue;
				assert_false(rig_is_accessed(sim, r.entry));
				assert_false(rig_is_dirty(sim, r.entry));
				assert_int_equal(rig_walk(sim, 0, gfn, SIM_WRITE).outcome, SIM_OK);
			}
			assert_int_equal(rig_reachable(sim, 0, group + prefetch), 0);
			assert_int_equal(rig_stat(sim, VMMU_STAT_PREFETCHED), prefetch - 1);
			assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), prefetch);
			rig_end(sim);
		}
}

void prefault_installs_what_the_guest_then_uses_without_a_fault(void **state)
{
	(void)state;
	for (RIG_FORMATS(format))
		for (unsigned huge = 0; huge < 2; huge++) {
			struct sim_vm_options options = rig_options(format);
			struct sim_vm *sim;
			uint64_t done = 0;

			options.vm.max_leaf = huge ? VMMU_LEVEL_2M : VMMU_LEVEL_4K;
			options.run_level = SIM_LEVEL_2M;
			sim = rig_new(&options, 1);
			rig_slot(sim, 0, 0, 0, 1024, 0);
			assert_int_equal(vmmu_prefault(sim->vcpu[0], rig_range(5, 600), &done),
					 VMMU_OK);
			assert_int_equal(done, 595);
			for (uint64_t gfn = 5; gfn < 600; gfn++) {
				uint64_t entry = rig_walk(sim, 0, gfn, SIM_WRITE).entry;

				assert_int_equal(rig_walk(sim, 0, gfn, SIM_WRITE).outcome, SIM_OK);
				assert_false(rig_is_accessed(sim, entry));
				assert_false(rig_is_dirty(sim, entry));
			}
			assert_int_equal(rig_reachable(sim, 0, 4), huge);
			for (uint64_t gfn = 5; gfn < 600; gfn++)
				rig_write(sim, 0, gfn);
			assert_int_equal(rig_stat(sim, VMMU_STAT_FAULTS), 0);
			rig_end(sim);
		}
}

void prefault_says_how_far_it_came(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);
	struct vmmu_vcpu *vcpu = sim->vcpu[0];
	uint64_t done = 7;

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_int_equal(vmmu_prefault(vcpu, rig_range(3, 2), &done), VMMU_EINVAL);
	assert_int_equal(done, 0);
	assert_int_equal(vmmu_prefault(vcpu, rig_range(60, 70), &done), VMMU_ENOENT);
	assert_int_equal(done, 4);
	assert_int_equal(vmmu_prefault(vcpu, rig_range(9, 9), &done), VMMU_OK);
	assert_int_equal(done, 0);
	assert_true(sim_vm_swap_out(sim, 12));
	assert_int_equal(vmmu_prefault(vcpu, rig_range(10, 20), &done), VMMU_EHOST);
	assert_int_equal(done, 2);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(25, 30)), VMMU_OK);
	assert_int_equal(vmmu_prefault(vcpu, rig_range(20, 30), &done), VMMU_EAGAIN);
	assert_int_equal(done, 5);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(25, 30)), VMMU_OK);
	assert_int_equal(vmmu_prefault(vcpu, rig_range(20, 30), &done), VMMU_OK);
	assert_int_equal(done, 10);
	assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), 4 + 2 + 10);
	rig_end(sim);
}

/* ---- spaces and rights ---- */

void two_address_spaces_translate_apart(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 2);

		/* The same frames, other memory; and frames that only space 1 has. */
		rig_slot(sim, 0, 0, 0, 32, 0);
		rig_slot(sim, 1, 0, 0, 64, 64);
		for (unsigned round = 0; round < 6; round++) {
			rig_set_space(sim, 0, round & 1);
			rig_set_space(sim, 1, round >> 1 & 1);
			for (uint64_t gfn = 0; gfn < 8; gfn++) {
				rig_write(sim, 0, gfn);
				rig_read(sim, 1, gfn);
				(round & 1 ? rig_write : rig_mmio)(sim, 0, 40 + gfn);
			}
		}
		rig_set_space(sim, 0, 0);
		rig_set_space(sim, 1, 1);
		rig_read(sim, 0, 3);
		rig_read(sim, 1, 3);
		assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		assert_int_equal(rig_reachable(sim, 0, 3), 0);
		assert_int_equal(rig_reachable(sim, 1, 3), 1);
		rig_mmio(sim, 0, 3);
		rig_read(sim, 1, 3);
		assert_int_equal(vmmu_vcpu_set_space(sim->vcpu[0], 2), VMMU_EINVAL);
		rig_end(sim);
	}
}

void a_read_only_slot_is_read_and_never_written(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim = rig_new(&options, 1);
		uint64_t value = 1;

		assert_int_equal(sim_slot_create(sim, 0, 0, 0, 64, 0, VMMU_SLOT_READONLY), VMMU_OK);
		for (uint64_t gfn = 0; gfn < 8; gfn++) {
			uint64_t gpa = gfn << VMMU_PAGE_SHIFT;

			if (gfn & 1) /* a write may come first, or a read */
				rig_read(sim, 0, gfn);
			assert_int_equal(sim_vm_access(sim, 0, gpa, SIM_WRITE, &value),
					 SIM_ACCESS_READONLY);
			assert_int_equal(rig_reachable(sim, 0, gfn), gfn & 1);
			rig_read(sim, 0, gfn);
			assert_int_not_equal(rig_walk(sim, 0, gfn, SIM_WRITE).outcome, SIM_OK);
			assert_int_equal(sim_vm_access(sim, 0, gpa, SIM_EXEC, &value),
					 SIM_ACCESS_MEMORY);
			/* The guest's walks want to set bits in their tables. */
			assert_int_equal(sim_vm_access(sim, 0, gpa, SIM_TABLE_READ, &value),
					 SIM_ACCESS_READONLY);
		}
		assert_int_equal(sim->readonly, 16);
		assert_int_equal(rig_stat(sim, VMMU_STAT_FAULT_READONLY), 16);
		for (uint64_t page = 0; page < 8; page++)
			assert_false(rig_told_dirty(sim, page));
		rig_end(sim);
	}
}

void a_slot_with_small_pages_gets_small_pages(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct sim_vm *sim;

	(void)state;
	options.vm.max_leaf = VMMU_LEVEL_1G;
	options.run_level = SIM_LEVEL_2M;
	sim = rig_new(&options, 2);
	assert_int_equal(sim_slot_create(sim, 0, 0, 0, 1024, 0, VMMU_SLOT_SMALL), VMMU_OK);
	for (unsigned round = 0; round < 4; round++) {
		bool small = !(round & 1);

		rig_write(sim, 0, 5);
		rig_write(sim, 1, 700);
		assert_int_equal(rig_walk(sim, 0, 5, SIM_READ).level,
				 small ? SIM_LEVEL_4K : SIM_LEVEL_2M);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_4K), small ? 2 : 0);
		assert_int_equal(rig_stat(sim, VMMU_STAT_PAGES_2M), small ? 0 : 2);
		assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, small ? 0 : VMMU_SLOT_SMALL),
				 VMMU_OK);
		assert_int_equal(rig_reachable(sim, 0, 5), 0);
		sim_vm_check(sim);
	}
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, VMMU_SLOT_READONLY), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 0, 8), VMMU_EINVAL);
	assert_int_equal(vmmu_slot_set_flags(sim->vm, 0, 1, 0), VMMU_ENOENT);
	rig_end(sim);
}

/* ---- memory types ---- */

static enum vmmu_memtype type_now;
static uint64_t odd_frame; /* this one is UC, whatever the others are */

static bool tell_type(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn,
		      enum vmmu_memtype *type)
{
	(void)host;
	(void)pfn;
	assert_true(frames == 1 || frames == 512 || frames == 262144);
	assert_int_equal(first.n % frames, 0);
	if (odd_frame - first.n < frames && frames > 1)
		return false;
	*type = first.n == odd_frame ? VMMU_MEMTYPE_UC : type_now;
	return true;
}

/* What the hardware must see: EPT has the type, NPT an index of the PAT as it is reset. */
static uint8_t as_hardware_sees(enum vmmu_format format, enum vmmu_memtype type)
{
	if (format == VMMU_FORMAT_EPT)
		return (uint8_t)type;
	return type == VMMU_MEMTYPE_WB ? 0 : type == VMMU_MEMTYPE_WT ? 1 : 3;
}

void memory_types_reach_the_leaves_and_change_with_a_zap(void **state)
{
	static const enum vmmu_memtype types[] = {VMMU_MEMTYPE_WB, VMMU_MEMTYPE_UC,
						  VMMU_MEMTYPE_WT, VMMU_MEMTYPE_WC,
						  VMMU_MEMTYPE_WP, VMMU_MEMTYPE_WB};

	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		struct sim_vm *sim;

		options.vm.prefetch = 4;
		sim = rig_new(&options, 1);
		sim->port.memory_type = tell_type;
		odd_frame = UINT64_MAX;
		rig_slot(sim, 0, 0, 0, 64, 0);
		for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
			uint8_t want = as_hardware_sees(format, types[i]);

			type_now = types[i];
			assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 64)), VMMU_OK);
			rig_write(sim, 0, 5);
			assert_int_equal(rig_walk(sim, 0, 5, SIM_READ).memory_type, want);
			assert_int_equal(rig_walk(sim, 0, 6, SIM_READ).memory_type, want);
		}
		rig_end(sim);
	}
}

void mixed_memory_types_make_smaller_leaves(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		uint8_t odd = as_hardware_sees(format, VMMU_MEMTYPE_UC);
		uint8_t even = as_hardware_sees(format, VMMU_MEMTYPE_WT);
		struct sim_vm *sim;

		options.vm.max_leaf = VMMU_LEVEL_1G;
		options.vm.prefetch = 8;
		options.run_level = SIM_LEVEL_2M;
		sim = rig_new(&options, 1);
		sim->port.memory_type = tell_type;
		type_now = VMMU_MEMTYPE_WT;
		odd_frame = 100;
		rig_slot(sim, 0, 0, 0, 1024, 0);
		rig_write(sim, 0, 101); /* brings frame 100 along */
		rig_write(sim, 0, 600);
		assert_int_equal(rig_walk(sim, 0, 101, SIM_READ).level, SIM_LEVEL_4K);
		assert_int_equal(rig_walk(sim, 0, 101, SIM_READ).memory_type, even);
		assert_int_equal(rig_walk(sim, 0, 100, SIM_READ).memory_type, odd);
		assert_int_equal(rig_walk(sim, 0, 600, SIM_READ).level, SIM_LEVEL_2M);
		assert_int_equal(rig_walk(sim, 0, 600, SIM_READ).memory_type, even);
		odd_frame = 601;
		assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 1024)), VMMU_OK);
		rig_write(sim, 0, 101);
		rig_write(sim, 0, 603); /* alone: the last leaf was a huge one */
		assert_int_equal(rig_reachable(sim, 0, 601), 0);
		rig_write(sim, 0, 600);
		assert_int_equal(rig_walk(sim, 0, 101, SIM_READ).level, SIM_LEVEL_2M);
		assert_int_equal(rig_walk(sim, 0, 600, SIM_READ).level, SIM_LEVEL_4K);
		assert_int_equal(rig_walk(sim, 0, 601, SIM_READ).memory_type, odd);
		rig_end(sim);
	}
}

/* ---- a second reader of the tables ---- */

/* What an IOMMU that does not snoop would read: only what it was told of. */
static uint64_t (*memory)[VMMU_TABLE_ENTRIES];
static vmmu_pfn_t (*real_alloc)(void *host);
static uint64_t told;

static uint64_t *memory_of(const struct sim_vm *sim, uint64_t pfn)
{
	return memory[pfn - sim_ram_first_pfn(sim->machine).n];
}

/* The host zeroes pages in memory, not only in its caches. */
static vmmu_pfn_t alloc_through(void *host)
{
	vmmu_pfn_t pfn = real_alloc(host);

	memset(memory_of(host, pfn.n), 0, VMMU_PAGE_BYTES);
	return pfn;
}

static void write_through(void *host, vmmu_pfn_t table, unsigned index, unsigned count)
{
	const struct sim_vm *sim = host;
	const uint64_t *now = sim_ram_pointer(sim->machine, (sim_pfn_t){table.n});

	assert_true(count && index + count <= VMMU_TABLE_ENTRIES);
	memcpy(&memory_of(sim, table.n)[index], &now[index], 8u * count);
	told++;
}

static void memory_is_right(struct sim_vm *sim)
{
	uint64_t recorded = sim->vm->fmt.accessed | sim->vm->fmt.dirty, tables = 0;

	for (uint64_t b = 0; b < vmmu_table_buckets(sim->vm); b++)
		for (const struct vmmu_sp *sp = vmmu_table_bucket(sim->vm, b); sp;
		     sp = vmmu_table_next(sp), tables++)
			for (unsigned i = 0; i < VMMU_TABLE_ENTRIES; i++)
				assert_int_equal((spte_get(&sp->entries[i]).raw ^
						  memory_of(sim, sp->pfn.n)[i]) &
							 ~recorded,
						 0);
	assert_true(tables >= 3);
}

void tables_written_is_told_of_each_changed_entry(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_EPT);
	struct sim_vm *sim;

	(void)state;
	options.vm.max_leaf = VMMU_LEVEL_2M;
	options.vm.prefetch = 8;
	options.vm.no_accessed_dirty = true; /* so that a huge leaf gets split by a write */
	options.run_level = SIM_LEVEL_2M;
	sim = rig_new(&options, 2);
	memory = calloc(options.machine.frame_count, sizeof(*memory));
	assert_non_null(memory);
	real_alloc = sim->port.page_alloc;
	sim->port.page_alloc = alloc_through;
	sim->port.tables_written = write_through;
	told = 0;
	rig_slot(sim, 0, 0, 0, 1024, 0);
	rig_read(sim, 0, 5);
	memory_is_right(sim);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(600, 601)), VMMU_OK);
	rig_write(sim, 0, 6);
	assert_int_equal(rig_stat(sim, VMMU_STAT_SPLITS), 1);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(600, 601)), VMMU_OK);
	memory_is_right(sim);
	rig_mmio(sim, 0, 5000);
	rig_mmio(sim, 0, 5000);
	assert_true(sim_vm_write_protect(sim, 700));
	rig_read(sim, 1, 701);
	rig_write(sim, 1, 702);
	memory_is_right(sim);
	rig_slot(sim, 0, 1, 5000, 64, 1024);
	rig_write(sim, 0, 5001);
	assert_true(sim_vm_migrate(sim, 701));
	assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
	rig_write(sim, 0, 5000);
	memory_is_right(sim);
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, UINT64_C(1) << 36)), VMMU_OK);
	rig_write(sim, 0, 5001);
	memory_is_right(sim);
	assert_true(told > 20);
	rig_end(sim);
	free(memory);
}
