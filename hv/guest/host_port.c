/* SPDX-License-Identifier: MIT */
/*
 * Slot operations for the benchmark. The guest's memory is laid out anew at the first word that
 * comes: what is below the data, the data, and a small slot behind it that is not there at first.
 * For dirty logging there is less data: KVM's side has no more then.
 */
#include "host_port.h"

#include "../svm/vcpu.h"
#include "guest.h"
#include "port.h"

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
#define HOST_LACKS UINT64_MAX

#define DATA_START MIB(64)
#define DATA_BYTES MIB(512)
#define LOGGED_BYTES MIB(64) /* all data, once dirty logging is asked for; as in bench/kvm.py */
#define EXTRA_BYTES MIB(4)

static struct {
	bool ready;
	unsigned data, extra; /* regions, whose index is the slot's id */
	uint64_t ticks;       /* of the last operation */
	uint64_t *bitmap;     /* of the data; a frame has bits for 128 MiB */
} host;

static bool is_done(struct guest *guest, const char *what, enum vmmu_error error)
{
	if (error == VMMU_OK)
		return true;
	guest_end(guest, GUEST_CRASH, "hostport: %s: %s", what, vmmu_error_text(error));
	return false;
}

static bool slot_add(struct guest *guest, unsigned index, uint64_t bytes)
{
	struct guest_region *region = &guest->memory.regions[index];
	enum vmmu_error error;
	uint64_t begin;

	region->end = region->start + bytes;
	begin = rdtsc();
	error = port_slot_add(guest, index);
	host.ticks = rdtsc() - begin;
	return is_done(guest, "a slot could not be made", error);
}

/* An empty region is found by nobody. */
static bool slot_delete(struct vcpu *vcpu, unsigned index)
{
	struct guest_region *region = &vcpu->guest->memory.regions[index];
	enum vmmu_error error;
	uint64_t begin = rdtsc();

	error = vmmu_slot_delete(vcpu->guest->vm, 0, (uint16_t)index);
	host.ticks = rdtsc() - begin;
	region->end = region->start;
	vcpu->code.levels = 0; /* it may have been there */
	return is_done(vcpu->guest, "a slot could not be deleted", error);
}

static unsigned region_make(struct guest_memory *memory, uint64_t start)
{
	memory->regions[memory->region_count] =
		(struct guest_region){.start = start, .end = start, .kind = REGION_RAM};
	return memory->region_count++;
}

static uint64_t data_bytes(const struct vcpu *vcpu)
{
	const struct guest_region *data = &vcpu->guest->memory.regions[host.data];

	return data->end - data->start;
}

/* A fresh slot of this size, unless it has that size. */
static bool data_resize(struct vcpu *vcpu, uint64_t bytes)
{
	return data_bytes(vcpu) == bytes ||
	       (slot_delete(vcpu, host.data) && slot_add(vcpu->guest, host.data, bytes));
}

/* Too little memory for it: the port stays silent. */
static bool lay_out(struct vcpu *vcpu)
{
	struct guest_memory *memory = &vcpu->guest->memory;

	if (host.ready)
		return data_resize(vcpu, DATA_BYTES);
	if (guest_ram_low_end(memory) < DATA_START + DATA_BYTES + EXTRA_BYTES ||
	    memory->region_count + 2 > GUEST_REGIONS_MAX)
		return true;
	host.bitmap = frame_alloc();
	if (host.bitmap == NULL)
		return true;
	host.data = region_make(memory, DATA_START);
	host.extra = region_make(memory, DATA_START + DATA_BYTES);
	host.ready = true;
	return slot_delete(vcpu, 0) &&
	       slot_add(vcpu->guest, 0, DATA_START - memory->regions[0].start) &&
	       slot_add(vcpu->guest, host.data, DATA_BYTES);
}

static bool log_switch(struct vcpu *vcpu, uint32_t flags)
{
	uint64_t begin = rdtsc();
	enum vmmu_error error = vmmu_slot_set_flags(vcpu->guest->vm, 0, (uint16_t)host.data, flags);

	host.ticks = rdtsc() - begin;
	return is_done(vcpu->guest, "the log could not be switched", error);
}

/*
 * The bitmap is to hold this look alone, as KVM's does: clearing it is in the figure. The first
 * look comes before anything is logged, and only finds out whether there is a log.
 */
static bool log_look(struct vcpu *vcpu)
{
	const struct vmmu_slot_part part = {.id = (uint16_t)host.data};
	enum vmmu_error error;
	uint64_t begin;

	if (!data_resize(vcpu, LOGGED_BYTES))
		return false;
	begin = rdtsc();
	memset(host.bitmap, 0, LOGGED_BYTES / FRAME_BYTES / 8);
	error = vmmu_dirty_log(vcpu->guest->vm, &part, host.bitmap, NULL);
	host.ticks = rdtsc() - begin;
	return error == VMMU_ENOENT ||
	       is_done(vcpu->guest, "the log could not be looked at", error);
}

bool host_port_write(struct vcpu *vcpu, uint16_t port, uint32_t value)
{
	if (port != PORT_HOST)
		return true;
	if (value == HOST_HELLO)
		return lay_out(vcpu);
	host.ticks = HOST_LACKS;
	if (!host.ready)
		return true;
	switch ((enum host_operation)value) {
	case HOST_SLOT_ADD:
		return slot_add(vcpu->guest, host.extra, EXTRA_BYTES);
	case HOST_SLOT_DELETE:
		return slot_delete(vcpu, host.extra);
	case HOST_DATA_DELETE:
		return slot_delete(vcpu, host.data);
	case HOST_DATA_ADD:
		return slot_add(vcpu->guest, host.data, DATA_BYTES);
	case HOST_DIRTY_ENABLE:
		return log_switch(vcpu, VMMU_SLOT_LOG);
	case HOST_DIRTY_HARVEST:
		return log_look(vcpu);
	case HOST_DIRTY_DISABLE:
		return log_switch(vcpu, 0);
	case HOST_HELLO:
		break;
	}
	return true;
}

uint32_t host_port_read(uint16_t port)
{
	if (!host.ready)
		return UINT32_MAX;
	if (port == PORT_HOST)
		return HOST_ANSWER;
	return (uint32_t)(port == PORT_HOST + 4 ? host.ticks : host.ticks >> 32);
}
