/* SPDX-License-Identifier: MIT */
/*
 * The few instructions that a guest without nested paging exits on all the time, in the forms that
 * compilers make: read where the CPU has fetched them, by the library's tables. Everything else
 * is for the decoder.
 */
#include "code.h"

#include <vmmu/shadow.h>

#include "../guest/guest.h"

enum {
	PREFIX_REP = 0xf3,
	PREFIX_REPNE = 0xf2,
	REX = 0x40,
	REX_W = 8,
	REX_R = 4,
	REX_X = 2,
	RM_SIB = 4,
	RM_NO_BASE = 5,
	SIB_NO_INDEX = 4,
	CODE_BYTES_MAX = 15,
};

/* Bytes of an instruction under way. */
struct reader {
	const uint8_t *at, *begin;
	uint8_t rex;
	bool is_64;
};

/* What is left of the instruction must not reach into the next page: that one is elsewhere. */
static inline bool reader_begin(struct vcpu *vcpu, struct reader *r)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	bool is_64 = vcpu_is_64bit(vcpu);
	uint64_t linear = is_64 ? save->rip : (uint32_t)(save->cs.base + save->rip);
	vmmu_hpa_t at;

	/* 16-bit code: for the decoder. */
	if ((!is_64 && (save->cs.attributes & SEGMENT_BIG) == 0) ||
	    linear % FRAME_BYTES > FRAME_BYTES - CODE_BYTES_MAX ||
	    !vmmu_shadow_translate(vcpu->mmu, (vmmu_gva_t){linear}, &at))
		return false;
	r->at = r->begin = (const uint8_t *)(uintptr_t)at.addr;
	r->rex = 0;
	r->is_64 = is_64;
	return true;
}

static void reader_rex(struct reader *r)
{
	if (r->is_64 && (*r->at & 0xf0) == REX)
		r->rex = *r->at++;
}

static unsigned reader_length(const struct reader *r)
{
	return (unsigned)(r->at - r->begin);
}

bool code_mov_to_cr(struct vcpu *vcpu, unsigned cr, unsigned *gpr, unsigned *length)
{
	struct reader r;
	uint8_t modrm;

	if (!reader_begin(vcpu, &r))
		return false;
	reader_rex(&r);
	modrm = r.at[2];
	if (r.at[0] != 0x0f || r.at[1] != 0x22 || (r.rex & REX_R) != 0 || (modrm >> 3 & 7u) != cr)
		return false;
	r.at += 3;
	*gpr = (modrm & 7u) | (r.rex & 1u) << 3;
	*length = reader_length(&r);
	return true;
}

/* REX.B, the lowest bit, makes it one of the upper eight. */
static uint64_t base_register(struct vcpu *vcpu, const struct reader *r, unsigned number)
{
	return *vcpu_reg(vcpu, number | (r->rex & 1u) << 3);
}

/* The memory operand that a ModRM byte begins. Only flat segments: 64-bit mode has no others. */
static bool operand(struct vcpu *vcpu, struct reader *r, uint64_t *linear)
{
	uint8_t modrm = *r->at++, sib;
	unsigned mode = modrm >> 6, rm = modrm & 7u;
	uint64_t sum;
	int32_t far;

	if (!r->is_64 || mode == 3 || (mode == 0 && rm == RM_NO_BASE))
		return false;
	if (rm == RM_SIB) {
		unsigned index;

		sib = *r->at++;
		if (mode == 0 && (sib & 7u) == RM_NO_BASE)
			return false;
		sum = base_register(vcpu, r, sib & 7u);
		index = (sib >> 3 & 7u) | ((r->rex & REX_X) != 0 ? 8u : 0u);
		if (index != SIB_NO_INDEX)
			sum += *vcpu_reg(vcpu, index) << (sib >> 6);
	} else {
		sum = base_register(vcpu, r, rm);
	}
	if (mode == 1) {
		sum += (uint64_t)(int64_t)(int8_t)*r->at++;
	} else if (mode == 2) {
		memcpy(&far, r->at, sizeof(far));
		r->at += sizeof(far);
		sum += (uint64_t)(int64_t)far;
	}
	*linear = sum;
	return true;
}

bool code_invlpg(struct vcpu *vcpu, uint64_t *linear, unsigned *length)
{
	struct reader r;

	if (!reader_begin(vcpu, &r))
		return false;
	reader_rex(&r);
	if (r.at[0] != 0x0f || r.at[1] != 0x01 || (r.at[2] >> 3 & 7u) != 7)
		return false;
	r.at += 2;
	if (!operand(vcpu, &r, linear))
		return false;
	*length = reader_length(&r);
	return true;
}

/* MOV of a register or a constant to memory, of 4 or 8 bytes. */
static bool mov_to_memory(struct vcpu *vcpu, struct reader *r, struct code_store *store)
{
	uint8_t opcode = *r->at++;
	unsigned reg = (*r->at >> 3 & 7u) | ((r->rex & REX_R) != 0 ? 8u : 0u);
	int32_t constant;

	if ((opcode != 0x89 && opcode != 0xc7) || !operand(vcpu, r, &store->linear))
		return false;
	store->bytes = (r->rex & REX_W) != 0 ? 8 : 4;
	if (opcode == 0x89) {
		store->value = *vcpu_reg(vcpu, reg);
		return true;
	}
	memcpy(&constant, r->at, sizeof(constant));
	r->at += sizeof(constant);
	store->value = (uint64_t)(int64_t)constant;
	return (reg & 7u) == 0;
}

/* MOVS and STOS, repeated. */
static bool string_store(struct vcpu *vcpu, const struct reader *r, struct code_store *store)
{
	uint64_t count = r->is_64 ? vcpu->regs[1] : (uint32_t)vcpu->regs[1];
	uint64_t bytes = (r->rex & REX_W) != 0 ? 8 : 4;

	if ((*r->at & 0xfe) != 0xa4 && (*r->at & 0xfe) != 0xaa)
		return false;
	if ((*r->at & 1) == 0)
		bytes = 1;
	store->repeated = count > FRAME_BYTES ? FRAME_BYTES : count * bytes;
	return true;
}

bool code_store(struct vcpu *vcpu, struct code_store *store)
{
	struct reader r;

	*store = (struct code_store){.length = 0};
	if (!reader_begin(vcpu, &r))
		return false;
	if (*r.at == PREFIX_REP || *r.at == PREFIX_REPNE) {
		r.at++;
		reader_rex(&r);
		return string_store(vcpu, &r, store);
	}
	reader_rex(&r);
	if (!mov_to_memory(vcpu, &r, store))
		return false;
	store->length = reader_length(&r);
	return true;
}
