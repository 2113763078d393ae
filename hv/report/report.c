/* SPDX-License-Identifier: MIT */
/* The final figures (docs/run-interface.md, from the hypervisor to the command). */
#include "report.h"

#include "../devices/vgtt.h"
#include "../guest/guest.h"
#include "../migrate/migrate.h"
#include "../resident/backing.h"
#include "../svm/vcpu.h"

static void value(const char *key, uint64_t number)
{
	report_line("value %s %llu", key, (unsigned long long)number);
}

static const char *const kind_words[EXIT_KIND_COUNT] = {
#define EXIT_KIND_WORD(name, word, text) [EXIT_KIND_##name] = (word),
	EXIT_KINDS(EXIT_KIND_WORD)
#undef EXIT_KIND_WORD
};

static void report_kind(const struct guest *guest, unsigned kind)
{
	static struct cost all; /* of all vCPUs */
	const char *word = kind_words[kind];
	uint64_t count;

	all = (struct cost){0};
	for (unsigned i = 0; i < guest->cpu_count; i++)
		cost_merge(&all, &guest->vcpus[i]->cost[kind]);
	count = cost_count(&all);
	report_line("value exits.%s %llu", word, (unsigned long long)count);
	if (count == 0)
		return;
	report_line("value cost.%s.min %llu", word, (unsigned long long)cost_min(&all));
	report_line("value cost.%s.median %llu", word,
		    (unsigned long long)cost_quantile(&all, 500));
	report_line("value cost.%s.p99 %llu", word, (unsigned long long)cost_quantile(&all, 990));
}

static void report_exits(const struct guest *guest)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < guest->cpu_count; i++)
		total += guest->vcpus[i]->exits;
	value("exits.total", total);
	for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
		report_kind(guest, i);
}

/* Page faults that the library resolved, of the nested tables or of shadow tables. */
static uint64_t faults_of(const struct vcpu *vcpu)
{
	return cost_count(&vcpu->cost[EXIT_KIND_NPF]) + cost_count(&vcpu->cost[EXIT_KIND_PF]) +
	       cost_count(&vcpu->cost[EXIT_KIND_PF_WRITE]);
}

static void report_cpus(const struct guest *guest)
{
	value("cpus.count", guest->cpu_count);
	if (guest->cpu_count == 1)
		return;
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		const struct vcpu *vcpu = guest->vcpus[i];

		report_line("value cpus.%u.exits %llu", i, (unsigned long long)vcpu->exits);
		report_line("value cpus.%u.faults %llu", i, (unsigned long long)faults_of(vcpu));
		report_line("value cpus.%u.kicks %llu", i,
			    (unsigned long long)cost_count(&vcpu->cost[EXIT_KIND_NMI]));
	}
}

static void report_library(struct guest *guest)
{
	const struct vmmu_stat_info *table = vmmu_stats_table();
	uint64_t values[VMMU_STAT_COUNT];

	vmmu_stats_read(guest->vm, values);
	for (unsigned i = 0; i < VMMU_STAT_COUNT; i++) {
		/* Findings are counted as they are told, one way for all kinds of audit. */
		if (i != VMMU_STAT_AUDIT_FINDINGS)
			value(table[i].key, values[i]);
	}
	value("tables.bytes", values[VMMU_STAT_TABLES] * FRAME_BYTES);
}

static struct vcpu_counts counts_sum(const struct guest *guest)
{
	struct vcpu_counts sum = {0};

	for (unsigned i = 0; i < guest->cpu_count; i++) {
		const struct vcpu_counts *counts = &guest->vcpus[i]->counts;

		sum.mmio_reads += counts->mmio_reads;
		sum.mmio_writes += counts->mmio_writes;
		sum.mmio_open_reads += counts->mmio_open_reads;
		sum.mmio_open_writes += counts->mmio_open_writes;
		sum.msr_reads_unknown += counts->msr_reads_unknown;
		sum.msr_writes_unknown += counts->msr_writes_unknown;
		sum.ports_refused += counts->ports_refused;
		sum.stress_steps += counts->stress_steps;
		sum.log_starts += counts->log_starts;
		sum.log_looks += counts->log_looks;
		sum.log_pages += counts->log_pages;
		sum.audit_runs += counts->audit_runs + guest->vcpus[i]->audit.rounds;
	}
	return sum;
}

static void report_guest(const struct guest *guest)
{
	struct vcpu_counts sum = counts_sum(guest);

	value("mmio.reads", sum.mmio_reads);
	value("mmio.writes", sum.mmio_writes);
	value("mmio.open.reads", sum.mmio_open_reads);
	value("mmio.open.writes", sum.mmio_open_writes);
	value("msr.unknown.reads", sum.msr_reads_unknown);
	value("msr.unknown.writes", sum.msr_writes_unknown);
	value("io.refused", sum.ports_refused);
	value("memory.guest_bytes", guest->memory.frames * FRAME_BYTES);
	value("audit.runs", sum.audit_runs);
	value("audit.findings", guest->audit_findings);
	if (guest->options.stress) {
		value("stress.steps", sum.stress_steps);
		value("stress.logs", sum.log_starts);
		value("stress.looks", sum.log_looks);
		value("stress.dirty_pages", sum.log_pages);
	}
	value("tsc.guest_entry", guest->vcpus[0]->tsc_entry);
	value("tsc.guest_end", guest->vcpus[0]->tsc_end);
}

static void report_resident(const struct guest_memory *memory)
{
	const struct backing *backing = memory->backing;
	uint64_t plain = backing->store.packed_pages * FRAME_BYTES;

	value("resident.limit_bytes", backing->limit * FRAME_BYTES);
	value("resident.evictions", backing->evictions);
	value("resident.zero", backing->zero);
	value("resident.clean", backing->clean);
	value("resident.packed.pages", backing->store.packed_pages);
	value("resident.packed.bytes", backing->store.packed_bytes);
	value("resident.packed.percent",
	      plain != 0 ? backing->store.packed_bytes * 100 / plain : 0);
	value("resident.refaults", backing->refaults);
	value("resident.refaults_zero", backing->refaults_zero);
	value("resident.no_room", backing->no_room);
	value("resident.store_bytes", backing->store.frames_most * FRAME_BYTES);
	value("resident.tsc.evict", backing->tsc_evict);
	value("resident.tsc.refault", backing->tsc_refault);
}

static void report_migration(const struct migration *m)
{
	value("migrate.frames", m->frames);
	value("migrate.rounds", m->rounds);
	value("migrate.copied", m->copied);
	value("migrate.dirty.min", cost_min(&m->dirty));
	value("migrate.dirty.median", cost_quantile(&m->dirty, 500));
	value("migrate.dirty.max", m->dirty_most);
	value("migrate.dirty.last", m->dirty_last);
	value("migrate.differ", m->differ);
	if (m->differ != 0)
		value("migrate.differ_at", m->differ_first);
}

static void report_mediator(const struct vgtt *vgtt)
{
	const struct mediator_stats *stats = &vgtt->mediator.stats;

	value("mediator.writes", stats->writes);
	value("mediator.shadowed", stats->shadowed);
	value("mediator.refused", stats->refused);
	value("mediator.dropped", stats->dropped);
	value("mediator.orphaned", stats->orphaned);
	value("mediator.once", stats->once);
	value("mediator.reread", stats->reread);
	value("mediator.copies", vgtt->counts.copies);
	value("mediator.faults", vgtt->counts.faults);
	value("mediator.slots.deleted", vgtt->counts.deleted);
	value("mediator.slots.created", vgtt->counts.created);
	value("mediator.copies_checked", vgtt->counts.copies_checked);
	value("mediator.mismatches", vgtt->counts.mismatches);
	value("mediator.stale", vgtt->counts.stale);
	value("mediator.strays", vgtt->counts.strays);
}

/* Did the guest, or we ourselves, find the device at fault? */
static bool mediator_is_wrong(const struct vgtt *vgtt)
{
	return vgtt != NULL && (vgtt->counts.mismatches != 0 || vgtt->counts.stale != 0 ||
				vgtt->counts.strays != 0);
}

static bool ended_well(const struct guest *guest)
{
	if (mediator_is_wrong(guest->vgtt))
		return false;
	if (guest->migration != NULL && (guest->migration->differ != 0 || guest->migration->failed))
		return false;
	if (guest->audit_findings != 0 || vmmu_vm_death(guest->vm) != NULL)
		return false;
	if (guest->outcome == GUEST_EXIT)
		return guest->exit_code == 0;
	return guest->outcome == GUEST_POWEROFF || guest->outcome == GUEST_DONE;
}

int report_figures(struct guest *guest)
{
	report_line("text guest.outcome %s", guest_outcome_word(guest->outcome));
	if (guest->has_exit_code)
		value("guest.exit_code", guest->exit_code);
	if (guest->reason[0] != '\0')
		report_line("error %s", guest->reason);
	if (vmmu_vm_death(guest->vm) != NULL)
		report_line("finding %s", vmmu_vm_death(guest->vm));
	report_line("text mmu.mode %s", guest->options.shadow ? "shadow" : "npt");
	report_exits(guest);
	report_cpus(guest);
	report_library(guest);
	report_guest(guest);
	if (guest->memory.backing != NULL)
		report_resident(&guest->memory);
	if (guest->migration != NULL)
		report_migration(guest->migration);
	if (guest->vgtt != NULL)
		report_mediator(guest->vgtt);
	return ended_well(guest) ? 0 : 1;
}
