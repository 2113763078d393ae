/* SPDX-License-Identifier: MIT */
/*
 * The walk: from CR3 (or a PDPTE) down to the page, one read per entry; then the rights of
 * all entries together; then the accessed and dirty bits.
 *
 * The order is the hardware's: an entry that is not present, or has reserved bits set, ends
 * the walk where it stands, whatever the entries above it allow; rights are judged when the
 * page is known; entries are marked only for an access that takes place.
 */
#include "walk_internal.h"

/* What a descent found. */
struct path {
	uint64_t all;                         /* vmmu_guest_path_add() of all entries */
	uint64_t leaf;                        /* the last of them */
	const struct vmmu_guest_level *level; /* that it is in */
};

static bool is_canonical(const struct vmmu_guest_format *format, uint64_t gva)
{
	const uint64_t top = gva >> format->canonical_shift;

	return top == 0 || top == UINT64_MAX >> format->canonical_shift;
}

/*
 * PAE: the PDPTE that names the first table. It has a present bit and reserved bits, but
 * neither rights nor an accessed bit, and is no step of the walk: nothing is read.
 */
static enum vmmu_guest_entry_kind pdpte_kind(const struct vmmu_guest_format *format, uint64_t pdpte)
{
	if (!(pdpte & VMMU_GUEST_PRESENT))
		return VMMU_GUEST_ENTRY_NOT_PRESENT;
	return pdpte & format->pdpte_reserved ? VMMU_GUEST_ENTRY_RESERVED : VMMU_GUEST_ENTRY_TABLE;
}

/* An entry or PDPTE ends the walk. The error code's bits about the access are still missing. */
static enum vmmu_walk_status stop(enum vmmu_guest_entry_kind kind, struct vmmu_walk_result *result)
{
	result->error_code = 0;
	if (kind == VMMU_GUEST_ENTRY_RESERVED)
		result->error_code = VMMU_PF_PRESENT | VMMU_PF_RESERVED;
	return VMMU_WALK_FAULT;
}

/* Down to the leaf. OK: @path is filled in; nothing is said about rights yet. */
static enum vmmu_walk_status descend(const struct vmmu_guest_tables *tables, uint64_t gva,
				     struct vmmu_walk_result *result, struct path *path)
{
	const struct vmmu_guest_format *format = &tables->rules->format;
	const struct vmmu_guest_level *level = &format->level[format->top];
	__typeof__(result->step[0]) *step = result->step;
	enum vmmu_guest_entry_kind kind = VMMU_GUEST_ENTRY_TABLE;
	uint64_t entry = tables->paging->cr3;

	path->all = UINT64_MAX;
	if (format->pdptes) {
		entry = tables->paging->pdpte[gva >> 30 & 3];
		kind = pdpte_kind(format, entry);
		if (kind != VMMU_GUEST_ENTRY_TABLE)
			return stop(kind, result);
	}
	for (unsigned height = format->top; height; height--, level--, step++) {
		const vmmu_gpa_t gpa =
			vmmu_guest_entry_gpa(format, level, entry & format->table, gva);

		step->gpa = gpa;
		step->level = height;
		if (!tables->ops->read(tables->context, gpa, format->entry_bytes, &step->value)) {
			result->table_gpa = gpa;
			result->levels = format->top - height;
			return VMMU_WALK_UNREADABLE;
		}
		entry = step->value;
		path->all = vmmu_guest_path_add(path->all, entry);
		kind = vmmu_guest_entry_kind(level, entry);
		if (kind == VMMU_GUEST_ENTRY_TABLE)
			continue;
		result->levels = format->top - height + 1;
		if (kind != VMMU_GUEST_ENTRY_LEAF)
			return stop(kind, result);
		break;
	}
	path->leaf = entry;
	path->level = level;
	return VMMU_WALK_OK;
}

/* Sets the accessed and dirty bits that lack. False: an entry is no longer as it was read. */
static bool mark_entries(const struct vmmu_guest_tables *tables, uint64_t dirty,
			 const struct vmmu_walk_result *result)
{
	for (unsigned i = 0; i < result->levels; i++) {
		const uint64_t old = result->step[i].value;
		uint64_t value = old | VMMU_GUEST_ACCESSED;
		bool gone = false;

		if (i + 1 == result->levels)
			value |= dirty;
		if (value != old &&
		    !tables->ops->update(tables->context, result->step[i].gpa,
					 tables->rules->format.entry_bytes, old, value, &gone) &&
		    !gone)
			return false;
	}
	return true;
}

/* After the access is allowed: marks what it uses. False: the walk must start again. */
static bool mark(const struct vmmu_guest_tables *tables, uint32_t flags, const struct path *path,
		 const struct vmmu_walk_result *result)
{
	const uint64_t dirty = flags & VMMU_WALK_WRITE ? VMMU_GUEST_DIRTY : 0;

	if (!((~path->all & VMMU_GUEST_ACCESSED) | (~path->leaf & dirty)))
		return true;
	if ((flags & VMMU_WALK_NO_UPDATE) || !tables->ops->update)
		return true;
	return mark_entries(tables, dirty, result);
}

static void fill_in(const struct vmmu_guest_tables *tables, uint64_t gva, uint32_t rights,
		    const struct path *path, struct vmmu_walk_result *result)
{
	result->gpa.addr = vmmu_guest_leaf_gpa(path->level, path->leaf, gva);
	result->page_bytes = UINT64_C(1) << path->level->shift;
	result->writable = (rights & VMMU_GUEST_RIGHT_WRITE) != 0;
	result->user = (rights & VMMU_GUEST_RIGHT_USER) != 0;
	result->executable = (rights & VMMU_GUEST_RIGHT_EXEC) != 0;
	result->protection_key = 0;
	if (tables->rules->permission.keys && result->user)
		result->protection_key = vmmu_guest_entry_key(path->leaf);
}

enum vmmu_walk_status vmmu_guest_walk(const struct vmmu_guest_tables *tables, vmmu_gva_t gva,
				      uint32_t flags, struct vmmu_walk_result *result)
{
	const struct vmmu_guest_permission *permission = &tables->rules->permission;
	struct path path;
	uint32_t rights;

	result->levels = 0;
	if (!is_canonical(&tables->rules->format, gva.addr))
		return VMMU_WALK_NOT_CANONICAL;
	/*
	 * Each further round means that an entry changed between its read and its update.
	 * Either this walk changed it itself, being led through one entry at several levels:
	 * then a bit was set which stays set, and there are few. Or somebody else wrote to it
	 * just then: this walk waits for nobody, so it loses a round only to a write that
	 * succeeded, and ends when nobody writes to its few entries for the length of a round.
	 */
	do {
		const enum vmmu_walk_status status = descend(tables, gva.addr, result, &path);

		if (status != VMMU_WALK_OK) {
			if (status == VMMU_WALK_FAULT)
				result->error_code |=
					vmmu_guest_permission_access_bits(permission, flags);
			return status;
		}
		rights = vmmu_guest_permission_rights(permission, path.all, path.leaf,
						      tables->paging->pkru);
		result->error_code = vmmu_guest_permission_check(permission, rights, flags);
		if (result->error_code)
			return VMMU_WALK_FAULT;
	} while (!mark(tables, flags, &path, result));
	fill_in(tables, gva.addr, rights, &path, result);
	return VMMU_WALK_OK;
}

void vmmu_guest_rules_prepare(const struct vmmu_paging *paging, struct vmmu_guest_rules *rules)
{
	vmmu_guest_format_prepare(paging, &rules->format);
	vmmu_guest_permission_prepare(paging, &rules->permission);
}

_Static_assert(sizeof(struct vmmu_guest_rules) <= sizeof(struct vmmu_walk_rules),
	       "what the embedder keeps for us is large enough");

void vmmu_walk_prepare(const struct vmmu_paging *paging, struct vmmu_walk_rules *rules)
{
	vmmu_guest_rules_prepare(paging, (struct vmmu_guest_rules *)(void *)rules);
}

enum vmmu_walk_status vmmu_walk(const struct vmmu_paging *paging, vmmu_gva_t gva, uint32_t flags,
				const struct vmmu_walk_ops *ops, void *context,
				struct vmmu_walk_result *result)
{
	struct vmmu_guest_rules rules;
	struct vmmu_guest_tables tables = {&rules, paging, ops, context};

	if (paging->rules)
		tables.rules = (const struct vmmu_guest_rules *)(const void *)paging->rules;
	else
		vmmu_guest_rules_prepare(paging, &rules);
	return vmmu_guest_walk(&tables, gva, flags, result);
}
