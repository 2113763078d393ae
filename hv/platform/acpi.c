/* SPDX-License-Identifier: MIT */
/*
 * Where the firmware's ACPI tables lie: RSDP, RSDT or XSDT, every table named there, and
 * FACS and DSDT, which only the FADT names. Nothing is interpreted beyond addresses and
 * lengths. Runs on the early page tables, which reach to 4 GiB.
 */
#include "internal.h"

enum {
	RSDP_BYTES_V1 = 20,
	RSDP_BYTES_V2 = 36,
	HEADER_BYTES = 36,
	TABLE_BYTES_MAX = 16 << 20,
	FADT_FACS = 36,
	FADT_DSDT = 40,
	FADT_X_FACS = 132,
	FADT_X_DSDT = 140,
};

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static bool sums_to_zero(const uint8_t *data, size_t bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + data[i]);
	return sum == 0;
}

static const uint8_t *rsdp_in(uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at + RSDP_BYTES_V1 <= end; at += 16) {
		const uint8_t *data = (const uint8_t *)(uintptr_t)at;

		if (memcmp(data, "RSD PTR ", 8) == 0 && sums_to_zero(data, RSDP_BYTES_V1))
			return data;
	}
	return NULL;
}

static const uint8_t *rsdp_find(void)
{
	uint16_t segment;
	uint64_t ebda;
	const uint8_t *found = NULL;
	const uint8_t *bios_data = (const uint8_t *)(uintptr_t)0x40e;

	/* Hidden from the compiler, which takes an access to page 0 for a mistake. */
	__asm__("" : "+r"(bios_data));
	memcpy(&segment, bios_data, sizeof(segment));
	ebda = (uint64_t)segment << 4;
	if (ebda >= KIB(512) && ebda < KIB(640))
		found = rsdp_in(ebda, ebda + KIB(1));
	return found != NULL ? found : rsdp_in(0xe0000, 0x100000);
}

/* Addresses come from the firmware: what cannot be a table is left out. */
static const struct acpi_table *table_add(struct boot_info *boot, uint64_t address, uint64_t bytes,
					  size_t signature_bytes)
{
	struct acpi_table *table = &boot->acpi[boot->acpi_count];

	for (uint32_t i = 0; i < boot->acpi_count; i++) {
		if ((uintptr_t)boot->acpi[i].data == address)
			return NULL;
	}
	if (boot->acpi_count == ACPI_TABLES_MAX || bytes > TABLE_BYTES_MAX)
		return NULL;
	table->data = (const uint8_t *)(uintptr_t)address;
	table->bytes = bytes;
	memcpy(table->signature, table->data, signature_bytes);
	boot->acpi_count++;
	return table;
}

static const struct acpi_table *header_add(struct boot_info *boot, uint64_t address,
					   uint32_t bytes_min)
{
	uint32_t bytes;

	if (address < FRAME_BYTES || address > GIB(4) - HEADER_BYTES)
		return NULL;
	bytes = get32((const uint8_t *)(uintptr_t)address + 4);
	if (bytes < bytes_min || address + bytes > GIB(4))
		return NULL;
	return table_add(boot, address, bytes, 4);
}

/* The extended field, where there is one that is set, replaces the 32-bit field. */
static uint64_t fadt_pointer(const struct acpi_table *fadt, uint32_t field, uint32_t field64)
{
	uint64_t address = 0;

	if (fadt->bytes >= field64 + 8)
		address = get64(fadt->data + field64);
	if (address == 0 && fadt->bytes >= field + 4)
		address = get32(fadt->data + field);
	return address;
}

static void fadt_follow(struct boot_info *boot, const struct acpi_table *fadt)
{
	header_add(boot, fadt_pointer(fadt, FADT_DSDT, FADT_X_DSDT), HEADER_BYTES);
	header_add(boot, fadt_pointer(fadt, FADT_FACS, FADT_X_FACS), 64);
}

static void root_follow(struct boot_info *boot, uint64_t address, size_t entry_bytes)
{
	const struct acpi_table *root = header_add(boot, address, HEADER_BYTES);

	if (root == NULL)
		return;
	for (uint64_t at = HEADER_BYTES; at + entry_bytes <= root->bytes; at += entry_bytes) {
		const uint8_t *entry = root->data + at;
		const struct acpi_table *table = header_add(
			boot, entry_bytes == 8 ? get64(entry) : get32(entry), HEADER_BYTES);

		if (table != NULL && memcmp(table->signature, "FACP", 4) == 0)
			fadt_follow(boot, table);
	}
}

void acpi_find(struct boot_info *boot)
{
	const uint8_t *rsdp = rsdp_find();
	bool has_xsdt;

	if (rsdp == NULL)
		return;
	has_xsdt = rsdp[15] >= 2;
	table_add(boot, (uintptr_t)rsdp, has_xsdt ? RSDP_BYTES_V2 : RSDP_BYTES_V1, 8);
	root_follow(boot, get32(rsdp + 16), 4);
	if (has_xsdt)
		root_follow(boot, get64(rsdp + 24), 8);
}
