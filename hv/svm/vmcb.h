/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine control block: what VMRUN loads and #VMEXIT saves (AMD APM, Secure
 * Virtual Machine: layout of the VMCB). Offsets are asserted; the hardware reads this.
 */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

/* Word 3 of the intercepts. */
#define INTERCEPT_INTR (1u << 0)
#define INTERCEPT_NMI (1u << 1)
#define INTERCEPT_SMI (1u << 2)
#define INTERCEPT_INIT (1u << 3)
#define INTERCEPT_CR0_SELECTIVE (1u << 5)
#define INTERCEPT_IRET (1u << 20)
#define INTERCEPT_SOFT_INTERRUPT (1u << 21)
#define INTERCEPT_INVLPG (1u << 25)
#define INTERCEPT_TASK_SWITCH (1u << 29)
#define INTERCEPT_CPUID (1u << 18)
#define INTERCEPT_INVD (1u << 22)
#define INTERCEPT_HLT (1u << 24)
#define INTERCEPT_INVLPGA (1u << 26)
#define INTERCEPT_IOIO (1u << 27)
#define INTERCEPT_MSR (1u << 28)
#define INTERCEPT_FERR_FREEZE (1u << 30)
#define INTERCEPT_SHUTDOWN (1u << 31)

/* Word 4 of the intercepts. */
#define INTERCEPT_VMRUN (1u << 0)
#define INTERCEPT_VMMCALL (1u << 1)
#define INTERCEPT_VMLOAD (1u << 2)
#define INTERCEPT_VMSAVE (1u << 3)
#define INTERCEPT_STGI (1u << 4)
#define INTERCEPT_CLGI (1u << 5)
#define INTERCEPT_SKINIT (1u << 6)
#define INTERCEPT_MONITOR (1u << 10)
#define INTERCEPT_MWAIT (1u << 11)
#define INTERCEPT_MWAIT_ARMED (1u << 12)
#define INTERCEPT_XSETBV (1u << 13)

/* Word 5 of the intercepts. */
#define INTERCEPT_INVPCID (1u << 2)

/* Bits 0-15 of the CR word: reads, 16-31: writes. */
#define INTERCEPT_CR_READ(n) (1u << (n))
#define INTERCEPT_CR_WRITE(n) (1u << (16 + (n)))

#define TLB_CONTROL_NONE 0u
#define TLB_CONTROL_FLUSH_ALL 1u
#define TLB_CONTROL_FLUSH_ASID 3u

/* Virtual interrupt word. */
#define V_IRQ_PENDING (UINT64_C(1) << 8)
#define V_IGNORE_TPR (UINT64_C(1) << 20)
#define V_VECTOR_SHIFT 32

#define INTERRUPT_SHADOW (UINT64_C(1) << 0)
#define NESTED_PAGING (UINT64_C(1) << 0)

/* Event to inject, and event whose delivery was interrupted. */
#define EVENT_VALID (UINT64_C(1) << 31)
#define EVENT_HAS_CODE (UINT64_C(1) << 11)
#define EVENT_VECTOR(event) ((unsigned)(event)&0xffu)
#define EVENT_TYPE(event) ((unsigned)((event) >> 8) & 7u)

enum event_type {
	EVENT_INTR = 0,
	EVENT_NMI = 2,
	EVENT_EXCEPTION = 3,
	EVENT_SOFT = 4,
};

/* Attributes of a segment: bits 47:40 and 55:52 of the descriptor, packed. */
#define SEGMENT_LONG (1u << 9)
#define SEGMENT_BIG (1u << 10)

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb_control {
	uint32_t intercept_cr;
	uint32_t intercept_dr;
	uint32_t intercept_exceptions;
	uint32_t intercept_3;
	uint32_t intercept_4;
	uint32_t intercept_5;
	uint8_t reserved_18[0x3c - 0x18];
	uint16_t pause_threshold;
	uint16_t pause_count;
	uint64_t iopm;
	uint64_t msrpm;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t reserved_5d[3];
	uint64_t virtual_interrupt;
	uint64_t interrupt_shadow;
	uint64_t exit_code;
	uint64_t exit_info_1;
	uint64_t exit_info_2;
	uint64_t exit_event;
	uint64_t nested_control;
	uint8_t reserved_98[0xa8 - 0x98];
	uint64_t event;
	uint64_t nested_cr3;
	uint64_t lbr_control;
	uint32_t clean;
	uint32_t reserved_c4;
	uint64_t next_rip;
	uint8_t reserved_d0[0x400 - 0xd0];
};

struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved_4a0[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved_4cc;
	uint64_t efer;
	uint8_t reserved_4d8[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved_580[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved_5e0[0x5f8 - 0x5e0];
	uint64_t rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t cr2;
	uint8_t reserved_648[0x668 - 0x648];
	uint64_t pat;
	uint64_t debug_control, branch_from, branch_to, exception_from, exception_to;
};

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
	uint8_t unused[4096 - sizeof(struct vmcb_control) - sizeof(struct vmcb_save)];
};

_Static_assert(sizeof(struct vmcb_segment) == 16, "a segment is two quadwords");
_Static_assert(offsetof(struct vmcb, control.iopm) == 0x040, "IOPM_BASE_PA");
_Static_assert(offsetof(struct vmcb, control.asid) == 0x058, "guest ASID");
_Static_assert(offsetof(struct vmcb, control.virtual_interrupt) == 0x060, "V_TPR ...");
_Static_assert(offsetof(struct vmcb, control.exit_code) == 0x070, "EXITCODE");
_Static_assert(offsetof(struct vmcb, control.exit_event) == 0x088, "EXITINTINFO");
_Static_assert(offsetof(struct vmcb, control.event) == 0x0a8, "EVENTINJ");
_Static_assert(offsetof(struct vmcb, control.next_rip) == 0x0c8, "nRIP");
_Static_assert(offsetof(struct vmcb, save.cpl) == 0x4cb, "CPL");
_Static_assert(offsetof(struct vmcb, save.efer) == 0x4d0, "EFER");
_Static_assert(offsetof(struct vmcb, save.cr4) == 0x548, "CR4");
_Static_assert(offsetof(struct vmcb, save.rip) == 0x578, "RIP");
_Static_assert(offsetof(struct vmcb, save.rsp) == 0x5d8, "RSP");
_Static_assert(offsetof(struct vmcb, save.rax) == 0x5f8, "RAX");
_Static_assert(offsetof(struct vmcb, save.cr2) == 0x640, "CR2");
_Static_assert(offsetof(struct vmcb, save.pat) == 0x668, "G_PAT");
_Static_assert(sizeof(struct vmcb) == 4096, "one page");

/* Exit codes; the names go into reports. */
#define SVM_EXITS(X)                                                                               \
	X(CR0_READ, 0x000, "read of CR0")                                                          \
	X(CR3_READ, 0x003, "read of CR3")                                                          \
	X(CR4_READ, 0x004, "read of CR4")                                                          \
	X(CR0_WRITE, 0x010, "write to CR0")                                                        \
	X(CR3_WRITE, 0x013, "write to CR3")                                                        \
	X(CR4_WRITE, 0x014, "write to CR4")                                                        \
	X(CR8_WRITE, 0x018, "write to CR8")                                                        \
	X(PAGE_FAULT, 0x04e, "page fault")                                                         \
	X(INTR, 0x060, "physical interrupt")                                                       \
	X(NMI, 0x061, "NMI")                                                                       \
	X(SMI, 0x062, "SMI")                                                                       \
	X(INIT, 0x063, "INIT")                                                                     \
	X(VINTR, 0x064, "virtual interrupt window")                                                \
	X(CR0_SELECTIVE, 0x065, "write to CR0 (selective)")                                        \
	X(CPUID, 0x072, "CPUID")                                                                   \
	X(IRET, 0x074, "IRET")                                                                     \
	X(SOFT_INTERRUPT, 0x075, "INTn")                                                           \
	X(INVD, 0x076, "INVD")                                                                     \
	X(HLT, 0x078, "HLT")                                                                       \
	X(INVLPG, 0x079, "INVLPG")                                                                 \
	X(INVLPGA, 0x07a, "INVLPGA")                                                               \
	X(IOIO, 0x07b, "port access")                                                              \
	X(MSR, 0x07c, "RDMSR or WRMSR")                                                            \
	X(FERR_FREEZE, 0x07e, "x87 error freeze")                                                  \
	X(TASK_SWITCH, 0x07d, "task switch")                                                       \
	X(SHUTDOWN, 0x07f, "shutdown (triple fault)")                                              \
	X(VMRUN, 0x080, "VMRUN")                                                                   \
	X(VMMCALL, 0x081, "VMMCALL")                                                               \
	X(VMLOAD, 0x082, "VMLOAD")                                                                 \
	X(VMSAVE, 0x083, "VMSAVE")                                                                 \
	X(STGI, 0x084, "STGI")                                                                     \
	X(CLGI, 0x085, "CLGI")                                                                     \
	X(SKINIT, 0x086, "SKINIT")                                                                 \
	X(MONITOR, 0x08a, "MONITOR")                                                               \
	X(MWAIT, 0x08b, "MWAIT")                                                                   \
	X(MWAIT_ARMED, 0x08c, "MWAIT (armed)")                                                     \
	X(XSETBV, 0x08d, "XSETBV")                                                                 \
	X(INVPCID, 0x0a2, "INVPCID")                                                               \
	X(NPF, 0x400, "nested page fault")

/* VMEXIT_INVALID. QEMU stores it without sign: only the low half of the exit code counts. */
#define SVM_EXIT_INVALID UINT32_MAX

enum svm_exit {
#define SVM_EXIT_ENUM(name, code, text) SVM_EXIT_##name = (code),
	SVM_EXITS(SVM_EXIT_ENUM)
#undef SVM_EXIT_ENUM
};

#endif
