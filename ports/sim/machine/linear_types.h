/* SPDX-License-Identifier: MIT */
/*
 * linear_types.h - paging state, accesses and page faults, for CPUs and guests alike.
 *
 * Levels are those of types.h: 1 = the last table ... 5 = PML5. A 32-bit paging guest has
 * levels 2 and 1; its 4 MiB pages are leaves of level 2. The PDPTEs of PAE paging are level 3.
 */
#ifndef SIM_MACHINE_LINEAR_TYPES_H
#define SIM_MACHINE_LINEAR_TYPES_H

#include "types.h"

/* clang-format off */
typedef struct { uint64_t bytes; } sim_gva_t;	/* guest linear address */
/* clang-format on */

enum linear_mode {
	LINEAR_OFF,   /* linear = physical, 32 bits */
	LINEAR_32BIT, /* two levels of 4-byte entries */
	LINEAR_PAE,
	LINEAR_4_LEVEL,
	LINEAR_5_LEVEL,
};

/* Whose reserved bits and whose implicit flushes. */
enum linear_vendor { LINEAR_AMD, LINEAR_INTEL };

/* Everything that decides how a linear address is translated. */
struct linear_regs {
	enum linear_mode mode;
	enum linear_vendor vendor;
	uint64_t cr3;      /* with the PCID in bits 11:0 if pcide; never bit 63 */
	uint64_t pdpte[4]; /* LINEAR_PAE: as loaded */
	bool wp;           /* CR0.WP */
	bool pse;          /* CR4.PSE: counts in LINEAR_32BIT only */
	bool pge;          /* CR4.PGE */
	bool pcide;        /* CR4.PCIDE */
	bool smep;
	bool smap;
	bool pke; /* CR4.PKE: counts with 4 and 5 levels only */
	bool nxe; /* EFER.NXE: does not count in LINEAR_32BIT */
	uint32_t pkru;
	uint8_t maxphyaddr;  /* 32..52 */
	uint8_t pse36_width; /* physical bits a 4 MiB page can reach: 40 at most; 0, 32: no PSE-36
			      */
	bool has_1g;
	bool rsvd_without_p; /* quirk of QEMU: reserved-bit faults report P = 0 */
};

enum linear_kind { LINEAR_READ, LINEAR_WRITE, LINEAR_FETCH };

enum linear_privilege {
	LINEAR_SUPERVISOR, /* an instruction at CPL 0..2 */
	LINEAR_USER,       /* an instruction at CPL 3 */
	LINEAR_IMPLICIT,   /* the processor itself at any CPL: descriptor tables, TSS */
};

struct linear_access {
	sim_gva_t gva;
	enum linear_kind kind;
	enum linear_privilege privilege;
	bool ac; /* EFLAGS.AC */
};

enum linear_outcome {
	LINEAR_OK,
	LINEAR_FAULT,        /* #PF */
	LINEAR_NONCANONICAL, /* #GP or #SS; no table is looked at */
	LINEAR_BROKEN,       /* a CPU only: it left RAM; a violation was recorded */
};

/* Page-fault error code */
#define LINEAR_PF_P (UINT32_C(1) << 0)
#define LINEAR_PF_W (UINT32_C(1) << 1)
#define LINEAR_PF_U (UINT32_C(1) << 2)
#define LINEAR_PF_RSVD (UINT32_C(1) << 3)
#define LINEAR_PF_I (UINT32_C(1) << 4)
#define LINEAR_PF_PK (UINT32_C(1) << 5)

/* What a path of entries grants, before the registers are asked. */
struct linear_rights {
	bool write;   /* in every entry */
	bool user;    /* in every entry */
	bool no_exec; /* in some entry */
	bool global;  /* in the leaf */
	uint8_t key;  /* of the leaf */
};

static inline sim_gva_t sim_gva(uint64_t bytes)
{
	return (sim_gva_t){bytes};
}

#endif
