/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs write the table, the host takes a slot away and gives it back, the device works: it
 * must never find memory that was taken, and in the end everything.
 */
#include "rig.h"

enum { TABLE = RIG_LOW + 3, ROUNDS = 4000, WRITES_MIN = 20000, MOVES_MIN = 1000 };

static struct rig *rig;
static _Atomic bool stop;
static _Atomic unsigned writes[RIG_CPUS];
static _Atomic unsigned moves, reads, poisoned;

static void *writer(void *argument)
{
	unsigned cpu = (unsigned)(uintptr_t)argument;

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		unsigned index = i % 256 * 2 + cpu;

		(void)rig_store(rig, cpu, rig_gpa(TABLE, index), rig_entry(i * 7 % RIG_FRAMES));
		atomic_fetch_add(&writes[cpu], 1);
	}
	return NULL;
}

static void *host(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		rig_slot_delete(rig, 1);
		rig_slot_create(rig, 1);
		atomic_fetch_add(&moves, 1);
	}
	return NULL;
}

/* Memory of a slot that has ended holds poison from the moment the end was told. */
static void device_use(unsigned number)
{
	const struct mediator_entry *entry;

	mediator_hold(&rig->mediator);
	entry = mediator_find(&rig->mediator, number);
	if (entry) {
		const _Atomic uint64_t *word =
			(const void *)(uintptr_t)vmmu_pfn_to_hpa(entry->pfn).addr;

		for (unsigned i = 0; i < 20; i++)
			atomic_fetch_add(&poisoned, atomic_load(word) == RIG_POISON);
		atomic_fetch_add(&reads, 1);
	}
	mediator_release(&rig->mediator);
}

static void stale_memory_is_never_used(void **state)
{
	pthread_t threads[RIG_CPUS + 1];

	(void)state;
	rig = rig_new();
	rig->mediator.hot_writes = UINT32_MAX;
	assert_int_equal(mediator_set_page(&rig->mediator, 0, (vmmu_gfn_t){TABLE}), VMMU_OK);
	for (unsigned i = 0; i < RIG_CPUS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)(uintptr_t)i),
				 0);
	assert_int_equal(pthread_create(&threads[RIG_CPUS], NULL, host, NULL), 0);
	for (unsigned i = 0;
	     i < ROUNDS || atomic_load(&writes[0]) < WRITES_MIN ||
	     atomic_load(&writes[1]) < WRITES_MIN || atomic_load(&moves) < MOVES_MIN;
	     i++) {
		mediator_submit(&rig->mediator);
		for (unsigned k = 0; k < 8; k++)
			device_use((i * 8 + k) % MEDIATOR_PAGE_ENTRIES);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i <= RIG_CPUS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&poisoned), 0);
	assert_true(atomic_load(&reads) > 0);
	mediator_submit(&rig->mediator);
	assert_int_equal(rig_wrong(rig, (const uint64_t[]){TABLE}, 1), 0);
	assert_int_equal(mediator_check(&rig->mediator), 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(stale_memory_is_never_used)};

	return cmocka_run_group_tests_name("mediator threads", tests, NULL, NULL);
}
