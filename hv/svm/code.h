/* SPDX-License-Identifier: MIT */
/* Frequent instructions of guests without nested paging, read without the decoder. */
#ifndef HV_SVM_CODE_H
#define HV_SVM_CODE_H

#include "svm.h"

/* Each is false when the instruction at RIP is another one, or in an unusual form: decode it. */

/* MOV to a control register: the general register that it comes from. */
bool code_mov_to_cr(struct vcpu *vcpu, unsigned cr, unsigned *gpr, unsigned *length);

/* INVLPG: the linear address of its operand. */
bool code_invlpg(struct vcpu *vcpu, uint64_t *linear, unsigned *length);

struct code_store {
	/* MOVS and STOS with a repeat prefix: bytes that they are still to write; else 0 */
	uint64_t repeated;
	/* MOV, if repeated is 0 */
	uint64_t linear; /* of the operand */
	uint64_t value;
	unsigned bytes; /* 4 or 8 */
	unsigned length;
};

bool code_store(struct vcpu *vcpu, struct code_store *store);

#endif
