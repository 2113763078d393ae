/* SPDX-License-Identifier: MIT */
/*
 * What the hardware recorded about the guest's accesses, read and cleared while the guest runs: to
 * find cold pages, and pages that changed.
 *
 * Bitmaps have one bit for each frame of the range, bit i % 64 of word i / 64 for frame
 * range.start + i. Bits are set, never cleared: several calls may add up in one bitmap.
 * A huge leaf speaks for all its frames. @count counts a frame once for each translation of it.
 */
#ifndef VMMU_HARVEST_H
#define VMMU_HARVEST_H

#include <vmmu/error.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * vmmu_harvest_accessed() - which frames were accessed since the last call, by way of the
 * translations that exist now? Forgets it, so that the next call tells what came after.
 * @bitmap: may be NULL: count only. @count: set to the number of frames found; may be NULL.
 *
 * CPUs may go on with translations that they hold without recording accesses anew: frames
 * in constant use can look cold until something flushes. Nothing is flushed for this. What
 * was recorded in translations withdrawn meanwhile went to port->page_accessed. Without accessed
 * flags (config.no_accessed_dirty) every translation found is told, withdrawn, and flushed.
 * Context: any thread; no lock is taken, faults go on; but for nested paging without those flags.
 * Return:  VMMU_OK; VMMU_EINVAL, no such space or a range upside down; VMMU_EDEAD.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_harvest_accessed(struct vmmu_vm *vm, unsigned space,
						      struct vmmu_gfn_range range, uint64_t *bitmap,
						      uint64_t *count);

/**
 * vmmu_harvest_dirty() - which frames were written since the last call? Pays a flush before it
 * returns: a write that comes later is told by the next call, even if it goes through a
 * translation that existed before. port->page_dirty is told, too. What was recorded in translations
 * withdrawn meanwhile went there only.
 * Of two calls at once for the same frames each tells a part: add up their bitmaps. What is written
 * while both run may be told late then: keep them apart, and apart from vmmu_dirty_log(), where it
 * matters.
 * Without dirty flags the right to write is taken away instead; a fault gives it back.
 * Context: any thread. May call yield. Return: as above.
 */
VMMU_MUST_CHECK enum vmmu_error vmmu_harvest_dirty(struct vmmu_vm *vm, unsigned space,
						   struct vmmu_gfn_range range, uint64_t *bitmap,
						   uint64_t *count);

#ifdef __cplusplus
}
#endif

#endif
