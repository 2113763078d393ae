/* SPDX-License-Identifier: MIT */
/*
 * The guest's own page tables, walked in software: for emulators, debuggers, and for shadow
 * paging. All paging modes: off, 32-bit (PSE, PSE36), PAE, 4-level, 5-level.
 */
#ifndef VMMU_WALK_H
#define VMMU_WALK_H

#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmmu_paging_mode {
	VMMU_PAGING_OFF,    /* CR0.PG = 0: linear = physical, 32 bits */
	VMMU_PAGING_32BIT,  /* two levels, 4-byte entries */
	VMMU_PAGING_PAE,    /* three levels, 8-byte entries, PDPTEs in registers */
	VMMU_PAGING_4LEVEL, /* long mode */
	VMMU_PAGING_5LEVEL, /* long mode with CR4.LA57 */
};

/* What a paging mode comes down to; see vmmu_walk_prepare(). */
struct vmmu_walk_rules {
	uint64_t opaque[44];
};

/* What decides how a linear address is translated. Filled from the vCPU's registers. */
struct vmmu_paging {
	enum vmmu_paging_mode mode;
	uint64_t cr3;
	uint64_t pdpte[4];      /* PAE: the four loaded entries */
	unsigned physical_bits; /* guest MAXPHYADDR */
	uint32_t pkru;          /* with @pke */
	bool nx;                /* EFER.NXE */
	bool wp;                /* CR0.WP */
	bool pse;               /* CR4.PSE (32-bit mode only) */
	bool pse36;             /* 4M pages may lie above 4G */
	bool smep, smap, pke;   /* CR4 bits */
	bool huge_1g;           /* CPUID: 1G pages */
	bool amd;               /* AMD's reserved bits in upper entries */
	/* By vmmu_walk_prepare(), of the same values of everything but cr3, pdpte and pkru;
	 * NULL: worked out at each walk. */
	const struct vmmu_walk_rules *rules;
};

enum vmmu_walk_flags {
	VMMU_WALK_WRITE = 1u << 0,
	VMMU_WALK_FETCH = 1u << 1,
	VMMU_WALK_USER = 1u << 2,      /* CPL 3 */
	VMMU_WALK_AC = 1u << 3,        /* EFLAGS.AC set: SMAP lets explicit accesses pass */
	VMMU_WALK_IMPLICIT = 1u << 4,  /* supervisor access to a system structure: AC is ignored */
	VMMU_WALK_NO_UPDATE = 1u << 5, /* look only: leave accessed and dirty bits alone */
};

/* Page-fault error code bits, as the CPU pushes them. */
enum vmmu_pf_bits {
	VMMU_PF_PRESENT = 1u << 0,
	VMMU_PF_WRITE = 1u << 1,
	VMMU_PF_USER = 1u << 2,
	VMMU_PF_RESERVED = 1u << 3,
	VMMU_PF_FETCH = 1u << 4,
	VMMU_PF_PROTECTION_KEY = 1u << 5,
};

enum vmmu_walk_status {
	VMMU_WALK_OK,    /* translated */
	VMMU_WALK_FAULT, /* the guest gets #PF with result.error_code at the linear address */
	VMMU_WALK_NOT_CANONICAL, /* long mode: #GP or #SS instead of a walk */
	VMMU_WALK_UNREADABLE,    /* a table lies where there is no memory: result.table_gpa */
};

/* How the walker reads and updates the guest's tables. */
struct vmmu_walk_ops {
	/* One aligned entry of @bytes (4 or 8), read once, atomically; all 64 bits of *value are
	 * written. False: no memory there. */
	bool (*read)(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value);
	/* Compare-and-swap; false if the entry is no longer @old. *gone: no memory, or read-only:
	 * the update is skipped. NULL: never update. */
	bool (*update)(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old, uint64_t value,
		       bool *gone);
};

#define VMMU_WALK_LEVELS_MAX 5

/* One entry on the way. */
struct vmmu_walk_step {
	vmmu_gpa_t gpa; /* where the entry is */
	uint64_t value; /* as read, before accessed and dirty were set */
	unsigned level; /* height of the table it is in: 1..5 */
};

struct vmmu_walk_result {
	vmmu_gpa_t gpa;                  /* OK: where the address lies */
	uint64_t page_bytes;             /* OK: size of the guest's page */
	bool writable, user, executable; /* OK: rights of the page, all levels combined */
	uint8_t protection_key;          /* OK: of the leaf, user pages with pke */
	uint32_t error_code;             /* FAULT: enum vmmu_pf_bits */
	vmmu_gpa_t table_gpa;            /* UNREADABLE: the entry that could not be read */
	unsigned levels;                 /* entries read; [0] is the top one */
	struct vmmu_walk_step step[VMMU_WALK_LEVELS_MAX];
};

/**
 * vmmu_walk_prepare() - work out the rules of a paging mode, for many walks.
 * @paging: rules is not looked at. Context: any.
 */
void vmmu_walk_prepare(const struct vmmu_paging *paging, struct vmmu_walk_rules *rules);

/**
 * vmmu_walk() - translate a linear address by the guest's own tables.
 * Rules: Intel SDM, Paging (all sections on translation and access rights) and AMD APM, Page
 * Translation and Protection. Accessed and dirty bits are set, as the hardware does, only
 * after the permission check; a lost race starts the walk again.
 *
 * Context: any; calls nothing but @ops. Return: see enum vmmu_walk_status.
 */
enum vmmu_walk_status vmmu_walk(const struct vmmu_paging *paging, vmmu_gva_t gva, uint32_t flags,
				const struct vmmu_walk_ops *ops, void *context,
				struct vmmu_walk_result *result);

#ifdef __cplusplus
}
#endif

#endif
