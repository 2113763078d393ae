/* SPDX-License-Identifier: MIT */
/*
 * Each invariant that applies is broken on purpose, from the inside, and the audit must find
 * exactly that, in words. What is broken is mended again, and then the audit finds nothing.
 */
#include "invariant.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the patient ---- */

void patient_poke(struct patient *p, void *at, size_t bytes, uint64_t value)
{
	assert_true(p->pokes < PATIENT_POKES_MAX && bytes <= 8);
	p->poke[p->pokes].at = at;
	p->poke[p->pokes].bytes = bytes;
	memcpy(&p->poke[p->pokes++].was, at, bytes);
	memcpy(at, &value, bytes);
}

void patient_mend(struct patient *p)
{
	while (p->pokes) {
		p->pokes--;
		memcpy(p->poke[p->pokes].at, &p->poke[p->pokes].was, p->poke[p->pokes].bytes);
	}
}

struct vmmu_sp *patient_table(const struct patient *p, uint64_t gfn, enum vmmu_level level)
{
	uint64_t first = gfn & ~(vmmu_level_frames(level) * VMMU_TABLE_ENTRIES - 1);

	for (uint64_t b = 0; b < vmmu_table_buckets(p->vm); b++)
		for (struct vmmu_sp *sp = vmmu_table_bucket(p->vm, b); sp; sp = vmmu_table_next(sp))
			if (sp->role.level == level && !sp->role.space && sp->gfn.n == first)
				return sp;
	fail_msg("there is no table of level %d for gfn %llx", (int)level, (unsigned long long)gfn);
	return NULL;
}

vmmu_spte_slot_t *patient_entry(const struct patient *p, uint64_t gfn, enum vmmu_level level)
{
	return &patient_table(p, gfn, level)->entries[gfn_index((vmmu_gfn_t){gfn}, level)];
}

static void admit(struct patient *p, enum vmmu_format format)
{
	struct sim_vm_options options = rig_options(format);
	struct sim_vm *sim = rig_new(&options, 2);

	*p = (struct patient){.sim = sim, .vm = sim->vm};
	rig_slot(sim, 0, 0, 0, 64, 0);
	assert_int_equal(sim_slot_create(sim, 0, 1, 64, 64, 64, VMMU_SLOT_READONLY), VMMU_OK);
	rig_slot(sim, 0, 2, 0x400, 1024, 512);
	rig_slot(sim, 1, 0, 0, 64, 0);
	rig_set_space(sim, 1, 1);
	rig_mmio(sim, 0, 0x12c);
	rig_mmio(sim, 0, 0x8000);
	rig_write(sim, 0, 5);
	rig_read(sim, 0, 0x46);
	rig_write(sim, 0, 0x405);
	rig_write(sim, 1, 6);
	assert_true(sim->running[0] && sim->running[1]);
	assert_int_equal(vmmu_audit(p->vm, NULL, NULL), 0);
}

/* Without guest_page: slots name host memory, and the audit knows what a leaf must map. */
static void admit_direct(struct patient *p, enum vmmu_format format)
{
	struct sim_vm_options options = rig_options(format);
	struct sim_vm *sim;

	options.direct = true;
	sim = rig_new(&options, 1);
	*p = (struct patient){.sim = sim, .vm = sim->vm};
	assert_int_equal(
		vmmu_slot_create(sim->vm,
				 &(struct vmmu_slot_config){.count = 64, .host_base = 0x700000}),
		VMMU_OK);
	assert_int_equal(sim_vm_enter(sim, 0), VMMU_OK);
	assert_int_equal(rig_handle(sim, 0, 5, VMMU_ACCESS_READ), VMMU_OUTCOME_RESUME);
	assert_int_equal(vmmu_audit(p->vm, NULL, NULL), 0);
}

/* A client tracks writes to frame 0x20, which is mapped, read-only. */
static void admit_client(struct patient *p)
{
	static const struct vmmu_tracker_ops ops = {0};

	assert_int_equal(vmmu_tracker_register(p->vm, &ops, NULL, &p->client), VMMU_OK);
	assert_int_equal(vmmu_track_add(p->vm, p->client, rig_range(0x20, 0x21), VMMU_ACCESS_WRITE),
			 VMMU_OK);
	rig_read(p->sim, 0, 0x20);
	assert_int_equal(vmmu_audit(p->vm, NULL, NULL), 0);
}

/* ---- findings ---- */

struct findings {
	const struct breakage *broken;
	bool of[17];      /* by invariant */
	unsigned matches; /* texts with the right words and the right frame */
	char text[256];
};

static void note(void *context, const struct vmmu_finding *finding)
{
	struct findings *f = context;
	const struct breakage *broken = f->broken;
	char start[8], frame[32];

	assert_in_range(finding->invariant, 1, 16);
	f->of[finding->invariant] = true;
	snprintf(start, sizeof(start), "I%u: ", finding->invariant);
	assert_int_equal(strncmp(finding->text, start, strlen(start)), 0);
	if (!strstr(finding->text, broken->words))
		return;
	snprintf(frame, sizeof(frame), "gfn 0x%llx, ", (unsigned long long)broken->gfn);
	if (broken->names_frame && (finding->gfn.n != broken->gfn || !strstr(finding->text, frame)))
		return;
	f->matches++;
	snprintf(f->text, sizeof(f->text), "%s", finding->text);
}

static void check_breakage(const struct breakage *b, enum vmmu_format format)
{
	struct findings findings = {.broken = b};
	struct patient p;
	uint64_t found;

	(b->direct ? admit_direct : admit)(&p, format);
	if (b->tracked)
		admit_client(&p);
	b->apply(&p);
	assert_true(p.pokes > 0);
	found = vmmu_audit(p.vm, note, &findings);
	assert_true(found > 0);
	if (format == VMMU_FORMAT_NPT)
		print_message("# | I%-2u | %-54s | %s\n", b->found_as[0], b->how, findings.text);
	for (unsigned i = 1; i <= 16; i++)
		if (findings.of[i] != (i == b->found_as[0] || i == b->found_as[1]))
			fail_msg("I%u is %sfound (last: %s)", i, findings.of[i] ? "" : "not ",
				 findings.text);
	assert_true(findings.matches > 0);
	patient_mend(&p);
	assert_int_equal(vmmu_audit(p.vm, NULL, NULL), 0);
	if (b->tracked)
		assert_int_equal(vmmu_tracker_unregister(p.vm, p.client), VMMU_OK);
	if (b->direct) {
		sim_vm_free(p.sim);
		return;
	}
	rig_write(p.sim, 0, 5);
	rig_read(p.sim, 0, 9);
	rig_end(p.sim);
}

static void break_and_find(void **state)
{
	const struct breakage *b = &breakages[*(const unsigned *)*state];

	check_breakage(b, VMMU_FORMAT_EPT);
	check_breakage(b, VMMU_FORMAT_NPT);
}

/* ---- what applies ---- */

static const char *const not_yet[17] = {
	[3] = "there are no shadow tables: nested paging write-protects no guest frame",
	[4] = "there are no shadow tables that could be out of sync",
	[5] = "there is no reverse map: a frame of a slot has one entry a root",
	[11] = "what was handed over is with the host: scenarios and random lives check it",
};

static void each_invariant_is_broken_here_or_does_not_apply_yet(void **state)
{
	bool broken[17] = {false};
	unsigned total = 0;

	(void)state;
	for (unsigned i = 0; i < breakage_count; i++)
		for (unsigned k = 0; k < 2; k++)
			broken[breakages[i].found_as[k]] = true;
	print_message("# | invariant | broken how | found as\n");
	for (unsigned i = 1; i <= 16; i++) {
		if (not_yet[i])
			print_message("# | I%-2u | does not apply to an audit of two-dimensional "
				      "paging yet | %s\n",
				      i, not_yet[i]);
		assert_int_not_equal(broken[i], not_yet[i] != NULL);
		total += broken[i];
	}
	assert_int_equal(total, 12);
}

static void a_clean_vm_has_no_findings(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct vmmu_audit audit = {0};
		struct patient p;

		admit(&p, format);
		/* A device entry that an old generation left inside of a slot is legal. */
		PATIENT_POKE(&p, patient_entry(&p, 9, VMMU_LEVEL_4K)->raw,
			     vmmu_spte_mmio(&p.vm->fmt, vmmu_slot_generation(p.vm, 0) - 2).raw);
		assert_int_equal(vmmu_audit_step(p.vm, &audit, UINT64_MAX, NULL, NULL), 0);
		assert_int_equal(audit.rounds, 1);
		/* Two roots; three levels of tables below each, and two more of level 1. */
		assert_int_equal(audit.entries, (2 + 2 * 3 + 2) * 512);
		patient_mend(&p);
		rig_end(p.sim);
	}
}

/* ---- I8 at the door ---- */

static void enters_rightly(struct sim_vm *sim, unsigned vcpu, unsigned space)
{
	const struct vmmu_sp *root;
	struct vmmu_entry entry;

	assert_int_equal(vmmu_vcpu_enter(sim->vcpu[vcpu], &entry), VMMU_OK);
	root = sim->vm->roots;
	while (root && root->pfn.n != entry.root.addr >> VMMU_PAGE_SHIFT)
		root = root->root_next;
	if (!root) {
		fail_msg("vCPU %u enters on a root that is on no list", vcpu);
		return;
	}
	assert_true(root_is_valid(root));
	assert_int_equal(root->role.space, space);
	assert_int_equal(root->role.level, sim->options.vm.root_level);
	assert_int_equal(vmmu_audit(sim->vm, NULL, NULL), 0);
	vmmu_vcpu_leave(sim->vcpu[vcpu]);
}

static void a_vcpu_enters_only_on_a_valid_root_of_its_own_role(void **state)
{
	struct vmmu_sp *before;
	struct patient p;

	(void)state;
	admit(&p, VMMU_FORMAT_NPT);
	for (unsigned i = 0; i < 24; i++) {
		unsigned vcpu = i % 2, space = i / 3 % 2;

		rig_set_space(p.sim, vcpu, space);
		if (i % 4 == 1)
			assert_int_equal(vmmu_zap_all(p.vm), VMMU_OK);
		enters_rightly(p.sim, vcpu, space);
		enters_rightly(p.sim, vcpu, space);
	}
	/* By force: the root it holds is of another role, or invalid. */
	rig_set_space(p.sim, 0, 0);
	rig_set_space(p.sim, 1, 0);
	enters_rightly(p.sim, 0, 0);
	enters_rightly(p.sim, 1, 0);
	assert_int_equal(vmmu_zap_all(p.vm), VMMU_OK); /* the root of space 1 goes, too */
	enters_rightly(p.sim, 0, 0);
	before = p.sim->vcpu[0]->root;
	PATIENT_POKE(&p, before->invalid, 1);
	assert_int_equal(sim_vm_enter(p.sim, 0), VMMU_OK);
	assert_ptr_not_equal(p.sim->vcpu[0]->root, before);
	sim_vm_leave(p.sim, 0);
	patient_mend(&p);
	before = p.sim->vcpu[0]->root;
	PATIENT_POKE(&p, before->role.word, before->role.word ^ 1);
	assert_int_equal(sim_vm_enter(p.sim, 0), VMMU_OK);
	assert_ptr_not_equal(p.sim->vcpu[0]->root, before);
	sim_vm_leave(p.sim, 0);
	patient_mend(&p);
	rig_end(p.sim);
}

/* In a process of its own: this must be a finding, not the end of the host. */
static void a_vcpu_in_the_guest_without_a_root_is_a_finding(void **state)
{
	struct patient p;
	int status = 0;
	pid_t child;

	(void)state;
	admit(&p, VMMU_FORMAT_NPT);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		p.sim->vcpu[0]->root->users--;
		p.sim->vcpu[0]->root = NULL;
		(void)!freopen("/dev/null", "w", stderr);
		_exit(vmmu_audit(p.vm, NULL, NULL) ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_end(p.sim);
}

/* ---- I12, as the hardware sees it ---- */

static void lie(void *host, const struct vmmu_flush *flush)
{
	unsigned *calls = flush->vm_cookie;

	(void)host;
	++*calls;
}

/* Proof that the rig would notice: a port that says it flushed, and did not. */
static void a_flush_that_is_not_made_is_noticed_by_the_machine(void **state)
{
	(void)state;
	for (RIG_FORMATS(format)) {
		struct sim_vm_options options = rig_options(format);
		unsigned lies = 0;
		struct sim_vm *sim;
		uint64_t value = 0;

		options.vm.cookie = &lies;
		sim = rig_new(&options, 2);
		rig_slot(sim, 0, 0, 0, 64, 0);
		rig_write(sim, 0, 5);
		rig_write(sim, 1, 6);
		assert_int_equal(sim_outdated_translations(sim->machine, 1, NULL, 0), 0);
		sim->port.tlb_flush = lie;
		assert_int_equal(sim_slot_delete(sim, 0, 0), VMMU_OK);
		assert_int_equal(lies, 1);
		assert_true(sim_outdated_translations(sim->machine, 1, NULL, 0) > 0);
		assert_true(sim_outdated_translations(sim->machine, 2, NULL, 0) > 0);
		sim_vm_check(sim);
		assert_true(sim_violation_count(sim->machine) >= 2);
		sim_violations_clear(sim->machine);
		/* The CPU goes on with what it remembers; the oracle says that this is memory no
		 * more. */
		(void)sim_vm_access(sim, 0, 0x5000, SIM_READ, &value);
		assert_true(sim_violation_count(sim->machine) > 0);
		if (format == VMMU_FORMAT_NPT)
			print_message("# | I12 | a port says it flushed, and did not%19s | %s\n",
				      "", sim_violation_text(sim->machine, 0));
		sim_violations_clear(sim->machine);
		sim_cpu_flush_everything(sim_machine_cpu(sim->machine, 0));
		sim_cpu_flush_everything(sim_machine_cpu(sim->machine, 1));
		rig_mmio(sim, 0, 5);
		rig_end(sim);
	}
}

int main(void)
{
	static unsigned indices[64];
	static char names[64][96];
	struct CMUnitTest tests[64 + 5];
	unsigned count = 0;

	for (; count < breakage_count; count++) {
		indices[count] = count;
		snprintf(names[count], sizeof(names[count]), "%s_is_found", breakages[count].name);
		tests[count] = (struct CMUnitTest){.name = names[count],
						   .test_func = break_and_find,
						   .initial_state = &indices[count]};
	}
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(
		each_invariant_is_broken_here_or_does_not_apply_yet);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_clean_vm_has_no_findings);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(
		a_vcpu_enters_only_on_a_valid_root_of_its_own_role);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(
		a_vcpu_in_the_guest_without_a_root_is_a_finding);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(
		a_flush_that_is_not_made_is_noticed_by_the_machine);
	return _cmocka_run_group_tests("invariants", tests, count, NULL, NULL);
}
