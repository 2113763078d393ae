/* SPDX-License-Identifier: MIT */
/* Addresses and entries that mean something, and a guest that writes its tables. */
#include "random_life.h"

/* ---- addresses ---- */

static uint64_t pick(struct life *l, const uint64_t *from, unsigned count)
{
	return from[roll(l, count)];
}

static uint64_t sign_extended(uint64_t gva, unsigned bits)
{
	return (uint64_t)((int64_t)(gva << (64 - bits)) >> (64 - bits));
}

uint64_t some_gfn(struct life *l)
{
	switch (roll(l, 8)) {
	case 0:
		return HUGE_FIRST + (roll(l, 2) ? roll(l, HUGE_COUNT) : roll(l, 4));
	case 1:
		return ROM_FIRST + roll(l, 2);
	case 2:
		return GUEST_FIRST + roll(l, 4);
	case 3:
		return POOL_FIRST + roll(l, POOL_COUNT + POOL32_COUNT);
	case 4:
		return roll(l, 3) ? DATA_FIRST : 0x20000 + roll(l, 2);
	default:
		return DATA_FIRST + roll(l, DATA_COUNT);
	}
}

static uint64_t some_gva(struct life *l, enum linear_mode mode)
{
	static const uint64_t narrow[] = {0, 1, 512, 1023}, wide[] = {0, 1, 511};
	static const uint64_t offsets[] = {0, 8, 16, 0xff8, 0x808};
	uint64_t gva = pick(l, offsets, 5);

	if (mode == LINEAR_OFF)
		return some_gfn(l) << 12 | gva;
	if (mode == LINEAR_32BIT)
		return gva | pick(l, narrow, 4) << 12 | pick(l, narrow, 4) << 22;
	gva |= pick(l, wide, 3) << 12 | pick(l, wide, 3) << 21;
	if (mode == LINEAR_PAE)
		return gva | (roll(l, 3) & 1 ? 3 : roll(l, 2)) << 30;
	gva |= pick(l, wide, 3) << 30 | pick(l, wide, 3) << 39;
	if (mode == LINEAR_4_LEVEL)
		return sign_extended(gva, 48);
	return sign_extended(gva | pick(l, wide, 3) << 48, 57);
}

uint64_t window(enum linear_mode mode)
{
	const uint64_t i = WINDOW_INDEX;

	switch (mode) {
	case LINEAR_OFF:
		return 0;
	case LINEAR_32BIT:
		return i << 22;
	case LINEAR_PAE:
		return i << 30 | i << 21;
	case LINEAR_4_LEVEL:
		return i << 39 | i << 30 | i << 21;
	case LINEAR_5_LEVEL:
		return i << 48 | i << 39 | i << 30 | i << 21;
	}
	return 0;
}

/* ---- entries ---- */

static uint64_t flags_of_entry(struct life *l)
{
	return (chance(l, 92) ? LINEAR_PRESENT : 0) | (chance(l, 75) ? LINEAR_WRITABLE : 0) |
	       (chance(l, 60) ? LINEAR_USER_PAGE : 0) | (chance(l, 70) ? LINEAR_ACCESSED : 0) |
	       (chance(l, 50) ? LINEAR_DIRTY : 0) | (chance(l, 20) ? LINEAR_GLOBAL : 0) |
	       (chance(l, 5) ? LINEAR_PWT | LINEAR_PCD : 0);
}

uint64_t some_entry(struct life *l)
{
	static const uint64_t bases[] = {0, HUGE_FIRST, HUGE_FIRST, HUGE_FIRST + 512, 0x40000};
	uint64_t entry = flags_of_entry(l);

	if (chance(l, 12))
		return entry | LINEAR_HUGE | pick(l, bases, 5) << 12;
	entry |= chance(l, 8) ? LINEAR_NO_EXEC : 0;
	entry |= chance(l, 20) ? roll(l, 4) << 59 : 0;
	entry |= chance(l, 2) ? UINT64_C(1) << 45 : 0;
	if (chance(l, 50))
		return entry | (POOL_FIRST + roll(l, POOL_COUNT)) << 12;
	return entry | some_gfn(l) << 12;
}

/* Most tables have a height of their own: else hardly any would be of level 1 alone, and so
 * written by the guest without emulation. */
static uint64_t entry_of_table(struct life *l, uint64_t frame)
{
	static const uint64_t height[] = {8, 11, 13, 15, POOL_FIRST + POOL_COUNT};
	uint64_t flags = flags_of_entry(l) | LINEAR_PRESENT;

	if (chance(l, 20) || frame < POOL_FIRST || frame >= POOL_FIRST + POOL_COUNT)
		return some_entry(l);
	for (unsigned i = 1; i < 4; i++)
		if (frame < height[i] && (i > 1 || chance(l, 70)))
			return flags | (height[i] + roll(l, height[i + 1] - height[i])) << 12;
		else if (frame < height[i])
			return flags | (POOL_FIRST + roll(l, 3)) << 12; /* the fifth level */
	return flags | (chance(l, 10) ? roll(l, 4) << 59 : 0) |
	       (DATA_FIRST + roll(l, DATA_COUNT)) << 12;
}

uint64_t some_entry32(struct life *l)
{
	uint64_t entry = flags_of_entry(l);

	if (chance(l, 12))
		return entry | LINEAR_HUGE | (roll(l, 2) ? HUGE_FIRST << 12 : 0) |
		       (chance(l, 10) ? UINT64_C(1) << (13 + roll(l, 9)) : 0);
	if (chance(l, 50))
		return entry | (POOL32_FIRST + roll(l, POOL32_COUNT)) << 12;
	return entry | some_gfn(l) << 12;
}

/* ---- the guest writes its tables ---- */

/* An address that was mapped lately. */
uint64_t recent_gva(struct life *l, enum linear_mode mode)
{
	uint64_t known = l->recents < RECENT ? l->recents : RECENT;
	uint64_t gva = known ? l->recent[roll(l, known)] : 0;

	if (!known || chance(l, 30))
		return some_gva(l, mode);
	if (mode <= LINEAR_PAE)
		return gva & UINT32_MAX;
	return mode == LINEAR_4_LEVEL ? sign_extended(gva, 48) : sign_extended(gva, 57);
}

/* Through the window, if it is there; else somebody does it from outside. */
static void store(struct life *l, unsigned vcpu, uint64_t gpa, unsigned bytes, uint64_t value)
{
	enum linear_mode mode = shadow_regs(l->svm, vcpu)->mode;
	struct shadow_request request = {
		.vcpu = vcpu,
		.access = {.gva = sim_gva(window(mode) + gpa), .kind = LINEAR_WRITE, .ac = true},
		.bytes = bytes,
		.value = value,
	};
	struct shadow_result r = {.end = SHADOW_ERROR};

	l->result.stores++;
	if (gpa >> 12 < WINDOW_FRAMES && !chance(l, 5))
		r = shadow_access(l->svm, &request);
	if (r.end == SHADOW_MEMORY && r.gpa == gpa)
		l->result.stored_by_guest++;
	else
		(void)shadow_poke(l->svm, gpa, bytes, value);
}

/* The leaf of an address in use: other rights, another page, or bits gone. */
static bool edit_leaf(struct life *l, unsigned vcpu)
{
	const struct linear_regs *r = shadow_regs(l->svm, vcpu);
	unsigned bytes = r->mode == LINEAR_32BIT ? 4 : 8;
	struct linear_query query = {
		.vcpu = vcpu,
		.access = {.gva = sim_gva(recent_gva(l, r->mode)), .ac = true},
	};
	struct linear_answers a = linear_oracle_expect(l->svm->oracle, &query);
	uint64_t at, value, flags[] = {LINEAR_PRESENT,  LINEAR_WRITABLE, LINEAR_USER_PAGE,
				       LINEAR_ACCESSED, LINEAR_DIRTY,    LINEAR_DIRTY};

	if (!a.count || a.item[0].outcome != LINEAR_OK || !a.item[0].page_bytes)
		return false;
	at = a.item[0].leaf.bytes;
	value = shadow_peek(l->svm, at & ~UINT64_C(7)) >> (8 * (at & 4 & (bytes == 4 ? 7u : 0u)));
	if (chance(l, 60))
		value ^= pick(l, flags, 6);
	else if (bytes == 4)
		value = some_entry32(l);
	else
		value = chance(l, 60) ? (value & ~(UINT64_C(0xff) << 12)) |
						(DATA_FIRST + roll(l, DATA_COUNT)) << 12
				      : some_entry(l);
	say(l, "leaf", vcpu, at, value);
	store(l, vcpu, at, bytes, bytes == 4 ? value & UINT32_MAX : value);
	if (chance(l, 40)) {
		say(l, "  invlpg", vcpu, query.access.gva.bytes, 0);
		shadow_invlpg(l->svm, vcpu, query.access.gva.bytes);
	}
	return true;
}

/* Some entry of some table. */
void edit_some_entry(struct life *l, unsigned vcpu)
{
	static const uint64_t wide[] = {0, 1, 511}, narrow[] = {0, 1, 512, 1023};
	enum linear_mode mode = shadow_regs(l->svm, vcpu)->mode;
	uint64_t frame, value;

	if (chance(l, 60) && edit_leaf(l, vcpu))
		return;
	if (mode == LINEAR_32BIT || (mode == LINEAR_OFF && roll(l, 2))) {
		frame = POOL32_FIRST + roll(l, POOL32_COUNT);
		value = some_entry32(l);
		say(l, "edit32", vcpu, frame, value);
		store(l, vcpu, frame << 12 | pick(l, narrow, 4) * 4, 4, value);
		return;
	}
	frame = chance(l, 4) ? HUGE_FIRST + roll(l, 2) : POOL_FIRST + roll(l, POOL_COUNT);
	value = entry_of_table(l, frame);
	say(l, "edit", vcpu, frame, value);
	/* Also in two halves, as guests with 32-bit registers do. */
	frame = frame << 12 | pick(l, wide, 3) * 8;
	if (chance(l, 10)) {
		store(l, vcpu, frame, 4, value & UINT32_MAX);
		store(l, vcpu, frame + 4, 4, value >> 32);
	} else {
		store(l, vcpu, frame, 8, value);
	}
}

/* The entry of the top table that leads to the window. */
void repair_window(struct life *l, unsigned vcpu)
{
	static const uint64_t below[] = {
		[LINEAR_4_LEVEL] = WINDOW_PDPT, [LINEAR_5_LEVEL] = WINDOW_PML4};
	const struct linear_regs *r = shadow_regs(l->svm, vcpu);
	uint64_t table = linear_cr3_base(r), flags = 0x63;

	if (r->mode == LINEAR_OFF || r->mode == LINEAR_PAE)
		return;
	if (r->mode == LINEAR_32BIT)
		(void)shadow_poke(l->svm, table + 4 * WINDOW_INDEX, 4, WINDOW_PT_32 << 12 | flags);
	else
		(void)shadow_poke(l->svm, table + 8 * WINDOW_INDEX, 8,
				  below[r->mode] << 12 | flags);
}

void build_window(struct life *l)
{
	for (uint64_t i = 0; i < WINDOW_FRAMES; i++) {
		(void)shadow_poke(l->svm, (WINDOW_PT << 12) + 8 * i, 8, i << 12 | 0x63);
		(void)shadow_poke(l->svm, (WINDOW_PT_32 << 12) + 4 * i, 4, i << 12 | 0x63);
	}
	(void)shadow_poke(l->svm, (WINDOW_PD << 12) + 8 * WINDOW_INDEX, 8, WINDOW_PT << 12 | 0x63);
	(void)shadow_poke(l->svm, (WINDOW_PDPT << 12) + 8 * WINDOW_INDEX, 8,
			  WINDOW_PD << 12 | 0x63);
	(void)shadow_poke(l->svm, (WINDOW_PML4 << 12) + 8 * WINDOW_INDEX, 8,
			  WINDOW_PDPT << 12 | 0x63);
}

void write_in_between(struct life *l, unsigned vcpu)
{
	static const uint64_t wide[] = {0, 1, 511};
	unsigned other = (vcpu + 1 + (unsigned)roll(l, l->variant->vcpus - 1)) % l->variant->vcpus;
	uint64_t frame = POOL_FIRST + roll(l, POOL_COUNT), gpa = frame << 12 | pick(l, wide, 3) * 8;
	uint64_t gva = window(shadow_regs(l->svm, other)->mode) + gpa;
	uint64_t value = entry_of_table(l, frame);

	if (!shadow_race_write(l->svm, other, gva, gpa, value))
		return;
	say(l, "  in between", other, gpa, value);
	l->result.races++;
}
