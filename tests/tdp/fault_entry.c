/* SPDX-License-Identifier: MIT */
/* What is around a fault: trace records, guest entry, explanations, the bound on devices. */
#include "fault.h"

#include <string.h>

#include "vm.h"

void fault_kill(struct sim_vm *sim)
{
	assert_true(sim_vm_write_protect(sim, 5));
	rig_read(sim, 0, 5);
	assert_true(sim_host_write_enable(sim->machine, (sim_hpage_t){5}));
	assert_true(sim_host_migrate(sim->machine, (sim_hpage_t){5}));
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_WRITE), VMMU_OUTCOME_DEAD);
	assert_non_null(vmmu_vm_death(sim->vm));
}

/* ---- trace ---- */

#define RECORDS_MAX 4096u
static struct vmmu_trace records[RECORDS_MAX];
static unsigned record_count;

static void keep_record(void *host, const struct vmmu_trace *record)
{
	struct sim_vm *sim = host;

	assert_true(record_count < RECORDS_MAX);
	records[record_count++] = *record;
	sim->traces++;
}

static unsigned records_of(enum vmmu_trace_kind kind)
{
	unsigned found = 0;

	for (unsigned i = 0; i < record_count; i++)
		found += records[i].kind == kind;
	return found;
}

static const struct vmmu_trace *last_of(enum vmmu_trace_kind kind)
{
	for (unsigned i = record_count; i-- > 0;)
		if (records[i].kind == kind)
			return &records[i];
	fail_msg("no trace record of kind %d", (int)kind);
	return NULL;
}

static struct sim_vm *traced_vm(unsigned vcpus)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, vcpus);

	record_count = 0;
	sim->port.trace = keep_record;
	return sim;
}

void trace_records_are_numbered_without_a_gap(void **state)
{
	struct sim_vm *sim = traced_vm(3);
	const struct vmmu_trace *r;

	(void)state;
	rig_slot(sim, 0, 4, 16, 64, 0);
	r = last_of(VMMU_TRACE_SLOT);
	assert_true(r->a == 4 && r->b == 16 && r->c == 64 && r->vcpu == UINT32_MAX);
	rig_write(sim, 2, 20);
	r = last_of(VMMU_TRACE_FAULT);
	assert_true(r->a == 20 << 12 && r->b == VMMU_ACCESS_WRITE && r->vcpu == 2);
	assert_true(r->c == VMMU_OUTCOME_RESUME && r->level == VMMU_LEVEL_4K);
	r = last_of(VMMU_TRACE_ENTRY);
	assert_true(r->a == 20 && r->b == 0 && r->level == VMMU_LEVEL_4K && r->vcpu == 2);
	rig_mmio(sim, 1, 5);
	assert_int_equal(last_of(VMMU_TRACE_FAULT)->c, VMMU_OUTCOME_MMIO);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 0, rig_range(18, 25)), VMMU_OK);
	r = last_of(VMMU_TRACE_INVALIDATE);
	assert_true(r->a == 18 && r->b == 25 && r->c == 1);
	r = last_of(VMMU_TRACE_FLUSH);
	assert_true(r->a == 20 && r->b == 21 && r->c == 0);
	r = last_of(VMMU_TRACE_ENTRY);
	assert_true(r->a == 20 && r->b != 0 && r->c == 0);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 0, rig_range(18, 25)), VMMU_OK);
	assert_int_equal(last_of(VMMU_TRACE_INVALIDATE)->c, 2);
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
	assert_int_equal(last_of(VMMU_TRACE_ROOT)->b, 2);
	rig_read(sim, 2, 20);
	assert_int_equal(sim_slot_delete(sim, 0, 4), VMMU_OK);
	r = last_of(VMMU_TRACE_SLOT);
	assert_true(r->a == 4 && r->b == 16 && r->c == 0);
	assert_int_equal(records_of(VMMU_TRACE_FAULT), sim->faults);
	assert_true(record_count > 15);
	for (unsigned i = 0; i < record_count; i++) {
		assert_int_equal(records[i].version, VMMU_TRACE_VERSION);
		assert_int_equal(records[i].number, i);
	}
	rig_end(sim);
}

void trace_records_say_which_space_they_are_about(void **state)
{
	struct sim_vm *sim = traced_vm(1);

	(void)state;
	rig_slot(sim, 1, 0, 0, 64, 0);
	assert_int_equal(last_of(VMMU_TRACE_SLOT)->space, 1);
	rig_set_space(sim, 0, 1);
	rig_write(sim, 0, 5);
	assert_int_equal(last_of(VMMU_TRACE_FAULT)->space, 1);
	assert_int_equal(last_of(VMMU_TRACE_ENTRY)->space, 1);
	assert_int_equal(vmmu_invalidate_begin(sim->vm, 1, rig_range(0, 8)), VMMU_OK);
	assert_int_equal(last_of(VMMU_TRACE_INVALIDATE)->space, 1);
	assert_int_equal(last_of(VMMU_TRACE_ENTRY)->space, 1);
	assert_int_equal(last_of(VMMU_TRACE_FLUSH)->space, 1);
	assert_int_equal(vmmu_invalidate_end(sim->vm, 1, rig_range(0, 8)), VMMU_OK);
	rig_end(sim);
}

/* ---- guest entry ---- */

static bool entry_flushes(struct sim_vm *sim, unsigned vcpu)
{
	struct vmmu_entry entry;

	sim_vm_leave(sim, vcpu);
	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[vcpu], &entry), VMMU_OK);
	vmmu_vcpu_leave(sim->vcpu[vcpu]);
	/* This CPU did not load it: its own translations go the hard way. */
	sim_cpu_flush_everything(sim_machine_cpu(sim->machine, vcpu));
	return entry.flush;
}

void a_guest_entry_asks_for_a_flush_exactly_when_one_is_needed(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 2);

	(void)state;
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_true(entry_flushes(sim, 0)); /* the first one */
	assert_false(entry_flushes(sim, 0));
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RESUME);
	assert_int_equal(rig_handle(sim, 0, 99, VMMU_ACCESS_READ), VMMU_OUTCOME_MMIO);
	assert_false(entry_flushes(sim, 0)); /* only rights were added */
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(8, 16)), VMMU_OK);
	assert_false(entry_flushes(sim, 0)); /* nothing was there */
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 16)), VMMU_OK);
	assert_true(entry_flushes(sim, 0));
	assert_false(entry_flushes(sim, 0));
	vmmu_vcpu_moved(sim->vcpu[0]);
	assert_true(entry_flushes(sim, 0));
	assert_false(entry_flushes(sim, 0));
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RESUME);
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_SPURIOUS);
	assert_true(entry_flushes(sim, 0)); /* the hardware seems to remember something */
	assert_false(entry_flushes(sim, 0));
	assert_int_equal(vmmu_zap_all(sim->vm), VMMU_OK);
	assert_true(entry_flushes(sim, 0)); /* a new root */
	assert_false(entry_flushes(sim, 0));
	rig_set_space(sim, 0, 1);
	assert_true(entry_flushes(sim, 0));
	rig_set_space(sim, 0, 0);
	assert_true(entry_flushes(sim, 0));
	assert_false(entry_flushes(sim, 0));
	assert_true(entry_flushes(sim, 1)); /* the other's first one */
	assert_false(entry_flushes(sim, 0));
	rig_end(sim);
}

static unsigned flush_calls;
static void (*real_flush)(void *host, const struct vmmu_flush *flush);

static void count_flush(void *host, const struct vmmu_flush *flush)
{
	const struct sim_vm *sim = host;

	assert_ptr_equal(flush->vm_cookie, sim->options.vm.cookie);
	flush_calls++;
	real_flush(host, flush);
}

void cpus_outside_of_the_guest_are_not_interrupted(void **state)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim;

	(void)state;
	options.vm.cookie = &flush_calls;
	sim = rig_new(&options, 2);
	real_flush = sim->port.tlb_flush;
	sim->port.tlb_flush = count_flush;
	flush_calls = 0;
	rig_slot(sim, 0, 0, 0, 64, 0);
	rig_write(sim, 0, 5);
	sim_vm_leave(sim, 0);
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 16)), VMMU_OK);
	assert_int_equal(flush_calls, 0);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FLUSHES), 1);
	rig_write(sim, 0, 5);
	assert_true(sim->running[0]);
	assert_int_equal(vmmu_zap_range(sim->vm, 0, rig_range(0, 16)), VMMU_OK);
	assert_int_equal(flush_calls, 1);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FLUSHES), 2);
	assert_int_equal(rig_stat(sim, VMMU_STAT_FLUSHES_REMOTE), 1);
	rig_write(sim, 0, 5);
	rig_end(sim);
}

/* Bits 2:0 memory type (6: write-back), 5:3 walk length less one, 6 accessed and dirty flags on,
 * 11:7 none, from 12 the address of the top table. */
void the_ept_pointer_is_what_the_manual_says(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct sim_vm_options options =
			rig_options(i < 4 ? VMMU_FORMAT_EPT : VMMU_FORMAT_NPT);
		struct vmmu_entry entry;
		struct sim_vm *sim;

		options.vm.root_level = i & 1 ? 5 : 4;
		options.vm.no_accessed_dirty = i == 2 || i == 3;
		sim = rig_new(&options, 1);
		assert_int_equal(vmmu_vcpu_enter(sim->vcpu[0], &entry), VMMU_OK);
		vmmu_vcpu_leave(sim->vcpu[0]);
		assert_int_equal(entry.root_level, options.vm.root_level);
		assert_int_equal(entry.root.addr & 0xfff, 0);
		assert_int_equal(sim_ram_state(sim->machine, (sim_pfn_t){entry.root.addr >> 12}),
				 SIM_FRAME_TABLE);
		if (i == 4)
			assert_int_equal(entry.eptp, 0);
		else
			assert_int_equal(entry.eptp, entry.root.addr | (i < 2 ? 0x40 : 0) |
							     (i & 1 ? 0x20 : 0x18) | 6);
		rig_end(sim);
	}
}

/* ---- explanations ---- */

struct told {
	char text[2048];
};

/* How much of the line leads to a number that depends on which frames the host gave? */
static size_t before_number(const char *line)
{
	if (!strncmp(line, "host frame 0x", 13))
		return 11;
	return !strncmp(line, " = 0x", 5) && strncmp(line, " = 0x0:", 7) ? 3 : 0;
}

/* Such numbers are told as #. */
static void tell(void *context, const char *line)
{
	struct told *told = context;
	char *to = told->text + strlen(told->text);

	assert_null(strchr(line, '\n'));
	assert_true(strlen(told->text) + strlen(line) + 2 < sizeof(told->text));
	while (*line) {
		size_t lead = before_number(line);

		if (lead) {
			memcpy(to, line, lead);
			to[lead] = '#';
			to += lead + 1;
			line += lead + strspn(line + lead, "x0123456789abcdef");
		} else {
			*to++ = *line++;
		}
	}
	strcpy(to, "\n");
}

static void must_explain(struct sim_vm *sim, uint64_t gpa, const char *expected)
{
	struct told told = {""};

	assert_int_equal(vmmu_explain(sim->vm, 0, (vmmu_gpa_t){gpa}, tell, &told), VMMU_OK);
	assert_string_equal(told.text, expected);
}

static struct sim_vm *told_vm(uint32_t flags)
{
	struct sim_vm_options options = rig_options(VMMU_FORMAT_NPT);
	struct sim_vm *sim = rig_new(&options, 1);

	assert_int_equal(sim_slot_create(sim, 0, 3, 0, 64, 0, flags), VMMU_OK);
	return sim;
}

#define TABLES_TEXT                                                                                \
	"root: npt table at host frame #\n"                                                        \
	"level 4, entry 0 = #: table at host frame #\n"                                            \
	"level 3, entry 0 = #: table at host frame #\n"                                            \
	"level 2, entry 0 = #: table at host frame #\n"

void explain_tells_of_memory(void **state)
{
	struct sim_vm *sim = told_vm(0);

	(void)state;
	must_explain(sim, 0x5678,
		     "gpa 0x5678 in space 0\n"
		     "slot 3: gfn 0x0 to 0x40, writable, host address here 0x5000\n"
		     "root: none yet\n"
		     "a read: faults, and an entry is installed\n"
		     "a write: faults, and an entry is installed\n"
		     "a fetch: faults, and an entry is installed\n");
	rig_write(sim, 0, 5);
	must_explain(sim, 0x5678,
		     "gpa 0x5678 in space 0\n"
		     "slot 3: gfn 0x0 to 0x40, writable, host address here 0x5000\n" TABLES_TEXT
		     "level 1, entry 5 = #: leaf, host frame #, rights rwx, accessed, dirty\n"
		     "a read: goes through\n"
		     "a write: goes through\n"
		     "a fetch: goes through\n");
	rig_end(sim);
}

void explain_tells_of_a_hole_and_a_device_entry(void **state)
{
	struct sim_vm *sim = told_vm(0);

	(void)state;
	rig_write(sim, 0, 5);
	must_explain(sim, 0x64000,
		     "gpa 0x64000 in space 0\n"
		     "slot: none holds gfn 0x64: a device's, or nothing\n" TABLES_TEXT
		     "level 1, entry 100 = 0x0: empty: any access faults and is looked up\n"
		     "a read: comes out as mmio\n"
		     "a write: comes out as mmio\n"
		     "a fetch: comes out as mmio\n");
	rig_mmio(sim, 0, 0x64);
	must_explain(sim, 0x64000,
		     "gpa 0x64000 in space 0\n"
		     "slot: none holds gfn 0x64: a device's, or nothing\n" TABLES_TEXT
		     "level 1, entry 100 = #: device entry of generation 2, current: any access is "
		     "emulated\n"
		     "a read: comes out as mmio\n"
		     "a write: comes out as mmio\n"
		     "a fetch: comes out as mmio\n");
	rig_slot(sim, 0, 4, 64, 64, 64);
	must_explain(
		sim, 0x64000,
		"gpa 0x64000 in space 0\n"
		"slot 4: gfn 0x40 to 0x80, writable, host address here 0x64000\n" TABLES_TEXT
		"level 1, entry 100 = #: device entry of generation 2, outdated: any access is "
		"looked up\n"
		"a read: faults, and an entry is installed\n"
		"a write: faults, and an entry is installed\n"
		"a fetch: faults, and an entry is installed\n");
	rig_end(sim);
}

void explain_tells_of_a_read_only_slot(void **state)
{
	struct sim_vm *sim = told_vm(VMMU_SLOT_READONLY | VMMU_SLOT_SMALL);

	(void)state;
	rig_read(sim, 0, 5);
	must_explain(sim, 0x5000,
		     "gpa 0x5000 in space 0\n"
		     "slot 3: gfn 0x0 to 0x40, read-only, 4K leaves only, host address here "
		     "0x5000\n" TABLES_TEXT
		     "level 1, entry 5 = #: leaf, host frame #, rights r-x, accessed, clean\n"
		     "a read: goes through\n"
		     "a write: comes out as readonly\n"
		     "a fetch: goes through\n");
	rig_end(sim);
}

void explain_tells_of_a_dead_vm_and_of_places_beyond(void **state)
{
	struct sim_vm *sim = told_vm(0);
	struct told told;

	(void)state;
	rig_read(sim, 0, 5);
	assert_int_equal(vmmu_explain(sim->vm, 2, (vmmu_gpa_t){0}, tell, &told), VMMU_EINVAL);
	must_explain(sim, UINT64_C(1) << 48,
		     "gpa 0x1000000000000 in space 0\n"
		     "slot: none holds gfn 0x1000000000: a device's, or nothing\n"
		     "beyond what the tables map\n"
		     "a read: comes out as mmio\n"
		     "a write: comes out as mmio\n"
		     "a fetch: comes out as mmio\n");
	fault_kill(sim);
	must_explain(sim, 0x7000,
		     "this VM is dead: the host frame behind a guest frame changed without "
		     "vmmu_invalidate_begin()\n"
		     "gpa 0x7000 in space 0\n"
		     "slot 3: gfn 0x0 to 0x40, writable, host address here 0x7000\n" TABLES_TEXT
		     "level 1, entry 7 = 0x0: empty: any access faults and is looked up\n"
		     "a read: faults, and an entry is installed\n"
		     "a write: faults, and an entry is installed\n"
		     "a fetch: faults, and an entry is installed\n");
	sim_violations_clear(sim->machine);
	sim_vm_free(sim);
}

/* ---- devices ---- */

#define DEVICES 100000u

/*
 * A guest that touches a device frame in every 2M block. The bound is that of the fault path: what
 * the slots could need, 512 to spare, and one path that may be under construction.
 */
void device_frames_cost_a_bounded_number_of_tables(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		uint64_t bound = 1024 / 512 + 2 * 4 + 512 + 4, most = 0;
		struct sim_vm *sim = rig_new(&options, 1);

		rig_slot(sim, 0, 0, 0, 512, 0);
		rig_slot(sim, 0, 1, 0x10000, 512, 512);
		rig_write(sim, 0, 5);
		for (uint64_t i = 0; i < DEVICES; i++) {
			uint64_t gfn = 0x20000 + i * 512 + i % 512, tables;

			rig_mmio(sim, 0, gfn);
			tables = rig_stat(sim, VMMU_STAT_TABLES);
			most = tables > most ? tables : most;
		}
		assert_in_range(most, 256, bound);
		assert_int_equal(sim->mmio, DEVICES);
		/* Again, remembered or not; and memory is not held back by the bound. */
		for (uint64_t i = 0; i < DEVICES; i += 97)
			rig_mmio(sim, 0, 0x20000 + i * 512 + i % 512);
		rig_write(sim, 0, 0x10005);
		rig_end(sim);
	}
}
