/* SPDX-License-Identifier: MIT */
/*
 * A guest in long mode with several CPUs: starting them, interrupts and NMIs between them, locked
 * instructions, an INIT in full run, page tables that one changes and another uses. Words on the
 * command line: `cpus=N`; `remote=1` for what only shadow paging promises; `withdraw=1` to exit
 * often while the others touch memory; `end=` halt, stall, crash or reset. Ends through the
 * debug-exit port with 0, or with the number of the first check that failed.
 */
#include <stdbool.h>
#include <stdint.h>

enum { VECTORS = 256, NMI = 2, IPI = 0x40, CPUS_MAX = 8, TRAMPOLINE = 0x8000 };
enum { LOCKED = 3000, TABLE_LOCKED = 100, CHANGES = 60 };
enum { TOUCHED_PAGES = 512, WITHDRAW_EXITS = 60000 };

#define LOCAL_APIC UINT64_C(0xfee00000)
#define GS_BASE 0xc0000101u
#define GIB UINT64_C(0x40000000)
#define MIB2 UINT64_C(0x200000)
enum {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_LOGICAL_ID = 0xd0,
	APIC_SPURIOUS = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
};
enum {
	TO_FIXED = 0x4000 | IPI,
	TO_NMI = 0x4400,
	TO_INIT = 0x4500,
	TO_STARTUP = 0x4600 | TRAMPOLINE >> 12,
	LOGICAL = 0x800,
	OTHERS = 3 << 18,
};

struct gate {
	uint16_t low, selector, type;
	uint16_t middle;
	uint32_t high, reserved;
};

struct pointer {
	uint16_t limit;
	uint16_t base[4];
};

/* What a CPU says; a line of its own. */
struct cpu {
	volatile uint64_t starts, nmis, interrupts, phase, value;
	struct cpu *self; /* GS leads here */
	uint64_t unused[2];
};

void test_main(const uint32_t *multiboot); /* entry.S calls it */
void ap_main(unsigned number);

extern const char trap_nmi[], trap_ipi[], ap_code[], ap_code_end[], ap_fields[];
extern struct cpu cpu_of[CPUS_MAX];
struct cpu cpu_of[CPUS_MAX];
extern uint32_t ap_ticket;
uint32_t ap_ticket;
extern uint8_t ap_stacks[CPUS_MAX][8192];
uint8_t ap_stacks[CPUS_MAX][8192];

static struct gate idt[VECTORS];
static unsigned check_number;
static unsigned cpu_count;
static volatile uint64_t phase;
static uint64_t sum, guarded;
static uint32_t guard;
static volatile uint64_t changes, stale;
static volatile bool touched;
static bool remote, withdraw;
static const char *ending = "";

/* Pages whose first words tell them apart, and tables that lead to one or the other. */
static uint64_t data[2][MIB2 / 8] __attribute__((aligned(0x200000)));
static uint64_t touched_pages[TOUCHED_PAGES * 512] __attribute__((aligned(4096)));
static volatile uint64_t directory[2][512] __attribute__((aligned(4096)));

__asm__(".text\n"
	"trap_nmi: lock incq %gs:8\n iretq\n"
	"trap_ipi: lock incq %gs:16\n pushq %rax\n movl $0xfee000b0, %eax\n"
	" movl $0, (%rax)\n popq %rax\n iretq\n");

/* From real mode to ap_main(), with a stack by ticket. Copied to TRAMPOLINE. */
__asm__(".section .rodata\n"
	".code16\n"
	"ap_code: cli\n"
	" movw %cs, %ax\n movw %ax, %ds\n"
	" lgdtl 2f - ap_code\n"
	" movl %cr0, %eax\n andl $~0x60000000, %eax\n movl %eax, %cr0\n" /* still real mode */
	" movl %cr0, %eax\n orb $1, %al\n movl %eax, %cr0\n"
	" ljmpl $24, $0x8000 + 1f - ap_code\n"
	".code32\n"
	"1: movw $16, %ax\n movw %ax, %ds\n movw %ax, %es\n movw %ax, %ss\n"
	" movl $0x20, %eax\n movl %eax, %cr4\n"
	" movl 0x8000 + ap_fields - ap_code, %eax\n movl %eax, %cr3\n"
	" movl $0xc0000080, %ecx\n rdmsr\n orl $0x100, %eax\n wrmsr\n"
	" movl $0x80000011, %eax\n movl %eax, %cr0\n"
	" ljmpl $8, $ap_long\n"
	".balign 8\n"
	"2: .word 31\n .long 0x8000 + 3f - ap_code\n"
	".balign 8\n"
	"3: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff\n"
	"ap_fields: .quad 0\n"
	"ap_code_end:\n"
	".text\n.code64\n"
	"ap_long: movl $1, %edi\n lock xaddl %edi, ap_ticket\n"
	" movl %edi, %eax\n shll $13, %eax\n leaq ap_stacks + 8192(%rax), %rsp\n"
	" xorl %ebp, %ebp\n call ap_main\n ud2\n");

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

static void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static volatile uint32_t *apic(uint32_t offset)
{
	return (volatile uint32_t *)(LOCAL_APIC + offset);
}

static void send(uint32_t to, uint32_t command)
{
	*apic(APIC_ICR_HIGH) = to << 24;
	*apic(APIC_ICR) = command;
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

static void idt_load(void)
{
	uint64_t base = (uintptr_t)idt;
	struct pointer pointer = {
		.limit = sizeof(idt) - 1,
		.base = {(uint16_t)base, (uint16_t)(base >> 16), (uint16_t)(base >> 32)},
	};

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

static struct cpu *me(void)
{
	struct cpu *cpu;

	__asm__ volatile("movq %%gs:40, %0" : "=r"(cpu));
	return cpu;
}

static unsigned self(void)
{
	return *apic(APIC_ID) >> 24;
}

/* Interrupts and NMIs count for this CPU from here on. */
static void cpu_begin(void)
{
	unsigned number = self();

	cpu_of[number].self = &cpu_of[number];
	__asm__ volatile("wrmsr"
			 :
			 : "c"(GS_BASE), "a"((uint32_t)(uintptr_t)&cpu_of[number]), "d"(0));
	idt_load();
	*apic(APIC_LOGICAL_ID) = 1u << (24 + number);
	*apic(APIC_SPURIOUS) = 0x1ff;
}

/* --- what all CPUs do in a phase --- */

static void add_locked(void)
{
	for (unsigned i = 0; i < LOCKED; i++) {
		__asm__ volatile("lock incq %0" : "+m"(sum));
		while (__atomic_exchange_n(&guard, 1, __ATOMIC_SEQ_CST) != 0)
			pause();
		guarded++;
		__atomic_store_n(&guard, 0, __ATOMIC_SEQ_CST);
	}
}

static void add_16_bytes(uint64_t *at)
{
	uint64_t low = at[0], high = at[1];
	bool done;

	do {
		__asm__ volatile("lock cmpxchg16b %1"
				 : "=@ccz"(done), "+m"(*(unsigned __int128 *)(void *)at), "+a"(low),
				   "+d"(high)
				 : "b"(low + 2), "c"(high + 2)
				 : "memory");
	} while (!done);
}

/* In a table that is in use, entries that stay absent: their writes may have to be emulated, and
 * to go on being so there must be reads of what the table maps in between. */
static void add_in_table(void)
{
	uint64_t *entry = (uint64_t *)(uintptr_t)&directory[0][256];

	for (unsigned i = 0; i < TABLE_LOCKED; i++) {
		__asm__ volatile("lock incb 1(%0)" : : "r"(entry) : "memory");
		__asm__ volatile("lock incw 2(%0)" : : "r"(entry) : "memory");
		__asm__ volatile("lock addl $2, 8(%0)" : : "r"(entry) : "memory");
		__asm__ volatile("lock addq $2, 16(%0)" : : "r"(entry) : "memory");
		add_16_bytes(entry + 4);
		(void)*(const volatile uint64_t *)(uintptr_t)(5 * GIB);
	}
}

static uint64_t flush_and_read(void)
{
	const volatile uint64_t *at = (const volatile uint64_t *)(uintptr_t)(5 * GIB);

	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
	return *at;
}

/*
 * Interrupts off, no exits: only the hypervisor can take the old translation away, and it has done
 * so when the first CPU goes on.
 */
static void see_changes(void)
{
	const volatile uint64_t *at = (const volatile uint64_t *)(uintptr_t)(5 * GIB);

	for (uint64_t turn = 1; turn <= CHANGES; turn++) {
		while (changes != turn) {
			(void)*at;
			pause();
		}
		if (*at != data[turn % 2][0])
			stale++;
		me()->value = turn;
	}
}

/* The same where the hypervisor takes pages away that come back with the same contents. */
static void touch_pages(void)
{
	while (!touched)
		for (unsigned i = 0; i < TOUCHED_PAGES; i++)
			(void)((const volatile uint64_t *)touched_pages)[i * 512];
}

static void work(uint64_t number)
{
	switch (number) {
	case 2: /* three interrupts */
		__asm__ volatile("sti");
		while (me()->interrupts < 3)
			pause();
		__asm__ volatile("cli");
		break;
	case 3: /* three NMIs, interrupts off */
		while (me()->nmis < 3)
			pause();
		break;
	case 4: /* an NMI ends HLT */
		me()->value = 4;
		__asm__ volatile("cli; hlt");
		break;
	case 5: /* old page */
	case 8: /* new page */
	case 9: /* old page */
		me()->value = flush_and_read();
		break;
	case 6:
		add_locked();
		break;
	case 7:
		add_in_table();
		break;
	case 10:
		if (remote)
			see_changes();
		break;
	case 11:
		if (withdraw)
			touch_pages();
		break;
	default:
		break;
	}
}

static bool is_ending(const char *word)
{
	for (unsigned i = 0;; i++) {
		if (ending[i] != word[i])
			return word[i] == '\0' && (ending[i] == ' ' || ending[i] == '\0');
		if (word[i] == '\0')
			return true;
	}
}

/* The end, for all CPUs but the first. */
static void end(unsigned number)
{
	if (is_ending("crash") && number == 1)
		__asm__ volatile("lidt %0\n ud2" : : "m"((struct pointer){0}));
	if (is_ending("halt"))
		__asm__ volatile("cli; hlt");
	for (;;)
		__asm__ volatile(""); /* no PAUSE: only the hypervisor ends this */
}

void ap_main(unsigned number)
{
	uint64_t done;

	(void)number;
	cpu_begin();
	done = me()->phase;
	me()->starts++;
	for (;;) {
		if (phase == done) {
			pause();
			continue;
		}
		done = phase;
		if (done == 12)
			end(self());
		work(done);
		me()->phase = done;
	}
}

/* --- the first CPU --- */

static void wait_phase(uint64_t number)
{
	for (unsigned i = 1; i < cpu_count; i++) {
		while (cpu_of[i].phase != number)
			pause();
	}
}

static void start_all(void)
{
	uint64_t cr3;
	uint64_t *fields = (uint64_t *)(uintptr_t)(TRAMPOLINE + (ap_fields - ap_code));
	uint8_t *to = (uint8_t *)(uintptr_t)TRAMPOLINE;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	for (long i = 0; i < ap_code_end - ap_code; i++)
		to[i] = (uint8_t)ap_code[i];
	*fields = cr3;
	send(0, OTHERS | TO_INIT);
	send(0, OTHERS | TO_STARTUP);
	for (unsigned i = 1; i < cpu_count; i++) {
		while (cpu_of[i].starts == 0)
			pause();
	}
	check(ap_ticket == cpu_count - 1);
	send(0, OTHERS | TO_STARTUP); /* nobody waits for it any more */
}

/* By address, by logical address, to all others: each as soon as the one before has come. */
static void send_three(uint32_t command, const volatile uint64_t *first)
{
	const uint64_t step = sizeof(struct cpu) / sizeof(*first);
	uint32_t mask = 0;

	for (unsigned i = 1; i < cpu_count; i++) {
		send(i, command);
		mask |= 1u << i;
		while (first[i * step] < 1)
			pause();
	}
	send(mask, command | LOGICAL);
	for (unsigned i = 1; i < cpu_count; i++)
		while (first[i * step] < 2)
			pause();
	send(0, command | OTHERS);
	wait_phase(phase);
	for (unsigned i = 0; i < cpu_count; i++)
		check(first[i * step] == (i == 0 ? 0 : 3));
}

static void check_halt(void)
{
	phase = 4;
	for (unsigned i = 1; i < cpu_count; i++) {
		while (cpu_of[i].value != 4)
			pause();
		/* The first may come just before the HLT. */
		while (cpu_of[i].phase != 4) {
			send(i, TO_NMI);
			for (unsigned turn = 0; turn < 1000; turn++)
				pause();
		}
	}
}

static void check_locked(void)
{
	const uint8_t *entry = (const uint8_t *)(uintptr_t)&directory[0][256];
	const uint64_t *words = (const uint64_t *)(const void *)entry;
	uint64_t times = (uint64_t)cpu_count * TABLE_LOCKED;

	phase = 6;
	add_locked();
	wait_phase(6);
	check(sum == (uint64_t)cpu_count * LOCKED);
	check(guarded == (uint64_t)cpu_count * LOCKED);
	phase = 7;
	add_in_table();
	wait_phase(7);
	check(entry[1] == (uint8_t)times);
	check((uint16_t)(entry[2] | entry[3] << 8) == (uint16_t)times);
	check(words[1] == 2 * times && words[2] == 2 * times);
	check(words[4] == 2 * times && words[5] == 2 * times);
}

static void check_values(uint64_t number, uint64_t value)
{
	phase = number;
	wait_phase(number);
	for (unsigned i = 1; i < cpu_count; i++)
		check(cpu_of[i].value == value);
}

/* 5 GiB leads to the first or to the second page. */
static volatile uint64_t *tables_make(void)
{
	uint64_t cr3;
	volatile uint64_t *pdpt;

	data[0][0] = 7;
	data[1][0] = 1;
	for (unsigned i = 0; i < 2; i++)
		directory[i][0] = (uintptr_t)data[i] | 0x83;
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	pdpt = (volatile uint64_t *)(uintptr_t)(*(uint64_t *)(uintptr_t)cr3 & ~UINT64_C(0xfff));
	pdpt[5] = (uintptr_t)directory[0] | 3;
	return pdpt;
}

static void check_tables(volatile uint64_t *pdpt)
{
	directory[0][0] = (uintptr_t)data[1] | 0x83;
	check_values(8, 1);
	directory[0][0] = (uintptr_t)data[0] | 0x83;
	check_values(9, 7);
	phase = 10;
	directory[1][0] = (uintptr_t)data[1] | 0x83;
	for (uint64_t turn = 1; remote && turn <= CHANGES; turn++) {
		pdpt[5] = (uintptr_t)directory[turn % 2] | 3;
		changes = turn;
		for (unsigned i = 1; i < cpu_count; i++) {
			while (cpu_of[i].value != turn)
				pause();
		}
	}
	wait_phase(10);
	check(stale == 0);
	phase = 11;
	for (unsigned i = 0; withdraw && i < WITHDRAW_EXITS; i++)
		__asm__ volatile("cpuid" : : "a"(0), "c"(0) : "rbx", "rdx");
	touched = true;
	wait_phase(11);
}

/* INIT takes a CPU out of whatever it does; STARTUP lets it begin anew. */
static void check_init(void)
{
	uint64_t starts = cpu_of[1].starts;

	send(1, TO_INIT);
	for (unsigned turn = 0; turn < 1000; turn++)
		pause();
	check(cpu_of[1].starts == starts);
	/* Its new life has a stack of its own: the old one may have become any CPU's. */
	send(1, TO_STARTUP);
	while (cpu_of[1].starts == starts)
		pause();
	check(cpu_of[1].starts == starts + 1);
	check(ap_ticket == cpu_count);
}

static const char *find_word(const char *line, const char *word)
{
	for (; *line != '\0'; line++) {
		unsigned i = 0;

		while (word[i] != '\0' && line[i] == word[i])
			i++;
		if (word[i] == '\0')
			return line + i;
	}
	return "";
}

void test_main(const uint32_t *multiboot)
{
	const char *line = (const char *)(uintptr_t)multiboot[4];
	volatile uint64_t *pdpt;

	remote = *find_word(line, "remote=") != '\0';
	withdraw = *find_word(line, "withdraw=") != '\0';
	ending = find_word(line, "end=");
	cpu_count = (unsigned)*find_word(line, "cpus=") - '0';
	check(cpu_count > 1 && cpu_count <= CPUS_MAX && self() == 0);
	gate_set(NMI, trap_nmi);
	gate_set(IPI, trap_ipi);
	pdpt = tables_make();
	cpu_begin();
	start_all();
	phase = 2;
	send_three(TO_FIXED, &cpu_of[0].interrupts);
	phase = 3;
	send_three(TO_NMI, &cpu_of[0].nmis);
	check_halt();
	check_values(5, 7);
	check_locked();
	check_tables(pdpt);
	check_init();
	phase = 12;
	if (is_ending("reset"))
		send(0, TO_INIT); /* to itself */
	if (is_ending("halt"))
		__asm__ volatile("cli; hlt");
	if (is_ending("stall") || is_ending("crash"))
		for (;;)
			__asm__ volatile("");
	out8(0xf4, 0);
}
