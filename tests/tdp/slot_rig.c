/* SPDX-License-Identifier: MIT */
#include "slot_rig.h"

struct sim_vm *slot_vm(unsigned levels, unsigned spaces, unsigned vcpus)
{
	struct sim_vm_options options = {
		.machine = {.seed = 11, .frame_count = 4096, .host_page_count = 16},
		.vm = sim_vm_config(),
		.direct = true,
	};
	struct sim_vm *sim;

	options.vm.root_level = levels;
	options.vm.physical_bits = 52;
	options.vm.spaces = spaces;
	sim = sim_vm_new(&options, vcpus);
	assert_non_null(sim);
	return sim;
}

struct vmmu_slot_config slot_config(unsigned space, unsigned id, uint64_t base, uint64_t count)
{
	return (struct vmmu_slot_config){
		.id = (uint16_t)id,
		.space = (uint16_t)space,
		.base = {base},
		.count = count,
		.host_base = UINT64_C(0x100000000) + (base % 0x10000000 << VMMU_PAGE_SHIFT),
	};
}

static uint64_t mix(uint64_t digest, uint64_t word)
{
	return (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15) + (digest >> 29);
}

uint64_t slot_digest(const struct sim_vm *sim)
{
	uint64_t digest = 1;

	for (unsigned space = 0; space < sim->vm->config.spaces; space++) {
		const struct vmmu_slot_set *set = slot_set(sim, space);
		vmmu_gfn_t next = {0};
		const struct vmmu_slot *slot;

		digest = mix(digest, vmmu_slot_generation(sim->vm, space));
		digest = mix(digest, set->slots);
		digest = mix(digest, set->frames);
		while ((slot = vmmu_slots_from(set, next)) != NULL) {
			digest = mix(digest, slot->base.n);
			digest = mix(digest, slot->count);
			digest = mix(digest, slot->host_base);
			digest = mix(digest, slot->id | slot->flags << 16 | slot->space << 24);
			next.n = slot->base.n + slot->count;
		}
	}
	return digest;
}

void slot_check_set(const struct sim_vm *sim, unsigned space)
{
	const struct vmmu_slot_set *set = slot_set(sim, space);
	uint64_t end = 0, slots = 0, frames = 0;

	assert_in_range(set->chunks, 0, SLOT_CHUNKS_MAX);
	for (uint32_t c = 0; c < set->chunks; c++) {
		const struct vmmu_slot_chunk *chunk = set->chunk[c];

		assert_in_range(chunk->count, 1, VMMU_CHUNK_SLOTS);
		for (uint64_t i = 0; i < chunk->count; i++) {
			const struct vmmu_slot *slot = &chunk->slots[i];

			assert_true(slot->base.n >= end && slot->count > 0);
			assert_int_equal(slot->space, space);
			end = slot->base.n + slot->count;
			frames += slot->count;
			slots++;
		}
	}
	assert_int_equal(set->slots, slots);
	assert_int_equal(set->frames, frames);
	assert_int_equal(set->generation, vmmu_slot_generation(sim->vm, space));
}

static uint64_t pages_of_space(const struct vmmu_slot_space *space)
{
	uint64_t pages = 1 + vmmu_slots_now(space)->chunks;

	for (unsigned i = 0; i < VMMU_ID_PAGES; i++)
		pages += space->by_id[i] != NULL;
	return pages;
}

/* struct pool_page is table.c's own: the link is its first member. */
static uint64_t pool_pages(const struct vmmu_pages *pages)
{
	uint64_t count = 0;

	for (const void *page = pages->pool_pages; page; page = *(const void *const *)page)
		count++;
	return count;
}

uint64_t slot_pages_held(const struct sim_vm *sim)
{
	const struct vmmu_vm *vm = sim->vm;
	uint64_t pages = 1 + 1 + vm->pages.index->pages; /* VM, index, buckets */

	for (unsigned space = 0; space < vm->config.spaces; space++)
		pages += pages_of_space(&vm->spaces[space]);
	for (const struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
		pages += 1 + v->cache.count;
	/* What clients track: their page, and the cells. */
	pages += vmmu_tracking_of(vm) != NULL;
	for (const struct vmmu_page_log *log = vm->frame_pages; log; log = log->next)
		pages += 1 + log->count;
	return pages + pool_pages(&vm->pages) + atomic_get(&vm->pages.live) +
	       atomic_get(&vm->pages.retired_count);
}
