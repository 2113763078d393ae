/* SPDX-License-Identifier: MIT */
/* Exit handlers: each deals with one kind of #VMEXIT and says whether the guest goes on. */
#ifndef HV_SVM_EXITS_H
#define HV_SVM_EXITS_H

#include <vmmu/fault.h>

#include "svm.h"

typedef enum svm_next exit_fn(struct vcpu *vcpu);

/* exit_cpu.c: instructions that name a register or nothing at all. */
exit_fn exit_cpuid, exit_msr, exit_halt, exit_interrupt, exit_invd, exit_xsetbv, exit_iret;
exit_fn exit_undefined, exit_hypercall, exit_port;

/* exit_cr.c */
exit_fn exit_cr0, exit_cr3, exit_cr4, exit_cr8, exit_cr_read;
/* VMEXIT_INVALID that is QEMU's way to refuse a CR3: #GP then. False: it is not that. */
bool exit_invalid_is_cr3(struct vcpu *vcpu);

/* exit_memory.c */
exit_fn exit_npf;
/* An access where no memory is, or where it is read-only: done by the emulator. */
enum svm_next memory_emulate(struct vcpu *vcpu, bool is_fetch);
/* A write to a tracked page; @by_instruction: not by the CPU's own page walk. */
enum svm_next memory_tracked(struct vcpu *vcpu, uint64_t gpa, bool by_instruction);
/* The library cannot help: ends the guest. */
enum svm_next memory_failed(struct vcpu *vcpu, enum vmmu_outcome outcome, uint64_t gfn);

/* exit_shadow.c: what exists only without nested paging. */
exit_fn exit_page_fault, exit_invlpg, exit_invpcid;

/* watch.c: NMIs, SMIs, INIT, and the command's requests. */
exit_fn exit_nmi, exit_smi, exit_init, exit_soft_interrupt;
/* Remember the registers, to see whether they ever change again. */
void watch_registers(struct vcpu *vcpu);
/* The host has taken an NMI: find out what it was for. */
enum svm_next watch_nmi(struct vcpu *vcpu);
/* Look for a letter that came after its NMI. */
enum svm_next watch_poll(struct vcpu *vcpu);

#endif
