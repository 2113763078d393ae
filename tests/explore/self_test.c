/* SPDX-License-Identifier: MIT */
/* The explorer is tried on programs whose schedules can be counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/epoch.h"
#include "base/mutate.h"
#include "explore.h"

enum vmmu_mutant vmmu_mutant;

static vmmu_atomic_t counter, other, flag, lock_a, lock_b;
static struct vmmu_rwlock rwlock;
static struct vmmu_epoch epoch;
static struct vmmu_reader reader; /* of a vCPU */
static unsigned inside_shared, inside_exclusive;
static const char *wrong;

static void relax(void *host)
{
	(void)host;
	explore_spin();
}

static struct vmmu_port port = {.relax = relax};

static void reset(void)
{
	counter.v = other.v = flag.v = lock_a.v = lock_b.v = 0;
	inside_shared = inside_exclusive = 0;
	wrong = NULL;
	(void)vmmu_rwlock_init(&rwlock, &port, NULL);
	vmmu_epoch_init(&epoch);
	reader = (struct vmmu_reader){0};
	rwlock.readers = &reader;
}

static struct explore_result explore(const struct explore_test *test, unsigned bound)
{
	struct explore_limits limits = {.bound = bound, .runs_max = 2000000};
	struct explore_result result;

	(void)explore_run(test, &limits, &result);
	if (!result.failed)
		assert_true(result.complete);
	return result;
}

/* ---- a lost update ---- */

static void add_racily(void)
{
	uint64_t seen = atomic_get(&counter);

	atomic_put(&counter, seen + 1);
}

static void add(void)
{
	(void)atomic_plus(&counter, 1);
}

static const char *counter_is_two(void)
{
	return counter.v == 2 ? NULL : "an update was lost";
}

static void a_lost_update_takes_exactly_one_preemption(void **state)
{
	struct explore_test test = {.name = "racy counter",
				    .threads = 2,
				    .setup = reset,
				    .thread = {add_racily, add_racily},
				    .check = counter_is_two};
	struct explore_result r = explore(&test, 0);

	(void)state;
	assert_false(r.failed);
	assert_int_equal(r.schedules, 2);
	r = explore(&test, 3);
	assert_true(r.failed);
	assert_int_equal(r.bound, 1);
	assert_int_equal(r.shortest.count, 3); /* a reads, b reads and writes, a writes */
	assert_int_equal(r.shortest.stretch[0].accesses, 1);
	assert_int_equal(r.shortest.stretch[1].accesses, 2);
	assert_int_equal(r.shortest.stretch[2].accesses, 1);
	assert_string_equal(r.failure, "an update was lost");
}

static void a_failing_schedule_can_be_replayed(void **state)
{
	struct explore_test test = {.name = "racy counter",
				    .threads = 2,
				    .setup = reset,
				    .thread = {add_racily, add_racily},
				    .check = counter_is_two};
	struct explore_limits bad = {.replay = "a1,b2,a1"}, good = {.replay = "b2,a2"};
	struct explore_result r;

	(void)state;
	assert_false(explore_run(&test, &bad, &r));
	assert_string_equal(r.failure, "an update was lost");
	assert_true(explore_run(&test, &good, &r));
}

/* ---- numbers of schedules ---- */

static void add_twice(void)
{
	add();
	add();
}

static const char *counter_is_four(void)
{
	return counter.v == 4 ? NULL : "not four";
}

/* Two times two steps: 4! / (2! 2!) = 6 orders, by preemptions 2, 4, 6. */
static void the_number_of_schedules_is_known(void **state)
{
	static const uint64_t orders[] = {2, 4, 6, 6};
	struct explore_test test = {.name = "counter",
				    .threads = 2,
				    .setup = reset,
				    .thread = {add_twice, add_twice},
				    .check = counter_is_four};

	(void)state;
	for (unsigned bound = 0; bound < 4; bound++) {
		struct explore_limits limits = {.bound = bound, .all_orders = true};
		struct explore_result r;

		assert_true(explore_run(&test, &limits, &r));
		assert_true(r.complete);
		assert_int_equal(r.schedules, orders[bound]);
	}
}

static void three_threads_of_one_step_have_six_orders(void **state)
{
	struct explore_test test = {
		.name = "three", .threads = 3, .setup = reset, .thread = {add, add, add}};

	(void)state;
	assert_int_equal(explore(&test, 0).schedules, 6);
	assert_int_equal(explore(&test, 0).schedules, 6);
	assert_int_equal(explore(&test, 2).schedules, 6);
}

static void use_own(vmmu_atomic_t *mine)
{
	for (unsigned i = 0; i < 20; i++)
		atomic_put(mine, atomic_get(mine) + 1);
}

static void use_counter(void)
{
	use_own(&counter);
}

static void use_other(void)
{
	use_own(&other);
}

static void what_is_not_shared_is_no_place_to_switch_at(void **state)
{
	struct explore_test test = {
		.name = "apart", .threads = 2, .setup = reset, .thread = {use_counter, use_other}};

	(void)state;
	assert_int_equal(explore(&test, 3).schedules, 2);
}

static void read_both(void)
{
	for (unsigned i = 0; i < 10; i++) {
		(void)atomic_get(&counter);
		(void)atomic_get(&other);
	}
}

/* Readers commute with each other: what counts is where they stand among the writes. */
static void write_once(void)
{
	atomic_put(&counter, 1);
}

static void orders_that_mean_the_same_are_run_once(void **state)
{
	struct explore_test test = {.name = "readers",
				    .threads = 3,
				    .setup = reset,
				    .thread = {read_both, read_both, write_once}};
	struct explore_limits limits = {.bound = 3, .all_orders = true};
	struct explore_result all, reduced = explore(&test, 3);

	(void)state;
	assert_true(explore_run(&test, &limits, &all));
	assert_false(reduced.failed);
	assert_true(all.schedules > 5 * reduced.schedules);
}

/* ---- waiting ---- */

static void wait_for_flag(void)
{
	while (!atomic_get_acquire(&flag))
		explore_spin();
	if (atomic_get(&counter) != 1)
		wrong = "the flag came before what it stands for";
}

static void set_flag(void)
{
	atomic_put(&counter, 1);
	atomic_put_release(&flag, 1);
}

static void set_flag_too_early(void)
{
	atomic_put(&flag, 1);
	atomic_put(&counter, 1);
}

static const char *what_is_wrong(void)
{
	return wrong;
}

static void spinning_ends(void **state)
{
	struct explore_test test = {.name = "flag",
				    .threads = 2,
				    .setup = reset,
				    .thread = {wait_for_flag, set_flag},
				    .check = what_is_wrong};
	struct explore_result r = explore(&test, 3);

	(void)state;
	assert_false(r.failed);
	assert_true(r.runs < 20);
	test.thread[1] = set_flag_too_early;
	assert_true(explore(&test, 3).failed);
}

static void take_two(vmmu_atomic_t *one, vmmu_atomic_t *two)
{
	vmmu_spin_acquire(one, &port, NULL);
	vmmu_spin_acquire(two, &port, NULL);
	vmmu_spin_release(two);
	vmmu_spin_release(one);
}

static void take_ab(void)
{
	take_two(&lock_a, &lock_b);
}

static void take_ba(void)
{
	take_two(&lock_b, &lock_a);
}

static void a_deadlock_is_reported(void **state)
{
	struct explore_test test = {
		.name = "deadlock", .threads = 2, .setup = reset, .thread = {take_ab, take_ba}};
	struct explore_result r = explore(&test, 2);

	(void)state;
	assert_true(r.failed);
	assert_int_equal(r.bound, 1);
	assert_non_null(strstr(r.failure, "deadlock"));
	test.thread[1] = take_ab;
	assert_false(explore(&test, 2).failed);
}

static void wait_for_nobody(void)
{
	while (!atomic_get_acquire(&flag))
		explore_spin();
}

static void waiting_for_what_nobody_does_is_a_deadlock(void **state)
{
	struct explore_test test = {.name = "nobody",
				    .threads = 2,
				    .setup = reset,
				    .thread = {wait_for_nobody, use_counter}};

	(void)state;
	assert_true(explore(&test, 0).failed);
}

/* ---- the built-in read-write lock ---- */

static void be_inside(void)
{
	inside_shared++;
	(void)atomic_get(&counter); /* somebody may come in here */
	if (inside_exclusive)
		wrong = "a reader beside a writer";
	(void)atomic_get(&counter);
	inside_shared--;
}

static void hold_shared(void)
{
	vmmu_rwlock_acquire_shared(&rwlock, &port, NULL);
	be_inside();
	vmmu_rwlock_release_shared(&rwlock, &port, NULL);
}

/* As a vCPU does. */
static void hold_announced(void)
{
	while (!vmmu_epoch_enter_sharing(&epoch, &reader, &rwlock))
		vmmu_rwlock_wait_open(&rwlock, &port, NULL);
	be_inside();
	vmmu_epoch_leave(&reader);
}

static void hold_exclusive(void)
{
	vmmu_rwlock_acquire(&rwlock, &port, NULL);
	inside_exclusive++;
	atomic_put(&counter, 1);
	if (inside_shared || inside_exclusive != 1)
		wrong = "a writer beside others";
	atomic_put(&counter, 2);
	inside_exclusive--;
	vmmu_rwlock_release(&rwlock, &port, NULL);
}

static const char *lock_is_free(void)
{
	if (wrong)
		return wrong;
	/* Marks of those who waited may stay until the next writer. */
	if (rwlock.state.v & ~(VMMU_RWLOCK_WAITS | VMMU_RWLOCK_WANTED) || reader.in.v)
		return "the lock is still held";
	return NULL;
}

static void the_lock_keeps_writers_alone(void **state)
{
	struct explore_test test = {.name = "rwlock",
				    .threads = 3,
				    .setup = reset,
				    .thread = {hold_shared, hold_exclusive, hold_exclusive},
				    .watch = what_is_wrong,
				    .check = lock_is_free};
	struct explore_result r = explore(&test, 3);

	(void)state;
	if (r.failed)
		explore_show(&test, &r, "explore_self_test");
	assert_false(r.failed);
	printf("# | read-write lock, 2 writers and 1 reader: %llu schedules\n",
	       (unsigned long long)r.schedules);
	test.thread[1] = hold_shared;
	r = explore(&test, 3);
	assert_false(r.failed);
	printf("# | read-write lock, 1 writer and 2 readers: %llu schedules\n",
	       (unsigned long long)r.schedules);
	test.thread[0] = hold_announced;
	r = explore(&test, 3);
	assert_false(r.failed);
	printf("# | the same with a vCPU among the readers: %llu schedules\n",
	       (unsigned long long)r.schedules);
	test.thread[1] = hold_exclusive;
	r = explore(&test, 3);
	assert_false(r.failed);
	printf("# | 2 writers and a vCPU: %llu schedules\n", (unsigned long long)r.schedules);
	vmmu_mutant = VMMU_MUTANT_LOCK_BARGES;
	assert_true(explore(&test, 3).failed);
	test.thread[0] = hold_shared;
	assert_true(explore(&test, 3).failed);
	vmmu_mutant = VMMU_MUTANT_NONE;
}

/* ---- waiting asleep, as port.h has it ---- */

static vmmu_atomic_t dozed, dozing[EXPLORE_THREADS_MAX];

static void doze(void *host, unsigned turn)
{
	vmmu_atomic_t *mine = &dozing[explore_self()];

	(void)host;
	while (turn > 0 && atomic_get(mine))
		explore_spin();
	atomic_put(mine, 1);
	atomic_put(&dozed, 1);
}

static void wake(void *host)
{
	(void)host;
	if (!atomic_get(&dozed))
		return;
	atomic_put(&dozed, 0);
	for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++)
		atomic_put(&dozing[i], 0);
}

static void reset_awake(void)
{
	reset();
	memset(dozing, 0, sizeof(dozing));
	dozed.v = 0;
}

static void who_sleeps_for_the_lock_is_woken(void **state)
{
	static void (*const bodies[])(void) = {hold_shared, hold_announced, hold_exclusive};
	struct explore_test test = {.name = "sleepers",
				    .threads = 3,
				    .setup = reset_awake,
				    .thread = {NULL, hold_exclusive, hold_exclusive},
				    .watch = what_is_wrong,
				    .check = lock_is_free};

	(void)state;
	port.lock_wait = doze;
	port.lock_wake = wake;
	for (unsigned i = 0; i < 3; i++) {
		struct explore_result r;

		test.thread[0] = bodies[i];
		r = explore(&test, 2);
		if (r.failed)
			explore_show(&test, &r, "explore_self_test");
		assert_false(r.failed);
		printf("# | 2 writers and one more, asleep: %llu schedules\n",
		       (unsigned long long)r.schedules);
		vmmu_mutant = VMMU_MUTANT_LOCK_SILENT;
		assert_true(explore(&test, 2).failed);
		vmmu_mutant = VMMU_MUTANT_NONE;
	}
	port.lock_wait = NULL;
	port.lock_wake = NULL;
}

/* ---- loops without an access ---- */

static void loop_if_late(void)
{
	volatile uint64_t forever = atomic_get(&counter);

	while (forever)
		;
}

static void a_loop_that_has_no_end_is_a_failure(void **state)
{
	struct explore_test test = {
		.name = "endless", .threads = 2, .setup = reset, .thread = {add, loop_if_late}};
	struct explore_result r = explore(&test, 2);

	(void)state;
	assert_true(r.failed);
	assert_string_equal(r.failure, "a loop has no end");
	assert_int_equal(r.shortest.count, 2);
	assert_int_equal(r.shortest.stretch[1].accesses, 1);
}

/* ---- accesses to nowhere ---- */

static void crash_if_late(void)
{
	volatile uint64_t *nowhere = (volatile uint64_t *)(uintptr_t)(8 * atomic_get(&counter));

	if (nowhere)
		*nowhere = 1;
}

static void a_crash_is_a_failure(void **state)
{
	struct explore_test test = {
		.name = "crash", .threads = 2, .setup = reset, .thread = {add, crash_if_late}};
	struct explore_result r = explore(&test, 2);

	(void)state;
	assert_true(r.failed);
	assert_string_equal(r.failure, "an access to no memory");
	assert_int_equal(r.shortest.count, 2);
}

/* ---- one access to two objects ---- */

static uint64_t clock_object, written_at, clock_now;

static void reset_clock(void)
{
	reset();
	written_at = clock_now = 0;
}

/* The word, and when that was, as one. */
static void write_and_look_at_the_clock(void)
{
	explore_access(&counter, true, &clock_object, false, "writes");
	counter.v = 1;
	written_at = clock_now;
}

static void advance_the_clock(void)
{
	explore_point(&clock_object, true, "the clock moves");
	clock_now++;
}

static const char *written_at_zero(void)
{
	return written_at ? "it was written late" : NULL;
}

static void an_access_to_two_objects_is_one_of_each(void **state)
{
	struct explore_test test = {.name = "two objects",
				    .threads = 2,
				    .setup = reset_clock,
				    .thread = {write_and_look_at_the_clock, advance_the_clock}};
	struct explore_result r = explore(&test, 2);

	(void)state;
	/* Nobody else has the word, but the order with the clock counts. */
	assert_false(r.failed);
	assert_int_equal(r.schedules, 2);
	test.check = written_at_zero;
	assert_true(explore(&test, 2).failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_update_takes_exactly_one_preemption),
		cmocka_unit_test(a_failing_schedule_can_be_replayed),
		cmocka_unit_test(the_number_of_schedules_is_known),
		cmocka_unit_test(three_threads_of_one_step_have_six_orders),
		cmocka_unit_test(what_is_not_shared_is_no_place_to_switch_at),
		cmocka_unit_test(orders_that_mean_the_same_are_run_once),
		cmocka_unit_test(spinning_ends),
		cmocka_unit_test(a_deadlock_is_reported),
		cmocka_unit_test(waiting_for_what_nobody_does_is_a_deadlock),
		cmocka_unit_test(a_loop_that_has_no_end_is_a_failure),
		cmocka_unit_test(a_crash_is_a_failure),
		cmocka_unit_test(an_access_to_two_objects_is_one_of_each),
		cmocka_unit_test(the_lock_keeps_writers_alone),
		cmocka_unit_test(who_sleeps_for_the_lock_is_woken),
	};

	return cmocka_run_group_tests_name("explore", tests, NULL, NULL);
}
