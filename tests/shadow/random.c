/* SPDX-License-Identifier: MIT */
#include "random.h"

#include <stdlib.h>
#include <string.h>

#include "linear_format.h"

/* Guest frames. Slot 0 holds frames 0..127: the window maps them all. */
#define WINDOW_FRAMES 128u
#define WINDOW_PT 2u /* tables that map the window: level 1, 2, 3, 4, and of 4-byte entries */
#define WINDOW_PD 3u
#define WINDOW_PDPT 4u
#define WINDOW_PML4 5u
#define WINDOW_PT_32 6u
#define POOL_FIRST 8u /* tables of 8-byte entries, of any level */
#define POOL_COUNT 12u
#define POOL32_FIRST 20u
#define POOL32_COUNT 5u
#define PDPT_FRAME 26u /* top tables of PAE mode */
#define DATA_FIRST 32u
#define DATA_COUNT 12u
#define HUGE_FIRST 0x400u
#define HUGE_COUNT 1024u
#define ROM_FIRST 0x180u
#define GUEST_FIRST 0x1000u /* the slot that comes and goes */
#define WINDOW_INDEX 2u

enum { SLOT_MAIN, SLOT_HUGE, SLOT_ROM, SLOT_MOVING };

struct variant {
	const char *name;
	unsigned modes; /* one bit for each enum linear_mode */
	unsigned vcpus;
	bool registers, host, slots, pcid;
	uint64_t quota;
	unsigned prefetch;
	enum sim_level run_level;
	bool direct, patient;
	enum sim_cpu_mode cpu;
};

#define MODE(m) (1u << (m))

static const struct variant variants[RANDOM_VARIANTS] = {
	{.name = "4 levels, one vCPU, nothing else",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 1,
	 .prefetch = 1,
	 .run_level = SIM_LEVEL_4K},
	{.name = "32-bit",
	 .modes = MODE(LINEAR_32BIT),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "PAE",
	 .modes = MODE(LINEAR_PAE),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "4 levels",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "5 levels",
	 .modes = MODE(LINEAR_5_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "all modes in turn, one vCPU",
	 .modes = 31,
	 .vcpus = 1,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "all modes at once, four vCPUs",
	 .modes = 31,
	 .vcpus = 4,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_2M},
	{.name = "few tables",
	 .modes = 31,
	 .vcpus = 4,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .quota = 64,
	 .prefetch = 4,
	 .run_level = SIM_LEVEL_2M},
	{.name = "host memory never moves",
	 .modes = 31,
	 .vcpus = 2,
	 .registers = true,
	 .slots = true,
	 .prefetch = 32,
	 .direct = true,
	 .run_level = SIM_LEVEL_2M},
	{.name = "host answers late, the CPUs keep all they can",
	 .modes = 31,
	 .vcpus = 3,
	 .registers = true,
	 .host = true,
	 .slots = true,
	 .prefetch = 2,
	 .patient = true,
	 .run_level = SIM_LEVEL_2M,
	 .cpu = SIM_CPU_ALWAYS_STALE},
	{.name = "process-context identifiers",
	 .modes = MODE(LINEAR_4_LEVEL),
	 .vcpus = 2,
	 .registers = true,
	 .pcid = true,
	 .prefetch = 8,
	 .run_level = SIM_LEVEL_4K},
};

#define RECENT 8u

struct life {
	struct shadow_vm *svm;
	uint64_t recent[RECENT]; /* addresses that led to memory: the guest comes back to them */
	uint64_t recents;
	const struct variant *variant;
	struct random_result result;
	bool is_loud;
};

const char *random_variant_name(unsigned variant)
{
	return variant < RANDOM_VARIANTS ? variants[variant].name : "?";
}

static uint64_t roll(struct life *l, uint64_t bound)
{
	return sim_random_below(l->svm->machine, bound);
}

static bool chance(struct life *l, unsigned percent)
{
	return roll(l, 100) < percent;
}

static void say(const struct life *l, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	if (l->is_loud)
		fprintf(stderr, "%llu: %s %llx %llx %llx\n", (unsigned long long)l->result.steps,
			what, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
}

/* ---- addresses ---- */

static uint64_t pick(struct life *l, const uint64_t *from, unsigned count)
{
	return from[roll(l, count)];
}

static uint64_t sign_extended(uint64_t gva, unsigned bits)
{
	return (uint64_t)((int64_t)(gva << (64 - bits)) >> (64 - bits));
}

static uint64_t some_gfn(struct life *l)
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

static uint64_t window(enum linear_mode mode)
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

static uint64_t some_entry(struct life *l)
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

static uint64_t some_entry32(struct life *l)
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
static uint64_t recent_gva(struct life *l, enum linear_mode mode)
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
static void edit_some_entry(struct life *l, unsigned vcpu)
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
static void repair_window(struct life *l, unsigned vcpu)
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

static void build_window(struct life *l)
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

/* ---- registers ---- */

static enum linear_mode some_mode(struct life *l)
{
	unsigned mode;

	do
		mode = (unsigned)roll(l, 5);
	while (!(l->variant->modes & MODE(mode)));
	return (enum linear_mode)mode;
}

/* A CR3 that makes some sense in this mode. */
static uint64_t some_cr3(struct life *l, enum linear_mode mode)
{
	uint64_t at;

	if (chance(l, 2))
		return chance(l, 50) ? UINT64_C(0x30000000) : UINT64_C(0x1001000);
	if (mode == LINEAR_32BIT)
		return (POOL32_FIRST + roll(l, 3)) << 12;
	if (mode != LINEAR_PAE)
		return (POOL_FIRST + roll(l, 3)) << 12;
	at = (PDPT_FRAME << 12) + 32 * roll(l, 3);
	for (unsigned i = 0; i < 4; i++)
		if (i == WINDOW_INDEX)
			(void)shadow_poke(l->svm, at + 8 * i, 8, WINDOW_PD << 12 | 1);
		else if (chance(l, 70))
			(void)shadow_poke(l->svm, at + 8 * i, 8,
					  (POOL_FIRST + roll(l, POOL_COUNT)) << 12 | chance(l, 90));
	return at;
}

static void reset_vcpu(struct life *l, unsigned vcpu)
{
	bool r = l->variant->registers;
	struct linear_regs regs = {
		.mode = some_mode(l),
		.vendor = LINEAR_INTEL,
		.wp = !r || roll(l, 3),
		.pse = roll(l, 4),
		.pge = roll(l, 2),
		.smep = r && !roll(l, 3),
		.smap = r && !roll(l, 3),
		.pke = r && !roll(l, 3),
		.nxe = roll(l, 4),
		.pkru = r ? (uint32_t)(roll(l, 256)) : 0,
		.maxphyaddr = 40,
		.pse36_width = 40,
		.has_1g = true,
	};

	regs.cr3 = some_cr3(l, regs.mode);
	if (regs.mode == LINEAR_PAE)
		for (unsigned i = 0; i < 4; i++)
			regs.pdpte[i] = shadow_peek(l->svm, regs.cr3 + 8 * i);
	for (unsigned i = 0; i < 4; i++)
		if (linear_pdpte_is_illegal(&regs, regs.pdpte[i]))
			regs.pdpte[i] = 0;
	regs.pcide = l->variant->pcid;
	say(l, "reset", vcpu, regs.mode, regs.cr3);
	shadow_reset(l->svm, vcpu, &regs);
	l->result.switches++;
	if (chance(l, 90))
		repair_window(l, vcpu);
}

static void change_register(struct life *l, unsigned vcpu)
{
	struct linear_regs regs = *shadow_regs(l->svm, vcpu);

	switch (roll(l, 8)) {
	case 0:
		regs.wp = !regs.wp;
		break;
	case 1:
		regs.smep = !regs.smep;
		break;
	case 2:
		regs.smap = !regs.smap;
		break;
	case 3:
		regs.nxe = !regs.nxe;
		break;
	case 4:
		regs.pke = !regs.pke;
		break;
	case 5:
		regs.pge = !regs.pge;
		break;
	case 6:
		regs.pse = !regs.pse;
		break;
	default:
		regs.pkru = (uint32_t)roll(l, 256);
		break;
	}
	say(l, "regs", vcpu, regs.wp | regs.smep << 1 | regs.smap << 2 | regs.nxe << 3, regs.pkru);
	l->result.switches += shadow_set_regs(l->svm, vcpu, &regs);
}

static void switch_cr3(struct life *l, unsigned vcpu)
{
	const struct linear_regs *r = shadow_regs(l->svm, vcpu);
	uint64_t cr3 = some_cr3(l, r->mode);

	if (r->pcide) /* one identifier for each space, most of the time */
		cr3 |= (chance(l, 90) ? cr3 >> 12 & 7 : roll(l, 4)) |
		       (chance(l, 70) ? LINEAR_CR3_NO_FLUSH : 0);
	say(l, "cr3", vcpu, cr3, 0);
	l->result.switches += shadow_mov_cr3(l->svm, vcpu, cr3);
	if (chance(l, 80))
		repair_window(l, vcpu);
}

static void flush_some(struct life *l, unsigned vcpu)
{
	const struct linear_regs *r = shadow_regs(l->svm, vcpu);
	uint64_t gva = recent_gva(l, r->mode);

	l->result.flushes++;
	switch (roll(l, 8)) {
	case 0:
	case 1:
	case 2:
	case 3:
		say(l, "invlpg", vcpu, gva, 0);
		shadow_invlpg(l->svm, vcpu, gva);
		break;
	case 4:
		if (r->pcide) {
			enum linear_invpcid type = (enum linear_invpcid)roll(l, 4);

			say(l, "invpcid", vcpu, type, gva);
			shadow_invpcid(l->svm, vcpu, type, (uint16_t)roll(l, 8), gva);
			break;
		} /* fall through */
	case 5:
		say(l, "flush", vcpu, 0, 0);
		shadow_flush(l->svm, vcpu);
		break;
	default:
		say(l, "reload", vcpu, r->cr3, 0);
		(void)shadow_mov_cr3(l->svm, vcpu, r->cr3);
		break;
	}
}

/* ---- the world around ---- */

static void host_event(struct life *l)
{
	uint64_t page = roll(l, 2) ? roll(l, 64) : 512 + roll(l, 64);

	l->result.host_events++;
	say(l, "host", page, 0, 0);
	switch (roll(l, 5)) {
	case 0:
		(void)shadow_swap_out(l->svm, page);
		break;
	case 1:
		(void)shadow_migrate(l->svm, page);
		break;
	case 2:
		(void)shadow_write_protect(l->svm, page);
		break;
	case 3:
		(void)shadow_copy_on_write(l->svm, page);
		break;
	default:
		page = 512 + 512 * roll(l, 2);
		(void)sim_host_populate(l->svm->machine, (sim_hpage_t){page}, 512,
					l->variant->run_level);
		if (l->variant->run_level > SIM_LEVEL_4K)
			(void)shadow_collapse(l->svm, page);
		break;
	}
}

static void slot_event(struct life *l)
{
	struct shadow_slot moving = {.gfn = GUEST_FIRST + 16 * roll(l, 2), .count = 8, .host = 256};
	unsigned id = SLOT_MOVING;

	l->result.slot_events++;
	say(l, "slot", 0, 0, 0);
	if (chance(l, 10)) { /* the memory with huge pages goes and comes back */
		struct shadow_slot huge = l->svm->slot[SLOT_HUGE];

		if (shadow_slot_delete(l->svm, SLOT_HUGE) != VMMU_OK ||
		    shadow_slot_create(l->svm, SLOT_HUGE, &huge) != VMMU_OK)
			sim_violation(l->svm->machine, "a slot cannot be made anew");
		return;
	}
	if (!l->svm->slot[id].is_used)
		(void)shadow_slot_create(l->svm, id, &moving);
	else if (roll(l, 2))
		(void)shadow_slot_delete(l->svm, id);
	else
		(void)shadow_slot_move(l->svm, id, moving.gfn);
}

static void library_event(struct life *l)
{
	uint64_t gfn = some_gfn(l);

	say(l, "library", gfn, 0, 0);
	switch (roll(l, 4)) {
	case 0:
		if (vmmu_zap_all(l->svm->vm) != VMMU_OK)
			sim_violation(l->svm->machine, "zap_all fails");
		break;
	case 1:
		if (vmmu_zap_range(l->svm->vm, 0, (struct vmmu_gfn_range){{gfn}, {gfn + 20}}) !=
		    VMMU_OK)
			sim_violation(l->svm->machine, "zap_range fails");
		break;
	case 2:
		(void)vmmu_shadow_unprotect(l->svm->vm, 0, (vmmu_gfn_t){gfn});
		break;
	default:
		shadow_leave(l->svm, 0);
		vmmu_vcpu_moved(l->svm->vcpu[0]);
		break;
	}
}

static void access_some(struct life *l, unsigned vcpu)
{
	enum linear_mode mode = shadow_regs(l->svm, vcpu)->mode;
	struct shadow_request request = {
		.vcpu = vcpu,
		.access = {.gva = sim_gva(recent_gva(l, mode)),
			   .kind = (enum linear_kind)roll(l, 3),
			   .privilege = (enum linear_privilege)(roll(l, 10) ? roll(l, 2) : 2),
			   .ac = roll(l, 2)},
		.bytes = mode == LINEAR_32BIT && chance(l, 80) ? 4 : 8,
	};
	struct shadow_result r;

	if (request.access.privilege == LINEAR_IMPLICIT && request.access.kind == LINEAR_FETCH)
		request.access.kind = LINEAR_READ;
	request.value = some_entry(l);
	if (mode == LINEAR_32BIT)
		request.value = some_entry32(l) | (request.bytes == 8 ? some_entry32(l) << 32 : 0);
	if ((mode == LINEAR_4_LEVEL) && chance(l, 1))
		request.access.gva.bytes ^= UINT64_C(1) << 60;
	say(l, "access", vcpu << 8 | request.access.kind << 4 | request.access.privilege,
	    request.access.gva.bytes, request.value);
	r = shadow_access(l->svm, &request);
	if (r.end == SHADOW_MEMORY)
		l->recent[l->recents++ % RECENT] = request.access.gva.bytes;
	say(l, "  ends", r.end, r.gpa, r.error);
}

static void step(struct life *l)
{
	uint64_t dice = roll(l, 1000);
	unsigned vcpu = (unsigned)roll(l, l->variant->vcpus);

	if (dice < 250) {
		edit_some_entry(l, vcpu);
		if (chance(l, 50))
			flush_some(l, vcpu);
	} else if (dice < 280) {
		flush_some(l, vcpu);
	} else if (dice < 320) {
		switch_cr3(l, vcpu);
	} else if (dice < 330) {
		reset_vcpu(l, vcpu);
	} else if (dice < 350 && l->variant->registers) {
		change_register(l, vcpu);
	} else if (dice < 365 && l->variant->host) {
		host_event(l);
	} else if (dice < 370 && l->variant->slots) {
		slot_event(l);
	} else if (dice < 375 && l->variant->registers) {
		library_event(l);
	} else if (dice < 380) {
		repair_window(l, vcpu);
	} else {
		access_some(l, vcpu);
	}
}

/* ---- a life ---- */

static struct shadow_options options_of(const struct random_run *run, const struct variant *v)
{
	return (struct shadow_options){
		.machine = {.seed = run->seed,
			    .host_page_count = 2048,
			    .tlb_count = 32,
			    .psc_count = 16,
			    .mode = v->cpu},
		.table_quota = v->quota,
		.prefetch = v->prefetch,
		.run_level = v->run_level,
		.patient = v->patient,
		.direct = v->direct,
		.own_locks = true,
	};
}

static void make_memory(struct life *l)
{
	static const struct shadow_slot slots[] = {
		[SLOT_MAIN] = {.gfn = 0, .count = WINDOW_FRAMES, .host = 0},
		[SLOT_HUGE] = {.gfn = HUGE_FIRST, .count = HUGE_COUNT, .host = 512},
		[SLOT_ROM] = {.gfn = ROM_FIRST, .count = 8, .host = 200, .is_readonly = true},
	};

	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){0}, 512, l->variant->run_level);
	(void)sim_host_populate(l->svm->machine, (sim_hpage_t){512}, 1024, l->variant->run_level);
	for (unsigned i = 0; i < 3; i++) {
		struct shadow_slot slot = slots[i];

		if (l->variant->direct && slot.count > 512)
			slot.count = 512; /* one run */
		if (shadow_slot_create(l->svm, i, &slot) != VMMU_OK)
			sim_violation(l->svm->machine, "no slot");
	}
	/* Read-only memory may hold tables, too. */
	for (unsigned i = 0; i < 16; i++)
		sim_host_write(l->svm->machine, (sim_hpage_t){200 + i % 2}, 8 * (i / 2),
			       some_entry(l));
	build_window(l);
}

static void finish(struct life *l)
{
	struct shadow_vm *svm = l->svm;
	const char *first = sim_violation_text(svm->machine, 0);

	l->result.count = svm->count;
	l->result.unsync = shadow_stat(svm, VMMU_STAT_SHADOW_UNSYNC);
	l->result.sync = shadow_stat(svm, VMMU_STAT_SHADOW_SYNC);
	l->result.zapped = shadow_stat(svm, VMMU_STAT_SHADOW_ZAPPED);
	l->result.reclaimed = shadow_stat(svm, VMMU_STAT_SHADOW_RECLAIMED);
	l->result.flooded = shadow_stat(svm, VMMU_STAT_SHADOW_FLOODED);
	l->result.pages_2m = shadow_stat(svm, VMMU_STAT_FAULT_2M);
	l->result.violations = sim_violation_count(svm->machine);
	if (first)
		strncpy(l->result.first, first, sizeof(l->result.first) - 1);
}

struct random_result random_life(const struct random_run *run)
{
	const struct variant *v = &variants[run->variant];
	struct shadow_options options = options_of(run, v);
	struct life l = {.variant = v, .is_loud = getenv("VMMU_LOUD") != NULL};

	l.svm = shadow_vm_new(&options, v->vcpus);
	if (!l.svm)
		return (struct random_result){.violations = 1, .first = "no machine"};
	make_memory(&l);
	l.svm->unprotect_one_in = 8;
	for (unsigned i = 0; i < v->vcpus; i++)
		reset_vcpu(&l, i);
	for (unsigned i = 0; i < 100; i++)
		edit_some_entry(&l, 0);
	while (l.result.steps < run->steps && !sim_violation_count(l.svm->machine)) {
		step(&l);
		if (++l.result.steps % run->check_every == 0)
			shadow_check(l.svm);
	}
	finish(&l);
	if (!l.result.violations)
		shadow_vm_free(l.svm);
	return l.result;
}
