/* SPDX-License-Identifier: MIT */
/* Inside of the explanations: lines of text on their way to the embedder. */
#ifndef VMMU_AUDIT_TELLER_H
#define VMMU_AUDIT_TELLER_H

#include <vmmu/audit.h>

#include "base/text.h"
#include "format/entry.h"

struct vmmu_teller {
	vmmu_line_fn *emit;
	void *context;
	struct vmmu_text text;
};

/* The line goes out, the next one begins. */
void vmmu_teller_say(struct vmmu_teller *t);
/* What an entry means, added to the line. */
void vmmu_teller_entry(struct vmmu_teller *t, const struct vmmu_vm *vm, vmmu_spte_t e,
		       unsigned space);

#endif
