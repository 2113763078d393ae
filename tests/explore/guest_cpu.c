/* SPDX-License-Identifier: MIT */
/* The life of a vCPU under shadow paging: enter, one instruction, leave, have the fault seen to. */
#include "guest.h"

#define TURNS_MAX 60u

struct access {
	unsigned vcpu;
	struct linear_access what;
	uint64_t value; /* of a write */
	uint64_t begun; /* the oracle's time */
	uint64_t changes;
	/* out */
	enum shadow_end end;
	uint64_t gpa;
};

/* ---- in and out ---- */

static bool is_out(void *context)
{
	return !guest.leaving[*(unsigned *)context];
}

static struct linear_cpu *cpu_of(unsigned i)
{
	return linear_cpu_of(sim_machine_cpu(guest.svm->machine, i));
}

static enum vmmu_error enter(unsigned i)
{
	struct shadow_vm *svm = guest.svm;
	struct linear_regs regs;
	struct vmmu_entry entry;

	while (!svm->running[i]) {
		enum vmmu_error error;

		explore_wait(&guest_cpu_object[i], true, is_out, &i, "interrupts off");
		guest.kicked[i] = false;
		error = vmmu_vcpu_enter(svm->vcpu[i], &entry);
		if (error != VMMU_OK)
			return error;
		explore_point(&guest_cpu_object[i], true, "into the guest");
		if (entry.flush)
			linear_cpu_flush_all(cpu_of(i), 1 + i);
		if (guest.kicked[i]) { /* the interrupt has waited: out again */
			vmmu_vcpu_leave(svm->vcpu[i]);
			continue;
		}
		regs = shadow_hardware_regs(svm, i, &entry);
		if (linear_cpu_load(cpu_of(i), &regs, 1 + i) != LINEAR_LOADED)
			sim_violation(svm->machine, "vCPU %u: the hardware refuses its root", i);
		svm->running[i] = true;
	}
	return VMMU_OK;
}

static void leave_now(unsigned i)
{
	struct shadow_vm *svm = guest.svm;

	if (!svm->running[i])
		return;
	linear_cpu_unload(cpu_of(i));
	svm->running[i] = false;
	guest.leaving[i] = true;
	vmmu_vcpu_leave(svm->vcpu[i]);
	guest.leaving[i] = false;
}

void guest_leave(unsigned i)
{
	if (!guest.svm->running[i])
		return;
	explore_point(&guest_cpu_object[i], true, "out of the guest");
	leave_now(i);
}

void guest_kick_out(unsigned i)
{
	if (!guest.svm->running[i])
		return;
	explore_point(&guest_cpu_object[i], true, "out of the guest");
	/* It may have left, and be back in an access by now: that is another stay. */
	if (!guest.busy[i])
		leave_now(i);
}

/* ---- is it right? ---- */

static struct linear_answers expected(const struct access *a)
{
	struct linear_query query = {.vcpu = a->vcpu, .access = a->what, .begun = a->begun};

	return linear_oracle_expect(guest.svm->oracle, &query);
}

static void agree(struct access *a, const struct linear_answer *answer)
{
	char why[512];

	(void)expected(a);
	if (!linear_oracle_allows(guest.svm->oracle, answer, why, sizeof(why)))
		sim_violation(guest.svm->machine, "%s", why);
}

/* The frame that is at this host address: the one that the access may have meant. */
static void agree_on_memory(struct access *a, sim_hpa_t hpa)
{
	struct shadow_vm *svm = guest.svm;
	uint64_t gfn = guest_gfn_of(hpa.bytes >> VMMU_PAGE_SHIFT), page;
	struct linear_answer answer = {.outcome = LINEAR_OK};

	if (gfn == UINT64_MAX) {
		sim_violation(svm->machine, "vCPU %u, gva %llx: no frame is at host address %llx",
			      a->vcpu, (unsigned long long)a->what.gva.bytes,
			      (unsigned long long)hpa.bytes);
		return;
	}
	a->gpa = gfn << VMMU_PAGE_SHIFT | hpa.bytes % VMMU_PAGE_BYTES;
	answer.gpa = sim_gpa(a->gpa);
	agree(a, &answer);
	if (!shadow_slot_of(svm, a->gpa, &page))
		sim_violation(svm->machine, "vCPU %u reaches gpa %llx, its slot is gone", a->vcpu,
			      (unsigned long long)a->gpa);
	if (a->what.kind == LINEAR_WRITE && gfn < GUEST_FRAMES && guest.shut[gfn])
		sim_violation(svm->machine, "vCPU %u writes gpa %llx, which is tracked", a->vcpu,
			      (unsigned long long)a->gpa);
}

/* ---- an instruction ---- */

static bool is_table_frame(sim_pfn_t pfn)
{
	for (uint64_t gfn = 0; gfn < GUEST_DATA; gfn++)
		if (sim_host_query(guest.svm->machine, (sim_hpage_t){gfn}).pfn.n == pfn.n)
			return true;
	return false;
}

/* The translation is held: the data, which is where the oracle says. */
static void transfer(struct access *a, sim_hpa_t hpa)
{
	struct shadow_vm *svm = guest.svm;
	sim_pfn_t pfn = {hpa.bytes >> VMMU_PAGE_SHIFT};
	const uint8_t *page = sim_ram_pointer(svm->machine, pfn);
	bool is_table = is_table_frame(pfn);
	uint64_t old;

	if (a->what.kind != LINEAR_WRITE) {
		explore_point(&guest_oracle_object, false, "the guest loads");
		agree_on_memory(a, hpa);
		return;
	}
	explore_access(page + hpa.bytes % VMMU_PAGE_BYTES, true,
		       is_table ? &guest_oracle_object : &guest_written_object, true,
		       "the guest stores");
	agree_on_memory(a, hpa);
	if (sim_violation_count(svm->machine))
		return;
	*shadow_frame_byte(svm, svm->written_frame, pfn.n) = 1;
	old = sim_ram_read(svm->machine, hpa);
	sim_ram_write(svm->machine, hpa, a->value);
	if (is_table)
		linear_oracle_wrote(svm->oracle, sim_gpa(a->gpa), 8, old, a->value);
}

/* Return: false, it was interrupted before it began. */
static bool instruction(struct access *a, struct linear_result *hardware)
{
	unsigned i = a->vcpu;

	explore_point(&guest_cpu_object[i], true, "an instruction begins");
	if (!guest.svm->running[i])
		return false;
	if (guest.kicked[i]) {
		guest_leave(i);
		return false;
	}
	guest.in_instruction[i] = true;
	*hardware = linear_cpu_access(cpu_of(i), &a->what);
	if (hardware->outcome == LINEAR_OK)
		transfer(a, hardware->hpa);
	guest.in_instruction[i] = false;
	return true;
}

/* ---- a fault ---- */

static void end_in_fault(struct access *a, uint32_t error)
{
	struct linear_answer answer = {.outcome = LINEAR_FAULT, .error = error};

	a->end = SHADOW_FAULT;
	explore_point(&guest_oracle_object, false, "the guest takes a fault");
	agree(a, &answer);
}

static void end_in_device(struct access *a, uint64_t gpa)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = sim_gpa(gpa)};
	uint64_t page;

	a->end = SHADOW_MMIO;
	explore_point(&guest_slots_object, false, "a device is accessed");
	explore_point(&guest_oracle_object, false, "a device is accessed");
	agree(a, &answer);
	if (shadow_slot_of(guest.svm, gpa, &page) && guest.changes == a->changes &&
	    !(guest.changes & 1))
		sim_violation(guest.svm->machine, "gpa %llx is taken for a device",
			      (unsigned long long)gpa);
}

/* Into a table, or into what a client tracks: the device model does it. */
static void emulate(struct access *a, uint64_t gpa)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = sim_gpa(gpa)};

	a->end = SHADOW_MEMORY;
	a->gpa = gpa;
	explore_point(&guest_oracle_object, false, "a write is emulated");
	agree(a, &answer);
	guest_poke(gpa, a->value);
}

/* Return: true, that is the end of it. */
static bool handled(struct access *a, enum vmmu_outcome outcome, const struct vmmu_shadow_result *r)
{
	guest.last[a->vcpu] = outcome;
	switch (outcome) {
	case VMMU_OUTCOME_RESUME:
	case VMMU_OUTCOME_SPURIOUS:
	case VMMU_OUTCOME_RETRY:
		return false;
	case VMMU_OUTCOME_INJECT:
		end_in_fault(a, r->error_code);
		return true;
	case VMMU_OUTCOME_MMIO:
		end_in_device(a, r->gpa.addr);
		return true;
	case VMMU_OUTCOME_TABLE_WRITE:
	case VMMU_OUTCOME_TRACKED:
		emulate(a, r->gpa.addr);
		return true;
	case VMMU_OUTCOME_READONLY:
	case VMMU_OUTCOME_PENDING:
	case VMMU_OUTCOME_HOST_ERROR:
	case VMMU_OUTCOME_STUCK:
	case VMMU_OUTCOME_NO_MEMORY:
	case VMMU_OUTCOME_DEAD:
	case VMMU_OUTCOME_COUNT:
		break;
	}
	if (outcome != VMMU_OUTCOME_NO_MEMORY || !guest.ran_out)
		sim_violation(guest.svm->machine, "vCPU %u at %llx: outcome %s", a->vcpu,
			      (unsigned long long)a->what.gva.bytes, vmmu_outcome_name(outcome));
	return true;
}

/* ---- an access ---- */

/* Return: true, that is the end of it. */
static bool turn(struct access *a)
{
	struct vmmu_shadow_result result = {.level = VMMU_LEVEL_NONE};
	struct linear_result hardware;
	unsigned i = a->vcpu;

	a->end = SHADOW_ERROR;
	if (enter(i) != VMMU_OK)
		return true;
	if (!instruction(a, &hardware))
		return false;
	a->end = SHADOW_MEMORY;
	if (hardware.outcome != LINEAR_FAULT)
		return true;
	guest_leave(i);
	guest.asked[explore_self()] = 0;
	return handled(a,
		       vmmu_shadow_fault(guest.svm->vcpu[i], (vmmu_gva_t){a->what.gva.bytes},
					 hardware.error, 0, &result),
		       &result);
}

static void access_until_done(struct access *a)
{
	bool retried = false;

	for (unsigned n = 0; n < TURNS_MAX && !sim_violation_count(guest.svm->machine); n++) {
		guest.last[a->vcpu] = VMMU_OUTCOME_COUNT;
		if (turn(a))
			return;
		/* A second RETRY in a row: what is in the way has to change first. */
		if (guest.last[a->vcpu] != VMMU_OUTCOME_RETRY)
			continue;
		if (retried)
			explore_spin();
		else
			explore_turn();
		retried = true;
	}
	sim_violation(guest.svm->machine, "vCPU %u at %llx: no end after %u turns", a->vcpu,
		      (unsigned long long)a->what.gva.bytes, TURNS_MAX);
	a->end = SHADOW_ERROR;
}

static struct access run(unsigned vcpu, uint64_t gva, enum linear_kind kind, uint64_t value)
{
	struct access a = {
		.vcpu = vcpu, .what = {.gva = sim_gva(gva), .kind = kind}, .value = value};

	explore_point(&guest_oracle_object, false, "an access begins");
	a.begun = linear_oracle_time(guest.svm->oracle);
	a.changes = guest.changes;
	guest.busy[vcpu] = true;
	access_until_done(&a);
	guest.busy[vcpu] = false;
	return a;
}

static uint64_t run_in_memory(unsigned vcpu, uint64_t gva, enum linear_kind kind, uint64_t value)
{
	struct access a = run(vcpu, gva, kind, value);

	if (a.end != SHADOW_MEMORY && !guest.ran_out)
		sim_violation(guest.svm->machine, "vCPU %u: gva %llx is not memory", vcpu,
			      (unsigned long long)gva);
	return a.gpa;
}

enum shadow_end guest_touch(unsigned vcpu, uint64_t gva, enum linear_kind kind)
{
	return run(vcpu, gva, kind, 0x5a5a).end;
}

uint64_t guest_read(unsigned vcpu, uint64_t gva)
{
	return run_in_memory(vcpu, gva, LINEAR_READ, 0);
}

uint64_t guest_write(unsigned vcpu, uint64_t gva)
{
	/* Never twice the same. */
	return run_in_memory(vcpu, gva, LINEAR_WRITE, ++guest.writes << 16 | 0x5a5a);
}

void guest_store(unsigned vcpu, uint64_t frame, unsigned index, uint64_t entry)
{
	(void)run_in_memory(vcpu, GUEST_WINDOW + (frame << VMMU_PAGE_SHIFT) + 8u * index,
			    LINEAR_WRITE, entry);
}

/* ---- registers; what was there when the instruction begins counts as flushed ---- */

void guest_load(unsigned vcpu, uint64_t top)
{
	guest_leave(vcpu);
	explore_point(&guest_oracle_object, false, "MOV to CR3");
	(void)linear_oracle_mov_cr3(guest.svm->oracle, vcpu, top << VMMU_PAGE_SHIFT);
	if (vmmu_shadow_load_cr3(guest.svm->vcpu[vcpu], top << VMMU_PAGE_SHIFT, NULL,
				 VMMU_CR3_FLUSH) != VMMU_OK)
		sim_violation(guest.svm->machine, "vmmu_shadow_load_cr3() refuses");
}

void guest_flush(unsigned vcpu)
{
	guest_load(vcpu, shadow_regs(guest.svm, vcpu)->cr3 >> VMMU_PAGE_SHIFT);
}

void guest_invlpg(unsigned vcpu, uint64_t gva)
{
	guest_leave(vcpu);
	explore_point(&guest_oracle_object, false, "INVLPG");
	linear_oracle_invlpg(guest.svm->oracle, vcpu, sim_gva(gva));
	vmmu_shadow_invlpg(guest.svm->vcpu[vcpu], (vmmu_gva_t){gva});
}
