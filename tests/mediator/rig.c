/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_WORDS = RIG_SLOT_FRAMES * MEDIATOR_PAGE_ENTRIES, ROM_SLOT = 2 };

/* --- the library's host --- */

static vmmu_pfn_t page_alloc(void *host)
{
	void *page = aligned_alloc(VMMU_PAGE_BYTES, VMMU_PAGE_BYTES);

	(void)host;
	assert_non_null(page);
	memset(page, 0, VMMU_PAGE_BYTES);
	return (vmmu_pfn_t){(uintptr_t)page >> VMMU_PAGE_SHIFT};
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	(void)host;
	return (void *)(uintptr_t)vmmu_pfn_to_hpa(pfn).addr;
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	free(page_map(host, pfn));
}

/* No CPU keeps translations: each store asks the library. */
static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	(void)host;
	(void)flush;
}

static const struct vmmu_port port = {
	.page_alloc = page_alloc,
	.page_free = page_free,
	.page_map = page_map,
	.tlb_flush = tlb_flush,
};

/* --- the mediator's host --- */

static _Atomic uint64_t *slot_words(const struct rig_slot *slot, unsigned half)
{
	return slot->memory + (size_t)half * SLOT_WORDS;
}

/* Under slots_lock. */
static _Atomic uint64_t *word_find(struct rig *rig, uint64_t gpa)
{
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;

	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		const struct rig_slot *slot = &rig->slots[i];

		if (slot->there && gfn >= slot->base && gfn < slot->base + RIG_SLOT_FRAMES)
			return slot_words(slot, slot->half) +
			       (gpa - (slot->base << VMMU_PAGE_SHIFT)) / 8;
	}
	return NULL;
}

_Atomic uint64_t *rig_word(struct rig *rig, uint64_t gpa)
{
	_Atomic uint64_t *word;

	pthread_mutex_lock(&rig->slots_lock);
	word = word_find(rig, gpa);
	pthread_mutex_unlock(&rig->slots_lock);
	return word;
}

vmmu_pfn_t rig_frame(struct rig *rig, uint64_t gfn)
{
	_Atomic uint64_t *word = rig_word(rig, gfn << VMMU_PAGE_SHIFT);

	return word ? (vmmu_pfn_t){(uintptr_t)word >> VMMU_PAGE_SHIFT} : VMMU_PFN_NONE;
}

static bool host_read(void *host, vmmu_gpa_t gpa, void *to, uint32_t bytes)
{
	_Atomic uint64_t *from = rig_word(host, gpa.addr);
	struct rig *rig = host;
	uint64_t *words = to;

	if (rig->on_read && rig->on_read_gpa - gpa.addr < bytes)
		rig->on_read(rig);
	for (uint32_t i = 0; from && i < bytes / 8; i++)
		words[i] = atomic_load(&from[i]);
	return from != NULL;
}

static bool host_frame_get(void *host, vmmu_gfn_t gfn, vmmu_pfn_t *pfn)
{
	struct rig *rig = host;

	*pfn = rig_frame(rig, gfn.n);
	if (vmmu_pfn_is_none(*pfn))
		return false;
	atomic_fetch_add(&rig->pins, 1);
	return true;
}

static void host_frame_put(void *host, vmmu_pfn_t pfn)
{
	struct rig *rig = host;

	assert_false(vmmu_pfn_is_none(pfn));
	assert_true(atomic_fetch_sub(&rig->pins, 1) > 0);
}

static void host_lock(void *host)
{
	pthread_mutex_lock(&((struct rig *)host)->lock);
}

static void host_unlock(void *host)
{
	pthread_mutex_unlock(&((struct rig *)host)->lock);
}

static const struct mediator_host mediator_host = {
	.read = host_read,
	.frame_get = host_frame_get,
	.frame_put = host_frame_put,
	.lock = host_lock,
	.unlock = host_unlock,
};

/* --- slots --- */

static void poison(const struct rig_slot *slot, unsigned half)
{
	for (unsigned i = 0; i < SLOT_WORDS; i++)
		atomic_store(&slot_words(slot, half)[i], RIG_POISON);
}

void rig_slot_tell(struct rig *rig, unsigned index)
{
	const struct rig_slot *slot = &rig->slots[index];
	struct vmmu_slot_config config = {
		.id = (uint16_t)index,
		.flags = index == ROM_SLOT ? VMMU_SLOT_READONLY : 0,
		.base = {slot->base},
		.count = RIG_SLOT_FRAMES,
		.host_base = (uintptr_t)slot_words(slot, slot->half),
	};

	assert_int_equal(vmmu_slot_create(rig->vm, &config), VMMU_OK);
}

void rig_slot_delete(struct rig *rig, unsigned index)
{
	struct rig_slot *slot = &rig->slots[index];
	unsigned other = 1 - slot->half;

	assert_int_equal(vmmu_slot_delete(rig->vm, 0, (uint16_t)index), VMMU_OK);
	pthread_mutex_lock(&rig->slots_lock);
	slot->there = false;
	pthread_mutex_unlock(&rig->slots_lock);
	for (unsigned i = 0; i < SLOT_WORDS; i++)
		atomic_store(&slot_words(slot, other)[i],
			     atomic_load(&slot_words(slot, slot->half)[i]));
	poison(slot, slot->half);
	slot->half = other;
}

void rig_slot_create(struct rig *rig, unsigned index)
{
	pthread_mutex_lock(&rig->slots_lock);
	rig->slots[index].there = true;
	pthread_mutex_unlock(&rig->slots_lock);
	rig_slot_tell(rig, index);
}

/* --- guest and device --- */

enum vmmu_outcome rig_fault(struct rig *rig, unsigned cpu, uint64_t gpa)
{
	struct vmmu_fault fault = {.gpa = {gpa}, .access = VMMU_ACCESS_WRITE};
	struct vmmu_fault_result result;
	enum vmmu_outcome outcome;
	struct vmmu_entry entry;

	do {
		assert_int_equal(vmmu_vcpu_enter(rig->vcpu[cpu], &entry), VMMU_OK);
		vmmu_vcpu_leave(rig->vcpu[cpu]);
		outcome = vmmu_fault_handle(rig->vcpu[cpu], &fault, &result);
	} while (outcome == VMMU_OUTCOME_RETRY);
	return outcome;
}

enum vmmu_outcome rig_store(struct rig *rig, unsigned cpu, uint64_t gpa, uint64_t value)
{
	enum vmmu_outcome outcome = rig_fault(rig, cpu, gpa);
	_Atomic uint64_t *word;

	pthread_mutex_lock(&rig->slots_lock);
	word = word_find(rig, gpa);
	if (word && outcome != VMMU_OUTCOME_MMIO && outcome != VMMU_OUTCOME_READONLY)
		atomic_store(word, value);
	pthread_mutex_unlock(&rig->slots_lock);
	if (word && outcome == VMMU_OUTCOME_TRACKED)
		assert_int_equal(vmmu_guest_written(rig->vm, 0, (vmmu_gpa_t){gpa}, sizeof(value)),
				 VMMU_OK);
	return outcome;
}

vmmu_pfn_t rig_find(struct rig *rig, uint64_t number)
{
	const struct mediator_entry *entry;
	vmmu_pfn_t pfn = VMMU_PFN_NONE;

	mediator_hold(&rig->mediator);
	entry = mediator_find(&rig->mediator, number);
	if (entry)
		pfn = entry->pfn;
	mediator_release(&rig->mediator);
	return pfn;
}

unsigned rig_wrong(struct rig *rig, const uint64_t tables[], unsigned count)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < count * MEDIATOR_PAGE_ENTRIES; i++) {
		_Atomic uint64_t *word = rig_word(
			rig, rig_gpa(tables[i / MEDIATOR_PAGE_ENTRIES], i % MEDIATOR_PAGE_ENTRIES));
		uint64_t raw = word ? atomic_load(word) : 0;
		vmmu_pfn_t right = VMMU_PFN_NONE;

		if (raw & MEDIATOR_PRESENT)
			right = rig_frame(rig, (raw & MEDIATOR_FRAME) >> VMMU_PAGE_SHIFT);
		wrong += rig_find(rig, i).n != right.n;
	}
	return wrong;
}

/* --- birth and death --- */

void rig_mediator_begin(struct rig *rig)
{
	memset(&rig->mediator, 0, sizeof(rig->mediator));
	assert_int_equal(mediator_create(&rig->mediator, rig->vm, &mediator_host, rig), VMMU_OK);
}

void rig_mediator_end(struct rig *rig)
{
	mediator_destroy(&rig->mediator);
	assert_int_equal(atomic_load(&rig->pins), 0);
}

struct rig *rig_new(void)
{
	static const uint64_t bases[RIG_SLOTS] = {RIG_LOW, RIG_HIGH, RIG_ROM};
	const struct vmmu_vm_config config = {.format = VMMU_FORMAT_NPT,
					      .root_level = 4,
					      .spaces = 1,
					      .physical_bits = 52,
					      .max_leaf = VMMU_LEVEL_2M};
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	pthread_mutex_init(&rig->lock, NULL);
	pthread_mutex_init(&rig->slots_lock, NULL);
	assert_int_equal(vmmu_vm_create(&port, rig, &config, &rig->vm), VMMU_OK);
	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		size_t bytes = 2 * SLOT_WORDS * sizeof(uint64_t);

		rig->slots[i].base = bases[i];
		rig->slots[i].host = aligned_alloc(VMMU_PAGE_BYTES, bytes);
		assert_non_null(rig->slots[i].host);
		rig->slots[i].memory = memset(rig->slots[i].host, 0, bytes);
		rig_slot_create(rig, i);
	}
	for (unsigned i = 0; i < RIG_CPUS; i++)
		assert_int_equal(vmmu_vcpu_create(rig->vm, NULL, &rig->vcpu[i]), VMMU_OK);
	rig_mediator_begin(rig);
	return rig;
}

void rig_free(struct rig *rig)
{
	rig_mediator_end(rig);
	for (unsigned i = 0; i < RIG_CPUS; i++)
		vmmu_vcpu_destroy(rig->vcpu[i]);
	assert_int_equal(vmmu_vm_destroy(rig->vm), VMMU_OK);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		free(rig->slots[i].host);
	free(rig);
}
