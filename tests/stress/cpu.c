/* SPDX-License-Identifier: MIT */
/* vCPUs: hardware that walks the library's tables, and a guest that has tables of its own. */
#include <sched.h>

#include "stress.h"

#define PRESENT UINT64_C(1)
#define WRITABLE UINT64_C(2)
#define HUGE_LEAF UINT64_C(0x80)
#define ACCESSED UINT64_C(0x20)
#define DIRTY UINT64_C(0x40)
#define ADDRESS UINT64_C(0x0000fffffffff000)
#define RESERVED UINT64_C(0x000f000000000000) /* 48 address bits */

struct cpu cpus[VCPUS];

/* ---- interrupts ---- */

void cpus_interrupt(void)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		struct cpu *cpu = &cpus[i];
		uint64_t turns;

		cpu->kicked = true;
		turns = cpu->turns;
		while (cpu->in_guest && cpu->turns == turns)
			sched_yield();
	}
}

/* Return: false, an interrupt was there first, or there is no memory. */
static bool go_in(struct cpu *cpu, struct vmmu_entry *entry)
{
	cpu->kicked = false;
	if (vmmu_vcpu_enter(cpu->vcpu, entry) != VMMU_OK) {
		violation("enter fails");
		return false;
	}
	cpu->in_guest = true;
	cpu->turns++;
	if (!cpu->kicked)
		return true;
	cpu->in_guest = false;
	cpu->turns++;
	vmmu_vcpu_leave(cpu->vcpu);
	return false;
}

static void go_out(struct cpu *cpu)
{
	cpu->in_guest = false;
	cpu->turns++;
	vmmu_vcpu_leave(cpu->vcpu);
}

/* ---- a walk ---- */

struct walk {
	uint64_t address;
	bool write;
	/* out */
	bool is_there, denied, reserved;
	uint64_t pfn;
};

static void walk(const struct vmmu_entry *entry, struct walk *w)
{
	uintptr_t table = (uintptr_t)entry->root.addr;

	w->is_there = w->denied = w->reserved = false;
	for (unsigned level = entry->root_level; level; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		_Atomic uint64_t *slot = (_Atomic uint64_t *)table + (w->address >> shift & 511);
		uint64_t e = *slot, with = ACCESSED;

		if (!(e & PRESENT))
			return;
		if (e & RESERVED) {
			w->reserved = true;
			return;
		}
		if (w->write && !(e & WRITABLE)) {
			w->denied = true;
			return;
		}
		if (level > 1 && !(e & HUGE_LEAF)) {
			table = (uintptr_t)(e & ADDRESS);
			continue;
		}
		with |= w->write ? DIRTY : 0;
		if ((e & with) != with && !atomic_compare_exchange_strong(slot, &e, e | with)) {
			level++; /* it changed: look again */
			continue;
		}
		w->pfn = ((e & ADDRESS) >> 12) +
			 (w->address >> 12 & ((UINT64_C(1) << (shift - 12)) - 1));
		w->is_there = true;
		return;
	}
}

/* The word behind a translation; NULL: that is no memory of the guest's. */
static _Atomic uint64_t *word_of(const struct walk *w, unsigned index)
{
	if (w->pfn - FIRST_PFN >= FRAMES) {
		violation("address %llx leads out of memory", (unsigned long long)w->address);
		return NULL;
	}
	return &frames[w->pfn - FIRST_PFN].word[index];
}

/* ---- two-dimensional paging ---- */

static void check_page(uint64_t page, uint64_t gfn, const struct slot_view *before)
{
	struct slot_view after = slots_look();
	bool unsure = false;

	if (page >= PAGES)
		violation("gfn %llx: %s", (unsigned long long)gfn,
			  page == POISON ? "a page that was given back" : "no page at all");
	else if (!slots_allow(before, &after, page, gfn, &unsure))
		violation("gfn %llx led to page %llu, which no slot has there",
			  (unsigned long long)gfn, (unsigned long long)page);
	counts.unsure += unsure;
	counts.accesses++;
}

static void handle(struct cpu *cpu, const struct walk *w)
{
	struct vmmu_fault fault = {
		.gpa = {w->address},
		.access = w->write ? VMMU_ACCESS_WRITE : VMMU_ACCESS_READ,
		.flags = (w->reserved ? VMMU_FAULT_RESERVED : 0) |
			 (w->reserved || w->denied ? VMMU_FAULT_PRESENT : 0),
	};
	struct vmmu_fault_result result;
	enum vmmu_outcome outcome = vmmu_fault_handle(cpu->vcpu, &fault, &result);

	counts.faults++;
	counts.devices += outcome == VMMU_OUTCOME_MMIO;
	if (outcome != VMMU_OUTCOME_RESUME && outcome != VMMU_OUTCOME_SPURIOUS &&
	    outcome != VMMU_OUTCOME_RETRY && outcome != VMMU_OUTCOME_MMIO)
		violation("outcome %s", vmmu_outcome_name(outcome));
}

static void live_tdp(struct cpu *cpu)
{
	struct walk w = {.is_there = true};
	struct vmmu_entry entry;

	if (!go_in(cpu, &entry))
		return;
	for (unsigned i = 0; i < 6 && w.is_there && !cpu->kicked; i++) {
		uint64_t gfn = BASE_OF(roll(SLOTS)) + roll(SLOT_PAGES + 10);
		struct slot_view before = slots_look();
		_Atomic uint64_t *word;

		w.address = gfn << 12;
		w.write = roll(2);
		walk(&entry, &w);
		word = w.is_there ? word_of(&w, 0) : NULL;
		if (!word)
			continue;
		if (w.write)
			word[1 + cpu->index]++;
		check_page(*word, gfn, &before);
	}
	go_out(cpu);
	if (!w.is_there)
		handle(cpu, &w);
}

/* ---- shadow paging ----
 *
 * Pages 1, 2, 3 of the first slot are the upper tables; page 8 + i is vCPU i's own, lowest one,
 * which maps 64 frames of any slot; page 16 maps the first slot as it is, for writing tables.
 */
#define OWN_TABLE(i) (8u + (i))
#define ALL_TABLE 16u
#define ALL_REGION 4u

static void set_entry(uint64_t page, unsigned index, uint64_t gfn)
{
	*page_word_get(page, index) = gfn << 12 | DIRTY | ACCESSED | WRITABLE | PRESENT;
	page_word_put();
}

static void make_tables(void)
{
	set_entry(1, 0, 2);
	set_entry(2, 0, 3);
	for (unsigned i = 0; i < VCPUS; i++) {
		set_entry(3, i, OWN_TABLE(i));
		for (unsigned k = 0; k < SLOT_PAGES; k++)
			set_entry(OWN_TABLE(i), k, BASE_OF(1) + k);
	}
	set_entry(3, ALL_REGION, ALL_TABLE);
	for (unsigned k = 0; k < SLOT_PAGES; k++)
		set_entry(ALL_TABLE, k, k);
}

/* An instruction that writes a table, by the device model. */
static void emulate_write(uint64_t gpa, uint64_t value)
{
	host_store_begin(gpa >> 12);
	*page_word_get(gpa >> 12, gpa >> 3 & 511) = value;
	page_word_put();
	if (vmmu_guest_written(vm, 0, (vmmu_gpa_t){gpa & ~UINT64_C(7)}, 8) != VMMU_OK)
		violation("guest_written fails");
	host_store_end(gpa >> 12);
	counts.table_writes++;
}

/* Return: true, it is over: a device, or emulated. */
static bool shadow_fault(struct cpu *cpu, const struct walk *w, uint64_t value)
{
	uint32_t error = (w->write ? 2u : 0u) | (w->denied || w->reserved ? 1u : 0u) |
			 (w->reserved ? 8u : 0u);
	struct vmmu_shadow_result result;
	enum vmmu_outcome outcome =
		vmmu_shadow_fault(cpu->vcpu, (vmmu_gva_t){w->address}, error, 0, &result);

	counts.faults++;
	if (outcome == VMMU_OUTCOME_RESUME || outcome == VMMU_OUTCOME_SPURIOUS ||
	    outcome == VMMU_OUTCOME_RETRY)
		return false;
	if (outcome == VMMU_OUTCOME_TABLE_WRITE) {
		emulate_write(result.gpa.addr, value);
	} else if (outcome == VMMU_OUTCOME_MMIO) {
		counts.devices++;
	} else {
		violation("address %llx, error %x: outcome %s", (unsigned long long)w->address,
			  error, vmmu_outcome_name(outcome));
	}
	return true;
}

/* In the guest: the library lets it. */
static void write_table(_Atomic uint64_t *frame, const struct walk *w, uint64_t value)
{
	frame[w->address >> 3 & 511] = value;
	counts.table_writes++;
}

/* One access; @gfn: where the guest's table says, UINT64_MAX: another vCPU may be changing it. */
static void shadow_access(struct cpu *cpu, struct walk *w, uint64_t gfn, uint64_t value)
{
	/* A page that the host takes away, and the thread that does not run: it may take long. */
	while (!stop) {
		struct slot_view before;
		struct vmmu_entry entry;
		_Atomic uint64_t *word;

		if (!go_in(cpu, &entry))
			continue;
		before = slots_look();
		walk(&entry, w);
		word = w->is_there ? word_of(w, 0) : NULL;
		if (word && gfn < SLOT_PAGES && w->write)
			write_table(word, w, value);
		else if (word && w->write)
			word[1 + cpu->index]++;
		if (word && gfn == UINT64_MAX && *word == POISON)
			violation("a page that was given back");
		if (word && gfn != UINT64_MAX && gfn >= SLOT_PAGES)
			check_page(*word, gfn, &before);
		go_out(cpu);
		if (word || shadow_fault(cpu, w, value))
			return;
	}
}

/* Read and write by the own table; change an entry of it now and then; read by those of others. */
static void live_shadow(struct cpu *cpu, uint64_t *own)
{
	uint64_t k = roll(SLOT_PAGES), region = cpu->index;
	struct walk w = {.write = roll(2)};

	if (roll(8) == 0) {
		uint64_t at = (uint64_t)ALL_REGION << 21 | OWN_TABLE(cpu->index) << 12 | k << 3;
		uint64_t marks = roll(2) ? DIRTY | ACCESSED : 0; /* or the library sets them */

		own[k] = BASE_OF(1 + roll(SLOTS - 1)) + roll(SLOT_PAGES);
		w.address = at;
		w.write = true;
		shadow_access(cpu, &w, OWN_TABLE(cpu->index),
			      own[k] << 12 | marks | WRITABLE | PRESENT);
		vmmu_shadow_invlpg(cpu->vcpu, (vmmu_gva_t){region << 21 | k << 12});
	} else if (roll(4) == 0) {
		region = roll(VCPUS);
	}
	w.address = region << 21 | k << 12;
	w.write = region == cpu->index && roll(2);
	shadow_access(cpu, &w, region == cpu->index ? own[k] : UINT64_MAX, 0);
}

/* ---- the thread ---- */

static void begin_shadow(struct cpu *cpu)
{
	struct vmmu_paging paging = {
		.mode = VMMU_PAGING_4LEVEL,
		.cr3 = 1 << 12,
		.physical_bits = 40,
		.nx = true,
		.wp = true,
	};

	if (!cpu->index)
		make_tables();
	if (vmmu_shadow_set_paging(cpu->vcpu, &paging) != VMMU_OK)
		violation("set_paging fails");
}

void *cpu_thread(void *argument)
{
	struct cpu *cpu = argument;
	uint64_t own[SLOT_PAGES];

	for (unsigned k = 0; k < SLOT_PAGES; k++)
		own[k] = BASE_OF(1) + k;
	roll_seed(1000 + cpu->index);
	while (!stop) {
		if (is_shadow)
			live_shadow(cpu, own);
		else
			live_tdp(cpu);
	}
	return argument;
}

void cpus_begin(void)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		cpus[i].index = i;
		if (vmmu_vcpu_create(vm, &cpus[i], &cpus[i].vcpu) != VMMU_OK)
			violation("no vCPU");
		if (is_shadow)
			begin_shadow(&cpus[i]);
	}
}
