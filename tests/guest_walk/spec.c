/* SPDX-License-Identifier: MIT */
#include "spec.h"

#include <string.h>

/* --- reading bit fields as the manuals write them: (high:low), both included --- */

static uint64_t field(uint64_t value, int high, int low)
{
	if (high < low)
		return 0;
	value <<= 63 - high;
	return value >> (63 - high + low);
}

static bool bit(uint64_t value, int number)
{
	return field(value, number, number) == 1;
}

/* --- the question, in the manuals' terms --- */

struct path {
	const struct vmmu_paging *paging;
	uint32_t flags;
	bool ends_in_page;   /* the last entry maps a page */
	unsigned page_shift; /* log2 of its size */
	unsigned key;
	struct spec_answer *answer;
};

static bool long_mode(const struct vmmu_paging *p)
{
	return p->mode == VMMU_PAGING_4LEVEL || p->mode == VMMU_PAGING_5LEVEL;
}

/* EFER.NXE does something only where entries have a bit 63. */
static bool execute_disable_enabled(const struct vmmu_paging *p)
{
	return p->nx && (long_mode(p) || p->mode == VMMU_PAGING_PAE);
}

static bool is_write(const struct path *path)
{
	return (path->flags & VMMU_WALK_WRITE) != 0;
}

static bool is_fetch(const struct path *path)
{
	return (path->flags & VMMU_WALK_FETCH) != 0;
}

/* A read or a write. What asks for both a write and a fetch is both. */
static bool is_data(const struct path *path)
{
	return is_write(path) || !is_fetch(path);
}

/* Implicit accesses to system structures are supervisor accesses at every CPL. */
static bool is_user_mode_access(const struct path *path)
{
	if ((path->flags & VMMU_WALK_IMPLICIT) != 0)
		return false;
	return (path->flags & VMMU_WALK_USER) != 0;
}

static bool smap_is_overridden(const struct path *path)
{
	bool explicit_access = (path->flags & VMMU_WALK_IMPLICIT) == 0;

	return explicit_access && (path->flags & VMMU_WALK_AC) != 0;
}

/* --- properties of the linear address: all entries of the path together --- */

static bool every_entry_has(const struct path *path, int number)
{
	for (unsigned i = 0; i < path->answer->entries; i++) {
		if (!bit(path->answer->entry[i].before, number))
			return false;
	}
	return true;
}

static bool some_entry_has(const struct path *path, int number)
{
	for (unsigned i = 0; i < path->answer->entries; i++) {
		if (bit(path->answer->entry[i].before, number))
			return true;
	}
	return false;
}

static bool is_user_mode_address(const struct path *path)
{
	return every_entry_has(path, 2);
}

static bool is_writable_address(const struct path *path)
{
	return every_entry_has(path, 1);
}

static bool is_execute_disabled_address(const struct path *path)
{
	return execute_disable_enabled(path->paging) && some_entry_has(path, 63);
}

/* --- access rights, one function per sentence of the manual --- */

static bool supervisor_data_may_touch_user_address(const struct path *path)
{
	return !path->paging->smap || smap_is_overridden(path);
}

static bool read_allowed(const struct path *path)
{
	if (is_user_mode_access(path))
		return is_user_mode_address(path);
	if (is_user_mode_address(path))
		return supervisor_data_may_touch_user_address(path);
	return true;
}

static bool write_allowed(const struct path *path)
{
	if (is_user_mode_access(path))
		return is_user_mode_address(path) && is_writable_address(path);
	if (is_user_mode_address(path) && !supervisor_data_may_touch_user_address(path))
		return false;
	if (path->paging->wp)
		return is_writable_address(path);
	return true;
}

static bool fetch_allowed(const struct path *path)
{
	if (is_user_mode_access(path))
		return is_user_mode_address(path) && !is_execute_disabled_address(path);
	if (is_user_mode_address(path) && path->paging->smep)
		return false;
	return !is_execute_disabled_address(path);
}

/* The page-fault error code's definition of bit 5, which is also when keys refuse. */
static bool protection_key_refuses(const struct path *path)
{
	uint32_t pkru = path->paging->pkru;
	int key = (int)path->key;

	if (!long_mode(path->paging) || !path->paging->pke)
		return false;
	if (!is_data(path) || !is_user_mode_address(path))
		return false;
	if (bit(pkru, 2 * key))
		return true;
	return bit(pkru, 2 * key + 1) && is_write(path) &&
	       (path->paging->wp || is_user_mode_access(path));
}

static bool rights_allow(const struct path *path)
{
	if (is_fetch(path) && !fetch_allowed(path))
		return false;
	if (is_write(path) && !write_allowed(path))
		return false;
	if (!is_fetch(path) && !is_write(path) && !read_allowed(path))
		return false;
	return true;
}

/* --- reserved bits of a present entry --- */

static bool reserved_in_32bit(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	int m = p->physical_bits < 40 ? (int)p->physical_bits : 40;

	if (level == 1 || !p->pse || !bit(e, 7))
		return false;
	if (p->pse36)
		return field(e, 21, m - 19) != 0;
	return field(e, 21, 13) != 0;
}

static bool reserved_in_pae_pdpte(const struct vmmu_paging *p, uint64_t e)
{
	return field(e, 2, 1) != 0 || field(e, 8, 5) != 0 ||
	       field(e, 63, (int)p->physical_bits) != 0;
}

static bool reserved_in_pae(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	if (field(e, 62, (int)p->physical_bits) != 0)
		return true;
	if (bit(e, 63) && !p->nx)
		return true;
	return level == 2 && bit(e, 7) && field(e, 20, 13) != 0;
}

static bool reserved_in_long_mode(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	if (field(e, 51, (int)p->physical_bits) != 0)
		return true;
	if (bit(e, 63) && !p->nx)
		return true;
	switch (level) {
	case 5:
	case 4:
		return bit(e, 7) || (p->amd && bit(e, 8));
	case 3:
		if (!bit(e, 7))
			return p->amd && bit(e, 8);
		return !p->huge_1g || field(e, 29, 13) != 0;
	case 2:
		return bit(e, 7) && field(e, 20, 13) != 0;
	default:
		return false;
	}
}

static bool has_reserved_bits(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	if (p->mode == VMMU_PAGING_32BIT)
		return reserved_in_32bit(p, level, e);
	if (p->mode == VMMU_PAGING_PAE)
		return reserved_in_pae(p, level, e);
	return reserved_in_long_mode(p, level, e);
}

static bool maps_a_page(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	if (level == 1)
		return true;
	if (p->mode == VMMU_PAGING_32BIT)
		return p->pse && bit(e, 7);
	return level <= 3 && bit(e, 7);
}

/* --- where things are --- */

static uint64_t index_of(const struct vmmu_paging *p, unsigned level, uint64_t gva)
{
	static const int low_64[] = {0, 12, 21, 30, 39, 48};

	if (p->mode == VMMU_PAGING_32BIT)
		return level == 2 ? field(gva, 31, 22) : field(gva, 21, 12);
	return field(gva, low_64[level] + 8, low_64[level]);
}

static uint64_t table_address(const struct vmmu_paging *p, uint64_t e)
{
	return p->mode == VMMU_PAGING_32BIT ? field(e, 31, 12) << 12 : field(e, 51, 12) << 12;
}

static unsigned page_shift_of(const struct vmmu_paging *p, unsigned level)
{
	if (level == 1)
		return 12;
	if (level == 3)
		return 30;
	return p->mode == VMMU_PAGING_32BIT ? 22 : 21;
}

static uint64_t page_address(const struct vmmu_paging *p, unsigned level, uint64_t e)
{
	int m = p->physical_bits < 40 ? (int)p->physical_bits : 40;

	if (level == 1)
		return table_address(p, e);
	if (level == 3)
		return field(e, 51, 30) << 30;
	if (p->mode != VMMU_PAGING_32BIT)
		return field(e, 51, 21) << 21;
	if (!p->pse36)
		return field(e, 31, 22) << 22;
	return field(e, 31, 22) << 22 | field(e, m - 20, 13) << 32;
}

/* --- the answer --- */

static void page_fault(struct path *path, bool present, bool reserved, bool key)
{
	uint32_t code = 0;

	if (present)
		code += 1;
	if (is_write(path))
		code += 2;
	if (is_user_mode_access(path))
		code += 4;
	if (reserved)
		code += 8;
	if (is_fetch(path) && (path->paging->smep || execute_disable_enabled(path->paging)))
		code += 16;
	if (key)
		code += 32;
	path->answer->status = VMMU_WALK_FAULT;
	path->answer->error_code = code;
}

/* Follows the entries down; true when a page was found and the answer is still open. */
static bool follow(struct path *path, unsigned level, uint64_t table, uint64_t gva,
		   spec_read_fn read, void *memory)
{
	const struct vmmu_paging *p = path->paging;
	unsigned bytes = p->mode == VMMU_PAGING_32BIT ? 4 : 8;

	for (; level >= 1; level--) {
		struct spec_entry *found = &path->answer->entry[path->answer->entries];
		uint64_t e = 0;

		found->gpa = table + bytes * index_of(p, level, gva);
		found->level = level;
		if (!read(memory, found->gpa, bytes, &e)) {
			path->answer->status = VMMU_WALK_UNREADABLE;
			path->answer->table_gpa = found->gpa;
			return false;
		}
		found->before = e;
		found->after = e;
		path->answer->entries++;
		if (!bit(e, 0)) {
			page_fault(path, false, false, false);
			return false;
		}
		if (has_reserved_bits(p, level, e)) {
			page_fault(path, true, true, false);
			return false;
		}
		if (maps_a_page(p, level, e)) {
			path->page_shift = page_shift_of(p, level);
			path->key = (unsigned)field(e, 62, 59);
			path->answer->gpa = page_address(p, level, e) +
					    field(gva, (int)path->page_shift - 1, 0);
			return true;
		}
		table = table_address(p, e);
	}
	return false;
}

/* Checks rights, sets accessed and dirty flags, fills in the rest. */
static void finish(struct path *path)
{
	struct spec_answer *answer = path->answer;
	bool refused_by_key = protection_key_refuses(path);

	if (refused_by_key || !rights_allow(path)) {
		page_fault(path, true, false, refused_by_key);
		return;
	}
	answer->status = VMMU_WALK_OK;
	answer->page_bytes = (uint64_t)1 << path->page_shift;
	answer->writable = is_writable_address(path);
	answer->user = is_user_mode_address(path);
	answer->executable = !is_execute_disabled_address(path);
	if (long_mode(path->paging) && path->paging->pke && answer->user)
		answer->key = path->key;
	if ((path->flags & VMMU_WALK_NO_UPDATE) != 0)
		return;
	for (unsigned i = 0; i < answer->entries; i++)
		answer->entry[i].after |= 1u << 5;
	if (is_write(path))
		answer->entry[answer->entries - 1].after |= 1u << 6;
}

static bool canonical(const struct vmmu_paging *p, uint64_t gva)
{
	int top = p->mode == VMMU_PAGING_5LEVEL ? 56 : 47;

	if (!long_mode(p))
		return true;
	for (int i = top; i < 63; i++) {
		if (bit(gva, i) != bit(gva, 63))
			return false;
	}
	return true;
}

static bool follow_pae(struct path *path, uint64_t gva, spec_read_fn read, void *memory)
{
	uint64_t pdpte = path->paging->pdpte[field(gva, 31, 30)];

	if (!bit(pdpte, 0)) {
		page_fault(path, false, false, false);
		return false;
	}
	if (reserved_in_pae_pdpte(path->paging, pdpte)) {
		page_fault(path, true, true, false);
		return false;
	}
	return follow(path, 2, field(pdpte, 51, 12) << 12, gva, read, memory);
}

void spec_access(const struct vmmu_paging *paging, uint64_t gva, uint32_t flags, spec_read_fn read,
		 void *memory, struct spec_answer *answer)
{
	struct path path = {.paging = paging, .flags = flags, .answer = answer};
	uint64_t root = table_address(paging, paging->cr3);
	bool found = false;

	memset(answer, 0, sizeof(*answer));
	if (!canonical(paging, gva)) {
		answer->status = VMMU_WALK_NOT_CANONICAL;
		return;
	}
	switch (paging->mode) {
	case VMMU_PAGING_OFF:
		answer->status = VMMU_WALK_OK;
		answer->gpa = field(gva, 31, 0);
		answer->page_bytes = (uint64_t)1 << 32;
		answer->writable = answer->user = answer->executable = true;
		return;
	case VMMU_PAGING_32BIT:
		found = follow(&path, 2, root, gva, read, memory);
		break;
	case VMMU_PAGING_PAE:
		found = follow_pae(&path, gva, read, memory);
		break;
	case VMMU_PAGING_4LEVEL:
		found = follow(&path, 4, root, gva, read, memory);
		break;
	case VMMU_PAGING_5LEVEL:
		found = follow(&path, 5, root, gva, read, memory);
		break;
	}
	if (found)
		finish(&path);
}
