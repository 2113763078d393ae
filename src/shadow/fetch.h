/* SPDX-License-Identifier: MIT */
/* Inside of the shadow engine: a fault on its way to a leaf. */
#ifndef VMMU_SHADOW_FETCH_H
#define VMMU_SHADOW_FETCH_H

#include "shadow/shade.h"

struct vmmu_fetch {
	struct vmmu_task *task;
	struct vmmu_vcpu *vcpu;
	uint64_t gva;
	const struct vmmu_walk_result *walk;
	uint32_t rights; /* VMMU_RIGHT_*: what the leaf may allow, tricks for CR0.WP = 0 included */
	uint32_t plain;  /* the same without tricks: role of direct tables, whose other leaves
			  * must stay while this one is tricked with */
	bool is_write, is_fetch;
};

/**
 * vmmu_fetch() - install what the guest's walk found.
 * Return: as vmmu_shade_map(), and RETRY: the guest's tables changed since the walk.
 */
enum vmmu_outcome vmmu_fetch(struct vmmu_fetch *f, struct vmmu_shade *root, enum vmmu_level *level)
	VMMU_REQUIRES(vmmu_mmu_lock);

/* The step of the walk that read the entry of a table at @level; NULL below the guest's leaf. */
const struct vmmu_walk_step *vmmu_fetch_step(const struct vmmu_fetch *f, unsigned level);
/* Frame and role of the table below @s: the guest's next one, or a piece of its huge page. */
union vmmu_role vmmu_fetch_child_role(const struct vmmu_fetch *f, const struct vmmu_shade *s,
				      uint64_t gpte, vmmu_gfn_t *at);
/* The table that entry @index of @s leads to, if it is the one of this frame and role. */
struct vmmu_shade *vmmu_fetch_linked(const struct vmmu_fetch *f, const struct vmmu_shade *s,
				     unsigned index, vmmu_gfn_t gfn, union vmmu_role role)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* ---- fill.c ---- */

/* What the guest's entry comes to for a piece of a huge page: the table's role says the rest. */
#define VMMU_SHADE_PIECE                                                                           \
	(VMMU_GUEST_PRESENT | VMMU_BIT(1) | VMMU_BIT(2) | VMMU_GUEST_ACCESSED | VMMU_GUEST_DIRTY)

/* Leaves for the neighbours of entry @index that the guest has used before: no fault for them. */
void vmmu_shade_prefetch(struct vmmu_task *task, struct vmmu_shade *s, unsigned index)
	VMMU_REQUIRES(vmmu_mmu_lock);

/*
 * A leaf for entry @index, which is empty, and its neighbours, side by side with others. @gpte: the
 * guest's entry, which allows the access and is marked for it. False: vmmu_shade_map() has to see
 * to it, or somebody was faster; nothing changed.
 */
bool vmmu_shade_fill_group(struct vmmu_task *task, struct vmmu_shade *s, unsigned index,
			   uint64_t gpte, bool is_write) VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/*
 * The leaf at entry @index lets the guest write from now on, side by side with others, if it is
 * what a leaf for @gpte would be but for that. @gpte: as above. False: it is not, or must not.
 */
bool vmmu_shade_widen(struct vmmu_task *task, struct vmmu_shade *s, unsigned index, uint64_t gpte)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock);

/* The role of a table at @level in the vCPU's paging mode, rights and quadrant not narrowed. */
union vmmu_role vmmu_shade_role(const struct vmmu_vcpu *vcpu, unsigned level);

#endif
