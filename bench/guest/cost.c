/* SPDX-License-Identifier: MIT */
/*
 * What exits cost, seen by the guest: TSC ticks around one operation, which are instructions
 * under `qemu -icount shift=0,sleep=off`. Prints "vmmu-bench: OPERATION NUMBER" lines on COM1
 * and ends through the debug-exit port with 0.
 *
 * The fault is meaningful when the hypervisor has the host frames at hand (prefill=on), the
 * library without prefetch is measured with prefetch=1 huge=off.
 */
#include <stdint.h>

enum {
	COM1 = 0x3f8,
	DEBUG_EXIT = 0xf4,
	REPEATS = 200,
	PAGE_BYTES = 4096,
	TOUCH_PAGES = 4096,
	BUCKETS = 16384,
	MSR_PAT = 0x277,
};

#define TOUCH_START UINT64_C(0x1000000) /* 16 MiB: nothing has been there yet */

void cost_main(const uint32_t *multiboot);

static uint32_t histogram[BUCKETS];

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put_char(char c)
{
	while ((in8(COM1 + 5) & 0x20) == 0)
		__asm__ volatile("pause");
	out8(COM1, (uint8_t)c);
}

static void put_text(const char *text)
{
	for (; *text != '\0'; text++)
		put_char(*text);
}

static void put_number(uint64_t number)
{
	char digits[21];
	unsigned at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	put_text(digits + at);
}

static void put_result(const char *operation, uint64_t number)
{
	put_text("vmmu-bench: ");
	put_text(operation);
	put_char(' ');
	put_number(number);
	put_char('\n');
}

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void do_nothing(void)
{
}

static inline void do_cpuid(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}

static inline void do_rdmsr(void)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_PAT));
}

/* The least of many, so that what happens only once does not count. */
#define MEASURE(operation)                                                                         \
	static uint64_t measure_##operation(void)                                                  \
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
		return least;                                                                      \
	}
MEASURE(nothing)
MEASURE(cpuid)
MEASURE(rdmsr)

static uint64_t touch(uint64_t address)
{
	uint64_t start = ticks();

	*(volatile uint64_t *)address = address;
	return ticks() - start;
}

/* First writes to pages that the hypervisor has not mapped yet. */
static void measure_touch(uint64_t overhead, uint64_t pages)
{
	uint64_t least = UINT64_MAX, sum = 0, seen = 0, median = 0;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t took = touch(TOUCH_START + i * PAGE_BYTES) - overhead;

		histogram[took < BUCKETS ? took : BUCKETS - 1]++;
		least = took < least ? took : least;
		sum += took;
	}
	while (seen * 2 < pages)
		seen += histogram[median++];
	put_result("touch.min", least);
	put_result("touch.median", median - 1);
	put_result("touch.mean", sum / pages);
}

void cost_main(const uint32_t *multiboot)
{
	uint64_t overhead = measure_nothing();
	uint64_t memory_end = ((uint64_t)multiboot[2] << 10) + 0x100000; /* mem_upper, KiB */
	uint64_t pages = TOUCH_PAGES;

	if (memory_end < TOUCH_START + pages * PAGE_BYTES)
		pages = memory_end > TOUCH_START ? (memory_end - TOUCH_START) / PAGE_BYTES : 0;
	put_result("overhead", overhead);
	put_result("cpuid", measure_cpuid() - overhead);
	put_result("rdmsr", measure_rdmsr() - overhead);
	put_result("touch.pages", pages);
	if (pages != 0)
		measure_touch(overhead, pages);
	out8(DEBUG_EXIT, 0);
}
