/* SPDX-License-Identifier: MIT */
/*
 * What tracking means, as plainly as it can be said: for each client an array of counts, and after
 * each access the question who had to be told. Compared with the library at every step.
 */
#ifndef TESTS_TRACK_MODEL_H
#define TESTS_TRACK_MODEL_H

#include <vmmu/vmmu.h>

#include "machine.h"
#include "watch.h"

#define MODEL_CLIENTS 3u
#define MODEL_REGION 4096u
#define MODEL_REGIONS 3u
#define MODEL_FRAMES (MODEL_REGION * MODEL_REGIONS)

struct model;

struct model_cell {
	uint32_t count[3]; /* reads, writes, fetches */
	bool once, open;
};

struct model_client {
	struct model *model;
	vmmu_tracker_id_t id;
	bool joined;
	unsigned due;     /* callbacks for the access that is being told */
	unsigned endings; /* ends of slots that must be told */
	struct model_cell cell[MODEL_FRAMES];
};

struct model_counts {
	uint64_t edits, refused, told, marks, passed, came_out, ends;
};

struct model {
	struct sim_machine *machine;
	struct vmmu_vm *vm;
	uint64_t region[MODEL_REGIONS]; /* first frame of each region */
	/* Does a slot of any space hold the frame? */
	bool (*held)(const struct model *model, uint64_t gfn);
	void *context;
	void (*on_told)(struct model *model, uint64_t gfn); /* NULL: nobody asks */
	const bool *in_hook; /* the library is in a call: callbacks change nothing */
	bool marks; /* the library may set accessed and dirty bits, and then tells by itself */
	/* An edit or a slot change is under way: here both worlds are right. */
	uint64_t busy_start, busy_end;
	struct sim_seen telling;
	bool is_told; /* a callback is under way */
	struct vmmu_gfn_range ending;
	unsigned ending_space;
	struct model_counts count;
	struct model_client client[MODEL_CLIENTS];
};

struct model *model_new(struct sim_machine *machine, struct vmmu_vm *vm);
/* All clients leave; nothing may be tracked afterwards. */
void model_free(struct model *model);
struct sim_watch model_watch(struct model *model);

/* One edit of some client, with frames around @gfn. */
void model_step(struct model *model, uint64_t gfn);

/* The slot is about to be deleted; then what came of it. */
void model_slot_ends(struct model *model, unsigned space, uint64_t first, uint64_t count);
void model_slot_ended(struct model *model, enum vmmu_error error);

/* Kinds of access that somebody must be told of; and those that must come out. */
uint32_t model_tracks(const struct model *model, uint64_t gfn);
uint32_t model_forbids(const struct model *model, uint64_t gfn);
/* After each step: all that was due has been told. */
void model_check(struct model *model);

#endif
