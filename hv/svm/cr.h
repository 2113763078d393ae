/* SPDX-License-Identifier: MIT */
/*
 * The registers that decide on paging: CR0, CR3, CR4, EFER. Reading them: vcpu_cr0() and so on in
 * vcpu.h. Nobody else writes them.
 */
#ifndef HV_SVM_CR_H
#define HV_SVM_CR_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/shadow.h>

#include "vcpu.h"

/* All of them as the guest has them now. */
struct guest_cr svm_cr_get(const struct vcpu *vcpu);

/**
 * svm_cr_set() - new values, which are legal by themselves; EFER.LMA follows from the others, the
 * PDPTEs are read anew if PAE paging needs it.
 * Return: false, the PDPTEs are not legal: #GP; nothing changed.
 */
bool svm_cr_set(struct vcpu *vcpu, const struct guest_cr *to);

/**
 * svm_cr3_set() - MOV to CR3 under shadow paging; @value without bit 63.
 * Return: as svm_cr_set().
 */
bool svm_cr3_set(struct vcpu *vcpu, uint64_t value, enum vmmu_cr3_kind kind);

#endif
