/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void accessed(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct client *c = client;
	struct client_told told = {space, gpa.addr, bytes, kind};

	if (c->told < CLIENT_LOG)
		c->log[c->told] = told;
	c->told++;
	if (c->on_told)
		c->on_told(c, &told);
}

static void region_removed(void *client, unsigned space, struct vmmu_gfn_range range)
{
	struct client *c = client;
	struct client_ended ended = {space, range};

	if (c->ended < CLIENT_LOG)
		c->end[c->ended] = ended;
	c->ended++;
	if (c->on_end)
		c->on_end(c, &ended);
}

static const struct vmmu_tracker_ops ops = {.accessed = accessed, .region_removed = region_removed};

static struct vmmu_gfn_range range(uint64_t start, uint64_t end)
{
	return (struct vmmu_gfn_range){{start}, {end}};
}

void client_join(struct client *c, struct vmmu_vm *vm)
{
	c->vm = vm;
	assert_int_equal(vmmu_tracker_register(vm, &ops, c, &c->id), VMMU_OK);
	assert_true(c->id.n != 0);
}

void client_leave(struct client *c)
{
	assert_int_equal(vmmu_tracker_unregister(c->vm, c->id), VMMU_OK);
}

void client_add(struct client *c, uint64_t start, uint64_t end, uint32_t kinds)
{
	assert_int_equal(vmmu_track_add(c->vm, c->id, range(start, end), kinds), VMMU_OK);
}

void client_remove(struct client *c, uint64_t start, uint64_t end, uint32_t kinds)
{
	assert_int_equal(vmmu_track_remove(c->vm, c->id, range(start, end), kinds), VMMU_OK);
}

void client_was_told(const struct client *c, unsigned times, uint64_t gfn, uint32_t kind)
{
	assert_int_equal(c->told, times);
	assert_true(times && times <= CLIENT_LOG);
	assert_int_equal(c->log[times - 1].gpa >> VMMU_PAGE_SHIFT, gfn);
	assert_int_equal(c->log[times - 1].kind, kind);
}
