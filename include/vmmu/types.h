/* SPDX-License-Identifier: MIT */
/*
 * Units are types. A guest frame number cannot be passed where a host frame number is
 * wanted: the compiler objects, not the reviewer.
 */
#ifndef VMMU_TYPES_H
#define VMMU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMMU_PAGE_SHIFT 12
#define VMMU_PAGE_BYTES (1u << VMMU_PAGE_SHIFT)
#define VMMU_TABLE_ENTRIES 512u /* entries of one hardware table, every format */

/* The result of a call must be looked at. */
#define VMMU_MUST_CHECK __attribute__((warn_unused_result))

/* clang-format off */
typedef struct { uint64_t addr; } vmmu_gva_t;	/* guest-virtual address, bytes */
typedef struct { uint64_t addr; } vmmu_gpa_t;	/* guest-physical address, bytes */
typedef struct { uint64_t addr; } vmmu_hpa_t;	/* host-physical address, bytes */
typedef struct { uint64_t n; } vmmu_gfn_t;	/* guest frame number, 4 KiB units */
typedef struct { uint64_t n; } vmmu_pfn_t;	/* host frame number, 4 KiB units */
/* clang-format on */

/* "No frame": what an allocator that has nothing left returns. */
#define VMMU_PFN_NONE ((vmmu_pfn_t){UINT64_MAX})

/* Height of a table, and size of what one of its entries maps when it is a leaf. */
enum vmmu_level {
	VMMU_LEVEL_NONE = 0,
	VMMU_LEVEL_4K = 1,
	VMMU_LEVEL_2M = 2,
	VMMU_LEVEL_1G = 3,
	VMMU_LEVEL_512G = 4, /* only tables, never leaves */
	VMMU_LEVEL_256T = 5, /* only tables, never leaves */
};

/* Half-open: [start, end). Empty when start == end. */
struct vmmu_gfn_range {
	vmmu_gfn_t start, end;
};

/* What an access wants to do, or what an entry lets it do. Bits. */
enum vmmu_access {
	VMMU_ACCESS_READ = 1u << 0,
	VMMU_ACCESS_WRITE = 1u << 1,
	VMMU_ACCESS_EXEC = 1u << 2,
};

#define VMMU_SPACES_MAX 2u    /* guest-physical address spaces of a VM: 0 normal, 1 SMM */
#define VMMU_SLOTS_MAX 32764u /* slots of one address space */
#define VMMU_LEAF_SIZES 3u    /* 4K, 2M, 1G */

struct vmmu_vm;   /* one virtual machine's memory */
struct vmmu_vcpu; /* one virtual CPU's view of it */

static inline vmmu_gfn_t vmmu_gpa_to_gfn(vmmu_gpa_t gpa)
{
	return (vmmu_gfn_t){gpa.addr >> VMMU_PAGE_SHIFT};
}

static inline vmmu_gpa_t vmmu_gfn_to_gpa(vmmu_gfn_t gfn)
{
	return (vmmu_gpa_t){gfn.n << VMMU_PAGE_SHIFT};
}

static inline vmmu_hpa_t vmmu_pfn_to_hpa(vmmu_pfn_t pfn)
{
	return (vmmu_hpa_t){pfn.n << VMMU_PAGE_SHIFT};
}

static inline bool vmmu_pfn_is_none(vmmu_pfn_t pfn)
{
	return pfn.n == UINT64_MAX;
}

/* Frames that one leaf of @level maps: 1, 512, 262144. */
static inline uint64_t vmmu_level_frames(enum vmmu_level level)
{
	return UINT64_C(1) << (9u * ((unsigned)level - 1u));
}

#ifdef __cplusplus
}
#endif

#endif
