/* SPDX-License-Identifier: MIT */
/* What happens in a random life besides writes to tables. */
#include "random_life.h"

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

void reset_vcpu(struct life *l, unsigned vcpu)
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

void change_register(struct life *l, unsigned vcpu)
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

void switch_cr3(struct life *l, unsigned vcpu)
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

void flush_some(struct life *l, unsigned vcpu)
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

void host_event(struct life *l)
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

void slot_event(struct life *l)
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

/* In a pause of a long operation the guest goes on. */
static void live_on(struct shadow_vm *svm, void *context)
{
	struct life *l = context;

	if (chance(l, 30)) {
		svm->on_pause = NULL;
		access_some(l, (unsigned)roll(l, l->variant->vcpus));
		svm->on_pause = live_on;
	}
}

void library_event(struct life *l)
{
	uint64_t gfn = some_gfn(l);

	say(l, "library", gfn, 0, 0);
	l->svm->on_pause = roll(l, 2) ? live_on : NULL;
	switch (roll(l, 6)) {
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
		if (vmmu_zap_all_fast(l->svm->vm) != VMMU_OK)
			sim_violation(l->svm->machine, "zap_all_fast fails");
		break;
	case 3:
		(void)vmmu_work(l->svm->vm, 1 + roll(l, 4));
		break;
	case 4:
		(void)vmmu_shadow_unprotect(l->svm->vm, 0, (vmmu_gfn_t){gfn});
		break;
	default:
		shadow_leave(l->svm, 0);
		vmmu_vcpu_moved(l->svm->vcpu[0]);
		break;
	}
	l->svm->on_pause = NULL;
}

void access_some(struct life *l, unsigned vcpu)
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
