/* SPDX-License-Identifier: MIT */
/*
 * Pre-copy. The log is on from the beginning of the first round, which copies everything. Each
 * later one goes through the slots part by part: look, then copy what was told, a few frames at
 * each exit of the boot CPU, so that the guest goes on meanwhile. A page is copied after the look
 * that told it, so whatever is written later is told by a later look; the last one comes when
 * nobody writes any more.
 */
#include "migrate.h"

#include "../svm/vcpu.h"

enum {
	BEGIN_EXITS = 500, /* of the boot CPU: by then there are translations */
	FRAMES_EACH = 64,  /* copied in one step at most */
	SHARE = 4,         /* one part in so many of the boot CPU's time */
	WORDS = FRAME_BYTES / 8,
	ALIVE_FRAMES = 65536, /* compared between two signs of life */
};

static struct migration rehearsal;

/* The firmware's copies cannot be written; the mediated device moves its spare memory itself. */
static bool is_copied(const struct guest_region *region)
{
	return region->kind == REGION_RAM || region->kind == REGION_NVS;
}

static uint64_t frames_of(const struct guest_region *region)
{
	return (region->end - region->start) / FRAME_BYTES;
}

const char *migrate_create(struct guest *guest)
{
	const struct guest_memory *memory = &guest->memory;
	uint64_t pieces = (memory->end + BLOCK_2M_BYTES - 1) / BLOCK_2M_BYTES;
	uint64_t table_frames = (pieces * sizeof(uint64_t *) + FRAME_BYTES - 1) / FRAME_BYTES;

	rehearsal.guest = guest;
	if (table_frames <= GUEST_BLOCK_FRAMES)
		rehearsal.copies = frames_alloc_contiguous((uint32_t)table_frames);
	if (rehearsal.copies == NULL)
		return "no memory for the table of the second copy (migrate=on)";
	for (unsigned i = 0; i < memory->region_count; i++) {
		if (is_copied(&memory->regions[i]))
			rehearsal.frames += frames_of(&memory->regions[i]);
	}
	guest->migration = &rehearsal;
	return NULL;
}

/* --- frames --- */

/* Where the address of the copy is kept; NULL: no memory for the table. */
static uint64_t *copy_of(struct migration *m, uint64_t gfn)
{
	uint64_t **table = &m->copies[gfn / GUEST_BLOCK_FRAMES];

	if (*table == NULL)
		*table = frame_alloc();
	return *table != NULL ? *table + gfn % GUEST_BLOCK_FRAMES : NULL;
}

/* @copy may be NULL: zeros. */
static bool is_same(const uint64_t *frame, const uint64_t *copy)
{
	for (unsigned i = 0; i < WORDS; i++) {
		if (frame[i] != (copy != NULL ? copy[i] : 0))
			return false;
	}
	return true;
}

static const uint64_t *frame_at(struct migration *m, uint64_t gfn)
{
	const uint8_t *at = guest_pointer(&m->guest->memory, gfn * FRAME_BYTES, GUEST_READ);

	HV_ASSERT(at != NULL);
	return (const uint64_t *)(const void *)at;
}

static void frame_copy(struct migration *m, uint64_t gfn)
{
	const uint64_t *from = frame_at(m, gfn);
	uint64_t *copy = copy_of(m, gfn);

	m->copied++;
	if (copy != NULL && *copy == 0 && is_same(from, NULL))
		return;
	if (copy != NULL && *copy == 0) {
		uint64_t frame = guest_frame_alloc();

		*copy = frame != HOST_NONE ? frame : 0;
	}
	if (copy == NULL || *copy == 0) {
		m->failed = true;
		guest_end(m->guest, GUEST_CRASH,
			  "the machine's memory is used up by the second copy (migrate=on): give "
			  "QEMU more");
		return;
	}
	copy_words((void *)(uintptr_t)*copy, from, FRAME_BYTES);
}

/* --- rounds --- */

static bool library_failed(struct migration *m, enum vmmu_error error)
{
	/* A dead VM is noticed at the next entry. */
	HV_ASSERT(error == VMMU_OK || error == VMMU_EDEAD || error == VMMU_ENOMEM);
	if (error == VMMU_ENOMEM)
		guest_end(m->guest, GUEST_CRASH, "no memory for the dirty log (migrate=on)");
	m->failed |= error != VMMU_OK;
	return error != VMMU_OK;
}

static void log_begin(struct migration *m)
{
	const struct guest_memory *memory = &m->guest->memory;

	for (unsigned i = 0; i < memory->region_count; i++) {
		if (is_copied(&memory->regions[i]) &&
		    library_failed(
			    m, vmmu_slot_set_flags(m->guest->vm, 0, (uint16_t)i, VMMU_SLOT_LOG)))
			return;
	}
	__atomic_store_n(&m->logs, 1, __ATOMIC_RELEASE);
}

static void round_end(struct migration *m)
{
	if (m->rounds != 0 && !guest_has_ended(m->guest)) {
		cost_add(&m->dirty, m->told);
		if (m->told > m->dirty_most)
			m->dirty_most = m->told;
	}
	m->rounds++;
	m->told = 0;
	m->region = 0;
}

/* Go to the next part. False: the round is over. */
static bool part_next(struct migration *m)
{
	const struct guest_memory *memory = &m->guest->memory;

	m->first += m->count;
	m->count = 0;
	m->at = 0;
	while (m->region < memory->region_count) {
		const struct guest_region *region = &memory->regions[m->region];
		uint64_t rest = frames_of(region) - m->first;

		if (is_copied(region) && rest != 0) {
			m->count = rest < MIGRATE_PART_FRAMES ? rest : MIGRATE_PART_FRAMES;
			return true;
		}
		m->region++;
		m->first = 0;
	}
	return false;
}

static void part_look(struct migration *m)
{
	const struct vmmu_slot_part part = {
		.id = (uint16_t)m->region, .first = m->first, .count = m->count};
	uint64_t found = m->count;

	if (m->rounds == 0) {
		memset(m->bitmap, 0xff, sizeof(m->bitmap));
	} else {
		memset(m->bitmap, 0, sizeof(m->bitmap));
		if (library_failed(m, vmmu_dirty_log(m->guest->vm, &part, m->bitmap, &found)))
			return;
	}
	m->told += found;
}

/* Of the part that was looked at. Return: how many were copied, at most @frames. */
static uint64_t part_copy(struct migration *m, uint64_t frames)
{
	uint64_t base = m->guest->memory.regions[m->region].start / FRAME_BYTES + m->first;
	uint64_t done = 0;

	while (m->at < m->count && done < frames && !m->failed) {
		uint64_t bits = m->bitmap[m->at / 64] >> (m->at % 64);

		if (bits == 0) {
			m->at = (m->at / 64 + 1) * 64;
		} else if ((bits & 1) == 0) {
			m->at += (unsigned)__builtin_ctzll(bits);
		} else {
			frame_copy(m, base + m->at);
			m->at++;
			done++;
		}
	}
	return done;
}

/* A look, or some frames of what the last one told. False: that was the end of a round. */
static bool work(struct migration *m)
{
	if (m->at < m->count) {
		(void)part_copy(m, FRAMES_EACH);
		return true;
	}
	if (part_next(m)) {
		part_look(m);
		return true;
	}
	round_end(m);
	return false;
}

void migrate_step(struct vcpu *vcpu)
{
	struct migration *m = vcpu->guest->migration;
	uint64_t begin = rdtsc();

	if (vcpu->index != 0 || vcpu->exits < BEGIN_EXITS || begin < m->due || m->failed)
		return;
	if (!migrate_logs(vcpu->guest))
		log_begin(m);
	else
		(void)work(m);
	m->due = begin + SHARE * (rdtsc() - begin);
}

/* --- the end --- */

static void compare(struct migration *m, const struct guest_region *region)
{
	uint64_t first = region->start / FRAME_BYTES;

	for (uint64_t i = 0; i < frames_of(region); i++) {
		uint64_t gfn = first + i;
		const uint64_t *copy = (const uint64_t *)(uintptr_t)*copy_of(m, gfn);

		if (i % ALIVE_FRAMES == 0)
			report_line("alive comparing the second copy");
		if (is_same(frame_at(m, gfn), copy))
			continue;
		if (m->differ == 0)
			m->differ_first = gfn;
		m->differ++;
	}
}

void migrate_finish(struct guest *guest)
{
	struct migration *m = guest->migration;
	uint64_t copied = m->copied;

	if (!migrate_logs(guest) && !m->failed)
		log_begin(m);
	/* The round that was under way, and a whole one, so that each part has its last look now.
	 */
	for (unsigned rounds = m->rounds == 0 ? 3 : 2; rounds != 0 && !m->failed;)
		rounds -= !work(m);
	m->dirty_last = m->copied - copied;
	for (unsigned i = 0; i < guest->memory.region_count && !m->failed; i++) {
		if (is_copied(&guest->memory.regions[i]))
			compare(m, &guest->memory.regions[i]);
	}
}
