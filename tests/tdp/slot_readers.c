/* SPDX-License-Identifier: MIT */
/* What those see who look at slots while they change: from a yield, and from another thread. */
#include "slot_rig.h"

#include <pthread.h>

#define HERE UINT64_C(0x1000)
#define THERE UINT64_C(0x9000)
#define CROWD 300u /* other slots, so that there are several chunks */

/* In one snapshot the wandering slot is here or there, everybody else in place. */
static void check_snapshot(struct sim_vm *sim)
{
	struct vmmu_task task = task_of_vm(sim->vm);
	const struct vmmu_slot_set *set;
	uint64_t slots = 0;

	vmmu_reading_begin(&task);
	set = slot_set(sim, 0);
	for (uint32_t c = 0; c < set->chunks; c++)
		slots += set->chunk[c]->count;
	if (slots != set->slots || slots != CROWD + 1 || set->generation & 1 ||
	    !vmmu_slots_find(set, (vmmu_gfn_t){HERE}) == !vmmu_slots_find(set, (vmmu_gfn_t){THERE}))
		sim_violation(sim->machine, "a reader saw a mixture of two slot sets");
	vmmu_reading_end(&task);
}

static struct sim_vm *crowd(unsigned vcpus)
{
	struct sim_vm *sim = slot_vm(4, 2, vcpus);

	for (unsigned i = 0; i < CROWD; i++) {
		struct vmmu_slot_config c = slot_config(0, i + 1, HERE + 0x10 * (i + 1), 8);

		assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_OK);
	}
	return sim;
}

struct watch {
	uint64_t before, in_progress, published, yields;
};

static void watch(struct sim_vm *sim, void *context)
{
	struct watch *w = context;
	uint64_t generation = vmmu_slot_generation(sim->vm, 0);

	w->yields++;
	check_snapshot(sim);
	if (generation == w->before)
		sim_violation(sim->machine, "the old generation with the new set");
	if (generation == (w->before + 2 + VMMU_GENERATION_IN_PROGRESS))
		w->in_progress++;
	else if (generation == w->before + 2)
		w->published++;
	else
		sim_violation(sim->machine, "a generation of nobody's");
}

void a_change_is_marked_in_progress_until_old_translations_are_gone(void **state)
{
	struct sim_vm *sim = crowd(1);
	struct vmmu_slot_config c = slot_config(0, 0, HERE, 8);
	struct vmmu_gfn_range mapped = {{HERE}, {HERE + 8}};
	struct watch w = {0};
	struct vmmu_entry entry;
	uint64_t done;

	(void)state;
	assert_int_equal(vmmu_slot_create(sim->vm, &c), VMMU_OK);
	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[0], &entry), VMMU_OK);
	vmmu_vcpu_leave(sim->vcpu[0]);
	sim->options.eager_yield = true;
	sim->hook_context = &w;
	for (unsigned n = 0; n < 10; n++) {
		assert_int_equal(vmmu_prefault(sim->vcpu[0], mapped, &done), VMMU_OK);
		w.before = vmmu_slot_generation(sim->vm, 0);
		mapped.start.n ^= HERE ^ THERE;
		mapped.end.n = mapped.start.n + 8;
		sim->on_yield = watch;
		assert_int_equal(vmmu_slot_move(sim->vm, 0, 0, mapped.start), VMMU_OK);
		sim->on_yield = NULL;
		assert_int_equal(vmmu_slot_generation(sim->vm, 0), w.before + 2);
	}
	assert_true(w.in_progress >= 10 && w.published >= 10);
	assert_int_equal(w.yields, w.in_progress + w.published);
	assert_int_equal(sim_violation_count(sim->machine), 0);
	sim_vm_free(sim);
}

struct reader {
	struct sim_vm *sim;
	_Atomic bool stop;
	_Atomic uint64_t looked;
	uint64_t here, there, mixtures;
};

static void *read_on(void *context)
{
	struct reader *r = context;
	struct vmmu_slot_config found;

	while (!r->stop) {
		check_snapshot(r->sim);
		if (vmmu_slot_find(r->sim->vm, 0, (vmmu_gfn_t){HERE + 7}, &found) == VMMU_OK) {
			r->here++;
			r->mixtures += found.id != 0 || found.base.n != HERE || found.count != 8;
		}
		if (vmmu_slot_find(r->sim->vm, 0, (vmmu_gfn_t){THERE}, &found) == VMMU_OK) {
			r->there++;
			r->mixtures += found.id != 0 || found.base.n != THERE || found.count != 8;
		}
		r->looked++;
	}
	return NULL;
}

/* Pages of a set are poisoned when they are freed: reading too long shows. */
void a_reader_on_another_thread_sees_one_set_or_the_other(void **state)
{
	struct reader r = {.sim = crowd(0)};
	struct vmmu_slot_config c = slot_config(0, 0, HERE, 8);
	uint64_t moves = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(vmmu_slot_create(r.sim->vm, &c), VMMU_OK);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
	while (moves < 3000 || r.looked < 3000) {
		uint64_t base = moves++ & 1 ? HERE : THERE;

		assert_int_equal(vmmu_slot_move(r.sim->vm, 0, 0, (vmmu_gfn_t){base}), VMMU_OK);
	}
	r.stop = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.mixtures, 0);
	assert_true(r.here > 0 && r.there > 0);
	assert_int_equal(sim_violation_count(r.sim->machine), 0);
	slot_check_set(r.sim, 0);
	sim_vm_free(r.sim);
}
