/* SPDX-License-Identifier: MIT */
/* Shadow paging: a guest with four levels of tables and 64 MiB mapped by 4K pages. */
#include <vmmu/shadow.h>

#include "rig.h"

enum { ENTRIES = 512, TABLES = 32, FRAMES = 32768 };

/* Guest frames: three upper tables, the tables of level 1, then what is mapped. */
enum { TOP = 1, POINTERS, DIRECTORY, FIRST_TABLE, FIRST_DATA = FIRST_TABLE + TABLES };

/* Present, writable, accessed, dirty. */
#define ENTRY_DATA UINT64_C(0x63)
/* Where the guest maps the first of its own tables. */
#define TABLE_LINEAR ((uint64_t)(TABLES * ENTRIES - 1) << VMMU_PAGE_SHIFT)

static uint64_t *memory;

static void entry_set(uint64_t table, uint64_t index, uint64_t gfn)
{
	memory[table * ENTRIES + index] = gfn << VMMU_PAGE_SHIFT | ENTRY_DATA;
}

void shadow_prepare(struct rig *rig)
{
	const struct vmmu_paging paging = {
		.mode = VMMU_PAGING_4LEVEL,
		.cr3 = TOP << VMMU_PAGE_SHIFT,
		.physical_bits = 48,
		.nx = true,
		.wp = true,
	};

	memory = rig_open_shadow(rig, FRAMES);
	entry_set(TOP, 0, POINTERS);
	entry_set(POINTERS, 0, DIRECTORY);
	for (uint64_t i = 0; i < TABLES; i++)
		entry_set(DIRECTORY, i, FIRST_TABLE + i);
	for (uint64_t i = 0; i < TABLES * ENTRIES; i++)
		entry_set(FIRST_TABLE + i / ENTRIES, i % ENTRIES, FIRST_DATA + i);
	entry_set(FIRST_TABLE + TABLES - 1, ENTRIES - 1, FIRST_TABLE);
	if (vmmu_shadow_set_paging(rig->vcpu, &paging) != VMMU_OK)
		rig_fail("paging was refused");
	rig_enter(rig);
}

static void write_fault(struct rig *rig, uint64_t linear, uint32_t code)
{
	struct vmmu_shadow_result result;

	if (vmmu_shadow_fault(rig->vcpu, (vmmu_gva_t){linear}, code | VMMU_PF_WRITE, 0, &result) !=
	    VMMU_OUTCOME_RESUME)
		rig_fail("a shadow fault had another outcome than it should");
}

void shadow_run_fault(struct rig *rig)
{
	write_fault(rig, rig->next << VMMU_PAGE_SHIFT, 0);
	rig->next++;
}

void shadow_run_sync(struct rig *rig)
{
	/* Back to the first table's pages: what it maps has to be in use. */
	if (rig->next == 0) {
		for (uint64_t i = 0; i < ENTRIES; i++)
			write_fault(rig, i << VMMU_PAGE_SHIFT, 0);
		write_fault(rig, TABLE_LINEAR, 0);
	} else {
		write_fault(rig, TABLE_LINEAR, VMMU_PF_PRESENT);
	}
	rig->next++;
	entry_set(FIRST_TABLE, 7, FIRST_DATA + rig->next % ENTRIES);
	if (vmmu_shadow_load_cr3(rig->vcpu, TOP << VMMU_PAGE_SHIFT, NULL, VMMU_CR3_FLUSH) !=
	    VMMU_OK)
		rig_fail("CR3 was refused");
	rig_enter(rig);
}
