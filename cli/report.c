/* SPDX-License-Identifier: MIT */
/* The hypervisor's report, line by line, kept until the run is over. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

/* More than these is a hypervisor that has gone wrong; the rest is counted, not kept. */
#define ENTRIES_MAX 4096
#define FINDINGS_MAX 1000

/* Lower-case words, digits and '_' between single dots. */
static bool is_key(const char *key)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	while (true) {
		size_t length = strspn(key, letters);

		if (length == 0)
			return false;
		key += length;
		if (*key == '\0')
			return true;
		if (*key++ != '.')
			return false;
	}
}

const struct report_entry *report_find(const struct report *report, const char *key)
{
	for (size_t i = 0; i < report->count; i++) {
		if (strcmp(report->entries[i].key, key) == 0)
			return &report->entries[i];
	}
	return NULL;
}

/* The entry for @key, emptied, new when there was none; NULL when there is no room. */
static struct report_entry *make_entry(struct report *report, const char *key)
{
	struct report_entry *entry = (struct report_entry *)(uintptr_t)report_find(report, key);

	if (entry) {
		free(entry->text);
		entry->text = NULL;
		return entry;
	}
	if (report->count == ENTRIES_MAX)
		return NULL;
	if (!report->entries)
		report->entries = cli_allocate(ENTRIES_MAX * sizeof(*report->entries));
	entry = &report->entries[report->count++];
	entry->key = cli_copy(key);
	return entry;
}

void report_set_number(struct report *report, const char *key, uint64_t number)
{
	struct report_entry *entry = make_entry(report, key);

	if (entry)
		entry->number = number;
}

void report_set_text(struct report *report, const char *key, const char *text)
{
	struct report_entry *entry = make_entry(report, key);

	if (entry)
		entry->text = cli_copy(text);
}

uint64_t report_number(const struct report *report, const char *key, uint64_t otherwise)
{
	const struct report_entry *entry = report_find(report, key);

	return entry && !entry->text ? entry->number : otherwise;
}

const char *report_text(const struct report *report, const char *key, const char *otherwise)
{
	const struct report_entry *entry = report_find(report, key);

	return entry && entry->text ? entry->text : otherwise;
}

static enum report_line take_entry(struct report *report, char *words, bool is_number)
{
	char *blank = strchr(words, ' ');
	const char *value = blank ? blank + 1 : "";
	uint64_t number = 0;

	if (blank)
		*blank = '\0';
	if (!is_key(words))
		return LINE_BAD;
	if (!is_number) {
		report_set_text(report, words, value);
		return LINE_KEPT;
	}
	if (!cli_parse_number(value, UINT64_MAX, &number))
		return LINE_BAD;
	report_set_number(report, words, number);
	return LINE_KEPT;
}

static enum report_line take_finding(struct report *report, const char *text)
{
	if (!report->findings)
		report->findings = cli_allocate(FINDINGS_MAX * sizeof(*report->findings));
	if (report->finding_count < FINDINGS_MAX)
		report->findings[report->finding_count++] = cli_copy(text);
	return LINE_KEPT;
}

static enum report_line take_end(struct report *report, const char *text)
{
	uint64_t status = 0;

	if (!cli_parse_number(text, CLI_BAD_INPUT, &status))
		return LINE_BAD;
	report->end_status = (int)status;
	return LINE_END;
}

static enum report_line take_words(struct report *report, const char *word, const char *rest)
{
	if (strcmp(word, "progress") == 0)
		return LINE_PROGRESS;
	if (strcmp(word, "alive") == 0)
		return LINE_ALIVE;
	if (strcmp(word, "finding") == 0)
		return take_finding(report, rest);
	if (strcmp(word, "end") == 0)
		return take_end(report, rest);
	if (strcmp(word, "start") == 0) {
		report->started = true;
		return LINE_START;
	}
	if (strcmp(word, "error") == 0) {
		free(report->error);
		report->error = cli_copy(rest);
		return LINE_KEPT;
	}
	return LINE_BAD;
}

enum report_line report_take(struct report *report, const char *line, const char **rest)
{
	char *copy = cli_copy(line);
	char *blank = strchr(copy, ' ');
	enum report_line kind;

	*rest = blank ? line + (blank - copy) + 1 : "";
	if (blank)
		*blank = '\0';
	if (blank && strcmp(copy, "value") == 0)
		kind = take_entry(report, blank + 1, true);
	else if (blank && strcmp(copy, "text") == 0)
		kind = take_entry(report, blank + 1, false);
	else
		kind = take_words(report, copy, *rest);
	free(copy);
	return kind;
}

void report_free(struct report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		free(report->entries[i].key);
		free(report->entries[i].text);
	}
	for (size_t i = 0; i < report->finding_count; i++)
		free(report->findings[i]);
	free(report->entries);
	free(report->findings);
	free(report->error);
}
