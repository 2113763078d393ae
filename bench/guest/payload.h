/* SPDX-License-Identifier: MIT */
/*
 * The benchmark payload: one flat 64-bit image without an operating system, the same file for
 * every hypervisor. main.c picks the sets that the command line names; each set is a file.
 *
 * Every figure is a difference of two RDTSC, which are instructions under
 * `qemu -icount shift=0,sleep=off`, with the cost of the pair itself taken off. Results are
 * lines "bench SET OPERATION NUMBER" on COM1. Physical memory:
 *
 *    4 MiB  the image           64 MiB  data: what the cold touches touch, 512 MiB of it
 *    8 MiB  page tables        then, not memory at first: the 4 MiB slot of the slot set
 *   32 MiB  small pieces of data
 */
#ifndef BENCH_GUEST_PAYLOAD_H
#define BENCH_GUEST_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#define MIB(n) ((uint64_t)(n) << 20)
#define PAGE_BYTES UINT64_C(4096)
#define HUGE_BYTES MIB(2)
#define TABLE_ENTRIES 512u

#define TABLES_START MIB(8)
#define TABLES_END MIB(32)
#define FRAMES_START MIB(32)
#define DATA_START MIB(64)
#define DATA_BYTES MIB(512)

/* What a device would be, if there were one: no memory, and known to the monitor. */
#define MMIO_OUTSIDE UINT64_C(0xd0000000) /* 256 pages: to user space, where there is one */
#define MMIO_INSIDE UINT64_C(0xd0200000)  /* one page: dropped by the hypervisor itself */
#define MMIO_APIC UINT64_C(0xfee00000)

enum ports {
	PORT_COM1 = 0x3f8,
	PORT_DEBUG_EXIT = 0xf4,
	PORT_INSIDE = 0xe9,   /* dropped by the hypervisor itself */
	PORT_OUTSIDE = 0x5c0, /* to user space, where there is one */
	PORT_HOST = 0x5b0,    /* host operations, see host.c */
};

enum entry_bits {
	ENTRY_PRESENT = 1 << 0,
	ENTRY_WRITABLE = 1 << 1,
	ENTRY_ACCESSED = 1 << 5,
	ENTRY_DIRTY = 1 << 6,
	ENTRY_HUGE = 1 << 7,
};
/*
 * Accessed and dirty are set beforehand, as operating systems do for a page that they map
 * because of an access. Only the workload "clear_ad" is about entries without.
 */
#define ENTRY_DATA (ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_ACCESSED | ENTRY_DIRTY)

/* --- output, print.c --- */

void put_text(const char *text);

/* bench SET OPERATION NUMBER; hundredths are shown when @parts is not 1. */
void put_result(const char *set, const char *operation, uint64_t number, uint64_t parts);

/* --- processor --- */

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline uint64_t cr3_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void cr3_write(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}

static inline void invlpg(uint64_t address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void store64(uint64_t address, uint64_t value)
{
	*(volatile uint64_t *)address = value;
}

static inline uint64_t load64(uint64_t address)
{
	return *(const volatile uint64_t *)address;
}

/* Ticks between two readings with nothing in between. */
extern uint64_t ticks_overhead;

static inline uint64_t ticks_since(uint64_t start)
{
	return ticks() - start - ticks_overhead;
}

/* --- memory, memory.c --- */

/* The least of @values[0 .. count-1]. */
uint64_t least_of(const uint64_t *values, unsigned count);

/* A zeroed page for a table; the payload ends when there is none. */
uint64_t *table_new(void);

/* An address space of its own that shares the identity map; address of its top table. */
uint64_t *space_new(void);

/* Table of level 1 (4K entries) that maps @linear in @space, made where it is missing. */
uint64_t *space_table(uint64_t *space, uint64_t linear);

/* @pages 4K pages of @space from @linear to @physical, writable. */
void space_map(uint64_t *space, uint64_t linear, uint64_t physical, uint64_t pages);

/* Loops of exactly four instructions per step; @step may be negative. Return: ticks. */
uint64_t touch_write(uint64_t start, uint64_t count, int64_t step);
uint64_t touch_read(uint64_t start, uint64_t count, int64_t step);

/* The top table that entry.S made. */
extern uint64_t pml4[TABLE_ENTRIES];

/* --- exceptions, exceptions.c and entry.S --- */

void exceptions_init(void);

extern uint64_t undefined_count; /* #UD, each skipped as a three-byte instruction */

/* What #PF does: entry N of the table becomes fault_frames + N pages, where N is the page of
 * the address, counted from fault_linear. */
extern uint64_t *fault_table;
extern uint64_t fault_linear;
extern uint64_t fault_frames;

/* --- the sets --- */

void bench_check(void);
void bench_exits(void);
void bench_touch(void);
void bench_tables(void);
void bench_dirty(void);
void bench_slots(void);

#endif
