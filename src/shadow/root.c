/* SPDX-License-Identifier: MIT */
/*
 * Roots and the guest's paging state.
 *
 *   long mode     the mirror of the guest's top table, shared by all vCPUs on the same CR3
 *   other modes   the hardware runs in PAE mode on four entries: a level-3 table of the vCPU's
 *                 own (in no frame's list), whose entries are copied to the page that CR3 names
 *   no memory     CR3 points into a hole: an empty table of the vCPU's own
 */
#include "shadow/root.h"

#include "shadow/fetch.h"
#include "vm.h"

static bool is_long(const struct vmmu_paging *p)
{
	return p->mode == VMMU_PAGING_4LEVEL || p->mode == VMMU_PAGING_5LEVEL;
}

static unsigned top_level(const struct vmmu_paging *p)
{
	if (!is_long(p))
		return VMMU_LEVEL_1G;
	return p->mode == VMMU_PAGING_5LEVEL ? VMMU_LEVEL_256T : VMMU_LEVEL_512G;
}

/* Bits of CR3 that name the top table. */
static vmmu_gfn_t root_gfn(const struct vmmu_vcpu *vcpu)
{
	const struct vmmu_paging *p = &vcpu->shadow.paging;

	return (vmmu_gfn_t){(p->cr3 & VMMU_MASK(p->physical_bits - 1, 12)) >> VMMU_PAGE_SHIFT};
}

void vmmu_shadow_drop_root(struct vmmu_task *task)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	struct vmmu_shade *root = vcpu->root ? shade_of(vcpu->root) : NULL;

	vcpu->root = NULL;
	vcpu->shadow.dummy = false;
	if (!root)
		return;
	if (!vcpu->shadow.own) {
		vmmu_shade_put(task, root);
		return;
	}
	vcpu->shadow.own = false;
	for (unsigned i = shade_filled_from(root, 0); i < VMMU_TABLE_ENTRIES;
	     i = shade_filled_from(root, i + 1))
		vmmu_shade_clear(task, root, i);
	vmmu_table_unlink(task, &root->sp);
}

/* A table of the vCPU's own. The task's cache holds one. */
static struct vmmu_shade *own_root(struct vmmu_task *task, union vmmu_role role)
{
	struct vmmu_shade *s = shade_of(vmmu_table_new(task, (vmmu_gfn_t){0}, role));

	s->generation = task->vm->shades.generation;
	s->sp.users = 1;
	vmmu_table_set_live(task, &s->sp);
	task->vcpu->shadow.own = true;
	return s;
}

/* NULL: the reserve is used up. */
static struct vmmu_shade *make_root(struct vmmu_task *task, union vmmu_role role)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	struct vmmu_shade *s;

	if (!is_long(&vcpu->shadow.paging))
		return own_root(task, role);
	if (!shadow_slot(task, vcpu->space, root_gfn(vcpu))) {
		vcpu->shadow.dummy = true;
		return own_root(task, role);
	}
	s = vmmu_shade_get(task, root_gfn(vcpu), role);
	if (!s)
		return NULL;
	vmmu_shade_hold(s);
	vmmu_shade_sync(task, s);
	return s;
}

/* ---- other spaces of the guest: MOV to CR3 that keeps their translations ---- */

#define KNOWN_MAX 4u

static unsigned known_roots(const struct vmmu_vcpu *vcpu)
{
	return vcpu->shadow.known_count < KNOWN_MAX ? vcpu->shadow.known_count : KNOWN_MAX;
}

static unsigned pcid_of(const struct vmmu_vcpu *vcpu)
{
	return (unsigned)vcpu->shadow.paging.cr3 & (VMMU_PAGE_BYTES - 1u);
}

static bool root_is_known(const struct vmmu_vcpu *vcpu, const struct vmmu_shade *s)
{
	for (unsigned i = 0; i < known_roots(vcpu); i++)
		if (vcpu->shadow.known[i].gfn.n == s->sp.gfn.n &&
		    vcpu->shadow.known[i].role == s->sp.role.word &&
		    vcpu->shadow.known[i].pcid == pcid_of(vcpu))
			return true;
	return false;
}

static void know_root(struct vmmu_vcpu *vcpu, const struct vmmu_shade *s)
{
	if (root_is_known(vcpu, s))
		return;
	vcpu->shadow.known[vcpu->shadow.known_count++ % KNOWN_MAX] =
		(struct vmmu_known_root){s->sp.gfn, s->sp.role.word, pcid_of(vcpu)};
}

/* MOV to CR3 flushes what was cached under its identifier, through whatever table. */
static void forget_pcid(struct vmmu_vcpu *vcpu)
{
	struct vmmu_known_root *known = vcpu->shadow.known;
	unsigned kept = 0;

	for (unsigned i = 0; i < known_roots(vcpu); i++)
		if (known[i].pcid != pcid_of(vcpu))
			known[kept++] = known[i];
	vcpu->shadow.known_count = kept;
}

/* A flush reached the loaded root only, or none: the others are synced when they are loaded. */
static void forget_known_roots(struct vmmu_vcpu *vcpu)
{
	if (VMMU_MUTANT(KNOWN_FOREVER))
		return;
	vcpu->shadow.known_count = 0;
	if (vcpu->root && !vcpu->shadow.own)
		know_root(vcpu, shade_of(vcpu->root));
}

static void set_root(struct vmmu_vcpu *vcpu, struct vmmu_shade *s)
{
	vmmu_pfn_t top = is_long(&vcpu->shadow.paging) ? s->sp.pfn : vcpu->shadow.pdptes_pfn;

	vcpu->root = &s->sp;
	vcpu->must_flush = true;
	if (!vcpu->shadow.own)
		know_root(vcpu, s);
	vcpu->entry = (struct vmmu_entry){
		.root = vmmu_pfn_to_hpa(top),
		.root_level = top_level(&vcpu->shadow.paging),
	};
}

enum vmmu_error vmmu_shadow_load_root(struct vmmu_vcpu *vcpu)
{
	struct vmmu_task *task = &vcpu->task;
	struct vmmu_shade *s = NULL;

	while (!s) {
		if (vm_is_dead(vcpu->vm))
			return VMMU_EDEAD;
		if (root_fits(vcpu))
			return VMMU_OK;
		if (!vmmu_cache_fill(vcpu->vm, task->cache, 1) ||
		    !vmmu_reserve_fill(vcpu->vm, &task->cache->reserve, 8))
			return VMMU_ENOMEM;
		vmmu_section_begin(task);
		vmmu_shadow_drop_root(task);
		s = make_root(task, vcpu->role);
		if (s)
			set_root(vcpu, s);
		vmmu_section_end(task);
	}
	vmmu_table_collect(vcpu->vm);
	return VMMU_OK;
}

void vmmu_shadow_fill_pdptes(struct vmmu_vcpu *vcpu)
{
	for (unsigned i = 0; i < 4 && !(VMMU_MUTANT(STALE_PDPTES) && vcpu->shadow.pdptes[0]); i++) {
		vmmu_spte_t e = shade_get(shade_of(vcpu->root), i);

		/* A page-directory pointer holds an address and the present bit, nothing else. */
		vcpu->shadow.pdptes[i] = spte_kind(e) == VMMU_KIND_TABLE
						 ? (spte_pfn(e).n << VMMU_PAGE_SHIFT) | 1u
						 : 0;
	}
}

/* ---- the guest changes its mind ---- */

static bool paging_is_valid(const struct vmmu_vm *vm, const struct vmmu_paging *p)
{
	return vm->config.format == VMMU_FORMAT_SHADOW && p->mode <= VMMU_PAGING_5LEVEL &&
	       p->physical_bits >= 32 && p->physical_bits <= 52;
}

enum vmmu_error vmmu_shadow_set_paging(struct vmmu_vcpu *vcpu, const struct vmmu_paging *paging)
{
	struct vmmu_task *task = &vcpu->task;

	if (vm_is_dead(vcpu->vm))
		return VMMU_EDEAD;
	if (!paging_is_valid(vcpu->vm, paging))
		return VMMU_EINVAL;
	vcpu->shadow.paging = *paging;
	vmmu_guest_rules_prepare(paging, &vcpu->shadow.rules);
	vcpu->role = vmmu_shade_role(vcpu, top_level(paging));
	vmmu_section_begin(task);
	vmmu_shadow_drop_root(task);
	forget_known_roots(vcpu);
	vmmu_section_end(task);
	vcpu->must_flush = true;
	vmmu_table_collect(vcpu->vm);
	return VMMU_OK;
}

/* The root of the same mode that CR3 names now, if it exists and need not be made. */
static bool switch_root(struct vmmu_task *task, enum vmmu_cr3_kind kind)
	VMMU_REQUIRES(vmmu_mmu_lock)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	struct vmmu_shade *s = vmmu_shade_find(task->vm, root_gfn(vcpu), vcpu->role);

	if (!s || vcpu->shadow.own || !is_long(&vcpu->shadow.paging))
		return false;
	vmmu_shade_hold(s);
	vmmu_shadow_drop_root(task);
	if (!VMMU_MUTANT(SYNC_SKIPPED) &&
	    (kind == VMMU_CR3_FLUSH || !(root_is_known(vcpu, s) || VMMU_MUTANT(KEEP_UNSYNCED))))
		vmmu_shade_sync(task, s);
	set_root(vcpu, s);
	return true;
}

enum vmmu_error vmmu_shadow_load_cr3(struct vmmu_vcpu *vcpu, uint64_t cr3, const uint64_t pdpte[4],
				     enum vmmu_cr3_kind kind)
{
	struct vmmu_task *task = &vcpu->task;

	if (vm_is_dead(vcpu->vm))
		return VMMU_EDEAD;
	if (vcpu->vm->config.format != VMMU_FORMAT_SHADOW)
		return VMMU_EINVAL;
	vcpu->shadow.paging.cr3 = cr3;
	for (unsigned i = 0; pdpte && i < 4; i++)
		vcpu->shadow.paging.pdpte[i] = pdpte[i];
	vcpu->must_flush = true;
	if (kind == VMMU_CR3_FLUSH)
		forget_pcid(vcpu);
	vmmu_section_begin(task);
	if (!switch_root(task, kind))
		vmmu_shadow_drop_root(task);
	vmmu_section_end(task);
	vmmu_table_collect(vcpu->vm);
	return VMMU_OK;
}

void vmmu_shadow_flush(struct vmmu_vcpu *vcpu)
{
	struct vmmu_task *task = &vcpu->task;

	vcpu->must_flush = true;
	if (vm_is_dead(vcpu->vm))
		return;
	vmmu_section_begin(task);
	if (vcpu->root)
		vmmu_shade_sync(task, shade_of(vcpu->root));
	forget_known_roots(vcpu);
	vmmu_section_end(task);
	vmmu_table_collect(vcpu->vm);
}

static bool is_canonical(const struct vmmu_paging *p, vmmu_gva_t gva)
{
	unsigned shift = p->mode == VMMU_PAGING_5LEVEL ? 56 : 47;
	int64_t top = (int64_t)gva.addr >> shift;

	return !is_long(p) || top == 0 || top == -1;
}

/* The level-1 table of the page below @sp, if there is one and it is unsync; else NULL. */
static struct vmmu_shade *unsync_below(struct vmmu_task *task, struct vmmu_sp *sp, vmmu_gfn_t page)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	while (sp && sp->role.level > VMMU_LEVEL_4K) {
		vmmu_spte_t e = shade_get(shade_of(sp), gfn_index(page, sp->role.level));

		sp = spte_kind(e) == VMMU_KIND_TABLE ? vmmu_table_find(task->vm, spte_pfn(e))
						     : NULL;
	}
	/* Tables in sync say what the guest's say; CPUs hold nothing that they do not say. */
	return sp && shade_is_unsync(shade_of(sp)) ? shade_of(sp) : NULL;
}

/* The top table, if it is another one than the root. */
static struct vmmu_shade *other_root(const struct vmmu_vcpu *vcpu,
				     const struct vmmu_known_root *known)
	VMMU_REQUIRES_SHARED(vmmu_mmu_lock)
{
	union vmmu_role role = {.word = known->role};

	if (vcpu->root && !vcpu->shadow.own && known->gfn.n == vcpu->root->gfn.n &&
	    known->role == vcpu->root->role.word)
		return NULL;
	return vmmu_shade_find(vcpu->vm, known->gfn, role);
}

void vmmu_shadow_forget_gva(struct vmmu_task *task, vmmu_gva_t gva)
{
	struct vmmu_vcpu *vcpu = task->vcpu;
	vmmu_gfn_t page = {gva.addr >> VMMU_PAGE_SHIFT};
	/* Tables in sync say what the guest's say; CPUs hold nothing that they do not say. */
	struct vmmu_shade *lowest = shade_lowest(task, gva);

	if (lowest && shade_is_unsync(lowest))
		vmmu_shade_refresh_entry(task, lowest, gfn_index(page, VMMU_LEVEL_4K));
	/* Global translations, and those of another space that INVPCID names, go too. */
	for (unsigned i = 0; i < known_roots(vcpu); i++) {
		struct vmmu_shade *s = other_root(vcpu, &vcpu->shadow.known[i]);

		s = s ? unsync_below(task, &s->sp, page) : NULL;
		if (s && !VMMU_MUTANT(INVLPG_NOTHING))
			vmmu_shade_refresh_entry(task, s, gfn_index(page, VMMU_LEVEL_4K));
	}
}

bool vmmu_shadow_would_forget(struct vmmu_task *task, vmmu_gva_t gva,
			      const struct vmmu_shade *lowest)
{
	const struct vmmu_vcpu *vcpu = task->vcpu;
	vmmu_gfn_t page = {gva.addr >> VMMU_PAGE_SHIFT};
	unsigned index = gfn_index(page, VMMU_LEVEL_4K);
	struct vmmu_shade *s;

	if (shade_is_unsync(lowest) && shade_is_filled(lowest, index))
		return true;
	for (unsigned i = 0; i < known_roots(vcpu); i++) {
		s = other_root(vcpu, &vcpu->shadow.known[i]);
		s = s ? unsync_below(task, &s->sp, page) : NULL;
		if (s && shade_is_filled(s, index))
			return true;
	}
	return false;
}

void vmmu_shadow_invlpg(struct vmmu_vcpu *vcpu, vmmu_gva_t gva)
{
	struct vmmu_task *task = &vcpu->task;
	const struct vmmu_paging *p = &vcpu->shadow.paging;

	if (vm_is_dead(vcpu->vm) || p->mode == VMMU_PAGING_OFF || !is_canonical(p, gva) ||
	    !vmmu_reserve_fill(vcpu->vm, &task->cache->reserve, 8))
		vcpu->must_flush = true;
	vmmu_section_begin(task);
	vmmu_shadow_forget_gva(task, gva);
	vmmu_section_end(task);
	stat_add(task, VMMU_STAT_SHADOW_INVLPG, 1);
}

bool vmmu_shadow_translate(struct vmmu_vcpu *vcpu, vmmu_gva_t gva, vmmu_hpa_t *at)
{
	const struct vmmu_vm *vm = vcpu->vm;
	const struct vmmu_sp *root = vcpu->root;
	const vmmu_spte_slot_t *entries;
	unsigned shift;
	uint64_t raw;

	if (!root || vm_is_dead(vm) || !is_canonical(&vcpu->shadow.paging, gva))
		return false;
	shift = VMMU_PAGE_SHIFT + 9u * (root->role.level - 1u);
	entries = root->entries;
	vmmu_reading_begin(&vcpu->task);
	for (;; shift -= 9) {
		unsigned index = (unsigned)(gva.addr >> shift) & (VMMU_TABLE_ENTRIES - 1u);

		raw = atomic_get_acquire(&entries[index].raw);
		if (shade_raw_kind(raw) != VMMU_KIND_TABLE)
			break;
		entries = vm->port->page_map(vm->host, spte_pfn((vmmu_spte_t){raw}));
	}
	vmmu_reading_end(&vcpu->task);
	at->addr = (raw & VMMU_SPTE_ADDRESS_MASK) | (gva.addr & ((UINT64_C(1) << shift) - 1));
	return shade_raw_kind(raw) == VMMU_KIND_LEAF;
}

void vmmu_shadow_set_pkru(struct vmmu_vcpu *vcpu, uint32_t pkru)
{
	vcpu->shadow.paging.pkru = pkru;
}

/* ---- life of a vCPU ---- */

bool vmmu_shadow_vcpu_init(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;
	vmmu_pfn_t pfn = vm->port->page_alloc(vm->host);

	if (vmmu_pfn_is_none(pfn))
		return false;
	vcpu->shadow.pdptes_pfn = pfn;
	vcpu->shadow.pdptes = vm->port->page_map(vm->host, pfn);
	vcpu->shadow.paging = (struct vmmu_paging){.mode = VMMU_PAGING_OFF,
						   .physical_bits = vm->config.physical_bits};
	vmmu_guest_rules_prepare(&vcpu->shadow.paging, &vcpu->shadow.rules);
	vcpu->role = vmmu_shade_role(vcpu, VMMU_LEVEL_1G);
	return true;
}

void vmmu_shadow_vcpu_fini(struct vmmu_vcpu *vcpu)
{
	struct vmmu_task *task = &vcpu->task;

	vmmu_section_begin(task);
	vmmu_shadow_drop_root(task);
	vmmu_section_end(task);
	vcpu->vm->port->page_free(vcpu->vm->host, vcpu->shadow.pdptes_pfn);
}
