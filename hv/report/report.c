/* SPDX-License-Identifier: MIT */
/* The final figures (docs/run-interface.md, from the hypervisor to the command). */
#include "report.h"

#include "../devices/vgtt.h"
#include "../guest/guest.h"
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

static void report_exits(const struct vcpu *vcpu)
{
	value("exits.total", vcpu->exits);
	for (unsigned i = 0; i < EXIT_KIND_COUNT; i++) {
		const struct cost *cost = &vcpu->cost[i];
		const char *word = kind_words[i];
		uint64_t count = cost_count(cost);

		report_line("value exits.%s %llu", word, (unsigned long long)count);
		if (count == 0)
			continue;
		report_line("value cost.%s.min %llu", word, (unsigned long long)cost_min(cost));
		report_line("value cost.%s.median %llu", word,
			    (unsigned long long)cost_quantile(cost, 500));
		report_line("value cost.%s.p99 %llu", word,
			    (unsigned long long)cost_quantile(cost, 990));
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

static void report_guest(const struct guest *guest)
{
	value("mmio.reads", guest->mmio_reads);
	value("mmio.writes", guest->mmio_writes);
	value("mmio.open.reads", guest->mmio_open_reads);
	value("mmio.open.writes", guest->mmio_open_writes);
	value("msr.unknown.reads", guest->msr_reads_unknown);
	value("msr.unknown.writes", guest->msr_writes_unknown);
	value("io.refused", guest->ports_refused);
	value("memory.guest_bytes", guest->memory.frames * FRAME_BYTES);
	value("audit.runs", guest->audit_runs + guest->audit.rounds);
	value("audit.findings", guest->audit_findings);
	value("tsc.guest_entry", guest->tsc_entry);
	value("tsc.guest_end", guest->tsc_end);
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
	report_exits(guest->vcpu);
	report_library(guest);
	report_guest(guest);
	if (guest->vgtt != NULL)
		report_mediator(guest->vgtt);
	return ended_well(guest) ? 0 : 1;
}
