/* SPDX-License-Identifier: MIT */
/*
 * Slot operations for the benchmark. The guest's memory is laid out anew at the first word that
 * comes: what is below the data, the data, and a small slot behind it that is not there at first.
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
#define EXTRA_BYTES MIB(4)

static struct {
	bool ready;
	unsigned data, extra; /* regions, whose index is the slot's id */
	uint64_t ticks;       /* of the last operation */
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

/* Too little memory for it: the port stays silent. */
static bool lay_out(struct vcpu *vcpu)
{
	struct guest_memory *memory = &vcpu->guest->memory;

	if (host.ready || guest_ram_low_end(memory) < DATA_START + DATA_BYTES + EXTRA_BYTES ||
	    memory->region_count + 2 > GUEST_REGIONS_MAX)
		return true;
	host.data = region_make(memory, DATA_START);
	host.extra = region_make(memory, DATA_START + DATA_BYTES);
	host.ready = true;
	return slot_delete(vcpu, 0) &&
	       slot_add(vcpu->guest, 0, DATA_START - memory->regions[0].start) &&
	       slot_add(vcpu->guest, host.data, DATA_BYTES);
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
	case HOST_HELLO:
	case HOST_DIRTY_ENABLE:
	case HOST_DIRTY_HARVEST:
	case HOST_DIRTY_DISABLE:
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
