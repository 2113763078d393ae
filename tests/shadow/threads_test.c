/* SPDX-License-Identifier: MIT */
/*
 * Shadow faults side by side under ThreadSanitizer: vCPUs write the same pages and others, by way
 * of tables that they share and that they do not, also pages that hold tables of theirs, while the
 * host takes frames away, forgets tables and all, asks what was accessed and written, and rewrites
 * the guest's tables. Somebody copies the guest's memory as the dirty log tells him to.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

#define ROUNDS 600u
#define HOT 48u /* pages that everybody wants */

static atomic_bool stop;
/* An audit must not come between a change of the guest's tables and the word of it. */
static pthread_mutex_t editing = PTHREAD_MUTEX_INITIALIZER;

static uint64_t roll(uint64_t *seed, uint64_t bound)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % bound;
}

static uint64_t some_page(uint64_t *seed)
{
	uint64_t page = roll(seed, WORLD_ALL_PAGES);

	switch (roll(seed, 8)) {
	case 0:
		return WORLD_WINDOW + roll(seed, WORLD_LOOSE);
	case 1:
	case 2:
	case 3:
		return page % HOT;
	default:
		return page < WORLD_PAGES || page % 512 >= 16 ? page : page % HOT;
	}
}

static void *run_cpu(void *context)
{
	struct world_cpu *cpu = context;
	uint64_t seed = 31 + cpu->index;

	while (!atomic_load(&stop)) {
		world_write(cpu, some_page(&seed));
		switch (roll(&seed, 64)) {
		case 0:
			vmmu_shadow_flush(cpu->vcpu);
			break;
		case 1:
			vmmu_shadow_invlpg(cpu->vcpu,
					   (vmmu_gva_t){some_page(&seed) * VMMU_PAGE_BYTES});
			break;
		default:
			break;
		}
	}
	return NULL;
}

/* A hot page may lead to the same frame as others: lists of leaves with several on them. */
static void *run_guest(void *context)
{
	struct world *w = context;
	uint64_t seed = 5;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t page = roll(&seed, 2) ? roll(&seed, HOT) : roll(&seed, WORLD_PAGES);

		if (page == WORLD_ABSENT || page - WORLD_WINDOW < WORLD_LOOSE)
			continue;
		pthread_mutex_lock(&editing);
		world_remap(w, page, WORLD_DATA + roll(&seed, 2) * roll(&seed, WORLD_PAGES));
		pthread_mutex_unlock(&editing);
		sched_yield();
	}
	return NULL;
}

static void finding(void *context, const struct vmmu_finding *f)
{
	(void)context;
	print_message("# %s\n", f->text);
}

static void *run_host(void *context)
{
	struct world *w = context;
	uint64_t seed = 9;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t count = 1 + roll(&seed, 64);
		uint64_t first = WORLD_DATA + roll(&seed, WORLD_PAGES - count);

		(void)vmmu_work(w->vm, 1);
		if (i % 64 == 63) {
			pthread_mutex_lock(&editing);
			if (vmmu_audit(w->vm, finding, NULL) != 0 || vmmu_zap_all(w->vm) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
			pthread_mutex_unlock(&editing);
		} else if (i % 64 == 31) {
			pthread_mutex_lock(&editing);
			if (vmmu_audit(w->vm, finding, NULL) != 0 ||
			    vmmu_zap_all_fast(w->vm) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
			pthread_mutex_unlock(&editing);
		} else if (i % 4 == 2) {
			/* Some of them are tables. */
			world_forget_table(w, roll(&seed, 32));
		} else if (i % 8 == 7) {
			struct vmmu_gfn_range hot = {{WORLD_DATA}, {WORLD_DATA + HOT}};

			if (vmmu_zap_range(w->vm, 0, hot) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
		} else {
			world_take(w, first, count);
		}
		sched_yield();
	}
	return NULL;
}

/* What was accessed, and written, beside all that. */
static void *run_ager(void *context)
{
	struct world *w = context;
	const struct vmmu_gfn_range all = {{0}, {WORLD_FRAMES}};
	uint64_t count, frames = 0;

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		if (vmmu_harvest_accessed(w->vm, 0, all, NULL, &count) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
		frames += count;
		if (i % 16 == 0 && vmmu_harvest_dirty(w->vm, 0, all, NULL, &count) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
		sched_yield();
	}
	if (!frames)
		atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

/* ---- a copy of the guest's data ---- */

#define WORDS (WORLD_CPUS + 1u)
#define COPIED_END (WORLD_DATA + WORLD_PAGES) /* frames that pages of data lead to */
static uint64_t copy[COPIED_END][WORDS], before[COPIED_END][WORDS];

static void copy_frame(struct world *w, uint64_t frame, uint64_t *words)
{
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = world_word(w, frame, i);
}

static void begin_to_log(struct world *w)
{
	if (vmmu_slot_set_flags(w->vm, 0, 0, VMMU_SLOT_LOG) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (uint64_t frame = WORLD_DATA; frame < COPIED_END; frame++)
		copy_frame(w, frame, copy[frame]);
}

/* What was there when the look began is told by it, or was told and copied before. */
static uint64_t look(struct world *w)
{
	static uint64_t bitmap[WORLD_PAGES / 64];
	struct vmmu_slot_part part = {.first = WORLD_DATA, .count = WORLD_PAGES};
	uint64_t count;

	for (uint64_t frame = WORLD_DATA; frame < COPIED_END; frame++)
		copy_frame(w, frame, before[frame]);
	memset(bitmap, 0, sizeof(bitmap));
	if (vmmu_dirty_log(w->vm, &part, bitmap, &count) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (uint64_t frame = WORLD_DATA; frame < COPIED_END; frame++) {
		uint64_t i = frame - WORLD_DATA;

		if (bitmap[i / 64] >> i % 64 & 1) {
			copy_frame(w, frame, copy[frame]);
		} else if (memcmp(copy[frame], before[frame], sizeof(copy[frame])) != 0) {
			print_message("# frame %llu was written before a look: not told\n",
				      (unsigned long long)frame);
			atomic_fetch_add(&w->wrong, 1);
		}
	}
	return count;
}

static void *run_migrator(void *context)
{
	struct world *w = context;
	uint64_t seed = 11, told = 0;

	begin_to_log(w);
	for (unsigned i = 1; !atomic_load(&stop); i++) {
		world_device_write(w, WORLD_DATA + roll(&seed, HOT));
		told += look(w);
		if (i % 16 == 0) {
			if (vmmu_slot_set_flags(w->vm, 0, 0, 0) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
			begin_to_log(w);
		}
		usleep(5000);
	}
	if (!told)
		atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

/* All others have ended: one more look, and the copy is complete. */
static void check_copy(struct world *w)
{
	(void)look(w);
	for (uint64_t frame = WORLD_DATA; frame < COPIED_END; frame++)
		assert_memory_equal(copy[frame], before[frame], sizeof(copy[frame]));
}

static void live(unsigned prefetch)
{
	struct world *w = world_new(prefetch);
	uint64_t values[VMMU_STAT_COUNT], writes = 0, faults = 0;
	pthread_t cpu[WORLD_CPUS], host, guest, ager, migrator;

	atomic_store(&stop, false);
	for (unsigned i = 0; i < WORLD_CPUS; i++)
		assert_int_equal(pthread_create(&cpu[i], NULL, run_cpu, &w->cpu[i]), 0);
	assert_int_equal(pthread_create(&host, NULL, run_host, w), 0);
	assert_int_equal(pthread_create(&guest, NULL, run_guest, w), 0);
	assert_int_equal(pthread_create(&ager, NULL, run_ager, w), 0);
	assert_int_equal(pthread_create(&migrator, NULL, run_migrator, w), 0);
	pthread_join(host, NULL);
	pthread_join(guest, NULL);
	atomic_store(&stop, true);
	pthread_join(ager, NULL);
	pthread_join(migrator, NULL);
	for (unsigned i = 0; i < WORLD_CPUS; i++) {
		pthread_join(cpu[i], NULL);
		writes += w->cpu[i].writes;
		faults += w->cpu[i].faults;
	}
	if (vmmu_vm_death(w->vm))
		fail_msg("%s", vmmu_vm_death(w->vm));
	check_copy(w);
	vmmu_stats_read(w->vm, values);
	print_message("# %llu writes, %llu faults, %llu prefetched, %llu zapped\n",
		      (unsigned long long)writes, (unsigned long long)faults,
		      (unsigned long long)values[VMMU_STAT_PREFETCHED],
		      (unsigned long long)values[VMMU_STAT_ZAPPED]);
	assert_int_equal(atomic_load(&w->wrong), 0);
	assert_true(writes && faults && values[VMMU_STAT_ZAPPED]);
	assert_int_equal(values[VMMU_STAT_PREFETCHED] > 0, prefetch > 1);
	assert_int_equal(vmmu_audit(w->vm, finding, NULL), 0);
	world_free(w);
}

static void vcpus_fault_side_by_side(void **state)
{
	(void)state;
	live(1);
}

static void vcpus_fault_side_by_side_and_prefetch(void **state)
{
	(void)state;
	live(8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vcpus_fault_side_by_side),
		cmocka_unit_test(vcpus_fault_side_by_side_and_prefetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
