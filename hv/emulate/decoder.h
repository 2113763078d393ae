/* SPDX-License-Identifier: MIT */
/*
 * State of one emu_decode() call. Private to the decoder.
 */
#ifndef HV_EMULATE_DECODER_H
#define HV_EMULATE_DECODER_H

#include "decode.h"

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u
#define NO_OVERRIDE 255u

struct decoder {
	const uint8_t *bytes;
	size_t count;
	size_t at; /* bytes taken so far */
	enum emu_status status;
	struct emu_insn *insn;
	uint64_t word;     /* table entry of the opcode */
	uint8_t rex;       /* REX bits, also those of VEX, EVEX and XOP */
	uint8_t prefix;    /* enum emu_prefix */
	uint8_t override;  /* enum emu_segment_reg or NO_OVERRIDE */
	bool operand_size; /* prefix 66 */
	bool address_size; /* prefix 67 */
};

static inline bool emu_in_64_bit_code(const struct decoder *d)
{
	return d->insn->mode == EMU_MODE_64;
}

/* The first failure stays. */
static inline void emu_fail(struct decoder *d, enum emu_status status)
{
	if (d->status == EMU_OK)
		d->status = status;
}

/* Little-endian number of @bytes (up to 8) bytes; 0 and a status if they are not there. */
uint64_t emu_take(struct decoder *d, unsigned bytes);
/* The next byte without taking it. */
uint8_t emu_peek(struct decoder *d);

/*
 * Take VEX, EVEX or XOP and its opcode if @byte starts one: C4, C5, 62 and 8F do where their older
 * meaning would make no sense. Returns false if it is an ordinary opcode.
 */
bool emu_take_vector(struct decoder *d, uint8_t byte);

/*
 * A MOV between a register and memory, in 64-bit code, with no prefix but REX and no SIB byte: what
 * emu_decode() would find, several times faster. Of @bytes there are EMU_INSN_BYTES_MAX. False: it
 * is something else, and nothing was written.
 */
bool emu_decode_move(const uint8_t *bytes, struct emu_insn *out);

#endif
