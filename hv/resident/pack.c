/* SPDX-License-Identifier: MIT */
/*
 * liblz4 is compiled for programs and uses XMM registers, in which the guest's values are while the
 * hypervisor runs. So they are saved around each call. FXSAVE is enough: instructions without VEX
 * prefix leave the upper halves of YMM registers alone, and so does FXRSTOR.
 */
#include "pack.h"

#include <lz4.h>

struct fpu_state {
	_Alignas(16) uint8_t bytes[512];
};

static uint64_t lz4_state[LZ4_STREAM_MINSIZE / 8];

static inline void fpu_save(struct fpu_state *state)
{
	__asm__ volatile("fxsave64 %0" : "=m"(*state) : : "memory");
}

static inline void fpu_restore(const struct fpu_state *state)
{
	__asm__ volatile("fxrstor64 %0" : : "m"(*state) : "memory");
}

uint32_t pack_page(const void *page, void *to, uint32_t room)
{
	struct fpu_state fpu;
	int bytes;

	fpu_save(&fpu);
	bytes = LZ4_compress_fast_extState(lz4_state, page, to, PACK_PAGE_BYTES, (int)room, 1);
	fpu_restore(&fpu);
	return bytes > 0 ? (uint32_t)bytes : 0;
}

bool unpack_page(const void *from, uint32_t bytes, void *page)
{
	struct fpu_state fpu;
	int made;

	fpu_save(&fpu);
	made = LZ4_decompress_safe(from, page, (int)bytes, PACK_PAGE_BYTES);
	fpu_restore(&fpu);
	return made == PACK_PAGE_BYTES;
}
