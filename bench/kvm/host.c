/* SPDX-License-Identifier: MIT */
/* Host operations that the payload asks for: each is one KVM ioctl, timed around the call. */
#include "monitor.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As in bench/guest/host.c. */
enum host_operation {
	HOST_HELLO,
	HOST_DIRTY_ENABLE,
	HOST_DIRTY_HARVEST,
	HOST_DIRTY_DISABLE,
	HOST_SLOT_ADD,
	HOST_SLOT_DELETE,
	HOST_DATA_DELETE,
	HOST_DATA_ADD,
};
#define HOST_ANSWER UINT32_C(0x756d6d76)

/* For what kernel threads still have to do; idle time is in no figure. */
enum { SETTLE_MICROSECONDS = 20000 };

enum slots { SLOT_LOW, SLOT_DATA, SLOT_EXTRA };

/* Bits for 512 MiB of 4K frames. */
static uint64_t bitmap[2048];

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* A length of 0 deletes. */
static void slot_set(struct machine *machine, enum slots slot, uint64_t start, uint64_t bytes,
		     uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = start,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)machine->memory + start,
	};
	uint64_t begin = ticks();

	do_ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	machine->host_ticks = ticks() - begin;
}

static void data_set(struct machine *machine, uint64_t bytes, uint32_t flags)
{
	slot_set(machine, SLOT_DATA, DATA_START, bytes, flags);
}

static void extra_set(struct machine *machine, uint64_t bytes)
{
	slot_set(machine, SLOT_EXTRA, DATA_START + machine->data_bytes, bytes, 0);
}

static void harvest(struct machine *machine)
{
	struct kvm_dirty_log log = {.slot = SLOT_DATA, .dirty_bitmap = bitmap};
	uint64_t begin = ticks();

	/* Fails when logging is off: the payload finds out that way that there is some. */
	(void)ioctl(machine->vm, KVM_GET_DIRTY_LOG, &log);
	machine->host_ticks = ticks() - begin;
}

static void operation_do(struct machine *machine, uint32_t operation)
{
	switch (operation) {
	case HOST_HELLO:
		machine->host_answer = HOST_ANSWER;
		break;
	case HOST_DIRTY_ENABLE:
		data_set(machine, machine->data_bytes, KVM_MEM_LOG_DIRTY_PAGES);
		break;
	case HOST_DIRTY_HARVEST:
		harvest(machine);
		break;
	case HOST_DIRTY_DISABLE:
	case HOST_DATA_ADD:
		data_set(machine, machine->data_bytes, 0);
		break;
	case HOST_SLOT_ADD:
		extra_set(machine, EXTRA_BYTES);
		break;
	case HOST_SLOT_DELETE:
		extra_set(machine, 0);
		break;
	case HOST_DATA_DELETE:
		data_set(machine, 0, 0);
		break;
	default:
		fail("unknown host operation %u", operation);
	}
}

void slots_make(struct machine *machine)
{
	/* The harvest of a later measurement must not be the first use of the bitmap. */
	memset(bitmap, 0xff, sizeof(bitmap));
	slot_set(machine, SLOT_LOW, 0, DATA_START, 0);
	data_set(machine, machine->data_bytes, 0);
}

void host_access(struct machine *machine, unsigned offset, bool write, uint8_t *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	if (write && offset == 0) {
		run_first(false);
		(void)usleep(SETTLE_MICROSECONDS);
		operation_do(machine, value);
		run_first(true);
		return;
	}
	if (offset == 0)
		value = machine->host_answer;
	else
		value = (uint32_t)(offset == 4 ? machine->host_ticks : machine->host_ticks >> 32);
	memcpy(data, &value, sizeof(value));
}
