/* SPDX-License-Identifier: MIT */
/* Guest-linear addresses: walks of the guest's tables on behalf of a vCPU, and its code. */
#ifndef HV_GUEST_ACCESS_H
#define HV_GUEST_ACCESS_H

#include <stdint.h>

#include <vmmu/walk.h>

#include "../emulate/decode.h"
#include "../emulate/execute.h"
#include "../svm/vcpu.h"

/* The vCPU's paging state, for vmmu_walk(). */
void access_paging(struct vcpu *vcpu, struct vmmu_paging *paging);

/* The four entries that PAE paging loads with @cr3; 0 where no memory is. */
void access_pdptes(struct vcpu *vcpu, uint64_t cr3, uint64_t pdpte[4]);

/* PKRU: the guest's is in the CPU. Only with CR4.PKE. */
uint32_t access_pkru(void);

/* Walk of the current tables. @flags: enum vmmu_walk_flags, without USER and AC. */
enum vmmu_walk_status access_walk(struct vcpu *vcpu, const struct vmmu_paging *paging,
				  uint64_t linear, uint32_t flags, struct vmmu_walk_result *result);

/* Read guest memory. False: *walk says why not, and where the walk was. */
bool access_read(struct vcpu *vcpu, uint64_t linear, void *to, unsigned bytes,
		 struct vmmu_walk_result *walk);

/* Mode of the current code segment. */
enum emu_mode access_mode(const struct vcpu *vcpu);

/*
 * Bytes of code at @linear, as many as there are up to the end of the page, at most @bytes.
 * Also remembers the page in vcpu->code. Return: 0 if it cannot be reached.
 */
unsigned code_read(struct vcpu *vcpu, uint64_t linear, void *to, unsigned bytes);

/*
 * The instruction at RIP, from memory of earlier ones where its bytes are the same. NULL: the long
 * way has to be gone: not 64-bit code, near the end of a page, not reachable, or no instruction.
 * Valid until the next call.
 */
const struct emu_insn *code_known(struct vcpu *vcpu);

/* Write the first byte of the instruction at RIP over itself, if there is memory: whoever watches
 * code for changes sees one. */
void code_touch(struct vcpu *vcpu);

/* Decode the instruction at RIP. */
enum emu_status code_decode(struct vcpu *vcpu, struct emu_insn *insn);

#endif
