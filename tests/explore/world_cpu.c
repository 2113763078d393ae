/* SPDX-License-Identifier: MIT */
/* The life of a vCPU: enter, one instruction, leave, handle the fault, again. */
#include "migrator.h"
#include "world.h"

#define TURNS_MAX 60u

/* ---- in and out ---- */

static bool is_out(void *context)
{
	return !world.leaving[*(unsigned *)context];
}

static enum vmmu_error enter(unsigned i)
{
	struct sim_vm *sim = world.sim;
	struct sim_cpu *cpu = sim_machine_cpu(sim->machine, world.cpu_of[i]);
	struct vmmu_entry entry;
	struct sim_root root;

	while (!sim->running[i]) {
		enum vmmu_error error;

		explore_wait(&world_cpu_object[i], true, is_out, &i, "interrupts off");
		world.kicked[i] = false;
		error = vmmu_vcpu_enter(sim->vcpu[i], &entry);
		if (error != VMMU_OK)
			return error;
		explore_point(&world_cpu_object[i], true, "into the guest");
		root = sim_vm_root(sim, &entry);
		root.tag = 1 + i;
		if (entry.flush)
			sim_cpu_flush_all(cpu, root.tag);
		if (world.kicked[i]) { /* the interrupt has waited: out again */
			vmmu_vcpu_leave(sim->vcpu[i]);
			continue;
		}
		sim_cpu_set_root(cpu, &root);
		sim->running[i] = true;
	}
	return VMMU_OK;
}

void world_leave(unsigned i)
{
	struct sim_vm *sim = world.sim;

	if (!sim->running[i])
		return;
	explore_point(&world_cpu_object[i], true, "out of the guest");
	if (!sim->running[i])
		return;
	sim_cpu_clear_root(sim_machine_cpu(sim->machine, world.cpu_of[i]));
	sim->running[i] = false;
	world.leaving[i] = true;
	vmmu_vcpu_leave(sim->vcpu[i]);
	world.leaving[i] = false;
}

void world_move(unsigned vcpu, unsigned cpu)
{
	world_leave(vcpu);
	world.cpu_of[vcpu] = cpu;
	world.moved = true;
	vmmu_vcpu_moved(world.sim->vcpu[vcpu]);
}

void world_prefetch(unsigned i, uint64_t gfn)
{
	struct sim_vm *sim = world.sim;

	if (enter(i) != VMMU_OK)
		return;
	explore_point(&world_cpu_object[i], true, "speculates");
	if (!sim->running[i] || world.kicked[i])
		return;
	world.in_instruction[i] = true;
	(void)sim_cpu_prefetch(sim_machine_cpu(sim->machine, world.cpu_of[i]),
			       (sim_gpa_t){gfn << VMMU_PAGE_SHIFT});
	world.in_instruction[i] = false;
}

/* ---- an instruction ---- */

/* To the page that it was; while slots change there may be two right ones. */
static void store(unsigned i, sim_gpa_t gpa, sim_hpa_t hpa, uint64_t value)
{
	struct oracle *oracle = world.sim->oracle;
	struct oracle_answers answers = oracle_expect(oracle, world.sim->space[i], gpa, SIM_WRITE);

	for (unsigned k = 0; k < answers.count; k++)
		if (answers.answer[k].kind == ORACLE_MEMORY &&
		    answers.answer[k].pfn.n == hpa.bytes >> VMMU_PAGE_SHIFT)
			oracle_host_store(oracle, answers.answer[k].host_page,
					  answers.answer[k].offset, value);
}

/* The translation held: move the data, which is where the oracle says. */
static void transfer(unsigned i, sim_gpa_t gpa, enum sim_access_kind kind, sim_hpa_t hpa)
{
	struct sim_vm *sim = world.sim;
	uint64_t value, expected;

	if (kind == SIM_WRITE) {
		uint8_t *written =
			sim_vm_frame(sim, sim->written_frame, hpa.bytes >> VMMU_PAGE_SHIFT);

		migrator_stores(gpa.bytes >> VMMU_PAGE_SHIFT);
		if (written)
			*written = 1;
		value = oracle_fresh_value(sim->oracle);
		sim_ram_write(sim->machine, hpa, value);
		store(i, gpa, hpa, value);
		return;
	}
	value = sim_ram_read(sim->machine, hpa);
	if (oracle_expect(sim->oracle, sim->space[i], gpa, kind).count > 1)
		return;
	if (oracle_load(sim->oracle, sim->space[i], gpa, &expected) && expected != value)
		sim_violation(sim->machine, "vCPU %u read %llx at %llx, expected %llx", i,
			      (unsigned long long)value, (unsigned long long)gpa.bytes,
			      (unsigned long long)expected);
}

/* Return: false, it was interrupted before it began. */
static bool instruction(unsigned i, sim_gpa_t gpa, enum sim_access_kind kind,
			struct sim_result *hardware)
{
	struct sim_vm *sim = world.sim;
	struct sim_cpu *cpu = sim_machine_cpu(sim->machine, world.cpu_of[i]);
	char why[256];

	explore_point(&world_cpu_object[i], true, "an instruction begins");
	if (!sim->running[i])
		return false;
	if (world.kicked[i]) {
		world_leave(i);
		return false;
	}
	world.in_instruction[i] = true;
	*hardware = sim_cpu_access(cpu, gpa, kind);
	explore_point(&world_slots_object, false, "the oracle judges");
	if (!oracle_agrees(sim->oracle, sim->space[i], gpa, kind, hardware, why, sizeof(why)))
		sim_violation(sim->machine, "vCPU %u: %s", i, why);
	else if (hardware->outcome == SIM_OK)
		transfer(i, gpa, kind, hardware->hpa);
	world.in_instruction[i] = false;
	return true;
}

static struct vmmu_fault decode(const struct sim_result *hardware)
{
	if (hardware->outcome == SIM_NPF)
		return vmmu_fault_from_npf(hardware->info, hardware->gpa.bytes);
	if (hardware->outcome == SIM_EPT_MISCONFIG)
		return vmmu_fault_from_ept_misconfig(hardware->gpa.bytes);
	return vmmu_fault_from_ept(hardware->info, hardware->gpa.bytes);
}

/* "There is no memory": right if it was so at some time since the fault. */
static void device_is_right(unsigned i, sim_gpa_t gpa, uint64_t changes)
{
	struct oracle_answers answers;

	explore_point(&world_slots_object, false, "the oracle judges");
	answers = oracle_expect(world.sim->oracle, world.sim->space[i], gpa, SIM_READ);
	for (unsigned k = 0; k < answers.count; k++)
		if (answers.answer[k].kind == ORACLE_MMIO)
			return;
	if (world.changes == changes)
		sim_violation(world.sim->machine, "vCPU %u at %llx: taken for a device", i,
			      (unsigned long long)gpa.bytes);
}

/* ---- an access ---- */

/* Return: true, that is the end of it. */
static bool handled(unsigned i, const struct vmmu_fault *fault, enum vmmu_outcome outcome,
		    uint64_t changes, enum sim_access_end *end)
{
	struct sim_vm *sim = world.sim;

	*end = SIM_ACCESS_ERROR;
	if (outcome == VMMU_OUTCOME_RESUME || outcome == VMMU_OUTCOME_SPURIOUS ||
	    outcome == VMMU_OUTCOME_RETRY)
		return false;
	if (outcome == VMMU_OUTCOME_MMIO) {
		device_is_right(i, (sim_gpa_t){fault->gpa.addr}, changes);
		*end = SIM_ACCESS_MMIO;
	} else if (outcome != VMMU_OUTCOME_NO_MEMORY || !world.ran_out) {
		sim_violation(sim->machine, "vCPU %u at %llx: outcome %s", i,
			      (unsigned long long)fault->gpa.addr, vmmu_outcome_name(outcome));
	}
	return true;
}

/* Return: true, that is the end of it. */
static bool turn(unsigned i, sim_gpa_t gpa, enum sim_access_kind kind, enum sim_access_end *end)
{
	struct sim_vm *sim = world.sim;
	struct vmmu_fault_result result;
	struct sim_result hardware;
	enum vmmu_error error = enter(i);
	struct vmmu_fault fault;
	uint64_t changes;

	*end = SIM_ACCESS_ERROR;
	if (error != VMMU_OK)
		return true;
	if (!instruction(i, gpa, kind, &hardware))
		return false;
	*end = SIM_ACCESS_MEMORY;
	if (hardware.outcome == SIM_OK || hardware.outcome == SIM_BROKEN)
		return true;
	world_leave(i);
	fault = decode(&hardware);
	explore_point(&world_slots_object, false, "a fault");
	changes = world.changes;
	sim->last_outcome = vmmu_fault_handle(sim->vcpu[i], &fault, &result);
	return handled(i, &fault, (enum vmmu_outcome)sim->last_outcome, changes, end);
}

static enum sim_access_end access_until_done(unsigned i, uint64_t gfn, enum sim_access_kind kind)
{
	sim_gpa_t gpa = {gfn << VMMU_PAGE_SHIFT};
	enum sim_access_end end;
	bool retried = false;

	for (unsigned n = 0; n < TURNS_MAX && !sim_violation_count(world.sim->machine); n++) {
		if (turn(i, gpa, kind, &end))
			return end;
		/* A second RETRY in a row: what is in the way has to change first. */
		if (world.sim->last_outcome != VMMU_OUTCOME_RETRY)
			continue;
		if (n && retried)
			explore_spin();
		else
			explore_turn();
		retried = true;
	}
	sim_violation(world.sim->machine, "vCPU %u at %llx: no end after %u turns", i,
		      (unsigned long long)gpa.bytes, TURNS_MAX);
	return SIM_ACCESS_ERROR;
}

enum sim_access_end world_access(unsigned i, uint64_t gfn, enum sim_access_kind kind)
{
	enum sim_access_end end;

	world.busy[i] = true;
	end = access_until_done(i, gfn, kind);
	world.busy[i] = false;
	return end;
}

static void must_be_memory(unsigned i, uint64_t gfn, enum sim_access_kind kind)
{
	enum sim_access_end end = world_access(i, gfn, kind);

	if (end != SIM_ACCESS_MEMORY && !world.ran_out)
		sim_violation(world.sim->machine, "vCPU %u: frame %llx is not memory", i,
			      (unsigned long long)gfn);
}

void world_write(unsigned i, uint64_t gfn)
{
	must_be_memory(i, gfn, SIM_WRITE);
}

void world_read(unsigned i, uint64_t gfn)
{
	must_be_memory(i, gfn, SIM_READ);
}
