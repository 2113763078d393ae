/* SPDX-License-Identifier: MIT */
/*
 * The order of start-up, and every way to the end: refusal, panic, exit.
 */
#include "apic.h"
#include "internal.h"

static struct boot_info boot_info;
static bool end_reported;

/* The CPU that crashed first, by local APIC, plus 1: its report does not use GS. 0: none. */
static uint32_t crashing;

static void vsay_error(const char *format, va_list args)
{
	char text[400];

	format_vtext(text, sizeof(text), format, args);
	console_printf("vmmu-hv: %s\n", text);
	report_line("error %s", text);
}

noreturn void cpu_stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

noreturn void hv_exit(int status)
{
	if (!end_reported) {
		end_reported = true;
		report_line("end %d", status);
	}
	console_flush();
	io_out8(PORT_DEBUG_EXIT, (uint8_t)status);
	cpu_stop();
}

noreturn void hv_refuse(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay_error(format, args);
	va_end(args);
	hv_exit(status);
}

bool crash_is_elsewhere(void)
{
	uint32_t who = __atomic_load_n(&crashing, __ATOMIC_ACQUIRE);

	return who != 0 && who != (apic_read(APIC_ID) >> 24) + 1;
}

/* The others are to be quiet: they stop when they take the NMI. */
static void vcrash_begin(const char *format, va_list args)
{
	uint32_t none = 0;
	uint32_t self = (apic_read(APIC_ID) >> 24) + 1;

	if (!__atomic_compare_exchange_n(&crashing, &none, self, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST)) {
		if (none != self)
			cpu_stop();
		report_line("error the crash report itself crashed");
		hv_exit(1);
	}
	apic_write(APIC_ICR, DELIVERY_NMI << 8 | DELIVERY_ASSERT | SHORTHAND_OTHERS << 18);
	console_reclaim();
	console_putc('\n');
	vsay_error(format, args);
}

void crash_begin(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vcrash_begin(format, args);
	va_end(args);
}

noreturn void crash_end(void)
{
	crash_hook_run();
	hv_exit(1);
}

noreturn void hv_panic(const char *format, ...)
{
	uint64_t rbp = (uintptr_t)__builtin_frame_address(0);
	va_list args;

	va_start(args, format);
	vcrash_begin(format, args);
	va_end(args);
	stack_dump(rbp, rbp);
	crash_end();
}

/* What neither platform nor SVM part can do without. */
static void check_cpu(void)
{
	const struct cpu_facts *facts = cpu_facts();

	if (!facts->has_nx)
		hv_refuse(1, "this CPU (%s) has no NX; give QEMU -cpu EPYC,+svm,+npt",
			  facts->brand);
	if (!facts->has_svm)
		hv_refuse(1, "this CPU (%s) has no SVM; give QEMU -cpu EPYC,+svm,+npt",
			  facts->brand);
	if ((facts->svm_features & SVM_FEATURE_NPT) == 0)
		hv_refuse(1, "this CPU (%s) has no nested paging; give QEMU -cpu EPYC,+svm,+npt",
			  facts->brand);
	if ((msr_read(MSR_VM_CR) & VM_CR_SVMDIS) != 0)
		hv_refuse(1, "SVM is switched off by the firmware (VM_CR.SVMDIS)");
}

void platform_start(uint32_t multiboot_info)
{
	console_init();
	traps_init();
	facts_init();
	check_cpu();
	boot_parse(&boot_info, (const void *)(uintptr_t)multiboot_info);
	acpi_find(&boot_info);
	early_init(&boot_info);
	paging_init(&boot_info);
	memory_init();
	hv_main(&boot_info);
}
