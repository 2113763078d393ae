/* SPDX-License-Identifier: MIT */
/* One function for each way of breaking an invariant. */
#include "invariant.h"

static void set_entry(struct patient *p, uint64_t gfn, enum vmmu_level level, uint64_t raw)
{
	vmmu_spte_slot_t *entry = patient_entry(p, gfn, level);

	PATIENT_POKE(p, entry->raw, raw);
}

static uint64_t raw_of(const struct patient *p, uint64_t gfn, enum vmmu_level level)
{
	return spte_get(patient_entry(p, gfn, level)).raw;
}

/* Keep the counters right, so that nothing but the entry is wrong. */
static void count_leaf(struct patient *p, enum vmmu_stat stat)
{
	PATIENT_POKE(p, p->vm->stats[stat], atomic_get(&p->vm->stats[stat]) + 1);
}

/* ---- I1 ---- */

static void leaf_where_no_slot_is(struct patient *p)
{
	set_entry(p, 0xc8, VMMU_LEVEL_4K, raw_of(p, 5, VMMU_LEVEL_4K));
	count_leaf(p, VMMU_STAT_PAGES_4K);
}

static void slot_shrinks_behind_its_leaf(struct patient *p)
{
	struct vmmu_slot_set *set = vmmu_slots_now(&p->vm->spaces[0]);

	PATIENT_POKE(p, set->chunk[0]->slots[0].count, 5);
}

static void leaf_grants_more_than_its_slot(struct patient *p)
{
	set_entry(p, 0x46, VMMU_LEVEL_4K, raw_of(p, 0x46, VMMU_LEVEL_4K) | p->vm->fmt.write);
}

static void leaf_larger_than_allowed(struct patient *p)
{
	struct vmmu_leaf leaf = {
		.pfn = {sim_ram_first_pfn(p->sim->machine).n & ~UINT64_C(511)},
		.level = VMMU_LEVEL_2M,
		.access = VMMU_ACCESS_READ | VMMU_ACCESS_WRITE | VMMU_ACCESS_EXEC,
		.memtype = VMMU_MEMTYPE_WB,
	};

	set_entry(p, 0x600, VMMU_LEVEL_2M, vmmu_spte_leaf(&p->vm->fmt, &leaf).raw);
	count_leaf(p, VMMU_STAT_PAGES_2M);
}

static void leaf_of_another_host_frame(struct patient *p)
{
	set_entry(p, 5, VMMU_LEVEL_4K, raw_of(p, 5, VMMU_LEVEL_4K) + VMMU_PAGE_BYTES);
}

/* ---- I2, I14 ---- */

static void leaf_allows_a_tracked_write(struct patient *p)
{
	set_entry(p, 0x20, VMMU_LEVEL_4K, raw_of(p, 0x20, VMMU_LEVEL_4K) | p->vm->fmt.write);
}

static struct vmmu_tracking *tracking_of(const struct patient *p)
{
	return vmmu_tracking_of(p->vm);
}

static void client_forgets_its_frame(struct patient *p)
{
	uint64_t *cell = vmmu_framemap_find(&tracking_of(p)->trackers[0].cells, 0x20);

	PATIENT_POKE(p, *cell, 0);
}

static void large_page_counts_one_frame_too_many(struct patient *p)
{
	uint64_t *cell = vmmu_framemap_find(&tracking_of(p)->regions[0], 0);

	PATIENT_POKE(p, *cell, 2);
}

static void one_tracked_frame_too_many(struct patient *p)
{
	PATIENT_POKE(p, p->vm->tracked, 2);
}

static void slot_shrinks_behind_a_tracked_frame(struct patient *p)
{
	struct vmmu_slot_set *set = vmmu_slots_now(&p->vm->spaces[0]);

	PATIENT_POKE(p, set->chunk[0]->slots[0].count, 0x20);
	set = vmmu_slots_now(&p->vm->spaces[1]);
	PATIENT_POKE(p, set->chunk[0]->slots[0].count, 0x20);
}

/* ---- I6, I7 ---- */

static void link_is_lost(struct patient *p)
{
	set_entry(p, 0x8000, VMMU_LEVEL_2M, 0);
}

static void table_is_linked_twice(struct patient *p)
{
	set_entry(p, 0xa000, VMMU_LEVEL_2M, raw_of(p, 0x8000, VMMU_LEVEL_2M));
}

static void root_is_not_on_the_list(struct patient *p)
{
	PATIENT_POKE(p, p->vm->roots, (uintptr_t)p->vm->roots->root_next);
}

static void table_has_another_gfn(struct patient *p)
{
	PATIENT_POKE(p, patient_table(p, 0x8000, VMMU_LEVEL_4K)->gfn.n, 0x8200);
}

static void table_has_another_role(struct patient *p)
{
	struct vmmu_sp *sp = patient_table(p, 0x8000, VMMU_LEVEL_4K);
	union vmmu_role role = sp->role;

	role.direct = 0;
	PATIENT_POKE(p, sp->role.word, role.word);
}

/* ---- I8, I9 ---- */

static void vcpu_runs_in_the_wrong_space(struct patient *p)
{
	assert_int_equal(atomic_get(&p->sim->vcpu[0]->in_guest), 1);
	PATIENT_POKE(p, p->sim->vcpu[0]->space, 1);
}

static void vcpu_runs_on_the_others_root(struct patient *p)
{
	struct vmmu_vcpu *vcpu = p->sim->vcpu[1];
	struct vmmu_sp *root = p->sim->vcpu[0]->root;

	PATIENT_POKE(p, vcpu->root, (uintptr_t)root);
	PATIENT_POKE(p, root->users, root->users + 1);
}

static void valid_root_has_too_few_references(struct patient *p)
{
	struct vmmu_sp *root = p->sim->vcpu[0]->root;

	assert_true(root_is_valid(root));
	PATIENT_POKE(p, root->users, root->users - 1);
}

static void invalid_root_has_no_references(struct patient *p)
{
	struct vmmu_sp *root = p->sim->vcpu[1]->root;

	assert_int_equal(vmmu_zap_all(p->vm), VMMU_OK);
	rig_read(p->sim, 0, 5);
	assert_ptr_equal(p->sim->vcpu[1]->root, root); /* it is outside, and keeps it */
	assert_false(root_is_valid(root));
	assert_int_equal(vmmu_audit(p->vm, NULL, NULL), 0);
	PATIENT_POKE(p, root->users, 0);
}

/* ---- I10 ---- */

static void leaf_in_a_range_of_frames_under_invalidation(struct patient *p)
{
	struct vmmu_withdrawn *w = &p->vm->invalidations.frames[0];

	PATIENT_POKE(p, w->start, 4);
	PATIENT_POKE(p, w->end, 6);
	PATIENT_POKE(p, w->active, 1);
}

static void leaf_in_host_memory_under_invalidation(struct patient *p)
{
	struct vmmu_withdrawn *w = &p->vm->invalidations.host;

	PATIENT_POKE(p, w->start, 0x5000);
	PATIENT_POKE(p, w->end, 0x6000);
	PATIENT_POKE(p, w->active, 1);
}

/* ---- I12 ---- */

static void link_to_no_table(struct patient *p)
{
	struct sim_host_view view = sim_host_query(p->sim->machine, (sim_hpage_t){5});

	set_entry(p, 0x8000, VMMU_LEVEL_2M, spte_table(&p->vm->fmt, (vmmu_pfn_t){view.pfn.n}).raw);
}

static void frozen_entry_in_use(struct patient *p)
{
	set_entry(p, 9, VMMU_LEVEL_4K, spte_frozen().raw);
}

static void table_in_use_was_taken_out(struct patient *p)
{
	PATIENT_POKE(p, patient_table(p, 0x8000, VMMU_LEVEL_4K)->state, VMMU_SP_UNLINKED);
}

/* ---- I13, I15 ---- */

static void device_entry_over_a_slot(struct patient *p)
{
	set_entry(p, 9, VMMU_LEVEL_4K,
		  vmmu_spte_mmio(&p->vm->fmt, vmmu_slot_generation(p->vm, 0)).raw);
}

static void empty_entry_with_an_address(struct patient *p)
{
	set_entry(p, 9, VMMU_LEVEL_4K, 0x5000);
}

static void device_entry_with_an_address(struct patient *p)
{
	uint64_t raw = raw_of(p, 0x12c, VMMU_LEVEL_4K);

	assert_int_equal(spte_kind((vmmu_spte_t){raw}), VMMU_KIND_MMIO);
	set_entry(p, 0x12c, VMMU_LEVEL_4K, (raw & ~p->vm->fmt.unbacked) | 0x5000);
}

static void frozen_entry_with_an_address(struct patient *p)
{
	set_entry(p, 9, VMMU_LEVEL_4K, spte_frozen().raw | 0x5000);
}

static void not_readable_leaf_with_an_address(struct patient *p)
{
	set_entry(p, 5, VMMU_LEVEL_4K, raw_of(p, 5, VMMU_LEVEL_4K) & ~p->vm->fmt.read);
}

/* ---- I16 ---- */

static void one_leaf_too_many(struct patient *p)
{
	count_leaf(p, VMMU_STAT_PAGES_4K);
}

static void one_huge_leaf_too_many(struct patient *p)
{
	count_leaf(p, VMMU_STAT_PAGES_1G);
}

static void one_table_too_few(struct patient *p)
{
	PATIENT_POKE(p, p->vm->pages.live, atomic_get(&p->vm->pages.live) - 1);
}

#define NAME(f) .name = #f, .apply = f
const struct breakage breakages[] = {
	{NAME(leaf_where_no_slot_is), .how = "a leaf is written where no slot is", .found_as = {1},
	 .words = "frames that no single slot holds", true, 0xc8},
	{NAME(slot_shrinks_behind_its_leaf), .how = "a slot ends before its leaf", .found_as = {1},
	 .words = "frames that no single slot holds", true, 5},
	{NAME(leaf_grants_more_than_its_slot), .how = "a read-only leaf gets the write bit",
	 .found_as = {1}, .words = "grants more than its slot", true, 0x46},
	{NAME(leaf_larger_than_allowed), .how = "a 2M leaf in a VM of 4K leaves", .found_as = {1},
	 .words = "larger than slot or configuration allow", true, 0x600},
	{NAME(leaf_of_another_host_frame), .how = "a leaf's frame moves by one", .found_as = {1},
	 .words = "another host frame than its slot names", true, 5, true},
	{NAME(leaf_allows_a_tracked_write), .how = "a tracked frame's leaf gets the write bit",
	 .found_as = {2}, .words = "a leaf allows what a client tracks", true, 0x20,
	 .tracked = true},
	{NAME(client_forgets_its_frame), .how = "a client's counts of a frame are cleared",
	 .found_as = {2}, .words = "clients that track a frame: kept 256, counted 0",
	 .tracked = true},
	{NAME(large_page_counts_one_frame_too_many),
	 .how = "a large page counts a tracked frame too many", .found_as = {2},
	 .words = "tracked frames of a large page: kept 2, counted 1", .tracked = true},
	{NAME(slot_shrinks_behind_a_tracked_frame), .how = "a slot ends before a tracked frame",
	 .found_as = {1, 14}, .words = "a frame is tracked that is in no slot: kept 32",
	 .tracked = true},
	{NAME(one_tracked_frame_too_many), .how = "the count of tracked frames goes up by one",
	 .found_as = {16}, .words = "tracked frames: kept 2, counted 1", .tracked = true},
	{NAME(link_is_lost), .how = "the entry that links a table is cleared", .found_as = {6},
	 .words = "tables that entries or root list point to"},
	{NAME(root_is_not_on_the_list), .how = "a root is taken off the list", .found_as = {6},
	 .words = "tables that entries or root list point to"},
	{NAME(table_is_linked_twice), .how = "a second entry links the same table",
	 .found_as = {6, 7}, .words = "a table of another place or role", true, 0xa000},
	{NAME(table_has_another_gfn), .how = "a table says it maps another range", .found_as = {7},
	 .words = "a table of another place or role", true, 0x8000},
	{NAME(table_has_another_role), .how = "a table says it has another role", .found_as = {7},
	 .words = "a table of another place or role", true, 0x8000},
	{NAME(vcpu_runs_in_the_wrong_space), .how = "a running vCPU changes its space",
	 .found_as = {8}, .words = "a vCPU runs on a root of another role"},
	{NAME(vcpu_runs_on_the_others_root), .how = "a running vCPU gets the other space's root",
	 .found_as = {8}, .words = "a vCPU runs on a root of another role"},
	{NAME(valid_root_has_too_few_references), .how = "a valid root loses a reference",
	 .found_as = {9}, .words = "references of a root: kept 1, counted 2"},
	{NAME(invalid_root_has_no_references), .how = "an invalid root in use has no reference",
	 .found_as = {9}, .words = "references of a root: kept 0, counted 1"},
	{NAME(leaf_in_a_range_of_frames_under_invalidation),
	 .how = "an invalidation of frames starts around a leaf", .found_as = {10},
	 .words = "maps what the host is taking away", true, 5},
	{NAME(leaf_in_host_memory_under_invalidation),
	 .how = "an invalidation of host memory starts around a leaf", .found_as = {10},
	 .words = "maps what the host is taking away", true, 5},
	{NAME(link_to_no_table), .how = "a link leads to a page of the guest", .found_as = {12},
	 .words = "a page that is no table", true, 0x8000},
	{NAME(frozen_entry_in_use), .how = "an entry of a table in use is frozen", .found_as = {12},
	 .words = "frozen entry in a table that is in use", true, 9},
	{NAME(table_in_use_was_taken_out), .how = "a linked table is marked as taken out",
	 .found_as = {12}, .words = "a table that was taken out", true, 0x8000},
	{NAME(device_entry_over_a_slot), .how = "a current device entry inside of a slot",
	 .found_as = {13}, .words = "device entry of this generation", true, 9},
	{NAME(empty_entry_with_an_address), .how = "an empty entry holds an address",
	 .found_as = {15}, .words = "empty entry with bits set", true, 9},
	{NAME(device_entry_with_an_address), .how = "a device entry holds an address",
	 .found_as = {15}, .words = "MMIO entry with unexpected bits", true, 0x12c},
	{NAME(frozen_entry_with_an_address), .how = "a frozen entry holds an address",
	 .found_as = {12, 15}, .words = "frozen entry with bits set", true, 9},
	{NAME(not_readable_leaf_with_an_address), .how = "a leaf loses its present bit",
	 .found_as = {15}, .words = "leaf that is not readable", true, 5},
	{NAME(one_leaf_too_many), .how = "the count of 4K leaves goes up by one", .found_as = {16},
	 .words = "4K leaves: kept 5, counted 4"},
	{NAME(one_huge_leaf_too_many), .how = "the count of 1G leaves goes up by one",
	 .found_as = {16}, .words = "1G leaves: kept 1, counted 0"},
	{NAME(one_table_too_few), .how = "the count of tables goes down by one", .found_as = {16},
	 .words = "tables: kept"},
};
const unsigned breakage_count = sizeof(breakages) / sizeof(breakages[0]);
