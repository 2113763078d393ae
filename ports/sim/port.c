/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- callbacks ---- */

static vmmu_pfn_t port_alloc(void *host)
{
	struct sim_vm *sim = host;

	if (sim->locks_held)
		sim_violation(sim->machine, "page_alloc with a lock held");
	return (vmmu_pfn_t){sim_ram_alloc(sim->machine, SIM_FRAME_TABLE).n};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	sim_ram_free(sim->machine, (sim_pfn_t){pfn.n});
}

static void *port_map(void *host, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	return sim_ram_pointer(sim->machine, (sim_pfn_t){pfn.n});
}

/* Only CPUs that run the VM are interrupted: the others are the library's to remember. */
static void port_flush(void *host, const struct vmmu_flush *flush)
{
	struct sim_vm *sim = host;

	for (unsigned i = 0; i < SIM_VCPUS_MAX && sim->vcpu[i]; i++) {
		struct sim_cpu *cpu = sim_machine_cpu(sim->machine, i);

		if (!sim->running[i])
			continue;
		if (flush->everything) {
			/* Out of the guest: what it holds goes when it enters again. */
			sim_vm_leave(sim, i);
		} else if (sim->space[i] == flush->space) {
			sim_cpu_flush_range(cpu, 1 + i, (sim_gfn_t){flush->range.start.n},
					    (sim_gfn_t){flush->range.end.n});
		}
	}
}

static enum vmmu_level level_of(enum sim_level level)
{
	return (enum vmmu_level)level;
}

static void run_hook(struct sim_vm *sim, sim_yield_fn **hook)
{
	sim_yield_fn *call = *hook;

	if (!call || sim->in_hook)
		return;
	*hook = NULL;
	sim->in_hook = true;
	call(sim, sim->hook_context);
	sim->in_hook = false;
}

static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	struct sim_vm *sim = host;
	uint64_t first = request->host_address >> VMMU_PAGE_SHIFT;
	uint64_t wanted = first + request->wanted;
	struct sim_host_view view;

	if (sim->locks_held)
		sim_violation(sim->machine, "guest_page with a lock held");
	sim->pages_asked++;
	run_hook(sim, &sim->before_page_answer);
	view = sim_host_query(sim->machine, (sim_hpage_t){wanted});
	if (sim->options.patient && sim->pending_page != wanted) {
		sim->pending_page = wanted;
		return VMMU_PAGE_PENDING;
	}
	if (!view.is_present || (request->write && !view.is_writable))
		return VMMU_PAGE_ERROR;
	for (uint32_t i = 0; i < request->count; i++) {
		view = sim_host_query(sim->machine, (sim_hpage_t){first + i});
		pages[i] = (struct vmmu_page){
			.pfn = {view.is_present ? view.pfn.n : VMMU_PFN_NONE.n},
			.level = level_of(view.run_level),
			.writable = view.is_writable,
		};
	}
	run_hook(sim, &sim->after_page_answer);
	return VMMU_PAGE_OK;
}

uint8_t *sim_vm_frame(const struct sim_vm *sim, uint8_t *array, uint64_t pfn)
{
	uint64_t base = sim_ram_first_pfn(sim->machine).n;

	return pfn - base < sim->options.machine.frame_count ? &array[pfn - base] : NULL;
}

static void port_dirty(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	struct sim_vm *sim = host;

	(void)first;
	for (uint64_t i = 0; i < frames; i++) {
		uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, pfn.n + i);

		if (dirty)
			*dirty = 1;
	}
}

static bool port_should_yield(void *host)
{
	struct sim_vm *sim = host;

	return sim->options.eager_yield && !sim->in_hook;
}

static void port_yield(void *host)
{
	struct sim_vm *sim = host;
	sim_yield_fn *hook = sim->on_yield;

	if (sim->locks_held)
		sim_violation(sim->machine, "yield with a lock held");
	if (!hook || sim->in_hook)
		return;
	sim->in_hook = true;
	hook(sim, sim->hook_context);
	sim->in_hook = false;
}

static void port_trace(void *host, const struct vmmu_trace *record)
{
	struct sim_vm *sim = host;

	if (record->number != sim->traces)
		sim_violation(sim->machine, "trace record %llu is missing",
			      (unsigned long long)sim->traces);
	sim->traces = record->number + 1;
}

static void port_log(void *host, const char *text)
{
	struct sim_vm *sim = host;

	sim_violation(sim->machine, "the library says: %s", text);
}

/* ---- the port's own locks ---- */

static void *lock_create(void *host)
{
	pthread_rwlock_t *lock = malloc(sizeof(*lock));

	(void)host;
	if (lock && pthread_rwlock_init(lock, NULL)) {
		free(lock);
		lock = NULL;
	}
	return lock;
}

static void lock_destroy(void *host, void *lock)
{
	(void)host;
	pthread_rwlock_destroy(lock);
	free(lock);
}

static void lock_shared(void *host, void *lock)
{
	struct sim_vm *sim = host;

	pthread_rwlock_rdlock(lock);
	sim->locks_held++;
}

static void lock_exclusive(void *host, void *lock)
{
	struct sim_vm *sim = host;

	pthread_rwlock_wrlock(lock);
	sim->locks_held++;
}

static void unlock(void *host, void *lock)
{
	struct sim_vm *sim = host;

	sim->locks_held--;
	pthread_rwlock_unlock(lock);
}

static const struct vmmu_port_locks port_locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_shared,
	.release_shared = unlock,
	.acquire_exclusive = lock_exclusive,
	.release_exclusive = unlock,
};

/* ---- making and ending ---- */

struct vmmu_vm_config sim_vm_config(void)
{
	return (struct vmmu_vm_config){
		.format = VMMU_FORMAT_NPT,
		.root_level = 4,
		.physical_bits = 40,
		.max_leaf = VMMU_LEVEL_1G,
		.spaces = 2,
		.prefetch = 8,
	};
}

static void fill_port(struct sim_vm *sim)
{
	sim->port = (struct vmmu_port){
		.page_alloc = port_alloc,
		.page_free = port_free,
		.page_map = port_map,
		.tlb_flush = port_flush,
		.guest_page = sim->options.direct ? NULL : port_page,
		.page_dirty = port_dirty,
		.should_yield = port_should_yield,
		.yield = port_yield,
		.locks = sim->options.own_locks ? &port_locks : NULL,
		.log = port_log,
		.trace = port_trace,
	};
}

static bool make(struct sim_vm *sim, unsigned vcpus)
{
	sim->machine = sim_machine_new(&sim->options.machine);
	if (!sim->machine)
		return false;
	sim->oracle = oracle_new(sim->machine);
	sim->dirty_frame = calloc(sim->options.machine.frame_count, 1);
	sim->written_frame = calloc(sim->options.machine.frame_count, 1);
	if (!sim->oracle || !sim->dirty_frame || !sim->written_frame)
		return false;
	fill_port(sim);
	return vmmu_vm_create(&sim->port, sim, &sim->options.vm, &sim->vm) == VMMU_OK &&
	       vcpus <= SIM_VCPUS_MAX;
}

struct sim_vm *sim_vm_new(const struct sim_vm_options *options, unsigned vcpus)
{
	struct sim_vm *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return NULL;
	sim->options = *options;
	if (!sim->options.vm.format)
		sim->options.vm = sim_vm_config();
	if (!sim->options.machine.frame_count)
		sim->options.machine.frame_count = 16384;
	if (!sim->options.machine.cpu_count)
		sim->options.machine.cpu_count = vcpus ? vcpus : 1;
	/* CPUs outside the guest may keep what they like: they are told to flush at entry. */
	sim->options.machine.lazy_flush = true;
	sim->pending_page = UINT64_MAX;
	if (!make(sim, vcpus))
		goto failed;
	for (unsigned i = 0; i < vcpus; i++)
		if (vmmu_vcpu_create(sim->vm, sim, &sim->vcpu[i]) != VMMU_OK)
			goto failed;
	return sim;
failed:
	fprintf(stderr, "sim: no machine or no VM with these options\n");
	free(sim->dirty_frame);
	free(sim->written_frame);
	free(sim);
	return NULL;
}

void sim_vm_free(struct sim_vm *sim)
{
	uint64_t left;

	sim->on_yield = sim->before_page_answer = sim->after_page_answer = NULL;
	for (unsigned i = 0; i < SIM_VCPUS_MAX && sim->vcpu[i]; i++) {
		sim_vm_leave(sim, i);
		sim_cpu_flush_everything(sim_machine_cpu(sim->machine, i));
		vmmu_vcpu_destroy(sim->vcpu[i]);
	}
	if (vmmu_vm_destroy(sim->vm) != VMMU_OK)
		sim_violation(sim->machine, "the VM could not be destroyed");
	left = sim_ram_count(sim->machine, SIM_FRAME_TABLE);
	if (left)
		sim_violation(sim->machine, "%llu table pages were not given back",
			      (unsigned long long)left);
	if (sim_violation_count(sim->machine)) {
		sim_violations_print(sim->machine, stderr);
		fprintf(stderr, "sim: violations found while the VM was taken down\n");
		abort();
	}
	oracle_free(sim->oracle);
	sim_machine_free(sim->machine);
	free(sim->dirty_frame);
	free(sim->written_frame);
	free(sim);
}

/* ---- guest entry ---- */

struct sim_root sim_vm_root(const struct sim_vm *sim, const struct vmmu_entry *entry)
{
	return (struct sim_root){
		.format = sim->options.vm.format == VMMU_FORMAT_NPT ? SIM_NPT : SIM_EPT,
		.pfn = {entry->root.addr >> VMMU_PAGE_SHIFT},
		.level_count = (uint8_t)entry->root_level,
		.maxphyaddr = (uint8_t)sim->options.vm.physical_bits,
		.has_nx = true,
		.has_1g = sim->options.vm.max_leaf == VMMU_LEVEL_1G,
		.has_ad = !sim->options.vm.no_accessed_dirty,
		.rsvd_without_p = sim->options.rsvd_without_p,
	};
}

enum vmmu_error sim_vm_enter(struct sim_vm *sim, unsigned vcpu)
{
	struct sim_cpu *cpu = sim_machine_cpu(sim->machine, vcpu);
	struct vmmu_entry entry;
	struct sim_root root;
	enum vmmu_error error;

	if (sim->running[vcpu])
		return VMMU_OK;
	error = vmmu_vcpu_enter(sim->vcpu[vcpu], &entry);
	if (error != VMMU_OK)
		return error;
	root = sim_vm_root(sim, &entry);
	root.tag = 1 + vcpu;
	if (entry.flush)
		sim_cpu_flush_all(cpu, root.tag);
	sim_cpu_set_root(cpu, &root);
	sim->running[vcpu] = true;
	return VMMU_OK;
}

void sim_vm_leave(struct sim_vm *sim, unsigned vcpu)
{
	if (!sim->running[vcpu])
		return;
	sim_cpu_clear_root(sim_machine_cpu(sim->machine, vcpu));
	sim->running[vcpu] = false;
	vmmu_vcpu_leave(sim->vcpu[vcpu]);
}

static struct vmmu_fault decode(const struct sim_result *hardware)
{
	if (hardware->outcome == SIM_NPF)
		return vmmu_fault_from_npf(hardware->info, hardware->gpa.bytes);
	if (hardware->outcome == SIM_EPT_MISCONFIG)
		return vmmu_fault_from_ept_misconfig(hardware->gpa.bytes);
	return vmmu_fault_from_ept(hardware->info, hardware->gpa.bytes);
}

enum vmmu_outcome sim_vm_step(struct sim_vm *sim, unsigned vcpu, uint64_t gpa,
			      enum sim_access_kind kind, struct sim_result *hardware,
			      struct vmmu_fault_result *result)
{
	struct vmmu_fault fault;
	enum vmmu_error error = sim_vm_enter(sim, vcpu);
	char why[256];

	if (error != VMMU_OK)
		return error == VMMU_ENOMEM ? VMMU_OUTCOME_NO_MEMORY : VMMU_OUTCOME_DEAD;
	*hardware = sim_cpu_access(sim_machine_cpu(sim->machine, vcpu), (sim_gpa_t){gpa}, kind);
	if (!oracle_agrees(sim->oracle, sim->space[vcpu], (sim_gpa_t){gpa}, kind, hardware, why,
			   sizeof(why)))
		sim_violation(sim->machine, "vCPU %u: %s", vcpu, why);
	if (hardware->outcome == SIM_OK || hardware->outcome == SIM_BROKEN)
		return VMMU_OUTCOME_RESUME;
	sim_vm_leave(sim, vcpu);
	fault = decode(hardware);
	sim->faults++;
	sim->last_outcome = vmmu_fault_handle(sim->vcpu[vcpu], &fault, result);
	return sim->last_outcome;
}
