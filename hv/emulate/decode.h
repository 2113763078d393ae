/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoder: from guest bytes to length and operands.
 *
 * Owns the knowledge of x86 encodings. It reads nothing but the bytes it is handed and keeps no
 * state, so it can be called from any context. What an instruction does is in execute.h.
 *
 * Every instruction of the one-byte, 0F, 0F38 and 0F3A maps gets its exact length. VEX, EVEX and
 * XOP instructions get their exact length, too, but whether the opcode exists is not judged
 * (EMU_OP_VECTOR). Branches follow AMD: a 66 prefix gives a near branch a 16-bit displacement in
 * 64-bit code, too (Intel ignores the prefix there).
 */
#ifndef HV_EMULATE_DECODE_H
#define HV_EMULATE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No instruction is longer; the CPU raises #GP instead of executing it. */
#define EMU_INSN_BYTES_MAX 15u

enum emu_status {
	EMU_OK,          /* *out is complete */
	EMU_NEED_BYTES,  /* the bytes are the start of an instruction; call again with more */
	EMU_INVALID,     /* the CPU raises #UD */
	EMU_TOO_LONG,    /* more than EMU_INSN_BYTES_MAX bytes; the CPU raises #GP */
	EMU_UNSUPPORTED, /* an opcode that the tables do not know in a map that still grows */
};

/* Default operand and address size of the code segment. */
enum emu_mode { EMU_MODE_16, EMU_MODE_32, EMU_MODE_64 };

/* Number of a general register, as encoded. EMU_REG_NONE: no base, or no index. */
enum emu_reg {
	EMU_RAX,
	EMU_RCX,
	EMU_RDX,
	EMU_RBX,
	EMU_RSP,
	EMU_RBP,
	EMU_RSI,
	EMU_RDI,
	EMU_R15 = 15,
	EMU_REG_NONE = 255,
};

/* Number of a segment register, as encoded. */
enum emu_segment_reg { EMU_ES, EMU_CS, EMU_SS, EMU_DS, EMU_FS, EMU_GS, EMU_SEGMENT_COUNT };

enum emu_map {
	EMU_MAP_ONE,
	EMU_MAP_0F,
	EMU_MAP_0F38,
	EMU_MAP_0F3A,
	EMU_MAP_3DNOW, /* opcode is the byte after the operands */
	EMU_MAP_VEX,
	EMU_MAP_EVEX,
	EMU_MAP_XOP,
};

enum emu_rep { EMU_REP_NONE, EMU_REP_E /* F3 */, EMU_REP_NE /* F2 */ };

/* Where an operand comes from. */
enum emu_operand {
	EMU_OPERAND_NONE,
	EMU_OPERAND_RM,  /* memory if has_memory, else register rm */
	EMU_OPERAND_REG, /* register reg */
	EMU_OPERAND_ACC, /* AL, AX, EAX or RAX */
	EMU_OPERAND_IMM, /* immediate */
	EMU_OPERAND_ONE, /* the number 1 */
	EMU_OPERAND_CL,
	EMU_OPERAND_XMM, /* XMM register reg; rm is one, too, unless has_memory */
};

/*
 * What the instruction is, as far as the hypervisor cares: intercepted instructions, and those
 * that execute.h can run. All others are EMU_OP_OTHER; map and opcode tell them apart.
 */
enum emu_op {
	EMU_OP_INVALID,
	EMU_OP_OTHER,
	EMU_OP_VECTOR, /* VEX, EVEX, XOP or 3DNow!: exact length, existence not judged */
	/* in the order of ModRM.reg in opcodes 80 to 83 */
	EMU_OP_ADD,
	EMU_OP_OR,
	EMU_OP_ADC,
	EMU_OP_SBB,
	EMU_OP_AND,
	EMU_OP_SUB,
	EMU_OP_XOR,
	EMU_OP_CMP,
	/* in the order of ModRM.reg in opcodes D0 to D3 */
	EMU_OP_ROL,
	EMU_OP_ROR,
	EMU_OP_RCL,
	EMU_OP_RCR,
	EMU_OP_SHL,
	EMU_OP_SHR,
	EMU_OP_SAL, /* undocumented second encoding of SHL */
	EMU_OP_SAR,
	EMU_OP_TEST,
	EMU_OP_NOT,
	EMU_OP_NEG,
	EMU_OP_INC,
	EMU_OP_DEC,
	EMU_OP_MOV,
	EMU_OP_MOVZX8,
	EMU_OP_MOVZX16,
	EMU_OP_MOVSX8,
	EMU_OP_MOVSX16,
	EMU_OP_MOVSXD,
	EMU_OP_MOVBE,
	EMU_OP_CMOV,
	EMU_OP_SETCC,
	EMU_OP_XCHG,
	EMU_OP_XADD,
	EMU_OP_CMPXCHG,
	EMU_OP_CMPXCHG8B, /* CMPXCHG16B with an operand size of 8 */
	EMU_OP_BT,
	EMU_OP_BTS,
	EMU_OP_BTR,
	EMU_OP_BTC,
	EMU_OP_PUSH,
	EMU_OP_POP,
	EMU_OP_MOVS,
	EMU_OP_CMPS,
	EMU_OP_STOS,
	EMU_OP_LODS,
	EMU_OP_SCAS,
	EMU_OP_MOVX_UNALIGNED, /* MOVUPS, MOVUPD, MOVDQU: 16 bytes */
	EMU_OP_MOVX_ALIGNED,   /* MOVAPS, MOVAPD, MOVDQA, MOVNTPS, MOVNTPD, MOVNTDQ: 16 bytes */
	EMU_OP_MOVX_LOW,       /* MOVD, MOVQ: 4 or 8 bytes, a load clears the rest */
	/* known by name, for intercepts */
	EMU_OP_NOP,
	EMU_OP_PAUSE,
	EMU_OP_HLT,
	EMU_OP_CPUID,
	EMU_OP_RDMSR,
	EMU_OP_WRMSR,
	EMU_OP_RDTSC,
	EMU_OP_RDTSCP,
	EMU_OP_RDPMC,
	EMU_OP_RDPRU,
	EMU_OP_INVD,
	EMU_OP_WBINVD,
	EMU_OP_INVLPG,
	EMU_OP_INVLPGA,
	EMU_OP_INVPCID,
	EMU_OP_MOV_FROM_CR,
	EMU_OP_MOV_TO_CR,
	EMU_OP_MOV_FROM_DR,
	EMU_OP_MOV_TO_DR,
	EMU_OP_CLTS,
	EMU_OP_LMSW,
	EMU_OP_SMSW,
	EMU_OP_XGETBV,
	EMU_OP_XSETBV,
	EMU_OP_MONITOR,
	EMU_OP_MWAIT,
	EMU_OP_VMCALL,
	EMU_OP_VMMCALL,
	EMU_OP_VMRUN,
	EMU_OP_VMLOAD,
	EMU_OP_VMSAVE,
	EMU_OP_STGI,
	EMU_OP_CLGI,
	EMU_OP_SKINIT,
	EMU_OP_RSM,
	EMU_OP_IRET,
	EMU_OP_INT3,
	EMU_OP_INTN,
	EMU_OP_INTO,
	EMU_OP_INT1,
	EMU_OP_PUSHF,
	EMU_OP_POPF,
	EMU_OP_CLI,
	EMU_OP_STI,
	EMU_OP_IN,
	EMU_OP_OUT,
	EMU_OP_INS,
	EMU_OP_OUTS,
	EMU_OP_SGDT,
	EMU_OP_SIDT,
	EMU_OP_LGDT,
	EMU_OP_LIDT,
	EMU_OP_SLDT,
	EMU_OP_STR,
	EMU_OP_LLDT,
	EMU_OP_LTR,
	EMU_OP_COUNT,
};

/* Effective address: base + index * scale + disp, cut to address_bytes. */
struct emu_memory {
	uint8_t base;      /* enum emu_reg */
	uint8_t index;     /* enum emu_reg */
	uint8_t scale;     /* 1, 2, 4 or 8 */
	bool rip_relative; /* the address of the next instruction takes the place of base */
	int64_t disp;      /* EVEX: not scaled by the operand; absolute address: zero-extended */
};

struct emu_insn {
	uint8_t length;        /* bytes, 1 to 15 */
	uint8_t op;            /* enum emu_op */
	uint8_t mode;          /* enum emu_mode that it was decoded for */
	uint8_t map;           /* enum emu_map */
	uint8_t opcode;        /* last opcode byte */
	uint8_t operand_bytes; /* 1, 2, 4 or 8; MOVX: up to 16; else no meaning for x87, MMX, SSE */
	uint8_t address_bytes; /* 2, 4 or 8 */
	uint8_t segment;       /* enum emu_segment_reg: of the memory operand, or of rSI */
	uint8_t destination;   /* enum emu_operand */
	uint8_t source;        /* enum emu_operand */
	uint8_t reg;           /* register operand, from ModRM.reg or from the opcode */
	uint8_t rm;            /* register operand from ModRM.rm if !has_memory */
	uint8_t imm_bytes;     /* 0 if there is no immediate */
	uint8_t rep;           /* enum emu_rep: the prefix, whatever the instruction makes of it */
	bool has_modrm;
	bool has_memory; /* `memory` describes an operand; string operands do not count */
	bool has_rex;    /* byte registers 4 to 7 are SPL, BPL, SIL and DIL */
	bool lock;
	uint8_t modrm; /* if has_modrm */
	struct emu_memory memory;
	int64_t imm;   /* sign-extended where the instruction does so; first one of two */
	uint16_t imm2; /* ENTER: nesting level; far pointer: selector; EXTRQ, INSERTQ: second */
};

/**
 * emu_decode() - decode one instruction.
 * @bytes: guest code, starting at the instruction.
 * @count: how many bytes are there; EMU_INSN_BYTES_MAX are always enough.
 * @mode:  default size of the code segment.
 * @out:   the instruction; written in full, defined only for EMU_OK.
 *
 * Looks at no byte beyond the instruction, so that EMU_NEED_BYTES means that the CPU needs the
 * next byte as well.
 *
 * Context: any. Return: see enum emu_status.
 */
enum emu_status emu_decode(const uint8_t *bytes, size_t count, enum emu_mode mode,
			   struct emu_insn *out);

#endif
