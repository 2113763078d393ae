/* SPDX-License-Identifier: MIT */
/*
 * Random lives under shadow paging with clients that track, among other frames, the guest's own
 * tables. Besides what the model says, the content of tracked frames is looked at after each step:
 * what has changed was told.
 */
#include <stdlib.h>
#include <string.h>

#include "linear_format.h"
#include "lives.h"
#include "shadow_vm.h"

#define FRAMES 128u /* slot 0; all of them are mapped at WINDOW */
#define PML4 8u
#define PDPT 9u
#define PD 10u
#define PT 11u
#define WINDOW_PT 12u
#define SECOND_PT 16u
#define DATA 40u
#define DATA_COUNT 12u
#define HUGE 0x400u /* slot 1 */
#define HUGE_COUNT 1024u
#define WINDOW UINT64_C(0x200000)
#define FAR UINT64_C(0x600000) /* fourth entry of the PD: SECOND_PT, or a huge page */
#define WORDS (VMMU_PAGE_BYTES / 8u)

#define RW (LINEAR_PRESENT | LINEAR_WRITABLE | LINEAR_USER_PAGE)
#define USED (LINEAR_ACCESSED | LINEAR_DIRTY)

struct life {
	struct shadow_vm *svm;
	struct model *model;
	uint64_t copy[FRAMES][WORDS];
	bool copied[FRAMES];
	struct sim_watch model_watch;
	uint64_t mirrored; /* writes that shadow tables had followed before this one is told */
};

static uint64_t roll(struct life *l, uint64_t bound)
{
	return sim_random_below(l->svm->machine, bound);
}

/* ---- content ---- */

static void note_mirrored(void *context, const struct sim_seen *seen)
{
	struct model *m = context;
	struct life *l = m->context;

	l->mirrored = shadow_stat(l->svm, VMMU_STAT_SHADOW_WRITES);
	l->model_watch.telling(context, seen);
}

static void look_and_forget(struct model *m, uint64_t gfn)
{
	struct life *l = m->context;
	bool due = false;

	for (unsigned i = 0; i < MODEL_CLIENTS; i++)
		due |= m->client[i].due != 0;
	if (due && shadow_stat(l->svm, VMMU_STAT_SHADOW_WRITES) != l->mirrored)
		sim_violation(l->svm->machine, "shadow tables follow before clients are told");
	if (gfn < FRAMES)
		l->copied[gfn] = false;
}

static void look(struct life *l, uint64_t gfn)
{
	bool tracked = model_tracks(l->model, gfn) & VMMU_ACCESS_WRITE;

	for (unsigned i = 0; tracked && i < WORDS; i++) {
		uint64_t now = shadow_peek(l->svm, gfn << VMMU_PAGE_SHIFT | 8 * i);

		if (l->copied[gfn] && now != l->copy[gfn][i])
			sim_violation(l->svm->machine,
				      "word %u of tracked frame %llx went from %llx to %llx untold",
				      i, (unsigned long long)gfn,
				      (unsigned long long)l->copy[gfn][i], (unsigned long long)now);
		l->copy[gfn][i] = now;
	}
	l->copied[gfn] = tracked;
}

/* ---- steps ---- */

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
	return (frame >= PML4 && frame <= WINDOW_PT) || frame == SECOND_PT;
}

static void step_window(struct life *l)
{
	uint64_t frame = roll(l, 3) ? DATA + roll(l, DATA_COUNT) : roll(l, FRAMES);
	enum linear_kind kind = some_kind(l);

	if (is_table(frame) && kind == LINEAR_WRITE)
		kind = LINEAR_READ; /* step_table() writes them, with sense */
	access_at(l, WINDOW + (frame << VMMU_PAGE_SHIFT) + 8 * roll(l, 4), kind);
}

static uint64_t some_entry(struct life *l)
{
	uint64_t entry = (DATA + roll(l, DATA_COUNT)) << VMMU_PAGE_SHIFT | LINEAR_PRESENT;

	if (!roll(l, 6))
		return 0;
	if (roll(l, 4))
		entry |= LINEAR_WRITABLE | LINEAR_USER_PAGE;
	if (roll(l, 2))
		entry |= LINEAR_ACCESSED;
	return roll(l, 3) ? entry : entry | LINEAR_DIRTY;
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

static void step_slot(struct life *l)
{
	struct shadow_slot huge = {.gfn = HUGE, .count = HUGE_COUNT, .host = 512};
	enum vmmu_error error;

	if (!l->svm->slot[1].is_used) {
		(void)shadow_slot_create(l->svm, 1, &huge);
		return;
	}
	model_slot_ends(l->model, 0, HUGE, HUGE_COUNT);
	error = shadow_slot_delete(l->svm, 1);
	model_slot_ended(l->model, error);
}

static void step(struct life *l)
{
	uint64_t dice = roll(l, 100);

	if (roll(l, 2))
		model_step(l->model, roll(l, 4) ? roll(l, FRAMES) : HUGE + roll(l, 600));
	if (dice < 35)
		step_window(l);
	else if (dice < 60)
		access_at(l, roll(l, 8) << VMMU_PAGE_SHIFT | 8 * roll(l, 4), some_kind(l));
	else if (dice < 70)
		access_at(l, FAR + (roll(l, 8) << VMMU_PAGE_SHIFT), some_kind(l));
	else if (dice < 85)
		step_table(l);
	else if (dice < 90)
		step_flush(l);
	else if (dice < 96)
		step_host(l);
	else if (dice < 98)
		step_slot(l);
	else
		(void)shadow_poke(l->svm, (DATA + roll(l, DATA_COUNT)) << VMMU_PAGE_SHIFT, 8,
				  roll(l, UINT32_MAX));
}

/* ---- the life ---- */

static bool held(const struct model *m, uint64_t gfn)
{
	const struct life *l = m->context;
	uint64_t page;

	return shadow_slot_of(l->svm, gfn << VMMU_PAGE_SHIFT, &page) != NULL;
}

static void poke(struct life *l, uint64_t frame, unsigned index, uint64_t entry)
{
	(void)shadow_poke(l->svm, frame << VMMU_PAGE_SHIFT | 8 * index, 8, entry);
}

static void build_guest(struct life *l)
{
	struct shadow_slot low = {.gfn = 0, .count = FRAMES, .host = 0};
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
	(void)shadow_slot_create(l->svm, 0, &low);
	step_slot(l);
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
		.own_locks = variant == 1,
		.patient = variant == 2,
	};
	struct life *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	if (variant == 1)
		options.machine.mode = SIM_CPU_ALWAYS_STALE;
	l->svm = shadow_vm_new(&options, variant == 2 ? 3 : 2);
	if (!l->svm)
		abort();
	l->svm->unprotect_one_in = 8;
	build_guest(l);
	l->model = model_new(l->svm->machine, l->svm->vm);
	l->model->region[0] = 0;
	l->model->region[1] = MODEL_REGION;
	l->model->region[2] = 2 * MODEL_REGION;
	l->model->held = held;
	l->model->on_told = look_and_forget;
	l->model->context = l;
	l->model->marks = true;
	l->model_watch = l->svm->watch = model_watch(l->model);
	l->svm->watch.telling = note_mirrored;
	return l;
}

struct tracked_life shadowed_life(uint64_t seed, uint64_t steps, unsigned variant)
{
	struct life *l = life_new(seed, variant);
	struct sim_machine *machine = l->svm->machine;
	struct tracked_life result = {0};

	while (result.steps < steps && !sim_violation_count(machine)) {
		step(l);
		model_check(l->model);
		for (uint64_t gfn = 0; gfn < FRAMES; gfn++)
			look(l, gfn);
		if (++result.steps % 10 == 0)
			shadow_check(l->svm);
	}
	result.count = l->model->count;
	l->svm->watch = (struct sim_watch){0};
	if (!sim_violation_count(machine))
		model_free(l->model);
	result.violations = sim_violation_count(machine);
	if (result.violations) {
		strncpy(result.first, sim_violation_text(machine, 0), sizeof(result.first) - 1);
		return result;
	}
	shadow_vm_free(l->svm);
	free(l);
	return result;
}
