/* SPDX-License-Identifier: MIT */
/* Set "exits": single instructions that leave the guest, and accesses to what is no memory. */
#include "payload.h"

enum {
	REPEATS = 200,
	MMIO_PAGES = 256,
	MSR_APIC_BASE = 0x1b,
	MSR_PAT = 0x277,
	APIC_VERSION = 0x30,
	APIC_TASK_PRIORITY = 0x80,
	NO_HYPERCALL = 0xffff, /* a number that no hypervisor knows */
};

static inline void do_nothing(void)
{
}

static inline void do_cpuid(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}

static inline void do_vmmcall(void)
{
	uint64_t number = NO_HYPERCALL;

	__asm__ volatile("vmmcall" : "+a"(number) : : "memory");
}

static inline void rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
}

static inline void do_rdmsr_apic_base(void)
{
	rdmsr(MSR_APIC_BASE);
}

static inline void do_rdmsr_pat(void)
{
	rdmsr(MSR_PAT);
}

static inline void do_out_inside(void)
{
	out8(PORT_INSIDE, 0);
}

static inline void do_out_outside(void)
{
	out8(PORT_OUTSIDE, 0);
}

static inline uint32_t mmio_read(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void mmio_write(uint64_t address)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(0), "r"(address) : "memory");
}

static inline void do_read_outside(void)
{
	mmio_read(MMIO_OUTSIDE);
}

static inline void do_write_outside(void)
{
	mmio_write(MMIO_OUTSIDE);
}

static inline void do_write_inside(void)
{
	mmio_write(MMIO_INSIDE);
}

static inline void do_read_apic(void)
{
	mmio_read(MMIO_APIC + APIC_VERSION);
}

static inline void do_write_apic(void)
{
	mmio_write(MMIO_APIC + APIC_TASK_PRIORITY);
}

/* The least of many, so that what happens only once does not count. */
#define MEASURE(operation)                                                                         \
	__attribute__((noinline)) static uint64_t measure_##operation(void)                        \
	{                                                                                          \
		uint64_t least = UINT64_MAX;                                                       \
                                                                                                   \
		for (unsigned i = 0; i < REPEATS; i++) {                                           \
			uint64_t start = ticks();                                                  \
			uint64_t took;                                                             \
                                                                                                   \
			do_##operation();                                                          \
			took = ticks() - start;                                                    \
			least = took < least ? took : least;                                       \
		}                                                                                  \
		return least - ticks_overhead;                                                     \
	}
MEASURE(nothing)
MEASURE(cpuid)
MEASURE(vmmcall)
MEASURE(rdmsr_apic_base)
MEASURE(rdmsr_pat)
MEASURE(out_inside)
MEASURE(out_outside)
MEASURE(read_outside)
MEASURE(write_outside)
MEASURE(write_inside)
MEASURE(read_apic)
MEASURE(write_apic)

uint64_t ticks_overhead;

/*
 * Are the ticks instructions? A thousand of them must take a thousand, each time. Else every
 * figure means something else than it says, and whoever reads the line drops them all.
 */
void bench_check(void)
{
	uint64_t took[4];
	bool exact = true;

	ticks_overhead = measure_nothing();
	for (unsigned i = 0; i < 4; i++) {
		uint64_t count = 500;
		uint64_t start = ticks();

		__asm__ volatile("1: decq %0\n\tjnz 1b" : "+r"(count) : : "cc");
		took[i] = ticks_since(start);
		exact = exact && took[i] >= 1000 && took[i] <= 1001;
	}
	put_result("check", "thousand", least_of(took, 4), 1);
	put_result("check", "exact", exact, 1);
}

static void put_exit(const char *operation, uint64_t took)
{
	put_result("exits", operation, took, 1);
}

__attribute__((noinline)) static uint64_t mmio_pass(void)
{
	uint64_t start = ticks();

	for (uint64_t i = 1; i <= MMIO_PAGES; i++)
		mmio_read(MMIO_OUTSIDE + i * PAGE_BYTES);
	return ticks_since(start);
}

/* Once each: for bench/profile.py functions of their own. */
__attribute__((noinline)) static uint64_t measure_first_read(void)
{
	uint64_t start = ticks();

	do_read_outside();
	return ticks_since(start);
}

__attribute__((noinline)) static uint64_t measure_first_write(void)
{
	uint64_t start = ticks();

	do_write_inside();
	return ticks_since(start);
}

static void measure_mmio(void)
{
	put_exit("mmio.read.outside.first", measure_first_read());
	put_exit("mmio.read.outside", measure_read_outside());
	put_exit("mmio.write.outside", measure_write_outside());
	put_result("exits", "mmio.read.outside.cold_pages", mmio_pass(), MMIO_PAGES);
	put_result("exits", "mmio.read.outside.second_pass", mmio_pass(), MMIO_PAGES);
	put_exit("mmio.write.inside.first", measure_first_write());
	put_exit("mmio.write.inside", measure_write_inside());
	put_exit("mmio.read.apic", measure_read_apic());
	put_exit("mmio.write.apic", measure_write_apic());
}

void bench_exits(void)
{
	uint64_t took;

	put_exit("cpuid", measure_cpuid());
	undefined_count = 0;
	took = measure_vmmcall();
	if (undefined_count == 0)
		put_exit("vmmcall", took);
	put_exit("rdmsr.apic_base", measure_rdmsr_apic_base());
	put_exit("rdmsr.pat", measure_rdmsr_pat());
	put_exit("out.inside", measure_out_inside());
	put_exit("out.outside", measure_out_outside());
	measure_mmio();
}
