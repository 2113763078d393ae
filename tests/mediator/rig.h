/* SPDX-License-Identifier: MIT */
/*
 * A VM with three slots on memory of the process, a mediator, and a "guest" that stores: through
 * the library's fault path, told when it asks for that. What the mediator pins is counted.
 */
#ifndef VMMU_TESTS_MEDIATOR_RIG_H
#define VMMU_TESTS_MEDIATOR_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediator.h"

enum {
	RIG_SLOTS = 3,
	RIG_SLOT_FRAMES = 16,
	RIG_FRAMES = 0x60, /* guest frames, slots and holes */
	RIG_CPUS = 2,
};

/* First frames of the slots; the last one is read-only. */
enum { RIG_LOW = 0x00, RIG_HIGH = 0x20, RIG_ROM = 0x40 };

/* What a frame holds whose slot has ended. */
#define RIG_POISON UINT64_C(0xdeadbeefdeadbeef)

struct rig_slot {
	uint64_t base;
	bool there;
	unsigned half; /* which of its two pieces of host memory is in use */
	void *host;    /* both pieces, and as words: */
	_Atomic uint64_t *memory;
};

struct rig {
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu[RIG_CPUS];
	struct mediator mediator;
	struct rig_slot slots[RIG_SLOTS];
	pthread_mutex_t slots_lock; /* guards slots[]: taken last */
	pthread_mutex_t lock;       /* the mediator's */
	_Atomic int pins;
	/* Called when the mediator reads the word at this address, before it is read. */
	void (*on_read)(struct rig *rig);
	uint64_t on_read_gpa;
};

struct rig *rig_new(void);
void rig_free(struct rig *rig);

/* A slot ends, and comes back on other host memory. What it leaves is poisoned. */
void rig_slot_delete(struct rig *rig, unsigned slot);
void rig_slot_create(struct rig *rig, unsigned slot);
/* As far as the library goes: the same memory. */
void rig_slot_tell(struct rig *rig, unsigned slot);
/* Free and a new mediator, which is told after trackers that were registered meanwhile. */
void rig_mediator_end(struct rig *rig);
void rig_mediator_begin(struct rig *rig);

/* The word of guest memory at @gpa; NULL: no slot. */
_Atomic uint64_t *rig_word(struct rig *rig, uint64_t gpa);

/* A write to @gpa by a CPU: what the library makes of it. Nothing is written. */
enum vmmu_outcome rig_fault(struct rig *rig, unsigned cpu, uint64_t gpa);

/* A store of 8 bytes by a CPU of the guest. Return: what the library made of it. */
enum vmmu_outcome rig_store(struct rig *rig, unsigned cpu, uint64_t gpa, uint64_t value);

/* The host frame that the device finds for its page; NONE: not shadowed. No submission. */
vmmu_pfn_t rig_find(struct rig *rig, uint64_t number);

/* The host frame behind @gfn as the test knows it. */
vmmu_pfn_t rig_frame(struct rig *rig, uint64_t gfn);

/* Entries that the device would find other than the guest's table and the slots say. */
unsigned rig_wrong(struct rig *rig, const uint64_t tables[], unsigned count);

static inline uint64_t rig_gpa(uint64_t gfn, unsigned index)
{
	return gfn << VMMU_PAGE_SHIFT | 8u * index;
}

static inline uint64_t rig_entry(uint64_t gfn)
{
	return gfn << VMMU_PAGE_SHIFT | MEDIATOR_PRESENT | MEDIATOR_WRITABLE;
}

#endif
