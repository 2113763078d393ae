/* SPDX-License-Identifier: MIT */
/*
 * A guest in long mode that checks how the hypervisor answers: control registers, MSRs, SVM
 * instructions, CPUID, NMIs to itself, addresses without memory, single steps over
 * instructions that exit. Ends through the debug-exit port with 0, or with the number of
 * the first check that failed.
 */
#include <stdbool.h>
#include <stdint.h>

enum { VECTORS = 32, DB = 1, NMI = 2, UD = 6, GP = 13 };

#define LOCAL_APIC UINT64_C(0xfee00000)
#define HPET UINT64_C(0xfed00000)
#define NOWHERE UINT64_C(0xd0000000)

struct gate {
	uint16_t low, selector, type;
	uint16_t middle;
	uint32_t high, reserved;
};

void test_main(const uint32_t *multiboot); /* entry.S calls it */

extern const char trap_ud[], trap_gp[], trap_nmi[], trap_db[];
extern volatile uint64_t trap_count[VECTORS];
volatile uint64_t trap_count[VECTORS];

static struct gate idt[VECTORS];
static unsigned check_number;

/* Faults resume at the address in R15; NMI and #DB return. */
__asm__(".text\n"
	"trap_ud: incq trap_count + 8 * 6(%rip)\n movq %r15, (%rsp)\n iretq\n"
	"trap_gp: incq trap_count + 8 * 13(%rip)\n addq $8, %rsp\n movq %r15, (%rsp)\n iretq\n"
	"trap_nmi: incq trap_count + 8 * 2(%rip)\n iretq\n"
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

/* The vector that @instruction raises, 0 if none. */
#define RAISES(instruction, ...)                                                                   \
	({                                                                                         \
		uint64_t ud_ = trap_count[UD], gp_ = trap_count[GP];                               \
		__asm__ volatile("leaq 1f(%%rip), %%r15\n" instruction "\n1:"                      \
				 :                                                                 \
				 : __VA_ARGS__                                                     \
				 : "r15", "memory");                                               \
		trap_count[UD] != ud_ ? UD : trap_count[GP] != gp_ ? GP : 0;                       \
	})

static int wrmsr(uint32_t msr, uint64_t value)
{
	return RAISES("wrmsr", "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static int rdmsr_raises(uint32_t msr)
{
	uint64_t gp = trap_count[GP];
	uint32_t low, high;

	__asm__ volatile("leaq 1f(%%rip), %%r15\n rdmsr\n1:"
			 : "=a"(low), "=d"(high)
			 : "c"(msr)
			 : "r15");
	return trap_count[GP] != gp ? GP : 0;
}

static uint64_t cr4_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}

static void check_control_registers(void)
{
	uint64_t cr3, cr8 = 0;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	check(RAISES("movq %0, %%cr4", "r"(cr4_read() | UINT64_C(1) << 30)) == GP);
	check(RAISES("movq %0, %%cr4", "r"(cr4_read() & ~UINT64_C(0x20))) == GP); /* PAE */
	check(RAISES("movq %0, %%cr4", "r"(cr4_read() | 0x80)) == 0);             /* PGE */
	check((cr4_read() & 0x80) != 0);
	check(RAISES("movq %0, %%cr3", "r"(cr3 | UINT64_C(1) << 51)) == GP);
	check(RAISES("movq %0, %%cr3", "r"(cr3)) == 0);
	check(RAISES("movq %0, %%cr0", "r"(UINT64_C(0x80000010))) == GP); /* PG without PE */
	check(RAISES("movq %0, %%cr0", "r"(UINT64_C(0xa0000011))) == GP); /* NW without CD */
	check(RAISES("movq %0, %%cr0", "r"(UINT64_C(0x80010011))) == 0);  /* WP */
	check(RAISES("movq %0, %%cr8", "r"(UINT64_C(16))) == GP);
	check(RAISES("movq %0, %%cr8", "r"(UINT64_C(5))) == 0);
	__asm__ volatile("movq %%cr8, %0" : "=r"(cr8));
	check(cr8 == 5);
	check(*(volatile uint32_t *)(LOCAL_APIC + 0x80) == 0x50);
	__asm__ volatile("movq %0, %%cr8" : : "r"(UINT64_C(0)));
}

static void check_msrs(void)
{
	uint64_t efer = rdmsr(0xc0000080);
	uint64_t pat = rdmsr(0x277);

	check((efer & UINT64_C(0x1000)) == 0); /* SVME is hidden */
	check(wrmsr(0xc0000080, efer | 0x1000) == GP);
	check(wrmsr(0xc0000080, efer & ~UINT64_C(0x100)) == GP); /* LME while paging */
	check(wrmsr(0xc0000080, efer | 1) == 0 && (rdmsr(0xc0000080) & 1) == 1);
	check(wrmsr(0x277, 2) == GP && wrmsr(0x277, UINT64_C(0x0007040600070404)) == 0);
	check(rdmsr(0x277) == UINT64_C(0x0007040600070404) && wrmsr(0x277, pat) == 0);
	check(wrmsr(0x1b, rdmsr(0x1b) ^ 0x1000) == GP); /* a local APIC elsewhere */
	check(wrmsr(0x1b, rdmsr(0x1b)) == 0);
	check(rdmsr_raises(0x12345678) == GP && wrmsr(0x12345678, 0) == GP);
	check(rdmsr_raises(0xc0010117) == GP && rdmsr_raises(0xc0010114) == GP);
	check(wrmsr(0x10, UINT64_C(1) << 50) == 0 && rdmsr(0x10) >> 50 == 1);
}

static void check_instructions(void)
{
	uint32_t a = 0x80000001, b, c = 0, d;
	uint64_t steps = trap_count[DB];
	int64_t call = 0;

	check(RAISES("vmrun", "a"(UINT64_C(0x1000))) == UD);
	__asm__ volatile("vmmcall" : "+a"(call) : : "memory");
	check(call == -1000); /* there is no hypercall */
	check(RAISES("stgi", "a"(0)) == UD);
	check(RAISES("monitor", "a"(0), "c"(0), "d"(0)) == UD);
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	check((c & 4) == 0);
	a = 0x40000000;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	check(b == 0x756d6d76 && c == b && d == b);
	/* Prefixes make it longer; a single step traps after it. */
	__asm__ volatile(".byte 0x66, 0x48, 0x0f, 0xa2" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	check(true);
	a = 0;
	__asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n cpuid\n nop"
			 : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
			 :
			 : "memory");
	check(trap_count[DB] == steps + 1);
}

static void check_memory(void)
{
	volatile uint64_t *nowhere = (volatile uint64_t *)NOWHERE;
	volatile uint32_t *bios = (volatile uint32_t *)UINT64_C(0xf0000);
	uint32_t before = *bios;
	uint64_t value = 0;

	*nowhere = 1;
	check(*nowhere == UINT64_MAX);
	*bios = ~before;
	check(*bios == before);
	__asm__ volatile("lock xaddq %0, (%1)" : "+r"(value) : "r"(NOWHERE) : "memory");
	check(value == UINT64_MAX);
	check(*(volatile uint64_t *)HPET != UINT64_MAX && *(volatile uint64_t *)HPET != 0);
	check(RAISES("jmp *%0", "r"(NOWHERE)) == UD);
}

static void check_nmi(void)
{
	uint64_t before = trap_count[NMI];

	for (unsigned i = 0; i < 10; i++)
		*(volatile uint32_t *)(LOCAL_APIC + 0x300) = 0x44400; /* to itself */
	check(trap_count[NMI] == before + 10);
	*(volatile uint32_t *)(LOCAL_APIC + 0x360) = 0x10000;
	check(*(volatile uint32_t *)(LOCAL_APIC + 0x360) == 0x10000);
	*(volatile uint32_t *)(LOCAL_APIC + 0x300) = 0xc4500; /* INIT to all others */
	check(true);
}

void test_main(const uint32_t *multiboot)
{
	struct {
		uint16_t limit;
		uint16_t base[4];
	} pointer = {.limit = sizeof(idt) - 1,
		     .base = {(uint16_t)(uintptr_t)idt, (uint16_t)((uintptr_t)idt >> 16)}};

	check(multiboot[0] != 0); /* flags */
	gate_set(UD, trap_ud);
	gate_set(GP, trap_gp);
	gate_set(NMI, trap_nmi);
	gate_set(DB, trap_db);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	check_control_registers();
	check_msrs();
	check_instructions();
	check_memory();
	check_nmi();
	out8(0xf4, 0);
}
