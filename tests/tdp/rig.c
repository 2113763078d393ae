/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include "vm.h"

struct sim_vm_options rig_options(enum vmmu_format format)
{
	struct sim_vm_options options = {
		.machine = {.seed = 11,
			    .frame_count = 8192,
			    .host_page_count = RIG_PAGES,
			    .tlb_count = 512,
			    .psc_count = 64,
			    .mode = SIM_CPU_ALWAYS_STALE},
		.vm = sim_vm_config(),
		.run_level = SIM_LEVEL_4K,
	};

	options.vm.format = format;
	options.vm.max_leaf = VMMU_LEVEL_4K;
	options.vm.prefetch = 1;
	return options;
}

struct sim_vm *rig_new(const struct sim_vm_options *options, unsigned vcpus)
{
	struct sim_vm *sim = sim_vm_new(options, vcpus);

	assert_non_null(sim);
	if (!options->direct)
		assert_true(sim_host_populate(sim->machine, (sim_hpage_t){0},
					      options->machine.host_page_count,
					      options->run_level));
	return sim;
}

void rig_no_violation(const struct sim_vm *sim)
{
	if (sim_violation_count(sim->machine))
		fail_msg("%s", sim_violation_text(sim->machine, 0));
}

void rig_end(struct sim_vm *sim)
{
	sim->options.eager_yield = false;
	sim_vm_check(sim);
	rig_no_violation(sim);
	sim_vm_free(sim);
}

void rig_slot(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn, uint64_t count,
	      uint64_t host)
{
	assert_int_equal(sim_slot_create(sim, space, id, gfn, count, host, 0), VMMU_OK);
}

void rig_set_space(struct sim_vm *sim, unsigned vcpu, unsigned space)
{
	sim_vm_leave(sim, vcpu);
	sim->space[vcpu] = space;
	assert_int_equal(vmmu_vcpu_set_space(sim->vcpu[vcpu], space), VMMU_OK);
}

static void must_end(struct sim_vm *sim, unsigned vcpu, uint64_t gfn, enum sim_access_kind kind,
		     enum sim_access_end end)
{
	uint64_t value = oracle_fresh_value(sim->oracle);
	enum sim_access_end got = sim_vm_access(sim, vcpu, gfn << VMMU_PAGE_SHIFT, kind, &value);

	rig_no_violation(sim);
	if (got != end)
		fail_msg("vCPU %u at gfn %llx: ended as %d, not %d", vcpu, (unsigned long long)gfn,
			 (int)got, (int)end);
}

void rig_write(struct sim_vm *sim, unsigned vcpu, uint64_t gfn)
{
	must_end(sim, vcpu, gfn, SIM_WRITE, SIM_ACCESS_MEMORY);
}

void rig_read(struct sim_vm *sim, unsigned vcpu, uint64_t gfn)
{
	must_end(sim, vcpu, gfn, SIM_READ, SIM_ACCESS_MEMORY);
}

void rig_mmio(struct sim_vm *sim, unsigned vcpu, uint64_t gfn)
{
	must_end(sim, vcpu, gfn, SIM_READ, SIM_ACCESS_MMIO);
}

enum vmmu_outcome rig_step(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
			   enum sim_access_kind kind)
{
	struct vmmu_fault_result result;
	struct sim_result hardware;

	return sim_vm_step(sim, vcpu, gfn << VMMU_PAGE_SHIFT, kind, &hardware, &result);
}

struct vmmu_fault rig_hardware_fault(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
				     enum sim_access_kind kind)
{
	struct sim_result r;

	assert_int_equal(sim_vm_enter(sim, vcpu), VMMU_OK);
	r = sim_cpu_access(sim_machine_cpu(sim->machine, vcpu), (sim_gpa_t){gfn << VMMU_PAGE_SHIFT},
			   kind);
	sim_vm_leave(sim, vcpu);
	assert_true(r.outcome != SIM_OK && r.outcome != SIM_BROKEN);
	if (r.outcome == SIM_NPF)
		return vmmu_fault_from_npf(r.info, r.gpa.bytes);
	return r.outcome == SIM_EPT_VIOLATION ? vmmu_fault_from_ept(r.info, r.gpa.bytes)
					      : vmmu_fault_from_ept_misconfig(r.gpa.bytes);
}

enum vmmu_outcome rig_handle(struct sim_vm *sim, unsigned vcpu, uint64_t gfn, uint32_t access)
{
	struct vmmu_fault fault = {.gpa = {gfn << VMMU_PAGE_SHIFT}, .access = access};
	struct vmmu_fault_result result;

	sim_vm_leave(sim, vcpu);
	return vmmu_fault_handle(sim->vcpu[vcpu], &fault, &result);
}

uint64_t rig_stat(const struct sim_vm *sim, enum vmmu_stat stat)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(sim->vm, values);
	return values[stat];
}

struct vmmu_gfn_range rig_range(uint64_t start, uint64_t end)
{
	return (struct vmmu_gfn_range){{start}, {end}};
}

static struct sim_result walk_root(struct sim_vm *sim, const struct vmmu_sp *root, uint64_t gfn,
				   enum sim_access_kind kind)
{
	struct vmmu_entry entry = {.root = vmmu_pfn_to_hpa(root->pfn),
				   .root_level = sim->options.vm.root_level};
	struct sim_root hardware = sim_vm_root(sim, &entry);

	return sim_walk(sim->machine, &hardware, (sim_gpa_t){gfn << VMMU_PAGE_SHIFT}, kind);
}

struct sim_result rig_walk(struct sim_vm *sim, unsigned vcpu, uint64_t gfn,
			   enum sim_access_kind kind)
{
	assert_non_null(sim->vcpu[vcpu]->root);
	return walk_root(sim, sim->vcpu[vcpu]->root, gfn, kind);
}

unsigned rig_reachable(struct sim_vm *sim, unsigned space, uint64_t gfn)
{
	unsigned found = 0;

	for (const struct vmmu_sp *root = sim->vm->roots; root; root = root->root_next)
		if (root->role.space == space)
			found += walk_root(sim, root, gfn, SIM_READ).outcome == SIM_OK;
	return found;
}

/* Accessed and dirty: bits 5 and 6 of long-mode entries, 8 and 9 of EPT entries. */
bool rig_is_accessed(const struct sim_vm *sim, uint64_t entry)
{
	return entry >> (sim->options.vm.format == VMMU_FORMAT_NPT ? 5 : 8) & 1;
}

bool rig_is_dirty(const struct sim_vm *sim, uint64_t entry)
{
	return entry >> (sim->options.vm.format == VMMU_FORMAT_NPT ? 6 : 9) & 1;
}

bool rig_told_dirty(const struct sim_vm *sim, uint64_t page)
{
	struct sim_host_view view = sim_host_query(sim->machine, (sim_hpage_t){page});
	const uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, view.pfn.n);

	assert_true(view.is_present && dirty != NULL);
	return *dirty;
}
