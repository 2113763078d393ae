/* SPDX-License-Identifier: MIT */
/*
 * Runs the benchmark payload in Linux KVM: one VM, one vCPU, two slots, interrupt controllers
 * in the kernel, no devices. Uses the public KVM interface only, and does per exit to user
 * space as little as can be done.
 *
 *   monitor PAYLOAD SETS DATA huge|small prefault|lazy
 *
 * SETS is the payload's command line, DATA the size of the data slot in MiB. What the payload
 * writes to COM1 goes to standard output. Exit status 0 if the payload ended well.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CPUID_ENTRIES_MAX = 256, TSS_ADDRESS = 0xfffbd000, OUTPUT_BYTES = 1 << 16 };

enum ports {
	PORT_COM1 = 0x3f8,
	PORT_COM1_STATUS = 0x3fd,
	PORT_DEBUG_EXIT = 0xf4,
	PORT_INSIDE = 0xe9,
	PORT_HOST = 0x5b0,
};
enum { COM1_ROOM = 0x60 };

#define MMIO_INSIDE UINT64_C(0xd0200000)

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)fputs("bench error monitor 0 ", stdout);
	(void)vprintf(format, arguments);
	(void)puts("");
	va_end(arguments);
	exit(1);
}

int do_ioctl(int fd, unsigned long request, const void *argument, const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		fail("%s: %s", name, strerror(errno));
	return result;
}

/* Anonymous memory in pages of one size, all there if @prefault. */
static uint8_t *memory_make(uint64_t bytes, bool huge, bool prefault)
{
	uint8_t *memory = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	memory = (uint8_t *)(((uintptr_t)memory + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	if (madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0)
		fail("madvise: %s", strerror(errno));
	for (uint64_t at = 0; prefault && at < bytes; at += PAGE_BYTES)
		((volatile uint8_t *)memory)[at] = 0;
	return memory;
}

static void event_add(const struct machine *machine, uint64_t address, uint32_t bytes,
		      uint32_t flags)
{
	struct kvm_ioeventfd event = {
		.addr = address, .len = bytes, .fd = eventfd(0, 0), .flags = flags};

	do_ioctl(machine->vm, KVM_IOEVENTFD, &event, "KVM_IOEVENTFD");
}

static void cpuid_pass(const struct machine *machine)
{
	size_t bytes =
		sizeof(struct kvm_cpuid2) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *cpuid = calloc(1, bytes);

	if (!cpuid)
		fail("no memory");
	cpuid->nent = CPUID_ENTRIES_MAX;
	do_ioctl(machine->kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
	do_ioctl(machine->vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}

static void machine_make(struct machine *machine, bool huge, bool prefault)
{
	int bytes;

	machine->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (machine->kvm < 0)
		fail("/dev/kvm: %s", strerror(errno));
	machine->vm = do_ioctl(machine->kvm, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
	do_ioctl(machine->vm, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_ADDRESS, "KVM_SET_TSS_ADDR");
	do_ioctl(machine->vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	machine->vcpu = do_ioctl(machine->vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
	bytes = do_ioctl(machine->kvm, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
	machine->run =
		mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu, 0);
	if (machine->run == MAP_FAILED)
		fail("mmap of the vCPU: %s", strerror(errno));
	cpuid_pass(machine);
	machine->memory =
		memory_make(DATA_START + machine->data_bytes + EXTRA_BYTES, huge, prefault);
	slots_make(machine);
	event_add(machine, PORT_INSIDE, 1, KVM_IOEVENTFD_FLAG_PIO);
	event_add(machine, MMIO_INSIDE, 4, 0);
}

static struct kvm_segment segment_flat(uint8_t type, uint16_t selector)
{
	return (struct kvm_segment){
		.limit = UINT32_MAX,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

/* The state that the Multiboot Specification describes: 32-bit protected mode, no paging. */
static void registers_set(const struct machine *machine, uint32_t entry)
{
	struct kvm_segment data = segment_flat(3, 16);
	struct kvm_regs registers = {
		.rip = entry, .rax = 0x2badb002, .rbx = LOAD_INFO, .rflags = 2};
	struct kvm_sregs special;

	do_ioctl(machine->vcpu, KVM_GET_SREGS, &special, "KVM_GET_SREGS");
	special.cs = segment_flat(11, 8);
	special.ds = data;
	special.es = data;
	special.fs = data;
	special.gs = data;
	special.ss = data;
	special.cr0 |= 1;
	do_ioctl(machine->vcpu, KVM_SET_SREGS, &special, "KVM_SET_SREGS");
	do_ioctl(machine->vcpu, KVM_SET_REGS, &registers, "KVM_SET_REGS");
}

/* Return: false when the payload has ended. */
static bool port_access(struct machine *machine, uint8_t *status)
{
	const struct kvm_run *run = machine->run;
	uint8_t *data = (uint8_t *)machine->run + run->io.data_offset;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	if (out && run->io.port == PORT_COM1) {
		(void)putchar_unlocked(*data);
	} else if (!out && run->io.port == PORT_COM1_STATUS) {
		*data = COM1_ROOM;
	} else if (run->io.port >= PORT_HOST && run->io.port < PORT_HOST + 12) {
		host_access(machine, run->io.port - PORT_HOST, out, data);
	} else if (out && run->io.port == PORT_DEBUG_EXIT) {
		*status = *data;
		return false;
	}
	return true;
}

static int machine_run(struct machine *machine)
{
	struct kvm_run *run = machine->run;
	uint8_t status = 0;

	for (;;) {
		if (ioctl(machine->vcpu, KVM_RUN, 0) < 0 && errno != EINTR)
			fail("KVM_RUN: %s", strerror(errno));
		switch (run->exit_reason) {
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
			break;
		case KVM_EXIT_IO:
			if (!port_access(machine, &status))
				return status;
			break;
		case KVM_EXIT_INTR:
			break;
		default:
			fail("the guest ended with exit reason %u", run->exit_reason);
		}
	}
}

void run_first(bool first)
{
	const struct sched_param parameter = {.sched_priority = first ? 1 : 0};

	if (sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &parameter) != 0)
		fail("sched_setscheduler: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct machine machine = {0};

	if (argc != 6) {
		(void)fputs("usage: monitor PAYLOAD SETS DATA huge|small prefault|lazy\n", stderr);
		return 2;
	}
	/* Nothing is written before the end: a console at work would be in the figures. */
	(void)setvbuf(stdout, NULL, _IOFBF, OUTPUT_BYTES);
	machine.data_bytes = (uint64_t)atoi(argv[3]) << 20;
	machine_make(&machine, strcmp(argv[4], "huge") == 0, strcmp(argv[5], "prefault") == 0);
	run_first(true);
	registers_set(&machine, load_multiboot(&machine, argv[1], argv[2]));
	return machine_run(&machine);
}
