/* SPDX-License-Identifier: MIT */
/* Costs of tracking: with 4 GiB mapped, by 4K and by 2M. */
#ifndef BENCH_MICRO_TRACK_H
#define BENCH_MICRO_TRACK_H

#include "rig.h"

void prepare_track_small(struct rig *rig);
void prepare_track_huge(struct rig *rig);
/* The next frame; the next frame of another huge page. */
void run_track_add(struct rig *rig);
void run_track_add_huge(struct rig *rig);
/* Everything that run_track_remove() needs is added before. */
void prepare_track_remove(struct rig *rig);
void run_track_remove(struct rig *rig);
/* A tracked write: the fault, and the telling. */
void prepare_track_write(struct rig *rig);
void run_track_write(struct rig *rig);
/* A device's write in a VM that tracks nothing. */
void run_untracked_write(struct rig *rig);

/* Pages for the first frame, and for all the frames of a GiB after it. */
void print_track_memory(void);

#endif
