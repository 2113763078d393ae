/* SPDX-License-Identifier: MIT */
/* What the parts of the monitor share. The payload's layout is in bench/guest/payload.h. */
#ifndef BENCH_KVM_MONITOR_H
#define BENCH_KVM_MONITOR_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES UINT64_C(4096)
#define HUGE_BYTES (UINT64_C(2) << 20)

#define DATA_START (UINT64_C(64) << 20)
#define EXTRA_BYTES (UINT64_C(4) << 20) /* for the slot that comes and goes */

/* Where the multiboot information lies, the command line behind it. */
#define LOAD_INFO 0x7000
#define LOAD_LINE 0x8000
#define LOAD_END 0x9000

struct machine {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *memory; /* guest-physical 0 .. DATA_START + data_bytes, then the extra slot's */
	uint64_t data_bytes;
	uint64_t host_ticks; /* of the last host operation */
	uint32_t host_answer;
};

/* One line, and exit status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

/* ioctl() that must succeed. */
int do_ioctl(int fd, unsigned long request, const void *argument, const char *name);

/*
 * Before everything else, or as any other process. The machine has one CPU: figures of the guest
 * would hold the time slices of kernel threads. Operations that wait for kernel threads would
 * wait for longer if these came last.
 */
void run_first(bool first);

/* The ELF32 file @path and its command line into guest memory. Return: where to start. */
uint32_t load_multiboot(const struct machine *machine, const char *path, const char *line);

/* The slots that every run starts with: low memory, data. */
void slots_make(struct machine *machine);

/* The payload's access to the host port, see bench/guest/host.c. */
void host_access(struct machine *machine, unsigned offset, bool write, uint8_t *data);

#endif
