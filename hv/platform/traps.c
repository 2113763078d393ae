/* SPDX-License-Identifier: MIT */
/*
 * GDT, TSS, IDT, and what happens when the host itself faults. Only three traps ever
 * return: an NMI (counted), and #GP/#PF at an instruction with a fix-up. All others end
 * the machine with a report. Double fault, NMI, machine check and page fault have stacks of
 * their own, so that a stack overflow is reported like any other fault.
 *
 * The report path does not use GS: it works while a guest's GS base is loaded.
 */
#include "internal.h"

enum vector {
	VECTOR_NMI = 2,
	VECTOR_DOUBLE_FAULT = 8,
	VECTOR_GENERAL_PROTECTION = 13,
	VECTOR_PAGE_FAULT = 14,
	VECTOR_MACHINE_CHECK = 18,
	VECTOR_COUNT = 256,
	STUB_BYTES = 16,
};

struct idt_gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};
_Static_assert(sizeof(struct idt_gate) == 16, "an IDT gate is two words in long mode");

struct tss {
	uint32_t reserved0;
	uint32_t rsp[6]; /* RSP0-2, low half first; unused, everything runs in ring 0 */
	uint32_t reserved1[2];
	uint32_t ist[2 * 7]; /* IST1-7, low half first */
	uint32_t reserved2[2];
	uint16_t reserved3;
	uint16_t io_map;
};
_Static_assert(sizeof(struct tss) == 104, "hardware reads the TSS");

struct cpu_tables {
	uint64_t gdt[6];
	struct tss tss;
};

struct table_pointer {
	uint16_t limit;
	uint16_t base[4];
};
_Static_assert(sizeof(struct table_pointer) == 10, "operand of LGDT and LIDT");

struct fixup {
	uint64_t from;
	uint64_t to;
};

extern const uint8_t trap_stubs[];
extern const struct fixup fixup_table_start[], fixup_table_end[];

extern const uint8_t cpu_wait_halt[], cpu_wait_end[];

void cpu_load_tables(const void *gdt_pointer, const void *idt_pointer);
void trap_handle(struct trap_frame *frame);

struct boot_stack boot_stack[CPUS_MAX];
struct ist_stack ist_stacks[CPUS_MAX][IST_COUNT];
struct cpu cpus[CPUS_MAX];

static struct cpu_tables cpu_tables[CPUS_MAX];
static struct idt_gate idt[VECTOR_COUNT] __attribute__((aligned(16)));
static void (*crash_hook)(void);

static const char *const vector_names[32] = {
	[0] = "divide error",
	[1] = "debug exception",
	[2] = "NMI",
	[3] = "breakpoint",
	[4] = "overflow",
	[5] = "bound range exceeded",
	[6] = "invalid opcode",
	[7] = "device not available",
	[8] = "double fault",
	[10] = "invalid TSS",
	[11] = "segment not present",
	[12] = "stack fault",
	[13] = "general protection fault",
	[14] = "page fault",
	[16] = "x87 exception",
	[17] = "alignment check",
	[18] = "machine check",
	[19] = "SIMD exception",
	[20] = "virtualization exception",
	[21] = "control protection exception",
	[28] = "hypervisor injection exception",
	[29] = "VMM communication exception",
	[30] = "security exception",
};

static const char *vector_name(uint64_t vector)
{
	if (vector >= 32)
		return "interrupt, although interrupts are off";
	return vector_names[vector] != NULL ? vector_names[vector] : "reserved exception";
}

/* --- tables --- */

static struct table_pointer table_pointer(const void *base, size_t bytes)
{
	uint64_t address = (uintptr_t)base;

	return (struct table_pointer){
		.limit = (uint16_t)(bytes - 1),
		.base = {(uint16_t)address, (uint16_t)(address >> 16), (uint16_t)(address >> 32),
			 (uint16_t)(address >> 48)},
	};
}

static void gdt_fill(struct cpu_tables *tables)
{
	uint64_t base = (uintptr_t)&tables->tss;
	uint64_t limit = sizeof(tables->tss) - 1;

	tables->gdt[SELECTOR_CODE64 / 8] = UINT64_C(0x00af9b000000ffff);
	tables->gdt[SELECTOR_DATA / 8] = UINT64_C(0x00cf93000000ffff);
	tables->gdt[SELECTOR_CODE32 / 8] = UINT64_C(0x00cf9b000000ffff);
	tables->gdt[SELECTOR_TSS / 8] =
		limit | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	tables->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
}

static void tss_fill(struct tss *tss, const struct ist_stack *stacks)
{
	for (size_t i = 0; i < IST_COUNT; i++) {
		uint64_t top = (uintptr_t)(stacks[i].room + IST_STACK_BYTES);

		tss->ist[2 * i] = (uint32_t)top;
		tss->ist[2 * i + 1] = (uint32_t)(top >> 32);
	}
	tss->io_map = sizeof(*tss);
}

static enum ist vector_ist(uint32_t vector)
{
	switch (vector) {
	case VECTOR_DOUBLE_FAULT:
		return IST_DOUBLE_FAULT;
	case VECTOR_NMI:
		return IST_NMI;
	case VECTOR_MACHINE_CHECK:
		return IST_MACHINE_CHECK;
	case VECTOR_PAGE_FAULT:
		return IST_PAGE_FAULT;
	default:
		return IST_NONE;
	}
}

static void idt_fill(void)
{
	for (uint32_t vector = 0; vector < VECTOR_COUNT; vector++) {
		uint64_t stub = (uintptr_t)trap_stubs + (uint64_t)vector * STUB_BYTES;

		idt[vector] = (struct idt_gate){
			.offset_low = (uint16_t)stub,
			.offset_middle = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
			.selector = SELECTOR_CODE64,
			.ist = (uint8_t)vector_ist(vector),
			.type = 0x8e, /* present interrupt gate, ring 0 */
		};
	}
}

void traps_load(uint32_t number)
{
	struct cpu *cpu = &cpus[number];
	struct cpu_tables *tables = &cpu_tables[number];
	struct table_pointer gdt_pointer = table_pointer(tables->gdt, sizeof(tables->gdt));
	struct table_pointer idt_pointer = table_pointer(idt, sizeof(idt));

	gdt_fill(tables);
	tss_fill(&tables->tss, ist_stacks[number]);
	cpu_load_tables(&gdt_pointer, &idt_pointer);

	cpu->self = cpu;
	cpu->id = number;
	cpu->stack_bottom = (uintptr_t)boot_stack[number].room;
	cpu->stack_top = (uintptr_t)boot_stack[number].room + STACK_BYTES;
	cpu->tables = tables;
	msr_write(MSR_FS_BASE, 0);
	msr_write(MSR_GS_BASE, (uintptr_t)cpu);
	cr4_write(cr4_read() | CR4_MCE); /* a machine check is reported, not a shutdown */
}

void traps_init(void)
{
	idt_fill();
	traps_load(0);
}

/* --- reports --- */

static void dump_words(uint64_t rsp)
{
	for (uint64_t row = 0; row < 12; row++) {
		uint64_t address = rsp + row * 32;
		uint64_t word;

		if (!read_u64_safe((const void *)(uintptr_t)address, &word))
			break;
		console_printf("  %016llx:", (unsigned long long)address);
		for (uint64_t i = 0; i < 4; i++) {
			if (!read_u64_safe((const void *)(uintptr_t)(address + i * 8), &word))
				break;
			console_printf(" %016llx", (unsigned long long)word);
		}
		console_putc('\n');
	}
}

static bool in_text(uint64_t address)
{
	return address >= (uintptr_t)image_start && address < (uintptr_t)image_text_end;
}

/* Return addresses along the chain of saved frame pointers; each frame lies above the last. */
static void dump_calls(uint64_t rbp)
{
	for (uint32_t depth = 0; depth < 32; depth++) {
		uint64_t next;
		uint64_t ret;

		if (rbp % 8 != 0 || !read_u64_safe((const void *)(uintptr_t)rbp, &next) ||
		    !read_u64_safe((const void *)(uintptr_t)(rbp + 8), &ret) || !in_text(ret))
			return;
		console_printf("  called from 0x%llx\n", (unsigned long long)ret);
		if (next <= rbp)
			return;
		rbp = next;
	}
}

void stack_dump(uint64_t rsp, uint64_t rbp)
{
	uint8_t ist = idt[VECTOR_PAGE_FAULT].ist;

	/* read_u64_safe() may fault while a page fault is being reported from its stack. */
	idt[VECTOR_PAGE_FAULT].ist = IST_NONE;
	console_printf("calls:\n");
	dump_calls(rbp);
	console_printf("stack:\n");
	dump_words(rsp & ~UINT64_C(7));
	idt[VECTOR_PAGE_FAULT].ist = ist;
}

static void dump_registers(const struct trap_frame *frame, uint64_t cr2)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"rip", frame->rip}, {"rsp", frame->rsp},
		{"rbp", frame->rbp}, {"rflags", frame->rflags},
		{"rax", frame->rax}, {"rbx", frame->rbx},
		{"rcx", frame->rcx}, {"rdx", frame->rdx},
		{"rsi", frame->rsi}, {"rdi", frame->rdi},
		{"r8", frame->r8},   {"r9", frame->r9},
		{"r10", frame->r10}, {"r11", frame->r11},
		{"r12", frame->r12}, {"r13", frame->r13},
		{"r14", frame->r14}, {"r15", frame->r15},
		{"cs", frame->cs},   {"ss", frame->ss},
		{"cr0", cr0_read()}, {"cr2", cr2},
		{"cr3", cr3_read()}, {"cr4", cr4_read()},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		console_printf("%6s %016llx%s", rows[i].name, (unsigned long long)rows[i].value,
			       i % 3 == 2 ? "\n" : " ");
}

static const char *page_fault_place(uint64_t cr2)
{
	if (cr2 < FRAME_BYTES)
		return " (a null pointer)";
	for (size_t cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (cr2 - (uintptr_t)boot_stack[cpu].guard < GUARD_BYTES)
			return " (the stack has overflowed)";
		for (size_t i = 0; i < IST_COUNT; i++) {
			if (cr2 - (uintptr_t)ist_stacks[cpu][i].guard < GUARD_BYTES)
				return " (an exception stack has overflowed)";
		}
	}
	if (cr2 >= (uintptr_t)image_start && cr2 < (uintptr_t)image_rodata_end)
		return " (the image is not writable)";
	return "";
}

static void describe_page_fault(const struct trap_frame *frame, uint64_t cr2, char *text,
				size_t bytes)
{
	uint64_t error = frame->error_code;

	format_text(text, bytes, ": %s of 0x%llx, %s%s%s",
		    (error & 16) != 0  ? "instruction fetch"
		    : (error & 2) != 0 ? "write"
				       : "read",
		    (unsigned long long)cr2, (error & 1) != 0 ? "not permitted" : "not mapped",
		    (error & 8) != 0 ? ", reserved bit set" : "", page_fault_place(cr2));
}

void crash_hook_set(void (*hook)(void))
{
	crash_hook = hook;
}

void crash_hook_run(void)
{
	void (*hook)(void) = crash_hook;

	crash_hook = NULL;
	if (hook != NULL)
		hook();
}

static noreturn void trap_fatal(const struct trap_frame *frame)
{
	uint64_t cr2 = cr2_read();
	static char detail[160]; /* only the first crash writes it */

	idt[VECTOR_PAGE_FAULT].ist = IST_NONE;
	if (frame->vector == VECTOR_PAGE_FAULT)
		describe_page_fault(frame, cr2, detail, sizeof(detail));
	crash_begin("the hypervisor faulted: %s (vector %llu, error code 0x%llx) at 0x%llx%s",
		    vector_name(frame->vector), (unsigned long long)frame->vector,
		    (unsigned long long)frame->error_code, (unsigned long long)frame->rip, detail);
	dump_registers(frame, cr2);
	stack_dump(frame->rsp, frame->rbp);
	crash_end();
}

static bool trap_fix(struct trap_frame *frame)
{
	if (frame->vector != VECTOR_GENERAL_PROTECTION && frame->vector != VECTOR_PAGE_FAULT)
		return false;
	for (const struct fixup *fix = fixup_table_start; fix < fixup_table_end; fix++) {
		if (fix->from == frame->rip) {
			frame->rip = fix->to;
			return true;
		}
	}
	return false;
}

void trap_handle(struct trap_frame *frame)
{
	if (frame->vector == VECTOR_NMI) {
		struct cpu *cpu = this_cpu();

		cpu->nmi_count++;
		cpu->nmi_pending = 1;
		if (crash_is_elsewhere())
			cpu_stop();
		/* It came before the HLT that it is to end. */
		if (frame->rip == (uintptr_t)cpu_wait_halt)
			frame->rip = (uintptr_t)cpu_wait_end;
		return;
	}
	if (!trap_fix(frame))
		trap_fatal(frame);
}

bool nmi_take(void)
{
	uint32_t pending = 0;

	/* One instruction: an NMI cannot slip in between reading and clearing. */
	__asm__ volatile("xchgl %0, %1" : "+r"(pending), "+m"(this_cpu()->nmi_pending));
	return pending != 0;
}
