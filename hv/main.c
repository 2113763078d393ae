/* SPDX-License-Identifier: MIT */
/*
 * The reference hypervisor: one guest on memory that libvmmu virtualises. Boot, options,
 * guest memory, VM, kernel, run, report. Folders, lowest first:
 *
 *   platform/  the bare machine          emulate/  instruction decoder and emulator
 *   svm/       VMCB, world switch, exits guest/    memory, devices, MSRs, loaders
 *   report/    figures and crash reports devices/  a mediated device
 */
#include "devices/vgtt.h"
#include "guest/device.h"
#include "guest/guest.h"
#include "guest/load.h"
#include "guest/port.h"
#include "guest/ports.h"
#include "platform/platform.h"
#include "report/report.h"
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
	struct memory_stats stats;
	uint64_t room;

	memory_get_stats(&stats);
	room = stats.free * FRAME_BYTES;
	if (bytes + bytes / 100 + MIB(4) <= room)
		return;
	format_text(load.trouble, sizeof(load.trouble),
		    "the guest is to have %llu MiB of memory, but the machine has only %llu MiB "
		    "left; ask for less (memory=) or give QEMU more (-m)",
		    (unsigned long long)(bytes >> 20), (unsigned long long)(room >> 20));
	refuse(load.trouble);
}

static void memory_make(void)
{
	const char *trouble;

	memory_check_size(guest.options.memory);
	trouble = guest_memory_create(&guest.memory, guest.boot, guest.options.memory,
				      guest.options.huge);
	if (trouble == NULL && guest.options.vgtt)
		trouble = guest_memory_add_spare(&guest.memory);
	if (trouble != NULL)
		refuse(trouble);
	if (guest.options.prefill) {
		report_line("progress giving the guest all its memory");
		if (!guest_memory_prefill(&guest.memory))
			refuse("the machine's memory is used up; give QEMU more (-m)");
	}
}

static void vm_make(void)
{
	enum vmmu_error error = port_vm_create(&guest);

	if (error == VMMU_OK) {
		guest.vcpu = svm_vcpu_create(&guest);
		error = vmmu_vcpu_create(guest.vm, guest.vcpu, &guest.vcpu->mmu);
	}
	if (error != VMMU_OK)
		hv_panic("the library cannot make the VM: %s", vmmu_error_text(error));
	if (guest.options.vgtt)
		guest.vgtt = vgtt_create(&guest);
}

static bool ended_in_order(void)
{
	return guest.outcome == GUEST_POWEROFF || guest.outcome == GUEST_EXIT ||
	       guest.outcome == GUEST_DONE;
}

/* The host itself died: where was the guest? */
static void guest_tell(void)
{
	console_printf("the guest:\n");
	crash_report(guest.vcpu);
}

noreturn static void guest_finish(void)
{
	int status;

	if (guest.options.audit != AUDIT_OFF)
		port_audit(&guest);
	if (!ended_in_order()) {
		console_reclaim();
		console_printf("\nvmmu-hv: guest %s: %s\n", guest_outcome_word(guest.outcome),
			       guest.reason);
		crash_report(guest.vcpu);
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
	memory_make();
	svm_enable();
	ports_init(boot, guest.options.host_port);
	device_init();
	vm_make();
	if (!load_guest(&load, &guest, guest.vcpu))
		refuse(load.trouble);
	crash_hook_set(guest_tell);
	/* The file's name says nothing: the command hands over an open file. */
	report_line("progress starting the guest (%s)",
		    guest.kind == GUEST_LINUX ? "Linux" : "multiboot kernel");
	report_line("start");
	svm_vcpu_run(guest.vcpu);
	guest_finish();
}
