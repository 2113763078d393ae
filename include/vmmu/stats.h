/* SPDX-License-Identifier: MIT */
/* Counters as a versioned, self-describing table. */
#ifndef VMMU_STATS_H
#define VMMU_STATS_H

#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when the meaning of an existing counter changes; new ones go to the end. */
#define VMMU_STATS_VERSION 1u

/* name, dotted key, unit and meaning. "now" counters go up and down. */
#define VMMU_STATS(X)                                                                              \
	X(FAULTS, "faults.total", "faults handled")                                                \
	X(FAULT_RESUME, "faults.resume", "faults that installed or widened an entry")              \
	X(FAULT_SPURIOUS, "faults.spurious", "faults on an entry that already allowed the access") \
	X(FAULT_RETRY, "faults.retry", "faults that met a change under way")                       \
	X(FAULT_MMIO, "faults.mmio", "faults outside every slot")                                  \
	X(FAULT_READONLY, "faults.readonly", "writes to read-only slots")                          \
	X(FAULT_PENDING, "faults.pending", "faults that wait for the host")                        \
	X(FAULT_HOST_ERROR, "faults.host_error", "faults for which the host had no page")          \
	X(FAULT_NO_MEMORY, "faults.no_memory", "faults for which there was no table page")         \
	X(FAULT_STUCK, "faults.stuck", "faults that came back with nothing changed")               \
	X(FAULT_INJECT, "faults.inject", "faults handed on to the guest")                          \
	X(FAULT_TABLE_WRITE, "faults.table_write", "writes to pages that hold guest tables")       \
	X(FAULT_TRACKED, "faults.tracked", "accesses that a client tracks")                        \
	X(FAULT_DEAD, "faults.dead", "faults of a dead VM")                                        \
	X(FAULT_4K, "faults.level.4k", "faults resolved by a 4K leaf")                             \
	X(FAULT_2M, "faults.level.2m", "faults resolved by a 2M leaf")                             \
	X(FAULT_1G, "faults.level.1g", "faults resolved by a 1G leaf")                             \
	X(MMIO_CACHED, "mmio.cached", "device accesses found in an entry or the vCPU's cache")     \
	X(MMIO_ENTRIES, "mmio.entries", "device frames remembered in tables, so far")              \
	X(PREFETCHED, "pages.prefetched", "leaves installed before they were asked for")           \
	X(SPLITS, "pages.splits", "huge leaves split")                                             \
	X(PAGES_4K, "pages.4k", "4K leaves now")                                                   \
	X(PAGES_2M, "pages.2m", "2M leaves now")                                                   \
	X(PAGES_1G, "pages.1g", "1G leaves now")                                                   \
	X(TABLES, "tables.pages", "table pages now, roots included")                               \
	X(TABLES_FREED, "tables.freed", "table pages given back, so far")                          \
	X(ZAPPED, "pages.zapped", "leaves withdrawn, so far")                                      \
	X(FLUSHES, "flushes.total", "flushes owed and paid")                                       \
	X(FLUSHES_REMOTE, "flushes.remote", "of these, flushes that had to interrupt a CPU")       \
	X(YIELDS, "zap.yields", "times a long operation let others run")                           \
	X(INVALIDATIONS, "invalidate.total", "host invalidations begun")                           \
	X(SLOT_CHANGES, "slots.changes", "slot sets published")                                    \
	X(SHADOW_ZAPPED, "shadow.zapped", "shadow tables taken apart")                             \
	X(SHADOW_RECLAIMED, "shadow.reclaimed", "of these, to stay within the quota")              \
	X(SHADOW_FLOODED, "shadow.flooded", "of these, because they were written like data")       \
	X(SHADOW_UNSYNC, "shadow.unsync", "tables that the guest was let write")                   \
	X(SHADOW_SYNC, "shadow.sync", "tables brought up to date")                                 \
	X(SHADOW_INVLPG, "shadow.invlpg", "single addresses flushed by the guest")                 \
	X(SHADOW_WRITES, "shadow.writes", "emulated writes told")                                  \
	X(AUDIT_STEPS, "audit.steps", "audit steps run")                                           \
	X(AUDIT_FINDINGS, "audit.findings", "violations found")                                    \
	X(TRACK_FRAMES, "track.frames", "guest frames that clients track now")                     \
	X(TRACK_TOLD, "track.told", "accesses told to clients, each of them counted")

enum vmmu_stat {
#define VMMU_STAT_ENUM(name, key, text) VMMU_STAT_##name,
	VMMU_STATS(VMMU_STAT_ENUM)
#undef VMMU_STAT_ENUM
		VMMU_STAT_COUNT
};

struct vmmu_stat_info {
	const char *key;  /* dotted name, stable */
	const char *text; /* one line */
};

/* The descriptions, VMMU_STAT_COUNT of them, in the order of the enum. */
const struct vmmu_stat_info *vmmu_stats_table(void);

/**
 * vmmu_stats_read() - a snapshot of all counters.
 * @values: room for VMMU_STAT_COUNT numbers. Each is exact; together they are exact when
 * no call is under way. Context: any thread, no lock needed.
 */
void vmmu_stats_read(struct vmmu_vm *vm, uint64_t values[VMMU_STAT_COUNT]);

#ifdef __cplusplus
}
#endif

#endif
