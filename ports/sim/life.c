/* SPDX-License-Identifier: MIT */
/* The life of a vCPU, of the slots, and of the host's memory, each step checked by the oracle. */
#include <string.h>

#include "port.h"

/* ---- slots ---- */

static enum vmmu_error error_of(enum oracle_status status)
{
	switch (status) {
	case ORACLE_OK:
		return VMMU_OK;
	case ORACLE_EINVAL:
		return VMMU_EINVAL;
	case ORACLE_EEXIST:
		return VMMU_EEXIST;
	}
	return VMMU_EINVAL;
}

static void compare(struct sim_vm *sim, const char *what, enum vmmu_error error,
		    enum oracle_status status)
{
	/* "No memory" is nobody's opinion; the rest must agree on yes or no. */
	if (error != VMMU_ENOMEM && (error == VMMU_OK) != (status == ORACLE_OK))
		sim_violation(sim->machine, "%s: the library says \"%s\", the oracle \"%s\"", what,
			      vmmu_error_text(error), vmmu_error_text(error_of(status)));
}

/* Both worlds are right until the library's call returns. */
static void settle(struct sim_vm *sim, enum oracle_status status, enum vmmu_error error)
{
	if (status != ORACLE_OK)
		return;
	if (error == VMMU_OK)
		oracle_end(sim->oracle);
	else
		oracle_cancel(sim->oracle);
}

enum vmmu_error sim_slot_create(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn,
				uint64_t count, uint64_t host, uint32_t flags)
{
	struct vmmu_slot_config config = {
		.id = id,
		.space = (uint16_t)space,
		.flags = flags,
		.base = {gfn},
		.count = count,
		.host_base = host << VMMU_PAGE_SHIFT,
	};
	struct oracle_request request = {
		.space = space,
		.id = id,
		.gpa = gfn << VMMU_PAGE_SHIFT,
		.byte_count = count << VMMU_PAGE_SHIFT,
		.host_address = host << VMMU_PAGE_SHIFT,
		.flags = flags & VMMU_SLOT_READONLY ? ORACLE_READ_ONLY : 0,
	};
	enum oracle_status status = ORACLE_EEXIST;
	enum vmmu_error error;

	/* To the oracle a second create of an id is a change; to the library it is an error. */
	if (!oracle_find_id(sim->oracle, space, id))
		status = oracle_begin(sim->oracle, &request);
	error = vmmu_slot_create(sim->vm, &config);
	compare(sim, "create", error, status);
	settle(sim, status, error);
	return error;
}

enum vmmu_error sim_slot_delete(struct sim_vm *sim, unsigned space, uint16_t id)
{
	struct oracle_request request = {.space = space, .id = id};
	enum oracle_status status = oracle_begin(sim->oracle, &request);
	enum vmmu_error error = vmmu_slot_delete(sim->vm, space, id);

	compare(sim, "delete", error, status);
	settle(sim, status, error);
	return error;
}

enum vmmu_error sim_slot_move(struct sim_vm *sim, unsigned space, uint16_t id, uint64_t gfn)
{
	const struct oracle_slot *slot = oracle_find_id(sim->oracle, space, id);
	struct oracle_request request = {.space = space, .id = id};
	enum oracle_status status;
	enum vmmu_error error;

	if (slot) {
		request.gpa = gfn << VMMU_PAGE_SHIFT;
		request.byte_count = slot->page_count << VMMU_PAGE_SHIFT;
		request.host_address = slot->host_first.n << VMMU_PAGE_SHIFT;
		request.flags = slot->flags;
	}
	status = oracle_begin(sim->oracle, &request);
	error = vmmu_slot_move(sim->vm, space, id, (vmmu_gfn_t){gfn});
	compare(sim, "move", error, status);
	settle(sim, status, error);
	return error;
}

/* ---- accesses ---- */

/*
 * What the second stage makes of an access: NPT takes every access to guest tables for a write,
 * EPT does when accessed and dirty flags are on.
 */
static enum sim_access_kind as_seen(const struct sim_vm *sim, enum sim_access_kind kind)
{
	bool table_writes =
		sim->options.vm.format == VMMU_FORMAT_NPT || !sim->options.vm.no_accessed_dirty;

	return kind == SIM_TABLE_READ && table_writes ? SIM_TABLE_WRITE : kind;
}

static bool host_can(struct oracle_answers answers, enum oracle_kind kind)
{
	for (unsigned i = 0; i < answers.count; i++)
		if (answers.answer[i].kind == kind)
			return true;
	return false;
}

/*
 * The host had no page, or only a shared one: do what a host does. The library may let others run
 * meanwhile, and one of them may be faster. A misconfigured EPT entry does not say that the
 * access was a write: then the page of a read-only slot is wanted for a read.
 */
static void provide(struct sim_vm *sim, struct oracle_answers answers)
{
	bool provided = false;

	for (unsigned i = 0; i < answers.count; i++) {
		const struct oracle_answer *answer = &answers.answer[i];

		if (answer->kind == ORACLE_HOST_ABSENT || answer->kind == ORACLE_READONLY_WRITE) {
			provided |= sim_host_swap_in(sim->machine, answer->host_page);
		} else if (answer->kind == ORACLE_HOST_READ_ONLY) {
			provided |= sim_vm_copy_on_write(sim, answer->host_page.n);
			provided |= sim_host_query(sim->machine, answer->host_page).is_writable;
		}
	}
	if (!provided)
		sim_violation(sim->machine, "the library found no host page where there is one");
}

static void check_value(struct sim_vm *sim, unsigned vcpu, uint64_t gpa, uint64_t value)
{
	uint64_t expected;

	/* While a change is under way there are two right places; which one it was has been
	 * checked with the translation. */
	if (oracle_expect(sim->oracle, sim->space[vcpu], (sim_gpa_t){gpa}, SIM_READ).count > 1)
		return;
	if (oracle_load(sim->oracle, sim->space[vcpu], (sim_gpa_t){gpa}, &expected) &&
	    expected != value)
		sim_violation(sim->machine, "vCPU %u read %llx at %llx, expected %llx", vcpu,
			      (unsigned long long)value, (unsigned long long)gpa,
			      (unsigned long long)expected);
}

/* Values of written_frame. */
enum { NOT_WRITTEN, WRITTEN, WRITTEN_MEANWHILE };

void sim_vm_wrote(struct sim_vm *sim, uint64_t pfn)
{
	uint8_t *written = sim_vm_frame(sim, sim->written_frame, pfn);

	/* A port that does not listen cannot be told. */
	if (written && sim->port.page_dirty)
		*written = sim->harvesting ? WRITTEN_MEANWHILE : WRITTEN;
}

/* The translation held: move the data. */
static void transfer(struct sim_vm *sim, unsigned vcpu, uint64_t gpa, enum sim_access_kind kind,
		     sim_hpa_t hpa, uint64_t *value)
{
	if (kind == SIM_WRITE || kind == SIM_TABLE_WRITE) {
		sim_vm_wrote(sim, hpa.bytes >> VMMU_PAGE_SHIFT);
		sim_ram_write(sim->machine, hpa, *value);
		if (!oracle_store(sim->oracle, sim->space[vcpu], (sim_gpa_t){gpa}, *value))
			sim_violation(sim->machine,
				      "vCPU %u wrote to %llx, where there is no "
				      "memory to write",
				      vcpu, (unsigned long long)gpa);
	} else {
		*value = sim_ram_read(sim->machine, hpa);
		check_value(sim, vcpu, gpa, *value);
	}
	sim->memory++;
}

/* What the access needs of the second stage. */
static uint32_t access_bit(const struct sim_vm *sim, enum sim_access_kind kind)
{
	switch (as_seen(sim, kind)) {
	case SIM_WRITE:
	case SIM_TABLE_WRITE:
		return VMMU_ACCESS_WRITE;
	case SIM_EXEC:
		return VMMU_ACCESS_EXEC;
	case SIM_READ:
	case SIM_TABLE_READ:
	case SIM_ACCESS_KINDS:
		break;
	}
	return VMMU_ACCESS_READ;
}

/* A client tracks it: do what the instruction does, then tell. False: no slot is there any more. */
static bool emulate(struct sim_vm *sim, unsigned vcpu, uint64_t gpa, enum sim_access_kind kind,
		    uint64_t *value)
{
	struct sim_seen seen = {vcpu, sim->space[vcpu], {gpa}, access_bit(sim, kind)};
	bool write = kind == SIM_WRITE || kind == SIM_TABLE_WRITE;
	uint32_t offset = gpa % VMMU_PAGE_BYTES;
	struct vmmu_slot_config slot;
	enum vmmu_error error;
	uint64_t page;

	if (vmmu_slot_find(sim->vm, seen.space, vmmu_gpa_to_gfn(seen.gpa), &slot) != VMMU_OK)
		return false;
	sim_watch_came_out(&sim->watch, &seen);
	sim->tracked++;
	page = (slot.host_base >> VMMU_PAGE_SHIFT) + vmmu_gpa_to_gfn(seen.gpa).n - slot.base.n;
	seen.access = write              ? VMMU_ACCESS_WRITE
		      : kind == SIM_EXEC ? VMMU_ACCESS_EXEC
					 : VMMU_ACCESS_READ;
	sim_watch_telling(&sim->watch, &seen);
	if (write) {
		sim_host_write(sim->machine, (sim_hpage_t){page}, offset, *value);
		(void)oracle_store(sim->oracle, seen.space, (sim_gpa_t){gpa}, *value);
		error = vmmu_guest_written(sim->vm, seen.space, seen.gpa, sizeof(*value));
	} else {
		*value = sim_host_read(sim->machine, (sim_hpage_t){page}, offset);
		check_value(sim, vcpu, gpa, *value);
		error = vmmu_guest_accessed(sim->vm, seen.space, seen.gpa, sizeof(*value),
					    seen.access);
	}
	if (error != VMMU_OK)
		sim_violation(sim->machine, "an access that came out cannot be told: %s",
			      vmmu_error_text(error));
	return true;
}

static void must_be(struct sim_vm *sim, unsigned vcpu, uint64_t gpa, enum oracle_kind kind,
		    enum sim_access_kind access, const char *words)
{
	struct oracle_answers answers = oracle_expect(sim->oracle, sim->space[vcpu],
						      (sim_gpa_t){gpa}, as_seen(sim, access));

	if (!host_can(answers, kind))
		sim_violation(sim->machine, "vCPU %u at %llx: the library says %s, the oracle not",
			      vcpu, (unsigned long long)gpa, words);
}

/* More turns than any sequence of events in a test can need. */
#define TURNS_MAX 400u

enum sim_access_end sim_vm_access(struct sim_vm *sim, unsigned vcpu, uint64_t gpa,
				  enum sim_access_kind kind, uint64_t *value)
{
	/* Inside a hook the other party stands still: what waits for it waits for ever. */
	unsigned turns = sim->in_hook ? TURNS_MAX / 40 : TURNS_MAX;

	for (unsigned turn = 0; turn < turns; turn++) {
		struct vmmu_fault_result result;
		struct sim_result hardware;

		switch (sim_vm_step(sim, vcpu, gpa, kind, &hardware, &result)) {
		case VMMU_OUTCOME_RESUME:
			if (hardware.outcome == SIM_BROKEN)
				return SIM_ACCESS_ERROR;
			if (hardware.outcome != SIM_OK)
				continue;
			sim_watch_passed(&sim->watch, &(struct sim_seen){vcpu,
									 sim->space[vcpu],
									 {gpa},
									 access_bit(sim, kind)});
			transfer(sim, vcpu, gpa, kind, hardware.hpa, value);
			return SIM_ACCESS_MEMORY;
		case VMMU_OUTCOME_SPURIOUS:
		case VMMU_OUTCOME_RETRY:
		case VMMU_OUTCOME_PENDING:
			continue;
		case VMMU_OUTCOME_MMIO:
			must_be(sim, vcpu, gpa, ORACLE_MMIO, kind, "mmio");
			sim->mmio++;
			sim->mmio_fast += result.from_cache;
			return SIM_ACCESS_MMIO;
		case VMMU_OUTCOME_READONLY:
			must_be(sim, vcpu, gpa, ORACLE_READONLY_WRITE, kind, "readonly");
			sim->readonly++;
			return SIM_ACCESS_READONLY;
		case VMMU_OUTCOME_TRACKED:
			if (emulate(sim, vcpu, gpa, kind, value))
				return SIM_ACCESS_MEMORY;
			continue;
		case VMMU_OUTCOME_HOST_ERROR:
			provide(sim, oracle_expect(sim->oracle, sim->space[vcpu], (sim_gpa_t){gpa},
						   as_seen(sim, kind)));
			continue;
		case VMMU_OUTCOME_STUCK:
			sim->stuck++;
			return SIM_ACCESS_STUCK;
		case VMMU_OUTCOME_NO_MEMORY:
		case VMMU_OUTCOME_INJECT:
		case VMMU_OUTCOME_TABLE_WRITE:
			sim_violation(sim->machine, "an outcome that only shadow paging has");
			return SIM_ACCESS_ERROR;
		case VMMU_OUTCOME_DEAD:
		case VMMU_OUTCOME_COUNT:
			return SIM_ACCESS_ERROR;
		}
	}
	if (sim->in_hook)
		return SIM_ACCESS_ERROR;
	sim_violation(sim->machine, "vCPU %u at %llx: no end after %u turns, last outcome %s", vcpu,
		      (unsigned long long)gpa, TURNS_MAX,
		      vmmu_outcome_name((enum vmmu_outcome)sim->last_outcome));
	return SIM_ACCESS_ERROR;
}

/* ---- the host's side ---- */

typedef bool host_event_fn(struct sim_machine *machine, sim_hpage_t page);

/* No CPU that runs may hold a translation that the tables no longer give. */
static void check_caches(struct sim_vm *sim, const char *when)
{
	char text[512];

	for (unsigned i = 0; i < SIM_VCPUS_MAX && sim->vcpu[i]; i++)
		if (sim->running[i] &&
		    sim_outdated_translations(sim->machine, 1 + i, text, sizeof(text)))
			sim_violation(sim->machine, "%s, but %s", when, text);
}

/* What was written through this frame must have been told by now, then it starts anew (I11). */
static void check_dirty(struct sim_vm *sim, uint64_t page)
{
	struct sim_host_view view = sim_host_query(sim->machine, (sim_hpage_t){page});
	uint8_t *written = sim_vm_frame(sim, sim->written_frame, view.pfn.n);
	uint8_t *dirty = sim_vm_frame(sim, sim->dirty_frame, view.pfn.n);

	if (!view.is_present || !written || !dirty)
		return;
	if (*written && !*dirty)
		sim_violation(sim->machine, "host page %llu was written, and nobody was told",
			      (unsigned long long)page);
	*written = *dirty = 0;
}

/* Bracketed by an invalidation of @count pages from @page, with what must hold in between. */
static bool host_event(struct sim_vm *sim, uint64_t page, uint64_t count, host_event_fn *event)
{
	uint64_t start = page << VMMU_PAGE_SHIFT, end = start + (count << VMMU_PAGE_SHIFT);
	bool done;

	if (vmmu_invalidate_host_begin(sim->vm, start, end) != VMMU_OK)
		return false;
	check_caches(sim, "the host's begin has returned");
	for (uint64_t i = 0; i < count; i++)
		check_dirty(sim, page + i);
	done = event(sim->machine, (sim_hpage_t){page});
	if (vmmu_invalidate_host_end(sim->vm, start, end) != VMMU_OK)
		return false;
	return done;
}

static bool collapse_2m(struct sim_machine *machine, sim_hpage_t page)
{
	return sim_host_collapse(machine, page, SIM_LEVEL_2M);
}

bool sim_vm_collapse(struct sim_vm *sim, uint64_t page)
{
	return host_event(sim, page & ~UINT64_C(511), 512, collapse_2m);
}

bool sim_vm_swap_out(struct sim_vm *sim, uint64_t page)
{
	return host_event(sim, page, 1, sim_host_swap_out);
}

bool sim_vm_migrate(struct sim_vm *sim, uint64_t page)
{
	return host_event(sim, page, 1, sim_host_migrate);
}

bool sim_vm_write_protect(struct sim_vm *sim, uint64_t page)
{
	return host_event(sim, page, 1, sim_host_write_protect);
}

bool sim_vm_copy_on_write(struct sim_vm *sim, uint64_t page)
{
	return host_event(sim, page, 1, sim_host_copy_on_write);
}

void sim_vm_harvest_dirty(struct sim_vm *sim)
{
	struct vmmu_gfn_range all = {{0}, {UINT64_MAX}};

	sim->harvesting = true;
	for (unsigned space = 0; space < sim->options.vm.spaces; space++)
		if (vmmu_harvest_dirty(sim->vm, space, all, NULL, NULL) != VMMU_OK)
			sim_violation(sim->machine, "dirty pages cannot be harvested");
	sim->harvesting = false;
	for (uint64_t i = 0; i < sim->options.machine.frame_count; i++) {
		if (sim->written_frame[i] == WRITTEN_MEANWHILE) {
			sim->written_frame[i] = WRITTEN;
			continue;
		}
		if (sim->written_frame[i] && !sim->dirty_frame[i])
			sim_violation(sim->machine, "frame %llu was written, and nobody was told",
				      (unsigned long long)i);
		sim->written_frame[i] = sim->dirty_frame[i] = 0;
	}
}

/* ---- checks ---- */

static void finding(void *context, const struct vmmu_finding *f)
{
	struct sim_vm *sim = context;

	sim_violation(sim->machine, "audit: %s", f->text);
}

uint64_t sim_vm_audit(struct sim_vm *sim)
{
	return vmmu_audit(sim->vm, finding, sim);
}

void sim_vm_check(struct sim_vm *sim)
{
	(void)sim_vm_audit(sim);
	check_caches(sim, "every flush is paid");
}
