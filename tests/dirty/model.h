/* SPDX-License-Identifier: MIT */
/*
 * What the dirty log means, as plainly as it can be said: for each frame of each slot whether a
 * write to it must be told, or may be. Each look of the library is compared with that.
 */
#ifndef TESTS_DIRTY_MODEL_H
#define TESTS_DIRTY_MODEL_H

#include <vmmu/vmmu.h>

#include "machine.h"

#define MODEL_SLOTS 32u
#define MODEL_FRAMES 2048u /* of a slot, at most */

struct model_frame {
	bool due;      /* written, not told: the next look at it must tell */
	bool excused;  /* may be told once: dirty from before, or in the middle of something */
	uint8_t fresh; /* writes that landed while the look at it ran */
	bool touched;  /* written since the slot had no translations */
};

struct model_slot {
	bool is_used, logs;
	bool changing; /* logging is about to begin or to end: writes may count or not */
	unsigned space;
	uint16_t id;
	uint64_t base, count;
	struct model_frame frame[MODEL_FRAMES];
};

struct model_counts {
	uint64_t looks, frames_told, due, fresh, begun, ended, refused, writes;
};

struct model {
	struct sim_machine *machine;
	struct vmmu_vm *vm;
	struct model_slot slot[MODEL_SLOTS];
	/* The look under way. */
	const struct model_slot *looking;
	uint64_t first, last;
	uint64_t orphans; /* writes where no slot is known since this was cleared */
	struct model_counts count;
};

struct model *model_new(struct sim_machine *machine, struct vmmu_vm *vm);

/* Slots come and go. @flags: enum vmmu_slot_flags. */
void model_slot_made(struct model *model, const struct vmmu_slot_config *config);
void model_slot_gone(struct model *model, unsigned space, uint16_t id);
struct model_slot *model_slot_at(struct model *model, unsigned space, uint64_t gfn);
/* A slot in use, or NULL. */
struct model_slot *model_some_slot(struct model *model);

/* A write has landed, or, if the host tells it, has been told. */
void model_wrote(struct model *model, unsigned space, uint64_t gfn);

/* vmmu_slot_set_flags() with or without VMMU_SLOT_LOG, and a look at some part; compared. */
void model_set_flags(struct model *model, struct model_slot *slot, uint32_t flags);
void model_look(struct model *model, struct model_slot *slot);
/* A look at all of each slot that logs. */
void model_look_at_all(struct model *model);
/* Questions that must be refused. */
void model_ask_wrongly(struct model *model);
/* Frames written by the host, told by vmmu_dirty_mark() or vmmu_guest_written(). */
void model_host_writes(struct model *model, unsigned space, uint64_t gfn);

#endif
