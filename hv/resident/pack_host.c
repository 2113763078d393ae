/* SPDX-License-Identifier: MIT */
/* What liblz4 wants from a C library and this hypervisor does not have otherwise. */
#include "../platform/cpu.h"
#include "../platform/platform.h"
#include "pack.h"

/* Debian's build keeps its stack's guard value where programs have theirs: at FS:0x28. */
static uint64_t program_words[8];

void pack_attach(void)
{
	msr_write(MSR_FS_BASE, (uintptr_t)program_words);
}

noreturn void __stack_chk_fail(void);
noreturn void __stack_chk_fail(void)
{
	hv_panic("the stack was overwritten below liblz4");
}

/* Called by functions of liblz4 that are not used here. */
void *calloc(size_t count, size_t bytes);
void *calloc(size_t count, size_t bytes)
{
	(void)count;
	(void)bytes;
	return NULL;
}

void free(void *block);
void free(void *block)
{
	(void)block;
}
