/* SPDX-License-Identifier: MIT */
/* A tracking client that writes down what it is told. */
#ifndef TESTS_TRACK_CLIENT_H
#define TESTS_TRACK_CLIENT_H

#include <vmmu/vmmu.h>

#define CLIENT_LOG 64u

struct client_told {
	unsigned space;
	uint64_t gpa;
	uint32_t bytes, kind;
};

struct client_ended {
	unsigned space;
	struct vmmu_gfn_range range;
};

struct client {
	struct vmmu_vm *vm;
	vmmu_tracker_id_t id;
	unsigned told, ended; /* how often; the logs keep the first CLIENT_LOG */
	struct client_told log[CLIENT_LOG];
	struct client_ended end[CLIENT_LOG];
	/* Hooks, NULL: none. */
	void (*on_told)(struct client *c, const struct client_told *t);
	void (*on_end)(struct client *c, const struct client_ended *t);
	void *context;
};

#define CLIENT_READ ((uint32_t)VMMU_ACCESS_READ)
#define CLIENT_WRITE ((uint32_t)VMMU_ACCESS_WRITE)
#define CLIENT_EXEC ((uint32_t)VMMU_ACCESS_EXEC)

/* These succeed, or the test fails. */
void client_join(struct client *c, struct vmmu_vm *vm);
void client_leave(struct client *c);
void client_add(struct client *c, uint64_t start, uint64_t end, uint32_t kinds);
void client_remove(struct client *c, uint64_t start, uint64_t end, uint32_t kinds);
/* The last one told is this. */
void client_was_told(const struct client *c, unsigned times, uint64_t gfn, uint32_t kind);

#endif
