/* SPDX-License-Identifier: MIT */
/* The port under shadow paging, guest entry, and the guest's registers. */
#include "shadow_vm.h"

#include <stdlib.h>
#include <string.h>

/* The four entries of a CPU in PAE mode must lie below 4 GiB: so does all of RAM. */
#define BASE_PFN 0x20000u

/* ---- callbacks ---- */

static vmmu_pfn_t port_alloc(void *host)
{
	struct shadow_vm *svm = host;

	if (svm->locks_held)
		sim_violation(svm->machine, "page_alloc with a lock held");
	return (vmmu_pfn_t){sim_ram_alloc(svm->machine, SIM_FRAME_TABLE).n};
}

static void port_free(void *host, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	sim_ram_free(svm->machine, (sim_pfn_t){pfn.n});
}

static void *port_map(void *host, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	return sim_ram_pointer(svm->machine, (sim_pfn_t){pfn.n});
}

/* Out of the guest: what the CPU holds goes when it enters again. */
static void port_flush(void *host, const struct vmmu_flush *flush)
{
	struct shadow_vm *svm = host;

	(void)flush;
	for (unsigned i = 0; i < svm->vcpus; i++)
		shadow_leave(svm, i);
}

static struct vmmu_page page_of(struct shadow_vm *svm, uint64_t page)
{
	struct sim_host_view view = sim_host_query(svm->machine, (sim_hpage_t){page});

	return (struct vmmu_page){
		.pfn = {view.is_present ? view.pfn.n : VMMU_PFN_NONE.n},
		.level = (enum vmmu_level)view.run_level,
		.writable = view.is_writable,
	};
}

static enum vmmu_page_status port_page(void *host, const struct vmmu_page_request *request,
				       struct vmmu_page *pages)
{
	struct shadow_vm *svm = host;
	uint64_t first = request->host_address >> VMMU_PAGE_SHIFT;
	struct vmmu_page wanted = page_of(svm, first + request->wanted);

	if (svm->locks_held)
		sim_violation(svm->machine, "guest_page with a lock held");
	if (svm->options.patient && svm->pending_page != first + request->wanted) {
		svm->pending_page = first + request->wanted;
		return VMMU_PAGE_PENDING;
	}
	if (vmmu_pfn_is_none(wanted.pfn) || (request->write && !wanted.writable))
		return VMMU_PAGE_ERROR;
	for (uint32_t i = 0; i < request->count; i++)
		pages[i] = page_of(svm, first + i);
	return VMMU_PAGE_OK;
}

static bool port_page_now(void *host, uint64_t host_address, struct vmmu_page *page)
{
	*page = page_of(host, host_address >> VMMU_PAGE_SHIFT);
	return !vmmu_pfn_is_none(page->pfn);
}

static void *port_guest_map(void *host, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	if (svm->on_guest_map)
		svm->on_guest_map(svm, svm->hook_context);
	return port_map(host, pfn);
}

uint8_t *shadow_frame_byte(const struct shadow_vm *svm, uint8_t *array, uint64_t pfn)
{
	uint64_t index = pfn - sim_ram_first_pfn(svm->machine).n;

	return index < svm->options.machine.frame_count ? &array[index] : NULL;
}

static void port_dirty(void *host, vmmu_gfn_t first, uint64_t frames, vmmu_pfn_t pfn)
{
	struct shadow_vm *svm = host;

	(void)first;
	for (uint64_t i = 0; i < frames; i++) {
		uint8_t *dirty = shadow_frame_byte(svm, svm->dirty_frame, pfn.n + i);

		if (dirty)
			*dirty = 1;
	}
}

static void port_log(void *host, const char *text)
{
	struct shadow_vm *svm = host;

	sim_violation(svm->machine, "the library says: %s", text);
}

static void *lock_create(void *host)
{
	return host;
}

static void lock_destroy(void *host, void *lock)
{
	(void)host;
	(void)lock;
}

static void lock_take(void *host, void *lock)
{
	struct shadow_vm *svm = host;

	(void)lock;
	if (svm->locks_held++)
		sim_violation(svm->machine, "a lock is taken twice");
}

static void lock_release(void *host, void *lock)
{
	struct shadow_vm *svm = host;

	(void)lock;
	if (!svm->locks_held--)
		sim_violation(svm->machine, "a lock is released that nobody holds");
}

static const struct vmmu_port_locks counting_locks = {
	.create = lock_create,
	.destroy = lock_destroy,
	.acquire_shared = lock_take,
	.release_shared = lock_release,
	.acquire_exclusive = lock_take,
	.release_exclusive = lock_release,
};

/* ---- making and ending ---- */

static enum linear_memory oracle_read(void *context, sim_gpa_t gpa, uint64_t *value)
{
	const struct shadow_vm *svm = context;
	const struct shadow_slot *slot;
	uint64_t page;

	slot = shadow_slot_of(svm, gpa.bytes, &page);
	*value = shadow_peek(svm, gpa.bytes);
	if (!slot)
		return LINEAR_HOLE;
	return slot->is_readonly ? LINEAR_ROM : LINEAR_RAM;
}

static void take_defaults(struct shadow_options *o, unsigned vcpus)
{
	if (!o->machine.frame_count)
		o->machine.frame_count = 16384;
	if (!o->machine.host_page_count)
		o->machine.host_page_count = 4096;
	if (!o->machine.cpu_count)
		o->machine.cpu_count = vcpus;
	o->machine.base_pfn = BASE_PFN;
	/* CPUs outside the guest may keep what they like: they are told to flush at entry. */
	o->machine.lazy_flush = true;
	if (!o->guest_bits)
		o->guest_bits = 40;
	if (!o->max_leaf)
		o->max_leaf = VMMU_LEVEL_1G;
	if (!o->run_level)
		o->run_level = SIM_LEVEL_4K;
}

static bool port_should_yield(void *host)
{
	const struct shadow_vm *svm = host;

	return svm->on_pause != NULL;
}

static void port_yield(void *host)
{
	struct shadow_vm *svm = host;

	if (svm->locks_held)
		sim_violation(svm->machine, "yield with a lock held");
	if (svm->on_pause)
		svm->on_pause(svm, svm->hook_context);
}

static void fill_port(struct shadow_vm *svm)
{
	svm->port = (struct vmmu_port){
		.page_alloc = port_alloc,
		.page_free = port_free,
		.page_map = port_map,
		.tlb_flush = port_flush,
		.guest_page = svm->options.direct ? NULL : port_page,
		.guest_page_now = svm->options.direct ? NULL : port_page_now,
		.guest_map = port_guest_map,
		.page_dirty = port_dirty,
		.log = port_log,
		.should_yield = port_should_yield,
		.yield = port_yield,
		.locks = svm->options.own_locks ? &counting_locks : NULL,
	};
}

static bool make(struct shadow_vm *svm)
{
	struct vmmu_vm_config config = {
		.format = VMMU_FORMAT_SHADOW,
		.root_level = 5,
		.physical_bits = 46,
		.max_leaf = svm->options.max_leaf,
		.spaces = 1,
		.prefetch = svm->options.prefetch,
		.table_quota = svm->options.table_quota,
	};

	svm->machine = sim_machine_new(&svm->options.machine);
	svm->oracle = linear_oracle_new(svm->vcpus, oracle_read, svm);
	svm->dirty_frame = calloc(svm->options.machine.frame_count, 1);
	svm->written_frame = calloc(svm->options.machine.frame_count, 1);
	if (!svm->machine || !svm->oracle || !svm->dirty_frame || !svm->written_frame)
		return false;
	fill_port(svm);
	return vmmu_vm_create(&svm->port, svm, &config, &svm->vm) == VMMU_OK;
}

struct shadow_vm *shadow_vm_new(const struct shadow_options *options, unsigned vcpus)
{
	struct linear_regs regs = {.mode = LINEAR_OFF, .pse36_width = 40, .has_1g = true};
	struct shadow_vm *svm = calloc(1, sizeof(*svm));

	if (!svm)
		return NULL;
	svm->options = *options;
	svm->vcpus = vcpus;
	svm->pending_page = UINT64_MAX;
	take_defaults(&svm->options, vcpus);
	regs.maxphyaddr = (uint8_t)svm->options.guest_bits;
	if (!make(svm)) {
		fprintf(stderr, "sim: no machine or no VM with these options\n");
		abort();
	}
	for (unsigned i = 0; i < vcpus; i++) {
		if (vmmu_vcpu_create(svm->vm, svm, &svm->vcpu[i]) != VMMU_OK)
			abort();
		shadow_reset(svm, i, &regs);
	}
	return svm;
}

void shadow_vm_free(struct shadow_vm *svm)
{
	uint64_t left;

	for (unsigned i = 0; i < svm->vcpus; i++) {
		shadow_leave(svm, i);
		sim_cpu_flush_everything(sim_machine_cpu(svm->machine, i));
		vmmu_vcpu_destroy(svm->vcpu[i]);
	}
	if (vmmu_vm_destroy(svm->vm) != VMMU_OK)
		sim_violation(svm->machine, "the VM could not be destroyed");
	left = sim_ram_count(svm->machine, SIM_FRAME_TABLE);
	if (left)
		sim_violation(svm->machine, "%llu table pages were not given back",
			      (unsigned long long)left);
	if (sim_violation_count(svm->machine)) {
		sim_violations_print(svm->machine, stderr);
		fprintf(stderr, "sim: violations found while the VM was taken down\n");
		abort();
	}
	linear_oracle_free(svm->oracle);
	sim_machine_free(svm->machine);
	free(svm->dirty_frame);
	free(svm->written_frame);
	free(svm);
}

/* ---- guest entry ---- */

/* What the hardware runs with: the header of shadow.h says which bits are whose. */
static struct linear_regs hardware_regs(const struct shadow_vm *svm, unsigned vcpu,
					const struct vmmu_entry *entry)
{
	const struct linear_regs *guest = linear_oracle_regs(svm->oracle, vcpu);
	bool paging = guest->mode != LINEAR_OFF;
	struct linear_regs regs = {
		.mode = entry->root_level == 5   ? LINEAR_5_LEVEL
			: entry->root_level == 4 ? LINEAR_4_LEVEL
						 : LINEAR_PAE,
		.vendor = guest->vendor,
		.cr3 = entry->root.addr,
		.wp = true,
		.pse = true,
		.nxe = true,
		.smep = guest->smep && paging,
		.smap = guest->smap && paging,
		.pke = guest->pke && paging,
		.pkru = guest->pkru,
		.maxphyaddr = 46,
		.pse36_width = 40,
		.has_1g = true,
	};

	return regs;
}

enum vmmu_error shadow_enter(struct shadow_vm *svm, unsigned vcpu)
{
	struct linear_cpu *cpu = linear_cpu_of(sim_machine_cpu(svm->machine, vcpu));
	struct vmmu_entry entry;
	struct linear_regs regs;
	enum vmmu_error error;

	if (svm->running[vcpu])
		return VMMU_OK;
	error = vmmu_vcpu_enter(svm->vcpu[vcpu], &entry);
	if (error != VMMU_OK)
		return error;
	svm->running[vcpu] = true;
	if (entry.flush)
		linear_cpu_flush_all(cpu, 1 + vcpu);
	regs = hardware_regs(svm, vcpu, &entry);
	if (linear_cpu_load(cpu, &regs, 1 + vcpu) != LINEAR_LOADED)
		sim_violation(svm->machine, "vCPU %u: the hardware does not take the root %llx",
			      vcpu, (unsigned long long)entry.root.addr);
	return VMMU_OK;
}

void shadow_leave(struct shadow_vm *svm, unsigned vcpu)
{
	if (!svm->running[vcpu])
		return;
	linear_cpu_unload(linear_cpu_of(sim_machine_cpu(svm->machine, vcpu)));
	svm->running[vcpu] = false;
	vmmu_vcpu_leave(svm->vcpu[vcpu]);
}

/* ---- registers ---- */

const struct linear_regs *shadow_regs(const struct shadow_vm *svm, unsigned vcpu)
{
	return linear_oracle_regs(svm->oracle, vcpu);
}

static void tell_paging(struct shadow_vm *svm, unsigned vcpu)
{
	const struct linear_regs *r = linear_oracle_regs(svm->oracle, vcpu);
	struct vmmu_paging p = {
		.mode = (enum vmmu_paging_mode)r->mode,
		.cr3 = r->cr3,
		.physical_bits = r->maxphyaddr,
		.pkru = r->pkru,
		.nx = r->nxe,
		.wp = r->wp,
		.pse = r->pse,
		.pse36 = r->pse36_width > 32,
		.smep = r->smep,
		.smap = r->smap,
		.pke = r->pke,
		.huge_1g = r->has_1g,
		.amd = r->vendor == LINEAR_AMD,
	};

	memcpy(p.pdpte, r->pdpte, sizeof(p.pdpte));
	if (vmmu_shadow_set_paging(svm->vcpu[vcpu], &p) != VMMU_OK)
		sim_violation(svm->machine, "vmmu_shadow_set_paging() refuses");
}

void shadow_reset(struct shadow_vm *svm, unsigned vcpu, const struct linear_regs *regs)
{
	shadow_leave(svm, vcpu);
	linear_oracle_reset(svm->oracle, vcpu, regs);
	tell_paging(svm, vcpu);
}

bool shadow_set_regs(struct shadow_vm *svm, unsigned vcpu, const struct linear_regs *regs)
{
	struct linear_regs old = *linear_oracle_regs(svm->oracle, vcpu), same = *regs;

	shadow_leave(svm, vcpu);
	if (linear_oracle_set_regs(svm->oracle, vcpu, regs) != LINEAR_DONE)
		return false;
	same.cr3 = old.cr3;
	same.pkru = old.pkru;
	memcpy(same.pdpte, old.pdpte, sizeof(old.pdpte));
	if (regs->pkru != old.pkru && !memcmp(&same, &old, sizeof(old)))
		vmmu_shadow_set_pkru(svm->vcpu[vcpu], regs->pkru);
	else
		tell_paging(svm, vcpu);
	return true;
}

bool shadow_mov_cr3(struct shadow_vm *svm, unsigned vcpu, uint64_t value)
{
	const struct linear_regs *r = linear_oracle_regs(svm->oracle, vcpu);
	bool keep = r->pcide && value >> 63;

	shadow_leave(svm, vcpu);
	if (linear_oracle_mov_cr3(svm->oracle, vcpu, value) != LINEAR_DONE)
		return false;
	if (vmmu_shadow_load_cr3(svm->vcpu[vcpu], r->cr3, r->mode == LINEAR_PAE ? r->pdpte : NULL,
				 keep ? VMMU_CR3_KEEP : VMMU_CR3_FLUSH) != VMMU_OK)
		sim_violation(svm->machine, "vmmu_shadow_load_cr3() refuses");
	return true;
}

void shadow_invlpg(struct shadow_vm *svm, unsigned vcpu, uint64_t gva)
{
	shadow_leave(svm, vcpu);
	linear_oracle_invlpg(svm->oracle, vcpu, sim_gva(gva));
	vmmu_shadow_invlpg(svm->vcpu[vcpu], (vmmu_gva_t){gva});
}

void shadow_invpcid(struct shadow_vm *svm, unsigned vcpu, enum linear_invpcid type, uint16_t pcid,
		    uint64_t gva)
{
	shadow_leave(svm, vcpu);
	linear_oracle_invpcid(svm->oracle, vcpu, type, pcid, sim_gva(gva));
	if (type == LINEAR_INVPCID_ADDRESS)
		vmmu_shadow_invlpg(svm->vcpu[vcpu], (vmmu_gva_t){gva});
	else
		vmmu_shadow_flush(svm->vcpu[vcpu]);
}

void shadow_flush(struct shadow_vm *svm, unsigned vcpu)
{
	shadow_leave(svm, vcpu);
	linear_oracle_flush_all(svm->oracle, vcpu);
	vmmu_shadow_flush(svm->vcpu[vcpu]);
}
