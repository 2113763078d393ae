/* SPDX-License-Identifier: MIT */
/* Walks of the guest's own page tables, and fetching of its code. */
#include "access.h"

#include "guest.h"

#define PDPTE_QEMU_ACCESSED (UINT64_C(1) << 5)
#define RFLAGS_VM (UINT64_C(1) << 17)
#define RFLAGS_AC (UINT64_C(1) << 18)

static bool entry_read(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t *value)
{
	struct guest *guest = context;
	const uint8_t *at = guest_pointer(&guest->memory, gpa.addr, GUEST_READ);

	if (at == NULL)
		return false;
	if (bytes == 8)
		*value = __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
	else
		*value = __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED);
	return true;
}

/* Accessed and dirty bits change no translation, so only the dirty log wants to know. */
static void entry_marked(struct guest *guest, vmmu_gfn_t gfn)
{
	struct vmmu_gfn_range frame = {gfn, {gfn.n + 1}};
	enum vmmu_error error = vmmu_dirty_mark(guest->vm, 0, frame);

	HV_ASSERT(error == VMMU_OK);
}

static bool entry_update(void *context, vmmu_gpa_t gpa, unsigned bytes, uint64_t old,
			 uint64_t value, bool *gone)
{
	struct guest *guest = context;
	void *at = guest_pointer(&guest->memory, gpa.addr, GUEST_WRITE);
	uint32_t old32 = (uint32_t)old;
	bool same;

	*gone = at == NULL;
	if (at == NULL)
		return false;
	if (bytes == 8)
		same = __atomic_compare_exchange_n((uint64_t *)at, &old, value, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	else
		same = __atomic_compare_exchange_n((uint32_t *)at, &old32, (uint32_t)value, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	if (same)
		entry_marked(guest, vmmu_gpa_to_gfn(gpa));
	return same;
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
		entry_read(vcpu->guest, (vmmu_gpa_t){table + 8 * i}, 8, &pdpte[i]);
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
		vcpu->code.levels = 0; /* walked by other rules */
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
	return vmmu_walk(paging, (vmmu_gva_t){linear}, flags, &walk_ops, vcpu->guest, result);
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

/* --- code --- */

/* Is vcpu->code what a walk of @page would find now? Only 64-bit code is remembered that well. */
static inline bool code_page_holds(const struct vcpu *vcpu, uint64_t page)
{
	const struct code_page *code = &vcpu->code;
	const struct walk_cache *walk = &vcpu->walk;
	bool user = vcpu->vmcb.save.cpl == 3;

	if (code->levels == 0 || code->linear != page || code->user != user ||
	    code->cr3 != vcpu_cr3(vcpu) || walk->cr0 != vcpu_cr0(vcpu) ||
	    walk->cr4 != vcpu_cr4(vcpu) || walk->efer != vcpu_efer(vcpu))
		return false;
	for (unsigned i = 0; i < code->levels; i++) {
		if (__atomic_load_n(code->entry[i], __ATOMIC_RELAXED) != code->value[i])
			return false;
	}
	return true;
}

/* False: the guest's tables do not lead there, or where they lead is no memory. */
static bool code_page_walk(struct vcpu *vcpu, uint64_t page)
{
	struct guest_memory *memory = &vcpu->guest->memory;
	struct code_page *code = &vcpu->code;
	struct vmmu_walk_result result;
	struct vmmu_paging paging;
	const uint8_t *host;

	access_paging(vcpu, &paging);
	if (access_walk(vcpu, &paging, page, VMMU_WALK_FETCH | VMMU_WALK_NO_UPDATE, &result) !=
	    VMMU_WALK_OK)
		return false;
	host = guest_pointer(memory, result.gpa.addr, GUEST_READ);
	if (host == NULL)
		return false;
	code->linear = page;
	code->cr3 = vcpu_cr3(vcpu);
	code->host = host;
	code->user = vcpu->vmcb.save.cpl == 3;
	code->levels = vcpu_is_64bit(vcpu) ? result.levels : 0;
	for (unsigned i = 0; i < code->levels; i++) {
		code->entry[i] = (const uint64_t *)(const void *)guest_pointer(
			memory, result.step[i].gpa.addr, GUEST_READ);
		code->value[i] = result.step[i].value;
	}
	return true;
}

static inline bool code_page_find(struct vcpu *vcpu, uint64_t page)
{
	return code_page_holds(vcpu, page) || code_page_walk(vcpu, page);
}

unsigned code_read(struct vcpu *vcpu, uint64_t linear, void *to, unsigned bytes)
{
	unsigned offset = (unsigned)(linear % FRAME_BYTES);

	if (!code_page_find(vcpu, linear - offset))
		return 0;
	if (bytes > FRAME_BYTES - offset)
		bytes = (unsigned)FRAME_BYTES - offset;
	memcpy(to, vcpu->code.host + offset, bytes);
	return bytes;
}

void code_touch(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;
	uint64_t linear = vcpu_is_64bit(vcpu) ? save->rip : (uint32_t)(save->cs.base + save->rip);
	struct vmmu_walk_result walk;
	struct vmmu_paging paging;
	uint8_t *at;

	access_paging(vcpu, &paging);
	if (access_walk(vcpu, &paging, linear, VMMU_WALK_FETCH | VMMU_WALK_NO_UPDATE, &walk) !=
	    VMMU_WALK_OK)
		return;
	at = guest_pointer(&vcpu->guest->memory, walk.gpa.addr, GUEST_WRITE);
	if (at != NULL)
		__atomic_fetch_or(at, 0, __ATOMIC_SEQ_CST);
}

/* Bytes of a word that an instruction of @length bytes, of which @skip lie before it, takes. */
static uint64_t bytes_mask(unsigned length, unsigned skip)
{
	unsigned count = length > skip ? length - skip : 0;

	return count >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * count) - 1;
}

static __attribute__((noinline)) const struct emu_insn *known_learn(struct known_insn *known,
								    uint64_t low, uint64_t high)
{
	uint64_t bytes[2] = {low, high};

	known->insn.length = 0;
	if (emu_decode((const uint8_t *)bytes, EMU_INSN_BYTES_MAX, EMU_MODE_64, &known->insn) !=
	    EMU_OK) {
		known->insn.length = 0;
		return NULL;
	}
	known->low = low;
	known->high = high;
	known->low_mask = bytes_mask(known->insn.length, 0);
	known->high_mask = bytes_mask(known->insn.length, 8);
	return &known->insn;
}

const struct emu_insn *code_known(struct vcpu *vcpu)
{
	uint64_t rip = vcpu->vmcb.save.rip;
	uint64_t offset = rip % FRAME_BYTES;
	struct known_insn *known = &vcpu->known[(rip ^ rip >> 5) % KNOWN_INSNS];
	uint64_t low, high;

	if (!vcpu_is_64bit(vcpu) || offset > FRAME_BYTES - 2 * sizeof(uint64_t) ||
	    !code_page_find(vcpu, rip - offset))
		return NULL;
	memcpy(&low, vcpu->code.host + offset, sizeof(low));
	memcpy(&high, vcpu->code.host + offset + sizeof(low), sizeof(high));
	if (known->insn.length != 0 && ((low ^ known->low) & known->low_mask) == 0 &&
	    ((high ^ known->high) & known->high_mask) == 0)
		return &known->insn;
	return known_learn(known, low, high);
}

enum emu_status code_decode(struct vcpu *vcpu, struct emu_insn *insn)
{
	const struct emu_insn *known = code_known(vcpu);
	uint64_t linear = vcpu_linear_rip(vcpu);
	uint8_t code[EMU_INSN_BYTES_MAX];
	enum emu_status status;
	unsigned count;

	if (known != NULL) {
		*insn = *known;
		return EMU_OK;
	}
	count = code_read(vcpu, linear, code, sizeof(code));
	if (count == 0)
		return EMU_NEED_BYTES;
	status = emu_decode(code, count, access_mode(vcpu), insn);
	if (status != EMU_NEED_BYTES || count == sizeof(code))
		return status;
	count += code_read(vcpu, linear + count, code + count, (unsigned)sizeof(code) - count);
	return emu_decode(code, count, access_mode(vcpu), insn);
}
