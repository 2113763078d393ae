/* SPDX-License-Identifier: MIT */
/*
 * A guest in long mode that reaches devices, and its own page tables, by many instructions: moves
 * of all widths and address forms, read-modify-write, strings, pages that are remapped and code
 * that changes between two accesses. Ends through the debug-exit port with 0, or with the number
 * of the first check that failed.
 */
#include <stdbool.h>
#include <stdint.h>

enum { VECTORS = 32, DB = 1, PF = 14 };
enum { PRESENT = 1, WRITABLE = 2, CACHE_OFF = 16 };
enum { PAGES = 512, MSR_FS_BASE = 0xc0000100 };

#define NOWHERE UINT64_C(0xd0000000)
#define LOCAL_APIC UINT64_C(0xfee00000)
#define TIMER_COUNT UINT64_C(0x380) /* with the timer masked, 32 bits that keep what they get */
#define SCRATCH (LOCAL_APIC + TIMER_COUNT)

/* The window: 4K pages of the test's own, at linear addresses that nothing else uses. */
#define WINDOW (UINT64_C(1) << 39)
#define PAGE(n) (WINDOW + UINT64_C(4096) * (n))
enum {
	PAGE_CODE,    /* code_a or code_b */
	PAGE_APIC,    /* the local APIC, in reach of a RIP-relative address */
	PAGE_APIC_RO, /* the same, read-only */
	PAGE_NOWHERE, /* no memory, two pages */
	PAGE_HOLE = PAGE_NOWHERE + 2,
	PAGE_TABLE, /* the window's own directory: a page table that is in use */
};

struct gate {
	uint16_t low, selector, type;
	uint16_t middle;
	uint32_t high, reserved;
};

void test_main(void); /* entry.S calls it */

extern const char trap_pf[], trap_db[];
extern volatile uint64_t trap_count[VECTORS], trap_rcx, trap_rdi;
volatile uint64_t trap_count[VECTORS], trap_rcx, trap_rdi;

static struct gate idt[VECTORS];
static unsigned check_number;
static uint64_t window_pdpt[PAGES] __attribute__((aligned(4096)));
static uint64_t window_directory[PAGES] __attribute__((aligned(4096)));
static uint64_t window_table[PAGES] __attribute__((aligned(4096)));
static uint8_t code_a[4096] __attribute__((aligned(4096)));
static uint8_t code_b[4096] __attribute__((aligned(4096)));

/* #PF resumes at the address in R15. */
__asm__(".text\n"
	"trap_pf: incq trap_count + 8 * 14(%rip)\n movq %rcx, trap_rcx(%rip)\n"
	"movq %rdi, trap_rdi(%rip)\n addq $8, %rsp\n movq %r15, (%rsp)\n iretq\n"
	"trap_db: incq trap_count + 8 * 1(%rip)\n andq $~0x100, 16(%rsp)\n iretq\n");

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void check(bool good)
{
	check_number++;
	if (good)
		return;
	out8(0xf4, (uint8_t)check_number);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void gate_set(unsigned vector, const char *handler)
{
	uint64_t address = (uintptr_t)handler;

	idt[vector] = (struct gate){.low = (uint16_t)address,
				    .selector = 8,
				    .type = 0x8e00,
				    .middle = (uint16_t)(address >> 16),
				    .high = (uint32_t)(address >> 32)};
}

static void map(unsigned page, uint64_t physical, uint64_t bits)
{
	((volatile uint64_t *)window_table)[page] = physical | bits;
	__asm__ volatile("invlpg (%0)" : : "r"(PAGE(page)) : "memory");
}

static void window_make(void)
{
	uint64_t cr3;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	window_directory[0] = (uintptr_t)window_table | PRESENT | WRITABLE;
	window_pdpt[0] = (uintptr_t)window_directory | PRESENT | WRITABLE;
	((volatile uint64_t *)cr3)[1] = (uintptr_t)window_pdpt | PRESENT | WRITABLE;
	map(PAGE_CODE, (uintptr_t)code_a, PRESENT | WRITABLE);
	map(PAGE_APIC, LOCAL_APIC, PRESENT | WRITABLE | CACHE_OFF);
	map(PAGE_APIC_RO, LOCAL_APIC, PRESENT | CACHE_OFF);
	map(PAGE_NOWHERE, NOWHERE, PRESENT | WRITABLE);
	map(PAGE_NOWHERE + 1, NOWHERE + 4096, PRESENT | WRITABLE);
	map(PAGE_TABLE, (uintptr_t)window_directory, PRESENT | WRITABLE);
}

static uint32_t scratch(void)
{
	return *(volatile uint32_t *)SCRATCH;
}

/* Run @text with RDI = @at and RAX = @value. Return: RAX. */
#define RUN(text, at, value)                                                                       \
	({                                                                                         \
		uint64_t rax_ = (value);                                                           \
		__asm__ volatile(text                                                              \
				 : "+a"(rax_)                                                      \
				 : "D"(at)                                                         \
				 : "rbx", "rcx", "rdx", "rsi", "r8", "r12", "memory", "cc");       \
		rax_;                                                                              \
	})

static void check_loads(void)
{
	const uint64_t old = UINT64_C(0x1122334455667788);

	check(RUN("movb (%%rdi), %%al", NOWHERE, old) == UINT64_C(0x11223344556677ff));
	check(RUN("movb (%%rdi), %%ah", NOWHERE, old) == UINT64_C(0x112233445566ff88));
	check(RUN("movw (%%rdi), %%ax", NOWHERE, old) == UINT64_C(0x112233445566ffff));
	check(RUN("movl (%%rdi), %%eax", NOWHERE, old) == UINT32_MAX);
	check(RUN("movq (%%rdi), %%rax", NOWHERE, old) == UINT64_MAX);
	check(RUN("movq %%rax, %%rsi\n movb (%%rdi), %%sil\n movq %%rsi, %%rax", NOWHERE, old) ==
	      UINT64_C(0x11223344556677ff));
	check(RUN("movzbl (%%rdi), %%eax", NOWHERE, old) == 0xff);
	check(RUN("movsbq (%%rdi), %%rax", NOWHERE, old) == UINT64_MAX);
	check(RUN("movq %%rsp, %%r12\n movl (%%rdi), %%esp\n movl %%esp, %%eax\n movq %%r12, %%rsp",
		  NOWHERE, old) == UINT32_MAX);
	/* An access over two pages. */
	check(RUN("movq (%%rdi), %%rax", PAGE(PAGE_NOWHERE) + 4093, old) == UINT64_MAX);
	RUN("movq %%rax, (%%rdi)", PAGE(PAGE_NOWHERE) + 4093, old);
	/* ... of which the second is memory. */
	map(PAGE_HOLE, (uintptr_t)code_b, PRESENT | WRITABLE);
	RUN("movl %%eax, (%%rdi)", PAGE(PAGE_HOLE) - 2, 0x12345678);
	check(code_b[0] == 0x34 && code_b[1] == 0x12 && code_b[2] == 0);
	check(RUN("movl (%%rdi), %%eax", PAGE(PAGE_HOLE) - 2, old) == 0x1234ffff);
	map(PAGE_HOLE, 0, 0);
	*(volatile uint32_t *)SCRATCH = 0x01020304;
	check(scratch() == 0x01020304);
	check(RUN("xorl %%ebx, %%ebx\n leaq -0x700(%%rdi), %%rdx\n movl $0x380, %%ecx\n"
		  "movl -0x0(%%rdx,%%rcx,2), %%eax",
		  SCRATCH, old) == 0x01020304);
	__asm__ volatile("wrmsr" : : "c"(MSR_FS_BASE), "a"((uint32_t)LOCAL_APIC), "d"(0));
	check(RUN("movl %%fs:0x380, %%eax", 0, old) == 0x01020304);
	__asm__ volatile("wrmsr" : : "c"(MSR_FS_BASE), "a"(0), "d"(0));
	check(RUN("movabsl 0xfee00380, %%eax", 0, old) == 0x01020304);
	check(RUN("leal 0x380(%%edi), %%ebx\n movl (%%ebx), %%eax", LOCAL_APIC, old) == 0x01020304);
}

static void check_stores(void)
{
	volatile uint8_t *unused = (volatile uint8_t *)&window_directory[500];
	uint64_t at = PAGE(PAGE_TABLE) + 500 * 8;

	RUN("movl %%eax, (%%rdi)", SCRATCH, 0x11111111);
	check(scratch() == 0x11111111);
	RUN("movl $0x22222222, (%%rdi)", SCRATCH, 0);
	check(scratch() == 0x22222222);
	RUN("movl %%eax, %%r8d\n movl %%r8d, (%%rdi)", SCRATCH, 0x33333333);
	check(scratch() == 0x33333333);
	RUN("movabsl %%eax, 0xfee00380", 0, 0x44444444);
	check(scratch() == 0x44444444);
	RUN("orl $0x0f, (%%rdi)", SCRATCH, 0);
	check(scratch() == 0x4444444f);
	check(RUN("lock xaddl %%eax, (%%rdi)", SCRATCH, 1) == 0x4444444f);
	check(scratch() == 0x44444450);
	check(RUN("xchgl %%eax, (%%rdi)", SCRATCH, 7) == 0x44444450 && scratch() == 7);
	check(RUN("pushq (%%rdi)\n popq %%rax", NOWHERE, 0) == UINT64_MAX);
	/* A stack at the same offset as what is written. */
	*(volatile uint64_t *)(code_a + TIMER_COUNT) = 0x55555555;
	RUN("xchgq %%rsp, %%rax\n popq (%%rdi)\n xchgq %%rsp, %%rax", SCRATCH,
	    (uintptr_t)code_a + TIMER_COUNT);
	check(scratch() == 0x55555555);
	/* Not present entries of a page table in use: emulated under shadow paging. */
	*(volatile uint64_t *)unused = 0;
	RUN("movb %%ah, (%%rdi)", at, 0x1234);
	check(unused[0] == 0x12 && unused[1] == 0);
	RUN("movb %%al, 2(%%rdi)", at, 0x56);
	RUN("movw %%ax, 4(%%rdi)", at, 0x789a);
	check(*(volatile uint64_t *)unused == UINT64_C(0x0000789a00560012));
	RUN("movq $-2, 8(%%rdi)", at, 0);
	check(window_directory[501] == UINT64_MAX - 1);
	RUN("movq %%rax, 8(%%rdi)", at, 0);
	check(window_directory[501] == 0);
	*(volatile uint64_t *)unused = 0;
}

/* The device is not written through a mapping that forbids it, whoever does the writing. */
static void check_rights(void)
{
	uint64_t at = PAGE(PAGE_APIC_RO) + TIMER_COUNT, faults = trap_count[PF];

	__asm__ volatile("movq %%cr0, %%rax\n btsq $16, %%rax\n movq %%rax, %%cr0" : : : "rax");
	*(volatile uint32_t *)SCRATCH = 5;
	check(*(volatile uint32_t *)at == 5);
	__asm__ volatile("leaq 1f(%%rip), %%r15\n orl $2, (%0)\n1:" : : "r"(at) : "r15", "memory");
	check(trap_count[PF] == faults + 1 && scratch() == 5);
	__asm__ volatile("leaq 1f(%%rip), %%r15\n movl $2, (%0)\n1:" : : "r"(at) : "r15", "memory");
	check(trap_count[PF] == faults + 2 && scratch() == 5);
	__asm__ volatile("leaq 1f(%%rip), %%r15\n btsl %1, (%0)\n1:"
			 :
			 : "r"(at), "r"(1)
			 : "r15", "memory");
	check(trap_count[PF] == faults + 3 && scratch() == 5);
}

/* What a string instruction has done before it faults stays done. */
static void check_strings(void)
{
	uint64_t at = PAGE(PAGE_NOWHERE + 1) + 4096 - 16, faults = trap_count[PF];
	uint64_t to = at, count = 10;

	__asm__ volatile("leaq 1f(%%rip), %%r15\n rep stosl\n1:"
			 : "+D"(to), "+c"(count)
			 : "a"(0)
			 : "r15", "memory");
	check(trap_count[PF] == faults + 1);
	check(trap_rcx == 6 && trap_rdi == PAGE(PAGE_HOLE));
	to = (uintptr_t)code_b;
	at = NOWHERE;
	count = 200;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(at), "+c"(count) : : "memory");
	check(count == 0 && code_b[0] == 0xff && code_b[1599] == 0xff && code_b[1600] == 0);
}

static uint64_t call(uint64_t address)
{
	uint64_t rax = 1, rcx = 2;

	__asm__ volatile("call *%2" : "+a"(rax), "+c"(rcx) : "r"(address), "D"(SCRATCH) : "memory");
	return rax << 32 | rcx;
}

static void code_put(uint8_t *page, const char *text, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		((volatile uint8_t *)page)[0x100 + i] = (uint8_t)text[i];
}

/* The same address, but not the same instruction: the one of now is the one that counts. */
static void check_code(void)
{
	uint64_t at = PAGE(PAGE_CODE) + 0x100;

	*(volatile uint32_t *)SCRATCH = 5;
	code_put(code_a, "\x8b\x07\xc3", 3); /* mov (%rdi), %eax; ret */
	code_put(code_b, "\x8b\x0f\xc3", 3); /* mov (%rdi), %ecx; ret */
	check(call(at) == (UINT64_C(5) << 32 | 2) && call(at) == (UINT64_C(5) << 32 | 2));
	map(PAGE_CODE, (uintptr_t)code_b, PRESENT | WRITABLE);
	check(call(at) == (UINT64_C(1) << 32 | 5));
	map(PAGE_CODE, (uintptr_t)code_a, PRESENT | WRITABLE);
	check(call(at) == (UINT64_C(5) << 32 | 2));
	code_put(code_a, "\xc7\x07\x09\x00\x00\x00\xc3", 7); /* movl $9, (%rdi); ret */
	call(at);
	check(scratch() == 9);
	code_put(code_a, "\xc7\x07\x0a\x00\x00\x00\xc3", 7);
	call(at);
	check(scratch() == 10);
	/* RIP-relative: mov 0x1280 + 6(%rip) reaches the APIC's page behind the code's. */
	code_put(code_a, "\x8b\x05\x7a\x12\x00\x00\xc3", 7);
	check(call(at) == (UINT64_C(10) << 32 | 2));
	/* Over the end of the page. */
	map(PAGE_APIC, (uintptr_t)code_b, PRESENT | WRITABLE);
	code_a[0xfff] = 0x8b;
	code_b[0] = 0x07;
	code_b[1] = 0xc3;
	check(call(PAGE(PAGE_CODE) + 0xfff) == (UINT64_C(10) << 32 | 2));
	code_b[0] = 0x0f;
	check(call(PAGE(PAGE_CODE) + 0xfff) == (UINT64_C(1) << 32 | 10));
}

static void check_step(void)
{
	uint64_t steps = trap_count[DB];

	__asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n movl (%0), %%eax\n nop"
			 :
			 : "r"(SCRATCH)
			 : "rax", "memory", "cc");
	check(trap_count[DB] == steps + 1);
}

void test_main(void)
{
	struct {
		uint16_t limit;
		uint16_t base[4];
	} pointer = {.limit = sizeof(idt) - 1,
		     .base = {(uint16_t)(uintptr_t)idt, (uint16_t)((uintptr_t)idt >> 16)}};

	gate_set(PF, trap_pf);
	gate_set(DB, trap_db);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	*(volatile uint32_t *)(LOCAL_APIC + 0x320) = 0x10000; /* the timer's interrupt: masked */
	window_make();
	check_loads();
	check_stores();
	check_rights();
	check_strings();
	check_code();
	check_step();
	out8(0xf4, 0);
}
