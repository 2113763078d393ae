/* SPDX-License-Identifier: MIT */
/*
 * The report as a table for people. Groups that are known come first and in a fixed order, with
 * words of their own; a group this file has never heard of is shown too, under its own name.
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LABEL_WIDTH 26
#define NUMBER_WIDTH 15

struct group {
	const char *prefix;
	const char *title;
};

static const struct group groups[] = {
	{"exits", "Guest exits"},
	{"faults", "Faults"},
	{"pages", "Pages mapped"},
	{"mmio", "MMIO accesses"},
	{"flushes", "TLB flushes"},
	{"tables", "Page tables"},
	{"resident", "Memory that comes and goes"},
	{"shadow", "Shadow paging"},
	{"msr", "MSRs"},
	{"mediator", "Mediated device"},
	{"migrate", "Migration rehearsed"},
	{"stress", "Stress"},
	{"cpus", "Processors"},
	{"audit", "Audit"},
	{"tsc", "Time stamp counter"},
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

/* Words for keys whose own parts do not tell enough. */
static const char *const labels[][2] = {
	{"exits.pf", "page fault, resolved"},
	{"exits.pf_guest", "page fault, the guest's"},
	{"exits.pf_write", "page table write"},
	{"exits.tracked", "write to a tracked page"},
	{"faults.inject", "handed to the guest"},
	{"faults.table_write", "writes to its page tables"},
	{"shadow.zapped", "tables taken apart"},
	{"shadow.reclaimed", "  to stay within the quota"},
	{"shadow.flooded", "  written like data"},
	{"shadow.unsync", "tables made unsync"},
	{"shadow.sync", "tables synced"},
	{"shadow.invlpg", "addresses flushed (invlpg)"},
	{"shadow.writes", "emulated writes"},
	{"resident.limit_bytes", "bytes that may stay"},
	{"resident.evictions", "pages evicted"},
	{"resident.zero", "  all zero"},
	{"resident.clean", "  compressed before"},
	{"resident.packed.pages", "  compressed"},
	{"resident.packed.bytes", "compressed bytes"},
	{"resident.packed.percent", "  percent of the pages"},
	{"resident.refaults", "pages decompressed"},
	{"resident.refaults_zero", "zero pages back"},
	{"resident.no_room", "evictions without room"},
	{"resident.store_bytes", "host bytes at most"},
	{"resident.tsc.evict", "ticks for evictions"},
	{"resident.tsc.refault", "ticks for decompression"},
	{"mediator.writes", "writes seen"},
	{"mediator.shadowed", "entries shadowed"},
	{"mediator.refused", "  outside the slots"},
	{"mediator.dropped", "  dropped with a slot"},
	{"mediator.orphaned", "table pages without slot"},
	{"mediator.once", "pages made dirty-once"},
	{"mediator.reread", "pages read again"},
	{"mediator.copies", "pages copied"},
	{"mediator.faults", "commands that faulted"},
	{"mediator.slots.deleted", "slots deleted"},
	{"mediator.slots.created", "slots created again"},
	{"mediator.copies_checked", "copies checked by it"},
	{"mediator.mismatches", "mismatches"},
	{"mediator.stale", "stale entries"},
	{"mediator.strays", "stray writes"},
	{"migrate.frames", "frames of the guest"},
	{"migrate.copied", "frames copied"},
	{"migrate.dirty.min", "dirty in a round, least"},
	{"migrate.dirty.median", "  median"},
	{"migrate.dirty.max", "  most"},
	{"migrate.dirty.last", "copied after its end"},
	{"migrate.differ", "frames that differ"},
	{"migrate.differ_at", "  the first of them"},
	{"stress.steps", "withdrawals and changes"},
	{"stress.logs", "dirty log turned on"},
	{"stress.looks", "looks at it"},
	{"stress.dirty_pages", "dirty pages found"},
	{"faults.level.4k", "at level 4K"},
	{"faults.level.2m", "at level 2M"},
	{"faults.level.1g", "at level 1G"},
	{"pages.4k", "4K"},
	{"pages.2m", "2M"},
	{"pages.1g", "1G"},
	{"msr.unknown.reads", "unknown, read"},
	{"msr.unknown.writes", "unknown, written"},
	{"tsc.guest_entry", "first guest entry"},
	{"tsc.guest_end", "end of the guest"},
};

static const char *bold = "";
static const char *dim = "";
static const char *good = "";
static const char *bad = "";
static const char *plain = "";

static void choose_colours(void)
{
	const char *forbidden = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	if (!isatty(STDOUT_FILENO) || (forbidden && *forbidden) ||
	    (terminal && strcmp(terminal, "dumb") == 0))
		return;
	bold = "\033[1m";
	dim = "\033[2m";
	good = "\033[32m";
	bad = "\033[31m";
	plain = "\033[0m";
}

/* 1234567 as 1,234,567. */
static const char *group_digits(uint64_t number, char *text, size_t size)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	size_t at = 0;

	for (int i = 0; i < length && at + 2 < size; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

static bool is_in_group(const char *key, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(key, prefix, length) == 0 && key[length] == '.';
}

static const char *label_of(const char *key, char *text, size_t size)
{
	const char *dot = strchr(key, '.');

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		if (strcmp(labels[i][0], key) == 0)
			return labels[i][1];
	}
	(void)snprintf(text, size, "%s", dot ? dot + 1 : key);
	for (char *at = text; *at; at++) {
		if (*at == '_' || *at == '.')
			*at = ' ';
	}
	return text;
}

static void print_title(const char *title)
{
	(void)printf("\n%s%s%s\n", bold, title, plain);
}

/* Figures that must be 0. */
static bool is_fault_count(const char *key)
{
	static const char *const keys[] = {"audit.findings", "mediator.mismatches",
					   "mediator.stale", "mediator.strays", "migrate.differ"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i], key) == 0)
			return true;
	}
	return false;
}

static void print_row(const struct report_entry *entry)
{
	char label[64];
	char number[40];
	bool is_bad = is_fault_count(entry->key) && entry->number > 0;

	(void)printf("  %-*s ", LABEL_WIDTH, label_of(entry->key, label, sizeof(label)));
	if (entry->text)
		(void)printf("%*s\n", NUMBER_WIDTH, entry->text);
	else
		(void)printf("%s%*s%s\n", is_bad ? bad : "", NUMBER_WIDTH,
			     group_digits(entry->number, number, sizeof(number)),
			     is_bad ? plain : "");
}

/* The cycles of one kind of exit, as three columns; '-' where they were not measured. */
static void print_costs(const struct report *report, const char *kind)
{
	static const char *const columns[] = {"min", "median", "p99"};

	for (size_t i = 0; i < 3; i++) {
		char number[40] = "-";
		char *key = cli_format("cost.%s.%s", kind, columns[i]);

		if (report_find(report, key))
			(void)group_digits(report_number(report, key, 0), number, sizeof(number));
		(void)printf(" %*s", NUMBER_WIDTH - 3, number);
		free(key);
	}
	(void)printf("\n");
}

static int compare_exits(const void *a, const void *b)
{
	const struct report_entry *const *left = a;
	const struct report_entry *const *right = b;

	if ((*left)->number != (*right)->number)
		return (*left)->number < (*right)->number ? 1 : -1;
	return strcmp((*left)->key, (*right)->key);
}

static void print_exit(const struct report *report, const struct report_entry *entry)
{
	char label[64];
	char number[40];

	(void)printf("  %-*s %*s", LABEL_WIDTH, label_of(entry->key, label, sizeof(label)),
		     NUMBER_WIDTH, group_digits(entry->number, number, sizeof(number)));
	print_costs(report, entry->key + strlen("exits."));
}

/* Kinds by how often they happened, the total last. */
static void print_exits(const struct report *report)
{
	const struct report_entry **rows =
		cli_allocate((report->count + 1) * sizeof(struct report_entry *));
	const struct report_entry *total = report_find(report, "exits.total");
	size_t count = 0;

	for (size_t i = 0; i < report->count; i++) {
		const struct report_entry *entry = &report->entries[i];

		if (is_in_group(entry->key, "exits") && entry != total && !entry->text)
			rows[count++] = entry;
	}
	if (count > 0 || total) {
		qsort(rows, count, sizeof(rows[0]), compare_exits);
		(void)printf("\n%s%-*s%s %*s %s%*s %*s %*s  cycles%s\n", bold, LABEL_WIDTH + 2,
			     "Guest exits", plain, NUMBER_WIDTH, "count", dim, NUMBER_WIDTH - 3,
			     "min", NUMBER_WIDTH - 3, "median", NUMBER_WIDTH - 3, "p99", plain);
	}
	for (size_t i = 0; i < count; i++)
		print_exit(report, rows[i]);
	if (total)
		print_exit(report, total);
	free(rows);
}

static void print_group(const struct report *report, const struct group *group)
{
	bool titled = false;

	/* All zero with nested paging. */
	if (strcmp(group->prefix, "shadow") == 0 &&
	    strcmp(report_text(report, "mmu.mode", ""), "shadow") != 0)
		return;
	for (size_t i = 0; i < report->count; i++) {
		if (!is_in_group(report->entries[i].key, group->prefix))
			continue;
		if (!titled)
			print_title(group->title);
		titled = true;
		print_row(&report->entries[i]);
	}
}

static bool is_known(const char *key)
{
	if (is_in_group(key, "cost") || is_in_group(key, "guest") || is_in_group(key, "mmu"))
		return true;
	for (size_t i = 0; i < GROUP_COUNT; i++) {
		if (is_in_group(key, groups[i].prefix))
			return true;
	}
	return false;
}

/* Groups that nobody told this file about, each once, at its first key. */
static void print_other_groups(const struct report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		const char *key = report->entries[i].key;
		char *prefix = cli_format("%.*s", (int)strcspn(key, "."), key);
		bool seen = is_known(key);

		for (size_t k = 0; k < i && !seen; k++)
			seen = is_in_group(report->entries[k].key, prefix);
		if (!seen)
			print_group(report, &(struct group){prefix, prefix});
		free(prefix);
	}
}

static bool is_good_end(const char *outcome)
{
	return strcmp(outcome, "poweroff") == 0 || strcmp(outcome, "exit") == 0 ||
	       strcmp(outcome, "done") == 0;
}

static void print_head(const struct report *report, const struct run_options *options,
		       double wall_seconds)
{
	const char *outcome = report_text(report, "guest.outcome", "unknown");
	const struct report_entry *code = report_find(report, "guest.exit_code");
	const char *failed = report_text(report, "guest.failed", NULL);
	char size[24];

	(void)printf("\n%sGuest%s      %s%s%s", bold, plain, is_good_end(outcome) ? good : bad,
		     outcome, plain);
	if (code && !code->text)
		(void)printf(", exit code %llu", (unsigned long long)code->number);
	if (report->guest_ok)
		(void)printf(", %sreported ok%s", good, plain);
	if (failed)
		(void)printf(", %sFAILED %s%s", bad, failed, plain);
	(void)printf(", after %.1f s\n", wall_seconds);
	(void)printf("%sMachine%s    mmu %s, memory %s, huge pages %s, audit %s\n", bold, plain,
		     report_text(report, "mmu.mode", options->mmu),
		     cli_size_text(options->memory_bytes, size, sizeof(size)),
		     options->huge ? "on" : "off", options->audit);
}

bool table_print(const struct report *report, const struct run_options *options,
		 double wall_seconds)
{
	choose_colours();
	print_head(report, options, wall_seconds);
	print_exits(report);
	for (size_t i = 1; i < GROUP_COUNT; i++)
		print_group(report, &groups[i]);
	print_other_groups(report);
	for (size_t i = 0; i < report->finding_count; i++)
		(void)printf("%s  finding: %s%s\n", bad, report->findings[i], plain);
	(void)printf("\n");
	return fflush(stdout) == 0 && !ferror(stdout);
}
