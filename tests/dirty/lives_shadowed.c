/* SPDX-License-Identifier: MIT */
/*
 * Random lives under shadow paging with slots that log, the guest's own tables among their frames.
 * What the library marks in these is found by their content: it changes, and nobody wrote it.
 */
#include <stdlib.h>
#include <string.h>

#include "linear_format.h"
#include "lives.h"
#include "shadow_vm.h"

/* Slot 0: tables; slot 2: the rest of low memory, from the middle of a word of 64 frames on; slot
 * 1: huge pages. All low frames are mapped at WINDOW. */
#define FRAMES 128u
#define LOW 37u
#define PML4 8u
#define PDPT 9u
#define PD 10u
#define PT 11u
#define WINDOW_PT 12u
#define SECOND_PT 16u
#define DATA 40u
#define DATA_COUNT 12u
#define HUGE 0x400u
#define HUGE_COUNT 1024u
#define WINDOW UINT64_C(0x200000)
#define FAR UINT64_C(0x600000) /* fourth entry of the PD: SECOND_PT, or a huge page */
#define WORDS 128u             /* of a table; the guest uses no others */

#define RW (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE)
#define USED (LINEAR_ACCESSED | LINEAR_DIRTY)

static const uint64_t tables[] = {PML4, PDPT, PD, PT, WINDOW_PT, SECOND_PT};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

#define PAUSES 20u

struct life {
	struct shadow_vm *svm;
	struct model *model;
	void (*flush)(void *host, const struct vmmu_flush *what);
	uint64_t copy[TABLES][WORDS];
	bool told[TABLES]; /* somebody wrote it since the copy was made: the model knows */
	bool quiet, busy;
	uint64_t in_between;
	unsigned pauses; /* in which somebody may still get in, in this step */
	uint64_t recent; /* frame that was written through the window */
};

static struct life *the_life;

static uint64_t roll(struct life *l, uint64_t bound)
{
	return sim_random_below(l->svm->machine, bound);
}

/* ---- looking on ---- */

static void wrote(struct life *l, uint64_t gpa)
{
	uint64_t frame = gpa >> VMMU_PAGE_SHIFT;

	model_wrote(l->model, 0, frame);
	for (unsigned i = 0; i < TABLES; i++)
		l->told[i] |= tables[i] == frame;
	if (frame >= DATA && frame < FRAMES)
		l->recent = frame;
}

static void seen_write(void *context, const struct sim_seen *seen)
{
	if (seen->access == VMMU_ACCESS_WRITE)
		wrote(context, seen->gpa.addr);
}

/* Accessed and dirty bits that the library has set since the last time. */
static void note_marks(struct life *l)
{
	for (unsigned i = 0; i < TABLES; i++) {
		bool differs = false;

		for (unsigned k = 0; k < WORDS; k++) {
			uint64_t now = shadow_peek(l->svm, tables[i] << VMMU_PAGE_SHIFT | 8 * k);

			differs |= l->copy[i][k] != now;
			l->copy[i][k] = now;
		}
		if (differs && !l->told[i])
			model_wrote(l->model, 0, tables[i]);
		l->told[i] = false;
	}
}

/* ---- in the middle of a call ---- */

static void cpu_writes(struct life *l)
{
	uint64_t gpa = l->recent << VMMU_PAGE_SHIFT | 8 * roll(l, 4);

	if (!shadow_race_write(l->svm, (unsigned)roll(l, l->svm->vcpus), WINDOW + gpa, gpa,
			       roll(l, UINT32_MAX)))
		return;
	model_wrote(l->model, 0, l->recent);
	l->in_between++;
}

static void get_in(uint64_t one_in)
{
	struct life *l = the_life;

	if (!l || l->busy || l->quiet || roll(l, one_in))
		return;
	l->busy = true;
	cpu_writes(l);
	l->busy = false;
}

static void flush(void *host, const struct vmmu_flush *what)
{
	get_in(2);
	the_life->flush(host, what);
}

static void tables_written(void *host, vmmu_pfn_t table, unsigned index, unsigned count)
{
	(void)host;
	(void)table;
	(void)index;
	(void)count;
	get_in(20);
}

/* ---- accesses ---- */

static void access_at(struct life *l, uint64_t gva, enum linear_kind kind)
{
	struct shadow_request request = {
		.vcpu = (unsigned)roll(l, l->svm->vcpus),
		.access = {.gva = sim_gva(gva), .kind = kind, .privilege = LINEAR_SUPERVISOR},
		.bytes = roll(l, 4) ? 8 : 4,
		.value = roll(l, UINT32_MAX),
	};

	(void)shadow_access(l->svm, &request);
}

static enum linear_kind some_kind(struct life *l)
{
	static const enum linear_kind kinds[] = {LINEAR_READ, LINEAR_WRITE, LINEAR_WRITE,
						 LINEAR_FETCH};

	return kinds[roll(l, 4)];
}

static bool is_table(uint64_t frame)
{
	for (unsigned i = 0; i < TABLES; i++)
		if (tables[i] == frame)
			return true;
	return false;
}

static void step_window(struct life *l)
{
	uint64_t frame = roll(l, 3) ? DATA + roll(l, DATA_COUNT) : roll(l, FRAMES);
	enum linear_kind kind = some_kind(l);

	if (is_table(frame) && kind == LINEAR_WRITE)
		kind = LINEAR_READ; /* step_table() writes them, with sense */
	access_at(l, WINDOW + (frame << VMMU_PAGE_SHIFT) + 8 * roll(l, 4), kind);
}

static void some_access(struct life *l)
{
	uint64_t at = roll(l, 8) << VMMU_PAGE_SHIFT | 8 * roll(l, 4);

	if (!roll(l, 3))
		step_window(l);
	else
		access_at(l, roll(l, 2) ? at : FAR + at, some_kind(l));
}

static uint64_t some_entry(struct life *l)
{
	static const uint64_t flags[] = {LINEAR_PRESENT, RW, RW, RW};
	static const uint64_t used[] = {0, LINEAR_ACCESSED, USED, 0};

	if (!roll(l, 6))
		return 0;
	return (DATA + roll(l, DATA_COUNT)) << VMMU_PAGE_SHIFT | flags[roll(l, 4)] |
	       used[roll(l, 4)];
}

static void store(struct life *l, uint64_t frame, unsigned index, uint64_t entry)
{
	uint64_t at = frame << VMMU_PAGE_SHIFT | 8 * index;

	if (roll(l, 3))
		(void)shadow_write(l->svm, (unsigned)roll(l, l->svm->vcpus), WINDOW + at, entry);
	else
		(void)shadow_poke(l->svm, at, 8, entry);
}

static void step_table(struct life *l)
{
	unsigned index = (unsigned)roll(l, 8);

	switch (roll(l, 8)) {
	case 0:
		store(l, PD, 3,
		      roll(l, 2) ? (uint64_t)SECOND_PT << VMMU_PAGE_SHIFT | RW
				 : (uint64_t)HUGE << VMMU_PAGE_SHIFT | RW | LINEAR_HUGE);
		break;
	case 1:
	case 2:
		store(l, SECOND_PT, index, some_entry(l));
		break;
	default:
		store(l, PT, index, some_entry(l));
		break;
	}
	if (roll(l, 2))
		shadow_invlpg(l->svm, (unsigned)roll(l, l->svm->vcpus),
			      (uint64_t)index << VMMU_PAGE_SHIFT);
}

static void step_flush(struct life *l)
{
	unsigned vcpu = (unsigned)roll(l, l->svm->vcpus);

	if (roll(l, 2))
		(void)shadow_mov_cr3(l->svm, vcpu, (uint64_t)PML4 << VMMU_PAGE_SHIFT);
	else
		shadow_flush(l->svm, vcpu);
}

/* ---- the host ---- */

static void step_host(struct life *l)
{
	uint64_t page = roll(l, 4) ? roll(l, FRAMES) : 512 + roll(l, HUGE_COUNT);

	switch (roll(l, 5)) {
	case 0:
		(void)shadow_swap_out(l->svm, page);
		break;
	case 1:
		(void)shadow_migrate(l->svm, page);
		break;
	case 2:
		(void)shadow_write_protect(l->svm, page);
		break;
	case 3:
		(void)shadow_copy_on_write(l->svm, page);
		break;
	default:
		(void)shadow_collapse(l->svm, 512 + roll(l, HUGE_COUNT));
		break;
	}
}

static void make_slot(struct life *l, unsigned id, uint64_t gfn, uint64_t count, uint64_t host)
{
	struct shadow_slot slot = {.gfn = gfn, .count = count, .host = host};
	struct vmmu_slot_config config = {.id = (uint16_t)id, .base = {gfn}, .count = count};

	config.flags = slot.flags = roll(l, 4) ? VMMU_SLOT_LOG : 0;
	if (shadow_slot_create(l->svm, id, &slot) == VMMU_OK)
		model_slot_made(l->model, &config);
}

static void step_slot(struct life *l)
{
	if (!l->svm->slot[1].is_used)
		make_slot(l, 1, HUGE, HUGE_COUNT, 512);
	else if (shadow_slot_delete(l->svm, 1) == VMMU_OK)
		model_slot_gone(l->model, 0, 1);
}

static uint64_t some_gfn(struct life *l)
{
	return roll(l, 3) ? roll(l, FRAMES) : HUGE + roll(l, 600);
}

/* Also in pauses, without locks. */
static void disturb(struct life *l)
{
	struct vmmu_vm *vm = l->svm->vm;
	uint64_t gfn = some_gfn(l);
	struct vmmu_gfn_range range = {{gfn}, {gfn + roll(l, 100)}};
	enum vmmu_error error = VMMU_OK;

	switch (roll(l, 8)) {
	case 0:
		error = vmmu_zap_range(vm, 0, range);
		break;
	case 1:
		error = vmmu_zap_all_fast(vm);
		break;
	case 2:
		error = vmmu_zap_all(vm);
		break;
	case 3:
		error = vmmu_harvest_dirty(vm, 0, range, NULL, NULL);
		break;
	case 4:
		error = vmmu_harvest_accessed(vm, 0, range, NULL, NULL);
		break;
	case 5:
		(void)vmmu_shadow_unprotect(vm, 0, (vmmu_gfn_t){tables[roll(l, TABLES)]});
		break;
	case 6:
		(void)vmmu_work(vm, 1 + roll(l, 3));
		break;
	default:
		model_host_writes(l->model, 0, gfn);
		break;
	}
	if (error != VMMU_OK)
		sim_violation(l->svm->machine, "a zap or a harvest: %s", vmmu_error_text(error));
}

static void in_a_pause(struct shadow_vm *svm, void *context)
{
	struct life *l = context;
	uint64_t before = l->model->count.writes;

	/* Tables that go while tables are taken apart: this must have an end. */
	if (l->busy || l->quiet || !l->pauses || roll(l, 40))
		return;
	l->pauses--;
	l->busy = true;
	svm->on_pause = NULL;
	for (uint64_t n = roll(l, 4); n; n--)
		some_access(l);
	if (!roll(l, 4))
		disturb(l);
	note_marks(l);
	l->in_between += l->model->count.writes - before;
	svm->on_pause = in_a_pause;
	l->busy = false;
}

/* ---- the log ---- */

static void step_flags(struct life *l)
{
	struct model_slot *s = model_some_slot(l->model);
	uint32_t flags = s->logs ? VMMU_SLOT_LOG : 0;

	/* More often on than off. */
	flags ^= !s->logs || roll(l, 2) ? VMMU_SLOT_LOG : VMMU_SLOT_SMALL;
	if (!roll(l, 6)) {
		l->quiet = true;
		sim_ram_fail_tables(l->svm->machine, 1 + roll(l, 30), 1 + roll(l, 2) * 100);
	}
	model_set_flags(l->model, s, flags);
	sim_ram_fail_tables(l->svm->machine, 0, 0);
	l->quiet = false;
}

static void step_log(struct life *l)
{
	struct model_slot *s = model_some_slot(l->model);

	l->svm->on_pause = roll(l, 3) ? NULL : in_a_pause;
	switch (roll(l, 8)) {
	case 0:
		step_flags(l);
		break;
	case 1:
		model_host_writes(l->model, 0, some_gfn(l));
		break;
	case 2:
		model_ask_wrongly(l->model);
		break;
	case 3:
		model_look_at_all(l->model);
		break;
	default:
		model_look(l->model, s);
		break;
	}
	l->svm->on_pause = NULL;
}

static void step(struct life *l)
{
	uint64_t dice = roll(l, 100);

	l->model->orphans = 0;
	l->pauses = PAUSES;
	if (dice < 20)
		step_log(l);
	else if (dice < 62)
		some_access(l);
	else if (dice < 82)
		step_table(l);
	else if (dice < 88)
		step_flush(l);
	else if (dice < 94)
		step_host(l);
	else if (dice < 96)
		step_slot(l);
	else
		disturb(l);
	note_marks(l);
}

/* ---- the life ---- */

static void poke(struct life *l, uint64_t frame, unsigned index, uint64_t entry)
{
	(void)shadow_poke(l->svm, frame << VMMU_PAGE_SHIFT | 8 * index, 8, entry);
}

static void build_guest(struct life *l)
{
	struct linear_regs regs = {
		.mode = LINEAR_4_LEVEL,
		.vendor = LINEAR_INTEL,
		.cr3 = PML4 << VMMU_PAGE_SHIFT,
		.wp = true,
		.nxe = true,
		.maxphyaddr = 40,
		.pse36_width = 40,
		.has_1g = true,
	};

	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){512}, HUGE_COUNT, SIM_LEVEL_2M);
	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){0}, 256, SIM_LEVEL_4K);
	make_slot(l, 0, 0, LOW, 0);
	make_slot(l, 2, LOW, FRAMES - LOW, LOW);
	make_slot(l, 1, HUGE, HUGE_COUNT, 512);
	poke(l, PML4, 0, (uint64_t)PDPT << VMMU_PAGE_SHIFT | RW | USED);
	poke(l, PDPT, 0, (uint64_t)PD << VMMU_PAGE_SHIFT | RW | USED);
	poke(l, PD, 0, (uint64_t)PT << VMMU_PAGE_SHIFT | RW | USED);
	poke(l, PD, 1, (uint64_t)WINDOW_PT << VMMU_PAGE_SHIFT | RW | USED);
	poke(l, PD, 3, (uint64_t)SECOND_PT << VMMU_PAGE_SHIFT | RW | USED);
	for (unsigned i = 0; i < FRAMES; i++)
		poke(l, WINDOW_PT, i, (uint64_t)i << VMMU_PAGE_SHIFT | RW);
	for (unsigned i = 0; i < l->svm->vcpus; i++)
		shadow_reset(l->svm, i, &regs);
}

static struct life *life_new(uint64_t seed, unsigned variant)
{
	struct shadow_options options = {
		.machine = {.seed = seed, .host_page_count = 2048},
		.prefetch = variant == 1 ? 1 : 8,
		.own_locks = variant != 0,
		.patient = variant == 2,
	};
	struct life *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	options.machine.mode = variant == 1 ? SIM_CPU_ALWAYS_STALE : SIM_CPU_RANDOM;
	options.table_quota = variant == 3 ? 12 : 0;
	l->svm = shadow_vm_new(&options, variant == 2 ? 3 : 2);
	l->svm->unprotect_one_in = 8;
	l->svm->hook_context = l;
	l->recent = DATA;
	l->model = model_new(l->svm->machine, l->svm->vm);
	l->svm->watch =
		(struct sim_watch){.context = l, .passed = seen_write, .telling = seen_write};
	build_guest(l);
	note_marks(l);
	l->flush = l->svm->port.tlb_flush;
	l->svm->port.tlb_flush = flush;
	l->svm->port.tables_written = tables_written;
	if (variant >= 2)
		l->svm->port.page_dirty = NULL;
	the_life = l;
	return l;
}

struct logged_life shadowed_life(uint64_t seed, uint64_t steps, unsigned variant)
{
	struct life *l = life_new(seed, variant);
	struct sim_machine *machine = l->svm->machine;
	struct logged_life result = {0};

	while (result.steps < steps && !sim_violation_count(machine)) {
		step(l);
		if (++result.steps % 10 == 0)
			shadow_check(l->svm);
	}
	if (!sim_violation_count(machine))
		model_look_at_all(l->model);
	result.count = l->model->count;
	result.in_between = l->in_between;
	result.violations = sim_violation_count(machine);
	the_life = NULL;
	l->svm->watch = (struct sim_watch){0};
	l->svm->port.tlb_flush = l->flush;
	l->svm->port.tables_written = NULL;
	if (result.violations) {
		strncpy(result.first, sim_violation_text(machine, 0), sizeof(result.first) - 1);
		return result;
	}
	shadow_vm_free(l->svm);
	free(l->model);
	free(l);
	return result;
}
