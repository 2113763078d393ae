/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "port.h"

static char words[256];

/* ---- a VM and a client ---- */

struct client {
	struct sim_vm *sim;
	vmmu_tracker_id_t id;
	unsigned told, ended;
};

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct client *c = client;

	(void)space;
	(void)gpa;
	(void)bytes;
	(void)kind;
	c->told++;
}

static void region_removed(void *client, unsigned space, struct vmmu_gfn_range range)
{
	struct client *c = client;

	(void)space;
	(void)range;
	c->ended++;
}

static const struct vmmu_tracker_ops ops = {.accessed = accessed, .region_removed = region_removed};

static struct vmmu_gfn_range frames(uint64_t start, uint64_t end)
{
	return (struct vmmu_gfn_range){{start}, {end}};
}

/* One slot of 2048 frames, one vCPU that believes its oldest translations. */
static struct client *begin(struct client *c)
{
	struct sim_vm_options options = {
		.machine = {.seed = 7,
			    .frame_count = 8192,
			    .host_page_count = 2048,
			    .mode = SIM_CPU_ALWAYS_STALE},
		.vm = sim_vm_config(),
	};

	options.vm.max_leaf = VMMU_LEVEL_4K;
	*c = (struct client){.sim = sim_vm_new(&options, 1)};
	if (!c->sim || !sim_host_populate(c->sim->machine, (sim_hpage_t){0}, 2048, SIM_LEVEL_4K) ||
	    sim_slot_create(c->sim, 0, 0, 0, 2048, 0, 0) != VMMU_OK ||
	    vmmu_tracker_register(c->sim->vm, &ops, c, &c->id) != VMMU_OK)
		return NULL;
	return c;
}

static const char *end(struct client *c, const char *problem)
{
	const char *violation;

	if (!problem && vmmu_tracker_unregister(c->sim->vm, c->id) != VMMU_OK)
		problem = "the client cannot leave";
	violation = sim_violation_text(c->sim->machine, 0);
	if (!problem && violation) {
		snprintf(words, sizeof(words), "%s", violation);
		return words;
	}
	if (!problem)
		sim_vm_free(c->sim);
	return problem;
}

static enum sim_access_end write_frame(struct client *c, uint64_t gfn)
{
	uint64_t value = oracle_fresh_value(c->sim->oracle);

	return sim_vm_access(c->sim, 0, gfn << VMMU_PAGE_SHIFT, SIM_WRITE, &value);
}

/* ---- the probes ---- */

static void add_now(struct sim_vm *sim, void *context)
{
	struct client *c = context;

	if (vmmu_track_add(sim->vm, c->id, frames(7, 8), VMMU_ACCESS_WRITE) != VMMU_OK)
		sim_violation(sim->machine, "the frame cannot be added");
}

/* R5: the fault has seen that nobody tracks the frame; then somebody does. */
static const char *a_fault_under_way_meets_a_new_tracker(void)
{
	struct client client, *c = begin(&client);

	if (!c)
		return "no VM";
	c->sim->before_page_answer = add_now;
	c->sim->hook_context = c;
	if (write_frame(c, 7) != SIM_ACCESS_MEMORY || c->told != 1)
		return end(c, "a write passed a client that came while it faulted");
	if (write_frame(c, 7) != SIM_ACCESS_MEMORY || c->told != 2)
		return end(c, "the next write passed, too");
	return end(c, NULL);
}

/* R4: the new slot set cannot be built. */
static const char *a_delete_that_fails_is_told_to_nobody(void)
{
	struct client client, *c = begin(&client);

	if (!c)
		return "no VM";
	if (vmmu_track_add(c->sim->vm, c->id, frames(7, 8), VMMU_ACCESS_WRITE) != VMMU_OK)
		return end(c, "the frame cannot be added");
	sim_ram_fail_tables(c->sim->machine, 1, UINT64_MAX);
	if (sim_slot_delete(c->sim, 0, 0) != VMMU_ENOMEM)
		return end(c, "a delete without memory succeeds");
	sim_ram_fail_tables(c->sim->machine, 0, 0);
	if (c->ended)
		return end(c, "the end of a slot is told that has not ended");
	if (write_frame(c, 7) != SIM_ACCESS_MEMORY || c->told != 1)
		return end(c, "a failed delete took tracking along");
	if (sim_slot_delete(c->sim, 0, 0) != VMMU_OK || c->ended != 1)
		return end(c, "the end of a slot is not told once");
	return end(c, NULL);
}

/* While old roots are taken apart nobody is on them; yet nothing in them may say otherwise. */
static void add_and_audit(struct sim_vm *sim, void *context)
{
	struct client *c = context;

	if (c->ended++)
		return;
	if (vmmu_track_add(sim->vm, c->id, frames(1800, 1801), VMMU_ACCESS_WRITE) != VMMU_OK)
		sim_violation(sim->machine, "the frame cannot be added");
	(void)sim_vm_audit(sim);
}

static const char *a_root_on_its_way_out_loses_the_right_too(void)
{
	struct client client, *c = begin(&client);

	if (!c)
		return "no VM";
	for (uint64_t gfn = 0; gfn < 2048; gfn += 600)
		(void)write_frame(c, gfn);
	c->sim->options.eager_yield = true;
	c->sim->on_yield = add_and_audit;
	c->sim->hook_context = c;
	if (vmmu_zap_all(c->sim->vm) != VMMU_OK || !c->ended)
		return end(c, "zap_all fails, or does not pause");
	c->sim->options.eager_yield = false;
	return end(c, NULL);
}

/* ---- a callback that is under way while its client leaves ---- */

struct leaving {
	struct client *c;
	atomic_bool called, left;
	atomic_uint yields;
};

static struct leaving *the_leaving;

static void (*sim_yield)(void *host);

static void count_yield(void *host)
{
	(void)host;
	atomic_fetch_add(&the_leaving->yields, 1);
}

static void stay(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct leaving *l = the_leaving;

	accessed(client, space, gpa, bytes, kind);
	atomic_store(&l->called, true);
	/* It waits and says so, or it is gone. */
	while (!atomic_load(&l->left) && atomic_load(&l->yields) < 3)
		;
	if (atomic_load(&l->left))
		l->c->ended = 77;
}

static void *leave(void *context)
{
	struct leaving *l = context;

	while (!atomic_load(&l->called))
		;
	if (vmmu_tracker_unregister(l->c->sim->vm, l->c->id) != VMMU_OK)
		l->c->ended = 78;
	atomic_store(&l->left, true);
	return NULL;
}

static const char *leaving_waits_for_a_callback_under_way(void)
{
	static const struct vmmu_tracker_ops slow = {.accessed = stay};
	struct client client, *c = begin(&client);
	struct leaving l = {.c = c};
	enum vmmu_error told;
	pthread_t thread;

	if (!c)
		return "no VM";
	if (vmmu_tracker_unregister(c->sim->vm, c->id) != VMMU_OK ||
	    vmmu_tracker_register(c->sim->vm, &slow, c, &c->id) != VMMU_OK ||
	    vmmu_track_add(c->sim->vm, c->id, frames(7, 8), VMMU_ACCESS_WRITE) != VMMU_OK)
		return end(c, "a slow client cannot come");
	the_leaving = &l;
	sim_yield = c->sim->port.yield;
	c->sim->port.yield = count_yield;
	if (pthread_create(&thread, NULL, leave, &l))
		return "no thread";
	told = vmmu_guest_written(c->sim->vm, 0, (vmmu_gpa_t){0x7000}, 8);
	pthread_join(thread, NULL);
	c->sim->port.yield = sim_yield;
	if (told != VMMU_OK || c->told != 1 || c->ended)
		return "a client has left while its callback ran";
	if (vmmu_tracker_register(c->sim->vm, &ops, c, &c->id) != VMMU_OK)
		return "a client cannot come back";
	return end(c, NULL);
}

const char *track_probes(void)
{
	static const char *(*const probes[])(void) = {
		a_fault_under_way_meets_a_new_tracker,
		a_delete_that_fails_is_told_to_nobody,
		a_root_on_its_way_out_loses_the_right_too,
		leaving_waits_for_a_callback_under_way,
	};

	for (unsigned i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		const char *problem = probes[i]();

		if (problem)
			return problem;
	}
	return NULL;
}
