/* SPDX-License-Identifier: MIT */
/*
 * The machine's other CPUs: which there are (the MADT says it), and how each is started: INIT and
 * STARTUP at a page below 1 MiB, from there by the early page tables into long mode, ap_enter(),
 * and into hv_cpu_main(), from which it does not return. One is started at a time.
 */
#include "apic.h"
#include "internal.h"

enum {
	MADT_HEADER_BYTES = 44,
	MADT_LOCAL_APIC = 0,
	MADT_LOCAL_APIC_BYTES = 8,
	MADT_ENABLED = 1,
	/* Any page of real memory below 640 KiB; the firmware is done with this one. */
	TRAMPOLINE = 0x8000,
};

#define START_TICKS UINT64_C(20000000000)
#define STARTUP_TICKS UINT64_C(20000000) /* until the next STARTUP */
#define INIT_TICKS UINT64_C(1000000)

extern const uint8_t ap_trampoline[], ap_trampoline_end[];
noreturn void ap_enter(void);

/* For ap_long_mode in entry.S: the stack of the CPU that starts now. */
uint64_t ap_stack_top;

static uint32_t ap_starting; /* its number */
static uint32_t apic_ids[CPUS_MAX] = {0};
static uint32_t cpus_found;

void apic_send(uint32_t apic_id, uint32_t command)
{
	uint32_t high = apic_read(APIC_ICR_HIGH);

	while ((apic_read(APIC_ICR) & DELIVERY_BUSY) != 0)
		cpu_relax();
	apic_write(APIC_ICR_HIGH, apic_id << 24);
	apic_write(APIC_ICR, command);
	apic_write(APIC_ICR_HIGH, high);
}

void apic_send_nmi(uint32_t apic_id)
{
	apic_send(apic_id, DELIVERY_NMI << 8 | DELIVERY_ASSERT);
}

uint32_t cpus_apic_id(uint32_t cpu)
{
	return apic_ids[cpu];
}

/* The boot CPU is number 0, the others follow as the firmware lists them. */
static void madt_read(const struct acpi_table *madt)
{
	uint64_t at = MADT_HEADER_BYTES;

	while (at + MADT_LOCAL_APIC_BYTES <= madt->bytes && madt->data[at + 1] != 0) {
		const uint8_t *entry = madt->data + at;

		at += entry[1];
		if (entry[0] != MADT_LOCAL_APIC || (entry[4] & MADT_ENABLED) == 0 ||
		    entry[3] == apic_ids[0] || cpus_found == CPUS_MAX)
			continue;
		apic_ids[cpus_found++] = entry[3];
	}
}

uint32_t cpus_find(const struct boot_info *boot)
{
	apic_ids[0] = apic_read(APIC_ID) >> 24;
	cpus_found = 1;
	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		if (text_equals(boot->acpi[i].signature, "APIC"))
			madt_read(&boot->acpi[i]);
	}
	return cpus_found;
}

static void wait_ticks(uint64_t ticks, const uint32_t *until)
{
	uint64_t begin = rdtsc();

	while (rdtsc() - begin < ticks && __atomic_load_n(until, __ATOMIC_ACQUIRE) == 0)
		cpu_relax();
}

static void cpu_start(uint32_t cpu)
{
	const uint32_t *online = &cpus[cpu].online;
	uint64_t begin = rdtsc();

	ap_starting = cpu;
	ap_stack_top = (uintptr_t)boot_stack[cpu].room + STACK_BYTES;
	apic_send(apic_ids[cpu], DELIVERY_INIT << 8 | DELIVERY_ASSERT);
	wait_ticks(INIT_TICKS, online);
	while (__atomic_load_n(online, __ATOMIC_ACQUIRE) == 0) {
		if (rdtsc() - begin > START_TICKS)
			hv_refuse(1, "CPU %u of the machine does not start", cpu);
		apic_send(apic_ids[cpu], DELIVERY_STARTUP << 8 | DELIVERY_ASSERT |
						 TRAMPOLINE / (uint32_t)FRAME_BYTES);
		wait_ticks(STARTUP_TICKS, online);
	}
}

void cpus_start(uint32_t count)
{
	HV_ASSERT(count <= cpus_found);
	memcpy((void *)(uintptr_t)TRAMPOLINE, ap_trampoline,
	       (size_t)(ap_trampoline_end - ap_trampoline));
	for (uint32_t cpu = 1; cpu < count; cpu++)
		cpu_start(cpu);
}

noreturn void ap_enter(void)
{
	uint32_t cpu = ap_starting;

	traps_load(cpu);
	paging_join();
	__atomic_store_n(&cpus[cpu].online, 1, __ATOMIC_RELEASE);
	hv_cpu_main(cpu);
}
