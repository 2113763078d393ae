/* SPDX-License-Identifier: MIT */
/* Registers, copy engine and spare memory of the mediated device. */
#include "vgtt.h"

#include "../guest/guest.h"
#include "../guest/port.h"
#include "../svm/vcpu.h"

#define VGTT_ID UINT64_C(0x0001000074746776) /* "vgtt", version 1 */
#define POISON UINT64_C(0xdeadbeefdeadbeef)

enum vgtt_register {
	VGTT_REG_ID = 0x000,
	VGTT_REG_PAGES = 0x008,
	VGTT_REG_SOURCE = 0x010,
	VGTT_REG_TARGET = 0x018,
	VGTT_REG_COPY = 0x020,
	VGTT_REG_STATUS = 0x028,
	VGTT_REG_FAULT = 0x030,
	VGTT_REG_SPARE = 0x038,
	VGTT_REG_MOVE_EVERY = 0x040,
	VGTT_REG_HOT = 0x048,
	VGTT_REG_DEAF = 0x050,
	VGTT_REG_WRITES = 0x080,
	VGTT_REG_SHADOWED = 0x088,
	VGTT_REG_DROPPED = 0x090,
	VGTT_REG_ONCE = 0x098,
	VGTT_REG_CHECKED = 0x0c0,
	VGTT_REG_MISMATCHES = 0x0c8,
	VGTT_REG_TABLE = 0x100,
};

enum vgtt_status { VGTT_STATUS_OK, VGTT_STATUS_FAULT, VGTT_STATUS_BAD };

enum spare_command { SPARE_DELETE = 1, SPARE_CREATE = 2, SPARE_MOVE = 3 };

#define TABLE_VALID UINT64_C(1)
#define TABLE_FRAME UINT64_C(0x000ffffffffff000)

/* --- what the mediator asks for --- */

static bool memory_read(void *host, vmmu_gpa_t gpa, void *to, uint32_t bytes)
{
	struct vgtt *vgtt = host;
	const uint64_t *from =
		(const void *)guest_pointer(&vgtt->guest->memory, gpa.addr, GUEST_READ);
	uint64_t *words = to;

	if (from == NULL)
		return false;
	for (uint32_t i = 0; i < bytes / 8; i++)
		words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return true;
}

/* Nothing is taken from the guest but with its slot, so nothing need be pinned. */
static bool frame_get(void *host, vmmu_gfn_t gfn, vmmu_pfn_t *pfn)
{
	struct vgtt *vgtt = host;
	const uint8_t *at =
		guest_pointer(&vgtt->guest->memory, vmmu_gfn_to_gpa(gfn).addr, GUEST_READ);

	*pfn = (vmmu_pfn_t){(uintptr_t)at / FRAME_BYTES};
	return at != NULL;
}

static const struct mediator_host mediator_host = {.read = memory_read, .frame_get = frame_get};

/* --- spare memory --- */

static uint64_t *spare_words(const struct vgtt *vgtt, unsigned which)
{
	return (uint64_t *)(uintptr_t)vgtt->spare[which];
}

static void spare_poison(struct vgtt *vgtt, unsigned which)
{
	for (unsigned i = 0; i < GUEST_SPARE_BYTES / 8; i++)
		spare_words(vgtt, which)[i] = POISON;
}

/* Has anybody written to memory that was taken from the guest? */
static void spare_look(struct vgtt *vgtt, unsigned which)
{
	for (unsigned i = 0; i < GUEST_SPARE_BYTES / 8; i++)
		vgtt->counts.strays += spare_words(vgtt, which)[i] != POISON;
}

/* The content moves to the other host memory; what it leaves is spoilt for whoever still reads. */
static void spare_delete(struct vgtt *vgtt)
{
	struct guest *guest = vgtt->guest;
	struct guest_region *region = &guest->memory.regions[vgtt->region];
	unsigned other = 1 - vgtt->spare_now;

	if (!vgtt->spare_there || !port_slot_delete(guest, vgtt->region))
		return;
	vgtt->spare_there = false;
	region->end = region->start;
	guest->vcpus[0]->code.linear = UINT64_MAX;
	spare_look(vgtt, other);
	copy_words(spare_words(vgtt, other), spare_words(vgtt, vgtt->spare_now), GUEST_SPARE_BYTES);
	spare_poison(vgtt, vgtt->spare_now);
	vgtt->spare_now = other;
	vgtt->counts.deleted++;
}

static void spare_create(struct vgtt *vgtt)
{
	struct guest_region *region = &vgtt->guest->memory.regions[vgtt->region];

	if (vgtt->spare_there)
		return;
	region->end = region->start + GUEST_SPARE_BYTES;
	region->host = vgtt->spare[vgtt->spare_now];
	vgtt->spare_there = port_slot_create(vgtt->guest, vgtt->region);
	if (!vgtt->spare_there)
		region->end = region->start;
	vgtt->counts.created += vgtt->spare_there;
}

static void spare_command(struct vgtt *vgtt, uint64_t command)
{
	if (command == SPARE_DELETE || command == SPARE_MOVE)
		spare_delete(vgtt);
	if (command == SPARE_CREATE || command == SPARE_MOVE)
		spare_create(vgtt);
}

/* --- the copy engine --- */

static void submit(struct vgtt *vgtt)
{
	mediator_submit(&vgtt->mediator);
	if (vgtt->guest->options.audit != AUDIT_OFF)
		vgtt->counts.stale += mediator_check(&vgtt->mediator);
}

static void *frame_of(const struct mediator_entry *entry)
{
	return (void *)(uintptr_t)vmmu_pfn_to_hpa(entry->pfn).addr;
}

static void tell(struct vgtt *vgtt, uint64_t gpa)
{
	enum vmmu_error error =
		vmmu_guest_written(vgtt->guest->vm, 0, (vmmu_gpa_t){gpa}, FRAME_BYTES);

	HV_ASSERT(error != VMMU_EINVAL); /* a dead VM is noticed at the next entry */
}

/* One page. The target may be the table itself, so telling comes after the release. */
static bool page_copy(struct vgtt *vgtt, uint64_t from, uint64_t to)
{
	const struct mediator_entry *source;
	const struct mediator_entry *target;
	uint64_t gpa = 0;
	bool ok;

	mediator_hold(&vgtt->mediator);
	source = mediator_find(&vgtt->mediator, from);
	target = mediator_find(&vgtt->mediator, to);
	ok = source != NULL && target != NULL && target->writable;
	if (ok) {
		copy_words(frame_of(target), frame_of(source), FRAME_BYTES);
		gpa = target->raw & MEDIATOR_FRAME;
	} else {
		vgtt->fault = source == NULL ? from : to;
	}
	mediator_release(&vgtt->mediator);
	if (ok)
		tell(vgtt, gpa);
	return ok;
}

static void command_copy(struct vgtt *vgtt, uint64_t pages)
{
	uint64_t from = vgtt->source / FRAME_BYTES;
	uint64_t to = vgtt->target / FRAME_BYTES;

	vgtt->status = VGTT_STATUS_BAD;
	if (pages > MEDIATOR_ENTRIES)
		return;
	submit(vgtt);
	vgtt->status = VGTT_STATUS_OK;
	for (uint64_t i = 0; i < pages; i++) {
		if (vgtt->move_every != 0 && --vgtt->move_countdown == 0) {
			vgtt->move_countdown = vgtt->move_every;
			spare_command(vgtt, SPARE_MOVE);
		}
		if (!page_copy(vgtt, from + i, to + i)) {
			/* Its slot may have come back meanwhile. */
			submit(vgtt);
			if (!page_copy(vgtt, from + i, to + i)) {
				vgtt->status = VGTT_STATUS_FAULT;
				vgtt->counts.faults++;
				return;
			}
		}
		vgtt->counts.copies++;
	}
}

/* --- registers --- */

static void table_set(struct vgtt *vgtt, unsigned index, uint64_t value)
{
	enum vmmu_error error = VMMU_OK;

	if ((value & TABLE_VALID) == 0)
		mediator_clear_page(&vgtt->mediator, index);
	else
		error = mediator_set_page(&vgtt->mediator, index,
					  vmmu_gpa_to_gfn((vmmu_gpa_t){value & TABLE_FRAME}));
	vgtt->table[index] = error == VMMU_OK ? value : 0;
	vgtt->status = error == VMMU_OK ? VGTT_STATUS_OK : VGTT_STATUS_BAD;
}

/*
 * For the test of the test: the tracking goes behind the mediator's back. From then on it must be
 * wrong, and the guest must notice.
 */
static void deafen(struct vgtt *vgtt)
{
	for (unsigned i = 0; i < MEDIATOR_PAGES; i++) {
		vmmu_gfn_t gfn = vmmu_gpa_to_gfn((vmmu_gpa_t){vgtt->table[i] & TABLE_FRAME});

		if ((vgtt->table[i] & TABLE_VALID) != 0)
			(void)!vmmu_track_remove(vgtt->guest->vm, vgtt->mediator.tracker,
						 (struct vmmu_gfn_range){gfn, {gfn.n + 1}},
						 VMMU_ACCESS_WRITE);
	}
}

/* Registers that are plain memory to the guest; NULL: not one of them. */
static uint64_t *plain_register(struct vgtt *vgtt, uint32_t offset)
{
	switch (offset) {
	case VGTT_REG_SOURCE:
		return &vgtt->source;
	case VGTT_REG_TARGET:
		return &vgtt->target;
	case VGTT_REG_CHECKED:
		return &vgtt->counts.copies_checked;
	case VGTT_REG_MISMATCHES:
		return &vgtt->counts.mismatches;
	default:
		return NULL;
	}
}

static uint64_t register_read(struct vgtt *vgtt, uint32_t offset)
{
	const struct mediator_stats *stats = &vgtt->mediator.stats;
	const uint64_t *plain = plain_register(vgtt, offset);

	if (plain != NULL)
		return *plain;
	if (offset >= VGTT_REG_TABLE && offset < VGTT_REG_TABLE + 8 * MEDIATOR_PAGES)
		return vgtt->table[(offset - VGTT_REG_TABLE) / 8];
	switch (offset) {
	case VGTT_REG_ID:
		return VGTT_ID;
	case VGTT_REG_PAGES:
		return MEDIATOR_PAGES;
	case VGTT_REG_STATUS:
		return vgtt->status;
	case VGTT_REG_FAULT:
		return vgtt->fault;
	case VGTT_REG_SPARE:
		return vgtt->spare_there;
	case VGTT_REG_MOVE_EVERY:
		return vgtt->move_every;
	case VGTT_REG_HOT:
		return vgtt->mediator.hot_writes;
	case VGTT_REG_WRITES:
		return stats->writes;
	case VGTT_REG_SHADOWED:
		return stats->shadowed;
	case VGTT_REG_DROPPED:
		return stats->dropped;
	case VGTT_REG_ONCE:
		return stats->once;
	default:
		return 0;
	}
}

static void register_write(struct vgtt *vgtt, uint32_t offset, uint64_t value)
{
	uint64_t *plain = plain_register(vgtt, offset);

	if (plain != NULL) {
		*plain = value;
	} else if (offset >= VGTT_REG_TABLE && offset < VGTT_REG_TABLE + 8 * MEDIATOR_PAGES) {
		table_set(vgtt, (offset - VGTT_REG_TABLE) / 8, value);
	} else if (offset == VGTT_REG_COPY) {
		command_copy(vgtt, value);
	} else if (offset == VGTT_REG_SPARE) {
		spare_command(vgtt, value);
	} else if (offset == VGTT_REG_MOVE_EVERY) {
		vgtt->move_every = value;
		vgtt->move_countdown = value;
	} else if (offset == VGTT_REG_HOT) {
		vgtt->mediator.hot_writes = (uint32_t)value;
	} else if (offset == VGTT_REG_DEAF) {
		deafen(vgtt);
	}
}

bool vgtt_has(const struct vgtt *vgtt, uint64_t gpa)
{
	return vgtt != NULL && (gpa & ~(FRAME_BYTES - 1)) == GUEST_VGTT;
}

static bool is_word(uint64_t gpa, uint32_t bytes)
{
	return bytes == 8 && gpa % 8 == 0;
}

void vgtt_read(struct vgtt *vgtt, uint64_t gpa, uint32_t bytes, void *value)
{
	uint64_t word;

	memset(value, 0xff, bytes);
	if (!is_word(gpa, bytes))
		return;
	word = register_read(vgtt, (uint32_t)(gpa - GUEST_VGTT));
	memcpy(value, &word, sizeof(word));
}

void vgtt_write(struct vgtt *vgtt, uint64_t gpa, uint32_t bytes, const void *value)
{
	uint64_t word;

	if (!is_word(gpa, bytes))
		return;
	memcpy(&word, value, sizeof(word));
	register_write(vgtt, (uint32_t)(gpa - GUEST_VGTT), word);
}

/* --- the hypervisor's side --- */

bool vgtt_let_write(struct vgtt *vgtt, uint64_t gpa)
{
	if (vgtt == NULL ||
	    !mediator_let_write(&vgtt->mediator, vmmu_gpa_to_gfn((vmmu_gpa_t){gpa})))
		return false;
	return vmmu_guest_written(vgtt->guest->vm, 0, (vmmu_gpa_t){gpa}, 1) == VMMU_OK;
}

struct vgtt *vgtt_create(struct guest *guest)
{
	static struct vgtt device;
	enum vmmu_error error =
		mediator_create(&device.mediator, guest->vm, &mediator_host, &device);

	if (error != VMMU_OK)
		hv_panic("the mediator cannot track: %s", vmmu_error_text(error));
	device.guest = guest;
	device.region =
		(unsigned)(guest_region_find(&guest->memory, GUEST_SPARE) - guest->memory.regions);
	device.spare[0] = guest->memory.regions[device.region].host;
	device.spare[1] =
		(uintptr_t)frames_alloc_contiguous((uint32_t)(GUEST_SPARE_BYTES / FRAME_BYTES));
	if (device.spare[1] == 0)
		hv_panic("no memory for the second half of the spare memory");
	device.spare_there = true;
	spare_poison(&device, 1);
	return &device;
}
