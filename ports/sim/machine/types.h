/* SPDX-License-Identifier: MIT */
/*
 * types.h - the units of the simulated machine, and its small vocabulary.
 *
 * The simulator shares nothing with the library, so it has units of its own. A unit is a
 * type: passing a guest frame where a host frame is wanted does not compile.
 */
#ifndef SIM_MACHINE_TYPES_H
#define SIM_MACHINE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PAGE_SHIFT 12u
#define SIM_PAGE_BYTES 4096u
#define SIM_TABLE_ENTRIES 512u

/* clang-format off */
typedef struct { uint64_t bytes; } sim_gpa_t;	/* guest physical address */
typedef struct { uint64_t bytes; } sim_hpa_t;	/* host physical address */
typedef struct { uint64_t n; } sim_gfn_t;	/* guest frame number, 4 KiB units */
typedef struct { uint64_t n; } sim_pfn_t;	/* host frame number, 4 KiB units */
typedef struct { uint64_t n; } sim_hpage_t;	/* host virtual page index, 4 KiB units */
/* clang-format on */

#define SIM_PFN_NONE ((sim_pfn_t){UINT64_MAX})

/* Tables and mappings by level: 1 = 4 KiB leaf tables ... 5 = PML5. */
enum sim_level {
	SIM_LEVEL_NONE = 0,
	SIM_LEVEL_4K = 1,
	SIM_LEVEL_2M = 2,
	SIM_LEVEL_1G = 3,
	SIM_LEVEL_PML4 = 4,
	SIM_LEVEL_PML5 = 5,
};

/* What a CPU does at a guest physical address. The TABLE kinds are the accesses that the
 * guest's own page walk makes to guest page tables: a read of an entry, and the write that
 * sets accessed or dirty in one. */
enum sim_access_kind {
	SIM_READ,
	SIM_WRITE,
	SIM_EXEC,
	SIM_TABLE_READ,
	SIM_TABLE_WRITE,
	SIM_ACCESS_KINDS,
};

enum sim_format {
	SIM_NPT, /* AMD nested paging: long-mode tables */
	SIM_EPT, /* Intel extended page tables */
};

/* Everything that decides how one CPU walks its second stage. */
struct sim_root {
	enum sim_format format;
	sim_pfn_t pfn;       /* top table */
	uint8_t level_count; /* 4 or 5 */
	uint8_t maxphyaddr;  /* host physical address bits, 36..52 */
	bool has_nx;         /* NPT: host EFER.NXE; without it bit 63 is reserved */
	bool has_1g;         /* leaves at level 3 are legal */
	bool has_exec_only;  /* EPT: X without R is legal */
	bool has_ad;         /* EPT: accessed and dirty flags are on; NPT: ignored, always on */
	bool rsvd_without_p; /* NPT quirk: reserved-bit faults report P = 0 */
	uint32_t tag;        /* ASID, or whatever names this VM's translations */
};

enum sim_outcome {
	SIM_OK,            /* hpa, level and memory_type are valid */
	SIM_NPF,           /* AMD nested page fault; info = EXITINFO1 */
	SIM_EPT_VIOLATION, /* Intel; info = exit qualification */
	SIM_EPT_MISCONFIG, /* Intel; info = 0 */
	SIM_BROKEN,        /* the walk or the access left RAM; a violation was recorded */
};

/* Where the answer came from. */
enum sim_source {
	SIM_FROM_WALK, /* all levels read from memory now */
	SIM_FROM_PSC,  /* upper levels from a paging-structure cache, the rest from memory */
	SIM_FROM_TLB,  /* no table was read */
};

struct sim_result {
	enum sim_outcome outcome;
	enum sim_source source;
	sim_hpa_t hpa;        /* SIM_OK: the address accessed */
	enum sim_level level; /* SIM_OK: of the mapping; fault: of the entry at fault, or 0 */
	uint8_t memory_type;  /* EPT: bits 5:3 of the leaf; NPT: PAT index (PAT, PCD, PWT) */
	bool ignore_pat;      /* EPT: bit 6 of the leaf */
	sim_gpa_t gpa;  /* the address asked for; EXITINFO2 or guest-physical address of a fault */
	uint64_t info;  /* fault: EXITINFO1 or exit qualification */
	uint64_t entry; /* raw leaf, or the raw entry at fault, as it was read; 0 from a TLB hit */
};

/* NPF EXITINFO1 */
#define SIM_NPF_P (UINT64_C(1) << 0)
#define SIM_NPF_W (UINT64_C(1) << 1)
#define SIM_NPF_U (UINT64_C(1) << 2)
#define SIM_NPF_RSVD (UINT64_C(1) << 3)
#define SIM_NPF_ID (UINT64_C(1) << 4)
#define SIM_NPF_FINAL (UINT64_C(1) << 32)
#define SIM_NPF_TABLE (UINT64_C(1) << 33)

/* EPT violation exit qualification */
#define SIM_EPTQ_READ (UINT64_C(1) << 0)
#define SIM_EPTQ_WRITE (UINT64_C(1) << 1)
#define SIM_EPTQ_EXEC (UINT64_C(1) << 2)
#define SIM_EPTQ_CAN_READ (UINT64_C(1) << 3)
#define SIM_EPTQ_CAN_WRITE (UINT64_C(1) << 4)
#define SIM_EPTQ_CAN_EXEC (UINT64_C(1) << 5)
#define SIM_EPTQ_LINEAR_VALID (UINT64_C(1) << 7)
#define SIM_EPTQ_FINAL (UINT64_C(1) << 8)

static inline sim_gpa_t sim_gpa(uint64_t bytes)
{
	return (sim_gpa_t){bytes};
}

static inline sim_gfn_t sim_gfn(uint64_t n)
{
	return (sim_gfn_t){n};
}

static inline sim_pfn_t sim_pfn(uint64_t n)
{
	return (sim_pfn_t){n};
}

static inline sim_hpage_t sim_hpage(uint64_t n)
{
	return (sim_hpage_t){n};
}

/* 4 KiB frames covered by a mapping of @level: 1, 512, 262144. */
static inline uint64_t sim_level_pages(enum sim_level level)
{
	return UINT64_C(1) << (9u * ((unsigned)level - 1u));
}

#endif
