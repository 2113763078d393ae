/* SPDX-License-Identifier: MIT */
#include "lab.h"

#include <stdlib.h>
#include <string.h>

#define RAM_FRAMES 8192u
#define TABLES_FRAMES 16u
#define RW (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE | LINEAR_ACCESSED | LINEAR_DIRTY)

/* Callbacks of the port know the simulated VM only; tests have one lab at a time. */
static struct lab *the_lab;
static void (*sim_flush)(void *host, const struct vmmu_flush *flush);

/* ---- hooks ---- */

static void run(struct lab *lab, lab_hook_fn *hook)
{
	if (!hook || lab->in_hook)
		return;
	lab->in_hook = true;
	hook(lab, lab->context);
	lab->in_hook = false;
}

static void flush(void *host, const struct vmmu_flush *what)
{
	run(the_lab, the_lab->on_flush);
	sim_flush(host, what);
}

static bool should_yield(void *host)
{
	(void)host;
	return the_lab->on_pause && !the_lab->in_hook;
}

static void yield(void *host)
{
	(void)host;
	if (the_lab->svm ? the_lab->svm->locks_held : the_lab->sim->locks_held)
		sim_violation(the_lab->machine, "yield with a lock held");
	run(the_lab, the_lab->on_pause);
}

static void take_port(struct lab *lab, struct vmmu_port *port)
{
	the_lab = lab;
	sim_flush = port->tlb_flush;
	port->tlb_flush = flush;
	port->should_yield = should_yield;
	port->yield = yield;
	if (lab->options.deaf) {
		port->page_dirty = NULL;
		port->trace = NULL;
	}
}

/* ---- making ---- */

static struct sim_config machine_of(const struct lab_options *o)
{
	struct sim_config c = {
		.seed = 23,
		.frame_count = o->pages + RAM_FRAMES,
		.host_page_count = o->pages + TABLES_FRAMES,
		.tlb_count = 512,
		.psc_count = 64,
		.mode = SIM_CPU_ALWAYS_STALE,
	};

	/* A whole run, wherever RAM begins, and tables in front of it. */
	if (o->pages >= LAB_GIGABYTE) {
		c.frame_count = (o->pages / LAB_GIGABYTE + 1) * LAB_GIGABYTE + RAM_FRAMES;
		c.frames_in_order = true;
	}
	return c;
}

static void new_nested(struct lab *lab)
{
	struct sim_vm_options o = {
		.machine = machine_of(&lab->options),
		.vm = sim_vm_config(),
		.run_level = lab->options.run_level,
	};

	o.vm.format = lab->engine == LAB_NPT ? VMMU_FORMAT_NPT : VMMU_FORMAT_EPT;
	o.vm.no_accessed_dirty = lab->engine == LAB_EPT_PLAIN;
	o.vm.prefetch = lab->options.prefetch;
	o.own_locks = true;
	lab->sim = sim_vm_new(&o, lab->options.vcpus);
	assert_non_null(lab->sim);
	lab->vm = lab->sim->vm;
	lab->machine = lab->sim->machine;
	take_port(lab, &lab->sim->port);
}

static void poke(struct lab *lab, uint64_t frame, uint64_t index, uint64_t entry)
{
	assert_true(shadow_poke(lab->svm, frame << VMMU_PAGE_SHIFT | 8 * index, 8, entry));
}

static void build_guest(struct lab *lab)
{
	struct shadow_slot tables = {.count = TABLES_FRAMES, .host = lab->options.pages};
	struct linear_regs regs = {
		.mode = LINEAR_4_LEVEL,
		.vendor = LINEAR_INTEL,
		.cr3 = LAB_PML4 << VMMU_PAGE_SHIFT,
		.wp = true,
		.nxe = true,
		.maxphyaddr = 40,
		.pse36_width = 40,
		.has_1g = true,
	};

	assert_int_equal(shadow_slot_create(lab->svm, LAB_TABLES_SLOT, &tables), VMMU_OK);
	poke(lab, LAB_PML4, 0, LAB_PDPT << 12 | RW);
	poke(lab, LAB_PDPT, 1, LAB_PD << 12 | RW);
	poke(lab, LAB_PDPT, 2, LAB_PD_2M << 12 | RW);
	poke(lab, LAB_PDPT, 3, LAB_BASE << 12 | RW | LINEAR_HUGE);
	for (uint64_t i = 0; i < 2048; i++)
		poke(lab, LAB_PT + i / 512, i % 512, (LAB_BASE + i) << 12 | RW);
	for (uint64_t i = 0; i < 512; i++) {
		if (i < 4)
			poke(lab, LAB_PD, i, (LAB_PT + i) << 12 | RW);
		poke(lab, LAB_PD_2M, i, (LAB_BASE + 512 * i) << 12 | RW | LINEAR_HUGE);
	}
	for (unsigned i = 0; i < lab->options.vcpus; i++)
		shadow_reset(lab->svm, i, &regs);
}

static void new_shadow(struct lab *lab)
{
	struct shadow_options o = {
		.machine = machine_of(&lab->options),
		.prefetch = lab->options.prefetch,
		.own_locks = true,
	};

	lab->svm = shadow_vm_new(&o, lab->options.vcpus);
	assert_non_null(lab->svm);
	lab->vm = lab->svm->vm;
	lab->machine = lab->svm->machine;
	take_port(lab, &lab->svm->port);
}

struct lab *lab_new(enum lab_engine engine, const struct lab_options *options)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	assert_non_null(lab);
	lab->engine = engine;
	if (options)
		lab->options = *options;
	if (!lab->options.vcpus)
		lab->options.vcpus = 2;
	if (!lab->options.prefetch)
		lab->options.prefetch = 1;
	if (!lab->options.run_level)
		lab->options.run_level = SIM_LEVEL_4K;
	if (!lab->options.pages)
		lab->options.pages = 4096;
	if (engine == LAB_SHADOW)
		new_shadow(lab);
	else
		new_nested(lab);
	assert_true(sim_host_populate(lab->machine, (sim_hpage_t){0}, lab->options.pages,
				      lab->options.run_level));
	assert_true(sim_host_populate(lab->machine, (sim_hpage_t){lab->options.pages},
				      TABLES_FRAMES, SIM_LEVEL_4K));
	if (lab->svm)
		build_guest(lab);
	return lab;
}

static void no_violation(const struct lab *lab)
{
	if (sim_violation_count(lab->machine))
		fail_msg("engine %d: %s", (int)lab->engine, sim_violation_text(lab->machine, 0));
}

void lab_check(struct lab *lab)
{
	if (lab->svm)
		shadow_check(lab->svm);
	else
		sim_vm_check(lab->sim);
	no_violation(lab);
}

void lab_end(struct lab *lab)
{
	lab->on_pause = lab->on_flush = NULL;
	if (!vmmu_vm_death(lab->vm))
		lab_check(lab);
	no_violation(lab);
	if (lab->svm)
		shadow_vm_free(lab->svm);
	else
		sim_vm_free(lab->sim);
	free(lab);
}

/* ---- slots and host memory ---- */

void lab_slot(struct lab *lab, unsigned id, uint64_t gfn, uint64_t count, uint64_t host,
	      uint32_t flags)
{
	struct shadow_slot slot = {.gfn = gfn, .count = count, .host = host, .flags = flags};
	enum vmmu_error error =
		lab->svm ? shadow_slot_create(lab->svm, id, &slot)
			 : sim_slot_create(lab->sim, 0, (uint16_t)id, gfn, count, host, flags);

	assert_int_equal(error, VMMU_OK);
}

void lab_slot_delete(struct lab *lab, unsigned id)
{
	assert_int_equal(lab->svm ? shadow_slot_delete(lab->svm, id)
				  : sim_slot_delete(lab->sim, 0, (uint16_t)id),
			 VMMU_OK);
}

void lab_flags(struct lab *lab, unsigned id, uint32_t flags)
{
	assert_int_equal(vmmu_slot_set_flags(lab->vm, 0, (uint16_t)id, flags), VMMU_OK);
	no_violation(lab);
}

uint32_t lab_flags_of(struct lab *lab, uint64_t gfn)
{
	struct vmmu_slot_config config;

	assert_int_equal(vmmu_slot_find(lab->vm, 0, (vmmu_gfn_t){gfn}, &config), VMMU_OK);
	return config.flags;
}

bool lab_migrate(struct lab *lab, uint64_t page)
{
	return lab->svm ? shadow_migrate(lab->svm, page) : sim_vm_migrate(lab->sim, page);
}

bool lab_write_protect(struct lab *lab, uint64_t page)
{
	return lab->svm ? shadow_write_protect(lab->svm, page)
			: sim_vm_write_protect(lab->sim, page);
}

/* ---- accesses ---- */

uint64_t lab_linear(const struct lab *lab, uint64_t gfn)
{
	return (gfn + lab->window * LAB_GIGABYTE) << VMMU_PAGE_SHIFT;
}

static void shadow_must(struct lab *lab, unsigned vcpu, uint64_t gfn, bool write)
{
	uint64_t gva = lab_linear(lab, gfn);
	struct shadow_result r =
		write ? shadow_write(lab->svm, vcpu, gva, 0x77) : shadow_read(lab->svm, vcpu, gva);

	no_violation(lab);
	assert_int_equal(r.end, SHADOW_MEMORY);
	assert_int_equal(r.gpa >> VMMU_PAGE_SHIFT, gfn);
}

static void nested_must(struct lab *lab, unsigned vcpu, uint64_t gfn, enum sim_access_kind kind)
{
	uint64_t value = oracle_fresh_value(lab->sim->oracle);
	enum sim_access_end end =
		sim_vm_access(lab->sim, vcpu, gfn << VMMU_PAGE_SHIFT, kind, &value);

	no_violation(lab);
	assert_int_equal(end, SIM_ACCESS_MEMORY);
}

void lab_write(struct lab *lab, unsigned vcpu, uint64_t gfn)
{
	if (lab->svm)
		shadow_must(lab, vcpu, gfn, true);
	else
		nested_must(lab, vcpu, gfn, SIM_WRITE);
}

void lab_read(struct lab *lab, unsigned vcpu, uint64_t gfn)
{
	if (lab->svm)
		shadow_must(lab, vcpu, gfn, false);
	else
		nested_must(lab, vcpu, gfn, SIM_READ);
}

void lab_read_quietly(struct lab *lab, unsigned vcpu, uint64_t gfn)
{
	uint64_t faults = lab_stat(lab, VMMU_STAT_FAULTS);

	lab_read(lab, vcpu, gfn);
	if (lab_stat(lab, VMMU_STAT_FAULTS) != faults)
		fail_msg("engine %d: reading frame %llx faults", (int)lab->engine,
			 (unsigned long long)gfn);
}

static bool nested_cpu_writes(struct sim_vm *sim, unsigned vcpu, uint64_t gfn)
{
	sim_gpa_t gpa = {gfn << VMMU_PAGE_SHIFT};
	uint64_t value = oracle_fresh_value(sim->oracle);
	struct sim_result r;

	if (!sim->running[vcpu])
		return false;
	r = sim_cpu_access(sim_machine_cpu(sim->machine, vcpu), gpa, SIM_WRITE);
	if (r.outcome != SIM_OK)
		return false;
	sim_vm_wrote(sim, r.hpa.bytes >> VMMU_PAGE_SHIFT);
	sim_ram_write(sim->machine, r.hpa, value);
	return oracle_store(sim->oracle, sim->space[vcpu], gpa, value);
}

bool lab_cpu_writes(struct lab *lab, unsigned vcpu, uint64_t gfn)
{
	if (lab->sim)
		return nested_cpu_writes(lab->sim, vcpu, gfn);
	return shadow_race_write(lab->svm, vcpu, lab_linear(lab, gfn), gfn << VMMU_PAGE_SHIFT,
				 0x99);
}

void lab_enter(struct lab *lab, unsigned vcpu)
{
	assert_int_equal(lab->svm ? shadow_enter(lab->svm, vcpu) : sim_vm_enter(lab->sim, vcpu),
			 VMMU_OK);
}

void lab_leave(struct lab *lab, unsigned vcpu)
{
	if (lab->svm)
		shadow_leave(lab->svm, vcpu);
	else
		sim_vm_leave(lab->sim, vcpu);
}

/* ---- answers ---- */

uint64_t lab_stat(struct lab *lab, enum vmmu_stat stat)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(lab->vm, values);
	return values[stat];
}

struct vmmu_gfn_range lab_range(uint64_t start, uint64_t end)
{
	return (struct vmmu_gfn_range){{start}, {end}};
}

enum vmmu_error lab_look(struct lab *lab, unsigned id, uint64_t first, uint64_t count,
			 uint64_t *bitmap, uint64_t *found)
{
	struct vmmu_slot_part part = {.id = (uint16_t)id, .first = first, .count = count};

	return vmmu_dirty_log(lab->vm, &part, bitmap, found);
}

#define WORDS (LAB_GIGABYTE / 64)

void lab_tells(struct lab *lab, unsigned id, const uint64_t *frames, unsigned line)
{
	static uint64_t bitmap[WORDS];
	uint64_t found = UINT64_MAX, named = 0;

	memset(bitmap, 0, sizeof(bitmap));
	assert_int_equal(lab_look(lab, id, 0, 0, bitmap, &found), VMMU_OK);
	no_violation(lab);
	for (; frames[named] != LAB_NO_MORE; named++) {
		uint64_t *word = &bitmap[frames[named] / 64];
		uint64_t bit = UINT64_C(1) << frames[named] % 64;

		if (!(*word & bit))
			fail_msg("engine %d, line %u: frame %llu of the slot is not told",
				 (int)lab->engine, line, (unsigned long long)frames[named]);
		*word &= ~bit;
	}
	for (uint64_t i = 0; i < WORDS; i++)
		if (bitmap[i])
			fail_msg("engine %d, line %u: frame %llu of the slot is told",
				 (int)lab->engine, line,
				 (unsigned long long)(64 * i) +
					 (unsigned)__builtin_ctzll(bitmap[i]));
	assert_int_equal(found, named);
}

void lab_forget(struct lab *lab, unsigned id)
{
	assert_int_equal(lab_look(lab, id, 0, 0, NULL, NULL), VMMU_OK);
}
