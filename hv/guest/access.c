/* SPDX-License-Identifier: MIT */
/* Walks of the guest's own page tables, and fetching of its code. */
#include "access.h"

#include "guest.h"

#define PDPTE_QEMU_ACCESSED (UINT64_C(1) << 5)
#define RFLAGS_VM (UINT64_C(1) << 17)
#define RFLAGS_AC (UINT64_C(1) << 18)

static bool entry_read(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value)
{
	struct guest_memory *memory = context;
	const uint8_t *at = guest_pointer(memory, gpa.addr, GUEST_READ);

	if (at == NULL)
		return false;
	if (bytes == 8)
		*value = __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
	else
		*value = __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED);
	return true;
}

static bool entry_update(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
			 uint64_t value, bool *gone)
{
	struct guest_memory *memory = context;
	void *at = guest_pointer(memory, gpa.addr, GUEST_WRITE);
	uint32_t old32 = (uint32_t)old;

	*gone = at == NULL;
	if (at == NULL)
		return false;
	if (bytes == 8)
		return __atomic_compare_exchange_n((uint64_t *)at, &old, value, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint32_t *)at, &old32, (uint32_t)value, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static const struct vmmu_walk_ops walk_ops = {.read = entry_read, .update = entry_update};

static enum vmmu_paging_mode paging_mode(const struct vcpu *vcpu)
{
	uint64_t cr4 = vcpu_cr4(vcpu);

	if ((vcpu_cr0(vcpu) & CR0_PG) == 0)
		return VMMU_PAGING_OFF;
	if ((vcpu_efer(vcpu) & EFER_LMA) != 0)
		return (cr4 & CR4_LA57) != 0 ? VMMU_PAGING_5LEVEL : VMMU_PAGING_4LEVEL;
	return (cr4 & CR4_PAE) != 0 ? VMMU_PAGING_PAE : VMMU_PAGING_32BIT;
}

void access_pdptes(struct vcpu *vcpu, uint64_t cr3, uint64_t pdpte[4])
{
	uint64_t table = cr3 & UINT64_C(0xffffffe0);

	for (unsigned i = 0; i < 4; i++) {
		pdpte[i] = 0;
		entry_read(&vcpu->guest->memory, (vmmu_gpa_t){table + 8 * i}, 8, &pdpte[i]);
	}
}

/*
 * Nested paging on AMD reads the four entries from memory at each walk. QEMU sets an accessed bit
 * in them, where the bit is reserved.
 */
static void pdptes_nested(struct vcpu *vcpu, struct vmmu_paging *paging)
{
	access_pdptes(vcpu, paging->cr3, paging->pdpte);
	for (unsigned i = 0; i < 4; i++)
		paging->pdpte[i] &= ~PDPTE_QEMU_ACCESSED;
}

uint32_t access_pkru(void)
{
	uint32_t value = 0;
	uint32_t high;

	/* RDPKRU wants CR4.PKE, which the host does not set otherwise. */
	cr4_write(cr4_read() | CR4_PKE);
	__asm__ volatile("rdpkru" : "=a"(value), "=d"(high) : "c"(0));
	cr4_write(cr4_read() & ~CR4_PKE);
	return value;
}

/* Worked out anew only when a register that decides has changed. */
static const struct vmmu_walk_rules *rules_of(struct vcpu *vcpu, const struct vmmu_paging *paging)
{
	struct walk_cache *cache = &vcpu->walk;

	if (!cache->valid || cache->cr0 != vcpu_cr0(vcpu) || cache->cr4 != vcpu_cr4(vcpu) ||
	    cache->efer != vcpu_efer(vcpu)) {
		cache->cr0 = vcpu_cr0(vcpu);
		cache->cr4 = vcpu_cr4(vcpu);
		cache->efer = vcpu_efer(vcpu);
		cache->valid = true;
		vmmu_walk_prepare(paging, &cache->rules);
	}
	return &cache->rules;
}

void access_paging(struct vcpu *vcpu, struct vmmu_paging *paging)
{
	const struct cpu_facts *facts = cpu_facts();
	uint64_t cr4 = vcpu_cr4(vcpu);

	*paging = (struct vmmu_paging){
		.mode = paging_mode(vcpu),
		.cr3 = vcpu_cr3(vcpu),
		.physical_bits = facts->physical_bits,
		.nx = (vcpu_efer(vcpu) & EFER_NXE) != 0,
		.wp = (vcpu_cr0(vcpu) & CR0_WP) != 0,
		.pse = (cr4 & CR4_PSE) != 0,
		.pse36 = true,
		.smep = (cr4 & CR4_SMEP) != 0,
		.smap = (cr4 & CR4_SMAP) != 0,
		.pke = (cr4 & CR4_PKE) != 0,
		.huge_1g = facts->has_1g_pages,
		.amd = true,
	};
	if (vcpu->shadow)
		memcpy(paging->pdpte, vcpu->cr.pdpte, sizeof(paging->pdpte));
	else if (paging->mode == VMMU_PAGING_PAE)
		pdptes_nested(vcpu, paging);
	if (paging->pke)
		paging->pkru = access_pkru();
	paging->rules = rules_of(vcpu, paging);
}

enum vmmu_walk_status access_walk(struct vcpu *vcpu, const struct vmmu_paging *paging,
				  uint64_t linear, uint32_t flags, struct vmmu_walk_result *result)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;

	if (save->cpl == 3)
		flags |= VMMU_WALK_USER;
	if ((save->rflags & RFLAGS_AC) != 0)
		flags |= VMMU_WALK_AC;
	return vmmu_walk(paging, (vmmu_gva_t){linear}, flags, &walk_ops, &vcpu->guest->memory,
			 result);
}

bool access_read(struct vcpu *vcpu, uint64_t linear, void *to, unsigned bytes,
		 struct vmmu_walk_result *walk)
{
	struct vmmu_paging paging;
	uint8_t *at = to;

	access_paging(vcpu, &paging);
	while (bytes != 0) {
		unsigned rest = (unsigned)(FRAME_BYTES - linear % FRAME_BYTES);
		unsigned part = bytes < rest ? bytes : rest;

		if (access_walk(vcpu, &paging, linear, 0, walk) != VMMU_WALK_OK)
			return false;
		if (!guest_copy_out(&vcpu->guest->memory, walk->gpa.addr, at, part))
			memset(at, 0xff, part);
		linear += part;
		at += part;
		bytes -= part;
	}
	return true;
}

enum emu_mode access_mode(const struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;

	if (vcpu_is_64bit(vcpu))
		return EMU_MODE_64;
	if ((vcpu_cr0(vcpu) & CR0_PE) == 0 || (save->rflags & RFLAGS_VM) != 0)
		return EMU_MODE_16;
	return (save->cs.attributes & SEGMENT_BIG) != 0 ? EMU_MODE_32 : EMU_MODE_16;
}

unsigned code_read(struct vcpu *vcpu, uint64_t linear, void *to, unsigned bytes)
{
	unsigned offset = (unsigned)(linear % FRAME_BYTES);
	struct vmmu_walk_result result;
	struct vmmu_paging paging;
	const uint8_t *page;

	access_paging(vcpu, &paging);
	if (access_walk(vcpu, &paging, linear, VMMU_WALK_FETCH | VMMU_WALK_NO_UPDATE, &result) !=
	    VMMU_WALK_OK)
		return 0;
	page = guest_pointer(&vcpu->guest->memory, result.gpa.addr - offset, GUEST_READ);
	if (page == NULL)
		return 0;
	vcpu->code =
		(struct code_page){.linear = linear - offset, .cr3 = vcpu_cr3(vcpu), .host = page};
	if (bytes > FRAME_BYTES - offset)
		bytes = (unsigned)FRAME_BYTES - offset;
	memcpy(to, page + offset, bytes);
	return bytes;
}

enum emu_status code_decode(struct vcpu *vcpu, struct emu_insn *insn)
{
	uint64_t linear = vcpu_linear_rip(vcpu);
	uint8_t code[EMU_INSN_BYTES_MAX];
	unsigned count = code_read(vcpu, linear, code, sizeof(code));
	enum emu_status status;

	if (count == 0)
		return EMU_NEED_BYTES;
	status = emu_decode(code, count, access_mode(vcpu), insn);
	if (status != EMU_NEED_BYTES || count == sizeof(code))
		return status;
	count += code_read(vcpu, linear + count, code + count, (unsigned)sizeof(code) - count);
	return emu_decode(code, count, access_mode(vcpu), insn);
}
