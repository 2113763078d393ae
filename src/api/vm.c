/* SPDX-License-Identifier: MIT */
/* VMs: creation, destruction, counters. */
#include <vmmu/vm.h>

#include "api/engines.h"
#include "vm.h"

static bool port_is_valid(const struct vmmu_port *port)
{
	const struct vmmu_port_locks *locks = port->locks;

	if (!port->page_alloc || !port->page_free || !port->page_map || !port->tlb_flush)
		return false;
	return !locks ||
	       (locks->create && locks->destroy && locks->acquire_shared && locks->release_shared &&
		locks->acquire_exclusive && locks->release_exclusive);
}

static bool config_is_valid(const struct vmmu_vm_config *c)
{
	return c->format >= VMMU_FORMAT_NPT && c->format <= VMMU_FORMAT_SHADOW &&
	       (c->root_level == 4 || c->root_level == 5) && c->physical_bits >= 32 &&
	       c->physical_bits <= 52 && c->max_leaf >= VMMU_LEVEL_4K &&
	       c->max_leaf <= VMMU_LEVEL_1G && c->spaces >= 1 && c->spaces <= VMMU_SPACES_MAX &&
	       c->prefetch <= VMMU_PREFETCH_MAX && !(c->prefetch & (c->prefetch - 1)) &&
	       !(c->no_accessed_dirty && c->format != VMMU_FORMAT_EPT);
}

/* Shadow paging reads the guest's memory. */
static bool port_fits(const struct vmmu_port *port, const struct vmmu_vm_config *config)
{
	return config->format != VMMU_FORMAT_SHADOW ||
	       (port->guest_map && (!port->guest_page || port->guest_page_now));
}

/* Frames that the tables can map: guest-physical addresses have 52 bits at most. */
static vmmu_gfn_t gfn_end_of(const struct vmmu_vm_config *config)
{
	unsigned bits = VMMU_PAGE_SHIFT + 9 * config->root_level;

	/* Maps of frames reach as far. */
	if (config->format == VMMU_FORMAT_SHADOW)
		bits = VMMU_FRAMEMAP_KEY_BITS + VMMU_PAGE_SHIFT;
	return (vmmu_gfn_t){UINT64_C(1) << ((bits < 52 ? bits : 52) - VMMU_PAGE_SHIFT)};
}

/* Everything but the VM's own page. Works on a VM that was only partly made. */
static void fini(struct vmmu_vm *vm)
{
	for (unsigned space = 0; space < vm->config.spaces; space++)
		vmmu_slots_fini(vm, space);
	vmmu_pages_fini(vm);
	vmmu_framemap_fini(vm);
	vmmu_tracking_fini(vm);
	vmmu_rwlock_fini(&vm->mmu_lock, vm->port, vm->host);
}

static bool init(struct vmmu_vm *vm)
{
	if (!vmmu_rwlock_init(&vm->mmu_lock, vm->port, vm->host) || !vmmu_pages_init(vm))
		return false;
	for (unsigned space = 0; space < vm->config.spaces; space++)
		if (!vmmu_slots_init(vm, space))
			return false;
	return true;
}

enum vmmu_error vmmu_vm_create(const struct vmmu_port *port, void *host,
			       const struct vmmu_vm_config *config, struct vmmu_vm **out)
{
	struct vmmu_vm *vm;
	vmmu_pfn_t pfn;

	if (!port_is_valid(port) || !config_is_valid(config) || !port_fits(port, config))
		return VMMU_EINVAL;
	pfn = port->page_alloc(host);
	if (vmmu_pfn_is_none(pfn))
		return VMMU_ENOMEM;
	vm = port->page_map(host, pfn);
	vm->port = port;
	vm->host = host;
	vm->config = *config;
	vm->config.prefetch = config->prefetch ? config->prefetch : 8;
	vm->self = pfn;
	vm->gfn_end = gfn_end_of(config);
	vmmu_fmt_init(&vm->fmt, config);
	vmmu_epoch_init(&vm->epoch);
	if (!init(vm)) {
		fini(vm);
		port->page_free(host, pfn);
		return VMMU_ENOMEM;
	}
	*out = vm;
	return VMMU_OK;
}

enum vmmu_error vmmu_vm_destroy(struct vmmu_vm *vm)
{
	const struct vmmu_tracking *tracking = vmmu_tracking_of(vm);
	struct vmmu_task task = task_of_vm(vm);
	const struct vmmu_port *port = vm->port;
	void *host = vm->host;

	if (vm->vcpu_count || (tracking && tracking->registered))
		return VMMU_EBUSY;
	vmmu_section_begin(&task);
	vmmu_zap_everything(&task);
	vmmu_section_end(&task);
	while (atomic_get(&vm->pages.retired_count))
		vmmu_table_collect(vm);
	fini(vm);
	port->page_free(host, vm->self);
	return VMMU_OK;
}

void vmmu_stats_read(struct vmmu_vm *vm, uint64_t values[VMMU_STAT_COUNT])
{
	struct vmmu_task task = task_of_vm(vm);

	vmmu_section_begin_shared(&task); /* the list of vCPUs stands still */
	for (unsigned i = 0; i < VMMU_STAT_COUNT; i++) {
		values[i] = atomic_get(&vm->stats[i]);
		for (const struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
			values[i] += atomic_get(&v->stats[i]);
	}
	values[VMMU_STAT_TABLES] = atomic_get(&vm->pages.live);
	values[VMMU_STAT_TRACK_FRAMES] = atomic_get(&vm->tracked);
	vmmu_section_end_shared(&task);
}
