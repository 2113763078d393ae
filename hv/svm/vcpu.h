/* SPDX-License-Identifier: MIT */
/*
 * One virtual CPU under SVM: VMCB, registers, what waits for injection, what its exits cost.
 * The beginning is read by switch.S; layout.h has the offsets.
 */
#ifndef HV_SVM_VCPU_H
#define HV_SVM_VCPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmu/audit.h>
#include <vmmu/walk.h>

#include "../emulate/decode.h"
#include "../report/cost.h"
#include "layout.h"
#include "vmcb.h"

struct guest;
struct vmmu_vcpu;

/* What an exit turned out to be, for counters and costs: word in keys, meaning. */
#define EXIT_KINDS(X)                                                                              \
	X(OTHER, "other", "anything that has no kind of its own")                                  \
	X(CPUID, "cpuid", "CPUID")                                                                 \
	X(RDMSR, "rdmsr", "RDMSR of an intercepted register")                                      \
	X(WRMSR, "wrmsr", "WRMSR of an intercepted register")                                      \
	X(NPF, "npf", "nested page fault that the library resolved")                               \
	X(MMIO, "mmio", "device access, decoded and forwarded")                                    \
	X(TRACKED, "tracked", "write to a tracked page, emulated and told")                        \
	X(IO, "io", "intercepted port")                                                            \
	X(HLT, "hlt", "HLT")                                                                       \
	X(WAKE, "wake", "interrupt that ended a HLT")                                              \
	X(CR, "cr", "control register: CR0, CR4, CR8")                                             \
	X(CR3, "cr3", "shadow paging: CR3")                                                        \
	X(PF, "pf", "shadow paging: page fault that the library resolved")                         \
	X(PF_GUEST, "pf_guest", "shadow paging: page fault that is the guest's own")               \
	X(PF_WRITE, "pf_write", "shadow paging: write to the guest's tables, emulated")            \
	X(INVLPG, "invlpg", "shadow paging: INVLPG, INVPCID")                                      \
	X(NMI, "nmi", "NMI, mostly the command's")                                                 \
	X(XSETBV, "xsetbv", "XSETBV")

enum exit_kind {
#define EXIT_KIND_ENUM(name, word, text) EXIT_KIND_##name,
	EXIT_KINDS(EXIT_KIND_ENUM)
#undef EXIT_KIND_ENUM
		EXIT_KIND_COUNT
};

enum vector {
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_UD = 6,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_NONE = 0x100,
};

/*
 * The page of code that the guest last exited from: saves a walk per exit. It is the right page as
 * long as the entries of the guest's tables that led to it are what they were.
 */
struct code_page {
	uint64_t linear;     /* page-aligned linear address, or UINT64_MAX */
	uint64_t cr3;        /* CR3 that it was walked with */
	const uint8_t *host; /* where it is */
	bool user;           /* the walk was for CPL 3 */
	unsigned levels;     /* of the entries; 0: not to be trusted without a walk */
	const uint64_t *entry[VMMU_WALK_LEVELS_MAX];
	uint64_t value[VMMU_WALK_LEVELS_MAX];
};

/* An instruction of 64-bit code, decoded once: good wherever the same bytes are met. */
struct known_insn {
	uint64_t low, high;           /* its bytes */
	uint64_t low_mask, high_mask; /* which of them count */
	struct emu_insn insn;         /* length 0: none */
};

enum { KNOWN_INSNS = 16 };

/* The registers that decide on paging, as the guest has written them. */
struct guest_cr {
	uint64_t cr0, cr3, cr4;
	uint64_t efer;     /* without SVME */
	uint64_t pdpte[4]; /* PAE: as loaded with CR3 */
};

/* Rules of the paging mode that these registers make. */
struct walk_cache {
	uint64_t cr0, cr4, efer;
	bool valid;
	struct vmmu_walk_rules rules;
};

/* Counted by each vCPU for itself; the report adds them up. */
struct vcpu_counts {
	uint64_t mmio_reads, mmio_writes;           /* forwarded to devices */
	uint64_t mmio_open_reads, mmio_open_writes; /* where nothing is */
	uint64_t msr_reads_unknown, msr_writes_unknown;
	uint64_t ports_refused;
	uint64_t audit_runs;
	uint64_t stress_steps;
	uint64_t log_starts, log_looks, log_pages; /* stress: of the dirty log */
};

/* What some vCPUs have to do between an exit and the entry that follows, most have nothing. */
enum vcpu_chore {
	CHORE_CPUS = 1 << 0,    /* there are other vCPUs; as long as it lives */
	CHORE_OPTIONS = 1 << 1, /* audits and the like; as long as it lives */
	CHORE_POLL = 1 << 2,    /* an NMI came without a letter: look again */
	CHORE_NMI = 1 << 3,     /* one waits that the guest sent to itself, not injected yet */
};

/* Whether the vCPU has something to run. Written by its own CPU. */
enum vcpu_state {
	VCPU_RUNS,
	VCPU_HALTED, /* HLT with interrupts off */
	VCPU_WAITS,  /* after INIT, for STARTUP */
};

struct vcpu {
	struct vmcb vmcb;
	uint64_t regs[16]; /* as encoded: RCX is 1; 0 (RAX) and 4 (RSP) live in the VMCB */
	uint64_t tsc_exit; /* at the last #VMEXIT */
	uint64_t tsc_run;  /* at the last VMRUN */
	uint64_t host_vmcb;

	/* Several vCPUs (smp.h): written by others, or read by them. */
	uint32_t inside;   /* number of the run that the CPU is in, 0: outside the guest */
	uint32_t telling;  /* between a write and vmmu_guest_written(); smp.c */
	uint32_t resting;  /* waits in the host for an NMI */
	uint32_t dozing;   /* sleeps while it waits for the library's lock, or is about to */
	uint32_t requests; /* enum smp_request */
	uint32_t startup_vector;
	uint32_t kicked;  /* somebody sent an NMI */
	uint32_t stopped; /* will not run again */
	uint32_t busy;    /* with guest memory, see smp_hold() */

	struct vmmu_vcpu *mmu;
	struct guest *guest;
	bool many;      /* there are others */
	uint32_t index; /* in guest->vcpus, and number of its CPU */
	uint32_t runs;  /* how often it was inside */
	uint32_t apic_id;
	uint32_t apic_logical_id, apic_logical_format; /* as last written */
	enum vcpu_state state;
	bool shadow;         /* no nested paging: CR0, CR3, CR4 and EFER in the VMCB are ours */
	struct guest_cr cr;  /* shadow: the guest's; else unused. Read it by vcpu_cr0() and so on */
	uint64_t *root;      /* field of the VMCB that takes the library's root */
	enum exit_kind kind; /* of the exit that is handled, or was last */
	bool flush;          /* drop cached translations at the next entry */
	bool delivering;     /* the exit came while an event was being delivered */
	bool halting;        /* in HLT, waiting for an interrupt (INTR intercept is on) */
	bool nmi_blocked;    /* the guest's NMI handler runs, until its IRET */
	bool nmi_taken;      /* by the host, while the vCPU rested */
	uint8_t halt_bytes;  /* length of that HLT */
	uint8_t flush_command; /* for the VMCB: what makes the CPU flush */
	uint32_t chores;       /* enum vcpu_chore */
	uint64_t halt_rip;
	struct code_page code;
	struct known_insn known[KNOWN_INSNS];
	struct walk_cache walk;
	uint64_t fault_gpa;      /* of the last nested page fault */
	uint64_t fault_gva;      /* shadow: of the last page fault */
	uint64_t stubborn_rip;   /* instruction that made the last table go, see exit_shadow.c */
	uint64_t stubborn_exits; /* vcpu->exits then */
	uint32_t stubborn_times;
	uint64_t string_gva; /* where the last string made a table go, its RIP, and exits then */
	uint64_t string_rip, string_exits;
	uint64_t exits;
	uint64_t tsc_entry; /* first VMRUN */
	uint64_t tsc_end;   /* after the last exit */
	uint64_t tsc_last;  /* #VMEXIT of the exit before */

	/* Watchdog: what the last look saw. */
	uint64_t watch_digest; /* of all registers */
	uint64_t watch_exits;
	uint32_t watch_same;
	uint32_t watch_vector; /* in service then */
	uint64_t watch_eois;   /* ends of interrupts until then */
	uint64_t eois;

	/* Registers that the guest sees instead of the real ones. */
	uint64_t tsc_adjust;
	uint64_t mtrr_default;
	uint64_t mtrr_fixed[11];
	uint64_t mtrr_variable[16];
	uint32_t lint1; /* the real one stays an NMI: the command's way in */

	struct vcpu_counts counts;
	struct vmmu_audit audit;  /* sampling */
	uint64_t audit_due;       /* time stamp of the next step */
	uint64_t audit_countdown; /* exits until the next whole audit */
	uint64_t stress_state;

	struct cost cost[EXIT_KIND_COUNT + 1]; /* the last one: the first entry, no exit */
};

_Static_assert(offsetof(struct vcpu, vmcb) == 0, "the VMCB's address is the vcpu's");
_Static_assert(offsetof(struct vcpu, regs) == VCPU_REGS, "layout.h");
_Static_assert(offsetof(struct vcpu, tsc_exit) == VCPU_TSC_EXIT, "layout.h");
_Static_assert(offsetof(struct vcpu, tsc_run) == VCPU_TSC_RUN, "layout.h");
_Static_assert(offsetof(struct vcpu, host_vmcb) == VCPU_HOST_VMCB, "layout.h");

/* Register as encoded in instructions; 64 bits. */
static inline uint64_t *vcpu_reg(struct vcpu *vcpu, unsigned number)
{
	if (number == 0)
		return &vcpu->vmcb.save.rax;
	return number == 4 ? &vcpu->vmcb.save.rsp : &vcpu->regs[number];
}

/* Control registers as the guest has them. */
static inline uint64_t vcpu_cr0(const struct vcpu *vcpu)
{
	return vcpu->shadow ? vcpu->cr.cr0 : vcpu->vmcb.save.cr0;
}

static inline uint64_t vcpu_cr3(const struct vcpu *vcpu)
{
	return vcpu->shadow ? vcpu->cr.cr3 : vcpu->vmcb.save.cr3;
}

static inline uint64_t vcpu_cr4(const struct vcpu *vcpu)
{
	return vcpu->shadow ? vcpu->cr.cr4 : vcpu->vmcb.save.cr4;
}

static inline uint64_t vcpu_efer(const struct vcpu *vcpu)
{
	return vcpu->shadow ? vcpu->cr.efer : vcpu->vmcb.save.efer & ~(UINT64_C(1) << 12);
}

/* EFER.LMA is the one bit of the four registers that is always the guest's in the VMCB, too. */
static inline bool vcpu_is_64bit(const struct vcpu *vcpu)
{
	return (vcpu->vmcb.save.cs.attributes & SEGMENT_LONG) != 0 &&
	       (vcpu->vmcb.save.efer & (UINT64_C(1) << 10)) != 0;
}

/* Linear address of the instruction that the guest is at. */
static inline uint64_t vcpu_linear_rip(const struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;

	return vcpu_is_64bit(vcpu) ? save->rip : (uint32_t)(save->cs.base + save->rip);
}

/* Low 32 bits into EAX, ECX ... as 32-bit instructions do. */
static inline void vcpu_set_pair(struct vcpu *vcpu, uint64_t value)
{
	vcpu->vmcb.save.rax = (uint32_t)value;
	vcpu->regs[2] = value >> 32;
}

/* EDX:EAX. */
static inline uint64_t vcpu_get_pair(const struct vcpu *vcpu)
{
	return vcpu->regs[2] << 32 | (uint32_t)vcpu->vmcb.save.rax;
}

#endif
