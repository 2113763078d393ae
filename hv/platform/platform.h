/* SPDX-License-Identifier: MIT */
/*
 * The bare machine under the reference hypervisor: boot information, console and
 * report channels, memory, traps, CPU facts. Everything the SVM part asks of the
 * machine is declared here; cpu.h adds the one-instruction inlines.
 *
 * All of host memory is identity-mapped: a host-physical address is the address to
 * use. Interrupts stay off (IF=0) for good; PIC, PIT, local APIC and COM1's interrupt
 * belong to the guest and are never touched. Page 0 is not mapped: NULL faults.
 *
 * Functions may be called by several CPUs at once unless "one CPU" is said; what they lock is
 * in spin.h.
 */
#ifndef HV_PLATFORM_H
#define HV_PLATFORM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "cpu.h"
#include "string.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define FRAME_BYTES KIB(4)
#define BLOCK_2M_BYTES MIB(2)
#define BLOCK_1G_BYTES GIB(1)

/* Host-physical address that no allocation returns. */
#define HOST_NONE UINT64_MAX

#define PRINTF_LIKE(format_index, first_index)                                                     \
	__attribute__((format(printf, format_index, first_index)))

/* ------------------------------------------------------------------ boot -- */

enum {
	BOOT_MODULES_MAX = 16,
	BOOT_MEMORY_MAX = 64,
	ACPI_TABLES_MAX = 64,
};

/* What the firmware says a range of physical addresses is (E820 numbers). */
enum boot_memory_kind {
	BOOT_MEMORY_RAM = 1,
	BOOT_MEMORY_RESERVED = 2,
	BOOT_MEMORY_ACPI = 3,
	BOOT_MEMORY_NVS = 4,
	BOOT_MEMORY_BAD = 5,
};

/* [start, end), in bytes. */
struct boot_memory {
	uint64_t start;
	uint64_t end;
	enum boot_memory_kind kind;
};

/* One multiboot module. Its memory is never handed out by the allocator. */
struct boot_module {
	const uint8_t *data; /* page aligned under QEMU */
	uint64_t bytes;
	const char *file; /* name as the command line gave it */
	const char *role; /* word after the file name: "kernel", "initrd", "append"; "" if none */
};

/* One firmware table; it stays intact where it is. */
struct acpi_table {
	const uint8_t *data; /* host address = the address the firmware chose */
	uint64_t bytes;
	char signature[9]; /* "RSD PTR ", "FACP", "FACS", ...; zero-terminated */
};

/*
 * All that the machine told at boot. Constant once hv_main() runs; strings are copies.
 * Tables in acpi[] come in the order found, the RSDP first; addresses may share pages.
 */
struct boot_info {
	const char *command_line; /* words after the image's name; "" if none */
	struct boot_module modules[BOOT_MODULES_MAX];
	uint32_t module_count;
	struct boot_memory memory[BOOT_MEMORY_MAX]; /* ascending, as the firmware reports it */
	uint32_t memory_count;
	struct acpi_table acpi[ACPI_TABLES_MAX];
	uint32_t acpi_count; /* 0: the firmware has no ACPI tables */
	uint64_t ram_end;    /* end of the highest RAM range, bytes */
};

/* The hypervisor's entry, supplied by the SVM part. Must not return: ends in hv_exit(). */
noreturn void hv_main(const struct boot_info *boot);

/* First module with @role, or NULL. */
const struct boot_module *boot_module_find(const struct boot_info *boot, const char *role);

/**
 * boot_word_next() - take the next blank-separated word off a command line.
 * @cursor: position in the line, moved past the word; start with boot->command_line.
 * @word:   receives the word, cut to @bytes - 1 characters and zero-terminated.
 * @bytes:  room at @word, at least 1.
 *
 * Return: length of the whole word (>= @bytes: it was cut), 0 at the end of the line.
 */
size_t boot_word_next(const char **cursor, char *word, size_t bytes);

/* Human name of @kind. */
const char *boot_memory_kind_name(enum boot_memory_kind kind);

/* --------------------------------------------------------------- console -- */

/*
 * Formats known to all functions below: %c %s %d %i %u %x %X %p %%, with flags '-' and
 * '0', a width, a precision (both also as '*'), and lengths hh h l ll z j t.
 */

/* One character to COM1, polled; '\n' becomes CR LF. A dead port costs a bounded wait. */
void console_putc(char c);
void console_printf(const char *format, ...) PRINTF_LIKE(1, 2);
void console_vprintf(const char *format, va_list args) PRINTF_LIKE(1, 0);

/*
 * Put COM1 into a state in which output works (8n1, no loopback, interrupts off), whatever
 * the guest left. Call once the guest has ended; panic and exception reports do it themselves.
 */
void console_reclaim(void);

/* Wait, bounded, until COM1 has sent everything. */
void console_flush(void);

/*
 * One record on the report channel (docs/run-interface.md), newline added; control
 * characters from arguments become blanks, so one call is always one line.
 * Example: report_line("value exits.npf %llu", count);
 */
void report_line(const char *format, ...) PRINTF_LIKE(1, 2);
void report_vline(const char *format, va_list args) PRINTF_LIKE(1, 0);

/* @bytes raw bytes to the trace channel. */
void trace_write(const void *data, size_t bytes);

/* Next byte from the control channel (COM2), or -1 when none waits or there is no COM2. */
int control_getc(void);

/**
 * format_text() - like snprintf.
 * Return: characters the whole text needs, without the final zero. The text at @text is
 * cut to @bytes - 1 characters and always terminated if @bytes > 0.
 */
size_t format_text(char *text, size_t bytes, const char *format, ...) PRINTF_LIKE(3, 4);
size_t format_vtext(char *text, size_t bytes, const char *format, va_list args) PRINTF_LIKE(3, 0);

/* ------------------------------------------------------------------- end -- */

/*
 * End the machine: "end STATUS" on the report channel (once, whoever comes first), COM1
 * flushed, @status (0, 1, 2) to the debug-exit port; should that be missing, hlt for good.
 */
noreturn void hv_exit(int status);

/*
 * A bug or a machine that cannot go on: the sentence goes to COM1 and as "error" to the
 * report channel, with a stack walk on COM1, then hv_exit(1). Safe anywhere, also nested.
 */
noreturn void hv_panic(const char *format, ...) PRINTF_LIKE(1, 2);

/* Broken contract inside the hypervisor; never for what a guest or a user can cause. */
#define HV_ASSERT(condition)                                                                       \
	((condition) ? (void)0                                                                     \
		     : hv_panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))

/* ---------------------------------------------------------------- memory -- */

/*
 * All RAM above 1 MiB that neither the image, a module nor an ACPI table occupies is
 * handed out by two pools: hypervisor frames (page tables, VMCBs, own structures) and guest
 * frames, scattered on purpose. Both grow out of one store of shuffled 2M blocks, and a
 * pool that finds the store empty takes single frames from the other, so an allocation of
 * one frame fails only when the machine's memory is used up. A block whose 512 frames have
 * all come back returns to the store. Everything is O(1), except where noted.
 *
 * Guest frames hold nothing of a former user: they are cleared when they are *freed*, off
 * the fault path. One never used before holds what the machine had at power-on (zero on an
 * emulator, apart from traces of the firmware's start).
 */

/**
 * frame_alloc() - one zeroed 4 KiB frame for the hypervisor.
 *
 * Served from a stock of cleared frames; when the stock is empty the frame is cleared now,
 * at the cost of 512 more instructions (see frames_prepare()).
 * Return: its address, or NULL when memory is used up.
 */
void *frame_alloc(void);

/* Give a frame from frame_alloc() back. No CPU, and no table, refers to it any more. */
void frame_free(void *frame);

/*
 * Clear frames ahead of time until the stock holds @count (bounded by memory). For idle
 * moments: before the guest starts, while it halts. Boot leaves 1024 in stock.
 */
void frames_prepare(uint64_t count);

/*
 * @count physically contiguous zeroed frames, aligned to 4 KiB, for tables the hardware
 * wants in one piece (MSRPM, IOPM). At most 512. For start-up: cuts up a whole 2M block and
 * cannot be freed. NULL when no block is left.
 */
void *frames_alloc_contiguous(uint32_t count);

/**
 * guest_frame_alloc() - one 4 KiB frame for the guest, in scattered order.
 *
 * Consecutive calls take turns over many random 2M blocks, so neighbours are a rare accident
 * (a few calls in a thousand); the order depends only on the seed and the calls.
 * Return: host-physical address, or HOST_NONE when memory is used up.
 */
uint64_t guest_frame_alloc(void);

/* Give a guest frame back; clears it. */
void guest_frame_free(uint64_t frame);

/*
 * One naturally aligned 2 MiB block, from a random place. HOST_NONE when no whole block
 * is left: fall back to 4K frames. Free clears it (262,144 stores).
 */
uint64_t guest_block_alloc_2m(void);
void guest_block_free_2m(uint64_t block);

/*
 * One naturally aligned 1 GiB block, if one is still untouched: ask before anything else
 * scatters over it. Costs some 20,000 instructions. Free it as 512 2M blocks or at once.
 */
uint64_t guest_block_alloc_1g(void);
void guest_block_free_1g(uint64_t block);

/*
 * Choose the scatter order; for use before the first guest allocation. Boot has called it
 * with a constant, so that runs repeat.
 */
void memory_seed(uint64_t seed);

/* All figures in 4K frames. */
struct memory_stats {
	uint64_t total;      /* under the allocator's control */
	uint64_t free;       /* can still be handed out, in whole blocks or single frames */
	uint64_t free_2m;    /* of these, in whole 2M blocks; divide by 512 for blocks */
	uint64_t stock;      /* hypervisor frames cleared ahead; not counted in free */
	uint64_t hypervisor; /* handed out by frame_alloc() and frames_alloc_contiguous() */
	uint64_t guest;      /* handed out by the guest functions */
};
void memory_get_stats(struct memory_stats *stats);

/*
 * Recompute everything the allocator believes from its raw lists and compare. For tests;
 * walks all of memory's bookkeeping. Return: NULL if consistent, else a sentence.
 */
const char *memory_check(void);

/* ----------------------------------------------------------------- traps -- */

/* Registers at an exception, in the order the entry code saves them. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rdx, rcx, rbx, rax;
	uint64_t vector, error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * MSR access that may fault. Return: true if it worked; false after #GP, *value then 0.
 * QEMU's TCG answers most unknown MSRs with 0 instead of #GP.
 */
bool rdmsr_safe(uint32_t msr, uint64_t *value);
bool wrmsr_safe(uint32_t msr, uint64_t value);

/* Read 8 bytes from anywhere. Return: false if that faults, *value then 0. */
bool read_u64_safe(const void *address, uint64_t *value);

/*
 * An NMI that arrived while the host ran has set a flag. Return: whether it was set; it is
 * clear afterwards. With GIF=0 an NMI waits for stgi; so does the NMI that an NMI intercept
 * reported: it stays pending and is taken by the host then, and sets the flag.
 */
bool nmi_take(void);

/*
 * Run a guest-side hook when the host dies: called once, from hv_panic() and from exception
 * reports, after the host's own registers were printed and before the end. For the SVM part
 * to print where the guest was. A fault inside the hook ends the machine at once.
 */
void crash_hook_set(void (*hook)(void));

/* Print raw stack words around @rsp and return addresses along @rbp, to COM1. */
void stack_dump(uint64_t rsp, uint64_t rbp);

/* ------------------------------------------------------------------ CPUs -- */

enum { CPUS_MAX = 8 };

/* One per CPU, reached through GS base. Only the named members are for others. */
struct cpu {
	struct cpu *self;          /* first: this_cpu() reads %gs:0 */
	uint32_t id;               /* 0 is the boot CPU */
	uint32_t nmi_pending;      /* set by the NMI handler; see nmi_take() */
	uint64_t nmi_count;        /* NMIs taken by the host since boot */
	uint64_t stack_top;        /* of the normal stack */
	uint64_t stack_bottom;     /* lowest usable address; the page below is not mapped */
	void *hv;                  /* belongs to the SVM part */
	struct cpu_tables *tables; /* GDT and TSS */
	uint32_t online;           /* has been started */
};

/*
 * The running CPU. GS base must be the host's: between #VMEXIT and the vmload of the host's
 * state (GS, FS, TR, LDTR are the guest's until then) keep GIF=0 and do not call this.
 * Exceptions are reported properly even then; NMIs wait for stgi.
 */
static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	__asm__("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

/* How many CPUs the firmware tells of, at most CPUS_MAX. Context: one CPU, before cpus_start(). */
uint32_t cpus_find(const struct boot_info *boot);

/* Local APIC of CPU @cpu, once cpus_find() has run. */
uint32_t cpus_apic_id(uint32_t cpu);

/* Start CPUs 1 to @count - 1: each calls hv_cpu_main(). Context: one CPU. */
void cpus_start(uint32_t count);

/* Where the other CPUs begin, supplied by the SVM part. */
noreturn void hv_cpu_main(uint32_t cpu);

/* Rest until an NMI comes; GIF is 0 before and after. See nmi_take(). */
void cpu_wait(void);

/* For good. */
noreturn void cpu_stop(void);

/* Another CPU writes a crash report: stop. */
bool crash_is_elsewhere(void);

/* What CPUID says, read once. Constant once hv_main() runs. */
struct cpu_facts {
	char vendor[13];
	char brand[49];
	uint32_t family, model, stepping;
	uint32_t max_leaf, max_extended_leaf;
	uint32_t physical_bits; /* MAXPHYADDR */
	uint32_t linear_bits;
	bool has_1g_pages;
	bool has_nx;
	bool has_svm;
	bool has_la57; /* the CPU could; see paging_levels() */
	bool has_smep, has_smap, has_pku, has_umip;
	bool has_xsave, has_pcid, has_invpcid, has_x2apic, has_rdtscp;
	/* CPUID 8000000A; all zero without SVM. */
	uint32_t svm_revision;
	uint32_t svm_asids;
	uint32_t svm_features; /* EDX, SVM_FEATURE_* */
};

#define SVM_FEATURE_NPT (1u << 0)
#define SVM_FEATURE_LBR (1u << 1)
#define SVM_FEATURE_NRIP_SAVE (1u << 3)
#define SVM_FEATURE_VMCB_CLEAN (1u << 5)
#define SVM_FEATURE_FLUSH_BY_ASID (1u << 6)
#define SVM_FEATURE_DECODE_ASSISTS (1u << 7)
#define SVM_FEATURE_PAUSE_FILTER (1u << 10)
#define SVM_FEATURE_VGIF (1u << 16)
#define SVM_FEATURE_SVME_ADDR_CHECK (1u << 28)

const struct cpu_facts *cpu_facts(void);

/* ---------------------------------------------------------------- paging -- */

/* Levels of the host's own page tables: 4, or 5 after paging_use_5_levels(). */
uint32_t paging_levels(void);

/*
 * Switch the host to 5-level paging (CR4.LA57), which makes nested tables 5 levels deep,
 * too. Return: false, nothing changed, if the CPU lacks LA57. Context: start-up, one CPU.
 */
bool paging_use_5_levels(void);

#endif
