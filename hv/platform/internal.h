/* SPDX-License-Identifier: MIT */
/* What the platform's own files offer one another; not for the SVM part. */
#ifndef HV_PLATFORM_INTERNAL_H
#define HV_PLATFORM_INTERNAL_H

#include "layout.h"
#include "platform.h"

#define FRAME_SHIFT 12
#define BLOCK_SHIFT 21
#define BLOCK_FRAMES 512u

/* A stack that grows down onto a page that is not mapped. */
struct boot_stack {
	uint8_t guard[GUARD_BYTES];
	uint8_t room[STACK_BYTES];
} __attribute__((aligned(4096)));

struct ist_stack {
	uint8_t guard[GUARD_BYTES];
	uint8_t room[IST_STACK_BYTES];
} __attribute__((aligned(4096)));

enum ist {
	IST_NONE = 0,
	IST_DOUBLE_FAULT = 1,
	IST_NMI = 2,
	IST_MACHINE_CHECK = 3,
	IST_PAGE_FAULT = 4,
	IST_COUNT = 4,
};

/* Link script. */
extern const uint8_t image_start[], image_text_end[], image_rodata_end[], image_end[];

/* By CPU. */
extern struct cpu cpus[CPUS_MAX];
extern struct boot_stack boot_stack[CPUS_MAX];
extern struct ist_stack ist_stacks[CPUS_MAX][IST_COUNT];

void platform_start(uint32_t multiboot_info);
noreturn void hv_refuse(int status, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * The frame of every crash report: crash_begin() says what happened (COM1 and "error"),
 * crash_end() runs the crash hook and ends the machine. A crash during a crash ends at once.
 */
void crash_begin(const char *format, ...) PRINTF_LIKE(1, 2);
noreturn void crash_end(void);
void crash_hook_run(void);

void console_init(void);
void facts_init(void);
void traps_init(void);
/* The running CPU's own tables and its struct cpu. Context: once per CPU, after traps_init(). */
void traps_load(uint32_t cpu);
void boot_parse(struct boot_info *boot, const void *multiboot_info);
void acpi_find(struct boot_info *boot);

/*
 * Free RAM as a list of frame-aligned ranges, and a bump allocator on the largest range
 * below 4 GiB, for what must exist before the pools do. Never fails: it panics instead.
 */
enum { FREE_RANGES_MAX = 192 };

struct free_range {
	uint64_t start;
	uint64_t end;
};

void early_init(const struct boot_info *boot);
void *early_alloc(uint64_t bytes); /* zeroed, frame aligned */
const struct free_range *early_ranges(uint32_t *count);

void paging_init(const struct boot_info *boot);
/* The running CPU takes the tables that the boot CPU has made. */
void paging_join(void);
void memory_init(void);

#endif
