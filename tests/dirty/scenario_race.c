/* SPDX-License-Identifier: MIT */
/* Looks, and the beginning of a log, against faults, CPUs and other calls: R36, R37, R40, R47, R48.
 */
#include "scenario.h"

#include <string.h>

#define BASE LAB_BASE
#define LOG ((uint32_t)VMMU_SLOT_LOG)
/* Looks pause after 4096 frames at the earliest under nested paging. */
#define FRAMES 12288u

static uint64_t huge_leaves(struct lab *lab)
{
	return lab_stat(lab, VMMU_STAT_PAGES_2M) + lab_stat(lab, VMMU_STAT_PAGES_1G);
}

/* Host memory in large pages. */
static struct lab *large_lab(enum lab_engine engine, uint32_t flags)
{
	struct lab_options options = {.run_level = SIM_LEVEL_2M, .pages = FRAMES};
	struct lab *lab = lab_new(engine, &options);

	lab->window = LAB_2M;
	lab_slot(lab, 0, BASE, FRAMES, 0, flags);
	return lab;
}

static void everything_written_is_told(struct lab *lab)
{
	lab_forget(lab, 0);
	LAB_TELLS_NOTHING(lab, 0);
	lab_write(lab, 0, BASE + 5);
	lab_write(lab, 1, BASE + 9);
	lab_write(lab, 1, BASE + 512);
	lab_write(lab, 0, BASE + 1535);
	assert_int_equal(huge_leaves(lab), 0);
	LAB_TELLS(lab, 0, 5, 9, 512, 1535);
	lab_write(lab, 1, BASE + 5);
	LAB_TELLS(lab, 0, 5);
}

/* ---- host pages that are shared, or answered late ---- */

static struct {
	struct lab *lab;
	enum vmmu_page_status (*page)(void *host, const struct vmmu_page_request *request,
				      struct vmmu_page *pages);
	bool (*now)(void *host, uint64_t host_address, struct vmmu_page *page);
	bool shared; /* read-only until somebody writes: then the page is one's own */
	bool own[2 * FRAMES];
	lab_hook_fn *before, *after; /* an answer; once */
} host;

static void once(lab_hook_fn **hook)
{
	lab_hook_fn *call = *hook;

	*hook = NULL;
	if (call)
		call(host.lab, NULL);
}

static void share(uint64_t index, struct vmmu_page *page)
{
	page->writable &= host.own[index];
	for (uint64_t i = index & ~UINT64_C(511); i < (index | 511); i++)
		if (host.own[i] != host.own[index])
			page->level = VMMU_LEVEL_4K;
}

static enum vmmu_page_status answer(void *sim, const struct vmmu_page_request *request,
				    struct vmmu_page *pages)
{
	enum vmmu_page_status status;

	once(&host.before);
	if (request->write)
		host.own[(request->host_address >> VMMU_PAGE_SHIFT) + request->wanted] = true;
	status = host.page(sim, request, pages);
	for (uint32_t i = 0; i < request->count && host.shared; i++)
		share((request->host_address >> VMMU_PAGE_SHIFT) + i, &pages[i]);
	once(&host.after);
	return status;
}

static bool answer_now(void *sim, uint64_t host_address, struct vmmu_page *page)
{
	bool done = host.now(sim, host_address, page);

	if (done && host.shared)
		share(host_address >> VMMU_PAGE_SHIFT, page);
	/* Somebody waits for the long way. */
	return done && !host.before && !host.after;
}

static void take_host(struct lab *lab)
{
	struct vmmu_port *port = lab->svm ? &lab->svm->port : &lab->sim->port;

	memset(&host, 0, sizeof(host));
	host.lab = lab;
	host.page = port->guest_page;
	host.now = port->guest_page_now;
	port->guest_page = answer;
	if (host.now)
		port->guest_page_now = answer_now;
}

/* R36, R37: no loop without end, and no right to write for the whole of it. */
void a_shared_huge_page_that_is_written_is_mapped_small(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = large_lab(engine, 0);

		take_host(lab);
		host.shared = true;
		lab_read(lab, 0, BASE + 5);
		lab_read(lab, 1, BASE + 512);
		assert_int_equal(huge_leaves(lab), 2);
		lab_flags(lab, 0, LOG);
		assert_int_equal(huge_leaves(lab), 0);
		LAB_TELLS_NOTHING(lab, 0);
		lab_write(lab, 0, BASE + 5);
		LAB_TELLS(lab, 0, 5);
		lab_read(lab, 0, BASE + 6);
		LAB_TELLS_NOTHING(lab, 0);
		everything_written_is_told(lab);
		lab_end(lab);
	}
}

static void begin_to_log(struct lab *lab, void *context)
{
	(void)context;
	lab_flags(lab, 0, LOG);
}

void a_fault_under_way_meets_a_slot_that_begins_to_log(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine))
		for (unsigned way = 0; way < 4; way++) {
			struct lab *lab = large_lab(engine, 0);

			take_host(lab);
			*(way & 1 ? &host.before : &host.after) = begin_to_log;
			if (way & 2)
				lab_write(lab, 0, BASE + 5);
			else
				lab_read(lab, 0, BASE + 5);
			assert_int_equal(lab_flags_of(lab, BASE), LOG);
			assert_int_equal(huge_leaves(lab), 0);
			if (way & 2)
				LAB_TELLS(lab, 0, 5);
			else
				LAB_TELLS_NOTHING(lab, 0);
			everything_written_is_told(lab);
			lab_end(lab);
		}
}

/* ---- the flush of a look ---- */

static void write_before_the_flush(struct lab *lab, void *context)
{
	unsigned *landed = context;

	landed[0] += lab_cpu_writes(lab, 0, BASE + 5);
	landed[1] += lab_cpu_writes(lab, 0, BASE + 7);
}

/* R47: CPU 0 has a dirty translation at hand, and one that it has only read through. */
void a_write_between_snapshot_and_flush_is_told(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);
		uint64_t bitmap = 0;
		unsigned landed[2] = {0};

		lab_slot(lab, 0, BASE, 64, 0, LOG);
		lab_write(lab, 0, BASE + 5);
		lab_write(lab, 0, BASE + 7);
		LAB_TELLS(lab, 0, 5, 7);
		lab_write(lab, 0, BASE + 5);
		lab_read(lab, 0, BASE + 7);
		lab_enter(lab, 0);
		lab->on_flush = write_before_the_flush;
		lab->context = landed;
		assert_int_equal(lab_look(lab, 0, 0, 0, &bitmap, NULL), VMMU_OK);
		lab->on_flush = NULL;
		assert_true(landed[0] > 0);
		assert_true(bitmap >> 5 & 1);
		/* This time or next time. */
		assert_int_equal(lab_look(lab, 0, 0, 0, &bitmap, NULL), VMMU_OK);
		if (landed[1])
			assert_true(bitmap >> 7 & 1);
		assert_int_equal(bitmap & ~(UINT64_C(1) << 5 | UINT64_C(1) << 7), 0);
		LAB_TELLS_NOTHING(lab, 0);
		/* What comes after a look has returned is for the next one. */
		lab_write(lab, 0, BASE + 5);
		LAB_TELLS(lab, 0, 5);
		lab_end(lab);
	}
}

void a_flush_of_the_look_reaches_cpus_outside_the_guest(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = lab_new(engine, NULL);

		lab_slot(lab, 0, BASE, 64, 0, LOG);
		for (unsigned round = 0; round < 4; round++) {
			lab_write(lab, 0, BASE + 5);
			lab_write(lab, 1, BASE + 5);
			lab_write(lab, 1, BASE + 6);
			lab_leave(lab, 0);
			if (round & 1)
				lab_leave(lab, 1);
			LAB_TELLS(lab, 0, 5, 6);
			lab_write(lab, 0, BASE + 5);
			LAB_TELLS(lab, 0, 5);
			lab_write(lab, 1, BASE + 6);
			LAB_TELLS(lab, 0, 6);
		}
		lab_end(lab);
	}
}

struct tracking {
	vmmu_tracker_id_t id;
	unsigned told, pauses;
};

static void told(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct tracking *t = client;

	(void)space;
	(void)bytes;
	assert_int_equal(gpa.addr >> VMMU_PAGE_SHIFT, BASE + 7);
	assert_int_equal(kind, VMMU_ACCESS_WRITE);
	t->told++;
}

static void track_seven(struct lab *lab, void *context)
{
	struct tracking *t = context;

	if (t->pauses++)
		return;
	assert_int_equal(
		vmmu_track_add(lab->vm, t->id, lab_range(BASE + 7, BASE + 8), VMMU_ACCESS_WRITE),
		VMMU_OK);
	assert_false(lab_cpu_writes(lab, 0, BASE + 7));
	assert_false(lab_cpu_writes(lab, 1, BASE + 7));
}

/*
 * R48: the first has taken the right to write from the entry, or the dirty flag; its flush may
 * still be owed. A harvest stands in for the look, which holds the lock that clients wait for.
 */
void a_right_that_a_look_took_is_flushed_for_others_too(void **state)
{
	static const struct vmmu_tracker_ops ops = {.accessed = told};

	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = large_lab(engine, LOG);
		struct tracking t = {0};

		assert_int_equal(vmmu_tracker_register(lab->vm, &ops, &t, &t.id), VMMU_OK);
		for (uint64_t i = 7; i < FRAMES; i += 128)
			lab_write(lab, i >> 7 & 1, BASE + i);
		lab_write(lab, 1, BASE + 7);
		lab_enter(lab, 0);
		lab_enter(lab, 1);
		lab->on_pause = track_seven;
		lab->context = &t;
		assert_int_equal(
			vmmu_harvest_dirty(lab->vm, 0, lab_range(BASE, BASE + FRAMES), NULL, NULL),
			VMMU_OK);
		lab->on_pause = NULL;
		assert_true(t.pauses > 0);
		lab_check(lab);
		lab_forget(lab, 0);
		lab_write(lab, 1, BASE + 7);
		assert_int_equal(t.told, 1);
		LAB_TELLS(lab, 0, 7);
		assert_int_equal(vmmu_tracker_unregister(lab->vm, t.id), VMMU_OK);
		lab_end(lab);
	}
}

/* ---- long operations ---- */

static void begin_to_log_once(struct lab *lab, void *context)
{
	unsigned *pauses = context;

	if (!(*pauses)++)
		lab_flags(lab, 0, LOG);
}

static void make_anew(struct lab *lab, void *context)
{
	unsigned *pauses = context;
	uint64_t at = BASE + sim_random_below(lab->machine, FRAMES);

	if ((*pauses)++ % 61 && lab->svm)
		return;
	assert_int_equal(vmmu_zap_range(lab->vm, 0, lab_range(at, at + 1)), VMMU_OK);
	lab_write(lab, *pauses & 1, at);
	lab_check(lab);
}

/* Logging begins in steps: whoever looks at the tables in between must find them right, and what
 * comes back in between must not be huge. */
void tables_are_right_while_logging_begins(void **state)
{
	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = large_lab(engine, 0);
		unsigned pauses = 0;

		for (uint64_t i = 3; i < FRAMES; i += 512)
			lab_write(lab, i >> 9 & 1, BASE + i);
		lab->on_pause = make_anew;
		lab->context = &pauses;
		lab_flags(lab, 0, LOG);
		lab->on_pause = NULL;
		assert_int_equal(huge_leaves(lab), 0);
		everything_written_is_told(lab);
		assert_true(pauses > 0);
		lab_end(lab);
	}
}

/* R40: the harvest has huge leaves before it, and goes on among small ones. */
void a_harvest_meets_a_slot_that_begins_to_log(void **state)
{
	(void)state;
	for (LAB_NESTED(engine))
		for (unsigned accessed = 0; accessed < 2; accessed++) {
			struct lab *lab = large_lab(engine, 0);
			struct vmmu_gfn_range all = lab_range(BASE, BASE + FRAMES);
			unsigned pauses = 0;

			for (uint64_t i = 3; i < FRAMES; i += 512)
				lab_write(lab, i >> 9 & 1, BASE + i);
			assert_int_equal(huge_leaves(lab), FRAMES / 512);
			lab_enter(lab, 0);
			lab->on_pause = begin_to_log_once;
			lab->context = &pauses;
			assert_int_equal(
				accessed ? vmmu_harvest_accessed(lab->vm, 0, all, NULL, NULL)
					 : vmmu_harvest_dirty(lab->vm, 0, all, NULL, NULL),
				VMMU_OK);
			lab->on_pause = NULL;
			/* It does not always pause. */
			if (!pauses)
				lab_flags(lab, 0, LOG);
			lab_check(lab);
			everything_written_is_told(lab);
			lab_end(lab);
		}
}

struct interrupted {
	unsigned turn, pauses;
	bool due[FRAMES], fresh[FRAMES];
};

static void write_some(struct lab *lab, struct interrupted *it)
{
	uint64_t frame = sim_random_below(lab->machine, FRAMES);

	lab_write(lab, it->turn & 1, BASE + frame);
	it->fresh[frame] = true;
}

static void do_something(struct lab *lab, void *context)
{
	struct interrupted *it = context;
	struct vmmu_gfn_range all = lab_range(0, 2 * BASE);
	enum vmmu_error error = VMMU_OK;
	uint64_t frame = sim_random_below(lab->machine, FRAMES);

	/* Shadow paging pauses after each frame. */
	if (it->pauses++ % 997 && lab->svm)
		return;
	switch (it->turn++ % 8) {
	case 0:
		error = vmmu_zap_range(lab->vm, 0, lab_range(BASE, BASE + frame));
		break;
	case 1:
		error = vmmu_harvest_dirty(lab->vm, 0, all, NULL, NULL);
		break;
	case 2:
		error = vmmu_zap_all_fast(lab->vm);
		break;
	case 3:
		(void)lab_migrate(lab, frame);
		break;
	case 4:
		error = vmmu_zap_all(lab->vm);
		break;
	case 5:
		error = vmmu_dirty_mark(lab->vm, 0, lab_range(BASE + frame, BASE + frame + 1));
		it->fresh[frame] = true;
		break;
	case 6:
		(void)vmmu_work(lab->vm, 1);
		break;
	default:
		write_some(lab, it);
		break;
	}
	assert_int_equal(error, VMMU_OK);
	write_some(lab, it);
}

static void look_and_compare(struct lab *lab, struct interrupted *it)
{
	uint64_t bitmap[FRAMES / 64] = {0};

	for (unsigned i = 0; i < FRAMES; i++) {
		it->due[i] |= it->fresh[i];
		it->fresh[i] = false;
	}
	lab->on_pause = do_something;
	lab->context = it;
	assert_int_equal(lab_look(lab, 0, 0, 0, bitmap, NULL), VMMU_OK);
	lab->on_pause = NULL;
	for (unsigned i = 0; i < FRAMES; i++) {
		bool is_told = bitmap[i / 64] >> i % 64 & 1;

		if (it->due[i] && !is_told)
			fail_msg("engine %d: frame %u was written, and is not told",
				 (int)lab->engine, i);
		if (is_told && !it->due[i] && !it->fresh[i])
			fail_msg("engine %d: frame %u was not written, and is told",
				 (int)lab->engine, i);
		it->due[i] = false;
		/* What came while it ran and was told may be told once more, or not. */
		if (is_told)
			it->fresh[i] = false;
	}
}

void a_look_that_others_interrupt_loses_nothing(void **state)
{
	static struct interrupted it;

	(void)state;
	for (LAB_ENGINES(engine)) {
		struct lab *lab = large_lab(engine, LOG);

		memset(&it, 0, sizeof(it));
		for (unsigned round = 0; round < 30; round++) {
			for (unsigned i = 0; i < 20; i++, it.turn++)
				write_some(lab, &it);
			look_and_compare(lab, &it);
			/* Then, without interruptions: all that may be told twice. */
			it.turn = round;
			lab_forget(lab, 0);
			memset(it.fresh, 0, sizeof(it.fresh));
		}
		print_message("# engine %d: %u pauses\n", (int)engine, it.pauses);
		lab_end(lab);
	}
}
