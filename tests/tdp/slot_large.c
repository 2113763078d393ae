/* SPDX-License-Identifier: MIT */
/* Large leaves at the ends of slots and over memory that is not congruent (R29). */
#include "slot_rig.h"

#include <stdlib.h>

#define ALL_2M UINT64_C(512)
#define ALL_1G UINT64_C(262144)

/*
 * The reference keeps a word for each block that the slot touches, as one would do it by
 * hand: a first or last block that the slot only partly holds must not be large, and none may
 * if guest and host addresses differ within a block.
 */
struct blocks {
	bool *refused;
	uint64_t first, count, frames;
};

static struct blocks blocks_of(const struct vmmu_slot *slot, uint64_t frames)
{
	uint64_t end = slot->base.n + slot->count, host = slot->host_base / VMMU_PAGE_BYTES;
	struct blocks b = {.first = slot->base.n / frames, .frames = frames};

	b.count = (end - 1) / frames - b.first + 1;
	b.refused = calloc(b.count, sizeof(bool));
	assert_non_null(b.refused);
	if (slot->base.n % frames)
		b.refused[0] = true;
	if (end % frames)
		b.refused[b.count - 1] = true;
	for (uint64_t i = 0; i < b.count; i++)
		if (slot->base.n % frames != host % frames || slot->flags & VMMU_SLOT_SMALL)
			b.refused[i] = true;
	return b;
}

static bool block_is_large(const struct blocks *b, uint64_t gfn)
{
	uint64_t index = gfn / b->frames - b->first;

	assert_true(index < b->count);
	return !b->refused[index];
}

static enum vmmu_level naive_level(const struct blocks *two, const struct blocks *one, uint64_t gfn,
				   enum vmmu_level max)
{
	if (max >= VMMU_LEVEL_1G && block_is_large(one, gfn))
		return VMMU_LEVEL_1G;
	if (max >= VMMU_LEVEL_2M && block_is_large(two, gfn))
		return VMMU_LEVEL_2M;
	return VMMU_LEVEL_4K;
}

/* Both ends of the first and the last blocks of both sizes, as far as the slot holds them. */
static uint64_t compare_slot(const struct vmmu_slot *slot)
{
	struct blocks two = blocks_of(slot, ALL_2M), one = blocks_of(slot, ALL_1G);
	uint64_t base = slot->base.n, end = base + slot->count, compared = 0;
	const uint64_t probes[] = {
		base,
		base + 1,
		base | (ALL_2M - 1),
		(base | (ALL_2M - 1)) + 1,
		(base | (ALL_2M - 1)) + ALL_2M,
		base | (ALL_1G - 1),
		(base | (ALL_1G - 1)) + 1,
		(end - 1) & ~(ALL_1G - 1),
		((end - 1) & ~(ALL_1G - 1)) - 1,
		((end - 1) & ~(ALL_2M - 1)) - 1,
		(end - 1) & ~(ALL_2M - 1),
		end - 1,
	};

	for (unsigned i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		if (probes[i] < base || probes[i] >= end)
			continue;
		for (enum vmmu_level max = VMMU_LEVEL_4K; max <= VMMU_LEVEL_1G; max++) {
			enum vmmu_level level = vmmu_slot_level(slot, (vmmu_gfn_t){probes[i]}, max);

			if (level != naive_level(&two, &one, probes[i], max))
				fail_msg("gfn %llx, slot %llx to %llx at host %llx: level %d",
					 (unsigned long long)probes[i], (unsigned long long)base,
					 (unsigned long long)end,
					 (unsigned long long)slot->host_base, (int)level);
			compared++;
		}
	}
	free(two.refused);
	free(one.refused);
	return compared;
}

/* All heads and tails of a 2M block; heads and tails of 1G at the places where it matters. */
void a_leaf_never_reaches_out_of_its_slot_or_over_skewed_memory_r29(void **state)
{
	static const uint64_t at[] = {0, 1, 511, 512, 513, 131072, 262143};
	static const uint64_t skews[] = {0, 1, 511, 512, 131072, 262144};
	uint64_t slots = 0, compared = 0;

	(void)state;
	for (unsigned n = 0; n < 512 * 512 * 3; n++, slots++) {
		struct vmmu_slot slot = {.base = {ALL_1G * 4 + n % 512},
					 .count = 1 + n / 512 % 512 + (n & 1 ? 1024 : 0)};

		slot.host_base = (slot.base.n + skews[n / 512 / 512]) << VMMU_PAGE_SHIFT;
		compared += compare_slot(&slot);
	}
	for (unsigned n = 0; n < 7 * 7 * 6 * 3 * 2; n++, slots++) {
		struct vmmu_slot slot = {.base = {ALL_1G * 4 + at[n % 7]},
					 .flags = n / 882 ? VMMU_SLOT_SMALL : 0};
		uint64_t end = ALL_1G * (5 + n / 294 % 3) + at[n / 7 % 7];

		slot.count = (uint32_t)(end - slot.base.n);
		slot.host_base = (slot.base.n + skews[n / 49 % 6]) << VMMU_PAGE_SHIFT;
		compared += compare_slot(&slot);
	}
	print_message("# %llu slots, %llu levels\n", (unsigned long long)slots,
		      (unsigned long long)compared);
	assert_int_equal(slots, 512 * 512 * 3 + 7 * 7 * 6 * 3 * 2);
	assert_true(compared > 6 * slots);
}

/* A read at every end of every block: what was installed is what the slot allows, audited. */
static uint64_t fault_all(uint64_t base, uint64_t count, uint64_t skew, uint32_t flags)
{
	struct sim_vm *sim = slot_vm(4, 1, 1);
	struct vmmu_slot_config c = slot_config(0, 3, base, count);
	struct vmmu_slot slot = {.base = {base}, .count = (uint32_t)count, .flags = (uint8_t)flags};
	struct blocks two, one;
	struct vmmu_entry entry;
	uint64_t faults = 0;

	slot.host_base = c.host_base = (base + skew) << VMMU_PAGE_SHIFT;
	c.flags = flags;
	two = blocks_of(&slot, ALL_2M);
	one = blocks_of(&slot, ALL_1G);
	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_OK);
	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[0], &entry), VMMU_OK);
	vmmu_vcpu_leave(sim->vcpu[0]);
	for (uint64_t gfn = base; gfn < base + count; gfn = (gfn | (ALL_2M - 1)) + 1) {
		struct vmmu_fault fault = {.gpa = {gfn << VMMU_PAGE_SHIFT},
					   .access = VMMU_ACCESS_READ};
		struct vmmu_fault_result result;
		enum vmmu_level want = naive_level(&two, &one, gfn, VMMU_LEVEL_1G);

		if (want == VMMU_LEVEL_1G && gfn % ALL_1G)
			continue; /* mapped with its first block */
		assert_int_equal(vmmu_fault_handle(sim->vcpu[0], &fault, &result),
				 VMMU_OUTCOME_RESUME);
		assert_int_equal(result.level, want);
		faults++;
	}
	assert_int_equal(sim_vm_audit(sim), 0);
	free(two.refused);
	free(one.refused);
	sim_vm_free(sim);
	return faults;
}

void faults_install_the_largest_leaf_that_the_slot_allows_r29(void **state)
{
	uint64_t faults = 0;

	(void)state;
	faults += fault_all(ALL_1G * 2, ALL_1G, 0, 0);              /* 1 */
	faults += fault_all(ALL_1G * 2 - 1, ALL_1G + 2, 0, 0);      /* 1 + 1 + 1 */
	faults += fault_all(ALL_1G * 2 + 1, ALL_1G - 1, 0, 0);      /* 512 */
	faults += fault_all(ALL_1G * 2, ALL_1G - 1, 0, 0);          /* 512 */
	faults += fault_all(ALL_1G * 2 - 513, ALL_1G + 1024, 0, 0); /* 2 + 1 + 1 */
	faults += fault_all(ALL_1G * 2, 2048, ALL_2M, 0);           /* 4 */
	faults += fault_all(ALL_1G * 2, ALL_1G, ALL_2M, 0);         /* 512 */
	faults += fault_all(ALL_1G * 2, 2048, 1, 0);                /* 4 */
	faults += fault_all(ALL_1G * 2, 2048, 0, VMMU_SLOT_SMALL);  /* 4 */
	faults += fault_all(ALL_1G * 2 + 100, 300, 0, 0);           /* 1 */
	assert_int_equal(faults, 1 + 3 + 512 + 512 + 4 + 4 + 512 + 4 + 4 + 1);
}
