/* SPDX-License-Identifier: MIT */
/* Faults of two vCPUs at the same time: one is stopped in the middle of its own by the port. */
#include <sched.h>

#include "rig.h"
#include "scenario.h"
#include "world.h"

/* Leaves as long as the other vCPU needs to come to its end, or to wait for us. */
struct other {
	pthread_t thread;
	unsigned cpu;
	uint64_t page;
	enum vmmu_outcome outcome;
	atomic_bool done;
	bool was_done; /* while the first one was in the middle */
};
static struct other other;

static void *fault_of_other(void *context)
{
	struct world *w = context;

	other.outcome = world_fault(&w->cpu[other.cpu], other.page);
	atomic_store(&other.done, true);
	return NULL;
}

static void let_other_fault(struct world *w)
{
	uint64_t relaxed = atomic_load(&w->relaxed);

	assert_int_equal(pthread_create(&other.thread, NULL, fault_of_other, w), 0);
	while (!atomic_load(&other.done) && atomic_load(&w->relaxed) == relaxed)
		sched_yield();
	other.was_done = atomic_load(&other.done);
}

static void finding(void *context, const struct vmmu_finding *f)
{
	(void)context;
	print_message("# %s\n", f->text);
}

static uint64_t stat_of(struct world *w, enum vmmu_stat stat)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(w->vm, values);
	return values[stat];
}

/* vCPU 0 faults on @page, vCPU 1 on @others in the middle of that; the tables are there. */
static struct world *two_at_once(uint64_t page, uint64_t others)
{
	struct world *w = world_new(1);

	world_write(&w->cpu[0], 0);
	world_write(&w->cpu[1], 0);
	assert_int_equal(stat_of(w, VMMU_STAT_PAGES_4K), 1);
	other = (struct other){.cpu = 1, .page = others};
	atomic_store(&w->on_page, let_other_fault);
	assert_int_equal(world_fault(&w->cpu[0], page), VMMU_OUTCOME_RESUME);
	assert_null((void *)(uintptr_t)atomic_load(&w->on_page));
	pthread_join(other.thread, NULL);
	return w;
}

static void end(struct world *w)
{
	assert_int_equal(vmmu_audit(w->vm, finding, NULL), 0);
	world_write(&w->cpu[0], 7);
	world_write(&w->cpu[1], 7);
	assert_int_equal(atomic_load(&w->wrong), 0);
	world_free(w);
}

void two_faults_at_once_fill_one_entry(void **state)
{
	struct world *w = two_at_once(5, 5);

	(void)state;
	/* It found the entry claimed and waited until the other was through. */
	assert_false(other.was_done);
	assert_int_equal(other.outcome, VMMU_OUTCOME_RESUME);
	assert_int_equal(stat_of(w, VMMU_STAT_PAGES_4K), 2);
	end(w);
	w = two_at_once(5, 6);
	/* Another page: it did not wait. */
	assert_true(other.was_done);
	assert_int_equal(other.outcome, VMMU_OUTCOME_RESUME);
	assert_int_equal(stat_of(w, VMMU_STAT_PAGES_4K), 3);
	end(w);
}

/* What the guest's tables refuse is told at once, though somebody shares the lock. */
void a_fault_of_the_guests_waits_for_nobody(void **state)
{
	struct world *w;

	(void)state;
	w = two_at_once(5, WORLD_ABSENT);
	assert_true(other.was_done);
	assert_int_equal(other.outcome, VMMU_OUTCOME_INJECT);
	assert_int_equal(stat_of(w, VMMU_STAT_PAGES_4K), 2);
	end(w);
}

/* ---- a table that is made while others fault ---- */

/*
 * vCPU 0 has a table of level 1 made, of a frame that the guest could write up to now. When the
 * flush for that is under way vCPU @cpu faults on @page.
 */
static struct world *link_at_once(unsigned cpu, uint64_t page)
{
	struct world *w = world_new(1);
	struct vmmu_entry entry;

	for (unsigned i = 0; i < 3; i++)
		world_write(&w->cpu[i], 0);
	world_write(&w->cpu[2], WORLD_WINDOW);
	/* Somebody has to be called out of the guest. */
	assert_int_equal(vmmu_vcpu_enter(w->cpu[3].vcpu, &entry), VMMU_OK);
	other = (struct other){.cpu = cpu, .page = page};
	atomic_store(&w->on_flush, let_other_fault);
	assert_int_equal(world_fault(&w->cpu[0], WORLD_LOOSE_PAGE + 16), VMMU_OUTCOME_RESUME);
	assert_null((void *)(uintptr_t)atomic_load(&w->on_flush));
	pthread_join(other.thread, NULL);
	vmmu_vcpu_leave(w->cpu[3].vcpu);
	assert_int_equal(other.outcome, VMMU_OUTCOME_RESUME);
	return w;
}

void a_table_is_linked_beside_other_faults(void **state)
{
	struct world *w = link_at_once(1, 6);

	(void)state;
	assert_true(other.was_done);
	end(w);
}

/* Until then the guest could write it unseen. */
void a_table_is_not_linked_before_its_flush_is_paid(void **state)
{
	struct world *w = link_at_once(2, WORLD_LOOSE_PAGE + 20);

	(void)state;
	assert_false(other.was_done);
	end(w);
}

void two_faults_at_once_link_one_table(void **state)
{
	struct world *w = link_at_once(1, WORLD_LOOSE_PAGE + 20);

	(void)state;
	assert_false(other.was_done);
	end(w);
}

/* ---- a table that the guest writes ---- */

/* vCPU 1 writes to the first loose table when vCPU 0 is in the middle of a fault on @page. */
static void write_table_beside(struct world *w, uint64_t page)
{
	other = (struct other){.cpu = 1, .page = WORLD_WINDOW};
	atomic_store(&w->on_page, let_other_fault);
	assert_int_equal(world_fault(&w->cpu[0], page), VMMU_OUTCOME_RESUME);
	assert_null((void *)(uintptr_t)atomic_load(&w->on_page));
	pthread_join(other.thread, NULL);
	assert_int_equal(other.outcome, VMMU_OUTCOME_RESUME);
	assert_true(other.was_done);
	assert_int_equal(vmmu_audit(w->vm, finding, NULL), 0);
}

/* First where there is no leaf yet, then where the last flush left one that is read-only. */
void a_table_becomes_unsync_beside_other_faults(void **state)
{
	struct world *w = world_new(1);
	const uint64_t page = WORLD_LOOSE_PAGE + 20;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		world_write(&w->cpu[i], 0);
	world_write(&w->cpu[2], WORLD_WINDOW + 1); /* the frame map has cells for it */
	for (uint64_t round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++)
			world_write(&w->cpu[i], page);
		assert_int_equal(stat_of(w, VMMU_STAT_SHADOW_UNSYNC), round);
		write_table_beside(w, 5 + round);
		assert_int_equal(stat_of(w, VMMU_STAT_SHADOW_UNSYNC), round + 1);
		/* All that lead there know, by way of both directories. */
		world_edit(w, page, WORLD_DATA + 100 + round);
		for (unsigned i = 0; i < 3; i += 2)
			vmmu_shadow_flush(w->cpu[i].vcpu);
		assert_int_equal(stat_of(w, VMMU_STAT_SHADOW_SYNC), round + 1);
		for (unsigned i = 0; i < 3; i++)
			world_write(&w->cpu[i], page);
	}
	end(w);
}

/* ---- ageing ---- */

static void *age_all(void *context)
{
	struct world *w = context;
	uint64_t count = 0;

	if (vmmu_harvest_accessed(w->vm, 0, (struct vmmu_gfn_range){{0}, {WORLD_FRAMES}}, NULL,
				  &count) != VMMU_OK ||
	    count < 2)
		atomic_fetch_add(&w->wrong, 1);
	atomic_store(&other.done, true);
	return NULL;
}

static void let_other_age(struct world *w)
{
	uint64_t relaxed = atomic_load(&w->relaxed);

	assert_int_equal(pthread_create(&other.thread, NULL, age_all, w), 0);
	while (!atomic_load(&other.done) && atomic_load(&w->relaxed) == relaxed)
		sched_yield();
	other.was_done = atomic_load(&other.done);
}

/* It asks beside somebody who holds the lock exclusively: in the middle of a zap's flush. */
void ageing_waits_for_nobody(void **state)
{
	struct world *w = world_new(1);
	struct vmmu_entry entry;

	(void)state;
	for (uint64_t page = 0; page < 4; page++)
		world_write(&w->cpu[0], page);
	assert_int_equal(vmmu_vcpu_enter(w->cpu[0].vcpu, &entry), VMMU_OK);
	other = (struct other){0};
	atomic_store(&w->on_flush, let_other_age);
	assert_int_equal(
		vmmu_zap_range(w->vm, 0, (struct vmmu_gfn_range){{WORLD_DATA}, {WORLD_DATA + 2}}),
		VMMU_OK);
	assert_null((void *)(uintptr_t)atomic_load(&w->on_flush));
	pthread_join(other.thread, NULL);
	vmmu_vcpu_leave(w->cpu[0].vcpu);
	assert_true(other.was_done);
	end(w);
}
