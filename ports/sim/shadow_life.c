/* SPDX-License-Identifier: MIT */
/* Memory and accesses under shadow paging, each judged by the linear oracle. */
#include <string.h>

#include "shadow_vm.h"

/* ---- slots ---- */

const struct shadow_slot *shadow_slot_of(const struct shadow_vm *svm, uint64_t gpa, uint64_t *page)
{
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;

	for (unsigned i = 0; i < SHADOW_SLOTS_MAX; i++) {
		const struct shadow_slot *s = &svm->slot[i];

		if (s->is_used && gfn - s->gfn < s->count) {
			*page = s->host + (gfn - s->gfn);
			return s;
		}
	}
	*page = 0;
	return NULL;
}

static void forget(struct shadow_vm *svm, uint64_t gfn, uint64_t count)
{
	linear_oracle_forget(svm->oracle, sim_gpa(gfn << VMMU_PAGE_SHIFT),
			     sim_gpa((gfn + count) << VMMU_PAGE_SHIFT));
}

enum vmmu_error shadow_slot_create(struct shadow_vm *svm, unsigned id,
				   const struct shadow_slot *slot)
{
	struct vmmu_slot_config config = {
		.id = (uint16_t)id,
		.flags = slot->flags | (slot->is_readonly ? VMMU_SLOT_READONLY : 0),
		.base = {slot->gfn},
		.count = slot->count,
		.host_base = slot->host << VMMU_PAGE_SHIFT,
	};
	enum vmmu_error error;

	if (svm->options.direct) /* populated, and in one run */
		config.host_base = sim_host_query(svm->machine, (sim_hpage_t){slot->host}).pfn.n
				   << VMMU_PAGE_SHIFT;
	error = vmmu_slot_create(svm->vm, &config);
	if (error != VMMU_OK)
		return error;
	svm->slot[id] = *slot;
	svm->slot[id].is_used = true;
	forget(svm, slot->gfn, slot->count);
	return error;
}

enum vmmu_error shadow_slot_delete(struct shadow_vm *svm, unsigned id)
{
	enum vmmu_error error = vmmu_slot_delete(svm->vm, 0, (uint16_t)id);

	if (error != VMMU_OK)
		return error;
	svm->slot[id].is_used = false;
	forget(svm, svm->slot[id].gfn, svm->slot[id].count);
	return error;
}

enum vmmu_error shadow_slot_move(struct shadow_vm *svm, unsigned id, uint64_t gfn)
{
	enum vmmu_error error = vmmu_slot_move(svm->vm, 0, (uint16_t)id, (vmmu_gfn_t){gfn});

	if (error != VMMU_OK)
		return error;
	forget(svm, svm->slot[id].gfn, svm->slot[id].count);
	svm->slot[id].gfn = gfn;
	forget(svm, gfn, svm->slot[id].count);
	return error;
}

/* ---- guest memory from outside ---- */

uint64_t shadow_peek(const struct shadow_vm *svm, uint64_t gpa)
{
	uint64_t page;

	if (!shadow_slot_of(svm, gpa, &page))
		return UINT64_MAX;
	return sim_host_read(svm->machine, (sim_hpage_t){page}, gpa & 0xff8);
}

/* @old with @bytes at @gpa replaced. */
static uint64_t merged(uint64_t old, uint64_t gpa, unsigned bytes, uint64_t value)
{
	unsigned shift = 8 * (gpa & 7);
	uint64_t mask = bytes == 8 ? UINT64_MAX : (uint64_t)UINT32_MAX << shift;

	return (old & ~mask) | (value << shift & mask);
}

bool shadow_poke(struct shadow_vm *svm, uint64_t gpa, unsigned bytes, uint64_t value)
{
	uint64_t page, old = shadow_peek(svm, gpa & ~UINT64_C(7));
	const struct shadow_slot *slot = shadow_slot_of(svm, gpa, &page);

	if (!slot || slot->is_readonly)
		return false;
	sim_host_write(svm->machine, (sim_hpage_t){page}, gpa & 0xff8,
		       merged(old, gpa, bytes, value));
	linear_oracle_wrote(svm->oracle, sim_gpa(gpa), bytes, old >> (8 * (gpa & 7)), value);
	sim_watch_telling(&svm->watch,
			  &(struct sim_seen){.gpa = {gpa}, .access = VMMU_ACCESS_WRITE});
	if (vmmu_guest_written(svm->vm, 0, (vmmu_gpa_t){gpa}, bytes) != VMMU_OK)
		sim_violation(svm->machine, "vmmu_guest_written() refuses");
	return true;
}

/* ---- the host's side ---- */

/* No CPU that runs may hold a translation that the tables no longer give. */
static void check_caches(struct shadow_vm *svm, const char *when)
{
	char text[512];

	for (unsigned i = 0; i < svm->vcpus; i++)
		if (svm->running[i] && linear_outdated(svm->machine, 1 + i, text, sizeof(text)))
			sim_violation(svm->machine, "%s, but %s", when, text);
}

/* What a CPU wrote through this frame must have been told by now, then it starts anew (I11). */
static void check_dirty(struct shadow_vm *svm, uint64_t page)
{
	struct sim_host_view view = sim_host_query(svm->machine, (sim_hpage_t){page});
	uint8_t *written, *dirty;

	if (!view.is_present)
		return;
	written = shadow_frame_byte(svm, svm->written_frame, view.pfn.n);
	dirty = shadow_frame_byte(svm, svm->dirty_frame, view.pfn.n);
	if (!written || !dirty)
		return;
	if (*written && !*dirty)
		sim_violation(svm->machine, "host page %llu was written, and nobody was told",
			      (unsigned long long)page);
	*written = *dirty = 0;
}

typedef bool host_event_fn(struct sim_machine *machine, sim_hpage_t page);

/* Bracketed by an invalidation of @count pages from @page, with what must hold in between. */
static bool host_event(struct shadow_vm *svm, uint64_t page, uint64_t count, host_event_fn *event)
{
	uint64_t start = page << VMMU_PAGE_SHIFT, end = start + (count << VMMU_PAGE_SHIFT);
	bool done;

	if (vmmu_invalidate_host_begin(svm->vm, start, end) != VMMU_OK)
		return false;
	check_caches(svm, "the host's begin has returned");
	for (uint64_t i = 0; i < count; i++)
		check_dirty(svm, page + i);
	done = event(svm->machine, (sim_hpage_t){page});
	return vmmu_invalidate_host_end(svm->vm, start, end) == VMMU_OK && done;
}

static bool collapse_2m(struct sim_machine *machine, sim_hpage_t page)
{
	return sim_host_collapse(machine, page, SIM_LEVEL_2M);
}

bool shadow_collapse(struct shadow_vm *svm, uint64_t page)
{
	return host_event(svm, page & ~UINT64_C(511), 512, collapse_2m);
}

bool shadow_swap_out(struct shadow_vm *svm, uint64_t page)
{
	return host_event(svm, page, 1, sim_host_swap_out);
}

bool shadow_migrate(struct shadow_vm *svm, uint64_t page)
{
	return host_event(svm, page, 1, sim_host_migrate);
}

bool shadow_write_protect(struct shadow_vm *svm, uint64_t page)
{
	return host_event(svm, page, 1, sim_host_write_protect);
}

bool shadow_copy_on_write(struct shadow_vm *svm, uint64_t page)
{
	return host_event(svm, page, 1, sim_host_copy_on_write);
}

/* The host had no page, or only a shared one: do what a host does. */
static bool provide(struct shadow_vm *svm, uint64_t gpa)
{
	struct sim_host_view view;
	uint64_t page;

	svm->count.host_errors++;
	if (!shadow_slot_of(svm, gpa, &page))
		return false;
	view = sim_host_query(svm->machine, (sim_hpage_t){page});
	if (!view.is_present)
		return sim_host_swap_in(svm->machine, (sim_hpage_t){page});
	return !view.is_writable && shadow_copy_on_write(svm, page);
}

/* ---- one turn ---- */

static uint32_t walk_flags(const struct linear_access *access)
{
	return (access->privilege == LINEAR_USER ? VMMU_WALK_USER : 0u) |
	       (access->privilege == LINEAR_IMPLICIT ? VMMU_WALK_IMPLICIT : 0u) |
	       (access->ac ? VMMU_WALK_AC : 0u);
}

enum vmmu_outcome shadow_step(struct shadow_vm *svm, const struct shadow_request *request,
			      struct linear_result *hardware, struct vmmu_shadow_result *result)
{
	unsigned vcpu = request->vcpu;
	enum vmmu_error error = shadow_enter(svm, vcpu);

	hardware->outcome = LINEAR_BROKEN;
	if (error != VMMU_OK)
		return error == VMMU_ENOMEM ? VMMU_OUTCOME_NO_MEMORY : VMMU_OUTCOME_DEAD;
	*hardware = linear_cpu_access(linear_cpu_of(sim_machine_cpu(svm->machine, vcpu)),
				      &request->access);
	if (hardware->outcome != LINEAR_FAULT)
		return VMMU_OUTCOME_RESUME;
	shadow_leave(svm, vcpu);
	svm->count.faults++;
	return vmmu_shadow_fault(svm->vcpu[vcpu], (vmmu_gva_t){request->access.gva.bytes},
				 hardware->error, walk_flags(&request->access), result);
}

bool shadow_race_write(struct shadow_vm *svm, unsigned vcpu, uint64_t gva, uint64_t gpa,
		       uint64_t value)
{
	struct linear_cpu *cpu = linear_cpu_of(sim_machine_cpu(svm->machine, vcpu));
	struct linear_access access = {.gva = sim_gva(gva), .kind = LINEAR_WRITE};
	uint64_t old = shadow_peek(svm, gpa), page;
	struct linear_result r;
	uint8_t *written;

	if (!svm->running[vcpu])
		return false;
	r = linear_cpu_access(cpu, &access);
	if (r.outcome != LINEAR_OK || !shadow_slot_of(svm, gpa, &page) ||
	    sim_host_query(svm->machine, (sim_hpage_t){page}).pfn.n != r.hpa.bytes >> 12)
		return false; /* it does not lead there any more */
	written = shadow_frame_byte(svm, svm->written_frame, r.hpa.bytes >> 12);
	if (written && svm->port.page_dirty)
		*written = 1;
	sim_ram_write(svm->machine, r.hpa, value);
	linear_oracle_wrote(svm->oracle, sim_gpa(gpa), 8, old, value);
	svm->raced = true;
	return true;
}

/* ---- the end of an access ---- */

struct ending {
	struct shadow_vm *svm;
	const struct shadow_request *request;
	struct linear_answers expected;
	struct shadow_result result;
	struct linear_result hardware;
	bool raced; /* others wrote meanwhile */
};

static bool agrees(struct ending *e, const struct linear_answer *answer)
{
	char why[512];

	if (linear_oracle_allows(e->svm->oracle, answer, why, sizeof(why)))
		return true;
	sim_violation(e->svm->machine, "%s", why);
	e->result.end = SHADOW_ERROR;
	return false;
}

/* Where the access went, by the oracle's answers: the one whose memory is at this host address. */
static bool find_gpa(struct ending *e)
{
	uint64_t pfn = e->hardware.hpa.bytes >> VMMU_PAGE_SHIFT;
	char why[512] = "no slot has it";

	for (size_t i = 0; i < e->expected.count; i++) {
		const struct linear_allowed *a = &e->expected.item[i];
		struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = a->gpa};
		uint64_t page;

		if (a->outcome != LINEAR_OK || !shadow_slot_of(e->svm, a->gpa.bytes, &page) ||
		    sim_host_query(e->svm->machine, (sim_hpage_t){page}).pfn.n != pfn)
			continue;
		e->result.gpa = a->gpa.bytes;
		if (linear_oracle_allows(e->svm->oracle, &answer, why, sizeof(why))) {
			e->svm->count.stale += !a->is_present_truth;
			return true;
		}
	}
	/* Any gpa at that host address, for the oracle's words. */
	for (unsigned i = 0; i < SHADOW_SLOTS_MAX; i++)
		for (uint64_t n = 0; e->svm->slot[i].is_used && n < e->svm->slot[i].count; n++) {
			const struct shadow_slot *s = &e->svm->slot[i];
			struct linear_answer answer = {.outcome = LINEAR_OK};

			if (sim_host_query(e->svm->machine, (sim_hpage_t){s->host + n}).pfn.n !=
			    pfn)
				continue;
			answer.gpa = sim_gpa((s->gfn + n) << VMMU_PAGE_SHIFT |
					     (e->hardware.hpa.bytes & 0xfff));
			e->result.gpa = answer.gpa.bytes;
			if (linear_oracle_allows(e->svm->oracle, &answer, why, sizeof(why)))
				return true; /* too many answers to list them */
		}
	sim_violation(e->svm->machine, "host address %llx, source %d: %s",
		      (unsigned long long)e->hardware.hpa.bytes, (int)e->hardware.source, why);
	return false;
}

static void write_memory(struct ending *e)
{
	const struct shadow_request *r = e->request;
	sim_hpa_t at = {e->hardware.hpa.bytes & ~UINT64_C(7)};
	uint64_t old = sim_ram_read(e->svm->machine, at);
	uint8_t *written =
		shadow_frame_byte(e->svm, e->svm->written_frame, at.bytes >> VMMU_PAGE_SHIFT);

	if (written && e->svm->port.page_dirty)
		*written = 1;
	sim_ram_write(e->svm->machine, at, merged(old, r->access.gva.bytes, r->bytes, r->value));
	linear_oracle_wrote(e->svm->oracle, sim_gpa(e->result.gpa), r->bytes,
			    old >> (8 * (e->result.gpa & 7)), r->value);
}

static struct sim_seen seen_of(const struct ending *e)
{
	struct sim_seen seen = {
		.vcpu = e->request->vcpu, .gpa = {e->result.gpa}, .access = VMMU_ACCESS_READ};

	if (e->request->access.kind == LINEAR_WRITE)
		seen.access = VMMU_ACCESS_WRITE;
	else if (e->request->access.kind == LINEAR_FETCH)
		seen.access = VMMU_ACCESS_EXEC;
	return seen;
}

/* The hardware let it pass. */
static void end_in_memory(struct ending *e)
{
	struct sim_seen seen;

	e->result.end = SHADOW_MEMORY;
	if (!find_gpa(e)) {
		e->result.end = SHADOW_ERROR;
		return;
	}
	seen = seen_of(e);
	sim_watch_passed(&e->svm->watch, &seen);
	e->svm->count.memory++;
	if (e->request->access.kind == LINEAR_WRITE)
		write_memory(e);
	else
		e->result.value = sim_ram_read(e->svm->machine,
					       (sim_hpa_t){e->hardware.hpa.bytes & ~UINT64_C(7)});
}

static void end_in_fault(struct ending *e, uint32_t error)
{
	struct linear_answer answer = {.outcome = LINEAR_FAULT, .error = error};

	e->result.end = SHADOW_FAULT;
	e->result.error = error;
	e->svm->count.injected++;
	/* A walk may have read what was there before, and faulted without a mark of its way. */
	e->svm->count.partial += e->raced;
	if (e->raced || agrees(e, &answer))
		linear_oracle_fault_taken(e->svm->oracle, e->request->vcpu, e->request->access.gva);
}

static void end_in_device(struct ending *e, uint64_t gpa, enum shadow_end end)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = sim_gpa(gpa)};
	const struct shadow_slot *slot;
	uint64_t page;

	e->result.end = end;
	e->result.gpa = gpa;
	slot = shadow_slot_of(e->svm, gpa, &page);
	e->svm->count.mmio += end == SHADOW_MMIO;
	e->svm->count.readonly += end == SHADOW_READONLY;
	if (end == SHADOW_MMIO ? slot != NULL : !slot || !slot->is_readonly)
		sim_violation(e->svm->machine, "gpa %llx is not what the library says",
			      (unsigned long long)gpa);
	(void)agrees(e, &answer);
}

/* Return: false, the guest runs again. */
static bool end_in_table(struct ending *e, const struct vmmu_shadow_result *r)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = {r->gpa.addr}};
	struct shadow_vm *svm = e->svm;

	svm->count.self_writes += r->self_write;
	if (!r->self_write && svm->unprotect_one_in &&
	    !sim_random_below(svm->machine, svm->unprotect_one_in)) {
		svm->count.unprotected +=
			vmmu_shadow_unprotect(svm->vm, 0, vmmu_gpa_to_gfn(r->gpa));
		return false;
	}
	svm->count.table_writes++;
	e->result.end = SHADOW_MEMORY;
	e->result.emulated = true;
	e->result.gpa = r->gpa.addr;
	if (!agrees(e, &answer))
		return true;
	if (!shadow_poke(svm, r->gpa.addr, e->request->bytes, e->request->value))
		sim_violation(svm->machine, "a table write where there is no memory: gpa %llx",
			      (unsigned long long)r->gpa.addr);
	return true;
}

/* A client tracks it: the device model does what the instruction does. */
static void end_in_tracked(struct ending *e, uint64_t gpa)
{
	struct linear_answer answer = {.outcome = LINEAR_OK, .gpa = {gpa}};
	struct shadow_vm *svm = e->svm;
	struct sim_seen seen;

	svm->count.tracked++;
	e->result.end = SHADOW_MEMORY;
	e->result.emulated = true;
	e->result.gpa = gpa;
	if (!agrees(e, &answer))
		return;
	seen = seen_of(e);
	sim_watch_came_out(&svm->watch, &seen);
	if (seen.access == VMMU_ACCESS_WRITE) {
		if (!shadow_poke(svm, gpa, e->request->bytes, e->request->value))
			sim_violation(svm->machine, "tracked where there is no memory: gpa %llx",
				      (unsigned long long)gpa);
		return;
	}
	e->result.value = shadow_peek(svm, gpa & ~UINT64_C(7));
	sim_watch_telling(&svm->watch, &seen);
	if (vmmu_guest_accessed(svm->vm, 0, (vmmu_gpa_t){gpa & ~UINT64_C(7)}, 8, seen.access) !=
	    VMMU_OK)
		sim_violation(svm->machine, "vmmu_guest_accessed() refuses");
}

/* ---- an access ---- */

/* The hardware did not report a page fault. Return: true, that is the end. */
static bool ends_in_hardware(struct ending *e)
{
	struct linear_answer answer = {.outcome = LINEAR_NONCANONICAL};

	switch (e->hardware.outcome) {
	case LINEAR_OK:
		end_in_memory(e);
		return true;
	case LINEAR_NONCANONICAL:
		e->result.end = SHADOW_NONCANONICAL;
		e->svm->count.noncanonical++;
		(void)agrees(e, &answer);
		return true;
	case LINEAR_BROKEN:
		return true;
	case LINEAR_FAULT:
		break;
	}
	e->svm->count.resumed++;
	return false;
}

/* Return: true, that is the end. */
static bool turn(struct ending *e, enum vmmu_outcome outcome, const struct vmmu_shadow_result *r)
{
	switch (outcome) {
	case VMMU_OUTCOME_RESUME:
		return ends_in_hardware(e);
	case VMMU_OUTCOME_SPURIOUS:
	case VMMU_OUTCOME_RETRY:
	case VMMU_OUTCOME_PENDING:
		return false;
	case VMMU_OUTCOME_INJECT:
		end_in_fault(e, r->error_code);
		return true;
	case VMMU_OUTCOME_MMIO:
		end_in_device(e, r->gpa.addr, SHADOW_MMIO);
		return true;
	case VMMU_OUTCOME_READONLY:
		end_in_device(e, r->gpa.addr, SHADOW_READONLY);
		return true;
	case VMMU_OUTCOME_TABLE_WRITE:
		return end_in_table(e, r);
	case VMMU_OUTCOME_HOST_ERROR:
		if (!provide(e->svm, r->gpa.addr))
			sim_violation(e->svm->machine,
				      "no host page for gpa %llx, says the library",
				      (unsigned long long)r->gpa.addr);
		return false;
	case VMMU_OUTCOME_STUCK:
		sim_violation(e->svm->machine, "vCPU %u is stuck at %llx, hardware error %x",
			      e->request->vcpu, (unsigned long long)e->request->access.gva.bytes,
			      e->hardware.error);
		return true;
	case VMMU_OUTCOME_TRACKED:
		end_in_tracked(e, r->gpa.addr);
		return true;
	case VMMU_OUTCOME_NO_MEMORY:
	case VMMU_OUTCOME_DEAD:
	case VMMU_OUTCOME_COUNT:
		break;
	}
	return true;
}

/* More turns than any access can need. */
#define TURNS_MAX 300u

struct shadow_result shadow_access(struct shadow_vm *svm, const struct shadow_request *request)
{
	struct linear_query query = {.vcpu = request->vcpu, .access = request->access};
	struct ending e = {.svm = svm, .request = request, .result = {.end = SHADOW_ERROR}};
	enum vmmu_outcome outcome = VMMU_OUTCOME_COUNT;
	uint64_t begun = linear_oracle_time(svm->oracle);

	svm->raced = false;
	e.expected = linear_oracle_expect(svm->oracle, &query);
	svm->count.partial += e.expected.is_partial;
	for (unsigned i = 0; i < TURNS_MAX && !sim_violation_count(svm->machine); i++) {
		struct vmmu_shadow_result result = {.level = VMMU_LEVEL_NONE};

		outcome = shadow_step(svm, request, &e.hardware, &result);
		if (svm->raced) {
			query.begun = begun;
			e.expected = linear_oracle_expect(svm->oracle, &query);
			svm->raced = false;
			e.raced = true;
		}
		if (turn(&e, outcome, &result))
			return e.result;
	}
	sim_violation(svm->machine, "vCPU %u at %llx: no end after %u turns, last outcome %s",
		      request->vcpu, (unsigned long long)request->access.gva.bytes, TURNS_MAX,
		      vmmu_outcome_name(outcome));
	return e.result;
}

struct shadow_result shadow_read(struct shadow_vm *svm, unsigned vcpu, uint64_t gva)
{
	struct shadow_request request = {
		.vcpu = vcpu, .access = {.gva = sim_gva(gva), .kind = LINEAR_READ}, .bytes = 8};

	return shadow_access(svm, &request);
}

struct shadow_result shadow_write(struct shadow_vm *svm, unsigned vcpu, uint64_t gva,
				  uint64_t value)
{
	struct shadow_request request = {.vcpu = vcpu,
					 .access = {.gva = sim_gva(gva), .kind = LINEAR_WRITE},
					 .bytes = 8,
					 .value = value};

	return shadow_access(svm, &request);
}

/* ---- checks ---- */

static void finding(void *context, const struct vmmu_finding *f)
{
	struct shadow_vm *svm = context;

	sim_violation(svm->machine, "audit: %s", f->text);
}

void shadow_check(struct shadow_vm *svm)
{
	(void)vmmu_audit(svm->vm, finding, svm);
	check_caches(svm, "every flush is paid");
}

uint64_t shadow_stat(struct shadow_vm *svm, enum vmmu_stat stat)
{
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(svm->vm, values);
	return values[stat];
}
