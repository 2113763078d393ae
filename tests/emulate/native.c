/* SPDX-License-Identifier: MIT */
/*
 * The trampoline of native.h. It works through globals because no register is left for a pointer
 * while the instruction under test runs.
 */
#include "native.h"

#include <stddef.h>
#include <string.h>

struct native_state native_state;
uint64_t native_stack;
const void *native_code;

_Static_assert(offsetof(struct native_state, rflags) == 128, "the assembly counts on it");
_Static_assert(offsetof(struct native_state, xmm) == 136, "the assembly counts on it");

extern const char native_back[];
void native_enter(void);

/* clang-format off */
#define GPRS(X) \
	X("rax", 0) X("rcx", 8) X("rdx", 16) X("rbx", 24) X("rsp", 32) X("rbp", 40) X("rsi", 48) \
	X("rdi", 56) X("r8", 64) X("r9", 72) X("r10", 80) X("r11", 88) X("r12", 96) X("r13", 104) \
	X("r14", 112) X("r15", 120)
#define XMMS(X) \
	X("0", 136) X("1", 152) X("2", 168) X("3", 184) X("4", 200) X("5", 216) X("6", 232) \
	X("7", 248) X("8", 264) X("9", 280) X("10", 296) X("11", 312) X("12", 328) X("13", 344) \
	X("14", 360) X("15", 376)
#define LOAD_GPR(name, offset) "movq native_state+" #offset "(%rip), %" name "\n"
#define STORE_GPR(name, offset) "movq %" name ", native_state+" #offset "(%rip)\n"
#define LOAD_XMM(number, offset) "movups native_state+" #offset "(%rip), %xmm" number "\n"
#define STORE_XMM(number, offset) "movups %xmm" number ", native_state+" #offset "(%rip)\n"

__asm__(".text\n"
	".globl native_enter, native_back\n"
	"native_enter:\n"
	"pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
	"movq %rsp, native_stack(%rip)\n"
	XMMS(LOAD_XMM)
	"pushq native_state+128(%rip)\n"
	"popfq\n"
	GPRS(LOAD_GPR)
	"jmpq *native_code(%rip)\n"
	"native_back:\n"
	GPRS(STORE_GPR)
	"movq native_stack(%rip), %rsp\n"
	"pushfq\n"
	"popq native_state+128(%rip)\n"
	"cld\n"
	XMMS(STORE_XMM)
	"popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n"
	"ret\n");
/* clang-format on */

void native_write_return(uint8_t *code)
{
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *(%rip) */
	uint64_t back = (uint64_t)(uintptr_t)native_back;

	memcpy(code, jump, sizeof(jump));
	memcpy(code + sizeof(jump), &back, sizeof(back));
}

void native_run(const void *code)
{
	native_code = code;
	native_enter();
}
