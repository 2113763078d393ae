/* SPDX-License-Identifier: MIT */
/* What all kernels share: modules, memory map, BIOS data, GDT and the first CPU state. */
#include "load.h"

#include "../svm/cr.h"
#include "../svm/svm.h"

enum {
	BIOS_EBDA_SEGMENT = 0x40e,
	BIOS_BASE_KIB = 0x413,
	EBDA_KIB = 1,
	SEGMENT_CODE32 = 0xc9b,
	SEGMENT_CODE64 = 0xa9b,
	SEGMENT_DATA = 0xc93,
	SEGMENT_TSS_BUSY = 0x8b,
	SEGMENT_LDT = 0x82,
	CR0_RESET_BITS = 0x10, /* ET */
};

static const uint64_t gdt[] = {
	0, UINT64_C(0x00cf9b000000ffff), /* LOAD_CODE32 */
	UINT64_C(0x00af9b000000ffff),    /* LOAD_CODE64 */
	UINT64_C(0x00cf93000000ffff),    /* LOAD_DATA */
};

bool load_refuse(struct load *load, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_vtext(load->trouble, sizeof(load->trouble), format, args);
	va_end(args);
	return false;
}

static void map_add(struct load *load, uint64_t start, uint64_t end, uint32_t type)
{
	HV_ASSERT(load->map_count < LOAD_MAP_MAX);
	load->map[load->map_count++] = (struct load_map_entry){start, end, type};
}

static void map_build(struct load *load)
{
	const struct guest_memory *memory = &load->guest->memory;

	map_add(load, 0, LOAD_EBDA, BOOT_MEMORY_RAM);
	map_add(load, LOAD_EBDA, GUEST_LOW_END, BOOT_MEMORY_RESERVED);
	map_add(load, UINT64_C(0xf0000), GUEST_BIOS_END, BOOT_MEMORY_RESERVED);
	for (unsigned i = 0; i < memory->region_count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (region->kind == REGION_RAM && region->start != 0)
			map_add(load, region->start, region->end, BOOT_MEMORY_RAM);
		else if (region->kind == REGION_ACPI)
			map_add(load, region->start, region->end, BOOT_MEMORY_ACPI);
		else if (region->kind == REGION_NVS)
			map_add(load, region->start, region->end, BOOT_MEMORY_NVS);
		else if (region->kind == REGION_SPARE)
			map_add(load, GUEST_VGTT, region->end, BOOT_MEMORY_RESERVED);
	}
}

/* The little that kernels read of a BIOS's data area. */
static bool bios_data_write(struct guest_memory *memory)
{
	const uint16_t segment = LOAD_EBDA >> 4;
	const uint16_t base_kib = LOAD_EBDA >> 10;
	const uint8_t ebda_kib = EBDA_KIB;

	return guest_copy_in(memory, BIOS_EBDA_SEGMENT, &segment, sizeof(segment)) &&
	       guest_copy_in(memory, BIOS_BASE_KIB, &base_kib, sizeof(base_kib)) &&
	       guest_copy_in(memory, LOAD_EBDA, &ebda_kib, sizeof(ebda_kib)) &&
	       guest_copy_in(memory, LOAD_GDT, gdt, sizeof(gdt));
}

static bool command_line_copy(struct load *load, const struct boot_module *append)
{
	uint64_t bytes = append != NULL ? append->bytes : 0;

	if (bytes != 0 && append->data[bytes - 1] == '\n')
		bytes--;
	if (bytes >= LOAD_COMMAND_LINE_MAX)
		return load_refuse(load, "the guest's command line has %llu characters; %u fit",
				   (unsigned long long)bytes, LOAD_COMMAND_LINE_MAX - 1u);
	if (bytes != 0)
		memcpy(load->command_line, append->data, bytes);
	load->command_line[bytes] = '\0';
	return true;
}

bool load_guest(struct load *load, struct guest *guest, struct vcpu *vcpu)
{
	*load = (struct load){
		.guest = guest,
		.vcpu = vcpu,
		.kernel = boot_module_find(guest->boot, "kernel"),
		.initrd = boot_module_find(guest->boot, "initrd"),
	};
	if (load->kernel == NULL)
		return load_refuse(load, "there is no kernel among the modules: "
					 "qemu -initrd 'FILE kernel,...'");
	/* The command hands files on open: their names say nothing then. */
	load->kernel_name =
		text_starts(load->kernel->file, "/proc/") ? "kernel" : load->kernel->file;
	if (!command_line_copy(load, boot_module_find(guest->boot, "append")))
		return false;
	map_build(load);
	if (!bios_data_write(&guest->memory))
		return load_refuse(load, "the guest has no low memory");
	if (load_is_linux(load->kernel)) {
		guest->kind = GUEST_LINUX;
		return load_linux(load);
	}
	if (load_is_multiboot(load->kernel)) {
		guest->kind = GUEST_MULTIBOOT;
		return load_multiboot(load);
	}
	return load_refuse(load,
			   "%s is neither a Linux bzImage nor a multiboot1 kernel; "
			   "give the kernel file itself, not an archive of it",
			   load->kernel_name);
}

/* --- first state --- */

static struct vmcb_segment segment(uint16_t selector, uint16_t attributes)
{
	return (struct vmcb_segment){
		.selector = selector, .attributes = attributes, .limit = UINT32_MAX};
}

static void segments_set(struct vmcb_save *save, struct vmcb_segment code)
{
	save->cs = code;
	save->ds = segment(LOAD_DATA, SEGMENT_DATA);
	save->es = save->ds;
	save->ss = save->ds;
	save->fs = save->ds;
	save->gs = save->ds;
	save->gdtr = (struct vmcb_segment){.limit = sizeof(gdt) - 1, .base = LOAD_GDT};
	save->idtr = (struct vmcb_segment){0};
	save->ldtr = (struct vmcb_segment){.attributes = SEGMENT_LDT, .limit = 0xffff};
	save->tr = (struct vmcb_segment){.attributes = SEGMENT_TSS_BUSY, .limit = 0xffff};
	save->cpl = 0;
}

static void cr_set(struct vcpu *vcpu, const struct guest_cr *cr)
{
	bool legal = svm_cr_set(vcpu, cr);

	HV_ASSERT(legal);
}

void load_enter_long(struct vcpu *vcpu, uint64_t rip, uint64_t page_tables)
{
	struct vmcb_save *save = &vcpu->vmcb.save;

	segments_set(save, segment(LOAD_CODE64, SEGMENT_CODE64));
	save->rip = rip;
	cr_set(vcpu, &(struct guest_cr){.cr0 = CR0_PG | CR0_PE | CR0_RESET_BITS,
					.cr3 = page_tables,
					.cr4 = CR4_PAE,
					.efer = EFER_LME});
}

void load_enter_protected(struct vcpu *vcpu, uint32_t eip)
{
	struct vmcb_save *save = &vcpu->vmcb.save;

	segments_set(save, segment(LOAD_CODE32, SEGMENT_CODE32));
	save->rip = eip;
	cr_set(vcpu, &(struct guest_cr){.cr0 = CR0_PE | CR0_RESET_BITS});
}
