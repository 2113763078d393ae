/* SPDX-License-Identifier: MIT */
/*
 * The reference hypervisor: one guest on memory that libvmmu virtualises. Boot, options,
 * guest memory, VM, kernel, run, report. Folders, lowest first:
 *
 *   platform/  the bare machine          emulate/  instruction decoder and emulator
 *   svm/       VMCB, world switch, exits guest/    memory, devices, MSRs, loaders
 *   report/    figures and crash reports devices/  a mediated device
 *   resident/  memory packed away    migrate/  a second copy of it
 */
#include "devices/vgtt.h"
#include "guest/device.h"
#include "guest/guest.h"
#include "guest/load.h"
#include "guest/port.h"
#include "guest/ports.h"
#include "migrate/migrate.h"
#include "platform/platform.h"
#include "report/report.h"
#include "resident/backing.h"
#include "svm/smp.h"
#include "svm/svm.h"

enum { STATUS_ERROR = 1, STATUS_BAD_INPUT = 2 };

static struct guest guest;
static struct load load;

noreturn static void refuse(const char *text)
{
	console_printf("vmmu-hv: %s\n", text);
	report_line("error %s", text);
	hv_exit(STATUS_BAD_INPUT);
}

/* Nested tables and tables of frames take less than a hundredth of what they describe. */
static void memory_check_size(uint64_t bytes)
{
	uint64_t copies = guest.options.migrate ? 2 : 1;
	struct memory_stats stats;
	uint64_t room;

	memory_get_stats(&stats);
	room = stats.free * FRAME_BYTES;
	if (copies * (bytes + bytes / 100) + MIB(4) <= room)
		return;
	format_text(load.trouble, sizeof(load.trouble),
		    "the guest is to have %llu MiB of memory%s, but the machine has only %llu MiB "
		    "left; ask for less (memory=) or give QEMU more (-m)",
		    (unsigned long long)(bytes >> 20), copies == 2 ? " and a second copy" : "",
		    (unsigned long long)(room >> 20));
	refuse(load.trouble);
}

static void memory_make(void)
{
	const char *trouble;

	memory_check_size(guest.options.memory);
	trouble = guest_memory_create(&guest.memory, guest.boot, guest.options.memory,
				      guest.options.huge);
	if (trouble == NULL && guest.options.resident < 100)
		trouble = backing_create(&guest.memory, guest.options.memory / FRAME_BYTES,
					 guest.options.resident);
	if (trouble == NULL && guest.options.vgtt)
		trouble = guest_memory_add_spare(&guest.memory);
	if (trouble == NULL && guest.options.migrate)
		trouble = migrate_create(&guest);
	if (trouble != NULL)
		refuse(trouble);
	/* The copy is to have a frame for each of the guest's from the first round on. */
	if (guest.options.prefill || guest.options.migrate) {
		report_line("progress giving the guest all its memory");
		if (!guest_memory_prefill(&guest.memory))
			refuse("the machine's memory is used up; give QEMU more (-m)");
	}
}

static void vm_make(void)
{
	enum vmmu_error error = port_vm_create(&guest);

	for (unsigned i = 0; error == VMMU_OK && i < guest.cpu_count; i++) {
		guest.vcpus[i] = svm_vcpu_create(&guest, i);
		error = vmmu_vcpu_create(guest.vm, guest.vcpus[i], &guest.vcpus[i]->mmu);
	}
	if (error != VMMU_OK)
		hv_panic("the library cannot make the VM: %s", vmmu_error_text(error));
	if (guest.options.vgtt)
		guest.vgtt = vgtt_create(&guest);
	for (unsigned i = 1; i < guest.cpu_count; i++)
		smp_reset(guest.vcpus[i]);
	svm_vcpu_attach(guest.vcpus[0]);
}

/* What the firmware's tables tell the guest must be so. */
static void cpus_check(void)
{
	uint32_t found = cpus_find(guest.boot);

	guest.cpu_count = guest.options.cpus;
	guest.exit_work = guest.options.audit != AUDIT_OFF || guest.options.stress ||
			  guest.options.resident < 100 || guest.options.migrate;
	if (found == guest.cpu_count)
		return;
	format_text(
		load.trouble, sizeof(load.trouble),
		"the guest is to have %u CPUs (cpus=), but the machine has %u; give QEMU -smp %u",
		guest.cpu_count, found, guest.cpu_count);
	refuse(load.trouble);
}

/* The other CPUs: their vCPUs wait until the guest starts them. */
noreturn void hv_cpu_main(uint32_t cpu)
{
	svm_enable();
	svm_vcpu_attach(guest.vcpus[cpu]);
	svm_vcpu_run(guest.vcpus[cpu]);
	cpu_stop();
}

static bool ended_in_order(void)
{
	return guest.outcome == GUEST_POWEROFF || guest.outcome == GUEST_EXIT ||
	       guest.outcome == GUEST_DONE;
}

static void guest_describe(void)
{
	for (unsigned i = 0; i < guest.cpu_count; i++) {
		if (guest.cpu_count > 1)
			console_printf("CPU %u of the guest:\n", i);
		crash_report(guest.vcpus[i]);
	}
}

/* The host itself died: where was the guest? */
static void guest_tell(void)
{
	console_printf("the guest:\n");
	guest_describe();
}

noreturn static void guest_finish(void)
{
	int status;

	if (guest.options.audit != AUDIT_OFF)
		port_audit(guest.vcpus[0]);
	if (guest.migration != NULL)
		migrate_finish(&guest);
	if (!ended_in_order()) {
		console_reclaim();
		console_printf("\nvmmu-hv: guest %s: %s\n", guest_outcome_word(guest.outcome),
			       guest.reason);
		guest_describe();
	}
	status = report_figures(&guest);
	hv_exit(status);
}

noreturn void hv_main(const struct boot_info *boot)
{
	guest.boot = boot;
	if (!options_parse(&guest.options, boot->command_line, load.trouble, sizeof(load.trouble)))
		refuse(load.trouble);
	report_line("progress setting up %llu MiB of guest memory, %s",
		    (unsigned long long)(guest.options.memory >> 20),
		    guest.options.huge ? "2M pages where possible" : "4K pages");
	if (guest.options.levels == 5 && !paging_use_5_levels())
		refuse("levels=5 needs a CPU with LA57; give QEMU -cpu max");
	cpus_check();
	if (guest.options.vgtt && guest.cpu_count > 1)
		refuse("the mediated device (vgtt=on) works with one CPU only");
	memory_make();
	svm_enable();
	ports_init(boot, guest.options.host_port);
	device_init();
	vm_make();
	if (!load_guest(&load, &guest, guest.vcpus[0]))
		refuse(load.trouble);
	crash_hook_set(guest_tell);
	/* The file's name says nothing: the command hands over an open file. */
	report_line("progress starting the guest (%s)",
		    guest.kind == GUEST_LINUX ? "Linux" : "multiboot kernel");
	cpus_start(guest.cpu_count);
	report_line("start");
	svm_vcpu_run(guest.vcpus[0]);
	guest_finish();
}
